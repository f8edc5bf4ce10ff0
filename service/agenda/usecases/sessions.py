"""Use cases of sessions: create, read, amend, end, extend."""

from collections.abc import Mapping
from datetime import date
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from service import directory, slots
from service.agenda import repository
from service.agenda.domain import (
    OF_SLOTS,
    Changes,
    D,
    Extended,
    Kept,
    KeptBecause,
    OnOverlap,
    Report,
    Session,
    SessionDraft,
    SessionEnded,
    SessionInvalid,
    SessionNotFound,
    check_timetable,
    in_school_zone,
    merged,
)
from service.agenda.domain.timetable import Closed, Timetable, next_date
from service.agenda.usecases import filling
from service.agenda.usecases.filling import Survey
from service.agenda.usecases.leaving import take_from
from service.directory import Place
from service.identity import Actor
from service.kernel import events
from service.kernel.db import UnitOfWork
from service.kernel.errors import FieldError
from service.kernel.events import Origin
from service.kernel.ids import new_id
from service.kernel.paging import Page, PageRequest
from service.kernel.versions import Expected
from service.slots import OverlappingSlot

# --- sessions -----------------------------------------------------------------------------------


async def _report(
    uow: UnitOfWork, session: Session, found: Survey, changes: Changes | None = None
) -> Report:
    now = await uow.now()
    [closed] = await filling.closures(uow, [session], now)
    zone = ZoneInfo(session.zone)
    created, coming = await repository.standing(uow, session.id)
    return Report(
        session=session,
        next_date=None if session.ended_at else next_date(session.timetable, zone, closed, now),
        created=created,
        slots=coming,
        skipped=found.skipped,
        changes=changes,
    )


async def create_session(
    uow: UnitOfWork, actor: Actor, draft: SessionDraft, on_overlap: OnOverlap = OnOverlap.REFUSE
) -> Report:
    """Publish a session: all the slots of its first weeks, or nothing.

    With `skip`, what overlaps is left out and reported. Refusals: `not-my-practitioner`;
    `session-invalid` with a pointer for each broken rule; `overlapping-slot` with what blocks, and
    on which local dates.
    """
    filling.check_mine(actor, draft.practitioner_id)
    draft, place = await _checked(uow, actor, draft)
    now = filling.soonest(draft, await uow.now())
    if next_date(draft.timetable, ZoneInfo(place.zone), Closed(), now) is None:
        raise SessionInvalid(
            FieldError("#/date", "session-empty", "Nothing of it is still to come within a year.")
        )
    if not await slots.lock_practitioner(uow, draft.practitioner_id):
        raise SessionInvalid(slots.inactive("#"))
    session = await repository.add(uow, new_id(), draft, place, actor.client_id)
    found = await filling.survey(uow, session, place)
    blocked = [skipped for skipped in found.skipped if skipped.blocking_slots]
    if blocked and on_overlap is OnOverlap.REFUSE:
        raise OverlappingSlot(
            blocking_slots=sorted({str(slot) for s in blocked for slot in s.blocking_slots}),
            dates=sorted({skipped.date.isoformat() for skipped in blocked}),
        )
    created = await filling.fill(uow, actor.origin, session, found, place)
    await _tell(uow, actor, "session.created", session, created=created)
    return await _report(uow, session, found)


async def _checked(
    uow: UnitOfWork, actor: Actor, draft: D, before: Timetable | None = None
) -> tuple[D, Place]:
    """Return what is asked for, in its school zone, and its place."""
    place = (await directory.places(uow, [draft.location_id])).get(draft.location_id)
    problems = list(slots.check_place(actor, draft.practitioner_id, "#", place))
    problems.extend(
        slots.check_release("#", draft.release, draft.visibility, cpts_named=bool(draft.cpts_ids))
    )
    if place is not None:
        draft = in_school_zone(draft, place.territory, before)
        today = (await uow.now()).astimezone(ZoneInfo(place.zone)).date()
        problems.extend(check_timetable(draft.timetable, today, place.territory, before))
    if problems or place is None:
        raise SessionInvalid(*problems)
    return draft, place


async def read_session(uow: UnitOfWork, actor: Actor, session_id: UUID) -> Report:
    """Return a session of mine with its slots to come. Refusals: `session-not-found`."""
    session = await _own(uow, actor, session_id)
    if session.ended_at is not None:
        found = Survey([], [], session.created_at.date())
    else:
        found = await filling.survey(uow, session, await filling.place_of(uow, session))
    return await _report(uow, session, found)


async def list_sessions(
    uow: UnitOfWork, actor: Actor, practitioner_id: UUID | None, page: PageRequest
) -> Page[tuple[Session, date | None]]:
    """Return my sessions with the next date of each, newest first."""
    keys = page.after(UUID)
    wanted = {"practitioner_id": practitioner_id, "before": keys and keys[0]}
    found = page.page(
        await repository.list_mine(uow, actor, wanted, page.limit), lambda s: [str(s.id)]
    )
    now = await uow.now()
    closed = await filling.closures(uow, found.items, now)
    dates = [
        None if s.ended_at else next_date(s.timetable, ZoneInfo(s.zone), closed, now)
        for s, closed in zip(found.items, closed, strict=True)
    ]
    return Page(list(zip(found.items, dates, strict=True)), found.next_cursor)


async def _own(uow: UnitOfWork, actor: Actor, session_id: UUID) -> Session:
    found = await repository.find(uow, actor, session_id)
    if found is None:
        raise SessionNotFound
    return found


async def _lock(uow: UnitOfWork, actor: Actor, session_id: UUID, expected: Expected) -> Session:
    """Lock practitioner and session, in the version that the caller expects."""
    session, _ = await _lock_with(uow, actor, session_id, expected)
    return session


async def _lock_with(
    uow: UnitOfWork, actor: Actor, session_id: UUID, expected: Expected
) -> tuple[Session, bool]:
    """Lock both, and tell whether the practitioner still practises."""
    seen = await _own(uow, actor, session_id)
    expected.check(seen.version, required=True)
    active = await slots.lock_practitioner(uow, seen.practitioner_id)
    session = await repository.lock(uow, session_id)
    expected.check(session.version, required=True)
    return session, active


async def amend_session(
    uow: UnitOfWork,
    actor: Actor,
    session_id: UUID,
    changes: Mapping[str, Any],
    expected: Expected,
) -> Report:
    """Change a session (JSON merge patch, read already) and its free slots to come.

    Booked and past slots stay as they are; any other follows the changed members, and is withdrawn
    when its place is not in the new grid. Holds end with a slot that is withdrawn or moves. What
    then overlaps is left out and reported.
    Refusals: `session-not-found`, `precondition-required`, `version-mismatch`, `session-ended`,
    `session-invalid`.
    """
    before, active = await _lock_with(uow, actor, session_id, expected)
    if before.ended_at is not None:
        raise SessionEnded
    if not active:
        raise SessionInvalid(slots.inactive("#"))
    wanted, place = await _checked(uow, actor, merged(before, changes), before.timetable)
    session = await repository.amend(uow, wanted, place)
    free, withdrawn, kept = await _rearrange(uow, actor, before, session)
    of_slots = {name: changes[name] for name in OF_SLOTS if name in changes}
    await slots.amend_free(uow, actor.origin, free, of_slots, place)
    found = await filling.survey(uow, session, place)
    created = await filling.fill(uow, actor.origin, session, found, place)
    done = Changes(created, len(free) if of_slots else 0, len(withdrawn), kept)
    await _tell(
        uow, actor, "session.amended", session, changed=sorted(changes), created=done.created,
        amended=done.amended, withdrawn=done.withdrawn,
    )  # fmt: skip
    return await _report(uow, session, found, done)


async def _rearrange(
    uow: UnitOfWork, actor: Actor, before: Session, session: Session
) -> tuple[list[Any], list[UUID], list[Kept]]:
    """Withdraw what does not fit any more; return what does, what is gone, and what is booked."""
    asked = await filling.places(uow, session)
    published = [
        row for row in await slots.lock_session(uow, session.id) if row.withdrawn_at is None
    ]
    free = [row for row in published if row.booked == 0]
    same_length = before.timetable.slot_minutes == session.timetable.slot_minutes

    def fits(row: Any) -> bool:
        by_hand = row.starts_at != row.session_start
        return row.session_start in asked and (same_length or by_hand)

    gone = await slots.take_back(
        uow, actor.origin, [row for row in free if not fits(row)], session_id=str(session.id)
    )
    kept = [
        Kept(
            row.id,
            row.starts_at,
            KeptBecause.BOOKED
            if row.session_start in asked
            else KeptBecause.BOOKED_OUTSIDE_SESSION,
        )
        for row in sorted(published, key=lambda row: row.starts_at)
        if row.booked
    ]
    return [row for row in free if fits(row)], gone, kept


async def end_session(uow: UnitOfWork, actor: Actor, session_id: UUID, expected: Expected) -> None:
    """End a session and withdraw its slots to come that nobody is booked on; live holds end.

    Ending twice is no error. Refusals: `session-not-found`, `precondition-required`,
    `version-mismatch`.
    """
    session = await _lock(uow, actor, session_id, expected)
    if session.ended_at is not None:
        return
    rows = [row for row in await slots.lock_session(uow, session_id) if row.withdrawn_at is None]
    gone = await slots.take_back(uow, actor.origin, rows, session_id=str(session_id))
    await repository.end(uow, session_id)
    await _tell(
        uow, actor, "session.ended", session, withdrawn=len(gone), kept=len(rows) - len(gone)
    )


async def seat_given_back(uow: UnitOfWork, actor: Actor, slot_id: UUID) -> None:
    """Withdraw a slot that nobody is booked on any more, when its session has no place for it.

    Of a practitioner who practises no more, no seat reopens, and the last one ends the slot.
    Whoever amends or ends the session locks the slot too: one of the two sees what the other did.
    """
    orphaned = await slots.lock_orphaned(uow, slot_id)
    if orphaned is not None:
        await take_from(uow, actor.origin, [orphaned])
        return
    row = await slots.lock_emptied(uow, slot_id)
    if row is None:
        return
    session = await repository.of_slot(uow, row.session_id)
    if session.ended_at is None and row.session_start in await filling.places(uow, session):
        return
    await slots.take_back(uow, actor.origin, [row], session_id=str(session.id))


async def _tell(uow: UnitOfWork, actor: Actor, type_: str, session: Session, **more: Any) -> None:
    await events.record(
        uow,
        actor.origin,
        type_,
        session.id,
        territory=session.territory,
        data={**session.facts(), **more},
        audience_after=session.audience.as_json(),
    )


async def extend_one(
    uow: UnitOfWork, session_id: UUID, practitioner_id: UUID | None, done: Extended
) -> None:
    """Publish what one session lacks within eight weeks, and count it.

    A session that another process is filling is left to it.
    """
    if not await repository.alone(uow, session_id):
        return
    await slots.lock_practitioner(uow, practitioner_id)
    session = await repository.lock(uow, session_id)
    if session.ended_at is not None:
        return
    place = await filling.place_of(uow, session)
    found = await filling.survey(uow, session, place)
    done.slots += await filling.fill(uow, Origin(), session, found, place)
    done.skipped += sum(skipped.slots for skipped in found.skipped)
    done.sessions += 1
