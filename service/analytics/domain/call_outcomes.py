"""How calls ended: the four published categories, and the delays of call-backs.

Facts and rules: report "Tour de France des CPTS" (28 June 2023), chapter 5, action 4. Outcomes are
not exclusive, so shares are of calls, never of mentions, and do not add up to one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum

from service.analytics.domain.numbers import Delays, in_minutes, percent, quotient, share
from service.analytics.domain.periods import Period
from service.calls import Outcome, mask_of

AVOIDED_METHOD = "recorded_by_regulator_at_closure"

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


@dataclass(frozen=True, slots=True)
class Tally:
    """What rows say of some calls: how many have which outcome, how long they waited."""

    calls: int = 0
    having: Mapping[Outcome, int] = field(default_factory=dict)
    in_other: int = 0  # calls in the category "other", by one outcome or several
    several: int = 0
    without: int = 0
    avoided: int = 0
    waits: Delays = field(default_factory=Delays)
    within_60: int = 0


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
    within_60: int


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of one group of calls, or of all."""

    calls: int
    monthly_mean: Decimal | None
    outcomes: tuple[CategoryFigure, ...]
    outcome_mentions: int
    calls_with_several_outcomes: int
    calls_without_outcome: int
    avoided: int
    waits: WaitFigures

    @property
    def cells(self) -> dict[str, int]:
        """Every count by its name in the answer, and what `within_60_share` is a share of."""
        categories = {f"outcomes.{c.category}.calls": c.calls for c in self.outcomes}
        detail = {
            f"outcomes.{c.category}.detail.{outcome}.calls": calls
            for c in self.outcomes
            for outcome, calls in c.detail or ()
        }
        return {
            "calls": self.calls,
            **categories,
            **detail,
            "outcome_mentions": self.outcome_mentions,
            "calls_with_several_outcomes": self.calls_with_several_outcomes,
            "calls_without_outcome": self.calls_without_outcome,
            "avoided_emergency_visits.calls": self.avoided,
            "callback_minutes.calls": self.waits.calls,
            "within_60_minutes": self.waits.within_60,
        }


def figures(tally: Tally, of: Period) -> Figures:
    """Compute the figures of some calls of a period."""
    categories = tuple(_category(name, tally) for name in CATEGORIES)
    return Figures(
        calls=tally.calls,
        monthly_mean=quotient(tally.calls, of.months, 1) if of.months else None,
        outcomes=categories,
        outcome_mentions=sum(category.calls for category in categories),
        calls_with_several_outcomes=tally.several,
        calls_without_outcome=tally.without,
        avoided=tally.avoided,
        waits=_waits(tally),
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


def _waits(tally: Tally) -> WaitFigures:
    found, calls = in_minutes(tally.waits), tally.waits.counted
    within = tally.within_60
    return WaitFigures(calls, found.mean, found.median, found.p90, share(within, calls), within)


def categories_in(mask: int) -> int:
    """How many of the four categories a call with these outcomes counts in."""
    return sum(1 for of in CATEGORIES.values() if mask & mask_of(of))


# The masks of calls that count in two categories or more.
SEVERAL = tuple(mask for mask in range(1 << len(Outcome)) if categories_in(mask) > 1)
OTHER_MASK = mask_of(CATEGORIES["other"])
