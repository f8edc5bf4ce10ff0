"""The release of a session: each of its slots has it, at its own instant, also on DST nights."""

from datetime import UTC, date, datetime, timedelta

import pytest

from service import agenda as room
from service import slots as slots_room
from tests.agenda.support import (
    Body,
    agenda,
    amended,
    at,
    in_days,
    made,
    read,
    session,
    weekly,
)
from tests.bookings.test_book import booked
from tests.conftest import Clock
from tests.slots.test_release import MICROSECOND, before, told
from tests.support import Caller, World, problem

PUBLIC = [{"minutes_before": 60, "to": "PUBLIC"}]
GIVE_BACK = [{"minutes_before": 60, "to": "GIVE_BACK"}]
PATH = "/v1/slot-sessions"


async def _slot(doctor: Caller, slot_id: str) -> Body:
    found: Body = (await doctor.get(f"/v1/slots/{slot_id}")).json()
    return found


@pytest.mark.parametrize("night", [date(2026, 10, 25), date(2027, 3, 28)])
async def test_each_slot_opens_an_hour_before_it_starts_on_nights_that_clocks_change(
    world: World, clock: Clock, night: date
) -> None:
    """The clocks change at 1:00 UTC; an hour is sixty minutes that pass, told once, in time."""
    await clock.stop(at(night - timedelta(days=7), 12))
    doctor, pharmacist = await world.doctor(), await world.pharmacist()
    hours = {"start": "23:00", "end": "06:00", "slot_minutes": 60}
    body = session(doctor, night - timedelta(days=1), release=PUBLIC, **hours)
    found = await made(doctor, body)
    assert found["release"] == PUBLIC
    slots = [await _slot(doctor, slot_id) for slot_id in found["slots"]]
    starts = [datetime.fromisoformat(slot["starts_at"]).astimezone(UTC) for slot in slots]
    assert starts == sorted(set(starts))
    assert at(night, 4) - at(night, 1) != timedelta(hours=3)  # it is such a night
    assert {at(night, 1), at(night, 4)} <= set(starts)
    for slot, start in zip(slots, starts, strict=True):
        path, instant = f"/v1/slots/{slot['id']}", start - timedelta(seconds=3600)
        await clock.stop(instant - MICROSECOND)
        await slots_room.settle(world.database)
        problem(await pharmacist.get(path), 404, "slot-not-found")
        await clock.stop(instant)
        assert (await pharmacist.get(path)).status_code == 200
    await clock.stop(starts[-1] - timedelta(minutes=30))
    last = slots[-1]
    await slots_room.settle(world.database)
    [event] = await told(world.database, last, "slot.released")
    assert datetime.fromisoformat(event.data["released_at"]) == before(last)


async def test_amending_a_session_amends_the_release_of_its_free_slots(
    world: World, clock: Clock
) -> None:
    doctor, regulator = await world.doctor(), await world.regulator()
    found = await made(doctor, weekly(doctor, in_days(1)))
    taken, held, free = found["slots"][:3]
    await booked(regulator, await _slot(regulator, taken))
    assert (await regulator.post(f"/v1/slots/{held}/holds")).status_code == 201
    steps = [{"minutes_before": 90, "to": "PRO"}, *PUBLIC]
    after = await amended(doctor, found, release=steps)
    assert (after["release"], after["changes"]["amended"]) == (steps, 23)
    assert [(await _slot(doctor, s))["release"] for s in (taken, held, free)] == [[], steps, steps]
    assert (await _slot(doctor, held))["held"] == 1

    slot = await _slot(doctor, free)
    await clock.stop(before(slot, 60))
    await slots_room.settle(world.database)
    assert len(await told(world.database, slot, "slot.released")) == 2
    assert (await _slot(doctor, free))["effective_visibility"] == ["SNP", "PRO", "PUBLIC"]
    undone = await amended(doctor, after, release=None)
    assert undone["release"] == []
    assert (await _slot(doctor, free))["effective_visibility"] == ["SNP"]
    event = (await told(world.database, slot, "slot.amended"))[-1]
    assert event.audience_before["visibility"] == ["SNP", "PRO", "PUBLIC"]
    assert event.audience_after["visibility"] == ["SNP"]
    rest = (await doctor.get(f"{PATH}/{found['id']}")).json()["slots"]
    assert [(await _slot(doctor, slot_id))["release"] for slot_id in rest[-3:]] == [[], [], []]


async def test_what_was_given_back_is_not_filled_again(world: World, clock: Clock) -> None:
    doctor = await world.doctor()
    day = in_days(1)
    found = await made(doctor, weekly(doctor, day, release=GIVE_BACK))
    first = await _slot(doctor, found["slots"][0])
    await clock.stop(before(first))
    await slots_room.settle(world.database)
    assert (await _slot(doctor, first["id"]))["state"] == "withdrawn"
    await clock.stop(before(first) + timedelta(minutes=1))
    noted = await amended(doctor, await read(doctor, found), note="Salle 3")
    assert (noted["changes"]["created"], noted["changes"]["withdrawn"]) == (0, 0)
    await room.extend(world.database)
    assert first["starts_at"] not in [slot["starts_at"] for slot in await agenda(doctor)]
    # Who takes the rule away, wants the time to be offered.
    undone = await amended(doctor, noted, release=None)
    assert undone["changes"]["created"] == 1
    assert first["starts_at"] in [slot["starts_at"] for slot in await agenda(doctor)]


async def test_a_held_slot_that_is_given_back_outlives_an_amendment(
    world: World, clock: Clock
) -> None:
    doctor, regulator = await world.doctor(), await world.regulator()
    found = await made(doctor, session(doctor, in_days(1), release=GIVE_BACK))
    slot = await _slot(doctor, found["slots"][0])
    await clock.stop(before(slot) - timedelta(seconds=60))
    hold = (await regulator.post(f"/v1/slots/{slot['id']}/holds")).json()
    await clock.stop(before(slot))
    after = await amended(doctor, found, note="Salle 3")
    assert after["changes"]["withdrawn"] == 0
    await booked(regulator, slot, hold_id=hold["id"])
    await slots_room.settle(world.database)
    assert (await _slot(doctor, slot["id"]))["state"] == "full"


async def test_a_step_that_is_past_already_gives_back_what_is_amended(
    world: World, clock: Clock
) -> None:
    doctor = await world.doctor()
    found = await made(doctor, session(doctor, in_days(1)))
    first, second, third = [await _slot(doctor, slot_id) for slot_id in found["slots"]]
    await clock.stop(before(second, 60))
    await amended(doctor, found, release=GIVE_BACK)
    await slots_room.settle(world.database)
    states = [(await _slot(doctor, s["id"]))["state"] for s in (first, second, third)]
    assert states == ["withdrawn", "withdrawn", "open"]
    for slot in (first, second):
        [event] = await told(world.database, slot, "slot.withdrawn")
        assert event.data["reason"] == "given_back"


async def test_a_session_that_is_given_back_already_is_refused(world: World, clock: Clock) -> None:
    doctor, day = await world.doctor(), in_days(1)
    await clock.stop(at(day, 13, 50))
    answer = await doctor.post(PATH, session(doctor, day, release=GIVE_BACK))
    refused = problem(answer, 422, "session-invalid")
    assert [error["code"] for error in refused["errors"]] == ["session-empty"]
    nearer = await made(
        doctor, session(doctor, day, release=[{"minutes_before": 10, "to": "GIVE_BACK"}])
    )
    assert len(nearer["slots"]) == 2  # the first one starts in ten minutes


async def test_a_session_says_what_is_wrong_with_its_release(world: World) -> None:
    doctor = await world.doctor()
    body = session(doctor, in_days(1), visibility=["PUBLIC"], release=PUBLIC)
    refused = problem(await doctor.post(PATH, body), 422, "session-invalid")
    assert [(e["pointer"], e["code"]) for e in refused["errors"]] == [
        ("#/release/0/to", "release-adds-nothing")
    ]
    found = await made(doctor, {**body, "release": None})
    answer = await doctor.patch(
        f"{PATH}/{found['id']}", {"release": PUBLIC}, if_match=found["version"]
    )
    problem(answer, 422, "session-invalid")
