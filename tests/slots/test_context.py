"""The contextual call (INT_L01): in the words of the national platform, into our search."""

from typing import Any

import pytest

from tests.support import Caller, World, problem, soon

CALL = "/v1/slots/contextual-call"
SYSTEM = "urn:oid:1.2.250.1.71.4.2.1"


async def _entry(caller: Caller, **known: str) -> dict[str, Any]:
    answer = await caller.get(CALL, params=known)
    assert answer.status_code == 200, answer.text
    entry: dict[str, Any] = answer.json()
    return entry


async def _found(caller: Caller, path: str) -> list[str]:
    answer = await caller.get(path)
    assert answer.status_code == 200, answer.text
    return [slot["id"] for slot in answer.json()["items"]]


async def _published(doctor: Caller, **members: Any) -> str:
    answer = await doctor.post("/v1/slots", doctor.slot(soon(3), **members))
    assert answer.status_code == 201, answer.text
    slot_id: str = answer.json()["id"]
    return slot_id


async def test_a_whole_call_begins_a_search_near_the_commune(world: World) -> None:
    doctor, regulator = await world.doctor(), await world.regulator()
    wanted = await _published(doctor, specialty="SM40")
    practitioner = (await regulator.get(f"/v1/practitioners/{doctor.practitioner_id}")).json()
    entry = await _entry(
        regulator,
        origin="lrm",
        practitioner=f"{SYSTEM}|8{practitioner['rpps']}",
        specialty="urn:oid:1.2.250.1.71.1.2.5|SM40",
        streetnumber="1",
        streetname="rue de la Paix",
        inseecode="36044",
        city="Châteauroux",
    )
    assert entry["search"] == "/v1/slots?commune=36044&sort=distance&specialty=SM40"
    assert entry["preferred"] == f"/v1/slots?practitioner={doctor.practitioner_id}"
    assert entry["unused"] == ["origin", "streetnumber", "streetname", "city"]
    assert await _found(regulator, entry["search"]) == [wanted]
    assert await _found(regulator, entry["preferred"]) == [wanted]


async def test_a_call_that_knows_nothing_begins_a_search_of_all(world: World) -> None:
    doctor, regulator = await world.doctor(), await world.regulator()
    wanted = await _published(doctor)
    entry = await _entry(regulator)
    assert entry == {"search": "/v1/slots", "preferred": None, "unused": []}
    assert await _found(regulator, entry["search"]) == [wanted]


@pytest.mark.parametrize(
    "known",
    [
        {"practitioner": "Dr Martin"},
        {"practitioner": f"{SYSTEM}|899999999999"},
        {"practitioner": f"{SYSTEM}|0361234567"},
        {"specialty": "médecine générale"},
        {"specialty": "urn:oid:1.2.250.1.71.1.2.5|SM99"},
        {"city": "Châteauroux"},
    ],
)
async def test_what_is_not_used_is_named(world: World, known: dict[str, str]) -> None:
    entry = await _entry(await world.regulator(), **known)
    assert entry == {"search": "/v1/slots", "preferred": None, "unused": list(known)}


async def test_a_code_that_is_no_commune_is_refused(world: World) -> None:
    answer = await (await world.regulator()).get(CALL, params={"inseecode": "99999"})
    [wrong] = problem(answer, 422, "search-invalid")["errors"]
    assert (wrong["pointer"], wrong["code"]) == ("inseecode", "unknown-commune")
