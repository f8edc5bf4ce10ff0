"""The patient is told where a booking asks for it: place, time, whom to call. Nothing else."""

from datetime import timedelta
from typing import Any

import httpx
import pytest

from service.kernel.ids import new_id
from tests.messages.conftest import TOKEN, House, booked, doctor
from tests.messages.post import body
from tests.operations.hunt import found_in
from tests.support import World, patient, problem, soon

BOTH = {"confirmation": True, "reminder": True}
NAMES = ("zzyzxlab", "quidam", "1931", "hémorragique", "36044")


def somebody(**members: Any) -> dict[str, Any]:
    """A patient whose names are hunted, with addresses of their own."""
    unique = new_id()
    return patient(
        family_name="Zzyzxlabel",
        given_name=f"Quidam {unique.hex}",
        birth_date="1931-07-13",
        email=f"p{unique.hex}@courriel.example",
        phone=f"+3361{unique.int % 10**7:07d}",
        **members,
    )


async def test_nothing_is_sent_unless_the_booking_asks(house: House) -> None:
    world = await house.world()
    who, regulator, person = await doctor(world), await world.regulator(), somebody()
    booking = await booked(regulator, who, patient_file=person)
    assert booking["inform_patient"] is None
    await house.work()
    assert house.mail.to(person["email"]) == []
    assert house.texts.to(person["phone"]) == []


async def test_a_patient_is_told_when_where_and_whom_to_call(house: House) -> None:
    world = await house.world()
    who, regulator, person = await doctor(world), await world.regulator(), somebody()
    await house.owner.execute(
        "UPDATE locations SET phone = '+33254001122' WHERE id = $1", who.caller.location_id
    )
    booking = await booked(
        regulator,
        who,
        patient_file=person,
        inform_patient=BOTH,
        reason={"text": "fièvre hémorragique"},
        case_id="LRM-81",
    )
    assert booking["inform_patient"] == BOTH
    read = (await regulator.get(f"/v1/bookings/{booking['id']}")).json()
    assert read["inform_patient"] == BOTH
    await house.work()
    path = f"/v1/bookings/{booking['id']}"
    slot = await who.caller.publish(soon(60))
    await regulator.post(f"{path}/rescheduling", {"slot_id": slot["id"]})
    await house.work()
    await regulator.post(f"{path}/cancellation", {"by": "requester"})
    await house.work()
    mails = house.mail.to(person["email"])
    assert [str(mail["Subject"]).partition(" du ")[0].partition(" au ")[0] for mail in mails] == [
        "Votre rendez-vous",
        "Votre rendez-vous est déplacé",
        "Votre rendez-vous",
    ]
    assert "02 54 00 11 22" in body(mails[0])
    assert "Cabinet, Châteauroux" in body(mails[0])
    assert "02 54 00 11 22" not in body(mails[2])
    assert house.texts.to(person["phone"]) == []
    for mail in mails:
        for kind in ("plain", "html"):
            text = body(mail, kind)
            assert found_in(text.encode(), (*NAMES, "LRM-81", "Épreuve", "http")) == set()
    # Nothing of it is kept: not the address, not in a job.
    kept = await house.owner.fetch("SELECT to_jsonb(m) AS row FROM messages AS m")
    jobs = await house.owner.fetch("SELECT to_jsonb(j) AS row FROM procrastinate_jobs AS j")
    stored = "".join(row["row"] for row in (*kept, *jobs)).encode()
    assert found_in(stored, (*NAMES[:2], person["email"], person["phone"][3:])) == set()


async def test_reading_where_a_patient_is_reached_is_traced(house: House) -> None:
    world = await house.world()
    who, regulator, person = await doctor(world), await world.regulator(), somebody()
    booking = await booked(regulator, who, patient_file=person, inform_patient=BOTH)
    await house.work()
    file_id = booking["patient_file_id"]
    answer = await regulator.get(f"/v1/patient-files/{file_id}/accesses")
    (trace,) = [one for one in answer.json()["items"] if one["operation"] == "messages.inform"]
    assert (trace["role"], trace["purpose"]) == ("service", "inform_patient")
    assert trace["label"] == "Envoi d’un message au patient"


async def test_without_an_address_for_mail_it_is_an_sms(house: House) -> None:
    world = await house.world()
    who, regulator = await doctor(world), await world.regulator()
    person = somebody()
    await booked(regulator, who, patient_file={**person, "email": None}, inform_patient=BOTH)
    await house.work()
    (text,) = house.texts.to(person["phone"])
    assert text.startswith("Votre rendez-vous du ")
    assert "Cabinet, Châteauroux." in text
    assert text.endswith("STOP pour ne plus recevoir ces SMS.")
    assert found_in(text.encode(), (*NAMES, "http")) == set()
    headers = next(head for head, told in house.texts.taken if told["to"] == person["phone"])
    assert headers["authorization"] == f"Bearer {TOKEN}"


async def test_the_gateways_own_members(house: House) -> None:
    world = await house.world()
    who, regulator = await doctor(world), await world.regulator()
    person = somebody()
    await booked(regulator, who, patient_file={**person, "email": None}, inform_patient=BOTH)
    members = {"to": "{to}", "recipient": "{to}", "text": "x", "message": "{text}", "from": "SNP"}
    await house.work(sms_body=members)
    (told,) = [told for _, told in house.texts.taken if told["to"] == person["phone"]]
    assert (told["recipient"], told["from"], told["text"]) == (person["phone"], "SNP", "x")
    assert told["message"].startswith("Votre rendez-vous du ")


async def test_a_reminder_comes_a_day_before_once(house: House) -> None:
    world = await house.world()
    who, regulator, person = await doctor(world), await world.regulator(), somebody()
    await booked(regulator, who, soon(30), patient_file=person, inform_patient={"reminder": True})
    await house.work()
    await house.shift(timedelta(hours=5, minutes=50))
    await house.work()
    assert house.mail.to(person["email"]) == []
    await house.shift(timedelta(hours=6, minutes=2))
    for _ in range(2):
        await house.work()
    assert [s.partition(" : ")[0] for s in house.mail.subjects(person["email"])] == ["Rappel"]


async def test_after_a_long_standstill_what_is_no_news_is_not_told_and_who_comes_is_reminded(
    house: House,
) -> None:
    world = await house.world()
    who, regulator, person = await doctor(world), await world.regulator(), somebody()
    booking = await booked(regulator, who, soon(50), patient_file=person, inform_patient=BOTH)
    past = await booked(regulator, who, soon(20), inform_patient=BOTH)
    await house.shift(timedelta(hours=25))
    await house.work()
    assert {kind for kind, _, _ in await house.rows(booking)} == {"reminder", "report_due"}
    assert await house.rows(past) == []
    await house.shift(timedelta(hours=27))
    await house.work()
    assert [s.partition(" : ")[0] for s in house.mail.subjects(person["email"])] == ["Rappel"]
    assert house.mail.to(who.email) == []


async def test_who_is_moved_away_and_back_is_reminded_once(house: House) -> None:
    """And the doctor is asked once whether they came."""
    world = await house.world()
    who, regulator, person = await doctor(world), await world.regulator(), somebody()
    booking = await booked(
        regulator, who, soon(30), patient_file=person, inform_patient={"reminder": True}
    )
    elsewhere = await who.caller.publish(soon(60))
    await house.work()  # the first ones wait for their time
    for slot_id in (elsewhere["id"], booking["slot"]["id"]):
        answer = await regulator.post(
            f"/v1/bookings/{booking['id']}/rescheduling", {"slot_id": slot_id}
        )
        assert answer.status_code == 200, answer.text
        await house.work()
    await house.shift(timedelta(hours=7))
    await house.work()
    assert [s.partition(" : ")[0] for s in house.mail.subjects(person["email"])] == ["Rappel"]
    await house.shift(timedelta(hours=34))
    await house.work()
    asked = [s for s in house.mail.subjects(who.email) if s.startswith("Le patient du")]
    assert len(asked) == 1


async def test_who_comes_soon_is_not_reminded(house: House) -> None:
    """Nor is who was told a moment ago, or whose appointment is another one now."""
    world = await house.world()
    who, regulator = await doctor(world), await world.regulator()
    reminder = {"reminder": True}
    soonest, just_told, late, moved, off = (somebody() for _ in range(5))
    first = await booked(regulator, who, soon(2.5), patient_file=soonest, inform_patient=reminder)
    second = await booked(regulator, who, soon(10), patient_file=just_told, inform_patient=BOTH)
    third = await booked(regulator, who, soon(11), patient_file=late, inform_patient=reminder)
    fourth = await booked(regulator, who, soon(40), patient_file=moved, inform_patient=reminder)
    fifth = await booked(regulator, who, soon(41), patient_file=off, inform_patient=reminder)
    slot = await who.caller.publish(soon(70))
    await regulator.post(f"/v1/bookings/{fourth['id']}/rescheduling", {"slot_id": slot["id"]})
    await regulator.post(f"/v1/bookings/{fifth['id']}/cancellation", {"by": "patient"})
    await house.work()
    await house.shift(timedelta(hours=20))
    await house.work()
    assert ("reminder", "suppressed", "too_late") in await house.rows(first)
    assert ("reminder", "suppressed", "just_told") in await house.rows(second)
    assert ("reminder", "sent", None) in await house.rows(third)
    for booking in (fourth, fifth):
        assert ("reminder", "suppressed", "outdated") in await house.rows(booking)
    assert house.mail.to(moved["email"]) == house.mail.to(off["email"]) == []


async def _reply(http: httpx.AsyncClient, number: str, text: str, token: str) -> httpx.Response:
    return await http.post(
        "/v1/sms-replies",
        json={"from": number, "text": text, "received": "2026-11-22"},
        headers={"Authorization": f"Bearer {token}"},
    )


async def _told(house: House, world: World, person: dict[str, Any]) -> str:
    """Book a person of a new file, and say what became of the confirmation."""
    who, regulator = await doctor(world), await world.regulator()
    booking = await booked(
        regulator, who, patient_file=person, inform_patient={"confirmation": True}
    )
    await house.work()
    found = {kind: why or state for kind, state, why in await house.rows(booking)}
    return found["confirmed"]


async def test_who_opted_out_hears_nothing_whatever_file_has_the_address(house: House) -> None:
    world = await house.world()
    regulator, person = await world.regulator(), somebody()
    opened = await regulator.post("/v1/patient-files", person)
    path = f"/v1/patient-files/{opened.json()['id']}/message-opt-out"
    assert (await regulator.post(path)).status_code == 204
    assert (await regulator.post(path)).status_code == 204
    assert await _told(house, world, person) == "opted_out"
    assert await _told(house, world, {**person, "email": None, "birth_date": "1990-01-01"}) == (
        "opted_out"
    )
    other = somebody()["email"].replace("@", ".x@")
    assert await _told(house, world, {**person, "email": other, "birth_date": "1991-01-01"}) == (
        "sent"
    )
    problem(await (await world.pharmacist()).post(path), 404, "patient-file-not-found")
    assert (await regulator.delete(path)).status_code == 204
    assert await _told(house, world, {**person, "birth_date": "1992-01-01"}) == "sent"
    nobody = await regulator.post("/v1/patient-files", {"age": 40})
    bare = f"/v1/patient-files/{nobody.json()['id']}/message-opt-out"
    problem(await regulator.post(bare), 409, "patient-without-address")
    changed = await house.owner.fetch(
        "SELECT type FROM events WHERE subject_id = $1 ORDER BY occurred_at", opened.json()["id"]
    )
    assert [row["type"] for row in changed] == [
        *("patient_file.opened", "patient_file.opted_out", "patient_file.opted_out"),
        "patient_file.opted_in",
    ]


async def test_stop_is_heard(house: House) -> None:
    world = await house.world()
    person = {**somebody(), "email": None}
    number = f"0{person['phone'][3:]}"
    assert (await _reply(house.http, number, "Non merci, je viens", TOKEN)).status_code == 204
    assert await _told(house, world, person) == "sent"
    for wrong in ("", "x", TOKEN[:-1]):
        problem(await _reply(house.http, number, "STOP", wrong), 401, "token-invalid")
    assert (await _reply(house.http, number, " Stop. ", TOKEN)).status_code == 204
    assert await _told(house, world, {**person, "birth_date": "1990-01-01"}) == "opted_out"


@pytest.mark.parametrize("text", ["STOP\r\n", "Stop merci", "« STOP »", "Stop, svp", "ARRE\u0302T"])
async def test_stop_is_heard_however_people_and_gateways_write_it(house: House, text: str) -> None:
    world = await house.world()
    person = {**somebody(), "email": None}
    without_plus = person["phone"].removeprefix("+")
    assert (await _reply(house.http, without_plus, text, TOKEN)).status_code == 204
    assert await _told(house, world, person) == "opted_out"


@pytest.mark.parametrize("text", ["Stoppez-vous à 14 h ?", "Ne pas STOP", "…", ""])
async def test_what_is_no_stop_stops_nothing(house: House, text: str) -> None:
    world = await house.world()
    person = {**somebody(), "email": None}
    assert (await _reply(house.http, person["phone"], text, TOKEN)).status_code == 204
    assert await _told(house, world, person) == "sent"


async def test_an_erased_file_has_no_address(house: House) -> None:
    world = await house.world()
    who, regulator, person = await doctor(world), await world.regulator(), somebody()
    booking = await booked(
        regulator, who, patient_file=person, inform_patient={"confirmation": True}
    )
    await house.owner.execute(
        "UPDATE patient_files SET email = NULL, phone = NULL WHERE id = $1",
        booking["patient_file_id"],
    )
    await house.work()
    assert ("confirmed", "suppressed", "no_address") in await house.rows(booking)
    assert house.mail.to(person["email"]) == []
