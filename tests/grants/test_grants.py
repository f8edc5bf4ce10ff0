"""Who gives which right to whom: managers at home, never above themselves."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID

import httpx
import pytest

from service.identity import Role
from service.kernel import events
from service.kernel.ids import new_id
from tests.conftest import Clock
from tests.grants.support import (
    Body,
    administration,
    community_manager,
    given,
    person,
    right,
    sas_manager,
)
from tests.support import Caller, World, problem

REGULATION = {Role.REGULATOR, Role.OSNP, Role.ARM}
OF_OTHERS = {
    Role.PHARMACIST, Role.EMERGENCY_NURSE, Role.PROFESSIONAL, Role.PLATFORM_OPERATOR,
    Role.DOCTOR, Role.DELEGATE, Role.ANALYST,
}  # fmt: skip


# --- giving -------------------------------------------------------------------------------------


async def test_a_manager_of_the_sas_gives_a_right_for_a_year(world: World) -> None:
    manager = await sas_manager(world)
    body = right(manager)
    made = await given(manager, body)
    account = made.pop("account")
    assert account.pop("id")
    assert account == {
        "family_name": "Épreuve", "given_name": "Camille",
        "identifiers": [{"system": "https://idp.example", "value": body["person"]["value"]}],
    }  # fmt: skip
    begins = datetime.fromisoformat(made.pop("valid_from"))
    assert datetime.fromisoformat(made.pop("valid_until")) - begins == timedelta(days=365)
    assert made.pop("id")
    assert made == {
        "client": None, "role": "osnp", "organization_id": body["organization_id"],
        "territories": [world.territory], "practitioner_ids": [], "revoked_at": None,
    }  # fmt: skip


async def test_a_right_is_told_with_who_gave_it(world: World) -> None:
    manager = await sas_manager(world)
    await manager.sign_in(user_system="urn:drs", user_id="drs-7")
    made = await given(manager, right(manager))
    await manager.delete(f"/v1/grants/{made['id']}")
    async with world.database.unit_of_work() as uow:
        told = await events.history(uow, UUID(made["id"]))
        opened = await events.history(uow, UUID(made["account"]["id"]))
    assert [event.type for event in told] == ["grant.given", "grant.revoked"]
    assert [event.type for event in opened] == ["account.opened"]
    for event in [*told, *opened]:
        who = {"proof": "asserted", "system": "urn:drs", "id": "drs-7"}
        assert (event.role, event.person) == ("manager", who)
        assert "Épreuve" not in str(event.data)
    assert told[0].data["account_id"] == made["account"]["id"]


async def test_one_person_has_one_account_however_they_are_named(world: World) -> None:
    manager = await sas_manager(world)
    rpps = f"1{new_id().int % 10**10:010d}"
    forms = {
        "osnp": ("rpps", rpps),
        "arm": ("idnps", f"8{rpps}"),
        "analyst": ("https://rpps.esante.gouv.fr", rpps),
    }
    accounts = set()
    for role, (system, value) in forms.items():
        made = await given(manager, right(manager, role, person=person(system=system, value=value)))
        accounts.add(made["account"]["id"])
    assert len(accounts) == 1


async def test_a_right_may_begin_later_and_end_when_it_is_said(world: World) -> None:
    manager = await sas_manager(world)
    begins, ends = datetime.now(UTC) + timedelta(days=2), datetime.now(UTC) + timedelta(days=4)
    dates = {"valid_from": begins.isoformat(), "valid_until": ends.isoformat()}
    made = await given(manager, right(manager, **dates))
    assert datetime.fromisoformat(made["valid_from"]) == begins
    assert datetime.fromisoformat(made["valid_until"]) == ends
    over = (datetime.now(UTC) - timedelta(days=1)).isoformat()
    reversed_ = {"valid_until": begins.isoformat(), "valid_from": ends.isoformat()}
    for wrong in (reversed_, {"valid_until": over}):
        answer = await manager.post("/v1/grants", right(manager, **wrong))
        assert problem(answer, 422, "grant-invalid")["errors"][0]["pointer"] == "#/valid_until"


async def test_the_same_right_is_not_given_twice_even_at_once(world: World) -> None:
    manager = await sas_manager(world)
    body = right(manager)
    answers = await asyncio.gather(*(manager.post("/v1/grants", body) for _ in range(6)))
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409, 409, 409]
    (made,) = (answer.json() for answer in answers if answer.status_code == 201)
    for answer in answers:
        if answer.status_code == 409:
            assert problem(answer, 409, "grant-exists")["grant_id"] == made["id"]
    await manager.delete(f"/v1/grants/{made['id']}")
    assert (await given(manager, body))["account"]["id"] == made["account"]["id"]


async def test_a_retry_with_its_key_gives_once(world: World) -> None:
    manager = await sas_manager(world)
    body, key = right(manager), str(new_id())
    first, again = [await manager.post("/v1/grants", body, key=key) for _ in range(2)]
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert first.json() == again.json()


# --- which roles --------------------------------------------------------------------------------


_KINDS = {
    **dict.fromkeys((*REGULATION, Role.ANALYST, Role.MANAGER), "sas"),
    Role.PHARMACIST: "pharmacy",
    Role.EMERGENCY_NURSE: "emergency_department",
    Role.PROFESSIONAL: "msp",
    Role.PLATFORM_OPERATOR: "other",
    Role.DELEGATE: "csnp",  # of the centre: a doctor's are given by the doctor
}


async def _tries(caller: Caller, world: World, role: Role, cpts_id: UUID) -> httpx.Response:
    members: Body = {}
    if role is Role.DOCTOR:
        practice = await world.organization("practice", cpts_ids=[cpts_id])
        practitioner_id = await world.practitioner(await world.location(practice))
        found = await caller.get(f"/v1/practitioners/{practitioner_id}")
        members["practitioner_ids"] = [str(practitioner_id)]
        members["person"] = person(system="rpps", value=found.json()["rpps"])
    else:
        practice = await world.organization(_KINDS.get(role, "other"), cpts_ids=[cpts_id])
    body = right(caller, role, organization_id=str(practice), **members)
    return await caller.post("/v1/grants", body)


@pytest.mark.parametrize("role", list(Role))
async def test_each_gives_the_roles_that_are_theirs_to_give(world: World, role: Role) -> None:
    community = await community_manager(world)
    callers = {
        "sas": (await sas_manager(world), REGULATION | OF_OTHERS),
        "cpts": (community, OF_OTHERS),
        "admin": (await administration(world), REGULATION | OF_OTHERS | {Role.MANAGER}),
    }
    for name, (caller, may) in callers.items():
        answer = await _tries(caller, world, role, community.organization_id)
        if role in may:
            assert answer.status_code == 201, (name, answer.text)
            assert (await caller.delete(f"/v1/grants/{answer.json()['id']}")).status_code == 204
        else:
            problem(answer, 403, "role-not-yours-to-give")


@pytest.mark.parametrize("role", sorted(set(Role) - {Role.MANAGER, Role.ADMIN, Role.DOCTOR}))
async def test_nobody_else_gives_lists_or_revokes(world: World, role: Role) -> None:
    organization = await world.organization("sas")
    ids = [await world.practitioner()] if role is Role.DELEGATE else []
    caller = await world.caller(role, organization, "sas", practitioner_ids=ids)
    for answer in (
        await caller.post("/v1/grants", right(caller)),
        await caller.get("/v1/grants"),
        await caller.delete(f"/v1/grants/{new_id()}"),
        await caller.delete(f"/v1/people/{new_id()}/grants"),
    ):
        problem(answer, 403, "role-lacks-operation")


# --- only at home, never oneself ----------------------------------------------------------------


async def test_a_manager_gives_nothing_in_a_territory_that_is_not_theirs(world: World) -> None:
    manager = await sas_manager(world)
    there = await World(world.database, world.http).begin()
    foreign = str(await there.organization("sas"))
    for members in (
        {"territories": [there.territory]},
        {"territories": [world.territory, there.territory]},
        {"organization_id": foreign},
        {"organization_id": foreign, "territories": [world.territory]},
    ):
        answer = await manager.post("/v1/grants", right(manager, **members))
        problem(answer, 403, "foreign-territory")
    admin = await administration(world)
    made = await given(admin, right(admin, organization_id=foreign))
    assert made["territories"] == [there.territory]


async def test_a_manager_sees_and_revokes_at_home_only(world: World) -> None:
    manager, neighbour = await sas_manager(world), await World(world.database, world.http).begin()
    elsewhere = await sas_manager(neighbour)
    both = await sas_manager(world, neighbour.territory)
    mine = await given(manager, right(manager))
    theirs = await given(elsewhere, right(elsewhere))
    shared = await given(both, right(both, territories=[world.territory, neighbour.territory]))
    listed = [grant["id"] for grant in (await manager.get("/v1/grants")).json()["items"]]
    assert mine["id"] in listed
    assert shared["id"] in listed
    assert theirs["id"] not in listed
    problem(await manager.delete(f"/v1/grants/{theirs['id']}"), 404, "grant-not-found")
    problem(await manager.delete(f"/v1/grants/{new_id()}"), 404, "grant-not-found")
    problem(await manager.delete(f"/v1/grants/{shared['id']}"), 403, "foreign-territory")
    for _ in range(2):  # revoked is revoked
        assert (await manager.delete(f"/v1/grants/{mine['id']}")).status_code == 204
    listed = [grant["id"] for grant in (await manager.get("/v1/grants")).json()["items"]]
    assert mine["id"] not in listed


async def test_a_manager_does_not_revoke_who_is_above_them(world: World) -> None:
    sas, cpts = await sas_manager(world), await community_manager(world)
    regulator = await given(sas, right(sas, "regulator"))
    problem(await cpts.delete(f"/v1/grants/{regulator['id']}"), 403, "role-not-yours-to-give")
    own = [grant["id"] for grant in (await sas.get("/v1/grants?role=manager")).json()["items"]]
    assert own
    for grant_id in own:
        problem(await sas.delete(f"/v1/grants/{grant_id}"), 403, "role-not-yours-to-give")


async def test_nobody_gives_rights_to_themselves(world: World) -> None:
    manager = await sas_manager(world)
    rpps = "10005681340"
    await manager.sign_in(user_system="rpps", user_id=rpps)
    body = right(manager, "osnp", person=person(system="idnps", value=f"8{rpps}"))
    problem(await manager.post("/v1/grants", body), 403, "own-grant")
    await given(manager, right(manager))


# --- to the right person ------------------------------------------------------------------------


async def test_a_doctors_right_is_for_the_doctor(world: World) -> None:
    manager = await sas_manager(world)
    practice = str(await world.organization("practice"))
    practitioner_id = str(await world.practitioner(await world.location(UUID(practice))))
    rpps = (await manager.get(f"/v1/practitioners/{practitioner_id}")).json()["rpps"]
    members = {"organization_id": practice, "practitioner_ids": [practitioner_id]}
    for ids, code in ([practitioner_id], "somebody-else"), ([], "doctor"):
        body = right(manager, "doctor", **{**members, "practitioner_ids": ids})
        answer = await manager.post("/v1/grants", body)
        assert problem(answer, 422, "grant-invalid")["errors"][0]["code"] == code
    doctor = person(system="rpps", value=rpps)
    made = await given(manager, right(manager, "doctor", person=doctor, **members))
    assert made["practitioner_ids"] == [practitioner_id]


async def test_a_number_of_somebody_who_is_called_otherwise_is_refused(world: World) -> None:
    manager = await sas_manager(world)
    one = person()
    await given(manager, right(manager, person=one))
    mistyped = {**one, "family_name": "Dupont"}
    answer = await manager.post("/v1/grants", right(manager, "arm", person=mistyped))
    assert problem(answer, 422, "grant-invalid")["errors"][0]["code"] == "another-name"
    same = {**one, "family_name": "EPREUVE"}
    await given(manager, right(manager, "arm", person=same))


@pytest.mark.parametrize(
    ("members", "code"),
    [
        ({"organization_id": str(new_id())}, "unknown-organization"),
        ({"role": "doctor", "practitioner_ids": [str(new_id())]}, "unknown-practitioner"),
    ],
)
async def test_what_does_not_exist_is_told(world: World, members: Body, code: str) -> None:
    manager = await sas_manager(world)
    answer = await manager.post("/v1/grants", right(manager, **members))
    assert problem(answer, 422, "grant-invalid")["errors"][0]["code"] == code


async def test_regulation_works_at_a_sas(world: World) -> None:
    manager = await sas_manager(world)
    pharmacy = str(await world.organization("pharmacy"))
    answer = await manager.post("/v1/grants", right(manager, organization_id=pharmacy))
    assert problem(answer, 422, "grant-invalid")["errors"][0]["code"] == "role-works-elsewhere"
    admin = await administration(world)
    answer = await admin.post("/v1/grants", right(admin, territories=["zzz"]))
    assert problem(answer, 422, "grant-invalid")["errors"][0]["code"] == "unknown-territory"


async def test_a_number_that_is_none_is_told_and_not_shown(world: World) -> None:
    manager = await sas_manager(world)
    for system, value in (("rpps", "123"), ("nowhere", "1"), ("sas", "x y")):
        one = person(system=system, value=value)
        answer = await manager.post("/v1/grants", right(manager, person=one))
        problem(answer, 422, "identifier-invalid")


# --- listing ------------------------------------------------------------------------------------


async def test_rights_are_listed_page_by_page_newest_first(world: World) -> None:
    manager = await sas_manager(world)
    made = [(await given(manager, right(manager)))["id"] for _ in range(5)]
    seen: list[str] = []
    path = "/v1/grants?role=osnp&limit=2"
    cursor = ""
    while True:
        page = (await manager.get(f"{path}{cursor}")).json()
        seen += [grant["id"] for grant in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert seen == made[::-1]


async def test_rights_are_found_by_what_they_are(world: World) -> None:
    neighbour = await World(world.database, world.http).begin()
    manager = await sas_manager(world, neighbour.territory)
    here = await given(manager, right(manager))
    there = await given(manager, right(manager, "arm", territories=[neighbour.territory]))

    async def found(query: str) -> set[str]:
        return {g["id"] for g in (await manager.get(f"/v1/grants?{query}")).json()["items"]}

    assert await found(f"territory={neighbour.territory}&role=arm") == {there["id"]}
    assert await found("role=osnp") == {here["id"]}
    of_mine = await found(f"organization={manager.organization_id}&territory={world.territory}")
    assert here["id"] in of_mine
    assert there["id"] not in of_mine


async def test_softwares_rights_are_listed_too_and_what_has_ended_is_not(
    world: World, clock: Clock
) -> None:
    manager, pharmacist = await sas_manager(world), await world.pharmacist()
    soon = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    ending = await given(manager, right(manager, valid_until=soon))
    items = (await manager.get("/v1/grants")).json()["items"]
    (software,) = (grant for grant in items if grant["role"] == "pharmacist")
    assert software["account"] is None
    assert software["client"]["id"] == str(pharmacist.secret.client_id)
    assert ending["id"] in [grant["id"] for grant in items]
    assert (await manager.delete(f"/v1/grants/{software['id']}")).status_code == 204
    problem(await pharmacist.get("/v1/me"), 401, "grant-ended")
    await clock.shift(timedelta(hours=2))
    items = (await manager.get("/v1/grants")).json()["items"]
    assert ending["id"] not in [grant["id"] for grant in items]
