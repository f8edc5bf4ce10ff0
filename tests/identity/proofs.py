"""What proves callers to a server process, beside secrets: an issuer, and certificates."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import quote
from uuid import UUID

import httpx
from sqlalchemy import update

from service.identity import certify_client, create_client
from service.identity.tables import clients
from service.kernel.db import Database
from service.kernel.ids import new_id
from tests.identity import tls_proxy
from tests.identity.authority import Authority
from tests.identity.people import Desk
from tests.identity.provider import AUDIENCE, SOFTWARE, Provider, provider
from tests.support import World

PROXY = tls_proxy.ADDRESS
_DESKS = 8


@dataclass(frozen=True)
class Proofs:
    """An issuer that is up, and an authority whose certificates a proxy at `PROXY` gives on."""

    provider: Provider
    authority: Authority
    # Of the software that people sign in with: the server is told before it is made.
    _software: list[UUID] = field(default_factory=lambda: [new_id() for _ in range(_DESKS)])

    @property
    def settings(self) -> dict[str, str]:
        """The environment of a server that believes both."""
        issuer = {
            "name": "hospital",
            "issuer": self.provider.issuer,
            "audience": [AUDIENCE],
            "software": {SOFTWARE: [str(client_id) for client_id in self._software]},
            "territories": ["*"],
        }
        return {
            "SNP_ISSUERS": json.dumps([issuer]),
            "SNP_TRUSTED_PROXIES": tls_proxy.ADDRESS,
            "SNP_CERTIFICATE_HEADER": tls_proxy.HEADER,
        }

    async def certify(self, database: Database, client_id: UUID) -> str:
        """Let a client prove itself by a certificate of its own; returns the header that shows it.

        The header says so only when it comes from `PROXY`.
        """
        structure = f"OU={new_id().hex},O=ANS"
        async with database.unit_of_work() as uow:
            await certify_client(uow, client_id, structure)
        return self.shown(f"CN=x,{structure}")

    def shown(self, subject: str) -> str:
        """Return the header that shows a certificate of some subject."""
        signed = self.authority.certificate(new_id().hex, subject).read_text()
        certificate = signed[signed.index("-----BEGIN CERTIFICATE-----") :]
        return f"{tls_proxy.HEADER}: {quote(certificate)}"

    async def desk(self, world: World, http: httpx.AsyncClient) -> Desk:
        """Return where people of a territory sign in at the server that `http` asks."""
        client_id = self._software.pop()
        async with world.database.unit_of_work() as uow:
            made = await create_client(uow, name="LRM")
            renamed = update(clients).where(clients.c.id == made.client_id).values(id=client_id)
            await uow.execute(renamed)
        software = replace(made, client_id=client_id)
        return Desk(http, world.database, self.provider, software, world)


@contextmanager
def proofs(folder: Path) -> Iterator[Proofs]:
    """The issuer is gone when the block ends."""
    with provider(folder) as issuer:
        yield Proofs(issuer, Authority(folder))
