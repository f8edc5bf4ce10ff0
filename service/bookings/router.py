"""HTTP: bookings, their changes and their report."""

from dataclasses import replace
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Response

from service.audit.http import Traced
from service.bookings import usecases
from service.bookings.domain import (
    Booking,
    BookingInvalid,
    BookingNotFound,
    BookingStarted,
    BookingState,
    BookingStateRefused,
    CorrectionTooLate,
    OverbookRefused,
    OverrideRefused,
    PatientAlreadyBooked,
    ReportTooEarly,
    VitalEmergency,
)
from service.bookings.schemas import (
    BookingIn,
    BookingOut,
    CancellationIn,
    HistoryOut,
    ReportIn,
    ReschedulingIn,
    booking_out,
    history_out,
)
from service.calls import CallNotFound, CallStateForbids
from service.identity.http import CurrentActor, refusals
from service.kernel.errors import DomainError, PreconditionFailed, PreconditionRequired
from service.kernel.http.deps import LIMIT, Cursor, IdempotentOnce, IfMatch, Limit, Uow, tag
from service.kernel.http.shapes import Instant, PageOut
from service.kernel.paging import CursorInvalid, PageRequest
from service.patients import PatientFileNotFound
from service.slots import (
    HoldExpired,
    SlotHeld,
    SlotNotFound,
    SlotStarted,
    SlotTaken,
    SlotWalkIn,
    SlotWithdrawn,
)

router = APIRouter(prefix="/v1", tags=["bookings"], route_class=Traced)

_SEAT: tuple[type[DomainError], ...] = (
    SlotNotFound,
    SlotTaken,
    SlotHeld,
    HoldExpired,
    SlotWithdrawn,
    SlotStarted,
    SlotWalkIn,
    PatientAlreadyBooked,
)


@router.post(
    "/bookings",
    operation_id="bookings.book",
    status_code=201,
    responses=refusals(
        *_SEAT,
        OverrideRefused,
        OverbookRefused,
        PatientFileNotFound,
        CallNotFound,
        CallStateForbids,
        VitalEmergency,
        BookingInvalid,
        idempotent=True,
    ),
)
async def book(
    uow: Uow, actor: CurrentActor, once: IdempotentOnce, body: BookingIn, response: Response
) -> BookingOut:
    """Book a patient on a slot, in one safe step, while the caller is on the line."""
    booking = await once.create(
        uow,
        lambda: usecases.book(uow, actor, body.request(), once.key),
        again=lambda ids: usecases.read(uow, actor, ids[0]),
    )
    response.headers["Location"] = f"/v1/bookings/{booking.id}"
    # The caller has just said who comes; a replayed answer repeats it no more than the first did.
    return _answer(replace(booking, patient=None), response)


def _answer(booking: Booking, response: Response) -> BookingOut:
    tag(response, booking.version)
    return booking_out(booking)


@router.get("/bookings", operation_id="bookings.list", responses=refusals(CursorInvalid))
async def list_mine(
    uow: Uow,
    actor: CurrentActor,
    state: BookingState | None = None,
    from_: Annotated[
        Instant | None, Query(alias="from", description="Appointments from here.")
    ] = None,
    to: Annotated[Instant | None, Query(description="Appointments before here.")] = None,
    case_id: Annotated[str | None, Query(max_length=200)] = None,
    slot: UUID | None = None,
    updated_since: Instant | None = None,
    limit: Limit = LIMIT,
    cursor: Cursor = None,
) -> PageOut[BookingOut]:
    """List my bookings, as requester and as doctor, newest first."""
    wanted = {
        "state": state,
        "from_": from_,
        "to": to,
        "case_id": case_id,
        "slot": slot,
        "updated_since": updated_since,
    }
    page = await usecases.list_mine(
        uow, actor, wanted, PageRequest(limit, cursor, {**wanted, "grant": actor.grant_id})
    )
    return PageOut(items=[booking_out(b) for b in page.items], next_cursor=page.next_cursor)


@router.get(
    "/bookings/{booking_id}", operation_id="bookings.read", responses=refusals(BookingNotFound)
)
async def read(uow: Uow, actor: CurrentActor, booking_id: UUID, response: Response) -> BookingOut:
    """Read a booking that my organization made, or that is with me."""
    return _answer(await usecases.show(uow, actor, booking_id), response)


@router.get(
    "/bookings/{booking_id}/history",
    operation_id="bookings.history",
    responses=refusals(BookingNotFound),
)
async def history(uow: Uow, actor: CurrentActor, booking_id: UUID) -> HistoryOut:
    """Read what happened to a booking, oldest first."""
    return history_out(*await usecases.history(uow, actor, booking_id))


@router.post(
    "/bookings/{booking_id}/cancellation",
    operation_id="bookings.cancel",
    responses=refusals(
        BookingNotFound,
        PreconditionFailed,
        BookingStateRefused,
        BookingStarted,
        BookingInvalid,
        idempotent=True,
    ),
)
async def cancel(
    uow: Uow,
    actor: CurrentActor,
    once: IdempotentOnce,
    booking_id: UUID,
    body: CancellationIn,
    if_match: IfMatch,
    response: Response,
) -> BookingOut:
    """Cancel until the start; the seat reopens."""
    booking = await once.create(
        uow,
        lambda: usecases.cancel(
            uow, actor, booking_id, by=body.by, reason=body.reason, expected=if_match
        ),
        again=lambda ids: usecases.show(uow, actor, ids[0]),
        ids=lambda made: [made.id],
        status=200,
    )
    return _answer(booking, response)


@router.post(
    "/bookings/{booking_id}/rescheduling",
    operation_id="bookings.reschedule",
    responses=refusals(
        *_SEAT,
        BookingNotFound,
        PreconditionFailed,
        BookingStateRefused,
        BookingStarted,
        BookingInvalid,
        idempotent=True,
    ),
)
async def reschedule(
    uow: Uow,
    actor: CurrentActor,
    once: IdempotentOnce,
    booking_id: UUID,
    body: ReschedulingIn,
    if_match: IfMatch,
    response: Response,
) -> BookingOut:
    """Move a booking to another slot: the new seat is taken, or nothing changes."""
    booking = await once.create(
        uow,
        lambda: usecases.reschedule(
            uow,
            actor,
            booking_id,
            slot_id=body.slot_id,
            hold_id=body.hold_id,
            expected=if_match,
        ),
        again=lambda ids: usecases.read_moved(uow, actor, ids[0]),
        ids=lambda made: [made.id],
        status=200,
    )
    return _answer(booking, response)


@router.put(
    "/bookings/{booking_id}/report",
    operation_id="bookings.report",
    responses=refusals(
        BookingNotFound,
        PreconditionRequired,
        PreconditionFailed,
        BookingStateRefused,
        ReportTooEarly,
        CorrectionTooLate,
    ),
)
async def report(
    uow: Uow,
    actor: CurrentActor,
    booking_id: UUID,
    body: ReportIn,
    if_match: IfMatch,
    response: Response,
) -> BookingOut:
    """Say what happened, from the start of the appointment on. A correction needs `If-Match`.

    The same report again answers as the first did: nothing is changed.
    """
    booking = await usecases.report(
        uow,
        actor,
        booking_id,
        state=body.state,
        detail=body.detail,
        sent_to_emergency=body.sent_to_emergency,
        expected=if_match,
    )
    return _answer(booking, response)
