"""HTTP: webhook endpoints, what they were told, and the messages that they get."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Response

from service.identity.http import CurrentActor, Guarded, refusals
from service.kernel.errors import PreconditionFailed, PreconditionRequired
from service.kernel.http.deps import LIMIT, Cursor, IdempotentOnce, IfMatch, Limit, Uow, tag
from service.kernel.http.shapes import PageOut
from service.kernel.paging import CursorInvalid, PageRequest
from service.stream import TYPES
from service.webhooks import usecases
from service.webhooks.domain import (
    DeliveryNotFound,
    DeliveryState,
    EndpointDisabled,
    EndpointInvalid,
    EndpointNotFound,
    TooManyEndpoints,
)
from service.webhooks.http import GraceHours, Loopback
from service.webhooks.schemas import (
    WebhookDeliveryOut,
    WebhookEndpointIn,
    WebhookEndpointOut,
    WebhookEndpointPatch,
    WebhookEndpointSecret,
    WebhookMessage,
    WebhookReplayIn,
    WebhookReplayOut,
    delivery_out,
    endpoint_out,
    secret_out,
)

router = APIRouter(prefix="/v1", tags=["webhooks"], route_class=Guarded)
messages = APIRouter(tags=["webhooks"])

_ONE = "/webhook-endpoints/{endpoint_id}"


@router.post(
    "/webhook-endpoints",
    operation_id="webhooks.create",
    status_code=201,
    responses=refusals(EndpointInvalid, TooManyEndpoints, idempotent=True),
)
async def create(
    uow: Uow,
    actor: CurrentActor,
    once: IdempotentOnce,
    loopback: Loopback,
    response: Response,
    body: WebhookEndpointIn,
) -> WebhookEndpointSecret:
    """Have what happens sent to an URL: what your right lets you see, as it is then.

    Messages are signed (Standard Webhooks 1.0) with the secret, which is shown here alone. They
    hold ids, states and times; whoever wants more asks for it. Each arrives once or more, those
    about one subject in their order; a failed one is tried again for three days.
    """
    endpoint, secret = await once.create(
        uow,
        lambda: usecases.create(uow, actor, body.draft(), loopback=loopback),
        again=lambda ids: usecases.with_secret(uow, actor, ids[0]),
        ids=lambda made: [made[0].id],
    )
    response.headers["Location"] = f"/v1/webhook-endpoints/{endpoint.id}"
    tag(response, endpoint.version)
    return secret_out(endpoint, secret)


@router.get("/webhook-endpoints", operation_id="webhooks.list", responses=refusals(CursorInvalid))
async def list_mine(
    uow: Uow, actor: CurrentActor, limit: Limit = LIMIT, cursor: Cursor = None
) -> PageOut[WebhookEndpointOut]:
    """List the webhook endpoints of my organization and role, newest first."""
    asked = {"list": "webhook-endpoints", "caller": actor.grant_id}
    page = await usecases.list_mine(uow, actor, PageRequest(limit, cursor, asked))
    return PageOut(items=[endpoint_out(e) for e in page.items], next_cursor=page.next_cursor)


@router.get(_ONE, operation_id="webhooks.read", responses=refusals(EndpointNotFound))
async def read(
    uow: Uow, actor: CurrentActor, endpoint_id: UUID, response: Response
) -> WebhookEndpointOut:
    """Read a webhook endpoint: is it enabled, and does anything arrive?"""
    endpoint = await usecases.read(uow, actor, endpoint_id)
    tag(response, endpoint.version)
    return endpoint_out(endpoint)


@router.patch(
    _ONE,
    operation_id="webhooks.amend",
    responses=refusals(EndpointNotFound, PreconditionRequired, PreconditionFailed, EndpointInvalid),
)
async def amend(
    uow: Uow,
    actor: CurrentActor,
    endpoint_id: UUID,
    body: WebhookEndpointPatch,
    if_match: IfMatch,
    loopback: Loopback,
    response: Response,
) -> WebhookEndpointOut:
    """Change a webhook endpoint (JSON merge patch), and answer for it. Needs `If-Match`.

    From then on it hears what your right lets you see. Enabled, it is sent what waits for it.
    """
    endpoint = await usecases.amend(
        uow, actor, endpoint_id, body.changes(), if_match, loopback=loopback
    )
    tag(response, endpoint.version)
    return endpoint_out(endpoint)


@router.delete(
    _ONE,
    operation_id="webhooks.delete",
    status_code=204,
    responses=refusals(EndpointNotFound, PreconditionFailed),
)
async def delete(uow: Uow, actor: CurrentActor, endpoint_id: UUID, if_match: IfMatch) -> None:
    """Delete a webhook endpoint, with what waits for it."""
    await usecases.delete(uow, actor, endpoint_id, if_match)


@router.post(
    f"{_ONE}/secret-rotation",
    operation_id="webhooks.rotate_secret",
    status_code=201,
    responses=refusals(EndpointNotFound, idempotent=True),
)
async def rotate_secret(
    uow: Uow,
    actor: CurrentActor,
    once: IdempotentOnce,
    endpoint_id: UUID,
    grace_hours: GraceHours,
    response: Response,
) -> WebhookEndpointSecret:
    """Get a new secret; for a day messages are signed with the one before, too."""
    endpoint, secret = await once.create(
        uow,
        lambda: usecases.rotate_secret(uow, actor, endpoint_id, grace_hours=grace_hours),
        again=lambda ids: usecases.with_secret(uow, actor, ids[0]),
        ids=lambda made: [made[0].id],
    )
    tag(response, endpoint.version)
    return secret_out(endpoint, secret)


@router.post(
    f"{_ONE}/test",
    operation_id="webhooks.test",
    status_code=202,
    responses=refusals(EndpointNotFound, EndpointDisabled, idempotent=True),
)
async def test(
    uow: Uow, actor: CurrentActor, once: IdempotentOnce, endpoint_id: UUID
) -> WebhookDeliveryOut:
    """Have `webhook.test` sent; how it went shows among the deliveries."""
    delivery = await once.create(
        uow,
        lambda: usecases.test(uow, actor, endpoint_id),
        again=lambda ids: usecases.find_delivery(uow, actor, endpoint_id, ids[0]),
        ids=lambda made: [made.id],
        status=202,
    )
    return delivery_out(delivery)


@router.get(
    f"{_ONE}/deliveries",
    operation_id="webhooks.list_deliveries",
    responses=refusals(EndpointNotFound, CursorInvalid),
)
async def list_deliveries(
    uow: Uow,
    actor: CurrentActor,
    endpoint_id: UUID,
    state: Annotated[DeliveryState | None, Query(description="Only those that stand so.")] = None,
    limit: Limit = LIMIT,
    cursor: Cursor = None,
) -> PageOut[WebhookDeliveryOut]:
    """List what an endpoint was told in the last 30 days and how that went, newest first."""
    asked = {"list": "webhook-deliveries", "endpoint": endpoint_id, "state": state}
    page = await usecases.list_deliveries(
        uow, actor, endpoint_id, state, PageRequest(limit, cursor, asked)
    )
    return PageOut(items=[delivery_out(d) for d in page.items], next_cursor=page.next_cursor)


@router.post(
    f"{_ONE}/deliveries/{{delivery_id}}/replay",
    operation_id="webhooks.replay",
    status_code=202,
    responses=refusals(EndpointNotFound, DeliveryNotFound, EndpointDisabled, idempotent=True),
)
async def replay(
    uow: Uow, actor: CurrentActor, once: IdempotentOnce, endpoint_id: UUID, delivery_id: UUID
) -> WebhookDeliveryOut:
    """Have one message sent again, with the same `webhook-id` and as things are seen now."""
    delivery = await once.create(
        uow,
        lambda: usecases.replay(uow, actor, endpoint_id, delivery_id),
        again=lambda _: usecases.find_delivery(uow, actor, endpoint_id, delivery_id),
        ids=lambda made: [made.id],
        status=202,
    )
    return delivery_out(delivery)


@router.post(
    f"{_ONE}/replays",
    operation_id="webhooks.replay_range",
    status_code=202,
    responses=refusals(EndpointNotFound, EndpointDisabled, EndpointInvalid, idempotent=True),
)
async def replay_range(
    uow: Uow, actor: CurrentActor, once: IdempotentOnce, endpoint_id: UUID, body: WebhookReplayIn
) -> WebhookReplayOut:
    """Have all that happened in a range of time sent again, or for the first time.

    What an endpoint missed while it was disabled, or before there was one, is in it.
    """
    await once.create(
        uow,
        lambda: usecases.replay_range(uow, actor, endpoint_id, body.from_, body.to),
        again=lambda _: usecases.read(uow, actor, endpoint_id),
        ids=lambda _: [endpoint_id],
        status=202,
    )
    return WebhookReplayOut.model_validate(
        {"endpoint_id": endpoint_id, "from": body.from_, "to": body.to}
    )


# --- the messages, as the description of the API tells of them ------------------------------------


async def _receive(body: WebhookMessage) -> None:
    """What a receiver is sent; it answers 2xx within 15 seconds, 410 to be told nothing more."""


for _type, _sentence in TYPES.items():
    messages.add_api_route(
        _type,
        _receive,
        methods=["POST"],
        summary=_sentence.rstrip("."),
        description=f"{_sentence} Headers: `webhook-id`, `webhook-timestamp`, `webhook-signature`.",
        operation_id=f"told.{_type}",
        status_code=204,
        response_description="Taken; any 2xx says so.",
        responses={
            410: {"description": "The endpoint is disabled."},
            "default": {"description": "Anything else, or nothing in 15 s: tried again later."},
        },
    )
