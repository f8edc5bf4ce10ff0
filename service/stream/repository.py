"""SQL of the stream: giving positions, reading what follows a position, who has come how far.

Whoever reads stays behind the oldest transaction that still runs: below the horizon nothing more
appears, so that positions are the order of transactions, and no fact is ever passed over.
"""

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Integer,
    Text,
    cast,
    func,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import insert

from service.kernel.db import UnitOfWork
from service.kernel.events import Xid8, events
from service.kernel.sql import bind, snp_now
from service.stream.domain import BEGINNING, Fact
from service.stream.tables import stream_cursors

CHANNEL = "snp_stream"
_POSITIONS = "positions"
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
_HORIZON = select(func.snp_xact_horizon())
_LAST = select(func.coalesce(func.max(_e.position), BEGINNING))
_FACTS = (
    select(
        *(_e.position, _e.id, _e.type, _e.subject_id, _e.occurred_at, _e.territory, _e.role),
        *(_e.organization_id, _e.audience_before, _e.audience_after, _e.data, _e.correlation_id),
    )
    .where(_e.position > bind("after", BigInteger))
    .order_by(_e.position)
    .limit(bind("limit", Integer))
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
_KEEPING = select(
    select(func.extract("epoch", snp_now() - _c.moved_at))
    .where(_c.consumer == _POSITIONS)
    .scalar_subquery()
    .label("idle"),
    select(func.extract("epoch", snp_now() - func.min(_e.occurred_at)))
    .where(_e.xid >= _xid(_reached), _e.position.is_(None))
    .scalar_subquery()
    .label("waiting"),
)


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


async def give_positions(uow: UnitOfWork, limit: int) -> int | None:
    """Number the facts of ended transactions, and tell who listens; None while another does.

    Returns how many: at most about `limit`.
    """
    await open_cursor(uow, _POSITIONS, BEGINNING)
    reached = await lock_cursor(uow, _POSITIONS)
    if reached is None:
        return None
    horizon = (await uow.execute(_HORIZON)).scalar_one()
    if horizon <= reached:
        return 0
    span = {"reached": reached, "horizon": horizon, "limit": limit}
    upper = (await uow.execute(_UPPER, span)).scalar_one()
    last = await last_position(uow)
    asked = {"reached": reached, "upper": upper, "last": last}
    done = (await uow.execute(_NUMBERED, asked)).one()
    await move_cursor(uow, _POSITIONS, upper)
    if done.facts:
        await uow.execute(_NOTIFY, {"last": str(done.last)})
    return int(done.facts)


async def last_position(uow: UnitOfWork) -> int:
    """Return the newest position."""
    return int((await uow.execute(_LAST)).scalar_one())


async def read_after(uow: UnitOfWork, position: int, limit: int) -> list[Fact]:
    """Return the facts that follow a position, in their order."""
    rows = await uow.single(_FACTS, {"after": position, "limit": limit})
    return [Fact(**row) for row in rows.mappings()]


async def keeping(uow: UnitOfWork) -> tuple[float | None, float | None]:
    """Return the seconds since a worker looked, and since the oldest fact that waits for it."""
    row = (await uow.single(_KEEPING)).one()
    return row.idle, row.waiting
