"""What a call is, which steps each of its states allows, and why a step is refused. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Any
from uuid import UUID

from service.kernel.errors import Conflict, FieldError, Invalid, NotFound

AHEAD = timedelta(minutes=5)  # clocks of regulation software run apart by so much
OUTCOMES_OPEN = timedelta(days=30)  # after closing, outcomes may still be corrected

DEFAULT_MOTIVE = "M07.00"
DEFAULT_PRIORITY = "P2"
PRIORITIES = ("P0", "P1", "P2", "P3", "NR")  # in the order of the call-back queue
QUALIFYING = frozenset({"motive", "priority", "care_level"})  # who sets one has qualified the call


class Outcome(StrEnum):
    """How a call ended, in the order of the bits of `calls.outcome_mask`.

    A call may have several (advice and a prescription). The last three form the published
    category "other".
    """

    MEDICAL_ADVICE = "medical_advice"
    SLOT_ORIENTATION = "slot_orientation"
    PRESCRIPTION = "prescription"
    PATIENT_UNREACHABLE = "patient_unreachable"
    REDIRECTED_TO_15 = "redirected_to_15"
    OTHER = "other"


MASK: Mapping[Outcome, int] = MappingProxyType({o: 1 << n for n, o in enumerate(Outcome)})

# National codes of an outcome: HubSante.typeDecision, HubSante.attribution.
DECISIONS: Mapping[Outcome, str] = MappingProxyType(
    {
        Outcome.MEDICAL_ADVICE: "CONSEIL",
        Outcome.SLOT_ORIENTATION: "ORIENT",
        Outcome.PRESCRIPTION: "PMT",
    }
)
ATTRIBUTIONS: Mapping[Outcome, str] = MappingProxyType({Outcome.REDIRECTED_TO_15: "DRM.MRU"})


def mask_of(outcomes: Iterable[Outcome]) -> int:
    """Return the mask of some outcomes: one named twice counts once."""
    mask = 0
    for outcome in outcomes:
        mask |= MASK[outcome]
    return mask


class Otherwise(StrEnum):
    """What the patient would otherwise have done, as the regulator records it at closure."""

    NONE = "none"
    WAIT = "wait"
    OWN_DOCTOR = "own_doctor"
    EMERGENCY_DEPARTMENT = "emergency_department"
    EMERGENCY_CALL = "emergency_call"
    UNKNOWN = "unknown"


class CallState(StrEnum):
    """States of a call; docs/states.md says what leads where. `void`: opened by mistake."""

    OPEN = "open"
    AWAITING_CALLBACK = "awaiting_callback"
    CALLED_BACK = "called_back"
    CLOSED = "closed"
    VOID = "void"


class Action(StrEnum):
    """What can be done to a call."""

    AMEND = "amend"
    REQUEST_CALLBACK = "request_callback"
    WITHDRAW_CALLBACK = "withdraw_callback"
    ASSIGN = "assign"
    UNASSIGN = "unassign"
    MISS = "miss"  # a call-back that nobody answered
    REACH = "reach"
    ADD_OUTCOME = "add_outcome"
    REMOVE_OUTCOME = "remove_outcome"
    BOOK = "book"
    CLOSE = "close"
    VOID = "void"


_O, _A, _B, _C = (
    CallState.OPEN,
    CallState.AWAITING_CALLBACK,
    CallState.CALLED_BACK,
    CallState.CLOSED,
)

# Whatever is not in the table is refused with `call-state`.
TRANSITIONS: Mapping[CallState, Mapping[Action, CallState]] = {
    CallState.OPEN: {
        Action.AMEND: _O,
        Action.REQUEST_CALLBACK: _A,
        Action.ASSIGN: _O,
        Action.UNASSIGN: _O,
        Action.MISS: _O,
        Action.REACH: _B,
        Action.ADD_OUTCOME: _O,
        Action.REMOVE_OUTCOME: _O,
        Action.BOOK: _O,
        Action.CLOSE: _C,
        Action.VOID: CallState.VOID,
    },
    CallState.AWAITING_CALLBACK: {
        Action.AMEND: _A,
        Action.WITHDRAW_CALLBACK: _O,
        Action.ASSIGN: _A,
        Action.UNASSIGN: _A,
        Action.MISS: _A,
        Action.REACH: _B,
        Action.ADD_OUTCOME: _A,
        Action.REMOVE_OUTCOME: _A,
        Action.BOOK: _A,
        Action.CLOSE: _C,
    },
    CallState.CALLED_BACK: {
        Action.AMEND: _B,
        Action.ASSIGN: _B,
        Action.UNASSIGN: _B,
        Action.MISS: _B,
        Action.REACH: _B,
        Action.ADD_OUTCOME: _B,
        Action.REMOVE_OUTCOME: _B,
        Action.BOOK: _B,
        Action.CLOSE: _C,
    },
    CallState.CLOSED: {
        Action.ADD_OUTCOME: _C,
        Action.REMOVE_OUTCOME: _C,
    },
    CallState.VOID: {},
}


def allowing(action: Action) -> tuple[CallState, ...]:
    """Return the states that allow an action."""
    return tuple(state for state, actions in TRANSITIONS.items() if action in actions)


class CallNotFound(NotFound):
    """No such call, or not for this caller: told in the same words."""

    code = "call-not-found"
    title = "No call of this id is visible to you."


class OutcomeNotFound(NotFound):
    """The call has no (live) outcome of this id."""

    code = "outcome-not-found"
    title = "This call has no outcome of this id."


class CallStateForbids(Conflict):
    """The state of the call does not allow it; names the state and what was tried."""

    code = "call-state"
    title = "The state of this call does not allow this."


class CallAssigned(Conflict):
    """Somebody else has taken the call; names the role and the person."""

    code = "call-assigned"
    title = "Somebody else has taken this call."


class OutcomeMissing(Conflict):
    """A call is closed with at least one outcome."""

    code = "outcome-missing"
    title = "This call has no outcome yet: add one, then close it."


class OutcomeOfBooking(Conflict):
    """The outcome comes with a booking and stays: the call was oriented."""

    code = "outcome-of-booking"
    title = "This outcome comes from a booking: it cannot be removed."


class CallInvalid(Invalid):
    """Rules of a call that need more than the body's shape."""

    code = "call-invalid"
    title = "This call breaks a rule."


def after(state: CallState, action: Action) -> CallState:
    """Return the state that an action leads to. Refusal: `call-state`."""
    target = TRANSITIONS[state].get(action)
    if target is None:
        raise _forbidden(state, action)
    return target


def _forbidden(state: CallState, action: Action, detail: str | None = None) -> CallStateForbids:
    return CallStateForbids(detail, state=state.value, action=action.value)


@dataclass(frozen=True, slots=True)
class CallDraft:
    """A call as told; `qualifies` when it came with a motive, a priority or a care level."""

    line: str
    received_at: datetime
    territory: str | None
    caller_type: str | None
    cpts_id: UUID | None
    motive: str
    priority: str
    care_level: str | None
    patient_file_id: UUID | None
    case_id: str | None
    callback_requested: bool
    protocol: str | None
    qualifies: bool


@dataclass(frozen=True, slots=True)
class RecordedOutcome:
    """A live outcome of a call; `booking_id` names the booking that it came with."""

    id: UUID
    outcome: Outcome
    pharmacy_id: UUID | None
    booking_id: UUID | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Attempt:
    """A call-back made or tried."""

    id: UUID
    at: datetime
    reached: bool
    made_by: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Call:
    """A call as its centre reads it; `now` is the instant of the reading."""

    id: UUID
    territory: str
    zone: str
    organization_id: UUID
    cpts_id: UUID | None
    line: str
    received_at: datetime
    caller_type: str | None
    motive: str
    priority: str
    care_level: str | None
    patient_file_id: UUID | None
    case_id: str | None
    state: CallState
    qualified_by: Mapping[str, Any] | None
    regulated_by: Mapping[str, Any] | None
    protocol: str | None
    assigned_to: Mapping[str, Any] | None
    assigned_at: datetime | None
    callback_requested_at: datetime | None
    first_attempt_at: datetime | None
    called_back_at: datetime | None
    outcome_mask: int
    otherwise: Otherwise | None
    sent_to_emergency: bool
    closed_at: datetime | None
    version: int
    created_at: datetime
    outcomes: tuple[RecordedOutcome, ...]
    callbacks: tuple[Attempt, ...]
    now: datetime

    @property
    def callback_requested(self) -> bool:
        """Tell whether a call-back was asked for (it may have been made since)."""
        return self.callback_requested_at is not None

    def assigned_to_other(self, me: Mapping[str, object]) -> bool:
        """Tell whether somebody else than `me` (`Actor.named`) has taken the call."""
        return self.assigned_to is not None and assignee(self.assigned_to) != assignee(me)


def assignee(who: Mapping[str, Any]) -> tuple[str, str, Any]:
    """Return what tells one taker of calls from another.

    The client and role, and the person who works with it: its `id`, or all that is asserted
    when it has none, so that a corrected name or e-mail does not make somebody else of a doctor.
    """
    person = who.get("person") or {}
    return (str(who["client_id"]), str(who["role"]), person.get("id") or dict(person))


def check_bookable(call: Call) -> None:
    """Refuse a booking for a call that is closed or void. Refusal: `call-state`."""
    after(call.state, Action.BOOK)


def refuse_assigned(call: Call) -> CallAssigned:
    """Return the refusal that says who has the call: role and person, no software."""
    who = call.assigned_to or {}
    return CallAssigned(assigned_to={"role": who.get("role"), "person": who.get("person")})


# --- rules --------------------------------------------------------------------------------------


def check_received(received_at: datetime, now: datetime) -> None:
    """Refuse a call received later than clocks may differ; any past is late entry, and normal."""
    if received_at > now + AHEAD:
        raise CallInvalid(
            FieldError(
                "#/received_at", "received-in-the-future", "At most 5 minutes ahead of the clock."
            )
        )


def check_attempt(call: Call, at: datetime) -> None:
    """Refuse a call-back in the future, or before the call itself."""
    if at > call.now + AHEAD:
        raise CallInvalid(
            FieldError("#/at", "call-back-in-the-future", "At most 5 minutes ahead of the clock.")
        )
    if at < call.received_at - AHEAD:
        raise CallInvalid(
            FieldError("#/at", "call-back-before-call", "The call was received after that.")
        )


def attempted(call: Call, *, at: datetime, reached: bool) -> dict[str, Any]:
    """Return what a call-back changes in the call. An unreached one keeps it in the queue.

    A call-back told as earlier than its request means that the call was entered late: it has then
    waited since it was received, and its delay counts from there.
    """
    changes: dict[str, Any] = {
        "state": after(call.state, Action.REACH if reached else Action.MISS),
        "first_attempt_at": at if call.first_attempt_at is None else min(call.first_attempt_at, at),
    }
    if reached:
        known = call.called_back_at
        changes["called_back_at"] = at if known is None else min(known, at)
    requested = call.callback_requested_at
    if requested is not None and at < requested:
        changes["callback_requested_at"] = min(call.received_at, at)
    return changes


def callback_flag(call: Call, *, wanted: bool) -> dict[str, Any]:
    """Return what setting `callback_requested` changes; nothing when it is so already.

    A request starts a new wait. It cannot be withdrawn once tried: the wait was real.
    """
    if wanted == call.callback_requested:
        return {}
    if wanted:
        return {
            "state": after(call.state, Action.REQUEST_CALLBACK),
            "callback_requested_at": call.now,
            "first_attempt_at": None,
        }
    state = after(call.state, Action.WITHDRAW_CALLBACK)
    if call.first_attempt_at is not None:
        raise _forbidden(call.state, Action.WITHDRAW_CALLBACK, "It was tried: the request stays.")
    return {"state": state, "callback_requested_at": None}


def check_outcomes_open(call: Call, action: Action) -> None:
    """Refuse a change of outcomes that the state, or 30 days since closing, do not allow."""
    after(call.state, action)
    if call.closed_at is not None and call.now > call.closed_at + OUTCOMES_OPEN:
        raise _forbidden(call.state, action, "Outcomes stay open for 30 days after closing.")


def check_void(call: Call) -> None:
    """Refuse to void a call that has been worked on: it did exist."""
    after(call.state, Action.VOID)
    if call.outcome_mask or call.callbacks:
        raise _forbidden(call.state, Action.VOID, "It has an outcome or a call-back.")
