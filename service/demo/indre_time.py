"""When the Indre calls in 2022: calendar and rhythms, in the local time of Europe/Paris.

Sources (the curves are assumptions shaped by them, so everything drawn from them is called
simulated): published shares of months and of weekday hours 8-20; calls per hour of the Somme (9 an
hour on weekdays from 20 h, falling to midnight; 16 on Saturday; 18 on Sunday). Monday's and the
holidays' factors are assumptions.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from zoneinfo import ZoneInfo

from service.demo.draw import stream

YEAR = 2022
ZONE = ZoneInfo("Europe/Paris")
CALLS = 17_232  # report "Tour de France des CPTS", 28 June 2023, chapter 5, action 4

_HOUR = timedelta(hours=1)
_DAY = timedelta(days=1)
SATURDAY, SUNDAY = 5, 6

_MONTHS = (10.5, 9.0, 8.5, 7.5, 7.5, 7.2, 7.3, 7.8, 7.7, 8.3, 8.7, 10.0)
_WEEKDAYS = (1.25, 0.95, 0.90, 0.90, 1.00, 1.30, 1.25)
_PUBLIC_HOLIDAY = 1.4
_CHRISTMAS = 1.1

_NIGHT = (2, 1.5, 1.2, 1, 1, 1.2, 2, 4)
_WEEKDAY_HOURS = (*_NIGHT, 9, 12, 11, 10, 6, 6, 8, 8, 9, 9, 7, 5, 9, 8, 6, 4)
_SATURDAY_HOURS = (*_NIGHT, 7, 9, 10, 10, 9, 9, 10, 10, 9, 9, 8, 7, 7, 6, 5, 3)
_SUNDAY_HOURS = (*_NIGHT, 9, 12, 12, 11, 8, 7, 8, 8, 8, 9, 9, 8, 7, 6, 4, 3)

# School holidays of zone B (académie d'Orléans-Tours), first and last day.
_SCHOOL = (
    (date(2022, 1, 1), date(2022, 1, 2)),
    (date(2022, 2, 5), date(2022, 2, 20)),
    (date(2022, 4, 9), date(2022, 4, 24)),
    (date(2022, 7, 7), date(2022, 8, 31)),
    (date(2022, 10, 22), date(2022, 11, 6)),
    (date(2022, 12, 17), date(2022, 12, 31)),
)


def local(day: date, hour: int = 0, minute: int = 0, *, fold: int = 0) -> datetime:
    """The instant of a local time, in UTC."""
    return datetime.combine(day, time(hour, minute, fold=fold), ZONE).astimezone(UTC)


START, END = local(date(YEAR, 1, 1)), local(date(YEAR + 1, 1, 1))

# Nights that figures get wrong: the edges of the year, and both changes of the clock (the hour from
# 2 to 3 does not exist on 27 March, and exists twice on 30 October).
_PINNED = (
    START,
    local(date(2022, 1, 1), 0, 17),
    local(date(2022, 3, 27), 1, 41),
    local(date(2022, 3, 27), 3, 8),
    local(date(2022, 10, 30), 2, 20, fold=0),
    local(date(2022, 10, 30), 2, 20, fold=1),
    local(date(2022, 10, 30), 2, 47, fold=1),
    local(date(2022, 12, 31), 22, 40),
    local(date(2022, 12, 31), 23, 38),
    END - timedelta(seconds=1),
)


def easter(year: int) -> date:
    """Easter Sunday of the Gregorian calendar (Meeus, Jones, Butcher)."""
    century, rest = divmod(year, 100)
    moon = (century - (century + 8) // 25 + 1) // 3
    epact = (19 * (year % 19) + century - century // 4 - moon + 15) % 30
    week = (32 + 2 * (century % 4) + 2 * (rest // 4) - epact - rest % 4) % 7
    late = (year % 19 + 11 * epact + 22 * week) // 451
    month, day = divmod(epact + week - 7 * late + 114, 31)
    return date(year, month, day + 1)


@cache
def public_holidays(year: int = YEAR) -> frozenset[date]:
    """The eleven public holidays of metropolitan France (Code du travail, L3133-1)."""
    fixed = ((1, 1), (5, 1), (5, 8), (7, 14), (8, 15), (11, 1), (11, 11), (12, 25))
    moving = (1, 39, 50)  # Easter Monday, Ascension, Whit Monday
    return frozenset(
        [date(year, *month_day) for month_day in fixed]
        + [easter(year) + timedelta(days=after) for after in moving]
    )


def closed(day: date) -> bool:
    """Practices are closed on Sundays and public holidays."""
    return day.weekday() == SUNDAY or day in public_holidays()


def school_holiday(day: date) -> bool:
    """Tell whether the schools of the Indre are on holiday."""
    return any(first <= day <= last for first, last in _SCHOOL)


def days() -> Iterator[date]:
    """The days of the year."""
    day = date(YEAR, 1, 1)
    while day.year == YEAR:
        yield day
        day += _DAY


def _day_weight(day: date) -> float:
    month = _MONTHS[day.month - 1] / (local(_next_month(day)) - local(day.replace(day=1))).days
    factor = _PUBLIC_HOLIDAY if day in public_holidays() else _WEEKDAYS[day.weekday()]
    return month * factor * (_CHRISTMAS if day >= _SCHOOL[-1][0] else 1)


def _next_month(day: date) -> date:
    return (day.replace(day=28) + timedelta(days=4)).replace(day=1)


def _curve(day: date) -> tuple[float, ...]:
    if closed(day):
        return _SUNDAY_HOURS
    return _SATURDAY_HOURS if day.weekday() == SATURDAY else _WEEKDAY_HOURS


def _hours() -> Iterator[tuple[datetime, float]]:
    """Each real hour of the year with its weight: 23 on one day, 25 on another."""
    random = stream("days")
    for day in days():
        curve = _curve(day)
        weight = _day_weight(day) * random.lognormvariate(0, 0.08) / sum(curve)
        hour = local(day)
        while hour < local(day + _DAY):
            yield hour, weight * curve[hour.astimezone(ZONE).hour]
            hour += _HOUR


def received() -> list[datetime]:
    """The instant of every call of the year, in order."""
    random = stream("received")
    hours, weights = zip(*_hours(), strict=True)
    drawn = random.choices(hours, weights, k=CALLS - len(_PINNED))
    return sorted([*_PINNED, *(hour + timedelta(seconds=random.randrange(3600)) for hour in drawn)])
