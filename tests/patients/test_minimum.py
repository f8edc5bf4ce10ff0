"""No more than is needed: a booking without a name, and an INS only with what vouches for it."""

from typing import Any

import pytest

from tests.support import Caller, World, patient, problem, soon

INS = "279035121518989"


async def _seen(caller: Caller, file_id: str, booking_id: str) -> list[dict[str, Any]]:
    """The patient, everywhere a caller meets one."""
    listed = (await caller.get("/v1/bookings")).json()["items"]
    found = await caller.post(
        "/v1/patient-files/search", {"phone": "+33600000000", "purpose": "care"}
    )
    return [
        (await caller.get(f"/v1/patient-files/{file_id}")).json(),
        (await caller.get(f"/v1/bookings/{booking_id}")).json()["patient"],
        *(one["patient"] for one in listed),
        *found.json()["items"],
    ]


@pytest.mark.parametrize("status", ["PROV", "RECUP", "VALI", "QUAL"])
async def test_an_ins_leaves_with_a_qualified_identity_only(world: World, status: str) -> None:
    regulator, doctor = await world.regulator(), await world.doctor()
    slot = await doctor.publish()
    made = await regulator.post(
        "/v1/bookings",
        {"slot_id": slot["id"], "patient_file": patient(ins=INS, identity_status=status)},
    )
    assert made.status_code == 201, made.text
    assert INS not in made.text
    file_id, shown = made.json()["patient_file_id"], INS if status == "QUAL" else None
    for caller in (regulator, doctor):
        seen = await _seen(caller, file_id, made.json()["id"])
        assert len(seen) == 4
        assert [one["ins"] for one in seen] == [shown] * 4
        assert {one["identity_status"] for one in seen} == {status}
    exported = await regulator.get(f"/v1/patient-files/{file_id}/export")
    assert (INS in exported.text) == (status == "QUAL")


async def test_no_identity_is_qualified_without_its_ins(world: World) -> None:
    regulator, doctor = await world.regulator(), await world.doctor()
    bare = patient(identity_status="QUAL")
    problem(await regulator.post("/v1/patient-files", bare), 422, "invalid")
    inline = {"slot_id": (await doctor.publish())["id"], "patient_file": bare}
    problem(await regulator.post("/v1/bookings", inline), 422, "invalid")
    opened = await regulator.post("/v1/patient-files", {**bare, "ins": INS})
    path = f"/v1/patient-files/{opened.json()['id']}"
    problem(await regulator.patch(path, {"ins": None}), 422, "patient-invalid")
    lowered = await regulator.patch(path, {"ins": None, "identity_status": "VALI"})
    assert lowered.status_code == 200, lowered.text


async def test_a_patient_without_a_name_is_booked_and_seen_by_the_doctor(world: World) -> None:
    """Age, sex, motive and the caller's own case id: who it is stays in the caller's software."""
    regulator, doctor = await world.regulator(), await world.doctor()
    nobody = {"age": 40, "sex": "F"}
    made = []
    for hours in (2, 4):
        slot = await doctor.publish(soon(hours))
        answer = await regulator.post(
            "/v1/bookings",
            {
                "slot_id": slot["id"],
                "patient_file": nobody,
                "case_id": "LRM-7",
                "reason": {"motive": "M03.14"},
            },
        )
        assert answer.status_code == 201, answer.text
        made.append(answer.json())
    assert made[0]["case_id"] == "LRM-7"
    received = (await doctor.get(f"/v1/bookings/{made[0]['id']}")).json()
    assert (received["patient"]["age"], received["patient"]["sex"]) == ("P40Y", "F")
    assert received["motive"] == "M03.14"
    for name in ("family_name", "given_name", "birth_date", "phone", "email", "ins"):
        assert received["patient"][name] is None
    found = await regulator.get("/v1/bookings", params={"case_id": "LRM-7"})
    assert {one["id"] for one in found.json()["items"]} == {one["id"] for one in made}
    # Two nobodies at one time are two people.
    twin = await (await world.doctor()).publish(soon(2))
    again = await regulator.post(
        "/v1/bookings", {"slot_id": twin["id"], "patient_file": nobody, "case_id": "LRM-8"}
    )
    assert again.status_code == 201, again.text
    cancelled = await regulator.post(
        f"/v1/bookings/{made[0]['id']}/cancellation", {"by": "patient"}
    )
    assert cancelled.status_code == 200, cancelled.text
