"""The read-only switch: every change is refused, everything else goes on."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI
from sqlalchemy import event

from service.identity import PERMISSIONS, Role
from service.identity.http import READS_BY_POST
from service.kernel.settings import Settings
from service.main import create_app
from tests.bookings.test_book import booked, request
from tests.conftest import DatabaseUrls
from tests.identity.test_permissions import OPEN
from tests.kernel.serving import serving
from tests.support import Caller, World, code_of, patient, problem


@pytest_asyncio.fixture(loop_scope="session")
async def closed(
    shared_urls: DatabaseUrls, make_settings: Callable[..., Settings]
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a read-only process on the shared database."""
    async with serving(make_settings(shared_urls.app, read_only=True)) as (client, _):
        yield client


async def _staff(world: World) -> dict[Role, Caller]:
    """One caller of each role."""
    organization = await world.organization("other")
    practitioner = await world.practitioner()
    own = {Role.DOCTOR, Role.DELEGATE}
    return {
        role: await world.caller(
            role, organization, "other", practitioner_ids=[practitioner] if role in own else []
        )
        for role in Role
    }


def _operations(app: FastAPI) -> list[tuple[str, str, str]]:
    paths: dict[str, dict[str, Any]] = app.openapi()["paths"]
    return [
        (operation["operationId"], method.upper(), path)
        for path, methods in paths.items()
        for method, operation in methods.items()
        if operation["operationId"] not in OPEN
    ]


async def test_every_change_is_refused_and_every_reading_goes_on(
    app: FastAPI, world: World, closed: httpx.AsyncClient
) -> None:
    staff = await _staff(world)
    seen = set()
    for operation, method, path in _operations(app):
        caller = staff[min(PERMISSIONS[operation])]
        caller.http = closed
        answer = await caller.request(method, path, headers={"Accept": "application/json"})
        if method == "GET" or operation in READS_BY_POST:
            assert answer.status_code != 503, (operation, answer.text)
            continue
        assert (answer.status_code, code_of(answer.json())) == (503, "read-only"), operation
        assert '"Maintenance: ' in answer.text, operation
        assert int(answer.headers["Retry-After"]) >= 30
        seen.add(operation)
    assert {"bookings.book", "slots.publish", "calls.open", "patients.open"} <= seen


async def test_who_may_not_is_told_so_first(world: World, closed: httpx.AsyncClient) -> None:
    analyst = await world.caller(Role.ANALYST, await world.organization("other"), "other")
    analyst.http = closed
    problem(await analyst.post("/v1/bookings", {}), 403, "role-lacks-operation")
    analyst.token = "nobody"
    problem(await analyst.post("/v1/bookings", {}), 401, "token-invalid")


async def test_a_token_a_search_and_a_booking_afterwards(
    world: World, closed: httpx.AsyncClient
) -> None:
    doctor, regulator = await world.doctor(), await world.regulator()
    slot = await doctor.publish()
    file = patient()
    opened = await regulator.post("/v1/patient-files", file)
    assert opened.status_code == 201, opened.text

    ordinary, regulator.http = regulator.http, closed
    await regulator.sign_in()
    assert (await regulator.get("/v1/slots")).status_code == 200
    search = {key: file[key] for key in ("family_name", "birth_date")} | {"purpose": "care"}
    found = await regulator.post("/v1/patient-files/search", search)
    assert found.status_code == 200, found.text
    assert opened.json()["id"] in found.text
    problem(await regulator.post("/v1/bookings", request(slot), key="once"), 503, "read-only")

    # The refusal took no seat and used up no key.
    regulator.http = ordinary
    assert (await regulator.get(f"/v1/slots/{slot['id']}")).json()["remaining"] == 1
    booked = await regulator.post("/v1/bookings", request(slot), key="once")
    assert booked.status_code == 201, booked.text


def _takes_no_writes(connection: Any, _record: object) -> None:
    connection.run_async(lambda driver: driver.execute("SET default_transaction_read_only = on"))


@pytest.mark.skipif(
    "SNP_TEST_APP_URL" in os.environ, reason="a pooler would lend this session to other tests"
)
async def test_a_database_that_takes_no_writes_shows_what_leaves_no_trace(
    world: World, shared_urls: DatabaseUrls, make_settings: Callable[..., Settings]
) -> None:
    doctor, regulator, manager = (
        await world.doctor(),
        await world.regulator(),
        await world.manager(),
    )
    analyst = await world.caller(Role.ANALYST, await world.organization("other"), "other")
    slot = await doctor.publish()
    booking = await booked(regulator, slot)
    figures = f"territory={world.territory}&from=2025-01-01&to=2026-01-01"
    async with serving(make_settings(shared_urls.app, read_only=True)) as (client, database):
        event.listen(database.engine.sync_engine, "connect", _takes_no_writes)
        for caller in (doctor, regulator, manager, analyst):
            caller.http = client
            await caller.sign_in()
        for caller, path in (
            (regulator, f"/v1/slots/{slot['id']}"),
            (analyst, f"/v1/analytics/call-outcomes?{figures}"),
        ):
            shown = await caller.get(path)
            assert shown.status_code == 200, shown.text
        for caller, path in (
            (regulator, f"/v1/patient-files/{booking['patient_file_id']}"),
            (doctor, f"/v1/bookings/{booking['id']}"),
            (doctor, "/v1/bookings"),
            (doctor, f"/v1/practitioners/{doctor.practitioner_id}/absences"),
            (regulator, "/v1/unmet-needs"),
            (manager, f"/v1/analytics/call-outcomes?{figures}"),
            (manager, f"/v1/analytics/unmet-needs?{figures}"),
        ):
            told = problem(await caller.get(path), 503, "temporarily-unavailable")
            assert told["detail"] == "The database takes no writes just now.", path


async def test_a_read_only_server_is_ready_and_says_so(closed: httpx.AsyncClient) -> None:
    ready = await closed.get("/health/ready")
    assert ready.status_code == 200
    assert ready.json()["status"] == "pass"
    assert ready.json()["checks"]["changes"] == "read_only"


@pytest.mark.parametrize("read_only", [True, False])
async def test_nothing_changes_by_itself(
    shared_urls: DatabaseUrls, make_settings: Callable[..., Settings], *, read_only: bool
) -> None:
    app = create_app(make_settings(shared_urls.app, read_only=read_only))
    before = asyncio.all_tasks()
    async with app.router.lifespan_context(app):
        assert (asyncio.all_tasks() == before) is read_only
    assert asyncio.all_tasks() == before
