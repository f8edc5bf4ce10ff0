"""Legal holds, by the API and by the command; and all that is held about a patient."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from service.identity import Role
from service.kernel.ids import new_id
from service.kernel.settings import Settings
from service.retention.reference import LABELS, SECTIONS, UNTOLD
from service.retention.repository import _ABOUT
from tests.conftest import DatabaseUrls
from tests.demo.processes import snp
from tests.retention.support import REASON, Place, book, place
from tests.support import World, patient, problem, soon


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
    by_call = await book(regulator, doctor, 6, call_id=call.json()["id"], case_id="other")
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
    assert [row["reason"] for row in _values(told, "legal_holds")] == ["Réquisition"]
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
