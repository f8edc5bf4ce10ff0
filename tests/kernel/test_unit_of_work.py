"""All of a unit of work is kept, or none; what the database refuses is never told as done."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest
from sqlalchemy import insert, literal, select, text

from service.directory.tables import territories
from service.kernel import events
from service.kernel.db import ConstraintViolated, Database, UnitOfWork, UnitOfWorkFailed
from service.kernel.errors import Conflict, Unavailable
from service.kernel.ids import new_id
from service.kernel.prepared import Prepared
from service.kernel.settings import Settings
from tests.conftest import DatabaseUrls, Server
from tests.kernel.serving import serving
from tests.support import WAITING, Caller, World, problem, soon

MakeSettings = Callable[..., Settings]


def _territory(name: str) -> dict[str, Any]:
    return {
        "id": name,
        "name": name,
        "zone": "Europe/Paris",
        "default_radius_km": 30,
        "enlargement_km": 15,
    }


async def _exists(database: Database, name: str) -> bool:
    statement = select(territories.c.id).where(territories.c.id == name)
    async with database.unit_of_work() as uow:
        return (await uow.single(statement)).first() is not None


def _lent(database: Database) -> int:
    """Tell how many connections of the pool somebody has."""
    lent: int = database.engine.pool.checkedout()  # type: ignore[attr-defined]  # this kind of pool counts
    return lent


async def test_a_refusal_leaves_nothing(database: Database) -> None:
    name = new_id().hex

    async def refused() -> None:
        async with database.unit_of_work() as uow:
            await uow.execute(insert(territories), _territory(name))
            raise Conflict

    with pytest.raises(Conflict):
        await refused()
    assert not await _exists(database, name)
    assert _lent(database) == 0


async def test_a_cancelled_request_leaves_nothing(database: Database) -> None:
    name, written = new_id().hex, asyncio.Event()

    async def work() -> None:
        async with database.unit_of_work() as uow:
            await uow.execute(insert(territories), _territory(name))
            written.set()
            await asyncio.sleep(60)

    task = asyncio.create_task(work())
    await written.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not await _exists(database, name)
    assert _lent(database) == 0


async def test_single_commits_by_itself_but_not_inside_a_transaction(database: Database) -> None:
    alone, inside = new_id().hex, new_id().hex

    async def refused() -> None:
        async with database.unit_of_work() as uow:
            await uow.single(insert(territories), _territory(alone))
            await uow.execute(insert(territories), _territory(new_id().hex))
            await uow.single(insert(territories), _territory(inside))
            raise Conflict

    with pytest.raises(Conflict):
        await refused()
    assert await _exists(database, alone)
    assert not await _exists(database, inside)


async def test_after_a_failed_statement_nothing_is_told_as_done(database: Database) -> None:
    name = new_id().hex

    async def swallow() -> None:
        async with database.unit_of_work() as uow:
            await uow.execute(insert(territories), _territory(name))
            with pytest.raises(ConstraintViolated):
                await uow.execute(insert(territories), _territory(name))
            assert _lent(database) == 0  # given back at once: a second try may need it

    with pytest.raises(UnitOfWorkFailed):
        await swallow()
    assert not await _exists(database, name)


async def test_after_a_failed_statement_nothing_more_runs_before_a_rollback(
    database: Database,
) -> None:
    name, other = new_id().hex, new_id().hex
    async with database.unit_of_work() as uow:
        await uow.execute(insert(territories), _territory(name))
        with pytest.raises(ConstraintViolated):
            await uow.execute(insert(territories), _territory(name))
        for run in (uow.execute, uow.single):
            with pytest.raises(UnitOfWorkFailed):
                await run(insert(territories), _territory(other))
        await uow.rollback()
        await uow.execute(insert(territories), _territory(other))
    assert not await _exists(database, name)
    assert await _exists(database, other)


async def test_a_violated_constraint_is_told_by_its_name(database: Database) -> None:
    name = new_id().hex

    async def twice(uow: UnitOfWork) -> None:
        await uow.execute(insert(territories), [_territory(name), _territory(name)])

    with pytest.raises(ConstraintViolated) as violated:
        async with database.unit_of_work() as uow:
            await twice(uow)
    assert violated.value.name == "pk_territories"


async def test_a_text_that_cannot_be_stored_is_invalid_and_not_a_defect(world: World) -> None:
    regulator = await world.regulator()
    for params in ({"specialty": "a\x00"}, {"territory": "\x00"}):
        problem(await regulator.get("/v1/slots", params=params), 422, "invalid")


# --- a database that fails when asked to keep ---------------------------------------------------


@asynccontextmanager
async def _failing(
    urls: DatabaseUrls, settings: Settings, when: str, failure: str
) -> AsyncIterator[tuple[httpx.AsyncClient, Caller]]:
    """Serve on a database that does `failure` when a slot is written; counts tries in `tries`."""
    async with serving(settings) as (client, database):
        doctor = await (await World(database, client).begin()).doctor()
        connection = await asyncpg.connect(urls.superuser)
        try:
            await connection.execute(
                f"""CREATE SEQUENCE tries;
                    CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS
                    $$ DECLARE try bigint := nextval('tries');
                       BEGIN {failure} RETURN NEW; END $$;
                    CREATE {when} ON slots {
                    "DEFERRABLE INITIALLY DEFERRED" if "CONSTRAINT" in when else ""
                } FOR EACH ROW EXECUTE FUNCTION fail()"""
            )
        finally:
            await connection.close()
        yield client, doctor


async def _count(urls: DatabaseUrls, statement: str) -> int:
    connection = await asyncpg.connect(urls.superuser)
    try:
        return int(await connection.fetchval(statement))
    finally:
        await connection.close()


AT_COMMIT = "CONSTRAINT TRIGGER at_commit AFTER INSERT"
BEFORE = "TRIGGER before_insert BEFORE INSERT"


@pytest.mark.parametrize(
    ("failure", "status", "code"),
    [
        ("RAISE EXCEPTION 'no' USING ERRCODE = 'P0001';", 500, "defect"),
        ("RAISE EXCEPTION 'no' USING ERRCODE = '40001';", 503, "temporarily-unavailable"),
        ("PERFORM pg_terminate_backend(pg_backend_pid());", 503, "temporarily-unavailable"),
        ("RAISE EXCEPTION 'no' USING ERRCODE = '23505', CONSTRAINT = 'x';", 409,
         "constraint-violated"),
    ],
)  # fmt: skip
async def test_a_commit_that_fails_is_not_told_as_success(
    database_urls: DatabaseUrls, make_settings: MakeSettings, failure: str, status: int, code: str
) -> None:
    settings = make_settings(database_urls.app, log_level="ERROR")
    async with _failing(database_urls, settings, AT_COMMIT, failure) as (_, doctor):
        problem(await doctor.post("/v1/slots", doctor.slot(), key="a"), status, code)
    assert await _count(database_urls, "SELECT count(*) FROM slots") == 0
    assert await _count(database_urls, "SELECT count(*) FROM idempotency_keys") == 0
    told = "SELECT count(*) FROM events WHERE type = 'slot.published'"
    assert await _count(database_urls, told) == 0


@pytest.mark.parametrize("state", ["40P01", "40001"])
async def test_a_crossed_change_is_run_again_once(
    database_urls: DatabaseUrls, make_settings: MakeSettings, state: str
) -> None:
    failure = f"IF try = 1 THEN RAISE EXCEPTION 'no' USING ERRCODE = '{state}'; END IF;"
    # One connection: the second try finds it given back by the first one.
    settings = make_settings(database_urls.app, pool_size=1, pool_timeout_seconds=1)
    async with _failing(database_urls, settings, BEFORE, failure) as (_, doctor):
        answer = await doctor.post("/v1/slots", doctor.slot(), key="a")
        assert answer.status_code == 201, answer.text
        assert (await doctor.get(f"/v1/slots/{answer.json()['id']}")).json() == answer.json()
    assert await _count(database_urls, "SELECT last_value FROM tries") == 2
    assert await _count(database_urls, "SELECT count(*) FROM slots") == 1


async def test_a_change_crossed_twice_is_unavailable_and_never_a_defect(
    database_urls: DatabaseUrls, make_settings: MakeSettings
) -> None:
    failure = "RAISE EXCEPTION 'no' USING ERRCODE = '40P01';"
    settings = make_settings(database_urls.app)
    async with _failing(database_urls, settings, BEFORE, failure) as (_, doctor):
        answer = await doctor.post("/v1/slots", doctor.slot())
        problem(answer, 503, "temporarily-unavailable")
        assert int(answer.headers["Retry-After"]) > 0
    assert await _count(database_urls, "SELECT last_value FROM tries") == 2


# --- locks --------------------------------------------------------------------------------------


@asynccontextmanager
async def _stranger(urls: DatabaseUrls) -> AsyncIterator["asyncpg.Connection[Any]"]:
    """Somebody else's session, in a transaction."""
    connection = await asyncpg.connect(urls.superuser)
    await connection.execute("BEGIN")
    try:
        yield connection
    finally:
        await connection.close()


LOCK_SLOT = "SELECT 1 FROM slots WHERE id = $1 FOR UPDATE"


async def test_who_waits_too_long_for_a_lock_is_told_to_try_again(
    world: World, shared_urls: DatabaseUrls
) -> None:
    doctor, regulator = await world.doctor(), await world.regulator()
    one, two, three = [await doctor.publish(soon(n)) for n in (2, 3, 4)]
    hold = f"/v1/slots/{one['id']}/holds"
    async with _stranger(shared_urls) as stranger:
        for slot in (one, two, three):
            await stranger.fetchval(LOCK_SLOT, UUID(slot["id"]))
        answers = await asyncio.gather(
            regulator.post(hold, key="a"),
            doctor.patch(f"/v1/slots/{two['id']}", {"note": "x"}, if_match=1),
            doctor.delete(f"/v1/slots/{three['id']}", if_match=1),
        )
        for answer in answers:
            problem(answer, 503, "temporarily-unavailable")
            assert int(answer.headers["Retry-After"]) > 0
        for slot in (one, two, three):  # who only reads never waits
            assert (await doctor.get(f"/v1/slots/{slot['id']}")).json() == slot
    assert _lent(world.database) == 0
    assert (await regulator.post(hold, key="a")).status_code == 201


async def test_who_lost_a_deadlock_is_served_all_the_same(
    world: World, shared_urls: DatabaseUrls
) -> None:
    doctor = await world.doctor()
    slot = await doctor.publish()
    async with _stranger(shared_urls) as stranger:
        await stranger.fetchval(LOCK_SLOT, UUID(slot["id"]))
        # The amendment locks the practitioner, then waits for the slot ...
        amending = asyncio.create_task(
            doctor.patch(f"/v1/slots/{slot['id']}", {"note": "x"}, if_match=1)
        )
        # ... and the stranger the other way round: PostgreSQL ends the one that waited first.
        who = str(doctor.practitioner_id)
        await stranger.execute("SELECT set_config('test.who', $1, true)", who)
        await stranger.execute(
            f"""SET LOCAL deadlock_timeout = '30s';
                DO $$ BEGIN
                  WHILE NOT EXISTS ({WAITING}) LOOP
                    PERFORM pg_sleep(0.005);
                  END LOOP;
                  PERFORM 1 FROM practitioners
                  WHERE id = current_setting('test.who')::uuid FOR UPDATE;
                END $$"""
        )
        await stranger.execute("COMMIT")
        answer = await amending
    assert answer.status_code == 200, answer.text
    assert answer.json()["version"] == 2
    async with world.database.unit_of_work() as uow:
        told = [event.type for event in await events.history(uow, UUID(slot["id"]))]
    assert told == ["slot.published", "slot.amended"]


# --- the pool -----------------------------------------------------------------------------------


async def test_who_waits_too_long_for_a_connection_is_told_to_try_again(
    world: World, shared_urls: DatabaseUrls, make_settings: MakeSettings
) -> None:
    doctor = await world.doctor()
    settings = make_settings(shared_urls.app, pool_size=2, pool_timeout_seconds=0.2)
    async with serving(settings) as (client, database):
        doctor.http = client
        async with database.engine.connect() as one, database.engine.connect() as two:
            await one.execute(text("SELECT 1"))
            await two.execute(text("SELECT 1"))
            for answer in (
                await doctor.get("/v1/slots"),
                await doctor.post("/v1/slots", doctor.slot()),
                await client.post("/oauth/token", data={"grant_type": "client_credentials"}),
            ):
                problem(answer, 503, "temporarily-unavailable")
                assert int(answer.headers["Retry-After"]) > 0
        assert (await doctor.post("/v1/slots", doctor.slot())).status_code == 201


async def test_a_hundred_requests_at_once_share_two_connections(
    world: World, shared_urls: DatabaseUrls, make_settings: MakeSettings
) -> None:
    doctor = await world.doctor()
    slot = await doctor.publish()
    async with serving(make_settings(shared_urls.app, pool_size=2)) as (client, _):
        doctor.http = client
        answers = await asyncio.gather(*(doctor.get(f"/v1/slots/{slot['id']}") for _ in range(100)))
    assert {answer.status_code for answer in answers} == {200}


async def test_a_lost_connection_is_unavailable_once(database: Database) -> None:
    async with database.unit_of_work() as uow:
        await uow.execute(text("SELECT 1"))
        with pytest.raises(Unavailable):
            await uow.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
        await uow.rollback()
        assert (await uow.execute(text("SELECT 1"))).scalar_one() == 1


async def test_a_connection_that_dies_before_the_rollback_hides_no_refusal(
    database: Database, server: Server
) -> None:
    name = new_id().hex

    async def refused() -> None:
        async with database.unit_of_work() as uow:
            await uow.execute(insert(territories), _territory(name))
            backend = (await uow.execute(text("SELECT pg_backend_pid()"))).scalar_one()
            superuser = await asyncpg.connect(server.urls_of("postgres").superuser)
            await superuser.execute("SELECT pg_terminate_backend($1, 5000)", backend)
            await superuser.close()
            raise Conflict

    with pytest.raises(Conflict):
        await refused()
    assert _lent(database) == 0
    assert not await _exists(database, name)


_ONE = Prepared(select(literal(1).label("one")))


async def _one(database: Database) -> int:
    async with database.unit_of_work() as uow:
        (row,) = await uow.fetch(_ONE, {})
        one: int = row["one"]
        return one


async def test_who_finds_no_room_at_the_server_is_told_to_try_again(
    database_urls: DatabaseUrls, make_settings: MakeSettings
) -> None:
    # As the owner: what the server itself says, also where the application meets a pooler first.
    async with serving(make_settings(database_urls.owner)) as (_, database):
        superuser = await asyncpg.connect(database_urls.superuser)
        name = await superuser.fetchval("SELECT current_database()")
        await superuser.execute(f"ALTER DATABASE {name} CONNECTION LIMIT 0")
        with pytest.raises(Unavailable):
            await _one(database)
        await superuser.execute(f"ALTER DATABASE {name} CONNECTION LIMIT -1")
        assert await _one(database) == 1
        # What was cut while nobody used it is never lent: nobody notices.
        await superuser.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND usename = 'snp_owner'"
        )
        assert await _one(database) == 1
        await superuser.close()
