"""What a session lacks, why, and filling it: whether created, amended, read or extended."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import chain
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from service import directory, slots
from service.agenda import reference, repository
from service.agenda.domain import Session, SessionDraft
from service.agenda.domain.timetable import (
    DAYS_AHEAD,
    Closed,
    Expansion,
    Skip,
    Skipped,
    expand,
    window,
)
from service.directory import Place
from service.identity import Actor
from service.kernel.db import UnitOfWork
from service.kernel.events import Origin
from service.slots import NotMyPractitioner, SlotDraft


def check_mine(actor: Actor, practitioner_id: UUID | None) -> None:
    """Refuse a practitioner whom the caller does not act for: `not-my-practitioner`."""
    if practitioner_id is not None and practitioner_id not in actor.practitioner_ids:
        raise NotMyPractitioner


@dataclass(frozen=True, slots=True)
class Survey:
    """The slots that a session lacks, those that cannot be, and until which date that was asked."""

    missing: list[SlotDraft]
    skipped: list[Skipped]
    through: date


def _closed(session: Session, now: datetime, absences: Sequence[Any]) -> Closed:
    recurrence = session.timetable.recurrence
    if recurrence is None:
        return Closed(absences=absences)
    public: set[date] = set()
    school: set[date] = set()
    for year in range(now.year - 1, now.year + 3):
        if recurrence.skip_public_holidays:
            public |= reference.public_holidays(session.territory, year)
        if recurrence.skip_school_holidays and recurrence.school_zone:
            school |= reference.school_holidays(recurrence.school_zone, year)
    return Closed(public=public, school=school, absences=absences)


async def closures(uow: UnitOfWork, sessions: Sequence[Session], now: datetime) -> list[Closed]:
    """Return when each of the sessions does not take place: holidays and absences."""
    who = {s.practitioner_id for s in sessions if s.practitioner_id}
    away = await repository.absences_of(uow, sorted(who))
    return [
        _closed(s, now, away.get(s.practitioner_id, []) if s.practitioner_id else [])
        for s in sessions
    ]


def grid(session: Session, closed: Closed, now: datetime) -> tuple[Expansion, date]:
    """Return the grid of the weeks to fill, and their last local date."""
    zone = ZoneInfo(session.zone)
    today = now.astimezone(zone).date()
    first, last = window(session.timetable, today)
    through = max(last, today + timedelta(days=DAYS_AHEAD - 1))
    return expand(session.timetable, zone, closed, first=first, last=last, now=now), through


def soonest(session: SessionDraft, now: datetime) -> datetime:
    """Return after which instant a slot may start: nearer ones would be given back at once."""
    return now + slots.gives_back_before(session.release)


async def places(uow: UnitOfWork, session: Session) -> set[datetime]:
    """Return the starts of a session's grid, for the weeks to fill."""
    now = await uow.now()
    [closed] = await closures(uow, [session], now)
    return {period.starts_at for period in grid(session, closed, now)[0].periods}


async def survey(uow: UnitOfWork, session: Session, place: Place | None) -> Survey:
    """Say what a session lacks at its place; without a place nothing can be published.

    A place of the grid that the doctor withdrew or moved by hand lacks nothing, nor does one whose
    time has been given back.
    """
    now = await uow.now()
    [closed] = await closures(uow, [session], now)
    asked, through = grid(session, closed, now)
    taken = await repository.taken(uow, session.id)
    first = soonest(session, now)
    periods = [p for p in asked.periods if p.starts_at not in taken and p.starts_at > first]
    drafts = [session.slot(period) for period in periods]
    blocking = await slots.blocking(uow, drafts) if place is not None else {}
    missing: list[SlotDraft] = []
    left_out: dict[date, list[list[UUID]]] = {}
    for position, (period, draft) in enumerate(zip(periods, drafts, strict=True)):
        if place is None or position in blocking:
            left_out.setdefault(period.date, []).append(blocking.get(position, []))
        else:
            missing.append(draft)
    why = Skip.CLOSED if place is None else Skip.OVERLAP
    skipped = [
        Skipped(day, why, len(found), tuple(dict.fromkeys(chain.from_iterable(found))))
        for day, found in left_out.items()
    ]
    skipped.extend(asked.skipped)
    return Survey(missing, sorted(skipped, key=lambda s: (s.date, s.reason)), through)


async def fill(
    uow: UnitOfWork, origin: Origin, session: Session, found: Survey, place: Place | None
) -> int:
    """Publish what is missing; the caller holds the locks of the practitioner and the session."""
    if place is not None and found.missing:
        await slots.publish_checked(uow, origin, place, found.missing)
    await repository.filled(uow, session.id, found.through)
    return len(found.missing)


async def place_of(uow: UnitOfWork, session: SessionDraft) -> Place | None:
    """Return where a session takes place; None when place or practitioner are active no more."""
    if session.practitioner_id is not None:
        who = await directory.practitioner(uow, session.practitioner_id)
        if not who.active:
            return None
    return (await directory.places(uow, [session.location_id])).get(session.location_id)
