"""Appointments: each oriented call gets a seat, as a regulator would choose it on the line.

Soon and near, always within 48 hours (the rule of the SAS); half of the patients are seen within
about five hours. Seats given back by a cancellation are given again.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from heapq import heappop, heappush
from uuid import UUID

from service.demo.draw import Identifiers, minutes, stream
from service.demo.indre_calls import Call
from service.demo.indre_places import place
from service.demo.indre_slots import Room
from service.directory.reference import distance_km

_TRAVEL = timedelta(minutes=20)
_RULE = timedelta(hours=48)
_HOUR = timedelta(hours=1)
_KM_FOR_AN_HOUR = 2.0  # one more hour of waiting is worth this much less road
_WHIM_HOURS = 10.0  # the patient's own constraints
_LATE_REPORT = 0.2


@dataclass(frozen=True, slots=True)
class Appointment:
    """A booking with all that happened to it."""

    id: UUID
    call: Call
    room: Room
    cancelled_at: datetime | None
    reported_at: datetime | None

    @property
    def state(self) -> str:
        """The last state of the booking."""
        return str(self.call.attendance)


@cache
def _road(commune: str, latitude: float, longitude: float) -> float:
    home = place(commune)
    return distance_km(home.latitude, home.longitude, latitude, longitude)


class _Desk:
    """The rooms of the year with the seats that are left in each."""

    def __init__(self, rooms: Sequence[Room]) -> None:
        self.random = stream("bookings")
        self._rooms = [room for room in rooms if room.withdrawn_at is None]
        self._starts = [room.starts_at for room in self._rooms]
        self._left = [room.capacity for room in self._rooms]
        self._given_back: list[tuple[datetime, int]] = []
        self._ids = Identifiers("bookings")

    def _reopen(self, now: datetime) -> None:
        while self._given_back and self._given_back[0][0] <= now:
            self._left[heappop(self._given_back)[1]] += 1

    def _cost(self, call: Call, index: int) -> float:
        """Hours of waiting, road, and whim: the smallest wins."""
        room = self._rooms[index]
        wait = (room.starts_at - call.decided_at) / _HOUR
        where = room.location
        road = _road(call.patient.commune, where["latitude"], where["longitude"])
        return wait + road / _KM_FOR_AN_HOUR + self.random.expovariate(1 / _WHIM_HOURS)

    def _choose(self, call: Call) -> int:
        first = bisect_left(self._starts, call.decided_at + _TRAVEL)
        last = bisect_left(self._starts, call.decided_at + _RULE)
        free = [index for index in range(first, last) if self._left[index] > 0]
        return min(free, key=lambda index: self._cost(call, index))

    def book(self, call: Call) -> Appointment:
        """Give the call a seat."""
        self._reopen(call.decided_at)
        index = self._choose(call)
        self._left[index] -= 1
        room = self._rooms[index]
        cancelled_at = reported_at = None
        if call.attendance == "cancelled":
            notice = (room.starts_at - call.decided_at) * self.random.uniform(0.1, 0.9)
            cancelled_at = call.decided_at + timedelta(seconds=round(notice.total_seconds()))
            heappush(self._given_back, (cancelled_at, index))
        else:
            late = self.random.random() < _LATE_REPORT
            reported_at = room.ends_at + minutes(self.random, *((600, 2900) if late else (1, 240)))
        return Appointment(self._ids.at(call.decided_at), call, room, cancelled_at, reported_at)


def appointments(calls: Sequence[Call], rooms: Sequence[Room]) -> list[Appointment]:
    """The booking of every oriented call, in the order in which they were made."""
    desk = _Desk(rooms)
    oriented = (call for call in calls if call.attendance is not None)
    return [desk.book(call) for call in sorted(oriented, key=lambda call: call.decided_at)]
