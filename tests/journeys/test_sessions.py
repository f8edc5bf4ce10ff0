"""A doctor's week, from the first session to the figures."""

from datetime import UTC, date, datetime, timedelta

from tests.agenda.support import Body, at, in_days, made, read, starts, weekly
from tests.calls.support import opened
from tests.conftest import Clock
from tests.support import Caller, World, patient, problem


async def _free(caller: Caller, day: date) -> list[Body]:
    """What a caller may book on one day."""
    found = await caller.get(
        "/v1/slots",
        params={
            "territory": caller.territory,
            "from": at(day, 0).isoformat(),
            "to": at(day + timedelta(days=1), 0).isoformat(),
        },
    )
    assert found.status_code == 200, found.text
    items: list[Body] = found.json()["items"]
    return items


async def _book(caller: Caller, slot: Body, **members: object) -> Body:
    body = {"slot_id": slot["id"], "patient_file": patient(), **members}
    answer = await caller.post("/v1/bookings", body)
    assert answer.status_code == 201, answer.text
    booked: Body = answer.json()
    return booked


async def _figures(caller: Caller, name: str) -> Body:
    days = {"from": in_days(0).isoformat(), "to": in_days(60).isoformat()}
    answer = await caller.get(
        f"/v1/analytics/{name}", params={"territory": caller.territory, **days}
    )
    assert answer.status_code == 200, answer.text
    found: Body = answer.json()
    return found


def _some(figures: Body, **expected: object) -> None:
    assert {name: figures[name] for name in expected} == expected


async def test_from_a_session_to_the_figures(world: World, clock: Clock) -> None:
    doctor, regulator, manager = (
        await world.doctor(),
        await world.regulator(),
        await world.manager(),
    )
    away, kept = in_days(1), in_days(8)

    # The doctor gives three seats a week; the regulator finds them, a pharmacist does not.
    session = await made(doctor, weekly(doctor, away))
    assert (session["created"], session["skipped"]) == (24, [])
    free = await _free(regulator, away)
    assert starts(free) == [at(away, 14), at(away, 14, 20), at(away, 14, 40)]
    assert await _free(await world.pharmacist(), away) == []

    # One caller is on the line: hold, then book for the call, on the doctor's first day and later.
    call = await opened(regulator)
    held = await regulator.post(f"/v1/slots/{free[1]['id']}/holds", {"seconds": 180})
    assert held.status_code == 201, held.text
    lost = await _book(regulator, free[1], hold_id=held.json()["id"], call_id=call["id"])
    later = await _free(regulator, kept)
    stays = await _book(regulator, later[0])
    assert len(await _free(regulator, away)) == 2
    _some(await _figures(manager, "slot-usage"), published=24, booked=2, open=22, withdrawn=0)

    # The doctor falls ill: what is free goes, who is booked is told so, without the reason.
    path = f"/v1/practitioners/{doctor.practitioner_id}/absences"
    range_ = {"from": at(away, 8).isoformat(), "to": at(away, 20).isoformat()}
    answer = await doctor.post(path, {**range_, "reason": "Grippe"})
    assert answer.status_code == 201, answer.text
    absence = answer.json()
    assert (absence["withdrawn"], absence["cancelled"]) == (3, 1)
    assert absence["cancelled_bookings"] == [lost["id"]]
    assert await _free(regulator, away) == []
    since = {"updated_since": lost["created_at"], "state": "cancelled"}
    (told,) = (await regulator.get("/v1/bookings", params=since)).json()["items"]
    assert (told["id"], told["cancellation"]["by"]) == (lost["id"], "doctor")
    assert told["cancellation"]["reason"] == "Absence du praticien"
    history = (await regulator.get(f"/v1/bookings/{lost['id']}/history")).json()["items"]
    assert [event["type"] for event in history] == ["booking.created", "booking.cancelled"]
    gone = await regulator.post(
        "/v1/bookings", {"slot_id": free[0]["id"], "patient_file": patient()}
    )
    problem(gone, 409, "slot-withdrawn")
    (skipped,) = (await read(doctor, session))["skipped"]
    assert (skipped["date"], skipped["reason"]) == (away.isoformat(), "absence")

    # The other patient comes, and the doctor says so.
    await clock.shift(at(kept, 14, 5) - datetime.now(UTC))
    report = await doctor.put(f"/v1/bookings/{stays['id']}/report", {"state": "fulfilled"})
    assert report.status_code == 200, report.text
    assert (await regulator.get(f"/v1/bookings/{stays['id']}")).json()["state"] == "fulfilled"

    appointments = await _figures(manager, "appointments")
    _some(appointments, booked=2, fulfilled=1, cancelled=1, unreported=0, upcoming=0)
    assert appointments["cancelled_by"] == {"patient": 0, "requester": 0, "doctor": 1, "system": 0}
    usage = await _figures(manager, "slot-usage")
    _some(usage, published=24, booked=1, withdrawn=3, expired=0, open=20)
    indicators = await _figures(manager, "cpts-indicators")
    assert indicators["doctors"] == {"publishing": 1, "offering": 1, "booked": 1}
    # Taken back by the doctor: the call was oriented, and led nowhere.
    _some(indicators["requests"], calls=1, oriented=1, with_appointment=0)
