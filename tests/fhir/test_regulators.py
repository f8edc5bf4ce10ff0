"""INT_R02: regulators whom the national platform creates, changes and withdraws."""

import asyncio
import json
from collections.abc import Callable
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import func, select
from stdnum import luhn

from service import grants, identity
from service.identity import IDNPS, SAS, Role
from service.identity.tables import account_identifiers, accounts
from service.identity.tables import grants as granted
from service.kernel.db import Database
from service.kernel.events import events
from service.kernel.ids import new_id
from service.kernel.settings import Settings
from service.sas.tables import regulators
from tests.conftest import DatabaseUrls
from tests.demo.processes import snp
from tests.fhir.regulating import (
    FHIR,
    PROFILE,
    arrive,
    arrived,
    create,
    kept,
    named,
    national,
    put,
    refused,
    regulator,
    technical,
)
from tests.fhir.support import platform
from tests.identity.people import Desk, desk
from tests.identity.provider import Provider
from tests.kernel.serving import serving
from tests.support import World, problem, soon

Body = dict[str, Any]


@pytest.mark.parametrize(("system", "number"), [(IDNPS, national), (SAS, technical)])
async def test_post_creates_and_tells_where(
    world: World, system: str, number: Callable[[], str]
) -> None:
    sas, value = await platform(world), number()
    body = regulator(named(system, value), id="theirs")
    answer = await create(sas, body)
    found = answer.json()
    assert kept(answer, 201) != "theirs"
    assert found["meta"] == {"source": SAS, "profile": [PROFILE]}
    told = {name: found[name] for name in ("identifier", "active", "name", "telecom")}
    assert told == {name: body[name] for name in told}


async def test_a_second_post_is_a_conflict(world: World) -> None:
    sas, body = await platform(world), regulator(named(SAS, technical()))
    kept(await create(sas, body), 201)
    refused(await create(sas, body), 409, "regulator-exists")
    withdrawn = {**body, "active": False}
    kept(await put(sas, SAS, body["identifier"][0]["value"], withdrawn), 200)
    refused(await create(sas, body), 409, "regulator-exists")


async def test_put_creates_whom_nobody_knows_and_then_replaces_all_of_them(world: World) -> None:
    sas, value = await platform(world), national()
    body = regulator(named(IDNPS, value))
    first = kept(await put(sas, IDNPS, value, body), 201)
    changed = {
        **body,
        "name": [{"family": "Marius", "given": ["Jules", "Aimé"]}],
        "telecom": [{"system": "email", "value": "other@example.fr"}],
    }
    answer = await put(sas, IDNPS, value, changed)
    assert kept(answer, 200) == first
    assert answer.json()["name"] == [{"family": "Marius", "given": ["Jules Aimé"]}]
    async with world.database.unit_of_work() as uow:
        rows = await uow.execute(
            select(accounts)
            .join(regulators, regulators.c.account_id == accounts.c.id)
            .where(regulators.c.id == UUID(first))
        )
        (row,) = rows.mappings()
    assert (row["family_name"], row["given_name"], row["email"]) == (
        "Marius", "Jules Aimé", "other@example.fr",
    )  # fmt: skip


async def test_a_national_number_is_attached_to_who_had_a_technical_one(world: World) -> None:
    sas, old, new = await platform(world), technical(), national()
    first = kept(await create(sas, regulator(named(SAS, old))), 201)
    both = regulator(named(IDNPS, new), named(SAS, old))
    assert kept(await put(sas, SAS, old, both), 200) == first
    # From now on either finds them; written without the old one, they no longer have it.
    assert kept(await put(sas, IDNPS, new, regulator(named(IDNPS, new))), 200) == first
    assert kept(await put(sas, SAS, old, regulator(named(SAS, old))), 201) != first


async def test_a_number_of_somebody_active_is_a_conflict_of_somebody_else_it_moves(
    world: World,
) -> None:
    sas, one, other = await platform(world), technical(), national()
    first = kept(await create(sas, regulator(named(SAS, one))), 201)
    second = kept(await create(sas, regulator(named(IDNPS, other))), 201)
    wanted = regulator(named(IDNPS, other))
    refused(await put(sas, SAS, one, wanted), 409, "regulator-exists")
    assert kept(await put(sas, IDNPS, other, {**wanted, "active": False}), 200) == second
    assert kept(await put(sas, SAS, one, wanted), 200) == first
    assert kept(await put(sas, IDNPS, other, wanted), 200) == first
    software = await world.regulator()
    assert (await arrive(software, IDNPS, other)).status_code == 200
    assert (await arrive(software, SAS, one)).status_code == 400


async def test_a_number_without_a_system_may_mean_several(world: World) -> None:
    sas, value = await platform(world), technical()
    kept(await create(sas, regulator(named(SAS, value))), 201)
    first = kept(await put(sas, None, value, regulator(named(SAS, value))), 200)
    second = kept(await create(sas, regulator(named(IDNPS, value))), 201)
    assert first != second
    refused(await put(sas, None, value, regulator(named(SAS, value))), 412, "several-regulators")


async def test_a_number_of_sas_is_no_uuid_of_necessity_and_mail_is_not_theirs_alone(
    world: World,
) -> None:
    sas, value = await platform(world), f"Regulator-{technical()[:8]}"
    kept(await create(sas, regulator(named(SAS, value))), 201)
    kept(await create(sas, regulator(named(SAS, technical()))), 201)  # the same e-mail
    answer = await put(sas, SAS, value, regulator(named(SAS, value)))
    assert answer.json()["identifier"] == [named(SAS, value)]
    assert (await arrive(await world.regulator(), SAS, value)).status_code == 200


async def test_put_says_whom_it_means(world: World) -> None:
    sas, body = await platform(world), regulator(named(SAS, technical()))
    for query in ("", "?identifier=", f"?identifier={SAS}|", "?identifier=a&identifier=b"):
        answer = await sas.put(f"/fhir/Practitioner{query}", body, headers=FHIR)
        refused(answer, 400, "regulator-unreadable")


# --- the right, and how one arrives -------------------------------------------------------------


async def test_whoever_arrives_through_sas_may_search_and_book(world: World) -> None:
    sas, software, who = await platform(world), await world.regulator(), technical()
    kept(await create(sas, regulator(named(SAS, who))), 201)
    caller = await arrived(software, SAS, who.upper())
    me = (await caller.get("/v1/me")).json()
    assert (me["role"], me["territories"]) == ("osnp", [world.territory])
    assert me["organization"]["id"] == str(software.organization_id)
    assert me["person"] == {"proof": "asserted", "system": SAS, "id": who, "origin": "sas"}
    doctor = await world.doctor()
    slot = await doctor.publish()  # hidden: regulation alone sees it
    found = await caller.get("/v1/slots", params={"territory": world.territory})
    assert [one["id"] for one in found.json()["items"]] == [slot["id"]]
    hold = await caller.post(f"/v1/slots/{slot['id']}/holds", {})
    assert hold.status_code == 201, hold.text
    wanted = {"slot_id": slot["id"], "patient_file": {"age": 40}, "hold_id": hold.json()["id"]}
    booked = await caller.post("/v1/bookings", wanted)
    assert booked.status_code == 201, booked.text
    mine, later = f"/v1/bookings/{booked.json()['id']}", await doctor.publish(soon(4))
    moved = await caller.post(f"{mine}/rescheduling", {"slot_id": later["id"]})
    assert moved.status_code == 200, moved.text
    answer = await caller.post(f"{mine}/cancellation", {"by": "patient"})
    assert answer.status_code == 200, answer.text


async def test_whoever_arrives_through_sas_decides_nothing_that_is_a_doctors(world: World) -> None:
    sas, software, who = await platform(world), await world.regulator(), technical()
    kept(await create(sas, regulator(named(SAS, who))), 201)
    caller = await arrived(software, SAS, who)
    slot = await (await world.doctor()).publish()
    answer = await caller.post(
        "/v1/bookings",
        {
            "slot_id": slot["id"],
            "patient_file": {"age": 40},
            "reason": {"motive": "M03.01"},
            "override": {"reason": "vu au téléphone"},
        },
    )
    problem(answer, 403, "override-not-allowed")
    assert (await caller.get("/v1/analytics/callbacks")).status_code == 403


async def test_what_is_booked_is_the_regulation_centres_and_no_other_ones(world: World) -> None:
    """SAS names each regulator once, for all territories: a centre reads no other's patients."""
    other = await World(world.database, world.http).begin()
    sas = await world.caller(
        Role.SAS_PLATFORM,
        await world.organization("sas"),
        "sas",
        territories=[world.territory, other.territory],
    )
    one, two = technical(), technical()
    for who in (one, two):
        kept(await create(sas, regulator(named(SAS, who))), 201)
    centre = await world.regulator()
    here, there = await arrived(centre, SAS, one), await arrived(await other.regulator(), SAS, two)
    slot = await (await world.doctor()).publish()
    wanted = {"slot_id": slot["id"], "patient_file": {"age": 40}}
    made = (await here.post("/v1/bookings", wanted)).json()
    path = f"/v1/bookings/{made['id']}"
    assert (await there.get(path)).status_code == 404
    assert (await there.get("/v1/bookings")).json()["items"] == []
    assert (await there.get(f"/v1/patient-files/{made['patient_file_id']}")).status_code == 404
    assert (await here.get(path)).status_code == 200
    assert (await centre.get(path)).status_code == 200  # a colleague's


async def test_software_of_two_centres_says_for_which_one_somebody_works(world: World) -> None:
    sas, software, who = await platform(world), await world.regulator(), technical()
    kept(await create(sas, regulator(named(SAS, who))), 201)
    second = await world.organization("sas")
    for organization, role in ((second, Role.OSNP), (second, Role.ARM)):
        async with world.database.unit_of_work() as uow:
            await identity.give_grant(
                uow, client_id=software.secret.client_id, role=role, organization_id=organization,
                organization_type="sas", territories=[world.territory],
            )  # fmt: skip
    answer = await arrive(software, SAS, who)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_scope")
    answer = await arrive(software, SAS, who, scope=f"organization:{second}")
    assert answer.status_code == 200, answer.text


async def test_a_right_of_the_software_takes_along_whom_it_brought(world: World) -> None:
    sas, software, who = await platform(world), await world.regulator(), technical()
    kept(await create(sas, regulator(named(SAS, who))), 201)
    caller = await arrived(software, SAS, who)
    async with world.database.unit_of_work() as uow:
        (own,) = await identity.list_grants(
            uow, {"organization": software.organization_id}, limit=10
        )
        await identity.revoke_grant(uow, identity.OPERATOR, own.id)
    for answer in (
        await caller.get("/v1/me"),
        await caller.get("/v1/slots", params={"territory": world.territory}),
    ):
        assert (answer.status_code, answer.json()["code"]) == (401, "grant-ended")
    assert (await arrive(software, SAS, who)).status_code == 400


async def test_whom_software_brought_arrives_anew_when_its_organization_changed(
    world: World,
) -> None:
    sas, software, who = await platform(world), await world.regulator(), technical()
    kept(await create(sas, regulator(named(SAS, who))), 201)
    caller, community = await arrived(software, SAS, who), await world.organization("cpts")
    async with world.database.unit_of_work() as uow:
        await identity.follow_organization(uow, software.organization_id, "sas", [community])
    assert (await caller.get("/v1/me")).status_code == 401
    me = (await (await arrived(software, SAS, who)).get("/v1/me")).json()
    assert me["cpts_ids"] == [str(community)]


async def test_whoever_is_withdrawn_is_refused_at_the_next_request(world: World) -> None:
    sas, software, who = await platform(world), await world.regulator(), technical()
    body = regulator(named(SAS, who))
    kept(await create(sas, body), 201)
    caller = await arrived(software, SAS, who)
    assert (await caller.get("/v1/me")).status_code == 200
    kept(await put(sas, SAS, who, {**body, "active": False}), 200)
    for answer in (
        await caller.get("/v1/me"),
        await caller.get("/v1/slots", params={"territory": world.territory}),
    ):
        assert (answer.status_code, answer.json()["code"]) == (401, "grant-ended")
    assert (await arrive(software, SAS, who)).status_code == 400
    kept(await put(sas, SAS, who, body), 200)
    assert (await caller.get("/v1/me")).status_code == 401  # the old token stays worthless
    await arrived(software, SAS, who)


async def test_writing_a_regulator_again_ends_no_token(world: World) -> None:
    sas, software, who = await platform(world), await world.regulator(), technical()
    body = regulator(named(SAS, who))
    kept(await create(sas, body), 201)
    caller = await arrived(software, SAS, who)
    kept(await put(sas, SAS, who, regulator(named(SAS, who), name=[
        {"family": "Marius", "given": ["Jules"]}
    ])), 200)  # fmt: skip
    assert (await caller.get("/v1/me")).status_code == 200


@pytest.mark.parametrize("origin", ["sas-preprod", "SAS", "elsewhere"])
async def test_only_known_origins_count(world: World, origin: str) -> None:
    sas, software, who = await platform(world), await world.regulator(), technical()
    kept(await create(sas, regulator(named(SAS, who))), 201)
    answer = await arrive(software, SAS, who, origin)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


async def test_origins_are_settings(
    world: World, shared_urls: DatabaseUrls, make_settings: Callable[..., Settings]
) -> None:
    sas, software, who = await platform(world), await world.regulator(), technical()
    kept(await create(sas, regulator(named(SAS, who))), 201)
    async with serving(make_settings(shared_urls.app, sas_origins="sas, sas-preprod")) as (http, _):
        software.http = http
        caller = await arrived(software, SAS, who, "sas-preprod")
        assert (await caller.get("/v1/me")).json()["person"]["origin"] == "sas-preprod"


async def test_a_number_of_test_people_that_sas_gave_is_known_here(
    world: World, shared_urls: DatabaseUrls, make_settings: Callable[..., Settings]
) -> None:
    sas, software = await platform(world), await world.regulator()
    digits = f"1{new_id().int % 10**9:09d}"
    wrong = next(n for n in "0123456789" if not luhn.is_valid(digits + n))
    number = f"8{digits}{wrong}"
    kept(await create(sas, regulator(named(IDNPS, number))), 201)
    async with serving(make_settings(shared_urls.app, rpps_check="luhn")) as (http, _):
        software.http = http
        assert (await arrive(software, IDNPS, number, "")).status_code == 400  # as anybody else
        await arrived(software, IDNPS, number)


async def test_nobody_unknown_and_no_software_without_regulation_brings_anybody(
    world: World,
) -> None:
    sas, who = await platform(world), technical()
    kept(await create(sas, regulator(named(SAS, who))), 201)
    elsewhere = await World(world.database, world.http).begin()
    for software in (await world.pharmacist(), await elsewhere.regulator(), sas):
        answer = await arrive(software, SAS, who)
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_scope")
    answer = await arrive(await world.regulator(), SAS, technical())
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_scope")


async def test_software_of_one_territory_brings_them_into_that_one_only(world: World) -> None:
    other = await World(world.database, world.http).begin()
    both = [world.territory, other.territory]
    sas = await world.caller(
        Role.SAS_PLATFORM, await world.organization("sas"), "sas", territories=both
    )
    who = technical()
    kept(await create(sas, regulator(named(SAS, who))), 201)
    caller = await arrived(await other.regulator(), SAS, who)
    assert (await caller.get("/v1/me")).json()["territories"] == [other.territory]


async def test_who_signs_in_otherwise_has_no_right_of_sas(
    world: World,
    issuer: Provider,
    make_settings: Callable[..., Settings],
    shared_urls: DatabaseUrls,
) -> None:
    async with desk(world, issuer, make_settings, shared_urls, identifier_system=SAS) as desk_here:
        sas, value = await platform(world), technical()
        kept(await create(sas, regulator(named(SAS, value))), 201)
        await _refuses(desk_here, issuer, value)
        # Nor does what SAS calls them open what they have here by another number.
        number = national()
        async with world.database.unit_of_work() as uow:
            account = await identity.open_account(
                uow, identity.OPERATOR, identifier=identity.Identifier(IDNPS, number),
                family_name=None, given_name=None, email=None,
            )  # fmt: skip
            await identity.give_grant(
                uow, account_id=account.id, role=Role.REGULATOR,
                organization_id=await world.organization("sas"), organization_type="sas",
                territories=[world.territory],
            )  # fmt: skip
        both = regulator(named(IDNPS, number), named(SAS, value))
        kept(await put(sas, SAS, value, both), 200)
        await _refuses(desk_here, issuer, value)


async def _refuses(here: Desk, issuer: Provider, value: str) -> None:
    answer = await here.exchange(issuer.token(sub=value))
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_scope"), answer.text


async def test_the_same_person_has_one_account_and_keeps_what_was_given_here(
    world: World,
) -> None:
    sas, number = await platform(world), national()
    person = identity.Identifier(IDNPS, number)
    async with world.database.unit_of_work() as uow:
        account = await identity.open_account(
            uow, identity.OPERATOR, identifier=person, family_name="Loridon", given_name=None,
            email=None,
        )  # fmt: skip
        own = await identity.give_grant(
            uow, account_id=account.id, role=Role.REGULATOR,
            organization_id=await world.organization("sas"), organization_type="sas",
            territories=[world.territory],
        )  # fmt: skip
    body = regulator(named(IDNPS, number), named(SAS, technical()))
    kept(await create(sas, body), 201)
    assert await _accounts(world.database, number) == [account.id]
    kept(await put(sas, IDNPS, number, {**body, "active": False}), 200)
    async with world.database.unit_of_work() as uow:
        left = await identity.list_grants(uow, {"account": account.id}, limit=10)
    assert [grant.id for grant in left] == [own]


async def _accounts(database: Database, *numbers: str) -> list[UUID]:
    async with database.unit_of_work() as uow:
        found = await uow.execute(
            select(account_identifiers.c.account_id)
            .where(account_identifiers.c.value.in_(numbers))
            .distinct()
        )
        return list(found.scalars())


async def test_whoever_is_stopped_here_stays_so_until_sas_admits_them_anew(world: World) -> None:
    sas, software, who = await platform(world), await world.regulator(), technical()
    body = regulator(named(SAS, who))
    kept(await create(sas, body), 201)
    caller = await arrived(software, SAS, who)
    async with world.database.unit_of_work() as uow:
        account = await identity.find_account(uow, identity.Identifier(SAS, who))
        assert account is not None
        assert await grants.stop(uow, identity.OPERATOR, account.id) == 1
    assert (await caller.get("/v1/me")).status_code == 401
    kept(await put(sas, SAS, who, body), 200)
    assert (await arrive(software, SAS, who)).status_code == 400
    kept(await put(sas, SAS, who, {**body, "active": False}), 200)
    kept(await put(sas, SAS, who, body), 200)
    await arrived(software, SAS, who)


# --- many at once -------------------------------------------------------------------------------


async def test_rivals_make_one_account_never_two(world: World) -> None:
    sas, one, other = await platform(world), technical(), national()
    bodies = [regulator(named(SAS, one)), regulator(named(SAS, one), named(IDNPS, other))]
    answers = await asyncio.gather(
        *(create(sas, bodies[0]) for _ in range(5)),
        *(put(sas, SAS, one, bodies[n % 2]) for n in range(10)),
    )
    statuses = [answer.status_code for answer in answers]
    assert set(statuses) <= {200, 201, 409}, statuses
    assert statuses.count(201) == 1
    assert len({answer.json()["id"] for answer in answers if answer.is_success}) == 1
    assert len(await _accounts(world.database, one, other)) == 1
    async with world.database.unit_of_work() as uow:
        rights = await uow.execute(
            select(func.count())
            .select_from(granted)
            .where(
                granted.c.organization_id == sas.organization_id,
                granted.c.account_id.is_not(None),
                granted.c.revoked_at.is_(None),
            )
        )
        assert rights.scalar_one() == 1


async def test_rivals_for_one_number_leave_it_to_one_of_them(world: World) -> None:
    sas, number, ones = await platform(world), national(), [technical() for _ in range(6)]
    for one in ones:
        kept(await create(sas, regulator(named(SAS, one))), 201)
    answers = await asyncio.gather(
        *(put(sas, SAS, one, regulator(named(IDNPS, number), named(SAS, one))) for one in ones)
    )
    assert sorted(answer.status_code for answer in answers) == [200, *[409] * 5]


# --- traces -------------------------------------------------------------------------------------


async def test_every_call_leaves_a_trace_that_names_no_regulator(world: World) -> None:
    sas, who = await platform(world), technical()
    body = regulator(named(SAS, who))
    found = UUID(kept(await create(sas, body), 201))
    kept(await put(sas, SAS, who, body), 200)
    kept(await put(sas, SAS, who, {**body, "active": False}), 200)
    refused(await create(sas, body), 409, "regulator-exists")
    refused(await create(sas, {}), 400, "regulator-unreadable")
    async with world.database.unit_of_work() as uow:
        told = await uow.execute(
            select(events.c.type, events.c.data, events.c.client_id)
            .where(events.c.subject_id == found)
            .order_by(events.c.occurred_at, events.c.id)
        )
        rows = told.all()
    assert [row.type for row in rows] == [
        "regulator.created", "regulator.replaced", "regulator.withdrawn",
    ]  # fmt: skip
    assert {row.client_id for row in rows} == {sas.secret.client_id}
    text = json.dumps([row.data for row in rows])
    assert not [word for word in ("Loridon", "bastien", "example.fr", who) if word in text]
    manager = await world.caller(Role.MANAGER, await world.organization("sas"), "sas")
    listed = (await manager.get("/v1/audit-events")).json()["items"]
    mine = [(one["operation"], one["result"]) for one in listed]
    assert ("fhir.create_regulator", "regulator-exists") in mine
    assert ("fhir.create_regulator", "regulator-unreadable") in mine


async def test_no_log_and_no_measure_names_a_regulator(
    tmp_path: Any, world: World, shared_urls: DatabaseUrls, keys: Any
) -> None:
    sas, who = await platform(world), technical()
    with snp(
        tmp_path,
        *("serve", "--port", "0"),
        SNP_DATABASE_URL=shared_urls.app,
        SNP_KEYS=keys.model_dump_json(),
        SNP_LOG_LEVEL="DEBUG",
    ) as process:
        process.wait_until(lambda started: "service.started" in started.errors)
        line = next(x for x in process.errors.splitlines() if "service.started" in x)
        async with httpx.AsyncClient(base_url=json.loads(line)["address"]) as client:
            sas.http = client
            kept(await put(sas, SAS, who, regulator(named(SAS, who))), 201)
            refused(await put(sas, SAS, who, regulator()), 400, "regulator-unreadable")
            measured = (await client.get("/metrics")).text
        process.wait_until(lambda one: one.errors.count("/fhir/Practitioner") == 2)
    told = process.errors + measured
    assert "/fhir/Practitioner" in measured
    assert not [word for word in ("Loridon", "bastien", "loridon", who) if word in told]
