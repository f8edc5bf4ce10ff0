"""What the directory's journeys share."""

from typing import Any
from uuid import UUID

from sqlalchemy import select

from service.identity import Role
from service.kernel.db import Database
from service.kernel.events import Event, events, history
from service.kernel.ids import new_id
from tests.support import Caller, World


def number() -> str:
    """Eleven digits that nobody else has; most fail the key, as the tests' setting allows."""
    return f"1{new_id().int % 10**10:010d}"


async def admin(world: World) -> Caller:
    """An administrator, whose grant names no particular territory."""
    return await world.caller(Role.ADMIN, await world.organization("other"), "other")


async def created(caller: Caller, path: str, **members: Any) -> dict[str, Any]:
    """Create an entry, and return it."""
    answer = await caller.post(f"/v1/{path}", members)
    assert answer.status_code == 201, answer.text
    body: dict[str, Any] = answer.json()
    assert answer.headers["ETag"] == f'"{body["version"]}"'
    assert answer.headers["Location"] == f"/v1/{path}/{body['id']}"
    return body


async def told(database: Database, entry_id: str) -> list[Event]:
    """Return the events of an entry."""
    async with database.unit_of_work() as uow:
        return await history(uow, UUID(entry_id))


async def territory_told(database: Database, entry_id: str) -> str:
    """Return the territory that an entry's first event names."""
    async with database.unit_of_work() as uow:
        found = await uow.single(
            select(events.c.territory).where(events.c.subject_id == UUID(entry_id))
        )
        return str(found.scalars().first())
