"""What SAS is told of bookings, and what became of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Float,
    Integer,
    SmallInteger,
    Text,
    Uuid,
    and_,
    case,
    delete,
    func,
    literal_column,
    null,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import insert

from service.bookings import parts as bookings
from service.directory import parts as directory
from service.identity import Identifier
from service.kernel.db import UnitOfWork
from service.kernel.sending import Attempt
from service.kernel.sql import bind, snp_now
from service.sas.domain.appointments import Appointment
from service.sas.tables import sas_appointments
from service.slots import parts as slots

_t, _b, _s, _who = sas_appointments.c, bookings.booking.c, slots.slot.c, directory.practitioner.c
_this = _t.booking_id == bind("booking", Uuid)
_CHANGED = literal_column("'changed'", Text)
_FAILED_STATE = literal_column("'failed'", Text)
_ABANDONED = literal_column("'abandoned'", Text)

_ADD = insert(sas_appointments).on_conflict_do_nothing()
# What was never tried stays new: it is created there, and not looked for.
_CHANGE = text(
    """UPDATE sas_appointments
       SET position = new.position, attempts = 0, next_attempt_at = snp_now(),
           state = CASE WHEN state = 'new' THEN 'new' ELSE 'changed' END
       FROM unnest(cast(:bookings AS uuid[]), cast(:positions AS bigint[]))
              AS new(booking_id, position)
       WHERE sas_appointments.booking_id = new.booking_id
         AND sas_appointments.position < new.position
       RETURNING sas_appointments.booking_id"""
)


async def add(uow: UnitOfWork, operators: Mapping[UUID, Identifier]) -> None:
    """Let SAS be told of bookings, by whoever made them; those that are there stay."""
    rows = [
        {
            "booking_id": booking_id,
            "operator_system": operator.system,
            "operator_value": operator.value,
            "position": -1,
        }
        for booking_id, operator in operators.items()
    ]
    if rows:
        await uow.execute(_ADD, rows)


async def change(uow: UnitOfWork, positions: Mapping[UUID, int]) -> bool:
    """Let SAS be told what is new about its bookings; tell whether one is among these."""
    values = {"bookings": list(positions), "positions": list(positions.values())}
    return (await uow.execute(_CHANGE, values)).first() is not None


@dataclass(frozen=True, slots=True)
class Due:
    """An appointment that SAS is to be told now; `position` is the newest fact that we know of."""

    appointment: Appointment
    position: int
    state: str
    attempts: int


_is_due = and_(_t.next_attempt_at.is_not(None), _t.next_attempt_at <= snp_now())
_DUE = (
    select(
        *(_t.booking_id, _t.operator_system, _t.operator_value, _t.position, _t.attempts),
        _t.state.label("delivery"),
        *(_b.state, _b.starts_at, _b.ends_at, _b.created_at, _s.zone, _who.rpps),
        _s.organization_type,
    )
    .select_from(
        sas_appointments.join(bookings.booking, _b.id == _t.booking_id)
        .join(slots.slot, _s.id == _b.slot_id)
        .outerjoin(directory.practitioner, _who.id == _b.practitioner_id)
    )
    .where(_is_due)
    .order_by(_t.next_attempt_at, _t.state == _FAILED_STATE, _t.position)
    .limit(1)
)
_ANY_DUE = select(1).where(_is_due).limit(1)


async def due(uow: UnitOfWork) -> Due | None:
    """Return what waits longest, as the booking is now; of equals, one that never failed."""
    row = (await uow.single(_DUE)).one_or_none()
    if row is None:
        return None
    appointment = Appointment(
        booking_id=row.booking_id,
        operator=Identifier(row.operator_system, row.operator_value),
        state=row.state,
        starts_at=row.starts_at,
        ends_at=row.ends_at,
        created_at=row.created_at,
        zone=row.zone,
        rpps=row.rpps,
        at_point=row.organization_type == "sos",
    )
    return Due(appointment, row.position, row.delivery, row.attempts)


async def any_due(uow: UnitOfWork) -> bool:
    """Tell whether something waits."""
    return (await uow.execute(_ANY_DUE)).first() is not None


def _in(seconds: str) -> ColumnElement[Any]:
    return snp_now() + func.make_interval(0, 0, 0, 0, 0, 0, bind(seconds, Float))


_BEGIN = update(sas_appointments).where(_this).values(state=_CHANGED)
_is_newest = _t.position == bind("told", BigInteger)
_TOLD = (
    update(sas_appointments)
    .where(_this)
    .values(
        told_position=bind("told", BigInteger),
        state=case((_is_newest, literal_column("'told'")), else_=_CHANGED),
        attempts=literal_column("0"),
        last_status=bind("status", SmallInteger),
        last_failure=null(),
        next_attempt_at=case((_is_newest, null()), else_=snp_now()),
    )
)
# What changed meanwhile is due anyhow, whatever came of what was told.
_FAILED = (
    update(sas_appointments)
    .where(_this, _is_newest)
    .values(
        state=bind("new_state", Text),
        attempts=bind("tried", SmallInteger),
        last_status=bind("status", SmallInteger),
        last_failure=bind("failure", Text),
        next_attempt_at=_in("wait"),
    )
)
_POSTPONE = update(sas_appointments).where(_is_due).values(next_attempt_at=_in("wait"))


async def begin(uow: UnitOfWork, booking_id: UUID) -> None:
    """Keep that SAS may know of an appointment from now on, whatever comes of telling it."""
    await uow.execute(_BEGIN, {"booking": booking_id})


async def told(uow: UnitOfWork, done: Due, attempt: Attempt) -> None:
    """Keep that SAS has an appointment; what changed meanwhile it is told next."""
    values = {"booking": done.appointment.booking_id, "told": done.position}
    await uow.execute(_TOLD, {**values, "status": attempt.status})


async def failed(
    uow: UnitOfWork, done: Due, attempt: Attempt, wait: float | None, *, tried: int
) -> None:
    """Keep that SAS does not have it yet, tried so often; `wait` in seconds, None: given up."""
    await uow.execute(
        _FAILED,
        {
            "booking": done.appointment.booking_id,
            "told": done.position,
            "new_state": "abandoned" if wait is None else "failed",
            "tried": tried,
            "status": attempt.status,
            "failure": attempt.failure,
            "wait": wait,
        },
    )


async def postpone(uow: UnitOfWork, seconds: float) -> bool:
    """Let everything that is due wait for so long; tell whether something is."""
    return (await uow.execute(_POSTPONE, {"wait": seconds})).rowcount > 0


_RETRY = (
    update(sas_appointments)
    .where(or_(_t.state == _ABANDONED, _t.state == _FAILED_STATE))
    .values(state=_CHANGED, attempts=literal_column("0"), next_attempt_at=snp_now())
)
# Since the booking changed, however often it was tried since.
_waits = func.extract("epoch", snp_now() - func.min(_b.updated_at))
_LAG = select(
    select(func.coalesce(_waits, 0))
    .select_from(sas_appointments.join(bookings.booking, _b.id == _t.booking_id))
    .where(_t.next_attempt_at.is_not(None))
    .scalar_subquery()
    .label("seconds"),
    select(func.count())
    .select_from(sas_appointments)
    .where(_t.state == _ABANDONED)
    .scalar_subquery()
    .label("abandoned"),
)
_ENDED = (
    select(_b.id)
    .where(_b.ends_at < snp_now() - func.make_interval(0, 0, 0, bind("days", Integer)))
    .where(_b.id == _t.booking_id)
)
_CLEAR = delete(sas_appointments).where(_ENDED.exists())


async def retry(uow: UnitOfWork) -> int:
    """Begin anew with what failed or was given up; return how many."""
    return (await uow.execute(_RETRY)).rowcount


async def lag(uow: UnitOfWork) -> tuple[float, int]:
    """Return for how long SAS waits to be told (s), at most, and how many were given up."""
    row = (await uow.single(_LAG)).one()
    return float(row.seconds), int(row.abandoned)


async def clear(uow: UnitOfWork, days: int) -> int:
    """Delete what SAS was told of appointments that ended so long ago; return how many."""
    return (await uow.execute(_CLEAR, {"days": days})).rowcount
