"""Every SQL statement of the room: one pass over the covering index of `calls` a range."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Interval,
    RowMapping,
    Select,
    SmallInteger,
    Text,
    Uuid,
    column,
    func,
    literal_column,
    select,
    true,
    type_coerce,
)

from service.analytics.domain import OTHER_MASK, SEVERAL, Tally, Waits
from service.calls import MASK, Otherwise, Outcome, parts
from service.kernel.db import UnitOfWork
from service.kernel.sql import bind
from service.kernel.tables import Instant

_c = parts.call.c

_SCOPES: Mapping[str, ColumnElement[bool]] = {
    "territory": _c.territory == bind("territory", Text),
    "cpts_id": _c.cpts_id == bind("cpts_id", Uuid),
}


def _bits(mask: int) -> ColumnElement[bool]:
    return _c.outcome_mask.bitwise_and(literal_column(str(mask), SmallInteger)) != literal_column(
        "0", SmallInteger
    )


def _calls(*conditions: ColumnElement[bool]) -> ColumnElement[int]:
    return func.count().filter(*conditions) if conditions else func.count()


def _columns() -> list[ColumnElement[Any]]:
    """What is counted of a range of calls. Constants are written out: the planner sees them."""
    waited = _c.first_attempt_at - _c.callback_requested_at
    several: ColumnElement[Any] = literal_column(f"'{{{','.join(map(str, SEVERAL))}}}'::smallint[]")
    quantiles = func.percentile_cont(literal_column("ARRAY[0.5, 0.9]")).within_group(waited)
    return [
        _calls().label("calls"),
        *(_calls(_bits(MASK[outcome])).label(outcome.value) for outcome in Outcome),
        _calls(_bits(OTHER_MASK)).label("in_other"),
        _calls(_c.outcome_mask == func.any(several)).label("several"),
        _calls(_c.outcome_mask == literal_column("0")).label("without"),
        _calls(
            _c.otherwise == literal_column(f"'{Otherwise.EMERGENCY_DEPARTMENT.value}'"),
            ~_c.sent_to_emergency,
            ~_bits(MASK[Outcome.REDIRECTED_TO_15]),
        ).label("avoided"),
        func.count(waited).label("waits"),
        func.sum(waited).label("waited"),
        type_coerce(quantiles, ARRAY(Interval)).label("quantiles"),
        _calls(waited <= literal_column("interval '60 minutes'")).label("within_60"),
    ]


@cache
def _tally(scope: str, *, by_cpts: bool) -> Select[Any]:
    """Build the statement for one way to choose and to group calls, once.

    Each range is a condition on `received_at`, so that months cost no computing by row. Void calls
    do not count; the condition is that of the partial index.
    """
    ranges = (
        func.unnest(bind("starts", ARRAY(Instant)), bind("ends", ARRAY(Instant)))
        .table_valued(column("starts_at", Instant), column("ends_at", Instant), with_ordinality="n")
        .render_derived("ranges")
    )
    key: list[ColumnElement[Any]] = []
    if by_cpts:
        key = [_c.cpts_id.label("cpts_id"), func.grouping(_c.cpts_id).label("everything")]
    counted = (
        select(*key, *_columns())
        .select_from(parts.call)
        .where(
            _SCOPES[scope],
            _c.received_at >= ranges.c.starts_at,
            _c.received_at < ranges.c.ends_at,
            _c.state != literal_column("'void'"),
        )
        .correlate(ranges)
    )
    if by_cpts:
        counted = counted.group_by(func.grouping_sets(literal_column("()"), _c.cpts_id))
    figures = counted.lateral("figures")
    return select(ranges.c.n, *figures.c).select_from(ranges.join(figures, true()))


async def tally(
    uow: UnitOfWork,
    *,
    territory: str | None,
    cpts_id: UUID | None,
    ranges: Sequence[tuple[datetime, datetime]],
) -> list[Tally]:
    """Return what the calls received in each range (start included, end excluded) say, in order."""
    rows = await uow.single(
        _tally("territory" if territory is not None else "cpts_id", by_cpts=False),
        {
            "territory": territory,
            "cpts_id": cpts_id,
            "starts": [start for start, _ in ranges],
            "ends": [end for _, end in ranges],
        },
    )
    return [_read(row) for row in sorted(rows.mappings(), key=lambda row: int(row["n"]))]


async def tally_by_cpts(
    uow: UnitOfWork,
    *,
    territory: str | None,
    cpts_id: UUID | None,
    range_: tuple[datetime, datetime],
) -> tuple[Tally, dict[UUID | None, Tally]]:
    """Return what the calls received in a range say, together and by community (None: without)."""
    found = await uow.single(
        _tally("territory" if territory is not None else "cpts_id", by_cpts=True),
        {
            "territory": territory,
            "cpts_id": cpts_id,
            "starts": [range_[0]],
            "ends": [range_[1]],
        },
    )
    rows = list(found.mappings())
    total = next(_read(row) for row in rows if row["everything"])
    return total, {row["cpts_id"]: _read(row) for row in rows if not row["everything"]}


def _read(row: RowMapping) -> Tally:
    median, p90 = row["quantiles"] or (None, None)
    return Tally(
        calls=row["calls"],
        having={outcome: row[outcome.value] for outcome in Outcome},
        in_other=row["in_other"],
        several=row["several"],
        without=row["without"],
        avoided=row["avoided"],
        waits=Waits(
            calls=row["waits"],
            total=row["waited"] or timedelta(0),
            median=median,
            p90=p90,
            within_60=row["within_60"],
        ),
    )
