"""Who may look into the traces, what is found there, what a patient is told; break-glass."""

import csv
import io
import json
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
import structlog

from service.audit import BreakGlass, reference
from service.identity import Role
from service.identity.domain import PERMISSIONS, PURPOSES
from service.kernel.db import Database
from service.kernel.ids import new_id
from service.kernel.settings import Settings
from service.patients import usecases
from service.patients.domain import Purpose
from tests.audit.support import traces
from tests.bookings.test_book import booked
from tests.conftest import DatabaseUrls
from tests.kernel.serving import serving
from tests.patients.test_files import opened
from tests.support import Caller, World, problem, soon


async def _listed(caller: Caller, query: str = "") -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    cursor = ""
    while True:
        page = await caller.get(f"/v1/audit-events?limit=2{query}{cursor}")
        assert page.status_code == 200, page.text
        items += page.json()["items"]
        if page.json()["next_cursor"] is None:
            return items
        cursor = f"&cursor={page.json()['next_cursor']}"


async def test_a_manager_sees_who_did_what_in_the_territory_page_by_page(world: World) -> None:
    doctor, regulator, manager = (
        await world.doctor(),
        await world.regulator(),
        await world.manager(),
    )
    file = await opened(regulator)
    slot = await doctor.publish()
    booking = await booked(regulator, slot, patient_file_id=file["id"])
    for _ in range(3):
        await doctor.get(f"/v1/bookings/{booking['id']}")
    await (await world.pharmacist()).get(f"/v1/patient-files/{file['id']}")

    found = await _listed(manager, f"&patient={file['id']}")
    done = [(item["operation"], item["result"]) for item in found if item["role"] != "manager"]
    assert done == [
        ("patients.read", "patient-file-not-found"),
        *[("bookings.read", "shown")] * 3,
        ("booking.created", "done"),
        ("patient_file.opened", "done"),
    ]
    assert [item["occurred_at"] for item in found] == sorted(
        (item["occurred_at"] for item in found), reverse=True
    )
    everything = await _listed(manager)
    assert {"slot.published", "audit.list"} <= {item["operation"] for item in everything}
    assert len({item["id"] for item in everything}) == len(everything)
    assert all(item["territories"] == [world.territory] for item in everything)
    assert file["family_name"] not in str(everything)
    of_doctor = await _listed(manager, f"&client={doctor.secret.client_id}")
    assert {item["operation"] for item in of_doctor} == {"slot.published", "bookings.read"}
    of_centre = await _listed(manager, f"&organization={regulator.organization_id}")
    assert {item["role"] for item in of_centre} == {"regulator"}


async def test_another_territory_is_not_a_managers_and_is_an_administrators(
    world: World, database: Database
) -> None:
    file = await opened(await world.regulator())
    elsewhere = await World(database, world.http).begin()
    stranger = await elsewhere.manager()
    others = [
        i for i in await _listed(stranger, f"&patient={file['id']}") if i["role"] != "manager"
    ]
    assert others == []
    admin = await elsewhere.caller(Role.ADMIN, await elsewhere.organization("sas"), "sas")
    seen = {item["operation"] for item in await _listed(admin, f"&patient={file['id']}")}
    assert "patient_file.opened" in seen


async def test_looking_into_the_traces_is_traced(world: World, database: Database) -> None:
    manager, wanted, request_id = await world.manager(), new_id(), f"r-{new_id()}"
    headers = {"X-Request-Id": request_id}
    await manager.get(f"/v1/audit-events?patient={wanted}", headers=headers)
    (trace,) = await traces(database, request_id)
    assert (trace["operation"], trace["subject_ids"]) == ("audit.list", [wanted])


@pytest.mark.parametrize(("from_", "to"), [(0, 0), (0, 24 * 31 + 1), (1, 0)])
async def test_a_window_without_a_patient_is_at_most_31_days(
    world: World, from_: int, to: int
) -> None:
    manager = await world.manager()
    window = {"from": soon(from_).isoformat(), "to": soon(to).isoformat()}
    problem(await manager.get("/v1/audit-events", params=window), 422, "audit-invalid")
    whoever = {**window, "patient": str(new_id())}
    assert (await manager.get("/v1/audit-events", params=whoever)).status_code == 200


# --- for the patient ------------------------------------------------------------------------------


async def test_a_patient_is_told_who_had_access(world: World, database: Database) -> None:
    doctor, regulator = await world.doctor(), await world.regulator()
    await doctor.sign_in(user_id="1", user_given_name="=Camille", user_family_name="Épreuve")
    file = await opened(regulator)
    booking = await booked(regulator, await doctor.publish(), patient_file_id=file["id"])
    await doctor.get("/v1/bookings")
    await doctor.get(f"/v1/bookings/{booking['id']}")
    path = f"/v1/patient-files/{file['id']}/accesses"
    answer = await regulator.get(path)
    assert answer.headers["Cache-Control"] == "no-store"
    items = answer.json()["items"]
    assert [item["operation"] for item in items] == [
        *("patients.accesses", "bookings.read", "bookings.list"),
        *("booking.created", "patient_file.opened"),
    ]
    assert items[1]["label"] == "Consultation d’un rendez-vous"
    assert items[1]["organization"].startswith("practice ")
    assert items[1]["person"]["family_name"] == "Épreuve"

    request_id = f"r-{new_id()}"
    sheet = await doctor.get(path, headers={"Accept": "text/csv", "X-Request-Id": request_id})
    assert sheet.headers["Content-Type"].startswith("text/csv")
    rows = list(csv.reader(io.StringIO(sheet.text.removeprefix("\ufeff")), delimiter=";"))
    assert rows[0][:3] == ["Date et heure", "Action", "Résultat"]
    assert rows[3][1:3] == ["Consultation d’un rendez-vous", "montré"]
    who = ["Médecin effecteur", "'=Camille Épreuve", "déclarée par le logiciel"]
    assert rows[3][4:8] == [*who, "Prise en charge"]
    assert rows[5][5:7] == ["", ""]  # software without anybody
    (trace,) = await traces(database, request_id)
    assert (trace["subject_ids"], trace["purpose"]) == ([UUID(file["id"])], "patient_rights")


async def test_whoever_may_not_read_the_file_is_not_told(world: World) -> None:
    file = await opened(await world.regulator())
    stranger = await world.doctor()
    answer = await stranger.get(f"/v1/patient-files/{file['id']}/accesses")
    problem(answer, 404, "patient-file-not-found")


def test_every_trace_has_french_words() -> None:
    about_patients = {
        name for name in PERMISSIONS if name.split(".")[0] in {"patients", "bookings"}
    }
    assert about_patients <= set(reference.OPERATIONS)
    assert set(Role) <= set(reference.ROLES)
    assert set(PURPOSES) == set(Role)
    assert {*PURPOSES.values(), *Purpose} <= set(reference.PURPOSES)
    assert set(BreakGlass) == set(reference.BREAK_GLASS)


# --- break-glass ----------------------------------------------------------------------------------

_GLASS = "/v1/patient-files/break-glass"


async def test_a_file_is_opened_for_a_reason_and_flagged(world: World, database: Database) -> None:
    file, nurse = await opened(await world.regulator()), await _nurse(world)
    path = f"/v1/patient-files/{file['id']}"
    problem(await nurse.get(path), 404, "patient-file-not-found")
    for reason in ({}, {"reason": None}, {"reason": "curiosity"}):
        problem(await nurse.post(_GLASS, {"file_id": file["id"], **reason}), 422, "invalid")
    by_name = {key: file[key] for key in ("family_name", "birth_date")}
    for wanted in ({"file_id": file["id"]}, by_name):
        headers = {"X-Request-Id": f"r-{new_id()}"}
        body = {**wanted, "reason": "vital_emergency"}
        answer = await nurse.post(_GLASS, body, headers=headers)
        assert [found["id"] for found in answer.json()["items"]] == [file["id"]]
        (trace,) = await traces(database, headers["X-Request-Id"])
        assert trace["break_glass"] == "vital_emergency"
        assert trace["subject_ids"] == [UUID(file["id"])]
    # No right comes with it.
    problem(await nurse.get(path), 404, "patient-file-not-found")
    flagged = await _listed(await world.manager(), "&break_glass=true")
    assert [item["break_glass"] for item in flagged] == ["vital_emergency"] * 2


async def _nurse(world: World) -> Caller:
    department = await world.organization("emergency_department")
    return await world.caller(Role.EMERGENCY_NURSE, department, "emergency_department")


async def test_the_log_tells_that_the_glass_was_broken_and_not_on_whom(
    world: World,
    shared_urls: DatabaseUrls,
    make_settings: Callable[..., Settings],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file, nurse = await opened(await world.regulator()), await _nurse(world)
    before = structlog.get_config()
    async with serving(make_settings(shared_urls.app, log_level="WARNING")) as (client, _):
        monkeypatch.setattr(usecases, "log", structlog.get_logger())
        nurse.http = client
        capsys.readouterr()
        await nurse.post(_GLASS, {"file_id": file["id"], "reason": "patient_unable"})
    structlog.configure(**before)
    line = capsys.readouterr().err
    told = json.loads(line)
    assert (told["event"], told["level"]) == ("break_glass", "warning")
    assert (told["reason"], told["found"]) == ("patient_unable", 1)
    assert told["client_id"] == str(nurse.secret.client_id)
    assert file["id"] not in line


async def test_the_glass_is_broken_in_the_own_territory_by_some_roles_only(
    world: World, database: Database
) -> None:
    file = await opened(await world.regulator())
    body = {"file_id": file["id"], "reason": "continuity_of_care"}
    elsewhere = await World(database, world.http).begin()
    answer = await (await elsewhere.doctor()).post(_GLASS, body)
    assert answer.json() == {"items": []}
    pharmacist = await world.pharmacist()
    problem(await pharmacist.post(_GLASS, body), 403, "role-lacks-operation")
