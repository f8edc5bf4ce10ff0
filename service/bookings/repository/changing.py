"""Locking and changing bookings, inside a transaction."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    LargeBinary,
    Row,
    Text,
    Uuid,
    func,
    literal,
    or_,
    select,
    update,
)

from service.bookings.domain import BookingState, CancelledBy
from service.bookings.tables import bookings
from service.identity import Actor
from service.kernel.db import UnitOfWork
from service.kernel.sql import bind, flag, snp_now, uuids
from service.slots import parts as slots

_b = bookings.c

_LOCK = select(_b.id).where(_b.id == bind("booking_id", Uuid)).with_for_update()


async def lock(uow: UnitOfWork, booking_id: UUID) -> None:
    """Lock a booking row: first of all, before any slot (ADR 7)."""
    await uow.execute(_LOCK, {"booking_id": booking_id})


_LOCK_SLOTS = (
    select(slots.slot.c.id)
    .where(
        slots.slot.c.id == func.any(uuids("slot_ids")),
        # Who may not see a slot does not wait for it either.
        or_(slots.slot.c.id == bind("own_slot_id", Uuid), slots.visible()),
    )
    .order_by(slots.slot.c.id)
    .with_for_update()
)


async def lock_slots(uow: UnitOfWork, actor: Actor, *, old: UUID, new: UUID) -> None:
    """Lock the slot a booking leaves and the one it wants, in the order of their ids."""
    await uow.execute(
        _LOCK_SLOTS,
        {"slot_ids": sorted((old, new)), "own_slot_id": old, **slots.caller(actor)},
    )


_MOVE = (
    update(bookings)
    .where(_b.id == bind("of_booking", Uuid))
    .values(
        **{
            name: bind(f"new_{name}", _b[name].type)
            for name in (
                "slot_id",
                "starts_at",
                "ends_at",
                "practitioner_id",
                "practitioner_organization_id",
                "territory",
            )
        },
        overbooked=False,
        version=_b.version + 1,
        updated_at=snp_now(),
    )
)


async def move(uow: UnitOfWork, booking_id: UUID, taken: Row[Any]) -> None:
    """Put a booking on the slot whose seat was just taken."""
    await uow.execute(
        _MOVE,
        {
            "of_booking": booking_id,
            "new_slot_id": taken.id,
            "new_starts_at": taken.starts_at,
            "new_ends_at": taken.ends_at,
            "new_practitioner_id": taken.practitioner_id,
            "new_practitioner_organization_id": taken.organization_id,
            "new_territory": taken.territory,
        },
    )


_CARE = select(
    func.coalesce(
        func.array_agg(_b.practitioner_id.distinct()).filter(_b.practitioner_id.is_not(None)),
        literal([], ARRAY(Uuid)),
    ).label("practitioner_ids"),
    func.coalesce(
        func.array_agg(_b.practitioner_organization_id.distinct()).filter(
            _b.practitioner_id.is_(None)
        ),
        literal([], ARRAY(Uuid)),
    ).label("organization_ids"),
).where(_b.patient_file_id == bind("file_id", Uuid))


async def care_of(uow: UnitOfWork, file_id: UUID) -> tuple[list[UUID], list[UUID]]:
    """Return which practitioners, and which centres with nobody named, have these bookings."""
    row = (await uow.execute(_CARE, {"file_id": file_id})).one()
    return list(row.practitioner_ids), list(row.organization_ids)


_LAST_END = select(func.max(_b.ends_at)).where(
    _b.patient_file_id == bind("file_id", Uuid), _b.state != BookingState.CANCELLED
)


async def last_end(uow: UnitOfWork, file_id: UUID) -> datetime | None:
    """Return when the last appointment of a file ends, if it has one."""
    ended: datetime | None = (await uow.execute(_LAST_END, {"file_id": file_id})).scalar_one()
    return ended


_OTHERS_SENT = select(
    func.coalesce(func.bool_or(_b.sent_to_emergency), literal(value=False))
).where(_b.call_id == bind("call_id", Uuid))


async def sent_to_emergency(uow: UnitOfWork, call_id: UUID) -> bool:
    """Tell whether the report of any booking of a call sent the patient on to emergency."""
    return bool((await uow.execute(_OTHERS_SENT, {"call_id": call_id})).scalar_one())


_CANCEL = (
    update(bookings)
    .where(_b.id == bind("of_booking", Uuid))
    .values(
        state=BookingState.CANCELLED,
        cancelled_by=bind("new_cancelled_by", Text),
        cancelled_at=snp_now(),
        cancel_reason=bind("new_cancel_reason", LargeBinary),
        version=_b.version + 1,
        updated_at=snp_now(),
    )
)


async def cancel(uow: UnitOfWork, booking_id: UUID, by: CancelledBy, reason: str | None) -> None:
    """Write a cancellation."""
    sealed = uow.vault.encrypt(reason, column="bookings.cancel_reason", row=booking_id)
    await uow.execute(
        _CANCEL,
        {"of_booking": booking_id, "new_cancelled_by": by, "new_cancel_reason": sealed},
    )


_REPORT = (
    update(bookings)
    .where(_b.id == bind("of_booking", Uuid))
    .values(
        state=bind("new_state", Text),
        report_detail=bind("new_report_detail", LargeBinary),
        sent_to_emergency=flag("new_sent_to_emergency"),
        reported_at=func.coalesce(_b.reported_at, snp_now()),
        version=_b.version + 1,
        updated_at=snp_now(),
    )
)


async def report(
    uow: UnitOfWork,
    booking_id: UUID,
    state: BookingState,
    *,
    detail: str | None,
    sent_to_emergency: bool,
) -> None:
    """Write what happened; `reported_at` stays the instant of the first report."""
    sealed = uow.vault.encrypt(detail, column="bookings.report_detail", row=booking_id)
    await uow.execute(
        _REPORT,
        {
            "of_booking": booking_id,
            "new_state": state,
            "new_report_detail": sealed,
            "new_sent_to_emergency": sent_to_emergency,
        },
    )
