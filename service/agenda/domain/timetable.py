"""When a session takes place: local dates, clock changes, holidays, absences. Pure.

Dates and times of a session are local, in the zone of its territory, so that 14:00 stays 14:00 when
the clocks change. A session belongs to the local date on which it starts, also after midnight:
exceptions and holidays are judged by that date.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from uuid import UUID
from zoneinfo import ZoneInfo

from dateutil.rrule import FR, MO, SA, SU, TH, TU, WE, WEEKLY, rrule

DAYS_AHEAD = 56  # today included
FARTHEST = timedelta(days=366)

_MIDNIGHT = time()
_DAY = timedelta(days=1)


class Weekday(StrEnum):
    """Days of the week as iCalendar writes them."""

    MO = "MO"
    TU = "TU"
    WE = "WE"
    TH = "TH"
    FR = "FR"
    SA = "SA"
    SU = "SU"


_RULES = dict(zip(Weekday, (MO, TU, WE, TH, FR, SA, SU), strict=True))


class SchoolZone(StrEnum):
    """Zones of the national school calendar."""

    A = "A"
    B = "B"
    C = "C"


class Skip(StrEnum):
    """Why a slot that the timetable asks for does not stand."""

    PUBLIC_HOLIDAY = "public-holiday"
    SCHOOL_HOLIDAY = "school-holiday"
    ABSENCE = "absence"
    NO_SUCH_TIME = "no-such-local-time"
    OVERLAP = "overlapping-slot"
    CLOSED = "place-closed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recurrence:
    """Every week on these days, until a local date included."""

    weekly: tuple[Weekday, ...]
    until: date | None = None
    excepted: tuple[date, ...] = ()
    skip_public_holidays: bool = False
    skip_school_holidays: bool = False
    school_zone: SchoolZone | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Timetable:
    """Local hours on a date, or every week from a date on; `end` before `start` is the next day."""

    date: date
    start: time
    end: time
    slot_minutes: int
    recurrence: Recurrence | None = None

    @property
    def length(self) -> timedelta:
        """Return how long the wall clock says that it lasts: under a day."""
        start, end = (datetime.combine(self.date, t) for t in (self.start, self.end))
        return (end - start) % _DAY

    @property
    def slots_a_day(self) -> int:
        """Return how many whole slots fit."""
        return self.length // timedelta(minutes=self.slot_minutes)


@dataclass(frozen=True, slots=True)
class Period:
    """One place in a session's grid: the local date it belongs to, and two instants."""

    date: date
    starts_at: datetime
    ends_at: datetime


@dataclass(frozen=True, slots=True)
class Skipped:
    """How many slots of a local date do not stand, and why."""

    date: date
    reason: Skip
    slots: int
    blocking_slots: tuple[UUID, ...] = ()


@dataclass(frozen=True, slots=True)
class Closed:
    """When nothing takes place although it is asked for: local dates, and ranges of instants."""

    public: Collection[date] = ()
    school: Collection[date] = ()
    absences: Sequence[tuple[datetime, datetime]] = ()

    def whole(self, day: date, recurrence: Recurrence | None) -> Skip | None:
        """Say why a whole date is left out."""
        if recurrence is None:
            return None
        if recurrence.skip_public_holidays and day in self.public:
            return Skip.PUBLIC_HOLIDAY
        if recurrence.skip_school_holidays and day in self.school:
            return Skip.SCHOOL_HOLIDAY
        return None

    def absent(self, period: Period) -> bool:
        """Tell whether the practitioner is away for any of it."""
        return any(f < period.ends_at and period.starts_at < t for f, t in self.absences)


@dataclass(frozen=True, slots=True)
class Expansion:
    """The slots that a timetable asks for, by start, and those that cannot be."""

    periods: list[Period] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)

    def skip(self, day: date, reason: Skip, slots: int) -> None:
        """Note what is left out."""
        if slots:
            self.skipped.append(Skipped(day, reason, slots))


def window(timetable: Timetable, today: date) -> tuple[date, date]:
    """Return the first and last local date to fill: eight weeks, or the one date.

    Yesterday is one of them: a night's session of yesterday may still have slots to come.
    """
    if timetable.recurrence is None:
        return timetable.date, timetable.date
    return today - _DAY, today + (DAYS_AHEAD - 1) * _DAY


def days(timetable: Timetable, first: date, last: date) -> Iterator[date]:
    """Yield the local dates on which it is asked for, from first to last, without exceptions."""
    recurrence, first = timetable.recurrence, max(first, timetable.date)
    if recurrence is None:
        if first == timetable.date <= last:
            yield timetable.date
        return
    rule = rrule(
        WEEKLY,
        byweekday=[_RULES[day] for day in recurrence.weekly],
        dtstart=datetime.combine(first, _MIDNIGHT),
        until=datetime.combine(min(last, recurrence.until or last), _MIDNIGHT),
    )
    for day in rule:
        if day.date() not in recurrence.excepted:
            yield day.date()


def _instant(local: datetime, zone: ZoneInfo) -> datetime | None:
    """Return the instant of a local time; the first of two, None if the clocks jump over it."""
    instant = local.replace(tzinfo=zone).astimezone(UTC)
    return instant if instant.astimezone(zone).replace(tzinfo=None) == local else None


def periods_of(timetable: Timetable, day: date, zone: ZoneInfo) -> Iterator[Period | None]:
    """Yield the slots of one date, by start; None for each that the clocks jump over.

    A slot lasts its minutes. The one before a jump may so reach over the one after: that is lost.
    """
    length, until = timedelta(minutes=timetable.slot_minutes), datetime.min.replace(tzinfo=UTC)
    for n in range(timetable.slots_a_day):
        start = _instant(datetime.combine(day, timetable.start) + n * length, zone)
        if start is None or start < until:
            yield None
        else:
            until = start + length
            yield Period(day, start, until)


def expand(
    timetable: Timetable, zone: ZoneInfo, closed: Closed, *, first: date, last: date, now: datetime
) -> Expansion:
    """Return the slots to come of the local dates from first to last, and what is left out.

    Exceptions are not told: they were asked for. Nothing that has started is told either.
    """
    found, until = Expansion(), now
    for day in days(timetable, first, last):
        grid = list(periods_of(timetable, day, zone))
        ahead = [p for p in grid if p is not None and p.starts_at > now]
        whole = closed.whole(day, timetable.recurrence)
        if whole is not None:
            found.skip(day, whole, len(ahead))
            continue
        fitting = [p for p in ahead if p.starts_at >= until]
        present = [p for p in fitting if not closed.absent(p)]
        lost = grid.count(None) if ahead else 0
        found.skip(day, Skip.NO_SUCH_TIME, lost + len(ahead) - len(fitting))
        found.skip(day, Skip.ABSENCE, len(fitting) - len(present))
        found.periods.extend(present)
        until = max(until, *(p.ends_at for p in fitting)) if fitting else until
    return found


def next_date(timetable: Timetable, zone: ZoneInfo, closed: Closed, now: datetime) -> date | None:
    """Return the next local date on which a slot may start, within a year; None if there is none.

    Whether its slots are withdrawn or full is not asked.
    """
    first = max(now.astimezone(zone).date() - _DAY, timetable.date)
    for day in days(timetable, first, first + FARTHEST):
        if closed.whole(day, timetable.recurrence) is not None:
            continue
        if any(
            p is not None and p.starts_at > now and not closed.absent(p)
            for p in periods_of(timetable, day, zone)
        ):
            return day
    return None
