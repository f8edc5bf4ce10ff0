"""The room that volunteer doctors and the unscheduled-care centre published for 2022.

Doctors keep one or two short sessions a week for unscheduled care; the centre opens when practices
close: on weekday evenings with a named doctor, on Saturday afternoons, Sundays and public holidays
with seats for whoever is on duty. Hidden slots (`SNP`), some open to professionals or to their own
CPTS too. All simulated; volumes are set so that about half of the seats are taken.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

from service.demo.draw import Identifiers, Row, minutes, pick, stream
from service.demo.indre_people import Directory
from service.demo.indre_time import SATURDAY, closed, days, local

# (first hour, first minute) of a weekday session, by how common it is.
_STARTS = {(8, 30): 2.0, (11, 0): 3.0, (13, 30): 2.0, (16, 0): 2.0, (17, 30): 3.0}
_SATURDAY_START = (9, 0)
_WEEKDAYS = {0: 26.0, 1: 19.0, 2: 13.0, 3: 13.0, 4: 21.0, SATURDAY: 8.0}
_SESSIONS = {1: 70.0, 2: 30.0}
_LENGTHS = {15: 1.0, 20: 3.0}
_PER_SESSION = {2: 6.0, 3: 4.0}
_VISIBILITIES = {("SNP",): 60.0, ("SNP", "PRO"): 25.0, ("SNP", "CPTS"): 15.0}
_MODES = {("AMB",): 94.0, ("AMB", "VR"): 4.0, ("HH",): 2.0}
_WITHDRAWN = 0.015
_AT_ANY_PLACE = 0.3
_SUMMER_WEEKS, _WINTER_WEEKS = range(28, 35), (6, 7, 16, 44, 51, 52)

_EVENING = range(19, 22)
_WEEKEND = {True: range(9, 19), False: range(14, 20)}  # closed day, ordinary Saturday
_SEATS_ON_DUTY = 2
_EVENING_LENGTH = 20


@dataclass(frozen=True, slots=True)
class Room:
    """One published slot, before anybody is booked on it."""

    id: UUID
    practitioner: Row | None
    location: Row
    organization: Row
    starts_at: datetime
    ends_at: datetime
    modes: tuple[str, ...]
    visibility: tuple[str, ...]
    capacity: int
    published_at: datetime
    withdrawn_at: datetime | None = None

    @property
    def practitioner_id(self) -> UUID | None:
        """Who will see the patient, if it is known."""
        return None if self.practitioner is None else self.practitioner["id"]

    @property
    def cpts_ids(self) -> list[UUID]:
        """The communities named by the slot."""
        return list(self.organization["cpts_ids"]) if "CPTS" in self.visibility else []

    @property
    def audience(self) -> dict[str, Any]:
        """Who could see it, as events keep it."""
        return {
            "visibility": list(self.visibility),
            "cpts_ids": [str(i) for i in self.cpts_ids],
            "organization_types": [],
            "organization_ids": [],
        }


@dataclass(frozen=True, slots=True)
class _Habit:
    """How one doctor keeps room: the same sessions every week, weeks off apart."""

    sessions: dict[int, tuple[int, int]]  # weekday: hour and minute
    length: int
    visibility: tuple[str, ...]
    off: frozenset[int]  # ISO weeks

    @classmethod
    def draw(cls, random: Random) -> "_Habit":
        weekdays = [pick(random, _WEEKDAYS) for _ in range(pick(random, _SESSIONS))]
        summer = random.choice(_SUMMER_WEEKS)
        return cls(
            {d: _SATURDAY_START if d == SATURDAY else pick(random, _STARTS) for d in weekdays},
            pick(random, _LENGTHS),
            pick(random, _VISIBILITIES),
            frozenset({summer, summer + 1, summer + 2, random.choice(_WINTER_WEEKS)}),
        )


class _Agenda:
    """Turns sessions into rooms; ids follow the instants of publication."""

    def __init__(self, directory: Directory) -> None:
        self.random = stream("slots")
        self._ids = Identifiers("slots")
        self._organizations = {row["id"]: row for row in directory.organizations}

    def published(self, day: date) -> datetime:
        """When the sessions of a week were published: one to three weeks ahead, in the evening."""
        monday = day - timedelta(days=day.weekday())
        ahead = timedelta(days=self.random.randint(6, 20))
        return local(monday - ahead, 18) + minutes(self.random, 0, 240)

    def room(self, location: Row, starts_at: datetime, length: int, **more: Any) -> Room:
        """One slot at one place."""
        return Room(
            id=self._ids.at(more["published_at"]),
            location=location,
            organization=self._organizations[location["organization_id"]],
            starts_at=starts_at,
            ends_at=starts_at + timedelta(minutes=length),
            **more,
        )

    def session(self, doctor: Row, habit: _Habit, places: list[Row], day: date) -> Iterator[Room]:
        """The slots of one session of a doctor, at one of the doctor's practices."""
        random = self.random
        published_at = self.published(day)
        location = random.choice(places) if random.random() < _AT_ANY_PLACE else places[0]
        modes = pick(random, _MODES)
        starts_at = local(day, *habit.sessions[day.weekday()])
        taken_back = random.random() < _WITHDRAWN
        for _ in range(pick(random, _PER_SESSION)):
            yield self.room(
                location,
                starts_at,
                habit.length,
                practitioner=doctor,
                modes=modes,
                visibility=habit.visibility,
                capacity=1,
                published_at=published_at,
                # Too early for anybody to be booked: appointments are given within 48 hours.
                withdrawn_at=starts_at - minutes(random, 4400, 7000) if taken_back else None,
            )
            starts_at += timedelta(minutes=habit.length)

    def centre(self, location: Row, doctor: Row, day: date) -> Iterator[Room]:
        """The slots of the unscheduled-care centre on one day."""
        duty = closed(day) or day.weekday() == SATURDAY
        length = 60 if duty else _EVENING_LENGTH
        published_at = self.published(day)
        for hour in _WEEKEND[closed(day)] if duty else _EVENING:
            for minute in range(0, 60, length):
                yield self.room(
                    location,
                    local(day, hour, minute),
                    length,
                    practitioner=None if duty else doctor,
                    modes=("AMB",),
                    visibility=("SNP", "PRO"),
                    capacity=_SEATS_ON_DUTY if duty else 1,
                    published_at=published_at,
                )


def _practices(agenda: _Agenda, directory: Directory, centre: Row) -> Iterator[Room]:
    for doctor in directory.practitioners:
        habit = _Habit.draw(agenda.random)
        places = [row for row in directory.places_of(doctor["id"]) if row is not centre]
        for day in days():
            working = day.weekday() in habit.sessions and not closed(day)
            if working and day.isocalendar().week not in habit.off:
                yield from agenda.session(doctor, habit, places, day)


def _centre(agenda: _Agenda, directory: Directory, centre: Row) -> Iterator[Room]:
    staff = [d for d in directory.practitioners if centre in directory.places_of(d["id"])]
    for number, day in enumerate(days()):
        yield from agenda.centre(centre, staff[number % len(staff)], day)


def rooms(directory: Directory) -> list[Room]:
    """Every slot of the year, by start."""
    agenda = _Agenda(directory)
    (centre,) = (
        row for row in directory.locations if row["organization_id"] == directory.the("csnp")["id"]
    )
    found = [*_practices(agenda, directory, centre), *_centre(agenda, directory, centre)]
    return sorted(found, key=lambda room: (room.starts_at, room.id))
