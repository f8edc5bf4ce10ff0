"""Every failure below /fhir is an OperationOutcome; whoever may not ask learns nothing else."""

from urllib.parse import quote

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import update

from service.directory.tables import organizations
from service.fhir.http import outcome as written
from service.kernel import errors
from service.kernel.errors import DomainError
from service.kernel.http.connection import MAX_HEAD_BYTES, MAX_TARGET_BYTES
from service.kernel.http.problems import status_of
from service.kernel.http.rate import RateLimit
from tests.fhir.support import FHIR, outcome, platform, profile, query, rpps_of, search
from tests.fhir.test_conformance_points import asked, sos
from tests.support import World, problem, soon

WHO = ["10000000000"]


async def test_what_is_wrong_with_a_search_is_told_all_at_once(world: World) -> None:
    sas = await platform(world)
    issues = outcome(await sas.get("/fhir/Slot?status=busy"), 400, "required", "fhir-search")
    assert [(issue["severity"], issue["code"]) for issue in issues] == [
        ("error", "required"), ("error", "required"), ("error", "required"), ("error", "value"),
    ]  # fmt: skip
    assert [issue["diagnostics"].partition(":")[0] for issue in issues][-1] == "status"
    outcome(await sas.get("/fhir/Slot"), 400, "required", "fhir-search")


async def test_a_search_passes_over_what_it_does_not_know(world: World) -> None:
    doctor, sas = await world.doctor(), await platform(world)
    await doctor.publish(soon(2))
    answer = await sas.get(f"/fhir/Slot?{query(WHO)}&_count=1000&_format=json&nobody=x")
    assert answer.status_code == 200
    assert answer.json()["link"][0]["url"].endswith("&_count=1000&_format=json&nobody=x")


@pytest.mark.parametrize("accept", ["application/json+fhir", "application/xml", "text/html", "x"])
async def test_no_accept_is_refused(world: World, accept: str) -> None:
    sas = await platform(world)
    answer = await sas.get(f"/fhir/Slot?{query(WHO)}&_format=xml", headers={"Accept": accept})
    assert (answer.status_code, answer.headers["content-type"]) == (200, FHIR)


@pytest.mark.parametrize("path", ["", "/", "/Slots", "/Slot/1/2", "/Patient", "/Slot/%2F"])
async def test_what_there_is_not(world: World, path: str) -> None:
    sas = await platform(world)
    answer = await sas.get(f"/fhir{path}")
    assert answer.json()["issue"][0]["code"] == "not-found"
    assert (answer.status_code, answer.headers["content-type"]) == (404, FHIR)


async def test_only_what_is_below_fhir_is_told_so(http: httpx.AsyncClient) -> None:
    problem(await http.get("/fhirx"), 404, "not-found")
    problem(await http.get("/v1/fhir/x"), 404, "not-found")


async def test_what_is_refused_before_there_is_a_request(base_url: str) -> None:
    async with httpx.AsyncClient(base_url=base_url, trust_env=False) as client:
        address = await client.get("/fhir/Slot", params={"x": "x" * MAX_TARGET_BYTES})
        head = await client.get("/fhir/Slot?status=free", headers={"x": "x" * MAX_HEAD_BYTES})
    outcome(address, 414, "too-long", "address-too-long")
    outcome(head, 431, "too-long", "head-too-large")
    assert address.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/fhir/Slot"), ("DELETE", "/fhir/Slot/x"), ("PUT", "/fhir/metadata")],
)
async def test_what_cannot_be_done(world: World, method: str, path: str) -> None:
    sas = await platform(world)
    answer = await sas.request(method, path)
    outcome(answer, 405, "not-supported", "method-not-allowed")
    assert answer.headers["allow"] == "GET"


async def test_who_may_ask(world: World, http: httpx.AsyncClient) -> None:
    path = f"/fhir/Slot?{query(WHO)}"
    nobody = await http.get(path)
    outcome(nobody, 401, "login", "token-invalid")
    assert nobody.headers["www-authenticate"] == "Bearer"
    for caller in (await world.regulator(), await world.doctor(), await world.manager()):
        outcome(await caller.get(path), 403, "forbidden", "role-lacks-operation")


async def test_too_many_requests(world: World, app: FastAPI) -> None:
    sas = await platform(world)
    before, app.state.client_limit = app.state.client_limit, RateLimit("client", 1)
    try:
        await sas.get("/fhir/Slot")
        refused = await sas.get("/fhir/Slot")
    finally:
        app.state.client_limit = before
    outcome(refused, 429, "throttled", "too-many-requests")
    assert int(refused.headers["retry-after"]) > 0


async def test_a_defect_of_ours(world: World, app: FastAPI) -> None:
    sas = await platform(world)
    settings, app.state.settings = app.state.settings, None
    try:
        answer = await sas.get(f"/fhir/Slot?{query(WHO)}")
    finally:
        app.state.settings = settings
    [issue] = outcome(answer, 500, "exception", "defect")
    assert issue["severity"] == "fatal"


def test_each_kind_of_refusal_has_an_issue_type() -> None:
    families = [family for family in vars(errors).values() if isinstance(family, type)]
    refusals = [f for f in families if issubclass(f, DomainError) and f is not DomainError]
    assert len(refusals) > 10
    for refusal in refusals:
        body = {"status": status_of(refusal), "code": refusal.code, "title": refusal.title}
        assert b'"code":"processing"' not in written(body)[0], refusal


def test_a_broken_rule_is_told_where() -> None:
    field = {"pointer": "#/name/0", "code": "missing", "detail": "Needed."}
    body = {"status": 422, "code": "x", "title": "X.", "errors": [field]}
    content, media_type = written(body)
    assert media_type == FHIR
    assert b'"code":"business-rule"' in content
    assert b'"diagnostics":"#/name/0: Needed."' in content


# --- what we can --------------------------------------------------------------------------------


async def test_what_we_can_is_told_to_everybody(http: httpx.AsyncClient) -> None:
    answer = await http.get("/fhir/metadata")
    assert (answer.status_code, answer.headers["content-type"]) == (200, FHIR)
    told = answer.json()
    assert (told["kind"], told["fhirVersion"]) == ("instance", "4.0.1")
    assert told["format"] == ["application/fhir+json", "json"]
    resources = {resource["type"]: resource for resource in told["rest"][0]["resource"]}
    assert {one["code"] for one in resources["Slot"]["interaction"]} == {"read", "search-type"}


async def test_what_we_say_we_include_is_included(world: World, http: httpx.AsyncClient) -> None:
    """What is declared as readable can be read, under the profile that is declared."""
    (doctor, siret), sas = await sos(world), await platform(world)
    community = await world.organization("cpts")
    async with world.database.unit_of_work() as uow:
        theirs = organizations.c.id == community
        finess = f"{community.int % 10**9:09d}"
        await uow.execute(update(organizations).where(theirs).values(finess=finess))
    await doctor.publish(soon(2), visibility=["SNP", "CPTS"], cpts_ids=[str(community)])
    rpps = await rpps_of(world, doctor.practitioner_id)
    bundles = [
        await search(sas, rpps),
        await search(sas, rpps, communities=True),
        (await sas.get(f"/fhir/Schedule?{quote(asked([siret]), '=&:,')}")).json(),
    ]
    [rest] = (await http.get("/fhir/metadata")).json()["rest"]
    declared = {
        resource["type"]: resource["supportedProfile"]
        for resource in rest["resource"]
        if {"code": "read"} in resource["interaction"]
    }
    resources = [entry["resource"] for bundle in bundles for entry in bundle["entry"]]
    assert {one["resourceType"] for one in resources} == set(declared)
    for one in resources:
        assert profile(one) in declared[one["resourceType"]]
        answer = await sas.get(f"/fhir/{one['resourceType']}/{one['id']}")
        assert answer.status_code == 200
        assert profile(answer.json()) in declared[one["resourceType"]]
