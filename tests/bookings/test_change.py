"""Cancelling, rescheduling, reporting, reading: both sides, every refusal."""

import asyncio
from datetime import timedelta

import httpx

from service.identity import Role
from service.kernel.db import Database
from service.kernel.ids import new_id
from tests.bookings.test_book import booked, request
from tests.conftest import Clock
from tests.support import World, patient, problem, soon


async def test_a_cancelled_seat_reopens(world: World) -> None:
    doctor, regulator = await world.doctor(), await world.regulator()
    slot = await doctor.publish()
    made = await booked(regulator, slot)
    cancelled = await regulator.post(
        f"/v1/bookings/{made['id']}/cancellation",
        {"by": "patient", "reason": "va mieux"},
        if_match=made["version"],
    )
    assert cancelled.status_code == 200
    assert cancelled.json()["state"] == "cancelled"
    assert cancelled.json()["cancellation"]["by"] == "patient"
    assert cancelled.headers["ETag"] == '"2"'
    again = await regulator.post(f"/v1/bookings/{made['id']}/cancellation", {"by": "patient"})
    problem(again, 409, "booking-state")
    assert await booked(regulator, slot)


async def test_who_cancels_must_fit_the_callers_side(world: World) -> None:
    doctor, regulator = await world.doctor(), await world.regulator()
    made = await booked(regulator, await doctor.publish())
    path = f"/v1/bookings/{made['id']}/cancellation"
    problem(await regulator.post(path, {"by": "doctor"}), 422, "booking-invalid")
    problem(await doctor.post(path, {"by": "requester"}), 422, "booking-invalid")
    problem(await doctor.post(path, {"by": "system"}), 422, "invalid")
    assert (await doctor.post(path, {"by": "doctor"})).json()["cancellation"]["by"] == "doctor"


async def test_a_stale_version_changes_nothing(world: World) -> None:
    doctor, regulator = await world.doctor(), await world.regulator()
    made = await booked(regulator, await doctor.publish())
    path = f"/v1/bookings/{made['id']}/cancellation"
    problem(await regulator.post(path, {"by": "patient"}, if_match=7), 412, "version-mismatch")
    assert (await regulator.get(f"/v1/bookings/{made['id']}")).json()["state"] == "booked"


async def test_after_the_start_it_is_too_late_to_cancel_or_move(world: World, clock: Clock) -> None:
    doctor, regulator = await world.doctor(), await world.regulator()
    made = await booked(regulator, await doctor.publish(soon(1)))
    other = await doctor.publish(soon(9))
    await clock.shift(timedelta(hours=1, minutes=1))
    path = f"/v1/bookings/{made['id']}"
    late = await regulator.post(f"{path}/cancellation", {"by": "patient"})
    problem(late, 409, "already-started")
    late = await regulator.post(f"{path}/rescheduling", {"slot_id": other["id"]})
    problem(late, 409, "already-started")


async def test_a_moved_booking_keeps_its_id_and_case(world: World) -> None:
    doctor, other, regulator = await world.doctor(), await world.doctor(), await world.regulator()
    old, new = await doctor.publish(), await other.publish(soon(5))
    made = await booked(regulator, old, case_id="LRM-7")
    moved = await regulator.post(f"/v1/bookings/{made['id']}/rescheduling", {"slot_id": new["id"]})
    assert moved.status_code == 200
    body = moved.json()
    assert (body["id"], body["case_id"], body["slot"]["id"]) == (made["id"], "LRM-7", new["id"])
    assert body["practitioner"]["id"] == str(other.practitioner_id)
    assert (await doctor.get(f"/v1/slots/{old['id']}")).json()["remaining"] == 1
    assert (await other.get(f"/v1/slots/{new['id']}")).json()["remaining"] == 0
    problem(await doctor.get(f"/v1/bookings/{made['id']}"), 404, "booking-not-found")
    file = f"/v1/patient-files/{made['patient_file_id']}"
    problem(await doctor.get(file), 404, "patient-file-not-found")
    assert (await other.get(file)).status_code == 200
    history = (await regulator.get(f"/v1/bookings/{made['id']}/history")).json()["items"]
    assert [e["type"] for e in history] == ["booking.created", "booking.rescheduled"]
    assert history[1]["data"]["from_slot_id"] == old["id"]


async def test_a_move_onto_a_full_slot_changes_nothing(world: World) -> None:
    doctor, regulator = await world.doctor(), await world.regulator()
    one, two = await doctor.publish(soon(2)), await doctor.publish(soon(4))
    first, second = await booked(regulator, one), await booked(regulator, two)
    path = "/v1/bookings/{}/rescheduling"
    refused = await regulator.post(path.format(first["id"]), {"slot_id": two["id"]})
    problem(refused, 409, "slot-taken")
    refused = await regulator.post(path.format(second["id"]), {"slot_id": one["id"]})
    problem(refused, 409, "slot-taken")
    refused = await regulator.post(path.format(first["id"]), {"slot_id": one["id"]})
    problem(refused, 422, "booking-invalid")
    refused = await regulator.post(path.format(first["id"]), {"slot_id": str(new_id())})
    problem(refused, 404, "slot-not-found")
    for slot in (one, two):
        assert (await doctor.get(f"/v1/slots/{slot['id']}")).json()["booked"] == 1


async def test_a_move_may_use_a_hold(world: World) -> None:
    doctor, regulator, pharmacist = (
        await world.doctor(),
        await world.regulator(),
        await world.pharmacist(),
    )
    old, new = await doctor.publish(), await doctor.publish(soon(5), visibility=["SNP", "PRO"])
    made = await booked(regulator, old)
    hold = (await regulator.post(f"/v1/slots/{new['id']}/holds")).json()
    problem(await pharmacist.post("/v1/bookings", request(new)), 409, "slot-held")
    moved = await regulator.post(
        f"/v1/bookings/{made['id']}/rescheduling",
        {"slot_id": new["id"], "hold_id": hold["id"]},
    )
    assert moved.status_code == 200
    problem(await regulator.delete(f"/v1/holds/{hold['id']}"), 404, "hold-not-found")


async def test_a_patient_cannot_be_moved_onto_an_own_overlapping_booking(world: World) -> None:
    one, two, regulator = await world.doctor(), await world.doctor(), await world.regulator()
    who = patient()
    await booked(regulator, await one.publish(soon(4)), patient_file=who)
    later = await booked(regulator, await two.publish(soon(8)), patient_file=who)
    overlapping = await two.publish(soon(4, 5))
    refused = await regulator.post(
        f"/v1/bookings/{later['id']}/rescheduling", {"slot_id": overlapping["id"]}
    )
    problem(refused, 409, "patient-already-booked")
    assert (await two.get(f"/v1/slots/{overlapping['id']}")).json()["booked"] == 0


async def test_the_doctor_reports_from_the_start_and_corrects_for_thirty_days(
    world: World, clock: Clock
) -> None:
    doctor, regulator = await world.doctor(), await world.regulator()
    made = await booked(regulator, await doctor.publish(soon(1)))
    path = f"/v1/bookings/{made['id']}/report"
    problem(await doctor.put(path, {"state": "fulfilled"}), 409, "too-early")
    problem(await regulator.put(path, {"state": "noshow"}), 403, "role-lacks-operation")
    await clock.shift(timedelta(hours=1, minutes=5))
    first = await doctor.put(path, {"state": "noshow"})
    assert (first.status_code, first.json()["state"]) == (200, "noshow")
    correction = {"state": "fulfilled", "detail": "arrivé en retard", "sent_to_emergency": True}
    problem(await doctor.put(path, correction), 428, "precondition-required")
    problem(await doctor.put(path, correction, if_match=1), 412, "version-mismatch")
    fixed = await doctor.put(path, correction, if_match=first.json()["version"])
    assert fixed.json()["report"]["state"] == "fulfilled"
    assert fixed.json()["report"]["sent_to_emergency"] is True
    seen = (await regulator.get(f"/v1/bookings/{made['id']}")).json()
    assert seen["report"]["detail"] == "arrivé en retard"
    history = (await doctor.get(f"/v1/bookings/{made['id']}/history")).json()["items"]
    assert [e["data"].get("before", {}).get("state") for e in history[1:]] == ["booked", "noshow"]
    await clock.shift(timedelta(days=32))
    late = await doctor.put(path, {"state": "noshow"}, if_match="*")
    problem(late, 409, "correction-too-late")
    problem(await doctor.put(path, {"state": "cancelled"}), 422, "invalid")


async def test_the_same_report_again_changes_nothing(world: World, clock: Clock) -> None:
    doctor, regulator = await world.doctor(), await world.regulator()
    made = await booked(regulator, await doctor.publish(soon(1)))
    path = f"/v1/bookings/{made['id']}/report"
    await clock.shift(timedelta(hours=1, minutes=5))
    said = {"state": "fulfilled", "detail": "vu", "sent_to_emergency": True}
    first = await doctor.put(path, said)
    assert first.status_code == 200
    stale = made["version"]
    for again in (
        await doctor.put(path, said),
        await doctor.put(path, said, if_match=stale),
        await doctor.put(path, said, if_match=first.json()["version"]),
    ):
        assert (again.status_code, again.json()) == (200, first.json())
        assert again.headers["ETag"] == first.headers["ETag"]
    history = (await regulator.get(f"/v1/bookings/{made['id']}/history")).json()["items"]
    assert [e["type"] for e in history] == ["booking.created", "booking.reported"]
    for other in (
        {**said, "state": "noshow"},
        {**said, "detail": "vu hier"},
        {**said, "detail": None},
        {**said, "sent_to_emergency": False},
    ):
        problem(await doctor.put(path, other), 428, "precondition-required")
        problem(await doctor.put(path, other, if_match=stale), 412, "version-mismatch")
    problem(await regulator.put(path, said), 403, "role-lacks-operation")
    other_side = await world.doctor()
    problem(await other_side.put(path, said), 404, "booking-not-found")
    await clock.shift(timedelta(days=32))  # too late to correct, not to hear it again
    assert (await doctor.put(path, said)).json() == first.json()


async def test_the_same_report_twice_at_once_is_one_report(world: World, clock: Clock) -> None:
    doctor, regulator = await world.doctor(), await world.regulator()
    made = await booked(regulator, await doctor.publish(soon(1)))
    path = f"/v1/bookings/{made['id']}/report"
    await clock.shift(timedelta(hours=1, minutes=5))
    answers = await asyncio.gather(*(doctor.put(path, {"state": "noshow"}) for _ in range(5)))
    assert [answer.status_code for answer in answers] == [200] * 5
    history = (await doctor.get(f"/v1/bookings/{made['id']}/history")).json()["items"]
    assert [e["type"] for e in history] == ["booking.created", "booking.reported"]


async def test_who_asked_for_a_booking_but_is_not_its_doctor_reports_nothing(
    world: World, clock: Clock
) -> None:
    doctor, asking = await world.doctor(), await world.doctor()
    made = await booked(asking, await doctor.publish(soon(1), visibility=["PRO"]))
    path = f"/v1/bookings/{made['id']}/report"
    await clock.shift(timedelta(hours=1, minutes=5))
    assert (await doctor.put(path, {"state": "noshow"})).status_code == 200
    problem(await asking.put(path, {"state": "noshow"}), 404, "booking-not-found")


async def test_a_history_is_told_in_the_zone_of_the_territory(
    database: Database, http: httpx.AsyncClient, clock: Clock
) -> None:
    world = await World(database, http, zone="Indian/Reunion").begin()
    doctor, regulator = await world.doctor(), await world.regulator()
    made = await booked(regulator, await doctor.publish(soon(1)))
    other = await doctor.publish(soon(3))
    await regulator.post(f"/v1/bookings/{made['id']}/rescheduling", {"slot_id": other["id"]})
    await clock.shift(timedelta(hours=4))
    await doctor.put(f"/v1/bookings/{made['id']}/report", {"state": "fulfilled"})
    history = (await regulator.get(f"/v1/bookings/{made['id']}/history")).json()["items"]
    assert [e["type"].partition(".")[2] for e in history] == ["created", "rescheduled", "reported"]
    for event in history:
        assert event["occurred_at"].endswith("+04:00")
        for name in ("starts_at", "ends_at", "from_starts_at"):
            if name in event["data"]:
                assert event["data"][name].endswith("+04:00"), event
    assert history[1]["data"]["from_starts_at"] == made["slot"]["starts_at"]
    assert history[1]["data"]["starts_at"] == other["starts_at"]


async def test_a_cancelled_booking_is_not_reported(world: World, clock: Clock) -> None:
    doctor, regulator = await world.doctor(), await world.regulator()
    made = await booked(regulator, await doctor.publish(soon(1)))
    await regulator.post(f"/v1/bookings/{made['id']}/cancellation", {"by": "requester"})
    await clock.shift(timedelta(hours=2))
    answer = await doctor.put(f"/v1/bookings/{made['id']}/report", {"state": "fulfilled"})
    problem(answer, 409, "booking-state")


async def test_strangers_see_no_booking(world: World) -> None:
    doctor, regulator = await world.doctor(), await world.regulator()
    made = await booked(regulator, await doctor.publish())
    strangers = [await world.doctor(), await world.pharmacist()]
    elsewhere = await World(world.database, world.http).begin()
    strangers.append(await elsewhere.regulator())
    for stranger in strangers:
        path = f"/v1/bookings/{made['id']}"
        hidden = problem(await stranger.get(path), 404, "booking-not-found")
        unknown = problem(await stranger.get(f"/v1/bookings/{new_id()}"), 404, "booking-not-found")
        assert {**hidden, "request_id": 0} == {**unknown, "request_id": 0}
        cancelled = await stranger.post(f"{path}/cancellation", {"by": "patient"})
        problem(cancelled, 404, "booking-not-found")
        assert (await stranger.get("/v1/bookings")).json()["items"] == []
        file = await stranger.get(f"/v1/patient-files/{made['patient_file_id']}")
        problem(file, 404, "patient-file-not-found")


async def test_my_bookings_are_listed_newest_first_in_pages(world: World) -> None:
    doctor, regulator = await world.doctor(), await world.regulator()
    made = [
        (await booked(regulator, await doctor.publish(soon(2 + n)), case_id=f"C{n}"))["id"]
        for n in range(5)
    ]
    for caller in (doctor, regulator):
        seen: list[str] = []
        asked: dict[str, str | int] = {"limit": 2}
        while True:
            page = (await caller.get("/v1/bookings", params=asked)).json()
            seen += [b["id"] for b in page["items"]]
            if page["next_cursor"] is None:
                break
            asked["cursor"] = page["next_cursor"]
        assert seen == made[::-1]
    found = (await regulator.get("/v1/bookings", params={"case_id": "C3"})).json()["items"]
    assert [b["id"] for b in found] == [made[3]]
    later = {"from": soon(4).isoformat(), "to": soon(6).isoformat()}
    found = (await regulator.get("/v1/bookings", params=later)).json()["items"]
    assert [b["id"] for b in found] == [made[3], made[2]]


async def test_a_centre_publishes_before_naming_the_doctor(world: World) -> None:
    organization = await world.organization("csnp")
    location = await world.location(organization)
    centre = await world.caller(Role.DELEGATE, organization, "csnp")
    centre.location_id = location
    regulator = await world.regulator()
    slot = await centre.publish(capacity=3)
    assert slot["practitioner"] is None
    made = await booked(regulator, slot)
    assert made["practitioner"] is None
    seen = await centre.get(f"/v1/bookings/{made['id']}")
    assert seen.json()["patient"]["given_name"] == "Léa"
    file = await centre.get(f"/v1/patient-files/{made['patient_file_id']}")
    assert file.status_code == 200
