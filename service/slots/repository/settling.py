"""What time alone brings about: a step of a release is told, time goes back, a hold expires.

Each statement takes the rows that no other process is working on, and writes what is told with the
change itself: once, however many run it and wherever one of them dies.
"""

from typing import Any
from uuid import UUID

from sqlalchemy import (
    CTE,
    Integer,
    Row,
    Select,
    case,
    exists,
    func,
    literal_column,
    select,
    update,
)

from service.kernel import events
from service.kernel.db import UnitOfWork
from service.kernel.events import Origin
from service.kernel.sql import bind, snp_now, uuids
from service.slots import parts
from service.slots.domain.release import COLUMNS
from service.slots.tables import holds, slots

_s, _h = slots.c, holds.c


def _tell_steps() -> Select[Any]:
    """Tell that labels were added, where a seat is left, and go on to the next step."""
    due = (
        select(_s.id, _s.next_release_at.label("step_at"))
        .where(
            _s.next_release_at <= snp_now(),
            _s.given_back_from.is_distinct_from(_s.next_release_at),
        )
        .order_by(_s.next_release_at)
        .limit(bind("limit", Integer))
        .with_for_update(skip_locked=True)
        .cte("due")
    )
    later = (case((_s[column] > due.c.step_at, _s[column])) for column in COLUMNS.values())
    moved = (
        update(slots)
        .where(_s.id == due.c.id)
        .values(next_release_at=func.least(*later))
        .returning(*_s, due.c.step_at)
        .cte("moved")
    )
    m = moved.c
    to = case(
        *(
            (m[column] == m.step_at, literal_column(f"'{label}'"))
            for label, column in parts.ADDED.items()
        )
    )
    released = (
        select(moved, to.label("to"))
        .where(m.withdrawn_at.is_(None), m.starts_at > snp_now(), m.booked < m.capacity)
        .cte("released")
    )
    r = released.c
    labels = parts.visibility_at(r, r.step_at)
    told = events.part(
        "slot.released",
        released,
        subject=r.id,
        territory=r.territory,
        audience_before=parts.audience_json(r, parts.visibility_at(r, r.step_at, including=False)),
        audience_after=parts.audience_json(r, labels),
        data=func.jsonb_build_object(
            *(
                item
                for name in (
                    *("practitioner_id", "location_id", "organization_id", "starts_at", "ends_at"),
                    "to",
                )
                for item in (name, r[name])
            ),
            "released_at",
            r.step_at,
            "effective_visibility",
            labels,
        ),
        many=True,
    )
    return _counts(moved, told)


def _counts(due: CTE, told: CTE) -> Select[Any]:
    looked_at, events_of = (select(func.count()).select_from(rows) for rows in (due, told))
    return select(
        looked_at.scalar_subquery().label("due"), events_of.scalar_subquery().label("told")
    )


_TELL_STEPS = _tell_steps()


async def tell_steps(uow: UnitOfWork, limit: int) -> tuple[int, int]:
    """Tell the steps that are due; return how many slots went on, and how many were told of."""
    values = {"limit": limit, **Origin().parameters()}
    row = (await uow.single(_TELL_STEPS, values)).one()
    return row.due, row.told


_LOCK_GIVEN_BACK = (
    select(*_s, snp_now().label("now"))
    .where(
        _s.next_release_at <= snp_now(),
        _s.next_release_at == _s.given_back_from,
        # Whoever holds a seat may still book it; that a hold expired is told first.
        parts.live_holds() == literal_column("0"),
        ~exists(select(1).where(_h.slot_id == _s.id, _h.ended_at.is_(None))),
    )
    .order_by(_s.next_release_at)
    .limit(bind("limit", Integer))
    .with_for_update(of=slots, skip_locked=True)
)


async def lock_given_back(uow: UnitOfWork, limit: int) -> list[Row[Any]]:
    """Lock and return slots whose time has gone back to the doctor, and that nobody holds."""
    return list(await uow.execute(_LOCK_GIVEN_BACK, {"limit": limit}))


_TOLD = update(slots).where(_s.id == func.any(uuids("ids"))).values(next_release_at=None)


async def told(uow: UnitOfWork, ids: list[UUID]) -> None:
    """Note that nothing of these slots is left to be told."""
    await uow.execute(_TOLD, {"ids": ids})


def _expire() -> Select[Any]:
    # The slot row first, as everywhere: a booking that uses a hold locks it first too.
    due = (
        select(_h.id)
        .select_from(holds.join(slots, _s.id == _h.slot_id))
        .where(_h.ended_at.is_(None), _h.expires_at <= snp_now())
        .order_by(_h.expires_at)
        .limit(bind("limit", Integer))
        .with_for_update(of=slots, skip_locked=True)
        .cte("due")
    )
    ended = (
        update(holds)
        .where(_h.id == due.c.id, _h.ended_at.is_(None))
        .values(ended_at=_h.expires_at)
        .returning(_h.id, _h.slot_id, _h.organization_id, _h.expires_at)
        .cte("ended")
    )
    tidied = (
        update(slots)
        .where(_s.id.in_(select(ended.c.slot_id)))
        .values(holds=parts.without_expired())
        .returning(_s.id, _s.territory)
        .cte("tidied")
    )
    told = events.part(
        "hold.expired",
        ended.join(tidied, tidied.c.id == ended.c.slot_id),
        subject=tidied.c.id,
        territory=tidied.c.territory,
        data=func.jsonb_build_object(
            *("hold_id", ended.c.id, "expires_at", ended.c.expires_at),
            *("organization_id", ended.c.organization_id),  # whose it was: time ended it, nobody
        ),
        many=True,
    )
    return _counts(due, told)


_EXPIRE = _expire()


async def expire_holds(uow: UnitOfWork, limit: int) -> tuple[int, int]:
    """End the holds that expired unused; return how many were looked at, and how many told."""
    row = (await uow.single(_EXPIRE, {"limit": limit, **Origin().parameters()})).one()
    return row.due, row.told
