"""Which rows figures are about: a territory or a community, between two local midnights."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from itertools import pairwise
from uuid import UUID
from zoneinfo import ZoneInfo

from service.kernel.errors import FieldError, Invalid

LONGEST_YEARS = 30
_MONTHS = 12  # of a year
# Outside of these no instant of the service lies, and some of their midnights do not exist.
FIRST_DAY, LAST_DAY = date(1900, 1, 1), date(2200, 1, 1)


class FiguresInvalid(Invalid):
    """The figures that were asked for make no sense."""

    code = "figures-invalid"
    title = "These figures cannot be computed."


@dataclass(frozen=True, slots=True)
class Period:
    """Days of a territory: `from_` included, `to` excluded; both begin at local midnight."""

    from_: date
    to: date

    def instants(self, zone: str) -> tuple[datetime, datetime]:
        """Return the instants of the two midnights."""
        return midnight(self.from_, zone), midnight(self.to, zone)

    @property
    def months(self) -> int | None:
        """How many calendar months this is; None unless both bounds are first days of months."""
        if self.from_.day != 1 or self.to.day != 1:
            return None
        return _month_number(self.to) - _month_number(self.from_)

    @property
    def is_year(self) -> bool:
        """Tell whether this is one calendar year."""
        return self.months == _MONTHS and self.from_.month == 1

    def by_month(self) -> list["Period"]:
        """Cut the period at the first days of months, in order; the ends may be parts of months."""
        numbers = range(_month_number(self.from_) + 1, _month_number(self.to) + 1)
        firsts = [date(n // 12, n % 12 + 1, 1) for n in numbers]
        cuts = [self.from_, *(day for day in firsts if day < self.to), self.to]
        return [Period(start, end) for start, end in pairwise(cuts)]

    @property
    def key(self) -> str:
        """The month that a period begins in, as groups are keyed: 2022-01."""
        return f"{self.from_:%Y-%m}"


def period(from_: date, to: date) -> Period:
    """Return the period between two days. Refusal: `figures-invalid`."""
    for name, day in (("from", from_), ("to", to)):
        if not FIRST_DAY <= day <= LAST_DAY:
            raise FiguresInvalid(FieldError(name, "period", "A day lies between 1900 and 2200."))
    if not from_ < to:
        raise FiguresInvalid(FieldError("to", "period", "The end must be after the start."))
    if (to - from_).days > LONGEST_YEARS * 366:
        raise FiguresInvalid(FieldError("to", "period", f"At most {LONGEST_YEARS} years."))
    return Period(from_, to)


def midnight(day: date, zone: str) -> datetime:
    """Return the instant at which a day begins in a zone."""
    return datetime.combine(day, time(), ZoneInfo(zone))


def _month_number(day: date) -> int:
    return day.year * 12 + day.month - 1


@dataclass(frozen=True, slots=True)
class Question:
    """Whose figures, of which days: exactly one of `territory` and `cpts_id` is named."""

    territory: str | None
    cpts_id: UUID | None
    period: Period


def question(territory: str | None, cpts_id: UUID | None, from_: date, to: date) -> Question:
    """Return a question that makes sense. Refusal: `figures-invalid`."""
    if (territory is None) == (cpts_id is None):
        raise FiguresInvalid(
            FieldError("territory", "scope", "Name a `territory` or a `cpts`: one of them.")
        )
    return Question(territory, cpts_id, period(from_, to))


@dataclass(frozen=True, slots=True)
class Extent:
    """A question as statements need it: the ranges of instants, and whose local time it is.

    Each range includes its start and not its end. Every range counts by itself; they may overlap.
    With a territory and a community, rows are of both.
    """

    territory: str | None
    cpts_id: UUID | None
    zone: str
    ranges: Sequence[tuple[datetime, datetime]]
