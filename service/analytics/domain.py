"""The arithmetic of figures: months, shares, rounding. Pure.

Facts and rules: report "Tour de France des CPTS" (28 June 2023), chapter 5, action 4. Outcomes are
not exclusive, so shares are of calls, never of mentions, and do not add up to one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import ROUND_HALF_UP, Decimal
from enum import StrEnum
from itertools import pairwise
from zoneinfo import ZoneInfo

from service.calls import Outcome, mask_of
from service.kernel.errors import FieldError, Invalid

AVOIDED_METHOD = "recorded_by_regulator_at_closure"
LONGEST_YEARS = 30

CATEGORIES: Mapping[str, tuple[Outcome, ...]] = {
    "medical_advice": (Outcome.MEDICAL_ADVICE,),
    "slot_orientation": (Outcome.SLOT_ORIENTATION,),
    "prescription": (Outcome.PRESCRIPTION,),
    "other": (Outcome.PATIENT_UNREACHABLE, Outcome.REDIRECTED_TO_15, Outcome.OTHER),
}


class GroupBy(StrEnum):
    """What one line of a grouped answer is about."""

    MONTH = "month"
    CPTS = "cpts"
    NONE = "none"


class FiguresInvalid(Invalid):
    """The figures that were asked for make no sense."""

    code = "figures-invalid"
    title = "These figures cannot be computed."


# --- time ---------------------------------------------------------------------------------------


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
    if not from_ < to:
        raise FiguresInvalid(FieldError("to", "period", "The end is after the start."))
    if (to - from_).days > LONGEST_YEARS * 366:
        raise FiguresInvalid(FieldError("to", "period", f"At most {LONGEST_YEARS} years."))
    return Period(from_, to)


def midnight(day: date, zone: str) -> datetime:
    """Return the instant at which a day begins in a zone."""
    return datetime.combine(day, time(), ZoneInfo(zone))


def _month_number(day: date) -> int:
    return day.year * 12 + day.month - 1


# --- counting -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Waits:
    """Call-back delays of the calls whose call-back was requested and attempted."""

    calls: int = 0
    total: timedelta = timedelta(0)
    median: timedelta | None = None
    p90: timedelta | None = None
    within_60: int = 0


@dataclass(frozen=True, slots=True)
class Tally:
    """What rows say of some calls: how many have which outcome, how long they waited."""

    calls: int = 0
    having: Mapping[Outcome, int] = field(default_factory=dict)
    in_other: int = 0  # calls in the category "other", by one outcome or several
    several: int = 0
    without: int = 0
    avoided: int = 0
    waits: Waits = Waits()


@dataclass(frozen=True, slots=True)
class CategoryFigure:
    """One of the four published categories."""

    category: str
    calls: int
    share: Decimal | None
    percent: int | None
    detail: tuple[tuple[Outcome, int], ...] | None


@dataclass(frozen=True, slots=True)
class WaitFigures:
    """Call-back delays in minutes, to one decimal; None when there are none."""

    calls: int
    mean: Decimal | None
    median: Decimal | None
    p90: Decimal | None
    within_60_share: Decimal | None


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of one group of calls, or of all."""

    period: Period
    calls: int
    monthly_mean: Decimal | None
    outcomes: tuple[CategoryFigure, ...]
    outcome_mentions: int
    calls_with_several_outcomes: int
    calls_without_outcome: int
    avoided: int
    waits: WaitFigures


def figures(tally: Tally, of: Period) -> Figures:
    """Compute the figures of some calls of a period."""
    categories = tuple(_category(name, tally) for name in CATEGORIES)
    return Figures(
        period=of,
        calls=tally.calls,
        monthly_mean=_quotient(tally.calls, of.months, 1) if of.months else None,
        outcomes=categories,
        outcome_mentions=sum(category.calls for category in categories),
        calls_with_several_outcomes=tally.several,
        calls_without_outcome=tally.without,
        avoided=tally.avoided,
        waits=_waits(tally.waits),
    )


def _category(name: str, tally: Tally) -> CategoryFigure:
    outcomes = CATEGORIES[name]
    detail = tuple((outcome, tally.having.get(outcome, 0)) for outcome in outcomes)
    calls = detail[0][1] if len(outcomes) == 1 else tally.in_other
    return CategoryFigure(
        category=name,
        calls=calls,
        share=share(calls, tally.calls),
        percent=percent(calls, tally.calls),
        detail=detail if len(outcomes) > 1 else None,
    )


def _waits(waits: Waits) -> WaitFigures:
    return WaitFigures(
        calls=waits.calls,
        mean=minutes(waits.total, waits.calls) if waits.calls else None,
        median=None if waits.median is None else minutes(waits.median),
        p90=None if waits.p90 is None else minutes(waits.p90),
        within_60_share=share(waits.within_60, waits.calls),
    )


def categories_in(mask: int) -> int:
    """How many of the four categories a call with these outcomes counts in."""
    return sum(1 for of in CATEGORIES.values() if mask & mask_of(of))


# The masks of calls that count in two categories or more.
SEVERAL = tuple(mask for mask in range(1 << len(Outcome)) if categories_in(mask) > 1)
OTHER_MASK = mask_of(CATEGORIES["other"])


# --- rounding: always half up, once, from the exact quotient --------------------------------------


def share(part: int, whole: int) -> Decimal | None:
    """Return part / whole to 4 decimals; None of nothing."""
    return _quotient(part, whole, 4) if whole else None


def percent(part: int, whole: int) -> int | None:
    """Return part / whole as a whole percentage; None of nothing."""
    return int(_quotient(100 * part, whole, 0)) if whole else None


def minutes(delay: timedelta, among: int = 1) -> Decimal:
    """Return a delay, or the mean of several, in minutes to one decimal."""
    return _quotient(delay // timedelta(microseconds=1), 60_000_000 * among, 1)


def _quotient(dividend: int, divisor: int, decimals: int) -> Decimal:
    return (Decimal(dividend) / divisor).quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_UP)
