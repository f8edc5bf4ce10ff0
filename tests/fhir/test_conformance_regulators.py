"""What the official test kit [KIT] and the guide [IG] ask of regulator accounts (INT_R02).

Against a server process, with bodies as SAS sends them: the official examples of both versions,
with numbers of the test's own. Answers are validated against both versions of the guide.
"""

import copy
import dataclasses
import json
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import httpx
import pytest
import pytest_asyncio

from service.identity import Role
from service.kernel.ids import new_id
from tests.fhir.regulating import arrive, arrived
from tests.fhir.samples import ID_TYPES, IDNPS, IG, SAS_ID, concept, identifier, regulator
from tests.fhir.support import FHIR
from tests.fhir.validator import GUIDES, findings
from tests.support import Caller, World

Resource = dict[str, Any]
SENT = {"Content-Type": "application/json+fhir", "Accept": "application/json+fhir"}


@pytest_asyncio.fixture
async def sas(world: World, base_url: str) -> AsyncIterator[Caller]:
    """The platform, at a server process."""
    async with httpx.AsyncClient(base_url=base_url, trust_env=False) as client:
        made = await world.caller(Role.SAS_PLATFORM, await world.organization("sas"), "sas")
        yield dataclasses.replace(made, http=client)


def national() -> str:
    """A number of a structure's, as the guide's example has it: with a stroke."""
    return f"3456780581/{new_id().int % 10**8:08d}"


def technical() -> str:
    return str(new_id())


def numbered(*identifiers: Resource, **members: Any) -> Resource:
    """A regulator with these numbers."""
    return {**regulator(), "identifier": list(identifiers), **members}


def by_nation(value: str) -> Resource:
    return identifier(ID_TYPES, "IDNPS", IDNPS, value)


def by_sas(value: str) -> Resource:
    return identifier(ID_TYPES, "INTRN", SAS_ID, value)


async def post(sas: Caller, body: Any) -> httpx.Response:
    return await sas.post("/fhir/Practitioner", body, headers=SENT)


async def put(sas: Caller, value: str, body: Any, system: str = SAS_ID) -> httpx.Response:
    """PUT on an identifier that is not encoded at all."""
    target = f"/fhir/Practitioner?identifier={system}|{value}"
    return await sas.put(
        "/fhir/Practitioner", body, headers=SENT, extensions={"target": target.encode()}
    )


def stored(answer: httpx.Response, *statuses: int) -> Resource:
    """Assert that a regulator was written: Location, and what is kept, valid by both versions."""
    assert answer.status_code in statuses, answer.text
    assert answer.headers["content-type"] == FHIR
    body: Resource = answer.json()
    assert answer.headers["location"].endswith(f"/fhir/Practitioner/{body['id']}")
    assert answer.headers["location"].startswith("http")
    for guide in GUIDES.values():
        assert findings(guide, body) == []
    return body


def refused(answer: httpx.Response) -> None:
    """Assert a 4xx with a valid OperationOutcome."""
    assert 400 <= answer.status_code < 500, answer.text
    assert answer.headers["content-type"] == FHIR
    body = answer.json()
    assert (body["resourceType"], findings(GUIDES["1.2.0"], body)) == ("OperationOutcome", [])


async def test_ig_the_server_says_that_it_keeps_regulators(sas: Caller) -> None:
    said = (await sas.get("/fhir/metadata")).json()
    structure = IG.replace("StructureDefinition", "CapabilityStatement")
    assert f"{structure}SAS-GestionnaireStructure" in said["instantiates"]
    (resource,) = [one for one in said["rest"][0]["resource"] if one["type"] == "Practitioner"]
    assert {"create", "update"} <= {one["code"] for one in resource["interaction"]}
    assert resource["updateCreate"] is resource["conditionalUpdate"] is True
    assert "identifier" in {one["name"] for one in resource["searchParam"]}
    assert IG + "FrPractitionerRegul" in resource["supportedProfile"]


# --- create -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("make", "number"), [(by_nation, national), (by_sas, technical)])
async def test_kit_create_is_201_with_a_location_and_what_is_kept(
    sas: Caller, make: Callable[[str], Resource], number: Callable[[], str]
) -> None:
    body = numbered(make(number()))
    kept = stored(await post(sas, body), 201)
    assert {name: kept[name] for name in body} == body


@pytest.mark.parametrize(
    ("version", "name"),
    [
        (version, name)
        for version, guide in GUIDES.items()
        for name in guide.examples
        if "Regul" in name
        # The number of a person in the system of structures: an error of the example of 1.1.0.
        and (version, name) != ("1.1.0", "Practitioner-ExamplePractitionerRegul1")
    ],
)
async def test_ig_the_official_examples_are_kept(sas: Caller, version: str, name: str) -> None:
    body = copy.deepcopy(GUIDES[version].examples[name])
    number = body["identifier"][0]
    number["value"] = f"{number['value'][:10]}-{new_id()}"
    kept = stored(await put(sas, number["value"], body, number["system"]), 200, 201)
    for member in ("identifier", "active", "name", "telecom"):
        assert kept[member] == body[member]


async def test_ig_a_number_in_the_system_of_structures_is_refused(sas: Caller) -> None:
    body = copy.deepcopy(GUIDES["1.1.0"].examples["Practitioner-ExamplePractitionerRegul1"])
    refused(await post(sas, body))


async def test_kit_an_id_in_the_body_counts_for_nothing(sas: Caller) -> None:
    value = technical()
    body = numbered(by_sas(value), id="theirs")
    first = stored(await post(sas, body), 201)
    assert first["id"] != "theirs"
    assert stored(await put(sas, value, body), 200)["id"] == first["id"]


async def test_a_second_create_of_a_number_is_a_conflict(sas: Caller) -> None:
    body = numbered(by_sas(technical()))
    stored(await post(sas, body), 201)
    again = await post(sas, body)
    assert again.status_code == 409
    refused(again)


@pytest.mark.parametrize(
    "media_type",
    [
        "application/json",
        "application/json+fhir",
        "application/fhir+json",
        "application/fhir+json; charset=utf-8",
        "application/json;charset=UTF-8",
    ],
)
async def test_ig_a_body_comes_by_any_name_of_fhir_json(sas: Caller, media_type: str) -> None:
    body = json.dumps(numbered(by_sas(technical()))).encode()
    headers = {"Content-Type": media_type, "Accept": "application/json+fhir"}
    sent = await sas.request(
        "POST", "/fhir/Practitioner?_format=json", content=body, headers=headers
    )
    stored(sent, 201)


async def test_ig_an_email_is_not_somebody_s_own(sas: Caller) -> None:
    for _ in range(2):
        stored(await post(sas, numbered(by_sas(technical()))), 201)


async def test_ig_what_open_slicing_allows_beside_ours_is_passed_over(sas: Caller) -> None:
    ours, beside = by_sas(technical()), identifier(ID_TYPES, "EXTRN", "urn:oid:1.2.3", "4711")
    types = copy.deepcopy(ours["type"])
    types["coding"].insert(0, {"system": "urn:oid:1.2.3", "code": "X"})
    types["coding"].append({"display": "of nobody's"})
    body = numbered(beside, {**ours, "type": {**types, "text": "SAS"}}, beside)
    for guide in GUIDES.values():
        assert findings(guide, body) == []
    kept = stored(await post(sas, body), 201)
    assert kept["identifier"] == [ours]
    assert stored(await put(sas, ours["value"], body), 200)["id"] == kept["id"]


async def test_ig_at_most_one_number_of_each_kind(sas: Caller) -> None:
    answer = await post(sas, numbered(by_sas(technical()), by_sas(technical())))
    assert answer.status_code == 422
    refused(answer)


# --- update -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("system", "make", "number"), [(IDNPS, by_nation, national), (SAS_ID, by_sas, technical)]
)
async def test_kit_update_is_200_with_a_location_and_the_same_id(
    sas: Caller, system: str, make: Callable[[str], Resource], number: Callable[[], str]
) -> None:
    value = number()
    first = stored(await post(sas, numbered(make(value))), 201)
    changed = numbered(
        make(value),
        name=[{"family": "Marius", "given": ["Jules"]}],
        telecom=[{"system": "email", "value": "jules.marius@test.example"}],
    )
    kept = stored(await put(sas, value, changed, system), 200)
    assert kept["id"] == first["id"]
    assert (kept["name"], kept["telecom"]) == (changed["name"], changed["telecom"])


async def test_kit_an_update_of_nobody_known_creates(sas: Caller) -> None:
    value = technical()
    first = stored(await put(sas, value, numbered(by_sas(value))), 200, 201)
    again = stored(await put(sas, value, numbered(by_sas(value))), 200)
    assert first["id"] == again["id"]


@pytest.mark.parametrize("bar", ["|", "%7C"])
async def test_kit_the_bar_and_the_stroke_come_as_they_are_or_encoded(
    sas: Caller, bar: str
) -> None:
    value = national()
    first = stored(await post(sas, numbered(by_nation(value))), 201)
    for stroke in ("/", "%2F"):
        target = f"/fhir/Practitioner?identifier={IDNPS}{bar}{value.replace('/', stroke)}"
        answer = await sas.put(
            "/fhir/Practitioner",
            numbered(by_nation(value)),
            headers=SENT,
            extensions={"target": target.encode()},
        )
        assert stored(answer, 200)["id"] == first["id"]


async def test_ig_a_national_number_is_attached_to_a_technical_account(sas: Caller) -> None:
    old, new = technical(), national()
    first = stored(await post(sas, numbered(by_sas(old))), 201)
    attached = stored(await put(sas, old, numbered(by_nation(new))), 200)
    assert (attached["id"], attached["identifier"]) == (first["id"], [by_nation(new)])
    assert stored(await put(sas, new, numbered(by_nation(new)), IDNPS), 200)["id"] == first["id"]


async def test_ig_a_national_number_is_changed(sas: Caller) -> None:
    old, new = national(), national()
    first = stored(await post(sas, numbered(by_nation(old))), 201)
    changed = stored(await put(sas, old, numbered(by_nation(new)), IDNPS), 200)
    assert (changed["id"], changed["identifier"]) == (first["id"], [by_nation(new)])
    # Nobody has the old one any more.
    assert stored(await put(sas, old, numbered(by_nation(old)), IDNPS), 201)["id"] != first["id"]


async def test_ig_an_account_may_have_both_numbers_and_is_found_by_either(sas: Caller) -> None:
    one, two = technical(), national()
    both = numbered(by_nation(two), by_sas(one))
    first = stored(await post(sas, both), 201)
    assert stored(await put(sas, one, both), 200)["id"] == first["id"]
    assert stored(await put(sas, two, both, IDNPS), 200)["id"] == first["id"]


async def test_ig_a_withdrawal_takes_effect_on_the_next_request(world: World, sas: Caller) -> None:
    value = technical()
    body = numbered(by_sas(value))
    stored(await post(sas, body), 201)
    software = await world.regulator()
    who = await arrived(software, SAS_ID, value)
    assert (await who.get("/v1/me")).status_code == 200
    kept = stored(await put(sas, value, {**body, "active": False}), 200)
    assert kept["active"] is False
    assert (await who.get("/v1/me")).status_code == 401
    assert (await arrive(software, SAS_ID, value)).status_code == 400
    stored(await put(sas, value, body), 200)
    await arrived(software, SAS_ID, value)


async def test_ig_the_right_to_regulate_counts_only_for_who_arrives_through_sas(
    world: World, sas: Caller
) -> None:
    value = technical()
    stored(await post(sas, numbered(by_sas(value))), 201)
    assert (await arrive(await world.pharmacist(), SAS_ID, value)).status_code == 400
    regulation = await world.regulator()
    assert (await arrive(regulation, SAS_ID, value, origin="elsewhere")).status_code == 400
    me = (await (await arrived(regulation, SAS_ID, value)).get("/v1/me")).json()
    assert me["person"]["origin"] == "sas"
    await regulation.sign_in(user_system=SAS_ID, user_id=value)
    me = (await regulation.get("/v1/me")).json()
    assert "origin" not in (me["person"] or {})
    assert me["role"] == "regulator"  # the software's own right, not what SAS gave


# --- refusals -----------------------------------------------------------------------------------


def _without(body: Resource, member: str) -> Resource:
    return {name: value for name, value in body.items() if name != member}


def _fault(member: str, value: Any) -> Callable[[Resource], Any]:
    return lambda body: {**body, member: value}


FAULTS: dict[str, Callable[[Resource], Any]] = {
    **{
        f"no {member}": partial(_without, member=member)
        for member in ("identifier", "name", "telecom", "active")
    },
    **{f"empty {member}": _fault(member, []) for member in ("identifier", "name", "telecom")},
    "no family name": _fault("name", [{"given": ["Jules"]}]),
    "empty family name": _fault("name", [{"family": "", "given": ["Jules"]}]),
    "no given name": _fault("name", [{"family": "Marius"}]),
    "empty given name": _fault("name", [{"family": "Marius", "given": [""]}]),
    "blank given name": _fault("name", [{"family": "Marius", "given": [" "]}]),
    "no e-mail": _fault("telecom", [{"system": "phone", "value": "+33553000000"}]),
    "empty e-mail": _fault("telecom", [{"system": "email", "value": ""}]),
    "e-mail without a value": _fault("telecom", [{"system": "email"}]),
    "active in words": _fault("active", "true"),
    "active null": _fault("active", None),
    "number without type": lambda body: {
        **body,
        "identifier": [_without(body["identifier"][0], "type")],
    },
    "number without system": lambda body: {
        **body,
        "identifier": [_without(body["identifier"][0], "system")],
    },
    "number without value": lambda body: {
        **body,
        "identifier": [_without(body["identifier"][0], "value")],
    },
    "number of the other type": lambda body: {
        **body,
        "identifier": [{**body["identifier"][0], "type": concept(ID_TYPES, "IDNPS")}],
    },
    "number of another system": lambda body: {
        **body,
        "identifier": [{**body["identifier"][0], "system": "urn:oid:1.2.3"}],
    },
    "name in one word": _fault("name", "Marius"),
    "number in one word": _fault("identifier", ["x"]),
    "another resource": _fault("resourceType", "Patient"),
    "a list": lambda body: [body],
    "nothing": lambda body: {},  # noqa: ARG005  a body like the others
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=list(FAULTS))
async def test_kit_what_is_mandatory_is_asked_of_create_and_update_alike(
    sas: Caller, fault: Callable[[Resource], Any]
) -> None:
    known, unknown = technical(), technical()
    stored(await post(sas, numbered(by_sas(known))), 201)
    refused(await post(sas, fault(numbered(by_sas(unknown)))))
    refused(await put(sas, unknown, fault(numbered(by_sas(unknown)))))
    refused(await put(sas, known, fault(numbered(by_sas(known)))))


@pytest.mark.parametrize("content", [b"", b"{", b"null", b"\xff", b"[" * 10_000, b"7", b'"x"'])
async def test_ig_what_is_no_json_is_refused_with_an_operation_outcome(
    sas: Caller, content: bytes
) -> None:
    answer = await sas.request("POST", "/fhir/Practitioner", content=content, headers=SENT)
    refused(answer)


async def test_another_media_type_is_refused_with_an_operation_outcome(sas: Caller) -> None:
    headers = {"Content-Type": "application/xml"}
    answer = await sas.request("POST", "/fhir/Practitioner", content=b"<a/>", headers=headers)
    assert answer.status_code == 415
    refused(answer)


async def test_a_body_that_is_too_large_is_refused_with_an_operation_outcome(sas: Caller) -> None:
    body = json.dumps(numbered(by_sas(technical()), note="x" * 3_000_000)).encode()
    answer = await sas.request("POST", "/fhir/Practitioner", content=body, headers=SENT)
    assert answer.status_code == 413
    refused(answer)


async def test_kit_the_number_of_somebody_else_who_is_active_is_a_conflict(sas: Caller) -> None:
    one, two = technical(), technical()
    stored(await post(sas, numbered(by_sas(one))), 201)
    second = stored(await post(sas, numbered(by_sas(two))), 201)
    answer = await put(sas, one, numbered(by_sas(two)))
    assert answer.status_code == 409
    refused(answer)
    # Nothing of it was written.
    assert stored(await put(sas, two, numbered(by_sas(two))), 200)["id"] == second["id"]


async def test_the_number_of_somebody_who_is_not_active_moves(sas: Caller) -> None:
    one, two = technical(), technical()
    first = stored(await post(sas, numbered(by_sas(one))), 201)
    stored(await post(sas, numbered(by_sas(two), active=False)), 201)
    assert stored(await put(sas, one, numbered(by_sas(two))), 200)["id"] == first["id"]


@pytest.mark.parametrize(
    "asked", ["", "?identifier=", "?identifier=%00", f"?identifier={SAS_ID}|", "?name=Loridon"]
)
async def test_ig_an_update_says_whom_it_means(sas: Caller, asked: str) -> None:
    target = f"/fhir/Practitioner{asked}"
    answer = await sas.put(
        "/fhir/Practitioner",
        numbered(by_sas(technical())),
        headers=SENT,
        extensions={"target": target.encode()},
    )
    refused(answer)


@pytest.mark.parametrize("method", ["DELETE", "PATCH"])
async def test_ig_nobody_is_deleted(sas: Caller, method: str) -> None:
    answer = await sas.request(method, "/fhir/Practitioner")
    assert answer.status_code == 405
    refused(answer)


async def test_ig_others_create_and_change_nobody(world: World, sas: Caller) -> None:
    value = technical()
    body = numbered(by_sas(value))
    others = (await world.regulator(), await world.doctor(), await world.manager())
    for other in others:
        caller = dataclasses.replace(other, http=sas.http)
        for answer in (await post(caller, body), await put(caller, value, body)):
            assert answer.status_code == 403
            refused(answer)
    stranger = dataclasses.replace(sas, token="not-a-token")
    answer = await post(stranger, body)
    assert answer.status_code == 401
    refused(answer)


async def test_no_refusal_repeats_what_was_sent(sas: Caller) -> None:
    body = numbered({**by_sas(technical()), "system": "urn:oid:1.2.3"})
    for answer in (await post(sas, body), await put(sas, technical(), body)):
        refused(answer)
        for told in ("Loridon", "loridon", body["identifier"][0]["value"]):
            assert told not in answer.text
