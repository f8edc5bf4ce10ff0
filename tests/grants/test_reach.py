"""How far managers reach, and who says who acts for a doctor."""

from typing import Any
from uuid import UUID

import pytest

from service.identity import (
    OPERATOR,
    Identifier,
    Role,
    give_grant,
    open_account,
)
from service.kernel.ids import new_id
from tests.grants.support import (
    Body,
    administration,
    community_manager,
    given,
    named,
    person,
    right,
    sas_manager,
)
from tests.support import Caller, World, problem

# --- where ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["professional", "pharmacist", "emergency_nurse", "analyst"])
@pytest.mark.parametrize("kind", ["sas", "emergency_department", "cds", "pharmacy"])
async def test_a_community_opens_no_organization_that_is_not_its_member(
    world: World, role: str, kind: str
) -> None:
    manager = await community_manager(world)
    body = right(manager, role, organization_id=str(await world.organization(kind)))
    problem(await manager.post("/v1/grants", body), 403, "foreign-organization")


async def test_a_community_gives_and_revokes_at_home_and_at_its_members(world: World) -> None:
    manager, boss = await community_manager(world), await sas_manager(world)
    member = await world.organization("pharmacy", cpts_ids=[manager.organization_id])
    stranger = await world.organization("pharmacy")
    for role, organization in (("analyst", manager.organization_id), ("pharmacist", member)):
        made = await given(manager, right(manager, role, organization_id=str(organization)))
        assert (await manager.delete(f"/v1/grants/{made['id']}")).status_code == 204
    theirs = await given(boss, right(boss, "pharmacist", organization_id=str(stranger)))
    answer = await manager.delete(f"/v1/grants/{theirs['id']}")
    problem(answer, 403, "foreign-organization")
    assert (await boss.delete(f"/v1/grants/{theirs['id']}")).status_code == 204


@pytest.mark.parametrize("role", ["professional", "pharmacist", "emergency_nurse", "doctor"])
async def test_nobody_but_regulation_sits_in_its_room(world: World, role: str) -> None:
    for caller in (await sas_manager(world), await administration(world)):
        practitioner_id = await world.practitioner()
        theirs = {"practitioner_ids": [str(practitioner_id)]} if role == "doctor" else {}
        sas = str(await world.organization("sas"))
        answer = await caller.post("/v1/grants", right(caller, role, organization_id=sas, **theirs))
        codes = _codes(answer)
        assert "role-works-elsewhere" in codes


async def test_a_doctor_works_where_the_directory_says(world: World) -> None:
    manager, doctor = await sas_manager(world), await world.doctor()
    rpps = await _rpps(manager, doctor)
    body = right(
        manager,
        "doctor",
        person=person(system="rpps", value=rpps),
        practitioner_ids=[str(doctor.practitioner_id)],
    )
    elsewhere = {**body, "organization_id": str(await world.organization("practice"))}
    assert _codes(await manager.post("/v1/grants", elsewhere)) == ["works-elsewhere"]
    await given(manager, {**body, "organization_id": str(doctor.organization_id)})


async def test_a_manager_makes_no_sas_of_their_organization(world: World) -> None:
    """The kind of an organization, and whose member it is, decide what its managers give."""
    manager, boss = await community_manager(world), await sas_manager(world)
    own = f"/v1/organizations/{manager.organization_id}"
    problem(await manager.patch(own, {"type": "sas"}), 403, "standing-not-yours")
    pharmacy = f"/v1/organizations/{await world.organization('pharmacy')}"
    joined = {"cpts_ids": [str(manager.organization_id)]}
    problem(await manager.patch(pharmacy, joined), 403, "standing-not-yours")
    assert (await manager.patch(pharmacy, {"name": "Pharmacie"})).status_code == 200
    assert (await boss.patch(pharmacy, joined)).json()["cpts_ids"] == joined["cpts_ids"]
    new = {"territory": world.territory, "type": "sas", "name": "Un autre SAS"}
    problem(await manager.post("/v1/organizations", new), 403, "standing-not-yours")
    assert (await boss.post("/v1/organizations", new)).status_code == 201


# --- who acts for a doctor ------------------------------------------------------------------------


def delegation(doctor: Caller, **members: Any) -> Body:
    """The right to act for a doctor."""
    whom = {"practitioner_ids": [str(doctor.practitioner_id)]}
    return right(doctor, "delegate", **whom | members)


async def test_nobody_but_the_doctor_says_who_acts_for_them(world: World) -> None:
    doctor, colleague = await named(await world.doctor()), await named(await world.doctor())
    body = delegation(doctor)
    for caller in (await sas_manager(world), await community_manager(world), colleague):
        problem(await caller.post("/v1/grants", body), 403, "delegation-not-yours")
    problem(
        await (await administration(world)).post("/v1/grants", body), 403, "delegation-not-yours"
    )
    made = await given(doctor, body)
    assert made["practitioner_ids"] == [str(doctor.practitioner_id)]
    for role in set(Role) - {Role.DELEGATE}:
        problem(await doctor.post("/v1/grants", right(doctor, role)), 403, "role-not-yours-to-give")
    both = [str(doctor.practitioner_id), str(colleague.practitioner_id)]
    for ids in ([], both):
        answer = await doctor.post("/v1/grants", delegation(doctor, practitioner_ids=ids))
        problem(answer, 403, "delegation-not-yours")
    elsewhere = str(colleague.organization_id)
    answer = await doctor.post("/v1/grants", delegation(doctor, organization_id=elsewhere))
    problem(answer, 403, "foreign-organization")


async def test_doctors_see_and_revoke_who_acts_for_them_and_nobody_else(world: World) -> None:
    doctor, colleague = await named(await world.doctor()), await named(await world.doctor())
    mine, other = (
        await given(doctor, delegation(doctor)),
        await given(colleague, delegation(colleague)),
    )
    boss = await sas_manager(world)
    analyst = await given(boss, right(boss, "analyst"))
    listed = (await doctor.get("/v1/grants")).json()["items"]
    assert [grant["id"] for grant in listed] == [mine["id"]]
    assert (await doctor.get("/v1/grants?role=analyst")).json()["items"] == []
    for grant in (other, analyst):
        problem(await doctor.delete(f"/v1/grants/{grant['id']}"), 404, "grant-not-found")
    assert (await doctor.delete(f"/v1/grants/{mine['id']}")).status_code == 204
    assert (await doctor.get("/v1/grants")).json()["items"] == []


async def test_a_manager_revokes_who_acts_for_a_doctor(world: World) -> None:
    doctor, boss = await named(await world.doctor()), await sas_manager(world)
    made = await given(doctor, delegation(doctor))
    assert (await boss.delete(f"/v1/grants/{made['id']}")).status_code == 204


async def test_what_the_operator_gave_for_several_is_not_one_doctors_to_revoke(
    world: World,
) -> None:
    doctor, colleague = await named(await world.doctor()), await world.doctor()
    both = [doctor.practitioner_id, colleague.practitioner_id]
    async with world.database.unit_of_work() as uow:
        account = await open_account(
            uow, OPERATOR, identifier=Identifier("urn:x", new_id().hex), family_name=None,
            given_name=None, email=None,
        )  # fmt: skip
        joint = await give_grant(
            uow, account_id=account.id, role=Role.DELEGATE, organization_id=doctor.organization_id,
            organization_type="practice", territories=[world.territory],
            practitioner_ids=[one for one in both if one],
        )  # fmt: skip
    listed = (await doctor.get("/v1/grants")).json()["items"]
    assert [UUID(grant["id"]) for grant in listed] == [joint]
    problem(await doctor.delete(f"/v1/grants/{joint}"), 403, "delegation-not-yours")


async def test_two_doctors_of_a_practice_share_a_secretary(world: World) -> None:
    doctor = await named(await world.doctor())
    assert doctor.location_id is not None
    second = await world.practitioner(doctor.location_id)
    colleague = await world.caller(
        Role.DOCTOR, doctor.organization_id, "practice", practitioner_ids=[second]
    )
    colleague.practitioner_id = second
    await named(colleague)
    secretary = person()
    await given(doctor, delegation(doctor, person=secretary))
    made = await given(colleague, delegation(colleague, person=secretary))
    answer = await colleague.post("/v1/grants", delegation(colleague, person=secretary))
    assert problem(answer, 409, "grant-exists")["grant_id"] == made["id"]


async def test_a_centre_has_secretaries_of_its_own(world: World) -> None:
    boss = await sas_manager(world)
    centre, practice = await world.organization("csnp"), await world.organization("practice")
    await given(boss, right(boss, "delegate", organization_id=str(centre)))
    answer = await boss.post("/v1/grants", right(boss, "delegate", organization_id=str(practice)))
    assert _codes(answer) == ["delegate"]


# --- who gives ------------------------------------------------------------------------------------


async def test_software_gives_nothing_without_saying_for_whom(world: World) -> None:
    """It might be for whoever sits there: nobody could tell that they give to themselves."""
    manager, admin = await sas_manager(world), await administration(world)
    doctor = await world.doctor()
    for caller, body in (
        (manager, right(manager)),
        (admin, right(admin)),
        (doctor, delegation(doctor)),
    ):
        for said in ({}, {"user_id": "7"}, {"user_family_name": "Épreuve"}):
            await caller.sign_in(**said)
            problem(await caller.post("/v1/grants", body), 403, "giver-unnamed")


# --- stopping a person ----------------------------------------------------------------------------


async def test_a_person_is_stopped_with_all_that_they_may_do(world: World) -> None:
    boss, somebody = await sas_manager(world), person()
    rights = [await given(boss, right(boss, role, person=somebody)) for role in ("osnp", "analyst")]
    whose = rights[0]["account"]["id"]
    listed = (await boss.get(f"/v1/grants?person={whose}")).json()["items"]
    assert {grant["id"] for grant in listed} == {grant["id"] for grant in rights}
    assert (await boss.delete(f"/v1/people/{whose}/grants")).status_code == 204
    assert (await boss.get(f"/v1/grants?person={whose}")).json()["items"] == []
    problem(await boss.delete(f"/v1/people/{whose}/grants"), 404, "person-not-found")
    problem(await boss.delete(f"/v1/people/{new_id()}/grants"), 404, "person-not-found")


async def test_who_works_elsewhere_too_is_stopped_by_nobody_of_one_territory(
    world: World,
) -> None:
    neighbour = await World(world.database, world.http).begin()
    here, there, somebody = await sas_manager(world), await sas_manager(neighbour), person()
    mine = await given(here, right(here, person=somebody))
    await given(there, right(there, person=somebody))
    path = f"/v1/people/{mine['account']['id']}/grants"
    problem(await here.delete(path), 403, "foreign-territory")
    assert len((await here.get(f"/v1/grants?person={mine['account']['id']}")).json()["items"]) == 1
    stranger = await sas_manager(await World(world.database, world.http).begin())
    problem(await stranger.delete(path), 404, "person-not-found")
    assert (await (await administration(world)).delete(path)).status_code == 204


def _codes(answer: Any) -> list[str]:
    return [error["code"] for error in problem(answer, 422, "grant-invalid")["errors"]]


async def _rpps(manager: Caller, doctor: Caller) -> str:
    found = await manager.get(f"/v1/practitioners/{doctor.practitioner_id}")
    rpps: str = found.json()["rpps"]
    return rpps
