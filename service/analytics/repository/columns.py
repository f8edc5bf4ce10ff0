"""What is counted, in SQL. Constants are written out: the planner sees them."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Interval,
    RowMapping,
    Text,
    func,
    literal_column,
    type_coerce,
)

from service.analytics.domain import Delays
from service.kernel.sql import bind


def constant(value: str) -> ColumnElement[Any]:
    """A text that is part of the statement."""
    return literal_column(f"'{value}'", Text)


def constants(values: Iterable[str]) -> ColumnElement[Any]:
    """An array of texts that is part of the statement."""
    return literal_column(f"'{{{','.join(values)}}}'::text[]", ARRAY(Text))


def at_most(delay: ColumnElement[Any], bound: str) -> ColumnElement[bool]:
    """Delays up to a bound, itself included: "60 minutes"."""
    return delay <= literal_column(f"interval '{bound}'", Interval)


def rows(*conditions: ColumnElement[bool]) -> ColumnElement[int]:
    """How many rows meet every condition."""
    return func.count().filter(*conditions) if conditions else func.count()


def local_hour(instant: ColumnElement[Any]) -> ColumnElement[str]:
    """The hour on the clocks of the territory that was asked for: 08."""
    return func.to_char(func.timezone(bind("zone", Text), instant), literal_column("'HH24'"))


def delay_columns(delay: ColumnElement[Any]) -> list[ColumnElement[Any]]:
    """What `delays` reads. A null delay does not count."""
    quantiles = func.percentile_cont(literal_column("ARRAY[0.5, 0.9]")).within_group(delay)
    return [
        func.count(delay).label("delays"),
        func.sum(delay).label("delayed"),
        type_coerce(quantiles, ARRAY(Interval)).label("quantiles"),
    ]


def delays(row: RowMapping) -> Delays:
    """Read `delay_columns`."""
    median, p90 = row["quantiles"] or (None, None)
    return Delays(row["delays"], row["delayed"] or timedelta(0), median, p90)
