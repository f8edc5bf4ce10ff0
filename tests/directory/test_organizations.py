"""Organizations over HTTP."""

import asyncio
from uuid import UUID

from service.directory import OrganizationType, organization_of_type
from service.identity import Role
from service.kernel.ids import new_id
from tests.directory.support import admin, created, territory_told, told
from tests.support import World, problem


async def test_a_manager_lists_a_pharmacy_and_everybody_reads_it(world: World) -> None:
    manager = await world.manager()
    pharmacy = await created(
        manager,
        "organizations",
        territory=world.territory,
        type="pharmacy",
        name="  Pharmacie de la Gare ",
        commune="36044",
        phone="02 54 00 00 00",
        cpts_ids=[str(manager.organization_id)] * 2,
    )
    assert pharmacy["name"] == "Pharmacie de la Gare"
    assert pharmacy["phone"] == "+33254000000"
    assert pharmacy["commune_name"] == "Châteauroux"
    assert pharmacy["cpts_ids"] == [str(manager.organization_id)]
    assert (pharmacy["active"], pharmacy["version"]) == (True, 1)
    regulator = await world.regulator()
    answer = await regulator.get(f"/v1/organizations/{pharmacy['id']}")
    assert answer.json() == pharmacy
    assert answer.headers["ETag"] == '"1"'
    [event] = await told(world.database, pharmacy["id"])
    assert (event.type, event.role) == ("organization.created", Role.MANAGER)
    assert await territory_told(world.database, pharmacy["id"]) == world.territory


async def test_nobody_else_writes(world: World) -> None:
    doctor = await world.doctor()
    body = {"territory": world.territory, "type": "other", "name": "X"}
    problem(await doctor.post("/v1/organizations", body), 403, "role-lacks-operation")


async def test_a_manager_writes_at_home_an_admin_everywhere(world: World) -> None:
    manager, boss = await world.manager(), await admin(world)
    abroad = {"territory": "36", "type": "other", "name": "Ailleurs"}
    problem(await manager.post("/v1/organizations", abroad), 403, "foreign-territory")
    entry = await created(boss, "organizations", **abroad)
    path = f"/v1/organizations/{entry['id']}"
    problem(await manager.patch(path, {"name": "À moi"}), 403, "foreign-territory")
    assert (await boss.patch(path, {"name": "Encore"})).json()["version"] == 2


async def test_what_is_wrong_is_named(world: World) -> None:
    boss = await admin(world)
    stranger = new_id()
    good = {"territory": world.territory, "type": "practice", "name": "Cabinet"}
    wrong = {
        "territory": "20",
        "type": "practice",
        "name": "Cabinet",
        "cpts_ids": [str(boss.organization_id), str(stranger)],
    }
    body = problem(await boss.post("/v1/organizations", wrong), 422, "directory-invalid")
    assert [e["pointer"] for e in body["errors"]] == ["#/territory", "#/cpts_ids/0", "#/cpts_ids/1"]
    for member, value, code in (
        ("commune", "36999", "unknown-commune"),
        ("finess", "36000", "finess"),
        ("siret", "34173748400021", "siret"),
        ("phone", "15", "phone"),
        ("name", "a\nb", "string-pattern-mismatch"),
        ("name", "a\u0000b", "character-nul"),
        ("opening_hours", "9-18", "extra-forbidden"),
    ):
        body = problem(await boss.post("/v1/organizations", good | {member: value}), 422, "invalid")
        assert [(e["pointer"], e["code"]) for e in body["errors"]] == [(f"#/{member}", code)]


async def test_a_national_identifier_is_listed_once(world: World) -> None:
    boss = await admin(world)
    finess = f"36{new_id().int % 10**7:07d}"
    mine = {"territory": world.territory, "type": "msp", "name": "MSP"}
    first = await created(boss, "organizations", **mine, finess=finess)
    body = problem(
        await boss.post("/v1/organizations", {**mine, "finess": finess}), 409, "already-listed"
    )
    assert body["identifier"] == "finess"
    [found] = (await boss.get("/v1/organizations", params={"finess": finess})).json()["items"]
    assert found == first
    second = await created(boss, "organizations", **mine)
    path = f"/v1/organizations/{second['id']}"
    problem(await boss.patch(path, {"finess": finess}), 409, "already-listed")
    assert (await boss.get(path)).json() == second


async def test_of_twenty_rivals_with_one_finess_one_is_listed(world: World) -> None:
    boss = await admin(world)
    body = {
        "territory": world.territory,
        "type": "msp",
        "name": "MSP",
        "finess": f"36{new_id().int % 10**7:07d}",
    }
    answers = await asyncio.gather(*(boss.post("/v1/organizations", body) for _ in range(20)))
    assert sorted(a.status_code for a in answers) == [201] + [409] * 19


async def test_a_retry_with_a_key_is_the_same_entry(world: World) -> None:
    manager = await world.manager()
    body = {"territory": world.territory, "type": "other", "name": "Une fois"}
    first = await manager.post("/v1/organizations", body, key="one")
    again = await manager.post("/v1/organizations", body, key="one")
    assert again.json() == first.json()
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.headers["ETag"] == first.headers["ETag"]


async def test_an_amendment_is_a_merge_patch(world: World) -> None:
    manager = await world.manager()
    entry = await created(
        manager,
        "organizations",
        territory=world.territory,
        type="practice",
        name="Cabinet",
        phone="0254000000",
    )
    path = f"/v1/organizations/{entry['id']}"
    answer = await manager.patch(path, {"phone": None, "active": False}, if_match=1)
    assert answer.json() == entry | {"phone": None, "active": False, "version": 2}
    assert answer.headers["ETag"] == '"2"'
    problem(await manager.patch(path, {"name": "Tard"}, if_match=1), 412, "version-mismatch")
    problem(await manager.patch(path, {"name": None}), 422, "invalid")
    problem(await manager.patch(path, {"territory": "36"}), 422, "invalid")
    assert (await manager.patch(path, {"name": "Cabinet"}, if_match=2)).json()["version"] == 2
    events = await told(world.database, entry["id"])
    assert [e.type for e in events] == ["organization.created", "organization.amended"]
    assert events[1].data == {"changed": ["phone", "active"]}
    problem(await manager.patch(f"/v1/organizations/{new_id()}", {}), 404, "organization-not-found")


async def test_grants_follow_the_type_and_the_communities(world: World) -> None:
    manager, boss = await world.manager(), await admin(world)
    pharmacist = await world.pharmacist()
    path = f"/v1/organizations/{pharmacist.organization_id}"
    assert (await manager.patch(path, {"name": "Autre nom"})).status_code == 200
    assert (await pharmacist.get("/v1/me")).status_code == 200
    joined = {"cpts_ids": [str(manager.organization_id)], "type": "other"}
    assert (await boss.patch(path, joined)).status_code == 200
    problem(await pharmacist.get("/v1/me"), 401, "grant-ended")
    await pharmacist.sign_in()
    me = (await pharmacist.get("/v1/me")).json()
    assert me["cpts_ids"] == joined["cpts_ids"]
    assert me["organization"]["type"] == "other"


async def test_the_callers_of_a_cpts_are_its_members(world: World) -> None:
    boss = await admin(world)
    entry = await created(
        boss, "organizations", territory=world.territory, type="other", name="Bientôt CPTS"
    )
    member = await world.caller(Role.PROFESSIONAL, UUID(entry["id"]), "other")
    await boss.patch(f"/v1/organizations/{entry['id']}", {"type": "cpts"})
    await member.sign_in()
    assert (await member.get("/v1/me")).json()["cpts_ids"] == [entry["id"]]


async def test_a_cpts_with_members_stays_one(world: World) -> None:
    manager, boss = await world.manager(), await admin(world)
    path = f"/v1/organizations/{manager.organization_id}"
    member = await created(
        manager,
        "organizations",
        territory=world.territory,
        type="msp",
        name="MSP",
        cpts_ids=[str(manager.organization_id)],
    )
    problem(await boss.patch(path, {"type": "other"}), 409, "community-in-use")
    await boss.patch(f"/v1/organizations/{member['id']}", {"cpts_ids": []})
    assert (await boss.patch(path, {"type": "other"})).json()["type"] == "other"


async def test_a_cpts_never_loses_its_kind_while_somebody_joins(world: World) -> None:
    boss = await admin(world)
    for _ in range(10):
        cpts = await world.organization("cpts")
        member = {"territory": world.territory, "type": "msp", "name": "M", "cpts_ids": [str(cpts)]}
        joined, changed = await asyncio.gather(
            boss.post("/v1/organizations", member),
            boss.patch(f"/v1/organizations/{cpts}", {"type": "other"}),
        )
        assert (joined.status_code, changed.status_code) in {(201, 409), (422, 200)}


async def test_lists_are_narrowed(world: World) -> None:
    manager = await world.manager()
    cpts = str(manager.organization_id)
    here = {"territory": world.territory}
    gare = await created(
        manager,
        "organizations",
        **here,
        type="pharmacy",
        name="Pharmacie de l’Épée",
        cpts_ids=[cpts],
    )
    coeur = await created(
        manager, "organizations", **here, type="practice", name="Cabinet du Cœur", active=False
    )

    async def found(**params: str) -> list[str]:
        answer = await manager.get("/v1/organizations", params={**here, **params})
        assert answer.status_code == 200, answer.text
        return [item["id"] for item in answer.json()["items"]]

    assert await found() == [coeur["id"], gare["id"], cpts]
    assert await found(type="pharmacy") == [gare["id"]]
    assert await found(cpts=cpts) == [gare["id"]]
    assert await found(q="EPEE pharm") == [gare["id"]]
    assert await found(q="coeur") == [coeur["id"]]
    assert await found(q="pharmacie 100%") == []
    assert await found(active="true") == [gare["id"], cpts]
    assert await found(active="false", type="practice") == [coeur["id"]]
    problem(await manager.get("/v1/organizations?q=--"), 422, "search-invalid")
    problem(await manager.get("/v1/organizations?type=hospital"), 422, "invalid")


async def test_the_door_tells_an_active_pharmacy(world: World) -> None:
    manager = await world.manager()
    pharmacy = await world.organization("pharmacy")
    async with world.database.unit_of_work() as uow:
        wanted = OrganizationType.PHARMACY
        found = await organization_of_type(uow, pharmacy, wanted)
        assert found is not None
        assert found.id == pharmacy
        assert await organization_of_type(uow, manager.organization_id, wanted) is None
        assert await organization_of_type(uow, new_id(), wanted) is None
    await manager.patch(f"/v1/organizations/{pharmacy}", {"active": False})
    async with world.database.unit_of_work() as uow:
        assert await organization_of_type(uow, pharmacy, wanted) is None
