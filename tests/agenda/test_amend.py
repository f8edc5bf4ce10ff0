"""Amending a session: free slots to come follow, everything else stays."""

from datetime import timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from service.kernel import events
from tests.agenda.support import (
    Body,
    agenda,
    amended,
    at,
    in_days,
    made,
    read,
    session,
    starts,
    weekday,
    weekly,
)
from tests.bookings.test_book import booked, request
from tests.conftest import Clock
from tests.support import PARIS, Caller, World, problem

PATH = "/v1/slot-sessions"


def _numbers(after: Body) -> Body:
    return {name: n for name, n in after["changes"].items() if name != "kept_slots"}


async def test_members_change_in_place_and_a_booked_slot_keeps_its_own(world: World) -> None:
    doctor, regulator = await world.doctor(), await world.regulator()
    found = await made(doctor, weekly(doctor, in_days(1)))
    middle = found["slots"][13]
    await booked(regulator, (await regulator.get(f"/v1/slots/{middle}")).json())
    held = found["slots"][14]
    assert (await regulator.post(f"/v1/slots/{held}/holds")).status_code == 201
    after = await amended(doctor, found, visibility=["SNP", "PRO"], note="Salle 3")
    assert _numbers(after) == {"created": 0, "amended": 23, "withdrawn": 0, "kept": 1}
    assert [(k["slot_id"], k["reason"]) for k in after["changes"]["kept_slots"]] == [
        (middle, "booked")
    ]
    assert after["slots"] == found["slots"]
    slots = {s["id"]: s for s in await agenda(doctor, "open", "full")}
    assert len(slots) == 24
    for slot_id, slot in slots.items():
        kept = slot_id == middle
        assert slot["note"] == (None if kept else "Salle 3")
        assert slot["visibility"] == (["SNP"] if kept else ["SNP", "PRO"])
        assert (slot["version"], slot["held"]) == (2, 1 if slot_id == held else 0)
    async with world.database.unit_of_work() as uow:
        told = await events.history(uow, UUID(found["slots"][0]))
        of_session = await events.history(uow, UUID(found["id"]))
    assert [e.type for e in told] == ["slot.published", "slot.amended"]
    assert [e.type for e in of_session] == ["session.created", "session.amended"]
    assert of_session[1].data["changed"] == ["note", "visibility"]


async def test_later_hours_withdraw_what_falls_out_and_publish_what_comes_in(world: World) -> None:
    doctor, regulator, day = await world.doctor(), await world.regulator(), in_days(1)
    found = await made(doctor, session(doctor, day))
    first = found["slots"][0]
    await booked(regulator, (await regulator.get(f"/v1/slots/{first}")).json())
    after = await amended(doctor, found, start="14:20", end="15:40")
    assert _numbers(after) == {"created": 2, "amended": 0, "withdrawn": 0, "kept": 1}
    slots = await agenda(doctor, "open", "full")
    assert starts(slots) == [at(day, 14, m) for m in (0, 20, 40)] + [at(day, 15), at(day, 15, 20)]
    back = await amended(doctor, after, start="14:00", end="14:40")
    assert _numbers(back) == {"created": 0, "amended": 0, "withdrawn": 3, "kept": 1}
    assert starts(await agenda(doctor, "open", "full")) == [at(day, 14), at(day, 14, 20)]


async def test_a_new_length_goes_around_what_is_booked(world: World) -> None:
    doctor, regulator, day = await world.doctor(), await world.regulator(), in_days(1)
    found = await made(doctor, session(doctor, day, end="16:00"))
    taken = found["slots"][1]  # 14:20
    await booked(regulator, (await regulator.get(f"/v1/slots/{taken}")).json())
    after = await amended(doctor, found, slot_minutes=30)
    assert _numbers(after) == {"created": 2, "amended": 0, "withdrawn": 5, "kept": 1}
    assert after["skipped"] == [
        {
            "date": day.isoformat(),
            "reason": "overlapping-slot",
            "slots": 2,
            "blocking_slots": [taken],
        }
    ]
    assert starts(await agenda(doctor)) == [at(day, 15), at(day, 15, 30)]
    assert (await read(doctor, after))["skipped"] == after["skipped"]


async def test_dates_that_overlap_now_are_left_out_and_told(world: World) -> None:
    doctor, day = await world.doctor(), in_days(1)
    found = await made(doctor, weekly(doctor, day))
    other = await doctor.publish(at(day + timedelta(weeks=3), 15, 10))
    after = await amended(doctor, found, end="16:00")
    assert after["changes"]["created"] == 3 * 8 - 2
    assert after["skipped"] == [
        {
            "date": (day + timedelta(weeks=3)).isoformat(),
            "reason": "overlapping-slot",
            "slots": 2,
            "blocking_slots": [other["id"]],
        }
    ]


async def _hold(caller: Caller, slot_id: str) -> str:
    answer = await caller.post(f"/v1/slots/{slot_id}/holds")
    assert answer.status_code == 201, answer.text
    hold_id: str = answer.json()["id"]
    return hold_id


async def test_a_held_slot_that_falls_out_of_the_session_is_withdrawn(world: World) -> None:
    """The doctor gave that day up: whoever is on the line reads it, nobody books it later."""
    doctor, regulator, day = await world.doctor(), await world.regulator(), in_days(1)
    found = await made(doctor, session(doctor, day))
    late, later = found["slots"][1:]
    hold_id = await _hold(regulator, late)
    await booked(regulator, {"id": later})
    after = await amended(doctor, found, end="14:20")
    assert _numbers(after) == {"created": 0, "amended": 0, "withdrawn": 1, "kept": 1}
    assert after["changes"]["kept_slots"] == [
        {
            "slot_id": later,
            "starts_at": at(day, 14, 40).astimezone(ZoneInfo(PARIS)).isoformat(),
            "reason": "booked-outside-session",
        }
    ]
    body = request({"id": late}, hold_id=hold_id)
    problem(await regulator.post("/v1/bookings", body), 409, "slot-withdrawn")
    problem(await regulator.delete(f"/v1/holds/{hold_id}"), 404, "hold-not-found")
    assert starts(await agenda(doctor, "open", "full")) == [at(day, 14), at(day, 14, 40)]


@pytest.mark.parametrize("moved", [True, False])
async def test_a_held_slot_follows_its_session(world: World, *, moved: bool) -> None:
    """As when that slot alone is amended: its hold ends when it moves, and only then."""
    doctor, regulator, day = await world.doctor(), await world.regulator(), in_days(1)
    found = await made(doctor, session(doctor, day))
    hold_id = await _hold(regulator, found["slots"][0])
    place = await world.location(doctor.organization_id, (46.9, 1.8)) if moved else None
    changes = {"location_id": str(place)} if moved else {"note": "Salle 3"}
    after = await amended(doctor, found, **changes)
    assert _numbers(after) == {"created": 0, "amended": 3, "withdrawn": 0, "kept": 0}
    slots = await agenda(doctor)
    assert {name: {s[name] for s in slots} for name in changes} == {
        name: {value} for name, value in changes.items()
    }
    answer = await regulator.post(
        "/v1/bookings", request({"id": found["slots"][0]}, hold_id=hold_id)
    )
    if moved:
        problem(answer, 409, "hold-expired")
    else:
        assert answer.status_code == 201, answer.text


async def test_fewer_seats_end_the_latest_holds(world: World) -> None:
    doctor, regulator, day = await world.doctor(), await world.regulator(), in_days(1)
    found = await made(doctor, session(doctor, day, capacity=2))
    first, second = [await _hold(regulator, found["slots"][0]) for _ in range(2)]
    await amended(doctor, found, capacity=1)
    slot = {"id": found["slots"][0]}
    refused = await regulator.post("/v1/bookings", request(slot, hold_id=second))
    problem(refused, 409, "hold-expired")
    await booked(regulator, slot, hold_id=first)


async def test_another_day_of_the_week(world: World) -> None:
    doctor, day = await world.doctor(), in_days(1)
    found = await made(doctor, weekly(doctor, day))
    after = await amended(doctor, found, recurrence={"weekly": [weekday(in_days(3))]})
    assert _numbers(after) == {"created": 24, "amended": 0, "withdrawn": 24, "kept": 0}
    assert {s["starts_at"][:10] for s in await agenda(doctor)} == {
        (in_days(3) + timedelta(weeks=n)).isoformat() for n in range(8)
    }


async def test_a_recurrence_is_patched_member_by_member(world: World) -> None:
    doctor, day = await world.doctor(), in_days(1)
    found = await made(doctor, weekly(doctor, day))
    last = day + timedelta(weeks=4)
    after = await amended(doctor, found, recurrence={"until": last.isoformat()})
    assert after["recurrence"]["weekly"] == [weekday(day)]
    assert after["changes"]["withdrawn"] == 9
    after = await amended(doctor, after, recurrence={"except": [day.isoformat()]})
    assert (after["changes"]["withdrawn"], after["recurrence"]["until"]) == (3, last.isoformat())
    after = await amended(doctor, after, recurrence={"until": None, "except": None})
    assert (after["recurrence"]["until"], after["recurrence"]["except"]) == (None, [])
    assert after["changes"]["created"] == 12
    once = await amended(doctor, after, recurrence=None)
    assert (once["recurrence"], once["changes"]["withdrawn"]) == (None, 21)
    assert starts(await agenda(doctor)) == [at(day, 14, m) for m in (0, 20, 40)]
    answer = await doctor.patch(
        f"{PATH}/{found['id']}", {"recurrence": {"until": None}}, if_match="*"
    )
    assert problem(answer, 422, "session-invalid")["errors"][0]["pointer"] == "#/recurrence/weekly"


async def test_another_place(world: World) -> None:
    doctor, day = await world.doctor(), in_days(1)
    found = await made(doctor, session(doctor, day))
    second = await world.location(doctor.organization_id, (46.9, 1.8), reduced_mobility=True)
    after = await amended(doctor, found, location_id=str(second))
    assert _numbers(after) == {"created": 0, "amended": 3, "withdrawn": 0, "kept": 0}
    slots = await agenda(doctor)
    assert {(s["location_id"], s["location"]["reduced_mobility"]) for s in slots} == {
        (str(second), True)
    }
    foreign = (await world.doctor()).location_id
    answer = await doctor.patch(
        f"{PATH}/{found['id']}", {"location_id": str(foreign)}, if_match="*"
    )
    problem(answer, 422, "session-invalid")


async def test_past_slots_stay(world: World, clock: Clock) -> None:
    doctor, day = await world.doctor(), in_days(1)
    found = await made(doctor, weekly(doctor, day))
    await clock.shift(timedelta(days=3))
    after = await amended(doctor, found, start="16:00", end="17:00", note="Après")
    assert _numbers(after) == {"created": 24, "amended": 0, "withdrawn": 21, "kept": 0}
    past = await agenda(doctor, "past")
    assert starts(past) == [at(day, 14, m) for m in (0, 20, 40)]
    assert {s["note"] for s in past} == {None}
    coming = [at(day + timedelta(weeks=n), 16, m) for n in range(1, 9) for m in (0, 20, 40)]
    assert starts(await agenda(doctor)) == coming


async def test_a_stale_version_changes_nothing(world: World) -> None:
    doctor = await world.doctor()
    found = await made(doctor, session(doctor, in_days(1)))
    path = f"{PATH}/{found['id']}"
    problem(await doctor.patch(path, {"note": "x"}), 428, "precondition-required")
    await amended(doctor, found, note="y")
    problem(await doctor.patch(path, {"note": "x"}, if_match=1), 412, "version-mismatch")
    assert {s["note"] for s in await agenda(doctor)} == {"y"}


@pytest.mark.parametrize(
    ("member", "code"),
    [
        ("date", "required"),
        ("start", "required"),
        ("modes", "required"),
        ("practitioner_id", "extra-forbidden"),
        ("external_id", "extra-forbidden"),
    ],
)
async def test_what_cannot_be_removed(world: World, member: str, code: str) -> None:
    doctor = await world.doctor()
    found = await made(doctor, session(doctor, in_days(1)))
    answer = await doctor.patch(f"{PATH}/{found['id']}", {member: None}, if_match=1)
    body = problem(answer, 422, "invalid")
    assert [(e["pointer"], e["code"]) for e in body["errors"]] == [(f"#/{member}", code)]


async def test_a_note_can_be_removed(world: World) -> None:
    doctor = await world.doctor()
    found = await made(doctor, session(doctor, in_days(1), note="x", specialty="SM54"))
    await amended(doctor, found, note=None, specialty=None)
    assert {(s["note"], s["specialty"]) for s in await agenda(doctor)} == {(None, None)}
