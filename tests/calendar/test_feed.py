"""What a calendar shows, as vobject reads it: every state, the right instants, nobody's name."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import insert

from service.directory.tables import practitioner_locations
from service.kernel.ids import new_id
from tests.agenda.support import made, weekly
from tests.calendar.support import booked, events, fetched, read, shared, summaries, unfolded
from tests.conftest import Clock
from tests.operations.hunt import found_in
from tests.support import PARIS, Caller, World, patient, soon

FREE, TAKEN = "TRANSPARENT", "OPAQUE"


async def test_every_state_of_a_slot_and_of_a_booking(world: World, clock: Clock) -> None:
    doctor, regulator = await world.doctor(), await world.regulator()
    token = await shared(doctor)
    slots = [await doctor.publish(soon(hours)) for hours in range(2, 12)]
    free, held, withdrawn, *taken, moved_to, _ = slots
    many = await doctor.publish(soon(13), capacity=3)
    walk_in = await doctor.publish(soon(14), walk_in=True)
    hold = await regulator.post(f"/v1/slots/{held['id']}/holds", {"seconds": 600})
    assert hold.status_code == 201, hold.text
    gone = await doctor.delete(f"/v1/slots/{withdrawn['id']}", if_match=1)
    assert gone.status_code == 204, gone.text
    came, stayed_away, cancelled, moved, standing = [
        await booked(regulator, slot) for slot in taken
    ]
    one_of_three = await booked(regulator, many)
    path = f"/v1/bookings/{cancelled['id']}/cancellation"
    assert (await regulator.post(path, {"by": "patient"})).status_code == 200
    path = f"/v1/bookings/{moved['id']}/rescheduling"
    assert (await regulator.post(path, {"slot_id": moved_to["id"]})).status_code == 200

    coming = summaries(await events(world.http, token))
    free_again = {taken[2]["id"], taken[3]["id"]}
    assert coming == {
        **{
            slot["id"]: ("Créneau SNP libre", "CONFIRMED", FREE)
            for slot in slots
            if slot["id"] in {free["id"], held["id"], slots[-1]["id"], *free_again}
        },
        withdrawn["id"]: ("Créneau SNP retiré", "CANCELLED", FREE),
        many["id"]: ("Créneau SNP libre (2 places)", "CONFIRMED", FREE),
        walk_in["id"]: ("Créneau SNP sans rendez-vous", "CONFIRMED", FREE),
        cancelled["id"]: ("Rendez-vous SNP annulé", "CANCELLED", FREE),
        **{
            booking["id"]: ("Rendez-vous SNP", "CONFIRMED", TAKEN)
            for booking in (came, stayed_away, moved, standing, one_of_three)
        },
    }

    await clock.shift(timedelta(hours=15))
    for booking, state in ((came, "fulfilled"), (stayed_away, "noshow")):
        told = await doctor.put(f"/v1/bookings/{booking['id']}/report", {"state": state})
        assert told.status_code == 200, told.text
    past = summaries(await events(world.http, token))
    assert past == {
        **{
            uid: ("Créneau SNP non pourvu", "CONFIRMED", FREE)
            for uid, (summary, *_) in coming.items()
            if summary.startswith("Créneau SNP libre")
        },
        **{uid: coming[uid] for uid in (withdrawn["id"], walk_in["id"], cancelled["id"])},
        **{
            booking["id"]: ("Rendez-vous SNP (compte rendu attendu)", "CONFIRMED", TAKEN)
            for booking in (moved, standing, one_of_three)
        },
        came["id"]: ("Rendez-vous SNP honoré", "CONFIRMED", TAKEN),
        stayed_away["id"]: ("Rendez-vous SNP non honoré", "CONFIRMED", TAKEN),
    }


async def test_a_moved_booking_is_the_same_event_in_a_later_version(
    world: World, clock: Clock
) -> None:
    doctor, regulator = await world.doctor(), await world.regulator()
    token = await shared(doctor)
    here, there = await doctor.publish(soon(3)), await doctor.publish(soon(5))
    booking = await booked(regulator, here)
    before = (await events(world.http, token))[booking["id"]]
    await clock.shift(timedelta(minutes=1))
    path = f"/v1/bookings/{booking['id']}/rescheduling"
    assert (await regulator.post(path, {"slot_id": there["id"]})).status_code == 200
    after = (await events(world.http, token))[booking["id"]]
    assert (before.dtstart.value, after.dtstart.value) == (soon(3), soon(5))
    assert after.dtend.value == soon(5, 20)
    assert int(before.sequence.value) == 0 < int(after.sequence.value)
    assert before.dtstamp.value < after.dtstamp.value
    path = f"/v1/bookings/{booking['id']}/cancellation"
    assert (await regulator.post(path, {"by": "requester"})).status_code == 200
    last = (await events(world.http, token))[booking["id"]]
    assert int(after.sequence.value) < int(last.sequence.value)
    assert "Annulé par le demandeur." in last.description.value


async def test_a_booking_that_moved_to_another_doctor_leaves_this_calendar(world: World) -> None:
    doctor, other = await world.doctor(), await world.doctor()
    regulator = await world.regulator()
    tokens = [await shared(one) for one in (doctor, other)]
    booking = await booked(regulator, await doctor.publish(soon(3)))
    there = await other.publish(soon(5))
    path = f"/v1/bookings/{booking['id']}/rescheduling"
    assert (await regulator.post(path, {"slot_id": there["id"]})).status_code == 200
    mine, theirs = [await events(world.http, token) for token in tokens]
    assert booking["id"] not in mine
    assert booking["id"] in theirs


async def test_an_entry_says_where_how_and_how_to_report(world: World) -> None:
    doctor, regulator = await world.doctor(), await world.regulator()
    token = await shared(doctor)
    doctor.location_id = await world.location(
        doctor.organization_id,
        name="Maison de santé « Les Tilleuls »; porte B, 2e étage",
        address="36 bis, rue du Pont-aux-Ânes",
        postal_code="36000",
    )
    slot = await doctor.publish(soon(3), modes=["AMB", "VR"])
    at_home = await doctor.publish(soon(5), modes=["HH"])
    booking = await booked(regulator, slot, case_id="K-77", reason={"motive": "M03.14"})
    found = await events(world.http, token)
    event = found[booking["id"]]
    assert event.location.value == (
        "Maison de santé « Les Tilleuls »; porte B, 2e étage, 36 bis, rue du Pont-aux-Ânes,"
        " 36000 Châteauroux"
    )
    mode, who, report = event.description.value.splitlines()
    assert mode == "Mode : au cabinet ou en téléconsultation"
    assert "jamais dans cet agenda" in who
    assert report.startswith("Compte rendu de venue : dès le début du rendez-vous")
    assert "location" not in found[at_home["id"]].contents
    assert found[at_home["id"]].description.value.startswith("Mode : à domicile")
    assert {one.contents["class"][0].value for one in found.values()} == {"PRIVATE"}
    text = unfolded(await fetched(world.http, token))
    assert "X-WR-CALNAME:SNP – Camille Épreuve\r\n" in text
    assert "K-77" not in text
    assert "M03.14" not in text


async def test_lines_are_folded_between_characters(world: World) -> None:
    doctor = await world.doctor()
    token = await shared(doctor)
    doctor.location_id = await world.location(doctor.organization_id, name="é" * 200)
    slot = await doctor.publish(soon(3))
    content = await fetched(world.http, token)
    lines = content.split(b"\r\n")
    assert max(map(len, lines)) <= 75
    assert all(line.decode() for line in lines[:-1])  # no character is cut in two
    assert b"\n" not in content.replace(b"\r\n", b"")
    assert read(content)[slot["id"]].location.value == "é" * 200 + ", Châteauroux"


def _nights() -> list[datetime]:
    """The instants at which the clocks of Paris change next, both ways."""
    hours = [
        datetime.now(UTC).replace(minute=0, second=0, microsecond=0) + timedelta(hours=n)
        for n in range(24 * 366)
    ]
    offsets = [hour.astimezone(ZoneInfo(PARIS)).utcoffset() for hour in hours]
    return [after for after, (a, b) in zip(hours[1:], pairwise(offsets), strict=True) if a != b][:2]


@pytest.mark.parametrize("change", _nights(), ids=["next", "the one after"])
async def test_the_night_when_the_clocks_change(
    world: World, clock: Clock, change: datetime
) -> None:
    """Hour by hour through the night: each instant once, whatever the clocks on the wall say."""
    doctor = await world.doctor()
    await clock.shift(change - datetime.now(UTC) - timedelta(days=2))
    token = await shared(doctor)
    published = {}
    for hours in range(-3, 4):
        start = change + timedelta(hours=hours)
        published[(await doctor.publish(start))["id"]] = start
    found = await events(world.http, token)
    assert {uid: event.dtstart.value for uid, event in found.items()} == published
    assert {event.dtend.value - event.dtstart.value for event in found.values()} == {
        timedelta(minutes=20)
    }
    assert all(event.dtstart.value.tzinfo is not None for event in found.values())

    await made(doctor, weekly(doctor, (change - timedelta(days=1)).date()))
    sessions = [
        event.dtstart.value.astimezone(ZoneInfo(PARIS))
        for uid, event in (await events(world.http, token)).items()
        if uid not in published
    ]
    assert {(at.hour, at.minute) for at in sessions} == {(14, 0), (14, 20), (14, 40)}
    assert len({at.utcoffset() for at in sessions}) == 2


async def test_a_doctor_with_places_in_two_zones(world: World) -> None:
    island = await World(world.database, world.http, zone="America/Martinique").begin()
    doctor = await world.doctor()
    token = await shared(doctor)
    practice = await island.organization("practice")
    beach = await island.location(practice, at=(14.6, -61.07))
    async with world.database.unit_of_work() as uow:
        linked = {"practitioner_id": doctor.practitioner_id, "location_id": beach}
        await uow.execute(insert(practitioner_locations), linked)
    here = await doctor.publish(soon(3))
    doctor.location_id = beach
    there = await doctor.publish(soon(5))
    assert there["starts_at"][-6:] == "-04:00" != here["starts_at"][-6:]
    found = await events(world.http, token)
    assert {uid: event.dtstart.value for uid, event in found.items()} == {
        here["id"]: soon(3),
        there["id"]: soon(5),
    }


async def test_from_thirty_days_ago_until_in_ninety_days(world: World, clock: Clock) -> None:
    doctor = await world.doctor()
    token = await shared(doctor)
    near, far = await doctor.publish(soon(2)), await doctor.publish(soon(24 * 91))
    assert set(await events(world.http, token)) == {near["id"]}
    await clock.shift(timedelta(days=29))
    assert set(await events(world.http, token)) == {near["id"], far["id"]}
    await clock.shift(timedelta(days=31))
    assert set(await events(world.http, token)) == {far["id"]}


async def test_five_hundred_events(world: World) -> None:
    doctor = await world.doctor()
    token = await shared(doctor)
    drafts = [doctor.slot(soon(2, 20 * n)) for n in range(500)]
    answer = await doctor.post("/v1/slots", {"slots": drafts})
    assert answer.status_code == 201, answer.text
    found = await events(world.http, token)
    assert set(found) == {slot["id"] for slot in answer.json()["slots"]}
    assert len(found) == 500
    assert [event.dtstart.value for event in found.values()] == [
        soon(2, 20 * n) for n in range(500)
    ]


async def test_an_empty_calendar_is_one(world: World) -> None:
    token = await shared(await world.doctor())
    assert await events(world.http, token) == {}
    text = unfolded(await fetched(world.http, token))
    assert "REFRESH-INTERVAL;VALUE=DURATION:PT15M\r\nX-PUBLISHED-TTL:PT15M\r\n" in text


# --- nobody's name --------------------------------------------------------------------------------

_WHO = {
    "family_name": "Zzyzxlabêlle",
    "given_name": "Quidamétte",
    "birth_date": "1931-07-13",
    "phone": "+33698765432",
    "email": "quidam@courriel.example",
}
_TEXT = "Zzyzxlabêlle a mangé des champignons"
_SECRETS = ("zzyzxlab", "quidam", "1931", "698765432", "courriel", "champignon")


async def _lived_through(doctor: Caller, regulator: Caller, clock: Clock) -> list[str]:
    """A patient's bookings, with every text that may be said; returns their file and case."""
    case_id = new_id().hex
    slots = [await doctor.publish(soon(hours)) for hours in (2, 4, 6, 8)]
    known = {"patient_file": patient(**_WHO), "case_id": case_id, "reason": {"text": _TEXT}}
    reported, cancelled, moved = [await booked(regulator, slot, **known) for slot in slots[:3]]
    body = {"by": "patient", "reason": _TEXT}
    path = f"/v1/bookings/{cancelled['id']}"
    assert (await regulator.post(f"{path}/cancellation", body)).status_code == 200
    path = f"/v1/bookings/{moved['id']}/rescheduling"
    assert (await regulator.post(path, {"slot_id": slots[3]["id"]})).status_code == 200
    await clock.shift(timedelta(hours=3))
    path = f"/v1/bookings/{reported['id']}/report"
    told = {"state": "fulfilled", "detail": _TEXT, "sent_to_emergency": True}
    assert (await doctor.put(path, told)).status_code == 200
    return [reported["patient_file_id"], case_id]


async def test_no_patient_stands_in_a_calendar(world: World, clock: Clock) -> None:
    doctor, regulator = await world.doctor(), await world.regulator()
    token = await shared(doctor)
    hunted = [*_SECRETS, *await _lived_through(doctor, regulator, clock)]
    seen = (await doctor.get("/v1/bookings")).content
    assert found_in(seen, hunted) == set(hunted)  # what is hunted is really there
    content = await fetched(world.http, token)
    assert len(read(content)) == 5
    for text in (content, unfolded(content).encode()):
        assert found_in(text, hunted) == set()
