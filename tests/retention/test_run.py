"""What is erased when, what stays, and that a run may be cut off."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest
import pytest_asyncio

from service import retention
from service.identity import OPERATOR, Identifier, Role, give_grant, open_account
from service.kernel import events
from service.kernel.settings import Settings
from service.retention import rules
from tests.conftest import DatabaseUrls
from tests.demo.processes import snp
from tests.retention.support import Place, book, place
from tests.support import WAITING, patient, problem, soon

_WHO = ("family_name", "given_name", "birth_date", "phone", "email", "ins", "patient_key")
_INDEXES = ("name_birth_index", "phone_index", "ins_index")


@pytest_asyncio.fixture
async def here(
    database_urls: DatabaseUrls, make_settings: Callable[..., Settings]
) -> AsyncIterator[Place]:
    """A service with a clock of its own."""
    async with place(database_urls, make_settings) as found:
        yield found


async def test_an_identity_goes_and_its_booking_stays(here: Place) -> None:
    regulator, doctor = await here.world.regulator(), await here.world.doctor()
    booking = await book(regulator, doctor, case_id="K-1")
    cancelled = await book(regulator, doctor, 4)
    path = f"/v1/bookings/{cancelled['id']}/cancellation"
    assert (await doctor.post(path, {"by": "doctor", "reason": "malade"})).status_code == 200
    await here.later(days=80)
    assert await here.due() == await here.run() == {}
    await here.later(days=95)
    due = await here.due()
    assert due == {"identity": 2, "booking-texts": 2}
    assert await here.run(batch=1) == due
    assert await here.due() == await here.run() == {}
    (file,) = await here.rows(
        "SELECT * FROM patient_files WHERE id = $1::uuid", booking["patient_file_id"]
    )
    assert [file[name] for name in (*_WHO, *_INDEXES)] == [None] * 10
    assert (file["sex"], file["commune"]) == ("F", "36044")
    for row in await here.rows("SELECT * FROM bookings"):
        texts = ("reason_text", "cancel_reason", "report_detail", "patient_key")
        assert [row[name] for name in texts] == [None] * 4
    await regulator.sign_in()
    read = (await regulator.get(f"/v1/bookings/{booking['id']}")).json()
    assert (read["case_id"], read["state"], read["reason_text"]) == ("K-1", "booked", None)
    assert read["patient"]["family_name"] is None
    told = await here.rows("SELECT data FROM events WHERE type = 'retention.applied'")
    assert len(told) == 4  # one a batch
    assert "K-1" not in str(told)


async def test_references_go_after_five_years(here: Place) -> None:
    regulator, doctor = await here.world.regulator(), await here.world.doctor()
    await regulator.sign_in(user_family_name="Zzyzx", user_id="7")
    call = await regulator.post(
        "/v1/calls", {"line": "15", "received_at": soon(-1).isoformat(), "case_id": "K-2"}
    )
    booking = await book(regulator, doctor, call_id=call.json()["id"], case_id="K-2")
    closing = f"/v1/calls/{call.json()['id']}/closure"
    assert (await regulator.post(closing, {"otherwise": "wait"})).status_code in {200, 201}
    await here.later(days=5 * 366)
    done = await here.run()
    assert done["call-references"] == done["booking-references"] == done["file-references"] == 1
    rows = [
        *await here.rows("SELECT * FROM calls"),
        *await here.rows("SELECT * FROM bookings"),
        *await here.rows("SELECT * FROM patient_files"),
    ]
    assert all(row["case_id"] is None for row in rows)
    assert "Zzyzx" not in str(rows)
    assert str(rows[1]["id"]) == booking["id"]
    assert await here.run() == {}


async def test_a_need_keeps_what_was_needed(here: Place) -> None:
    regulator = await here.world.regulator()
    rows = await here.rows(
        """INSERT INTO unmet_needs (id, territory, zone, commune, motive, mode, wanted_from,
             wanted_to, reason, note, case_id, age, radius_km, open_slots, open_slots_fitting,
             organization_id, organization_type, role, person)
           VALUES (gen_random_uuid(), $1, 'Europe/Paris', '36044', 'M03.14', 'AMB',
             now() - interval '6 years', now() - interval '6 years' + interval '1 hour', 'no_room',
             'x', 'K-3', 'P4Y', 10, 0, 0, $2, 'sas', 'regulator', '{"id": "7"}') RETURNING id""",
        here.world.territory,
        regulator.organization_id,
    )
    assert await here.run() == {"need-texts": 1, "need-references": 1}
    (row,) = await here.rows("SELECT * FROM unmet_needs WHERE id = $1", rows[0]["id"])
    assert [row[name] for name in ("note", "case_id", "age", "person")] == [None] * 4
    assert (row["commune"], row["motive"], row["reason"]) == ("36044", "M03.14", "no_room")


async def test_an_override_stays_an_override(here: Place) -> None:
    """Its two bookings overlap: without the override one of them could not be there."""
    regulator, doctor, other = (
        await here.world.regulator(),
        await here.world.doctor(),
        await here.world.doctor(),
    )
    one = await book(regulator, doctor)
    again = await book(
        regulator,
        other,
        patient_file=None,
        patient_file_id=one["patient_file_id"],
        override={"reason": "Zzyzx consulte deux fois"},
    )
    await here.later(days=95)
    assert (await here.run())["override-texts"] == 1
    await regulator.sign_in()
    read = (await regulator.get(f"/v1/bookings/{again['id']}")).json()
    assert read["override_reason"] == ""
    assert await here.run() == {}


async def test_a_patient_who_came_back_stays_known(here: Place) -> None:
    """The file is kept for its last appointment, also of a call that is still open."""
    regulator, doctor = await here.world.regulator(), await here.world.doctor()
    booking = await book(regulator, doctor)
    await here.later(days=60)
    await regulator.sign_in()
    await doctor.sign_in()
    await book(
        regulator,
        doctor,
        24 * 60 + 2,
        patient_file=None,
        patient_file_id=booking["patient_file_id"],
    )
    await here.later(days=100)
    assert await here.run() == {"booking-texts": 1}
    await regulator.sign_in()
    file = (await regulator.get(f"/v1/patient-files/{booking['patient_file_id']}")).json()
    assert file["family_name"]


async def test_a_forgotten_call_keeps_nobody_for_ever(here: Place) -> None:
    """Limits count from the last thing that happened to a call, whether it was closed or not."""
    regulator = await here.world.regulator()
    file = (await regulator.post("/v1/patient-files", patient())).json()
    body = {"line": "15", "received_at": soon(-1).isoformat(), "patient_file_id": file["id"]}
    call = await regulator.post("/v1/calls", {**body, "case_id": "K-1", "callback_requested": True})
    assert call.status_code == 201, call.text
    path = f"/v1/calls/{call.json()['id']}/callbacks"
    for days in (60, 120):  # nobody answers, and later again
        await here.later(days=days)
        assert await here.run() == {}
        await regulator.sign_in()
        assert (await regulator.post(path, {"reached": False})).status_code in {200, 201}
    await here.later(days=215)
    assert await here.run() == {"identity": 1}
    await here.later(days=6 * 366)
    done = await here.run()
    assert done["call-references"] == done["file-references"] == 1
    assert done["callback-references"] == 2
    (left,) = await here.rows("SELECT case_id, qualified_by, state FROM calls")
    assert (left["case_id"], left["qualified_by"]) == (None, None)
    assert left["state"] == "awaiting_callback"


async def test_unused_clients_are_revoked(here: Place) -> None:
    regulator, pharmacist = await here.world.regulator(), await here.world.pharmacist()
    await here.later(days=200)
    await regulator.sign_in()
    await here.later(days=370)
    assert await here.run() == {"clients": 1}
    await regulator.sign_in()
    refused = await pharmacist.http.post(
        "/oauth/token",
        data={
            "grant_type": "client_credentials",
            "client_id": str(pharmacist.secret.client_id),
            "client_secret": pharmacist.secret.client_secret,
        },
    )
    assert refused.json()["error"] == "invalid_client"


async def test_people_who_do_not_come_lose_their_rights_and_then_their_names(here: Place) -> None:
    """A year without a sign-in, then a year after the last right ended."""
    regulator = await here.world.regulator()
    accounts = []
    for n in (1, 2):
        person = Identifier("urn:test:people", f"{n}{here.world.territory}")
        async with here.database.unit_of_work() as uow:
            account = await open_account(
                uow, OPERATOR, identifier=person, family_name="Zzyzx", given_name="Léa", email=None
            )
            await give_grant(
                uow,
                account_id=account.id,
                role=Role.OSNP,
                organization_id=regulator.organization_id,
                organization_type="sas",
                territories=[here.world.territory],
            )
        accounts.append(account.id)
    await here.later(days=300)
    await regulator.sign_in()
    async with here.database.unit_of_work() as uow:
        await events.record(
            uow, OPERATOR, "account.signed_in", accounts[0], territory=None, data={}
        )
    await here.later(days=370)
    assert await here.run() == {"accounts": 1}
    (left,) = await here.rows(
        "SELECT account_id FROM grants WHERE revoked_at IS NULL AND role = 'osnp'"
    )
    assert left["account_id"] == accounts[0]
    (told,) = await here.rows("SELECT role FROM events WHERE type = 'grant.revoked'")
    assert told["role"] == "operator"
    await here.later(days=640)
    await regulator.sign_in()
    assert await here.run() == {}
    await here.later(days=740)
    assert await here.due() == {"accounts": 1, "people": 1}
    assert await here.run() == {"accounts": 1, "people": 1}
    named = await here.rows("SELECT id FROM accounts WHERE family_name IS NOT NULL")
    known = await here.rows("SELECT account_id FROM account_identifiers")
    assert [row["id"] for row in named] == [row["account_id"] for row in known] == accounts[:1]
    assert await here.run() == {}


async def test_a_run_that_was_cut_off_goes_on(here: Place) -> None:
    regulator = await here.world.regulator()
    for _ in range(7):
        assert (await regulator.post("/v1/patient-files", patient())).status_code == 201
    await here.later(days=100)

    class CutOffError(Exception):
        """The process was ended."""

    def cut_off(done: int, _total: int) -> None:
        if done >= 4:
            raise CutOffError

    with pytest.raises(CutOffError):
        await retention.run(here.database, retention.rules(here.settings), cut_off, batch=2)
    assert await here.due() == {"identity": 3}
    assert await here.run() == {"identity": 3}


async def test_a_file_is_corrected_until_a_day_after_its_appointment(here: Place) -> None:
    regulator, doctor = await here.world.regulator(), await here.world.doctor()
    path = f"/v1/patient-files/{(await book(regulator, doctor))['patient_file_id']}"
    for hours in (0, 26):
        await here.later(hours=hours)
        await regulator.sign_in()
        answer = await regulator.patch(path, {"given_name": "Ève"})
        assert answer.status_code == 200, answer.text
    await here.later(hours=26.7)
    problem(await regulator.patch(path, {"given_name": "Ève"}), 409, "patient-file-closed")
    # A new appointment opens it again; a file without one stays open.
    await doctor.sign_in()
    await book(regulator, doctor, 40, patient_file=None, patient_file_id=path.rpartition("/")[2])
    assert (await regulator.patch(path, {"given_name": "Ève"})).status_code == 200


async def test_the_command_shows_and_erases(here: Place, tmp_path: Path) -> None:
    regulator = await here.world.regulator()
    assert (await regulator.post("/v1/patient-files", patient())).status_code == 201
    await here.later(days=100)
    keys_text = here.settings.keys
    assert keys_text is not None
    settings = {"SNP_DATABASE_URL": here.urls.app, "SNP_KEYS": keys_text.get_secret_value()}
    said = []
    for command in (("show",), ("run", "--dry-run"), ("run",), ("run",)):
        with snp(tmp_path / "-".join(command), "retention", *command, **settings) as run:
            assert run.process.wait(60) == 0, run.errors
            said.append(next(line for line in run.output.splitlines() if "identity " in line))
    counts = [line.split()[line.split().index("months") + 2] for line in said]
    assert counts == ["1", "1", "1", "0"]


def test_every_limit_is_a_setting() -> None:
    shorter = Settings.model_validate(
        {
            "retention_identity_months": 1,
            "retention_reference_months": 2,
            "retention_unused_client_months": 3,
            "retention_closed_account_months": 4,
        }
    )
    kept = {rule.kept for rule in rules(shorter)}
    assert kept == {"1 months", "2 months", "3 months", "4 months", "25 hours"}
    assert {rule.kept for rule in rules(Settings.model_validate({}))} == {
        *("3 months", "60 months", "12 months", "25 hours"),
    }


async def test_nobody_is_erased_while_being_booked(here: Place) -> None:
    """A booking on an old file has read it and waits for its slot; the run passes it over."""
    regulator, doctor = await here.world.regulator(), await here.world.doctor()
    opened = await regulator.post("/v1/patient-files", patient())
    await here.later(days=100)
    await regulator.sign_in()
    await doctor.sign_in()
    slot = await doctor.publish(soon(24 * 101))
    blocker = await asyncpg.connect(here.urls.superuser)
    transaction = blocker.transaction()
    await transaction.start()
    await blocker.execute("SELECT FROM slots WHERE id = $1 FOR UPDATE", UUID(slot["id"]))
    body = {"slot_id": slot["id"], "patient_file_id": opened.json()["id"]}
    booking = asyncio.create_task(regulator.post("/v1/bookings", body))
    while not await here.rows(WAITING):  # noqa: ASYNC110  nobody is told who waits
        await asyncio.sleep(0.01)
    assert await here.run() == {}
    await transaction.rollback()
    await blocker.close()
    assert (await booking).status_code == 201
    assert await here.run() == await here.due() == {}
    file = await doctor.get(f"/v1/patient-files/{opened.json()['id']}")
    assert file.json()["family_name"]
