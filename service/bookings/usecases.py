"""Use cases: book, read, cancel, reschedule, report. Every face and job uses these functions."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from service import calls, patients, slots
from service.bookings import repository
from service.bookings.domain import (
    CORRECTION,
    Action,
    Booking,
    BookingInvalid,
    BookingNotFound,
    BookingRequest,
    BookingStarted,
    BookingState,
    CancelledBy,
    CorrectionTooLate,
    PatientAlreadyBooked,
    ReportTooEarly,
    Vital,
    VitalEmergency,
    after,
    check_cancelled_by,
    check_request,
    vital,
)
from service.identity import Actor, ensure_live
from service.kernel import events
from service.kernel.db import ConstraintViolated, UnitOfWork
from service.kernel.errors import DomainError, FieldError
from service.kernel.events import Event
from service.kernel.idempotency import IdempotencyKey
from service.kernel.paging import Page, PageRequest
from service.kernel.versions import Expected

_SAME_PATIENT = "ex_bookings_patient_period"
_SEATS = "ck_slots_seats"
_VOID_CALL = "ck_calls_void_without_outcome"


async def book(
    uow: UnitOfWork, actor: Actor, asked: BookingRequest, key: IdempotencyKey | None = None
) -> Booking:
    """Book a patient on a slot: one seat taken, or nothing at all.

    Refusals: `override-not-allowed`, `overbook-not-allowed`, `vital-emergency`,
    `booking-invalid`; `slot-not-found`, `patient-file-not-found`, `call-not-found`; `slot-taken`,
    `slot-held`, `hold-expired`, `slot-withdrawn`, `already-started`, `walk-in`,
    `patient-already-booked`, `call-state`.
    """
    check_request(actor, asked)
    refusal: DomainError | None = None
    for _ in range(2):  # found free again by the time we ask why: one silent retry
        try:
            made = await repository.book(uow, actor, asked, key)
        except ConstraintViolated as violated:
            raise await _violated(uow, actor, asked, violated) from None
        if made is not None:
            return made
        refusal = await _why_not(uow, actor, asked)
        if refusal is not None:
            raise refusal
    raise slots.SlotHeld


async def _violated(
    uow: UnitOfWork, actor: Actor, asked: BookingRequest, violated: ConstraintViolated
) -> DomainError:
    if violated.name == _SEATS:
        return slots.SlotTaken()
    if violated.name == _VOID_CALL:
        return calls.CallStateForbids(state="void")
    if violated.name != _SAME_PATIENT:
        return violated
    if asked.patient is None:
        return PatientAlreadyBooked()
    blocking = await repository.overlapping(
        uow, actor, asked.slot_id, asked.patient.key(uow.vault, asked.slot_id)
    )
    return PatientAlreadyBooked(blocking_booking=blocking) if blocking else PatientAlreadyBooked()


async def _why_not(uow: UnitOfWork, actor: Actor, asked: BookingRequest) -> DomainError | None:
    """Ask, in the order of answers (design §8), what stood in the way."""
    await ensure_live(uow, actor)
    file_id = asked.patient_file_id
    if asked.call_id is not None:
        call = await calls.readable(uow, actor, asked.call_id)
        calls.check_bookable(call)
        file_id = file_id or call.patient_file_id
        codes = (call.motive, call.priority, call.care_level)
        if asked.override is None and any(vital(code) is Vital.REFUSE for code in codes):
            return VitalEmergency(
                FieldError("#/call_id", VitalEmergency.code, "The call is a vital emergency.")
            )
    if asked.patient is None:
        if file_id is None:
            return BookingInvalid(
                FieldError("#/patient_file", "patient-missing", "The call has no patient file.")
            )
        await patients.read(uow, actor, file_id)
    return await slots.why_not(
        uow, actor, asked.slot_id, hold_id=asked.hold_id, overbook=asked.overbook
    )


async def read(uow: UnitOfWork, actor: Actor, booking_id: UUID) -> Booking:
    """Return a booking of one of my sides. Refusals: `booking-not-found`."""
    return (await _find(uow, actor, booking_id))[0]


async def _find(uow: UnitOfWork, actor: Actor, booking_id: UUID) -> tuple[Booking, bool, bool]:
    found = await repository.find(uow, actor, booking_id)
    if found is None:
        raise BookingNotFound
    return found


async def history(uow: UnitOfWork, actor: Actor, booking_id: UUID) -> list[Event]:
    """Return what happened to a booking, oldest first. Refusals: `booking-not-found`."""
    await _find(uow, actor, booking_id)
    return await events.history(uow, booking_id)


async def list_mine(
    uow: UnitOfWork, actor: Actor, wanted: Mapping[str, Any], page: PageRequest
) -> Page[Booking]:
    """Return my bookings, as requester and as doctor, newest first."""
    keys = page.after(UUID)
    found = await repository.list_mine(
        uow, actor, {**wanted, "before": keys and keys[0]}, page.limit
    )
    return page.page(found, lambda booking: [str(booking.id)])


async def _lock(
    uow: UnitOfWork, actor: Actor, booking_id: UUID, expected: Expected, *, required: bool = False
) -> tuple[Booking, bool, bool]:
    """Lock a booking that the caller may see, in the version that it expects."""
    await _find(uow, actor, booking_id)
    await repository.lock(uow, booking_id)
    found = await _find(uow, actor, booking_id)
    expected.check(found[0].version, required=required)
    return found


async def cancel(
    uow: UnitOfWork,
    actor: Actor,
    booking_id: UUID,
    *,
    by: CancelledBy,
    reason: str | None,
    expected: Expected,
) -> Booking:
    """Cancel until the start; the seat reopens.

    Refusals: `booking-not-found`, `version-mismatch`, `booking-state`, `already-started`,
    `booking-invalid` when `by` does not fit the caller's side.
    """
    booking, requester, doctor = await _lock(uow, actor, booking_id, expected)
    after(booking.state, Action.CANCEL)
    if booking.started:
        raise BookingStarted
    check_cancelled_by(by, requester=requester, doctor=doctor)
    await repository.give_back(uow, booking.slot["id"])
    await repository.cancel(uow, booking_id, by, reason)
    cancelled = await read(uow, actor, booking_id)
    await _tell(uow, actor, "booking.cancelled", cancelled, by=by)
    return cancelled


async def reschedule(
    uow: UnitOfWork,
    actor: Actor,
    booking_id: UUID,
    *,
    slot_id: UUID,
    hold_id: UUID | None,
    expected: Expected,
) -> Booking:
    """Move a booking to another slot: the new seat is taken, or nothing changes.

    Keeps id and case id. Refusals: `booking-not-found`, `slot-not-found`, `version-mismatch`,
    `booking-state`, `already-started`, `patient-already-booked` and those of taking a seat.
    """
    booking, _, _ = await _lock(uow, actor, booking_id, expected)
    after(booking.state, Action.RESCHEDULE)
    if booking.started:
        raise BookingStarted
    old_slot_id = booking.slot["id"]
    if slot_id == old_slot_id:
        raise BookingInvalid(
            FieldError("#/slot_id", "same-slot", "The booking is on this slot already.")
        )
    await repository.lock_slots(uow, [old_slot_id, slot_id])
    taken = await repository.take_seat(uow, actor, slot_id, hold_id)
    if taken is None:
        await ensure_live(uow, actor)
        raise await slots.why_not(uow, actor, slot_id, hold_id=hold_id) or slots.SlotHeld()
    await repository.give_back(uow, old_slot_id)
    try:
        await repository.move(uow, booking_id, taken)
    except ConstraintViolated as violated:
        raise PatientAlreadyBooked if violated.name == _SAME_PATIENT else violated from None
    practitioner_ids, care_organization_ids = await repository.care_of(uow, booking.patient_file_id)
    await patients.set_care(
        uow,
        booking.patient_file_id,
        reader_id=booking.organization_id,
        practitioner_ids=practitioner_ids,
        care_organization_ids=care_organization_ids,
    )
    moved = await repository.find_moved(uow, actor, booking_id)
    await _tell(
        uow,
        actor,
        "booking.rescheduled",
        moved,
        from_slot_id=str(old_slot_id),
        from_practitioner_id=booking.practitioner_id and str(booking.practitioner_id),
        from_starts_at=booking.starts_at.isoformat(),
    )
    return moved


async def report(
    uow: UnitOfWork,
    actor: Actor,
    booking_id: UUID,
    *,
    state: BookingState,
    detail: str | None,
    sent_to_emergency: bool,
    expected: Expected,
) -> Booking:
    """Say what happened, as the doctor's side, from the start on; correct it for 30 days.

    Refusals: `booking-not-found`, `precondition-required` and `version-mismatch` on a correction,
    `booking-state`, `too-early`, `correction-too-late`.
    """
    found = await _find(uow, actor, booking_id)
    correction = found[0].reported_at is not None
    booking, _, doctor = await _lock(uow, actor, booking_id, expected, required=correction)
    if not doctor:
        raise BookingNotFound
    expected.check(booking.version, required=booking.reported_at is not None)
    action = Action.REPORT_FULFILLED if state is BookingState.FULFILLED else Action.REPORT_NOSHOW
    after(booking.state, action)
    if not booking.started:
        raise ReportTooEarly
    if booking.reported_at and booking.now - booking.reported_at > CORRECTION:
        raise CorrectionTooLate
    await repository.report(
        uow, booking_id, state, detail=detail, sent_to_emergency=sent_to_emergency
    )
    if booking.call_id and sent_to_emergency != booking.sent_to_emergency:
        await calls.set_sent_to_emergency(uow, booking.call_id, sent_to_emergency)
    reported = await read(uow, actor, booking_id)
    await _tell(
        uow,
        actor,
        "booking.reported",
        reported,
        before={
            "state": str(booking.state),
            "sent_to_emergency": booking.sent_to_emergency,
        },
        sent_to_emergency=sent_to_emergency,
    )
    return reported


async def _tell(uow: UnitOfWork, actor: Actor, type_: str, booking: Booking, **more: Any) -> None:
    await events.record(
        uow,
        actor.origin,
        type_,
        booking.id,
        territory=booking.territory,
        data={**booking.facts(), **more},
    )
