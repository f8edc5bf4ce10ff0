"""Calls of the ambulatory regulation: qualified, taken, called back, given outcomes, closed.

States: open, awaiting_callback, called_back, closed, void; `domain.TRANSITIONS` says which step
each allows. Events: call.opened, call.amended, call.voided, call.assigned, call.unassigned,
call.called_back, call.outcome_added, call.outcome_removed, call.closed. `parts` holds who sees a
call and the outcome that a booking gives it.
"""

from service.calls import parts
from service.calls.domain import (
    MASK,
    Call,
    CallNotFound,
    CallState,
    CallStateForbids,
    Otherwise,
    Outcome,
    check_bookable,
    mask_of,
)
from service.calls.usecases import readable, set_sent_to_emergency

__all__ = [
    "MASK",
    "Call",
    "CallNotFound",
    "CallState",
    "CallStateForbids",
    "Otherwise",
    "Outcome",
    "check_bookable",
    "mask_of",
    "parts",
    "readable",
    "set_sent_to_emergency",
]
