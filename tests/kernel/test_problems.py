"""Every refusal is a problem: in the agreed order, with pointers, without what was sent."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import httpx
import pytest
import structlog

from service.description import description
from service.identity import Role
from service.kernel.db import Database
from service.kernel.http import middleware, problems, words
from service.kernel.ids import new_id
from service.kernel.settings import Settings
from tests.conftest import DatabaseUrls
from tests.kernel.serving import serving
from tests.support import Caller, World, problem, soon

Body = dict[str, Any]
MakeSettings = Callable[..., Settings]
JSON = {"Content-Type": "application/json"}
TEN_MB = b'{"note": "' + b"x" * 10_000_000 + b'"}'


async def _chunks(content: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(content), 64 * 1024):
        yield content[start : start + 64 * 1024]


def _pointers(body: Body) -> list[tuple[str, str]]:
    return [(error["pointer"], error["code"]) for error in body["errors"]]


# --- what cannot be read ------------------------------------------------------------------------


@pytest.mark.parametrize("content", ['{"starts_at": ', "{'a': 1}", "", " ", "\x00", "{]", "nul"])
async def test_broken_json_is_malformed(world: World, content: str) -> None:
    doctor = await world.doctor()
    answer = await doctor.request("POST", "/v1/slots", content=content, headers=JSON)
    if content:
        body = problem(answer, 400, "malformed")
        assert _pointers(body) == [("#", "json-invalid")]
    else:  # nothing was sent at all
        assert _pointers(problem(answer, 422, "invalid")) == [("#", "missing")]


@pytest.mark.parametrize("content", [b'{"note": "\xff"}', b"\xff\xfe{}", b"[" * 5000])
async def test_bytes_that_are_no_text_are_malformed(world: World, content: bytes) -> None:
    doctor = await world.doctor()
    answer = await doctor.request("POST", "/v1/slots", content=content, headers=JSON)
    problem(answer, 400, "malformed")


@pytest.mark.parametrize(
    "media", ["text/plain", "application/xml", "multipart/form-data; boundary=x", "", "json",
              "application/x-www-form-urlencoded"]
)  # fmt: skip
async def test_another_media_type_is_unsupported(world: World, media: str) -> None:
    doctor = await world.doctor()
    answer = await doctor.request(
        "POST", "/v1/slots", content="{}", headers={"Content-Type": media}
    )
    problem(answer, 415, "unsupported-media-type")


@pytest.mark.parametrize("media", ["application/merge-patch+json", "application/json;charset=utf-8",
                                   "Application/JSON"])  # fmt: skip
async def test_json_and_merge_patch_are_read(world: World, media: str) -> None:
    doctor = await world.doctor()
    slot = await doctor.publish()
    answer = await doctor.request(
        "PATCH", f"/v1/slots/{slot['id']}", content='{"note": "x"}', if_match=1,
        headers={"Content-Type": media},
    )  # fmt: skip
    assert answer.status_code == 200, answer.text


async def test_a_body_of_ten_megabytes_is_too_large(world: World) -> None:
    doctor = await world.doctor()
    announced = await doctor.request("POST", "/v1/slots", content=TEN_MB, headers=JSON)
    problem(announced, 413, "body-too-large")
    chunked = await doctor.request("POST", "/v1/slots", content=_chunks(TEN_MB), headers=JSON)
    assert "Content-Length" not in chunked.request.headers
    problem(chunked, 413, "body-too-large")


async def test_a_token_request_of_ten_megabytes_is_too_large(world: World) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    content = (b"x=" + b"x" * 100_000 + b"&") * 100
    for sent in (content, _chunks(content)):
        answer = await world.http.post("/oauth/token", content=sent, headers=headers)
        problem(answer, 413, "body-too-large")


async def test_the_largest_batch_with_the_longest_notes_is_not_too_large(world: World) -> None:
    doctor = await world.doctor()
    batch = [doctor.slot(soon(2, 20 * n), note="é" * 500) for n in range(500)]
    answer = await doctor.post("/v1/slots", {"slots": batch})
    assert answer.status_code == 201, answer.text


async def test_unknown_paths_and_methods_are_problems_too(world: World) -> None:
    regulator = await world.regulator()
    problem(await regulator.get("/v1/nothing-here"), 404, "not-found")
    answer = await regulator.put("/v1/slots", {})
    problem(answer, 405, "method-not-allowed")
    assert set(answer.headers["Allow"].replace(" ", "").split(",")) <= {"GET", "POST"}


# --- the order of answers -----------------------------------------------------------------------


async def test_401_comes_before_everything(world: World) -> None:
    for headers in ({}, {"Authorization": "Bearer x"}, {"Authorization": "Basic x"}):
        for content, media in ((TEN_MB, "text/plain"), (b"{", "application/json")):
            answer = await world.http.post(
                "/v1/slots", content=content, headers={**headers, "Content-Type": media}
            )
            problem(answer, 401, "token-invalid")
            assert answer.headers["WWW-Authenticate"] == "Bearer"


async def test_403_comes_before_what_the_body_says(world: World) -> None:
    manager = await world.manager()
    for content, media in (
        (TEN_MB, "text/plain"),
        (b"{", "application/json"),
        (b"5", JSON["Content-Type"]),
    ):
        answer = await manager.request(
            "POST", "/v1/slots", content=content, headers={"Content-Type": media}
        )
        problem(answer, 403, "role-lacks-operation")
    path = f"/v1/slots/{new_id()}"
    problem(await manager.patch(path, {"x": 1}), 403, "role-lacks-operation")
    problem(await manager.get("/v1/slots", params={"limit": 0}), 403, "role-lacks-operation")


async def test_a_body_that_cannot_be_read_comes_before_its_rules_and_its_object(
    world: World,
) -> None:
    doctor = await world.doctor()
    path = f"/v1/slots/{new_id()}"
    broken = await doctor.request("PATCH", path, content="{", headers=JSON)
    problem(broken, 400, "malformed")
    too_large = await doctor.request("PATCH", path, content=TEN_MB, headers=JSON)
    problem(too_large, 413, "body-too-large")
    malformed_key = await doctor.post("/v1/slots", {"x": 1}, key="a b")
    problem(malformed_key, 400, "idempotency-key-malformed")


async def test_the_bodys_own_rules_come_before_the_object_and_its_version(world: World) -> None:
    doctor = await world.doctor()
    slot = await doctor.publish()
    unknown, known = f"/v1/slots/{new_id()}", f"/v1/slots/{slot['id']}"
    wrong, right = {"capacity": 0}, {"note": "x"}
    problem(await doctor.patch(unknown, wrong, if_match=7), 422, "invalid")
    problem(await doctor.patch(unknown, right, if_match=7), 404, "slot-not-found")
    problem(await doctor.patch(unknown, right), 404, "slot-not-found")
    problem(await doctor.patch(known, right), 428, "precondition-required")
    await doctor.delete(known, if_match="*")
    problem(await doctor.patch(known, right, if_match=1), 412, "version-mismatch")
    problem(await doctor.patch(known, right, if_match="*"), 409, "slot-withdrawn")


# --- pointers -----------------------------------------------------------------------------------


async def test_a_made_up_name_that_may_be_a_persons_is_not_told(world: World) -> None:
    regulator = await world.regulator()
    for name in ("Mme Zzyzx", "zzyzxlabêlle", "DUPONT", "z" * 41):
        answer = await regulator.post("/v1/patient-files", {"age": 4, name: name})
        assert _pointers(problem(answer, 422, "invalid")) == [("#/?", "extra-forbidden")]
        assert name not in answer.text
        answer = await regulator.get("/v1/bookings", params={name: name})
        assert _pointers(problem(answer, 422, "unknown-parameter"))[0][0] == "?"
        assert name not in answer.text


async def test_pointers_name_the_member_of_one_slot_and_of_slot_3_of_a_batch(world: World) -> None:
    doctor = await world.doctor()
    wrong = {
        **doctor.slot(),
        "starts_at": "2026-12-01T14:00:00",
        "modes": ["AMB", "XX"],
        "capacity": "many",
        "colour/of~it": "red",
    }
    expected = {
        ("#/starts_at", "instant-naive"),
        ("#/modes/1", "enum"),
        ("#/capacity", "int-parsing"),
        ("#/colour~1of~0it", "extra-forbidden"),
    }
    alone = problem(await doctor.post("/v1/slots", wrong), 422, "invalid")
    assert set(_pointers(alone)) == expected
    batch = {"slots": [*(doctor.slot(soon(2 + n)) for n in range(3)), wrong]}
    among = problem(await doctor.post("/v1/slots", batch), 422, "invalid")
    assert set(_pointers(among)) == {
        (pointer.replace("#", "#/slots/3"), code) for pointer, code in expected
    }


async def test_a_parameter_is_named_as_it_was_sent(world: World) -> None:
    regulator = await world.regulator()
    answer = await regulator.get("/v1/slots", params={"from": "x", "limit": "y"})
    body = problem(answer, 422, "invalid")
    assert [error["pointer"] for error in body["errors"]] == ["from", "limit"]
    answer = await regulator.get("/v1/slots/not-an-id")
    body = problem(answer, 422, "invalid")
    assert [error["pointer"] for error in body["errors"]] == ["slot_id"]


async def test_what_is_wrong_is_said_in_our_own_words(world: World) -> None:
    doctor, regulator = await world.doctor(), await world.regulator()
    right = doctor.slot()
    cases: dict[str, tuple[Any, str, str]] = {
        "colour": ("red", "extra-forbidden", "Not a member of this object: leave it out."),
        "location_id": ("here", "uuid-parsing", "Not an id: a UUID is wanted."),
        "practitioner_id": (5, "uuid-type", "Not an id: a UUID is wanted."),
        "modes": ("AMB", "list-type", "A list is wanted."),
        "visibility": (["ALL"], "enum", "One of these: 'PUBLIC', 'PRO', 'SNP' or 'CPTS'."),
        "capacity": ("many", "int-parsing", "A whole number is wanted."),
        "overbooking": (1.5, "int-from-float", "A whole number is wanted."),
        "walk_in": ("perhaps", "bool-parsing", "true or false is wanted."),
        "note": (5, "string-type", "A text is wanted."),
        "specialty": ([], "string-type", "A text is wanted."),
        "external_id": ("x" * 201, "string-too-long", "At most 200 characters."),
        "cpts_ids": ([str(new_id())] * 51, "too-long", "At most 50 items."),
    }  # fmt: skip
    wrong = {**right, **{name: value for name, (value, _, _) in cases.items()}}
    body = problem(await doctor.post("/v1/slots", wrong), 422, "invalid")
    said = {e["pointer"].split("/")[1]: (e["code"], e["detail"]) for e in body["errors"]}
    assert said == {name: tuple(expected) for name, (_, *expected) in cases.items()}
    for sent in (5, "x", [right], None):
        told = problem(await doctor.post("/v1/slots", sent), 422, "invalid")["errors"]
        assert {e["detail"] for e in told} <= {"An object is wanted.", "This is missing."}, told
    booking = {"slot_id": str(new_id()), "patient_file": "Martin", "reason": 5}
    told = problem(await regulator.post("/v1/bookings", booking), 422, "invalid")["errors"]
    assert {(e["pointer"], e["code"], e["detail"]) for e in told} == {
        ("#/patient_file", "object-type", "An object is wanted."),
        ("#/reason", "object-type", "An object is wanted."),
    }
    path = f"/v1/bookings/{new_id()}"
    for method, what, member, codes in (
        ("PUT", "report", "state", ["fulfilled", "noshow"]),
        ("POST", "cancellation", "by", ["patient", "requester", "doctor"]),
    ):
        for value in ("perhaps", "booked", "system", 5, None):
            answer = await doctor.request(method, f"{path}/{what}", json={member: value})
            error = problem(answer, 422, "invalid")["errors"][0]
            assert re.findall(r"\b[a-z]{5,}\b", error["detail"].partition(":")[2]) == codes
    low = problem(await doctor.get("/v1/slots?limit=0&radius_km=x"), 422, "invalid")["errors"]
    assert {e["detail"] for e in low} == {"At least 1.", "A number is wanted."}


def test_no_sentence_of_a_library_is_left() -> None:
    """Whatever the framework finds wrong in our bodies has a sentence of ours."""
    kinds = ("missing", "extra_forbidden", "uuid_parsing", "dict_type", "date_parsing", "time_type")
    for kind in kinds:
        assert "nput" not in words.sentence({"type": kind, "msg": "Input should be x"})
    told = words.sentence({"type": "one_way", "msg": "Search by phone, or case_id."})
    assert told == "Search by phone, or case_id."


async def test_a_parameter_that_an_operation_does_not_know_is_refused_by_name(
    world: World,
) -> None:
    regulator, doctor = await world.regulator(), await world.doctor()
    for path in (
        "/v1/slots?commune=36044&commun=36044&commun=36044",
        "/v1/bookings?commun=36044&limit=0",
        f"/v1/bookings/{new_id()}?commun=36044",
        "/v1/analytics/call-outcomes?territory=36&commun=36044",
        "/v1/me?commun=",
    ):
        body = problem(await regulator.get(path), 422, "unknown-parameter")
        assert _pointers(body) == [("commun", "unknown-parameter")]
        assert "36044" not in str(body)
    taken = problem(await regulator.get("/v1/code-lists?form=x&a=y"), 422, "unknown-parameter")
    assert _pointers(taken) == [("a", "unknown-parameter"), ("form", "unknown-parameter")]
    answer = await doctor.post("/v1/slots?dry_run=true", doctor.slot())
    problem(answer, 422, "unknown-parameter")
    own = f"/v1/practitioners/{doctor.practitioner_id}/slots"
    assert (await doctor.get(own)).json()["items"] == []
    # Who may not ask at all learns nothing of what could be asked.
    problem(await world.http.get("/v1/slots?commun=36044"), 401, "token-invalid")
    manager = await world.manager()
    problem(await manager.get("/v1/slots?commun=36044"), 403, "role-lacks-operation")


async def test_every_parameter_of_the_description_is_known(world: World) -> None:
    regulator = await world.regulator()
    for path, members in json.loads(description())["paths"].items():
        operation = members.get("get", {})
        names = [p["name"] for p in operation.get("parameters", ()) if p["in"] == "query"]
        if names and "security" in operation:
            place = re.sub(r"{\w+}", str(new_id()), path)
            answer = await regulator.get(place, params=dict.fromkeys(names, ""))
            assert answer.json().get("code") != "unknown-parameter", (path, answer.text)


# --- what is never echoed, and what a log line says ---------------------------------------------

MARK = "Zzyzxmarque"
LOGGING = (middleware, problems)


@asynccontextmanager
async def _logging(settings: Settings) -> AsyncIterator[tuple[httpx.AsyncClient, Database]]:
    """Serve an application with loggers made anew, as in a process of its own."""
    before, loggers = structlog.get_config(), [vars(module)["log"] for module in LOGGING]
    async with serving(settings) as (client, database):
        for module in LOGGING:
            vars(module)["log"] = structlog.get_logger()
        yield client, database
    structlog.configure(**before)
    for module, logger in zip(LOGGING, loggers, strict=True):
        vars(module)["log"] = logger


def _wrong_requests(doctor: Caller, slot_id: str) -> list[tuple[str, str, Body]]:
    """Requests with the mark in every place where a caller can put something wrong."""
    right = doctor.slot()
    members = (
        "practitioner_id", "location_id", "starts_at", "ends_at", "modes", "visibility",
        "capacity", "overbooking", "cpts_ids", "organization_types", "organization_ids",
        "specialty", "walk_in", "colour",
    )  # fmt: skip
    wrong: list[Any] = [{**right, member: MARK} for member in members]
    wrong += [{**right, member: [MARK]} for member in members]
    wrong += [{**right, member: {MARK: MARK}} for member in members if member != "colour"]
    wrong += [{**right, "note": MARK * 100}, {**right, "note": f"{MARK}\x00"}]
    wrong += [
        {**right, "external_id": MARK * 50},
        {**right, "location_id": str(new_id()), "note": MARK},
    ]
    wrong += [MARK, [MARK], {"slots": MARK}, {"slots": [MARK]}, {"slots": [right, {"note": MARK}]}]
    publish = [("POST", "/v1/slots", {"json": body}) for body in wrong]
    path = f"/v1/slots/{slot_id}"
    form = {"grant_type": "client_credentials", "client_id": MARK, "client_secret": MARK}
    return [
        *publish,
        *(("PATCH", path, {"json": body, "if_match": "*"}) for body in wrong[:40]),
        *(("POST", f"{path}/holds", {"json": {"seconds": value}}) for value in (MARK, [MARK])),
        ("POST", "/v1/slots", {"content": f'{{"note": "{MARK}"', "headers": JSON}),
        ("POST", "/v1/slots", {"content": f"{MARK}", "headers": JSON}),
        ("POST", "/v1/slots", {"content": f"{MARK}", "headers": {"Content-Type": "text/plain"}}),
        ("POST", "/v1/slots", {"json": right, "key": f"{MARK} x"}),
        ("PATCH", path, {"json": {"note": "x"}, "if_match": MARK}),
        ("DELETE", path, {"if_match": MARK}),
        ("GET", f"/v1/{MARK}", {}),
        ("GET", f"/v1/slots/{MARK}", {}),
        ("GET", f"/v1/slots?near={MARK}", {}),
        ("GET", f"/v1/slots?from={MARK}&mode={MARK}&cpts={MARK}&limit={MARK}&cursor={MARK}", {}),
        ("GET", f"/v1/slots?commune={MARK}", {}),
        ("DELETE", f"/v1/holds/{MARK}", {}),
        ("POST", "/oauth/token", {"data": form}),
        ("POST", "/oauth/token", {"data": {**form, "scope": MARK, "grant_type": MARK}}),
    ]  # fmt: skip


async def test_what_was_sent_is_in_no_answer_and_in_no_log_line(
    world: World,
    shared_urls: DatabaseUrls,
    make_settings: MakeSettings,
    capsys: pytest.CaptureFixture[str],
) -> None:
    doctor = await world.doctor()
    slot = await doctor.publish()
    async with _logging(make_settings(shared_urls.app, log_level="DEBUG")) as (client, _):
        doctor.http = client
        requests = _wrong_requests(doctor, slot["id"])
        answers = [await doctor.request(method, path, **more) for method, path, more in requests]
    for (method, path, more), answer in zip(requests, answers, strict=True):
        assert 400 <= answer.status_code < 500, (method, path, more, answer.text)
        assert MARK.lower() not in answer.text.lower(), (method, path, more, answer.text)
        assert MARK not in str(answer.headers)
    lines = capsys.readouterr().err
    assert lines.count('"event": "request"') == len(requests)
    assert MARK.lower() not in lines.lower()
    assert slot["id"] not in lines


async def test_a_log_line_has_the_template_and_not_the_path(
    world: World,
    shared_urls: DatabaseUrls,
    make_settings: MakeSettings,
    capsys: pytest.CaptureFixture[str],
) -> None:
    regulator = await world.regulator()
    slot_id = str(new_id())
    async with _logging(make_settings(shared_urls.app, log_level="DEBUG")) as (client, _):
        regulator.http = client
        await regulator.get(f"/v1/slots/{slot_id}", headers={"X-Request-Id": "call-7"})
        await regulator.get(f"/nowhere/{slot_id}")
        await client.get(f"/v1/slots/{slot_id}?near={slot_id}")
        await regulator.sign_in()
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [(line["event"], line["method"], line["route"], line["status"]) for line in lines] == [
        ("request", "GET", "/v1/slots/{slot_id}", 404),
        ("request", "GET", "(unmatched)", 404),
        ("request", "GET", "/v1/slots/{slot_id}", 401),
        ("request", "POST", "/oauth/token", 200),
    ]
    assert lines[0]["request_id"] == "call-7"
    assert lines[0]["ms"] > 0
    known = str(regulator.secret.client_id)
    client_ids = [line.get("client_id") for line in lines]
    assert client_ids == [known, None, None, known]
    assert slot_id not in str(lines)


async def test_a_defect_is_told_by_its_kind_and_place_only(
    database_urls: DatabaseUrls,
    make_settings: MakeSettings,
    capsys: pytest.CaptureFixture[str],
) -> None:
    settings = make_settings(database_urls.app, log_level="INFO")
    async with _logging(settings) as (client, database):
        doctor = await (await World(database, client).begin()).doctor()
        owner = await asyncpg.connect(database_urls.owner)
        await owner.execute("ALTER TABLE slots RENAME COLUMN note TO remark")
        await owner.close()
        capsys.readouterr()
        answer = await doctor.post("/v1/slots", doctor.slot(note=MARK))
    body = problem(answer, 500, "defect")
    assert body["request_id"] == answer.headers["X-Request-Id"]
    defect, request = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert (defect["event"], defect["kind"]) == ("request.defect", "DatabaseDefect")
    assert any("slots/repository/" in place for place in defect["at"])
    assert (request["event"], request["status"]) == ("request", 500)
    assert request["request_id"] == defect["request_id"] == body["request_id"]
    assert MARK not in answer.text + str(defect) + str(request)


# --- headers ------------------------------------------------------------------------------------


async def test_a_request_id_is_echoed_and_made_when_none_fits(world: World) -> None:
    regulator = await world.regulator()
    for sent in ("lrm-42", "x" * 64):
        answer = await regulator.get("/v1/me", headers={"X-Request-Id": sent})
        assert answer.headers.get_list("X-Request-Id") == [sent]
    for sent in ("", "a b", "x" * 65, "é"):
        answer = await regulator.request(
            "GET",
            "/v1/nothing",
            headers={"X-Request-Id": sent.encode()},  # type: ignore[dict-item]  # bytes travel as they are
        )
        made = answer.headers["X-Request-Id"]
        assert len(made) == 36
        assert answer.json()["request_id"] == made


async def test_answers_are_kept_by_no_cache(world: World) -> None:
    regulator = await world.regulator()
    for answer in (
        await regulator.get("/v1/me"),
        await regulator.get("/v1/slots"),
        await regulator.get("/v1/nothing"),
        await world.http.get("/v1/me"),
    ):
        assert answer.headers.get_list("Cache-Control") == ["no-store"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


async def test_an_answer_without_content_has_no_type_of_it(world: World) -> None:
    doctor = await world.doctor()
    slot = await doctor.publish()
    hold = (await doctor.post(f"/v1/slots/{slot['id']}/holds")).json()
    for answer in (
        await doctor.delete(f"/v1/holds/{hold['id']}"),
        await doctor.delete(f"/v1/slots/{slot['id']}", if_match="*"),
    ):
        assert (answer.status_code, answer.content) == (204, b"")
        assert "content-type" not in answer.headers
        assert answer.headers["x-request-id"]


async def test_many_wrong_requests_at_once_are_each_answered(world: World) -> None:
    doctor = await world.doctor()
    answers: list[httpx.Response] = await asyncio.gather(
        *(doctor.request("POST", "/v1/slots", content="{", headers=JSON) for _ in range(50))
    )
    assert {answer.status_code for answer in answers} == {400}
    assert len({answer.json()["request_id"] for answer in answers}) == 50


async def test_every_role_gets_a_problem_for_what_it_may_not_do(world: World) -> None:
    organization = await world.organization("other")
    for role in (Role.ANALYST, Role.SAS_PLATFORM, Role.ADMIN):
        caller = await world.caller(role, organization, "other")
        problem(await caller.get("/v1/slots"), 403, "role-lacks-operation")
        assert (await caller.get("/v1/me")).status_code == 200
