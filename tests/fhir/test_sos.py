"""The search for consultation points of SOS Médecins (§1.6, §2.12), against both versions."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote
from uuid import UUID

import pytest
import pytest_asyncio
from sqlalchemy import update

from service.directory.tables import locations, organizations
from service.identity import Role
from tests.fhir.support import FHIR, outcome, platform
from tests.fhir.validator import GUIDES, findings
from tests.support import Caller, World, soon

IDNST = "urn:oid:1.2.250.1.71.4.2.2"
GUIDE = "https://interop.esante.gouv.fr/ig/fhir/sas/StructureDefinition/sas-sos-"
Resource = dict[str, Any]


@dataclass(frozen=True)
class Point:
    """A consultation point, who publishes there, and the slots that can be told of, by name."""

    sas: Caller
    doctor: Caller
    organization_id: UUID
    location_id: UUID
    siret: str
    slots: Mapping[str, str]


async def _sos(world: World) -> tuple[Caller, UUID, str]:
    """A structure with one place, and a doctor who publishes there."""
    doctor = await world.doctor()
    assert doctor.location_id
    number = f"33{doctor.location_id.int % 10**12:012d}"
    async with world.database.unit_of_work() as uow:
        await uow.execute(
            update(organizations)
            .where(organizations.c.id == doctor.organization_id)
            .values(type="sos", siret=number, name="SOS Médecins")
        )
        await uow.execute(
            update(locations)
            .where(locations.c.id == doctor.location_id)
            .values(address="1 rue de la Gare", postal_code="36000", phone="+33254000000")
        )
    return doctor, doctor.location_id, number


@pytest_asyncio.fixture
async def point(world: World) -> Point:
    """A point with a slot of each kind, one without a practitioner, and some that are not told."""
    doctor, location_id, siret = await _sos(world)
    wanted: dict[str, dict[str, Any]] = {
        "regulation": {},
        "public": {"visibility": ["PUBLIC"], "modes": ["AMB", "HH", "VR"]},
        "both": {"visibility": ["PUBLIC", "PRO", "SNP"], "walk_in": True},
        "nobody yet": {"practitioner_id": None},
        "professionals": {"visibility": ["PRO"]},
    }
    made = {
        name: (await doctor.publish(soon(2 + n), **members))["id"]
        for n, (name, members) in enumerate(wanted.items())
    }
    await doctor.publish(soon(100))
    del made["professionals"]
    return Point(await platform(world), doctor, doctor.organization_id, location_id, siret, made)


def query(*structures: str, status: str = "free", **bounds: str) -> str:
    """The query of the guide."""
    window = {
        "ge": soon(-1).isoformat(timespec="milliseconds"),
        "le": soon(72).isoformat(timespec="milliseconds"),
        **bounds,
    }
    starts = "".join(f"&_has:Slot:schedule:start={b}{quote(at)}" for b, at in window.items())
    return (
        "/fhir/Schedule?_revinclude=Slot:schedule&_include=Schedule:actor:Location"
        f"&_include:iterate=Location:organization{starts}&_has:Slot:schedule:status={status}"
        f"&actor:Location.organization.identifier={','.join(structures)}&_count=1000"
    )


async def _search(point: Point, *structures: str) -> Resource:
    answer = await point.sas.get(query(*(structures or (f"{IDNST}%7C3{point.siret}",))))
    assert (answer.status_code, answer.headers["content-type"]) == (200, FHIR), answer.text
    bundle: Resource = answer.json()
    return bundle


def _of(bundle: Resource, kind: str) -> list[Resource]:
    resources = [entry["resource"] for entry in bundle.get("entry", [])]
    return [resource for resource in resources if resource["resourceType"] == kind]


@pytest.mark.parametrize("version", sorted(GUIDES))
async def test_kit_the_answer_is_valid(point: Point, version: str) -> None:
    assert findings(GUIDES[version], await _search(point)) == []


async def test_ig_the_points_match_and_the_total_counts_their_slots(point: Point) -> None:
    bundle = await _search(point)
    assert bundle["meta"]["profile"] == [f"{GUIDE}bundle-aggregator"]
    assert {slot["id"] for slot in _of(bundle, "Slot")} == set(point.slots.values())
    assert bundle["total"] == len(point.slots)
    modes = {
        entry["resource"]["resourceType"]: entry["search"]["mode"] for entry in bundle["entry"]
    }
    assert modes.pop("Schedule") == "match"
    assert set(modes.values()) == {"include"}


async def test_ig_a_schedule_is_of_a_place_and_a_place_of_a_structure(point: Point) -> None:
    bundle = await _search(point)
    [schedule], [place], [house] = (
        _of(bundle, kind) for kind in ("Schedule", "Location", "Organization")
    )
    assert schedule["actor"] == [{"reference": f"Location/{place['id']}"}]
    assert place["managingOrganization"] == {"reference": f"Organization/{house['id']}"}
    assert house["identifier"][0]["value"] == f"3{point.siret}"
    assert {slot["schedule"]["reference"] for slot in _of(bundle, "Slot")} == {
        f"Schedule/{schedule['id']}"
    }


async def test_ig_labels_are_public_or_regulation(point: Point) -> None:
    told = {
        slot["id"]: [one["code"] for one in slot["meta"]["security"]]
        for slot in _of(await _search(point), "Slot")
    }
    assert told == {
        point.slots["regulation"]: ["SNP"],
        point.slots["public"]: ["PUBLIC"],
        point.slots["both"]: ["PUBLIC", "SNP"],
        point.slots["nobody yet"]: ["SNP"],
    }


async def test_ig_structures_are_named_with_system_and_prefix_or_without(point: Point) -> None:
    whole = (await _search(point))["total"]
    for name in (f"{IDNST}|3{point.siret}", f"3{point.siret}", point.siret):
        assert (await _search(point, name, f" {IDNST}|300000000000000"))["total"] == whole


async def test_ig_a_structure_that_nobody_knows_is_an_empty_success(point: Point) -> None:
    for name in (f"{IDNST}|300000000000000", f"{IDNST}|1360000011"):
        bundle = await _search(point, name)
        assert (bundle["total"], "entry" in bundle) == (0, False)
        for guide in GUIDES.values():
            assert findings(guide, bundle) == []


async def test_ig_each_place_is_a_point_and_their_structure_comes_once(
    point: Point, world: World
) -> None:
    place = await world.location(
        point.organization_id, address="2 rue Haute", postal_code="36000", commune="36044"
    )
    await point.doctor.publish(soon(30), location_id=str(place))
    bundle = await _search(point)
    assert {one["id"] for one in _of(bundle, "Schedule")} == {str(place), str(point.location_id)}
    assert len(_of(bundle, "Location")) == 2
    assert len(_of(bundle, "Organization")) == 1
    for guide in GUIDES.values():
        assert findings(guide, bundle) == []


async def test_a_structure_that_is_not_sos_is_not_told(point: Point, world: World) -> None:
    async with world.database.unit_of_work() as uow:
        mine = organizations.c.id == point.organization_id
        await uow.execute(update(organizations).where(mine).values(type="practice"))
    assert (await _search(point))["total"] == 0


async def test_a_point_of_another_territory_is_not_told(point: Point, world: World) -> None:
    other = await World(world.database, world.http).begin()
    doctor, _, siret = await _sos(other)
    await doctor.publish(soon(2))
    assert (await _search(point, siret))["total"] == 0


@pytest.mark.parametrize(
    ("structures", "more", "issue"),
    [
        ([""], {}, "required"),
        (["330000000000000"], {"ge": "tomorrow"}, "value"),
        (["330000000000000"], {"le": "2100-01-01"}, "too-costly"),
        ([str(10**13 + n) for n in range(26)], {}, "too-costly"),
        (["330000000000000"], {"status": "busy"}, "value"),
    ],
)
async def test_ig_a_malformed_search_is_400(
    world: World, structures: list[str], more: dict[str, str], issue: str
) -> None:
    sas = await platform(world)
    outcome(await sas.get(query(*structures, **more)), 400, issue, "fhir-search")


async def test_only_the_platform_searches(point: Point, world: World) -> None:
    regulator = await world.caller(Role.REGULATOR, await world.organization("sas"), "sas")
    outcome(await regulator.get(query(point.siret)), 403, "forbidden", "role-lacks-operation")
