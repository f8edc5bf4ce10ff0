"""What a community reports: one statement for doctors, one for requests."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    RowMapping,
    and_,
    case,
    false,
    func,
    or_,
    select,
    true,
    union_all,
)

from service.analytics.domain import (
    AUDIENCE,
    DOCTORS_SIDE,
    PHYSICIAN,
    Counted,
    Doctors,
    Extent,
    Indicators,
    Requests,
)
from service.analytics.repository.call_outcomes import COUNTED, bits
from service.analytics.repository.columns import at_most, constant, constants, rows
from service.analytics.repository.counting import Counting, count
from service.analytics.repository.sources import (
    belonging,
    booking,
    call,
    calling,
    in_territory,
    of_community,
    of_member,
    practitioner,
    slot,
)
from service.bookings import BookingState
from service.calls import MASK, Outcome
from service.kernel.db import UnitOfWork

_s, _b, _c = slot.c, booking.c, call.c

# Of a booking that its own side did not take back.
_STANDS = or_(_b.cancelled_by.is_(None), _b.cancelled_by != func.all(constants(DOCTORS_SIDE)))


# --- doctors ------------------------------------------------------------------------------------

_SIGNS = union_all(
    select(
        _s.practitioner_id,
        _s.organization_id,
        _s.territory,
        _s.starts_at,
        true().label("publishing"),
        _s.withdrawn_at.is_(None).label("offering"),
        false().label("booked"),
    ).where(_s.visibility.bool_op("&&")(constants(AUDIENCE))),
    select(
        _b.practitioner_id,
        _b.practitioner_organization_id,
        _b.territory,
        _b.starts_at,
        false(),
        false(),
        true(),
    ).where(_STANDS),
).subquery("signs")
_d = _SIGNS.c


def _different(sign: ColumnElement[bool]) -> ColumnElement[int]:
    return func.count(_d.practitioner_id.distinct()).filter(sign)


_DOCTORS = Counting(
    source=_SIGNS.join(
        practitioner,
        and_(
            practitioner.c.id == _d.practitioner_id,
            practitioner.c.profession == constant(PHYSICIAN),
        ),
    ),
    instant=_d.starts_at,
    territory=in_territory(_d.territory),
    cpts=of_member(_d.organization_id, _d.territory),
    keys=belonging(_d.organization_id),
    columns=[
        _different(_d.publishing).label("publishing"),
        _different(_d.offering).label("offering"),
        _different(_d.booked).label("booked"),
    ],
)


def _read_doctors(found: Sequence[RowMapping]) -> Doctors:
    (row,) = found
    return Doctors(publishing=row["publishing"], offering=row["offering"], booked=row["booked"])


# --- requests -----------------------------------------------------------------------------------


_ORIENTED = bits(MASK[Outcome.SLOT_ORIENTATION])


def _any(state: BookingState) -> ColumnElement[Any]:
    return func.coalesce(func.bool_or(_b.state == constant(state.value)), false())


# A booking orients its call, for ever: no other call needs to be looked up.
_LED_TO = (
    select(
        func.min(_b.starts_at).label("first_start"),
        case(
            (func.count() == 0, constant("nothing")),
            (_any(BookingState.FULFILLED), constant("honoured")),
            (_any(BookingState.BOOKED), constant("pending")),
            (_any(BookingState.NOSHOW), constant("missed")),
            else_=constant("given_up"),
        ).label("result"),
    )
    .where(_b.call_id == _c.id, _STANDS, _ORIENTED)
    .correlate(call)
    .lateral("led_to")
)
_RESULTS = ("honoured", "pending", "missed", "given_up")
_DELAY = _LED_TO.c.first_start - _c.received_at

_NAMES: Any = (
    *("calls", "oriented", "with_appointment", *_RESULTS),
    *("within_24_hours", "within_48_hours"),
)
_REQUESTS = Counting(
    source=call.join(_LED_TO, true()),
    instant=_c.received_at,
    territory=in_territory(_c.territory),
    cpts=of_community(_c.cpts_id),
    where=[COUNTED],
    keys=calling(),
    columns=[
        rows().label("calls"),
        rows(_ORIENTED).label("oriented"),
        rows(_LED_TO.c.first_start.is_not(None)).label("with_appointment"),
        *(rows(_LED_TO.c.result == constant(result)).label(result) for result in _RESULTS),
        rows(at_most(_DELAY, "24 hours")).label("within_24_hours"),
        rows(at_most(_DELAY, "48 hours")).label("within_48_hours"),
    ],
)


def _read_requests(found: Sequence[RowMapping]) -> Requests:
    (row,) = found
    return Requests(**{name: row[name] for name in _NAMES})


async def cpts_indicators(
    uow: UnitOfWork, extent: Extent, group: str | None
) -> Counted[Indicators]:
    """Count doctors taking part and requests that led to an appointment."""
    doctors = await count(uow, _DOCTORS, extent, group, _read_doctors)
    requests = await count(uow, _REQUESTS, extent, group, _read_requests)
    return Counted(
        [
            Indicators(doctors=d, requests=r)
            for d, r in zip(doctors.totals, requests.totals, strict=True)
        ],
        [
            {
                key: Indicators(
                    doctors=ours.get(key, Doctors()), requests=theirs.get(key, Requests())
                )
                for key in {**ours, **theirs}
            }
            for ours, theirs in zip(doctors.groups, requests.groups, strict=True)
        ],
    )
