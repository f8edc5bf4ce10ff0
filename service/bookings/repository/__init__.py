"""Every SQL statement of the room."""

from service.bookings.repository.changing import (
    cancel,
    care_of,
    last_end,
    lock,
    lock_slots,
    move,
    report,
    sent_to_emergency,
)
from service.bookings.repository.elsewhere import booked_elsewhere
from service.bookings.repository.reading import (
    find,
    find_moved,
    list_mine,
    made,
    of_file,
    overlapping,
    own_on,
    show,
    show_moved,
)
from service.bookings.repository.taking import book, full, give_back, take_seat

__all__ = [
    "book",
    "booked_elsewhere",
    "cancel",
    "care_of",
    "find",
    "find_moved",
    "full",
    "give_back",
    "last_end",
    "list_mine",
    "lock",
    "lock_slots",
    "made",
    "move",
    "of_file",
    "overlapping",
    "own_on",
    "report",
    "sent_to_emergency",
    "show",
    "show_moved",
    "take_seat",
]
