"""Who appears in the answer to the national platform, and who never does. On a real PostgreSQL."""

import re
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import update

from service.directory.tables import organizations
from service.kernel.db import Database
from tests.conftest import Clock
from tests.fhir.support import IDNPS, labels, of_type, outcome, platform, query, rpps_of, search
from tests.support import Caller, World, patient, soon
from tests.wire import Wire

PLACE: dict[str, Any] = {"address": "1 rue de la Gare", "postal_code": "36000"}
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d")


async def number(world: World, doctor: Caller) -> list[str]:
    return await rpps_of(world, doctor.practitioner_id)


async def with_finess(database: Database, organization_id: UUID, finess: str | None) -> None:
    o = organizations.c
    async with database.unit_of_work() as uow:
        await uow.execute(
            update(organizations)
            .where(o.id == organization_id)
            .values(finess=finess, phone="+33254000000")
        )


def _finess(organization_id: UUID) -> str:
    return f"36{organization_id.int % 10**7:07d}"


# --- what is shown ------------------------------------------------------------------------------


async def test_each_label_that_admits_regulation_is_told(world: World) -> None:
    doctor, sas = await world.doctor(), await platform(world)
    published = {}
    for n, wanted in enumerate((["SNP"], ["PRO"], ["PUBLIC"], ["PUBLIC", "PRO", "SNP"])):
        published[(await doctor.publish(soon(2 + n), visibility=wanted))["id"]] = wanted
    bundle = await search(sas, await number(world, doctor))
    assert labels(bundle) == published
    assert bundle["total"] == 4


async def test_what_is_over_taken_or_gone_is_not_told(world: World, clock: Clock) -> None:
    doctor, sas, regulator = await world.doctor(), await platform(world), await world.regulator()
    past = await doctor.publish(soon(1))
    held, full, withdrawn, mine, open_ = [
        await doctor.publish(soon(hours), **more)
        for hours, more in (
            (3, {}), (4, {}), (5, {}),
            (6, {"release": [{"minutes_before": 300, "to": "GIVE_BACK"}]}), (7, {"capacity": 2}),
        )
    ]  # fmt: skip
    for slot in (held, open_):
        assert (await regulator.post(f"/v1/slots/{slot['id']}/holds")).status_code == 201
    body = {"slot_id": full["id"], "patient_file": patient()}
    assert (await regulator.post("/v1/bookings", body)).status_code == 201
    gone = await doctor.delete(f"/v1/slots/{withdrawn['id']}", if_match=1)
    assert gone.status_code in {200, 204}
    who = await number(world, doctor)
    assert list(labels(await search(sas, who))) == [past["id"], mine["id"], open_["id"]]
    # At an hour's end one has begun, one is its doctor's again, and the holds have ended.
    await clock.stop(datetime.fromisoformat(past["starts_at"]))
    assert list(labels(await search(sas, who))) == [held["id"], open_["id"]]


async def test_a_walk_in_is_told_as_one(world: World) -> None:
    doctor, sas = await world.doctor(), await platform(world)
    await doctor.publish(soon(2), walk_in=True)
    await doctor.publish(soon(3), modes=["AMB", "VR", "HH"])
    walk_in, routine = of_type(await search(sas, await number(world, doctor)), "Slot")
    assert walk_in["appointmentType"]["coding"][0]["code"] == "WALKIN"
    assert routine["appointmentType"]["coding"][0]["code"] == "ROUTINE"
    modes = [concept["coding"][0]["code"] for concept in routine["serviceType"]]
    assert modes == ["AMB", "VR", "HH"]


async def test_what_is_kept_for_some_houses_is_not_told(world: World) -> None:
    doctor, sas = await world.doctor(), await platform(world)
    for n, narrowed in enumerate(
        (
            {"organization_types": ["pharmacy"]},
            {"organization_ids": [str(sas.organization_id)]},
            {"organization_ids": [str(doctor.organization_id)]},
        )
    ):
        await doctor.publish(soon(2 + n), visibility=["PRO"], **narrowed)
    also = await doctor.publish(soon(6), visibility=["PRO", "SNP"], organization_types=["pharmacy"])
    assert labels(await search(sas, await number(world, doctor))) == {also["id"]: ["SNP"]}


async def test_other_territories_are_not_told(world: World) -> None:
    other = await World(world.database, world.http).begin()
    here, there = await world.doctor(), await other.doctor()
    community = await other.organization("cpts")
    await with_finess(world.database, community, _finess(community))
    slots = [await doctor.publish(soon(2), visibility=["PUBLIC"]) for doctor in (here, there)]
    await there.publish(soon(3), visibility=["CPTS"], cpts_ids=[str(community)])
    both = await rpps_of(world, here.practitioner_id, there.practitioner_id)
    found = await search(await platform(world), both, communities=True)
    assert list(labels(found)) == [slots[0]["id"]]
    everywhere = await platform(world, [world.territory, other.territory])
    assert set(labels(await search(everywhere, both))) == {slot["id"] for slot in slots}


async def test_a_release_is_told_from_its_instant_although_no_worker_ran(
    world: World, clock: Clock
) -> None:
    doctor, sas = await world.doctor(), await platform(world)
    pharmacy = {"visibility": ["PRO"], "organization_types": ["pharmacy"]}
    slot = await doctor.publish(
        soon(12), **pharmacy, release=[{"minutes_before": 60, "to": "PUBLIC"}]
    )
    kept = await doctor.publish(soon(13), release=[{"minutes_before": 90, "to": "GIVE_BACK"}])
    opens = datetime.fromisoformat(slot["starts_at"]) - timedelta(minutes=60)
    goes = datetime.fromisoformat(kept["starts_at"]) - timedelta(minutes=90)
    who = await number(world, doctor)
    await clock.stop(opens - timedelta(microseconds=1))
    assert slot["id"] not in labels(await search(sas, who))
    await clock.stop(opens)
    assert labels(await search(sas, who)) == {slot["id"]: ["PUBLIC"], kept["id"]: ["SNP"]}
    await clock.stop(goes)
    assert labels(await search(sas, who)) == {slot["id"]: ["PUBLIC"]}


async def test_the_window_holds_at_both_ends(world: World) -> None:
    doctor, sas = await world.doctor(), await platform(world)
    first, last = [await doctor.publish(soon(hours)) for hours in (2, 4)]
    who = await number(world, doctor)
    at = [datetime.fromisoformat(slot["starts_at"]) for slot in (first, last)]
    tick = timedelta(milliseconds=1)
    both = await search(sas, who, start=at[0], end=at[1])
    assert list(labels(both)) == [first["id"], last["id"]]
    inside = await search(sas, who, start=at[0] + tick, end=at[1] - tick)
    assert inside["total"] == 0


async def test_only_the_practitioners_that_are_asked_for(world: World) -> None:
    asked, other, sas = await world.doctor(), await world.doctor(), await platform(world)
    slot = await asked.publish(soon(2))
    await other.publish(soon(2))
    found = await search(sas, [*await number(world, asked), "10000000000"])
    assert list(labels(found)) == [slot["id"]]
    [practitioner] = of_type(found, "Practitioner")
    assert practitioner["id"] == str(asked.practitioner_id)


# --- communities --------------------------------------------------------------------------------


async def test_what_members_of_a_community_see_is_told_where_communities_are_asked_for(
    world: World,
) -> None:
    named, numbered, nameless, island = [await world.organization("cpts") for _ in range(4)]
    for community in (named, numbered):
        await with_finess(world.database, community, _finess(community))
    # The guide takes digits only.
    await with_finess(world.database, island, f"2A{island.int % 10**7:07d}")
    doctor = await world.doctor(cpts_ids=[named, numbered, nameless, island])
    sas = await platform(world)

    async def publish(hours: int, visibility: list[str], *cpts: UUID, **more: object) -> str:
        ids = [str(community) for community in cpts]
        slot = await doctor.publish(soon(hours), visibility=visibility, cpts_ids=ids, **more)
        return str(slot["id"])

    only = await publish(2, ["CPTS"], named)
    two = await publish(3, ["CPTS", "PUBLIC"], named, numbered)
    plain = await publish(4, ["SNP"])
    kept = await publish(5, ["CPTS", "SNP"], named, organization_types=["pharmacy"])
    unnumbered = await publish(6, ["CPTS"], nameless, island)
    half = await publish(7, ["CPTS"], island, nameless, named)
    who = await number(world, doctor)
    assert labels(await search(sas, who)) == {two: ["PUBLIC"], plain: ["SNP"], kept: ["SNP"]}

    found = await search(sas, who, communities=True)
    assert labels(found) == {
        only: ["CPTS"], two: ["CPTS", "PUBLIC"], plain: ["SNP"], kept: ["SNP"], half: ["CPTS"],
    }  # fmt: skip
    assert unnumbered not in labels(found)
    links = {
        slot["id"]: [
            concept["extension"][0]["valueReference"]["reference"]
            for concept in slot["serviceType"]
            if "extension" in concept
        ]
        for slot in of_type(found, "Slot")
    }
    services = [f"HealthcareService/{community}" for community in sorted((named, numbered))]
    assert links == {
        only: [f"HealthcareService/{named}"], two: services, plain: [], kept: [],
        half: [f"HealthcareService/{named}"],
    }  # fmt: skip
    assert {s["id"] for s in of_type(found, "HealthcareService")} == {str(named), str(numbered)}
    told = {o["id"]: o for o in of_type(found, "Organization")}
    assert set(told) == {str(named), str(numbered)}
    [identifier] = told[str(named)]["identifier"]
    assert (identifier["system"], identifier["value"]) == (
        "urn:oid:1.2.250.1.71.4.2.2",
        f"1{_finess(named)}",
    )
    assert [coding["system"] for coding in identifier["type"]["coding"]] == [
        "http://interopsante.org/fhir/CodeSystem/fr-location-identifier-type",
        "https://hl7.fr/ig/fhir/core/CodeSystem/fr-core-cs-v2-0203",
    ]
    assert told[str(named)]["telecom"] == [{"system": "phone", "value": "+33254000000"}]


# --- the bundle ---------------------------------------------------------------------------------


async def test_a_bundle_holds_what_its_slots_refer_to_once(world: World) -> None:
    doctor, sas = await world.doctor(), await platform(world)
    first = doctor.location_id
    await doctor.publish(soon(2))
    await doctor.publish(soon(3))
    second = await world.location(doctor.organization_id, **PLACE, phone="+33254111111")
    elsewhere = await world.practitioner(second)
    other = await world.caller(
        doctor.role, doctor.organization_id, "practice", practitioner_ids=[elsewhere]
    )
    other.practitioner_id, other.location_id = elsewhere, second
    await other.publish(soon(2))
    who = await rpps_of(world, doctor.practitioner_id, elsewhere)
    bundle = await search(sas, who)
    urls = [entry["fullUrl"] for entry in bundle["entry"]]
    assert len(urls) == len(set(urls)) == 3 + 2 + 2 + 2
    for entry in bundle["entry"]:
        resource = entry["resource"]
        kind = resource["resourceType"]
        assert entry["fullUrl"] == f"http://test/fhir/{kind}/{resource['id']}"
        assert entry["search"]["mode"] == ("match" if kind == "Slot" else "include")
        assert len(resource["meta"]["profile"]) == 1
    known = {f"{r['resourceType']}/{r['id']}" for r in (e["resource"] for e in bundle["entry"])}
    for slot in of_type(bundle, "Slot"):
        assert slot["schedule"]["reference"] in known
        assert INSTANT.fullmatch(slot["start"])
        assert INSTANT.fullmatch(slot["end"])
        assert slot["comment"] == f"http://test/agenda?slot={slot['id']}"
    for schedule in of_type(bundle, "Schedule"):
        assert len(schedule["actor"]) == 2
        assert {actor["reference"] for actor in schedule["actor"]} <= known
    for role in of_type(bundle, "PractitionerRole"):
        [place] = role["contained"]
        assert role["location"] == [{"reference": f"#{place['id']}"}]
        assert role["practitioner"]["reference"] in known
        assert "organization" not in role  # neither FINESS nor SIRET is known
    roles = {role["contained"][0]["id"]: role for role in of_type(bundle, "PractitionerRole")}
    assert roles[str(second)]["telecom"] == [{"system": "phone", "value": "+33254111111"}]
    assert roles[str(second)]["contained"][0]["address"] == {
        "line": ["1 rue de la Gare"], "city": "Châteauroux", "postalCode": "36000",
    }  # fmt: skip
    # The place of which only the commune is known.
    assert "telecom" not in roles[str(first)]
    assert roles[str(first)]["contained"][0]["address"] == {
        "line": ["Cabinet"], "city": "Châteauroux", "postalCode": "36000",
    }  # fmt: skip


async def test_the_structure_is_told_by_its_national_number(world: World) -> None:
    doctor, sas = await world.doctor(), await platform(world)
    await doctor.publish(soon(2))
    o, unique = organizations.c, doctor.organization_id.int
    siret, corsican = f"8{unique % 10**13:013d}", f"2A{unique % 10**7:07d}"
    for values, told in (({"siret": siret}, f"3{siret}"), ({"finess": corsican}, f"1{corsican}")):
        async with world.database.unit_of_work() as uow:
            change = update(organizations).where(o.id == doctor.organization_id)
            await uow.execute(change.values(**values))
        [role] = of_type(await search(sas, await number(world, doctor)), "PractitionerRole")
        assert role["organization"]["identifier"]["value"] == told


async def test_times_are_those_of_the_place(database: Database, world: World) -> None:
    reunion = await World(database, world.http, zone="Indian/Reunion").begin()
    doctor, sas = await reunion.doctor(), await platform(reunion)
    await doctor.publish(soon(2))
    [slot] = of_type(await search(sas, await number(reunion, doctor)), "Slot")
    assert slot["start"].endswith(".000+04:00")
    assert datetime.fromisoformat(slot["start"]) == soon(2)


@pytest.mark.parametrize("communities", [False, True])
async def test_nothing_found_is_a_bundle_without_entries(world: World, communities: bool) -> None:
    doctor, sas = await world.doctor(), await platform(world)
    known = await number(world, doctor)
    for who in (known, ["10000000000"]):
        bundle = await search(sas, who, communities=communities)
        assert bundle.pop("id")
        [link] = bundle.pop("link")
        assert link["relation"] == "self"
        assert bundle == {
            "resourceType": "Bundle",
            "meta": {"profile": ["http://sas.fr/fhir/StructureDefinition/BundleAgregateur"]},
            "type": "searchset",
            "total": 0,
        }


async def test_the_profile_tells_which_question_was_answered(world: World) -> None:
    doctor, sas = await world.doctor(), await platform(world)
    await doctor.publish(soon(2))
    who = await number(world, doctor)
    for communities, bundle_is, slot_is in (
        (False, "BundleAgregateur", "FrSlotAgregateur"),
        (True, "sas-cpts-bundle-aggregator", "sas-cpts-slot-aggregator"),
    ):
        bundle = await search(sas, who, communities=communities)
        profiles = (bundle["meta"], of_type(bundle, "Slot")[0]["meta"])
        names = [meta["profile"][0].rpartition("/")[2] for meta in profiles]
        assert names == [bundle_is, slot_is]


def _members(value: object) -> list[object]:
    if isinstance(value, dict):
        return [value, *(m for member in value.values() for m in _members(member))]
    return [value, *(m for v in value for m in _members(v))] if isinstance(value, list) else [value]


async def test_nothing_is_empty_or_null(world: World) -> None:
    doctor, sas = await world.doctor(), await platform(world)
    await doctor.publish(soon(2), specialty="60")  # a profession, not a code of TRE_R38
    bundle = await search(sas, await number(world, doctor))
    assert not [member for member in _members(bundle) if member in (None, "", [], {})]
    assert "specialty" not in of_type(bundle, "Slot")[0]


async def test_a_place_in_no_commune_of_the_national_table_is_left_out(world: World) -> None:
    doctor, sas = await world.doctor(), await platform(world)
    doctor.location_id = await world.location(doctor.organization_id, commune="99999", **PLACE)
    somebody = await world.practitioner(doctor.location_id)
    other = await world.caller(
        doctor.role, doctor.organization_id, "practice", practitioner_ids=[somebody]
    )
    other.practitioner_id, other.location_id = somebody, doctor.location_id
    slot = await other.publish(soon(2))
    assert (await search(sas, await number(world, other)))["total"] == 0
    outcome(await sas.get(f"/fhir/Slot/{slot['id']}"), 404, "not-found", "fhir-not-found")


async def test_a_search_is_one_path_with_or_without_a_slash(world: World) -> None:
    doctor, sas = await world.doctor(), await platform(world)
    slot = await doctor.publish(soon(2))
    asked = query(await number(world, doctor))
    answer = await sas.get(f"/fhir/Slot/?{asked}", headers={"Accept": "application/json+fhir"})
    assert list(labels(answer.json())) == [slot["id"]]
    [link] = answer.json()["link"]
    assert link["url"] == f"http://test/fhir/Slot?{asked}"
    assert answer.headers["cache-control"] == "no-store"


async def test_a_query_arrives_as_it_was_written(world: World, base_url: str) -> None:
    """Through a real server: `|` and `+` as they are, as the platform's own client may write."""
    doctor, sas = await world.doctor(), await platform(world)
    slot = await doctor.publish(soon(2))
    asked = query(await number(world, doctor)).replace("%7C", "|").replace("%2B", "+")
    assert "|" in asked
    assert "+" in asked
    url = httpx.URL(base_url)
    wire = Wire(url.host, url.port or 80)
    try:
        head = f"Host: x\r\nAuthorization: Bearer {sas.token}\r\n\r\n"
        answer = await wire.send(f"GET /fhir/Slot?{asked} HTTP/1.1\r\n{head}".encode())
    finally:
        await wire.close()
    assert (answer.status, list(labels(answer.json))) == (200, [slot["id"]])
    assert "%7C8" in answer.json["link"][0]["url"]


# --- reads --------------------------------------------------------------------------------------


async def test_what_a_search_shows_can_be_read_by_its_id(world: World) -> None:
    doctor, sas = await world.doctor(), await platform(world)
    await doctor.publish(soon(2))
    await doctor.publish(soon(3))
    bundle = await search(sas, await number(world, doctor))
    for entry in bundle["entry"]:
        answer = await sas.get(entry["fullUrl"])
        assert answer.json() == entry["resource"]


async def test_what_no_search_shows_cannot_be_read(world: World) -> None:
    nameless = await world.organization("cpts")
    doctor, sas = await world.doctor(cpts_ids=[nameless]), await platform(world)
    slot = await doctor.publish(soon(2), visibility=["CPTS"], cpts_ids=[str(nameless)])
    await doctor.publish(soon(3), visibility=["PRO"], organization_types=["pharmacy"])
    [number_] = await number(world, doctor)
    agenda = f"{number_}.{doctor.location_id}"
    for path in (
        *(f"Slot/{slot['id']}", f"Practitioner/{doctor.practitioner_id}", f"Schedule/{agenda}"),
        *(f"HealthcareService/{nameless}", f"Organization/{nameless}"),
        *(f"PractitionerRole/{agenda}", "Slot/x", "Practitioner/1", "Schedule/x", "Schedule/1.2"),
    ):
        outcome(await sas.get(f"/fhir/{path}"), 404, "not-found", "fhir-not-found")


async def test_who_is_asked_for_without_a_prefix_is_found_too(world: World) -> None:
    doctor, sas = await world.doctor(), await platform(world)
    await doctor.publish(soon(2))
    who = await number(world, doctor)
    asked = query(who).replace(f"{IDNPS}%7C8", "")
    assert (await sas.get(f"/fhir/Slot?{asked}")).json()["total"] == 1
