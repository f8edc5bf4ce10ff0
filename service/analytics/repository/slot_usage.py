"""What became of published seats, by the start of their slot."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Integer,
    RowMapping,
    and_,
    case,
    cast,
    exists,
    false,
    func,
    select,
    true,
)

from service.analytics.domain import Counted, Extent, SlotUsage
from service.analytics.repository.counting import Counting, Key, count
from service.analytics.repository.sources import (
    at_hour,
    booking,
    in_territory,
    of_member,
    receiving,
    slot,
)
from service.kernel.db import UnitOfWork
from service.kernel.sql import snp_now

_s = slot.c
_BOOKABLE, _KEPT = ~_s.walk_in, _s.withdrawn_at.is_(None)
_TAKEN = func.least(_s.booked, _s.capacity)


def _seats(seats: ColumnElement[int], *conditions: ColumnElement[bool]) -> ColumnElement[int]:
    return func.coalesce(func.sum(cast(seats, Integer)).filter(*conditions), 0)


_NAMES: Any = (
    *("published", "booked", "withdrawn", "replaced", "expired", "open", "overbooked", "walk_in"),
    *("released", "released_and_booked", "given_back"),
)
_i = (_INSTEAD := slot.alias("instead")).c
# By the index of the constraint that forbids overlaps; asked of withdrawn slots only.
_REPLACED = case(
    (_KEPT, false()),
    else_=exists(
        select(1).where(
            _i.practitioner_id == _s.practitioner_id,
            func.tstzrange(_i.starts_at, _i.ends_at).bool_op("&&")(
                func.tstzrange(_s.starts_at, _s.ends_at)
            ),
            _i.withdrawn_at.is_(None),
            ~_i.walk_in,
        )
    ).correlate_except(_INSTEAD),
)
# From its own bookings, asked of released slots only; one that moved here counts as made then.
_WIDENED = func.least(_s.pro_from, _s.cpts_from, _s.public_from)
_RELEASED = and_(
    _s.created_at <= _WIDENED,
    snp_now() >= _WIDENED,
    func.coalesce(_s.withdrawn_at > _WIDENED, true()),
)


def _bookings(*conditions: ColumnElement[bool]) -> ColumnElement[int]:
    counted = select(func.count()).where(booking.c.slot_id == _s.id, *conditions)
    return counted.correlate_except(booking).scalar_subquery()


_FREE = _s.capacity - func.least(
    _s.capacity,
    _bookings(
        booking.c.created_at < _WIDENED,
        func.coalesce(booking.c.cancelled_at >= _WIDENED, true()),
    ),
)
_THEN_BOOKED = func.least(
    _FREE, _bookings(booking.c.created_at >= _WIDENED, booking.c.state != "cancelled")
)
_SLOTS = Counting(
    source=slot,
    instant=_s.starts_at,
    territory=in_territory(_s.territory),
    cpts=of_member(_s.organization_id, _s.territory),
    keys={
        **receiving(_s.organization_id, _s.practitioner_id),
        "organization_type": Key(_s.organization_type),  # as it was published
        "label": Key(_s.visibility, many=True),
        **at_hour(_s.starts_at),
    },
    columns=[
        _seats(_s.capacity, _BOOKABLE).label("published"),
        _seats(_TAKEN, _BOOKABLE).label("booked"),
        _seats(_s.capacity, _BOOKABLE, ~_KEPT).label("withdrawn"),
        _seats(_s.capacity, _BOOKABLE, _REPLACED).label("replaced"),
        _seats(_s.capacity - _TAKEN, _BOOKABLE, _KEPT, _s.starts_at <= snp_now()).label("expired"),
        _seats(_s.capacity - _TAKEN, _BOOKABLE, _KEPT, _s.starts_at > snp_now()).label("open"),
        _seats(_s.booked - _TAKEN, _BOOKABLE).label("overbooked"),
        _seats(_s.capacity, _s.walk_in, _KEPT).label("walk_in"),
        _seats(case((_RELEASED, _FREE), else_=0), _BOOKABLE).label("released"),
        _seats(case((_RELEASED, _THEN_BOOKED), else_=0), _BOOKABLE).label("released_and_booked"),
        _seats(_s.capacity, _BOOKABLE, _s.withdrawn_at >= _s.given_back_from).label("given_back"),
    ],
)


async def slot_usage(uow: UnitOfWork, extent: Extent, group: str | None) -> Counted[SlotUsage]:
    """Count seats by what became of them; started means past."""
    return await count(uow, _SLOTS, extent, group, _read)


def _read(found: Sequence[RowMapping]) -> SlotUsage:
    (row,) = found
    return SlotUsage(**{name: row[name] for name in _NAMES})
