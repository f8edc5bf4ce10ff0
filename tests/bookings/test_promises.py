"""Promises that a review found broken, each with the story that broke it."""

import asyncio
import base64
from datetime import timedelta
from typing import Any

import asyncpg
import orjson
from sqlalchemy import text

from service.identity import Role
from service.kernel.db import Database
from tests.bookings.test_book import booked, request
from tests.conftest import Clock, DatabaseUrls
from tests.support import WAITING, Caller, World, patient, problem, soon


async def called(regulator: Caller, **members: Any) -> dict[str, Any]:
    """Open a call, and return it."""
    answer = await regulator.post(
        "/v1/calls", {"line": "116117", "received_at": soon(-1).isoformat(), **members}
    )
    assert answer.status_code == 201, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def test_a_revoked_client_reads_no_answer_again(world: World, database: Database) -> None:
    doctor, regulator = await world.doctor(), await world.regulator()
    body = request(await doctor.publish())
    assert (await regulator.post("/v1/bookings", body, key="k")).status_code == 201
    async with database.unit_of_work() as uow:
        await uow.execute(
            text("UPDATE grants SET revoked_at = snp_now() WHERE client_id = :client"),
            {"client": regulator.secret.client_id},
        )
    problem(await regulator.post("/v1/bookings", body, key="k"), 401, "grant-ended")
    other = request({"id": body["slot_id"]})
    problem(await regulator.post("/v1/bookings", other, key="k"), 401, "grant-ended")


async def test_overbooking_does_not_eat_a_live_hold(world: World) -> None:
    doctor, regulator = await world.doctor(), await world.regulator()
    pharmacist = await world.pharmacist()
    slot = await doctor.publish(overbooking=1, visibility=["SNP", "PRO"])
    hold = (await pharmacist.post(f"/v1/slots/{slot['id']}/holds")).json()
    assert (await booked(regulator, slot, overbook=True))["overbooked"] is True
    assert (await booked(pharmacist, slot, hold_id=hold["id"]))["overbooked"] is False


async def test_fewer_seats_end_the_latest_holds_only(world: World) -> None:
    doctor, regulator = await world.doctor(), await world.regulator()
    slot = await doctor.publish(capacity=3)
    holds = [
        (await regulator.post(f"/v1/slots/{slot['id']}/holds", {"seconds": 300 - n})).json()["id"]
        for n in range(3)
    ]
    assert (
        await doctor.patch(f"/v1/slots/{slot['id']}", {"capacity": 1}, if_match=1)
    ).status_code == 200
    for late in holds[1:]:
        lost = await regulator.post("/v1/bookings", request(slot, hold_id=late))
        problem(lost, 409, "hold-expired")
        problem(await regulator.delete(f"/v1/holds/{late}"), 404, "hold-not-found")
    assert await booked(regulator, slot, hold_id=holds[0])


async def test_republishing_elsewhere_moves_the_slot(world: World) -> None:
    doctor = await world.doctor()
    elsewhere = await world.location(await world.organization("msp"))
    async with world.database.unit_of_work() as uow:
        await uow.execute(
            text("INSERT INTO practitioner_locations VALUES (:practitioner, :location)"),
            {"practitioner": doctor.practitioner_id, "location": elsewhere},
        )
    first = await doctor.publish(soon(3), external_id="A-1")
    moved = await doctor.publish(soon(5), external_id="A-1", location_id=str(elsewhere))
    assert (moved["id"], moved["location_id"]) == (first["id"], str(elsewhere))


async def test_a_corrected_name_is_still_the_same_patient(world: World) -> None:
    one, two, regulator = await world.doctor(), await world.doctor(), await world.regulator()
    file = (await regulator.post("/v1/patient-files", patient())).json()
    first = await booked(regulator, await one.publish(soon(4)), patient_file_id=file["id"])
    await regulator.patch(f"/v1/patient-files/{file['id']}", {"given_name": "Léonie"})
    overlapping = await two.publish(soon(4, 10))
    refused = await regulator.post("/v1/bookings", request(overlapping, patient_file_id=file["id"]))
    assert problem(refused, 409, "patient-already-booked")["blocking_booking"] == first["id"]


async def test_a_move_refused_for_the_patient_names_what_blocks(world: World) -> None:
    one, two, regulator = await world.doctor(), await world.doctor(), await world.regulator()
    who = patient()
    first = await booked(regulator, await one.publish(soon(4)), patient_file=who)
    later = await booked(regulator, await two.publish(soon(8)), patient_file=who)
    overlapping = await two.publish(soon(4, 5))
    refused = await regulator.post(
        f"/v1/bookings/{later['id']}/rescheduling", {"slot_id": overlapping["id"]}
    )
    assert problem(refused, 409, "patient-already-booked")["blocking_booking"] == first["id"]


async def test_every_doctor_with_a_live_booking_keeps_the_file(world: World) -> None:
    regulator = await world.regulator()
    doctors = [await world.doctor() for _ in range(4)]
    for n in range(5):
        file = (await regulator.post("/v1/patient-files", patient())).json()
        slots = [await doctor.publish(soon(2 + 5 * n + 1 * k)) for k, doctor in enumerate(doctors)]
        made = await booked(regulator, slots[0], patient_file_id=file["id"])
        moved, *others = await asyncio.gather(
            regulator.post(f"/v1/bookings/{made['id']}/rescheduling", {"slot_id": slots[1]["id"]}),
            *(
                regulator.post("/v1/bookings", request(slot, patient_file_id=file["id"]))
                for slot in slots[2:]
            ),
        )
        assert [moved.status_code, *(o.status_code for o in others)] == [200, 201, 201]
        path = f"/v1/patient-files/{file['id']}"
        seen = [(await doctor.get(path)).status_code for doctor in doctors]
        assert seen == [404, 200, 200, 200]


async def _waiting(eyes: "asyncpg.Connection[asyncpg.Record]", number: int) -> None:
    """Wait until so many wait for a lock."""
    async with asyncio.timeout(30):
        while len(await eyes.fetch(WAITING)) < number:  # noqa: ASYNC110  nobody is told who waits
            await asyncio.sleep(0.01)


async def test_a_call_cannot_become_vital_while_its_booking_waits(
    world: World, shared_urls: DatabaseUrls
) -> None:
    doctor, regulator = await world.doctor(), await world.regulator()
    slot, call = await doctor.publish(), await called(regulator)
    rival = await asyncpg.connect(shared_urls.owner)
    try:
        lock = rival.transaction()
        await lock.start()
        await rival.execute("SELECT 1 FROM slots WHERE id = $1 FOR UPDATE", slot["id"])
        booking = asyncio.create_task(
            regulator.post(
                "/v1/bookings", request(slot, call_id=call["id"], patient_file=patient())
            )
        )
        await _waiting(rival, 1)
        change = asyncio.create_task(regulator.patch(f"/v1/calls/{call['id']}", {"priority": "P0"}))
        await _waiting(rival, 2)
        assert not change.done()
        await lock.rollback()
        assert (await booking).status_code == 201
        assert (await change).status_code == 200
    finally:
        await rival.close()


async def test_unreadable_names_are_not_one_person(world: World) -> None:
    regulator = await world.regulator()
    first = patient(family_name="?", given_name="-")
    second = patient(family_name="...", given_name="?")
    for who in (first, second):
        doctor = await world.doctor()
        assert await booked(regulator, await doctor.publish(soon(4)), patient_file=who)


async def test_the_answer_of_a_move_is_given_again_to_who_moved_it(world: World) -> None:
    doctor, other, regulator = await world.doctor(), await world.doctor(), await world.regulator()
    made = await booked(regulator, await doctor.publish(visibility=["SNP", "PRO"]))
    target = await other.publish(soon(6), visibility=["PRO"])
    path, body = f"/v1/bookings/{made['id']}/rescheduling", {"slot_id": target["id"]}
    assert (await doctor.post(path, body, key="move")).status_code == 200
    again = await doctor.post(path, body, key="move")
    assert (again.status_code, again.headers["Idempotency-Replayed"]) == (200, "true")
    assert again.json()["slot"]["id"] == target["id"]
    problem(await doctor.get(f"/v1/bookings/{made['id']}"), 404, "booking-not-found")


async def test_the_new_doctor_reads_nothing_of_the_old_ones_slot(world: World) -> None:
    doctor, other, regulator = await world.doctor(), await world.doctor(), await world.regulator()
    old, new = await doctor.publish(), await other.publish(soon(5))
    made = await booked(regulator, old)
    path = f"/v1/bookings/{made['id']}"
    await regulator.post(f"{path}/rescheduling", {"slot_id": new["id"]})
    told = await other.get(f"{path}/history")
    assert [e["type"] for e in told.json()["items"]] == [
        "booking.created",
        "booking.rescheduled",
    ]
    assert new["id"] in told.text
    assert old["id"] not in told.text
    assert str(doctor.practitioner_id) not in told.text
    assert old["id"] in (await regulator.get(f"{path}/history")).text


async def test_one_correction_does_not_undo_anothers_emergency(
    world: World, clock: Clock, database: Database
) -> None:
    one, two, regulator = await world.doctor(), await world.doctor(), await world.regulator()
    call = await called(regulator)
    made = [
        await booked(regulator, await d.publish(soon(1 + n)), call_id=call["id"],
                     patient_file=patient())
        for n, d in enumerate((one, two))
    ]  # fmt: skip
    await clock.shift(timedelta(hours=3))
    sent = {"state": "fulfilled", "sent_to_emergency": True}
    for doctor, booking in zip((one, two), made, strict=True):
        assert (await doctor.put(f"/v1/bookings/{booking['id']}/report", sent)).status_code == 200
    calm = {"state": "fulfilled", "sent_to_emergency": False}

    async def recorded() -> bool:
        async with database.unit_of_work() as uow:
            found = await uow.execute(
                text("SELECT sent_to_emergency FROM calls WHERE id = CAST(:id AS uuid)"),
                {"id": call["id"]},
            )
            return bool(found.scalar_one())

    await two.put(f"/v1/bookings/{made[1]['id']}/report", calm, if_match="*")
    assert await recorded()
    await one.put(f"/v1/bookings/{made[0]['id']}/report", calm, if_match="*")
    assert not await recorded()


async def test_a_slot_that_has_started_keeps_all_but_its_note(world: World, clock: Clock) -> None:
    doctor = await world.doctor()
    slot = await doctor.publish(soon(1), external_id="A")
    await clock.shift(timedelta(hours=2))
    path = f"/v1/slots/{slot['id']}"
    for change in (
        {"capacity": 50},
        {"starts_at": soon(9).isoformat(), "ends_at": soon(10).isoformat()},
    ):
        problem(await doctor.patch(path, change, if_match=1), 409, "already-started")
    again = await doctor.post("/v1/slots", doctor.slot(soon(20), external_id="A"))
    problem(again, 409, "already-started")
    assert (await doctor.patch(path, {"note": "fini"}, if_match=1)).status_code == 200


async def test_a_slot_whose_place_closed_may_still_be_relabelled(world: World) -> None:
    doctor = await world.doctor()
    slot = await doctor.publish()
    async with world.database.unit_of_work() as uow:
        await uow.execute(
            text("UPDATE locations SET active = false WHERE id = :id"), {"id": doctor.location_id}
        )
    changed = await doctor.patch(f"/v1/slots/{slot['id']}", {"note": "fermé"}, if_match=1)
    assert changed.status_code == 200
    moved = {"starts_at": soon(9).isoformat(), "ends_at": soon(9, 20).isoformat()}
    refused = await doctor.patch(f"/v1/slots/{slot['id']}", moved, if_match=2)
    assert problem(refused, 422, "slot-invalid")["errors"][0]["pointer"] == "#/location_id"


async def test_what_is_invisible_comes_before_what_is_refused(world: World) -> None:
    regulator = await world.regulator()
    elsewhere = await World(world.database, world.http).begin()
    hidden = await (await elsewhere.doctor()).publish()
    vital = await called(regulator, priority="P0")
    asked = request(hidden, call_id=vital["id"], patient_file=patient())
    problem(await regulator.post("/v1/bookings", asked), 404, "slot-not-found")


async def test_my_bookings_use_an_index_whatever_the_parameters(
    world: World,
) -> None:
    doctor, regulator = await world.doctor(), await world.regulator()
    made = await booked(regulator, await doctor.publish())
    delegate = await world.caller(
        Role.DELEGATE,
        doctor.organization_id,
        "practice",
        practitioner_ids=[doctor.practitioner_id] if doctor.practitioner_id else [],
    )
    for caller in (regulator, doctor, delegate):
        for _ in range(7):  # from the sixth run on, PostgreSQL plans for any parameters
            found = await caller.get(
                "/v1/bookings", params={"from": soon(-1).isoformat(), "to": soon(9).isoformat()}
            )
            assert [b["id"] for b in found.json()["items"]] == [made["id"]]


async def test_a_forged_cursor_of_calls_is_refused(world: World) -> None:
    regulator = await world.regulator()
    for _ in range(3):
        await called(regulator, callback_requested=True)
    for state in ({}, {"state": "awaiting_callback"}):
        page = (await regulator.get("/v1/calls", params={"limit": 2, **state})).json()
        cursor = page["next_cursor"]
        fingerprint, _ = orjson.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        wrong: list[list[Any]] = [[], [1, 2], ["x", "y"], [{}, {}, {}]]
        for keys in wrong:
            forged = base64.urlsafe_b64encode(orjson.dumps([fingerprint, keys])).decode()
            answer = await regulator.get(
                "/v1/calls", params={"limit": 2, "cursor": forged.rstrip("="), **state}
            )
            problem(answer, 400, "invalid-cursor")
