"""What an endpoint is and may be told, and why one is refused. Pure."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from service.identity import REGULATION, Actor
from service.kernel.errors import Conflict, FieldError, Invalid, NotFound
from service.slots import Standing
from service.stream import TYPES, Fact, Listener, Shown, View, views

MOST_ENDPOINTS = 20  # of those who keep them together
LONGEST_REPLAY = timedelta(days=7)
TEST = "webhook.test"

BOOKING_EVENTS = tuple(type_ for type_ in TYPES if type_.startswith("booking."))


class WebhookFormat(StrEnum):
    """How facts are written: Standard Webhooks, or the national message of an appointment."""

    STANDARD = "standard"
    RDV = "rs-sas-rdv"


class DeliveryState(StrEnum):
    """Where a delivery stands; `pending` was not tried yet, `failed` will be tried again."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"
    ABANDONED = "abandoned"


class DisabledReason(StrEnum):
    """Why an endpoint is told nothing more."""

    BY_OWNER = "by-owner"
    RIGHT_ENDED = "right-ended"
    GONE = "gone"
    UNREACHABLE = "unreachable"


class EndpointNotFound(NotFound):
    """No such endpoint, or not one of the caller's."""

    code = "webhook-endpoint-not-found"
    title = "No webhook endpoint of this id is yours."


class DeliveryNotFound(NotFound):
    """No such delivery, or it was deleted since."""

    code = "webhook-delivery-not-found"
    title = "This endpoint has no delivery of this id."


class EndpointInvalid(Invalid):
    """The endpoint, or what is asked of it, makes no sense."""

    code = "webhook-endpoint-invalid"
    title = "This webhook endpoint breaks a rule."


class EndpointDisabled(Conflict):
    """Nothing is sent to an endpoint that is disabled; says why it is."""

    code = "webhook-endpoint-disabled"
    title = "This endpoint is disabled: enable it first."


class TooManyEndpoints(Conflict):
    """There are as many as one keeper may have."""

    code = "webhook-endpoint-limit"
    title = f"There may be {MOST_ENDPOINTS} endpoints: delete one first."


@dataclass(frozen=True, slots=True)
class EndpointDraft:
    """An endpoint as asked for. No events: all."""

    url: str
    events: tuple[str, ...]
    format: WebhookFormat
    description: str | None


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where somebody is told. Without a `listener` the right behind it has ended."""

    id: UUID
    grant_id: UUID
    client_id: UUID
    organization_id: UUID
    territory: str | None
    url: str
    events: tuple[str, ...]
    format: WebhookFormat
    description: str | None
    enabled: bool
    disabled_reason: DisabledReason | None
    disabled_at: datetime | None
    failing_since: datetime | None
    rests_until: datetime | None
    previous_until: datetime | None
    version: int
    created_at: datetime
    now: datetime
    listener: Listener | None

    @property
    def rests(self) -> bool:
        """Tell whether nothing may be sent just now."""
        return self.rests_until is not None and self.rests_until > self.now

    def wants(self, type_: str) -> bool:
        """Tell whether the filter lets a type through."""
        return type_ in (self.events or TYPES)

    def told(self, fact: Fact, slots: Mapping[UUID, Standing]) -> Iterator[View]:
        """Yield what is sent of a fact: what its holder may know now, and asked for."""
        if self.listener is not None and any(map(self.wants, (fact.type, *Shown))):
            for view in views(fact, slots, self.listener):
                if self.wants(view.type):
                    yield view

    def facts(self) -> dict[str, Any]:
        """Return what events tell of it: never where it is."""
        return {"endpoint_id": str(self.id), "organization_id": str(self.organization_id)}


@dataclass(frozen=True, slots=True)
class Delivery:
    """One view of a fact on its way to an endpoint; its id is the `webhook-id`."""

    id: UUID
    endpoint_id: UUID
    event_id: UUID
    position: int
    type: str
    subject_id: UUID
    state: DeliveryState
    attempts: int
    last_status: int | None
    last_failure: str | None
    next_attempt_at: datetime | None
    created_at: datetime
    settled_at: datetime | None


def broken_rules(actor: Actor, draft: EndpointDraft) -> Iterator[FieldError]:
    """Yield what makes no sense in an endpoint, but for its URL."""
    if draft.format is not WebhookFormat.RDV:
        return
    if actor.role not in REGULATION:
        yield FieldError("#/format", "regulation-only", "This form is for regulation software.")
    for n, type_ in enumerate(draft.events):
        if type_ not in BOOKING_EVENTS:
            sentence = "This form tells of bookings only."
            yield FieldError(f"#/events/{n}", "bookings-only", sentence)


class Reach:
    """Finds who may hear of a fact, of many: more than those who do, never fewer.

    Every rule of `stream.views` asks for a territory, a community, an organization or a
    practitioner that listener and fact, or its slots, have in common.
    """

    def __init__(self, endpoints: Iterable[Endpoint]) -> None:
        self._by_name: dict[str, list[Endpoint]] = {}
        for endpoint in endpoints:
            for name in set(_ears(endpoint.listener)):
                self._by_name.setdefault(name, []).append(endpoint)

    def near(self, fact: Fact, slots: Mapping[UUID, Standing]) -> Collection[Endpoint]:
        """Return the endpoints that have something in common with a fact, each once."""
        names = {str(name) for name in _concerned(fact, slots) if name}
        found = {e.id: e for name in names for e in self._by_name.get(name, ())}
        return found.values()


def _ears(listener: Listener | None) -> Iterator[str]:
    if listener is not None:
        yield from listener.territories
        yield str(listener.organization_id)
        yield from map(str, listener.cpts_ids | listener.practitioner_ids)


def _concerned(fact: Fact, slots: Mapping[UUID, Standing]) -> Iterator[object]:
    here = [slots[slot_id] for slot_id in fact.slot_ids & slots.keys()]
    yield from (fact.territory, fact.data.get("from_territory"), fact.organization_id)
    yield from (
        v for n, v in fact.data.items() if n.endswith(("practitioner_id", "organization_id"))
    )
    for slot in here:
        yield from (slot.territory, slot.practitioner_id, slot.organization_id)
    for audience in (fact.audience_before, fact.audience_after, *(slot.audience for slot in here)):
        yield from (audience or {}).get("cpts_ids", ())


def message(view: View) -> dict[str, Any]:
    """Return what is sent of a view (Standard Webhooks 1.0): thin, whoever wants more asks."""
    subject = {"subject_id": str(view.subject_id), "position": view.fact.position}
    return {
        "type": view.type,
        "timestamp": view.fact.occurred_at.isoformat(),
        "data": {**subject, **view.data},
    }
