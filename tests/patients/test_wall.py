"""The second wall: row-level security holds what forgot its own condition."""

import io
import time
from collections.abc import AsyncIterator, Callable
from hashlib import sha256
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest
import pytest_asyncio
from sqlalchemy import select, text

from service.identity import Role
from service.kernel.crypto import Keys, Vault
from service.kernel.db import Database
from service.kernel.ids import new_id
from service.kernel.settings import Settings
from service.kernel.wall import READS_AS, as_upkeep, reading, seeking
from service.main import create_app
from service.patients.parts import file
from tests.conftest import DatabaseUrls
from tests.support import Caller, World, patient, problem, soon

_SAYS = "SELECT set_config('snp.reader', $1, true)"


@pytest_asyncio.fixture
async def plain(shared_urls: DatabaseUrls) -> AsyncIterator["asyncpg.Connection[Any]"]:
    """Somebody with the application's password and a prompt."""
    connection = await asyncpg.connect(shared_urls.app, statement_cache_size=0)
    yield connection
    await connection.close()


async def opened(caller: Caller) -> str:
    """Open a file, and return its id."""
    answer = await caller.post("/v1/patient-files", patient())
    assert answer.status_code == 201, answer.text
    made: str = answer.json()["id"]
    return made


async def seen(connection: "asyncpg.Connection[Any]", said: str, *ids: str) -> int:
    """How many of these files, or of all, are shown to who says this."""
    async with connection.transaction():
        await connection.execute(_SAYS, said)
        found: int = await connection.fetchval(
            "SELECT count(*) FROM patient_files WHERE id = ANY($1::uuid[]) OR $1 = '{}'", ids
        )
        return found


@pytest.fixture
def vault(database: Database) -> Vault:
    """The keys of the service."""
    return database.vault


async def test_plain_sql_sees_and_changes_nobody(
    world: World, plain: "asyncpg.Connection[Any]", vault: Vault
) -> None:
    file_id = await opened(await world.regulator())
    assert await plain.fetchval("SELECT count(*) FROM patient_files") == 0
    assert await plain.fetch("SELECT * FROM patient_files WHERE id = $1::uuid", file_id) == []
    assert await plain.execute("UPDATE patient_files SET phone = NULL") == "UPDATE 0"
    await plain.execute(f"SET snp.reader = '{UUID(int=0)}'")
    copied = io.BytesIO()
    assert await plain.copy_from_table("patient_files", output=copied) == "COPY 0"
    assert await plain.copy_from_query("SELECT * FROM patient_files", output=copied) == "COPY 0"
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await plain.execute("DELETE FROM patient_files")
    # What is there after all is shown to who proves who reads: the test could fail.
    assert await seen(plain, seeking(vault, UUID(file_id))["reads_as"], file_id) == 1


async def test_who_only_says_who_reads_sees_nobody(
    world: World, plain: "asyncpg.Connection[Any]", vault: Vault, keys: Keys
) -> None:
    """Whatever somebody with the application's password can know or guess, and say."""
    regulator = await world.regulator()
    file_id = await opened(regulator)
    stranger = Vault(keys.model_copy(update={"server": Keys.generate().server}))
    true = reading(vault, [regulator.organization_id])["reads_as"]
    mac, _, message = true.partition(" ")
    _, until, ids = message.split(" ")
    later = str(int(until) + 60)
    known = await plain.fetch("(SELECT id FROM grants LIMIT 50) UNION (SELECT id FROM clients)")
    index = await plain.fetchval("SELECT patient_key FROM bookings LIMIT 1") or b"0" * 32
    pid = await plain.fetchval("SELECT pg_backend_pid()")
    for said in (
        *("", "{}", "*", "reader", " reader ", "upkeep", str(UUID(int=0)), f"{{{UUID(int=0)}}}"),
        *(f"{{{regulator.organization_id}}}", file_id, f"{{{file_id}}}"),
        *(f"{{{row['id']}}}" for row in known),
        # Nothing, or what stands before something else, proves what it was not made for.
        *(f"{one} {message}" for one in ("", "0" * 64, mac[:-1], mac.upper(), f"{mac}0")),
        f"{mac} reader {later} {ids}",
        f"{mac} reader {until} {{{UUID(int=0)}}}",
        f"{mac} sought {until} {file_id}",
        f"{mac} sought {until} {ids}",
        f"{mac} upkeep {until} all",
        f"{mac} upkeep {pid}@0 all",
        f"{true} {file_id}",
        f"{'0' * 64} upkeep {until} all",
        # Proven with another key, and proven by us too long ago.
        reading(stranger, [regulator.organization_id])["reads_as"],
        seeking(stranger, UUID(file_id))["reads_as"],
        seeking(stranger, index)["reads_as"],
        vault.provers[0].prove(f"reader {int(time.time()) - 1} {ids}"),
        vault.provers[0].prove(f"sought {int(time.time()) - 1} {file_id}"),
        # Upkeep of another transaction.
        vault.provers[0].prove(f"upkeep {pid}@{time.time():.6f} all"),
        vault.provers[0].prove(f"upkeep {until} all"),
        # Kinds that are none.
        vault.provers[0].prove(f"trust {until} {ids}"),
        vault.provers[0].prove(f"all {until} {ids}"),
    ):
        assert await seen(plain, said) == 0, said
        assert await plain.fetchval("SELECT count(*) FROM patient_files") == 0
    assert await seen(plain, true, file_id) == 1


async def test_upkeep_ends_with_its_transaction(
    world: World, database: Database, plain: "asyncpg.Connection[Any]"
) -> None:
    file_id = await opened(await world.regulator())
    find, said = select(file.c.id).where(file.c.id == UUID(file_id)), ""
    allowed = text("SHOW statement_timeout")
    async with database.unit_of_work() as uow:
        usual = (await uow.execute(allowed)).scalar_one()
        await as_upkeep(uow)
        assert (await uow.execute(allowed)).scalar_one() == "10min" != usual
        assert (await uow.execute(find)).scalar_one() == UUID(file_id)
        said = (await uow.execute(text("SELECT current_setting('snp.reader')"))).scalar_one()
    async with database.unit_of_work() as uow:
        assert (await uow.execute(find)).first() is None
        assert (await uow.execute(allowed)).scalar_one() == usual
        await uow.execute(READS_AS, {"reads_as": said})
        assert (await uow.execute(find)).first() is None
    assert await seen(plain, said) == 0


async def test_only_who_stands_on_a_row_sees_it(
    world: World, plain: "asyncpg.Connection[Any]", vault: Vault
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
    assert doctor.practitioner_id is not None
    for reader, files in (
        ([regulator.organization_id], [file_id]),
        ([pharmacist.organization_id], [other]),
        ([doctor.practitioner_id], [file_id]),
        ([doctor.organization_id], []),
        ([UUID(file_id)], []),
        ([], []),
    ):
        said = reading(vault, reader)["reads_as"]
        sights = [await seen(plain, said, one) for one in (file_id, other)]
        assert sights == [int(one in files) for one in (file_id, other)], reader


async def test_who_seeks_sees_what_it_knows_and_no_more(
    world: World, plain: "asyncpg.Connection[Any]", vault: Vault, shared_urls: DatabaseUrls
) -> None:
    regulator = await world.regulator()
    file_id, case_id = await opened(regulator), f"K-{new_id()}"
    owner = await asyncpg.connect(shared_urls.owner)
    await owner.execute("UPDATE patient_files SET case_id = $2 WHERE id = $1", file_id, case_id)
    index = await owner.fetchval(
        "SELECT name_birth_index FROM patient_files WHERE id = $1", file_id
    )
    other = await opened(regulator)
    await owner.close()
    for value in (UUID(file_id), case_id, index):
        said = seeking(vault, value)["reads_as"]
        assert [await seen(plain, said, one) for one in (file_id, other)] == [1, 0], value


async def test_another_key_is_trusted_on_the_word_of_a_known_one_only(
    plain: "asyncpg.Connection[Any]", vault: Vault
) -> None:
    other = Vault(Keys.generate())
    inner, outer = other.provers[0].pads
    until, named = int(time.time()) + 60, sha256(inner).hexdigest()
    for said in (
        "",
        other.provers[0].prove(f"trust {until} {named}"),
        vault.provers[0].prove(f"trust {until} {'0' * 64}"),
        vault.provers[0].prove(f"trust {until - 120} {named}"),
        vault.provers[0].prove(f"reader {until} {named}"),
    ):
        async with plain.transaction():
            await plain.execute(_SAYS, said)
            assert await plain.fetchval("SELECT snp_trust($1, $2)", inner, outer) is False
    assert await seen(plain, seeking(other, "K")["reads_as"]) == 0
    for secret in ("SELECT * FROM wall_keys", "TRUNCATE wall_keys", "DELETE FROM wall_keys"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await plain.execute(secret)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await plain.execute("INSERT INTO wall_keys VALUES ($1, $2)", inner, outer)


async def test_who_reads_is_forgotten_with_the_transaction(
    world: World, plain: "asyncpg.Connection[Any]", vault: Vault
) -> None:
    file_id = await opened(await world.regulator())
    assert await seen(plain, seeking(vault, UUID(file_id))["reads_as"], file_id) == 1
    assert await plain.fetchval("SELECT count(*) FROM patient_files") == 0


@pytest.mark.parametrize(
    "way_around",
    [
        "ALTER TABLE patient_files DISABLE ROW LEVEL SECURITY",
        "DROP POLICY readers ON patient_files",
        "CREATE POLICY mine ON patient_files USING (true)",
        "ALTER ROLE snp_app BYPASSRLS",
        "SET ROLE snp_owner",
        "SET SESSION AUTHORIZATION snp_owner",
        "SET row_security = off; SELECT * FROM patient_files",
        "CREATE FUNCTION public.mine() RETURNS text LANGUAGE sql AS 'SELECT 1'",
        "ALTER FUNCTION snp_proven(text) SECURITY INVOKER",
        "GRANT SELECT ON wall_keys TO snp_app",
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
    app = await asyncpg.connect(database_urls.app, statement_cache_size=0)
    for column, type_ in _FOUND_BY.items():
        await app.execute(
            f"PREPARE {column} ({type_}) AS SELECT * FROM patient_files WHERE {column} = $1"
        )
        plan = await app.fetchval(f"EXPLAIN (FORMAT JSON) EXECUTE {column} (NULL)")
        index = "pk_patient_files" if column == "id" else f"ix_patient_files_{column}"
        assert f'"{index}"' in plan, column
        assert plan.count('"Parent Relationship": "InitPlan"') == 3  # asked once, not for each row
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
