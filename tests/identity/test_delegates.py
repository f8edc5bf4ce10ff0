"""People who act for doctors, and people who are stopped, signed in with an issuer."""

from service import grants
from service.identity import OPERATOR, Role, find_account
from tests.identity.people import Desk, somebody
from tests.support import patient, problem


async def test_a_secretary_of_two_doctors_says_for_whom_they_act_now(hospital: Desk) -> None:
    doctors = [await hospital.world.doctor() for _ in range(2)]
    secretary = somebody(hospital.provider)
    for doctor in doctors:
        await hospital.grant(
            secretary, Role.DELEGATE, organization_id=doctor.organization_id, type_="practice",
            practitioner_ids=[doctor.practitioner_id],
        )  # fmt: skip

    def token() -> str:
        return hospital.provider.token(sub=secretary.value)

    told = (await hospital.exchange(token(), "role:delegate")).json()["error_description"]
    for doctor in doctors:
        assert f"practitioner:{doctor.practitioner_id}" in told
        scope = f"role:delegate practitioner:{doctor.practitioner_id}"
        caller = await hospital.caller(token(), Role.DELEGATE, scope)
        me = (await caller.get("/v1/me")).json()
        assert me["practitioner_ids"] == [str(doctor.practitioner_id)]
    stranger = await hospital.world.practitioner()
    assert (await hospital.exchange(token(), f"practitioner:{stranger}")).status_code == 400


async def test_who_is_stopped_is_refused_at_the_next_request_in_every_role(hospital: Desk) -> None:
    person = somebody(hospital.provider)

    def token() -> str:
        return hospital.provider.token(sub=person.value)

    callers = []
    for role, kind in ((Role.REGULATOR, "sas"), (Role.PHARMACIST, "pharmacy")):
        await hospital.grant(person, role, kind)
        callers.append(await hospital.caller(token(), role, f"role:{role}"))
        assert (await callers[-1].get("/v1/slots")).status_code == 200
    async with hospital.database.unit_of_work() as uow:
        account = await find_account(uow, person)
        assert account is not None
        assert await grants.stop(uow, OPERATOR, account.id) == len(callers)
    for caller in callers:
        problem(await caller.get("/v1/slots"), 401, "grant-ended")
        booking = {"slot_id": str(account.id), "patient_file": patient()}
        problem(await caller.post("/v1/bookings", booking), 401, "grant-ended")
    assert (await hospital.exchange(token())).json()["error"] == "invalid_scope"
