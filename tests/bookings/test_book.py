"""Booking over HTTP: who may, on which patient, and every refusal."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from service.identity import Role
from service.kernel.db import Database
from service.kernel.ids import new_id
from service.kernel.wall import as_upkeep
from tests.conftest import Clock
from tests.support import Caller, World, patient, problem, soon


def request(slot: dict[str, Any], **members: Any) -> dict[str, Any]:
    """A booking of somebody new on this slot."""
    if not {"patient_file", "patient_file_id", "call_id"} & members.keys():
        members["patient_file"] = patient()
    return {"slot_id": slot["id"], **members}


async def booked(caller: Caller, slot: dict[str, Any], **members: Any) -> dict[str, Any]:
    """Book, and return the answer."""
    answer = await caller.post("/v1/bookings", request(slot, **members))
    assert answer.status_code == 201, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def test_a_regulator_books_a_hidden_slot_on_a_new_patient(world: World) -> None:
    doctor, regulator = await world.doctor(), await world.regulator()
    slot = await doctor.publish()
    who = patient(given_name="Zoé")
    answer = await regulator.post(
        "/v1/bookings",
        request(
            slot,
            patient_file=who,
            case_id="LRM-123",
            reason={"motive": "M03.14", "text": "fièvre depuis 2 jours"},
        ),
    )
    assert answer.status_code == 201
    assert answer.headers["Location"] == f"/v1/bookings/{answer.json()['id']}"
    assert answer.headers["ETag"] == '"1"'
    assert answer.headers["Cache-Control"] == "no-store"
    body = answer.json()
    assert body["state"] == "booked"
    assert body["case_id"] == "LRM-123"
    assert body["slot"]["starts_at"] == slot["starts_at"]
    assert body["practitioner"]["id"] == str(doctor.practitioner_id)
    assert body["requested_by"]["role"] == "regulator"
    seen = (await doctor.get(f"/v1/bookings/{body['id']}")).json()
    assert seen["patient"]["family_name"] == who["family_name"]
    assert seen["patient"]["given_name"] == "Zoé"
    assert seen["reason_text"] == "fièvre depuis 2 jours"
    again = (await doctor.get(f"/v1/slots/{slot['id']}")).json()
    assert (again["state"], again["remaining"], again["booked"]) == ("full", 0, 1)


async def test_a_pharmacist_books_only_what_is_labelled_for_professionals(world: World) -> None:
    doctor, pharmacist = await world.doctor(), await world.pharmacist()
    hidden = await doctor.publish(soon(2))
    shown = await doctor.publish(soon(3), visibility=["SNP", "PRO"])
    unknown = await pharmacist.post("/v1/bookings", request({"id": str(new_id())}))
    refused = await pharmacist.post("/v1/bookings", request(hidden))
    assert {**problem(refused, 404, "slot-not-found"), "request_id": ""} == {
        **problem(unknown, 404, "slot-not-found"),
        "request_id": "",
    }
    assert (await booked(pharmacist, shown))["requested_by"]["role"] == "pharmacist"


@pytest.mark.parametrize(
    "role", [Role.REGULATOR, Role.OSNP, Role.ARM], ids=["regulator", "osnp", "arm"]
)
async def test_all_regulation_staff_book(world: World, role: Role) -> None:
    doctor = await world.doctor()
    assert await booked(await world.regulation(role), await doctor.publish())


@pytest.mark.parametrize(
    ("role", "kind"),
    [
        (Role.EMERGENCY_NURSE, "emergency_department"),
        (Role.PROFESSIONAL, "practice"),
        (Role.DELEGATE, "practice"),
        (Role.PLATFORM_OPERATOR, "cpts"),
    ],
)
async def test_professionals_book_what_is_labelled_pro(world: World, role: Role, kind: str) -> None:
    doctor = await world.doctor()
    slot = await doctor.publish(visibility=["PRO"])
    caller = await world.caller(role, await world.organization(kind), kind)
    more = {"on_behalf_of": {"name": "Dr Appelant"}} if role is Role.PLATFORM_OPERATOR else {}
    body = await booked(caller, slot, **more)
    assert body["requested_by"]["on_behalf_of"] == more.get("on_behalf_of")


@pytest.mark.parametrize("role", [Role.MANAGER, Role.ANALYST, Role.ADMIN, Role.SAS_PLATFORM])
async def test_other_roles_do_not_book(world: World, role: Role) -> None:
    slot = await (await world.doctor()).publish(visibility=["PUBLIC", "PRO", "SNP"])
    caller = await world.caller(role, await world.organization("other"), "other")
    problem(await caller.post("/v1/bookings", request(slot)), 403, "role-lacks-operation")


async def test_a_platform_operator_names_who_asks(world: World) -> None:
    slot = await (await world.doctor()).publish(visibility=["PRO"])
    operator = await world.caller(Role.PLATFORM_OPERATOR, await world.organization("cpts"), "cpts")
    refused = problem(await operator.post("/v1/bookings", request(slot)), 422, "booking-invalid")
    assert refused["errors"][0]["pointer"] == "#/on_behalf_of"


async def test_a_slot_taken_a_moment_ago_is_a_conflict(world: World) -> None:
    doctor, regulator = await world.doctor(), await world.regulator()
    slot = await doctor.publish()
    await booked(regulator, slot)
    problem(await regulator.post("/v1/bookings", request(slot)), 409, "slot-taken")


async def test_the_same_person_cannot_hold_two_overlapping_bookings(world: World) -> None:
    one, other, regulator = await world.doctor(), await world.doctor(), await world.regulator()
    who = patient(family_name="Lefèvre-Noël", given_name="Chloé")
    first = await booked(regulator, await one.publish(soon(4)), patient_file=who)
    overlapping = await other.publish(soon(4, 10))
    rewritten = {**who, "family_name": "LEFEVRE NOEL", "given_name": "chloe", "phone": None}
    refused = await regulator.post("/v1/bookings", request(overlapping, patient_file=rewritten))
    assert problem(refused, 409, "patient-already-booked")["blocking_booking"] == first["id"]
    after = await (other).get(f"/v1/slots/{overlapping['id']}")
    assert after.json()["booked"] == 0
    override = {"reason": "deux avis le même jour, voulu"}
    assert await booked(regulator, overlapping, patient_file=rewritten, override=override)


async def test_what_blocks_is_named_only_to_who_may_see_it(world: World) -> None:
    doctor, regulator, pharmacist = (
        await world.doctor(),
        await world.regulator(),
        await world.pharmacist(),
    )
    other = await world.doctor()
    who = patient()
    await booked(regulator, await doctor.publish(soon(4)), patient_file=who)
    slot = await other.publish(soon(4), visibility=["PRO"])
    refused = await pharmacist.post("/v1/bookings", request(slot, patient_file=who))
    assert "blocking_booking" not in problem(refused, 409, "patient-already-booked")


async def test_somebody_without_identity_may_be_booked(world: World) -> None:
    doctor, regulator = await world.doctor(), await world.regulator()
    anonymous = {"age": 45, "sex": "F", "commune": "36044"}
    first = await booked(
        regulator, await doctor.publish(soon(4)), patient_file=anonymous, case_id="LRM-9"
    )
    second = await booked(
        regulator, await (await world.doctor()).publish(soon(4)), patient_file=anonymous
    )
    assert first["patient_file_id"] != second["patient_file_id"]
    read = (await regulator.get(f"/v1/bookings/{first['id']}")).json()
    assert read["patient"]["age"] == "P45Y"


async def test_an_existing_file_may_be_booked_and_the_doctor_reads_it_then(world: World) -> None:
    doctor, regulator = await world.doctor(), await world.regulator()
    file = (await regulator.post("/v1/patient-files", patient())).json()
    problem(await doctor.get(f"/v1/patient-files/{file['id']}"), 404, "patient-file-not-found")
    body = await booked(regulator, await doctor.publish(), patient_file_id=file["id"])
    assert body["patient_file_id"] == file["id"]
    read = await doctor.get(f"/v1/patient-files/{file['id']}")
    assert read.json()["family_name"] == file["family_name"]


async def test_somebody_elses_file_does_not_exist_and_takes_no_seat(world: World) -> None:
    doctor, regulator, pharmacist = (
        await world.doctor(),
        await world.regulator(),
        await world.pharmacist(),
    )
    file = (await regulator.post("/v1/patient-files", patient())).json()
    slot = await doctor.publish(visibility=["PRO", "SNP"])
    refused = await pharmacist.post("/v1/bookings", request(slot, patient_file_id=file["id"]))
    problem(refused, 404, "patient-file-not-found")
    assert (await doctor.get(f"/v1/slots/{slot['id']}")).json()["booked"] == 0


async def test_exactly_one_patient_is_given(world: World) -> None:
    doctor, regulator = await world.doctor(), await world.regulator()
    slot = await doctor.publish()
    both = {"slot_id": slot["id"], "patient_file": patient(), "patient_file_id": str(new_id())}
    problem(await regulator.post("/v1/bookings", both), 422, "invalid")
    problem(await regulator.post("/v1/bookings", {"slot_id": slot["id"]}), 422, "invalid")


@pytest.mark.parametrize(
    "motive", ["M01.00", "M01.03", "M02.02", "M03.01", "M03.06", "M03.08", "M03.12", "M03.19"]
)
async def test_a_vital_emergency_is_not_for_a_slot(world: World, motive: str) -> None:
    doctor, regulator = await world.doctor(), await world.regulator()
    slot = await doctor.publish()
    reason = {"motive": motive}
    refused = await regulator.post("/v1/bookings", request(slot, reason=reason))
    assert problem(refused, 422, "vital-emergency")["errors"][0]["pointer"] == "#/reason/motive"
    osnp = await world.regulation(Role.OSNP)
    override = {"reason": "revu par téléphone"}
    problem(
        await osnp.post("/v1/bookings", request(slot, reason=reason, override=override)),
        403,
        "override-not-allowed",
    )
    made = await booked(regulator, slot, reason=reason, override=override)
    read = (await regulator.get(f"/v1/bookings/{made['id']}")).json()
    assert read["override_reason"] == "revu par téléphone"


async def test_seats_beyond_capacity_need_to_be_asked_for(world: World) -> None:
    doctor, regulator = await world.doctor(), await world.regulator()
    pharmacist = await world.pharmacist()
    slot = await doctor.publish(overbooking=1, visibility=["SNP", "PRO"])
    await booked(regulator, slot)
    full = problem(await regulator.post("/v1/bookings", request(slot)), 409, "slot-taken")
    assert full["overbooking_left"] == 1
    asked = request(slot, overbook=True)
    problem(await pharmacist.post("/v1/bookings", asked), 403, "overbook-not-allowed")
    assert (await booked(regulator, slot, overbook=True))["overbooked"] is True
    asked = request(slot, overbook=True)
    problem(await regulator.post("/v1/bookings", asked), 409, "slot-taken")


async def test_walk_in_withdrawn_and_unknown_slots_cannot_be_booked(world: World) -> None:
    doctor, regulator = await world.doctor(), await world.regulator()
    walk_in = await doctor.publish(soon(2), walk_in=True)
    problem(await regulator.post("/v1/bookings", request(walk_in)), 409, "walk-in")
    withdrawn = await doctor.publish(soon(3))
    await doctor.delete(f"/v1/slots/{withdrawn['id']}", if_match=1)
    problem(await regulator.post("/v1/bookings", request(withdrawn)), 409, "slot-withdrawn")


async def test_a_slot_that_has_started_cannot_be_booked(world: World, clock: Clock) -> None:
    doctor, regulator = await world.doctor(), await world.regulator()
    slot = await doctor.publish(soon(1))
    await clock.shift(timedelta(hours=1, minutes=5))
    problem(await regulator.post("/v1/bookings", request(slot)), 409, "already-started")


async def test_a_hold_is_used_by_whoever_presents_it_of_the_same_organization(
    world: World, clock: Clock
) -> None:
    doctor, regulator, osnp = (
        await world.doctor(),
        await world.regulator(),
        await world.regulation(Role.OSNP),
    )
    pharmacist = await world.pharmacist()
    slot = await doctor.publish(visibility=["SNP", "PRO"])
    hold = (await regulator.post(f"/v1/slots/{slot['id']}/holds", {"seconds": 60})).json()
    problem(await pharmacist.post("/v1/bookings", request(slot)), 409, "slot-held")
    foreign = await pharmacist.post("/v1/bookings", request(slot, hold_id=hold["id"]))
    assert problem(foreign, 409, "hold-expired")["room_left"] is False
    assert await booked(osnp, slot, hold_id=hold["id"])
    used = await regulator.post("/v1/bookings", request(slot, hold_id=hold["id"]))
    problem(used, 409, "hold-expired")
    roomy = await doctor.publish(soon(5), capacity=3)
    late = (await regulator.post(f"/v1/slots/{roomy['id']}/holds", {"seconds": 60})).json()
    await clock.shift(timedelta(seconds=61))
    expired = await regulator.post("/v1/bookings", request(roomy, hold_id=late["id"]))
    assert problem(expired, 409, "hold-expired")["room_left"] is True


async def test_a_call_gets_its_orientation_with_the_booking(world: World) -> None:
    doctor, regulator = await world.doctor(), await world.regulator()
    file = (await regulator.post("/v1/patient-files", patient())).json()
    call = (
        await regulator.post(
            "/v1/calls",
            {
                "line": "116117",
                "received_at": soon(-1).isoformat(),
                "patient_file_id": file["id"],
            },
        )
    ).json()
    slot = await doctor.publish()
    body = await booked(regulator, slot, call_id=call["id"])
    assert (body["call_id"], body["patient_file_id"]) == (call["id"], file["id"])
    outcomes = (await regulator.get(f"/v1/calls/{call['id']}")).json()["outcomes"]
    assert [(o["outcome"], o["booking_id"]) for o in outcomes] == [("slot_orientation", body["id"])]
    await regulator.post(f"/v1/bookings/{body['id']}/cancellation", {"by": "patient"})
    kept = (await regulator.get(f"/v1/calls/{call['id']}")).json()["outcomes"]
    assert [o["outcome"] for o in kept] == ["slot_orientation"]


async def test_a_booking_for_a_call_shares_its_case_id_and_gives_it_its_patient(
    world: World,
) -> None:
    doctor, regulator, start = await world.doctor(), await world.regulator(), soon(3)
    slots = [await doctor.publish(start + timedelta(minutes=20 * n)) for n in range(3)]
    opened = {"line": "15", "received_at": soon(0).isoformat(), "case_id": "LRM-42"}
    call = (await regulator.post("/v1/calls", opened)).json()
    first = await booked(regulator, slots[0], call_id=call["id"], patient_file=patient())
    assert first["case_id"] == "LRM-42"
    read = (await regulator.get(f"/v1/calls/{call['id']}")).json()
    assert read["patient_file_id"] == first["patient_file_id"]
    # The next booking of the call needs no file; a case id of its own wins; the first file stays.
    again = {"slot_id": slots[1]["id"], "call_id": call["id"], "case_id": "B1"}
    second = await regulator.post("/v1/bookings", again)
    assert second.status_code == 201, second.text
    assert second.json()["patient_file_id"] == first["patient_file_id"]
    assert second.json()["case_id"] == "B1"
    third = await booked(regulator, slots[2], call_id=call["id"], patient_file=patient())
    assert third["patient_file_id"] != first["patient_file_id"]
    read = (await regulator.get(f"/v1/calls/{call['id']}")).json()
    assert read["patient_file_id"] == first["patient_file_id"]


async def test_a_call_is_for_regulation_only_and_must_be_open(world: World) -> None:
    doctor, regulator, pharmacist = (
        await world.doctor(),
        await world.regulator(),
        await world.pharmacist(),
    )
    call = (
        await regulator.post("/v1/calls", {"line": "15", "received_at": soon(-1).isoformat()})
    ).json()
    slot = await doctor.publish(visibility=["SNP", "PRO"])
    foreign = request(slot, call_id=call["id"], patient_file=patient())
    problem(await pharmacist.post("/v1/bookings", foreign), 404, "call-not-found")
    without = {"slot_id": slot["id"], "call_id": call["id"]}
    problem(await regulator.post("/v1/bookings", without), 422, "booking-invalid")
    vital = (
        await regulator.post(
            "/v1/calls",
            {"line": "15", "received_at": soon(-1).isoformat(), "priority": "P0"},
        )
    ).json()
    refused = request(slot, call_id=vital["id"], patient_file=patient())
    problem(await regulator.post("/v1/bookings", refused), 422, "vital-emergency")
    await regulator.post(f"/v1/calls/{call['id']}/outcomes", {"outcome": "medical_advice"})
    closed = await regulator.post(f"/v1/calls/{call['id']}/closure", {"otherwise": "none"})
    assert closed.status_code in {200, 201}, closed.text
    problem(await regulator.post("/v1/bookings", foreign), 409, "call-state")
    assert (await doctor.get(f"/v1/slots/{slot['id']}")).json()["booked"] == 0


async def test_nothing_about_the_patient_reaches_events_or_idempotency_rows(
    world: World, database: Database
) -> None:
    doctor, regulator = await world.doctor(), await world.regulator()
    who = patient(family_name="Zzyzxlabelle", given_name="Quidamette", phone="+33612345678")
    answer = await regulator.post(
        "/v1/bookings",
        request(await doctor.publish(), patient_file=who, reason={"text": "Zzyzxlabelle tousse"}),
        key="k-leak",
    )
    booking = answer.json()["id"]
    await regulator.post(
        f"/v1/bookings/{booking}/cancellation",
        {"by": "patient", "reason": "Zzyzxlabelle va mieux"},
    )
    tables = (
        "events", "idempotency_keys", "bookings", "patient_files", "calls", "slots", "holds"
    )  # fmt: skip
    async with database.unit_of_work() as uow:
        await as_upkeep(uow)
        for table in tables:
            found = await uow.execute(
                text(f"SELECT count(*) FROM {table} t WHERE t::text ~* :who"),
                {"who": "zzyzx|quidam|612345678|746f757373|5a7a797a78"},
            )
            assert found.scalar_one() == 0, table


async def test_a_revoked_right_books_nothing_more(world: World, database: Database) -> None:
    doctor, regulator = await world.doctor(), await world.regulator()
    slot = await doctor.publish()
    async with database.unit_of_work() as uow:
        await uow.execute(
            text("UPDATE grants SET revoked_at = snp_now() WHERE client_id = :client"),
            {"client": regulator.secret.client_id},
        )
    problem(await regulator.post("/v1/bookings", request(slot)), 401, "grant-ended")
    assert (await doctor.get(f"/v1/slots/{slot['id']}")).json()["booked"] == 0


async def test_a_seat_that_the_own_organization_took_is_told_so(world: World) -> None:
    doctor, regulator, pharmacist = (
        await world.doctor(),
        await world.regulator(),
        await world.pharmacist(),
    )
    slot = await doctor.publish(visibility=["SNP", "PRO"])
    other = await doctor.publish(soon(4))
    made = await booked(regulator, slot)
    colleague = await world.regulation(Role.OSNP)
    for caller in (regulator, colleague):
        told = problem(await caller.post("/v1/bookings", request(slot)), 409, "slot-taken")
        assert told["own_booking"] == made["id"]
        assert "your organization" in told["detail"]
    told = problem(await pharmacist.post("/v1/bookings", request(slot)), 409, "slot-taken")
    assert "own_booking" not in told
    assert "detail" not in told
    moving = await booked(regulator, other)
    path = f"/v1/bookings/{moving['id']}/rescheduling"
    told = problem(await regulator.post(path, {"slot_id": slot["id"]}), 409, "slot-taken")
    assert told["own_booking"] == made["id"]


async def test_a_booking_says_when_the_patient_is_not_identified(world: World) -> None:
    doctor, regulator = await world.doctor(), await world.regulator()
    incomplete: list[dict[str, Any]] = [
        patient(sex=None),
        patient(given_name="-"),
        patient(birth_date=None, age=40),
        {"age": 40, "sex": "M"},
    ]
    for n, who in enumerate(incomplete):
        made = await booked(regulator, await doctor.publish(soon(2 + n)), patient_file=who)
        assert made["warnings"] == ["patient-not-identified"], who
        for reader in (doctor, regulator):
            seen = (await reader.get(f"/v1/bookings/{made['id']}")).json()
            assert seen["warnings"] == ["patient-not-identified"]
    other = await world.doctor()
    assert await booked(regulator, await other.publish(soon(2)), patient_file=incomplete[0])
    whole = patient()
    first = await booked(regulator, await other.publish(soon(3)), patient_file=whole)
    assert first["warnings"] == []
    reason = {"motive": "M02.04"}
    both = await booked(
        regulator, await other.publish(soon(5)), patient_file={"age": 40}, reason=reason
    )
    assert both["warnings"] == ["M02.04", "patient-not-identified"]


async def test_an_overridden_booking_says_the_same_of_its_patient(world: World) -> None:
    doctor, regulator = await world.doctor(), await world.regulator()
    for n, (who, warned) in enumerate(((patient(), False), (patient(sex=None), True))):
        made = await booked(
            regulator,
            await doctor.publish(soon(2 + n)),
            patient_file=who,
            override={"reason": "revu par téléphone"},
        )
        assert ("patient-not-identified" in made["warnings"]) is warned
