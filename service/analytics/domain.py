"""The arithmetic of figures: months, shares, rounding. Pure.

Facts and rules: report "Tour de France des CPTS" (28 June 2023), chapter 5, action 4. Outcomes are
not exclusive, so shares are of calls, never of mentions, and do not add up to one.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import ROUND_HALF_UP, Decimal
from enum import StrEnum
from zoneinfo import ZoneInfo

from service.calls import MASK, Outcome
from service.kernel.errors import FieldError, Invalid

AVOIDED_METHOD = "recorded_by_regulator_at_closure"
LONGEST_YEARS = 30

CATEGORIES: Mapping[str, tuple[Outcome, ...]] = {
    "medical_advice": (Outcome.MEDICAL_ADVICE,),
    "slot_orientation": (Outcome.SLOT_ORIENTATION,),
    "prescription": (Outcome.PRESCRIPTION,),
    "other": (Outcome.PATIENT_UNREACHABLE, Outcome.REDIRECTED_TO_15, Outcome.OTHER),
}
_BITS = {name: sum(MASK[outcome] for outcome in of) for name, of in CATEGORIES.items()}


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
        return [Period(start, end) for start, end in zip(cuts, cuts[1:], strict=False)]

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
    """What rows say: calls by outcome mask, avoided visits, waits."""

    masks: Mapping[int, int] = field(default_factory=dict)
    avoided: int = 0
    waits: Waits = Waits()


@dataclass(frozen=True, slots=True)
class CategoryFigure:
    """One of the four published categories."""

    category: str
    calls: int
    share: Decimal | None
    percent: int | None
    detail: tuple[tuple[str, int], ...] | None


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
    calls = sum(tally.masks.values())
    having = {name: _having(tally.masks, bits) for name, bits in _BITS.items()}
    return Figures(
        period=of,
        calls=calls,
        monthly_mean=_quotient(calls, of.months, 1) if of.months else None,
        outcomes=tuple(
            CategoryFigure(
                category=name,
                calls=having[name],
                share=share(having[name], calls),
                percent=percent(having[name], calls),
                detail=_detail(tally.masks, outcomes) if len(outcomes) > 1 else None,
            )
            for name, outcomes in CATEGORIES.items()
        ),
        outcome_mentions=sum(having.values()),
        calls_with_several_outcomes=sum(
            n for mask, n in tally.masks.items() if categories_in(mask) > 1
        ),
        calls_without_outcome=tally.masks.get(0, 0),
        avoided=tally.avoided,
        waits=_waits(tally.waits),
    )


def categories_in(mask: int) -> int:
    """How many of the four categories a call with these outcomes counts in."""
    return sum(1 for bits in _BITS.values() if mask & bits)


def _having(masks: Mapping[int, int], bits: int) -> int:
    return sum(n for mask, n in masks.items() if mask & bits)


def _detail(masks: Mapping[int, int], outcomes: Iterable[Outcome]) -> tuple[tuple[str, int], ...]:
    return tuple((outcome.value, _having(masks, MASK[outcome])) for outcome in outcomes)


def _waits(waits: Waits) -> WaitFigures:
    return WaitFigures(
        calls=waits.calls,
        mean=None if not waits.calls else minutes(waits.total, waits.calls),
        median=None if waits.median is None else minutes(waits.median),
        p90=None if waits.p90 is None else minutes(waits.p90),
        within_60_share=share(waits.within_60, waits.calls),
    )


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
