"""Every message arrives, once for its reader, whatever dies; reminders to report; contacts."""

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from pydantic import SecretStr

from service import messages
from service.kernel.ids import new_id
from service.messages import clients
from service.messages.domain import LEASE
from service.worker import working
from tests.demo.processes import snp
from tests.kernel.serving import serving
from tests.messages.conftest import House, booked, doctor
from tests.messages.post import body
from tests.support import problem, soon
from tests.webhooks.receivers import receiving
from tests.webhooks.support import subscribed


async def _states(house: House, booking: dict[str, Any]) -> dict[str, tuple[str, str | None]]:
    return {kind: (state, why) for kind, state, why in await house.rows(booking)}


async def test_a_server_that_is_busy_is_asked_again(house: House) -> None:
    world = await house.world()
    who, regulator = await doctor(world), await world.regulator()
    house.mail.says[who.email] = "451 later"
    booking = await booked(regulator, who)
    await house.work()
    assert (await _states(house, booking))["booked"] == ("failed", "smtp_451")
    house.mail.says.clear()
    await house.work()  # not yet
    assert house.mail.to(who.email) == []
    await house.shift(timedelta(minutes=1, seconds=10))
    await house.work()
    assert (await _states(house, booking))["booked"] == ("sent", None)
    assert len(house.mail.to(who.email)) == 1


async def test_a_server_that_is_away_for_two_days_makes_a_dead_letter(house: House) -> None:
    world = await house.world()
    who, regulator = await doctor(world), await world.regulator()
    booking = await booked(regulator, who, soon(100))
    away = {"smtp_url": SecretStr("smtp://127.0.0.1:9")}
    await house.work(**away)
    assert (await _states(house, booking))["booked"] == ("failed", "smtp_unreachable")
    await house.shift(timedelta(hours=49))
    await house.work(**away)
    assert (await _states(house, booking))["booked"] == ("dead", "smtp_unreachable")
    async with house.database.unit_of_work() as uow:
        _, told = await messages.sending(house.settings, uow)
        assert not told.endswith("dead letters: 0")
        assert (await messages.measures(uow))["messages_dead"] > 0
    await house.work()
    assert house.mail.to(who.email) == []
    async with house.database.unit_of_work() as uow:
        assert await messages.retry(uow) > 0
    await house.work()
    assert (await _states(house, booking))["booked"] == ("sent", None)
    assert len(house.mail.to(who.email)) == 1


async def test_a_server_that_answers_too_slowly_is_given_up_before_another_worker_tries(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert timedelta(seconds=2 * clients._LONGEST_SECONDS + clients._SECONDS) < LEASE
    world = await house.world()
    who, regulator = await doctor(world), await world.regulator()
    monkeypatch.setattr(clients, "_LONGEST_SECONDS", 0.5)
    house.mail.awake.clear()
    asyncio.get_running_loop().call_later(3, house.mail.awake.set)
    booking = await booked(regulator, who)
    await house.work()
    assert (await _states(house, booking))["booked"] == ("failed", "timeout")


async def test_a_server_for_mail_that_hangs_delays_no_webhook(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.worker._JOBS_AT_ONCE", 2)
    monkeypatch.setattr(clients, "_SECONDS", 45.0)
    world = await house.world()
    who, regulator = await doctor(world), await world.regulator()
    settings = house.settings.model_copy(update={"webhook_loopback": True})
    async with (
        receiving() as receiver,
        serving(settings) as (http, _),
        working(settings, house.database),
    ):
        who.caller.http = http
        asked = house.mail.asked
        house.mail.awake.clear()
        for hour in (30, 31, 32):
            await booked(regulator, who, soon(hour))
        async with asyncio.timeout(30):
            while house.mail.asked < asked + 2:  # noqa: ASYNC110  nothing tells
                await asyncio.sleep(0.02)
        endpoint = await subscribed(who.caller, receiver.url)
        await who.caller.post(f"/v1/webhook-endpoints/{endpoint['id']}/test")
        await receiver.count(1)
        assert house.mail.to(who.email) == []
        house.mail.awake.set()


async def test_an_address_that_is_refused_for_good_is_not_tried_again(house: House) -> None:
    world = await house.world()
    who, regulator = await doctor(world), await world.regulator()
    house.mail.says[who.email] = "550 nobody here"
    booking = await booked(regulator, who)
    await house.work()
    assert (await _states(house, booking))["booked"] == ("dead", "smtp_550")


async def test_a_gateway_that_fails_is_asked_again(house: House) -> None:
    world = await house.world()
    who, regulator = await doctor(world), await world.regulator()
    phone = f"+336{booking_number(who.email):08d}"
    house.texts.status = 503
    booking = await booked(
        regulator,
        who,
        patient_file={"age": 40, "phone": phone},
        inform_patient={"confirmation": True},
    )
    await house.work()
    assert (await _states(house, booking))["confirmed"] == ("failed", "sms_503")
    house.texts.status = 200
    await house.shift(timedelta(minutes=1, seconds=10))
    await house.work()
    assert (await _states(house, booking))["confirmed"] == ("sent", None)
    ids = {head["idempotency-key"] for head, told in house.texts.taken if told["to"] == phone}
    assert len(ids) == 1


def booking_number(text: str) -> int:
    """Return eight digits made of a text."""
    return int(text.partition("@")[0], 16) % 10**8


async def test_a_worker_that_dies_after_the_server_took_the_mail_sends_it_again(
    house: House, tmp_path: Path
) -> None:
    """At least once, and with the same Message-ID: mail programs show one."""
    world = await house.world()
    who, regulator = await doctor(world), await world.regulator()
    settings = house.settings
    assert settings.database_url is not None
    assert settings.keys is not None
    assert settings.smtp_url is not None
    with snp(
        tmp_path,
        "worker",
        SNP_DATABASE_URL=settings.database_url.get_secret_value(),
        SNP_KEYS=settings.keys.get_secret_value(),
        SNP_SMTP_URL=settings.smtp_url.get_secret_value(),
        SNP_MAIL_FROM=settings.mail_from,
    ) as worker:

        def die() -> None:
            if house.mail.to(who.email):  # not at what other tests have left to be sent
                worker.process.kill()

        house.mail.on_message = die
        booking = await booked(regulator, who)
        async with asyncio.timeout(60):
            while not house.mail.to(who.email):  # noqa: ASYNC110  another process sends it
                await asyncio.sleep(0.02)
    house.mail.on_message = lambda: None
    assert (await _states(house, booking))["booked"] == ("queued", None)
    await house.work()  # whoever had it may still live
    assert len(house.mail.to(who.email)) == 1
    await house.shift(timedelta(minutes=2, seconds=10))
    await house.work()
    first, second = house.mail.to(who.email)
    assert first["Message-ID"] == second["Message-ID"]
    assert (await _states(house, booking))["booked"] == ("sent", None)
    await house.work()
    assert len(house.mail.to(who.email)) == 2


async def _confirmed_by_mail(house: House) -> dict[str, Any]:
    world = await house.world()
    who, regulator = await doctor(world), await world.regulator()
    return await booked(
        regulator,
        who,
        soon(100),
        patient_file={"age": 40, "email": f"{new_id().hex}@courriel.example"},
        inform_patient={"confirmation": True},
    )


async def test_a_message_that_cannot_be_written_waits_like_one_that_nobody_took(
    house: House,
) -> None:
    """As with a worker that has not the newest key: its jobs must not pile up each few seconds."""
    booking = await _confirmed_by_mail(house)
    file_id = booking["patient_file_id"]
    email = await house.owner.fetchval("SELECT email FROM patient_files WHERE id = $1", file_id)
    damage = "UPDATE patient_files SET email = $2 WHERE id = $1"
    await house.owner.execute(damage, file_id, bytes([email[0], 99]) + email[2:])
    await house.work()
    assert (await _states(house, booking))["confirmed"] == ("failed", "defect")
    assert (await _states(house, booking))["booked"] == ("sent", None)
    await house.shift(timedelta(minutes=1, seconds=10))
    await house.owner.execute(damage, file_id, email)
    await house.work()
    assert (await _states(house, booking))["confirmed"] == ("sent", None)


async def test_a_message_that_can_never_be_written_is_a_dead_letter_in_the_end(
    house: House,
) -> None:
    booking = await _confirmed_by_mail(house)
    await house.owner.execute(
        "UPDATE patient_files SET email = set_byte(email, 1, 99) WHERE id = $1",
        booking["patient_file_id"],
    )
    await house.work()
    await house.owner.execute(
        "UPDATE messages SET attempts = 50 WHERE booking_id = $1 AND state = 'failed'",
        UUID(booking["id"]),
    )
    await house.shift(timedelta(minutes=1, seconds=10))
    await house.work()
    assert (await _states(house, booking))["confirmed"] == ("dead", "defect")


# --- reports --------------------------------------------------------------------------------------


async def test_a_missing_report_is_asked_for_once(house: House) -> None:
    world = await house.world()
    who, regulator = await doctor(world), await world.regulator()
    missing = await booked(regulator, who, soon(30))
    told = await booked(regulator, who, soon(31))
    await house.work()
    await house.shift(timedelta(hours=32))
    await who.caller.sign_in()
    listed = await who.caller.get(
        "/v1/bookings", params={"state": "booked", "to": soon(32).isoformat()}
    )
    assert {one["id"] for one in listed.json()["items"]} == {missing["id"], told["id"]}
    reported = await who.caller.put(f"/v1/bookings/{told['id']}/report", {"state": "fulfilled"})
    assert reported.status_code == 200, reported.text
    await house.work()
    asked = [s for s in house.mail.subjects(who.email) if s.startswith("Le patient du")]
    assert asked == []  # 30 h + 20 min + 2 h
    for hours in (32.5, 34):
        await house.shift(timedelta(hours=hours))
        await house.work()
    mails = [m for m in house.mail.to(who.email) if str(m["Subject"]).startswith("Le patient du")]
    assert len(mails) == 1
    assert "/r/" in body(mails[0])
    assert (await _states(house, told))["report_due"] == ("suppressed", "outdated")


async def test_the_patients_own_doctor_hears_that_they_came(house: House) -> None:
    world = await house.world()
    who, own, regulator = await doctor(world), await doctor(world), await world.regulator()
    practitioner = await own.caller.get(f"/v1/practitioners/{own.caller.practitioner_id}")
    known = {"age": 40, "regular_doctor_rpps": practitioner.json()["rpps"]}
    agreed = {**known, "inform_regular_doctor": True, "family_name": "Zzyzx"}
    silent = await booked(regulator, who, soon(30), patient_file=known)
    told = await booked(regulator, who, soon(31), patient_file=agreed)
    missed = await booked(regulator, who, soon(32), patient_file=agreed)
    await house.shift(timedelta(hours=33))
    await who.caller.sign_in()
    for booking, state in ((silent, "fulfilled"), (told, "fulfilled"), (missed, "noshow")):
        await who.caller.put(f"/v1/bookings/{booking['id']}/report", {"state": state})
    await house.work()
    (mail,) = house.mail.to(own.email)
    assert mail["Subject"].startswith("Un de vos patients a été reçu le ")
    text = body(mail)
    assert "Reçu par : Camille Épreuve" in text
    assert "zzyzx" not in text.lower()
    assert "/r/" not in text


# --- contacts -------------------------------------------------------------------------------------


async def test_contacts_are_kept_by_the_doctors_side_and_managers(house: House) -> None:
    world, elsewhere = await house.world(), await house.world()
    who, manager = await doctor(world), await world.manager()
    shown = await manager.get(who.path)
    assert shown.json() == {
        "practitioner_id": str(who.caller.practitioner_id),
        "email": who.email,
        "mssante": None,
        "wants": {"booking": True, "cancellation": True, "reminder": True},
        "version": 1,
    }
    assert shown.headers["ETag"] == '"1"'
    wanted = {"email": "Autre@Cabinet.example", "wants": {"reminder": False}}
    changed = await manager.put(who.path, wanted, if_match=1)
    assert (changed.json()["email"], changed.json()["version"]) == ("autre@cabinet.example", 2)
    assert changed.json()["wants"] == {"booking": True, "cancellation": True, "reminder": False}
    assert (await manager.put(who.path, wanted)).json()["version"] == 2  # nothing changed
    problem(await manager.put(who.path, wanted, if_match=1), 412, "version-mismatch")
    wrong = await manager.put(who.path, {"mssante": "camille@orange.example"})
    problem(wrong, 422, "contact-invalid")
    problem(await manager.put(who.path, {"email": "nobody"}), 422, "invalid")
    for stranger in (await world.doctor(), await elsewhere.manager()):
        problem(await stranger.get(who.path), 403, "not-my-practitioner")
    new = await world.doctor()
    empty = await new.get(f"/v1/practitioners/{new.practitioner_id}/contact")
    assert (empty.json()["version"], empty.json()["email"]) == (0, None)
    facts = await house.owner.fetch(
        "SELECT data FROM events WHERE type = 'practitioner.contact_set' AND subject_id = $1",
        who.caller.practitioner_id,
    )
    assert len(facts) == 2
    assert not any("cabinet" in fact["data"].lower() for fact in facts)
