"""Amending and withdrawing an own slot."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from service.identity import Role
from service.kernel import events
from tests.conftest import Clock
from tests.support import Caller, World, patient, problem, soon

Body = dict[str, Any]


def _path(slot: Body) -> str:
    return f"/v1/slots/{slot['id']}"


async def _told(world: World, slot: Body) -> list[str]:
    async with world.database.unit_of_work() as uow:
        return [event.type for event in await events.history(uow, UUID(slot["id"]))]


async def test_an_amendment_changes_what_it_names_and_nothing_else(world: World) -> None:
    doctor = await world.doctor()
    slot = await doctor.publish(note="before", capacity=2)
    answer = await doctor.patch(_path(slot), {"note": "after"}, if_match=1)
    assert answer.status_code == 200, answer.text
    assert answer.headers["ETag"] == '"2"'
    assert answer.json() == {**slot, "note": "after", "version": 2}
    assert await _told(world, slot) == ["slot.published", "slot.amended"]


async def test_null_removes_what_may_be_absent(world: World) -> None:
    doctor = await world.doctor()
    slot = await doctor.publish(note="before", specialty="SM54")
    answer = await doctor.patch(_path(slot), {"note": None, "specialty": None}, if_match=1)
    assert (answer.json()["note"], answer.json()["specialty"]) == (None, None)


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"starts_at": None}, "#/starts_at"),
        ({"modes": None}, "#/modes"),
        ({"capacity": 0}, "#/capacity"),
        ({"visibility": ["X"]}, "#/visibility/0"),
        ({"practitioner_id": "0190"}, "#/practitioner_id"),
        ({"note": "a\u0000b"}, "#/note"),
        ([], "#"),
    ],
)
async def test_an_amendment_that_breaks_its_shape_is_told_where(
    world: World, changes: Any, pointer: str
) -> None:
    doctor = await world.doctor()
    slot = await doctor.publish()
    body = problem(await doctor.patch(_path(slot), changes, if_match=1), 422, "invalid")
    assert [error["pointer"] for error in body["errors"]] == [pointer]


async def test_a_change_needs_the_version_that_was_read(world: World) -> None:
    doctor = await world.doctor()
    slot = await doctor.publish()
    changes: list[tuple[str, Body | None]] = [("PATCH", {"note": "x"}), ("DELETE", None)]
    for method, body in changes:
        missing = await doctor.request(method, _path(slot), json=body)
        problem(missing, 428, "precondition-required")
        for tag in (2, "garbage", '"99999999999"', 'W/"2"', ""):
            stale = await doctor.request(method, _path(slot), json=body, if_match=tag)
            problem(stale, 412, "version-mismatch")
    answer = await doctor.patch(_path(slot), {"note": "x"}, if_match='"7", W/"1"')
    assert answer.status_code == 200, answer.text


async def test_of_two_who_amend_the_same_version_one_wins(world: World) -> None:
    doctor = await world.doctor()
    slot = await doctor.publish()
    answers = await asyncio.gather(
        *(doctor.patch(_path(slot), {"note": f"{n}"}, if_match=1) for n in range(10))
    )
    assert sorted(answer.status_code for answer in answers) == [200] + [412] * 9
    assert (await doctor.get(_path(slot))).json()["version"] == 2


async def test_moving_a_slot_ends_its_holds(world: World) -> None:
    doctor, regulator = await world.doctor(), await world.regulator()
    slot = await doctor.publish(soon(3))
    held = (await regulator.post(f"{_path(slot)}/holds")).json()
    later = {"starts_at": soon(4).isoformat(), "ends_at": soon(4, 20).isoformat()}
    moved = (await doctor.patch(_path(slot), later, if_match="*")).json()
    assert (moved["held"], moved["remaining"]) == (0, 1)
    problem(await regulator.delete(f"/v1/holds/{held['id']}"), 404, "hold-not-found")


async def test_fewer_seats_beside_a_patient_are_refused_as_what_they_are(world: World) -> None:
    doctor, regulator = await world.doctor(), await world.regulator()
    slot = await doctor.publish(soon(3), capacity=2, external_id="A 1")
    body = {"slot_id": slot["id"], "patient_file": patient()}
    assert (await regulator.post("/v1/bookings", body)).status_code == 201
    fewer = await doctor.patch(_path(slot), {"capacity": 1}, if_match="*")
    again = await doctor.post("/v1/slots", doctor.slot(soon(3), capacity=1, external_id="A 1"))
    moved = await doctor.patch(_path(slot), {"modes": ["VR"]}, if_match="*")
    for answer, seats in ((fewer, True), (again, True), (moved, False)):
        told = problem(answer, 409, "slot-booked")
        assert ("seats" in told.get("detail", "")) is seats


async def test_what_leaves_time_and_place_alone_keeps_the_holds(world: World) -> None:
    doctor, regulator = await world.doctor(), await world.regulator()
    slot = await doctor.publish(soon(3))
    held = (await regulator.post(f"{_path(slot)}/holds")).json()
    same = {"starts_at": slot["starts_at"], "modes": slot["modes"], "note": "x", "capacity": 2}
    amended = (await doctor.patch(_path(slot), same, if_match="*")).json()
    assert (amended["held"], amended["remaining"]) == (1, 1)
    assert (await regulator.delete(f"/v1/holds/{held['id']}")).status_code == 204


async def test_a_hold_does_not_raise_the_version(world: World) -> None:
    doctor, regulator = await world.doctor(), await world.regulator()
    slot = await doctor.publish()
    await regulator.post(f"{_path(slot)}/holds")
    assert (await doctor.patch(_path(slot), {"note": "x"}, if_match=1)).status_code == 200


async def test_a_slot_moves_over_its_own_time_but_not_over_another(world: World) -> None:
    doctor = await world.doctor()
    slot, next_one = await doctor.publish(soon(3)), await doctor.publish(soon(3, 30))
    path, longer = _path(slot), {"ends_at": soon(3, 30).isoformat()}
    assert (await doctor.patch(path, longer, if_match=1)).status_code == 200
    too_long = {"ends_at": soon(3, 31).isoformat()}
    answer = await doctor.patch(path, too_long, if_match=2)
    assert problem(answer, 409, "overlapping-slot")["blocking_slots"] == [next_one["id"]]


async def test_of_two_slots_that_move_to_one_time_one_arrives(world: World) -> None:
    doctor = await world.doctor()
    slots = [await doctor.publish(soon(n)) for n in (2, 3, 4, 5)]
    place = {"starts_at": soon(8).isoformat(), "ends_at": soon(8, 20).isoformat()}
    answers = await asyncio.gather(*(doctor.patch(_path(s), place, if_match=1) for s in slots))
    arrived = [answer.json()["id"] for answer in answers if answer.status_code == 200]
    assert len(arrived) == 1
    for answer in answers:
        if answer.status_code != 200:
            assert problem(answer, 409, "overlapping-slot")["blocking_slots"] == arrived


async def test_a_colleague_of_the_centre_amends_a_slot_without_a_name(world: World) -> None:
    centre, stranger = (
        await world.doctor(organization_type="csnp"),
        await world.doctor(organization_type="csnp"),
    )
    slot = await centre.publish(practitioner_id=None)
    colleague = await world.caller(
        Role.DELEGATE,
        centre.organization_id,
        "csnp",
        practitioner_ids=[await world.practitioner()],
    )
    assert (await colleague.patch(_path(slot), {"note": "x"}, if_match=1)).status_code == 200
    answer = await stranger.patch(_path(slot), {"note": "x"}, if_match="*")
    problem(answer, 404, "slot-not-found")


@pytest.mark.parametrize(
    ("changes", "pointer", "code"),
    [
        ({"starts_at": soon(-1).isoformat()}, "#/starts_at", "slot-in-the-past"),
        ({"ends_at": soon(1).isoformat()}, "#/ends_at", "end-before-start"),
        ({"location_id": "01938c1e-7a31-7d02-9a41-5f4f0f2f3c22"}, "#/location_id",
         "location-not-yours"),
    ],
)  # fmt: skip
async def test_an_amendment_keeps_the_rules_of_publishing(
    world: World, changes: Body, pointer: str, code: str
) -> None:
    doctor = await world.doctor()
    slot = await doctor.publish(soon(3))
    body = problem(await doctor.patch(_path(slot), changes, if_match=1), 422, "slot-invalid")
    assert (pointer, code) in [(error["pointer"], error["code"]) for error in body["errors"]]
    assert (await doctor.get(_path(slot))).json() == slot


async def test_a_withdrawn_slot_is_amended_no_more(world: World) -> None:
    doctor = await world.doctor()
    slot = await doctor.publish()
    await doctor.delete(_path(slot), if_match="*")
    problem(await doctor.patch(_path(slot), {"note": "x"}, if_match="*"), 409, "slot-withdrawn")
    problem(await doctor.patch(_path(slot), {"note": "x"}, if_match=1), 412, "version-mismatch")


async def test_a_secretary_amends_the_slots_of_her_doctors(world: World) -> None:
    doctor = await world.doctor()
    assert doctor.practitioner_id is not None
    secretary = await world.caller(
        Role.DELEGATE,
        doctor.organization_id,
        "practice",
        practitioner_ids=[doctor.practitioner_id, await world.practitioner()],
    )
    slot = await doctor.publish()
    assert (await secretary.patch(_path(slot), {"note": "x"}, if_match=1)).status_code == 200


# --- withdrawing --------------------------------------------------------------------------------


async def test_withdrawing_twice_is_no_error(world: World) -> None:
    doctor = await world.doctor()
    slot = await doctor.publish()
    for _ in range(2):
        answer = await doctor.delete(_path(slot), if_match="*")
        assert (answer.status_code, answer.content) == (204, b"")
    assert (await doctor.get(_path(slot))).json()["state"] == "withdrawn"
    assert await _told(world, slot) == ["slot.published", "slot.withdrawn"]


async def test_ten_withdrawals_at_once_are_told_once(world: World) -> None:
    doctor = await world.doctor()
    slot = await doctor.publish()
    answers = await asyncio.gather(*(doctor.delete(_path(slot), if_match="*") for _ in range(10)))
    assert {answer.status_code for answer in answers} == {204}
    assert await _told(world, slot) == ["slot.published", "slot.withdrawn"]


async def test_withdrawal_beats_holds(world: World) -> None:
    doctor, regulator = await world.doctor(), await world.regulator()
    slot = await doctor.publish()
    held = (await regulator.post(f"{_path(slot)}/holds")).json()
    assert (await doctor.delete(_path(slot), if_match=1)).status_code == 204
    problem(await regulator.delete(f"/v1/holds/{held['id']}"), 404, "hold-not-found")
    problem(await regulator.post(f"{_path(slot)}/holds"), 409, "slot-withdrawn")


async def test_what_has_started_is_not_withdrawn(world: World, clock: Clock) -> None:
    doctor = await world.doctor()
    slot = await doctor.publish(soon(1))
    await clock.shift(timedelta(hours=2))
    problem(await doctor.delete(_path(slot), if_match="*"), 409, "already-started")


# --- the agenda ---------------------------------------------------------------------------------


async def _agenda(doctor: Caller, **params: Any) -> Body:
    answer = await doctor.get(f"/v1/practitioners/{doctor.practitioner_id}/slots", params=params)
    assert answer.status_code == 200, answer.text
    body: Body = answer.json()
    return body


async def test_the_agenda_shows_every_state(world: World, clock: Clock) -> None:
    doctor, regulator = await world.doctor(), await world.regulator()
    past, gone, full, free = [await doctor.publish(soon(n)) for n in (1, 5, 6, 7)]
    await doctor.delete(_path(gone), if_match="*")
    await clock.shift(timedelta(hours=3))
    await regulator.post(f"{_path(full)}/holds")
    items = (await _agenda(doctor, **{"from": soon(-1).isoformat()}))["items"]
    assert [(slot["id"], slot["state"]) for slot in items] == [
        (past["id"], "past"),
        (gone["id"], "withdrawn"),
        (full["id"], "full"),
        (free["id"], "open"),
    ]


async def test_the_agenda_walks_by_start_and_gives_each_slot_once(world: World) -> None:
    doctor = await world.doctor()
    ids = [(await doctor.publish(soon(2, 20 * n)))["id"] for n in range(7)]
    walked: list[str] = []
    page = await _agenda(doctor, limit=3)
    walked += [slot["id"] for slot in page["items"]]
    while page["next_cursor"]:
        page = await _agenda(doctor, limit=3, cursor=page["next_cursor"])
        walked += [slot["id"] for slot in page["items"]]
    assert walked == ids


async def test_the_agenda_of_somebody_else_is_forbidden(world: World) -> None:
    doctor, other = await world.doctor(), await world.doctor()
    answer = await doctor.get(f"/v1/practitioners/{other.practitioner_id}/slots")
    problem(answer, 403, "not-my-practitioner")


async def test_a_window_of_the_agenda_that_makes_no_sense_is_refused(world: World) -> None:
    doctor = await world.doctor()
    path = f"/v1/practitioners/{doctor.practitioner_id}/slots"
    for window in (
        {"from": soon(2).isoformat(), "to": soon(1).isoformat()},
        {"from": soon(1).isoformat(), "to": soon(24 * 400).isoformat()},
    ):
        problem(await doctor.get(path, params=window), 422, "search-invalid")
