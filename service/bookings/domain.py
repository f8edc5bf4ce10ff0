"""What a booking is, its states, and why one is refused. Pure: no I/O, no clock."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from service.identity import Actor, Role
from service.kernel.errors import Conflict, FieldError, Forbidden, Invalid, NotFound
from service.kernel.events import Event
from service.patients import Patient

CORRECTION = timedelta(days=30)

# Another file of the same person may have a booking at that time: nobody can tell.
NOT_IDENTIFIED = "patient-not-identified"


class BookingState(StrEnum):
    """National states of an appointment (RS-SAS-RDV, FHIR Appointment)."""

    BOOKED = "booked"
    FULFILLED = "fulfilled"
    NOSHOW = "noshow"
    CANCELLED = "cancelled"


class Action(StrEnum):
    """What may be done to a booking."""

    REPORT_FULFILLED = "report_fulfilled"
    REPORT_NOSHOW = "report_noshow"
    CANCEL = "cancel"
    RESCHEDULE = "reschedule"


# The whole machine: what is not here is refused with `booking-state`.
TRANSITIONS: Mapping[BookingState, Mapping[Action, BookingState]] = {
    BookingState.BOOKED: {
        Action.REPORT_FULFILLED: BookingState.FULFILLED,
        Action.REPORT_NOSHOW: BookingState.NOSHOW,
        Action.CANCEL: BookingState.CANCELLED,
        Action.RESCHEDULE: BookingState.BOOKED,
    },
    BookingState.FULFILLED: {
        Action.REPORT_FULFILLED: BookingState.FULFILLED,
        Action.REPORT_NOSHOW: BookingState.NOSHOW,
    },
    BookingState.NOSHOW: {
        Action.REPORT_FULFILLED: BookingState.FULFILLED,
        Action.REPORT_NOSHOW: BookingState.NOSHOW,
    },
    BookingState.CANCELLED: {},
}


class CancelledBy(StrEnum):
    """Who gave the appointment up."""

    PATIENT = "patient"
    REQUESTER = "requester"
    DOCTOR = "doctor"
    SYSTEM = "system"


class Inform(StrEnum):
    """What a booking asks to tell its patient."""

    CONFIRMATION = "confirmation"
    REMINDER = "reminder"


class BookingNotFound(NotFound):
    """No such booking, or not for this caller: told in the same words."""

    code = "booking-not-found"
    title = "No booking of this id is visible to you."


class BookingStateRefused(Conflict):
    """The booking's state does not allow it."""

    code = "booking-state"
    title = "The state of this booking does not allow that."


class BookingStarted(Conflict):
    """The appointment has started: what happened goes into the report."""

    code = "already-started"
    title = "This appointment has started: use the report."


class ReportTooEarly(Conflict):
    """A report before the appointment."""

    code = "too-early"
    title = "What happened is reported from the start of the appointment on."


class CorrectionTooLate(Conflict):
    """A correction after 30 days."""

    code = "correction-too-late"
    title = "A report can be corrected for 30 days."


class PatientAlreadyBooked(Conflict):
    """The same person already has a live booking at that time."""

    code = "patient-already-booked"
    title = "This patient already has an appointment that overlaps this one."


class VitalEmergency(Invalid):
    """The motive or priority means a vital emergency: not for a slot."""

    code = "vital-emergency"
    title = "This may be a vital emergency: transfer to the 15. A regulating doctor may override."


class OverrideRefused(Forbidden):
    """Only a regulating doctor overrides."""

    code = "override-not-allowed"
    title = "Only a regulating doctor may override, with a reason."


class OverbookRefused(Forbidden):
    """Only regulators and OSNP book beyond capacity."""

    code = "overbook-not-allowed"
    title = "Only a regulator or an OSNP books beyond the capacity of a slot."


class BookingInvalid(Invalid):
    """The request breaks a rule that needs more than its shape."""

    code = "booking-invalid"
    title = "This booking breaks a rule."


def after(state: BookingState, action: Action) -> BookingState:
    """Return the state after an action. Refuses with `booking-state`."""
    found = TRANSITIONS[state].get(action)
    if found is None:
        raise BookingStateRefused(state=state)
    return found


class Vital(StrEnum):
    """What a code means for a booking."""

    REFUSE = "refuse"
    WARN = "warn"


# What a vital emergency is. A motive of one family is named by its prefix.
VITAL: Mapping[str, Vital] = {
    "P0": Vital.REFUSE,
    "R1": Vital.REFUSE,
    "M01": Vital.REFUSE,
    "M02.02": Vital.REFUSE,
    "M03.01": Vital.REFUSE,
    "M03.06": Vital.REFUSE,
    "M03.08": Vital.REFUSE,
    "M03.12": Vital.REFUSE,
    "M03.19": Vital.REFUSE,
    "P1": Vital.WARN,
    "R2": Vital.WARN,
    "M02.04": Vital.WARN,
    "M02.08": Vital.WARN,
    "M02.09": Vital.WARN,
    "M02.10": Vital.WARN,
    "M03.10": Vital.WARN,
}


def vital(code: str | None) -> Vital | None:
    """Say what a motive, priority or care level means for a booking."""
    if code is None:
        return None
    return VITAL.get(code) or VITAL.get(code.partition(".")[0])


def check_cancelled_by(by: CancelledBy, *, requester: bool, doctor: bool) -> None:
    """Refuse a `by` that does not fit the caller's side."""
    fits = (
        (by is CancelledBy.PATIENT)
        or (by is CancelledBy.REQUESTER and requester)
        or (by is CancelledBy.DOCTOR and doctor)
    )
    if not fits:
        raise BookingInvalid(
            FieldError("#/by", "by-not-your-side", "Say patient, or the side that you are on.")
        )


def seen_by_doctor(event: Event, booking: "Booking") -> Event:
    """Return an event without what it tells of other doctors' slots."""
    ours = str(booking.practitioner_id or booking.practitioner_organization_id)
    theirs = event.data.get("practitioner_id") or event.data.get("practitioner_organization_id")
    if theirs == ours:
        kept = {k: v for k, v in event.data.items() if not k.startswith("from_")}
    else:
        kept = {k: event.data[k] for k in ("state", "case_id") if k in event.data}
    return replace(event, data=kept)


@dataclass(frozen=True, slots=True)
class Override:
    """A regulating doctor's recorded reason to book against a refusal."""

    reason: str


@dataclass(frozen=True, slots=True)
class Full:
    """Why nothing was booked: every seat is taken; how many more could be asked for.

    `own_booking` when the caller's organization has one of the seats.
    """

    overbooking_left: int
    own_booking: UUID | None


@dataclass(frozen=True, slots=True)
class BookingRequest:
    """What is asked for."""

    slot_id: UUID
    patient_file_id: UUID | None
    patient: Patient | None
    hold_id: UUID | None
    call_id: UUID | None
    case_id: str | None
    motive: str | None
    reason_text: str | None
    on_behalf_of: Mapping[str, Any] | None
    override: Override | None
    overbook: bool
    inform_patient: frozenset[Inform] = frozenset()


def check_request(actor: Actor, asked: BookingRequest) -> None:
    """Refuse what the caller's role or the body alone already forbids."""
    if asked.override is not None and actor.role is not Role.REGULATOR:
        raise OverrideRefused
    if asked.overbook and actor.role not in {Role.REGULATOR, Role.OSNP}:
        raise OverbookRefused
    if actor.role is Role.PLATFORM_OPERATOR and asked.on_behalf_of is None:
        raise BookingInvalid(
            FieldError(
                "#/on_behalf_of",
                "on-behalf-of-missing",
                "A platform operator names the professional who asks.",
            )
        )
    if vital(asked.motive) is Vital.REFUSE and asked.override is None:
        raise VitalEmergency(
            FieldError("#/reason/motive", VitalEmergency.code, VitalEmergency.title)
        )


@dataclass(frozen=True, slots=True)
class Made:
    """When a booking was made, and by whom, as far as that is kept."""

    created_at: datetime
    person: Mapping[str, str] | None


@dataclass(frozen=True, slots=True)
class Booking:
    """A booking as read by one of its two sides."""

    id: UUID
    state: BookingState
    slot: Mapping[str, Any]
    zone: str
    practitioner: Mapping[str, Any] | None
    location: Mapping[str, Any]
    practitioner_id: UUID | None
    practitioner_organization_id: UUID
    patient_file_id: UUID
    patient: Patient | None
    patient_identified: bool
    territory: str
    starts_at: datetime
    ends_at: datetime
    organization_id: UUID
    organization_type: str
    role: str
    person: Mapping[str, str] | None
    on_behalf_of: Mapping[str, Any] | None
    call_id: UUID | None
    case_id: str | None
    motive: str | None
    reason_text: str | None
    inform_patient: frozenset[Inform]
    overbooked: bool
    override_reason: str | None
    cancelled_by: CancelledBy | None
    cancelled_at: datetime | None
    cancel_reason: str | None
    reported_at: datetime | None
    report_detail: str | None
    sent_to_emergency: bool
    version: int
    created_at: datetime
    updated_at: datetime
    now: datetime

    @property
    def started(self) -> bool:
        """Tell whether the appointment has started."""
        return self.starts_at <= self.now

    def says(self, state: BookingState, detail: str | None, *, sent_to_emergency: bool) -> bool:
        """Tell whether this very report has been made already."""
        told = (self.state, self.report_detail, self.sent_to_emergency)
        return self.reported_at is not None and told == (state, detail, sent_to_emergency)

    def warnings(self) -> list[str]:
        """Return the codes that ask for care, though they did not forbid the booking."""
        warned = [self.motive] if self.motive and vital(self.motive) is Vital.WARN else []
        return warned if self.patient_identified else [*warned, NOT_IDENTIFIED]

    def facts(self) -> dict[str, Any]:
        """Return what events tell about it: ids, state, times; nothing about the patient."""
        return {
            "state": str(self.state),
            "slot_id": str(self.slot["id"]),
            "practitioner_id": self.practitioner_id and str(self.practitioner_id),
            "practitioner_organization_id": str(self.practitioner_organization_id),
            "organization_id": str(self.organization_id),
            "starts_at": self.starts_at.isoformat(),
            "ends_at": self.ends_at.isoformat(),
            "case_id": self.case_id,
            "call_id": self.call_id and str(self.call_id),
        }
