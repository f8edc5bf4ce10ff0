"""What a session and an absence are, their rules, and what is refused. Pure: no I/O, no clock."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Any, TypeVar
from uuid import UUID

from service.agenda import reference
from service.agenda.domain.timetable import (
    FARTHEST,
    Period,
    Recurrence,
    SchoolZone,
    Skipped,
    Timetable,
)
from service.directory import Practitioner
from service.kernel.errors import Conflict, FieldError, Invalid, NotFound
from service.slots import Audience, SlotDraft, Step

LONGEST_ABSENCE = timedelta(days=366)
SLOTS_A_DAY = 144
SHOWN = 200
EXCEPTIONS = 400


class SessionNotFound(NotFound):
    """No such session, or not for this caller: told in the same words."""

    code = "session-not-found"
    title = "No session of this id is yours."


class SessionEnded(Conflict):
    """The session was ended: make a new one."""

    code = "session-ended"
    title = "This session was ended."


class SessionInvalid(Invalid):
    """A session breaks a rule."""

    code = "session-invalid"
    title = "This session breaks a rule."


class AbsenceNotFound(NotFound):
    """The practitioner has no absence of this id."""

    code = "absence-not-found"
    title = "This practitioner has no absence of this id."


class AbsenceInvalid(Invalid):
    """An absence breaks a rule."""

    code = "absence-invalid"
    title = "This absence breaks a rule."


# --- what a session is --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionDraft:
    """A session as asked for: when, where, and what its slots are like."""

    practitioner_id: UUID | None
    location_id: UUID
    timetable: Timetable
    modes: tuple[str, ...]
    specialty: str | None
    visibility: tuple[str, ...]
    cpts_ids: tuple[UUID, ...]
    organization_types: tuple[str, ...]
    organization_ids: tuple[UUID, ...]
    capacity: int
    overbooking: int
    walk_in: bool
    note: str | None
    release: tuple[Step, ...] = ()

    @property
    def audience(self) -> Audience:
        """Return who its slots are for."""
        return Audience(
            self.visibility, self.cpts_ids, self.organization_types, self.organization_ids
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Session(SessionDraft):
    """A session of a practitioner, or of a centre that names nobody yet."""

    id: UUID
    organization_id: UUID
    territory: str
    zone: str
    ended_at: datetime | None
    version: int
    created_at: datetime

    def slot(self, period: Period) -> SlotDraft:
        """Return the slot of one place in the grid."""
        return SlotDraft(
            practitioner_id=self.practitioner_id,
            location_id=self.location_id,
            starts_at=period.starts_at,
            ends_at=period.ends_at,
            modes=self.modes,
            specialty=self.specialty,
            audience=self.audience,
            capacity=self.capacity,
            overbooking=self.overbooking,
            walk_in=self.walk_in,
            note=self.note,
            external_id=None,
            release=self.release,
            session_id=self.id,
            session_start=period.starts_at,
        )

    def facts(self) -> dict[str, Any]:
        """Return what events tell about it."""
        return {
            "practitioner_id": self.practitioner_id and str(self.practitioner_id),
            "location_id": str(self.location_id),
            "organization_id": str(self.organization_id),
            "date": self.timetable.date.isoformat(),
            "weekly": list(self.timetable.recurrence.weekly) if self.timetable.recurrence else None,
        }


_TIMETABLE = ("date", "start", "end", "slot_minutes", "recurrence")
# The members of a session that its slots have too, under the same name.
OF_SLOTS = (
    "location_id", "modes", "specialty", "visibility", "cpts_ids", "organization_types",
    "organization_ids", "capacity", "overbooking", "walk_in", "note", "release",
)  # fmt: skip


def merged(session: Session, changes: Mapping[str, Any]) -> Session:
    """Apply a JSON merge patch that was read already; `recurrence` is a patch of its own."""
    times = {name: changes[name] for name in _TIMETABLE if name in changes}
    if times.get("recurrence") is not None:
        times["recurrence"] = _recurring(session.timetable.recurrence, times["recurrence"])
    others = {name: changes[name] for name in OF_SLOTS if name in changes}
    return replace(session, timetable=replace(session.timetable, **times), **others)


def _recurring(before: Recurrence | None, changes: Mapping[str, Any]) -> Recurrence:
    if before is not None:
        return replace(before, **changes)
    if "weekly" not in changes:
        raise SessionInvalid(
            FieldError("#/recurrence/weekly", "missing", "Say on which days it recurs.")
        )
    return Recurrence(**changes)


# --- rules --------------------------------------------------------------------------------------


D = TypeVar("D", bound=SessionDraft)


def in_school_zone(draft: D, territory: str, before: Timetable | None = None) -> D:
    """Put a session into the school zone of its territory, unless another one is asked for."""
    times, zone = draft.timetable, reference.school_zone(territory)
    asked = times.recurrence
    if zone is None or asked is None or not asked.skip_school_holidays:
        return draft
    known = before and before.recurrence and before.recurrence.school_zone
    if asked.school_zone not in {None, known}:
        return draft
    recurrence = replace(asked, school_zone=SchoolZone(zone))
    return replace(draft, timetable=replace(times, recurrence=recurrence))


def check_timetable(
    wanted: Timetable, today: date, territory: str, before: Timetable | None = None
) -> Iterator[FieldError]:
    """Yield what is wrong with a timetable; `before` is what it was, when it is amended."""
    if wanted.start == wanted.end:
        yield FieldError("#/end", "session-without-length", "The end differs from the start.")
    elif wanted.slots_a_day == 0:
        yield FieldError("#/slot_minutes", "slot-too-long", "Not one slot fits into the session.")
    elif wanted.slots_a_day > SLOTS_A_DAY:
        yield FieldError(
            "#/slot_minutes", "too-many-slots", f"A session has at most {SLOTS_A_DAY} slots."
        )
    if before is None or before.date != wanted.date:
        if wanted.date < today:
            yield FieldError("#/date", "session-in-the-past", "The date is in the past.")
        elif wanted.date - today > FARTHEST:
            yield FieldError("#/date", "session-too-far", "A session starts within a year.")
    if wanted.recurrence is not None:
        yield from _check_recurrence(wanted.recurrence, wanted.date, territory)


def _check_recurrence(recurrence: Recurrence, first: date, territory: str) -> Iterator[FieldError]:
    if recurrence.until is not None and recurrence.until < first:
        yield FieldError("#/recurrence/until", "until-before-date", "It would end before it began.")
    if recurrence.skip_school_holidays:
        yield from _check_school_zone(recurrence.school_zone, territory)


def _check_school_zone(zone: SchoolZone | None, territory: str) -> Iterator[FieldError]:
    pointer, here = "#/recurrence/school_zone", reference.school_zone(territory)
    if reference.has_own_school_calendar(territory):
        yield FieldError(
            "#/recurrence/skip_school_holidays",
            "school-calendar-unknown",
            "Schools here are in no zone of the national calendar: name dates in `except`.",
        )
    elif zone is None:
        yield FieldError(pointer, "school-zone-missing", "Say which zone: A, B or C.")
    elif here is not None and zone != here:
        yield FieldError(pointer, "school-zone-not-here", f"Schools here are in zone {here}.")


def check_absence(from_: datetime, to: datetime, now: datetime) -> Iterator[FieldError]:
    """Yield what is wrong with the range of an absence."""
    if to <= from_:
        yield FieldError("#/to", "end-before-start", "The end must be after the start.")
    elif to <= now:
        yield FieldError("#/to", "absence-in-the-past", "The absence is over already.")
    elif to - max(from_, now) > LONGEST_ABSENCE:
        yield FieldError("#/to", "absence-too-long", "An absence lasts at most a year.")


# --- what is told about it ----------------------------------------------------------------------


class OnOverlap(StrEnum):
    """What becomes of a new session when its practitioner already has slots at that time."""

    REFUSE = "refuse"
    SKIP = "skip"


class KeptBecause(StrEnum):
    """Why a slot stays as it was when its session changes: a patient relies on it."""

    BOOKED = "booked"
    BOOKED_OUTSIDE_SESSION = "booked-outside-session"


@dataclass(frozen=True, slots=True)
class Kept:
    """A slot that an amendment left as it was."""

    slot_id: UUID
    starts_at: datetime
    reason: KeptBecause


@dataclass(frozen=True, slots=True)
class Changes:
    """What an amendment did: numbers of slots, and which of them it left as they were, by start."""

    created: int
    amended: int
    withdrawn: int
    kept_slots: list[Kept]


@dataclass(frozen=True, slots=True)
class Report:
    """A session with its slots: how many it has, the first of those to come, and what is left out.

    `skipped` are places of the grid that hold no slot, for the weeks that are filled.
    """

    session: Session
    next_date: date | None
    created: int
    slots: list[UUID]
    skipped: list[Skipped]
    changes: Changes | None = None


@dataclass(frozen=True, slots=True)
class Left:
    """A practitioner's entry, and what became of the slots to come if it was said to be over."""

    entry: Practitioner
    withdrawn: int | None = None
    booked: tuple[UUID, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Absence:
    """A range in which a practitioner is away, and what was taken back for it."""

    id: UUID
    practitioner_id: UUID
    zone: str
    starts_at: datetime
    ends_at: datetime
    reason: str | None
    slot_ids: tuple[UUID, ...]
    booking_ids: tuple[UUID, ...]
    ended_at: datetime | None
    created_at: datetime


@dataclass(slots=True)
class Extended:
    """What one run of `extend` did: sessions looked at, slots published, and what went wrong."""

    sessions: int = 0
    slots: int = 0
    skipped: int = 0
    failed: int = 0
