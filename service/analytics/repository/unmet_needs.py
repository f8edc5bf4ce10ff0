"""Unmet needs and unused seats: each counted in one pass, by everything at once."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Date,
    FromClause,
    RowMapping,
    Select,
    Text,
    case,
    cast,
    func,
    literal_column,
    select,
)

from service.analytics.domain import WITH_SEATS, Counts, UnmetBy
from service.directory import parts as directory
from service.kernel.db import UnitOfWork
from service.kernel.sql import bind, snp_now
from service.kernel.tables import Instant
from service.needs import parts as needs
from service.slots import parts as slots

_n, _s, _place = needs.need.c, slots.slot.c, directory.location.c


def _local(instant: ColumnElement[Any]) -> Mapping[UnmetBy, ColumnElement[Any]]:
    there = func.timezone(bind("zone", Text), instant)
    return {
        UnmetBy.DAY: cast(cast(there, Date), Text),
        UnmetBy.HOUR: func.to_char(there, literal_column("'HH24'")),
    }


def _by(rows: FromClause, groups: Sequence[UnmetBy], **counts: ColumnElement[Any]) -> Select[Any]:
    """Count rows, all of them and by each of their columns; `by` says which column it was."""
    columns = {by: rows.c[by.value] for by in groups}
    names = [(func.grouping(column) == 0, by.value) for by, column in columns.items()]
    return select(
        case(*names, else_=None).label("by"),
        func.coalesce(*columns.values()).label("key"),
        *(count.label(name) for name, count in counts.items()),
    ).group_by(func.grouping_sets(literal_column("()"), *columns.values()))


def _needs() -> Select[Any]:
    day = _local(_n.wanted_from)
    rows = (
        select(
            _n.motive,
            _n.mode,
            _n.reason,
            _n.commune,
            *(column.label(by.value) for by, column in day.items()),
            (_n.commune + " " + day[UnmetBy.DAY]).label(UnmetBy.COMMUNE_DAY.value),
            (_n.open_slots_fitting > 0).label("had_open_slots"),
        )
        .where(
            _n.territory == bind("territory", Text),
            _n.wanted_from >= bind("start", Instant),
            _n.wanted_from < bind("end", Instant),
        )
        .subquery("rows")
    )
    had = func.count().filter(rows.c.had_open_slots)
    return _by(rows, list(UnmetBy), counted=func.count(), had_open_slots=had)


def _seats() -> Select[Any]:
    day = _local(_s.starts_at)
    rows = (
        select(
            _place.commune,
            *(column.label(by.value) for by, column in day.items()),
            (_place.commune + " " + day[UnmetBy.DAY]).label(UnmetBy.COMMUNE_DAY.value),
            (_s.capacity - _s.booked).label("unused"),
        )
        .select_from(slots.slot.join(directory.location, _place.id == _s.location_id))
        .where(
            _s.territory == bind("territory", Text),
            _s.starts_at >= bind("start", Instant),
            _s.starts_at < func.least(bind("end", Instant), snp_now()),
            _s.withdrawn_at.is_(None),
            ~_s.walk_in,
            _s.booked < _s.capacity,
        )
        .subquery("rows")
    )
    return _by(rows, list(WITH_SEATS), counted=func.coalesce(func.sum(rows.c.unused), 0))


_NEEDS, _SEATS = _needs(), _seats()


async def unmet_needs(
    uow: UnitOfWork, *, territory: str, zone: str, range_: tuple[datetime, datetime]
) -> tuple[Counts, int, Counts]:
    """Return the needs, how many had open slots that fitted, and the unused seats of a range."""
    values = {"territory": territory, "zone": zone, "start": range_[0], "end": range_[1]}
    told = list((await uow.single(_NEEDS, values)).mappings())
    unused = list((await uow.single(_SEATS, values)).mappings())
    had = sum(row["had_open_slots"] for row in told if row["by"] is None)
    return _counts(told), had, _counts(unused)


def _counts(rows: Sequence[RowMapping]) -> Counts:
    found: dict[UnmetBy | None, dict[str, int]] = {}
    for row in rows:
        by = row["by"] and UnmetBy(row["by"])
        found.setdefault(by, {})[row["key"] or ""] = row["counted"]
    return found
