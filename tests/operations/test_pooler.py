"""Through PgBouncer in transaction mode (`make test-pgbouncer`), without prepared statements.

The bookings and the rivals go the same way in that run; here is what only a pooler can break.
"""

import asyncio

from sqlalchemy import text

from service.kernel.db import Database, UnitOfWork

_ECHO = text("SELECT CAST(:number AS int) AS number, pg_backend_pid() AS backend")


async def test_statements_find_their_way_on_whichever_connection(database: Database) -> None:
    async def ask(number: int) -> int:
        async with database.unit_of_work() as uow:
            # Each commits by itself, so each may meet another server process.
            rows = [(await uow.single(_ECHO, {"number": number})).one() for _ in range(5)]
            assert {row.number for row in rows} == {number}
            return len({row.backend for row in rows})

    assert max(await asyncio.gather(*(ask(number) for number in range(100)))) > 1


async def test_a_transaction_stays_with_one_server_process(database: Database) -> None:
    async def ask(number: int) -> None:
        async with database.unit_of_work() as uow:
            rows = [(await uow.execute(_ECHO, {"number": number})).one() for _ in range(5)]
            assert {row.number for row in rows} == {number}
            assert len({row.backend for row in rows}) == 1

    await asyncio.gather(*(ask(number) for number in range(50)))


async def test_no_statement_is_left_on_the_server(database: Database) -> None:
    async def left(uow: UnitOfWork) -> int:
        found: int = (
            await uow.single(text("SELECT count(*) FROM pg_prepared_statements"))
        ).scalar_one()
        return found

    async with database.unit_of_work() as uow:
        assert [await left(uow) for _ in range(20)] == [0] * 20


async def test_the_timeouts_of_the_role_come_through(database: Database) -> None:
    async with database.unit_of_work() as uow:
        found = await uow.single(text("SELECT current_setting('lock_timeout')"))
        assert found.scalar_one() == "3s"
