"""Use cases of absences: declare, list, end."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from service import bookings, directory, slots
from service.agenda import repository
from service.agenda.domain import Absence, AbsenceInvalid, AbsenceNotFound, check_absence
from service.agenda.usecases.filling import check_mine
from service.bookings import CancelledBy
from service.identity import Actor
from service.kernel import events
from service.kernel.db import UnitOfWork
from service.kernel.errors import Unavailable
from service.kernel.ids import new_id
from service.kernel.paging import Page, PageRequest
from service.kernel.versions import Expected

_RIVALS = 5
# What the other side of a booking reads: why the doctor is away is the doctor's own business.
_ABSENT = "Absence du praticien"


async def declare_absence(
    uow: UnitOfWork,
    actor: Actor,
    practitioner_id: UUID,
    *,
    from_: datetime,
    to: datetime,
    reason: str | None,
) -> Absence:
    """Take back every slot to come that touches a range, free or booked: all of it, or nothing.

    Booked patients are cancelled by the doctor, each with its one event; the reason stays with the
    doctor's side. Refusals: `not-my-practitioner`, `absence-invalid`.
    """
    check_mine(actor, practitioner_id)
    problems = list(check_absence(from_, to, await uow.now()))
    if problems:
        raise AbsenceInvalid(*problems)
    for _ in range(_RIVALS):
        rows = await _lock_range(uow, practitioner_id, from_, to)
        if rows is not None:
            return await _take_all_back(uow, actor, practitioner_id, from_, to, reason, *rows)
        await uow.rollback()  # somebody booked between the two locks
    raise Unavailable


async def _lock_range(
    uow: UnitOfWork, practitioner_id: UUID, from_: datetime, to: datetime
) -> tuple[list[UUID], list[Any]] | None:
    """Lock bookings, then slots (ADR 7); None when a booking came in between."""
    await slots.lock_practitioner(uow, practitioner_id)
    booked = await repository.lock_bookings(uow, practitioner_id, from_, to)
    rows = await slots.lock_range(uow, practitioner_id, from_, to)
    return (booked, rows) if sum(row.booked for row in rows) == len(booked) else None


async def _take_all_back(
    uow: UnitOfWork,
    actor: Actor,
    practitioner_id: UUID,
    from_: datetime,
    to: datetime,
    reason: str | None,
    booked: Sequence[UUID],
    rows: Sequence[Any],
) -> Absence:
    absence_id = new_id()
    for booking_id in booked:
        await bookings.cancel(
            uow, actor, booking_id, by=CancelledBy.DOCTOR, reason=_ABSENT, expected=Expected(None)
        )
    gone = await slots.take_back(uow, actor.origin, rows, absence_id=str(absence_id))
    who = await directory.practitioner(uow, practitioner_id)
    absence = await repository.add_absence(
        uow,
        absence_id,
        reason,
        practitioner_id=practitioner_id,
        zone=(await directory.territory(uow, who.territory)).zone,
        starts_at=from_,
        ends_at=to,
        slot_ids=gone,
        booking_ids=list(booked),
        client_id=actor.client_id,
    )
    await _tell_absence(
        uow, actor, "absence.declared", absence, who.territory,
        withdrawn=len(gone), cancelled=len(booked),
    )  # fmt: skip
    return absence


async def find_absence(
    uow: UnitOfWork, actor: Actor, practitioner_id: UUID, absence_id: UUID
) -> Absence:
    """Return an absence. Refusals: `not-my-practitioner`, `absence-not-found`."""
    check_mine(actor, practitioner_id)
    found = await repository.find_absence(uow, practitioner_id, absence_id)
    if found is None:
        raise AbsenceNotFound
    return found


async def list_absences(
    uow: UnitOfWork, actor: Actor, practitioner_id: UUID, page: PageRequest
) -> Page[Absence]:
    """Return a practitioner's absences, newest first. Refusals: `not-my-practitioner`."""
    check_mine(actor, practitioner_id)
    keys = page.after(UUID)
    who = await directory.practitioner(uow, practitioner_id)
    found = await repository.list_absences(
        uow,
        actor,
        practitioner_id,
        territory=who.territory,
        before=keys[0] if keys else None,
        limit=page.limit,
    )
    return page.page(found, lambda absence: [str(absence.id)])


async def end_absence(
    uow: UnitOfWork, actor: Actor, practitioner_id: UUID, absence_id: UUID
) -> None:
    """End an absence: `extend` fills its range again; nothing that was taken back comes back.

    Ending twice is no error. Refusals: `not-my-practitioner`, `absence-not-found`.
    """
    absence = await find_absence(uow, actor, practitioner_id, absence_id)
    await slots.lock_practitioner(uow, practitioner_id)
    if await repository.end_absence(uow, absence_id):
        await repository.refill(uow, practitioner_id)
        who = await directory.practitioner(uow, practitioner_id)
        await _tell_absence(uow, actor, "absence.ended", absence, who.territory)


async def _tell_absence(
    uow: UnitOfWork, actor: Actor, type_: str, absence: Absence, territory: str, **more: Any
) -> None:
    data = {
        "practitioner_id": str(absence.practitioner_id),
        "starts_at": absence.starts_at.isoformat(),
        "ends_at": absence.ends_at.isoformat(),
        **more,
    }
    await events.record(uow, actor.origin, type_, absence.id, territory=territory, data=data)
