"""Who practises no more: no free slot is left, nothing new is published, booked ones are told."""

import asyncio
from pathlib import Path
from typing import Any

from sqlalchemy import update

from service import slots
from service.directory.tables import practitioners
from service.kernel.crypto import Keys
from service.kernel.events import history
from tests.agenda.support import in_days, made, session, weekly
from tests.bookings.test_book import booked, request
from tests.conftest import DatabaseUrls
from tests.demo.processes import snp
from tests.directory.desk import LEA, text
from tests.kernel.serving import serving
from tests.operations.support import MakeSettings
from tests.support import Caller, World, problem, soon


async def leave(world: World, doctor: Caller) -> dict[str, Any]:
    """Deactivate a doctor; returns the answer."""
    manager = await world.manager()
    path = f"/v1/practitioners/{doctor.practitioner_id}"
    answer = await manager.patch(path, {"active": False})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    assert not found["active"]
    assert answer.headers["ETag"] == f'"{found["version"]}"'
    return found


async def silently(world: World, doctor: Caller) -> None:
    """Deactivate a doctor as an import does."""
    async with world.database.unit_of_work() as uow:
        mine = practitioners.c.id == doctor.practitioner_id
        await uow.execute(update(practitioners).where(mine).values(active=False))


async def test_free_slots_are_withdrawn_and_booked_ones_stay(world: World) -> None:
    doctor, regulator = await world.doctor(), await world.regulator()
    free, held = await doctor.publish(), await doctor.publish(soon(3))
    taken = await doctor.publish(soon(4))
    half = await doctor.publish(soon(5), capacity=3, overbooking=2)
    await made(doctor, weekly(doctor, in_days(1)))
    hold = await regulator.post(f"/v1/slots/{held['id']}/holds", {})
    assert hold.status_code == 201, hold.text
    one = await booked(regulator, taken)
    await booked(regulator, half)

    told = await leave(world, doctor)
    assert told["withdrawn"] == 2 + 8 * 3
    assert set(told["booked_slots"]) == {taken["id"], half["id"]}
    found = (await regulator.get("/v1/slots", params={"territory": world.territory})).json()
    assert found["items"] == []
    for slot, code in ((free, "slot-withdrawn"), (half, "slot-taken")):
        problem(await regulator.post("/v1/bookings", request(slot)), 409, code)
    async with world.database.unit_of_work() as uow:
        assert [e.type for e in await history(uow, free["id"])] == [
            "slot.published", "slot.withdrawn",
        ]  # fmt: skip
    # What is booked stays as it was, for both sides, and the next who asks changes nothing.
    assert (await doctor.get(f"/v1/bookings/{one['id']}")).json()["state"] == one["state"]
    again = await leave(world, doctor)
    assert (again["withdrawn"], set(again["booked_slots"])) == (0, {taken["id"], half["id"]})
    assert again["version"] == told["version"]


async def test_a_cancelled_seat_of_who_left_is_nobodys(world: World) -> None:
    """One of two seats, then the last: nothing reopens, and the empty slot is withdrawn."""
    doctor, regulator = await world.doctor(), await world.regulator()
    slot = await doctor.publish(capacity=3)
    both = [await booked(regulator, slot) for _ in range(2)]
    await leave(world, doctor)
    for n, booking in enumerate(both):
        path = f"/v1/bookings/{booking['id']}/cancellation"
        answer = await regulator.post(path, {"by": "requester"})
        assert answer.status_code == 200, answer.text
        code = ("slot-taken", "slot-withdrawn")[n]
        problem(await regulator.post("/v1/bookings", request(slot)), 409, code)
        now = (await doctor.get(f"/v1/slots/{slot['id']}")).json()
        assert (now["booked"], now["remaining"]) == (1 - n, 0 if n == 0 else 1)
        assert now["state"] == ("full", "withdrawn")[n]


async def test_nothing_is_published_for_who_left(world: World) -> None:
    doctor = await world.doctor()
    slot = await doctor.publish()
    kept = await made(doctor, session(doctor, in_days(2)))
    await silently(world, doctor)
    pointer = "#/practitioner_id"
    body = problem(await doctor.post("/v1/slots", doctor.slot(soon(6))), 422, "slot-invalid")
    assert [e["pointer"] for e in body["errors"]] == [pointer]
    assert body["errors"][0]["code"] == "practitioner-inactive"
    batch = {"slots": [doctor.slot(soon(7)), doctor.slot(soon(8))]}
    body = problem(await doctor.post("/v1/slots", batch), 422, "slot-invalid")
    assert [e["pointer"] for e in body["errors"]] == [
        f"#/slots/{n}/practitioner_id" for n in (0, 1)
    ]
    answer = await doctor.post("/v1/slot-sessions", session(doctor, in_days(3)))
    assert problem(answer, 422, "session-invalid")["errors"][0]["code"] == "practitioner-inactive"
    path = f"/v1/slot-sessions/{kept['id']}"
    answer = await doctor.patch(path, {"end": "16:00"}, if_match=kept["version"])
    assert problem(answer, 422, "session-invalid")["errors"][0]["code"] == "practitioner-inactive"
    path = f"/v1/slots/{slot['id']}"
    moved = {"starts_at": soon(9).isoformat(), "ends_at": soon(9, 20).isoformat()}
    answer = await doctor.patch(path, moved, if_match=slot["version"])
    assert problem(answer, 422, "slot-invalid")["errors"][0]["code"] == "practitioner-inactive"
    # Taking back is still possible.
    assert (await doctor.request("DELETE", path, if_match=slot["version"])).status_code == 204


async def test_what_an_import_left_behind_is_told(world: World) -> None:
    doctor, regulator = await world.doctor(), await world.regulator()
    slot, taken = await doctor.publish(), await doctor.publish(soon(3))
    await booked(regulator, taken)
    codes = [w["code"] for w in slot["visibility_warnings"]]
    await silently(world, doctor)
    seen = (await doctor.get(f"/v1/slots/{slot['id']}")).json()["visibility_warnings"]
    assert [w["code"] for w in seen] == ["practitioner-inactive", *codes]
    async with world.database.unit_of_work() as uow:
        rpps = (await uow.single(
            practitioners.select().where(practitioners.c.id == doctor.practitioner_id)
        )).one().rpps  # fmt: skip
        assert slots.LeftBehind(rpps, 1, 1) in await slots.left_behind(uow)
    assert (await leave(world, doctor))["withdrawn"] == 1
    seen = (await doctor.get(f"/v1/slots/{slot['id']}")).json()["visibility_warnings"]
    assert "practitioner-inactive" not in [w["code"] for w in seen]


async def test_publishing_while_the_entry_ends(world: World) -> None:
    """Whoever comes second sees what the first did: no open slot is left, however they cross."""
    regulator = await world.regulator()
    for _ in range(5):
        doctor = await world.doctor()
        left = asyncio.create_task(leave(world, doctor))
        published = await asyncio.gather(
            *(doctor.post("/v1/slots", doctor.slot(soon(2 + n))) for n in range(4))
        )
        await left
        assert {answer.status_code for answer in published} <= {201, 422}
        found = await regulator.get("/v1/slots", params={"territory": world.territory})
        assert found.json()["items"] == []


async def test_an_import_names_whom_it_left_with_slots(
    database_urls: DatabaseUrls, make_settings: MakeSettings, keys: Keys, tmp_path: Path
) -> None:
    """A human decides: the slots stay, open and booked."""
    async with serving(make_settings(database_urls.app)) as (client, database):
        world = await World(database, client).begin()
        doctor = await world.doctor()
        slot = await doctor.publish()
        file = tmp_path / "extract_202611200000.txt"
        file.write_text(text([LEA]), encoding="utf-8")
        settings = {"SNP_DATABASE_URL": database_urls.app, "SNP_KEYS": keys.model_dump_json()}

        def run(*more: str) -> str:
            command = ("directory", "import", "--file", str(file), *more)
            with snp(tmp_path, *command, **settings) as started:
                assert started.process.wait(60) == 0, started.errors
                return started.output

        assert "Not active" not in run()
        await silently(world, doctor)
        told = run()
        assert "Not active, and with slots to come" in told
        assert ": 1 free, 0 booked" in told
        assert "Not active" not in run("--dry-run")
        assert (await doctor.get(f"/v1/slots/{slot['id']}")).json()["state"] == "open"
