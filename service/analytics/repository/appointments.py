"""What became of appointments, by their start."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import RowMapping, case

from service.analytics.domain import Appointments, CancelledBy, Counted, Extent
from service.analytics.repository.columns import at_most, constant, delay_columns, delays, rows
from service.analytics.repository.counting import Counting, count
from service.analytics.repository.sources import (
    at_hour,
    booking,
    in_territory,
    of_member,
    receiving,
)
from service.bookings import BookingState
from service.kernel.db import UnitOfWork
from service.kernel.sql import snp_now

_b = booking.c
_WHO = ("patient", "requester", "doctor", "system")


def _in(state: BookingState) -> Any:
    return _b.state == constant(state.value)


_LEFT, _FULFILLED = _in(BookingState.BOOKED), _in(BookingState.FULFILLED)
_MISSED, _CANCELLED = _in(BookingState.NOSHOW), _in(BookingState.CANCELLED)
# Null, so that it does not count, of what was cancelled.
_DELAY = case((~_CANCELLED, _b.starts_at - _b.created_at))

_NAMES: Any = (
    *("booked", "fulfilled", "missed", "cancelled", "unreported", "upcoming"),
    *("sent_to_emergency", "within_24_hours", "within_48_hours"),
)
_BOOKINGS = Counting(
    source=booking,
    instant=_b.starts_at,
    territory=in_territory(_b.territory),
    cpts=of_member(_b.practitioner_organization_id, _b.territory),
    keys={
        **receiving(_b.practitioner_organization_id, _b.practitioner_id),
        **at_hour(_b.starts_at),
    },
    columns=[
        rows().label("booked"),
        rows(_FULFILLED).label("fulfilled"),
        rows(_MISSED).label("missed"),
        rows(_CANCELLED).label("cancelled"),
        *(rows(_b.cancelled_by == constant(who)).label(f"by_{who}") for who in _WHO),
        rows(_LEFT, _b.starts_at <= snp_now()).label("unreported"),
        rows(_LEFT, _b.starts_at > snp_now()).label("upcoming"),
        rows(_b.sent_to_emergency, _FULFILLED | _MISSED).label("sent_to_emergency"),
        rows(at_most(_DELAY, "24 hours")).label("within_24_hours"),
        rows(at_most(_DELAY, "48 hours")).label("within_48_hours"),
        *delay_columns(_DELAY),
    ],
)


async def appointments(uow: UnitOfWork, extent: Extent, group: str | None) -> Counted[Appointments]:
    """Count appointments by what became of them; started means past."""
    return await count(uow, _BOOKINGS, extent, group, _read)


def _read(found: Sequence[RowMapping]) -> Appointments:
    (row,) = found
    return Appointments(
        **{name: row[name] for name in _NAMES},
        cancelled_by=CancelledBy(**{who: row[f"by_{who}"] for who in _WHO}),
        delays=delays(row),
    )
