"""Practitioners over HTTP."""

import asyncio
from collections.abc import Callable
from uuid import UUID

import httpx

from service.directory import PractitionerDraft, create_practitioner
from service.identity import Role
from service.kernel.db import Database
from service.kernel.events import Origin
from service.kernel.ids import new_id
from service.kernel.settings import Settings
from service.main import create_app
from tests.conftest import DatabaseUrls
from tests.directory.support import admin, created, number, told
from tests.support import World, problem


def person(world: World, **members: object) -> dict[str, object]:
    return {
        "rpps": number(),
        "family_name": "Lefèvre",
        "given_name": "Noël",
        "territory": world.territory,
        **members,
    }


async def test_a_practitioner_with_their_places(world: World) -> None:
    manager = await world.manager()
    place = await world.location(await world.organization("practice"))
    rpps = number()
    entry = await created(
        manager,
        "practitioners",
        **person(world, rpps=f"8{rpps}", specialty="SM54", location_ids=[str(place), str(place)]),
    )
    assert entry["rpps"] == rpps
    assert entry["location_ids"] == [str(place)]
    assert (entry["profession"], entry["status"]) == ("10", "self_employed")
    regulator = await world.regulator()
    answer = await regulator.get(f"/v1/practitioners/{entry['id']}")
    assert answer.json() == entry
    assert answer.headers["ETag"] == '"1"'
    listed = await regulator.get("/v1/locations", params={"practitioner": entry["id"]})
    assert [item["id"] for item in listed.json()["items"]] == [str(place)]
    assert [e.type for e in await told(world.database, entry["id"])] == ["practitioner.created"]
    problem(await regulator.get(f"/v1/practitioners/{new_id()}"), 404, "practitioner-not-found")


async def test_what_is_wrong_is_named(world: World) -> None:
    manager = await world.manager()
    for member, value, code in (
        ("rpps", "1000568134A", "rpps"),
        ("rpps", "12345", "rpps"),
        ("specialty", "XX99", "unknown-code"),
        ("profession", "0", "unknown-code"),
        ("status", "busy", "enum"),
        ("family_name", "", "string-too-short"),
        ("diploma", "1998", "extra-forbidden"),
    ):
        answer = await manager.post("/v1/practitioners", person(world, **{member: value}))
        errors = problem(answer, 422, "invalid")["errors"]
        assert [(e["pointer"], e["code"]) for e in errors] == [(f"#/{member}", code)]
    unknown = person(world, location_ids=[str(new_id())])
    body = problem(await manager.post("/v1/practitioners", unknown), 422, "directory-invalid")
    assert [e["code"] for e in body["errors"]] == ["unknown-location"]


async def test_the_key_counts_where_the_setting_says_so(
    world: World, shared_urls: DatabaseUrls, make_settings: Callable[..., Settings]
) -> None:
    manager = await world.manager()
    entry = await created(manager, "practitioners", **person(world, rpps="10002673899"))
    strict = create_app(make_settings(shared_urls.app, rpps_check="luhn"))
    transport = httpx.ASGITransport(app=strict)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        manager.http = http
        wrong = person(world, rpps="10001288385")
        body = problem(await manager.post("/v1/practitioners", wrong), 422, "directory-invalid")
        assert [(e["pointer"], e["code"]) for e in body["errors"]] == [("#/rpps", "wrong-key")]
        answer = await manager.post("/v1/practitioners", person(world, rpps="10005681340"))
        assert answer.status_code == 201, answer.text
        # What was listed under the other setting may still be amended.
        path = f"/v1/practitioners/{entry['id']}"
        assert (await manager.patch(path, {"status": "retired"})).status_code == 200
        problem(await manager.patch(path, {"rpps": "10001288385"}), 422, "directory-invalid")
        organization = {
            "territory": world.territory, "type": "msp", "name": "MSP", "finess": "360000054"
        }  # fmt: skip
        body = problem(
            await manager.post("/v1/organizations", organization), 422, "directory-invalid"
        )
        assert [e["pointer"] for e in body["errors"]] == ["#/finess"]
    await strict.state.database.dispose()


async def test_an_rpps_is_listed_once(world: World) -> None:
    manager = await world.manager()
    entry = await created(manager, "practitioners", **person(world))
    twin = person(world, rpps=entry["rpps"])
    body = problem(await manager.post("/v1/practitioners", twin), 409, "already-listed")
    assert body["identifier"] == "rpps"
    other = await created(manager, "practitioners", **person(world))
    problem(
        await manager.patch(f"/v1/practitioners/{other['id']}", {"rpps": f"8{entry['rpps']}"}),
        409,
        "already-listed",
    )


async def test_places_are_named_anew_by_an_amendment(world: World) -> None:
    manager = await world.manager()
    practice = await world.organization("practice")
    first, second, third = [str(await world.location(practice)) for _ in range(3)]
    entry = await created(manager, "practitioners", **person(world, location_ids=[first, second]))
    path = f"/v1/practitioners/{entry['id']}"
    answer = await manager.patch(path, {"location_ids": [third, second]}, if_match=1)
    assert answer.json() == entry | {"location_ids": sorted([second, third]), "version": 2}
    answer = await manager.patch(path, {"location_ids": [second, third], "status": "self_employed"})
    assert answer.json()["version"] == 2
    problem(await manager.patch(path, {"location_ids": []}, if_match=1), 412, "version-mismatch")
    assert (await manager.patch(path, {"location_ids": []})).json()["location_ids"] == []
    problem(await manager.patch(path, {"given_name": None}), 422, "invalid")
    changes = [e.data for e in await told(world.database, entry["id"])][1:]
    assert changes == [{"changed": ["location_ids"]}] * 2


async def test_a_manager_writes_at_home_only(world: World) -> None:
    manager, boss = await world.manager(), await admin(world)
    problem(
        await manager.post("/v1/practitioners", person(world, territory="36")),
        403,
        "foreign-territory",
    )
    other = await World(world.database, world.http).begin()
    theirs = str(await other.location(await other.organization("practice")))
    problem(
        await manager.post("/v1/practitioners", person(world, location_ids=[theirs])),
        403,
        "foreign-territory",
    )
    entry = await created(boss, "practitioners", **person(world, location_ids=[theirs]))
    path = f"/v1/practitioners/{entry['id']}"
    assert (await manager.patch(path, {"status": "locum"})).status_code == 200
    problem(await manager.patch(path, {"location_ids": []}), 403, "foreign-territory")
    problem(await manager.patch(path, {"territory": other.territory}), 403, "foreign-territory")
    both = await world.caller(
        Role.MANAGER,
        manager.organization_id,
        "cpts",
        territories=[world.territory, other.territory],
    )
    moved = await both.patch(path, {"territory": other.territory, "location_ids": []})
    assert moved.json()["territory"] == other.territory
    problem(await boss.patch(path, {"territory": "20"}), 422, "directory-invalid")


async def test_amendments_that_cross_all_count(world: World) -> None:
    manager = await world.manager()
    practice = await world.organization("practice")
    places = [str(await world.location(practice)) for _ in range(5)]
    entry = await created(manager, "practitioners", **person(world))
    path = f"/v1/practitioners/{entry['id']}"
    answers = await asyncio.gather(
        *(manager.patch(path, {"location_ids": places[:n]}) for n in range(1, 6))
    )
    assert [a.status_code for a in answers] == [200] * 5
    assert sorted(a.json()["version"] for a in answers) == [2, 3, 4, 5, 6]
    last = max((a.json() for a in answers), key=lambda body: body["version"])
    assert (await manager.get(path)).json() == last
    rivals = await asyncio.gather(
        *(manager.patch(path, {"given_name": f"N{n}"}, if_match=6) for n in range(5))
    )
    assert sorted(a.status_code for a in rivals) == [200] + [412] * 4


async def test_lists_are_narrowed(world: World) -> None:
    manager = await world.manager()
    practice = await world.organization("practice")
    place = await world.location(practice)
    at_work = await created(
        manager, "practitioners", **person(world, specialty="SM54", location_ids=[str(place)])
    )
    pharmacist = await created(
        manager,
        "practitioners",
        **person(world, family_name="O’Brien", given_name="Zoë", profession="21", active=False),
    )

    async def found(**params: str) -> list[str]:
        sent = {"territory": world.territory, **params}
        answer = await manager.get("/v1/practitioners", params=sent)
        assert answer.status_code == 200, answer.text
        return [item["id"] for item in answer.json()["items"]]

    assert await found() == [pharmacist["id"], at_work["id"]]
    assert await found(rpps=at_work["rpps"]) == [at_work["id"]]
    assert await found(rpps="8" + at_work["rpps"]) == [at_work["id"]]
    assert await found(specialty="SM54") == [at_work["id"]]
    assert await found(profession="21") == [pharmacist["id"]]
    assert await found(organization=str(practice)) == [at_work["id"]]
    assert await found(location=str(place)) == [at_work["id"]]
    assert await found(location=str(new_id())) == []
    assert await found(active="true") == [at_work["id"]]
    assert await found(q="noel LEFEVRE") == [at_work["id"]]
    assert await found(q="zoe obrien") == [pharmacist["id"]]
    problem(await manager.get("/v1/practitioners?rpps=12"), 422, "invalid")


async def test_the_operator_needs_no_token(world: World, database: Database) -> None:
    draft = PractitionerDraft(
        rpps=number(), family_name="Roy", given_name="Anne", territory=world.territory
    )
    async with database.unit_of_work() as uow:
        made = await create_practitioner(uow, Origin(role="operator"), draft, keys=False)
    assert made.location_ids == frozenset()
    assert isinstance(made.id, UUID)
    [event] = await told(database, str(made.id))
    assert (event.type, event.role) == ("practitioner.created", "operator")
