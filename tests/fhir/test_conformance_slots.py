"""What the official test kit [KIT] and the guide [IG] ask of a slot search, rule by rule.

Against a server process, with two practitioners, one of them at two places, every label and mode,
walk-in, and slots for one and for two communities (CPTS). Answers are validated against both
versions of the guide.
"""

import dataclasses
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from uuid import UUID

import httpx
import pytest
import pytest_asyncio
from sqlalchemy import insert, update

from service.directory.tables import locations, organizations, practitioner_locations
from service.identity import Role
from service.kernel.db import Database
from service.kernel.ids import new_id
from tests.bookings.test_book import booked
from tests.conftest import Clock
from tests.fhir.samples import (
    BOOKABLE,
    CATEGORIES,
    CORE_ID_TYPES,
    ID_TYPES,
    IDNPS,
    IDNST,
    IG,
    LABELS,
    MODES,
    PLACE_ID_TYPES,
    R5_SERVICE_TYPE,
    SAS,
    SPECIALTIES,
)
from tests.fhir.support import (
    COMMUNITIES,
    FHIR,
    PARIS,
    Resource,
    labels,
    leaves,
    names,
    of_type,
    platform,
    profile,
    query,
    refused,
    rpps_of,
    send,
    spellings,
    valid,
)
from tests.fhir.validator import GUIDES
from tests.support import Caller, World, soon

# An id that nobody has.
NEVER = "01a20359-990d-71a3-8819-0b66d831ec29"
WHO = "schedule.actor:Practitioner.identifier"


# --- the scene ------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Scene:
    """Who offers what: slots by what they show, communities by name."""

    world: World
    platform: Caller
    alice: Caller
    bruno: Caller
    places: Sequence[UUID]
    rpps: Sequence[str]
    slots: Mapping[str, str]
    communities: Mapping[str, UUID]

    async def bundle(self, *more: str, rpps: Sequence[str] | None = None) -> Resource:
        """The answer to a search for both practitioners, valid by both versions."""
        who = self.rpps if rpps is None else rpps
        return await found(self.platform, query(who) + "".join(more))

    def named(self, bundle: Resource) -> set[str]:
        """What the slots of an answer are called here."""
        called = {slot_id: name for name, slot_id in self.slots.items()}
        return {called[slot["id"]] for slot in of_type(bundle, "Slot")}


async def found(caller: Caller, asked: str) -> Resource:
    """The valid Bundle that answers a query, sent as it is written."""
    answer = await send(caller, f"/fhir/Slot?{asked}")
    assert answer.status_code == 200, answer.text
    return valid(answer.json())


async def _write(database: Database, table: Any, row_id: UUID, **columns: Any) -> None:
    async with database.unit_of_work() as uow:
        await uow.execute(update(table).where(table.c.id == row_id).values(**columns))


async def _community(world: World, **columns: Any) -> UUID:
    community_id = await world.organization("cpts")
    await _write(world.database, organizations, community_id, **columns)
    return community_id


def _finess() -> str:
    return f"{new_id().int % 10**9:09d}"


def _siret() -> str:
    return f"{new_id().int % 10**14:014d}"


async def _second_place(world: World, doctor: Caller) -> UUID:
    """A house of others, where a doctor works, too: known by its SIRET, with its own phone."""
    house = await world.organization("msp")
    await _write(world.database, organizations, house, siret=_siret())
    place = await world.location(
        house, name="Maison de santé", address="2  rue\nHaute", postal_code="36000",
        phone="+33254000002",
    )  # fmt: skip
    async with world.database.unit_of_work() as uow:
        link = {"practitioner_id": doctor.practitioner_id, "location_id": place}
        await uow.execute(insert(practitioner_locations), link)
    return place


async def _offers(
    alice: Caller, bruno: Caller, second: UUID, communities: Mapping[str, UUID]
) -> dict[str, str]:
    one, two = str(communities["one"]), str(communities["two"])
    elsewhere = {"location_id": str(second)}
    wanted: list[tuple[str, Caller, dict[str, Any]]] = [
        ("regulation", alice, {"visibility": ["SNP"]}),
        ("professionals", alice, {"visibility": ["PRO"], "modes": ["VR"], **elsewhere}),
        ("public", alice, {"visibility": ["PUBLIC"], "modes": ["HH"]}),
        ("every mode", alice, {"modes": ["AMB", "HH", "VR"], "specialty": "SM04", **elsewhere}),
        ("walk-in", alice, {"visibility": ["PUBLIC", "SNP"], "walk_in": True}),
        (
            "every label",
            alice,
            {"visibility": ["PUBLIC", "PRO", "SNP", "CPTS"], "cpts_ids": [one]},
        ),
        ("two communities", alice, {"visibility": ["CPTS"], "cpts_ids": [one, two]}),
        (
            "some houses",
            alice,
            {"visibility": ["PRO"], "organization_types": ["pharmacy"]},
        ),
        (
            "regulation and some houses",
            alice,
            {"visibility": ["PRO", "SNP"], "organization_types": ["pharmacy"]},
        ),
        ("of Bruno", bruno, {"visibility": ["SNP", "PRO"]}),
    ]
    return {
        name: (await doctor.publish(soon(2, 30 * n), **members))["id"]
        for n, (name, doctor, members) in enumerate(wanted)
    }


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def scene(database: Database, http: httpx.AsyncClient, base_url: str) -> AsyncIterator[Scene]:
    world = await World(database, http).begin()
    alice, bruno = await world.doctor(), await world.doctor()
    assert alice.location_id
    await _write(database, organizations, alice.organization_id, finess=_finess(), siret=_siret())
    await _write(
        database, locations, alice.location_id, address="1 rue de la Paix", postal_code="36000",
        phone="+33254000001",
    )  # fmt: skip
    second = await _second_place(world, alice)
    communities = {
        "one": await _community(world, finess=_finess(), phone="+33254000003"),
        "two": await _community(world, finess=_finess(), phone="+33254000004"),
    }
    offers = await _offers(alice, bruno, second, communities)
    rpps = await rpps_of(world, alice.practitioner_id, bruno.practitioner_id)
    async with httpx.AsyncClient(base_url=base_url, trust_env=False) as client:
        caller = dataclasses.replace(await platform(world), http=client)
        yield Scene(
            world, caller, alice, bruno, (alice.location_id, second), rpps, offers, communities
        )


INDIVIDUALS = {
    "regulation", "professionals", "public", "every mode", "walk-in", "every label",
    "regulation and some houses", "of Bruno",
}  # fmt: skip


# --- who sees what --------------------------------------------------------------------------------


async def test_ig_individuals_are_told_of_public_professional_and_regulation_slots(
    scene: Scene,
) -> None:
    assert scene.named(await scene.bundle()) == INDIVIDUALS


async def test_ig_communities_are_told_of_slots_for_communities_too(scene: Scene) -> None:
    bundle = await scene.bundle(COMMUNITIES)
    assert scene.named(bundle) == INDIVIDUALS | {"two communities"}


async def test_ig_what_is_reserved_to_some_houses_is_never_told(scene: Scene) -> None:
    told = labels(await scene.bundle(COMMUNITIES))
    assert scene.slots["some houses"] not in told
    assert told[scene.slots["regulation and some houses"]] == ["SNP"]


async def test_kit_every_slot_has_all_its_labels(scene: Scene) -> None:
    told = labels(await scene.bundle(COMMUNITIES))
    assert set(told[scene.slots["regulation"]]) == {"SNP"}
    assert set(told[scene.slots["professionals"]]) == {"PRO"}
    assert set(told[scene.slots["public"]]) == {"PUBLIC"}
    assert set(told[scene.slots["walk-in"]]) == {"PUBLIC", "SNP"}
    assert set(told[scene.slots["every label"]]) == {"PUBLIC", "PRO", "SNP", "CPTS"}
    assert set(told[scene.slots["two communities"]]) == {"CPTS"}


async def test_ig_a_search_for_individuals_knows_no_communities(scene: Scene) -> None:
    bundle = await scene.bundle()
    assert set(labels(bundle)[scene.slots["every label"]]) == {"PUBLIC", "PRO", "SNP"}
    assert not of_type(bundle, "HealthcareService")
    assert not of_type(bundle, "Organization")
    codes = {code for slot in of_type(bundle, "Slot") for _, code in _services(slot)}
    assert "604" not in codes


async def test_kit_no_slot_that_has_begun_is_told(scene: Scene, clock: Clock) -> None:
    await clock.shift(timedelta(hours=2, minutes=5))
    told = scene.named(await scene.bundle())
    assert told == INDIVIDUALS - {"regulation"}


async def test_ig_only_free_slots_are_told(world: World, scene: Scene) -> None:
    doctor, regulator = await world.doctor(), await world.regulator()
    caller = dataclasses.replace(await platform(world), http=scene.platform.http)
    rpps = await rpps_of(world, doctor.practitioner_id)
    full, held, withdrawn, free = [await doctor.publish(soon(2 + n)) for n in range(4)]
    await booked(regulator, full)
    assert (await regulator.post(f"/v1/slots/{held['id']}/holds", {})).status_code == 201
    gone = await doctor.delete(f"/v1/slots/{withdrawn['id']}", if_match=1)
    assert gone.status_code in {200, 204}, gone.text
    bundle = await found(caller, query(rpps))
    assert [slot["id"] for slot in of_type(bundle, "Slot")] == [free["id"]]


async def test_a_practitioner_without_a_free_slot_is_not_in_the_answer(
    world: World, scene: Scene
) -> None:
    doctor, regulator = await world.doctor(), await world.regulator()
    caller = dataclasses.replace(await platform(world), http=scene.platform.http)
    await booked(regulator, await doctor.publish())
    bundle = await found(caller, query(await rpps_of(world, doctor.practitioner_id)))
    assert bundle["total"] == 0


async def test_a_label_is_told_once_its_release_is_in_force(
    world: World, scene: Scene, clock: Clock
) -> None:
    doctor = await world.doctor()
    caller = dataclasses.replace(await platform(world), http=scene.platform.http)
    rpps = await rpps_of(world, doctor.practitioner_id)
    release = [{"minutes_before": 60, "to": "PUBLIC"}, {"minutes_before": 30, "to": "GIVE_BACK"}]
    slot = await doctor.publish(soon(2), release=release)
    assert labels(await found(caller, query(rpps))) == {slot["id"]: ["SNP"]}
    await clock.shift(timedelta(minutes=61))
    assert set(labels(await found(caller, query(rpps)))[slot["id"]]) == {"SNP", "PUBLIC"}
    await clock.shift(timedelta(minutes=91))
    assert (await found(caller, query(rpps)))["total"] == 0


async def test_kit_overseas_instants_have_the_offset_of_the_place(
    database: Database, http: httpx.AsyncClient, scene: Scene
) -> None:
    world = await World(database, http, zone="Indian/Reunion").begin()
    doctor = await world.doctor()
    caller = dataclasses.replace(await platform(world), http=scene.platform.http)
    slot = await doctor.publish()
    bundle = await found(caller, query(await rpps_of(world, doctor.practitioner_id)))
    (told,) = of_type(bundle, "Slot")
    assert re.fullmatch(r".{19}\.000\+04:00", told["start"])
    assert datetime.fromisoformat(told["start"]) == datetime.fromisoformat(slot["starts_at"])


async def test_slots_of_other_territories_are_not_told(world: World, scene: Scene) -> None:
    caller = dataclasses.replace(await platform(world), http=scene.platform.http)
    assert (await found(caller, query(scene.rpps) + COMMUNITIES))["total"] == 0


# --- the request as it is really sent -------------------------------------------------------------


def _asked(scene: Scene, **changed: str) -> str:
    """The query of INT_R01 as the guide prints it: nothing encoded."""
    first, last = (soon(hours).astimezone(PARIS) for hours in (-1, 72))
    who = f"{IDNPS}|8{scene.rpps[0]},{IDNPS}|8{scene.rpps[1]}"
    parts = {
        "include": "_include=Slot:schedule",
        "iterate": "_include:iterate=Schedule:actor",
        "ge": f"start=ge{first.isoformat(timespec='milliseconds')}",
        "le": f"start=le{last.isoformat(timespec='milliseconds')}",
        "who": f"{WHO}={who}",
        "status": "status=free",
        **changed,
    }
    return "&".join(part for part in parts.values() if part)


async def test_ig_a_query_is_understood_without_any_encoding(scene: Scene) -> None:
    assert scene.named(await found(scene.platform, _asked(scene))) == INDIVIDUALS


@pytest.mark.parametrize("between", [",", ",%20", ", ".replace(" ", "+"), "%2C"])
async def test_ig_practitioners_are_separated_by_commas_however_written(
    scene: Scene, between: str
) -> None:
    who = between.join(f"{IDNPS}%7C8{number}" for number in scene.rpps)
    asked = _asked(scene, who=f"{WHO}={who}")
    assert scene.named(await found(scene.platform, asked)) == INDIVIDUALS


async def test_ig_an_identifier_is_understood_without_prefix_or_system(scene: Scene) -> None:
    asked = _asked(scene, who=f"{WHO}={IDNPS}|{scene.rpps[0]},8{scene.rpps[1]}")
    bundle = await found(scene.platform, asked)
    assert scene.named(bundle) == INDIVIDUALS
    values = {p["identifier"][0]["value"] for p in of_type(bundle, "Practitioner")}
    assert values == {f"8{number}" for number in scene.rpps}


async def test_ig_the_path_may_end_with_a_slash(scene: Scene) -> None:
    answer = await send(scene.platform, f"/fhir/Slot/?{_asked(scene)}")
    assert answer.status_code == 200
    assert scene.named(valid(answer.json())) == INDIVIDUALS


@pytest.mark.parametrize("order", [1, 2, 3, 4, 5])
async def test_parameters_come_in_any_order(scene: Scene, order: int) -> None:
    parts = _asked(scene).split("&")
    asked = "&".join(parts[order:] + parts[:order])
    assert scene.named(await found(scene.platform, asked)) == INDIVIDUALS


async def test_ig_unknown_parameters_change_nothing_and_stay_in_the_self_link(scene: Scene) -> None:
    bundle = await scene.bundle("&_format=json&_count=1000&_sort=start&unheard-of=1")
    assert scene.named(bundle) == INDIVIDUALS
    kept = dict(parse_qsl(urlsplit(bundle["link"][0]["url"]).query))
    assert (kept["_format"], kept["_count"], kept["unheard-of"]) == ("json", "1000", "1")


@pytest.mark.parametrize("spelling", spellings(soon()))
async def test_ig_the_window_is_inclusive_however_it_is_written(
    scene: Scene, spelling: str
) -> None:
    slot = of_type(await scene.bundle(), "Slot")[0]
    start = datetime.fromisoformat(slot["start"])
    exactly = spellings(start)[spelling]
    asked = _asked(scene, ge=f"start=ge{exactly}", le=f"start=le{exactly}")
    bundle = await found(scene.platform, asked)
    assert [one["id"] for one in of_type(bundle, "Slot")] == [slot["id"]]


async def test_ig_only_slots_that_start_inside_the_window_are_told(scene: Scene) -> None:
    slot = of_type(await scene.bundle(), "Slot")[0]
    start = datetime.fromisoformat(slot["start"])
    for bounds in (
        {"start": start + timedelta(milliseconds=1), "end": start + timedelta(minutes=29)},
        {"start": start - timedelta(minutes=29), "end": start - timedelta(milliseconds=1)},
    ):
        told = await found(scene.platform, query(scene.rpps, **bounds))
        assert slot["id"] not in labels(told)


@pytest.mark.parametrize(
    "accept",
    [
        "application/json+fhir",
        "application/fhir+json",
        "application/json",
        "*/*",
        "text/html",
        "application/fhir+json; fhirVersion=4.0",
    ],
)
async def test_ig_whatever_is_accepted_the_answer_is_fhir_json(scene: Scene, accept: str) -> None:
    answer = await scene.platform.get(f"/fhir/Slot?{query(scene.rpps)}", headers={"Accept": accept})
    assert (answer.status_code, answer.headers["content-type"]) == (200, FHIR)


@pytest.mark.parametrize(
    ("version", "name"),
    [
        (version, name)
        for version, guide in GUIDES.items()
        for name in guide.examples
        if re.search(r"^Bundle-.*(PSIndiv|CPTS)", name)
    ],
)
async def test_ig_the_queries_of_the_official_examples_are_understood(
    scene: Scene, version: str, name: str
) -> None:
    asked = urlsplit(GUIDES[version].examples[name]["link"][0]["url"]).query
    bundle = await found(scene.platform, asked)
    assert bundle["total"] == 0
    written = urlsplit(bundle["link"][0]["url"]).query
    assert sorted(parse_qsl(written)) == sorted(parse_qsl(asked.replace("+", "%2B")))


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("part", "sent"),
    [
        ("ge", ""),
        ("le", ""),
        ("ge", "start=ge2030-13-45"),
        ("ge", "start=gesoon"),
        ("le", "start=le"),
        ("ge", "start=gt2030-01-15T08:00:00.000+01:00"),
        ("ge", "start=2030-01-15T08:00:00.000+01:00"),
        ("status", ""),
        ("status", "status=busy"),
        ("who", ""),
        ("who", f"{WHO}="),
        ("ge", "start=ge%00"),
        ("ge", "start=ge2030-01-15T08:00:00.000%2B99:99"),
        ("ge", "start=ge%EF%BC%92030-01-15T08:00:00.000%2B01:00"),
    ],
)
async def test_ig_a_malformed_search_is_400_with_an_operation_outcome(
    scene: Scene, part: str, sent: str
) -> None:
    await refused(scene.platform, f"/fhir/Slot?{_asked(scene, **{part: sent})}", 400)


async def test_ig_up_to_25_practitioners_are_answered_and_more_refused(scene: Scene) -> None:
    many = [*scene.rpps, *(f"1{n:010d}" for n in range(23))]
    assert scene.named(await scene.bundle(rpps=many)) == INDIVIDUALS
    await refused(scene.platform, f"/fhir/Slot?{query([*many, '10000000099'])}", 400)


async def test_ig_an_unknown_practitioner_is_an_empty_success(scene: Scene) -> None:
    bundle = await scene.bundle(rpps=["19999999999"])
    assert (bundle["type"], bundle["total"]) == ("searchset", 0)
    assert "entry" not in bundle


async def test_ig_an_empty_answer_for_communities_has_the_profile_of_individuals(
    scene: Scene,
) -> None:
    bundle = await scene.bundle(COMMUNITIES, rpps=["19999999999"])
    assert bundle["meta"]["profile"] == [SAS + "BundleAgregateur"]
    assert bundle["total"] == 0


async def test_ig_a_national_number_of_another_kind_is_an_empty_success(scene: Scene) -> None:
    asked = _asked(scene, who=f"{WHO}={IDNPS}|0123456789")
    assert (await found(scene.platform, asked))["total"] == 0


@pytest.mark.parametrize(
    "path",
    ["/fhir", "/fhir/", "/fhir/Patient", "/fhir/Slot/1/2", "/fhir/Slot/1/", "/fhir/x?y=1"],
)
async def test_ig_what_is_not_there_is_404_with_an_operation_outcome(
    scene: Scene, path: str
) -> None:
    await refused(scene.platform, path, 404)


@pytest.mark.parametrize(
    "noise", ["%zz", "a=%00", "%FF=%FE", "=", "&&", "a", "%EF%BC%9F=1", "_include=&_include"]
)
async def test_noise_in_a_query_changes_nothing(scene: Scene, noise: str) -> None:
    assert scene.named(await scene.bundle(f"&{noise}")) == INDIVIDUALS


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_ig_what_cannot_be_done_to_slots_is_405_with_an_operation_outcome(
    scene: Scene, method: str
) -> None:
    answer = await scene.platform.request(method, "/fhir/Slot")
    assert (answer.status_code, answer.headers["content-type"]) == (405, FHIR)
    valid(answer.json())


async def test_ig_others_are_refused_with_an_operation_outcome(scene: Scene) -> None:
    target = f"/fhir/Slot?{query(scene.rpps)}"
    stranger = dataclasses.replace(scene.platform, token="not-a-token")
    regulator = dataclasses.replace(await scene.world.regulator(), http=scene.platform.http)
    await refused(stranger, target, 401)
    await refused(regulator, target, 403)


# --- the Bundle -----------------------------------------------------------------------------------


@pytest_asyncio.fixture(loop_scope="session", params=["individuals", "communities"])
async def told(scene: Scene, request: pytest.FixtureRequest) -> Resource:
    """An answer of each kind."""
    return await scene.bundle(COMMUNITIES if request.param == "communities" else "")


async def test_kit_every_resource_has_exactly_one_profile(told: Resource) -> None:
    by_type = {
        entry["resource"]["resourceType"]: profile(entry["resource"]) for entry in told["entry"]
    }
    of_all = {
        "Schedule": SAS + "FrScheduleAgregateur",
        "Practitioner": SAS + "FrPractitionerAgregateur",
        "PractitionerRole": SAS + "FrPractitionerRoleExerciceAgregateur",
    }
    of_individuals = {"Slot": SAS + "FrSlotAgregateur"}
    of_communities = {
        "Slot": IG + "sas-cpts-slot-aggregator",
        "HealthcareService": IG + "sas-cpts-healthcareservice-aggregator",
        "Organization": IG + "sas-cpts-organization-aggregator",
    }
    if profile(told) == SAS + "BundleAgregateur":
        assert by_type == of_all | of_individuals
    else:
        assert profile(told) == IG + "sas-cpts-bundle-aggregator"
        assert by_type == of_all | of_communities


async def test_kit_every_slot_of_a_community_search_has_the_profile_of_communities(
    scene: Scene,
) -> None:
    profiles = {profile(slot) for slot in of_type(await scene.bundle(COMMUNITIES), "Slot")}
    assert profiles == {IG + "sas-cpts-slot-aggregator"}


async def test_ig_total_counts_the_slots_and_nothing_else(told: Resource) -> None:
    assert told["total"] == len(of_type(told, "Slot"))


async def test_ig_slots_match_and_the_rest_is_included(told: Resource) -> None:
    modes = {(e["resource"]["resourceType"] == "Slot", e["search"]["mode"]) for e in told["entry"]}
    assert modes == {(True, "match"), (False, "include")}


async def test_ig_each_resource_comes_once_at_its_own_address(
    told: Resource, base_url: str
) -> None:
    urls = [entry["fullUrl"] for entry in told["entry"]]
    assert len(urls) == len(set(urls))
    for entry in told["entry"]:
        kind, resource_id = entry["resource"]["resourceType"], entry["resource"]["id"]
        assert entry["fullUrl"] == f"{base_url}/fhir/{kind}/{resource_id}"
        assert re.fullmatch(r"[A-Za-z0-9\-.]{1,64}", resource_id)


async def test_ig_no_element_is_empty_or_null(told: Resource) -> None:
    assert not [leaf for leaf in leaves(told) if leaf in (None, "", [], {})]


async def test_ig_no_code_has_a_display_and_no_resource_a_narrative(told: Resource) -> None:
    assert not {"display", "text", "div"} & set(names(told))


async def test_ig_only_what_a_slot_refers_to_is_included(told: Resource) -> None:
    reached = {f"{e['resource']['resourceType']}/{e['resource']['id']}" for e in told["entry"]}
    referred = {f"Slot/{slot['id']}" for slot in of_type(told, "Slot")}
    for kind, at in (
        ("Slot", ["schedule"]),
        ("Schedule", ["actor"]),
        ("HealthcareService", ["providedBy"]),
    ):
        for resource in of_type(told, kind):
            pointed = resource[at[0]]
            for reference in pointed if isinstance(pointed, list) else [pointed]:
                referred.add(reference["reference"])
    for slot in of_type(told, "Slot"):
        referred |= {service for service, _ in _services(slot) if service}
    assert reached == referred


@pytest.mark.parametrize("more", ["", COMMUNITIES])
async def test_kit_the_self_link_is_the_request_percent_encoded(
    scene: Scene, base_url: str, more: str
) -> None:
    asked = query(scene.rpps) + more
    bundle = await found(scene.platform, asked)
    (link,) = bundle["link"]
    address, _, written = link["url"].partition("?")
    assert (link["relation"], address) == ("self", f"{base_url}/fhir/Slot")
    assert sorted(parse_qsl(written)) == sorted(parse_qsl(asked))
    assert "|" not in written
    assert " " not in written
    assert "+" not in written


async def test_kit_the_self_link_of_an_unencoded_request_says_the_same(scene: Scene) -> None:
    encoded, plain = query(scene.rpps), _asked(scene)
    links = [(await found(scene.platform, one))["link"][0]["url"] for one in (encoded, plain)]
    asked = [dict(parse_qsl(urlsplit(link).query)) for link in links]
    assert "%7C8" in links[1]
    assert asked[0][WHO] == asked[1][WHO]
    starts = [value for key, value in parse_qsl(urlsplit(links[1]).query) if key == "start"]
    assert [datetime.fromisoformat(start[2:]) for start in starts] == [soon(-1), soon(72)]


async def test_ig_there_is_no_paging(world: World, scene: Scene) -> None:
    doctor = await world.doctor()
    caller = dataclasses.replace(await platform(world), http=scene.platform.http)
    batch = [doctor.slot(soon(2, 20 * n)) for n in range(100)]
    assert (await doctor.post("/v1/slots", {"slots": batch})).status_code == 201
    rpps = await rpps_of(world, doctor.practitioner_id)
    bundle = await found(caller, query(rpps) + "&_count=10")
    assert (bundle["total"], len(of_type(bundle, "Slot"))) == (100, 100)
    assert [link["relation"] for link in bundle["link"]] == ["self"]
    assert len(of_type(bundle, "Schedule")) == len(of_type(bundle, "PractitionerRole")) == 1


# --- Slot -----------------------------------------------------------------------------------------


def _services(slot: Resource) -> list[tuple[str | None, str]]:
    """The service types of a slot: what community each refers to, and its code."""
    found = []
    for one in slot["serviceType"]:
        (coding,) = one["coding"]
        references = [
            extension["valueReference"]["reference"]
            for extension in one.get("extension", ())
            if extension["url"] == R5_SERVICE_TYPE
        ]
        assert coding["system"] == (CATEGORIES if references else MODES)
        found.append((references[0] if references else None, coding["code"]))
    return found


def _one(scene: Scene, bundle: Resource, name: str) -> Resource:
    return next(one for one in of_type(bundle, "Slot") if one["id"] == scene.slots[name])


async def test_kit_instants_have_milliseconds_and_the_offset_of_the_place(told: Resource) -> None:
    for slot in of_type(told, "Slot"):
        for instant in (slot["start"], slot["end"]):
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d", instant)
            at = datetime.fromisoformat(instant)
            assert at.utcoffset() == at.astimezone(PARIS).utcoffset()
        assert datetime.fromisoformat(slot["start"]) < datetime.fromisoformat(slot["end"])


async def test_ig_a_slot_starts_and_ends_when_it_was_published_to(scene: Scene) -> None:
    bundle = await scene.bundle()
    for name in INDIVIDUALS - {"of Bruno"}:
        slot = _one(scene, bundle, name)
        own = (await scene.alice.get(f"/v1/slots/{slot['id']}")).json()
        for ours, theirs in (("starts_at", "start"), ("ends_at", "end")):
            assert datetime.fromisoformat(slot[theirs]) == datetime.fromisoformat(own[ours])


async def test_ig_every_status_is_free(told: Resource) -> None:
    assert {slot["status"] for slot in of_type(told, "Slot")} == {"free"}


async def test_kit_every_slot_has_labels_of_the_national_list(told: Resource) -> None:
    for slot in of_type(told, "Slot"):
        security = slot["meta"]["security"]
        assert {coding["system"] for coding in security} == {LABELS}
        assert {coding["code"] for coding in security} <= {"PUBLIC", "PRO", "SNP", "CPTS"}


async def test_ig_each_mode_is_a_service_type_of_its_own(scene: Scene) -> None:
    bundle = await scene.bundle()
    told = {
        name: [code for _, code in _services(_one(scene, bundle, name))] for name in INDIVIDUALS
    }
    assert (told["regulation"], told["professionals"], told["public"]) == (["AMB"], ["VR"], ["HH"])
    assert sorted(told["every mode"]) == ["AMB", "HH", "VR"]


async def test_ig_a_specialty_is_a_code_of_the_national_list(scene: Scene) -> None:
    bundle = await scene.bundle()
    for name, code in (("every mode", "SM04"), ("regulation", "SM54")):
        slot = _one(scene, bundle, name)
        assert slot["specialty"] == [{"coding": [{"system": SPECIALTIES, "code": code}]}]


async def test_kit_walk_in_is_said_and_everything_else_is_bookable(told: Resource) -> None:
    types = [slot["appointmentType"]["coding"] for slot in of_type(told, "Slot")]
    said = [[(one["system"], one["code"]) for one in codings] for codings in types]
    assert sorted(map(tuple, said)) == [
        *[((BOOKABLE, "ROUTINE"),)] * (len(said) - 1),
        ((BOOKABLE, "WALKIN"),),
    ]


async def test_kit_every_slot_leads_to_its_agenda_and_takes_an_origin(told: Resource) -> None:
    for slot in of_type(told, "Slot"):
        address = urlsplit(slot["comment"])
        assert address.scheme in {"http", "https"}
        assert "?" in slot["comment"]
        sent = dict(parse_qsl(urlsplit(slot["comment"] + "&origin=sas-preprod").query))
        assert sent["origin"] == "sas-preprod"
        assert len(sent) > 1


# --- Schedule, Practitioner, PractitionerRole, Location -------------------------------------------


async def test_ig_there_is_one_schedule_for_each_practitioner_and_place(told: Resource) -> None:
    schedules = of_type(told, "Schedule")
    roles = {role["id"]: role for role in of_type(told, "PractitionerRole")}
    assert len(schedules) == len(roles) == 3
    for schedule in schedules:
        practitioner, role = [actor["reference"].split("/") for actor in schedule["actor"]]
        assert (practitioner[0], role[0]) == ("Practitioner", "PractitionerRole")
        assert roles[role[1]]["practitioner"]["reference"] == "/".join(practitioner)
        assert "serviceType" not in schedule


async def test_ig_a_slot_is_in_the_schedule_of_its_place(scene: Scene) -> None:
    bundle = await scene.bundle()
    first, second = (
        {_one(scene, bundle, name)["schedule"]["reference"] for name in names}
        for names in (
            {"regulation", "public", "walk-in", "every label"},
            {"professionals", "every mode"},
        )
    )
    assert len(first) == len(second) == 1
    assert first != second


async def test_kit_a_practitioner_has_one_national_number_and_a_name(
    scene: Scene, told: Resource
) -> None:
    people = of_type(told, "Practitioner")
    assert len(people) == 2
    for person in people:
        (number,) = person["identifier"]
        assert number["type"]["coding"] == [{"system": ID_TYPES, "code": "IDNPS"}]
        assert number["system"] == IDNPS
        assert number["value"] in {f"8{rpps}" for rpps in scene.rpps}
        assert (person["name"][0]["family"], person["name"][0]["given"]) == ("Épreuve", ["Camille"])


def _roles(bundle: Resource) -> dict[str, Resource]:
    """The roles by the name of the place that they contain."""
    return {
        f"{role['contained'][0]['name']} {role['contained'][0]['address']['line'][0]}": role
        for role in of_type(bundle, "PractitionerRole")
    }


async def test_ig_a_role_contains_its_one_place(told: Resource) -> None:
    for role in of_type(told, "PractitionerRole"):
        (place,) = role["contained"]
        assert profile(place) == SAS + "FrLocationAgregateur"
        assert role["location"] == [{"reference": f"#{place['id']}"}]


async def test_ig_a_structure_is_known_by_its_finess_before_its_siret(
    scene: Scene, told: Resource
) -> None:
    roles = _roles(told)
    own = (await scene.alice.get(f"/v1/organizations/{scene.alice.organization_id}")).json()
    first = roles["Cabinet 1 rue de la Paix"]["organization"]
    assert first == {
        "identifier": {
            "type": {"coding": [{"system": ID_TYPES, "code": "IDNST"}]},
            "system": IDNST,
            "value": f"1{own['finess']}",
        }
    }
    second = roles["Maison de santé 2 rue Haute"]["organization"]["identifier"]
    assert re.fullmatch(r"3[0-9]{14}", second["value"])
    (third,) = [role for name, role in roles.items() if name not in {
        "Cabinet 1 rue de la Paix", "Maison de santé 2 rue Haute"
    }]  # fmt: skip
    assert "organization" not in third


async def test_kit_a_role_has_the_phone_of_its_place(told: Resource) -> None:
    phones = [role.get("telecom") for role in _roles(told).values()]
    assert sorted(map(str, phones)) == sorted(
        map(
            str,
            [
                [{"system": "phone", "value": "+33254000001"}],
                [{"system": "phone", "value": "+33254000002"}],
                None,
            ],
        )
    )


@pytest.mark.parametrize(
    ("known", "told"),
    [
        ("02 54 00 00 09", "+33254000009"),
        ("0262.12.34.56", "+262262123456"),
        ("05 90 12 34 56", "+590590123456"),
        ("0594 12 34 56", "+594594123456"),
        ("0596-12-34-56", "+596596123456"),
    ],
)
async def test_ig_a_phone_is_told_with_the_code_of_its_country(
    world: World, scene: Scene, known: str, told: str
) -> None:
    doctor = await world.doctor()
    place = f"/v1/locations/{doctor.location_id}"
    assert (await doctor.patch(place, {"phone": known}, if_match=1)).status_code == 200
    await doctor.publish()
    caller = dataclasses.replace(await platform(world), http=scene.platform.http)
    bundle = await found(caller, query(await rpps_of(world, doctor.practitioner_id)))
    (role,) = of_type(bundle, "PractitionerRole")
    assert role["telecom"] == [{"system": "phone", "value": told}]


async def test_kit_a_place_has_an_address_of_one_line_and_five_digits(told: Resource) -> None:
    for role in of_type(told, "PractitionerRole"):
        (place,) = role["contained"]
        assert len(place["address"]["line"]) == 1
        assert place["address"]["city"] == "Châteauroux"
        assert re.fullmatch(r"[0-9]{5}", place["address"]["postalCode"])
        (number,) = place["identifier"]
        assert number["type"]["coding"][0]["system"] == PLACE_ID_TYPES
        assert number["type"]["coding"][0]["code"] in {"INTRN", "IDNST"}


# --- communities ----------------------------------------------------------------------------------


async def test_ig_a_slot_refers_to_each_of_its_communities(scene: Scene) -> None:
    bundle = await scene.bundle(COMMUNITIES)
    services = {
        one["id"]: one["providedBy"]["reference"] for one in of_type(bundle, "HealthcareService")
    }
    assert len(services) == len(set(services.values())) == 2
    two = _services(_one(scene, bundle, "two communities"))
    assert {service for service, code in two if code == "604"} == {
        f"HealthcareService/{service}" for service in services
    }
    one = _services(_one(scene, bundle, "every label"))
    assert len([service for service, code in one if code == "604"]) == 1


async def test_ig_an_answer_for_communities_is_one_of_theirs_also_without_any(
    scene: Scene,
) -> None:
    bundle = await scene.bundle(COMMUNITIES, rpps=scene.rpps[1:])
    assert scene.named(bundle) == {"of Bruno"}
    assert profile(bundle) == IG + "sas-cpts-bundle-aggregator"
    assert not of_type(bundle, "HealthcareService")


async def test_ig_a_slot_for_no_community_refers_to_none(scene: Scene) -> None:
    bundle = await scene.bundle(COMMUNITIES)
    assert _services(_one(scene, bundle, "regulation")) == [(None, "AMB")]


async def test_kit_a_community_is_known_by_its_finess_name_and_phone(scene: Scene) -> None:
    organizations_ = of_type(await scene.bundle(COMMUNITIES), "Organization")
    assert len(organizations_) == 2
    for one in organizations_:
        (number,) = one["identifier"]
        kinds = {(coding["system"], coding["code"]) for coding in number["type"]["coding"]}
        assert kinds == {(PLACE_ID_TYPES, "IDNST"), (CORE_ID_TYPES, "IDNST")}
        assert number["system"] == IDNST
        assert re.fullmatch(r"1[0-9]{9}", number["value"])
        assert one["name"]
        (phone,) = one["telecom"]
        assert (phone["system"], phone["value"][:3]) == ("phone", "+33")


async def test_a_community_without_a_finess_cannot_be_told(world: World, scene: Scene) -> None:
    doctor = await world.doctor()
    caller = dataclasses.replace(await platform(world), http=scene.platform.http)
    unknown = str(await _community(world, phone="+33254000005"))
    await doctor.publish(visibility=["CPTS"], cpts_ids=[unknown])
    shown = await doctor.publish(soon(3), visibility=["SNP", "CPTS"], cpts_ids=[unknown])
    rpps = await rpps_of(world, doctor.practitioner_id)
    bundle = await found(caller, query(rpps) + COMMUNITIES)
    assert labels(bundle) == {shown["id"]: ["SNP"]}


# --- reads and what the server says of itself -----------------------------------------------------


async def test_ig_what_a_search_shows_can_be_read(scene: Scene, told: Resource) -> None:
    for_communities_only = scene.slots["two communities"]
    for entry in told["entry"]:
        resource = entry["resource"]
        answer = await scene.platform.get(urlsplit(entry["fullUrl"]).path)
        assert (answer.status_code, answer.headers["content-type"]) == (200, FHIR)
        if resource["resourceType"] != "Slot" or resource["id"] == for_communities_only:
            assert answer.json() == resource
        else:
            assert answer.json()["id"] == resource["id"]


async def test_ig_a_slot_is_read_as_individuals_see_it(scene: Scene) -> None:
    for slot in of_type(await scene.bundle(), "Slot"):
        answer = await scene.platform.get(f"/fhir/Slot/{slot['id']}")
        assert valid(answer.json()) == slot
    hidden = scene.slots["some houses"]
    await refused(scene.platform, f"/fhir/Slot/{hidden}", 404)


async def test_ig_what_only_slots_of_communities_refer_to_is_read_as_long_as_one_is_told(
    world: World, scene: Scene, clock: Clock
) -> None:
    doctor, finess = await world.doctor(), _finess()
    community = await _community(world, finess=finess)
    slot = await doctor.publish(visibility=["CPTS"], cpts_ids=[str(community)])
    caller = dataclasses.replace(await platform(world), http=scene.platform.http)
    rpps = await rpps_of(world, doctor.practitioner_id)
    of_slot = [
        urlsplit(entry["fullUrl"]).path
        for entry in (await found(caller, query(rpps) + COMMUNITIES))["entry"]
    ]
    assert f"/fhir/Slot/{slot['id']}" in of_slot
    assert {f"/fhir/{kind}/{community}" for kind in ("HealthcareService", "Organization")} < set(
        of_slot
    )
    for path in of_slot:
        assert (await caller.get(path)).status_code == 200
        await refused(scene.platform, path, 404)  # of another territory
    await clock.shift(timedelta(hours=3))
    for path in of_slot:
        await refused(caller, path, 404)


async def test_a_community_without_a_finess_cannot_be_read(world: World, scene: Scene) -> None:
    doctor, unknown = await world.doctor(), await _community(world, phone="+33254000006")
    await doctor.publish(visibility=["SNP", "CPTS"], cpts_ids=[str(unknown)])
    caller = dataclasses.replace(await platform(world), http=scene.platform.http)
    for kind in ("HealthcareService", "Organization"):
        await refused(caller, f"/fhir/{kind}/{unknown}", 404)


@pytest.mark.parametrize(
    "kind",
    [
        *("Slot", "Schedule", "Practitioner", "PractitionerRole"),
        *("HealthcareService", "Organization", "Location"),
    ],
)
@pytest.mark.parametrize(
    "resource_id", ["none", NEVER, f"10000000000.{NEVER}", "1.2.3", "%00", f"%00.{NEVER}"]
)
async def test_ig_what_is_not_shown_cannot_be_read(
    scene: Scene, kind: str, resource_id: str
) -> None:
    await refused(scene.platform, f"/fhir/{kind}/{resource_id}", 404)


async def test_ig_the_server_says_what_it_can(scene: Scene, base_url: str) -> None:
    answer = await scene.platform.get("/fhir/metadata")
    assert (answer.status_code, answer.headers["content-type"]) == (200, FHIR)
    said = answer.json()
    assert (said["resourceType"], said["kind"], said["status"]) == (
        "CapabilityStatement", "instance", "active"
    )  # fmt: skip
    assert said["fhirVersion"] == "4.0.1"
    assert {"application/fhir+json", "json"} <= set(said["format"])
    requirements = IG.replace("StructureDefinition", "CapabilityStatement")
    wanted = ("PsIndiv", "CPTS")
    assert {f"{requirements}SAS-GestionnaireAgenda-{one}" for one in wanted} <= set(
        said["instantiates"]
    )
    assert said["implementation"]["url"] == f"{base_url}/fhir"
    (rest,) = said["rest"]
    resources = {one["type"]: one for one in rest["resource"]}
    slot = resources["Slot"]
    assert {one["code"] for one in slot["interaction"]} == {"read", "search-type"}
    assert {"Slot:schedule", "Schedule:actor", "Slot:service-type-reference"} <= set(
        slot["searchInclude"]
    )
    assert {
        *("Schedule", "Practitioner", "PractitionerRole", "HealthcareService", "Organization"),
    } <= resources.keys()


async def test_only_the_platform_searches(world: World, scene: Scene) -> None:
    organization = await world.organization("sas")
    for role in (Role.OSNP, Role.MANAGER, Role.ADMIN):
        other = await world.caller(role, organization, "sas")
        caller = dataclasses.replace(other, http=scene.platform.http)
        await refused(caller, f"/fhir/Slot?{query(scene.rpps)}", 403)
