"""A slot that opens to more, or goes back to its doctor, as its start nears: at its instant, once.

The clock stands where a test stops it. Nobody runs the worker but a test that calls `settle`.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select, text

from service import slots
from service.kernel.db import Database
from service.kernel.errors import DomainError
from service.kernel.events import events
from service.slots import repository
from service.slots.tables import slots as rows_of_slots
from tests.conftest import Clock
from tests.support import WAITING, Caller, World, patient, problem, soon

Body = dict[str, Any]
_WAITING = text(WAITING)
MICROSECOND = timedelta(microseconds=1)
START = 12  # hours from now
PUBLIC = [{"minutes_before": 60, "to": "PUBLIC"}]
GIVE_BACK = [{"minutes_before": 60, "to": "GIVE_BACK"}]
BOTH = [{"minutes_before": 120, "to": "PRO"}, {"minutes_before": 60, "to": "PUBLIC"}]


def before(slot: Body, minutes: int = 60) -> datetime:
    return datetime.fromisoformat(slot["starts_at"]) - timedelta(minutes=minutes)


async def told(database: Database, slot: Body, *types: str) -> list[Any]:
    """What events tell of a slot, in the order of their transactions."""
    e = events.c
    asked = select(events).where(e.subject_id == UUID(slot["id"])).order_by(e.xid, e.id)
    async with database.unit_of_work() as uow:
        rows = (await uow.single(asked)).all()
    return [row for row in rows if not types or row.type in types]


async def book(caller: Caller, slot: Body, **members: Any) -> Any:
    body = {"slot_id": slot["id"], "patient_file": patient(), **members}
    return await caller.post("/v1/bookings", body)


async def settle(database: Database, workers: int = 1) -> None:
    await asyncio.gather(*(slots.settle(database) for _ in range(workers)))


async def found(caller: Caller, slot: Body) -> bool:
    start = datetime.fromisoformat(slot["starts_at"])
    window = {"from": (start - timedelta(hours=1)).isoformat(), "to": slot["ends_at"]}
    listed = (await caller.get("/v1/slots", params=window)).json()["items"]
    return slot["id"] in [item["id"] for item in listed]


# --- widening -----------------------------------------------------------------------------------


async def test_a_hidden_slot_opens_at_its_instant_without_a_worker(
    world: World, clock: Clock
) -> None:
    doctor, pharmacist = await world.doctor(), await world.pharmacist()
    slot = await doctor.publish(soon(START), release=PUBLIC)
    assert (slot["release"], slot["effective_visibility"]) == (PUBLIC, ["SNP"])
    path = f"/v1/slots/{slot['id']}"

    await clock.stop(before(slot) - MICROSECOND)
    problem(await pharmacist.get(path), 404, "slot-not-found")
    problem(await pharmacist.post(f"{path}/holds"), 404, "slot-not-found")
    problem(await book(pharmacist, slot), 404, "slot-not-found")
    assert not await found(pharmacist, slot)

    await clock.stop(before(slot))
    read = (await pharmacist.get(path)).json()
    assert (read["visibility"], read["effective_visibility"]) == (["SNP"], ["SNP", "PUBLIC"])
    assert read["release"] is None  # the doctor's own rule
    assert await found(pharmacist, slot)
    hold = await pharmacist.post(f"{path}/holds")
    assert hold.status_code == 201
    booked = await book(pharmacist, slot, hold_id=hold.json()["id"])
    assert booked.status_code == 201, booked.text
    assert (await doctor.get(path)).json()["version"] == 2  # the booking, not the release


async def test_each_step_admits_whom_its_label_admits(world: World, clock: Clock) -> None:
    community = await world.organization("cpts")
    doctor, regulator = await world.doctor(cpts_ids=[community]), await world.regulator()
    member, pharmacist = await world.pharmacist([community]), await world.pharmacist()
    steps = [
        {"minutes_before": 240, "to": "CPTS"}, {"minutes_before": 120, "to": "PRO"},
        {"minutes_before": 60, "to": "PUBLIC"},
    ]  # fmt: skip
    slot = await doctor.publish(soon(START), cpts_ids=[str(community)], release=steps)
    everybody = (regulator, member, pharmacist)
    path = f"/v1/slots/{slot['id']}"
    for minutes, sees in ((241, [200, 404, 404]), (240, [200, 200, 404]), (120, [200, 200, 200])):
        await clock.stop(before(slot, minutes))
        assert [(await caller.get(path)).status_code for caller in everybody] == sees
    await clock.stop(before(slot))
    read = (await doctor.get(path)).json()
    assert read["effective_visibility"] == ["SNP", "CPTS", "PRO", "PUBLIC"]


async def test_a_step_is_told_once_however_many_workers_run(world: World, clock: Clock) -> None:
    doctor = await world.doctor()
    slot = await doctor.publish(soon(START), release=PUBLIC)
    await clock.stop(before(slot) - MICROSECOND)
    await settle(world.database, 3)
    assert not await told(world.database, slot, "slot.released")
    await clock.stop(before(slot))
    await settle(world.database, 3)
    await settle(world.database)
    [event] = await told(world.database, slot, "slot.released")
    assert event.territory == world.territory
    assert event.audience_before["visibility"] == ["SNP"]
    assert event.audience_after["visibility"] == ["SNP", "PUBLIC"]
    data = dict(event.data)
    instants = {name: data.pop(name) for name in ("starts_at", "ends_at", "released_at")}
    assert datetime.fromisoformat(instants["released_at"]) == before(slot)
    assert datetime.fromisoformat(instants["starts_at"]) == soon(START)
    assert data == {
        "practitioner_id": slot["practitioner_id"], "location_id": slot["location_id"],
        "organization_id": slot["organization_id"], "to": "PUBLIC",
        "effective_visibility": ["SNP", "PUBLIC"],
    }  # fmt: skip


async def test_an_amendment_that_waited_for_the_worker_lets_nothing_be_told_twice(
    world: World, clock: Clock
) -> None:
    """What time it was when it began to wait says nothing of what was told meanwhile."""
    doctor = await world.doctor()
    slot = await doctor.publish(soon(START), release=PUBLIC)
    await clock.stop(before(slot) - MICROSECOND)
    async with world.database.unit_of_work() as worker:
        mine = rows_of_slots.c.id == UUID(slot["id"])
        await worker.execute(select(rows_of_slots.c.id).where(mine).with_for_update())
        amendment = asyncio.create_task(
            doctor.patch(f"/v1/slots/{slot['id']}", {"note": "Sonner"}, if_match=1)
        )
        async with asyncio.timeout(30), world.database.unit_of_work() as eyes:
            while not (await eyes.execute(_WAITING)).first():  # noqa: ASYNC110  nobody is told who waits
                await asyncio.sleep(0.02)
        await clock.stop(before(slot))
        assert (await repository.tell_steps(worker, 200))[1] >= 1
    assert (await amendment).status_code == 200
    await settle(world.database)
    types = [event.type for event in await told(world.database, slot)]
    assert types == ["slot.published", "slot.released", "slot.amended"]


async def test_what_a_killed_worker_was_telling_is_told_by_the_next_one(
    world: World, clock: Clock
) -> None:
    doctor = await world.doctor()
    slot = await doctor.publish(soon(START), release=PUBLIC)
    await clock.stop(before(slot))
    with suppress(DomainError):  # its connection is cut before it commits
        async with world.database.unit_of_work() as dying:
            pid = (await dying.execute(text("SELECT pg_backend_pid()"))).scalar_one()
            assert (await repository.tell_steps(dying, 200))[1] >= 1
            await settle(world.database)  # leaves it to the other one
            assert not await told(world.database, slot, "slot.released")
            async with world.database.unit_of_work() as uow:
                await uow.single(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
    await settle(world.database, 3)
    assert len(await told(world.database, slot, "slot.released")) == 1


async def test_a_late_worker_tells_each_step_with_its_own_audience(
    world: World, clock: Clock
) -> None:
    slot = await (await world.doctor()).publish(soon(START), release=BOTH)
    await clock.stop(before(slot, 30))
    await settle(world.database, 3)
    steps = await told(world.database, slot, "slot.released")
    assert [
        (
            e.data["to"], datetime.fromisoformat(e.data["released_at"]),
            e.audience_before["visibility"], e.audience_after["visibility"],
        )
        for e in steps
    ] == [
        ("PRO", before(slot, 120), ["SNP"], ["SNP", "PRO"]),
        ("PUBLIC", before(slot, 60), ["SNP", "PRO"], ["SNP", "PRO", "PUBLIC"]),
    ]  # fmt: skip


async def test_nothing_is_told_of_what_nobody_can_take(world: World, clock: Clock) -> None:
    doctor, regulator = await world.doctor(), await world.regulator()
    full, gone, late = [await doctor.publish(soon(START + n), release=PUBLIC) for n in range(3)]
    assert (await book(regulator, full)).status_code == 201
    assert (await doctor.delete(f"/v1/slots/{gone['id']}", if_match="*")).status_code == 204
    for slot in (full, gone):
        await clock.stop(before(slot))
        await settle(world.database)
    await clock.stop(before(late, 0))  # it starts now
    await settle(world.database)
    for slot in (full, gone, late):
        assert not await told(world.database, slot, "slot.released")


async def test_hundreds_are_told_in_one_run(world: World, clock: Clock) -> None:
    centre = await world.doctor(organization_type="csnp")
    one = {**centre.slot(soon(START), release=PUBLIC), "practitioner_id": None}
    answer = await centre.post("/v1/slots", {"slots": [one] * 401})
    assert answer.status_code == 201
    await clock.stop(soon(START - 1))
    await settle(world.database)
    count = text("SELECT count(*) FROM events WHERE type = 'slot.released' AND territory = :here")
    async with world.database.unit_of_work() as uow:
        assert (await uow.single(count, {"here": world.territory})).scalar_one() == 401


async def test_what_is_past_already_is_told_with_the_publication(world: World) -> None:
    slot = await (await world.doctor()).publish(soon(1.5), release=BOTH)
    assert slot["effective_visibility"] == ["SNP", "PRO"]
    await settle(world.database)
    [event] = await told(world.database, slot)
    assert (event.type, event.audience_after["visibility"]) == ("slot.published", ["SNP", "PRO"])


async def test_rivals_at_the_instant_find_one_seat(world: World, clock: Clock) -> None:
    doctor, pharmacists = await world.doctor(), [await world.pharmacist() for _ in range(8)]
    slot = await doctor.publish(soon(START), release=PUBLIC)
    await clock.stop(before(slot))
    answers = await asyncio.gather(
        *(book(pharmacist, slot) for pharmacist in pharmacists), settle(world.database, 3)
    )
    codes = sorted(answer.status_code for answer in answers[:-1])
    assert codes == [201] + [409] * 7
    assert len(await told(world.database, slot, "slot.released")) <= 1


async def test_a_seat_held_across_a_release_stays_held(world: World, clock: Clock) -> None:
    doctor, regulator, pharmacist = (
        await world.doctor(), await world.regulator(), await world.pharmacist(),
    )  # fmt: skip
    slot = await doctor.publish(soon(START), release=PUBLIC)
    await clock.stop(before(slot) - timedelta(seconds=60))
    hold = (await regulator.post(f"/v1/slots/{slot['id']}/holds")).json()
    await clock.stop(before(slot))
    problem(await book(pharmacist, slot), 409, "slot-held")
    await settle(world.database)
    assert (await book(regulator, slot, hold_id=hold["id"])).status_code == 201


# --- why nobody sees it -------------------------------------------------------------------------


async def test_who_can_see_it_follows_the_release(world: World, clock: Clock) -> None:
    doctor, _ = await world.doctor(), await world.pharmacist()
    slot = await doctor.publish(soon(START), release=PUBLIC)
    report = f"/v1/slots/{slot['id']}/visibility"
    hidden = (await doctor.get(report)).json()
    assert [w["code"] for w in hidden["visibility_warnings"]] == ["nobody-can-see"]
    await clock.stop(before(slot) + timedelta(minutes=5))
    for _ in range(2):  # whether it has been told or not
        seen = (await doctor.get(report)).json()
        assert [who["role"] for who in seen["who_can"]] == ["pharmacist"]
        assert seen["visibility_warnings"] == []
        assert datetime.fromisoformat(seen["visible_since"]) == before(slot)
        await settle(world.database)
    # One agenda, one statement: what is released is another audience than what is not.
    other = await doctor.publish(soon(START + 2), release=PUBLIC)
    listed = await doctor.get(
        f"/v1/practitioners/{doctor.practitioner_id}/slots",
        params={"from": soon(0).isoformat(), "to": soon(24).isoformat()},
    )
    whom = {item["id"]: [who["role"] for who in item["who_can"]] for item in listed.json()["items"]}
    assert whom == {slot["id"]: ["pharmacist"], other["id"]: []}


# --- undoing ------------------------------------------------------------------------------------


async def test_a_release_is_undone_after_its_step(world: World, clock: Clock) -> None:
    doctor, pharmacist = await world.doctor(), await world.pharmacist()
    slot = await doctor.publish(soon(START), release=BOTH)
    path = f"/v1/slots/{slot['id']}"
    await clock.stop(before(slot, 90))
    await settle(world.database)
    assert (await pharmacist.get(path)).status_code == 200

    answer = await doctor.patch(path, {"release": None}, if_match="*")
    assert (answer.json()["release"], answer.json()["effective_visibility"]) == ([], ["SNP"])
    problem(await pharmacist.get(path), 404, "slot-not-found")
    [amended] = await told(world.database, slot, "slot.amended")
    assert amended.audience_before["visibility"] == ["SNP", "PRO"]
    assert amended.audience_after["visibility"] == ["SNP"]
    await clock.stop(before(slot, 30))
    await settle(world.database)
    assert len(await told(world.database, slot, "slot.released")) == 1  # the one of before

    again = await doctor.patch(
        path, {"release": [{"minutes_before": 20, "to": "PUBLIC"}]}, if_match="*"
    )
    assert again.status_code == 200
    problem(await pharmacist.get(path), 404, "slot-not-found")
    await clock.stop(before(slot, 20))
    assert (await pharmacist.get(path)).status_code == 200
    await settle(world.database)
    assert len(await told(world.database, slot, "slot.released")) == 2


async def test_the_steps_move_with_the_slot(world: World, clock: Clock) -> None:
    doctor, pharmacist = await world.doctor(), await world.pharmacist()
    slot = await doctor.publish(soon(START), release=PUBLIC)
    path = f"/v1/slots/{slot['id']}"
    later = {"starts_at": soon(START + 3).isoformat(), "ends_at": soon(START + 4).isoformat()}
    moved = (await doctor.patch(path, later, if_match="*")).json()
    assert moved["release"] == PUBLIC
    await clock.stop(before(slot))
    problem(await pharmacist.get(path), 404, "slot-not-found")
    await clock.stop(before(moved))
    assert (await pharmacist.get(path)).status_code == 200
    await settle(world.database)
    [event] = await told(world.database, slot, "slot.released")
    assert datetime.fromisoformat(event.data["released_at"]) == before(moved)


async def test_publishing_again_says_anew_what_is_released(world: World, clock: Clock) -> None:
    doctor, pharmacist = await world.doctor(), await world.pharmacist()
    slot = await doctor.publish(soon(START), external_id="A", release=PUBLIC)
    again = await doctor.publish(soon(START), external_id="A")
    assert (again["id"], again["release"]) == (slot["id"], [])
    await clock.stop(before(slot))
    problem(await pharmacist.get(f"/v1/slots/{slot['id']}"), 404, "slot-not-found")


# --- giving back --------------------------------------------------------------------------------


async def test_time_goes_back_to_the_doctor_at_its_instant(world: World, clock: Clock) -> None:
    doctor, regulator = await world.doctor(), await world.regulator()
    slot = await doctor.publish(soon(START), release=GIVE_BACK)
    path = f"/v1/slots/{slot['id']}"
    await clock.stop(before(slot) - MICROSECOND)
    assert await found(regulator, slot)
    assert (await doctor.get(path)).json()["state"] == "open"

    await clock.stop(before(slot))
    for late in (True, False):  # whether the worker has come by or not
        read = (await doctor.get(path)).json()
        assert (read["state"], read["remaining"]) == ("withdrawn", 0)
        assert not await found(regulator, slot)
        problem(await regulator.post(f"{path}/holds"), 409, "slot-withdrawn")
        problem(await book(regulator, slot), 409, "slot-withdrawn")
        problem(await doctor.patch(path, {"note": "x"}, if_match="*"), 409, "slot-withdrawn")
        report = (await doctor.get(f"{path}/visibility")).json()
        assert (report["state"], report["visible_since"]) == ("withdrawn", None)
        if late:
            await settle(world.database, 3)
    await settle(world.database)
    [event] = await told(world.database, slot, "slot.withdrawn")
    assert event.data["reason"] == "given_back"
    assert event.audience_before["visibility"] == ["SNP"]
    assert (await doctor.publish(soon(START)))["state"] == "open"  # the time is the doctor's again


async def test_booked_seats_stay_and_no_more_are_given(world: World, clock: Clock) -> None:
    doctor, regulator = await world.doctor(), await world.regulator()
    slot = await doctor.publish(soon(START), capacity=3, overbooking=1, release=GIVE_BACK)
    path = f"/v1/slots/{slot['id']}"
    booking = (await book(regulator, slot)).json()
    await clock.stop(before(slot))
    for late in (True, False):
        read = (await doctor.get(path)).json()
        assert (read["state"], read["remaining"], read["booked"]) == ("full", 0, 1)
        refused = problem(await book(regulator, slot), 409, "slot-taken")
        assert refused["overbooking_left"] == 0
        problem(await book(regulator, slot, overbook=True), 409, "slot-taken")
        if late:
            await settle(world.database, 3)
    assert (await doctor.get(path)).json()["capacity"] == 1
    assert len(await told(world.database, slot, "slot.amended")) == 1

    gone = await regulator.post(
        f"/v1/bookings/{booking['id']}/cancellation", {"by": "patient"}, if_match="*"
    )
    assert gone.status_code == 200, gone.text
    assert (await doctor.get(path)).json()["state"] == "withdrawn"  # the seat does not reopen
    await settle(world.database, 3)
    [event] = await told(world.database, slot, "slot.withdrawn")
    assert event.data["reason"] == "given_back"


@pytest.mark.parametrize("used", [True, False])
async def test_a_held_seat_is_a_promise(world: World, clock: Clock, *, used: bool) -> None:
    doctor, regulator, other = (
        await world.doctor(), await world.regulator(), await world.pharmacist(),
    )  # fmt: skip
    slot = await doctor.publish(soon(START), visibility=["PRO"], capacity=2, release=GIVE_BACK)
    path = f"/v1/slots/{slot['id']}"
    await clock.stop(before(slot) - timedelta(seconds=60))
    hold = (await regulator.post(f"{path}/holds", {"seconds": 180})).json()
    await clock.stop(before(slot) + timedelta(seconds=60))
    await settle(world.database, 3)
    problem(await book(other, slot), 409, "slot-withdrawn")
    problem(await book(other, slot, hold_id=hold["id"]), 409, "slot-withdrawn")
    assert (await doctor.get(path)).json()["state"] == "full"
    if used:
        assert (await book(regulator, slot, hold_id=hold["id"])).status_code == 201
    await clock.stop(before(slot) + timedelta(seconds=120))
    await settle(world.database, 3)
    assert (await doctor.get(path)).json()["state"] == ("full" if used else "withdrawn")
    types = [event.type for event in await told(world.database, slot)]
    last = "slot.amended" if used else "slot.withdrawn"
    assert types.count(last) == 1
    assert types.count("hold.expired") == (not used)


async def test_widened_then_given_back(world: World, clock: Clock) -> None:
    doctor, pharmacist = await world.doctor(), await world.pharmacist()
    steps = [{"minutes_before": 90, "to": "PRO"}, *GIVE_BACK]
    slot = await doctor.publish(soon(START), release=steps)
    await clock.stop(before(slot, 90))
    assert await found(pharmacist, slot)
    await clock.stop(before(slot, 60))
    await settle(world.database, 3)
    assert not await found(pharmacist, slot)
    events_told = await told(world.database, slot)
    assert [e.type for e in events_told] == ["slot.published", "slot.released", "slot.withdrawn"]
    assert events_told[-1].audience_before["visibility"] == ["SNP", "PRO"]


# --- holds --------------------------------------------------------------------------------------


async def test_a_hold_that_expires_unused_is_told_once(world: World, clock: Clock) -> None:
    doctor, regulator = await world.doctor(), await world.regulator()
    slot = await doctor.publish(soon(START), capacity=4)
    path = f"/v1/slots/{slot['id']}/holds"
    lost, used, freed, live = [
        (await regulator.post(path, {"seconds": seconds})).json() for seconds in (60, 60, 60, 600)
    ]
    assert (await book(regulator, slot, hold_id=used["id"])).status_code == 201
    assert (await regulator.delete(f"/v1/holds/{freed['id']}")).status_code == 204
    expiry = datetime.fromisoformat(lost["expires_at"])
    await clock.stop(expiry - MICROSECOND)
    await settle(world.database, 3)
    assert not await told(world.database, slot, "hold.expired")
    await clock.stop(expiry)
    await settle(world.database, 3)
    await settle(world.database)
    [event] = await told(world.database, slot, "hold.expired")
    assert event.territory == world.territory
    assert event.data["hold_id"] == lost["id"]
    assert datetime.fromisoformat(event.data["expires_at"]) == expiry
    kept = text("SELECT holds FROM slots WHERE id = :id")
    async with world.database.unit_of_work() as uow:
        held = (await uow.single(kept, {"id": UUID(slot["id"])})).scalar_one()
    assert list(held) == [live["id"]]


async def test_a_withdrawal_does_not_hide_that_a_hold_expired(world: World, clock: Clock) -> None:
    doctor, regulator = await world.doctor(), await world.regulator()
    slot = await doctor.publish(soon(START), capacity=2)
    path = f"/v1/slots/{slot['id']}"
    lost, _ = [
        (await regulator.post(f"{path}/holds", {"seconds": seconds})).json()
        for seconds in (60, 600)
    ]
    await clock.stop(datetime.fromisoformat(lost["expires_at"]))
    assert (await doctor.delete(path, if_match="*")).status_code == 204
    await clock.shift(timedelta(hours=1))
    await settle(world.database, 3)
    expired = await told(world.database, slot, "hold.expired")
    assert [event.data["hold_id"] for event in expired] == [lost["id"]]


# --- refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("members", "pointer", "code"),
    [
        ({"release": [{"minutes_before": 60, "to": "SNP"}]}, "/release/0/to", None),
        ({"release": [{"minutes_before": 4, "to": "PRO"}]}, "/release/0/minutes_before", None),
        ({"release": [{"minutes_before": 10081, "to": "PRO"}]}, "/release/0/minutes_before", None),
        ({"release": [*PUBLIC] * 5}, "/release", None),
        ({"release": [*PUBLIC, *BOTH]}, "/release/1/minutes_before", "release-order"),
        ({"release": [*BOTH, *PUBLIC]}, "/release/2/minutes_before", "release-order"),
        (
            {"release": [*GIVE_BACK, {"minutes_before": 30, "to": "PRO"}]},
            "/release/1", "release-after-end",
        ),
        ({"release": [{"minutes_before": 30, "to": "CPTS"}]}, "/release/0/to", "cpts-not-named"),
        ({"visibility": ["PUBLIC"], "release": PUBLIC}, "/release/0/to", "release-adds-nothing"),
        ({"visibility": ["PUBLIC"], "release": BOTH}, "/release/0/to", "release-adds-nothing"),
        (
            {"release": [{"minutes_before": 60 * 13, "to": "GIVE_BACK"}]},
            "/release/0/minutes_before", "release-in-the-past",
        ),
    ],
)  # fmt: skip
async def test_what_makes_no_sense_is_refused(
    world: World, members: Body, pointer: str, code: str | None
) -> None:
    doctor = await world.doctor()
    answer = await doctor.post("/v1/slots", doctor.slot(soon(START), **members))
    refused = problem(answer, 422, "slot-invalid" if code else "invalid")
    pointers = [(error["pointer"], error["code"]) for error in refused["errors"]]
    assert f"#{pointer}" in [where for where, _ in pointers]
    assert code is None or (f"#{pointer}", code) in pointers

    slot = await doctor.publish(soon(START))
    refused = problem(
        await doctor.patch(f"/v1/slots/{slot['id']}", members, if_match="*"),
        422, "slot-invalid" if code else "invalid",
    )  # fmt: skip
    assert f"#{pointer}" in [error["pointer"] for error in refused["errors"]]


async def test_labels_that_a_release_adds_cannot_be_published_beside_it(world: World) -> None:
    doctor = await world.doctor()
    slot = await doctor.publish(soon(START), release=PUBLIC)
    path = f"/v1/slots/{slot['id']}"
    refused = problem(
        await doctor.patch(path, {"visibility": ["PUBLIC"]}, if_match="*"), 422, "slot-invalid"
    )
    assert refused["errors"][0]["pointer"] == "#/release/0/to"
    both = {"visibility": ["PUBLIC"], "release": None}
    assert (await doctor.patch(path, both, if_match="*")).status_code == 200


def _codes(slot: Body) -> Sequence[str]:
    return [warning["code"] for warning in slot["visibility_warnings"]]


async def test_warnings_know_what_a_release_adds(world: World) -> None:
    community, doctor = await world.organization("cpts"), await world.doctor()
    await world.regulator()
    members: Body = {"cpts_ids": [str(community)], "organization_types": ["pharmacy"]}
    hidden = await doctor.publish(soon(START), **members)
    assert _codes(hidden) == ["narrowing-without-effect", "cpts-without-label"]
    steps = [{"minutes_before": 60, "to": "CPTS"}]
    assert _codes(await doctor.publish(soon(START + 1), release=steps, **members)) == []
