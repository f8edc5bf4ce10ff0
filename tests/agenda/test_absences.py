"""Absences: free slots withdrawn, booked ones cancelled, sessions go around them."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from service import agenda as room
from service.agenda import repository
from service.kernel import events
from service.kernel.ids import new_id
from tests.agenda.support import (
    Body,
    agenda,
    at,
    in_days,
    made,
    read,
    session,
    starts,
    weekly,
)
from tests.bookings.test_book import booked, request
from tests.support import Caller, World, problem


def _path(doctor: Caller) -> str:
    return f"/v1/practitioners/{doctor.practitioner_id}/absences"


def _range(day: Any, first: int = 0, last: int = 23) -> Body:
    return {"from": at(day, first).isoformat(), "to": at(day, last).isoformat()}


async def _types(world: World, subject: str) -> list[str]:
    async with world.database.unit_of_work() as uow:
        return [event.type for event in await events.history(uow, UUID(subject))]


async def test_free_slots_are_withdrawn_and_booked_ones_cancelled_by_the_doctor(
    world: World,
) -> None:
    doctor, regulator, day = await world.doctor(), await world.regulator(), in_days(2)
    found = await made(doctor, session(doctor, day, capacity=2))
    by_hand = await doctor.publish(at(day, 17))
    outside = await doctor.publish(at(day + timedelta(days=1), 9))
    slot = (await regulator.get(f"/v1/slots/{found['slots'][1]}")).json()
    patients = [await booked(regulator, slot) for _ in range(2)]
    answer = await doctor.post(_path(doctor), {**_range(day), "reason": "Grippe"})
    assert answer.status_code == 201, answer.text
    absence = answer.json()
    assert sorted(absence["cancelled_bookings"]) == sorted(b["id"] for b in patients)
    assert set(absence["withdrawn_slots"]) == {*found["slots"], by_hand["id"]}
    assert (absence["withdrawn"], absence["cancelled"], absence["reason"]) == (4, 2, "Grippe")
    assert answer.headers["Location"] == f"{_path(doctor)}/{absence['id']}"
    assert [s["id"] for s in await agenda(doctor)] == [outside["id"]]
    for patient in patients:
        told = (await regulator.get(f"/v1/bookings/{patient['id']}")).json()
        assert (told["state"], told["cancellation"]["by"]) == ("cancelled", "doctor")
        assert told["cancellation"]["reason"] == "Absence du praticien"  # not the doctor's illness
        assert await _types(world, patient["id"]) == ["booking.created", "booking.cancelled"]
    assert (await _types(world, slot["id"]))[-1] == "slot.withdrawn"
    assert (await _types(world, by_hand["id"])) == ["slot.published", "slot.withdrawn"]
    assert await _types(world, absence["id"]) == ["absence.declared"]
    problem(await regulator.post("/v1/bookings", request(by_hand)), 409, "slot-withdrawn")


async def test_a_slot_that_touches_the_range_at_all_is_of_it(world: World) -> None:
    doctor, day = await world.doctor(), in_days(2)
    await made(doctor, session(doctor, day))
    answer = await doctor.post(
        _path(doctor), {"from": at(day, 14, 30).isoformat(), "to": at(day, 14, 40).isoformat()}
    )
    assert answer.json()["withdrawn"] == 1
    assert starts(await agenda(doctor)) == [at(day, 14), at(day, 14, 40)]


async def test_a_key_makes_one_absence(world: World) -> None:
    doctor, day = await world.doctor(), in_days(2)
    await made(doctor, session(doctor, day))
    first = await doctor.post(_path(doctor), _range(day), key="ill")
    again = await doctor.post(_path(doctor), _range(day), key="ill")
    assert (again.status_code, again.json()) == (201, first.json())
    assert again.headers["Idempotency-Replayed"] == "true"
    assert len((await doctor.get(_path(doctor))).json()["items"]) == 1


async def test_sessions_go_around_an_absence_until_it_ends(world: World) -> None:
    doctor, day = await world.doctor(), in_days(1)
    away = day + timedelta(weeks=1)
    found = await made(doctor, weekly(doctor, day))
    absence = (await doctor.post(_path(doctor), _range(away))).json()
    assert absence["withdrawn"] == 3
    skipped = [{"date": away.isoformat(), "reason": "absence", "slots": 3, "blocking_slots": []}]
    assert (await read(doctor, found))["skipped"] == skipped
    await room.extend(world.database)
    assert len(await agenda(doctor)) == 21
    path = f"{_path(doctor)}/{absence['id']}"
    assert (await doctor.delete(path)).status_code == 204
    assert (await doctor.delete(path)).status_code == 204
    assert len(await agenda(doctor)) == 21  # nothing comes back by itself
    await room.extend(world.database)
    assert len(await agenda(doctor)) == 24
    after = await read(doctor, found)
    assert (after["created"], after["skipped"]) == (24, [])
    assert await _types(world, absence["id"]) == ["absence.declared", "absence.ended"]


async def test_a_session_made_during_an_absence_goes_around_it(world: World) -> None:
    doctor, day = await world.doctor(), in_days(1)
    await doctor.post(_path(doctor), _range(day + timedelta(weeks=1)))
    found = await made(doctor, weekly(doctor, day))
    assert (found["created"], [s["reason"] for s in found["skipped"]]) == (21, ["absence"])
    alone = await made(
        doctor, session(doctor, day + timedelta(weeks=1), start="20:00", end="21:00")
    )
    assert (alone["created"], alone["next_date"]) == (0, None)


async def test_absences_are_listed_newest_first(world: World) -> None:
    doctor = await world.doctor()
    made_ = [(await doctor.post(_path(doctor), _range(in_days(n)))).json() for n in (1, 2, 3)]
    await doctor.delete(f"{_path(doctor)}/{made_[1]['id']}")
    first = (await doctor.get(_path(doctor), params={"limit": 2})).json()
    rest = (
        await doctor.get(_path(doctor), params={"cursor": first["next_cursor"], "limit": 2})
    ).json()
    found = first["items"] + rest["items"]
    assert [a["id"] for a in found] == [a["id"] for a in reversed(made_)]
    assert [a["ended_at"] is None for a in found] == [True, False, True]


async def test_rights(world: World) -> None:
    doctor, other = await world.doctor(), await world.doctor()
    absence = (await doctor.post(_path(doctor), _range(in_days(1)))).json()
    problem(await other.post(_path(doctor), _range(in_days(1))), 403, "not-my-practitioner")
    problem(await other.get(_path(doctor)), 403, "not-my-practitioner")
    path = f"{_path(doctor)}/{absence['id']}"
    problem(await other.delete(path), 403, "not-my-practitioner")
    problem(await doctor.delete(f"{_path(doctor)}/{new_id()}"), 404, "absence-not-found")
    problem(await other.delete(f"{_path(other)}/{absence['id']}"), 404, "absence-not-found")
    regulator = await world.regulator()
    problem(await regulator.get(_path(doctor)), 403, "role-lacks-operation")


@pytest.mark.parametrize(
    ("from_", "to", "code"),
    [
        (at(in_days(2), 14), at(in_days(2), 14), "end-before-start"),
        (at(in_days(-3), 14), at(in_days(-2), 14), "absence-in-the-past"),
        (at(in_days(1), 14), at(in_days(400), 14), "absence-too-long"),
    ],
)
async def test_a_range_that_makes_no_sense(world: World, from_: Any, to: Any, code: str) -> None:
    doctor = await world.doctor()
    body = {"from": from_.isoformat(), "to": to.isoformat()}
    answer = await doctor.post(_path(doctor), body)
    errors = problem(answer, 422, "absence-invalid")["errors"]
    assert [(e["pointer"], e["code"]) for e in errors] == [("#/to", code)]


async def test_an_absence_may_have_begun(world: World) -> None:
    doctor = await world.doctor()
    await made(doctor, session(doctor, in_days(1)))
    body = {"from": at(in_days(-2), 8).isoformat(), "to": at(in_days(4), 8).isoformat()}
    assert (await doctor.post(_path(doctor), body)).json()["withdrawn"] == 3


async def test_a_booking_between_the_two_locks_is_cancelled_too(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    doctor, regulator, day = await world.doctor(), await world.regulator(), in_days(2)
    found = await made(doctor, session(doctor, day))
    lock, late = repository.lock_bookings, list[str]()

    async def lock_then_somebody_books(*given: Any) -> list[UUID]:
        locked = await lock(*given)
        if not late:
            late.append((await booked(regulator, {"id": found["slots"][0]}))["id"])
        return locked

    monkeypatch.setattr(repository, "lock_bookings", lock_then_somebody_books)
    absence = (await doctor.post(_path(doctor), _range(day))).json()
    assert absence["cancelled_bookings"] == late
    assert absence["withdrawn"] == 3
    assert len((await doctor.get(_path(doctor))).json()["items"]) == 1


async def test_whoever_books_while_the_doctor_leaves_is_cancelled_or_refused(world: World) -> None:
    doctor, regulator, day = await world.doctor(), await world.regulator(), in_days(2)
    found = await made(doctor, session(doctor, day, end="18:00", capacity=2))
    spare = await (await world.doctor()).publish(at(day, 10), capacity=50)
    before = [await booked(regulator, {"id": slot_id}) for slot_id in found["slots"][:4]]

    async def rival(number: int) -> Any:
        if number % 3 == 0:
            path = f"/v1/bookings/{before[number // 3]['id']}/rescheduling"
            return await regulator.post(path, {"slot_id": spare["id"]})
        slot_id = found["slots"][number % len(found["slots"])]
        return await regulator.post("/v1/bookings", request({"id": slot_id}))

    answers = await asyncio.gather(
        *(rival(n) for n in range(6)),
        doctor.post(_path(doctor), _range(day)),
        *(rival(n) for n in range(6, 12)),
    )
    assert answers[6].status_code == 201, answers[6].text
    absence = answers[6].json()
    assert {a.status_code for a in answers[:6] + answers[7:]} <= {200, 201, 409}
    assert await agenda(doctor, "open", "full") == []
    mine = await regulator.get("/v1/bookings", params={"limit": 200})
    live = [b for b in mine.json()["items"] if b["state"] == "booked"]
    assert {b["slot"]["id"] for b in live} <= {spare["id"]}
    cancelled = [b["id"] for b in mine.json()["items"] if b["state"] == "cancelled"]
    assert sorted(cancelled) == sorted(absence["cancelled_bookings"])
    assert sorted(absence["withdrawn_slots"]) == sorted(found["slots"])
