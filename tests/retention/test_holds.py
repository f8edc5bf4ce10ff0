"""Legal holds, by the API and by the command; and all that is held about a patient."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest
import pytest_asyncio

from service.identity import Role
from service.kernel.db import Database
from service.kernel.ids import new_id
from service.kernel.settings import Settings
from service.retention.reference import LABELS, SECTIONS, UNTOLD
from service.retention.repository import _ABOUT
from tests.audit.support import changes, traces
from tests.conftest import DatabaseUrls
from tests.demo.processes import snp
from tests.retention.support import REASON, Place, book, place
from tests.support import WAITING, World, patient, problem, soon


@pytest_asyncio.fixture
async def here(
    database_urls: DatabaseUrls, make_settings: Callable[..., Settings]
) -> AsyncIterator[Place]:
    """A service with a clock of its own."""
    async with place(database_urls, make_settings) as found:
        yield found


async def test_a_held_patient_and_a_held_case_are_kept(here: Place) -> None:
    regulator, doctor = await here.world.regulator(), await here.world.doctor()
    by_file = await book(regulator, doctor, 2)
    by_case = await book(regulator, doctor, 4, case_id="K-1")
    call = await regulator.post(
        "/v1/calls", {"line": "15", "received_at": soon(-1).isoformat(), "case_id": "K-2"}
    )
    by_call = await book(regulator, doctor, 6, call_id=call.json()["id"], case_id="K-3")
    closed = await regulator.post(f"/v1/calls/{call.json()['id']}/closure", {"otherwise": "wait"})
    assert closed.status_code in {200, 201}, closed.text
    free = await book(regulator, doctor, 8, case_id="K-9")
    asked = [
        {"patient_file_id": by_file["patient_file_id"]},
        {"case_id": "K-1"},
        {"case_id": "K-2"},
    ]
    made = [
        await regulator.post("/v1/legal-holds", {**target, "reason": "Zzyzx porte plainte"})
        for target in asked
    ]
    assert [answer.status_code for answer in made] == [201] * 3
    assert (made[0].json()["reason"], made[0].json()["territory"]) == (
        "Zzyzx porte plainte",
        here.world.territory,
    )
    await here.later(days=6 * 366)
    await regulator.sign_in()
    assert (await here.run())["identity"] == 1
    for kept in (by_file, by_case, by_call, free):
        read = (await regulator.get(f"/v1/bookings/{kept['id']}")).json()
        assert (read["patient"]["family_name"] is None) == (kept is free)
        assert (read["reason_text"] == REASON) == (kept is not free)
    for answer in made:
        path = f"/v1/legal-holds/{answer.json()['id']}"
        lifted = await regulator.delete(path)
        assert lifted.json()["lifted_at"], lifted.text
        assert lifted.json()["reason"] is None
        problem(await regulator.delete(path), 409, "legal-hold-lifted")
    assert (await here.run())["identity"] == 3
    assert await here.run() == {}


async def test_what_is_held_is_found_without_reading_why(here: Place) -> None:
    """A reason that nobody can read any more holds all the same."""
    regulator, doctor = await here.world.regulator(), await here.world.doctor()
    held = await book(regulator, doctor, case_id="K-1")
    answer = await regulator.post("/v1/legal-holds", {"case_id": "K-1", "reason": "Réquisition"})
    assert answer.status_code == 201, answer.text
    assert await here.rows("UPDATE legal_holds SET reason = '' RETURNING id")
    await here.later(days=100)
    assert await here.run() == {}
    await regulator.sign_in()
    read = (await regulator.get(f"/v1/bookings/{held['id']}")).json()
    assert read["patient"]["family_name"] is not None


async def test_a_hold_holds_in_its_territory_only(here: Place) -> None:
    elsewhere = await World(here.database, here.http).begin()
    regulator, doctor = await here.world.regulator(), await here.world.doctor()
    await book(regulator, doctor, case_id="K-1")
    stranger = await elsewhere.regulator()
    held = await stranger.post("/v1/legal-holds", {"case_id": "K-1", "reason": "Réquisition"})
    assert held.status_code == 201
    assert (await regulator.get("/v1/legal-holds")).json()["items"] == []
    path = f"/v1/legal-holds/{held.json()['id']}"
    problem(await regulator.delete(path), 404, "legal-hold-not-found")
    problem(await regulator.delete(f"/v1/legal-holds/{new_id()}"), 404, "legal-hold-not-found")
    foreign = {"case_id": "K-1", "reason": "Réquisition", "territory": here.world.territory}
    problem(await stranger.post("/v1/legal-holds", foreign), 403, "foreign-territory")
    await here.later(days=100)
    assert (await here.run())["identity"] == 1


async def test_the_reason_is_told_to_who_placed_the_hold_and_to_the_manager(
    world: World, database: Database
) -> None:
    regulator, manager = await world.regulator(), await world.manager()
    body = {"case_id": "K-1", "reason": "Zzyzx porte plainte"}
    made = (await regulator.post("/v1/legal-holds", body)).json()
    assert (made["reason"], made["organization_id"]) == (
        body["reason"],
        str(regulator.organization_id),
    )
    others = [
        await world.regulator(),  # a colleague
        await world.caller(Role.REGULATOR, await world.organization("sas"), "sas"),
        await world.caller(Role.ADMIN, await world.organization("other"), "other"),
    ]
    for caller in (regulator, manager, *others):
        request_id = f"r-{new_id()}"
        answer = await caller.get("/v1/legal-holds", headers={"X-Request-Id": request_id})
        (shown,) = answer.json()["items"]
        told = caller not in others
        assert shown == {**made, "reason": body["reason"] if told else None}
        left = await traces(database, request_id)
        seen = [("retention.list_holds", [UUID(made["id"])])] if told else []
        assert [(trace["operation"], trace["subject_ids"]) for trace in left] == seen


async def test_a_hold_is_lifted_by_who_answers_for_it(world: World, database: Database) -> None:
    """Its organization, or the territory's manager; who lifted it is in the trace."""
    regulator = await world.regulator()
    strangers = [
        await world.caller(Role.REGULATOR, await world.organization("sas"), "sas"),
        await world.caller(Role.ADMIN, await world.organization("other"), "other"),
    ]
    for lifter in (await world.regulator(), await world.manager()):
        body = {"case_id": "K-1", "reason": "Réquisition"}
        path = f"/v1/legal-holds/{(await regulator.post('/v1/legal-holds', body)).json()['id']}"
        for stranger in strangers:
            problem(await stranger.delete(path), 404, "legal-hold-not-found")
        request_id = f"r-{new_id()}"
        answer = await lifter.delete(path, headers={"X-Request-Id": request_id})
        assert (answer.status_code, answer.json()["reason"]) == (200, None), answer.text
        (change,) = await changes(database, request_id)
        assert (change["type"], change["client_id"], change["role"]) == (
            "legal_hold.lifted",
            lifter.secret.client_id,
            lifter.role,
        )


async def test_a_hold_by_file_holds_in_its_territory_only(here: Place) -> None:
    """As by case: the file, or one of its bookings and calls, is of the territory."""
    elsewhere = await World(here.database, here.http).begin()
    regulator, doctor = await here.world.regulator(), await here.world.doctor()
    files = [(await book(regulator, doctor, h))["patient_file_id"] for h in (2, 4)]
    for caller, file_id in zip((await elsewhere.regulator(), regulator), files, strict=True):
        body = {"patient_file_id": file_id, "reason": "Réquisition"}
        assert (await caller.post("/v1/legal-holds", body)).status_code == 201
    await here.later(days=100)
    assert (await here.run())["identity"] == 1
    rows = await here.rows("SELECT id FROM patient_files WHERE family_name IS NOT NULL")
    assert [str(row["id"]) for row in rows] == files[1:]


@pytest.mark.parametrize("by", ["file", "case"])
async def test_a_hold_keeps_what_nobody_had_room_for(here: Place, by: str) -> None:
    """The need itself names neither: its call does."""
    regulator = await here.world.regulator()
    file = (await regulator.post("/v1/patient-files", patient())).json()["id"]
    body = {"line": "15", "received_at": soon(-1).isoformat(), "patient_file_id": file}
    calls = [await regulator.post("/v1/calls", {**body, "case_id": "K-1"})]
    calls.append(await regulator.post("/v1/calls", {**body, "patient_file_id": None}))
    for call in calls:
        await here.rows(
            """INSERT INTO unmet_needs (id, territory, zone, commune, motive, mode, wanted_from,
                 wanted_to, reason, note, call_id, case_id, age, radius_km, open_slots,
                 open_slots_fitting, organization_id, organization_type, role, person)
               VALUES (gen_random_uuid(), $1, 'Europe/Paris', '36044', 'M03.14', 'AMB', now(),
                 now() + interval '1 hour', 'no_room', 'x', $2, 'K-3', 'P4Y', 10, 0, 0, $3, 'sas',
                 'regulator', '{"id": "7"}')""",
            *(here.world.territory, UUID(call.json()["id"]), regulator.organization_id),
        )
    target = {"patient_file_id": file} if by == "file" else {"case_id": "K-1"}
    held = await regulator.post("/v1/legal-holds", {**target, "reason": "Réquisition"})
    assert held.status_code == 201, held.text
    await here.later(days=6 * 366)
    await regulator.sign_in()
    done = await here.run()
    assert (done["need-texts"], done["need-references"]) == (1, 1)
    (kept,) = await here.rows("SELECT * FROM unmet_needs WHERE note IS NOT NULL")
    assert str(kept["call_id"]) == calls[0].json()["id"]
    assert None not in (kept["case_id"], kept["age"], kept["person"])
    assert (await regulator.delete(f"/v1/legal-holds/{held.json()['id']}")).status_code == 200
    assert (await here.run())["need-texts"] == 1


# --- a hold and a run at the same time ------------------------------------------------------------


async def _until(here: Place, waiting: int, *tasks: asyncio.Task[Any]) -> None:
    """Until so many wait for a lock, or one of them is through."""
    while not any(task.done() for task in tasks):
        if len(await here.rows(WAITING)) >= waiting:
            return
        await asyncio.sleep(0.01)


async def test_what_was_there_when_a_hold_was_answered_stays(here: Place) -> None:
    """A batch is about to write when somebody places a hold: he is answered when it is over."""
    regulator = await here.world.regulator()
    file = (await regulator.post("/v1/patient-files", patient())).json()["id"]
    await here.later(days=100)
    await regulator.sign_in()

    async def names() -> Any:
        (row,) = await here.rows("SELECT family_name FROM patient_files WHERE id = $1", UUID(file))
        return row["family_name"]

    async def hold() -> Any:
        body = {"patient_file_id": file, "reason": "Réquisition"}
        assert (await regulator.post("/v1/legal-holds", body)).status_code == 201
        return await names()

    await here.rows(
        """CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS
           $$ BEGIN PERFORM pg_advisory_xact_lock(42); RETURN NULL; END $$"""
    )
    await here.rows("CREATE TRIGGER wait BEFORE UPDATE ON patient_files EXECUTE FUNCTION wait()")
    async with _blocking(here, "SELECT pg_advisory_xact_lock(42)"):
        run = asyncio.create_task(here.run())
        await _until(here, 1, run)
        placing = asyncio.create_task(hold())
        await _until(here, 2, placing)
    await run
    assert await placing == await names()


async def test_a_run_waits_for_who_is_placing_a_hold(here: Place) -> None:
    regulator = await here.world.regulator()
    file = (await regulator.post("/v1/patient-files", patient())).json()["id"]
    await here.later(days=100)
    await regulator.sign_in()
    body = {"patient_file_id": file, "reason": "Réquisition"}
    # The hold is written, its event is not yet.
    async with _blocking(here, "LOCK TABLE events IN SHARE MODE"):
        placing = asyncio.create_task(regulator.post("/v1/legal-holds", body))
        await _until(here, 1, placing)
        run = asyncio.create_task(here.run())
        await _until(here, 2, run)
    assert (await placing).status_code == 201
    assert await run == {}
    assert await here.rows("SELECT FROM patient_files WHERE family_name IS NOT NULL")


@asynccontextmanager
async def _blocking(here: Place, order: str) -> AsyncIterator[None]:
    connection = await asyncpg.connect(here.urls.superuser)
    try:
        async with connection.transaction():
            await connection.execute(order)
            yield
    finally:
        await connection.close()


async def test_a_hold_is_placed_once_and_asks_for_one_target(world: World) -> None:
    manager = await world.manager()
    body = {"case_id": "K-1", "reason": "Réquisition"}
    first = await manager.post("/v1/legal-holds", body, key="once")
    again = await manager.post("/v1/legal-holds", body, key="once")
    assert first.json() == again.json()
    assert len((await manager.get("/v1/legal-holds")).json()["items"]) == 1
    for wrong in ({}, {"patient_file_id": str(new_id())}):
        both = {**body, **wrong} if wrong else {"reason": "Réquisition"}
        problem(await manager.post("/v1/legal-holds", both), 422, "invalid")
    osnp = await world.regulation(Role.OSNP)
    problem(await osnp.get("/v1/legal-holds"), 403, "role-lacks-operation")


async def test_the_operator_holds_and_lifts(here: Place, tmp_path: Path) -> None:
    regulator = await here.world.regulator()
    opened = await regulator.post("/v1/patient-files", patient(case_id="K-1"))
    keys = here.settings.keys
    assert keys is not None
    settings = {"SNP_DATABASE_URL": here.urls.app, "SNP_KEYS": keys.get_secret_value()}

    def run(*command: str) -> str:
        with snp(tmp_path / new_id().hex, *command, **settings) as started:
            assert started.process.wait(60) == 0, started.errors
            return started.output

    hold_id = run("retention", "hold", "--case", "K-1", "--reason", "Plainte").split()[1].strip(".")
    await here.later(days=100)
    assert await here.due() == {}
    assert "Plainte" in run("retention", "holds")
    (trace,) = await here.rows("SELECT * FROM access_log WHERE operation = 'retention.list_holds'")
    assert (str(trace["subject_ids"][0]), trace["role"]) == (hold_id, "operator")
    run("retention", "lift", hold_id)
    file = tmp_path / "dossier.json"
    run("patients", "export", opened.json()["id"], "--output", str(file))
    assert opened.json()["family_name"] in file.read_text(encoding="utf-8")
    assert file.stat().st_mode & 0o077 == 0
    assert await here.due() == {"identity": 1}


# --- all that is held about a patient -------------------------------------------------------------


def _values(told: dict[str, Any], section: str) -> list[dict[str, Any]]:
    (found,) = [one for one in told["sections"] if one["name"] == section]
    return [{m["name"]: m["value"] for m in row} for row in found["items"]]


async def test_everything_about_a_patient_is_told(world: World) -> None:
    regulator, doctor = await world.regulator(), await world.doctor()
    who = patient(ins="279035121518989", identity_status="QUAL")
    file = (await regulator.post("/v1/patient-files", who)).json()
    call = await regulator.post(
        "/v1/calls",
        {"line": "15", "received_at": soon(-1).isoformat(), "patient_file_id": file["id"]},
    )
    booking = await book(
        regulator, doctor, patient_file=None, call_id=call.json()["id"], case_id="K-1"
    )
    await regulator.post(
        "/v1/legal-holds", {"patient_file_id": file["id"], "reason": "Réquisition"}
    )
    answer = await regulator.get(f"/v1/patient-files/{file['id']}/export")
    assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store")
    told = answer.json()
    (shown,) = _values(told, "patient_file")
    for name in ("family_name", "given_name", "birth_date", "phone", "ins", "sex", "commune"):
        assert shown[name] == who[name]
    (made,) = _values(told, "bookings")
    assert (made["id"], made["reason_text"], made["case_id"]) == (booking["id"], REASON, "K-1")
    assert [row["id"] for row in _values(told, "calls")] == [call.json()["id"]]
    assert [row["outcome"] for row in _values(told, "outcomes")] == ["slot_orientation"]
    (hold,) = _values(told, "legal_holds")
    assert (hold["territory"], hold["lifted_at"]) == (world.territory, None)
    assert "Réquisition" not in answer.text  # why is not for the patient: it may name others
    types = {row["type"] for row in _values(told, "events")}
    assert {"patient_file.opened", "booking.created"} <= types
    assert {"Dossier du patient", "Nom", "Prénom"} <= _labels(told)


def _labels(told: dict[str, Any]) -> set[str]:
    members = [m["label"] for s in told["sections"] for row in s["items"] for m in row]
    return {*members, *(section["label"] for section in told["sections"])}


@pytest.mark.parametrize("role", [role for role in Role if role is not Role.REGULATOR])
async def test_only_a_regulator_of_the_centre_is_told(world: World, role: Role) -> None:
    regulator = await world.regulator()
    file = (await regulator.post("/v1/patient-files", patient())).json()
    path = f"/v1/patient-files/{file['id']}/export"
    if role is Role.DOCTOR:
        caller = await world.doctor()
    else:
        caller = await world.caller(role, regulator.organization_id, "sas")
    problem(await caller.get(path), 403, "role-lacks-operation")


async def test_all_files_of_a_patient_are_told_and_nobody_elses(world: World) -> None:
    regulator, doctor = await world.regulator(), await world.doctor()
    other = await world.caller(Role.REGULATOR, await world.organization("sas"), "sas")
    stranger = await (await World(world.database, world.http).begin()).regulator()
    qualified = {"ins": "279035121518989", "identity_status": "QUAL"}
    who = patient(**qualified)
    asked, same, married, *others = [
        (await caller.post("/v1/patient-files", body)).json()["id"]
        for caller, body in (
            (regulator, who),
            (other, {**who, "family_name": who["family_name"].upper(), "ins": None,
                     "identity_status": "PROV", "phone": "+33611111111"}),
            (other, patient(**qualified)),
            (other, {**who, "given_name": "Zoé", "ins": None, "identity_status": "PROV"}),
            (other, patient(ins=who["ins"])),  # said by nobody who looked
            (stranger, who),
        )
    ]  # fmt: skip
    made = await other.post(
        "/v1/bookings",
        {"slot_id": (await doctor.publish(soon(2)))["id"], "patient_file_id": same},
    )
    assert made.status_code == 201, made.text
    answer = await regulator.get(f"/v1/patient-files/{asked}/export")
    told = answer.json()
    assert (told["patient_file_id"], set(told["other_patient_file_ids"])) == (
        asked,
        {same, married},
    )
    assert {row["id"] for row in _values(told, "patient_file")} == {asked, same, married}
    (booking,) = _values(told, "bookings")
    assert (booking["id"], booking["patient_file_id"]) == (made.json()["id"], same)
    assert not any(one in answer.text for one in others)

    accesses = (await regulator.get(f"/v1/patient-files/{asked}/accesses")).json()
    assert set(accesses["other_patient_file_ids"]) == {same, married}
    done = [item["operation"] for item in accesses["items"]]
    assert done.count("patient_file.opened") == done.count("patient_file.exported") == 3
    assert done.count("patients.accesses") == 2
    # A doctor's side is told of what it may read: a name that it writes tells it no more.
    mine = (await doctor.get(f"/v1/patient-files/{same}/accesses")).json()
    assert (mine["patient_file_id"], mine["other_patient_file_ids"]) == (same, [])


async def test_nothing_is_read_before_the_right_to_it(here: Place) -> None:
    """How long a refusal takes tells nothing: it reads nothing about the patient."""
    regulator = await here.world.regulator()
    file = (await regulator.post("/v1/patient-files", patient())).json()
    other = await here.world.caller(Role.REGULATOR, await here.world.organization("sas"), "sas")
    await here.rows("REVOKE SELECT ON bookings FROM snp_app")
    path = f"/v1/patient-files/{file['id']}/export"
    problem(await regulator.get(path), 500, "defect")
    problem(await other.get(path), 404, "patient-file-not-found")


async def test_another_centre_is_told_nothing(world: World) -> None:
    regulator = await world.regulator()
    file = (await regulator.post("/v1/patient-files", patient())).json()
    other = await world.caller(Role.REGULATOR, await world.organization("sas"), "sas")
    hidden = await other.get(f"/v1/patient-files/{file['id']}/export")
    unknown = await other.get(f"/v1/patient-files/{new_id()}/export")
    bodies = [problem(answer, 404, "patient-file-not-found") for answer in (hidden, unknown)]
    assert len({body.pop("request_id") for body in bodies}) == 2
    assert bodies[0] == bodies[1]


def test_every_column_has_a_french_label() -> None:
    """Also one that is added later, in a table that tells of a patient."""
    assert set(_ABOUT) | {"events"} == set(SECTIONS)
    for statement in _ABOUT.values():
        missing = {c.name for c in statement.selected_columns} - LABELS.keys() - UNTOLD
        assert not missing
