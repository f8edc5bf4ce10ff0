"""JSON shapes of the room."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    JsonValue,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

from service.calls.domain import (
    ATTRIBUTIONS,
    DECISIONS,
    DEFAULT_MOTIVE,
    DEFAULT_PRIORITY,
    QUALIFYING,
    Attempt,
    Call,
    CallDraft,
    CallState,
    Otherwise,
    Outcome,
    RecordedOutcome,
)
from service.directory import reference
from service.kernel.http.shapes import Answer, Body, Instant, local
from service.patients import CaseId


def _code(list_name: str) -> AfterValidator:
    """Refuse a code that the national list does not have."""

    def known(value: str) -> str:
        if value not in reference.code_list(list_name):
            raise PydanticCustomError(
                "unknown_code", "Not a code of GET /v1/code-lists/{list}.", {"list": list_name}
            )
        return value

    return AfterValidator(known)


def _given_by_hand(value: Outcome) -> Outcome:
    if value is Outcome.SLOT_ORIENTATION:
        raise PydanticCustomError(
            "outcome_by_booking", "slot_orientation comes with a booking, never by hand."
        )
    return value


Line = Annotated[str, _code("lines")]
CallerType = Annotated[str, _code("caller_types")]
Motive = Annotated[str, _code("motives")]
Priority = Annotated[str, _code("priorities")]
CareLevel = Annotated[str, _code("care_levels")]
Protocol = Annotated[str, Field(min_length=1, max_length=200)]

_EXAMPLE: dict[str, JsonValue] = {
    "line": "116117",
    "received_at": "2026-12-01T13:40:00+01:00",
    "caller_type": "SUJET",
    "motive": "M03.14",
    "priority": "P2",
    "care_level": "R3",
    "case_id": "LRM-123",
    "callback_requested": True,
}


class CallIn(Body):
    """A call passed to the ambulatory regulation. A vital emergency does not refuse it."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    line: Line = Field(description="Code list `lines`: 116117, 15, ...")
    received_at: Instant = Field(description="Any past (late entry), at most 5 minutes ahead.")
    territory: str | None = Field(
        None, max_length=3, description="Default: the centre's own territory."
    )
    caller_type: CallerType | None = Field(None, description="Code list `caller_types`.")
    cpts_id: UUID | None = Field(None, description="Community of the patient's commune.")
    motive: Motive = Field(DEFAULT_MOTIVE, description="Code list `motives`.")
    priority: Priority = Field(
        DEFAULT_PRIORITY, description="Code list `priorities`: P0 to P3; NR, not regulated."
    )
    care_level: CareLevel | None = Field(None, description="Code list `care_levels`: R1 to R4.")
    patient_file_id: UUID | None = None
    case_id: CaseId | None = None
    callback_requested: bool = Field(
        default=False, description="Puts the call into the call-back queue, from now on."
    )
    protocol: Protocol | None = Field(
        None, description="The written protocol, when no doctor regulates the call."
    )

    def draft(self) -> CallDraft:
        """Return the call as the use case wants it."""
        members = {name: getattr(self, name) for name in CallIn.model_fields}
        return CallDraft(**members, qualifies=bool(QUALIFYING & self.model_fields_set))


_REMOVABLE = frozenset(
    {"caller_type", "cpts_id", "care_level", "patient_file_id", "case_id", "protocol"}
)


class CallPatch(Body):
    """JSON merge patch (RFC 7396) of a call; or `{"void": true}` alone: opened by mistake."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"priority": "P1", "care_level": "R2", "callback_requested": True}]
        }
    )

    line: Line | None = None
    received_at: Instant | None = None
    caller_type: CallerType | None = None
    cpts_id: UUID | None = None
    motive: Motive | None = None
    priority: Priority | None = None
    care_level: CareLevel | None = None
    patient_file_id: UUID | None = None
    case_id: CaseId | None = None
    callback_requested: bool | None = Field(
        None, description="True: into the queue. False: out of it, as long as nobody called back."
    )
    protocol: Protocol | None = None
    void: Literal[True] | None = Field(
        None, description="Alone: void an open call without outcomes. There is no way back."
    )

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        for name in sorted(self.model_fields_set - _REMOVABLE):
            if getattr(self, name) is None:
                raise PydanticCustomError("required", "{name} cannot be removed.", {"name": name})
        if self.void and len(self.model_fields_set) > 1:
            raise PydanticCustomError("void_alone", "`void` comes alone.")
        return self

    def changes(self) -> dict[str, Any]:
        """Return the members that were sent."""
        return {name: getattr(self, name) for name in self.model_fields_set}


class CallbackIn(Body):
    """A call-back made (`reached`) or tried."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"reached": True}]})

    at: Instant | None = Field(None, description="Default: now.")
    reached: bool


class OutcomeIn(Body):
    """How the call ended, or one of the ways."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"outcome": "medical_advice"}]})

    outcome: Annotated[
        Outcome,
        AfterValidator(_given_by_hand),
        WithJsonSchema(
            {"type": "string", "enum": [o for o in Outcome if o is not Outcome.SLOT_ORIENTATION]}
        ),
    ]
    pharmacy_id: UUID | None = Field(
        None, description="With `prescription`: the pharmacy that the patient chose."
    )

    @model_validator(mode="after")
    def _pharmacy_fits(self) -> Self:
        if self.pharmacy_id is not None and self.outcome is not Outcome.PRESCRIPTION:
            raise PydanticCustomError("pharmacy_id", "A pharmacy is named with a prescription.")
        return self


class ClosureIn(Body):
    """What the patient would otherwise have done, as the regulator estimates it."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"otherwise": "emergency_department"}]}
    )

    otherwise: Otherwise = Otherwise.UNKNOWN


class WhoOut(Answer):
    """Who did it: the role, and the person, asserted by their software or proven (`proof`)."""

    role: str
    person: dict[str, str] | None


class OutcomeOut(Answer):
    """A live outcome of a call, with the national codes it stands for."""

    id: UUID
    outcome: Outcome
    decision: str | None = Field(description="HubSante.typeDecision: CONSEIL, ORIENT, PMT.")
    attribution: str | None = Field(description="HubSante.attribution: DRM.MRU.")
    pharmacy_id: UUID | None
    booking_id: UUID | None
    created_at: datetime


class CallbackOut(Answer):
    """A call-back made or tried."""

    id: UUID
    at: datetime
    reached: bool
    made_by: WhoOut | None


class CallOut(Answer):
    """A call as its centre reads it. Times are in the territory's zone."""

    id: UUID
    state: CallState
    territory: str
    organization_id: UUID
    line: str
    received_at: datetime
    caller_type: str | None
    cpts_id: UUID | None
    motive: str
    priority: str
    care_level: str | None
    patient_file_id: UUID | None
    case_id: str | None
    callback_requested: bool
    callback_requested_at: datetime | None = Field(description="When it entered the queue.")
    first_attempt_at: datetime | None
    called_back_at: datetime | None = Field(description="When the patient was first reached.")
    qualified_by: WhoOut | None
    regulated_by: WhoOut | None = Field(description="Nobody yet, or nobody: see `protocol`.")
    protocol: str | None
    assigned_to: WhoOut | None
    assigned_at: datetime | None
    outcomes: list[OutcomeOut]
    callbacks: list[CallbackOut]
    otherwise: Otherwise | None
    sent_to_emergency: bool = Field(description="By the doctor who saw the patient.")
    closed_at: datetime | None
    created_at: datetime
    version: int


class OutcomeAdded(OutcomeOut):
    """The new outcome, and its call as it is now."""

    call: CallOut


class CallbackAdded(CallbackOut):
    """The call-back, and its call as it is now."""

    call: CallOut


_INSTANTS = (
    "received_at",
    "callback_requested_at",
    "first_attempt_at",
    "called_back_at",
    "assigned_at",
    "closed_at",
    "created_at",
)
_SAME = (
    "id",
    "state",
    "territory",
    "organization_id",
    "line",
    "caller_type",
    "cpts_id",
    "motive",
    "priority",
    "care_level",
    "patient_file_id",
    "case_id",
    "callback_requested",
    "qualified_by",
    "regulated_by",
    "protocol",
    "assigned_to",
    "otherwise",
    "sent_to_emergency",
    "version",
)


def call_out(call: Call) -> CallOut:
    """Render a call."""
    instants = {name: getattr(call, name) for name in _INSTANTS}
    return CallOut.model_validate(
        {
            **{name: getattr(call, name) for name in _SAME},
            **{name: at and local(at, call.zone) for name, at in instants.items()},
            "outcomes": [_outcome(outcome, call.zone) for outcome in call.outcomes],
            "callbacks": [_callback(attempt, call.zone) for attempt in call.callbacks],
        }
    )


def _outcome(outcome: RecordedOutcome, zone: str) -> dict[str, Any]:
    return {
        "id": outcome.id,
        "outcome": outcome.outcome,
        "decision": DECISIONS.get(outcome.outcome),
        "attribution": ATTRIBUTIONS.get(outcome.outcome),
        "pharmacy_id": outcome.pharmacy_id,
        "booking_id": outcome.booking_id,
        "created_at": local(outcome.created_at, zone),
    }


def _callback(attempt: Attempt, zone: str) -> dict[str, Any]:
    return {
        "id": attempt.id,
        "at": local(attempt.at, zone),
        "reached": attempt.reached,
        "made_by": attempt.made_by,
    }


def outcome_added(call: Call, outcome: RecordedOutcome) -> OutcomeAdded:
    """Render a new outcome with its call."""
    return OutcomeAdded.model_validate({**_outcome(outcome, call.zone), "call": call_out(call)})


def callback_added(call: Call, attempt: Attempt) -> CallbackAdded:
    """Render a call-back with its call."""
    return CallbackAdded.model_validate({**_callback(attempt, call.zone), "call": call_out(call)})
