"""Calls over HTTP: from the first word to the closure, and every refusal on the way."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from service.calls.tables import calls
from service.directory.reference import code_list
from service.identity import Role
from service.kernel import events
from service.kernel.ids import new_id
from tests.calls.support import ago, call_body, closed, opened, read, with_outcome
from tests.conftest import Clock
from tests.support import World, problem


async def test_from_the_assistant_to_the_closure(world: World) -> None:
    arm = await world.regulation(Role.ARM)
    osnp = await world.regulation(Role.OSNP)
    regulator = await world.regulation()
    cpts = await world.organization("cpts")
    pharmacy = await world.organization("pharmacy")

    call = await opened(arm, case_id="LRM-1")
    assert call["state"] == "open"
    assert (call["priority"], call["motive"], call["care_level"]) == ("P2", "M07.00", None)
    assert call["qualified_by"] is None
    assert call["territory"] == world.territory
    assert call["received_at"].endswith(("+01:00", "+02:00"))

    answer = await osnp.patch(
        f"/v1/calls/{call['id']}",
        {
            "motive": "M03.14",
            "priority": "P1",
            "cpts_id": str(cpts),
            "callback_requested": True,
        },
        if_match=call["version"],
    )
    assert answer.status_code == 200, answer.text
    qualified = answer.json()
    assert answer.headers["etag"] == f'"{qualified["version"]}"' == '"2"'
    assert qualified["state"] == "awaiting_callback"
    assert qualified["callback_requested_at"] is not None
    assert qualified["qualified_by"] == {"role": "osnp", "person": None}
    assert qualified["regulated_by"] is None

    taken = (await regulator.put(f"/v1/calls/{call['id']}/assignment")).json()
    assert taken["assigned_to"] == {"role": "regulator", "person": None}

    missed = await regulator.post(
        f"/v1/calls/{call['id']}/callbacks", {"at": ago(), "reached": False}
    )
    assert missed.status_code == 201, missed.text
    assert missed.json()["call"]["state"] == "awaiting_callback"
    reached = await regulator.post(f"/v1/calls/{call['id']}/callbacks", {"reached": True})
    assert reached.json()["reached"] is True
    after = reached.json()["call"]
    assert reached.headers["etag"] == f'"{after["version"]}"'
    assert after["state"] == "called_back"
    assert after["first_attempt_at"] == missed.json()["at"]
    assert after["called_back_at"] == reached.json()["at"]
    assert after["regulated_by"] == {"role": "regulator", "person": None}
    assert [c["reached"] for c in after["callbacks"]] == [False, True]

    problem(await regulator.post(f"/v1/calls/{call['id']}/closure", {}), 409, "outcome-missing")
    advice = await with_outcome(regulator, call, "medical_advice")
    assert (advice["decision"], advice["attribution"]) == ("CONSEIL", None)
    prescription = await regulator.post(
        f"/v1/calls/{call['id']}/outcomes",
        {"outcome": "prescription", "pharmacy_id": str(pharmacy)},
    )
    assert prescription.json()["decision"] == "PMT"
    assert prescription.json()["pharmacy_id"] == str(pharmacy)
    done = await closed(regulator, call, "emergency_department")
    assert (done["state"], done["otherwise"]) == ("closed", "emergency_department")
    assert [o["outcome"] for o in done["outcomes"]] == ["medical_advice", "prescription"]
    assert await read(arm, call) == done


async def test_every_change_is_told_without_a_patient(world: World) -> None:
    regulator = await world.regulation()
    call = await opened(regulator, callback_requested=True, case_id="LRM-SECRET-1")
    path = f"/v1/calls/{call['id']}"
    await regulator.put(f"{path}/assignment")
    await regulator.delete(f"{path}/assignment")
    await regulator.patch(path, {"priority": "P3"})
    await regulator.post(f"{path}/callbacks", {"reached": True})
    added = await with_outcome(regulator, call, "other")
    await with_outcome(regulator, call, "medical_advice")
    await regulator.delete(f"{path}/outcomes/{added['id']}")
    await closed(regulator, call)
    mistake = await opened(regulator)
    assert (await regulator.patch(f"/v1/calls/{mistake['id']}", {"void": True})).json()[
        "state"
    ] == "void"

    async with world.database.unit_of_work() as uow:
        told = await events.history(uow, call["id"])
        told += await events.history(uow, mistake["id"])
    assert [event.type for event in told] == [
        "call.opened",
        "call.assigned",
        "call.unassigned",
        "call.amended",
        "call.called_back",
        "call.outcome_added",
        "call.outcome_added",
        "call.outcome_removed",
        "call.closed",
        "call.opened",
        "call.voided",
    ]
    assert "LRM-SECRET-1" not in str(told)
    assert all(event.role == "regulator" for event in told)
    assert told[4].data["state"] == "called_back"


@pytest.mark.parametrize(
    ("members", "pointer"),
    [
        ({"line": "3615"}, "#/line"),
        ({"line": None}, "#/line"),
        ({"caller_type": "X"}, "#/caller_type"),
        ({"motive": "M99.99"}, "#/motive"),
        ({"priority": "P4"}, "#/priority"),
        ({"care_level": "R5"}, "#/care_level"),
        ({"received_at": "2026-12-01T13:40:00"}, "#/received_at"),
        ({"received_at": ago(-600)}, "#/received_at"),
        ({"cpts_id": str(new_id())}, "#/cpts_id"),
        ({"patient_name": "X"}, "#/patient_name"),
    ],
)
async def test_bad_calls_are_refused_with_a_pointer(
    world: World, members: dict[str, Any], pointer: str
) -> None:
    regulator = await world.regulation()
    answer = await regulator.post("/v1/calls", call_body(**members))
    assert answer.status_code == 422, answer.text
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]


async def test_line_and_received_at_are_required(world: World) -> None:
    regulator = await world.regulation()
    answer = problem(await regulator.post("/v1/calls", {}), 422, "invalid")
    assert {error["pointer"] for error in answer["errors"]} == {"#/line", "#/received_at"}


async def test_late_entry_and_a_clock_a_little_ahead_are_normal(world: World) -> None:
    osnp = await world.regulation(Role.OSNP)
    await opened(osnp, received_at=ago(60 * 24 * 400))
    await opened(osnp, received_at=ago(-4))


async def test_a_vital_emergency_is_a_call_like_any_other(world: World) -> None:
    osnp = await world.regulation(Role.OSNP)
    call = await opened(osnp, motive="M03.06", priority="P0", care_level="R1")
    assert call["qualified_by"] == {"role": "osnp", "person": None}


async def test_every_national_code_is_accepted(world: World) -> None:
    osnp = await world.regulation(Role.OSNP)
    call = await opened(osnp)
    for member, name in (
        ("line", "lines"),
        ("caller_type", "caller_types"),
        ("priority", "priorities"),
        ("care_level", "care_levels"),
    ):
        for code in code_list(name):
            answer = await osnp.patch(f"/v1/calls/{call['id']}", {member: code})
            assert answer.status_code == 200, (member, code, answer.text)
            assert answer.json()[member] == code


async def test_a_call_is_its_centres_alone(world: World) -> None:
    regulator = await world.regulation()
    call = await opened(regulator)
    other_centre = await world.caller(Role.REGULATOR, await world.organization("sas"), "sas")
    elsewhere = await World(world.database, world.http).begin()
    abroad = await elsewhere.caller(Role.REGULATOR, regulator.organization_id, "sas")
    path = f"/v1/calls/{call['id']}"
    unknown = f"/v1/calls/{new_id()}"
    for stranger in (other_centre, abroad):
        for method, at, body in (
            ("GET", "", None),
            ("PATCH", "", {"priority": "P1"}),
            ("PUT", "/assignment", None),
            ("DELETE", "/assignment", None),
            ("POST", "/callbacks", {"reached": True}),
            ("POST", "/outcomes", {"outcome": "other"}),
            ("DELETE", f"/outcomes/{new_id()}", None),
            ("POST", "/closure", {"otherwise": "none"}),
        ):
            seen = problem(
                await stranger.request(method, path + at, json=body), 404, "call-not-found"
            )
            none = problem(
                await stranger.request(method, unknown + at, json=body), 404, "call-not-found"
            )
            assert {**seen, "request_id": ""} == {**none, "request_id": ""}
        assert (await stranger.get("/v1/calls")).json()["items"] == []
    for role in (Role.PHARMACIST, Role.MANAGER, Role.EMERGENCY_NURSE):
        outsider = await world.caller(role, regulator.organization_id, "sas")
        problem(await outsider.get(path), 403, "role-lacks-operation")
    assert (await read(regulator, call)) == call


async def test_a_call_goes_to_the_centres_own_territory_unless_told(world: World) -> None:
    neighbour = await World(world.database, world.http, zone="Indian/Reunion").begin()
    centre = await world.organization("sas")
    both = sorted([world.territory, neighbour.territory], reverse=True)
    regulator = await world.caller(Role.REGULATOR, centre, "sas", territories=both)
    assert (await opened(regulator))["territory"] == world.territory
    there = await opened(regulator, territory=neighbour.territory)
    assert there["territory"] == neighbour.territory
    assert there["received_at"].endswith("+04:00")
    problem(await regulator.post("/v1/calls", call_body(territory="2A")), 403, "foreign-territory")


async def test_roles(world: World) -> None:
    arm = await world.regulation(Role.ARM)
    osnp = await world.regulation(Role.OSNP)
    call = await opened(arm)
    path = f"/v1/calls/{call['id']}"
    assert (await arm.patch(path, {"priority": "P1"})).json()["qualified_by"]["role"] == "arm"
    problem(await arm.put(f"{path}/assignment"), 403, "role-lacks-operation")
    problem(await osnp.post(f"{path}/callbacks", {"reached": True}), 403, "role-lacks-operation")
    problem(await arm.post(f"{path}/closure", {}), 403, "role-lacks-operation")
    amended = await osnp.patch(path, {"protocol": "Gastro-entérite de l’adulte v3"})
    assert amended.json()["protocol"] == "Gastro-entérite de l’adulte v3"
    added = await with_outcome(osnp, call, "medical_advice")
    assert added["call"]["regulated_by"] is None
    assert (await closed(osnp, call))["regulated_by"] is None


async def test_a_merge_patch_removes_only_what_may_be_missing(world: World) -> None:
    osnp = await world.regulation(Role.OSNP)
    call = await opened(osnp, care_level="R3", case_id="A1", protocol="P")
    path = f"/v1/calls/{call['id']}"
    emptied = await osnp.patch(path, {"care_level": None, "case_id": None, "protocol": None})
    assert emptied.status_code == 200
    assert emptied.json()["care_level"] is emptied.json()["case_id"] is None
    for name in ("line", "received_at", "motive", "priority", "callback_requested", "void"):
        assert (await osnp.patch(path, {name: None})).status_code == 422
    assert (await osnp.patch(path, {})).json() == emptied.json()
    problem(await osnp.patch(path, {"priority": "P1"}, if_match=1), 412, "version-mismatch")
    assert (await osnp.patch(path, {"priority": "P1"}, if_match="*")).status_code == 200


async def test_void_is_for_calls_opened_by_mistake(world: World) -> None:
    regulator = await world.regulation()
    waiting = await opened(regulator, callback_requested=True)
    worked = await opened(regulator)
    added = await with_outcome(regulator, worked, "other")
    tried = await opened(regulator)
    await regulator.post(f"/v1/calls/{tried['id']}/callbacks", {"reached": False})
    for call in (waiting, worked, tried):
        problem(await regulator.patch(f"/v1/calls/{call['id']}", {"void": True}), 409, "call-state")
    path = f"/v1/calls/{worked['id']}"
    assert (await regulator.patch(path, {"void": True, "line": "15"})).status_code == 422
    assert (await regulator.patch(path, {"void": False})).status_code == 422
    await regulator.delete(f"{path}/outcomes/{added['id']}")
    assert (await regulator.patch(path, {"void": True})).json()["state"] == "void"
    for method, at, body in (
        ("PATCH", "", {"priority": "P1"}),
        ("PATCH", "", {"void": True}),
        ("PUT", "/assignment", None),
        ("DELETE", "/assignment", None),
        ("POST", "/callbacks", {"reached": True}),
        ("POST", "/outcomes", {"outcome": "other"}),
        ("POST", "/closure", {}),
    ):
        refused = problem(await regulator.request(method, path + at, json=body), 409, "call-state")
        assert refused["state"] == "void"


async def test_the_flag_of_a_call_back(world: World) -> None:
    regulator = await world.regulation()
    call = await opened(regulator, callback_requested=True)
    path = f"/v1/calls/{call['id']}"
    again = await regulator.patch(path, {"callback_requested": True})
    assert again.json() == call
    out = (await regulator.patch(path, {"callback_requested": False})).json()
    assert (out["state"], out["callback_requested_at"]) == ("open", None)
    back = (await regulator.patch(path, {"callback_requested": True})).json()
    assert back["callback_requested_at"] > call["callback_requested_at"]
    await regulator.post(f"{path}/callbacks", {"reached": False})
    problem(await regulator.patch(path, {"callback_requested": False}), 409, "call-state")


async def test_a_call_back_told_late_counts_from_the_reception(world: World) -> None:
    regulator = await world.regulation()
    call = await opened(regulator, received_at=ago(600), callback_requested=True)
    path = f"/v1/calls/{call['id']}/callbacks"
    done = (await regulator.post(path, {"at": ago(570), "reached": True})).json()["call"]
    assert done["callback_requested_at"] == done["received_at"] == call["received_at"]
    waited = _instant(done["first_attempt_at"]) - _instant(done["callback_requested_at"])
    assert timedelta(minutes=29) < waited < timedelta(minutes=31)


async def test_call_backs_in_the_future_or_before_the_call(world: World) -> None:
    regulator = await world.regulation()
    call = await opened(regulator, callback_requested=True)
    path = f"/v1/calls/{call['id']}/callbacks"
    for at in (ago(-6), ago(30)):
        answer = problem(
            await regulator.post(path, {"at": at, "reached": True}), 422, "call-invalid"
        )
        assert answer["errors"][0]["pointer"] == "#/at"


async def test_outcomes_by_hand(world: World) -> None:
    regulator = await world.regulation()
    call = await opened(regulator)
    path = f"/v1/calls/{call['id']}/outcomes"
    refused = problem(await regulator.post(path, {"outcome": "slot_orientation"}), 422, "invalid")
    assert refused["errors"][0] == {
        "pointer": "#/outcome",
        "code": "outcome-by-booking",
        "detail": "slot_orientation comes with a booking, never by hand.",
    }
    practice = await world.organization("practice")
    no_pharmacy = await regulator.post(
        path, {"outcome": "prescription", "pharmacy_id": str(practice)}
    )
    assert problem(no_pharmacy, 422, "call-invalid")["errors"][0]["pointer"] == "#/pharmacy_id"
    advice = {"outcome": "medical_advice", "pharmacy_id": str(practice)}
    assert (await regulator.post(path, advice)).status_code == 422
    sent_back = await with_outcome(regulator, call, "redirected_to_15")
    assert (sent_back["decision"], sent_back["attribution"]) == (None, "DRM.MRU")
    problem(await regulator.delete(f"{path}/{new_id()}"), 404, "outcome-not-found")
    first = await with_outcome(regulator, call, "other")
    assert (await regulator.delete(f"{path}/{first['id']}")).status_code == 204
    problem(await regulator.delete(f"{path}/{first['id']}"), 404, "outcome-not-found")


async def test_the_same_outcome_twice_is_one_mention(world: World) -> None:
    regulator = await world.regulation()
    call = await opened(regulator)
    path = f"/v1/calls/{call['id']}/outcomes"
    first, second = [await with_outcome(regulator, call, "prescription") for _ in range(2)]
    assert len(second["call"]["outcomes"]) == 2
    assert await _mask(world, call) == 4
    await regulator.delete(f"{path}/{first['id']}")
    assert await _mask(world, call) == 4
    await regulator.delete(f"{path}/{second['id']}")
    assert await _mask(world, call) == 0


async def test_a_closed_call_keeps_all_but_its_outcomes(world: World, clock: Clock) -> None:
    regulator = await world.regulation()
    call = await opened(regulator)
    added = await with_outcome(regulator, call, "other")
    await closed(regulator, call)
    path = f"/v1/calls/{call['id']}"
    for method, at, body in (
        ("PATCH", "", {"priority": "P1"}),
        ("PATCH", "", {"callback_requested": True}),
        ("PUT", "/assignment", None),
        ("DELETE", "/assignment", None),
        ("POST", "/callbacks", {"reached": True}),
        ("POST", "/closure", {"otherwise": "none"}),
    ):
        refused = problem(await regulator.request(method, path + at, json=body), 409, "call-state")
        assert refused["state"] == "closed"
    assert (await with_outcome(regulator, call, "medical_advice"))["call"]["state"] == "closed"
    await clock.shift(timedelta(days=29, hours=23))
    assert (await regulator.delete(f"{path}/outcomes/{added['id']}")).status_code == 204
    await clock.shift(timedelta(days=30, minutes=1))
    for answer in (
        await regulator.post(f"{path}/outcomes", {"outcome": "other"}),
        await regulator.delete(
            f"{path}/outcomes/{(await read(regulator, call))['outcomes'][0]['id']}"
        ),
    ):
        problem(answer, 409, "call-state")


async def test_a_retry_with_a_key_has_one_effect(world: World) -> None:
    regulator = await world.regulation()
    body = call_body(callback_requested=True)
    first = await regulator.post("/v1/calls", body, key="k-call")
    again = await regulator.post("/v1/calls", body, key="k-call")
    assert again.json() == first.json()
    assert again.headers["idempotency-replayed"] == "true"
    assert len((await regulator.get("/v1/calls")).json()["items"]) == 1
    path = f"/v1/calls/{first.json()['id']}"
    for at, sent in (
        ("callbacks", {"reached": True}),
        ("outcomes", {"outcome": "other"}),
        ("closure", {"otherwise": "wait"}),
    ):
        made = await regulator.post(f"{path}/{at}", sent, key=f"k-{at}")
        replayed = await regulator.post(f"{path}/{at}", sent, key=f"k-{at}")
        assert (replayed.status_code, replayed.json()) == (made.status_code, made.json())
        assert replayed.headers["idempotency-replayed"] == "true"
    done = await read(regulator, first.json())
    assert (len(done["callbacks"]), len(done["outcomes"])) == (1, 1)


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


async def _mask(world: World, call: dict[str, Any]) -> int:
    async with world.database.unit_of_work() as uow:
        row = await uow.single(
            calls.select().with_only_columns(calls.c.outcome_mask).where(calls.c.id == call["id"])
        )
        return int(row.scalar_one())
