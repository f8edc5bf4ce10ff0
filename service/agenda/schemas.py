"""JSON shapes of the room. Dates and times of a session are local, in its territory's zone."""

import re
from datetime import date, datetime, time
from typing import Annotated, Any
from uuid import UUID

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
)
from pydantic_core import PydanticCustomError

from service import slots
from service.agenda.domain import (
    EXCEPTIONS,
    SHOWN,
    SLOTS_A_DAY,
    Absence,
    Changes,
    KeptBecause,
    Left,
    OnOverlap,
    Report,
    Session,
    SessionDraft,
)
from service.agenda.domain.timetable import (
    DAYS_AHEAD,
    Recurrence,
    SchoolZone,
    Skip,
    Timetable,
    Weekday,
)
from service.directory import OrganizationType, PractitionerOut, reference
from service.kernel.http.shapes import Answer, Body, Instant, local
from service.slots import VisibilityWarning

_YEARS = range(1900, 2200)
_TIME = r"^([01]\d|2[0-3]):[0-5]\d$"


def _time(value: Any) -> Any:
    if isinstance(value, time):
        return value
    if not isinstance(value, str) or not re.fullmatch(_TIME, value):
        raise PydanticCustomError("local_time", "A local time is written 14:00.")
    return time.fromisoformat(value)


def _date(value: Any) -> Any:
    if isinstance(value, date):
        return value
    try:
        found = date.fromisoformat(value) if re.fullmatch(r"\d{4}-\d{2}-\d{2}", value) else None
    except (TypeError, ValueError):
        found = None
    if found is None or found.year not in _YEARS:
        raise PydanticCustomError("local_date", "A date is written 2026-12-01.")
    return found


LocalTime = Annotated[
    time,
    BeforeValidator(_time),
    PlainSerializer(lambda value: value.strftime("%H:%M"), return_type=str),
    WithJsonSchema({"type": "string", "pattern": _TIME, "examples": ["14:00"]}),
]
LocalDate = Annotated[date, BeforeValidator(_date)]
Days = Annotated[list[Weekday], Field(min_length=1, max_length=7)]
Exceptions = Annotated[list[LocalDate], Field(max_length=EXCEPTIONS)]
Minutes = Annotated[int, Field(ge=1, le=1440)]


def _specialty(value: str | None) -> str | None:
    if value is not None and value not in reference.code_list("specialties"):
        raise PydanticCustomError("unknown_code", "Not a specialty of the list JDV_J239 (SAS).")
    return value


# --- asking -------------------------------------------------------------------------------------


class RecurrenceIn(Body):
    """Every week on these days. A date is the one on which the session starts."""

    weekly: Days
    until: LocalDate | None = Field(None, description="Included. Null: no end.")
    except_: Exceptions = Field(default=[], alias="except")
    skip_public_holidays: bool = Field(default=False, description="Those of the territory.")
    skip_school_holidays: bool = Field(
        default=False, description="Refused where schools are in no zone: in Corsica and overseas."
    )
    school_zone: SchoolZone | None = Field(
        None, description="Default: that of the territory, if it is a département."
    )

    def recurrence(self) -> Recurrence:
        """Return what the use cases want."""
        return Recurrence(**_recurrence(self, type(self).model_fields))


def _recurrence(body: Body, names: Any) -> dict[str, Any]:
    given = {name: getattr(body, name) for name in names}
    if "weekly" in given:
        given["weekly"] = tuple(day for day in Weekday if day in given["weekly"])
    if "except_" in given:
        given["excepted"] = tuple(sorted(set(given.pop("except_") or ())))
    for name in ("skip_public_holidays", "skip_school_holidays"):
        if name in given:
            given[name] = bool(given[name])
    return given


class SessionIn(Body):
    """A session: local hours cut into slots, on one date or every week. Hidden (SNP) by default."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "practitioner_id": "01938c1e-7a30-7cc1-8c35-0a6a4f3a1b11",
                    "location_id": "01938c1e-7a31-7d02-9a41-5f4f0f2f3c22",
                    "date": "2026-12-07",
                    "start": "14:00",
                    "end": "18:00",
                    "slot_minutes": 20,
                    "recurrence": {"weekly": ["MO"], "skip_public_holidays": True},
                }
            ]
        }
    )

    practitioner_id: UUID | None = Field(
        None, description="Who sees the patient; may be unnamed for csnp and sos only."
    )
    location_id: UUID
    date: LocalDate = Field(description="The first date on which it may take place.")
    start: LocalTime
    end: LocalTime = Field(description="Before `start`: on the next day.")
    slot_minutes: Minutes = Field(description=f"At most {SLOTS_A_DAY} slots fit into a session.")
    modes: slots.Modes = Field(default=[slots.Mode.AMB], description="As of a slot.")
    visibility: slots.Labels = Field(default=[slots.Visibility.SNP], description="As of a slot.")
    capacity: slots.Seats = 1
    overbooking: slots.Extra = 0
    cpts_ids: slots.Ids = Field(default=[])
    organization_types: slots.Types = Field(default=[])
    organization_ids: slots.Ids = Field(default=[])
    specialty: str | None = Field(None, examples=["SM54"])
    walk_in: bool = False
    note: slots.Note | None = None
    release: slots.Release | None = Field(
        None, description="As of a slot: before the start of each. Null or none: never."
    )
    recurrence: RecurrenceIn | None = Field(None, description="Null: it takes place once.")
    on_overlap: OnOverlap = Field(
        OnOverlap.REFUSE,
        description="`skip`: what overlaps slots of the practitioner is left out (`skipped`).",
    )

    _known_specialty = field_validator("specialty")(_specialty)

    def draft(self) -> SessionDraft:
        """Return the session as the use cases want it."""
        return SessionDraft(
            practitioner_id=self.practitioner_id,
            location_id=self.location_id,
            timetable=Timetable(
                date=self.date,
                start=self.start,
                end=self.end,
                slot_minutes=self.slot_minutes,
                recurrence=self.recurrence.recurrence() if self.recurrence else None,
            ),
            **{name: _once_each(getattr(self, name)) for name in _LISTS},
            capacity=self.capacity,
            overbooking=self.overbooking,
            specialty=self.specialty,
            walk_in=self.walk_in,
            note=self.note,
            release=slots.steps(self.release),
        )


_LISTS = ("modes", "visibility", "cpts_ids", "organization_types", "organization_ids")
_NULLABLE = frozenset({"specialty", "note", "release", "recurrence", "until", "school_zone"})
_DEFAULTED = frozenset({"except_", "skip_public_holidays", "skip_school_holidays"})


def _once_each(values: list[Any]) -> tuple[Any, ...]:
    return tuple(dict.fromkeys(values))


class _Patch(Body):
    @field_validator("*", mode="before")
    @classmethod
    def _stays(cls, value: Any, info: ValidationInfo) -> Any:
        if value is None and info.field_name not in _NULLABLE | _DEFAULTED:
            raise PydanticCustomError("required", "This member cannot be removed.")
        return value


class RecurrencePatch(_Patch):
    """JSON merge patch of a recurrence; of a session that had none, it needs `weekly`."""

    weekly: Days | None = None
    until: LocalDate | None = None
    except_: Exceptions | None = Field(None, alias="except")
    skip_public_holidays: bool | None = None
    skip_school_holidays: bool | None = None
    school_zone: SchoolZone | None = None

    def changes(self) -> dict[str, Any]:
        """Return the members that were sent."""
        return _recurrence(self, self.model_fields_set)


class SessionPatch(_Patch):
    """JSON merge patch (RFC 7396) of a session: only the members to change."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"end": "17:00", "note": "Entrée par la cour"}]}
    )

    location_id: UUID | None = None
    date: LocalDate | None = None
    start: LocalTime | None = None
    end: LocalTime | None = None
    slot_minutes: Minutes | None = None
    modes: slots.Modes | None = None
    visibility: slots.Labels | None = None
    capacity: slots.Seats | None = None
    overbooking: slots.Extra | None = None
    cpts_ids: slots.Ids | None = None
    organization_types: slots.Types | None = None
    organization_ids: slots.Ids | None = None
    specialty: str | None = None
    walk_in: bool | None = None
    note: slots.Note | None = None
    release: slots.Release | None = None
    recurrence: RecurrencePatch | None = Field(None, description="Null: only on `date`.")

    _known_specialty = field_validator("specialty")(_specialty)

    def changes(self) -> dict[str, Any]:
        """Return the members that were sent."""
        given = {name: getattr(self, name) for name in self.model_fields_set}
        for name in _LISTS:
            if name in given:
                given[name] = _once_each(given[name])
        if "release" in given:
            given["release"] = slots.steps(self.release)
        if self.recurrence is not None:
            given["recurrence"] = self.recurrence.changes()
        return given


class AbsenceIn(Body):
    """A range of instants in which a practitioner is away."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "from": "2026-12-01T08:00:00+01:00",
                    "to": "2026-12-05T20:00:00+01:00",
                    "reason": "congrès",
                }
            ]
        }
    )

    from_: Instant = Field(alias="from", description="Included; may lie in the past.")
    to: Instant = Field(description="Excluded; within a year.")
    reason: Annotated[str, Field(min_length=1, max_length=500)] | None = Field(
        None, description="Read by the doctor's side only, stored encrypted."
    )


# --- answering ----------------------------------------------------------------------------------


class RecurrenceOut(Answer):
    """Every week on these days."""

    weekly: list[Weekday]
    until: LocalDate | None
    excepted: list[LocalDate] = Field(serialization_alias="except")
    skip_public_holidays: bool
    skip_school_holidays: bool
    school_zone: SchoolZone | None


class SessionOut(Answer):
    """A session. Dates and times are local, in `zone`."""

    id: UUID
    practitioner_id: UUID | None
    location_id: UUID
    organization_id: UUID
    territory: str
    zone: str
    date: LocalDate
    start: LocalTime
    end: LocalTime
    slot_minutes: int
    modes: list[slots.Mode]
    visibility: list[slots.Visibility]
    capacity: int
    overbooking: int
    cpts_ids: list[UUID]
    organization_types: list[OrganizationType]
    organization_ids: list[UUID]
    specialty: str | None
    walk_in: bool
    note: str | None
    release: list[slots.StepOut]
    recurrence: RecurrenceOut | None
    next_date: LocalDate | None = Field(
        description="When it takes place next; null when it is over."
    )
    ended_at: datetime | None
    created_at: datetime
    version: int


class SkippedOut(Answer):
    """Slots of one date that do not stand."""

    date: LocalDate
    reason: Skip
    slots: int = Field(description="How many.")
    blocking_slots: list[UUID]


class KeptOut(Answer):
    """A slot that the amendment left as it was, because a patient relies on it."""

    slot_id: UUID
    starts_at: datetime = Field(description="In the territory's zone.")
    reason: KeptBecause = Field(
        description="`booked-outside-session`: the session as amended has no such slot any more."
    )


class ChangesOut(Answer):
    """What an amendment did: numbers of slots."""

    created: int
    amended: int
    withdrawn: int
    kept: int = Field(description="Booked: they stay as they were.")
    kept_slots: list[KeptOut] = Field(description=f"The first {SHOWN} of them, by start.")


class SessionReport(SessionOut):
    """A session with its slots."""

    created: int = Field(
        description="How many slots it has published that still are its own: past, booked"
        " and hand-withdrawn ones too. `slots` names those to come."
    )
    slots: list[UUID] = Field(description=f"The first {SHOWN} to come, by start.")
    skipped: list[SkippedOut] = Field(
        description=f"Slots asked for within {DAYS_AHEAD} days that do not stand, and why."
    )
    changes: ChangesOut | None = Field(None, description="Of the amendment that this answers.")
    visibility_warnings: list[VisibilityWarning]


class PractitionerAmended(PractitionerOut):
    """A practitioner, and what `active: false` did to their slots to come."""

    withdrawn: int | None = Field(
        None, description="Only after `active: false`: free slots that were withdrawn."
    )
    booked_slots: list[UUID] | None = Field(
        None,
        description="Only after `active: false`: they stay, with no seat for others; somebody must"
        " call these patients.",
    )


class AbsenceOut(Answer):
    """An absence, and what was taken back for it."""

    id: UUID
    practitioner_id: UUID
    from_: datetime = Field(alias="from", description="In the territory's zone.")
    to: datetime
    reason: str | None
    withdrawn: int
    cancelled: int
    withdrawn_slots: list[UUID]
    cancelled_bookings: list[UUID]
    ended_at: datetime | None
    created_at: datetime


def _members(session: Session, next_date: date | None) -> dict[str, Any]:
    times = session.timetable
    names = ("date", "start", "end", "slot_minutes")
    own = [n for n in SessionOut.model_fields if n not in {*names, "recurrence", "next_date"}]
    return {
        **{name: getattr(session, name) for name in own},
        **{name: getattr(times, name) for name in names},
        "ended_at": session.ended_at and local(session.ended_at, session.zone),
        "created_at": local(session.created_at, session.zone),
        "next_date": next_date,
        "recurrence": times.recurrence,
    }


def session_out(session: Session, next_date: date | None) -> SessionOut:
    """Render a session of a list."""
    return SessionOut.model_validate(_members(session, next_date))


def report_out(report: Report) -> SessionReport:
    """Render a session with its slots."""
    session = report.session
    return SessionReport.model_validate(
        {
            **_members(session, report.next_date),
            "created": report.created,
            "slots": report.slots,
            "skipped": report.skipped,
            "changes": report.changes and _changes(report.changes, session.zone),
            "visibility_warnings": slots.visibility_warnings(
                session.audience, walk_in=session.walk_in, release=session.release
            ),
        }
    )


def _changes(done: Changes, zone: str) -> dict[str, Any]:
    return {
        "created": done.created,
        "amended": done.amended,
        "withdrawn": done.withdrawn,
        "kept": len(done.kept_slots),
        "kept_slots": [
            {
                "slot_id": kept.slot_id,
                "starts_at": local(kept.starts_at, zone),
                "reason": kept.reason,
            }
            for kept in done.kept_slots[:SHOWN]
        ],
    }


def amended_out(left: Left) -> PractitionerAmended:
    """Render an amended practitioner."""
    entry = PractitionerOut.model_validate(left.entry).model_dump()
    if left.withdrawn is None:
        return PractitionerAmended(**entry)
    return PractitionerAmended(**entry, withdrawn=left.withdrawn, booked_slots=list(left.booked))


def absence_out(absence: Absence) -> AbsenceOut:
    """Render an absence."""
    return AbsenceOut.model_validate(
        {
            "id": absence.id,
            "practitioner_id": absence.practitioner_id,
            "from": local(absence.starts_at, absence.zone),
            "to": local(absence.ends_at, absence.zone),
            "reason": absence.reason,
            "withdrawn": len(absence.slot_ids),
            "cancelled": len(absence.booking_ids),
            "withdrawn_slots": absence.slot_ids,
            "cancelled_bookings": absence.booking_ids,
            "ended_at": absence.ended_at and local(absence.ended_at, absence.zone),
            "created_at": local(absence.created_at, absence.zone),
        }
    )
