"""JSON shapes of the room."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import ConfigDict, Field, WithJsonSchema, field_validator, model_validator
from pydantic_core import PydanticCustomError

from service.bookings.domain import (
    Booking,
    BookingRequest,
    BookingState,
    CancelledBy,
    Inform,
    Override,
)
from service.directory import LocationCard, PractitionerCard, reference
from service.kernel.events import Event
from service.kernel.http.shapes import Answer, Body, local, local_data
from service.patients import CaseId, PatientIn, PatientOut, patient_members

FreeText = Annotated[
    str, Field(max_length=500, description="Only what the doctor needs. Kept encrypted.")
]


class ReasonIn(Body):
    """Why the patient comes."""

    motive: str | None = Field(None, examples=["M03.14"], description="Code list `motives`.")
    text: FreeText | None = None

    @field_validator("motive")
    @classmethod
    def _known(cls, value: str | None) -> str | None:
        if value is not None and value not in reference.code_list("motives"):
            raise PydanticCustomError("unknown_code", "Not a motive of the national list.")
        return value


class OnBehalfOfIn(Body):
    """The professional who asks by telephone."""

    name: Annotated[str, Field(min_length=1, max_length=200)]
    rpps: Annotated[str, Field(pattern=r"^\d{11}$")] | None = None
    organization_id: UUID | None = None
    phone: Annotated[str, Field(pattern=r"^\+\d{5,18}$")] | None = None


class OverrideIn(Body):
    """A regulating doctor's reason to book against a refusal; recorded."""

    reason: Annotated[str, Field(min_length=3, max_length=500)]


class InformIn(Body):
    """What the patient is told by e-mail, or else by SMS: place, time, whom to call."""

    confirmation: bool = Field(default=False, description="Now, and when it is moved or cancelled.")
    reminder: bool = Field(default=False, description="A day before, or as the server is set up.")


class BookingIn(Body):
    """A patient on a slot. The file comes by id, inside the request, or from the call."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "slot_id": "01938c1e-7a30-7cc1-8c35-0a6a4f3a1b11",
                    "patient_file": {
                        "family_name": "Exemple",
                        "given_name": "Dominique",
                        "birth_date": "1980-01-01",
                        "sex": "F",
                        "phone": "+33600000000",
                        "commune": "36044",
                    },
                    "case_id": "LRM-123",
                    "reason": {"motive": "M03.14", "text": "fièvre depuis 2 jours"},
                    "inform_patient": {"confirmation": True, "reminder": True},
                }
            ]
        }
    )

    slot_id: UUID
    patient_file_id: UUID | None = None
    patient_file: PatientIn | None = None
    hold_id: UUID | None = None
    call_id: UUID | None = None
    case_id: CaseId | None = None
    reason: ReasonIn | None = None
    on_behalf_of: OnBehalfOfIn | None = None
    override: OverrideIn | None = None
    overbook: bool = Field(default=False, description="Beyond capacity; regulator and osnp only.")
    inform_patient: InformIn | None = Field(
        None, description="Null: nothing is sent. Nothing to who has opted out, or has no address."
    )

    @model_validator(mode="after")
    def _one_patient(self) -> Self:
        if self.patient_file_id is not None and self.patient_file is not None:
            raise PydanticCustomError(
                "two_patients", "Give patient_file_id or patient_file, not both."
            )
        if self.patient_file_id is None and self.patient_file is None and self.call_id is None:
            raise PydanticCustomError(
                "patient_missing", "Give patient_file_id, patient_file, or a call with a file."
            )
        return self

    def request(self) -> BookingRequest:
        """Return the request as the use cases want it."""
        reason = self.reason or ReasonIn()
        return BookingRequest(
            slot_id=self.slot_id,
            patient_file_id=self.patient_file_id,
            patient=self.patient_file.patient() if self.patient_file else None,
            hold_id=self.hold_id,
            call_id=self.call_id,
            case_id=self.case_id,
            motive=reason.motive,
            reason_text=reason.text,
            on_behalf_of=self.on_behalf_of.model_dump(mode="json", exclude_none=True)
            if self.on_behalf_of
            else None,
            override=Override(self.override.reason) if self.override else None,
            overbook=self.overbook,
            inform_patient=frozenset(
                what
                for what in Inform
                if self.inform_patient and getattr(self.inform_patient, what)
            ),
        )


class CancellationIn(Body):
    """Who gives the appointment up, and why."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"by": "patient", "reason": "va mieux"}]}
    )

    by: Annotated[
        CancelledBy, WithJsonSchema({"type": "string", "enum": ["patient", "requester", "doctor"]})
    ] = Field(description="It must fit your side.")
    reason: FreeText | None = None

    @field_validator("by", mode="before")
    @classmethod
    def _not_the_system(cls, value: Any) -> Any:
        if value not in ("patient", "requester", "doctor"):
            raise PydanticCustomError("by", "One of these: patient, requester or doctor.")
        return value


class ReschedulingIn(Body):
    """Where to."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"slot_id": "01938c1e-7a32-7e10-8b1c-2d3e4f506172"}]}
    )

    slot_id: UUID
    hold_id: UUID | None = None


class ReportIn(Body):
    """What happened."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"state": "fulfilled", "sent_to_emergency": False}]}
    )

    state: Annotated[
        BookingState, WithJsonSchema({"type": "string", "enum": ["fulfilled", "noshow"]})
    ]
    detail: FreeText | None = None
    sent_to_emergency: bool = Field(
        default=False, description="The doctor sent the patient on to the emergency department."
    )

    @field_validator("state", mode="before")
    @classmethod
    def _came_or_not(cls, value: Any) -> Any:
        if value not in ("fulfilled", "noshow"):
            raise PydanticCustomError("state", "One of these: fulfilled or noshow.")
        return value


class BookedSlot(Answer):
    """When and how."""

    id: UUID
    starts_at: datetime = Field(description="In the territory's zone.")
    ends_at: datetime
    modes: list[str]
    specialty: str | None
    note: str | None


class RequestedBy(Answer):
    """Who asked: organization, role, and the person, asserted or proven (`proof`)."""

    organization_id: UUID
    organization_type: str
    role: str
    person: dict[str, str] | None
    on_behalf_of: dict[str, Any] | None


class ReportOut(Answer):
    """What happened, as the doctor's side says."""

    state: BookingState
    detail: str | None
    sent_to_emergency: bool
    reported_at: datetime


class CancellationOut(Answer):
    """Who gave it up, when and why."""

    by: CancelledBy
    reason: str | None
    at: datetime


class InformOut(Answer):
    """What the patient is told."""

    confirmation: bool
    reminder: bool


class BookingOut(Answer):
    """A booking, for its two sides."""

    id: UUID
    state: BookingState
    slot: BookedSlot
    practitioner: PractitionerCard | None
    location: LocationCard
    territory: str
    patient_file_id: UUID
    patient: PatientOut | None = Field(
        None, description="Null in the answer to POST /v1/bookings: GET and lists show it."
    )
    case_id: str | None
    call_id: UUID | None
    motive: str | None
    reason_text: str | None
    requested_by: RequestedBy
    inform_patient: InformOut | None = Field(None, description="Null: nothing is sent.")
    overbooked: bool
    override_reason: str | None
    cancellation: CancellationOut | None
    report: ReportOut | None
    warnings: list[str] = Field(
        default=[],
        description="Codes that ask for care though they did not forbid the booking: the motive's"
        " own, where it may turn out to be an emergency, and `patient-not-identified`: without"
        " family name, given name, birth date and sex, an overlapping appointment of the same"
        " patient is only noticed under the same `patient_file_id`.",
    )
    version: int
    created_at: datetime
    updated_at: datetime


class EventOut(Answer):
    """One thing that happened."""

    id: UUID
    type: str
    occurred_at: datetime = Field(description="In the territory's zone, as the times in `data`.")
    role: str | None
    organization_id: UUID | None
    person: dict[str, str] | None
    data: dict[str, Any]


class HistoryOut(Answer):
    """What happened to a booking, oldest first."""

    items: list[EventOut]


def booking_out(booking: Booking) -> BookingOut:
    """Render a booking."""
    zone = booking.zone

    def at(value: datetime) -> datetime:
        return local(value, zone)

    return BookingOut.model_validate(
        {
            "id": booking.id,
            "state": booking.state,
            "slot": {
                **booking.slot,
                "starts_at": at(booking.starts_at),
                "ends_at": at(booking.ends_at),
            },
            "practitioner": booking.practitioner,
            "location": booking.location,
            "territory": booking.territory,
            "patient_file_id": booking.patient_file_id,
            "patient": booking.patient and patient_members(booking.patient),
            "case_id": booking.case_id,
            "call_id": booking.call_id,
            "motive": booking.motive,
            "reason_text": booking.reason_text,
            "requested_by": {
                "organization_id": booking.organization_id,
                "organization_type": booking.organization_type,
                "role": booking.role,
                "person": booking.person,
                "on_behalf_of": booking.on_behalf_of,
            },
            "inform_patient": {str(what): what in booking.inform_patient for what in Inform}
            if booking.inform_patient
            else None,
            "overbooked": booking.overbooked,
            "override_reason": booking.override_reason,
            "cancellation": booking.cancelled_at
            and {
                "by": booking.cancelled_by,
                "reason": booking.cancel_reason,
                "at": at(booking.cancelled_at),
            },
            "report": booking.reported_at
            and {
                "state": booking.state,
                "detail": booking.report_detail,
                "sent_to_emergency": booking.sent_to_emergency,
                "reported_at": at(booking.reported_at),
            },
            "warnings": booking.warnings(),
            "version": booking.version,
            "created_at": at(booking.created_at),
            "updated_at": at(booking.updated_at),
        }
    )


def history_out(booking: Booking, told: Sequence[Event]) -> HistoryOut:
    """Render what happened to a booking."""
    zone = booking.zone
    return HistoryOut.model_validate(
        {
            "items": [
                replace(
                    event,
                    occurred_at=local(event.occurred_at, zone),
                    data=local_data(event.data, zone),
                )
                for event in told
            ]
        }
    )
