"""Each thing that happens over HTTP changes each figure by exactly what it should."""

from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

from service.agenda import extend
from service.identity import Role
from service.slots import settle
from tests.agenda.support import amended, at, in_days, made, session
from tests.analytics.naive import Row, additive
from tests.calls.support import ago, opened
from tests.conftest import Clock
from tests.support import Caller, World, patient, soon

FIGURES = ("slot-usage", "appointments", "referrals", "callbacks", "cpts-indicators")


class Watch:
    """Tells what has changed in any figure since it was last asked."""

    def __init__(self, caller: Caller) -> None:
        today = soon(0).astimezone(ZoneInfo("Europe/Paris")).date()
        self._caller = caller
        self._days = {"from": today - timedelta(days=2), "to": today + timedelta(days=5)}
        self._seen: Row = {}

    async def read(self, name: str, **query: Any) -> Row:
        params = {**{n: str(day) for n, day in self._days.items()}, **query}
        if "cpts" not in params:
            params["territory"] = self._caller.territory
        answer = await self._caller.get(f"/v1/analytics/{name}", params=params)
        assert answer.status_code == 200, answer.text
        body: Row = answer.json()
        return body

    async def changes(self) -> Row:
        found: Row = {}
        for name in FIGURES:
            counts = additive(await self.read(name))
            found |= {f"{name}{path}": n for path, n in counts.items() if ".requesters" not in path}
        before, self._seen = self._seen, found
        return {path: n - before[path] for path, n in found.items() if n != before.get(path, n)}


async def _book(caller: Caller, slot: Row, **members: Any) -> Row:
    body = {"slot_id": slot["id"], **members}
    if "call_id" not in members:
        body["patient_file"] = patient()
    answer = await caller.post("/v1/bookings", body)
    assert answer.status_code == 201, answer.text
    booked: Row = answer.json()
    return booked


def slots(**changed: int) -> Row:
    return {f"slot-usage.{name}": n for name, n in changed.items()}


def appointments(**changed: int) -> Row:
    return {f"appointments.{name}": n for name, n in changed.items()}


def referrals(**changed: int) -> Row:
    return {f"referrals.{name}": n for name, n in changed.items()}


def doctors(**changed: int) -> Row:
    return {f"cpts-indicators.doctors.{name}": n for name, n in changed.items()}


def requests(**changed: int) -> Row:
    return {f"cpts-indicators.requests.{name}": n for name, n in changed.items()}


MADE = appointments(booked=1, upcoming=1, within_24_hours=1, within_48_hours=1)


async def test_seats_from_publication_to_expiry(world: World, clock: Clock) -> None:
    doctor, regulator = await world.doctor(), await world.regulator()
    watch = Watch(await world.manager())
    assert await watch.changes() == {}

    both = await doctor.publish(soon(2), visibility=["SNP", "PRO"], capacity=2, overbooking=1)
    opening = slots(published=2, open=2)
    assert await watch.changes() == opening | doctors(publishing=1, offering=1)
    taken_back = await doctor.publish(soon(4))
    assert await watch.changes() == slots(published=1, open=1)
    gone = await doctor.delete(f"/v1/slots/{taken_back['id']}", if_match=1)
    assert gone.status_code in {200, 204}, gone.text
    assert await watch.changes() == slots(open=-1, withdrawn=1)
    await doctor.publish(soon(6), walk_in=True)
    assert await watch.changes() == slots(walk_in=1)
    await doctor.publish(soon(7), visibility=["PUBLIC"])
    assert await watch.changes() == slots(published=1, open=1)

    made = MADE | referrals(booked=1, pending=1)
    first = await _book(regulator, both)
    assert await watch.changes() == slots(booked=1, open=-1) | made | doctors(booked=1)
    second = await _book(regulator, both)
    assert await watch.changes() == slots(booked=1, open=-1) | made
    third = await _book(regulator, both, overbook=True)
    assert await watch.changes() == slots(overbooked=1) | made
    answer = await regulator.post(f"/v1/bookings/{third['id']}/cancellation", {"by": "requester"})
    assert answer.status_code == 200, answer.text
    lost = appointments(upcoming=-1, cancelled=1, within_24_hours=-1, within_48_hours=-1)
    assert await watch.changes() == (
        slots(overbooked=-1)
        | lost
        | {"appointments.cancelled_by.requester": 1}
        | referrals(pending=-1, cancelled=1)
    )

    await clock.shift(timedelta(hours=2, minutes=5))
    assert await watch.changes() == appointments(upcoming=-2, unreported=2)
    report = await doctor.put(f"/v1/bookings/{first['id']}/report", {"state": "fulfilled"})
    assert report.status_code == 200, report.text
    reported = appointments(unreported=-1, fulfilled=1) | referrals(pending=-1, fulfilled=1)
    assert await watch.changes() == reported
    sent = {"state": "noshow", "sent_to_emergency": True}
    report = await doctor.put(f"/v1/bookings/{second['id']}/report", sent)
    assert report.status_code == 200, report.text
    assert await watch.changes() == (
        appointments(unreported=-1, missed=1, sent_to_emergency=1) | referrals(pending=-1, missed=1)
    )
    version = report.json()["version"]
    corrected = await doctor.put(
        f"/v1/bookings/{second['id']}/report", {"state": "fulfilled"}, if_match=version
    )
    assert corrected.status_code == 200, corrected.text
    assert await watch.changes() == (
        appointments(missed=-1, fulfilled=1, sent_to_emergency=-1)
        | referrals(missed=-1, fulfilled=1)
    )
    await clock.shift(timedelta(hours=8))
    assert await watch.changes() == slots(open=-1, expired=1)

    usage = await watch.read("slot-usage")
    assert usage["rates"]["fill"] == {
        "value": 0.6667,
        "numerator": "booked",
        "denominator": "published - withdrawn",
    }
    delays = (await watch.read("appointments"))["delay_hours"]
    assert delays["mean"] == delays["median"] == delays["p90"]
    assert 1.8 <= delays["median"] <= 2.0


async def test_a_request_of_the_sas(world: World, clock: Clock) -> None:
    doctor, regulator = await world.doctor(), await world.regulator()
    watch = Watch(await world.manager())
    near, far = await doctor.publish(soon(3)), await doctor.publish(soon(30))
    file = await regulator.post("/v1/patient-files", patient())
    await watch.changes()

    call = await opened(
        regulator,
        received_at=ago(60),
        callback_requested=True,
        patient_file_id=file.json()["id"],
    )
    assert await watch.changes() == (
        {"callbacks.calls": 1, "callbacks.requested": 1} | requests(calls=1)
    )
    path = f"/v1/calls/{call['id']}/callbacks"
    missed = await regulator.post(path, {"at": ago(0), "reached": False})
    assert missed.status_code == 201, missed.text
    assert await watch.changes() == {"callbacks.attempted": 1, "callbacks.within_60_minutes": 1}
    await regulator.post(path, {"at": ago(0), "reached": True})
    assert await watch.changes() == {"callbacks.reached": 1}

    booked = await _book(regulator, far, call_id=call["id"])
    changed = await watch.changes()
    assert {n: v for n, v in changed.items() if n.startswith("cpts")} == (
        doctors(booked=1) | requests(oriented=1, with_appointment=1, pending=1, within_48_hours=1)
    )
    # Moved to an earlier slot: the same booking, the same request.
    moved = await regulator.post(
        f"/v1/bookings/{booked['id']}/rescheduling", {"slot_id": near["id"]}
    )
    assert moved.status_code == 200, moved.text
    assert await watch.changes() == (requests(within_24_hours=1) | appointments(within_24_hours=1))

    # Taken back by the doctor: it led nowhere, though the call was oriented.
    other = await opened(regulator, received_at=ago(5), patient_file_id=file.json()["id"])
    again = await _book(regulator, far, call_id=other["id"])
    await watch.changes()
    taken = await doctor.post(f"/v1/bookings/{again['id']}/cancellation", {"by": "doctor"})
    assert taken.status_code == 200, taken.text
    changed = await watch.changes()
    assert {n: v for n, v in changed.items() if n.startswith("cpts")} == (
        requests(with_appointment=-1, pending=-1, within_48_hours=-1)
    )
    assert changed["appointments.cancelled_by.doctor"] == 1

    await clock.shift(timedelta(hours=4))
    await watch.changes()
    await doctor.put(f"/v1/bookings/{booked['id']}/report", {"state": "fulfilled"})
    changed = await watch.changes()
    assert {n: v for n, v in changed.items() if n.startswith("cpts")} == (
        requests(pending=-1, honoured=1)
    )


async def test_who_sent_patients(world: World) -> None:
    doctor = await world.doctor()
    slot = await doctor.publish(visibility=["SNP", "PRO"], capacity=4)
    ward = await world.organization("emergency_department")
    nurse = await world.caller(Role.EMERGENCY_NURSE, ward, "emergency_department")
    for caller in (nurse, nurse, await world.pharmacist(), await world.regulator()):
        await _book(caller, slot)
    watch = Watch(await world.manager())
    answer = await watch.read("referrals")
    assert answer["booked"] == 4
    assert [(r["role"], r["organization_type"], r["booked"]) for r in answer["requesters"]] == [
        ("emergency_nurse", "emergency_department", 2),
        ("pharmacist", "pharmacy", 1),
        ("regulator", "sas", 1),
    ]
    grouped = await watch.read("referrals", group_by="organization_type")
    assert [(g["key"], g["booked"]) for g in grouped["groups"]] == [
        ("emergency_department", 2),
        ("pharmacy", 1),
        ("sas", 1),
    ]


async def test_a_doctor_of_two_communities(world: World) -> None:
    """Groups overlap, and the whole counts each seat once."""
    mine = [await world.organization("cpts") for _ in range(2)]
    doctor, alone = await world.doctor(cpts_ids=mine), await world.doctor()
    slot = await doctor.publish(visibility=["SNP", "PRO"])
    await alone.publish()
    await _book(await world.regulator(), slot)
    watch = Watch(await world.manager())
    usage = await watch.read("slot-usage", group_by="cpts")
    assert (usage["published"], usage["booked"], usage["groups_overlap"]) == (2, 1, True)
    assert [(g["key"], g["published"], g["booked"]) for g in usage["groups"]] == [
        *((str(i), 1, 1) for i in sorted(mine)),
        (None, 1, 0),
    ]
    labels = await watch.read("slot-usage", group_by="label")
    assert [(g["key"], g["published"]) for g in labels["groups"]] == [("PRO", 1), ("SNP", 2)]
    one = await watch.read("slot-usage", cpts=str(mine[0]))
    assert (one["published"], one["cpts"]) == (1, str(mine[0]))
    assert "territory" not in one
    indicators = await watch.read("cpts-indicators", cpts=str(mine[0]))
    assert indicators["doctors"] == {"publishing": 1, "offering": 1, "booked": 1}


async def test_a_session_that_moves_offers_its_seats_once(world: World) -> None:
    """What was published twice is told apart from what was taken back."""
    doctor, day = await world.doctor(), in_days(2)
    watch = Watch(await world.manager())
    await watch.changes()
    found = await made(doctor, session(doctor, day, end="15:20"))
    await watch.changes()
    await amended(doctor, found, start="14:05")
    assert await watch.changes() == slots(published=3, withdrawn=4, replaced=4, open=-1)
    range_ = {"from": at(day, 0).isoformat(), "to": at(day, 23).isoformat()}
    path = f"/v1/practitioners/{doctor.practitioner_id}/absences"
    absence = (await doctor.post(path, range_)).json()
    gone = slots(withdrawn=3, replaced=-4, open=-3)
    assert await watch.changes() == gone | doctors(offering=-1)
    assert (await doctor.delete(f"{path}/{absence['id']}")).status_code == 204
    await extend(world.database)
    assert await watch.changes() == slots(published=3, replaced=7, open=3) | doctors(offering=1)
    usage = await watch.read("slot-usage")
    assert usage["published"] - usage["replaced"] == usage["open"] == 3


async def test_what_came_of_a_release(world: World, clock: Clock) -> None:
    """Seats that were free when a slot was opened to more, and who took them from then on."""
    doctor, regulator = await world.doctor(), await world.regulator()
    pharmacist, watch = await world.pharmacist(), Watch(await world.manager())
    widened = [{"minutes_before": 90, "to": "PRO"}, {"minutes_before": 60, "to": "PUBLIC"}]
    slot = await doctor.publish(soon(4), capacity=4, release=widened)
    gone = await doctor.publish(soon(5), release=widened[1:])
    back = await doctor.publish(
        soon(6), capacity=2, release=[{"minutes_before": 60, "to": "GIVE_BACK"}]
    )
    first = [await _book(regulator, slot) for _ in range(2)]
    await doctor.delete(f"/v1/slots/{gone['id']}", if_match="*")
    await watch.changes()

    await clock.stop(soon(4) - timedelta(minutes=90))
    assert await watch.changes() == slots(released=2)
    then = await _book(pharmacist, slot)
    taken = slots(booked=1, open=-1) | MADE | referrals(booked=1, pending=1)
    assert await watch.changes() == taken | slots(released_and_booked=1)
    for cancelled, lost in ((first[0], {}), (then, slots(released_and_booked=-1))):
        path = f"/v1/bookings/{cancelled['id']}/cancellation"
        answer = await (pharmacist if cancelled is then else regulator).post(
            path, {"by": "patient"}
        )
        assert answer.status_code == 200, answer.text
        changed = await watch.changes()
        assert {n: v for n, v in changed.items() if "released" in n} == lost
    await clock.stop(soon(4) - timedelta(minutes=60))
    assert await watch.changes() == {}  # released once

    await clock.stop(soon(5))
    await watch.changes()
    await settle(world.database)
    assert await watch.changes() == slots(open=-2, withdrawn=2, given_back=2)
    usage = await watch.read("slot-usage")
    assert (usage["released"], usage["released_and_booked"], usage["given_back"]) == (2, 0, 2)
    assert (await doctor.get(f"/v1/slots/{back['id']}")).json()["state"] == "withdrawn"
