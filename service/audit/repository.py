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
    Executable,
    Integer,
    Select,
    Subquery,
    Table,
    Text,
    Uuid,
    and_,
    case,
    cast,
    delete,
    exists,
    extract,
    false,
    func,
    insert,
    literal,
    literal_column,
    null,
    or_,
    select,
    union_all,
    update,
)
from sqlalchemy.dialects.postgresql import INTERVAL

from service.audit.domain import NOBODY, Chain, Gone, Limit, Line, Seal, Trace
from service.audit.tables import access_log, audit_seals
from service.kernel.db import UnitOfWork
from service.kernel.events import ORIGIN, Origin, Xid8, events
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
    subject_ids: Sequence[UUID] = (),
    territories: Sequence[str],
    times: int = 1,
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
            "times": times,
            **origin.columns(),
        },
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
    *(_e[name] for name in ORIGIN),
    literal(None, Text).label("break_glass"),
    literal(1, Integer).label("times"),
)
_READS = select(
    _a.id,
    _a.occurred_at,
    _a.operation,
    _a.result,
    _a.subject_ids,
    _a.territories,
    *(_a[name] for name in ORIGIN),
    _a.break_glass,
    _a.times,
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

_NAMED_CASE = literal("case_id", Text)


@dataclass(frozen=True, slots=True)
class _Form:
    """What the digests of a row are made of, in this order for ever.

    `kept` is all of it but what names a person (`named`, which `erased` takes away) and the
    position in the feed, which is given later. A column that comes later is another form: `FORM`.
    """

    table: Table
    kept: tuple[ColumnElement[Any], ...]
    named: tuple[ColumnElement[Any], ...]
    erased: Mapping[str, Any]


_CONTEXT = ("client_id", "grant_id", "role", "organization_id", "purpose", "correlation_id")
_FORMS: Mapping[str, _Form] = {
    "events": _Form(
        events,
        kept=(
            *(_e.id, _e.xid, _e.type, _e.subject_id, _e.occurred_at, _e.territory),
            *(_e[name] for name in _CONTEXT),
            *(_e.audience_before, _e.audience_after, _e.data.op("-")(_NAMED_CASE)),
        ),
        named=(_e.person, _e.address, _e.data.op("->")(_NAMED_CASE)),
        erased={"person": null(), "address": null(), "data": _e.data.op("-")(_NAMED_CASE)},
    ),
    "access_log": _Form(
        access_log,
        kept=(
            *(_a.id, _a.xid, _a.occurred_at, _a.operation, _a.result, _a.subject_ids),
            *(_a.territories, *(_a[name] for name in _CONTEXT), _a.break_glass, _a.times),
        ),
        named=(_a.person, _a.address),
        erased={"person": null(), "address": null()},
    ),
}
SOURCES = tuple(_FORMS)


def _plain(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """What a column is written as in the array: the same on every server, in every session."""
    if isinstance(column.type, type(Instant)):
        return extract("epoch", column)
    return cast(column, Text) if isinstance(column.type, Xid8) else column


def _digest(columns: Sequence[ColumnElement[Any]]) -> ColumnElement[bytes]:
    """SHA-256 of columns as a JSON array (the text of a jsonb), in UTF-8."""
    row = func.jsonb_build_array(*map(_plain, columns))
    return func.sha256(func.convert_to(cast(row, Text), literal("UTF8", Text)))


def _names_somebody(form: _Form) -> ColumnElement[bool]:
    return or_(*(column.is_not(None) for column in form.named))


def _in_interval(table: Table) -> ColumnElement[bool]:
    return and_(table.c.xid >= _xid("from_xid"), table.c.xid < _xid("to_xid"))


def _interval(from_xid: int, to_xid: int) -> dict[str, Any]:
    return {"from_xid": str(from_xid), "to_xid": str(to_xid)}


def _xid(name: str) -> ColumnElement[Any]:
    return cast(bind(name, Text), Xid8)  # the driver has no such type


def _lines(form: _Form) -> Select[Any]:
    c = form.table.c
    return (
        select(
            c.id,
            _digest(form.kept).label("digest"),
            case((_names_somebody(form), _digest(form.named)), else_=literal(NOBODY)).label(
                "named"
            ),
            c.occurred_at,
        )
        .where(_in_interval(form.table))
        .order_by(c.xid, c.id)
    )


_LINES = {source: _lines(form) for source, form in _FORMS.items()}


async def lines(uow: UnitOfWork, source: str, from_xid: int, to_xid: int) -> list[Line]:
    """Return the rows of an interval of transactions, in their order."""
    rows = await uow.single(_LINES[source], _interval(from_xid, to_xid))
    return [Line(**row) for row in rows.mappings()]


def _nth(source: str) -> Select[Any]:
    table = _FORMS[source].table
    return (
        select(cast(cast(table.c.xid, Text), BigInteger))
        .where(_in_interval(table))
        .order_by(table.c.xid)
        .offset(bind("nth", Integer))
        .limit(1)
    )


_NTH = {source: _nth(source) for source in SOURCES}


async def nth_xid(uow: UnitOfWork, source: str, from_xid: int, to_xid: int, nth: int) -> int | None:
    """Return the transaction of an interval's nth row (from 0), if there are so many."""
    values = {**_interval(from_xid, to_xid), "nth": nth}
    found: int | None = (await uow.single(_NTH[source], values)).scalar_one_or_none()
    return found


def _oldest(source: str) -> Any:
    table = _FORMS[source].table
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
_PRUNING = 7_301_839
_NOT_PRUNING = select(func.pg_advisory_xact_lock_shared(_PRUNING))


async def chain(uow: UnitOfWork) -> Chain:
    """Return the chain where it ends."""
    row = (await uow.execute(_LAST)).one_or_none()
    return Chain() if row is None else Chain(head=row.hash, position=row.position)


async def reached(uow: UnitOfWork, source: str) -> int:
    """Return up to which transaction a table is sealed."""
    found: int | None = (await uow.execute(_REACHED_BY[source])).scalar_one_or_none()
    return found or 0


async def add(uow: UnitOfWork, seal: Seal) -> None:
    """Append a seal to the chain."""
    await uow.execute(_ADD, asdict(seal))


async def seals(uow: UnitOfWork, after: int, limit: int) -> list[Seal]:
    """Return the next seals behind a position; nothing is taken from them in this transaction."""
    await uow.execute(_NOT_PRUNING)
    rows = await uow.execute(_SEALS, {"after": after, "limit": limit})
    return [Seal(**row) for row in rows.mappings()]


async def count(uow: UnitOfWork) -> int:
    """Return how many seals there are."""
    return int((await uow.single(_COUNT)).scalar_one())


def _ahead(source: str) -> Select[Any]:
    table = _FORMS[source].table
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


# --- pruning: as the owner of the tables ----------------------------------------------------------

_PRUNE_ALONE = select(func.pg_advisory_xact_lock(_ONE_SEALER), func.pg_advisory_xact_lock(_PRUNING))
_CUTOFF: Executable = select(
    (snp_now() - cast(bind("kept", Text), INTERVAL)).label("before"),
    literal_column("session_user::text", Text).label("owner"),
)
_TAKEN = {
    Gone.PRUNED: ("row_ids", "row_digests", "named_salt", "named_digests"),
    Gone.ERASED: ("named_salt", "named_digests"),
}


def _due(gone: Gone) -> ColumnElement[bool]:
    return and_(
        _s.source == bind("source", Text),
        _s.sealed_at < bind("before", Instant),
        _s[_TAKEN[gone][0]].is_not(None),
    )


_DUE = {
    gone: select(audit_seals)
    .where(_due(gone), _s.position > bind("after", BigInteger))
    .order_by(_s.position)
    .limit(1)
    for gone in Gone
}
_DUE_ROWS = {gone: select(func.coalesce(func.sum(_s.rows), 0)).where(_due(gone)) for gone in Gone}
_EMPTY = {
    gone: update(audit_seals)
    .where(_s.position == bind("of", BigInteger))
    .values(dict.fromkeys(names, null()))
    for gone, names in _TAKEN.items()
}
_TAKE = {
    **{
        (Gone.PRUNED, source): delete(form.table).where(_in_interval(form.table))
        for source, form in _FORMS.items()
    },
    **{
        (Gone.ERASED, source): update(form.table)
        .where(_in_interval(form.table), _names_somebody(form))
        .values(form.erased)
        for source, form in _FORMS.items()
    },
}
_OF_SUBJECTS = {
    "events": _e.subject_id == func.any(uuids("held")),
    "access_log": _a.subject_ids.bool_op("&&")(uuids("held")),
}
_HELD = {
    source: select(exists().where(_in_interval(form.table), _OF_SUBJECTS[source]))
    for source, form in _FORMS.items()
}


async def prune_alone(uow: UnitOfWork) -> None:
    """Wait until nobody seals, verifies or prunes, and keep it so until the transaction ends."""
    await uow.execute(_PRUNE_ALONE)


async def cutoff(uow: UnitOfWork, kept: str) -> tuple[datetime, str]:
    """Return the instant before which things are due; and the role that asks."""
    row = (await uow.execute(_CUTOFF, {"kept": kept})).one()
    return row.before, row.owner


async def due(uow: UnitOfWork, limit: Limit, before: datetime, after: int) -> Seal | None:
    """Return the next seal behind a position of which something is due."""
    values = {"source": limit.source, "before": before, "after": after}
    row = (await uow.execute(_DUE[limit.gone], values)).mappings().one_or_none()
    return None if row is None else Seal(**row)


async def due_rows(uow: UnitOfWork, limit: Limit, before: datetime) -> int:
    """Count the rows of which something is due."""
    values = {"source": limit.source, "before": before}
    return int((await uow.execute(_DUE_ROWS[limit.gone], values)).scalar_one())


async def is_held(uow: UnitOfWork, seal: Seal, held: Sequence[UUID]) -> bool:
    """Tell whether a line of a seal is about one of these."""
    values = {**_interval(seal.from_xid, seal.to_xid), "held": list(held)}
    return bool((await uow.execute(_HELD[seal.source], values)).scalar_one())


async def take(uow: UnitOfWork, gone: Gone, seal: Seal) -> None:
    """Take away what is due of a seal's lines, and what the seal keeps of that."""
    await uow.execute(_TAKE[gone, seal.source], _interval(seal.from_xid, seal.to_xid))
    await uow.execute(_EMPTY[gone], {"of": seal.position})
