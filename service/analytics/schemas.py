"""JSON shapes of the room, and the same figures as a table for a spreadsheet."""

import csv
import io
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

from pydantic import ConfigDict, Field, PlainSerializer, WithJsonSchema

from service.analytics.domain import AVOIDED_METHOD, Figures
from service.analytics.usecases import CallOutcomes
from service.calls import Outcome
from service.kernel.http.shapes import Answer

# Decimals are JSON numbers: 0.4235.
Number = Annotated[
    Decimal, PlainSerializer(float, return_type=float), WithJsonSchema({"type": "number"})
]


class DetailOut(Answer):
    """One outcome within the category "other"."""

    outcome: Outcome
    calls: int


class CategoryOut(Answer):
    """Calls having an outcome of this category. Categories are not exclusive."""

    category: str
    calls: int
    share: Number | None = Field(description="calls / all calls, half up to 4 decimals.")
    percent: int | None
    detail: list[DetailOut] | None = Field(None, description="Of the category `other` only.")


class AvoidedOut(Answer):
    """Emergency-department visits avoided, as regulators estimated; no measured causal effect."""

    calls: int
    method: str


class CallbackMinutesOut(Answer):
    """From entering the call-back queue to the first attempt, in minutes."""

    calls: int = Field(description="Calls whose call-back was requested and attempted.")
    mean: Number | None
    median: Number | None
    p90: Number | None
    within_60_share: Number | None


class _FiguresOut(Answer):
    model_config = ConfigDict(from_attributes=True, serialize_by_alias=True)

    from_: date = Field(alias="from", description="Included.")
    to: date = Field(description="Excluded.")
    calls: int
    monthly_mean: Number | None = Field(
        description="calls / months; null unless both bounds are first days of months."
    )
    outcomes: list[CategoryOut]
    outcome_mentions: int = Field(description="Sum over the categories: more than calls.")
    calls_with_several_outcomes: int = Field(description="In two categories or more.")
    calls_without_outcome: int
    avoided_emergency_visits: AvoidedOut
    callback_minutes: CallbackMinutesOut


class GroupOut(_FiguresOut):
    """The figures of one month (`2022-01`) or one community (its id; null: without)."""

    key: str | None


class CallOutcomesOut(_FiguresOut):
    """How calls ended, computed from rows."""

    territory: str | None = Field(None, description="Or `cpts`, whichever was asked for.")
    cpts: UUID | None = None
    synthetic: bool = Field(description="True: every row of this database is invented.")
    groups: list[GroupOut] | None = Field(None, description="With `group_by` month or cpts.")


def call_outcomes_out(found: CallOutcomes) -> CallOutcomesOut:
    """Render figures; members that do not apply stay unset."""
    where = {"territory": found.territory} if found.cpts_id is None else {"cpts": found.cpts_id}
    grouped: dict[str, Any] = {}
    if found.groups is not None:
        grouped["groups"] = [{"key": key, **_figures(group)} for key, group in found.groups]
    return CallOutcomesOut.model_validate(
        {**where, **_figures(found.total), "synthetic": found.synthetic, **grouped}
    )


def _figures(figures: Figures) -> dict[str, Any]:
    return {
        "from": figures.period.from_,
        "to": figures.period.to,
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


# --- CSV ----------------------------------------------------------------------------------------


def call_outcomes_csv(found: CallOutcomes) -> str:
    """Render figures for a French spreadsheet: one row a group, or one for all.

    UTF-8 with a byte order mark, `;` between cells, decimal commas; the header names members of the
    JSON answer by their path.
    """
    rows = [
        {
            "territory": found.territory,
            "cpts": found.cpts_id,
            "synthetic": str(found.synthetic).lower(),
            "key": key,
            **dict(_cells(_figures(group))),
        }
        for key, group in (((None, found.total),) if found.groups is None else found.groups)
    ]
    header = ["territory", "cpts", "synthetic", "key", *dict(_cells(_figures(found.total)))]
    sheet = io.StringIO()
    writer = csv.writer(sheet, delimiter=";", lineterminator="\r\n")
    writer.writerow(header)
    writer.writerows([cell(row[name]) for name in header] for row in rows)
    return f"\ufeff{sheet.getvalue()}"


def _cells(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the leaves of an answer with their paths: outcomes.other.percent."""
    if isinstance(value, dict):
        names = {"category", "outcome"}
        for name, member in value.items():
            if name not in names:
                yield from _cells(member, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        for item in value:
            yield from _cells(item, f"{path}.{item.get('category') or item['outcome']}")
    else:
        yield path, value


def cell(value: object) -> str:
    """Write one cell; a text that a spreadsheet would run as a formula is quoted."""
    if value is None:
        return ""
    if isinstance(value, Decimal):
        return str(value).replace(".", ",")
    text = str(value)
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
