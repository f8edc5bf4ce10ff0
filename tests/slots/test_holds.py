"""A seat kept while the caller is on the line."""

import asyncio
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from service.identity import Role
from service.kernel import events
from service.kernel.ids import new_id
from tests.conftest import Clock
from tests.support import Caller, World, problem, soon

Body = dict[str, Any]


async def _hold(caller: Caller, slot: Body, seconds: int | None = None) -> Body:
    asked = None if seconds is None else {"seconds": seconds}
    answer = await caller.post(f"/v1/slots/{slot['id']}/holds", asked)
    assert answer.status_code == 201, answer.text
    body: Body = answer.json()
    return body


async def _remaining(doctor: Caller, slot: Body) -> int:
    remaining: int = (await doctor.get(f"/v1/slots/{slot['id']}")).json()["remaining"]
    return remaining


async def test_a_hold_lasts_three_minutes_unless_said(world: World) -> None:
    doctor, regulator = await world.doctor(), await world.regulator()
    slot = await doctor.publish()
    hold = await _hold(regulator, slot)
    assert hold["slot_id"] == slot["id"]
    left = datetime.fromisoformat(hold["expires_at"]) - datetime.now().astimezone()
    assert timedelta(seconds=170) < left <= timedelta(seconds=180)
    assert hold["expires_at"][-6:] == slot["starts_at"][-6:]  # in the territory's zone
    read = (await doctor.get(f"/v1/slots/{slot['id']}")).json()
    assert (read["state"], read["remaining"], read["held"], read["version"]) == ("full", 0, 1, 1)


async def test_a_hold_and_its_end_are_told(world: World) -> None:
    doctor, regulator = await world.doctor(), await world.regulator()
    slot = await doctor.publish()
    hold = await _hold(regulator, slot)
    await regulator.delete(f"/v1/holds/{hold['id']}")
    async with world.database.unit_of_work() as uow:
        told = await events.history(uow, UUID(slot["id"]))
    assert [event.type for event in told] == ["slot.published", "hold.placed", "hold.released"]
    assert {event.data["hold_id"] for event in told[1:]} == {hold["id"]}
    assert {event.organization_id for event in told[1:]} == {regulator.organization_id}


@pytest.mark.parametrize("seconds", [0, -1, 601, 1.5, "abc", None])
async def test_a_hold_lasts_from_one_second_to_ten_minutes(world: World, seconds: Any) -> None:
    doctor, regulator = await world.doctor(), await world.regulator()
    slot = await doctor.publish()
    answer = await regulator.post(f"/v1/slots/{slot['id']}/holds", {"seconds": seconds})
    body = problem(answer, 422, "invalid")
    assert [error["pointer"] for error in body["errors"]] == ["#/seconds"]


async def test_a_hold_expires_by_itself(world: World, clock: Clock) -> None:
    doctor, regulator, pharmacist = (
        await world.doctor(), await world.regulator(), await world.pharmacist(),
    )  # fmt: skip
    slot = await doctor.publish(visibility=["PRO"])
    hold = await _hold(regulator, slot, 600)
    await clock.shift(timedelta(seconds=540))
    answer = await pharmacist.post(f"/v1/slots/{slot['id']}/holds")
    problem(answer, 409, "slot-held")
    await clock.shift(timedelta(seconds=601))
    assert await _remaining(doctor, slot) == 1
    problem(await regulator.delete(f"/v1/holds/{hold['id']}"), 404, "hold-not-found")
    await _hold(pharmacist, slot)
    assert await _remaining(doctor, slot) == 0


async def test_a_hold_given_back_frees_the_seat_once(world: World) -> None:
    doctor, regulator = await world.doctor(), await world.regulator()
    slot = await doctor.publish(capacity=2)
    hold, _ = await _hold(regulator, slot), await _hold(regulator, slot)
    answers = await asyncio.gather(*(regulator.delete(f"/v1/holds/{hold['id']}") for _ in range(5)))
    assert sorted(answer.status_code for answer in answers) == [204, 404, 404, 404, 404]
    assert await _remaining(doctor, slot) == 1


async def test_a_colleague_of_the_organization_gives_a_hold_back(world: World) -> None:
    doctor, regulator, osnp = (
        await world.doctor(), await world.regulator(), await world.regulation(Role.OSNP),
    )  # fmt: skip
    hold = await _hold(regulator, await doctor.publish())
    assert (await osnp.delete(f"/v1/holds/{hold['id']}")).status_code == 204


async def test_the_hold_of_another_organization_is_an_unknown_one(world: World) -> None:
    doctor, regulator, pharmacist = (
        await world.doctor(), await world.regulator(), await world.pharmacist(),
    )  # fmt: skip
    slot = await doctor.publish(visibility=["PRO"])
    hold = await _hold(regulator, slot)
    for stranger in (pharmacist, doctor):
        foreign, unknown = [
            problem(await stranger.delete(f"/v1/holds/{hold_id}"), 404, "hold-not-found")
            for hold_id in (hold["id"], new_id())
        ]
        assert {**foreign, "request_id": ""} == {**unknown, "request_id": ""}
    assert await _remaining(doctor, slot) == 0


async def test_what_cannot_be_held_says_why(world: World, clock: Clock) -> None:
    doctor, regulator = await world.doctor(), await world.regulator()
    started, walk_in, withdrawn, full = [
        await doctor.publish(soon(n), walk_in=n == 5) for n in (1, 5, 6, 7)
    ]
    await doctor.delete(f"/v1/slots/{withdrawn['id']}", if_match="*")
    await clock.shift(timedelta(hours=2))
    await _hold(regulator, full)
    for slot, code in (
        (started, "already-started"),
        (walk_in, "walk-in"),
        (withdrawn, "slot-withdrawn"),
        (full, "slot-held"),
    ):
        problem(await regulator.post(f"/v1/slots/{slot['id']}/holds"), 409, code)


async def test_twenty_rivals_for_two_seats_get_two_holds(world: World) -> None:
    doctor = await world.doctor()
    slot = await doctor.publish(capacity=2, visibility=["PRO"])
    rivals = [await world.pharmacist() for _ in range(20)]
    answers = await asyncio.gather(
        *(rival.post(f"/v1/slots/{slot['id']}/holds") for rival in rivals)
    )
    assert sorted(answer.status_code for answer in answers) == [201] * 2 + [409] * 18
    assert {answer.json()["code"] for answer in answers if answer.status_code == 409} == {
        "slot-held"
    }
    read = (await doctor.get(f"/v1/slots/{slot['id']}")).json()
    assert (read["held"], read["remaining"]) == (2, 0)


async def test_rivals_for_many_slots_at_once_take_each_seat_once(world: World) -> None:
    doctor = await world.doctor()
    slots = [await doctor.publish(soon(2, 20 * n), visibility=["PRO"]) for n in range(8)]
    rivals = [await world.pharmacist() for _ in range(5)]
    answers = await asyncio.gather(
        *(r.post(f"/v1/slots/{s['id']}/holds") for r in rivals for s in slots)
    )
    taken = [a.json()["slot_id"] for a in answers if a.status_code == 201]
    assert sorted(taken) == sorted(slot["id"] for slot in slots)
    assert {a.status_code for a in answers} == {201, 409}


async def test_an_organization_holds_twenty_seats_and_no_more(world: World, clock: Clock) -> None:
    doctor, regulator = await world.doctor(), await world.regulator()
    colleagues = [regulator, await world.regulation(Role.OSNP), await world.regulation(Role.ARM)]
    slots = [await doctor.publish(soon(2, 20 * n), capacity=10) for n in range(5)]
    tries = [(colleagues[n % 3], slots[n % 5]) for n in range(40)]
    answers = await asyncio.gather(
        *(caller.post(f"/v1/slots/{slot['id']}/holds") for caller, slot in tries)
    )
    assert sorted(answer.status_code for answer in answers) == [201] * 20 + [429] * 20
    for answer in answers:
        if answer.status_code == 429:
            problem(answer, 429, "too-many-holds")
            assert int(answer.headers["Retry-After"]) > 0
    held = [(await doctor.get(f"/v1/slots/{slot['id']}")).json()["held"] for slot in slots]
    assert sum(held) == 20

    # One given back makes room for one; expired ones do not count.
    first = next(answer.json()["id"] for answer in answers if answer.status_code == 201)
    assert (await regulator.delete(f"/v1/holds/{first}")).status_code == 204
    await _hold(regulator, slots[0])
    problem(await regulator.post(f"/v1/slots/{slots[0]['id']}/holds"), 429, "too-many-holds")
    await clock.shift(timedelta(seconds=200))
    await _hold(regulator, slots[0])


async def test_holds_that_ended_with_their_slot_do_not_count(world: World) -> None:
    doctor, regulator = await world.doctor(), await world.regulator()
    gone, moved, free = [await doctor.publish(soon(n), capacity=10) for n in (2, 3, 4)]
    for slot in (gone, moved):
        for _ in range(10):
            await _hold(regulator, slot)
    problem(await regulator.post(f"/v1/slots/{free['id']}/holds"), 429, "too-many-holds")
    await doctor.delete(f"/v1/slots/{gone['id']}", if_match="*")
    later = {"starts_at": soon(9).isoformat(), "ends_at": soon(9, 20).isoformat()}
    await doctor.patch(f"/v1/slots/{moved['id']}", later, if_match="*")
    for slot in (free, moved):
        for _ in range(10):
            await _hold(regulator, slot)


async def test_the_limit_of_one_organization_is_no_limit_of_another(world: World) -> None:
    doctor, regulator, pharmacist = (
        await world.doctor(), await world.regulator(), await world.pharmacist(),
    )  # fmt: skip
    slot = await doctor.publish(capacity=30, visibility=["PRO"])
    for _ in range(20):
        await _hold(regulator, slot)
    await _hold(pharmacist, slot)


async def test_holds_and_the_withdrawal_of_their_slot_cross_without_a_trace(world: World) -> None:
    doctor = await world.doctor()
    slot = await doctor.publish(capacity=20, visibility=["PRO"])
    rivals = [await world.pharmacist() for _ in range(10)]
    withdrawn, *answers = await asyncio.gather(
        doctor.delete(f"/v1/slots/{slot['id']}", if_match="*"),
        *(rival.post(f"/v1/slots/{slot['id']}/holds") for rival in rivals),
    )
    assert withdrawn.status_code == 204
    assert {answer.status_code for answer in answers} <= {201, 409}
    assert (await doctor.get(f"/v1/slots/{slot['id']}")).json()["held"] == 0
    for rival, answer in zip(rivals, answers, strict=True):
        if answer.status_code == 201:  # it came first, and ended with the slot
            gone = await rival.delete(f"/v1/holds/{answer.json()['id']}")
            problem(gone, 404, "hold-not-found")
