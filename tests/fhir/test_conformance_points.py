"""What the guide asks of a search for consultation points of SOS Médecins [IG], rule by rule.

(§1.6, §2.12, §2.14.) Against a server process, with two structures, one of them with two places,
every label and mode, walk-in, and a slot whose doctor nobody knows yet. Answers are validated
against both versions of the guide. The official test kit has nothing about SOS Médecins.
"""

import dataclasses
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit
from uuid import UUID

import httpx
import pytest
import pytest_asyncio
from sqlalchemy import update

from service.directory.tables import locations, organizations
from service.identity import Role
from service.kernel.db import Database
from tests.bookings.test_book import booked
from tests.conftest import Clock
from tests.fhir.samples import BOOKABLE, IDNST, IG, LABELS, MODES, PLACE_ID_TYPES, SAS, concept
from tests.fhir.support import (
    FHIR,
    PARIS,
    Resource,
    labels,
    leaves,
    names,
    of_type,
    outcome,
    platform,
    profile,
    refused,
    send,
    spellings,
    valid,
)
from tests.fhir.validator import GUIDES
from tests.support import Caller, World, soon

# An id that nobody has.
NEVER = "01a20359-990d-71a3-8819-0b66d831ec29"
WHO = "actor:Location.organization.identifier"
OF_SLOTS = "_has:Slot:schedule:"
PROFILES = {
    "Bundle": f"{IG}sas-sos-bundle-aggregator",
    "Schedule": f"{IG}sas-sos-schedule-aggregator",
    "Slot": f"{IG}sas-sos-slot-aggregator",
    "Location": f"{IG}sas-sos-location-aggregator",
    "Organization": f"{IG}sas-sos-organization-aggregator",
}


# --- the scene ------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Scene:
    """Who offers what: slots by what they show."""

    world: World
    platform: Caller
    doctors: Sequence[Caller]
    places: Sequence[UUID]
    sirets: Sequence[str]
    slots: Mapping[str, str]

    async def bundle(self, *more: str, **changed: str) -> Resource:
        """The answer to a search for both structures, valid by both versions."""
        return await found(self.platform, "&".join([asked(self.sirets, **changed), *more]))

    def named(self, bundle: Resource) -> set[str]:
        """What the slots of an answer are called here."""
        called = {slot_id: name for name, slot_id in self.slots.items()}
        return {called[slot["id"]] for slot in of_type(bundle, "Slot")}


def asked(sirets: Sequence[str], **changed: str) -> str:
    """The query as the guide prints it: nothing encoded; from an hour ago, for three days."""
    first, last = (soon(hours).astimezone(PARIS) for hours in (-1, 72))
    parts = {
        "revinclude": "_revinclude=Slot:schedule",
        "include": "_include=Schedule:actor:Location",
        "iterate": "_include:iterate=Location:organization",
        "ge": f"{OF_SLOTS}start=ge{first.isoformat(timespec='milliseconds')}",
        "le": f"{OF_SLOTS}start=le{last.isoformat(timespec='milliseconds')}",
        "status": f"{OF_SLOTS}status=free",
        "who": f"{WHO}={','.join(f'{IDNST}|3{siret}' for siret in sirets)}",
        **changed,
    }
    return "&".join(part for part in parts.values() if part)


async def found(caller: Caller, query: str) -> Resource:
    """The valid Bundle that answers a query, sent as it is written."""
    answer = await send(caller, f"/fhir/Schedule?{query}")
    assert (answer.status_code, answer.headers["content-type"]) == (200, FHIR), answer.text
    return valid(answer.json())


async def sos(world: World, **columns: str) -> tuple[Caller, str]:
    """A doctor who publishes at the one place of a structure, and its SIRET."""
    doctor = await world.doctor(organization_type="sos")
    siret = f"33{doctor.organization_id.int % 10**12:012d}"
    place = {"address": "1 rue de la Gare", "postal_code": "36000", "phone": "+33254000000"}
    async with world.database.unit_of_work() as uow:
        structure = organizations.c.id == doctor.organization_id
        named = {"siret": siret, "name": "SOS Médecins"}
        await uow.execute(update(organizations).where(structure).values(named))
        at = locations.c.id == doctor.location_id
        await uow.execute(update(locations).where(at).values({**place, **columns}))
    return doctor, siret


async def _offers(one: Caller, two: Caller, second: UUID, community: UUID) -> dict[str, str]:
    wanted: list[tuple[str, Caller, dict[str, Any]]] = [
        ("regulation", one, {}),
        ("public", one, {"visibility": ["PUBLIC"], "modes": ["HH"]}),
        ("every label", one, {
            "visibility": ["PUBLIC", "PRO", "SNP", "CPTS"], "cpts_ids": [str(community)],
        }),
        ("walk-in", one, {"visibility": ["PUBLIC", "SNP"], "walk_in": True}),
        ("nobody yet", one, {"practitioner_id": None}),
        ("every mode", one, {"modes": ["AMB", "HH", "VR"], "location_id": str(second)}),
        ("of two", two, {"modes": ["VR"]}),
        ("professionals", one, {"visibility": ["PRO"]}),
        ("community", one, {"visibility": ["CPTS"], "cpts_ids": [str(community)]}),
        ("houses", one, {"visibility": ["PRO"], "organization_types": ["pharmacy"]}),
    ]  # fmt: skip
    return {
        name: (await doctor.publish(soon(2, 30 * n), **members))["id"]
        for n, (name, doctor, members) in enumerate(wanted)
    }


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def scene(database: Database, http: httpx.AsyncClient, base_url: str) -> AsyncIterator[Scene]:
    world = await World(database, http).begin()
    (one, first), (two, other) = await sos(world), await sos(world)
    second = await world.location(
        one.organization_id, name="Annexe", address="2  rue\nHaute", commune="36044"
    )
    community = await world.organization("cpts")
    async with database.unit_of_work() as uow:
        theirs = organizations.c.id == community
        number = f"{community.int % 10**9:09d}"
        await uow.execute(update(organizations).where(theirs).values(finess=number))
    offers = await _offers(one, two, second, community)
    assert one.location_id
    assert two.location_id
    async with httpx.AsyncClient(base_url=base_url, trust_env=False) as client:
        yield Scene(
            world,
            dataclasses.replace(await platform(world), http=client),
            (one, two),
            (one.location_id, second, two.location_id),
            (first, other),
            offers,
        )


TOLD = {
    "regulation", "public", "every label", "walk-in", "nobody yet", "every mode", "of two",
}  # fmt: skip


@pytest_asyncio.fixture
async def told(scene: Scene) -> Resource:
    """The answer about both structures."""
    return await scene.bundle()


async def _searcher(world: World, scene: Scene) -> Caller:
    """The platform in another territory, at the same server."""
    return dataclasses.replace(await platform(world), http=scene.platform.http)


# --- what is told ---------------------------------------------------------------------------------


async def test_ig_slots_for_the_public_and_for_regulation_are_told(
    scene: Scene, told: Resource
) -> None:
    assert scene.named(told) == TOLD


async def test_ig_labels_are_public_or_regulation(scene: Scene, told: Resource) -> None:
    found = labels(told)
    assert {name: found[scene.slots[name]] for name in TOLD} == {
        "regulation": ["SNP"],
        "public": ["PUBLIC"],
        "every label": ["PUBLIC", "SNP"],
        "walk-in": ["PUBLIC", "SNP"],
        "nobody yet": ["SNP"],
        "every mode": ["SNP"],
        "of two": ["SNP"],
    }
    for slot in of_type(told, "Slot"):
        assert {one["system"] for one in slot["meta"]["security"]} == {LABELS}


async def test_ig_only_the_structures_that_are_asked_for(scene: Scene) -> None:
    bundle = await found(scene.platform, asked(scene.sirets[1:]))
    assert scene.named(bundle) == {"of two"}
    assert [len(of_type(bundle, kind)) for kind in PROFILES if kind != "Bundle"] == [1, 1, 1, 1]


async def test_kit_no_slot_that_has_begun_is_told(scene: Scene, clock: Clock) -> None:
    await clock.shift(timedelta(hours=2, minutes=5))
    assert scene.named(await scene.bundle()) == TOLD - {"regulation"}


async def test_ig_only_free_slots_are_told(world: World, scene: Scene) -> None:
    (doctor, siret), regulator = await sos(world), await world.regulator()
    full, held, withdrawn, free = [await doctor.publish(soon(2 + n)) for n in range(4)]
    await booked(regulator, full)
    assert (await regulator.post(f"/v1/slots/{held['id']}/holds", {})).status_code == 201
    gone = await doctor.delete(f"/v1/slots/{withdrawn['id']}", if_match=1)
    assert gone.status_code in {200, 204}, gone.text
    bundle = await found(await _searcher(world, scene), asked([siret]))
    assert list(labels(bundle)) == [free["id"]]


async def test_ig_a_point_without_a_free_slot_is_not_in_the_answer(
    world: World, scene: Scene
) -> None:
    (doctor, siret), (other, others), (third, thirds) = [await sos(world) for _ in range(3)]
    await booked(await world.regulator(), await doctor.publish())
    await other.publish()
    await third.publish(visibility=["PRO"])
    bundle = await found(await _searcher(world, scene), asked([siret, others, thirds]))
    assert [one["id"] for one in of_type(bundle, "Schedule")] == [str(other.location_id)]
    assert [one["id"] for one in of_type(bundle, "Organization")] == [str(other.organization_id)]


async def test_a_label_is_told_once_its_release_is_in_force(
    world: World, scene: Scene, clock: Clock
) -> None:
    doctor, siret = await sos(world)
    caller = await _searcher(world, scene)
    release = [{"minutes_before": 60, "to": "PUBLIC"}, {"minutes_before": 30, "to": "GIVE_BACK"}]
    slot = await doctor.publish(soon(2), release=release)
    assert labels(await found(caller, asked([siret]))) == {slot["id"]: ["SNP"]}
    await clock.shift(timedelta(minutes=61))
    assert set(labels(await found(caller, asked([siret])))[slot["id"]]) == {"SNP", "PUBLIC"}
    await clock.shift(timedelta(minutes=91))
    assert (await found(caller, asked([siret])))["total"] == 0


async def test_a_structure_that_is_not_sos_is_not_told(world: World, scene: Scene) -> None:
    doctor, siret = await sos(world)
    await doctor.publish()
    caller = await _searcher(world, scene)
    assert (await found(caller, asked([siret])))["total"] == 1
    async with world.database.unit_of_work() as uow:
        theirs = organizations.c.id == doctor.organization_id
        await uow.execute(update(organizations).where(theirs).values(type="practice"))
    assert (await found(caller, asked([siret])))["total"] == 0


async def test_a_place_that_cannot_be_written_is_not_told(world: World, scene: Scene) -> None:
    doctor, siret = await sos(world, commune="99999")
    await doctor.publish()
    assert (await found(await _searcher(world, scene), asked([siret])))["total"] == 0


async def test_points_of_other_territories_are_not_told(world: World, scene: Scene) -> None:
    assert (await found(await _searcher(world, scene), asked(scene.sirets)))["total"] == 0


async def test_only_the_platform_searches(scene: Scene) -> None:
    organization = await scene.world.organization("sas")
    for role in (Role.REGULATOR, Role.OSNP, Role.MANAGER, Role.ADMIN):
        other = await scene.world.caller(role, organization, "sas")
        caller = dataclasses.replace(other, http=scene.platform.http)
        await refused(caller, f"/fhir/Schedule?{asked(scene.sirets)}", 403)


# --- the request as it is really sent -------------------------------------------------------------


async def test_ig_a_query_is_understood_with_everything_encoded(scene: Scene) -> None:
    pairs = [part.partition("=") for part in asked(scene.sirets).split("&")]
    encoded = "&".join(f"{quote(name, '')}={quote(value, '')}" for name, _, value in pairs)
    assert not {"|", ":", "+"} & set(encoded)
    assert scene.named(await found(scene.platform, encoded)) == TOLD


@pytest.mark.parametrize("between", [",", ",%20", ",+", "%2C"])
async def test_ig_structures_are_separated_by_commas_however_written(
    scene: Scene, between: str
) -> None:
    who = between.join(f"{IDNST}%7C3{siret}" for siret in scene.sirets)
    assert scene.named(await scene.bundle(who=f"{WHO}={who}")) == TOLD


async def test_ig_structures_are_named_with_system_and_prefix_or_without(scene: Scene) -> None:
    one, two = scene.sirets
    for first, second in ((f"3{one}", two), (one, f"{IDNST}|{two}"), (f"|3{one}", f"3{two}")):
        bundle = await scene.bundle(who=f"{WHO}={first},{second}")
        assert scene.named(bundle) == TOLD
        numbers = {one["identifier"][0]["value"] for one in of_type(bundle, "Organization")}
        assert numbers == {f"3{siret}" for siret in scene.sirets}


async def test_ig_the_path_may_end_with_a_slash(scene: Scene) -> None:
    answer = await send(scene.platform, f"/fhir/Schedule/?{asked(scene.sirets)}")
    assert answer.status_code == 200
    assert scene.named(valid(answer.json())) == TOLD


@pytest.mark.parametrize(
    ("part", "sent"),
    [
        ("iterate", "_include:iterate=Location:Organization"),
        ("iterate", "_include=Location:organization"),
        ("include", "_include=Schedule:actor"),
        ("revinclude", "_revinclude:iterate=Slot:schedule"),
        ("revinclude", ""),
        ("include", ""),
        ("iterate", ""),
    ],
)
async def test_ig_all_of_it_is_included_however_it_is_asked_for(
    scene: Scene, told: Resource, part: str, sent: str
) -> None:
    assert (await scene.bundle(**{part: sent}))["entry"] == told["entry"]


@pytest.mark.parametrize("version", sorted(GUIDES))
async def test_ig_the_query_of_the_official_example_is_understood(
    scene: Scene, version: str
) -> None:
    example = GUIDES[version].examples["Bundle-ExampleBundleAgregateurSOS"]
    query = urlsplit(example["link"][0]["url"]).query
    bundle = await found(scene.platform, query)
    assert bundle["total"] == 0
    written = urlsplit(bundle["link"][0]["url"]).query
    assert sorted(parse_qsl(written)) == sorted(parse_qsl(query.replace("+", "%2B")))


async def test_parameters_come_in_any_order(scene: Scene) -> None:
    parts = asked(scene.sirets).split("&")
    for n in range(1, len(parts)):
        query = "&".join(parts[n:] + parts[:n])
        assert scene.named(await found(scene.platform, query)) == TOLD


async def test_ig_unknown_parameters_change_nothing_and_stay_in_the_self_link(
    scene: Scene,
) -> None:
    bundle = await scene.bundle("_format=json", "_count=1000", "unheard-of=1")
    assert scene.named(bundle) == TOLD
    kept = dict(parse_qsl(urlsplit(bundle["link"][0]["url"]).query))
    assert (kept["_format"], kept["_count"], kept["unheard-of"]) == ("json", "1000", "1")


@pytest.mark.parametrize("spelling", spellings(soon()))
async def test_ig_the_window_is_inclusive_however_it_is_written(
    scene: Scene, told: Resource, spelling: str
) -> None:
    slot = of_type(told, "Slot")[0]
    exactly = spellings(datetime.fromisoformat(slot["start"]))[spelling]
    bounds = {bound: f"{OF_SLOTS}start={bound}{exactly}" for bound in ("ge", "le")}
    bundle = await scene.bundle(**bounds)
    assert list(labels(bundle)) == [slot["id"]]


async def test_ig_only_slots_that_start_inside_the_window_are_told(
    scene: Scene, told: Resource
) -> None:
    slot = of_type(told, "Slot")[0]
    start, moment = datetime.fromisoformat(slot["start"]), timedelta(milliseconds=1)
    for bounds in ((start + moment, start + 29 * 60_000 * moment), (soon(-1), start - moment)):
        written = zip(("ge", "le"), bounds, strict=True)
        window = {b: f"{OF_SLOTS}start={b}{quote(at.isoformat())}" for b, at in written}
        assert (await scene.bundle(**window))["total"] == 0


@pytest.mark.parametrize(
    "accept", ["application/json+fhir", "application/fhir+json", "application/json", "*/*"]
)
async def test_ig_whatever_is_accepted_the_answer_is_fhir_json(scene: Scene, accept: str) -> None:
    path = f"/fhir/Schedule?{quote(asked(scene.sirets), '=&:,')}"
    answer = await scene.platform.get(path, headers={"Accept": accept})
    assert (answer.status_code, answer.headers["content-type"]) == (200, FHIR)


# --- refusals and empty answers -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("part", "sent", "issue"),
    [
        ("ge", "", "required"),
        ("le", "", "required"),
        ("status", "", "required"),
        ("who", "", "required"),
        ("who", f"{WHO}=", "required"),
        ("ge", f"{OF_SLOTS}start=getomorrow", "value"),
        ("ge", f"{OF_SLOTS}start=gt2030-01-15T08:00:00.000+01:00", "required"),
        ("le", f"{OF_SLOTS}start=le2100-01-01", "too-costly"),
        ("status", f"{OF_SLOTS}status=busy", "value"),
        ("who", f"{WHO}={','.join(str(10**13 + n) for n in range(26))}", "too-costly"),
    ],
)
async def test_ig_a_malformed_search_is_400_with_an_operation_outcome(
    scene: Scene, part: str, sent: str, issue: str
) -> None:
    query = asked(scene.sirets, **{part: sent})
    answer = await send(scene.platform, f"/fhir/Schedule?{query}")
    outcome(answer, 400, issue, "fhir-search")
    valid(answer.json())


@pytest.mark.parametrize("number", [10, 25])
async def test_ig_10_structures_are_answered_and_even_25(scene: Scene, number: int) -> None:
    others = [f"{10**13 + n}" for n in range(number - 2)]
    assert scene.named(await found(scene.platform, asked([*scene.sirets, *others]))) == TOLD


@pytest.mark.parametrize("name", [f"{IDNST}|300000000000000", f"{IDNST}|1360000011", "x", "|"])
async def test_ig_a_structure_that_nobody_knows_is_an_empty_success(
    scene: Scene, name: str
) -> None:
    bundle = await scene.bundle(who=f"{WHO}={name}")
    assert (bundle["type"], bundle["total"]) == ("searchset", 0)
    assert "entry" not in bundle
    assert profile(bundle) == SAS + "BundleAgregateur"
    assert bundle["link"][0]["relation"] == "self"


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_ig_what_cannot_be_done_to_agendas_is_405_with_an_operation_outcome(
    scene: Scene, method: str
) -> None:
    answer = await scene.platform.request(method, "/fhir/Schedule")
    assert (answer.status_code, answer.headers["content-type"]) == (405, FHIR)
    valid(answer.json())


# --- the Bundle -----------------------------------------------------------------------------------


async def test_ig_every_resource_has_exactly_one_profile_that_of_sos(told: Resource) -> None:
    resources = [told, *(entry["resource"] for entry in told["entry"])]
    assert {(one["resourceType"], profile(one)) for one in resources} == set(PROFILES.items())


async def test_ig_agendas_match_the_rest_is_included_and_the_total_counts_slots(
    told: Resource,
) -> None:
    modes = {
        (e["resource"]["resourceType"] == "Schedule", e["search"]["mode"]) for e in told["entry"]
    }
    assert modes == {(True, "match"), (False, "include")}
    assert told["type"] == "searchset"
    assert told["total"] == len(of_type(told, "Slot")) == len(TOLD)


async def test_ig_each_resource_comes_once_at_its_own_address(
    told: Resource, base_url: str
) -> None:
    urls = [entry["fullUrl"] for entry in told["entry"]]
    assert len(urls) == len(set(urls))
    for entry in told["entry"]:
        kind, resource_id = entry["resource"]["resourceType"], entry["resource"]["id"]
        assert entry["fullUrl"] == f"{base_url}/fhir/{kind}/{resource_id}"
        assert re.fullmatch(r"[A-Za-z0-9\-.]{1,64}", resource_id)


async def test_ig_whatever_is_referred_to_is_in_the_answer_and_nothing_else(
    told: Resource,
) -> None:
    there = {f"{e['resource']['resourceType']}/{e['resource']['id']}" for e in told["entry"]}
    referred = {
        "Schedule": {slot["schedule"]["reference"] for slot in of_type(told, "Slot")},
        "Location": {
            actor["reference"] for one in of_type(told, "Schedule") for actor in one["actor"]
        },
        "Organization": {
            place["managingOrganization"]["reference"] for place in of_type(told, "Location")
        },
    }
    slots = {f"Slot/{slot['id']}" for slot in of_type(told, "Slot")}
    assert there == slots.union(*referred.values())
    assert {kind: len(of_type(told, kind)) for kind in referred} == {
        "Schedule": 3,
        "Location": 3,
        "Organization": 2,
    }


async def test_ig_no_element_is_empty_or_null(told: Resource) -> None:
    assert not [leaf for leaf in leaves(told) if leaf in (None, "", [], {})]


async def test_ig_no_code_has_a_display_and_no_resource_a_narrative(told: Resource) -> None:
    assert not {"display", "text", "div", "contained"} & set(names(told))


async def test_ig_the_self_link_is_the_request_percent_encoded(
    scene: Scene, told: Resource, base_url: str
) -> None:
    (link,) = told["link"]
    address, _, written = link["url"].partition("?")
    assert (link["relation"], address) == ("self", f"{base_url}/fhir/Schedule")
    sent = asked(scene.sirets).replace("+", "%2B")
    assert sorted(parse_qsl(written)) == sorted(parse_qsl(sent))
    assert not {"|", " ", "+"} & set(written)


async def test_ig_there_is_no_paging(world: World, scene: Scene) -> None:
    doctor, siret = await sos(world)
    batch = [doctor.slot(soon(2, 20 * n)) for n in range(100)]
    assert (await doctor.post("/v1/slots", {"slots": batch})).status_code == 201
    bundle = await found(await _searcher(world, scene), asked([siret]) + "&_count=10")
    assert (bundle["total"], len(of_type(bundle, "Slot"))) == (100, 100)
    assert [link["relation"] for link in bundle["link"]] == ["self"]


# --- Schedule and Slot ----------------------------------------------------------------------------


async def test_ig_an_agenda_is_of_one_place_and_says_no_service(
    scene: Scene, told: Resource
) -> None:
    schedules = of_type(told, "Schedule")
    actors = {schedule["id"]: schedule["actor"] for schedule in schedules}
    assert actors == {str(place): [{"reference": f"Location/{place}"}] for place in scene.places}
    assert not any("serviceType" in schedule for schedule in schedules)


async def test_ig_a_slot_is_in_the_agenda_of_its_place(scene: Scene, told: Resource) -> None:
    first, second, third = (f"Schedule/{place}" for place in scene.places)
    where = {slot["id"]: slot["schedule"]["reference"] for slot in of_type(told, "Slot")}
    other = {"every mode": second, "of two": third}
    assert where == {scene.slots[name]: other.get(name, first) for name in TOLD}


async def test_ig_instants_have_milliseconds_and_the_offset_of_the_place(
    scene: Scene, told: Resource
) -> None:
    for slot in of_type(told, "Slot"):
        for instant in (slot["start"], slot["end"]):
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d", instant)
            at = datetime.fromisoformat(instant)
            assert at.utcoffset() == at.astimezone(PARIS).utcoffset()
    own = (await scene.doctors[0].get(f"/v1/slots/{scene.slots['public']}")).json()
    slot = next(one for one in of_type(told, "Slot") if one["id"] == own["id"])
    for ours, theirs in (("starts_at", "start"), ("ends_at", "end")):
        assert datetime.fromisoformat(slot[theirs]) == datetime.fromisoformat(own[ours])


async def test_ig_overseas_instants_have_the_offset_of_the_place(
    database: Database, http: httpx.AsyncClient, scene: Scene
) -> None:
    world = await World(database, http, zone="America/Martinique").begin()
    doctor, siret = await sos(world)
    slot = await doctor.publish()
    (told,) = of_type(await found(await _searcher(world, scene), asked([siret])), "Slot")
    assert re.fullmatch(r".{19}\.000-04:00", told["start"])
    assert datetime.fromisoformat(told["start"]) == datetime.fromisoformat(slot["starts_at"])


async def test_ig_each_mode_is_a_service_type_of_its_own(scene: Scene, told: Resource) -> None:
    services = {slot["id"]: slot["serviceType"] for slot in of_type(told, "Slot")}
    for name, modes in (
        ("regulation", ["AMB"]), ("public", ["HH"]), ("of two", ["VR"]),
        ("every mode", ["AMB", "HH", "VR"]), ("every label", ["AMB"]),
    ):  # fmt: skip
        assert services[scene.slots[name]] == [concept(MODES, mode) for mode in modes]


async def test_ig_walk_in_is_said_and_everything_else_is_bookable(
    scene: Scene, told: Resource
) -> None:
    said = {slot["id"]: slot["appointmentType"] for slot in of_type(told, "Slot")}
    walk_in, bookable = concept(BOOKABLE, "WALKIN"), concept(BOOKABLE, "ROUTINE")
    assert said == {scene.slots[name]: walk_in if name == "walk-in" else bookable for name in TOLD}
    assert {slot["status"] for slot in of_type(told, "Slot")} == {"free"}


async def test_kit_every_slot_leads_to_itself_in_the_agenda_and_takes_an_origin(
    told: Resource,
) -> None:
    for slot in of_type(told, "Slot"):
        assert "?" in slot["comment"]
        address = urlsplit(slot["comment"] + "&origin=sas-preprod")
        assert address.scheme in {"http", "https"}
        assert dict(parse_qsl(address.query)) == {"slot": slot["id"], "origin": "sas-preprod"}


# --- Location and Organization --------------------------------------------------------------------


async def test_ig_a_place_has_its_own_number_name_address_and_phone(
    scene: Scene, told: Resource
) -> None:
    places = {place["id"]: place for place in of_type(told, "Location")}
    first, second, _ = (places[str(place)] for place in scene.places)
    for place in places.values():
        (number,) = place["identifier"]
        assert number["type"] == concept(PLACE_ID_TYPES, "INTRN")
        assert number["value"] == place["id"]
        assert number["system"]
    assert (first["name"], second["name"]) == ("Cabinet", "Annexe")
    assert [place["address"] for place in (first, second)] == [
        {"line": ["1 rue de la Gare"], "city": "Châteauroux", "postalCode": "36000"},
        {"line": ["2 rue Haute"], "city": "Châteauroux", "postalCode": "36000"},
    ]
    assert first["telecom"] == [{"system": "phone", "value": "+33254000000"}]
    assert "telecom" not in second


async def test_ig_a_structure_is_known_by_its_siret(scene: Scene, told: Resource) -> None:
    numbers = {one["id"]: one["identifier"] for one in of_type(told, "Organization")}
    owners = zip(scene.doctors, scene.sirets, strict=True)
    assert numbers == {
        str(doctor.organization_id): [
            {"type": concept(PLACE_ID_TYPES, "IDNST"), "system": IDNST, "value": f"3{siret}"}
        ]
        for doctor, siret in owners
    }
    managed = {
        place["id"]: place["managingOrganization"]["reference"]
        for place in of_type(told, "Location")
    }
    one, two = (f"Organization/{doctor.organization_id}" for doctor in scene.doctors)
    assert managed == dict(zip(map(str, scene.places), (one, one, two), strict=True))


# --- reads and what the server says of itself -----------------------------------------------------


async def test_ig_what_a_search_shows_can_be_read(scene: Scene, told: Resource) -> None:
    of_doctors = set(scene.slots.values()) - {scene.slots["nobody yet"]}
    for entry in told["entry"]:
        resource = entry["resource"]
        answer = await send(scene.platform, urlsplit(entry["fullUrl"]).path)
        assert (answer.status_code, answer.headers["content-type"]) == (200, FHIR)
        read = valid(answer.json())
        # A slot of a named doctor is told as theirs.
        if resource["id"] in of_doctors:
            assert (read["id"], profile(read)) == (resource["id"], SAS + "FrSlotAgregateur")
        else:
            assert read == resource


async def test_ig_what_is_not_shown_cannot_be_read(
    world: World, scene: Scene, clock: Clock
) -> None:
    doctor, _ = await sos(world)
    caller = await _searcher(world, scene)
    slot = await doctor.publish(practitioner_id=None)
    of_point = (
        f"Slot/{slot['id']}",
        f"Schedule/{doctor.location_id}",
        f"Location/{doctor.location_id}",
        f"Organization/{doctor.organization_id}",
    )
    for one in of_point:
        assert (await send(caller, f"/fhir/{one}")).status_code == 200
        await refused(scene.platform, f"/fhir/{one}", 404)  # of another territory
        kind = one.partition("/")[0]
        for resource_id in (NEVER, "none", one.partition("/")[2].upper(), "1.2.3", "%00"):
            await refused(caller, f"/fhir/{kind}/{resource_id}", 404)
    await clock.shift(timedelta(hours=3))
    for one in of_point:
        await refused(caller, f"/fhir/{one}", 404)


@pytest.mark.parametrize("unlike", [{"type": "practice"}, {"siret": None}])
async def test_ig_only_places_of_sos_with_a_siret_can_be_read(
    world: World, scene: Scene, unlike: dict[str, str | None]
) -> None:
    doctor, _ = await sos(world)
    await doctor.publish()
    caller = await _searcher(world, scene)
    of_point = (
        f"Schedule/{doctor.location_id}",
        f"Location/{doctor.location_id}",
        f"Organization/{doctor.organization_id}",
    )
    for one in of_point:
        assert (await send(caller, f"/fhir/{one}")).status_code == 200
    async with world.database.unit_of_work() as uow:
        theirs = organizations.c.id == doctor.organization_id
        await uow.execute(update(organizations).where(theirs).values(unlike))
    for one in of_point:
        await refused(caller, f"/fhir/{one}", 404)


async def test_ig_the_server_says_what_it_can(scene: Scene) -> None:
    said = (await scene.platform.get("/fhir/metadata")).json()
    requirements = IG.replace("StructureDefinition", "CapabilityStatement")
    assert f"{requirements}SAS-GestionnaireAgenda-SOS" in said["instantiates"]
    resources = {one["type"]: one for one in said["rest"][0]["resource"]}
    for kind, url in PROFILES.items():
        if kind != "Bundle":
            assert url in resources[kind]["supportedProfile"]
            assert "read" in {one["code"] for one in resources[kind]["interaction"]}
    schedule = resources["Schedule"]
    assert {one["code"] for one in schedule["interaction"]} == {"read", "search-type"}
    assert schedule["searchInclude"] == ["Schedule:actor:Location", "Location:organization"]
    assert schedule["searchRevInclude"] == ["Slot:schedule"]
    assert {"_has", WHO} == {one["name"] for one in schedule["searchParam"]}
