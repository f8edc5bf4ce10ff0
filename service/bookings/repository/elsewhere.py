"""What was booked elsewhere while a slot was open."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Float,
    and_,
    func,
    or_,
    select,
    text,
    true,
)
from sqlalchemy import Uuid as UuidType

from service.bookings.tables import bookings
from service.kernel.db import UnitOfWork
from service.kernel.sql import bind, snp_now
from service.kernel.tables import Instant
from service.slots import parts as slots

_s, _b = slots.slot.c, bookings.c
_own, _other = bookings.alias("own"), slots.slot.alias("other")
_DAY = text("interval '24 hours'")


def _had_room() -> ColumnElement[bool]:
    """When the other one was made, as far as today's rows tell: moved bookings left no trace."""
    taken = (
        select(func.count())
        .where(
            _own.c.slot_id == _s.id,
            _own.c.created_at <= _b.created_at,
            or_(_own.c.cancelled_at.is_(None), _own.c.cancelled_at > _b.created_at),
        )
        .scalar_subquery()
    )
    return taken < _s.capacity


_ELSEWHERE = (
    select(func.count())
    .select_from(slots.slot.join(bookings, true()).join(_other, _other.c.id == _b.slot_id))
    .where(
        _s.id == bind("slot_id", UuidType),
        _b.territory == _s.territory,
        _b.starts_at.between(_s.starts_at - _DAY, _s.starts_at + _DAY),
        _b.created_at >= bind("since", Instant),
        _b.created_at < func.least(_s.starts_at, snp_now()),
        # Elsewhere: with somebody else; at a centre that names nobody, at another centre.
        or_(
            _b.practitioner_id.is_distinct_from(_s.practitioner_id),
            and_(
                _s.practitioner_id.is_(None),
                _b.practitioner_organization_id != _s.organization_id,
            ),
        ),
        slots.kilometres(_s, _other.c) <= bind("radius_km", Float),
        _had_room(),
        _b.organization_id.in_(slots.organizations_that_can()),
    )
)


async def booked_elsewhere(
    uow: UnitOfWork, slot_id: UUID, *, since: datetime, radius_km: float
) -> int:
    """Count what was booked elsewhere while a slot was open, by whoever could have seen it."""
    values = {"slot_id": slot_id, "since": since, "radius_km": radius_km}
    return int((await uow.single(_ELSEWHERE, values)).scalar_one())
