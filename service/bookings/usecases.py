"""Use cases: book, read, cancel, reschedule, report. Every face and job uses these functions."""

from collections.abc import Awaitable, Callable, Collection, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from service import calls, directory, patients, slots
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
    Made,
    PatientAlreadyBooked,
    ReportTooEarly,
    Vital,
    VitalEmergency,
    after,
    check_cancelled_by,
    check_request,
    seen_by_doctor,
    vital,
)
from service.identity import Actor
from service.kernel import events
from service.kernel.db import ConstraintViolated, UnitOfWork
from service.kernel.errors import DomainError, FieldError
from service.kernel.events import Event
from service.kernel.idempotency import IdempotencyKey
from service.kernel.ids import new_id
from service.kernel.paging import Page, PageRequest
from service.kernel.versions import Expected

_SAME_PATIENT = {"ex_bookings_patient_period", "ex_bookings_file_period"}
_SEATS = "ck_slots_seats"
_VOID_CALL = "ck_calls_void_without_outcome"

SeatGivenBack = Callable[[UnitOfWork, Actor, UUID], Awaitable[None]]
_looking_after: list[SeatGivenBack] = []


def on_seat_given_back(look_after: SeatGivenBack) -> None:
    """Let a room above look after a slot, in the transaction that has given a seat of it back."""
    _looking_after.append(look_after)


async def _give_back(uow: UnitOfWork, actor: Actor, slot_id: UUID) -> None:
    await repository.give_back(uow, slot_id)
    for look_after in _looking_after:
        await look_after(uow, actor, slot_id)


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
        if asked.patient is not None and asked.call_id is None:
            await _refuse_if_full(uow, actor, asked, key)
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
    if violated.name not in _SAME_PATIENT:
        return violated
    file_id = asked.patient_file_id
    if asked.patient is None and file_id is None and asked.call_id is not None:
        file_id = (await calls.readable(uow, actor, asked.call_id)).patient_file_id
    blocking = await repository.overlapping(
        uow,
        actor,
        asked.slot_id,
        file_id=file_id,
        patient_key=asked.patient.key(uow.vault, new_id()) if asked.patient else None,
    )
    return PatientAlreadyBooked(**_named(blocking))


def _named(blocking: list[UUID]) -> dict[str, Any]:
    return {"blocking_booking": blocking[0]} if blocking else {}


async def _why_not(uow: UnitOfWork, actor: Actor, asked: BookingRequest) -> DomainError | None:
    """Ask, in the order of answers, what stood in the way."""
    seat = await slots.why_not(
        uow, actor, asked.slot_id, hold_id=asked.hold_id, overbook=asked.overbook
    )
    call = None if asked.call_id is None else await calls.readable(uow, actor, asked.call_id)
    file_id = asked.patient_file_id or (call.patient_file_id if call else None)
    if asked.patient is None and file_id is not None:
        await patients.check_readable(uow, actor, file_id)
    if isinstance(seat, slots.SlotNotFound):
        return seat
    if call is not None:
        calls.check_bookable(call)
    if isinstance(seat, slots.SlotTaken):
        return await _taken_by(uow, actor, asked.slot_id, seat)
    return seat or _broken_rule(asked, call, file_id)


async def _refuse_if_full(
    uow: UnitOfWork, actor: Actor, asked: BookingRequest, key: IdempotencyKey | None
) -> None:
    """Refuse most rivals after one question; with a file or a call of its own, more are asked."""
    full = await repository.full(uow, actor, asked, key)
    if full is not None:
        taken = _taken(full.own_booking, full.overbooking_left)
        taken.settled = True
        raise taken


async def _taken_by(
    uow: UnitOfWork, actor: Actor, slot_id: UUID, taken: slots.SlotTaken
) -> slots.SlotTaken:
    return _taken(await repository.own_on(uow, actor, slot_id), taken.extra["overbooking_left"])


def _taken(own_booking: UUID | None, overbooking_left: object) -> slots.SlotTaken:
    """Nobody was faster when the caller's own organization has the seat: say so."""
    if own_booking is None:
        return slots.SlotTaken(overbooking_left=overbooking_left)
    sentence = "Every seat of this slot is booked, one of them by your organization (own_booking)."
    return slots.SlotTaken(sentence, own_booking=own_booking, overbooking_left=overbooking_left)


def _broken_rule(
    asked: BookingRequest, call: calls.Call | None, file_id: UUID | None
) -> DomainError | None:
    codes = () if call is None else (call.motive, call.priority, call.care_level)
    if asked.override is None and any(vital(code) is Vital.REFUSE for code in codes):
        return VitalEmergency(
            FieldError("#/call_id", VitalEmergency.code, "The call is a vital emergency.")
        )
    if asked.patient is None and file_id is None:
        return BookingInvalid(
            FieldError("#/patient_file", "patient-missing", "The call has no patient file.")
        )
    return None


async def read(uow: UnitOfWork, actor: Actor, booking_id: UUID) -> Booking:
    """Return a booking of one of my sides, to go on with. Refusals: `booking-not-found`."""
    return (await _find(uow, actor, booking_id))[0]


async def show(uow: UnitOfWork, actor: Actor, booking_id: UUID) -> Booking:
    """Return a booking of one of my sides with its patient; the same statement traces it.

    Refusals: `booking-not-found`.
    """
    found = await repository.show(uow, actor, booking_id)
    if found is None:
        raise BookingNotFound
    return found


async def of_file(uow: UnitOfWork, file_id: UUID) -> list[UUID]:
    """Return every booking on a patient file: the other names that its accesses are traced by."""
    return await repository.of_file(uow, file_id)


async def _find(uow: UnitOfWork, actor: Actor, booking_id: UUID) -> tuple[Booking, bool, bool]:
    found = await repository.find(uow, actor, booking_id)
    if found is None:
        raise BookingNotFound
    return found


async def made(uow: UnitOfWork, ids: Collection[UUID]) -> dict[UUID, Made]:
    """Return when bookings were made and by whom, whoever may see them: never of a patient."""
    return await repository.made(uow, ids)


async def last_appointment(uow: UnitOfWork, file_id: UUID) -> datetime | None:
    """Return when the last appointment of a patient file ends, if it has one."""
    return await repository.last_end(uow, file_id)


async def elsewhere(uow: UnitOfWork, slot: slots.Slot, since: datetime) -> int:
    """Count what was booked elsewhere while a slot had room and could be seen (ADR 0013)."""
    radius_km = (await directory.territory(uow, slot.territory)).default_radius_km
    return await repository.booked_elsewhere(uow, slot.id, since=since, radius_km=radius_km)


async def history(uow: UnitOfWork, actor: Actor, booking_id: UUID) -> tuple[Booking, list[Event]]:
    """Return a booking and what happened to it, oldest first.

    A doctor's side that did not ask for it reads nothing of other doctors' slots. Refusals:
    `booking-not-found`.
    """
    booking, requester, _ = await _find(uow, actor, booking_id)
    told = await events.history(uow, booking_id)
    return booking, told if requester else [seen_by_doctor(event, booking) for event in told]


async def list_mine(
    uow: UnitOfWork, actor: Actor, wanted: Mapping[str, Any], page: PageRequest
) -> Page[Booking]:
    """Return my bookings, as requester and as doctor, newest first."""
    keys = page.after(UUID)
    found = await repository.list_mine(
        uow, actor, {**wanted, "before": keys and keys[0]}, page.limit
    )
    return page.page(found, lambda booking: [str(booking.id)])


async def _lock(uow: UnitOfWork, actor: Actor, booking_id: UUID) -> tuple[Booking, bool, bool]:
    """Lock a booking that the caller may see."""
    await _find(uow, actor, booking_id)
    await repository.lock(uow, booking_id)
    return await _find(uow, actor, booking_id)


async def cancel(
    uow: UnitOfWork,
    actor: Actor,
    booking_id: UUID,
    *,
    by: CancelledBy,
    reason: str | None,
    expected: Expected,
) -> Booking:
    """Cancel until the start; the seat reopens, if its slot still has a place in its session.

    Refusals: `booking-not-found`, `version-mismatch`, `booking-state`, `already-started`,
    `booking-invalid` when `by` does not fit the caller's side.
    """
    booking, requester, doctor = await _lock(uow, actor, booking_id)
    expected.check(booking.version, required=False)
    after(booking.state, Action.CANCEL)
    if booking.started:
        raise BookingStarted
    check_cancelled_by(by, requester=requester, doctor=doctor)
    await _give_back(uow, actor, booking.slot["id"])
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
    booking, _, _ = await _lock(uow, actor, booking_id)
    expected.check(booking.version, required=False)
    after(booking.state, Action.RESCHEDULE)
    if booking.started:
        raise BookingStarted
    old_slot_id = booking.slot["id"]
    if slot_id == old_slot_id:
        raise BookingInvalid(
            FieldError("#/slot_id", "same-slot", "The booking is on this slot already.")
        )
    await repository.lock_slots(uow, actor, old=old_slot_id, new=slot_id)
    taken = await repository.take_seat(uow, actor, slot_id, hold_id)
    if taken is None:
        seat = await slots.why_not(uow, actor, slot_id, hold_id=hold_id)
        if isinstance(seat, slots.SlotTaken):
            seat = await _taken_by(uow, actor, slot_id, seat)
        raise seat or slots.SlotHeld()
    await _give_back(uow, actor, old_slot_id)
    try:
        await repository.move(uow, booking_id, taken)
    except ConstraintViolated as violated:
        if violated.name not in _SAME_PATIENT:
            raise
        await uow.rollback()
        blocking = await repository.overlapping(
            uow, actor, slot_id, file_id=booking.patient_file_id
        )
        others = [found for found in blocking if found != booking_id]
        raise PatientAlreadyBooked(**_named(others)) from None
    await patients.lock(uow, booking.patient_file_id)
    practitioner_ids, care_organization_ids = await repository.care_of(uow, booking.patient_file_id)
    await patients.set_care(
        uow,
        booking.patient_file_id,
        reader_id=booking.organization_id,
        practitioner_ids=practitioner_ids,
        care_organization_ids=care_organization_ids,
    )
    moved = await repository.find_moved(uow, actor, booking_id, booking.patient_file_id)
    await _tell(
        uow,
        actor,
        "booking.rescheduled",
        moved,
        from_slot_id=str(old_slot_id),
        from_practitioner_id=booking.practitioner_id and str(booking.practitioner_id),
        from_practitioner_organization_id=str(booking.practitioner_organization_id),
        from_starts_at=booking.starts_at.isoformat(),
    )
    return moved


async def read_moved(uow: UnitOfWork, actor: Actor, booking_id: UUID) -> Booking:
    """Return a booking that this very grant moved before, maybe out of its own sight.

    Refusals: `booking-not-found`.
    """
    if await events.caused_by(uow, booking_id, actor.grant_id, "booking.rescheduled"):
        return await repository.show_moved(uow, actor, booking_id)
    return await show(uow, actor, booking_id)


async def report(
    uow: UnitOfWork,
    actor: Actor,
    booking_id: UUID,
    *,
    state: BookingState,
    detail: str | None,
    sent_to_emergency: bool,
    expected: Expected,
    keeps_detail: bool = False,
) -> Booking:
    """Say what happened, as the doctor's side, from the start on; correct it for 30 days.

    The same again, because the first answer was lost, changes nothing and needs no version.
    `keeps_detail`: what was written before stays, from where nothing can be written.
    Refusals: `booking-not-found`, `precondition-required` and `version-mismatch` on a correction,
    `booking-state`, `too-early`, `correction-too-late`.
    """
    booking, _, doctor = await _lock(uow, actor, booking_id)
    if not doctor:
        raise BookingNotFound
    if keeps_detail:
        detail = booking.report_detail
    if booking.says(state, detail, sent_to_emergency=sent_to_emergency):
        return await show(uow, actor, booking_id)  # no event tells of it
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
        sent = await repository.sent_to_emergency(uow, booking.call_id)
        await calls.set_sent_to_emergency(uow, booking.call_id, sent)
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
