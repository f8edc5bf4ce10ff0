"""Receivers that refuse, hang, redirect, ask to wait, go away for ever, or for days."""

import asyncio
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from uuid import UUID

from service import stream
from service.kernel.sending import SCHEDULE, Attempt, DeliveryFailure
from service.webhooks import usecases
from tests.support import problem
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
    read,
    slots_of,
    subscribed,
)

BOOKED = ["booking.created"]


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


async def test_a_redirect_is_a_failure_and_leads_nowhere(idle: Broker) -> None:
    world = await idle.world()
    doctor, pharmacist = await world.doctor(), await world.pharmacist()
    async with receiving() as elsewhere, receiving() as receiver:
        receiver.usual = Answer(307, f"location: {elsewhere.url}\r\n")
        endpoint = await subscribed(doctor, receiver.url, events=BOOKED)
        [slot] = await slots_of(doctor, 1)
        await booked(pharmacist, slot)
        await fan(idle.database)
        await drain(idle.database, endpoint)
        [delivery] = await deliveries(doctor, endpoint)
    assert (delivery["state"], delivery["last_status"]) == ("failed", 307)
    assert len(receiver.received) == 1
    assert elsewhere.received == []


async def test_who_comes_back_is_not_flooded(idle: Broker) -> None:
    world = await idle.world()
    doctor, pharmacist = await world.doctor(), await world.pharmacist()
    loop = asyncio.get_running_loop()
    async with receiving() as receiver:
        endpoint = await subscribed(doctor, receiver.url, events=BOOKED)
        for slot in await slots_of(doctor, 12):
            await booked(pharmacist, slot)
        await fan(idle.database)
        started = loop.time()
        await drain(idle.database, endpoint, a_second=4)
        took = loop.time() - started
        assert len(receiver.received) == 12
    assert took >= 1.9  # four at once after the pause, four with them, four a second later


async def test_who_is_gone_is_told_nothing_more(idle: Broker) -> None:
    world = await idle.world()
    doctor, pharmacist = await world.doctor(), await world.pharmacist()
    async with receiving(usual=Answer(410)) as receiver:
        endpoint = await subscribed(doctor, receiver.url, events=BOOKED)
        for slot in await slots_of(doctor, 2):
            await booked(pharmacist, slot)
            await fan(idle.database)
            await drain(idle.database, endpoint)
        now = await read(doctor, endpoint)
        assert (now["enabled"], now["disabled_reason"]) == (False, "gone")
        assert len(receiver.received) == 1
        path = f"/v1/webhook-endpoints/{endpoint['id']}/test"
        assert (
            problem(await doctor.post(path), 409, "webhook-endpoint-disabled")["reason"] == "gone"
        )


async def test_what_an_old_address_answers_is_not_held_against_the_new_one(idle: Broker) -> None:
    """Its owner moves it just while the old address says that it is gone."""
    world = await idle.world()
    doctor, pharmacist = await world.doctor(), await world.pharmacist()
    endpoint = await subscribed(doctor, "http://127.0.0.1:1/old", events=BOOKED)
    [slot] = await slots_of(doctor, 1)
    await booked(pharmacist, slot)
    await fan(idle.database)

    async def move(*_: object) -> Attempt:
        path = f"/v1/webhook-endpoints/{endpoint['id']}"
        answer = await doctor.patch(path, {"url": "http://127.0.0.1:1/new"}, if_match="*")
        assert answer.status_code == 200, answer.text
        return Attempt(410, DeliveryFailure.STATUS)

    await usecases.drain(idle.database, move, UUID(endpoint["id"]), seconds=0.01, a_second=1000)
    now = await read(doctor, endpoint)
    assert (now["enabled"], now["failing_since"]) == (True, None)


async def test_who_asks_to_wait_is_left_alone_so_long(idle: Broker) -> None:
    world = await idle.world()
    doctor, pharmacist = await world.doctor(), await world.pharmacist()
    async with receiving() as receiver:
        receiver.answers.append(Answer(429, "retry-after: 120\r\n"))
        endpoint = await subscribed(doctor, receiver.url, events=BOOKED)
        one, two = await slots_of(doctor, 2)
        await booked(pharmacist, one)
        await fan(idle.database)
        await drain(idle.database, endpoint)
        [delivery] = await deliveries(doctor, endpoint)
        wait = instant(delivery["next_attempt_at"]) - datetime.now(UTC)
        assert timedelta(seconds=100) < wait <= timedelta(seconds=120)
        assert (delivery["state"], delivery["last_status"]) == ("failed", 429)
        await booked(pharmacist, two)
        await fan(idle.database)
        await idle.clock.shift(timedelta(seconds=90))
        await drain(idle.database, endpoint)
        assert len(receiver.received) == 1
        await idle.clock.shift(timedelta(seconds=130))
        await drain(idle.database, endpoint)
    slots = [one.json["data"]["slot_id"] for one in receiver.received]
    assert sorted(slots[1:]) == sorted([one["id"], two["id"]])
    assert slots[0] == one["id"]


async def test_a_receiver_that_hangs_delays_no_other(broker: Broker) -> None:
    world = await broker.world()
    doctor, pharmacist = await world.doctor(), await world.pharmacist()
    async with receiving(usual=Answer(HANG)) as slow, receiving() as quick:
        await subscribed(doctor, slow.url, events=BOOKED)
        endpoint = await subscribed(doctor, quick.url, events=BOOKED)
        for slot in await slots_of(doctor, 12):
            await booked(pharmacist, slot)
        await slow.count(1)
        await quick.count(12)
        found = await delivered(
            doctor, endpoint, lambda all_: {one["state"] for one in all_} == {"delivered"}
        )
        [hanging] = [
            one for one in (await doctor.get("/v1/webhook-endpoints")).json()["items"]
            if one["id"] != endpoint["id"]
        ]  # fmt: skip
        waiting = await deliveries(doctor, hanging)
    assert len(found) == len(waiting) == 12
    assert {one["state"] for one in waiting} == {"pending"}


async def test_each_booking_is_told_in_order_whatever_fails_in_between(idle: Broker) -> None:
    """Every message fails at first: what came later about a booking waits, others do not."""
    world = await idle.world()
    doctor, pharmacist = await world.doctor(), await world.pharmacist()
    tries: dict[str, int] = defaultdict(int)

    def sometimes(one: Received) -> Answer:
        tries[one.id] += 1
        return Answer(204 if tries[one.id] > len(one.json["type"]) % 3 else 500)

    async with receiving(choose=sometimes) as receiver:
        endpoint = await subscribed(
            doctor,
            receiver.url,
            events=["booking.created", "booking.rescheduled", "booking.cancelled"],
        )
        slots = await slots_of(doctor, 12)
        for first, second in zip(slots[:6], slots[6:], strict=True):
            booking = await booked(pharmacist, first)
            await moved(pharmacist, booking, second)
            await fan(idle.database)
            await cancelled(pharmacist, booking)
        await fan(idle.database)
        for hour in range(12):
            await idle.clock.shift(timedelta(hours=hour))
            await drain(idle.database, endpoint)
        states = {one["state"] for one in await deliveries(doctor, endpoint)}
    assert states == {"delivered"}
    arrived: dict[str, list[str]] = defaultdict(list)
    first_tries: dict[str, list[str]] = defaultdict(list)
    seen: dict[str, int] = defaultdict(int)
    for one in receiver.received:
        told = one.json
        seen[one.id] += 1
        if seen[one.id] == 1:
            first_tries[told["data"]["subject_id"]].append(told["type"])
        if seen[one.id] == tries[one.id]:
            arrived[told["data"]["subject_id"]].append(told["type"])
    order = ["booking.created", "booking.rescheduled", "booking.cancelled"]
    assert len(arrived) == 6
    assert all(types == order for types in arrived.values())
    assert all(types == order for types in first_tries.values())
    assert max(tries.values()) > 1
    # Nobody waited for another booking: all were tried before the first was told to its end.
    assert {one.json["type"] for one in receiver.received[:6]} == {"booking.created"}


async def test_what_nothing_arrives_at_for_three_days_is_disabled_and_its_owner_told(
    idle: Broker,
) -> None:
    world = await idle.world()
    doctor, pharmacist = await world.doctor(), await world.pharmacist()
    async with receiving(usual=Answer(500)) as receiver, receiving() as other:
        endpoint = await subscribed(doctor, receiver.url, events=BOOKED)
        told = await subscribed(doctor, other.url, events=["webhook_endpoint.disabled"])
        [slot] = await slots_of(doctor, 1)
        await booked(pharmacist, slot)
        await fan(idle.database)
        after, waits = timedelta(0), []
        await drain(idle.database, endpoint)
        [delivery] = await deliveries(doctor, endpoint)
        while delivery["next_attempt_at"] is not None:
            now = datetime.now(UTC) + after
            waits.append((instant(delivery["next_attempt_at"]) - now).total_seconds())
            after += timedelta(seconds=waits[-1] + 1)
            await idle.clock.shift(after)
            await drain(idle.database, endpoint)
            [delivery] = await deliveries(doctor, endpoint)
            assert len(receiver.received) == len(waits) + 1
        assert (delivery["state"], delivery["attempts"]) == ("abandoned", 10)
        for wait, least in zip(waits, SCHEDULE[1:], strict=True):
            assert least - 10 < wait <= least * 1.2
        now_read = await read(doctor, endpoint)
        assert (now_read["enabled"], now_read["disabled_reason"]) == (False, "unreachable")
        await fan(idle.database)
        await drain(idle.database, told)
        [news] = other.received
        page = await doctor.get("/v1/events", headers={"accept": "application/json"})
        *_, last = page.json()["items"]
        assert (last["type"], last["subject_id"]) == (news.json["type"], endpoint["id"])
    assert news.json["data"] == {
        "subject_id": endpoint["id"],
        "position": news.json["data"]["position"],
        "endpoint_id": endpoint["id"],
        "organization_id": str(doctor.organization_id),
        "reason": "unreachable",
    }


async def test_a_range_is_sent_again_in_order_even_to_who_was_not_there(idle: Broker) -> None:
    world = await idle.world()
    doctor, pharmacist = await world.doctor(), await world.pharmacist()
    began = datetime.now(UTC)
    one, two = await slots_of(doctor, 2)
    booking = await booked(pharmacist, one)
    await moved(pharmacist, booking, two)
    await cancelled(pharmacist, booking)
    await fan(idle.database)
    async with receiving() as receiver:
        endpoint = await subscribed(pharmacist, receiver.url, events=[
            "booking.created", "booking.rescheduled", "booking.cancelled",
        ])  # fmt: skip
        path = f"/v1/webhook-endpoints/{endpoint['id']}"
        asked = {"from": began.isoformat(), "to": (began + timedelta(days=1)).isoformat()}
        order = ["booking.created", "booking.rescheduled", "booking.cancelled"]
        for times in (1, 2):
            answer = await pharmacist.post(f"{path}/replays", asked, key=f"replay-{times}")
            assert answer.status_code == 202, answer.text
            await replayed(idle, UUID(endpoint["id"]), began)
            await drain(idle.database, endpoint)
            assert receiver.types() == order * times
        ids = [received.id for received in receiver.received]
        assert ids[:3] == ids[3:]
        again = await pharmacist.post(f"{path}/deliveries/{ids[1]}/replay")
        assert (again.status_code, again.json()["state"]) == (202, "pending"), again.text
        await drain(idle.database, endpoint)
        assert receiver.received[-1].id == ids[1]
        long = {"from": began.isoformat(), "to": (began + timedelta(days=8)).isoformat()}
        problem(await pharmacist.post(f"{path}/replays", long), 422, "webhook-endpoint-invalid")
        none = await pharmacist.post(f"{path}/deliveries/{endpoint['id']}/replay")
        problem(none, 404, "webhook-delivery-not-found")


async def test_what_follows_what_was_replayed_first_is_sent(idle: Broker) -> None:
    """After a standstill a replay may overtake what makes deliveries of the same facts."""
    world = await idle.world()
    doctor, pharmacist = await world.doctor(), await world.pharmacist()
    began = datetime.now(UTC)
    [slot] = await slots_of(doctor, 1)
    async with receiving() as receiver:
        events = ["booking.created", "booking.cancelled"]
        endpoint = await subscribed(pharmacist, receiver.url, events=events)
        booking = await booked(pharmacist, slot)
        await stream.give_positions(idle.database)
        await replayed(idle, UUID(endpoint["id"]), began)
        await drain(idle.database, endpoint)
        assert receiver.types() == ["booking.created"]
        await cancelled(pharmacist, booking)
        await fan(idle.database)
        await drain(idle.database, endpoint)
        assert receiver.types() == events


async def replayed(broker: Broker, endpoint_id: UUID, since: datetime) -> None:
    """Do what a worker does with a range."""
    async with broker.database.unit_of_work() as uow:
        last = await stream.last_position(uow)
    until = since + timedelta(days=1)
    await usecases.replay_some(broker.database, endpoint_id, 0, last, since, until)
