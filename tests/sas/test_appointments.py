"""INT_R03: the SAS platform hears of what its regulators book, and of nothing else."""

import asyncio
import json
import re
import ssl
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import select, text

from service import sas, stream
from service.identity import IDNPS, SAS, Role, closed_accounts, forget
from service.kernel.crypto import Keys
from service.kernel.db import UnitOfWork
from service.kernel.sending import SCHEDULE
from service.kernel.settings import Settings
from service.sas.clients import sender
from service.sas.tables import regulators, sas_appointments
from service.sas.usecases import appointments
from service.worker import working
from tests.conftest import DatabaseUrls
from tests.demo.processes import ROOT, environment
from tests.fhir.validator import GUIDES, findings
from tests.identity.authority import Authority
from tests.sas.conftest import OURS, Centre
from tests.sas.standin import HANG, LOSE, StandIn, platform
from tests.support import Caller, patient, soon

Body = dict[str, Any]
TYPE = "http://interopsante.org/fhir/CodeSystem/fr-v2-0203"


async def _row(centre: Centre, booking: Body) -> Any:
    async with centre.database.unit_of_work() as uow:
        found = await uow.execute(
            select(sas_appointments).where(sas_appointments.c.booking_id == booking["id"])
        )
        return found.one_or_none()


def _faults(resource: Body) -> list[Any]:
    """What either version of the guide finds wrong."""
    return [found for guide in GUIDES.values() for found in findings(guide, resource)]


# --- what is told ---------------------------------------------------------------------------------


async def test_a_booking_is_told_in_the_form_of_the_guide(centre: Centre) -> None:
    booking = await centre.book()
    await centre.tell()
    (asked,) = centre.standin.asked
    assert (asked.method, asked.target) == ("POST", "/sas/fhir/Appointment")
    assert asked.headers["content-type"] == "application/fhir+json; charset=utf-8"
    assert _faults(asked.json) == []
    resource = asked.json
    instants = [resource.pop(name) for name in ("start", "end", "created")]
    doctor = await centre.doctor.get(f"/v1/practitioners/{centre.doctor.practitioner_id}")
    assert resource == {
        "resourceType": "Appointment",
        "meta": {"profile": ["http://sas.fr/fhir/StructureDefinition/FrAppointmentSAS"]},
        "extension": [
            {
                "url": "http://interopsante.org/fhir/StructureDefinition/FrAppointmentOperator",
                "valueReference": {
                    "identifier": {
                        "type": {"coding": [{"system": TYPE, "code": "INTRN"}]},
                        "system": SAS,
                        "value": centre.technical,  # as SAS wrote it: in capitals
                    }
                },
            }
        ],
        "identifier": [{"system": OURS, "value": booking["id"]}],
        "status": "booked",
        "participant": [
            {
                "actor": {
                    "identifier": {
                        "type": {"coding": [{"system": TYPE, "code": "IDNPS"}]},
                        "system": IDNPS,
                        "value": f"8{doctor.json()['rpps']}",
                    }
                },
                "status": "accepted",
            }
        ],
    }
    shape = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d"
    assert all(re.fullmatch(shape, instant) for instant in instants)
    start = datetime.fromisoformat(instants[0])
    assert start == datetime.fromisoformat(booking["slot"]["starts_at"])
    assert start.utcoffset() == start.astimezone(ZoneInfo("Europe/Paris")).utcoffset()


async def test_a_regulator_is_named_by_the_number_that_they_came_with(centre: Centre) -> None:
    await centre.regulator.sign_in(user_system=IDNPS, user_id=centre.number, origin="sas")
    await centre.book()
    await centre.tell()
    operator = centre.standin.asked[0].json["extension"][0]["valueReference"]["identifier"]
    assert (operator["system"], operator["value"]) == (IDNPS, centre.number)
    assert operator["type"]["coding"] == [{"system": TYPE, "code": "IDNPS"}]


async def test_every_change_is_told_with_the_same_identifier(centre: Centre) -> None:
    booking = await centre.book(starts_at=soon(2))
    await centre.tell()
    later = await centre.slot(starts_at=soon(5))
    await _moved(centre, booking, later)
    await centre.tell()
    other = await centre.world.doctor()
    elsewhere = await other.publish(soon(6))
    await _moved(centre, booking, elsewhere)
    await centre.tell()
    await centre.clock.shift(timedelta(hours=7))
    for state in ("fulfilled", "noshow"):
        path = f"/v1/bookings/{booking['id']}/report"
        version = (await other.get(f"/v1/bookings/{booking['id']}")).headers["ETag"]
        answer = await other.put(path, {"state": state}, if_match=version)
        assert answer.status_code == 200, answer.text
        await centre.tell()
    standin = centre.standin
    assert standin.methods == ["POST", "PUT", "PUT", "PUT", "PUT"]
    assert standin.statuses == ["booked", "booked", "booked", "fulfilled", "noshow"]
    assert {one.sought for one in standin.asked[1:]} == {f"{OURS}|{booking['id']}"}
    assert len(standin.kept) == 1
    starts = [datetime.fromisoformat(one.json["start"]) for one in standin.asked]
    assert starts == [soon(2), soon(5), soon(6), soon(6), soon(6)]
    doctors = [one.json["participant"][0]["actor"]["identifier"]["value"] for one in standin.asked]
    assert doctors[0] == doctors[1] != doctors[2] == doctors[4]


async def _moved(centre: Centre, booking: Body, slot: Body) -> None:
    path = f"/v1/bookings/{booking['id']}/rescheduling"
    answer = await centre.regulator.post(path, {"slot_id": slot["id"]})
    assert answer.status_code == 200, answer.text


async def test_a_cancellation_is_told_whoever_cancels(centre: Centre) -> None:
    booking = await centre.book()
    await centre.tell()
    path = f"/v1/bookings/{booking['id']}/cancellation"
    answer = await centre.doctor.post(path, {"by": "doctor", "reason": "malade"})
    assert answer.status_code == 200, answer.text
    await centre.tell()
    assert centre.standin.statuses == ["booked", "cancelled"]
    await centre.tell()
    assert len(centre.standin.asked) == 2  # nothing new


async def test_what_a_regulator_booked_is_told_after_they_were_withdrawn(centre: Centre) -> None:
    booking = await centre.book()
    await centre.tell()
    unseen = await centre.book(starts_at=soon(4))
    await centre.withdraw()
    assert (await centre.regulator.get("/v1/me")).status_code == 401
    path = f"/v1/bookings/{booking['id']}/cancellation"
    answer = await centre.doctor.post(path, {"by": "doctor", "reason": "malade"})
    assert answer.status_code == 200, answer.text
    await centre.tell()
    told = {one.json["identifier"][0]["value"]: one.json for one in centre.standin.asked}
    assert {name: one["status"] for name, one in told.items()} == {
        booking["id"]: "cancelled", unseen["id"]: "booked",
    }  # fmt: skip
    for one in told.values():
        operator = one["extension"][0]["valueReference"]["identifier"]
        assert operator["value"] == centre.technical


async def test_a_centre_that_names_nobody_is_told_as_such(centre: Centre) -> None:
    organization = await centre.world.organization("csnp")
    place = await centre.world.location(organization)
    caller = await centre.world.caller(Role.DELEGATE, organization, "csnp")
    caller.location_id = place
    slot = await caller.publish(soon(3), visibility=["SNP"])
    body = {"slot_id": slot["id"], "patient_file": patient()}
    answer = await centre.regulator.post("/v1/bookings", body)
    assert answer.status_code == 201, answer.text
    await centre.tell()
    (asked,) = centre.standin.asked
    assert _faults(asked.json) == []
    assert asked.json["meta"]["profile"][0].endswith("/sas-sos-appointment")
    assert asked.json["participant"] == [
        {
            "type": [
                {
                    "coding": [
                        {
                            "system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationType",
                            "code": "ADM",
                        }
                    ]
                }
            ],
            "status": "needs-action",
        }
    ]


async def test_a_consultation_point_is_told_as_one_also_where_a_doctor_is_named(
    centre: Centre,
) -> None:
    doctor = await centre.world.doctor(organization_type="sos")
    slot = await doctor.publish(soon(3))
    body = {"slot_id": slot["id"], "patient_file": patient()}
    answer = await centre.regulator.post("/v1/bookings", body)
    assert answer.status_code == 201, answer.text
    await centre.tell()
    (asked,) = centre.standin.asked
    assert _faults(asked.json) == []
    assert asked.json["meta"]["profile"][0].endswith("/sas-sos-appointment")
    (participant,) = asked.json["participant"]
    named = (await doctor.get(f"/v1/practitioners/{doctor.practitioner_id}")).json()
    assert participant["actor"]["identifier"]["value"] == f"8{named['rpps']}"
    assert participant["status"] == "accepted"


def _texts(value: Any) -> set[str]:
    if isinstance(value, dict):
        return set().union(*map(_texts, value.values())) if value else set()
    if isinstance(value, list):
        return set().union(*map(_texts, value)) if value else set()
    return {str(value).lower()}


async def test_nothing_of_the_patient_nor_of_why_leaves(centre: Centre) -> None:
    slot = await centre.slot()
    who = patient(
        given_name="Zéphyrine", email="zephyrine@example.fr", phone="+33611223344",
        birth_date="1931-07-09", commune="36044",
    )  # fmt: skip
    answer = await centre.regulator.post(
        "/v1/bookings",
        {
            "slot_id": slot["id"],
            "patient_file": who,
            "case_id": "LRM-SECRET-1",
            "reason": {"motive": "M03.14", "text": "fièvre depuis deux jours"},
        },
    )
    assert answer.status_code == 201, answer.text
    booking = answer.json()
    await centre.tell()
    await centre.cancel(booking)
    await centre.tell()
    assert centre.standin.methods == ["POST", "PUT"]
    sent = "\n".join(
        f"{one.target} {json.dumps(one.headers)} {json.dumps(one.json, ensure_ascii=False)}"
        for one in centre.standin.asked
    ).lower()
    private = {"M03.14", "LRM-SECRET-1", "guéri", "fièvre depuis deux jours", "zephyrine"}
    private |= {text for text in _texts(who) if len(text) > 3}
    private |= {"loridon", "example.fr", str(booking["patient_file_id"])}
    assert not [text for text in private if text.lower() in sent]
    assert not {"slot", "reasoncode", "description", "comment", "patientinstruction"} & {
        name.lower() for one in centre.standin.asked for name in one.json
    }


async def test_sas_hears_nothing_of_the_bookings_of_others(centre: Centre) -> None:
    pharmacist = await centre.world.pharmacist()
    await centre.book(centre.software)  # regulation, by itself
    named = Caller(
        centre.software.http, centre.software.secret, Role.REGULATOR,
        centre.software.organization_id, centre.world.territory,
    )  # fmt: skip
    await named.sign_in(user_system="sas", user_id=centre.technical)  # not through SAS
    await centre.book(named, starts_at=soon(3))
    theirs = await centre.book(pharmacist, starts_at=soon(4), visibility=["PRO"])
    path = f"/v1/bookings/{theirs['id']}/cancellation"
    assert (await pharmacist.post(path, {"by": "patient"})).status_code == 200
    await centre.tell()
    assert centre.standin.asked == []
    async with centre.database.unit_of_work() as uow:
        assert (await uow.execute(select(sas_appointments))).all() == []


# --- when SAS does not take it --------------------------------------------------------------------


@pytest.mark.parametrize("status", [409, 412])
async def test_what_sas_has_already_is_written_anew(centre: Centre, status: int) -> None:
    centre.standin.answers.append(status)
    await centre.book()
    await centre.tell()
    assert centre.standin.methods == ["POST", "PUT"]
    assert len(centre.standin.kept) == 1


async def test_what_sas_has_not_is_created(centre: Centre) -> None:
    centre.standin.answers.extend([500, 404])
    booking = await centre.book()
    await centre.tell()
    await centre.clock.shift(timedelta(seconds=SCHEDULE[1] + 1))
    await centre.tell()
    assert centre.standin.methods == ["POST", "PUT", "POST"]
    assert (await _row(centre, booking)).state == "told"


async def test_a_lost_answer_makes_no_second_appointment(centre: Centre) -> None:
    centre.standin.answers.append(LOSE)
    booking = await centre.book()
    await centre.tell()
    assert (await _row(centre, booking)).state == "failed"
    await centre.clock.shift(timedelta(minutes=1))
    await centre.tell()
    assert centre.standin.methods == ["POST", "PUT"]
    assert list(centre.standin.kept) == [f"{OURS}|{booking['id']}"]
    assert (await _row(centre, booking)).state == "told"


async def test_who_died_while_telling_makes_no_second_appointment(centre: Centre) -> None:
    booking = await centre.book()
    await centre.hear()

    class Killed(BaseException):
        pass

    async with sender(centre.settings) as send:

        async def killed(*what: Any) -> Any:
            await send(*what)
            raise Killed

        with pytest.raises(Killed):
            await appointments.tell(centre.database, killed, OURS, seconds=5)
    await centre.tell()
    assert centre.standin.methods == ["POST", "PUT"]
    assert list(centre.standin.kept) == [f"{OURS}|{booking['id']}"]


async def test_it_is_tried_again_after_growing_waits_and_given_up_in_the_end(
    centre: Centre,
) -> None:
    centre.standin.answers.extend([500] * len(SCHEDULE))
    booking = await centre.book()
    passed = timedelta(0)
    for attempt, seconds in enumerate([*SCHEDULE[1:], 0.0], 1):
        await centre.tell()
        await centre.tell()  # before its time, nothing is sent
        assert len(centre.standin.asked) == attempt
        passed += timedelta(seconds=seconds + 1)
        await centre.clock.shift(passed)
    row = await _row(centre, booking)
    assert (row.state, row.last_status, row.last_failure) == ("abandoned", 500, "status")
    async with centre.database.unit_of_work() as uow:
        assert (await sas.measures(uow))["sas_abandoned"] == 1
        assert "abandoned: 1" in (await sas.health(centre.settings, uow))[1]
        assert await sas.retry(uow) == 1
    await centre.tell()
    assert (await _row(centre, booking)).state == "told"


async def test_what_changes_while_sas_is_away_is_told_once_as_it_is(centre: Centre) -> None:
    centre.standin.answers.append(503)
    booking = await centre.book()
    await centre.tell()
    await centre.cancel(booking)
    await centre.tell()
    assert centre.standin.statuses == ["booked", "cancelled"]
    assert (await _row(centre, booking)).state == "told"


async def test_what_changes_while_it_is_told_is_told_afterwards(centre: Centre) -> None:
    booking = await centre.book()
    await centre.hear()
    async with sender(centre.settings) as send:

        async def slowly(*what: Any) -> Any:
            if not centre.standin.asked:
                attempt = await send(*what)
                await centre.cancel(booking)
                await centre.hear()
                return attempt
            return await send(*what)

        await appointments.tell(centre.database, slowly, OURS, seconds=30)
    assert centre.standin.statuses == ["booked", "cancelled"]


async def test_what_changes_during_the_last_try_is_not_given_up(centre: Centre) -> None:
    booking = await centre.book(starts_at=soon(24 * 7))
    centre.standin.answers.extend([500] * len(SCHEDULE))
    passed = timedelta(0)
    for seconds in SCHEDULE[1:]:
        await centre.tell()
        passed += timedelta(seconds=seconds + 1)
        await centre.clock.shift(passed)
    async with sender(centre.settings) as send:

        async def slowly(*what: Any) -> Any:
            attempt = await send(*what)
            if len(centre.standin.asked) == len(SCHEDULE):
                await centre.cancel(booking)
                await centre.hear()
            return attempt

        await appointments.tell(centre.database, slowly, OURS, seconds=30)
    assert centre.standin.statuses == ["booked"] * len(SCHEDULE) + ["cancelled"]
    assert (await _row(centre, booking)).state == "told"


@pytest.mark.parametrize("away", [429, 502, 503, 504, LOSE])
async def test_sas_that_is_away_is_asked_once_whatever_waits_and_nothing_is_given_up(
    centre: Centre, away: int
) -> None:
    made = [await centre.book(starts_at=soon(24 * 7 + hours)) for hours in range(3)]
    await centre.hear()
    passed = timedelta(0)
    for attempt in range(1, 2 * len(SCHEDULE)):
        centre.standin.answers.append(away)
        for _ in range(3):  # as the clockwork does, each second
            await centre.tell()
        assert len(centre.standin.asked) == attempt
        passed += timedelta(hours=4)
        await centre.clock.shift(passed)
    assert {one.json["identifier"][0]["value"] for one in centre.standin.asked} == {
        booking["id"] for booking in made
    }
    async with centre.database.unit_of_work() as uow:
        assert (await sas.measures(uow))["sas_oldest_waiting_seconds"] >= passed.total_seconds()
    for _ in range(2):
        await centre.tell()
        await centre.clock.shift(passed + timedelta(minutes=1))
    assert [(await _row(centre, booking)).state for booking in made] == ["told"] * 3
    assert len(centre.standin.kept) == 3
    async with centre.database.unit_of_work() as uow:
        assert await sas.measures(uow) == {"sas_oldest_waiting_seconds": 0, "sas_abandoned": 0}


async def test_sas_that_is_away_is_asked_once_whatever_waits(centre: Centre) -> None:
    centre.standin.answers.extend([503] * 3)
    for hours in (3, 4, 5):
        await centre.book(starts_at=soon(hours))
    await centre.hear()
    for _ in range(3):  # as the clockwork does, each second
        await centre.tell()
    assert len(centre.standin.asked) == 1
    await centre.clock.shift(timedelta(minutes=2))
    centre.standin.answers.clear()
    await centre.tell()
    assert len(centre.standin.kept) == 3


async def test_facts_that_are_handed_on_twice_are_told_once(centre: Centre) -> None:
    await centre.book()
    await centre.tell()
    async with centre.database.unit_of_work() as uow:
        await sas.consume(uow, await stream.read_after(uow, stream.BEGINNING, 1000))
    await centre.tell()
    assert len(centre.standin.asked) == 1


# --- how it is reached ----------------------------------------------------------------------------


async def test_a_silent_platform_is_left_after_a_while(
    centre: Centre, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.sas.clients._SECONDS", 0.2)
    centre.standin.answers.append(HANG)
    booking = await centre.book()
    await centre.tell()
    row = await _row(centre, booking)
    assert (row.state, row.last_failure) == ("failed", "timeout")


async def test_sas_is_shown_our_certificate_and_must_show_one_that_we_trust(
    centre: Centre, tmp_path: Path
) -> None:
    authority, strangers = Authority(tmp_path), Authority(tmp_path, "strangers")
    theirs = authority.certificate("sas", "CN=sas.example,OU=318751275100020")
    ours = authority.certificate("broker", "CN=broker.example,OU=312345678901234")
    strange = strangers.certificate("strange", "CN=broker.example,OU=312345678901234")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(theirs)
    tls.load_verify_locations(tmp_path / "authority.pem")
    tls.verify_mode = ssl.CERT_REQUIRED

    def told(url: str, certificate: Path | None, ca: Path | None) -> Settings:
        changes = {
            "sas_appointments_url": url,
            "sas_client_certificate": certificate,
            "sas_client_key": certificate,
            "sas_server_ca": ca,
        }
        return centre.settings.model_copy(update=changes)

    async with platform(tls) as standin:
        booking = await centre.book()
        trusted = tmp_path / "authority.pem"
        for certificate, ca in ((None, trusted), (strange, trusted), (ours, None)):
            await centre.tell(told(standin.url, certificate, ca))
            assert standin.asked == []
            assert (await _row(centre, booking)).last_failure == "connection"
            async with centre.database.unit_of_work() as uow:
                await sas.retry(uow)
        await centre.tell(told(standin.url, ours, trusted))
        (asked,) = standin.asked
        assert asked.subject is not None
        assert "commonName=broker.example" in asked.subject


async def test_a_worker_tells_it_by_itself(centre: Centre) -> None:
    async with working(centre.settings, centre.database):
        booking = await centre.book()
        await centre.standin.count(1)
        await centre.cancel(booking)
        await centre.standin.count(2)
    standin: StandIn = centre.standin
    assert standin.statuses == ["booked", "cancelled"]


async def test_without_an_address_it_waits_until_there_is_one(centre: Centre) -> None:
    booking = await centre.book()
    await centre.hear()
    silent = centre.settings.model_copy(update={"sas_appointments_url": ""})
    async with centre.database.unit_of_work() as uow:
        assert "is not set" in (await sas.health(silent, uow))[1]
    async with working(silent, centre.database):
        await _postponed(centre, booking)
    assert (await _row(centre, booking)).state == "new"
    await centre.clock.shift(timedelta(minutes=2))
    async with working(centre.settings, centre.database):
        await centre.standin.count(1)
    assert centre.standin.methods == ["POST"]


async def test_a_certificate_that_cannot_be_read_is_told_in_the_log_now_and_then(
    centre: Centre, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    missing = tmp_path / "missing.pem"
    changes = {"sas_client_certificate": missing, "sas_client_key": missing}
    booking = await centre.book()
    async with working(centre.settings.model_copy(update=changes), centre.database):
        await _postponed(centre, booking)
        async with centre.database.unit_of_work() as uow:
            assert await sas.retry(uow) == 0  # a job more, with nothing to tell
        await _until(centre, "NOT EXISTS (SELECT FROM procrastinate_jobs WHERE queue_name = 'sas')")
    assert centre.standin.asked == []
    assert capsys.readouterr().err.count("sas.not_told") == 1
    row = await _row(centre, booking)
    assert (row.state, row.attempts) == ("new", 0)


async def _postponed(centre: Centre, booking: Body) -> None:
    """Wait until a worker has seen that SAS cannot be told, and tries no more for a while."""
    await _until(
        centre,
        "EXISTS (SELECT FROM sas_appointments"
        f" WHERE booking_id = '{booking['id']}' AND next_attempt_at > snp_now())",
    )


async def _until(centre: Centre, condition: str) -> None:
    async with asyncio.timeout(60):
        while True:
            async with centre.database.unit_of_work() as uow:
                if (await uow.execute(text(f"SELECT {condition}"))).scalar_one():
                    return
            await asyncio.sleep(0.02)


def test_what_is_set_up_by_half_is_refused() -> None:
    for changes in (
        {"sas_appointments_url": "https://sas.example/fhir"},
        {"sas_appointments_url": "http://sas.example/fhir", "sas_system": OURS},
        {"sas_client_certificate": "/x.pem"},
    ):
        with pytest.raises(ValueError, match="SAS"):
            Settings.model_validate(changes)


# --- upkeep ---------------------------------------------------------------------------------------


async def test_the_command_begins_anew_with_what_failed(
    centre: Centre, database_urls: DatabaseUrls, keys: Keys
) -> None:
    centre.standin.answers.append(422)
    booking = await centre.book()
    await centre.tell()
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "service.cli", "sas", "retry"],
        cwd=ROOT,
        env={
            **environment(),
            "SNP_DATABASE_URL": database_urls.app,
            "SNP_KEYS": keys.model_dump_json(),
        },
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "1 appointments are told again.\n"
    await centre.tell()
    assert centre.standin.methods == ["POST", "PUT"]
    assert (await _row(centre, booking)).state == "told"


async def test_what_was_told_is_kept_until_nothing_can_change(centre: Centre) -> None:
    booking = await centre.book()
    await centre.tell()
    for days, kept in ((59, True), (61, False)):
        await centre.clock.shift(timedelta(days=days))
        async with centre.database.unit_of_work() as uow:
            await appointments.clear(uow)
        assert (await _row(centre, booking) is not None) == kept


async def test_a_regulator_goes_when_retention_has_forgotten_who_they_were(
    centre: Centre,
) -> None:
    withdrawn = await centre.withdraw()
    async with centre.database.unit_of_work() as uow:
        await appointments.clear(uow)
        assert withdrawn.account_id is not None
        assert await _regulators(uow) == 1
    async with centre.database.unit_of_work() as uow:
        later = await uow.now() + timedelta(days=1)
        assert await closed_accounts(uow, later) == [withdrawn.account_id]
        await forget(uow, [withdrawn.account_id], later)
        await appointments.clear(uow)
        assert await _regulators(uow) == 0


async def _regulators(uow: UnitOfWork) -> int:
    return len((await uow.execute(select(regulators.c.id))).all())
