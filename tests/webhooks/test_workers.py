"""Workers that die, and many at once: nothing is lost, order is kept, nobody hears too much."""

import asyncio
import json
import random
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest
from sqlalchemy import text

from service import stream
from service.description import description
from service.kernel import jobs
from service.kernel.crypto import Keys
from service.kernel.ids import new_id
from service.slots import standing
from service.stream import tasks as stream_tasks
from service.webhooks import repository, tasks, usecases
from service.webhooks.domain import DeliveryState, Reach
from service.worker import working
from tests.conftest import DatabaseUrls
from tests.demo.processes import ROOT, environment
from tests.support import rows_read, soon
from tests.webhooks.conftest import Broker
from tests.webhooks.receivers import HANG, Answer, Received, receiving
from tests.webhooks.support import (
    booked,
    cancelled,
    delivered,
    deliveries,
    drain,
    fan,
    moved,
    slots_of,
    subscribed,
)


@contextmanager
def worker(folder: Path, url: str, keys: Keys) -> Iterator[subprocess.Popen[bytes]]:
    """A worker process; gone when the block ends."""
    settings = {
        "SNP_DATABASE_URL": url,
        "SNP_KEYS": keys.model_dump_json(),
        "SNP_WEBHOOK_LOOPBACK": "true",
    }
    with (folder / "worker.txt").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "service.cli", "worker"],
            cwd=ROOT,
            env={**environment(), **settings},
            stdout=log,
            stderr=log,
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait(30)


async def test_what_a_dying_worker_had_sent_and_not_kept_is_sent_again_by_another(
    idle: Broker, database_urls: DatabaseUrls, keys: Keys, tmp_path: Path
) -> None:
    """Killed while a receiver has the message and has not answered yet."""
    world = await idle.world()
    doctor, pharmacist = await world.doctor(), await world.pharmacist()
    events = ["booking.created", "booking.cancelled"]
    async with receiving() as receiver:
        receiver.answers.append(Answer(HANG))
        endpoint = await subscribed(doctor, receiver.url, events=events)
        [slot] = await slots_of(doctor, 1)
        booking = await booked(pharmacist, slot)
        with worker(tmp_path, database_urls.app, keys) as first:
            await receiver.count(1)
            first.send_signal(signal.SIGKILL)
            first.wait(30)
        await cancelled(pharmacist, booking)
        connection = await asyncpg.connect(database_urls.owner)
        await connection.execute(  # as if it had died a while ago
            "UPDATE procrastinate_workers SET last_heartbeat = last_heartbeat - interval '1 hour'"
        )
        await connection.close()
        async with working(idle.settings, idle.database):
            await receiver.count(3)
            found = await delivered(
                doctor, endpoint, lambda all_: {one["state"] for one in all_} == {"delivered"}
            )
    assert receiver.types() == ["booking.created", "booking.created", "booking.cancelled"]
    assert receiver.received[0].id == receiver.received[1].id
    assert {one["attempts"] for one in found} == {1}


async def test_a_stalled_job_that_waits_a_second_time_holds_nobody_up(
    idle: Broker, database_urls: DatabaseUrls
) -> None:
    """The rescue of a job ends where the same job waits already: it must not end there for ever."""
    world = await idle.world()
    doctor = await world.doctor()
    async with receiving() as receiver:
        endpoint = await subscribed(doctor, receiver.url)
        path = f"/v1/webhook-endpoints/{endpoint['id']}/test"
        connection = await asyncpg.connect(database_urls.owner)
        await doctor.post(path)
        dead = await connection.fetchval(
            "INSERT INTO procrastinate_workers (last_heartbeat)"
            " VALUES (now() - interval '1 hour') RETURNING id"
        )
        await connection.execute(
            "UPDATE procrastinate_jobs SET status = 'doing', worker_id = $1", dead
        )
        await doctor.post(path)
        assert await connection.fetchval("SELECT count(*) FROM procrastinate_jobs") == 2
        await connection.close()
        async with working(idle.settings, idle.database):
            await receiver.count(2)


async def test_three_workers_keep_the_order_of_each_booking(broker: Broker) -> None:
    world = await broker.world()
    doctor, pharmacist = await world.doctor(), await world.pharmacist()
    chance = random.Random(3)
    failures: dict[str, int] = defaultdict(int)

    def now_and_then(one: Received) -> Answer:
        if failures[one.id] == 0 and chance.random() < 0.2:
            failures[one.id] += 1
            return Answer(500)
        return Answer(204)

    async with (
        receiving(choose=now_and_then) as receiver,
        working(broker.settings, broker.database),
        working(broker.settings, broker.database),
    ):
        events = ["booking.created", "booking.rescheduled", "booking.cancelled"]
        endpoint = await subscribed(doctor, receiver.url, events=events)
        slots = await slots_of(doctor, 16)

        async def journey(nth: int) -> None:
            booking = await booked(pharmacist, slots[nth])
            await moved(pharmacist, booking, slots[8 + nth])
            await cancelled(pharmacist, booking)

        await asyncio.gather(*map(journey, range(8)))
        await delivered(
            doctor,
            endpoint,
            lambda all_: len(all_) == 24 and {one["state"] for one in all_} == {"delivered"},
        )
    told: dict[str, dict[str, str]] = defaultdict(dict)
    for one in receiver.received:
        assert one.verified(endpoint["secret"])
        told[one.json["data"]["subject_id"]][one.id] = one.json["type"]
    assert len(told) == 8
    assert all(list(types.values()) == events for types in told.values())


async def test_a_burst_is_handed_on_at_a_pace_and_nothing_of_it_is_passed_over(
    idle: Broker,
) -> None:
    world = await idle.world()
    doctor, pharmacist = await world.doctor(), await world.pharmacist()
    slots = await slots_of(doctor, 3)
    await fan(idle.database)
    async with receiving() as receiver:
        await subscribed(doctor, receiver.url, events=["booking.created"])
        made = [(await booked(pharmacist, slot))["id"] for slot in slots]
        async with idle.database.unit_of_work() as uow:
            before = await stream.last_position(uow)
        loop = asyncio.get_running_loop()
        begun = loop.time()
        slowly = idle.settings.model_copy(update={"webhook_facts_per_second": 2})
        async with working(slowly, idle.database):
            await receiver.count(3)
        took = loop.time() - begun
    async with idle.database.unit_of_work() as uow:
        [*_, last] = [
            fact
            for fact in await stream.read_after(uow, before, 1000)
            if str(fact.subject_id) == made[-1]
        ]
    assert {one.json["data"]["subject_id"] for one in receiver.received} == set(made)
    assert took > (last.position - before - 2) / 2 > 0


async def test_whoever_may_hear_of_a_fact_is_near_it(idle: Broker) -> None:
    """The index that spares a look at every endpoint for every fact finds all who hear of it."""
    worlds = [await idle.world() for _ in range(3)]
    for nth, world in enumerate(worlds):
        doctor, pharmacist = await world.doctor(), await world.pharmacist()
        regulator, cpts = await world.regulator(), await world.organization("cpts")
        member = await world.pharmacist(cpts_ids=[cpts])
        for caller in (doctor, pharmacist, regulator, member, await world.manager()):
            await subscribed(caller, f"http://127.0.0.1:1/{nth}")
        slots = await slots_of(doctor, 3, capacity=2)
        await doctor.publish(soon(8), visibility=["CPTS"], cpts_ids=[str(cpts)])
        hidden = await doctor.publish(soon(9), visibility=["SNP"])
        booking = await booked(pharmacist, slots[0])
        await moved(pharmacist, booking, slots[1])
        await cancelled(pharmacist, booking)
        await booked(regulator, hidden)
        call = {"line": "116117", "received_at": soon(-1).isoformat()}
        assert (await regulator.post("/v1/calls", call)).status_code == 201
        narrowed = await doctor.patch(
            f"/v1/slots/{slots[2]['id']}", {"visibility": ["SNP"]}, if_match="*"
        )
        assert narrowed.status_code == 200, narrowed.text
    await fan(idle.database)
    async with idle.database.unit_of_work() as uow:
        facts = await stream.read_after(uow, stream.BEGINNING, 10_000)
        now = await standing(uow, {i for fact in facts for i in fact.slot_ids})
        endpoints = await repository.enabled(uow)
    assert len(endpoints) == 15
    reach, heard, near = Reach(endpoints), 0, 0
    for fact in facts:
        found = {endpoint.id for endpoint in reach.near(fact, now)}
        hearers = {endpoint.id for endpoint in endpoints if any(endpoint.told(fact, now))}
        assert hearers <= found, fact.type
        heard, near = heard + len(hearers), near + len(found)
    assert heard > 60
    assert near < len(facts) * len(endpoints) / 2


async def test_an_endpoint_that_was_deleted_leaves_nothing(idle: Broker) -> None:
    world = await idle.world()
    doctor, pharmacist = await world.doctor(), await world.pharmacist()
    async with receiving() as receiver:
        endpoint = await subscribed(doctor, receiver.url)
        kept = await subscribed(doctor, receiver.url)
        [slot] = await slots_of(doctor, 1)
        await booked(pharmacist, slot)
        await fan(idle.database)
        gone = await doctor.delete(f"/v1/webhook-endpoints/{endpoint['id']}")
        assert gone.status_code == 204
        assert (await doctor.get(f"/v1/webhook-endpoints/{endpoint['id']}")).status_code == 404
        await drain(idle.database, endpoint)
        await drain(idle.database, kept)
        there = len(await deliveries(doctor, kept))
        assert len(receiver.received) == there > 0
        assert await usecases.clear(idle.database, 30) == there
        await idle.clock.shift(timedelta(days=31))
        assert await usecases.clear(idle.database, 30) == there
        await idle.clock.shift(timedelta(0))
    async with idle.database.unit_of_work() as uow:
        assert await repository.find(uow, UUID(endpoint["id"])) is None
        assert [one.id for one in await repository.enabled(uow)] == [UUID(kept["id"])]


_OF_A_MONTH = """
INSERT INTO webhook_deliveries
       (id, endpoint_id, event_id, position, type, subject_id, state, created_at)
SELECT gen_random_uuid(), $1, gen_random_uuid(), n, 'slot.changed', gen_random_uuid(), 'delivered',
       snp_now() - interval '29 days' + n * interval '1 minute'
FROM generate_series(1, 30000) AS n
"""


async def test_what_is_still_listed_is_not_read_each_hour_to_find_what_is_not(
    idle: Broker, database_urls: DatabaseUrls
) -> None:
    doctor = await (await idle.world()).doctor()
    endpoint = await subscribed(doctor, "http://127.0.0.1:1/")
    owner = await asyncpg.connect(database_urls.owner)
    await owner.execute(_OF_A_MONTH, UUID(endpoint["id"]))
    await owner.execute("VACUUM (ANALYZE) webhook_deliveries")
    for statement in repository._CLEARABLE:
        asked = statement.params({"days": 30, "limit": 1000})
        assert await rows_read(owner, asked, "webhook_deliveries") < 10_000
    await owner.close()


_OF_ONE_WHO_WAS_AWAY = """
INSERT INTO webhook_deliveries
       (id, endpoint_id, event_id, position, type, subject_id, state, next_attempt_at)
SELECT gen_random_uuid(), $1, gen_random_uuid(), n, 'slot.changed', gen_random_uuid(), $2,
       CASE WHEN $2 = 'pending' THEN snp_now() END
FROM generate_series(1, 3000) AS n
"""
_LOOKED_AT = text(
    "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables"
    " WHERE relname = 'webhook_deliveries'"
)


async def test_a_receiver_that_is_away_costs_no_more_the_more_waits_for_it(
    idle: Broker, database_urls: DatabaseUrls
) -> None:
    """Also while statistics are those of a day on which nothing waited."""
    doctor = await (await idle.world()).doctor()
    endpoint_id = UUID((await subscribed(doctor, "http://127.0.0.1:1/"))["id"])
    owner = await asyncpg.connect(database_urls.owner)
    await owner.execute(_OF_ONE_WHO_WAS_AWAY, endpoint_id, "delivered")
    await owner.execute("ANALYZE webhook_deliveries")
    await owner.execute(_OF_ONE_WHO_WAS_AWAY, endpoint_id, "pending")
    await owner.close()
    async with idle.database.unit_of_work() as uow:

        async def looked_at() -> int:
            return int((await uow.execute(_LOOKED_AT)).scalar_one())

        due = await repository.due(uow, endpoint_id, 10)
        done = [repository.Outcome(one.id, DeliveryState.DELIVERED, None, 204, None) for one in due]
        fact = new_id()
        new = repository.NewDelivery(fact, endpoint_id, fact, 1, "slot.changed", fact)
        subjects = [(one.endpoint_id, one.subject_id) for one in due]
        works: dict[str, Callable[[], Awaitable[object]]] = {
            "tell": partial(repository.tell, uow, [new]),
            "settle": partial(repository.settle, uow, done),
            "release": partial(repository.release, uow, subjects),
            "with_due": partial(repository.with_due, uow),
            "lag": partial(repository.lag, uow),
        }
        for name, work in works.items():
            before = await looked_at()
            await work()
            assert await looked_at() - before < 100, name
        assert len(due) == 10


async def test_the_operator_lets_what_was_given_up_be_tried_again(idle: Broker) -> None:
    world = await idle.world()
    doctor, pharmacist = await world.doctor(), await world.pharmacist()
    async with receiving(usual=Answer(500)) as receiver:
        endpoint = await subscribed(doctor, receiver.url, events=["booking.created"])
        for slot in await slots_of(doctor, 3):
            await booked(pharmacist, slot)
        await fan(idle.database)
        await drain(idle.database, endpoint)
        receiver.usual = Answer(204)
        await drain(idle.database, endpoint)
        assert len(receiver.received) == 3
        other = UUID(int=1)
        assert await tasks.retry(idle.database, other, None) == 0
        assert await tasks.retry(idle.database, UUID(endpoint["id"]), None) == 3
        await drain(idle.database, endpoint)
        assert {one["state"] for one in await deliveries(doctor, endpoint)} == {"delivered"}
        assert await tasks.retry(idle.database, None, None) == 0


async def test_the_operator_reads_along(idle: Broker) -> None:
    world = await idle.world()
    doctor = await world.doctor()
    slots = await slots_of(doctor, 2)
    await fan(idle.database)
    seen = [fact async for fact in stream_tasks.tail(idle.database, after=0, follow=False)]
    assert [str(f.subject_id) for f in seen if f.type == "slot.published"] == [
        slot["id"] for slot in slots
    ]
    assert [f async for f in stream_tasks.tail(idle.database, follow=False)] == []
    following = stream_tasks.tail(idle.database, after=seen[-1].position)
    waiting = asyncio.ensure_future(anext(following))
    [slot] = [await doctor.publish()]
    await fan(idle.database)
    assert str((await waiting).subject_id) == slot["id"]


@pytest.mark.parametrize("enabled", [True, False])
async def test_health_tells_of_what_waits_and_blames_no_receiver(
    idle: Broker,
    enabled: bool,
) -> None:
    world = await idle.world()
    doctor = await world.doctor()
    endpoint = await subscribed(doctor, "http://127.0.0.1:1/")
    await doctor.post(f"/v1/webhook-endpoints/{endpoint['id']}/test")
    if not enabled:
        off = await doctor.patch(
            f"/v1/webhook-endpoints/{endpoint['id']}", {"enabled": False}, if_match="*"
        )
        assert off.json()["disabled_reason"] == "by-owner"
    await idle.clock.shift(timedelta(minutes=2))
    ready = await idle.http.get("/health/ready")
    assert ready.status_code == 200
    waited = ready.json()["checks"]["webhooks"]
    assert waited.startswith("oldest due delivery: 12" if enabled else "oldest due delivery: 0 s")


async def test_many_ask_for_the_same_job_at_once_and_there_is_one(
    idle: Broker, database_urls: DatabaseUrls
) -> None:
    job = usecases.drain_job(UUID(int=1))

    async def ask() -> None:
        async with idle.database.unit_of_work() as uow:
            await jobs.defer(uow, [job])

    await asyncio.gather(*(ask() for _ in range(30)))
    connection = await asyncpg.connect(database_urls.owner)
    assert await connection.fetchval("SELECT count(*) FROM procrastinate_jobs") == 1
    await connection.close()


async def test_a_thousand_jobs_take_some_locks(idle: Broker) -> None:
    """The table of locks is one for all, bookings too: at most a few of it for any burst."""
    many = [
        jobs.Job("messages", "messages:send", {"n": n}, queueing_lock=f"message {n}")
        for n in range(1000)
    ]
    async with idle.database.unit_of_work() as uow:
        await jobs.defer(uow, many)
        held = await uow.execute(
            text(
                "SELECT count(*) FROM pg_locks"
                " WHERE locktype = 'advisory' AND pid = pg_backend_pid()"
            )
        )
        assert 0 < held.scalar_one() <= 64
        waiting = await uow.execute(text("SELECT count(*) FROM procrastinate_jobs"))
        assert waiting.scalar_one() == 1000


def test_the_description_of_the_api_tells_of_every_message() -> None:
    document = json.loads(description())
    assert set(document["webhooks"]) == set(stream.TYPES)
    for path in document["webhooks"].values():
        assert set(path["post"]["responses"]) == {"204", "410", "default"}
