"""Every reading of a patient's identity, and every refusal on the way to one, leaves a trace."""

import json
import re
from collections.abc import Callable
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest
from sqlalchemy import text

from service.audit.http import Traced
from service.audit.router import router as audit
from service.audit.strangers import MOST
from service.bookings.router import router as bookings
from service.description import description
from service.identity import Role
from service.kernel.db import Database
from service.kernel.ids import new_id
from service.kernel.settings import Settings
from service.main import create_app
from service.needs.router import router as needs
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
    said = {"id": "810000000001", "family_name": "Épreuve", "proof": "asserted"}
    assert trace["person"] == said
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


async def test_who_may_not_is_traced(world: World, database: Database) -> None:
    manager, wanted = await world.manager(), new_id()
    sent = _once()
    problem(await manager.get(f"/v1/bookings/{wanted}", **sent), 403, "role-lacks-operation")
    trace = await _alone(database, sent)
    assert (trace["operation"], trace["result"]) == ("bookings.read", "role-lacks-operation")
    assert (trace["role"], trace["subject_ids"]) == ("manager", [wanted])


async def test_who_is_nobody_is_counted_and_told_in_one_line_an_address_and_minute(
    database_urls: DatabaseUrls, make_settings: Callable[..., Settings]
) -> None:
    app = create_app(make_settings(database_urls.app))
    wanted, first = new_id(), _once()

    async def ask(address: str, **sent: Any) -> None:
        transport = httpx.ASGITransport(app=app, client=(address, 5000))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            answer = await client.get(f"/v1/bookings/{wanted}", **sent)
            problem(answer, 401, "token-invalid")

    async def lines() -> list[Any]:
        async with app.state.database.unit_of_work() as uow:
            return [*(await uow.single(text("SELECT * FROM access_log ORDER BY id"))).mappings()]

    await ask("192.0.2.1", **first)
    for n in range(300):
        await ask("192.0.2.1")
        await ask(f"198.51.{n // 200}.{n % 200}")
    assert await lines() == []
    await app.state.strangers.flush(app.state.database)
    told = await lines()
    assert len(told) == MOST + 1
    assert sum(line["times"] for line in told) == 601
    (mine,) = [line for line in told if line["address"] == "192.0.2.1"]
    assert (mine["times"], mine["operation"], mine["result"]) == (
        301,
        "bookings.read",
        "token-invalid",
    )
    assert (mine["subject_ids"], mine["correlation_id"]) == ([wanted], _id(first))
    (others,) = [line for line in told if line["address"] is None]
    assert others["times"] == 601 - 301 - (MOST - 1)
    await app.state.strangers.flush(app.state.database)
    assert len(await lines()) == MOST + 1
    await app.state.database.dispose()


async def test_a_page_is_one_trace_for_each_territory(world: World, database: Database) -> None:
    elsewhere = await World(database, world.http).begin()
    granted, centre = [world.territory, elsewhere.territory], await world.organization("sas")
    both = await world.caller(Role.REGULATOR, centre, "sas", territories=granted)
    made = {
        here.territory: (await booked(both, await (await here.doctor()).publish()))["id"]
        for here in (world, elsewhere)
    }
    sent = _once()
    assert len((await both.get("/v1/bookings", **sent)).json()["items"]) == 2
    found = await traces(database, _id(sent))
    assert {t["territories"][0]: [str(i) for i in t["subject_ids"]] for t in found} == {
        territory: [booking] for territory, booking in made.items()
    }
    stranger = await elsewhere.manager()
    seen = (await stranger.get("/v1/audit-events?limit=200")).json()["items"]
    assert made[world.territory] not in str(seen)
    assert made[elsewhere.territory] in str(seen)


async def test_notes_that_may_name_somebody_are_traced_where_they_are_shown(
    world: World, database: Database
) -> None:
    regulator, doctor = await world.regulator(), await world.doctor()
    paths = {}
    need = {
        "motive": "M03.14",
        "commune": "36044",
        "mode": "AMB",
        "reason": "too_far",
        "from": soon(2).isoformat(),
        "to": soon(8).isoformat(),
        "note": "Madame Zzyzx",
    }
    absence = {"from": soon(200).isoformat(), "to": soon(220).isoformat(), "reason": "Zzyzx"}
    away = f"/v1/practitioners/{doctor.practitioner_id}/absences"
    for caller, operation, path, body in (
        (regulator, "needs.list", "/v1/unmet-needs", need),
        (doctor, "agenda.list_absences", away, absence),
    ):
        made = [(await caller.post(path, body)).json() for _ in range(2)]
        sent = _once()
        page = (await caller.get(f"{path}?limit=1", **sent)).json()
        assert [item["id"] for item in page["items"]] == [made[1]["id"]]
        trace = await _alone(database, sent)
        assert (trace["operation"], trace["result"]) == (operation, "shown")
        assert [str(i) for i in trace["subject_ids"]] == [made[1]["id"]]
        paths[operation] = trace["territories"]
    assert paths == {"needs.list": ["36"], "agenda.list_absences": [world.territory]}


@pytest.mark.parametrize(
    "operation",
    [
        *("call-outcomes", "slot-usage", "appointments", "referrals", "callbacks"),
        *("cpts-indicators", "unmet-needs"),
    ],
)
async def test_exact_figures_are_traced(world: World, database: Database, operation: str) -> None:
    query = f"territory={world.territory}&from=2022-01-01&to=2022-02-01"
    path = f"/v1/analytics/{operation}?{query}"
    sent = _once()
    assert (await (await world.manager()).get(path, **sent)).status_code == 200
    trace = await _alone(database, sent)
    assert trace["operation"] == f"analytics.{operation.replace('-', '_')}"
    assert (trace["result"], trace["subject_ids"]) == ("shown", [])
    assert (trace["role"], trace["territories"]) == ("manager", [world.territory])
    analyst = await world.caller(Role.ANALYST, await world.organization("sas"), "sas")
    sent = _once()
    assert (await analyst.get(path, **sent)).status_code == 200
    assert await traces(database, _id(sent)) == []


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
    connection = await asyncpg.connect(shared_urls.app, statement_cache_size=0)
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
    for router in (patients, bookings, audit, retention, needs):
        assert all(isinstance(route, Traced) for route in router.routes)


async def test_a_role_that_only_administers_reads_no_patient(world: World) -> None:
    admin = await world.caller(Role.ADMIN, await world.organization("sas"), "sas")
    file = await opened(await world.regulator())
    for path in (f"/v1/patient-files/{file['id']}", f"/v1/patient-files/{file['id']}/accesses"):
        problem(await admin.get(path), 403, "role-lacks-operation")
