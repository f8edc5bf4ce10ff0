"""Keeping sessions filled: idempotent, safe at once, one week more after one week."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import text

from service import agenda as room
from service import slots
from service.agenda import repository, tasks
from service.kernel.db import Database
from service.kernel.ids import new_id
from service.main import create_app
from tests.agenda.support import agenda, at, in_days, made, read, starts, weekly
from tests.conftest import Clock
from tests.support import Caller, World

WEEK = timedelta(weeks=1)


async def _slots(doctor: Caller) -> list[Any]:
    return starts(await agenda(doctor, "open", "past"))


async def test_right_after_creation_nothing_is_missing(world: World) -> None:
    doctor = await world.doctor()
    await made(doctor, weekly(doctor, in_days(1)))
    before = await agenda(doctor)
    await room.extend(world.database)
    assert await agenda(doctor) == before


async def test_a_week_later_exactly_one_week_is_added(world: World, clock: Clock) -> None:
    doctor, day = await world.doctor(), in_days(1)
    found = await made(doctor, weekly(doctor, day))
    before = await _slots(doctor)
    await clock.shift(WEEK)
    await room.extend(world.database)
    after = await _slots(doctor)
    new = [at(day + 8 * WEEK, 14, minute) for minute in (0, 20, 40)]
    assert after == [*before, *new]
    done = await room.extend(world.database)
    assert (done.slots, done.failed) == (0, 0)
    assert await _slots(doctor) == after
    assert (await read(doctor, found))["created"] == 27


async def test_two_runs_at_once_publish_each_slot_once(world: World, clock: Clock) -> None:
    doctors = [await world.doctor() for _ in range(4)]
    for doctor in doctors:
        await made(doctor, weekly(doctor, in_days(1)))
    await clock.shift(2 * WEEK)
    runs = await asyncio.gather(*(room.extend(world.database) for _ in range(3)))
    assert sum(run.failed for run in runs) == 0
    for doctor in doctors:
        found = await _slots(doctor)
        assert len(found) == len(set(found)) == 30


async def test_an_extension_and_an_amendment_take_turns(world: World, clock: Clock) -> None:
    doctor, day = await world.doctor(), in_days(1)
    found = await made(doctor, weekly(doctor, day))
    await clock.shift(WEEK)
    answer, *runs = await asyncio.gather(
        doctor.patch(f"/v1/slot-sessions/{found['id']}", {"end": "16:00"}, if_match=1),
        room.extend(world.database),
        room.extend(world.database),
    )
    assert answer.status_code == 200, answer.text
    assert sum(run.failed for run in runs) == 0
    found_ = await _slots(doctor)
    assert len(found_) == len(set(found_))
    assert found_[-6:] == [at(day + 8 * WEEK, 14 + n // 3, n % 3 * 20) for n in range(6)]


async def test_an_extension_waits_for_an_absence_that_is_being_declared(
    world: World, clock: Clock
) -> None:
    doctor, day = await world.doctor(), in_days(1)
    assert doctor.practitioner_id is not None
    await made(doctor, weekly(doctor, day))
    await clock.shift(WEEK)
    async with world.database.unit_of_work() as uow:
        await slots.lock_practitioner(uow, doctor.practitioner_id)
        run = asyncio.create_task(room.extend(world.database))
        await asyncio.sleep(0.5)
        assert not run.done()
        away = day + 8 * WEEK
        await repository.add_absence(
            uow, new_id(), None, practitioner_id=doctor.practitioner_id, zone=world.zone,
            starts_at=at(away, 0), ends_at=at(away, 23), slot_ids=[], booking_ids=[],
        )  # fmt: skip
    assert (await run).failed == 0
    assert (await _slots(doctor))[-1] == at(day + 7 * WEEK, 14, 40)


async def test_what_overlaps_is_left_out_until_it_is_gone(world: World, clock: Clock) -> None:
    doctor, day = await world.doctor(), in_days(1)
    found = await made(doctor, weekly(doctor, day))
    other = await doctor.publish(at(day + 8 * WEEK, 14, 10))
    await clock.shift(WEEK)
    await room.extend(world.database)
    after = await read(doctor, found)
    assert after["created"] == 25
    assert after["skipped"] == [
        {
            "date": (day + 8 * WEEK).isoformat(),
            "reason": "overlapping-slot",
            "slots": 2,
            "blocking_slots": [other["id"]],
        }
    ]
    await doctor.delete(f"/v1/slots/{other['id']}", if_match="*")
    await clock.shift(WEEK + timedelta(days=1))
    await room.extend(world.database)
    after = await read(doctor, found)
    assert (after["created"], after["skipped"]) == (27, [])


async def test_ended_sessions_and_closed_places_get_nothing_more(
    world: World, clock: Clock
) -> None:
    over, left, gone = [await world.doctor() for _ in range(3)]
    sessions = [await made(d, weekly(d, in_days(1))) for d in (over, left, gone)]
    await over.delete(f"/v1/slot-sessions/{sessions[0]['id']}", if_match=1)
    async with world.database.unit_of_work() as uow:
        for table, row in (
            ("locations", left.location_id),
            ("practitioners", gone.practitioner_id),
        ):
            statement = text(f"UPDATE {table} SET active = false WHERE id = :id")
            await uow.execute(statement, {"id": row})
    await clock.shift(WEEK)
    done = await room.extend(world.database)
    assert done.failed == 0
    assert len(await agenda(over)) == 0
    for doctor, session in zip((left, gone), sessions[1:], strict=True):
        assert max(starts(await agenda(doctor))) == at(in_days(1) + 7 * WEEK, 14, 40)
        assert [s["reason"] for s in (await read(doctor, session))["skipped"]] == ["place-closed"]


async def test_events_of_an_extension_name_nobody(world: World, clock: Clock) -> None:
    doctor = await world.doctor()
    found = await made(doctor, weekly(doctor, in_days(1)))
    await clock.shift(WEEK)
    await room.extend(world.database)
    last = (await agenda(doctor))[-1]["id"]
    assert last not in found["slots"]
    async with world.database.unit_of_work() as uow:
        row = (
            await uow.execute(
                text("SELECT type, client_id, role, territory FROM events WHERE subject_id = :id"),
                {"id": last},
            )
        ).one()
    assert tuple(row) == ("slot.published", None, None, world.territory)


# --- the hourly task ----------------------------------------------------------------------------


async def test_the_task_runs_until_it_is_cancelled_and_survives_anything(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs, enough = 0, asyncio.Event()

    async def extend(_: Database) -> room.Extended:
        nonlocal runs
        runs += 1
        if runs == 5:
            enough.set()
        if runs % 2:
            raise RuntimeError
        return room.Extended()

    monkeypatch.setattr(tasks, "extend", extend)
    task = asyncio.create_task(tasks.keep_extended(world.database, first=0, every=0))
    await enough.wait()
    await asyncio.sleep(0)
    assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_server_extends_while_it_lives_and_stops_with_it(
    app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def keep(_: Database) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    monkeypatch.setattr("service.main.keep_extended", keep)
    another = create_app(app.state.settings)
    async with another.router.lifespan_context(another):
        await begun.wait()
        assert not ended.is_set()
    assert ended.is_set()
