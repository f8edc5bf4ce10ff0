"""One statement counts one figure: of each range of instants, or of one range by group."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    FromClause,
    RowMapping,
    Select,
    Text,
    cast,
    column,
    false,
    func,
    literal_column,
    null,
    select,
    true,
    union_all,
)

from service.analytics.domain import Counted, Extent
from service.kernel.db import UnitOfWork
from service.kernel.sql import bind
from service.kernel.tables import Instant

F = TypeVar("F")
_NO_KEY = cast(null(), Text)


@dataclass(frozen=True)
class Key:
    """What a row's group is: a value, or an array of values; `join` is the table it comes from."""

    value: ColumnElement[Any]
    join: tuple[FromClause, ColumnElement[bool]] | None = None
    many: bool = False


@dataclass(frozen=True, eq=False)
class Counting:
    """What is counted: of which rows, at which instant, and how rows are chosen and grouped.

    `by` splits every count further; its columns come back with each row.
    """

    source: FromClause
    instant: ColumnElement[Any]
    territory: ColumnElement[bool]
    cpts: ColumnElement[bool]
    columns: Sequence[ColumnElement[Any]]
    keys: Mapping[str, Key]
    where: Sequence[ColumnElement[bool]] = ()
    by: Sequence[ColumnElement[Any]] = ()


@cache
def statement(counting: Counting, scope: tuple[bool, bool], group: str | None) -> Select[Any]:
    """Build the statement for one way to choose and to group rows, once.

    Each range is a condition on the instant, so that months cost no computing by row and can use
    an index. Rows: the range's number `n`, whether it is `everything`, the group's `key`, counts.
    """
    ranges = (
        func.unnest(bind("starts", ARRAY(Instant)), bind("ends", ARRAY(Instant)))
        .table_valued(column("starts_at", Instant), column("ends_at", Instant), with_ordinality="n")
        .render_derived("ranges")
    )
    scopes = zip((counting.territory, counting.cpts), scope, strict=True)
    chosen = (
        *(condition for condition, wanted in scopes if wanted),
        counting.instant >= ranges.c.starts_at,
        counting.instant < ranges.c.ends_at,
        *counting.where,
    )

    def counted(source: FromClause, everything: Any, key: Any, *groups: Any) -> Select[Any]:
        return (
            select(everything.label("everything"), key.label("key"))
            .add_columns(*counting.by, *counting.columns)
            .select_from(source)
            .where(*chosen)
            .group_by(*counting.by, *groups)
            .correlate(ranges)
        )

    counts = _counts(counting, group, counted).lateral("counts")
    return select(ranges.c.n, *counts.c).select_from(ranges.join(counts, true()))


def _counts(counting: Counting, group: str | None, counted: Callable[..., Select[Any]]) -> Any:
    """Count everything, and by group: in one pass where each row is in one group."""
    whole = counted(counting.source, true(), _NO_KEY)
    if group is None:
        return whole
    key = counting.keys[group]
    source, value = _keyed(counting.source, key)
    if key.many or counting.by:
        return union_all(whole, counted(source, false(), value, value))
    sets = func.grouping_sets(literal_column("()"), value)
    return counted(source, func.grouping(value) == literal_column("1"), value, sets)


def _keyed(source: FromClause, key: Key) -> tuple[FromClause, ColumnElement[Any]]:
    """Return the rows with their key as text: a row of several stands once under each."""
    if key.join is not None:
        source = source.outerjoin(*key.join)
    if not key.many:
        return source, cast(key.value, Text)
    each = select(func.unnest(key.value).label("key")).distinct().correlate_except()
    keys = each.lateral("keys")
    return source.outerjoin(keys, true()), cast(keys.c.key, Text)


async def count(
    uow: UnitOfWork,
    counting: Counting,
    extent: Extent,
    group: str | None,
    read: Callable[[Sequence[RowMapping]], F],
) -> Counted[F]:
    """Count each range by itself, and with a `group` its groups."""
    scope = (extent.territory is not None, extent.cpts_id is not None)
    found = await uow.single(
        statement(counting, scope, group),
        {
            "territory": extent.territory,
            "cpts_id": extent.cpts_id,
            "zone": extent.zone,
            "starts": [start for start, _ in extent.ranges],
            "ends": [end for _, end in extent.ranges],
        },
    )
    rows: dict[tuple[int, bool, str | None], list[RowMapping]] = {}
    for row in found.mappings():
        rows.setdefault((row["n"], row["everything"], row["key"]), []).append(row)
    numbers = range(1, len(extent.ranges) + 1)
    groups: dict[int, dict[str | None, F]] = {n: {} for n in numbers}
    for (n, everything, key), own in rows.items():
        if not everything:
            groups[n][key] = read(own)
    return Counted([read(rows.get((n, True, None), [])) for n in numbers], list(groups.values()))
