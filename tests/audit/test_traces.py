"""Every reading of a patient's identity, and every refusal on the way to one, leaves a trace."""

import json
import re
from collections.abc import Callable
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from service.audit.http import Traced
from service.audit.router import router as audit
from service.bookings.router import router as bookings
from service.description import description
from service.identity import Role
from service.kernel.db import Database
from service.kernel.ids import new_id
from service.kernel.settings import Settings
from service.patients.router import router as patients
from service.retention.router import router as retention
from tests.audit.support import as_role, changes, traces
from tests.bookings.test_book import booked, request
from tests.conftest import Clock, DatabaseUrls
from tests.kernel.serving import serving
from tests.patients.test_files import opened
from tests.support import Caller, World, patient, problem, soon


def _once() -> dict[str, Any]:
    return {"headers": {"X-Request-Id": f"r-{new_id()}"}}


def _id(sent: dict[str, Any]) -> str:
    return str(sent["headers"]["X-Request-Id"])


async def _alone(database: Database, sent: dict[str, Any]) -> dict[str, Any]:
    (trace,) = await traces(database, _id(sent))
    return trace


async def test_a_reading_says_who_what_when_whom_why_and_in_which_request(
    world: World, database: Database
) -> None:
    regulator = await world.regulator()
    await regulator.sign_in(user_id="810000000001", user_family_name="Épreuve")
    file = await opened(regulator)
    sent = _once()
    assert (await regulator.get(f"/v1/patient-files/{file['id']}", **sent)).status_code == 200
    trace = await _alone(database, sent)
    assert {name: trace[name] for name in ("operation", "result", "purpose", "role")} == {
        "operation": "patients.read",
        "result": "shown",
        "purpose": "regulation",
        "role": "regulator",
    }
    assert trace["subject_ids"] == [UUID(file["id"])]
    assert trace["territories"] == [world.territory]
    assert trace["client_id"] == regulator.secret.client_id
    assert trace["organization_id"] == regulator.organization_id
    assert trace["person"] == {
        "id": "810000000001",
        "proof": "asserted",
        "family_name": "Épreuve",
    }
    assert trace["address"] == "127.0.0.1"
    assert trace["grant_id"] is not None
    assert trace["break_glass"] is None
    assert file["family_name"] not in str(trace)


async def test_a_search_says_why_and_which_were_found_also_when_none_was(
    world: World, database: Database
) -> None:
    regulator = await world.regulator()
    file = await opened(regulator)
    wanted = {key: file[key] for key in ("family_name", "birth_date")}
    for name, found in (("", [UUID(file["id"])]), ("x", [])):
        body = {**wanted, "family_name": f"{file['family_name']}{name}", "purpose": "correction"}
        sent = _once()
        answer = await regulator.post("/v1/patient-files/search", body, **sent)
        assert [UUID(item["id"]) for item in answer.json()["items"]] == found
        trace = await _alone(database, sent)
        assert trace["operation"] == "patients.search"
        assert (trace["purpose"], trace["subject_ids"]) == ("correction", found)
        assert trace["territories"] == [world.territory]


async def test_a_booking_is_traced_where_its_patient_is_shown(
    world: World, database: Database
) -> None:
    doctor, regulator = await world.doctor(), await world.regulator()
    booking = await booked(regulator, await doctor.publish())
    path = f"/v1/bookings/{booking['id']}"
    sent = _once()
    assert (await doctor.get(path, **sent)).json()["patient"] is not None
    trace = await _alone(database, sent)
    assert (trace["operation"], trace["purpose"]) == ("bookings.read", "care")
    assert trace["subject_ids"] == [UUID(booking["id"])]
    # What happened to it names no patient.
    sent = _once()
    told = await doctor.get(f"{path}/history", **sent)
    assert told.status_code == 200
    assert "Martin" not in told.text
    assert await traces(database, _id(sent)) == []


async def test_a_list_is_one_trace_of_exactly_what_it_shows(
    world: World, database: Database
) -> None:
    doctor, regulator = await world.doctor(), await world.regulator()
    made = [(await booked(regulator, await doctor.publish(soon(2 + n))))["id"] for n in range(3)]
    sent = _once()
    page = (await doctor.get("/v1/bookings?limit=2", **sent)).json()
    trace = await _alone(database, sent)
    assert trace["operation"] == "bookings.list"
    assert {str(i) for i in trace["subject_ids"]} == {item["id"] for item in page["items"]}
    assert {item["id"] for item in page["items"]} == set(made[1:])
    sent = _once()
    empty = await (await world.pharmacist()).get("/v1/bookings", **sent)
    assert empty.json()["items"] == []
    assert await traces(database, _id(sent)) == []


async def test_what_shows_nobody_leaves_no_trace_and_a_change_leaves_its_event(
    world: World, database: Database
) -> None:
    doctor, regulator = await world.doctor(), await world.regulator()
    await regulator.sign_in(user_id="810000000002")
    slot = await doctor.publish()
    sent = _once()
    assert (await regulator.get("/v1/slots", **sent)).status_code == 200
    assert await traces(database, _id(sent)) == []
    sent = _once()
    answer = await regulator.post("/v1/bookings", request(slot), **sent)
    booking = answer.json()
    assert await traces(database, _id(sent)) == []
    (event,) = await changes(database, _id(sent))
    _complete(event, regulator)
    assert event["subject_id"] == UUID(booking["id"])


def _complete(event: dict[str, Any], caller: Caller) -> None:
    assert event["client_id"] == caller.secret.client_id
    assert event["organization_id"] == caller.organization_id
    assert event["role"] == caller.role
    assert event["address"] == "127.0.0.1"
    assert event["purpose"] in {"regulation", "care"}
    assert event["grant_id"] is not None
    assert event["person"] is not None


async def test_each_change_of_a_file_or_booking_says_the_same_of_its_author(
    world: World, database: Database, clock: Clock
) -> None:
    doctor, regulator = await world.doctor(), await world.regulator()
    for caller in (doctor, regulator):
        await caller.sign_in(user_id="810000000003")
    first, second = await doctor.publish(soon(2)), await doctor.publish(soon(3))
    seen = set()

    async def change(caller: Caller, method: str, path: str, body: Any) -> dict[str, Any]:
        sent = _once()
        answer = await caller.request(method, path, json=body, **sent)
        assert answer.is_success, answer.text
        for event in await changes(database, _id(sent)):
            _complete(event, caller)
            seen.add(event["type"])
        assert await traces(database, _id(sent)) == []
        done: dict[str, Any] = answer.json()
        return done

    file = await change(regulator, "POST", "/v1/patient-files", patient())
    await change(regulator, "PATCH", f"/v1/patient-files/{file['id']}", {"phone": None})
    asked = {"slot_id": first["id"], "patient_file_id": file["id"]}
    booking = await change(regulator, "POST", "/v1/bookings", asked)
    path = f"/v1/bookings/{booking['id']}"
    await change(regulator, "POST", f"{path}/rescheduling", {"slot_id": second["id"]})
    other = await change(regulator, "POST", "/v1/bookings", request(first))
    told = {"by": "patient", "reason": None}
    await change(regulator, "POST", f"/v1/bookings/{other['id']}/cancellation", told)
    await clock.shift(soon(4) - soon(0))
    await doctor.sign_in(user_id="810000000003")
    await change(doctor, "PUT", f"{path}/report", {"state": "fulfilled"})
    assert seen == {
        *("patient_file.opened", "patient_file.amended", "booking.created"),
        *("booking.rescheduled", "booking.cancelled", "booking.reported"),
    }
    # The same report again changes nothing, and shows the patient once more.
    sent = _once()
    again = await doctor.put(f"{path}/report", {"state": "fulfilled"}, **sent)
    assert again.status_code == 200
    assert await changes(database, _id(sent)) == []
    assert (await _alone(database, sent))["subject_ids"] == [UUID(booking["id"])]


async def test_an_answer_given_again_is_a_reading(world: World, database: Database) -> None:
    doctor, regulator = await world.doctor(), await world.regulator()
    booking = await booked(regulator, await doctor.publish())
    path = f"/v1/bookings/{booking['id']}/cancellation"
    told, key = {"by": "patient", "reason": None}, str(new_id())
    assert (await regulator.post(path, told, key=key)).status_code == 200
    sent = _once()
    again = await regulator.post(path, told, key=key, **sent)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert (await _alone(database, sent))["operation"] == "bookings.read"


@pytest.mark.parametrize("kind", ["patient-files", "bookings"])
async def test_what_is_not_seen_is_traced_as_refused(
    world: World, database: Database, kind: str
) -> None:
    doctor, regulator = await world.doctor(), await world.regulator()
    booking = await booked(regulator, await doctor.publish())
    there = booking["patient_file_id" if kind == "patient-files" else "id"]
    pharmacist = await world.pharmacist()
    code = f"{kind.removesuffix('s')}-not-found"
    for wanted in (there, str(new_id())):
        sent = _once()
        problem(await pharmacist.get(f"/v1/{kind}/{wanted}", **sent), 404, code)
        trace = await _alone(database, sent)
        assert (trace["result"], trace["subject_ids"]) == (code, [UUID(wanted)])
        assert trace["client_id"] == pharmacist.secret.client_id


async def test_who_may_not_and_who_is_nobody_are_traced(world: World, database: Database) -> None:
    manager, wanted = await world.manager(), new_id()
    sent = _once()
    problem(await manager.get(f"/v1/bookings/{wanted}", **sent), 403, "role-lacks-operation")
    trace = await _alone(database, sent)
    assert (trace["operation"], trace["result"]) == ("bookings.read", "role-lacks-operation")
    assert (trace["role"], trace["subject_ids"]) == ("manager", [wanted])
    manager.token = "nobody"
    sent = _once()
    problem(await manager.get(f"/v1/bookings/{wanted}", **sent), 401, "token-invalid")
    trace = await _alone(database, sent)
    assert (trace["result"], trace["role"], trace["address"]) == (
        "token-invalid",
        None,
        "127.0.0.1",
    )


async def test_what_cannot_be_traced_is_not_shown(
    database_urls: DatabaseUrls, make_settings: Callable[..., Settings]
) -> None:
    async with serving(make_settings(database_urls.app)) as (client, database):
        world = await World(database, client).begin()
        doctor, regulator = await world.doctor(), await world.regulator()
        booking = await booked(regulator, await doctor.publish())
        file = await opened(regulator)
        search = {"case_id": "LRM-1", "purpose": "care"}
        await as_role(database_urls.superuser, "REVOKE INSERT ON access_log FROM snp_app")
        for answer in (
            await regulator.get(f"/v1/patient-files/{file['id']}"),
            await regulator.get(f"/v1/bookings/{booking['id']}"),
            await regulator.get("/v1/bookings"),
            await regulator.post("/v1/patient-files/search", search),
        ):
            problem(answer, 500, "defect")
            assert file["family_name"] not in answer.text
        # A refusal shows nothing: it stands.
        refused = await (await world.manager()).get(f"/v1/bookings/{booking['id']}")
        problem(refused, 403, "role-lacks-operation")


@pytest.mark.parametrize("table", ["access_log", "audit_seals", "events"])
@pytest.mark.parametrize("order", ["UPDATE {} SET id = id", "DELETE FROM {}", "TRUNCATE {}"])
async def test_the_role_of_the_application_can_only_append(
    shared_urls: DatabaseUrls, table: str, order: str
) -> None:
    named = order.replace("id = id", "position = position") if table == "audit_seals" else order
    connection = await asyncpg.connect(shared_urls.app)
    try:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(named.format(table))
    finally:
        await connection.close()


# Each of them is in a test above: it leaves a trace, or the event of its change.
SHOW_IDENTITY = {
    *("patients.open", "patients.read", "patients.amend", "patients.search"),
    *("patients.break_glass", "bookings.read", "bookings.list", "bookings.cancel"),
    *("bookings.reschedule", "bookings.report", "bookings.book"),
}


def test_no_other_operation_shows_who_a_patient_is() -> None:
    document = json.loads(description())
    schemas = document["components"]["schemas"]

    def names(part: Any) -> set[str]:
        return set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(part)))

    identity, known = {"PatientOut", "PatientFileOut"}, set[str]()
    assert identity <= set(schemas)
    while identity != known:
        known = set(identity)
        identity |= {name for name, schema in schemas.items() if names(schema) & known}
    shown = {
        operation["operationId"]
        for path in document["paths"].values()
        for operation in path.values()
        if any(
            names(operation["responses"].get(status, {})) & identity for status in ("200", "201")
        )
    }
    assert shown == SHOW_IDENTITY
    for router in (patients, bookings, audit, retention):
        assert all(isinstance(route, Traced) for route in router.routes)


async def test_a_role_that_only_administers_reads_no_patient(world: World) -> None:
    admin = await world.caller(Role.ADMIN, await world.organization("sas"), "sas")
    file = await opened(await world.regulator())
    for path in (f"/v1/patient-files/{file['id']}", f"/v1/patient-files/{file['id']}/accesses"):
        problem(await admin.get(path), 403, "role-lacks-operation")
