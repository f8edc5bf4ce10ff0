"""Every SQL statement of the room."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    Integer,
    Select,
    Subquery,
    Table,
    Text,
    Uuid,
    case,
    cast,
    extract,
    false,
    func,
    insert,
    literal,
    or_,
    select,
    union_all,
)

from service.audit.domain import Line, Seal, Trace
from service.audit.tables import access_log, audit_seals
from service.kernel.db import UnitOfWork
from service.kernel.events import Origin, Xid8, events
from service.kernel.ids import new_id
from service.kernel.sql import bind, snp_now, texts, uuids
from service.kernel.tables import Instant

_a, _e, _s = access_log.c, events.c, audit_seals.c

# --- traces ---------------------------------------------------------------------------------------

_RECORD = insert(access_log)


async def record(
    uow: UnitOfWork,
    origin: Origin,
    operation: str,
    result: str,
    *,
    subject_ids: Sequence[UUID],
    territories: Sequence[str],
) -> None:
    """Write one trace."""
    await uow.single(
        _RECORD,
        {
            "id": new_id(),
            "operation": operation,
            "result": result,
            "subject_ids": list(subject_ids),
            "territories": list(territories),
            **origin.columns(),
        },
    )


_WHO = (
    "client_id",
    "grant_id",
    "role",
    "organization_id",
    "person",
    "purpose",
    "address",
    "correlation_id",
)
_NOBODY = literal([], ARRAY(Text))
_CHANGES = select(
    _e.id,
    _e.occurred_at,
    _e.type.label("operation"),
    literal("done", Text).label("result"),
    func.array_append(literal([], ARRAY(Uuid)), _e.subject_id).label("subject_ids"),
    case((_e.territory.is_(None), _NOBODY), else_=func.array_append(_NOBODY, _e.territory)).label(
        "territories"
    ),
    *(_e[name] for name in _WHO),
    literal(None, Text).label("break_glass"),
)
_READS = select(
    _a.id,
    _a.occurred_at,
    _a.operation,
    _a.result,
    _a.subject_ids,
    _a.territories,
    *(_a[name] for name in _WHO),
    _a.break_glass,
)


def _shared(c: Any) -> dict[str, ColumnElement[bool]]:
    return {
        "from_": c.occurred_at >= bind("from_", Instant),
        "to": c.occurred_at < bind("to", Instant),
        "client": c.client_id == bind("client", Uuid),
        "organization": c.organization_id == bind("organization", Uuid),
        "before": or_(
            c.occurred_at < bind("before", Instant),
            (c.occurred_at == bind("before", Instant)) & (c.id < bind("before_id", Uuid)),
        ),
    }


_OF_CHANGES: Mapping[str, ColumnElement[bool]] = {
    **_shared(_e),
    "subjects": _e.subject_id == func.any(uuids("subjects")),
    "territories": _e.territory == func.any(texts("territories")),
    "break_glass": false(),
}
_OF_READS: Mapping[str, ColumnElement[bool]] = {
    **_shared(_a),
    "subjects": _a.subject_ids.bool_op("&&")(uuids("subjects")),
    "territories": _a.territories.bool_op("&&")(texts("territories")),
    "break_glass": _a.break_glass.is_not(None),
}


@cache
def _list(shape: tuple[str, ...]) -> Select[Any]:
    """The newest of both tables."""

    def newest(traces: Select[Any], filters: Mapping[str, ColumnElement[bool]]) -> Subquery:
        c = traces.selected_columns
        return (
            traces.where(*(filters[name] for name in shape))
            .order_by(c.occurred_at.desc(), c.id.desc())
            .limit(bind("limit", Integer))
            .subquery()
        )

    both = union_all(
        select(newest(_CHANGES, _OF_CHANGES)), select(newest(_READS, _OF_READS))
    ).subquery("traces")
    return (
        select(both)
        .order_by(both.c.occurred_at.desc(), both.c.id.desc())
        .limit(bind("limit", Integer))
    )


async def newest(uow: UnitOfWork, wanted: Mapping[str, Any], limit: int) -> list[Trace]:
    """Return the newest traces that fit, newest first, one more than `limit`."""
    given = {name: value for name, value in wanted.items() if value is not None}
    shape = tuple(name for name in given if name != "before_id")
    rows = await uow.single(_list(shape), {**given, "limit": limit + 1})
    return [Trace(**row) for row in rows.mappings()]


# --- what is sealed -------------------------------------------------------------------------------

# Every column of a row, in this order for ever; not the position in the feed, which is given later.
# A column that comes later is another form of digest, and its seals must say so.
_SEALED: Mapping[str, tuple[Table, tuple[str, ...]]] = {
    "events": (
        events,
        (
            *("id", "xid", "type", "subject_id", "occurred_at", "territory", *_WHO),
            *("audience_before", "audience_after", "data"),
        ),
    ),
    "access_log": (
        access_log,
        (
            *("id", "xid", "occurred_at", "operation", "result", "subject_ids", "territories"),
            *(*_WHO, "break_glass"),
        ),
    ),
}
SOURCES = tuple(_SEALED)


def _plain(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """What a column is written as in the array: the same on every server, in every session."""
    if isinstance(column.type, type(Instant)):
        return extract("epoch", column)
    return cast(column, Text) if isinstance(column.type, Xid8) else column


def _digest(source: str) -> ColumnElement[bytes]:
    """SHA-256 of the row as a JSON array (the text of a jsonb), in UTF-8."""
    table, names = _SEALED[source]
    row = func.jsonb_build_array(*(_plain(table.c[name]) for name in names))
    return func.sha256(func.convert_to(cast(row, Text), literal("UTF8", Text)))


def _xid(name: str) -> ColumnElement[Any]:
    return cast(bind(name, Text), Xid8)  # the driver has no such type


def _lines(source: str) -> Select[Any]:
    table, _ = _SEALED[source]
    return (
        select(table.c.id, _digest(source).label("digest"), table.c.occurred_at)
        .where(table.c.xid >= _xid("from_xid"), table.c.xid < _xid("to_xid"))
        .order_by(table.c.xid, table.c.id)
    )


_LINES = {source: _lines(source) for source in SOURCES}


async def lines(uow: UnitOfWork, source: str, from_xid: int, to_xid: int) -> list[Line]:
    """Return the rows of an interval of transactions, in their order."""
    values = {"from_xid": str(from_xid), "to_xid": str(to_xid)}
    rows = await uow.single(_LINES[source], values)
    return [Line(**row) for row in rows.mappings()]


def _nth(source: str) -> Select[Any]:
    table, _ = _SEALED[source]
    return (
        select(cast(cast(table.c.xid, Text), BigInteger))
        .where(table.c.xid >= _xid("from_xid"), table.c.xid < _xid("to_xid"))
        .order_by(table.c.xid)
        .offset(bind("nth", Integer))
        .limit(1)
    )


_NTH = {source: _nth(source) for source in SOURCES}


async def nth_xid(uow: UnitOfWork, source: str, from_xid: int, to_xid: int, nth: int) -> int | None:
    """Return the transaction of an interval's nth row (from 0), if there are so many."""
    values = {"from_xid": str(from_xid), "to_xid": str(to_xid), "nth": nth}
    found: int | None = (await uow.single(_NTH[source], values)).scalar_one_or_none()
    return found


def _oldest(source: str) -> Any:
    table, _ = _SEALED[source]
    reached = func.coalesce(
        select(audit_seals.c.to_xid)
        .where(_s.source == source)
        .order_by(_s.position.desc())
        .limit(1)
        .scalar_subquery(),
        0,
    )
    return (
        select(table.c.occurred_at)
        .where(table.c.xid >= cast(cast(reached, Text), Xid8))
        .order_by(table.c.xid)
        .limit(1)
        .scalar_subquery()
    )


# `snp_xact_horizon`: every transaction before it has ended, so that none of its rows comes later.
_REACHED = select(func.max(_s.to_xid)).scalar_subquery()
_LAG = select(
    (snp_now() - func.least(*map(_oldest, SOURCES))).label("lag"),
    (func.coalesce(_REACHED, 0) > func.snp_xact_horizon()).label("went_back"),
)


@dataclass(frozen=True, slots=True)
class Lag:
    """How old the oldest trace is that no seal covers; whether numbers began anew (a restore)."""

    seconds: float
    went_back: bool


async def lag(uow: UnitOfWork) -> Lag:
    """Return how far sealing is behind."""
    row = (await uow.single(_LAG)).one()
    return Lag(max(row.lag.total_seconds(), 0.0) if row.lag else 0.0, row.went_back)


# --- seals ----------------------------------------------------------------------------------------

_ONE_SEALER = 7_301_837
_TURN = select(
    func.pg_try_advisory_xact_lock(_ONE_SEALER).label("mine"),
    func.snp_xact_horizon().label("horizon"),
    snp_now().label("now"),
)


@dataclass(frozen=True, slots=True)
class Turn:
    """The right to seal for the rest of the transaction, and up to where."""

    mine: bool
    horizon: int
    now: datetime


async def take_turn(uow: UnitOfWork) -> Turn:
    """Try to become the only sealer until the transaction ends; never waits."""
    return Turn(**(await uow.execute(_TURN)).mappings().one())


_LAST = select(_s.position, _s.hash).order_by(_s.position.desc()).limit(1)
_REACHED_BY = {
    source: select(_s.to_xid).where(_s.source == source).order_by(_s.position.desc()).limit(1)
    for source in SOURCES
}
_ADD = insert(audit_seals)
_SEALS = (
    select(audit_seals)
    .where(_s.position > bind("after", BigInteger))
    .order_by(_s.position)
    .limit(bind("limit", Integer))
)
_COUNT = select(func.count()).select_from(audit_seals)


async def last(uow: UnitOfWork) -> tuple[int, bytes] | None:
    """Return position and hash of the newest seal."""
    row = (await uow.execute(_LAST)).one_or_none()
    return None if row is None else (row.position, row.hash)


async def reached(uow: UnitOfWork, source: str) -> int:
    """Return up to which transaction a table is sealed."""
    found: int | None = (await uow.execute(_REACHED_BY[source])).scalar_one_or_none()
    return found or 0


async def add(uow: UnitOfWork, seal: Seal) -> None:
    """Append a seal to the chain."""
    await uow.execute(_ADD, {**asdict(seal), "row_ids": list(seal.row_ids)})


async def seals(uow: UnitOfWork, after: int, limit: int) -> list[Seal]:
    """Return the next seals behind a position."""
    rows = await uow.single(_SEALS, {"after": after, "limit": limit})
    return [Seal(**row) for row in rows.mappings()]


async def count(uow: UnitOfWork) -> int:
    """Return how many seals there are."""
    return int((await uow.single(_COUNT)).scalar_one())


def _ahead(source: str) -> Select[Any]:
    table, _ = _SEALED[source]
    return (
        select(table.c.id)
        .where(table.c.xid >= cast(cast(func.snp_xact_next(), Text), Xid8))
        .order_by(table.c.xid)
        .limit(bind("limit", Integer))
    )


_AHEAD = {source: _ahead(source) for source in SOURCES}


async def ahead(uow: UnitOfWork, source: str, limit: int) -> list[UUID]:
    """Return rows whose transaction has not begun yet: nobody wrote them here."""
    return list((await uow.single(_AHEAD[source], {"limit": limit})).scalars())
