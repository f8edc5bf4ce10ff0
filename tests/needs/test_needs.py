"""Unmet needs over HTTP, on a real database: what is kept, counted, shown to whom, and leaked."""

from datetime import datetime
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from service.directory import reference
from service.identity import BOOKERS, Role, give_grant
from service.kernel import events
from service.kernel.ids import new_id
from tests.needs.support import Body, agenda, listed, need, place, recorded
from tests.support import Caller, World, patient, problem, soon

# Communes far from each other and from every other test's slots, one a test that counts.
CAYENNE, SAINT_LOUIS, LA_CHATRE, LE_BLANC, MAMOUDZOU = "97302", "97414", "36046", "36018", "97611"


# --- recording ----------------------------------------------------------------------------------


async def test_a_need_is_answered_as_it_was_told_in_the_time_of_its_place(world: World) -> None:
    pharmacist = await world.pharmacist()
    told = need(
        SAINT_LOUIS, note="pas de voiture", case_id="LRM-7", age=4, specialty="SM54", mode="HH"
    )
    found = await recorded(pharmacist, told)
    assert found["from"].endswith("+04:00")
    assert found["created_at"].endswith("+04:00")
    assert datetime.fromisoformat(found["from"]) == datetime.fromisoformat(told["from"])
    assert found["age"] == "P4Y"
    assert (found["territory"], found["radius_km"], found["role"]) == ("974", 10, "pharmacist")
    same = {"motive", "commune", "mode", "specialty", "reason", "note", "case_id"}
    assert {name: found[name] for name in same} == {name: told[name] for name in same}
    assert (found["open_slots"], found["open_slots_fitting"], found["call_id"]) == (0, 0, None)


@pytest.mark.parametrize("role", sorted(BOOKERS - {Role.DOCTOR}))
async def test_every_booking_role_records_and_lists(world: World, role: Role) -> None:
    caller = await world.caller(role, await world.organization("other"), "other")
    found = await recorded(caller, need())
    assert await listed(caller) == [found]


@pytest.mark.parametrize("role", [Role.MANAGER, Role.ANALYST, Role.ADMIN])
async def test_nobody_else_does(world: World, role: Role) -> None:
    caller = await world.caller(role, await world.organization("other"), "other")
    problem(await caller.post("/v1/unmet-needs", need()), 403, "role-lacks-operation")
    problem(await caller.get("/v1/unmet-needs"), 403, "role-lacks-operation")


@pytest.mark.parametrize(
    ("wrong", "pointer"),
    [
        ({"motive": "M99.99"}, "#/motive"),
        ({"motive": None}, "#/motive"),
        ({"commune": "00000"}, "#/commune"),
        ({"commune": "98412"}, "#/commune"),  # penguins
        ({"mode": "FLAT"}, "#/mode"),
        ({"specialty": "XX"}, "#/specialty"),
        ({"reason": "because"}, "#/reason"),
        ({"note": "x" * 201}, "#/note"),
        ({"note": "\x00"}, "#/note"),
        ({"age": "old"}, "#/age"),
        ({"from": "2026-12-01T14:00:00"}, "#/from"),
        ({"to": soon(1).isoformat()}, "#/to"),
        ({"to": soon(0.5).isoformat()}, "#/to"),
        ({"from": soon(1).isoformat(), "to": soon(1 + 14 * 24, 1).isoformat()}, "#/to"),
        ({"from": soon(24 * 367).isoformat(), "to": soon(24 * 367 + 1).isoformat()}, "#/from"),
        ({"patient": "Martin"}, "#/patient"),
        ({"call_id": "12"}, "#/call_id"),
    ],
)
async def test_what_makes_no_sense_is_refused_with_its_place(
    world: World, wrong: Body, pointer: str
) -> None:
    answer = await (await world.pharmacist()).post("/v1/unmet-needs", need(**wrong))
    assert answer.status_code == 422, answer.text
    assert pointer in {error["pointer"] for error in answer.json()["errors"]}


async def test_late_entry_is_normal(world: World) -> None:
    caller = await world.regulator()
    found = await recorded(
        caller, need(**{"from": soon(-30).isoformat(), "to": soon(-26).isoformat()})
    )
    assert found["open_slots"] == 0


async def test_a_call_is_named_by_those_who_see_it_only(world: World) -> None:
    regulator, pharmacist = await world.regulator(), await world.pharmacist()
    opened = await regulator.post(
        "/v1/calls", {"line": "116117", "received_at": soon(-1).isoformat()}
    )
    call_id = opened.json()["id"]
    assert (await recorded(regulator, need(call_id=call_id)))["call_id"] == call_id
    answers = [
        problem(await pharmacist.post("/v1/unmet-needs", need(call_id=i)), 404, "call-not-found")
        for i in (call_id, str(new_id()))
    ]
    assert answers[0].keys() == answers[1].keys()
    assert await listed(pharmacist) == []


async def test_one_key_records_one_need_and_shows_it_again(world: World) -> None:
    caller, body = await world.pharmacist(), need()
    first = await caller.post("/v1/unmet-needs", body, key="k-1")
    again = await caller.post("/v1/unmet-needs", body, key="k-1")
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.json() == first.json()
    assert len(await listed(caller)) == 1
    other = await caller.post("/v1/unmet-needs", need(reason="too_late"), key="k-1")
    problem(other, 422, "idempotency-key-reused")


# --- what was open at that moment ---------------------------------------------------------------


async def test_the_open_slots_that_did_not_fit_are_counted_as_the_caller_sees_them(
    world: World,
) -> None:
    radius = reference.search_radius("973").default_km
    near, edge, far = [
        await world.doctor(at=place(CAYENNE, north_km=km)) for km in (0, radius - 1, radius + 1)
    ]
    regulator, pharmacist = await world.regulator(), await world.pharmacist()
    await agenda(near, [0.5, 2, 9.5], visibility=["SNP", "PRO"])  # the second in the window only
    await agenda(near, [3], visibility=["SNP"])
    await agenda(near, [4], visibility=["PRO"], modes=["VR"])
    await agenda(near, [5], visibility=["PUBLIC"], specialty="SM54")
    await agenda(near, [6], visibility=["PRO"], walk_in=True)
    (withdrawn,) = await agenda(near, [7], visibility=["PRO"])
    await near.delete(f"/v1/slots/{withdrawn['id']}", if_match="*")
    (full,) = await agenda(near, [8], visibility=["PRO"])
    booked = await pharmacist.post(
        "/v1/bookings", {"slot_id": full["id"], "patient_file": patient()}
    )
    assert booked.status_code == 201, booked.text
    (held,) = await agenda(near, [8.5], visibility=["PRO"])
    assert (await pharmacist.post(f"/v1/slots/{held['id']}/holds")).status_code == 201
    await agenda(edge, [2], visibility=["PRO"])
    await agenda(far, [2], visibility=["PRO"])

    async def counts(caller: Caller, **members: Any) -> tuple[int, int]:
        found = await recorded(caller, need(CAYENNE, **members))
        return found["open_slots"], found["open_slots_fitting"]

    assert await counts(pharmacist) == (4, 3)  # SNP+PRO, PRO in VR, PUBLIC, and the one at the edge
    assert await counts(pharmacist, mode="VR") == (4, 1)
    assert await counts(pharmacist, mode="HH") == (4, 0)
    assert await counts(pharmacist, specialty="SM54") == (4, 1)
    assert await counts(regulator) == (5, 4)  # and the one for regulation alone
    away = await (await World(world.database, world.http).begin()).pharmacist()
    assert await counts(away) == (0, 0)


# --- who reads them -----------------------------------------------------------------------------


async def test_the_house_reads_its_own_newest_first_page_by_page(world: World) -> None:
    regulator, other = await world.regulator(), await world.pharmacist()
    bodies = [need(case_id=str(n)) for n in range(5)]
    mine = [await recorded(regulator, body) for body in bodies]
    await recorded(other, need())
    osnp = await world.regulation(Role.OSNP)  # of the same centre
    assert await listed(osnp, limit=2) == mine[::-1]
    problem(await osnp.get("/v1/unmet-needs", params={"cursor": "x"}), 400, "invalid-cursor")


async def test_the_list_is_filtered_by_place_and_wanted_window(world: World) -> None:
    caller = await world.pharmacist()
    early = await recorded(caller, need(LA_CHATRE))
    window = {"from": soon(30).isoformat(), "to": soon(40).isoformat()}
    late = await recorded(caller, need(LA_CHATRE, **window))
    elsewhere = await recorded(caller, need(MAMOUDZOU))
    assert await listed(caller, territory="36") == [late, early]
    assert await listed(caller, territory="976") == [elsewhere]
    assert await listed(caller, **{"from": window["from"]}) == [late]
    assert await listed(caller, to=window["from"]) == [elsewhere, early]
    assert await listed(caller, **{"from": early["from"], "to": window["from"]}) == [
        elsewhere,
        early,
    ]


# --- what is told, and what never is ------------------------------------------------------------


async def test_it_is_told_as_one_event_without_a_word_about_the_patient(world: World) -> None:
    caller = await world.pharmacist()
    found = await recorded(caller, need(note="chute", age=82, case_id="C-1"))
    async with world.database.unit_of_work() as uow:
        (told,) = await events.history(uow, UUID(found["id"]))
    assert told.type == "need.recorded"
    assert told.organization_id == caller.organization_id
    assert set(told.data) == {"reason", "mode", "from", "to", "open_slots", "open_slots_fitting"}


_COLUMNS = text(
    """SELECT table_name, column_name FROM information_schema.columns
       WHERE table_schema = 'public' AND table_name <> 'alembic_version'"""
)


async def test_the_note_stands_in_no_row_in_clear(world: World) -> None:
    secret = f"Mme-{new_id().hex}-rue-des-Lilas"
    caller = await world.pharmacist()
    answer = await caller.post("/v1/unmet-needs", need(note=secret), key=new_id().hex)
    assert answer.json()["note"] == secret
    assert [row["note"] for row in await listed(caller)] == [secret]
    async with world.database.unit_of_work() as uow:
        columns = list(await uow.execute(_COLUMNS))
        for table in sorted({row.table_name for row in columns}):
            rows = await uow.execute(
                text(
                    f'SELECT count(*) FROM "{table}" AS r'
                    " WHERE r::text LIKE :clear OR r::text LIKE :bytes"
                ),
                {"clear": f"%{secret}%", "bytes": f"%{secret.encode().hex()}%"},
            )
            assert rows.scalar_one() == 0, table


async def test_what_was_recorded_is_not_changed_afterwards(world: World) -> None:
    await recorded(await world.pharmacist(), need())
    for verb in ("UPDATE unmet_needs SET reason = 'other'", "DELETE FROM unmet_needs"):
        with pytest.raises(Exception, match="42501"):
            async with world.database.unit_of_work() as uow:
                await uow.execute(text(verb))


async def test_a_key_used_in_one_house_shows_nothing_to_the_other(world: World) -> None:
    """A key belongs to one right of the client software: each house has its own."""
    pharmacist, other = await world.pharmacist(), await world.organization("pharmacy")
    async with world.database.unit_of_work() as uow:
        await give_grant(
            uow,
            client_id=pharmacist.secret.client_id,
            role=Role.PHARMACIST,
            organization_id=other,
            organization_type="pharmacy",
            territories=[world.territory],
        )
    body = need()
    first = await pharmacist.post("/v1/unmet-needs", body, key="house")
    assert first.status_code == 201
    await pharmacist.sign_in(scope=f"organization:{other}")
    second = await pharmacist.post("/v1/unmet-needs", body, key="house")
    assert (second.status_code, "Idempotency-Replayed" in second.headers) == (201, False)
    assert [need["id"] for need in await listed(pharmacist)] == [second.json()["id"]]
