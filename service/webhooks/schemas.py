"""JSON shapes of the room."""

from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import AfterValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from service.kernel.http.shapes import Answer, Body, Instant
from service.kernel.sending import DeliveryFailure
from service.stream import TYPES
from service.webhooks.domain import (
    Delivery,
    DeliveryState,
    DisabledReason,
    Endpoint,
    EndpointDraft,
    WebhookFormat,
)
from service.webhooks.domain.sending import LONGEST_URL

_EXAMPLE: dict[str, Any] = {
    "url": "https://receiver.example.fr/hooks",
    "events": ["booking.created", "booking.cancelled"],
    "description": "Agenda of the practice",
}


def _known(type_: str) -> str:
    if type_ not in TYPES:
        raise PydanticCustomError("event_type", "There is no event of this type.")
    return type_


_Url = Annotated[
    str,
    Field(
        max_length=LONGEST_URL,
        description="Where messages are sent: https, a public address, no redirect.",
    ),
]
_Event = Annotated[str, AfterValidator(_known), Field(json_schema_extra={"enum": [*TYPES]})]
_WANTED = "Types that are wanted; none named: all."
_Description = Annotated[
    str | None, Field(max_length=200, description="What it is, in your own words; no patient.")
]


class WebhookEndpointIn(Body):
    """Where to send what your right lets you see."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    url: _Url
    events: list[_Event] = Field([], max_length=len(TYPES), description=_WANTED)
    format: WebhookFormat = Field(
        WebhookFormat.STANDARD,
        description="`rs-sas-rdv`: bookings as the national message of an appointment; for"
        " regulation.",
    )
    description: _Description = None

    def draft(self) -> EndpointDraft:
        """Return the endpoint as the use cases want it."""
        events = tuple(dict.fromkeys(self.events))
        return EndpointDraft(self.url, events, self.format, self.description)


class WebhookEndpointPatch(Body):
    """What changes of an endpoint; what is left out stays."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"enabled": True}]})

    url: _Url | None = None
    events: list[_Event] = Field([], max_length=len(TYPES), description=_WANTED)
    description: _Description = None
    enabled: bool | None = Field(None, description="Enabled, it is sent what waits for it.")

    def changes(self) -> dict[str, Any]:
        """Return what was named; null takes the description away."""
        named: dict[str, Any] = {name: getattr(self, name) for name in self.model_fields_set}
        if "events" in named:
            named["events"] = tuple(dict.fromkeys(self.events))
        return {n: v for n, v in named.items() if v is not None or n == "description"}


class WebhookEndpointOut(Answer):
    """An endpoint. It hears what the right of whoever made or amended it last lets them see."""

    id: UUID
    url: str
    events: list[str] = Field(description="Types that are wanted; empty: all.")
    format: WebhookFormat
    description: str | None
    enabled: bool
    disabled_reason: DisabledReason | None = Field(
        description="`by-owner`; `right-ended`: of whoever answers for it; `gone`: it answered"
        " 410; `unreachable`: nothing arrived for three days."
    )
    disabled_at: datetime | None
    failing_since: datetime | None = Field(description="Since when nothing arrives.")
    previous_secret_until: datetime | None = Field(
        description="Until then the secret before the newest signs, too."
    )
    version: int
    created_at: datetime


class WebhookEndpointSecret(WebhookEndpointOut):
    """An endpoint with its secret, which is shown here and nowhere else."""

    secret: str = Field(
        repr=False,
        description="`whsec_` and base64: the key of the signatures (Standard Webhooks 1.0).",
    )


class WebhookDeliveryOut(Answer):
    """One message to an endpoint, and how far it came."""

    id: UUID = Field(description="The `webhook-id` of the message, the same at each attempt.")
    type: str
    subject_id: UUID
    position: int = Field(description="Of the event in the stream; 0: a test.")
    state: DeliveryState = Field(
        description="`failed` is tried again, `abandoned` is not, unless it is replayed."
    )
    attempts: int
    last_status: int | None = Field(description="What the receiver last answered.")
    last_failure: DeliveryFailure | None
    next_attempt_at: datetime | None = Field(
        description="Null: none is due; it is settled, or waits for an earlier one of its subject."
    )
    created_at: datetime
    settled_at: datetime | None


class WebhookReplayIn(Body):
    """A range of time: what happened in it is sent again."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"from": "2026-12-01T00:00:00+01:00", "to": "2026-12-02T00:00:00+01:00"}]
        }
    )

    from_: Instant = Field(alias="from", description="Inclusive.")
    to: Instant = Field(description="Exclusive; at most 7 days later.")


class WebhookReplayOut(Answer):
    """What will be sent again; it shows among the deliveries."""

    endpoint_id: UUID
    from_: datetime = Field(alias="from")
    to: datetime


class WebhookMessage(Answer):
    """What an endpoint is sent: ids, states and times; never who a patient is."""

    type: str
    timestamp: datetime = Field(description="When it happened.")
    data: dict[str, Any] = Field(
        description="`subject_id`, `position` in the stream, and what else the event tells."
    )


def endpoint_out(endpoint: Endpoint) -> WebhookEndpointOut:
    """Return an endpoint as its keeper reads it."""
    return WebhookEndpointOut(**_members(endpoint))


def secret_out(endpoint: Endpoint, secret: str) -> WebhookEndpointSecret:
    """Return an endpoint with its secret."""
    return WebhookEndpointSecret(**_members(endpoint), secret=secret)


def _members(endpoint: Endpoint) -> dict[str, Any]:
    later = endpoint.previous_until is not None and endpoint.previous_until > endpoint.now
    until = endpoint.previous_until if later else None
    named = {
        n: getattr(endpoint, n) for n in WebhookEndpointOut.model_fields if hasattr(endpoint, n)
    }
    return {**named, "events": list(endpoint.events), "previous_secret_until": until}


def delivery_out(delivery: Delivery) -> WebhookDeliveryOut:
    """Return a delivery as its endpoint's keeper reads it."""
    return WebhookDeliveryOut(**asdict(delivery))
