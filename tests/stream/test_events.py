"""`GET /v1/events` of a real server, with a real worker: who hears what, once, and from where."""

import asyncio
import random
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

import pytest

from service.stream.domain import TYPES
from tests.bookings.test_book import request
from tests.stream.following import Event, at_least, following
from tests.support import Caller, World, problem, soon

pytestmark = pytest.mark.usefixtures("worker")
PAGES = {"Accept": "application/json"}


async def pages(caller: Caller, after: str | None = None, **query: str) -> list[dict[str, Any]]:
    """Read all pages after an event."""
    found: list[dict[str, Any]] = []
    while True:
        params = query if after is None else {**query, "cursor": after}
        answer = await caller.get("/v1/events", headers=PAGES, params=params)
        assert answer.status_code == 200, answer.text
        found += answer.json()["items"]
        after = answer.json()["next_cursor"]
        if after is None:
            return found


async def place(caller: Caller) -> str:
    """Return how far the stream is."""
    answer = await caller.get("/v1/events", headers=PAGES, params={"limit": "1"})
    while answer.json()["next_cursor"]:
        query = {"limit": "200", "cursor": answer.json()["next_cursor"]}
        answer = await caller.get("/v1/events", headers=PAGES, params=query)
    last: str = answer.json()["last_event_id"]
    return last


def types(events: list[Event]) -> list[str]:
    """Return the types of some events."""
    return [event.type for event in events]


async def test_each_hears_what_is_theirs_to_know(world: World, base_url: str) -> None:
    doctor, pharmacist = await world.doctor(), await world.pharmacist()
    other, regulator = await world.pharmacist(), await world.regulator()
    async with (
        following(doctor, base_url) as of_doctor,
        following(regulator, base_url) as of_regulator,
        following(pharmacist, base_url) as of_pharmacist,
        following(other, base_url) as of_other,
    ):
        hidden = await doctor.publish(soon(3))
        slot = await doctor.publish(soon(4), visibility=["PRO"], capacity=2)
        booking = (await pharmacist.post("/v1/bookings", request(slot))).json()["id"]
        # Before the slot is hidden: its room is told to who sees it when it is told.
        await of_other.until(lambda f: "slot.changed" in types(f.of(slot["id"])))
        path = f"/v1/slots/{slot['id']}"
        version = (await doctor.get(path)).json()["version"]
        narrowed = await doctor.patch(path, {"visibility": ["SNP"]}, if_match=version)
        assert narrowed.status_code == 200, narrowed.text
        for hears in (of_doctor, of_regulator):
            await hears.until(lambda f: "slot.amended" in types(f.of(slot["id"])))
        for hears in (of_pharmacist, of_other):
            await hears.until(lambda f: "slot.withdrawn" in types(f.of(slot["id"])))

    mine, both = (hidden["id"], slot["id"], booking), ["slot.published", "slot.published"]
    assert types(of_doctor.of(*mine)) == [*both, "booking.created", "slot.amended"]
    assert types(of_regulator.of(*mine)) == [*both, "slot.changed", "slot.amended"]
    told = of_pharmacist.of(*mine)
    assert types(told) == ["slot.published", "booking.created", "slot.withdrawn"]
    told = of_other.of(*mine)
    assert types(told) == ["slot.published", "slot.changed", "slot.withdrawn"]
    assert told[1].told["data"] == {"slot_id": slot["id"], "state": "open", "remaining": 1}
    assert hidden["id"] not in str([event.told for event in of_pharmacist.events])


async def test_a_page_tells_what_a_stream_tells(world: World, base_url: str) -> None:
    doctor, regulator = await world.doctor(), await world.regulator()
    begin = await place(regulator)
    slots = [await doctor.publish(soon(hour)) for hour in (3, 4)]
    made = await regulator.post("/v1/bookings", request(slots[0]))
    path = f"/v1/bookings/{made.json()['id']}/rescheduling"
    assert (await regulator.post(path, {"slot_id": slots[1]["id"]})).status_code == 200
    manager = await world.manager()
    for caller, count in ((regulator, 4), (manager, 3)):
        async with following(caller, base_url, begin) as hears:
            await hears.until(at_least(count))
        told = await pages(caller, begin)
        assert [{"id": event.id, **event.told} for event in hears.events] == told
        for limit in ("1", "2", "3"):
            assert await pages(caller, begin, limit=limit) == told
        occurred = datetime.fromisoformat(told[0]["occurred_at"])
        assert occurred.utcoffset() == timedelta(0)


async def test_a_fact_about_two_slots_is_resumed_between_them(world: World, base_url: str) -> None:
    doctor, regulator, manager = (
        await world.doctor(), await world.regulator(), await world.manager(),
    )  # fmt: skip
    begin = await place(manager)
    slots = [await doctor.publish(soon(hour)) for hour in (3, 4)]
    made = await regulator.post("/v1/bookings", request(slots[0]))
    path = f"/v1/bookings/{made.json()['id']}/rescheduling"
    assert (await regulator.post(path, {"slot_id": slots[1]["id"]})).status_code == 200
    async with following(manager, base_url, begin) as hears:
        await hears.until(lambda f: len(f.events) == 3)
    booked, first, second = hears.events
    assert first.id == f"{second.id}.1"
    for after, told in ((booked, [first, second]), (first, [second]), (second, [])):
        async with following(manager, base_url, after.id) as hears:
            await hears.until(at_least(len(told)))
        assert hears.events == told
        assert [one["id"] for one in await pages(manager, after.id)] == [one.id for one in told]


async def _cut_off(
    caller: Caller, url: str, begin: str, chance: random.Random, over: asyncio.Event
) -> list[Event]:
    """Be cut off wherever it happens to be, also between events that share a fact; and go on."""
    heard: list[Event] = []
    last: str | None = begin
    while not over.is_set():
        async with following(caller, url, last) as hears:
            enough = chance.randint(0, 8)
            with suppress(TimeoutError):
                async with asyncio.timeout(chance.random() * 0.5):
                    await hears.until(at_least(enough + 1))
            kept = hears.events[:enough]
        heard += kept
        if len(kept) == len(hears.events):
            last = hears.last_id
        elif kept:
            last = kept[-1].id
    end = (await pages(caller, begin))[-1]["id"]
    async with following(caller, url, last) as hears:
        await hears.until(lambda f: end in [event.id for event in heard + f.events])
    return heard + hears.events


async def test_who_is_cut_off_again_and_again_gets_everything_once(
    world: World, base_url: str
) -> None:
    chance, over = random.Random(5), asyncio.Event()
    doctor, pharmacist = await world.doctor(), await world.pharmacist()
    listeners = (doctor, pharmacist, await world.manager())
    slots = [await doctor.publish(soon(3 + n), visibility=["PRO"], capacity=9) for n in range(4)]
    begin = await place(doctor)

    async def book() -> None:
        for _ in range(11):
            first, second = chance.sample(slots, 2)
            made = await pharmacist.post("/v1/bookings", request(first))
            assert made.status_code == 201, made.text
            path = f"/v1/bookings/{made.json()['id']}"
            await pharmacist.post(f"{path}/rescheduling", {"slot_id": second["id"]})
            await pharmacist.post(f"{path}/cancellation", {"by": "patient"})

    listening = [
        asyncio.create_task(_cut_off(who, base_url, begin, chance, over)) for who in listeners
    ]
    await asyncio.gather(*(book() for _ in range(3)))
    last = await doctor.publish(soon(30), visibility=["PRO"])
    async with following(doctor, base_url, begin) as numbered:
        await numbered.until(lambda f: f.of(last["id"]))
    over.set()
    for caller, told in zip(listeners, listening, strict=True):
        heard = [event.id for event in await told]
        everything = [one["id"] for one in await pages(caller, begin)]
        assert len(everything) >= 66
        assert heard == everything


async def test_only_the_types_that_are_asked_for(world: World, base_url: str) -> None:
    doctor = await world.doctor()
    begin = await place(doctor)
    async with following(doctor, base_url, types="slot.withdrawn, hold.placed") as hears:
        slot = await doctor.publish(soon(3))
        await doctor.delete(f"/v1/slots/{slot['id']}", if_match=1)
        await hears.until(lambda f: f.events)
    assert types(hears.events) == ["slot.withdrawn"]
    told = await pages(doctor, begin, types="slot.withdrawn")
    assert [one["type"] for one in told] == ["slot.withdrawn"]


async def test_nonsense_is_refused_before_anything_is_sent(world: World) -> None:
    doctor = await world.doctor()
    for sent in ("x", "-1", "1.2.3", "17.0", "1" * 19, "٣"):
        answer = await doctor.get("/v1/events", headers=PAGES, params={"last_event_id": sent})
        problem(answer, 400, "event-id-invalid")
    refused = await doctor.get("/v1/events", headers=PAGES, params={"types": "slot.published,x"})
    wrong = problem(refused, 422, "event-types-unknown")["errors"][0]["detail"]
    assert all(name in wrong for name in TYPES)


async def test_who_missed_what_is_no_longer_kept_hears_so(world: World, base_url: str) -> None:
    """An id of the future is one of another database: before it was restored."""
    doctor = await world.doctor()
    begin = await place(doctor)
    async with following(doctor, base_url, "999999999999") as hears:
        await hears.until(lambda f: f.events)
        slot = await doctor.publish(soon(3))
        await hears.until(lambda f: f.of(slot["id"]))
    reset, published = hears.events[0], hears.events[-1]
    assert (reset.type, reset.told["subject_id"], reset.told["data"]) == ("reset", None, {})
    assert published.type == "slot.published"
    (item,) = await pages(doctor, "999999999999")
    assert item["type"] == "reset"
    assert float(item["id"]) >= float(begin)
