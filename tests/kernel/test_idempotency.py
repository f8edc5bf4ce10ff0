"""One effect per Idempotency-Key, however often and however concurrently it is sent."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select

from service.identity import Role, give_grant
from service.kernel.db import Database
from service.kernel.idempotency import idempotency_keys, sweep
from service.kernel.ids import new_id
from service.slots.tables import holds, slots
from tests.conftest import Clock
from tests.support import Caller, World, problem, soon

Body = dict[str, Any]


async def _published(database: Database, doctor: Caller) -> int:
    statement = select(func.count()).where(slots.c.practitioner_id == doctor.practitioner_id)
    async with database.unit_of_work() as uow:
        return int((await uow.single(statement)).scalar_one())


async def _keys(database: Database, caller: Caller) -> int:
    client_id = caller.secret.client_id
    statement = select(func.count()).where(idempotency_keys.c.client_id == client_id)
    async with database.unit_of_work() as uow:
        return int((await uow.single(statement)).scalar_one())


async def test_the_same_key_and_body_replays_the_answer(world: World) -> None:
    doctor = await world.doctor()
    body = doctor.slot()
    first = await doctor.post("/v1/slots", body, key="a")
    assert "Idempotency-Replayed" not in first.headers
    again = await doctor.post("/v1/slots", body, key="a")
    assert again.headers["Idempotency-Replayed"] == "true"
    assert (again.status_code, again.json()) == (201, first.json())
    assert (again.headers["ETag"], again.headers["Location"]) == (
        first.headers["ETag"], first.headers["Location"],
    )  # fmt: skip
    assert await _published(world.database, doctor) == 1


async def test_a_replayed_answer_shows_the_slot_as_it_is_now(world: World) -> None:
    doctor = await world.doctor()
    body = doctor.slot()
    slot = (await doctor.post("/v1/slots", body, key="a")).json()
    await doctor.delete(f"/v1/slots/{slot['id']}", if_match="*")
    again = await doctor.post("/v1/slots", body, key="a")
    assert (again.status_code, again.json()["id"]) == (201, slot["id"])
    assert again.json()["state"] == "withdrawn"


async def test_the_order_of_members_and_spaces_make_no_other_body(world: World) -> None:
    doctor = await world.doctor()
    body = doctor.slot()
    first = await doctor.post("/v1/slots", body, key="a")
    again = await doctor.post("/v1/slots", dict(reversed(body.items())), key='"a"')
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.json() == first.json()


async def test_another_body_with_the_same_key_is_refused(world: World) -> None:
    doctor = await world.doctor()
    first = await doctor.post("/v1/slots", doctor.slot(soon(2)), key="a")
    assert first.status_code == 201
    for other in (doctor.slot(soon(4)), doctor.slot(soon(2), note="x"), doctor.slot(soon(2, 5))):
        answer = await doctor.post("/v1/slots", other, key="a")
        body = problem(answer, 422, "idempotency-key-reused")
        assert [error["pointer"] for error in body["errors"]] == ["Idempotency-Key"]
    assert await _published(world.database, doctor) == 1


@pytest.mark.parametrize("key", ["", " ", '""', "a b", "clé", "a\tb", "x" * 256])
async def test_a_malformed_key_is_refused(world: World, key: str) -> None:
    doctor = await world.doctor()
    answer = await doctor.post(
        "/v1/slots",
        doctor.slot(),
        headers={"Idempotency-Key": key.encode()},
    )
    problem(answer, 400, "idempotency-key-malformed")
    assert await _published(world.database, doctor) == 0


@pytest.mark.parametrize("key", ["a", "x" * 255, '"quoted"', "!~#$%&'()*+,-./:;<=>?@[]^_`{|}"])
async def test_a_key_is_1_to_255_visible_characters(world: World, key: str) -> None:
    doctor = await world.doctor()
    body = doctor.slot()
    first = await doctor.post("/v1/slots", body, key=key)
    again = await doctor.post("/v1/slots", body, key=key)
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json()["id"] == again.json()["id"]


async def test_another_client_may_use_the_same_key(world: World) -> None:
    one, two = await world.doctor(), await world.doctor()
    first = await one.post("/v1/slots", one.slot(), key="a")
    second = await two.post("/v1/slots", two.slot(), key="a")
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json()["id"] != second.json()["id"]


async def test_another_person_with_the_same_software_may_use_the_same_key(world: World) -> None:
    """Their software counts for each desk: nobody gets another's answer, a retry its own."""
    doctor = await world.doctor()
    body = doctor.slot()
    made: list[str] = []
    people: list[dict[str, str]] = [
        {"user_id": "1"}, {"user_id": "2"}, {"user_family_name": "Épreuve"}, {},
    ]  # fmt: skip
    for person in people:
        await doctor.sign_in(**person)
        first = await doctor.post("/v1/slots", {**body, **_later(len(made))}, key="a")
        assert "Idempotency-Replayed" not in first.headers
        await doctor.sign_in(**person)
        again = await doctor.post("/v1/slots", {**body, **_later(len(made))}, key="a")
        assert again.headers["Idempotency-Replayed"] == "true"
        assert (first.status_code, again.json()) == (201, first.json())
        made.append(first.json()["id"])
    assert len(set(made)) == len(made)


def _later(hours: int) -> Body:
    start = soon(2 + hours)
    return {
        "starts_at": start.isoformat(), "ends_at": (start + timedelta(minutes=20)).isoformat(),
    }  # fmt: skip


async def test_another_right_of_the_same_software_may_use_the_same_key(world: World) -> None:
    """As people have rights of their own: whose right it is says who asks."""
    doctor = await world.doctor()
    assert doctor.practitioner_id is not None
    body = doctor.slot()
    first = await doctor.post("/v1/slots", body, key="a")
    assert first.status_code == 201
    async with world.database.unit_of_work() as uow:
        await give_grant(
            uow, client_id=doctor.secret.client_id, role=Role.DELEGATE,
            organization_id=doctor.organization_id, organization_type="practice",
            territories=[world.territory], practitioner_ids=[doctor.practitioner_id],
        )  # fmt: skip
    await doctor.sign_in(scope="role:delegate")
    answer = await doctor.post("/v1/slots", body, key="a")
    problem(answer, 409, "overlapping-slot")


async def test_another_path_may_use_the_same_key(world: World) -> None:
    doctor = await world.doctor()
    slots_ = [await doctor.publish(soon(2 + n)) for n in range(2)]
    answers = [await doctor.post(f"/v1/slots/{slot['id']}/holds", key="a") for slot in slots_]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert all("Idempotency-Replayed" not in answer.headers for answer in answers)


async def test_a_key_lives_24_hours(world: World, clock: Clock) -> None:
    doctor = await world.doctor()
    body = doctor.slot(soon(100))
    first = await doctor.post("/v1/slots", body, key="a")
    await clock.shift(timedelta(hours=23, minutes=59))
    assert (await doctor.post("/v1/slots", body, key="a")).json() == first.json()
    await clock.shift(timedelta(hours=24, minutes=1))
    problem(await doctor.post("/v1/slots", body, key="a"), 409, "overlapping-slot")
    fresh = await doctor.post("/v1/slots", doctor.slot(soon(101)), key="a")
    assert fresh.status_code == 201, fresh.text
    assert "Idempotency-Replayed" not in fresh.headers
    again = await doctor.post("/v1/slots", doctor.slot(soon(101)), key="a")
    assert (again.headers["Idempotency-Replayed"], again.json()) == ("true", fresh.json())


async def test_the_sweeper_forgets_only_dead_keys(world: World, clock: Clock) -> None:
    doctor = await world.doctor()
    await doctor.post("/v1/slots", doctor.slot(soon(100)), key="old")
    await clock.shift(timedelta(hours=26))
    await doctor.post("/v1/slots", doctor.slot(soon(101)), key="new")
    async with world.database.unit_of_work() as uow:
        await sweep(uow)
    assert await _keys(world.database, doctor) == 1


async def test_a_refused_request_stores_nothing_and_its_key_works_later(world: World) -> None:
    doctor, regulator = await world.doctor(), await world.regulator()
    blocking = await doctor.publish(soon(3))
    body = doctor.slot(soon(3, 10))
    problem(await doctor.post("/v1/slots", body, key="a"), 409, "overlapping-slot")
    problem(await doctor.post("/v1/slots", {**body, "capacity": 0}, key="a"), 422, "invalid")
    past = {**body, "starts_at": soon(-1).isoformat()}
    problem(await doctor.post("/v1/slots", past, key="a"), 422, "slot-invalid")
    assert await _keys(world.database, doctor) == 0
    await doctor.delete(f"/v1/slots/{blocking['id']}", if_match="*")
    assert (await doctor.post("/v1/slots", body, key="a")).status_code == 201
    assert await _keys(world.database, doctor) == 1

    path = f"/v1/slots/{new_id()}/holds"
    problem(await regulator.post(path, key="a"), 404, "slot-not-found")
    assert await _keys(world.database, regulator) == 0


async def test_a_success_is_replayed_even_if_it_would_be_refused_by_now(
    world: World, clock: Clock
) -> None:
    doctor, regulator = await world.doctor(), await world.regulator()
    body = doctor.slot(soon(1))
    slot = (await doctor.post("/v1/slots", body, key="a")).json()
    path = f"/v1/slots/{slot['id']}/holds"
    hold = (await regulator.post(path, key="a")).json()
    await clock.shift(timedelta(hours=2))
    again = await doctor.post("/v1/slots", body, key="a")
    assert (again.status_code, again.json()["id"]) == (201, slot["id"])
    assert (await regulator.post(path, key="a")).json() == hold


async def test_of_twenty_equal_publications_one_is_done_and_all_are_told_so(world: World) -> None:
    doctor = await world.doctor()
    body = doctor.slot()
    answers = await asyncio.gather(*(doctor.post("/v1/slots", body, key="a") for _ in range(20)))
    _equal(answers)
    assert await _published(world.database, doctor) == 1


async def test_of_twenty_equal_publications_without_a_name_one_is_done(world: World) -> None:
    # Nothing but the key itself stops the second one: no practitioner to take turns on.
    centre = await world.doctor(organization_type="csnp")
    body = centre.slot(practitioner_id=None)
    answers = await asyncio.gather(*(centre.post("/v1/slots", body, key="a") for _ in range(20)))
    _equal(answers)
    statement = select(func.count()).where(slots.c.organization_id == centre.organization_id)
    async with world.database.unit_of_work() as uow:
        assert (await uow.single(statement)).scalar_one() == 1


async def test_of_twenty_equal_batches_one_is_done(world: World) -> None:
    doctor = await world.doctor()
    body = {"slots": [doctor.slot(soon(2, 20 * n)) for n in range(10)]}
    answers = await asyncio.gather(*(doctor.post("/v1/slots", body, key="a") for _ in range(20)))
    _equal(answers)
    assert await _published(world.database, doctor) == 10


@pytest.mark.parametrize("capacity", [1, 50])
async def test_of_twenty_equal_holds_one_is_placed(world: World, capacity: int) -> None:
    doctor, regulator = await world.doctor(), await world.regulator()
    slot = await doctor.publish(capacity=capacity)
    path = f"/v1/slots/{slot['id']}/holds"
    answers = await asyncio.gather(*(regulator.post(path, key="a") for _ in range(20)))
    _equal(answers)
    read = (await doctor.get(f"/v1/slots/{slot['id']}")).json()
    assert (read["held"], read["remaining"]) == (1, capacity - 1)
    statement = select(func.count()).where(holds.c.organization_id == regulator.organization_id)
    async with world.database.unit_of_work() as uow:
        assert (await uow.single(statement)).scalar_one() == 1


async def test_of_twenty_different_bodies_with_one_key_one_is_done(world: World) -> None:
    doctor = await world.doctor()
    answers = await asyncio.gather(
        *(doctor.post("/v1/slots", doctor.slot(soon(2 + n)), key="a") for n in range(20))
    )
    assert sorted(answer.status_code for answer in answers) == [201] + [422] * 19
    codes = {answer.json()["code"] for answer in answers if answer.status_code == 422}
    assert codes == {"idempotency-key-reused"}
    assert await _published(world.database, doctor) == 1


def _equal(answers: list[Any]) -> None:
    assert [answer.status_code for answer in answers] == [201] * len(answers)
    assert len({answer.text for answer in answers}) == 1
    replayed = [answer for answer in answers if "Idempotency-Replayed" in answer.headers]
    assert len(replayed) == len(answers) - 1
