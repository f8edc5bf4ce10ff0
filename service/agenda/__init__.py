"""Agenda: a practitioner's weeks. Sessions publish slots by the week, absences take them back.

A session is a local timetable; its slots are materialised eight weeks ahead, when it is made and by
`extend` afterwards. An absence withdraws the free slots of a range and cancels the booked ones.
Above bookings: an absence cancels through their door, and they tell of seats given back. Events:
session.created, session.amended, session.ended, absence.declared, absence.ended; the slots and
bookings tell their own.
"""

from service import bookings
from service.agenda.domain import Absence, Extended, Session
from service.agenda.tasks import extend
from service.agenda.usecases import seat_given_back

__all__ = ["Absence", "Extended", "Session", "extend"]

bookings.on_seat_given_back(seat_given_back)
