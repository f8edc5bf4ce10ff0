"""What proves callers to a server process, beside secrets: an issuer, and certificates."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote
from uuid import UUID

import httpx

from service.identity import NewSecret, certify_client, create_client
from service.kernel.db import Database
from service.kernel.ids import new_id
from tests.identity import tls_proxy
from tests.identity.authority import Authority
from tests.identity.people import Desk
from tests.identity.provider import AUDIENCE, SOFTWARE, Provider, provider
from tests.support import World

PROXY = tls_proxy.ADDRESS


@dataclass(frozen=True)
class Proofs:
    """An issuer that is up, and an authority whose certificates a proxy at `PROXY` gives on.

    The issuer's people come with `software`, or with `doomed`, which a test may revoke.
    """

    provider: Provider
    authority: Authority
    software: NewSecret
    doomed: NewSecret

    @property
    def settings(self) -> dict[str, str]:
        """The environment of a server that believes both."""
        issuer = {
            "name": "hospital",
            "issuer": self.provider.issuer,
            "audience": [AUDIENCE],
            "software": {SOFTWARE: [str(one.client_id) for one in (self.software, self.doomed)]},
            "territories": ["*"],
        }
        return {
            "SNP_ISSUERS": json.dumps([issuer]),
            "SNP_TRUSTED_PROXIES": tls_proxy.ADDRESS,
            "SNP_CERTIFICATE_HEADER": tls_proxy.HEADER,
        }

    @staticmethod
    def at(url: httpx.URL | str) -> httpx.AsyncClient:
        """Return a client of a server that asks as the trusted proxy does."""
        transport = httpx.AsyncHTTPTransport(local_address=PROXY)
        return httpx.AsyncClient(base_url=url, transport=transport)

    async def certify(self, database: Database, client_id: UUID) -> str:
        """Let a client prove itself by a certificate of its own; returns the line that shows it.

        The line is a header, and worth something from `PROXY` only.
        """
        structure = f"OU={new_id().hex},O=ANS"
        async with database.unit_of_work() as uow:
            await certify_client(uow, client_id, structure)
        return self.shown(f"CN=x,{structure}")

    def shown(self, subject: str) -> str:
        """Return the line of a head that shows a certificate of some subject."""
        signed = self.authority.certificate(new_id().hex, subject).read_text()
        certificate = signed[signed.index("-----BEGIN CERTIFICATE-----") :]
        return f"{tls_proxy.HEADER}: {quote(certificate)}\r\n"

    def desk(self, world: World, http: httpx.AsyncClient) -> Desk:
        """Return where people of a territory sign in at the server that `http` asks."""
        return Desk(http, world.database, self.provider, self.software, world)


@asynccontextmanager
async def proofs(folder: Path, database: Database) -> AsyncIterator[Proofs]:
    """The issuer is gone when the block ends."""
    async with database.unit_of_work() as uow:
        software, doomed = [await create_client(uow, name=name) for name in ("LRM", "Doomed")]
    with provider(folder) as issuer:
        yield Proofs(issuer, Authority(folder), software, doomed)
