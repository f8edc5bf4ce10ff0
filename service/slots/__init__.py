"""Slots: doctors publish room that the public cannot see; those who may see it hold and book it.

States (derived): open, full, withdrawn, past. Events: slot.published, slot.amended,
slot.withdrawn, hold.placed, hold.released. `parts` holds the rule of who sees a slot and the
taking of a seat, for bookings.
"""

from service.slots import parts
from service.slots.domain import (
    SEARCH_LONGEST,
    Audience,
    HoldExpired,
    Mode,
    NotMyPractitioner,
    OverlappingSlot,
    Slot,
    SlotBooked,
    SlotDraft,
    SlotHeld,
    SlotNotFound,
    SlotStarted,
    SlotTaken,
    SlotWalkIn,
    SlotWithdrawn,
    Visibility,
    visibility_warnings,
)
from service.slots.listings import Listings
from service.slots.repository import count_open
from service.slots.schemas import Extra, Ids, Labels, Modes, Note, Seats, Types, VisibilityWarning
from service.slots.usecases import (
    amend_free,
    blocking,
    check_place,
    count_elsewhere_with,
    lock_emptied,
    lock_practitioner,
    lock_range,
    lock_session,
    publish,
    publish_checked,
    take_back,
    why_not,
)

__all__ = [
    "SEARCH_LONGEST",
    "Audience",
    "Extra",
    "HoldExpired",
    "Ids",
    "Labels",
    "Listings",
    "Mode",
    "Modes",
    "NotMyPractitioner",
    "Note",
    "OverlappingSlot",
    "Seats",
    "Slot",
    "SlotBooked",
    "SlotDraft",
    "SlotHeld",
    "SlotNotFound",
    "SlotStarted",
    "SlotTaken",
    "SlotWalkIn",
    "SlotWithdrawn",
    "Types",
    "Visibility",
    "VisibilityWarning",
    "amend_free",
    "blocking",
    "check_place",
    "count_elsewhere_with",
    "count_open",
    "lock_emptied",
    "lock_practitioner",
    "lock_range",
    "lock_session",
    "parts",
    "publish",
    "publish_checked",
    "take_back",
    "visibility_warnings",
    "why_not",
]
