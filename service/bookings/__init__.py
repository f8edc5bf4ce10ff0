"""Bookings: a patient file on a slot, asked by a person of an organization.

States (national): booked, fulfilled, noshow, cancelled; see `domain.TRANSITIONS`. Booking is one
statement made of the rooms' parts: the seat, the file, the booking, the call's outcome, the event
and the idempotency row are written together or not at all. Events: booking.created,
booking.rescheduled, booking.cancelled, booking.reported.
"""

from service import audit, patients, slots
from service.bookings import parts
from service.bookings.domain import (
    CORRECTION,
    Booking,
    BookingNotFound,
    BookingState,
    BookingStateRefused,
    CancelledBy,
    CorrectionTooLate,
    Inform,
    Made,
    ReportTooEarly,
)
from service.bookings.usecases import (
    book,
    cancel,
    elsewhere,
    last_appointment,
    made,
    of_file,
    on_seat_given_back,
    read,
    report,
    reschedule,
)

__all__ = [
    "CORRECTION",
    "Booking",
    "BookingNotFound",
    "BookingState",
    "BookingStateRefused",
    "CancelledBy",
    "CorrectionTooLate",
    "Inform",
    "Made",
    "ReportTooEarly",
    "book",
    "cancel",
    "made",
    "on_seat_given_back",
    "parts",
    "read",
    "report",
    "reschedule",
]

slots.count_elsewhere_with(elsewhere)
audit.also_known_as(of_file)
patients.on_amending(last_appointment)
