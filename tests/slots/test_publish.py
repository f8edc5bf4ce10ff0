"""Publishing over HTTP, on a real database."""

import asyncio
import json
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from service.identity import Role
from service.kernel import events
from service.kernel.ids import new_id
from tests.support import Caller, World, problem, soon

Body = dict[str, Any]


def _row(doctor: Caller, number: int, **members: Any) -> list[Body]:
    """Slots of one doctor, one after the other."""
    start = soon()
    return [doctor.slot(start + timedelta(minutes=20 * n), **members) for n in range(number)]


async def _agenda(doctor: Caller) -> list[Body]:
    """Everything this doctor ever published in the next weeks."""
    items: list[Body] = []
    cursor: str | None = ""
    while cursor is not None:
        params = {
            "to": soon(24 * 60).isoformat(),
            "limit": 200,
            **({"cursor": cursor} if cursor else {}),
        }
        answer = await doctor.get(
            f"/v1/practitioners/{doctor.practitioner_id}/slots", params=params
        )
        assert answer.status_code == 200, answer.text
        items += answer.json()["items"]
        cursor = answer.json()["next_cursor"]
    return items


def _pointers(body: Body) -> list[tuple[str, str]]:
    return [(error["pointer"], error["code"]) for error in body["errors"]]


async def test_a_slot_is_hidden_from_the_public_unless_said(world: World) -> None:
    await world.regulator()
    doctor = await world.doctor()
    slot = await doctor.publish()
    assert slot["visibility"] == ["SNP"]
    assert slot["state"] == "open"
    assert slot["remaining"] == 1
    assert (slot["capacity"], slot["overbooking"], slot["modes"]) == (1, 0, ["AMB"])
    assert (slot["walk_in"], slot["visibility_warnings"], slot["version"]) == (False, [], 1)


async def test_the_answer_names_the_slot_its_version_and_its_times_in_the_territorys_zone(
    world: World,
) -> None:
    doctor = await world.doctor()
    body = doctor.slot(soon(30))
    answer = await doctor.post("/v1/slots", body)
    slot = answer.json()
    assert answer.headers["Location"] == f"/v1/slots/{slot['id']}"
    assert answer.headers["ETag"] == '"1"'
    assert slot["starts_at"][-6:] in {"+01:00", "+02:00"}
    read = await doctor.get(f"/v1/slots/{slot['id']}")
    assert read.json() == slot


async def test_times_are_echoed_as_people_there_read_them(world: World) -> None:
    island = await World(world.database, world.http, zone="Indian/Reunion").begin()
    doctor, start = await island.doctor(), soon(5)
    slot = await doctor.publish(start)
    assert slot["starts_at"].endswith("+04:00")
    assert datetime.fromisoformat(slot["starts_at"]) == start


async def test_publishing_is_told_as_one_event_a_slot_with_who_may_see_it(world: World) -> None:
    doctor = await world.doctor()
    slot = await doctor.publish(visibility=["PRO"])
    async with world.database.unit_of_work() as uow:
        told = await events.history(uow, UUID(slot["id"]))
    assert [event.type for event in told] == ["slot.published"]
    assert told[0].organization_id == doctor.organization_id
    assert told[0].role == "doctor"


async def test_two_slots_of_one_doctor_do_not_overlap(world: World) -> None:
    doctor = await world.doctor()
    first = await doctor.publish(soon(3))
    answer = await doctor.post("/v1/slots", doctor.slot(soon(3, 10)))
    assert problem(answer, 409, "overlapping-slot")["blocking_slots"] == [first["id"]]


async def test_slots_that_touch_do_not_overlap(world: World) -> None:
    doctor = await world.doctor()
    await doctor.publish(soon(3))
    await doctor.publish(soon(3, 20))
    await doctor.publish(soon(3, -20))


async def test_a_withdrawn_slot_blocks_nothing(world: World) -> None:
    doctor = await world.doctor()
    first = await doctor.publish(soon(3))
    await doctor.delete(f"/v1/slots/{first['id']}", if_match="*")
    assert (await doctor.publish(soon(3)))["state"] == "open"


async def test_of_twenty_overlapping_publications_one_wins(world: World) -> None:
    doctor = await world.doctor()
    start = soon(5)
    answers = await asyncio.gather(
        *(
            doctor.post("/v1/slots", doctor.slot(start + timedelta(minutes=n % 5)))
            for n in range(20)
        )
    )
    winner = [answer.json()["id"] for answer in answers if answer.status_code == 201]
    assert len(winner) == 1
    for answer in answers:
        if answer.status_code != 201:
            assert problem(answer, 409, "overlapping-slot")["blocking_slots"] == winner
    assert [slot["id"] for slot in await _agenda(doctor)] == winner


# --- batches ------------------------------------------------------------------------------------


async def test_five_hundred_slots_are_published_together(world: World) -> None:
    doctor = await world.doctor()
    batch = _row(doctor, 500)
    answer = await doctor.post("/v1/slots", {"slots": batch})
    assert answer.status_code == 201, answer.text
    published = answer.json()["slots"]
    assert len({slot["id"] for slot in published}) == 500
    assert [slot["id"] for slot in await _agenda(doctor)] == [slot["id"] for slot in published]


async def test_five_hundred_and_one_are_refused(world: World) -> None:
    doctor = await world.doctor()
    answer = await doctor.post("/v1/slots", {"slots": _row(doctor, 501)})
    assert _pointers(problem(answer, 422, "invalid")) == [("#/slots", "too-long")]
    assert await _agenda(doctor) == []


async def test_an_empty_batch_is_refused(world: World) -> None:
    doctor = await world.doctor()
    answer = await doctor.post("/v1/slots", {"slots": []})
    assert _pointers(problem(answer, 422, "invalid")) == [("#/slots", "too-short")]


async def test_one_bad_slot_among_five_hundred_refuses_them_all(world: World) -> None:
    doctor = await world.doctor()
    batch = _row(doctor, 500)
    batch[137]["ends_at"] = batch[137]["starts_at"]
    answer = await doctor.post("/v1/slots", {"slots": batch})
    body = problem(answer, 422, "slot-invalid")
    assert _pointers(body) == [("#/slots/137/ends_at", "end-before-start")]
    assert await _agenda(doctor) == []


async def test_a_batch_that_meets_an_own_slot_writes_nothing(world: World) -> None:
    doctor = await world.doctor()
    batch = _row(doctor, 20)
    first = (await doctor.post("/v1/slots", batch[7])).json()
    answer = await doctor.post("/v1/slots", {"slots": batch})
    assert problem(answer, 409, "overlapping-slot")["blocking_slots"] == [first["id"]]
    assert [slot["id"] for slot in await _agenda(doctor)] == [first["id"]]


async def test_slots_of_one_batch_that_overlap_are_named_by_pointer(world: World) -> None:
    doctor = await world.doctor()
    batch = [doctor.slot(soon(2, minutes)) for minutes in (0, 40, 50, 10, 80)]
    answer = await doctor.post("/v1/slots", {"slots": batch})
    body = problem(answer, 422, "slot-invalid")
    assert sorted(_pointers(body)) == [
        ("#/slots/2/starts_at", "overlapping-slot"),
        ("#/slots/3/starts_at", "overlapping-slot"),
    ]
    assert await _agenda(doctor) == []


async def test_a_batch_is_answered_in_the_order_it_was_asked(world: World) -> None:
    doctor = await world.doctor()
    batch = list(reversed(_row(doctor, 5)))
    for n, slot in enumerate(batch):
        slot["note"] = f"number {n}"
    answer = await doctor.post("/v1/slots", {"slots": batch}, key="order")
    assert [slot["note"] for slot in answer.json()["slots"]] == [f"number {n}" for n in range(5)]
    again = await doctor.post("/v1/slots", {"slots": batch}, key="order")
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.json() == answer.json()


# --- what is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("members", "pointer", "code"),
    [
        ({"starts_at": soon(-1).isoformat()}, "#/starts_at", "slot-in-the-past"),
        ({"ends_at": soon(1).isoformat()}, "#/ends_at", "end-before-start"),
        ({"ends_at": soon(27).isoformat()}, "#/ends_at", "slot-too-long"),
        (
            {"starts_at": soon(24 * 367).isoformat(), "ends_at": soon(24 * 367, 20).isoformat()},
            "#/starts_at",
            "slot-too-far",
        ),
        ({"location_id": str(new_id())}, "#/location_id", "location-not-yours"),
        ({"practitioner_id": None}, "#/practitioner_id", "practitioner-missing"),
    ],
)
async def test_a_rule_that_is_broken_is_named_by_its_member(
    world: World, members: Body, pointer: str, code: str
) -> None:
    doctor = await world.doctor()
    answer = await doctor.post("/v1/slots", {**doctor.slot(soon(2)), **members})
    assert (pointer, code) in _pointers(problem(answer, 422, "slot-invalid"))
    assert await _agenda(doctor) == []


async def test_the_location_of_somebody_else_is_refused(world: World) -> None:
    doctor, other = await world.doctor(), await world.doctor()
    answer = await doctor.post("/v1/slots", doctor.slot(location_id=str(other.location_id)))
    body = problem(answer, 422, "slot-invalid")
    assert _pointers(body) == [("#/location_id", "location-not-yours")]


async def test_a_second_place_of_work_in_another_organization_is_welcome(world: World) -> None:
    house = await world.organization("msp")
    location = await world.location(house)
    practitioner = await world.practitioner(location)
    doctor = await world.caller(
        Role.DOCTOR, await world.organization("practice"), "practice",
        practitioner_ids=[practitioner],
    )  # fmt: skip
    doctor.practitioner_id, doctor.location_id = practitioner, location
    assert (await doctor.publish())["organization_id"] == str(house)


async def test_somebody_elses_practitioner_is_forbidden_before_any_rule(world: World) -> None:
    doctor, other = await world.doctor(), await world.doctor()
    wrong = doctor.slot(soon(-5), practitioner_id=str(other.practitioner_id))
    problem(await doctor.post("/v1/slots", wrong), 403, "not-my-practitioner")
    batch = {"slots": [doctor.slot(), wrong]}
    problem(await doctor.post("/v1/slots", batch), 403, "not-my-practitioner")


@pytest.mark.parametrize("kind", ["csnp", "sos"])
async def test_a_centre_publishes_before_it_knows_who_will_be_there(
    world: World, kind: str
) -> None:
    centre = await world.doctor(organization_type=kind)
    slot = await centre.publish(practitioner_id=None)
    assert (slot["practitioner"], slot["practitioner_id"]) == (None, None)
    # Without a name nothing can overlap: two rooms of a centre work at the same time.
    await centre.publish(practitioner_id=None)


@pytest.mark.parametrize(
    ("members", "pointer"),
    [
        ({"modes": []}, "#/modes"),
        ({"modes": ["AMB", "XX"]}, "#/modes/1"),
        ({"visibility": []}, "#/visibility"),
        ({"visibility": ["SECRET"]}, "#/visibility/0"),
        ({"capacity": 0}, "#/capacity"),
        ({"capacity": 201}, "#/capacity"),
        ({"overbooking": -1}, "#/overbooking"),
        ({"specialty": "SM99999"}, "#/specialty"),
        ({"note": "x" * 501}, "#/note"),
        ({"external_id": ""}, "#/external_id"),
        ({"colour": "red"}, "#/colour"),
        ({"location_id": None}, "#/location_id"),
        ({"starts_at": "2026-12-01T14:00:00"}, "#/starts_at"),
        ({"starts_at": 1_800_000_000}, "#/starts_at"),
        ({"starts_at": "2026-12-01"}, "#/starts_at"),
        ({"starts_at": "0001-01-01T00:00:00+14:00"}, "#/starts_at"),
        ({"ends_at": "9999-12-31T23:59:59-14:00"}, "#/ends_at"),
        ({"note": "a\u0000b"}, "#/note"),
        ({"external_id": "a\u0000b"}, "#/external_id"),
    ],
)
async def test_a_body_that_breaks_its_shape_is_told_where(
    world: World, members: Body, pointer: str
) -> None:
    doctor = await world.doctor()
    one = {**doctor.slot(), **members}
    alone = problem(await doctor.post("/v1/slots", one), 422, "invalid")
    assert [error["pointer"] for error in alone["errors"]] == [pointer]
    batch = {"slots": [*_row(doctor, 3), one]}
    among = problem(await doctor.post("/v1/slots", batch), 422, "invalid")
    assert [error["pointer"] for error in among["errors"]] == [pointer.replace("#", "#/slots/3")]


@pytest.mark.parametrize(
    "body", ["5", "true", "null", '"slots"', "[]", "[1]", "{}", '{"slots": 1}']
)
async def test_a_body_that_is_no_slot_at_all_is_refused_not_a_defect(
    world: World, body: str
) -> None:
    doctor = await world.doctor()
    answer = await doctor.request(
        "POST", "/v1/slots", content=body, headers={"Content-Type": "application/json"}
    )
    problem(answer, 422, "invalid")


@pytest.mark.parametrize(
    ("members", "codes"),
    [
        ({"visibility": ["CPTS"]}, ["nobody-can-see", "cpts-not-named"]),
        ({"visibility": ["SNP"], "organization_types": ["pharmacy"]}, ["narrowing-without-effect"]),
        ({"visibility": ["SNP"], "cpts_ids": [str(new_id())]}, ["cpts-without-label"]),
        ({"walk_in": True}, ["walk-in"]),
        ({"visibility": ["PRO"], "organization_types": ["pharmacy"]}, []),
    ],
)
async def test_the_doctor_is_told_why_nobody_may_see_the_slot(
    world: World, members: Body, codes: list[str]
) -> None:
    await world.regulator()
    await world.pharmacist()
    slot = await (await world.doctor()).publish(**members)
    assert [warning["code"] for warning in slot["visibility_warnings"]] == codes


async def test_half_a_surrogate_pair_is_refused_not_a_defect(world: World) -> None:
    doctor = await world.doctor()
    body = json.dumps({**doctor.slot(), "note": "\ud800"})  # escaped: that much is JSON
    answer = await doctor.request(
        "POST", "/v1/slots", content=body, headers={"Content-Type": "application/json"}
    )
    assert _pointers(problem(answer, 422, "invalid"))[0][0] == "#/note"


# --- from practice software: external_id --------------------------------------------------------


async def test_publishing_an_external_id_again_updates_its_slot(world: World) -> None:
    doctor = await world.doctor()
    first = await doctor.publish(soon(3), external_id="A-1", note="before")
    again = await doctor.publish(soon(4), external_id="A-1", visibility=["PRO"])
    assert again["id"] == first["id"]
    assert (again["version"], again["visibility"], again["note"]) == (2, ["PRO"], None)
    assert again["starts_at"] != first["starts_at"]
    assert len(await _agenda(doctor)) == 1


async def test_publishing_a_withdrawn_external_id_opens_it_again(world: World) -> None:
    doctor = await world.doctor()
    first = await doctor.publish(external_id="A-1")
    await doctor.delete(f"/v1/slots/{first['id']}", if_match="*")
    again = await doctor.publish(external_id="A-1")
    assert (again["id"], again["state"]) == (first["id"], "open")


async def test_the_same_external_id_of_another_organization_is_another_slot(world: World) -> None:
    one, other = await world.doctor(), await world.doctor()
    first = await one.publish(external_id="A-1")
    second = await other.publish(external_id="A-1")
    assert first["id"] != second["id"]


async def test_the_same_external_id_of_a_colleague_is_another_slot(world: World) -> None:
    doctor = await world.doctor()
    first = await doctor.publish(external_id="A-1")
    assert doctor.location_id is not None
    colleague = await world.caller(
        Role.DOCTOR,
        doctor.organization_id,
        "practice",
        practitioner_ids=[practitioner := await world.practitioner(doctor.location_id)],
    )
    colleague.practitioner_id, colleague.location_id = practitioner, doctor.location_id
    second = await colleague.publish(external_id="A-1")
    assert second["id"] != first["id"]
    assert (await doctor.get(f"/v1/slots/{first['id']}")).json()["version"] == 1


async def test_publishing_unchanged_again_keeps_the_seat_held_on_the_phone(world: World) -> None:
    doctor, regulator = await world.doctor(), await world.regulator()
    start = soon(3)
    slot = await doctor.publish(start, external_id="A-1")
    held = await regulator.post(f"/v1/slots/{slot['id']}/holds")
    again = await doctor.publish(start, external_id="A-1", note="bring the letter")
    assert (again["held"], again["remaining"]) == (1, 0)
    assert (await regulator.delete(f"/v1/holds/{held.json()['id']}")).status_code == 204


async def test_publishing_at_another_time_ends_the_holds(world: World) -> None:
    doctor, regulator = await world.doctor(), await world.regulator()
    slot = await doctor.publish(soon(3), external_id="A-1")
    held = await regulator.post(f"/v1/slots/{slot['id']}/holds")
    again = await doctor.publish(soon(4), external_id="A-1")
    assert (again["held"], again["remaining"]) == (0, 1)
    answer = await regulator.delete(f"/v1/holds/{held.json()['id']}")
    problem(answer, 404, "hold-not-found")


async def test_a_doctor_who_is_late_moves_the_whole_row_at_once(world: World) -> None:
    doctor = await world.doctor()
    row = [{**slot, "external_id": f"A-{n}"} for n, slot in enumerate(_row(doctor, 5))]
    first = (await doctor.post("/v1/slots", {"slots": row})).json()["slots"]
    for slot in row:  # each moves onto the place of the next one
        slot["starts_at"], slot["ends_at"] = slot["ends_at"], _later(slot["ends_at"])
    moved = await doctor.post("/v1/slots", {"slots": row})
    assert moved.status_code == 201, moved.text
    assert [s["id"] for s in moved.json()["slots"]] == [s["id"] for s in first]
    assert [s["starts_at"] for s in moved.json()["slots"][:-1]] == [
        s["starts_at"] for s in first[1:]
    ]
    assert {s["state"] for s in await _agenda(doctor)} == {"open"}


def _later(instant: str) -> str:
    return (datetime.fromisoformat(instant) + timedelta(minutes=20)).isoformat()


async def test_one_external_id_twice_in_a_batch_is_refused(world: World) -> None:
    doctor = await world.doctor()
    batch = [{**slot, "external_id": "A-1"} for slot in _row(doctor, 2)]
    answer = await doctor.post("/v1/slots", {"slots": batch})
    body = problem(answer, 422, "slot-invalid")
    assert _pointers(body) == [("#/slots/1/external_id", "duplicate")]


async def test_twenty_first_publications_of_one_external_id_make_one_slot(world: World) -> None:
    centre = await world.doctor(organization_type="csnp")
    body = centre.slot(practitioner_id=None, external_id="room 1")
    answers = await asyncio.gather(*(centre.post("/v1/slots", body) for _ in range(20)))
    assert [answer.status_code for answer in answers] == [201] * 20
    assert len({answer.json()["id"] for answer in answers}) == 1
