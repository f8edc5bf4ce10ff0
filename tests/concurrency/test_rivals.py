"""Real rivals, real commits: whatever the interleaving, no seat is sold twice."""

import asyncio
import random
from collections import Counter
from typing import Any

import httpx
from sqlalchemy import text

from service.kernel.db import Database
from service.kernel.wall import as_upkeep
from tests.bookings.test_book import booked, request
from tests.support import Caller, World, patient, soon


def statuses(answers: list[httpx.Response]) -> Counter[int]:
    """Count the answers by status."""
    return Counter(answer.status_code for answer in answers)


async def seats(database: Database, slot_id: str) -> tuple[int, int, int]:
    """Return booked seats by the slot row, by the booking rows, and by their events."""
    async with database.unit_of_work() as uow:
        row = (
            await uow.execute(
                text(
                    """SELECT (SELECT booked FROM slots WHERE id = CAST(:slot AS uuid)) AS seats,
                              (SELECT count(*) FROM bookings
                               WHERE slot_id = CAST(:slot AS uuid)
                               AND state <> 'cancelled') AS rows,
                              (SELECT count(*) FROM events WHERE type = 'booking.created'
                               AND CAST(data->>'slot_id' AS uuid) = CAST(:slot AS uuid)) AS told"""
                ),
                {"slot": slot_id},
            )
        ).one()
    return row.seats, row.rows, row.told


async def test_two_hundred_rivals_on_one_slot_give_one_booking(
    world: World, database: Database
) -> None:
    doctor, regulator = await world.doctor(), await world.regulator()
    slot = await doctor.publish()
    answers = await asyncio.gather(
        *(regulator.post("/v1/bookings", request(slot)) for _ in range(200))
    )
    assert statuses(answers) == {201: 1, 409: 199}
    refused = {a.json()["code"] for a in answers if a.status_code == 409}
    assert refused == {"slot-taken"}
    assert await seats(database, slot["id"]) == (1, 1, 1)
    async with database.unit_of_work() as uow:
        await as_upkeep(uow)
        files = await uow.execute(
            text("SELECT count(*) FROM patient_files WHERE territory = :territory"),
            {"territory": world.territory},
        )
        assert files.scalar_one() == 1


async def test_twenty_rivals_holding_two_seats_give_two_holds(world: World) -> None:
    doctor = await world.doctor()
    slot = await doctor.publish(capacity=2)
    rivals = [await world.regulator() for _ in range(5)]
    answers = await asyncio.gather(
        *(rivals[n % 5].post(f"/v1/slots/{slot['id']}/holds") for n in range(20))
    )
    assert statuses(answers) == {201: 2, 409: 18}


async def test_holds_and_bookings_together_never_exceed_capacity(
    world: World, database: Database
) -> None:
    doctor, regulator = await world.doctor(), await world.regulator()
    pharmacist = await world.pharmacist()
    for n in range(8):
        slot = await doctor.publish(
            soon(2 + n),
            capacity=3,
            visibility=["SNP", "PRO"],
        )

        async def rival(caller: Caller, slot: dict[str, Any] = slot) -> None:
            if random.random() < 0.5:
                await caller.post("/v1/bookings", request(slot))
                return
            hold = await caller.post(f"/v1/slots/{slot['id']}/holds")
            if hold.status_code != 201:
                return
            await asyncio.sleep(random.random() / 50)
            if random.random() < 0.3:
                await caller.delete(f"/v1/holds/{hold.json()['id']}")
                return
            answer = await caller.post("/v1/bookings", request(slot, hold_id=hold.json()["id"]))
            # A live hold is a promise: whoever presents it gets the seat.
            assert answer.status_code == 201, answer.text

        await asyncio.gather(*(rival(random.choice((regulator, pharmacist))) for _ in range(12)))
        booked_seats, rows, events = await seats(database, slot["id"])
        assert booked_seats == rows == events
        read = (await doctor.get(f"/v1/slots/{slot['id']}")).json()
        assert read["booked"] + read["held"] <= 3
        await doctor.patch(f"/v1/slots/{slot['id']}", {"note": "x"}, if_match="*")


async def test_parallel_duplicates_of_one_key_make_one_booking(
    world: World, database: Database
) -> None:
    doctor, regulator = await world.doctor(), await world.regulator()
    slot = await doctor.publish(capacity=5)
    body = request(slot)
    answers = await asyncio.gather(
        *(regulator.post("/v1/bookings", body, key="once") for _ in range(20))
    )
    assert statuses(answers) == {201: 20}
    assert len({a.text for a in answers}) == 1
    replayed = [a.headers.get("Idempotency-Replayed") for a in answers]
    assert Counter(replayed) == {None: 1, "true": 19}
    assert await seats(database, slot["id"]) == (1, 1, 1)


async def test_the_same_key_with_other_bodies_has_one_effect(
    world: World, database: Database
) -> None:
    doctor, regulator = await world.doctor(), await world.regulator()
    slot = await doctor.publish(capacity=5)
    answers = await asyncio.gather(
        *(regulator.post("/v1/bookings", request(slot), key="reused") for _ in range(10))
    )
    assert statuses(answers) == {201: 1, 422: 9}
    assert await seats(database, slot["id"]) == (1, 1, 1)


async def test_one_person_booked_twice_at_once_is_booked_once(world: World) -> None:
    regulator = await world.regulator()
    doctors = [await world.doctor() for _ in range(6)]
    at = soon(5)
    slots = [await doctor.publish(at) for doctor in doctors]
    who = patient()
    answers = await asyncio.gather(
        *(regulator.post("/v1/bookings", request(slot, patient_file=who)) for slot in slots)
    )
    assert statuses(answers) == {201: 1, 409: 5}
    booked_now = [
        (await doctor.get(f"/v1/slots/{slot['id']}")).json()["booked"]
        for doctor, slot in zip(doctors, slots, strict=True)
    ]
    assert sum(booked_now) == 1


async def test_crossed_moves_between_full_slots_are_both_refused(world: World) -> None:
    doctor, regulator = await world.doctor(), await world.regulator()
    for n in range(5):
        one, two = await doctor.publish(soon(2 + 4 * n)), await doctor.publish(soon(4 + 4 * n))
        first, second = await booked(regulator, one), await booked(regulator, two)
        answers = await asyncio.gather(
            regulator.post(f"/v1/bookings/{first['id']}/rescheduling", {"slot_id": two["id"]}),
            regulator.post(f"/v1/bookings/{second['id']}/rescheduling", {"slot_id": one["id"]}),
        )
        assert statuses(list(answers)) == {409: 2}


async def test_many_moves_among_few_slots_lose_nothing(world: World, database: Database) -> None:
    doctor, regulator = await world.doctor(), await world.regulator()
    slots = [await doctor.publish(soon(2 + n), capacity=3) for n in range(4)]
    bookings = [(await booked(regulator, slots[n % 4]))["id"] for n in range(8)]

    async def mover(n: int) -> None:
        chance = random.Random(n)
        for _ in range(10):
            booking, slot = chance.choice(bookings), chance.choice(slots)
            answer = await regulator.post(
                f"/v1/bookings/{booking}/rescheduling", {"slot_id": slot["id"]}
            )
            assert answer.status_code in {200, 409, 422}, answer.text

    await asyncio.gather(*(mover(n) for n in range(8)))
    counted = [await seats(database, slot["id"]) for slot in slots]
    assert all(by_slot == by_rows <= 3 for by_slot, by_rows, _ in counted)
    assert sum(by_rows for _, by_rows, _ in counted) == len(bookings)


async def test_withdrawing_and_booking_at_once_never_both_succeed(world: World) -> None:
    doctor, regulator = await world.doctor(), await world.regulator()
    for n in range(10):
        slot = await doctor.publish(soon(2 + n))
        withdrawal, booking = await asyncio.gather(
            doctor.delete(f"/v1/slots/{slot['id']}", if_match="*"),
            regulator.post("/v1/bookings", request(slot)),
        )
        assert {withdrawal.status_code, booking.status_code} in ({204, 409}, {409, 201}), (
            withdrawal.text,
            booking.text,
        )


async def test_parallel_publishers_of_one_agenda_do_not_overlap(world: World) -> None:
    doctor = await world.doctor()
    at = soon(6)
    answers = await asyncio.gather(*(doctor.post("/v1/slots", doctor.slot(at)) for _ in range(12)))
    assert statuses(answers) == {201: 1, 409: 11}
