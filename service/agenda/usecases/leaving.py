"""Use case: a practitioner's entry is amended, and who practises no more leaves no free slot."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from service import directory, slots
from service.agenda.domain import Left
from service.identity import Actor
from service.kernel.db import UnitOfWork
from service.kernel.events import Origin
from service.kernel.versions import Expected

# Beyond the horizon of publishing: all that is to come.
_ALL = timedelta(days=800)


async def amend_practitioner(
    uow: UnitOfWork,
    actor: Actor,
    practitioner_id: UUID,
    changes: Mapping[str, Any],
    expected: Expected,
    *,
    keys: bool,
) -> Left:
    """Amend an entry of the directory; `active: false` withdraws the free slots to come.

    Booked slots stay, without a seat for others: a human calls these patients. Whoever was
    deactivated by an import is told so again, and then loses their free slots too. Refusals: those
    of `directory.amend_practitioner`.
    """
    entry = await directory.amend_practitioner(
        uow, actor, practitioner_id, changes, expected, keys=keys
    )
    if changes.get("active") is not False:
        return Left(entry)
    await slots.lock_practitioner(uow, practitioner_id)
    now = await uow.now()
    rows = await slots.lock_range(uow, practitioner_id, now, now + _ALL)
    gone, booked = await take_from(uow, actor.origin, rows)
    return Left(entry, len(gone), tuple(booked))


async def take_from(
    uow: UnitOfWork, origin: Origin, rows: Sequence[Any]
) -> tuple[list[UUID], list[UUID]]:
    """Withdraw the free ones of some locked slots; leave the booked ones no seat for others."""
    gone = await slots.take_back(uow, origin, rows, reason="practitioner-inactive")
    return gone, await slots.fill_up(uow, origin, rows)
