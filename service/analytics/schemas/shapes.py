"""What every figure's answer is made of."""

from collections.abc import Callable
from dataclasses import fields, is_dataclass
from datetime import date
from decimal import Decimal
from typing import Annotated, Any, TypeVar
from uuid import UUID

from pydantic import ConfigDict, Field, PlainSerializer, WithJsonSchema

from service.analytics.domain import Answer as Found
from service.analytics.schemas.withheld import told
from service.kernel.http.shapes import Answer

F = TypeVar("F")

# Decimals are JSON numbers: 0.4235.
Number = Annotated[
    Decimal, PlainSerializer(float, return_type=float), WithJsonSchema({"type": "number"})
]


Count = Annotated[
    int | None,
    Field(description="Null: withheld from this role."),
]


class RateOut(Answer):
    """A quotient of members of the same object, which it names."""

    value: Number | None = Field(description="Half up to 4 decimals; null of a zero denominator.")
    numerator: str = Field(examples=["booked"])
    denominator: str = Field(examples=["published - withdrawn"])


class DelaysOut(Answer):
    """Delays in the unit that the member names, half up to one decimal; null of nothing."""

    mean: Number | None
    median: Number | None
    p90: Number | None = Field(description="Nine of ten waited at most this long.")


class PeriodOut(Answer):
    """Local days of the territory."""

    model_config = ConfigDict(from_attributes=True, serialize_by_alias=True)

    from_: date = Field(alias="from", description="Included, from local midnight.")
    to: date = Field(description="Excluded.")
    withheld: list[str] | None = Field(
        None,
        description="For roles that get aggregates only: the members that are null because they,"
        " or others together with them, would tell of fewer than `SNP_SMALL_CELL_MIN` people; and"
        " those of months that are not over.",
    )


class WholeOut(Answer):
    """Whose figures these are."""

    territory: str | None = Field(None, description="Or `cpts`, whichever was asked for.")
    cpts: UUID | None = None
    synthetic: bool = Field(description="True: every row of this database is invented.")


class OverlapOut(WholeOut):
    """Whose figures these are, and whether their groups may be added up."""

    groups_overlap: bool | None = Field(
        None,
        description="With `group_by`. True: what has several keys counts under each of them, so"
        " that the groups do not add up to the whole, on purpose.",
    )


class KeyedOut(Answer):
    """One group."""

    key: str | None = Field(
        description="Month (`2022-01`), id of a community, local hour (`08`) or code; null: those"
        " without one."
    )
    name: str | None = Field(None, description="Of a community.")


def plain(figures: Any) -> dict[str, Any]:
    """Return the members of a figure by their names: its counts, its delays, its rates."""
    shown = [f.name for f in fields(figures) if f.name != "delays"]
    shown += [n for n in ("delay_hours", "delay_minutes", "rates") if hasattr(figures, n)]
    return {name: _plain(getattr(figures, name)) for name in shown}


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return plain(value)
    if isinstance(value, dict):
        return {name: _plain(member) for name, member in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def answer_of(
    found: Found[F], members: Callable[[F], dict[str, Any]] = plain, **more: Any
) -> dict[str, Any]:
    """Return an answer's members; those that do not apply are left out."""
    asked = found.question
    named = {"territory": asked.territory} if asked.cpts_id is None else {"cpts": asked.cpts_id}
    grouped: dict[str, Any] = {}
    if found.groups_overlap is not None:
        grouped["groups_overlap"] = found.groups_overlap
    if found.groups is not None:
        grouped["groups"] = [
            {
                "key": group.key,
                **({} if group.name is None else {"name": group.name}),
                "from": group.period.from_,
                "to": group.period.to,
                **told(members(group.figures), group.withheld),
            }
            for group in found.groups
        ]
    return {
        **named,
        "from": asked.period.from_,
        "to": asked.period.to,
        "synthetic": found.synthetic,
        **told(members(found.total), found.withheld),
        **more,
        **grouped,
    }
