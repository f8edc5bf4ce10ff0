"""Use cases: endpoints kept by those who listen; facts handed to them; what is due, sent."""

import asyncio
import random
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
import structlog

from service import bookings, directory, slots, stream
from service.identity import OPERATOR, Actor
from service.kernel import clock, events, jobs
from service.kernel.db import Database, UnitOfWork
from service.kernel.errors import FieldError
from service.kernel.ids import new_id
from service.kernel.paging import Page, PageRequest
from service.kernel.sending import Attempt, DeliveryFailure
from service.kernel.versions import Expected
from service.stream import Fact
from service.webhooks import repository
from service.webhooks.domain import (
    BOOKING_EVENTS,
    LONGEST_REPLAY,
    MOST_ENDPOINTS,
    TEST,
    Delivery,
    DeliveryNotFound,
    DeliveryState,
    DisabledReason,
    Endpoint,
    EndpointDisabled,
    EndpointDraft,
    EndpointInvalid,
    EndpointNotFound,
    Reach,
    TooManyEndpoints,
    WebhookFormat,
    broken_rules,
    message,
    rdv,
)
from service.webhooks.domain.sending import (
    SECRET_BYTES,
    Send,
    as_text,
    rest,
    settled,
    signed,
    url_faults,
)
from service.webhooks.repository import NewDelivery, Outcome

QUEUE, DRAIN, REPLAY = "webhooks", "webhooks:drain", "webhooks:replay_range"
_AT_A_TIME, _AT_ONCE = 64, 8
_FACTS = 1000
_NONE = UUID(int=0)

log = structlog.get_logger()

# --- endpoints ------------------------------------------------------------------------------------


async def create(
    uow: UnitOfWork, actor: Actor, draft: EndpointDraft, *, loopback: bool
) -> tuple[Endpoint, str]:
    """Create an endpoint, which hears what its maker's right lets them see; with its secret.

    Refusals: `webhook-endpoint-invalid`, `webhook-endpoint-limit`.
    """
    faults = [*url_faults(draft.url, loopback=loopback), *broken_rules(actor, draft)]
    if faults:
        raise EndpointInvalid(*faults)
    if await repository.count_mine(uow, actor) >= MOST_ENDPOINTS:
        raise TooManyEndpoints
    if draft.format is WebhookFormat.RDV and not draft.events:
        draft = replace(draft, events=BOOKING_EVENTS)
    endpoint_id, secret = new_id(), _secret()
    await repository.add(uow, actor, endpoint_id, draft, secret)
    endpoint = await read(uow, actor, endpoint_id)
    await _record(uow, actor.origin, "webhook_endpoint.created", endpoint, events=draft.events)
    return endpoint, secret


def _secret() -> str:
    return as_text(secrets.token_bytes(SECRET_BYTES))


async def _record(
    uow: UnitOfWork, origin: events.Origin, type_: str, endpoint: Endpoint, **more: Any
) -> None:
    data = {**endpoint.facts(), **more}
    await events.record(uow, origin, type_, endpoint.id, territory=endpoint.territory, data=data)


async def read(uow: UnitOfWork, actor: Actor, endpoint_id: UUID) -> Endpoint:
    """Return an endpoint of the caller's. Refusals: `webhook-endpoint-not-found`."""
    found = await repository.find_mine(uow, actor, endpoint_id)
    if found is None:
        raise EndpointNotFound
    return found


async def with_secret(uow: UnitOfWork, actor: Actor, endpoint_id: UUID) -> tuple[Endpoint, str]:
    """Return an endpoint with its secret: for the answer that was given already, and lost."""
    endpoint = await read(uow, actor, endpoint_id)
    return endpoint, (await repository.secrets(uow, endpoint_id))[0]


async def list_mine(uow: UnitOfWork, actor: Actor, page: PageRequest) -> Page[Endpoint]:
    """Return the endpoints of the caller's organization and role, newest first."""
    keys = page.after(UUID)
    found = await repository.list_mine(uow, actor, keys[0] if keys else None, page.limit + 1)
    return page.page(found, lambda endpoint: [str(endpoint.id)])


async def _lock(uow: UnitOfWork, actor: Actor, endpoint_id: UUID) -> Endpoint:
    await read(uow, actor, endpoint_id)
    await repository.lock(uow, [endpoint_id])
    return await read(uow, actor, endpoint_id)


async def amend(
    uow: UnitOfWork,
    actor: Actor,
    endpoint_id: UUID,
    changes: Mapping[str, Any],
    expected: Expected,
    *,
    loopback: bool,
) -> Endpoint:
    """Change an endpoint, which from now on hears what the caller's right lets them see.

    Enabled, it goes on with what waits for it. Refusals: `webhook-endpoint-not-found`,
    `precondition-required`, `version-mismatch`, `webhook-endpoint-invalid`.
    """
    endpoint = await _lock(uow, actor, endpoint_id)
    expected.check(endpoint.version, required=True)
    new = replace(endpoint, **changes)
    draft = EndpointDraft(new.url, new.events, new.format, new.description)
    faults = [*url_faults(new.url, loopback=loopback), *broken_rules(actor, draft)]
    if faults:
        raise EndpointInvalid(*faults)
    if new.format is WebhookFormat.RDV and not new.events:
        new = replace(new, events=BOOKING_EVENTS)
    why = None if new.enabled else endpoint.disabled_reason or DisabledReason.BY_OWNER
    await repository.amend(uow, actor, replace(new, disabled_reason=why))
    await _record(uow, actor.origin, "webhook_endpoint.amended", endpoint, members=sorted(changes))
    await jobs.defer(uow, [drain_job(endpoint_id)])
    return await read(uow, actor, endpoint_id)


async def delete(uow: UnitOfWork, actor: Actor, endpoint_id: UUID, expected: Expected) -> None:
    """Delete an endpoint, with what waits for it. Refusals: `webhook-endpoint-not-found`, stale."""
    endpoint = await _lock(uow, actor, endpoint_id)
    expected.check(endpoint.version, required=False)
    await repository.mark_deleted(uow, endpoint_id)
    await _record(uow, actor.origin, "webhook_endpoint.deleted", endpoint)


async def rotate_secret(
    uow: UnitOfWork, actor: Actor, endpoint_id: UUID, *, grace_hours: int
) -> tuple[Endpoint, str]:
    """Give an endpoint a new secret; the one before signs, too, for `grace_hours`.

    Refusals: `webhook-endpoint-not-found`.
    """
    endpoint = await _lock(uow, actor, endpoint_id)
    new, old = _secret(), (await repository.secrets(uow, endpoint_id))[0]
    await repository.rotate(uow, endpoint_id, new=new, old=old, grace_hours=grace_hours)
    await _record(uow, actor.origin, "webhook_endpoint.secret_rotated", endpoint)
    return await read(uow, actor, endpoint_id), new


# --- deliveries, as their endpoint's keeper sees them ---------------------------------------------


async def list_deliveries(
    uow: UnitOfWork, actor: Actor, endpoint_id: UUID, state: DeliveryState | None, page: PageRequest
) -> Page[Delivery]:
    """Return what an endpoint was told, newest first. Refusals: `webhook-endpoint-not-found`."""
    await read(uow, actor, endpoint_id)
    keys = page.after(UUID)
    wanted = {"state": state, "before": keys[0] if keys else None}
    found = await repository.deliveries(uow, endpoint_id, wanted, page.limit + 1)
    return page.page(found, lambda delivery: [str(delivery.id)])


async def find_delivery(
    uow: UnitOfWork, actor: Actor, endpoint_id: UUID, delivery_id: UUID
) -> Delivery:
    """Return a delivery of the caller's endpoint. Refusals: of both, not found."""
    await read(uow, actor, endpoint_id)
    found = await repository.deliveries(uow, endpoint_id, {"delivery": delivery_id}, 1)
    if not found:
        raise DeliveryNotFound
    return found[0]


async def _lock_enabled(uow: UnitOfWork, actor: Actor, endpoint_id: UUID) -> Endpoint:
    endpoint = await _lock(uow, actor, endpoint_id)
    if not endpoint.enabled:
        raise EndpointDisabled(reason=endpoint.disabled_reason)
    return endpoint


async def test(uow: UnitOfWork, actor: Actor, endpoint_id: UUID) -> Delivery:
    """Send `webhook.test` to an endpoint. Refusals: not found, `webhook-endpoint-disabled`."""
    await _lock_enabled(uow, actor, endpoint_id)
    test_id = new_id()
    await repository.tell(
        uow, [NewDelivery(test_id, endpoint_id, test_id, stream.BEGINNING, TEST, test_id)]
    )
    await jobs.defer(uow, [drain_job(endpoint_id)])
    return await find_delivery(uow, actor, endpoint_id, test_id)


async def replay(uow: UnitOfWork, actor: Actor, endpoint_id: UUID, delivery_id: UUID) -> Delivery:
    """Send a delivery again, whatever became of it, under the same `webhook-id`.

    Refusals: of both, not found; `webhook-endpoint-disabled`.
    """
    await _lock_enabled(uow, actor, endpoint_id)
    await find_delivery(uow, actor, endpoint_id, delivery_id)
    await repository.repeat(uow, [delivery_id])
    await jobs.defer(uow, [drain_job(endpoint_id)])
    return await find_delivery(uow, actor, endpoint_id, delivery_id)


async def replay_range(
    uow: UnitOfWork, actor: Actor, endpoint_id: UUID, since: datetime, until: datetime
) -> None:
    """Send an endpoint all that happened from an instant, before another; at most 7 days of it.

    Also what happened while it was disabled, or before there was one. Refusals: not found,
    `webhook-endpoint-disabled`, `webhook-endpoint-invalid`.
    """
    await _lock_enabled(uow, actor, endpoint_id)
    if since >= until:
        raise EndpointInvalid(FieldError("#/to", "range-empty", "It would end before it begins."))
    if until - since > LONGEST_REPLAY:
        raise EndpointInvalid(FieldError("#/to", "range-too-long", "At most 7 days at once."))
    span = await stream.positions_between(uow, since, until)
    if span is not None:
        job = _replay_job(endpoint_id, span[0] - 1, span[1], since.isoformat(), until.isoformat())
        await jobs.defer(uow, [job])


# --- from facts to deliveries ---------------------------------------------------------------------


def drain_job(endpoint_id: UUID) -> jobs.Job:
    """Return the job that sends an endpoint what is due: one at work, one waiting at most."""
    name = f"{DRAIN}:{endpoint_id}"
    args = {"endpoint_id": str(endpoint_id)}
    return jobs.Job(QUEUE, DRAIN, args, lock=name, queueing_lock=name)


def _replay_job(endpoint_id: UUID, after: int, last: int, since: str, until: str) -> jobs.Job:
    args = {
        "endpoint_id": str(endpoint_id), "after": after, "last": last, "since": since,
        "until": until,
    }  # fmt: skip
    return jobs.Job(QUEUE, REPLAY, args, lock=f"{REPLAY}:{endpoint_id}")


async def fan_out(uow: UnitOfWork, facts: list[Fact]) -> None:
    """Make deliveries of facts: for whoever may know them now, and wants them.

    An endpoint whose right has ended is disabled. Nothing is sent here.
    """
    endpoints = await repository.enabled(uow)
    for endpoint in endpoints:
        if endpoint.listener is None:
            await _disable(uow, endpoint, DisabledReason.RIGHT_ENDED)
    reach = Reach(endpoints)
    now = await slots.standing(uow, {slot_id for fact in facts for slot_id in fact.slot_ids})
    new = [
        one for fact in facts for endpoint in reach.near(fact, now)
        for one in _deliveries(endpoint, fact, now)
    ]  # fmt: skip
    told = sorted({one.endpoint_id for one in new})
    if told:
        await repository.lock(uow, told)
        await repository.tell(uow, new)
        await jobs.defer(uow, map(drain_job, told))


def _deliveries(
    endpoint: Endpoint, fact: Fact, now: Mapping[UUID, slots.Standing]
) -> Iterator[NewDelivery]:
    for view in endpoint.told(fact, now):
        yield NewDelivery(new_id(), endpoint.id, fact.id, fact.position, view.type, view.subject_id)


async def _disable(uow: UnitOfWork, endpoint: Endpoint, why: DisabledReason) -> None:
    """Disable an endpoint, and tell who keeps it by an event."""
    if await repository.disable(uow, endpoint, why):
        await _record(uow, OPERATOR, "webhook_endpoint.disabled", endpoint, reason=why)
        log.warning("webhook.endpoint_disabled", endpoint=str(endpoint.id), reason=why)


async def replay_some(
    database: Database, endpoint_id: UUID, after: int, last: int, since: datetime, until: datetime
) -> None:
    """Make deliveries of the facts of a range anew; one transaction for some of them."""
    while after < last:
        async with database.unit_of_work() as uow:
            locked = await repository.lock(uow, [endpoint_id])
            endpoint = await repository.find(uow, endpoint_id) if locked else None
            facts = await stream.read_after(uow, after, _FACTS)
            if endpoint is None or not endpoint.enabled or not facts:
                return
            now = await slots.standing(uow, {i for fact in facts for i in fact.slot_ids})
            meant = (f for f in facts if since <= f.occurred_at < until and f.position <= last)
            new = [one for fact in meant for one in _deliveries(endpoint, fact, now)]
            if new:
                await repository.tell_again(uow, new)
                await jobs.defer(uow, [drain_job(endpoint_id)])
        after = facts[-1].position


async def sweep(database: Database) -> None:
    """See to it that somebody sends what is due."""
    async with database.unit_of_work() as uow:
        await jobs.defer(uow, map(drain_job, await repository.with_due(uow)))


# --- sending --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Letter:
    """A delivery with what is sent; without a body it is not its receiver's to know any more."""

    delivery: Delivery
    body: bytes | None


@dataclass(frozen=True, slots=True)
class _Post:
    """What is to be sent to an endpoint now, and signed with what."""

    endpoint: Endpoint
    secrets: Sequence[str] = field(repr=False)
    letters: Sequence[_Letter]


async def drain(
    database: Database,
    send: Send,
    endpoint_id: UUID,
    *,
    seconds: float,
    a_second: int,
    chance: Callable[[], float] = random.random,
) -> bool:
    """Send an endpoint what is due, for some time, not too fast; tell whether more is due.

    What is sent and not yet kept as sent, when a worker dies, is sent again.
    """
    loop = asyncio.get_running_loop()
    free, end = loop.time() - 1, loop.time() + seconds
    while loop.time() < end:
        post = await _collect(database, endpoint_id, min(_AT_A_TIME, a_second))
        if post is None:
            return False
        attempts = await _send_all(send, post)
        await _keep(database, post.endpoint, attempts, chance)
        # What a second allows may go at once after a pause; a backlog goes at its pace.
        free = max(free, loop.time() - 1) + len(attempts) / a_second
        await asyncio.sleep(max(0.0, free - loop.time()))
    return True


async def _collect(database: Database, endpoint_id: UUID, limit: int) -> _Post | None:
    async with database.unit_of_work() as uow:
        endpoint = await repository.find(uow, endpoint_id)
        if endpoint is None or not endpoint.enabled or endpoint.rests:
            return None
        if endpoint.listener is None:
            await _disable(uow, endpoint, DisabledReason.RIGHT_ENDED)
            return None
        due = await repository.due(uow, endpoint_id, limit)
        if not due:
            return None
        letters = await _letters(uow, endpoint, due)
        return _Post(endpoint, await repository.secrets(uow, endpoint_id), letters)


async def _letters(uow: UnitOfWork, endpoint: Endpoint, due: Sequence[Delivery]) -> list[_Letter]:
    """Write what is sent of each fact, as its receiver may know it now."""
    facts = await stream.find(uow, {delivery.event_id for delivery in due})
    now = await slots.standing(uow, {i for fact in facts.values() for i in fact.slot_ids})
    seen = [view for fact in facts.values() for view in endpoint.told(fact, now)]
    write = _appointments if endpoint.format is WebhookFormat.RDV else _plainly
    bodies = {
        (view.fact.id, view.type, view.subject_id): orjson.dumps(written)
        for view, written in await write(uow, seen)
    }
    return [
        _Letter(
            one,
            _test(one)
            if one.type == TEST
            else bodies.get((one.event_id, one.type, one.subject_id)),
        )
        for one in due
    ]


_Written = Iterable[tuple[stream.View, dict[str, Any]]]


async def _plainly(_: UnitOfWork, seen: Sequence[stream.View]) -> _Written:
    return [(view, message(view)) for view in seen]


async def _appointments(uow: UnitOfWork, seen: Sequence[stream.View]) -> _Written:
    """Write bookings as the national message: with who made them, where, and with whom."""
    made = await bookings.made(uow, {view.subject_id for view in seen})
    return [
        (view, rdv.message(view, await _appointment(uow, view.data, made[view.subject_id])))
        for view in seen
    ]


async def _appointment(
    uow: UnitOfWork, told: Mapping[str, Any], made: bookings.Made
) -> rdv.Appointment:
    organization = await directory.organization(uow, UUID(told["practitioner_organization_id"]))
    practitioner_id = told["practitioner_id"]
    return rdv.Appointment(
        created_at=made.created_at,
        zone=(await directory.territory(uow, organization.territory)).zone,
        person=made.person,
        requester=await directory.organization(uow, UUID(told["organization_id"])),
        practitioner=practitioner_id and await directory.practitioner(uow, UUID(practitioner_id)),
        organization=organization,
    )


def _test(delivery: Delivery) -> bytes:
    return orjson.dumps(
        {
            "type": TEST,
            "timestamp": delivery.created_at.isoformat(),
            "data": {"endpoint_id": str(delivery.endpoint_id)},
        }
    )


async def _send_all(send: Send, post: _Post) -> dict[Delivery, Attempt]:
    """Send letters, some at once; once a receiver is to be left alone, no further one."""
    places, attempts = asyncio.Semaphore(_AT_ONCE), dict[Delivery, Attempt]()

    async def one(letter: _Letter) -> None:
        async with places:
            if any(attempt.lets_rest or attempt.gone for attempt in attempts.values()):
                return
            attempts[letter.delivery] = await _send(send, post, letter)

    async with asyncio.TaskGroup() as group:
        for letter in post.letters:
            group.create_task(one(letter))
    return attempts


async def _send(send: Send, post: _Post, letter: _Letter) -> Attempt:
    if letter.body is None:
        return Attempt(failure=DeliveryFailure.OUT_OF_SCOPE)
    headers = {
        "content-type": "application/json",
        "user-agent": "snp-broker",
        **signed(post.secrets, letter.delivery.id, clock.now(), letter.body),
    }
    return await send(post.endpoint.url, headers, letter.body)


async def _keep(
    database: Database,
    endpoint: Endpoint,
    attempts: Mapping[Delivery, Attempt],
    chance: Callable[[], float],
) -> None:
    """Keep what became of deliveries, and how their receiver does."""
    answers = [a for a in attempts.values() if a.failure is not DeliveryFailure.OUT_OF_SCOPE]
    arrived = any(attempt.failure is None for attempt in answers)
    failing = endpoint.now - (endpoint.failing_since or endpoint.now)
    async with database.unit_of_work() as uow:
        if not await repository.lock(uow, [endpoint.id]):
            return
        await repository.settle(uow, _outcomes(attempts, chance))
        await repository.release(uow, [(one.endpoint_id, one.subject_id) for one in attempts])
        hopeless = await repository.mark(
            uow,
            endpoint,
            arrived=arrived,
            missed=bool(answers),
            rest=rest(answers, failing),
        )
        if any(attempt.gone for attempt in answers):
            await _disable(uow, endpoint, DisabledReason.GONE)
        elif hopeless:
            await _disable(uow, endpoint, DisabledReason.UNREACHABLE)


async def let_rest(database: Database, endpoint_id: UUID, seconds: float) -> None:
    """Send an endpoint nothing for a while."""
    async with database.unit_of_work() as uow:
        endpoint = await repository.find(uow, endpoint_id)
        if endpoint is not None:
            await repository.mark(uow, endpoint, arrived=False, missed=False, rest=seconds)


def _outcomes(
    attempts: Mapping[Delivery, Attempt], chance: Callable[[], float]
) -> Iterator[Outcome]:
    for delivery, attempt in attempts.items():
        became = settled(attempt, delivery.attempts, chance())
        yield Outcome(delivery.id, became.state, became.wait, attempt.status, attempt.failure)


# --- upkeep ---------------------------------------------------------------------------------------


async def retry(database: Database, endpoint_id: UUID | None, since: datetime | None) -> int:
    """Begin anew with what failed or was abandoned, of enabled endpoints; return how many."""
    done, after = 0, _NONE
    while True:
        async with database.unit_of_work() as uow:
            wanted = {"endpoint": endpoint_id, "since": since}
            found = await repository.missed(uow, after, _FACTS, wanted)
            if not found:
                return done
            await repository.lock(uow, sorted(set(found.values())))
            await repository.repeat(uow, list(found))
            await jobs.defer(uow, map(drain_job, sorted(set(found.values()))))
        done, after = done + len(found), max(found)


async def clear(database: Database, days: int) -> int:
    """Delete deliveries that are older, and what is left of deleted endpoints; return how many."""
    rows = 0
    while True:
        async with database.unit_of_work() as uow:
            done = await repository.clear(uow, days=days, limit=_FACTS)
            if not done:
                await repository.clear_endpoints(uow)
                return rows
        rows += done


async def health(uow: UnitOfWork) -> tuple[bool, str]:
    """Tell for how long what is due waits, and what was given up; no receiver's fault is ours."""
    seconds, abandoned = await repository.lag(uow)
    return True, f"oldest due delivery: {seconds:.0f} s, abandoned: {abandoned}"


async def measures(uow: UnitOfWork) -> dict[str, float]:
    """Measure the same."""
    seconds, abandoned = await repository.lag(uow)
    return {
        "webhooks_oldest_due_seconds": float(seconds),
        "webhooks_abandoned": float(abandoned),
    }
