"""Sessions over HTTP: creating, reading, ending; rights and refusals."""

import asyncio
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from service import agenda as room
from service.agenda.domain import SessionDraft, check_timetable, in_school_zone
from service.agenda.domain.timetable import Recurrence, SchoolZone, Timetable, Weekday
from service.identity import Role
from service.kernel import events
from service.kernel.ids import new_id
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
    today,
    weekday,
    weekly,
)
from tests.bookings.test_book import booked, request
from tests.conftest import Clock
from tests.support import PARIS, Caller, World, problem

PATH = "/v1/slot-sessions"


async def test_a_session_publishes_its_slots(world: World) -> None:
    doctor, day = await world.doctor(), in_days(3)
    found = await made(doctor, session(doctor, day, visibility=["SNP", "PRO"], note="Étage 2"))
    slots = await agenda(doctor)
    assert starts(slots) == [at(day, 14), at(day, 14, 20), at(day, 14, 40)]
    assert [slot["id"] for slot in slots] == found["slots"]
    assert {(tuple(s["visibility"]), s["note"], s["capacity"]) for s in slots} == {
        (("SNP", "PRO"), "Étage 2", 1)
    }
    assert (found["created"], found["skipped"], found["version"]) == (3, [], 1)
    assert (found["next_date"], found["date"]) == (day.isoformat(), day.isoformat())
    assert (found["start"], found["end"], found["zone"]) == ("14:00", "15:00", world.zone)
    assert (found["recurrence"], found["changes"]) == (None, None)
    assert await read(doctor, found) == found


async def test_slots_of_a_session_are_hidden_unless_said_and_can_be_booked(world: World) -> None:
    doctor, regulator = await world.doctor(), await world.regulator()
    found = await made(doctor, session(doctor, in_days(2)))
    slot = (await regulator.get(f"/v1/slots/{found['slots'][1]}")).json()
    assert slot["visibility"] == ["SNP"]
    assert (await booked(regulator, slot))["slot"]["id"] == slot["id"]


async def test_a_weekly_session_is_filled_eight_weeks_ahead(world: World) -> None:
    doctor, day = await world.doctor(), in_days(1)
    found = await made(doctor, weekly(doctor, day))
    assert found["created"] == 24
    assert {slot["session_id"] for slot in await agenda(doctor)} == {found["id"]}
    expected = [
        at(day + timedelta(weeks=week), 14, minute) for week in range(8) for minute in (0, 20, 40)
    ]
    assert starts(await agenda(doctor)) == expected
    assert found["recurrence"] == {
        "weekly": [weekday(day)],
        "until": None,
        "except": [],
        "skip_public_holidays": False,
        "skip_school_holidays": False,
        "school_zone": None,
    }


async def test_exceptions_and_the_end_of_a_recurrence(world: World) -> None:
    doctor, day = await world.doctor(), in_days(1)
    second, last = day + timedelta(weeks=1), day + timedelta(weeks=3)
    body = weekly(
        doctor, day, recurrence={"until": last.isoformat(), "except": [second.isoformat()]}
    )
    found = await made(doctor, body)
    days = {slot["starts_at"][:10] for slot in await agenda(doctor)}
    assert days == {(day + timedelta(weeks=n)).isoformat() for n in (0, 2, 3)}
    assert (found["created"], found["skipped"]) == (9, [])


async def test_the_first_date_may_fall_on_another_day_of_the_week(world: World) -> None:
    doctor, day = await world.doctor(), in_days(2)
    body = session(doctor, day, recurrence={"weekly": [weekday(day + timedelta(days=3))]})
    assert (await made(doctor, body))["next_date"] == (day + timedelta(days=3)).isoformat()


async def test_a_night_goes_over_midnight(world: World) -> None:
    doctor, day = await world.doctor(), in_days(2)
    await made(doctor, session(doctor, day, start="22:00", end="02:00", slot_minutes=120))
    assert starts(await agenda(doctor)) == [at(day, 22), at(day + timedelta(days=1), 0)]


async def test_a_session_of_today_publishes_what_is_still_to_come(world: World) -> None:
    doctor, before = await world.doctor(), datetime.now(ZoneInfo(PARIS))
    begun = at(before.date(), before.hour)
    end = before + timedelta(hours=2)
    body = session(
        doctor, before.date(), start=f"{before:%H}:00", end=f"{end:%H}:00", slot_minutes=10
    )
    answer = await doctor.post(PATH, body)
    assert answer.status_code == 201, answer.text
    every = [begun + timedelta(minutes=10 * n) for n in range(12)]
    published = starts(await agenda(doctor))
    assert published in [[s for s in every if s > now] for now in (before, datetime.now(UTC))]
    assert 0 < answer.json()["created"] == len(published) < len(every)


async def test_holidays_are_left_out_and_told(world: World) -> None:
    doctor, day = await world.doctor(), in_days(1)
    body = session(
        doctor,
        day,
        recurrence={
            "weekly": ["MO", "TU", "WE", "TH", "FR", "SA", "SU"],
            "skip_public_holidays": True,
            "skip_school_holidays": True,
            "school_zone": "B",
        },
    )
    found = await made(doctor, body)
    gone = {s["date"]: s["reason"] for s in found["skipped"]}
    assert set(gone.values()) <= {"public-holiday", "school-holiday"}
    assert found["created"] == 3 * (55 - len(gone))  # from tomorrow on
    assert all(s["slots"] == 3 for s in found["skipped"])
    assert not gone.keys() & {slot["starts_at"][:10] for slot in await agenda(doctor)}


@pytest.mark.parametrize(
    ("territory", "asked", "answered"),
    [
        ("36", None, "B"),
        ("86", None, "A"),
        ("36", "B", "B"),
        ("36", "A", "school-zone-not-here"),
        ("2A", None, "school-calendar-unknown"),
        ("974", "C", "school-calendar-unknown"),
        ("a00", None, "school-zone-missing"),
        ("a00", "C", "C"),
    ],
)
def test_the_school_zone_is_that_of_the_territory(
    territory: str, asked: str | None, answered: str
) -> None:
    day = date(2026, 12, 1)
    zone = SchoolZone(asked) if asked else None
    every = Recurrence(weekly=(Weekday.TU,), skip_school_holidays=True, school_zone=zone)
    found = in_school_zone(_draft(day, every), territory)
    errors = [error.code for error in check_timetable(found.timetable, day, territory)]
    assert found.timetable.recurrence
    assert (errors or [str(found.timetable.recurrence.school_zone)]) == [answered]
    # Moved to the place of another territory, it follows; without school holidays it needs none.
    elsewhere = in_school_zone(found, "75", found.timetable)
    assert elsewhere.timetable.recurrence
    assert elsewhere.timetable.recurrence.school_zone == "C"
    never = replace(every, skip_school_holidays=False, school_zone=None)
    assert in_school_zone(_draft(day, never), territory) == _draft(day, never)


def _draft(day: date, recurrence: Recurrence) -> SessionDraft:
    times = Timetable(
        date=day, start=time(14), end=time(15), slot_minutes=20, recurrence=recurrence
    )
    return SessionDraft(
        practitioner_id=None, location_id=UUID(int=0), timetable=times, modes=("AMB",),
        specialty=None, visibility=("SNP",), cpts_ids=(), organization_types=(),
        organization_ids=(), capacity=1, overbooking=0, walk_in=False, note=None,
    )  # fmt: skip


async def test_creating_is_told_once_for_the_session_and_once_a_slot(world: World) -> None:
    doctor = await world.doctor()
    found = await made(doctor, session(doctor, in_days(2)))
    async with world.database.unit_of_work() as uow:
        of_session = await events.history(uow, UUID(found["id"]))
        of_slot = await events.history(uow, UUID(found["slots"][0]))
    assert [e.type for e in of_session] == ["session.created"]
    assert of_session[0].data["created"] == 3
    assert [e.type for e in of_slot] == ["slot.published"]


async def test_a_session_that_meets_an_own_slot_publishes_nothing(world: World) -> None:
    doctor, day = await world.doctor(), in_days(1)
    third = await doctor.publish(at(day + timedelta(weeks=2), 14, 30))
    answer = await doctor.post(PATH, weekly(doctor, day))
    refused = problem(answer, 409, "overlapping-slot")
    assert refused["blocking_slots"] == [third["id"]]
    assert refused["dates"] == [(day + timedelta(weeks=2)).isoformat()]
    assert [slot["id"] for slot in await agenda(doctor)] == [third["id"]]
    assert (await doctor.get(PATH)).json()["items"] == []


async def test_what_overlaps_may_be_left_out(world: World) -> None:
    doctor, day = await world.doctor(), in_days(1)
    third = await doctor.publish(at(day + timedelta(weeks=2), 14, 30))
    found = await made(doctor, weekly(doctor, day, on_overlap="skip"))
    assert found["created"] == 22
    assert found["skipped"] == [
        {
            "date": (day + timedelta(weeks=2)).isoformat(),
            "reason": "overlapping-slot",
            "slots": 2,
            "blocking_slots": [third["id"]],
        }
    ]
    assert "on_overlap" not in found  # said once, of this creation
    answer = await doctor.post(PATH, weekly(doctor, day, on_overlap="shrug"))
    assert problem(answer, 422, "invalid")["errors"][0]["pointer"] == "#/on_overlap"


async def test_a_key_makes_one_session(world: World) -> None:
    doctor = await world.doctor()
    body = weekly(doctor, in_days(1))
    first = await doctor.post(PATH, body, key="a")
    again = await doctor.post(PATH, body, key="a")
    assert (again.status_code, again.json()) == (201, first.json())
    assert again.headers["Idempotency-Replayed"] == "true"
    assert len((await doctor.get(PATH)).json()["items"]) == 1
    problem(await doctor.post(PATH, body), 409, "overlapping-slot")


async def test_what_is_withdrawn_or_moved_by_hand_stays_so(world: World) -> None:
    doctor, day = await world.doctor(), in_days(1)
    found = await made(doctor, weekly(doctor, day))
    one, two = found["slots"][0], found["slots"][1]
    assert (await doctor.delete(f"/v1/slots/{one}", if_match="*")).status_code == 204
    moved = {"starts_at": at(day, 18).isoformat(), "ends_at": at(day, 18, 20).isoformat()}
    assert (await doctor.patch(f"/v1/slots/{two}", moved, if_match="*")).status_code == 200
    after = await amended(doctor, found, note="Nouveau")
    assert (after["changes"]["created"], after["skipped"]) == (0, [])
    of_day = [s for s in await agenda(doctor) if s["starts_at"].startswith(day.isoformat())]
    assert starts(of_day) == [at(day, 14, 40), at(day, 18)]
    assert {s["note"] for s in of_day} == {"Nouveau"}


# --- ending -------------------------------------------------------------------------------------


async def test_ending_withdraws_free_slots_and_leaves_booked_ones(world: World) -> None:
    doctor, regulator = await world.doctor(), await world.regulator()
    found = await made(doctor, weekly(doctor, in_days(1)))
    slot = (await regulator.get(f"/v1/slots/{found['slots'][4]}")).json()
    booking = await booked(regulator, slot)
    path = f"{PATH}/{found['id']}"
    problem(await doctor.delete(path), 428, "precondition-required")
    problem(await doctor.delete(path, if_match=9), 412, "version-mismatch")
    assert (await doctor.delete(path, if_match=1)).status_code == 204
    assert await agenda(doctor) == []
    assert [s["id"] for s in await agenda(doctor, "full")] == [slot["id"]]
    assert (await regulator.get(f"/v1/bookings/{booking['id']}")).json()["state"] == "booked"
    after = await read(doctor, found)
    assert after["ended_at"] is not None
    assert (after["next_date"], after["slots"]) == (None, [slot["id"]])
    assert (await doctor.delete(path, if_match=2)).status_code == 204
    refused = await doctor.patch(path, {"note": "x"}, if_match=2)
    problem(refused, 409, "session-ended")
    async with world.database.unit_of_work() as uow:
        told = await events.history(uow, UUID(found["id"]))
        of_slot = await events.history(uow, UUID(found["slots"][0]))
    assert [e.type for e in told] == ["session.created", "session.ended"]
    assert (told[1].data["withdrawn"], told[1].data["kept"]) == (23, 1)
    assert [e.type for e in of_slot] == ["slot.published", "slot.withdrawn"]
    assert of_slot[1].data["session_id"] == found["id"]


async def _cancel(caller: Caller, booking: Body) -> None:
    answer = await caller.post(f"/v1/bookings/{booking['id']}/cancellation", {"by": "patient"})
    assert answer.status_code == 200, answer.text


async def test_a_seat_given_back_to_an_ended_session_does_not_reopen(world: World) -> None:
    """The last patient gone, nothing is left of the session; it can be made anew."""
    doctor, regulator, day = await world.doctor(), await world.regulator(), in_days(1)
    body = session(doctor, day, capacity=2)
    found = await made(doctor, body)
    slot = {"id": found["slots"][1]}
    first, last = [await booked(regulator, slot) for _ in range(2)]
    assert (await doctor.delete(f"{PATH}/{found['id']}", if_match=1)).status_code == 204
    await _cancel(regulator, first)
    assert [s["id"] for s in await agenda(doctor, "open", "full")] == [slot["id"]]
    await _cancel(regulator, last)
    assert await agenda(doctor, "open", "full") == []
    problem(await regulator.post("/v1/bookings", request(slot)), 409, "slot-withdrawn")
    async with world.database.unit_of_work() as uow:
        told = await events.history(uow, UUID(slot["id"]))
    assert [e.type for e in told] == ["slot.published", "slot.withdrawn"]
    assert told[1].data["session_id"] == found["id"]
    assert told[1].organization_id == regulator.organization_id
    assert (await made(doctor, body))["created"] == 3


async def test_a_place_that_left_the_session_does_not_reopen(world: World) -> None:
    """Neither by a cancellation nor by moving the patient; a place that it has reopens."""
    doctor, regulator, day = await world.doctor(), await world.regulator(), in_days(1)
    found = await made(doctor, session(doctor, day))
    kept, moved, gone = [await booked(regulator, {"id": i}) for i in found["slots"]]
    await amended(doctor, found, start="13:40", end="14:20")
    spare = {"slot_id": (await doctor.publish(at(day, 18)))["id"]}
    answer = await regulator.post(f"/v1/bookings/{moved['id']}/rescheduling", spare)
    assert answer.status_code == 200, answer.text
    await _cancel(regulator, gone)
    assert starts(await agenda(doctor, "open", "full")) == [
        at(day, 13, 40), at(day, 14), at(day, 18),
    ]  # fmt: skip
    await _cancel(regulator, kept)
    assert starts(await agenda(doctor)) == [at(day, 13, 40), at(day, 14)]


async def test_what_the_doctor_moved_by_hand_reopens_with_its_session(world: World) -> None:
    doctor, regulator, day = await world.doctor(), await world.regulator(), in_days(1)
    found = await made(doctor, weekly(doctor, day))
    by_hand = {"id": found["slots"][0]}
    moved = {"starts_at": at(day, 18).isoformat(), "ends_at": at(day, 18, 20).isoformat()}
    path = f"/v1/slots/{by_hand['id']}"
    assert (await doctor.patch(path, moved, if_match="*")).status_code == 200
    booking = await booked(regulator, by_hand)
    await _cancel(regulator, booking)
    assert by_hand["id"] in {s["id"] for s in await agenda(doctor)}


async def test_ending_a_session_while_its_patient_cancels_leaves_nothing_open(
    world: World,
) -> None:
    doctor, regulator = await world.doctor(), await world.regulator()
    for n in range(6):
        found = await made(doctor, session(doctor, in_days(n + 1)))
        bookings = [await booked(regulator, {"id": i}) for i in found["slots"]]
        await asyncio.gather(
            *(_cancel(regulator, booking) for booking in bookings),
            doctor.delete(f"{PATH}/{found['id']}", if_match=1),
        )
        assert await agenda(doctor, "open", "full") == []


async def test_withdrawal_beats_a_hold(world: World) -> None:
    doctor, regulator = await world.doctor(), await world.regulator()
    found = await made(doctor, session(doctor, in_days(1)))
    hold = (await regulator.post(f"/v1/slots/{found['slots'][0]}/holds")).json()
    assert (await doctor.delete(f"{PATH}/{found['id']}", if_match=1)).status_code == 204
    assert await agenda(doctor) == []
    problem(await regulator.delete(f"/v1/holds/{hold['id']}"), 404, "hold-not-found")


# --- whose it is --------------------------------------------------------------------------------


async def test_the_list_is_mine_newest_first(world: World) -> None:
    doctor, other = await world.doctor(), await world.doctor()
    mine = [await made(doctor, session(doctor, in_days(n))) for n in (1, 2, 3)]
    await made(other, session(other, in_days(1)))
    first = (await doctor.get(PATH, params={"limit": 2})).json()
    rest = (await doctor.get(PATH, params={"limit": 2, "cursor": first["next_cursor"]})).json()
    found = first["items"] + rest["items"]
    assert [s["id"] for s in found] == [s["id"] for s in reversed(mine)]
    assert [s["next_date"] for s in found] == [in_days(n).isoformat() for n in (3, 2, 1)]
    assert rest["next_cursor"] is None
    theirs = (await doctor.get(PATH, params={"practitioner": str(other.practitioner_id)})).json()
    assert theirs["items"] == []


async def test_somebody_elses_session_does_not_exist(world: World) -> None:
    doctor, other = await world.doctor(), await world.doctor()
    path = f"{PATH}/{(await made(doctor, session(doctor, in_days(1))))['id']}"
    problem(await other.get(path), 404, "session-not-found")
    problem(await other.patch(path, {"note": "x"}, if_match=1), 404, "session-not-found")
    problem(await other.delete(path, if_match=1), 404, "session-not-found")
    wrong = session(other, in_days(2), practitioner_id=str(doctor.practitioner_id))
    problem(await other.post(PATH, wrong), 403, "not-my-practitioner")
    problem(await (await world.regulator()).get(path), 403, "role-lacks-operation")


async def test_a_centre_publishes_before_naming_who_will_be_there(world: World) -> None:
    organization = await world.organization("csnp")
    location = await world.location(organization)
    centre = await world.caller(Role.DELEGATE, organization, "csnp")
    centre.location_id = location
    body = weekly(centre, in_days(1), capacity=4)
    found = await made(centre, body)
    assert found["created"] == 24
    assert (await amended(centre, found, capacity=5))["changes"]["amended"] == 24
    assert (await made(centre, body))["created"] == 24  # side by side: nobody is named
    stranger = await world.caller(Role.DELEGATE, await world.organization("csnp"), "csnp")
    problem(await stranger.get(f"{PATH}/{found['id']}"), 404, "session-not-found")


# --- what is refused ----------------------------------------------------------------------------


def _pointers(body: Body) -> list[tuple[str, str]]:
    return [(error["pointer"], error["code"]) for error in body["errors"]]


@pytest.mark.parametrize(
    ("members", "pointer", "code"),
    [
        ({"end": "14:00"}, "#/end", "session-without-length"),
        ({"slot_minutes": 61}, "#/slot_minutes", "slot-too-long"),
        ({"end": "23:00", "slot_minutes": 1}, "#/slot_minutes", "too-many-slots"),
        ({"date": in_days(-1).isoformat()}, "#/date", "session-in-the-past"),
        ({"date": in_days(400).isoformat()}, "#/date", "session-too-far"),
        ({"location_id": str(new_id())}, "#/location_id", "location-not-yours"),
        ({"practitioner_id": None}, "#/practitioner_id", "practitioner-missing"),
        (
            {"recurrence": {"weekly": ["MO"], "until": today().isoformat()}},
            "#/recurrence/until",
            "until-before-date",
        ),
        (
            {"recurrence": {"weekly": ["MO"], "skip_school_holidays": True}},
            "#/recurrence/school_zone",
            "school-zone-missing",
        ),
    ],
)
async def test_a_rule_that_is_broken_is_named_by_its_member(
    world: World, members: Body, pointer: str, code: str
) -> None:
    doctor = await world.doctor()
    answer = await doctor.post(PATH, {**session(doctor, in_days(2)), **members})
    assert _pointers(problem(answer, 422, "session-invalid")) == [(pointer, code)]
    assert await agenda(doctor) == []


async def test_a_session_that_never_takes_place_is_refused(world: World) -> None:
    doctor, day = await world.doctor(), in_days(2)
    tomorrow = {"weekly": [weekday(in_days(3))], "until": day.isoformat()}
    excepted = {"weekly": [weekday(day)], "until": day.isoformat(), "except": [day.isoformat()]}
    for recurrence in (tomorrow, excepted):
        answer = await doctor.post(PATH, session(doctor, day, recurrence=recurrence))
        errors = _pointers(problem(answer, 422, "session-invalid"))
        assert errors == [("#/date", "session-empty")]


async def test_a_session_beyond_eight_weeks_waits(world: World, clock: Clock) -> None:
    doctor, day = await world.doctor(), in_days(80)
    found = await made(doctor, weekly(doctor, day))
    assert (found["created"], found["next_date"]) == (0, day.isoformat())
    await clock.shift(timedelta(weeks=4))
    await room.extend(world.database)
    assert (await read(doctor, found))["created"] == 3
    once = await made(doctor, session(doctor, day, start="16:00", end="17:00"))
    assert once["created"] == 3  # what takes place once is published at once


@pytest.mark.parametrize(
    ("member", "value", "code"),
    [
        ("start", "2 pm", "local-time"),
        ("start", "24:00", "local-time"),
        ("end", "14:00:30", "local-time"),
        ("date", "tomorrow", "local-date"),
        ("date", "2026-02-30", "local-date"),
        ("date", 20260101, "local-date"),
        ("slot_minutes", 0, "greater-than-equal"),
        ("specialty", "SM99", "unknown-code"),
        ("colour", "red", "extra-forbidden"),
        ("starts_at", "2026-12-01T14:00:00+01:00", "extra-forbidden"),
    ],
)
async def test_the_shape_of_the_body(world: World, member: str, value: Any, code: str) -> None:
    doctor = await world.doctor()
    answer = await doctor.post(PATH, {**session(doctor, in_days(2)), member: value})
    assert _pointers(problem(answer, 422, "invalid")) == [(f"#/{member}", code)]


async def test_a_recurrence_names_known_days(world: World) -> None:
    doctor = await world.doctor()
    body = session(doctor, in_days(2), recurrence={"weekly": ["MO", "XX"]})
    assert _pointers(problem(await doctor.post(PATH, body), 422, "invalid")) == [
        ("#/recurrence/weekly/1", "enum")
    ]


async def test_times_are_those_of_the_island(world: World) -> None:
    island = await World(world.database, world.http, zone="Indian/Reunion").begin()
    doctor, day = await island.doctor(), today("Indian/Reunion") + timedelta(days=2)
    found = await made(doctor, session(doctor, day))
    assert (found["zone"], found["created"]) == ("Indian/Reunion", 3)
    first = (await doctor.get(f"/v1/slots/{found['slots'][0]}")).json()
    assert first["starts_at"] == f"{day}T14:00:00+04:00"
    assert date.fromisoformat(found["next_date"]) == day
    assert datetime.fromisoformat(found["created_at"]).utcoffset() == timedelta(hours=4)
