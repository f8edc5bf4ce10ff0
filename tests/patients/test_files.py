"""Patient files over HTTP: who reads them, how they are found, what is refused."""

from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from service.identity import Role
from service.kernel.db import Database
from service.kernel.wall import as_upkeep
from service.patients.domain import ins_is_valid
from tests.support import Caller, World, patient, problem, soon

INS = "279035121518989"  # the test number of the national example messages


async def opened(caller: Caller, **members: Any) -> dict[str, Any]:
    """Open a file, and return the answer."""
    answer = await caller.post("/v1/patient-files", patient(**members))
    assert answer.status_code == 201, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def test_the_organization_that_opened_a_file_reads_it(world: World) -> None:
    regulator, osnp = await world.regulator(), await world.regulation(Role.OSNP)
    file = await opened(regulator, phone="06 12 34 56 78", email="Lea.Martin@Example.ORG")
    assert (file["phone"], file["email"]) == ("+33612345678", "lea.martin@example.org")
    read = await osnp.get(f"/v1/patient-files/{file['id']}")
    assert read.json() == file
    assert (read.headers["ETag"], read.headers["Cache-Control"]) == ('"1"', "no-store")
    for stranger in (await world.pharmacist(), await world.doctor()):
        hidden = await stranger.get(f"/v1/patient-files/{file['id']}")
        problem(hidden, 404, "patient-file-not-found")


async def test_identity_is_encrypted_and_bound_to_its_row(world: World, database: Database) -> None:
    regulator = await world.regulator()
    one, other = await opened(regulator), await opened(regulator)
    async with database.unit_of_work() as uow:
        await as_upkeep(uow)
        raw = (
            (
                await uow.execute(
                    text("SELECT * FROM patient_files WHERE id = CAST(:id AS uuid)"),
                    {"id": one["id"]},
                )
            )
            .mappings()
            .one()
        )
        for name in ("family_name", "given_name", "birth_date", "phone"):
            assert isinstance(raw[name], bytes)
            assert one[name].encode() not in raw[name]
        await uow.execute(
            text(
                """UPDATE patient_files SET family_name =
                   (SELECT family_name FROM patient_files WHERE id = CAST(:other AS uuid))
                   WHERE id = CAST(:id AS uuid)"""
            ),
            {"id": one["id"], "other": other["id"]},
        )
    moved = await regulator.get(f"/v1/patient-files/{one['id']}")
    assert moved.status_code == 500
    assert other["family_name"] not in moved.text


@pytest.mark.parametrize(
    ("wrong", "pointer"),
    [
        ({"birth_date": None}, "#"),
        ({"birth_date": "1850-01-01"}, "#/birth_date"),
        ({"birth_date": "2999-01-01"}, "#/birth_date"),
        ({"sex": "X"}, "#/sex"),
        ({"phone": "12"}, "#/phone"),
        ({"email": "nobody"}, "#/email"),
        ({"commune": "99999"}, "#/commune"),
        ({"ins": "279035121518988"}, "#/ins"),
        ({"age": "45 ans"}, "#/age"),
        ({"age": 200}, "#/age"),
        ({"age": "200"}, "#/age"),
        ({"age": "-4"}, "#/age"),
        ({"age": "4.5"}, "#/age"),
        ({"age": "٤"}, "#/age"),
        ({"regular_doctor_rpps": "12A"}, "#/regular_doctor_rpps"),
        ({"family_name": ""}, "#/family_name"),
        ({"unknown": 1}, "#/unknown"),
    ],
)
async def test_a_bad_file_is_told_where_and_never_what(
    world: World, wrong: dict[str, Any], pointer: str
) -> None:
    regulator = await world.regulator()
    answer = await regulator.post("/v1/patient-files", patient(**wrong))
    found = problem(answer, 422, "invalid")
    assert [error["pointer"] for error in found["errors"]] == [pointer]
    for value in wrong.values():
        assert len(str(value)) < 6 or str(value) not in answer.text


@pytest.mark.parametrize("age", [0, 45, 130, "0", "40", " 40 ", "P3M", "P10D", "P80Y"])
async def test_an_age_is_enough(world: World, age: int | str) -> None:
    file = await opened(await world.regulator(), birth_date=None, age=age)
    assert file["age"] == (age if str(age).startswith("P") else f"P{str(age).strip()}Y")


async def test_an_ins_is_shown_only_of_a_qualified_identity(world: World) -> None:
    regulator = await world.regulator()
    file = await opened(regulator, ins=INS)
    assert file["ins"] is None
    path = f"/v1/patient-files/{file['id']}"
    curious = await regulator.patch(path, {"identity_status": "QUAL"}, if_match=1)
    assert problem(curious, 422, "patient-invalid")["errors"][0]["pointer"] == "#/ins"
    both = {"identity_status": "QUAL", "ins": INS}
    qualified = await regulator.patch(path, both, if_match=1)
    assert qualified.json()["ins"] == INS


async def test_a_file_is_corrected_member_by_member(world: World) -> None:
    regulator = await world.regulator()
    file = await opened(regulator)
    path = f"/v1/patient-files/{file['id']}"
    fixed = await regulator.patch(path, {"given_name": "Léna", "phone": None}, if_match=1)
    assert (fixed.json()["given_name"], fixed.json()["phone"]) == ("Léna", None)
    assert fixed.json()["family_name"] == file["family_name"]
    assert fixed.headers["ETag"] == '"2"'
    problem(await regulator.patch(path, {"sex": "M"}, if_match=1), 412, "version-mismatch")
    problem(await regulator.patch(path, {"birth_date": None}), 422, "patient-invalid")
    problem(await regulator.patch(path, {"identity_status": None}), 422, "invalid")


async def test_files_are_found_by_what_identifies_them(world: World) -> None:
    regulator, pharmacist = await world.regulator(), await world.pharmacist()
    name = f"Lefèvre-{world.territory}"
    file = await opened(
        regulator, family_name=name, phone="+33698765432", ins=INS, case_id=f"C1{world.territory}"
    )
    ways = (
        {"family_name": name.upper().replace("È", "E"), "birth_date": "1980-01-01"},
        {"phone": "06 98 76 54 32"},
        {"case_id": f"C1{world.territory}"},
        {"ins": INS},
    )
    for way in ways:
        asked = {**way, "purpose": "regulation"}
        found = (await regulator.post("/v1/patient-files/search", asked)).json()["items"]
        assert [f["id"] for f in found] == [file["id"]], way
        hidden = (await pharmacist.post("/v1/patient-files/search", asked)).json()["items"]
        assert hidden == []


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"family_name": "Martin"},
        {"birth_date": "1980-01-01"},
        {"phone": "+33600000000", "case_id": "C1"},
    ],
)
async def test_a_search_is_exact_and_says_why(world: World, asked: dict[str, str]) -> None:
    regulator = await world.regulator()
    answer = await regulator.post("/v1/patient-files/search", {**asked, "purpose": "care"})
    problem(answer, 422, "invalid")
    without = await regulator.post("/v1/patient-files/search", {"phone": "+33600000000"})
    assert problem(without, 422, "invalid")["errors"][0]["pointer"] == "#/purpose"


@pytest.mark.parametrize("why", [{"purpose": "care"}, {"reason": "vital_emergency"}])
async def test_a_name_without_a_letter_is_no_name(world: World, why: dict[str, str]) -> None:
    regulator = await world.regulator()
    path = "search" if "purpose" in why else "break-glass"
    wanted = {"family_name": "[]", "birth_date": "1980-01-01", **why}
    refused = await regulator.post(f"/v1/patient-files/{path}", wanted)
    assert problem(refused, 422, "invalid")["errors"][0]["code"] == "name-without-letters"


async def test_at_most_twenty_are_found(world: World) -> None:
    regulator = await world.regulator()
    for _ in range(22):
        await opened(regulator, phone="+33611111111")
    found = await regulator.post(
        "/v1/patient-files/search", {"phone": "+33611111111", "purpose": "care"}
    )
    assert len(found.json()["items"]) == 20


async def test_another_doctor_of_the_same_practice_reads_nothing(world: World) -> None:
    doctor, regulator = await world.doctor(), await world.regulator()
    colleague = await world.caller(
        Role.DOCTOR,
        doctor.organization_id,
        "practice",
        practitioner_ids=[await world.practitioner()],
    )
    slot = await doctor.publish(soon(3))
    made = await regulator.post("/v1/bookings", {"slot_id": slot["id"], "patient_file": patient()})
    path = f"/v1/patient-files/{made.json()['patient_file_id']}"
    assert (await doctor.get(path)).status_code == 200
    problem(await colleague.get(path), 404, "patient-file-not-found")
    problem(await colleague.get(f"/v1/bookings/{made.json()['id']}"), 404, "booking-not-found")


@given(st.from_regex(r"[12]\d{4}(\d\d|2A|2B)\d{6}", fullmatch=True))
def test_an_ins_has_exactly_one_key(number: str) -> None:
    keys = [key for key in range(100) if ins_is_valid(f"{number}{key:02d}")]
    assert len(keys) == 1


async def test_the_times_of_a_file_are_in_the_zone_of_its_territory(
    database: Database, http: httpx.AsyncClient
) -> None:
    world = await World(database, http, zone="Indian/Reunion").begin()
    regulator = await world.regulator()
    opened = (await regulator.post("/v1/patient-files", patient(case_id="R-1"))).json()
    path = f"/v1/patient-files/{opened['id']}"
    found = await regulator.post(
        "/v1/patient-files/search", {"case_id": "R-1", "purpose": "booking"}
    )
    for file in (
        opened,
        (await regulator.get(path)).json(),
        found.json()["items"][0],
        (await regulator.patch(path, {"email": None})).json(),
    ):
        assert file["created_at"].endswith("+04:00")
        assert file["updated_at"].endswith("+04:00")


_TARGETS = ("/v1/patient-files", "/v1/calls", "/v1/bookings", "/v1/unmet-needs", "/v1/legal-holds")


@pytest.mark.parametrize("path", _TARGETS)
async def test_a_case_id_is_no_place_for_a_name(world: World, path: str) -> None:
    """It is kept in clear: of the form that ids have, and never told back."""
    regulator = await world.regulator()
    for name in ("Jean Zzyzx", "Zzyzx-Léa-1", "zzyzx 1", "", "x1" * 51):
        body = problem(await regulator.post(path, {"case_id": name}), 422, "invalid")
        assert "#/case_id" in {error["pointer"] for error in body["errors"]}, name
        assert "zzyzx" not in str(body).lower()


async def test_a_case_id_may_be_that_of_the_hub(world: World) -> None:
    regulator = await world.regulator()
    hub = "fr.health.samu770.DRFR157702400400055"
    for case_id in (hub, "LRM-123", "2026/11:4_2", "7" * 100, "faceddeadbee", "T3p#A+/=="):
        assert (await opened(regulator, case_id=case_id))["case_id"] == case_id
