"""HTTP: what happens, as it happens (server-sent events), or in pages."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.sse import EventSourceResponse

from service.identity.http import CurrentActor, Guarded, refusals
from service.kernel.http.deps import LIMIT, Cursor, Limit, Uow, written
from service.stream import usecases
from service.stream.domain import (
    TYPES,
    EventIdInvalid,
    EventTypesUnknown,
    Listener,
    Place,
    StreamsFull,
    TooManyStreams,
    wanted,
)
from service.stream.hub import Hub, Stream
from service.stream.schemas import FactsOut

router = APIRouter(prefix="/v1", tags=["stream"], route_class=Guarded)

_EVENTS = "text/event-stream"
_TYPES = f"Only these, comma-separated: {', '.join(sorted(TYPES))}."
_UNBUFFERED = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


async def _after(
    cursor: Cursor = None,
    last_event_id: Annotated[
        str | None, Query(max_length=30, description="Id of the last event that you have.")
    ] = None,
    last_event: Annotated[
        str | None,
        Header(alias="Last-Event-ID", description="The same, as a browser sends it by itself."),
    ] = None,
) -> Place | None:
    sent = last_event or cursor or last_event_id
    return Place.read(sent) if sent else None


async def _stream(
    request: Request,
    actor: CurrentActor,
    accept: Annotated[str, Header(include_in_schema=False)] = _EVENTS,
) -> AsyncIterator[Stream | None]:
    """Give a place to who wants a stream, until its answer has ended."""
    if "application/json" in accept.lower() and _EVENTS not in accept.lower():
        yield None
        return
    hub: Hub = request.app.state.hub
    with hub.place(actor, request.scope["connection"]) as stream:
        yield stream


@router.get(
    "/events",
    operation_id="stream.events",
    response_model=FactsOut,
    responses={
        200: {
            "content": {_EVENTS: {"schema": {"type": "string"}}},
            "description": "A stream of events, or a page of them.",
        },
        **refusals(EventIdInvalid, EventTypesUnknown, TooManyStreams, StreamsFull),
    },
)
async def events(
    request: Request,
    uow: Uow,
    actor: CurrentActor,
    after: Annotated[Place | None, Depends(_after)],
    stream: Annotated[Stream | None, Depends(_stream)],
    types: Annotated[str | None, Query(max_length=1000, description=_TYPES)] = None,
    limit: Limit = LIMIT,
) -> Response:
    """Tell what happens to what I see: server-sent events; `Accept: application/json`: pages.

    A stream begins now, or after `Last-Event-ID`: nothing is lost, nothing comes twice. Others'
    holds and bookings appear as `slot.changed`; who loses sight of a slot hears `slot.withdrawn`.
    `reset` says that what was missed is no longer kept. A stream ends with its token, and soon
    after its right. Pages are read forwards, from the oldest event that is kept.
    """
    told = wanted(types)
    if stream is not None:
        hub: Hub = request.app.state.hub
        start = await usecases.start(uow, after)
        return EventSourceResponse(hub.events(stream, told, start), headers=_UNBUFFERED)
    page = await usecases.page(uow, Listener.of(actor), told, after, limit)
    reached = str(page.reached)
    return written(
        {
            "items": page.items,
            "next_cursor": reached if page.more else None,
            "last_event_id": reached,
        }
    )
