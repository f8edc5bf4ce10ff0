"""Who sees a slot: the rule as a table of cases and against an oracle."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import count
from typing import Any
from uuid import UUID

import httpx
import pytest
import pytest_asyncio

from service.identity import BOOKERS, PROFESSIONALS, PUBLISHERS, REGULATION, Role
from service.kernel.db import Database
from service.kernel.ids import new_id
from tests.support import Caller, World, problem, soon

Body = dict[str, Any]
_hours = count(1)


@dataclass(frozen=True)
class Cast:
    """A doctor who publishes, and everybody who might see it, by name."""

    doctor: Caller
    callers: Mapping[str, Caller]
    ids: Mapping[str, UUID]


HERE_REGULATION = {"regulator", "osnp", "arm"}
HERE_PROFESSIONALS = {"pharmacist", "member", "nurse", "professional", "operator", "other doctor"}
HERE = HERE_REGULATION | HERE_PROFESSIONALS
MEMBERS = {"member", "member away"}
OWN = {"doctor", "delegate"}
SAS, PHARMACY, EMERGENCY = "sas", "pharmacy", "emergency_department"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def cast(database: Database, http: httpx.AsyncClient) -> Cast:
    """Create the doctor's territory, another one, a community, and one caller of each kind."""
    here, away = World(database, http), World(database, http)
    await here.begin()
    await away.begin()
    community, other_community = await here.organization("cpts"), await here.organization("cpts")
    doctor = await here.doctor()
    assert doctor.practitioner_id is not None

    async def staff(role: Role, organization_type: str) -> Caller:
        return await here.caller(
            role, await here.organization(organization_type), organization_type
        )

    callers = {
        "doctor": doctor,
        "delegate": await here.caller(
            Role.DELEGATE,
            doctor.organization_id,
            "practice",
            practitioner_ids=[doctor.practitioner_id],
        ),
        "regulator": await here.regulator(),
        "osnp": await here.regulation(Role.OSNP),
        "arm": await here.regulation(Role.ARM),
        "pharmacist": await here.pharmacist(),
        "member": await here.pharmacist([community]),
        "nurse": await staff(Role.EMERGENCY_NURSE, EMERGENCY),
        "professional": await staff(Role.PROFESSIONAL, "cds"),
        "operator": await staff(Role.PLATFORM_OPERATOR, "other"),
        "other doctor": await here.doctor(),
        "member away": await away.pharmacist([other_community, community]),
        "pharmacist away": await away.pharmacist(),
        "regulator away": await away.regulator(),
        "doctor away": await away.doctor(),
    }
    ids = {
        "community": community,
        "pharmacist": callers["pharmacist"].organization_id,
        "nobody": new_id(),
    }
    return Cast(doctor, callers, ids)


@pytest.mark.parametrize(
    ("labels", "narrowing", "seers"),
    [
        (["SNP"], {}, HERE_REGULATION),
        (["PRO"], {}, HERE),
        (["PUBLIC"], {}, HERE),
        (["CPTS"], {"cpts_ids": ["community"]}, MEMBERS),
        (["CPTS"], {}, set()),
        (["CPTS"], {"cpts_ids": ["nobody"]}, set()),
        (["CPTS"], {"cpts_ids": ["nobody", "community"]}, MEMBERS),
        (["SNP", "CPTS"], {"cpts_ids": ["community"]}, HERE_REGULATION | MEMBERS),
        (["PRO", "CPTS"], {"cpts_ids": ["community"]}, HERE | MEMBERS),
        # Communities without the label admit nobody.
        (["SNP"], {"cpts_ids": ["community"]}, HERE_REGULATION),
        # Narrowing touches PRO, regulation that only PRO admits included ...
        (["PRO"], {"organization_types": [PHARMACY]}, {"pharmacist", "member"}),
        (["PRO"], {"organization_types": [PHARMACY, SAS]}, {"pharmacist", "member"}
         | HERE_REGULATION),
        (["PRO"], {"organization_ids": ["pharmacist"]}, {"pharmacist"}),
        (["PRO"], {"organization_ids": ["pharmacist"], "organization_types": [PHARMACY]},
         {"pharmacist"}),
        (["PRO"], {"organization_ids": ["pharmacist"], "organization_types": [EMERGENCY]}, set()),
        # ... and CPTS ...
        (["CPTS"], {"cpts_ids": ["community"], "organization_types": [PHARMACY]}, MEMBERS),
        (["CPTS"], {"cpts_ids": ["community"], "organization_types": [EMERGENCY]}, set()),
        (["CPTS"], {"cpts_ids": ["community"], "organization_ids": ["pharmacist"]}, set()),
        # ... never SNP, and PUBLIC is not named either.
        (["SNP"], {"organization_types": [PHARMACY]}, HERE_REGULATION),
        (["SNP"], {"organization_ids": ["nobody"]}, HERE_REGULATION),
        (["SNP", "PRO"], {"organization_types": [PHARMACY]},
         HERE_REGULATION | {"pharmacist", "member"}),
        (["PUBLIC"], {"organization_types": [PHARMACY]}, HERE),
        (["PUBLIC", "PRO", "SNP", "CPTS"], {"cpts_ids": ["community"]}, HERE | MEMBERS),
    ],
)  # fmt: skip
async def test_the_table_of_who_sees_what(
    cast: Cast, labels: list[str], narrowing: Mapping[str, Sequence[str]], seers: set[str]
) -> None:
    members: Body = {
        name: [str(cast.ids.get(value, value)) for value in values]
        for name, values in narrowing.items()
    }
    slot = await cast.doctor.publish(soon(next(_hours)), visibility=labels, **members)
    expected = seers | OWN
    assert {name for name, c in cast.callers.items() if await _reads(c, slot)} == expected
    assert {name for name, c in cast.callers.items() if await _finds(c, slot)} == expected
    assert {name for name, c in cast.callers.items() if await _holds(c, slot)} == expected


async def _reads(caller: Caller, slot: Body) -> bool:
    answer = await caller.get(f"/v1/slots/{slot['id']}")
    assert answer.status_code in {200, 404}, answer.text
    return answer.status_code == 200


async def _finds(caller: Caller, slot: Body) -> bool:
    answer = await caller.get("/v1/slots", params={"practitioner": slot["practitioner_id"]})
    assert answer.status_code == 200, answer.text
    return slot["id"] in {item["id"] for item in answer.json()["items"]}


async def _holds(caller: Caller, slot: Body) -> bool:
    answer = await caller.post(f"/v1/slots/{slot['id']}/holds")
    if answer.status_code == 404:
        return False
    assert answer.status_code == 201, answer.text
    assert (await caller.delete(f"/v1/holds/{answer.json()['id']}")).status_code == 204
    return True


# --- against an oracle --------------------------------------------------------------------------


@dataclass(frozen=True)
class Viewer:
    """A caller, as the sentence of the design needs it."""

    caller: Caller
    territories: frozenset[str]
    organization_type: str
    cpts_ids: frozenset[UUID]


@dataclass(frozen=True)
class Labelled:
    """A slot, as the sentence of the design needs it."""

    id: str
    publisher: Caller
    territory: str
    labels: frozenset[str]
    cpts_ids: frozenset[UUID]
    organization_types: frozenset[str]
    organization_ids: frozenset[UUID]


def sees(viewer: Viewer, slot: Labelled) -> bool:
    """Say who sees a slot, word by word as the rule does."""
    role, organization = viewer.caller.role, viewer.caller.organization_id
    here = slot.territory in viewer.territories
    # "organization_types and organization_ids narrow what PRO and CPTS admit, never SNP."
    fits = (
        not slot.organization_types or viewer.organization_type in slot.organization_types
    ) and (not slot.organization_ids or organization in slot.organization_ids)
    # "PUBLIC admits any booking role granted in the slot's territory;
    public = "PUBLIC" in slot.labels and role in BOOKERS and here
    # PRO professionals and regulation granted there;
    pro = "PRO" in slot.labels and role in PROFESSIONALS | REGULATION and here and fits
    # SNP regulation granted there;
    snp = "SNP" in slot.labels and role in REGULATION and here
    # CPTS the members of cpts_ids, whatever their territory."
    cpts = "CPTS" in slot.labels and bool(slot.cpts_ids & viewer.cpts_ids) and fits
    # "The publisher's side always sees its own."
    if slot.publisher.practitioner_id is None:
        own = organization == slot.publisher.organization_id
    else:
        own = viewer.caller.practitioner_id == slot.publisher.practitioner_id
    return public or pro or snp or cpts or (role in PUBLISHERS and own)


async def test_search_read_and_hold_agree_with_the_sentence(
    database: Database, http: httpx.AsyncClient
) -> None:
    draw = random.Random(random.getrandbits(32))
    worlds = [await World(database, http).begin() for _ in range(3)]
    communities = [new_id() for _ in range(3)]
    at = (draw.uniform(-60, -50), draw.uniform(-170, -100))  # an ocean of this test's own
    publishers = [
        await worlds[0].doctor(at=at),
        await worlds[1].doctor(at=at),
        await _centre(worlds[0], at),
    ]
    viewers = [await _viewer(draw, worlds, communities) for _ in range(12)]
    viewers += [
        Viewer(publisher, frozenset({publisher.territory}), kind, frozenset())
        for publisher, kind in zip(publishers, ("practice", "practice", "csnp"), strict=True)
    ]
    # Staff of the centre that does not publish: its house's slots are not its own.
    nurse = await worlds[0].caller(Role.PROFESSIONAL, publishers[2].organization_id, "csnp")
    viewers.append(Viewer(nurse, frozenset({nurse.territory}), "csnp", frozenset()))
    slots = [
        slot
        for publisher in publishers
        for slot in await _labelled(draw, publisher, 14, communities, viewers)
    ]

    for viewer in viewers:
        expected = {slot.id for slot in slots if sees(viewer, slot)}
        found = await viewer.caller.get(
            "/v1/slots", params={"near": f"{at[0]},{at[1]}", "radius_km": 1, "limit": 200}
        )
        assert {item["id"] for item in found.json()["items"]} == expected
    pairs = draw.sample([(viewer, slot) for viewer in viewers for slot in slots], 200)
    assert 40 < sum(sees(viewer, slot) for viewer, slot in pairs) < 160  # both answers are tried
    for viewer, slot in pairs:
        assert await _reads(viewer.caller, {"id": slot.id}) == sees(viewer, slot), slot
        assert await _holds(viewer.caller, {"id": slot.id}) == sees(viewer, slot), slot


async def _centre(world: World, at: tuple[float, float]) -> Caller:
    """Someone who publishes for an unscheduled-care centre without naming a practitioner."""
    caller = await world.doctor(organization_type="csnp", at=at)
    caller.practitioner_id = None
    return caller


async def _viewer(
    draw: random.Random, worlds: Sequence[World], communities: Sequence[UUID]
) -> Viewer:
    role = draw.choice(sorted(BOOKERS - {Role.DOCTOR}))
    kind = draw.choice(["sas", PHARMACY, EMERGENCY, "practice"])
    world = draw.choice(worlds)
    territories = {w.territory for w in worlds if draw.random() < 0.4} | {world.territory}
    cpts_ids = [c for c in communities if draw.random() < 0.3]
    caller = await world.caller(
        role,
        await world.organization(kind),
        kind,
        territories=sorted(territories),
        cpts_ids=cpts_ids,
    )
    return Viewer(caller, frozenset(territories), kind, frozenset(cpts_ids))


async def _labelled(
    draw: random.Random,
    publisher: Caller,
    number: int,
    communities: Sequence[UUID],
    viewers: Sequence[Viewer],
) -> list[Labelled]:
    start = soon()
    bodies = [
        publisher.slot(
            start + timedelta(minutes=20 * n),
            visibility=draw.sample(["PUBLIC", "PRO", "SNP", "CPTS"], draw.randint(1, 3)),
            cpts_ids=[str(c) for c in communities if draw.random() < 0.4],
            organization_types=draw.choice(
                [[], [], [PHARMACY], [EMERGENCY, "practice"], ["sas", PHARMACY]]
            ),
            organization_ids=[
                str(v.caller.organization_id)
                for v in draw.sample(list(viewers), draw.choice([0, 0, 0, 3, 6]))
            ],
        )
        for n in range(number)
    ]
    answer = await publisher.post("/v1/slots", {"slots": bodies})
    assert answer.status_code == 201, answer.text
    return [
        Labelled(
            published["id"],
            publisher,
            publisher.territory,
            frozenset(body["visibility"]),
            frozenset(map(UUID, body["cpts_ids"])),
            frozenset(body["organization_types"]),
            frozenset(map(UUID, body["organization_ids"])),
        )
        for body, published in zip(bodies, answer.json()["slots"], strict=True)
    ]


# --- what does not exist for a caller -----------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/v1/slots/{}", None),
        ("POST", "/v1/slots/{}/holds", {"seconds": 60}),
        ("PATCH", "/v1/slots/{}", {"note": "x"}),
        ("DELETE", "/v1/slots/{}", None),
    ],
)
async def test_an_invisible_slot_answers_as_an_unknown_one(
    cast: Cast, method: str, path: str, body: Body | None
) -> None:
    slot = await cast.doctor.publish(soon(next(_hours)))
    caller = cast.callers["other doctor"]
    unknown, invisible = [
        problem(
            await caller.request(method, path.format(slot_id), json=body, if_match="*"),
            404,
            "slot-not-found",
        )
        for slot_id in (new_id(), slot["id"])
    ]
    assert invisible.pop("request_id") != unknown.pop("request_id")
    assert invisible == unknown
    assert slot["id"] not in str(invisible)


async def test_a_slot_that_others_see_is_not_theirs_to_change(cast: Cast) -> None:
    slot = await cast.doctor.publish(soon(next(_hours)), visibility=["PUBLIC"])
    other = cast.callers["other doctor"]
    assert await _reads(other, slot)
    path = f"/v1/slots/{slot['id']}"
    problem(await other.patch(path, {"note": "x"}, if_match="*"), 404, "slot-not-found")
    problem(await other.delete(path, if_match="*"), 404, "slot-not-found")


async def test_what_only_the_own_side_may_know_is_hidden_from_others(cast: Cast) -> None:
    community = str(cast.ids["community"])
    slot = await cast.doctor.publish(
        soon(next(_hours)), visibility=["PUBLIC", "CPTS"], cpts_ids=[community], external_id="A 1"
    )
    assert (slot["booked"], slot["held"], slot["external_id"]) == (0, 0, "A 1")
    assert slot["cpts_ids"] == [community]
    seen = (await cast.callers["pharmacist"].get(f"/v1/slots/{slot['id']}")).json()
    private = ("booked", "held", "external_id", "cpts_ids", "organization_types",
               "organization_ids", "visibility_warnings", "who_can")  # fmt: skip
    assert [seen[name] for name in private] == [None] * 8


async def test_widened_labels_are_seen_from_the_next_request_on(cast: Cast) -> None:
    slot = await cast.doctor.publish(
        soon(next(_hours)), visibility=["CPTS"], cpts_ids=[str(cast.ids["community"])]
    )
    assert not await _reads(cast.callers["pharmacist"], slot)
    amended = await cast.doctor.patch(
        f"/v1/slots/{slot['id']}", {"visibility": ["CPTS", "PRO"]}, if_match=slot["version"]
    )
    assert amended.status_code == 200, amended.text
    assert await _reads(cast.callers["pharmacist"], slot)
