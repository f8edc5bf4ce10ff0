"""The second wall: row-level security holds what forgot its own condition."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import asyncpg
import httpx
import pytest
import pytest_asyncio

from service.identity import Role
from service.kernel.ids import new_id
from service.kernel.settings import Settings
from service.kernel.wall import UPKEEP
from service.main import create_app
from tests.conftest import DatabaseUrls
from tests.support import Caller, World, patient, problem, soon

_READS = "SELECT set_config('snp.reader', $1, true)"


@pytest_asyncio.fixture
async def plain(shared_urls: DatabaseUrls) -> AsyncIterator["asyncpg.Connection[Any]"]:
    """Somebody with the application's password and a prompt."""
    connection = await asyncpg.connect(shared_urls.app)
    yield connection
    await connection.close()


async def opened(caller: Caller) -> str:
    """Open a file, and return its id."""
    answer = await caller.post("/v1/patient-files", patient())
    assert answer.status_code == 201, answer.text
    made: str = answer.json()["id"]
    return made


async def seen(connection: "asyncpg.Connection[Any]", reader: str, *ids: str) -> int:
    """How many of these files a reader sees."""
    async with connection.transaction():
        await connection.execute(_READS, reader)
        found: int = await connection.fetchval(
            "SELECT count(*) FROM patient_files WHERE id = ANY($1::uuid[])", ids
        )
        return found


async def test_plain_sql_sees_and_changes_nobody(
    world: World, plain: "asyncpg.Connection[Any]"
) -> None:
    file_id = await opened(await world.regulator())
    assert await plain.fetchval("SELECT count(*) FROM patient_files") == 0
    assert await plain.fetch("SELECT * FROM patient_files WHERE id = $1::uuid", file_id) == []
    assert await plain.execute("UPDATE patient_files SET phone = NULL") == "UPDATE 0"
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await plain.execute("DELETE FROM patient_files")
    # What is there after all is seen once it is said who reads: the test could fail.
    assert await seen(plain, UPKEEP, file_id) == 1


async def test_only_who_stands_on_a_row_sees_it(
    world: World, plain: "asyncpg.Connection[Any]"
) -> None:
    regulator, pharmacist, doctor = (
        await world.regulator(),
        await world.pharmacist(),
        await world.doctor(),
    )
    file_id, other = await opened(regulator), await opened(pharmacist)
    slot = await doctor.publish()
    booked = await regulator.post(
        "/v1/bookings", {"slot_id": slot["id"], "patient_file_id": file_id}
    )
    assert booked.status_code == 201, booked.text
    for reader, files in (
        (f"{{{regulator.organization_id}}}", [file_id]),
        (f"{{{pharmacist.organization_id}}}", [other]),
        (f"{{{doctor.practitioner_id}}}", [file_id]),
        (f"{{{doctor.organization_id}}}", []),
        ("{}", []),
        ("", []),
    ):
        sights = [await seen(plain, reader, one) for one in (file_id, other)]
        assert sights == [int(one in files) for one in (file_id, other)], reader


async def test_who_reads_is_forgotten_with_the_transaction(
    world: World, plain: "asyncpg.Connection[Any]"
) -> None:
    file_id = await opened(await world.regulator())
    assert await seen(plain, UPKEEP, file_id) == 1
    assert await plain.fetchval("SELECT count(*) FROM patient_files") == 0


@pytest.mark.parametrize(
    "way_around",
    [
        "ALTER TABLE patient_files DISABLE ROW LEVEL SECURITY",
        "DROP POLICY readers ON patient_files",
        "CREATE POLICY mine ON patient_files USING (true)",
        "ALTER ROLE snp_app BYPASSRLS",
        "SET ROLE snp_owner",
        "SET row_security = off; SELECT * FROM patient_files",
        "COPY patient_files (id) FROM STDIN",
    ],
)
async def test_the_application_has_no_way_around(
    plain: "asyncpg.Connection[Any]", way_around: str
) -> None:
    with pytest.raises((asyncpg.InsufficientPrivilegeError, asyncpg.FeatureNotSupportedError)):
        await plain.execute(way_around)


_FOUND_BY = {
    "id": "uuid",
    "phone_index": "bytea",
    "name_birth_index": "bytea",
    "ins_index": "bytea",
    "case_id": "text",
}


async def test_files_are_still_found_by_their_indexes(database_urls: DatabaseUrls) -> None:
    owner = await asyncpg.connect(database_urls.owner)
    await owner.execute(
        """INSERT INTO patient_files
             (id, organization_id, territory, phone_index, name_birth_index, ins_index, case_id)
           SELECT gen_random_uuid(), gen_random_uuid(), '36', sha256(n::text::bytea),
                  sha256(n::text::bytea), sha256(n::text::bytea), n::text
           FROM generate_series(1, 5000) AS n"""
    )
    await owner.execute("ANALYZE patient_files")
    await owner.close()
    app = await asyncpg.connect(database_urls.app)
    for column, type_ in _FOUND_BY.items():
        await app.execute(
            f"PREPARE {column} ({type_}) AS SELECT * FROM patient_files WHERE {column} = $1"  # noqa: S608
        )
        plan = await app.fetchval(f"EXPLAIN (FORMAT JSON) EXECUTE {column} (NULL)")
        index = "pk_patient_files" if column == "id" else f"ix_patient_files_{column}"
        assert f'"{index}"' in plan, column
        assert "snp.reader" in plan
    await app.close()


@pytest.mark.parametrize(
    "off",
    [
        (),
        ("enable_nestloop",),
        ("enable_hashjoin", "enable_mergejoin"),
        ("enable_indexscan", "enable_indexonlyscan", "enable_bitmapscan"),
        ("enable_seqscan", "enable_memoize"),
    ],
    ids=" ".join,
)
async def test_no_plan_looks_before_it_is_said_who_reads(
    database_urls: DatabaseUrls, make_settings: Callable[..., Settings], off: tuple[str, ...]
) -> None:
    """Who reads is said inside the statement that reads: in whatever order it is carried out."""
    admin = await asyncpg.connect(database_urls.superuser)
    name = await admin.fetchval("SELECT current_database()")
    for setting in off:
        await admin.execute(f"ALTER ROLE snp_app IN DATABASE {name} SET {setting} = off")
    await admin.close()
    app = create_app(make_settings(database_urls.app))
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        await _everything_is_seen(await World(app.state.database, http).begin())
    await app.state.database.dispose()


async def _everything_is_seen(world: World) -> None:
    regulator, doctor, other = await world.regulator(), await world.doctor(), await world.doctor()
    file_id = await opened(regulator)
    call = await regulator.post(
        "/v1/calls",
        {
            "line": "116117",
            "received_at": soon(-1).isoformat(),
            "patient_file_id": file_id,
            "case_id": "K-1",
        },
    )
    assert call.status_code == 201, call.text
    first, second, third = [await doctor.publish(soon(hour)) for hour in (2, 4, 6)]
    made = [
        await regulator.post("/v1/bookings", {"slot_id": slot["id"], **by})
        for slot, by in (
            (first, {"patient_file_id": file_id}),
            (second, {"call_id": call.json()["id"]}),
            (third, {"patient_file": patient()}),
        )
    ]
    assert [answer.status_code for answer in made] == [201, 201, 201]
    for reader in (regulator, doctor):
        listed = (await reader.get("/v1/bookings")).json()["items"]
        assert len(listed) == 3
        assert all(one["patient"]["family_name"] for one in listed)
        read = await reader.get(f"/v1/patient-files/{file_id}")
        assert read.status_code == 200
        found = await reader.post(
            "/v1/patient-files/search", {"phone": "+33600000000", "purpose": "care"}
        )
        assert len(found.json()["items"]) == 2
    amended = await doctor.patch(f"/v1/patient-files/{file_id}", {"given_name": "Ève"})
    assert amended.status_code == 200, amended.text
    # Moved to somebody else by the doctor who then sees the booking no more.
    elsewhere = await other.publish(soon(8), visibility=["PRO"])
    moved = await doctor.post(
        f"/v1/bookings/{made[2].json()['id']}/rescheduling", {"slot_id": elsewhere["id"]}
    )
    assert moved.status_code == 200, moved.text
    assert len((await other.get("/v1/bookings")).json()["items"]) == 1
    gone = await doctor.get(f"/v1/patient-files/{made[2].json()['patient_file_id']}")
    problem(gone, 404, "patient-file-not-found")


async def test_a_stranger_with_a_file_id_books_nothing_on_it(world: World) -> None:
    file_id = await opened(await world.regulation(Role.OSNP))
    doctor, pharmacist = await world.doctor(), await world.pharmacist()
    slot = await doctor.publish(visibility=["PRO"])
    answer = await pharmacist.post(
        "/v1/bookings", {"slot_id": slot["id"], "patient_file_id": file_id}
    )
    problem(answer, 404, "patient-file-not-found")
    answer = await pharmacist.post(
        "/v1/bookings", {"slot_id": slot["id"], "patient_file_id": str(new_id())}
    )
    problem(answer, 404, "patient-file-not-found")
