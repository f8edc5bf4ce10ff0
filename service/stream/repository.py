"""SQL of the stream: giving positions, reading what follows a position, who has come how far.

Whoever reads stays behind the oldest transaction that still runs: below the horizon nothing more
appears, so that positions are the order of transactions, and no fact is ever passed over.
"""

from collections.abc import Collection, Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Integer,
    Text,
    cast,
    exists,
    func,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import insert

from service.kernel.db import UnitOfWork
from service.kernel.events import Xid8, events
from service.kernel.sql import bind, snp_now, uuids
from service.kernel.tables import Instant
from service.stream.domain import BEGINNING, Fact
from service.stream.tables import stream_cursors

CHANNEL = "snp_stream"
_POSITIONS = "positions"
# So often the cursor moves though nothing happens: readiness sees that somebody looks.
_SIGN_OF_LIFE_SECONDS = 10
_e, _c = events.c, stream_cursors.c

_OPEN = (
    insert(stream_cursors)
    .values(consumer=bind("consumer", Text), reached=bind("reached", BigInteger))
    .on_conflict_do_nothing()
)
_LOCK = (
    select(_c.reached)
    .where(_c.consumer == bind("consumer", Text))
    .with_for_update(skip_locked=True)
)
_MOVE = (
    update(stream_cursors)
    .where(_c.consumer == bind("which", Text))
    .values(reached=bind("new", BigInteger), moved_at=snp_now())
)
_LAST = select(func.coalesce(func.max(_e.position), BEGINNING))
_FACT = select(*(_e[field.name] for field in fields(Fact)))
_FACTS = (
    _FACT.where(_e.position > bind("after", BigInteger))
    .order_by(_e.position)
    .limit(bind("limit", Integer))
)
_THESE = _FACT.where(_e.id == func.any(uuids("ids")))
# Not the plain column: the least of it would be sought among all positions, from the first fact on.
_position = _e.position + 0
_BETWEEN = select(func.min(_position).label("first"), func.max(_position).label("last")).where(
    _e.occurred_at >= bind("since", Instant), _e.occurred_at < bind("until", Instant)
)


def _xid(value: ColumnElement[int]) -> ColumnElement[int]:
    return cast(cast(value, Text), Xid8)


# At most `limit` facts, but never a part of a transaction.
_UPPER = select(
    func.least(
        bind("horizon", BigInteger),
        func.greatest(
            func.coalesce(
                select(cast(cast(_e.xid, Text), BigInteger))
                .where(
                    _e.xid >= _xid(bind("reached", BigInteger)),
                    _e.xid < _xid(bind("horizon", BigInteger)),
                )
                .order_by(_e.xid, _e.id)
                .offset(bind("limit", Integer))
                .limit(1)
                .scalar_subquery(),
                bind("horizon", BigInteger),
            ),
            bind("reached", BigInteger) + 1,
        ),
    )
)
_due = (
    select(
        _e.id,
        func.row_number().over(order_by=(_e.xid, _e.occurred_at, _e.id)).label("nth"),
    )
    .where(
        _e.xid >= _xid(bind("reached", BigInteger)),
        _e.xid < _xid(bind("upper", BigInteger)),
        _e.position.is_(None),
    )
    .cte("due")
)
_NUMBER = (
    update(events)
    .where(_e.id == _due.c.id)
    .values(position=_due.c.nth + bind("last", BigInteger))
    .returning(_e.position)
    .cte("numbered")
)
_NUMBERED = select(func.count().label("facts"), func.max(_NUMBER.c.position).label("last"))
_NOTIFY = text(f"SELECT pg_notify('{CHANNEL}', :last)")
_reached = select(_c.reached).where(_c.consumer == _POSITIONS).scalar_subquery()
# The first fact that somebody who makes something of facts has still to be given.
_slowest = select(func.min(_c.reached)).where(_c.consumer != _POSITIONS).scalar_subquery()
_ungiven = (
    select(_e.occurred_at).where(_e.position > _slowest).order_by(_e.position).limit(1)
).scalar_subquery()
_unnumbered = (
    select(func.min(_e.occurred_at))
    .where(_e.xid >= _xid(_reached), _e.position.is_(None))
    .scalar_subquery()
)
_KEEPING = select(
    select(func.extract("epoch", snp_now() - _c.moved_at))
    .where(_c.consumer == _POSITIONS)
    .scalar_subquery()
    .label("idle"),
    func.extract("epoch", snp_now() - func.least(_ungiven, _unnumbered)).label("waiting"),
)


_LOOK = select(
    func.extract("epoch", snp_now() - _c.moved_at).label("idle"),
    func.snp_xact_horizon().label("horizon"),
    exists(
        select(1).where(
            _e.xid >= _xid(_c.reached),
            _e.xid < _xid(func.snp_xact_horizon()),
            _e.position.is_(None),
        )
    ).label("due"),
).where(_c.consumer == _POSITIONS)


async def open_cursor(uow: UnitOfWork, consumer: str, reached: int) -> None:
    """Let a consumer begin after a position, unless it has begun."""
    await uow.execute(_OPEN, {"consumer": consumer, "reached": reached})


async def lock_cursor(uow: UnitOfWork, consumer: str) -> int | None:
    """Return how far a consumer has come, and keep others from it; None while another works."""
    found: int | None = (await uow.execute(_LOCK, {"consumer": consumer})).scalar_one_or_none()
    return found


async def move_cursor(uow: UnitOfWork, consumer: str, reached: int) -> None:
    """Say how far a consumer has come."""
    await uow.execute(_MOVE, {"which": consumer, "new": reached})


async def give_positions(uow: UnitOfWork, limit: int) -> tuple[int, bool]:
    """Number the facts of ended transactions, and tell who listens; nothing while another does.

    Returns how many, at most about `limit`, and whether more of them wait.
    """
    seen = (await uow.execute(_LOOK)).one_or_none()
    if seen is None:
        await open_cursor(uow, _POSITIONS, BEGINNING)
        seen = (await uow.execute(_LOOK)).one()
    if not seen.due and seen.idle < _SIGN_OF_LIFE_SECONDS:
        return 0, False  # and nothing is written, ten times a second
    reached = await lock_cursor(uow, _POSITIONS)
    if reached is None or seen.horizon < reached:  # others were faster
        return 0, False
    span = {"reached": reached, "horizon": seen.horizon, "limit": limit}
    upper = (await uow.execute(_UPPER, span)).scalar_one()
    last = await last_position(uow)
    asked = {"reached": reached, "upper": upper, "last": last}
    done = (await uow.execute(_NUMBERED, asked)).one()
    await move_cursor(uow, _POSITIONS, upper)
    if done.facts:
        await uow.execute(_NOTIFY, {"last": str(done.last)})
    return int(done.facts), upper < seen.horizon


async def last_position(uow: UnitOfWork) -> int:
    """Return the newest position."""
    return int((await uow.execute(_LAST)).scalar_one())


def _fact(row: Sequence[Any]) -> Fact:
    return Fact(*row)


async def read_after(uow: UnitOfWork, position: int, limit: int) -> list[Fact]:
    """Return the facts that follow a position, in their order."""
    rows = await uow.single(_FACTS, {"after": position, "limit": limit})
    return [_fact(row) for row in rows]


async def keeping(uow: UnitOfWork) -> tuple[float | None, float | None]:
    """Return the seconds since a worker looked, and since the oldest fact that waits for it."""
    row = (await uow.single(_KEEPING)).one()
    return row.idle, row.waiting


async def find(uow: UnitOfWork, ids: Collection[UUID]) -> dict[UUID, Fact]:
    """Return facts by their id; those that have no position yet, or no more, are left out."""
    rows = await uow.single(_THESE, {"ids": list(ids)})
    # Asked here: a plan made before statistics were would read all positions instead of some ids.
    return {row.id: _fact(row) for row in rows if row.position is not None}


async def positions_between(
    uow: UnitOfWork, since: datetime, until: datetime
) -> tuple[int, int] | None:
    """Return the first and the last position of what happened from an instant, before another.

    Facts in between may have happened a moment earlier or later.
    """
    row = (await uow.single(_BETWEEN, {"since": since, "until": until})).one()
    return None if row.first is None else (row.first, row.last)
