"""Slots: doctors publish room that the public cannot see; those who may see it hold and book it.

States (derived): open, full, withdrawn, past. Events: slot.published, slot.amended,
slot.withdrawn, hold.placed, hold.released. `parts` holds the rule of who sees a slot and the
taking of a seat, for bookings.
"""

from service.slots import parts
from service.slots.domain import (
    Audience,
    HoldExpired,
    Slot,
    SlotBooked,
    SlotDraft,
    SlotHeld,
    SlotNotFound,
    SlotStarted,
    SlotTaken,
    SlotWalkIn,
    SlotWithdrawn,
)
from service.slots.usecases import publish, why_not

__all__ = [
    "Audience",
    "HoldExpired",
    "Slot",
    "SlotBooked",
    "SlotDraft",
    "SlotHeld",
    "SlotNotFound",
    "SlotStarted",
    "SlotTaken",
    "SlotWalkIn",
    "SlotWithdrawn",
    "parts",
    "publish",
    "why_not",
]
