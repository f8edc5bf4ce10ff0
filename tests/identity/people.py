"""People with rights, and software that they work with, for tests."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import httpx

from service.identity import (
    OPERATOR,
    Identifier,
    NewSecret,
    Role,
    create_client,
    give_grant,
    open_account,
)
from service.kernel.db import Database
from service.kernel.ids import new_id
from service.kernel.settings import Settings
from tests.conftest import DatabaseUrls
from tests.identity.provider import AUDIENCE, SOFTWARE, Provider
from tests.kernel.serving import serving
from tests.support import Caller, World

EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"
MakeSettings = Callable[..., Settings]


@dataclass
class Desk:
    """A server that trusts one issuer, and software that has no right of its own."""

    http: httpx.AsyncClient
    database: Database
    provider: Provider
    software: NewSecret
    world: World

    async def exchange(self, token: str, scope: str = "", **fields: Any) -> httpx.Response:
        """Ask for a token in exchange for another issuer's."""
        form = {
            "grant_type": EXCHANGE,
            "subject_token": token,
            "subject_token_type": ACCESS_TOKEN,
            "scope": scope,
            **fields,
        }
        secret = (str(self.software.client_id), self.software.client_secret)
        return await self.http.post("/oauth/token", data=form, auth=secret)

    async def caller(self, token: str, role: Role, scope: str = "") -> Caller:
        """Sign a person in."""
        answer = await self.exchange(token, scope)
        assert answer.status_code == 200, answer.text
        caller = Caller(self.http, self.software, role, new_id(), self.world.territory)
        caller.token = answer.json()["access_token"]
        return caller

    async def grant(
        self,
        person: Identifier,
        role: Role = Role.REGULATOR,
        type_: str = "sas",
        organization_id: UUID | None = None,
        territories: Sequence[str] = (),
        **more: Any,
    ) -> UUID:
        """Give a person a right: at home, in an organization of its own, unless said otherwise."""
        organization = organization_id or await self.world.organization(type_)
        async with self.database.unit_of_work() as uow:
            account = await open_account(
                uow, OPERATOR, identifier=person, family_name="Épreuve", given_name="Camille",
                email=None,
            )  # fmt: skip
            return await give_grant(
                uow,
                account_id=account.id,
                role=role,
                organization_id=organization,
                organization_type=type_,
                territories=territories or [self.world.territory],
                **more,
            )


@asynccontextmanager
async def desk(
    world: World,
    provider: Provider,
    make_settings: MakeSettings,
    urls: DatabaseUrls,
    settings: dict[str, Any] | None = None,
    **issuer: Any,
) -> AsyncIterator[Desk]:
    """Serve with one issuer, named `hospital`; its keys are not known yet."""
    async with world.database.unit_of_work() as uow:
        software = await create_client(uow, name="LRM")
    said = {
        "name": "hospital",
        "issuer": provider.issuer,
        "audience": [AUDIENCE],
        "software": {SOFTWARE: [software.client_id]},
        "territories": [world.territory],
        **issuer,
    }
    made = make_settings(urls.app, issuers=[said], **(settings or {}))
    async with serving(made) as (http, database):
        yield Desk(
            http, database, provider, software, World(database, http, territory=world.territory)
        )


def somebody(provider: Provider) -> Identifier:
    """A person whom the issuer calls by a name that nobody else has."""
    return Identifier(provider.issuer, new_id().hex)
