"""The call-back queue and who takes a call; lists of calls and their pages."""

import asyncio
import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

from service.identity import Role
from tests.calls.support import ago, closed, opened, read, with_outcome
from tests.support import Caller, World, problem

RIVALS = 20


async def _ids(caller: Caller, query: str) -> list[str]:
    """The ids of a whole list, by small pages."""
    ids: list[str] = []
    cursor = ""
    while True:
        answer = await caller.get(f"/v1/calls?limit=2&{query}{cursor}")
        assert answer.status_code == 200, answer.text
        ids += [call["id"] for call in answer.json()["items"]]
        if answer.json()["next_cursor"] is None:
            return ids
        cursor = f"&cursor={answer.json()['next_cursor']}"


async def _signed_in(world: World, **person: str) -> Caller:
    """The same software as every other of these callers, for another person."""
    regulator = await world.regulation()
    again = Caller(
        world.http, regulator.secret, Role.REGULATOR, regulator.organization_id, world.territory
    )
    return await again.sign_in(**person)


async def test_the_queue_is_by_priority_then_by_waiting_time(world: World) -> None:
    regulator = await world.regulation()
    calls = [
        await opened(regulator, priority=priority, callback_requested=True)
        for priority in ("NR", "P3", "P1", "P2", "P0", "P1", "P2")
    ]
    # Received long ago, but only now in the queue.
    late = await opened(regulator, priority="P1", received_at=ago(60 * 24), callback_requested=True)
    await opened(regulator, priority="P0")
    found = await _ids(regulator, "state=awaiting_callback")
    order = [calls[n]["id"] for n in (4, 2, 5)] + [late["id"]]
    assert found == order + [calls[n]["id"] for n in (3, 6, 1, 0)]


async def test_the_queue_shows_what_nobody_else_has(world: World) -> None:
    one, two, arm = (
        await world.regulation(),
        await world.regulation(),
        await world.regulation(Role.ARM),
    )
    mine, theirs, free = [await opened(one, callback_requested=True) for _ in range(3)]
    await one.put(f"/v1/calls/{mine['id']}/assignment")
    await two.put(f"/v1/calls/{theirs['id']}/assignment")
    queue = "state=awaiting_callback"
    assert await _ids(one, queue) == [mine["id"], free["id"]]
    assert await _ids(two, queue) == [theirs["id"], free["id"]]
    assert await _ids(arm, queue) == [free["id"]]
    await one.post(f"/v1/calls/{mine['id']}/callbacks", {"reached": False})
    assert await _ids(one, queue) == [mine["id"], free["id"]]
    await one.post(f"/v1/calls/{mine['id']}/callbacks", {"reached": True})
    assert await _ids(one, queue) == [free["id"]]
    await two.delete(f"/v1/calls/{theirs['id']}/assignment")
    assert await _ids(one, queue) == [theirs["id"], free["id"]]


async def test_twenty_doctors_take_one_call_and_one_has_it(world: World) -> None:
    doctors = [await world.regulation() for _ in range(RIVALS)]
    for _ in range(3):
        call = await opened(doctors[0], callback_requested=True)
        path = f"/v1/calls/{call['id']}/assignment"
        answers = await asyncio.gather(*(doctor.put(path) for doctor in doctors))
        assert Counter(a.status_code for a in answers) == {200: 1, 409: RIVALS - 1}
        winner = next(d for d, a in zip(doctors, answers, strict=True) if a.status_code == 200)
        for doctor, answer in zip(doctors, answers, strict=True):
            if doctor is not winner:
                problem(answer, 409, "call-assigned")
                problem(await doctor.delete(path), 409, "call-assigned")
        seen = await read(winner, call)
        assert seen["version"] == call["version"] + 1
        assert (await winner.delete(path)).status_code == 204


async def test_the_refusal_names_the_person_and_no_software(world: World) -> None:
    regulator = await world.regulation()
    call = await opened(regulator, callback_requested=True)
    path = f"/v1/calls/{call['id']}"
    blanc = await _signed_in(world, user_id="7", user_family_name="Blanc", user_given_name="Ana")
    taken = await blanc.put(f"{path}/assignment")
    names = {"id": "7", "proof": "asserted", "family_name": "Blanc", "given_name": "Ana"}
    who = {"role": "regulator", "person": names}
    assert taken.json()["assigned_to"] == who
    for answer in (
        await regulator.put(f"{path}/assignment"),
        await regulator.delete(f"{path}/assignment"),
        await regulator.post(f"{path}/callbacks", {"reached": True}),
    ):
        refused = problem(answer, 409, "call-assigned")
        assert refused["assigned_to"] == who
        assert "client_id" not in json.dumps(refused)


async def test_persons_of_one_software_are_told_apart(world: World) -> None:
    regulator = await world.regulation()

    async def person(**asserted: str) -> Caller:
        caller = Caller(
            world.http, regulator.secret, Role.REGULATOR, regulator.organization_id, world.territory
        )
        return await caller.sign_in(**asserted)

    ana = await person(user_id="7", user_family_name="Blanc")
    renamed = await person(user_id="7", user_family_name="Blanc-Noir")
    zoe = await person(user_id="8", user_family_name="Blanc")
    unnamed = await person(user_family_name="Blanc")
    same_unnamed = await person(user_family_name="Blanc")
    call = await opened(ana, callback_requested=True)
    path = f"/v1/calls/{call['id']}/assignment"
    queue = "state=awaiting_callback"

    assert (await ana.put(path)).status_code == 200
    again = await renamed.put(path)
    assert (again.status_code, again.json()["version"]) == (200, call["version"] + 1)
    assert await _ids(renamed, queue) == [call["id"]]
    for other in (zoe, unnamed, regulator):
        problem(await other.put(path), 409, "call-assigned")
        assert await _ids(other, queue) == []
    assert (await renamed.delete(path)).status_code == 204

    assert (await unnamed.put(path)).status_code == 200
    assert (await same_unnamed.put(path)).status_code == 200
    assert await _ids(same_unnamed, queue) == [call["id"]]
    problem(await regulator.put(path), 409, "call-assigned")
    assert (await unnamed.delete(path)).status_code == 204

    assert (await regulator.put(path)).status_code == 200
    assert await _ids(regulator, queue) == [call["id"]]
    problem(await unnamed.put(path), 409, "call-assigned")


async def test_giving_back_what_nobody_has_is_no_error(world: World) -> None:
    regulator = await world.regulation()
    call = await opened(regulator)
    answer = await regulator.delete(f"/v1/calls/{call['id']}/assignment")
    assert (answer.status_code, answer.headers["etag"]) == (204, f'"{call["version"]}"')
    assert await read(regulator, call) == call


async def test_lists_are_newest_first_by_reception(world: World) -> None:
    regulator = await world.regulation()
    calls = [
        await opened(regulator, received_at=ago(minutes), case_id=case)
        for minutes, case in ((30, "A1"), (10, "B1"), (50, "A1"), (40, "C1"), (20, "D1"))
    ]
    ids = [call["id"] for call in calls]
    assert await _ids(regulator, "") == [ids[n] for n in (1, 4, 0, 3, 2)]
    assert await _ids(regulator, "case_id=A1") == [ids[0], ids[2]]
    assert await _ids(regulator, f"territory={world.territory}") == [
        ids[n] for n in (1, 4, 0, 3, 2)
    ]
    assert await _ids(regulator, "territory=2A") == []
    bounds = {"from": calls[3]["received_at"], "to": calls[4]["received_at"]}
    answer = await regulator.get("/v1/calls", params=bounds)
    assert [call["id"] for call in answer.json()["items"]] == [ids[0], ids[3]]
    await with_outcome(regulator, calls[0], "other")
    await closed(regulator, calls[0])
    assert await _ids(regulator, "state=closed") == [ids[0]]
    assert await _ids(regulator, "state=open") == [ids[n] for n in (1, 4, 3, 2)]


async def test_a_cursor_fits_its_list_only(world: World) -> None:
    regulator = await world.regulation()
    for _ in range(3):
        await opened(regulator, callback_requested=True)
    page = (await regulator.get("/v1/calls?limit=1")).json()
    other = f"/v1/calls?limit=1&state=awaiting_callback&cursor={page['next_cursor']}"
    problem(await regulator.get(other), 400, "invalid-cursor")
    problem(await regulator.get("/v1/calls?limit=201"), 422, "invalid")


async def test_ties_in_the_queue_are_paged_without_loss(world: World) -> None:
    regulator = await world.regulation()
    opening = [opened(regulator, callback_requested=True, priority="P1") for _ in range(9)]
    calls: list[dict[str, Any]] = await asyncio.gather(*opening)
    found = await _ids(regulator, "state=awaiting_callback")
    assert Counter(found) == Counter(call["id"] for call in calls)
    since = {call["id"]: datetime.fromisoformat(call["callback_requested_at"]) for call in calls}
    assert sorted(found, key=lambda call_id: since[call_id]) == found
    assert datetime.now(UTC) - min(since.values()) < timedelta(minutes=1)
