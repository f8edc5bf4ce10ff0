"""Who asked for appointments, by the creation of the booking."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import RowMapping

from service.analytics.domain import Counted, Extent, Referrals, Requester, referrals
from service.analytics.repository.columns import constant, rows
from service.analytics.repository.counting import Counting, Key, count
from service.analytics.repository.sources import belonging, booking, in_territory, of_member
from service.bookings import BookingState
from service.kernel.db import UnitOfWork

_b = booking.c


def _in(state: BookingState) -> Any:
    return rows(_b.state == constant(state.value))


_NAMES: Any = ("role", "organization_type", *Referrals.COUNTS)
_BOOKINGS = Counting(
    source=booking,
    instant=_b.created_at,
    territory=in_territory(_b.territory),
    cpts=of_member(_b.practitioner_organization_id, _b.territory),
    keys={
        **belonging(_b.practitioner_organization_id),
        "role": Key(_b.role),
        "organization_type": Key(_b.organization_type),
    },
    by=[_b.role, _b.organization_type],
    columns=[
        rows().label("booked"),
        _in(BookingState.FULFILLED).label("fulfilled"),
        _in(BookingState.NOSHOW).label("missed"),
        _in(BookingState.CANCELLED).label("cancelled"),
        _in(BookingState.BOOKED).label("pending"),
    ],
)


async def referred(uow: UnitOfWork, extent: Extent, group: str | None) -> Counted[Referrals]:
    """Count bookings by requester."""
    return await count(uow, _BOOKINGS, extent, group, _read)


def _read(found: Sequence[RowMapping]) -> Referrals:
    return referrals(Requester(**{name: row[name] for name in _NAMES}) for row in found)
