"""HTTP: what opens a calendar, for the doctor's side; the calendar, for whoever has its address."""

import asyncio
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response

from service.calendar import usecases
from service.calendar.domain import (
    CalendarNotFound,
    CalendarTokenNotFound,
    PractitionerInactive,
    TooManyCalendarTokens,
)
from service.calendar.http import opened
from service.calendar.schemas import (
    CalendarTokenIn,
    CalendarTokensOut,
    NewCalendarTokenOut,
    etag,
    new_token_out,
    token_out,
    written,
)
from service.identity.http import CurrentActor, Guarded, refusals
from service.kernel.errors import Invalid, Unavailable
from service.kernel.http.deps import IdempotentOnce, IfNoneMatch, Uow, is_known
from service.kernel.http.problems import problems
from service.kernel.http.rate import TooManyRequests
from service.slots import NotMyPractitioner

router = APIRouter(prefix="/v1", tags=["calendar"], route_class=Guarded)
# Without a token of ours: the secret in the address says who reads.
feeds = APIRouter(prefix="/v1", tags=["calendar"])

_MEDIA = "text/calendar"
# Kept by who asked, asked again each time: what is revoked is gone at once.
_KEPT = "private, no-cache"
_ETAG = {"ETag": {"description": "For `If-None-Match`.", "schema": {"type": "string"}}}
_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The calendar (RFC 5545), instants in UTC.",
        "content": {
            _MEDIA: {
                "schema": {"type": "string"},
                "example": "BEGIN:VCALENDAR\r\nVERSION:2.0\r\n"
                "PRODID:-//SNP broker//Agenda 1//FR\r\nBEGIN:VEVENT\r\n"
                "UID:01a1ffff-96ad-7347-a313-ca4681252ae5\r\nSEQUENCE:1\r\n"
                "DTSTART:20261201T130000Z\r\nDTEND:20261201T132000Z\r\n"
                "SUMMARY:Rendez-vous SNP\r\nSTATUS:CONFIRMED\r\nTRANSP:OPAQUE\r\n"
                "CLASS:PRIVATE\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n",
            }
        },
        "headers": _ETAG,
    },
    304: {"description": "`If-None-Match` names the calendar as it is."},
    **problems(CalendarNotFound, Invalid, TooManyRequests, Unavailable),
}


@router.post(
    "/practitioners/{practitioner_id}/calendar-tokens",
    operation_id="calendar.create_token",
    status_code=201,
    responses=refusals(
        NotMyPractitioner, PractitionerInactive, TooManyCalendarTokens, idempotent=True
    ),
)
async def create_token(
    request: Request,
    uow: Uow,
    actor: CurrentActor,
    once: IdempotentOnce,
    practitioner_id: UUID,
    body: CalendarTokenIn,
) -> NewCalendarTokenOut:
    """Make an address that shows a practitioner's calendar to calendar software; told once.

    It shows when and where, free or booked, never who or why. It ends when it is revoked, when its
    maker may no longer act for the practitioner, and with the software that it was made with.
    """
    token = await once.create(
        uow,
        lambda: usecases.create(uow, actor, practitioner_id, name=body.name),
        again=lambda ids: usecases.find(uow, actor, practitioner_id, ids[0]),
        ids=lambda made: [made.id],
    )
    return new_token_out(token, request.app.state.settings.public_url)


@router.get(
    "/practitioners/{practitioner_id}/calendar-tokens",
    operation_id="calendar.list_tokens",
    responses=refusals(NotMyPractitioner),
)
async def list_tokens(uow: Uow, actor: CurrentActor, practitioner_id: UUID) -> CalendarTokensOut:
    """List what opens a practitioner's calendar now, and when it was last used."""
    found = await usecases.list_all(uow, actor, practitioner_id)
    return CalendarTokensOut(items=[token_out(token) for token in found])


@router.delete(
    "/practitioners/{practitioner_id}/calendar-tokens/{token_id}",
    operation_id="calendar.revoke_token",
    status_code=204,
    responses=refusals(NotMyPractitioner, CalendarTokenNotFound),
)
async def revoke_token(
    uow: Uow, actor: CurrentActor, practitioner_id: UUID, token_id: UUID
) -> None:
    """Revoke an address, with effect on the next request."""
    await usecases.revoke(uow, actor, practitioner_id, token_id)


@feeds.get(
    "/practitioners/{practitioner_id}/calendar.ics",
    operation_id="calendar.feed",
    response_class=Response,
    responses=_ANSWERS,
)
async def feed(
    request: Request,
    uow: Uow,
    practitioner_id: UUID,
    token: Annotated[str, Query(description="The secret of `calendar.create_token`.")],
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Read a practitioner's slots and bookings as a calendar, 30 days back and 90 ahead.

    For calendar software, which sends no headers: the secret stands in the address. A booking keeps
    its `UID` when it moves; what is cancelled or withdrawn stays, as `CANCELLED`. Nobody is named.
    """
    calendar = await opened(request, uow, practitioner_id, token)
    shown = await usecases.feed(uow, calendar)
    headers = {"Cache-Control": _KEPT, "ETag": etag(shown)}
    if is_known(headers["ETag"], if_none_match):
        return Response(status_code=304, headers=headers)
    content = await asyncio.to_thread(written, shown)
    return Response(content, media_type=_MEDIA, headers=headers)
