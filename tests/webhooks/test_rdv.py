"""Bookings as the national message: judged by the published schema and an independent library."""

import json
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from service.directory.tables import organizations
from tests.support import patient, soon
from tests.webhooks.conftest import Broker
from tests.webhooks.receivers import receiving
from tests.webhooks.support import cancelled, drain, fan, moved, subscribed

_SCHEMA = Path(__file__).parent / "data" / "RS-SAS-RDV.schema.json"
_PYTHON = Path(__file__).parents[2] / ".venv-fuzz/bin/python"
_JUDGE = """
import json, sys, jsonschema_rs
judge = jsonschema_rs.Draft7Validator(json.load(open(sys.argv[1])), validate_formats=True)
print(json.dumps([[e.message for e in judge.iter_errors(one)] for one in json.load(sys.stdin)]))
"""
REGULATOR = {
    "user_system": "rpps",
    "user_id": "10005681340",
    "user_family_name": "Ricart",
    "user_given_name": "Pauline",
    "user_email": "pauline.ricart@sas.example",
}


def faults(messages: list[dict[str, Any]]) -> list[list[str]]:
    """What the published schema finds wrong in each message."""
    done = subprocess.run(
        [_PYTHON, "-c", _JUDGE, _SCHEMA],
        input=json.dumps(messages),
        capture_output=True,
        text=True,
        check=True,
    )
    found: list[list[str]] = json.loads(done.stdout)
    return found


def test_the_judge_finds_faults() -> None:
    good = {
        "appointmentId": "1",
        "method": "CreateAppointment",
        "created": "2026-12-01T10:00:00+01:00",
        "start": "2026-12-01T10:00:00+01:00",
        "status": "booked",
        "regulator": {"regulatorName": "", "regulatorFirstname": "", "regulatorEmail": ""},
    }
    wrong = [
        {**good, "created": "2026-12-01T09:00:00Z"},
        {**good, "method": "createAppointment"},
        {**good, "patient": "x"},
        {**good, "practitioner": {"rppsId": "10005681340", "lastName": "x", "firstName": "x"}},
    ]
    found = faults([good, *wrong])
    assert found[0] == []
    assert all(found[1:])


@pytest.mark.parametrize("named", [True, False])
async def test_a_booking_from_its_making_to_its_end(idle: Broker, named: bool) -> None:
    world = await idle.world()
    doctor, regulator = await world.doctor(), await world.regulator()
    if named:
        await regulator.sign_in(**REGULATOR)
        async with idle.database.unit_of_work() as uow:
            here = organizations.c.id == doctor.organization_id
            await uow.execute(update(organizations).where(here).values(finess="360000053"))
    async with receiving() as receiver:
        endpoint = await subscribed(regulator, receiver.url, format="rs-sas-rdv")
        first, second = await doctor.publish(soon(3)), await doctor.publish(soon(4))
        file = patient()
        answer = await regulator.post(
            "/v1/bookings",
            {"slot_id": first["id"], "patient_file": file, "case_id": "DRFR157702400400055"},
        )
        assert answer.status_code == 201, answer.text
        booking = answer.json()
        await fan(idle.database)
        await moved(regulator, booking, second)
        await cancelled(regulator, booking)
        await fan(idle.database)
        await drain(idle.database, endpoint)
        again = await regulator.post(
            "/v1/bookings", {"slot_id": second["id"], "patient_file": patient()}
        )
        await idle.clock.shift(timedelta(hours=5))
        path = f"/v1/bookings/{again.json()['id']}/report"
        reported = await doctor.put(path, {"state": "noshow"})
        assert reported.status_code == 200, reported.text
        await fan(idle.database)
        await drain(idle.database, endpoint)
    sent = [one.verified(endpoint["secret"]) for one in receiver.received]
    messages = [one["appointment"] for one in sent]
    assert faults(messages) == [[]] * len(sent)
    assert [(one["method"], one["status"]) for one in messages] == [
        ("CreateAppointment", "booked"),
        ("UpdateAppointment", "booked"),
        ("UpdateAppointment", "cancelled"),
        ("CreateAppointment", "booked"),
        ("UpdateAppointment", "noshow"),
    ]
    assert {one["appointmentId"] for one in messages[:3]} == {booking["id"]}
    starts = [datetime.fromisoformat(one["start"]).astimezone(UTC) for one in messages[:2]]
    assert starts == [soon(3), soon(4)]
    assert [one.get("caseId") for one in sent] == ["DRFR157702400400055"] * 3 + [None] * 2
    assert {one["orientationCategory"] for one in messages} == {"PS"}
    assert messages[0]["practitioner"]["rppsId"].startswith("81")
    if named:
        assert messages[0]["regulator"] == {
            "regulatorId": "810005681340",
            "regulatorName": "Ricart",
            "regulatorFirstname": "Pauline",
            "regulatorEmail": "pauline.ricart@sas.example",
        }
        assert messages[0]["organization"]["organizationId"] == "1360000053"
    else:
        assert messages[0]["regulator"]["regulatorName"].startswith("sas ")
        assert "organization" not in messages[0]
    everything = b"".join(one.body for one in receiver.received).decode()
    for name, told in file.items():
        assert name in {"given_name", "sex", "commune"} or told not in everything, name
