"""A day of a territory, then every figure of it: as JSON, as CSV, as a workbook.

What is expected is counted in the test, from what the test did.
"""

import csv
import io
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from service.analytics.http import XLSX
from service.identity import Role
from tests.analytics.test_answers import read_sheet
from tests.calls.support import ago, closed, opened, with_outcome
from tests.conftest import Clock
from tests.needs.support import need, recorded
from tests.support import Caller, World, patient, soon

Body = dict[str, Any]


async def _booked(caller: Caller, slot: Body, **members: Any) -> Body:
    answer = await caller.post(
        "/v1/bookings", {"slot_id": slot["id"], "patient_file": patient(), **members}
    )
    assert answer.status_code == 201, answer.text
    found: Body = answer.json()
    return found


async def _reported(doctor: Caller, booking: Body, **report: Any) -> None:
    answer = await doctor.put(f"/v1/bookings/{booking['id']}/report", report)
    assert answer.status_code == 200, answer.text


async def _a_day(world: World, cpts_id: UUID, clock: Clock) -> dict[str, Body]:
    """Do what is done on one day, and say what it amounts to."""
    member, alone = await world.doctor(cpts_ids=[cpts_id]), await world.doctor()
    regulator, pharmacist = await world.regulator(), await world.pharmacist()
    ward = await world.organization("emergency_department")
    nurse = await world.caller(Role.EMERGENCY_NURSE, ward, "emergency_department")

    # Seats: 4 of the community's doctor, one of them withdrawn; 3 of the other one's; a walk-in.
    shared = await member.publish(soon(2), visibility=["SNP", "PRO"], capacity=2, overbooking=1)
    far, gone = await member.publish(soon(30)), await member.publish(soon(4))
    taken_back = await member.delete(f"/v1/slots/{gone['id']}", if_match=gone["version"])
    assert taken_back.status_code == 204, taken_back.text
    unused = await alone.publish(soon(1), visibility=["SNP", "PRO"], capacity=3)
    await alone.publish(soon(6), walk_in=True)

    # Calls: one advised, one oriented and called back, one unreachable, one void.
    advised = await opened(regulator, received_at=ago(50), cpts_id=str(cpts_id))
    await with_outcome(regulator, advised, "medical_advice")
    await closed(regulator, advised, "emergency_department")
    oriented = await opened(regulator, received_at=ago(40), callback_requested=True)
    reached = await regulator.post(
        f"/v1/calls/{oriented['id']}/callbacks", {"at": ago(0), "reached": True}
    )
    assert reached.status_code == 201, reached.text
    lost = await opened(regulator, received_at=ago(30), callback_requested=True)
    missed = await regulator.post(
        f"/v1/calls/{lost['id']}/callbacks", {"at": ago(0), "reached": False}
    )
    assert missed.status_code == 201, missed.text
    await with_outcome(regulator, lost, "patient_unreachable")
    mistake = await opened(regulator)
    voided = await regulator.patch(f"/v1/calls/{mistake['id']}", {"void": True})
    assert voided.status_code == 200, voided.text

    # Bookings: for the call, by the pharmacist, by the nurse beyond the day, and one given back.
    for_call = await _booked(regulator, shared, call_id=oriented["id"])
    from_counter = await _booked(pharmacist, shared)
    await _booked(regulator, far)
    given_back = await _booked(nurse, unused)
    cancelled = await nurse.post(f"/v1/bookings/{given_back['id']}/cancellation", {"by": "patient"})
    assert cancelled.status_code == 200, cancelled.text

    await clock.shift(timedelta(hours=3))
    await _reported(member, for_call, state="fulfilled")
    await _reported(member, from_counter, state="noshow", sent_to_emergency=False)
    return {
        "call-outcomes": {
            "calls": 3,
            "outcomes.medical_advice.calls": 1,
            "outcomes.medical_advice.share": 0.3333,
            "outcomes.medical_advice.percent": 33,
            "outcomes.slot_orientation.calls": 1,
            "outcomes.prescription.calls": 0,
            "outcomes.other.calls": 1,
            "outcomes.other.detail.patient_unreachable.calls": 1,
            "outcome_mentions": 3,
            "calls_with_several_outcomes": 0,
            "calls_without_outcome": 0,
            "avoided_emergency_visits.calls": 1,
            "callback_minutes.calls": 2,
            "callback_minutes.within_60_share": 1.0,
        },
        "slot-usage": {
            "published": 2 + 1 + 1 + 3,
            "booked": 2 + 1,
            "withdrawn": 1,
            "expired": 3,
            "open": 0,
            "overbooked": 0,
            "walk_in": 1,
            "rates.fill.value": 0.5,
        },
        "appointments": {
            "booked": 4,
            "fulfilled": 1,
            "missed": 1,
            "cancelled": 1,
            "cancelled_by.patient": 1,
            "cancelled_by.doctor": 0,
            "unreported": 0,
            "upcoming": 1,
            "sent_to_emergency": 0,
            "within_24_hours": 2,
            "within_48_hours": 3,
            "rates.missed.value": 0.5,
            "rates.cancelled.value": 0.25,
        },
        "referrals": {
            "booked": 4,
            "fulfilled": 1,
            "missed": 1,
            "cancelled": 1,
            "pending": 1,
            "requesters.regulator.sas.booked": 2,
            "requesters.pharmacist.pharmacy.missed": 1,
            "requesters.emergency_nurse.emergency_department.cancelled": 1,
            "rates.missed.value": 0.5,
        },
        "callbacks": {
            "calls": 3,
            "requested": 2,
            "attempted": 2,
            "reached": 1,
            "within_60_minutes": 2,
            "rates.requested.value": 0.6667,
            "rates.reached.value": 0.5,
        },
        "cpts-indicators": {
            "doctors.publishing": 2,
            "doctors.offering": 2,
            "doctors.booked": 2,  # the pharmacist's patient gave up, their side did not
            "requests.calls": 3,
            "requests.oriented": 1,
            "requests.with_appointment": 1,
            "requests.honoured": 1,
            "requests.pending": 0,
            "requests.within_24_hours": 1,
            "requests.rates.honoured.value": 1.0,
        },
    }


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of an answer, by their paths as a table's header writes them."""
    if isinstance(value, dict):
        for name, member in value.items():
            yield from _leaves(member, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        names = ("category", "outcome", "role", "organization_type")
        for item in value:
            named = ".".join(item[name] for name in names if name in item)
            rest = {name: member for name, member in item.items() if name not in names}
            yield from _leaves(rest, f"{path}.{named}")
    else:
        yield path, value


def _csv(content: bytes) -> list[Body]:
    assert content.startswith(b"\xef\xbb\xbf")
    return list(csv.DictReader(io.StringIO(content.decode("utf-8-sig")), delimiter=";"))


def _typed(text: str) -> Any:
    """A cell as a French spreadsheet reads it."""
    if text in {"true", "false", ""}:
        return {"true": True, "false": False, "": None}[text]
    try:
        return float(text.replace(",", "."))
    except ValueError:
        return text


def _xlsx(content: bytes) -> list[Body]:
    header, *rows = read_sheet(content)
    return [dict(zip(header, row, strict=True)) for row in rows]


async def test_every_figure_in_every_form(world: World, clock: Clock) -> None:
    cpts_id = await world.organization("cpts")
    expected = await _a_day(world, cpts_id, clock)
    manager = await world.manager()
    today = soon(0).astimezone(ZoneInfo("Europe/Paris")).date()
    days = {"from": str(today - timedelta(days=2)), "to": str(today + timedelta(days=4))}
    asked = {"territory": world.territory, **days}

    for name, figures in expected.items():
        path = f"/v1/analytics/{name}"
        answer = await manager.get(path, params=asked)
        assert answer.status_code == 200, answer.text
        leaves = dict(_leaves(answer.json()))
        assert {key: leaves[key] for key in figures} == figures, name

        sheets = {}
        for media in ("text/csv", XLSX):
            told = await manager.get(path, params=asked, headers={"Accept": media})
            assert told.headers["content-type"].partition(";")[0] == media, told.text
            (sheets[media],) = (_csv if media == "text/csv" else _xlsx)(told.content)
        for media, row in sheets.items():
            assert {key: _typed(row[key]) for key in figures} == figures, (name, media)

    # The community's own seats, and its members apart from the rest.
    own = await manager.get("/v1/analytics/slot-usage", params={"cpts": str(cpts_id), **days})
    members = ("published", "booked", "withdrawn", "expired", "open")
    assert [own.json()[name] for name in members] == [4, 3, 1, 0, 0]
    grouped = await manager.get("/v1/analytics/slot-usage", params={**asked, "group_by": "cpts"})
    assert [(g["key"], g["published"]) for g in grouped.json()["groups"]] == [
        (str(cpts_id), 4),
        (None, 3),
    ]
    for name in expected:
        monthly = await manager.get(f"/v1/analytics/{name}", params={**asked, "group_by": "month"})
        whole, groups = monthly.json(), monthly.json()["groups"]
        count = {"call-outcomes": "calls", "callbacks": "calls", "slot-usage": "published"}
        key = count.get(name, "booked")
        if name != "cpts-indicators":  # a doctor counts in each month
            assert sum(group[key] for group in groups) == whole[key]


async def test_needs_beside_unused_seats(world: World) -> None:
    """Needs count where the patient is, so this is about a département: its needs are counted."""
    manager = await world.caller(
        Role.MANAGER, await world.organization("cpts"), "cpts", territories=["2B"]
    )
    day = soon(0).astimezone(ZoneInfo("Europe/Paris")).date()
    asked = {"territory": "2B", "from": str(day), "to": str(day + timedelta(days=3))}

    async def told() -> dict[tuple[str, str], int]:
        answer = await manager.get("/v1/analytics/unmet-needs", params=asked)
        assert answer.status_code == 200, answer.text
        body = answer.json()
        found = {("", "needs"): body["needs"]}
        for by in ("motive", "mode", "reason", "commune"):
            found |= {(by, line["key"]): line["needs"] for line in body[f"by_{by}"]}
        return found

    before = await told()
    pharmacist = await world.pharmacist()
    for reason in ("no_room", "no_room", "too_late"):
        await recorded(pharmacist, need("2B033", reason=reason))
    after = await told()
    changed = {key: n - before.get(key, 0) for key, n in after.items() if n != before.get(key, 0)}
    assert changed == {
        ("", "needs"): 3,
        ("motive", "M03.14"): 3,
        ("mode", "AMB"): 3,
        ("reason", "no_room"): 2,
        ("reason", "too_late"): 1,
        ("commune", "2B033"): 3,
    }
    forms = {}
    for media in ("text/csv", XLSX):
        sheet = await manager.get(
            "/v1/analytics/unmet-needs", params=asked, headers={"Accept": media}
        )
        forms[media] = (_csv if media == "text/csv" else _xlsx)(sheet.content)
        assert int(forms[media][0]["needs"]) == after["", "needs"]
        lines = {row["key"]: int(row["needs"]) for row in forms[media] if row.get("by") == "reason"}
        assert lines == {key: n for (by, key), n in after.items() if by == "reason"}
    assert len(forms["text/csv"]) == len(forms[XLSX])
