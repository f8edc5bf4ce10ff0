"""Outcomes and the mask that figures read: in step, whatever crosses; the part for bookings."""

import asyncio
from random import Random
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Uuid, func, select

from service import calls as door
from service.calls import MASK, CallNotFound, Outcome, mask_of
from service.calls.tables import call_outcomes, calls
from service.identity import Actor, Role
from service.kernel import events
from service.kernel.db import UnitOfWork
from service.kernel.ids import new_id
from service.kernel.sql import bind, texts
from tests.calls.support import closed, opened, read, with_outcome
from tests.support import Caller, World, problem

BY_HAND = [outcome for outcome in Outcome if outcome is not Outcome.SLOT_ORIENTATION]


def _actor(caller: Caller) -> Actor:
    return Actor(
        client_id=caller.secret.client_id,
        client_name="Test",
        grant_id=new_id(),
        grant_revision=1,
        role=caller.role,
        organization_id=caller.organization_id,
        organization_type="sas",
        territories=(caller.territory,),
    )


async def _row(uow: UnitOfWork, call: dict[str, Any]) -> Any:
    found = await uow.single(select(calls).where(calls.c.id == UUID(call["id"])))
    return found.one()


async def _mask(world: World, call: dict[str, Any]) -> int:
    async with world.database.unit_of_work() as uow:
        return int((await _row(uow, call)).outcome_mask)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.sampled_from(BY_HAND) | st.integers(0, 9), min_size=1, max_size=12))
async def test_the_mask_is_that_of_the_live_rows(world: World, steps: list[Outcome | int]) -> None:
    """An outcome adds one; a number removes one of those there are."""
    regulator = await world.regulator()
    call = await opened(regulator)
    live: dict[str, Outcome] = {}
    for step in steps:
        if isinstance(step, Outcome):
            live[(await with_outcome(regulator, call, step.value))["id"]] = step
        elif live:
            outcome_id = list(live)[step % len(live)]
            answer = await regulator.delete(f"/v1/calls/{call['id']}/outcomes/{outcome_id}")
            assert answer.status_code == 204
            del live[outcome_id]
        assert await _mask(world, call) == mask_of(live.values())
    seen = await read(regulator, call)
    assert {o["id"]: o["outcome"] for o in seen["outcomes"]} == live


async def test_outcomes_that_cross_are_all_kept(world: World) -> None:
    staff = [await world.regulator() for _ in range(5)]
    call = await opened(staff[0])
    wanted = [*BY_HAND, *BY_HAND]
    added = await asyncio.gather(
        *(with_outcome(staff[n % 5], call, outcome.value) for n, outcome in enumerate(wanted))
    )
    assert await _mask(world, call) == mask_of(BY_HAND)
    removed = Random(1).sample(added, 7)
    answers = await asyncio.gather(
        *(
            staff[n % 5].delete(f"/v1/calls/{call['id']}/outcomes/{outcome['id']}")
            for n, outcome in enumerate(removed)
        )
    )
    assert {answer.status_code for answer in answers} == {204}
    gone = {outcome["id"] for outcome in removed}
    left = [Outcome(o["outcome"]) for o in added if o["id"] not in gone]
    assert await _mask(world, call) == mask_of(left)


# --- the parts that a booking is made of ----------------------------------------------------------


def _booking() -> Any:
    """As the bookings room composes it: nothing is booked when the call is not bookable."""
    call = door.parts.call
    booked = (
        select(bind("booking_id", Uuid).label("id"), call.c.patient_file_id.label("file"))
        .where(door.parts.bookable(texts("vital_codes")))
        .with_for_update(of=call, key_share=True)
        .cte("booked")
    )
    told = events.part(
        "booking.created", booked, subject=booked.c.id, data=func.jsonb_build_object()
    )
    parts = door.parts.orient(booked, booking_id=booked.c.id, file_id=booked.c.file)
    return select(booked.c.id, booked.c.file).add_cte(told, *parts)


BOOKING = _booking()


async def _book(world: World, caller: Caller, call_id: UUID | None) -> tuple[Any, UUID]:
    booking_id, actor = new_id(), _actor(caller)
    values = {
        "booking_id": booking_id,
        "call_id": call_id,
        "outcome_id": new_id(),
        "overrides": False,
        "vital_codes": ["P0"],
        **door.parts.caller(actor),
        **actor.origin.parameters(),
    }
    async with world.database.unit_of_work() as uow:
        return (await uow.single(BOOKING, values)).one_or_none(), booking_id


async def test_a_booking_orients_its_call(world: World) -> None:
    regulator = await world.regulator()
    call = await opened(regulator, callback_requested=True)
    row, booking_id = await _book(world, regulator, UUID(call["id"]))
    assert (row.id, row.file) == (booking_id, None)
    seen = await read(regulator, call)
    assert seen["version"] == call["version"] + 1
    assert seen["regulated_by"] == {"role": "regulator", "person": None}
    (oriented,) = seen["outcomes"]
    assert oriented["outcome"] == "slot_orientation"
    assert (oriented["decision"], oriented["booking_id"]) == ("ORIENT", str(booking_id))
    assert await _mask(world, call) == MASK[Outcome.SLOT_ORIENTATION]
    async with world.database.unit_of_work() as uow:
        told = (await events.history(uow, UUID(call["id"])))[-1]
        row = await _row(uow, call)
        made = (
            await uow.single(select(call_outcomes).where(call_outcomes.c.call_id == row.id))
        ).one()
    assert row.regulated_by == {
        "client_id": str(regulator.secret.client_id), "role": "regulator", "person": None,
    }  # fmt: skip
    assert made.client_id == regulator.secret.client_id
    assert told.type == "call.outcome_added"
    assert told.data == {
        "outcome": "slot_orientation",
        "outcome_id": oriented["id"],
        "booking_id": str(booking_id),
    }
    refused = await regulator.delete(f"/v1/calls/{call['id']}/outcomes/{oriented['id']}")
    assert problem(refused, 409, "outcome-of-booking")["booking_id"] == str(booking_id)
    problem(await regulator.patch(f"/v1/calls/{call['id']}", {"void": True}), 409, "call-state")
    assert (await closed(regulator, call))["state"] == "closed"


async def test_the_clerk_who_books_has_not_regulated(world: World) -> None:
    osnp = await world.regulation(Role.OSNP)
    call = await opened(osnp)
    await _book(world, osnp, UUID(call["id"]))
    async with world.database.unit_of_work() as uow:
        assert (await _row(uow, call)).regulated_by is None


async def test_calls_that_nothing_can_be_booked_for(world: World) -> None:
    regulator = await world.regulator()
    done, void, open_ = [await opened(regulator) for _ in range(3)]
    await with_outcome(regulator, done, "other")
    await closed(regulator, done)
    await regulator.patch(f"/v1/calls/{void['id']}", {"void": True})
    stranger = await world.caller(Role.REGULATOR, await world.organization("sas"), "sas")
    pharmacist = await world.caller(Role.PHARMACIST, regulator.organization_id, "sas")
    for caller, call_id in (
        (regulator, UUID(done["id"])),
        (regulator, UUID(void["id"])),
        (regulator, new_id()),
        (stranger, UUID(open_["id"])),
        (pharmacist, UUID(open_["id"])),
    ):
        assert (await _book(world, caller, call_id))[0] is None
    async with world.database.unit_of_work() as uow:
        for caller in (stranger, pharmacist):
            with pytest.raises(CallNotFound):
                await door.readable(uow, _actor(caller), UUID(open_["id"]))
        assert (await door.readable(uow, _actor(regulator), UUID(open_["id"]))).state == "open"


async def test_the_doctor_sent_the_patient_to_the_emergency_department(world: World) -> None:
    regulator = await world.regulator()
    call = await opened(regulator)
    for value, version in ((True, 2), (True, 2), (False, 3)):
        async with world.database.unit_of_work() as uow:
            await door.set_sent_to_emergency(uow, UUID(call["id"]), value)
        seen = await read(regulator, call)
        assert (seen["sent_to_emergency"], seen["version"]) == (value, version)


async def test_nobody_is_null_and_not_the_json_value(world: World) -> None:
    regulator = await world.regulator()
    call = await opened(regulator)
    async with world.database.unit_of_work() as uow:
        row = (
            await uow.single(
                select(
                    calls.c.assigned_to.is_(None),
                    calls.c.regulated_by.is_(None),
                    calls.c.qualified_by.is_(None),
                ).where(calls.c.id == UUID(call["id"]))
            )
        ).one()
    assert tuple(row) == (True, True, True)
