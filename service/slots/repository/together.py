"""Many slots at once: those of a session, or of an absence."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Integer,
    Row,
    Select,
    Update,
    Uuid,
    and_,
    case,
    exists,
    func,
    literal_column,
    select,
    update,
)

from service.directory import parts as directory
from service.kernel.db import UnitOfWork
from service.kernel.sql import bind, snp_now, uuids
from service.kernel.tables import Instant
from service.slots import parts
from service.slots.domain import LeftBehind
from service.slots.domain.release import COLUMNS, ReleaseTo, Step
from service.slots.tables import holds, slots

_s, _h = slots.c, holds.c


@cache
def _lock_future(whose: str) -> Select[Any]:
    of_session = _s.session_id == bind("session_id", Uuid)
    of_range = and_(
        _s.practitioner_id == bind("practitioner_id", Uuid),
        _s.starts_at < bind("to", Instant),
        _s.ends_at > bind("from_", Instant),
        _s.withdrawn_at.is_(None),
    )
    emptied = and_(
        _s.id == bind("slot_id", Uuid),
        _s.session_id.is_not(None),
        _s.booked == 0,
        _s.withdrawn_at.is_(None),
    )
    p = directory.practitioner.c
    orphaned = and_(
        _s.id == bind("slot_id", Uuid),
        _s.withdrawn_at.is_(None),
        exists(select(1).where(p.id == _s.practitioner_id, ~p.active)),
    )
    chosen = {
        "session": of_session, "range": of_range, "emptied": emptied, "orphaned": orphaned,
    }  # fmt: skip
    return (
        select(*_s, parts.live_holds().label("held"), snp_now().label("now"))
        .where(chosen[whose], _s.starts_at > snp_now())
        .order_by(_s.id)
        .with_for_update(of=slots)
    )


async def lock_session(uow: UnitOfWork, session_id: UUID) -> list[Row[Any]]:
    """Lock the slots of a session that have not started, withdrawn ones too, by id."""
    return list(await uow.execute(_lock_future("session"), {"session_id": session_id}))


async def lock_range(
    uow: UnitOfWork, practitioner_id: UUID, from_: datetime, to: datetime
) -> list[Row[Any]]:
    """Lock a practitioner's published slots that touch a range and have not started, by id."""
    values = {"practitioner_id": practitioner_id, "from_": from_, "to": to}
    return list(await uow.execute(_lock_future("range"), values))


async def lock_emptied(uow: UnitOfWork, slot_id: UUID) -> Row[Any] | None:
    """Lock a published slot of a session, still to come, that nobody is booked on."""
    return (await uow.execute(_lock_future("emptied"), {"slot_id": slot_id})).one_or_none()


async def lock_orphaned(uow: UnitOfWork, slot_id: UUID) -> Row[Any] | None:
    """Lock a published slot, still to come, of a practitioner who practises no more."""
    return (await uow.execute(_lock_future("orphaned"), {"slot_id": slot_id})).one_or_none()


_p = directory.practitioner.c
_LEFT_BEHIND = (
    select(
        _p.rpps,
        func.count().filter(_s.booked == 0).label("free"),
        func.count().filter(_s.booked > 0).label("booked"),
    )
    .select_from(slots.join(directory.practitioner, _p.id == _s.practitioner_id))
    .where(~_p.active, _s.withdrawn_at.is_(None), _s.starts_at > snp_now())
    .group_by(_p.rpps)
    .order_by(_p.rpps)
)


async def left_behind(uow: UnitOfWork) -> list[LeftBehind]:
    """Return who practises no more and still has slots to come, by RPPS."""
    rows = await uow.single(_LEFT_BEHIND)
    return [LeftBehind(row.rpps, row.free, row.booked) for row in rows]


_TAKE_BACK = (
    update(slots)
    .where(_s.id == func.any(uuids("ids")), _s.withdrawn_at.is_(None), _s.booked == 0)
    .values(
        withdrawn_at=snp_now(),
        holds=literal_column("'{}'::jsonb"),
        next_release_at=None,
        session_id=None,
        session_start=None,
        version=_s.version + 1,
        updated_at=snp_now(),
    )
    .returning(_s.id)
)
_END_ALL_HOLDS = (
    update(holds)
    .where(
        _h.slot_id == func.any(uuids("ids")),
        _h.ended_at.is_(None),
        _h.expires_at > snp_now(),  # what expired is told by itself
    )
    .values(ended_at=snp_now())
)


async def take_back(uow: UnitOfWork, ids: Sequence[UUID]) -> set[UUID]:
    """Withdraw those that nobody is booked on and give up their place in their session's grid."""
    done = {row.id for row in await uow.execute(_TAKE_BACK, {"ids": list(ids)})}
    await uow.execute(_END_ALL_HOLDS, {"ids": sorted(done)})
    return done


@cache
def _amend_all(names: tuple[str, ...], *, released: bool) -> Update:
    return (
        update(slots)
        .where(_s.id == func.any(uuids("ids")))
        .values(
            **{name: bind(f"new_{name}", _s[name].type) for name in names},
            **(_steps() if released else {}),
            version=_s.version + 1,
            updated_at=snp_now(),
        )
    )


def _steps() -> dict[str, ColumnElement[Any]]:
    """The columns of a release, as `release.columns_of` returns them, of each slot's own start."""
    instants: dict[str, ColumnElement[Any]] = {
        column: _s.starts_at - func.make_interval(0, 0, 0, 0, 0, bind(f"minutes_{to}", Integer))
        for to, column in COLUMNS.items()
    }
    back = instants[COLUMNS[ReleaseTo.GIVE_BACK]]
    told = func.least(back, *(case((at > snp_now(), at)) for at in instants.values()))
    return {**instants, "next_release_at": told}


async def amend_all(
    uow: UnitOfWork,
    ids: Sequence[UUID],
    values: Mapping[str, Any],
    release: Sequence[Step] | None = None,
) -> None:
    """Write the same columns of several slots, and the same steps before the start of each."""
    given = {f"new_{name}": value for name, value in values.items()}
    if release is not None:
        given |= {f"minutes_{to}": None for to in COLUMNS}
        given |= {f"minutes_{step.to}": step.minutes_before for step in release}
    statement = _amend_all(tuple(values), released=release is not None)
    await uow.execute(statement, {"ids": list(ids), **given})
