"""The demo's client software: made once; its secrets are kept in `demo-clients.json`."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

from service import identity
from service.demo.files import Credential
from service.identity import NewSecret, Role, Tokens
from service.kernel.db import Database, UnitOfWork
from service.kernel.errors import DomainError

_SECONDS = 60  # life of a token that only proves that a secret works


@dataclass(frozen=True, slots=True)
class Wanted:
    """A client that the demo offers."""

    name: str
    role: Role
    territory: str
    organization_id: UUID
    organization_type: str
    cpts_ids: Sequence[UUID] = ()
    practitioner_id: UUID | None = None
    practitioner_ids: Sequence[UUID] = ()  # all of them, when a delegate acts for several

    @property
    def key(self) -> tuple[str, str, str]:
        """What makes it the same client at every start."""
        return self.name, self.role.value, str(self.organization_id)

    def signed(self, secret: NewSecret) -> Credential:
        """The credential of this client."""
        return Credential(
            name=self.name,
            role=self.role.value,
            territory=self.territory,
            client_id=str(secret.client_id),
            client_secret=secret.client_secret,
            organization_id=str(self.organization_id),
            practitioner_id=None if self.practitioner_id is None else str(self.practitioner_id),
        )


async def ensure(
    database: Database, wanted: Iterable[Wanted], known: Sequence[Credential]
) -> list[Credential]:
    """Return working credentials of every wanted client, in their order.

    What still works is kept. A client whose secret was lost (the file is gone, or the process was
    killed before it was written) gets a new one; a client that does not exist is made.
    """
    kept = {(c.name, c.role, c.organization_id): c for c in known}
    async with database.unit_of_work() as uow:
        made = {
            (row["name"], row["role"], str(row["organization_id"])): row["id"]
            for row in await identity.list_clients(uow)
            if row["revoked_at"] is None
        }
    return [
        await _one(database, client, kept.get(client.key), made.get(client.key))
        for client in wanted
    ]


async def _one(
    database: Database, client: Wanted, kept: Credential | None, made: UUID | None
) -> Credential:
    if kept is not None:
        async with database.unit_of_work() as uow:
            if await _works(uow, kept):
                return kept
    async with database.unit_of_work() as uow:
        secret = await (_make(uow, client) if made is None else _renew(uow, made))
    return client.signed(secret)


async def _works(uow: UnitOfWork, credential: Credential) -> bool:
    try:
        software = await identity.client(uow, credential.client_id, credential.client_secret)
        await identity.issue_token(
            uow,
            Tokens(uow.vault.token_keys, _SECONDS),
            software,
            scope=f"role:{credential.role}",
            person=None,
        )
    except DomainError:
        return False
    return True


async def _renew(uow: UnitOfWork, client_id: UUID) -> NewSecret:
    return await identity.rotate_secret(uow, client_id, grace_hours=0)


async def _make(uow: UnitOfWork, client: Wanted) -> NewSecret:
    secret = await identity.create_client(uow, name=client.name)
    await identity.give_grant(
        uow,
        client_id=secret.client_id,
        role=client.role,
        organization_id=client.organization_id,
        organization_type=client.organization_type,
        cpts_ids=client.cpts_ids,
        territories=[client.territory],
        practitioner_ids=client.practitioner_ids or _only(client.practitioner_id),
    )
    return secret


def _only(practitioner_id: UUID | None) -> list[UUID]:
    return [] if practitioner_id is None else [practitioner_id]
