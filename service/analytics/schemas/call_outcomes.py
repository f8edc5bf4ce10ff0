"""How calls ended, as JSON."""

from typing import Any

from pydantic import Field

from service.analytics.domain import AVOIDED_METHOD, Figures
from service.analytics.schemas.shapes import Count, Number, PeriodOut, WholeOut
from service.calls import Outcome
from service.kernel.http.shapes import Answer


class DetailOut(Answer):
    """One outcome within the category "other"."""

    outcome: Outcome
    calls: Count


class CategoryOut(Answer):
    """Calls having an outcome of this category. Categories are not exclusive."""

    category: str
    calls: Count
    share: Number | None = Field(description="calls / all calls, half up to 4 decimals.")
    percent: Count
    detail: list[DetailOut] | None = Field(None, description="Of the category `other` only.")


class AvoidedOut(Answer):
    """Emergency-department visits avoided, as regulators estimated; no measured causal effect."""

    calls: Count
    method: str


class CallbackMinutesOut(Answer):
    """From entering the call-back queue to the first attempt, in minutes."""

    calls: Count = Field(description="Calls whose call-back was requested and attempted.")
    mean: Number | None
    median: Number | None
    p90: Number | None
    within_60_share: Number | None


class _FiguresOut(PeriodOut):
    calls: Count
    monthly_mean: Number | None = Field(
        description="calls / months; null unless both bounds are first days of months."
    )
    outcomes: list[CategoryOut]
    outcome_mentions: Count = Field(description="Sum over the categories: more than calls.")
    calls_with_several_outcomes: Count = Field(description="In two categories or more.")
    calls_without_outcome: Count
    avoided_emergency_visits: AvoidedOut
    callback_minutes: CallbackMinutesOut


class GroupOut(_FiguresOut):
    """The figures of one month (`2022-01`) or one community (its id; null: without)."""

    key: str | None
    name: str | None = Field(None, description="Of a community.")


class CallOutcomesOut(_FiguresOut, WholeOut):
    """How calls ended, computed from rows."""

    groups: list[GroupOut] | None = Field(None, description="With `group_by` month or cpts.")


def call_outcomes_members(figures: Figures) -> dict[str, Any]:
    """Return the members of the answer that figures give."""
    return {
        "calls": figures.calls,
        "monthly_mean": figures.monthly_mean,
        "outcomes": [
            {
                "category": category.category,
                "calls": category.calls,
                "share": category.share,
                "percent": category.percent,
                **(
                    {"detail": [{"outcome": o, "calls": n} for o, n in category.detail]}
                    if category.detail
                    else {}
                ),
            }
            for category in figures.outcomes
        ],
        "outcome_mentions": figures.outcome_mentions,
        "calls_with_several_outcomes": figures.calls_with_several_outcomes,
        "calls_without_outcome": figures.calls_without_outcome,
        "avoided_emergency_visits": {"calls": figures.avoided, "method": AVOIDED_METHOD},
        "callback_minutes": {
            name: getattr(figures.waits, name) for name in CallbackMinutesOut.model_fields
        },
    }
