"""Every fact gets its position once, in the order of transactions, however they overlap."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from uuid import UUID

import asyncpg
import pytest
import pytest_asyncio

from service import stream
from service.identity import OPERATOR
from service.kernel import events
from service.kernel.crypto import Keys, Vault
from service.kernel.db import Database, UnitOfWork
from service.kernel.ids import new_id
from service.kernel.settings import Settings
from service.stream import Fact, repository, usecases
from service.stream.domain import Place
from tests.conftest import DatabaseUrls
from tests.support import rows_read


@pytest_asyncio.fixture
async def fresh(
    database_urls: DatabaseUrls, make_settings: Callable[..., Settings], keys: Keys
) -> AsyncIterator[Database]:
    """A database in which nothing has happened."""
    opened = Database(database_urls.app, make_settings(database_urls.app), Vault(keys))
    yield opened
    await opened.dispose()


async def tell(uow: UnitOfWork, subject: UUID, **data: Any) -> None:
    await events.record(uow, OPERATOR, "slot.amended", subject, territory=None, data=data)


async def read_all(database: Database) -> list[Fact]:
    async with database.unit_of_work() as uow:
        return await stream.read_after(uow, stream.BEGINNING, 100_000)


async def number_all(database: Database) -> None:
    while await stream.give_positions(database):
        pass


async def test_who_reads_behind_a_cursor_misses_nothing(fresh: Database) -> None:
    """Transactions that began early and end late are where a plain sequence loses facts."""
    chance = random.Random(7)
    subjects = [new_id() for _ in range(5)]
    locks = {subject: asyncio.Lock() for subject in subjects}
    said: dict[UUID, list[int]] = {subject: [] for subject in subjects}
    turn = count()

    async def one() -> None:
        subject = chance.choice(subjects)
        async with locks[subject]:  # as the row lock of a booking: one after the other
            nth = next(turn)
            async with fresh.unit_of_work() as uow:
                await tell(uow, subject, nth=nth)
                await asyncio.sleep(chance.random() * 0.05)
                if chance.random() < 0.3:
                    await tell(uow, new_id(), nth=-1)
            said[subject].append(nth)

    async def read_along(seen: list[Fact], done: asyncio.Event) -> None:
        after = stream.BEGINNING
        while True:
            last_look = done.is_set()
            await stream.give_positions(fresh)
            async with fresh.unit_of_work() as uow:
                found = await stream.read_after(uow, after, 10)
            seen += found
            after = found[-1].position if found else after
            if last_look and not found:
                return

    seen: list[Fact] = []
    done = asyncio.Event()
    reading = asyncio.create_task(read_along(seen, done))
    for _ in range(12):
        await asyncio.gather(*(one() for _ in range(8)))
    done.set()
    await reading
    await number_all(fresh)
    assert [fact.position for fact in seen] == list(range(1, len(seen) + 1))
    assert seen == await read_all(fresh)
    for subject, order in said.items():
        assert [f.data["nth"] for f in seen if f.subject_id == subject] == order


async def test_a_transaction_that_still_runs_holds_back_what_came_after(fresh: Database) -> None:
    late, early = new_id(), new_id()
    async with fresh.unit_of_work() as slow:
        await tell(slow, late)
        async with fresh.unit_of_work() as quick:
            await tell(quick, early)
        await number_all(fresh)
        assert await read_all(fresh) == []
    await number_all(fresh)
    assert [fact.subject_id for fact in await read_all(fresh)] == [late, early]


async def test_a_large_transaction_stays_together(fresh: Database) -> None:
    sizes = (3, 25, 1, 9, 11)
    for size in sizes:
        async with fresh.unit_of_work() as uow:
            for nth in range(size):
                await tell(uow, new_id(), of=size, nth=nth)
    rounds, more = [], True
    while more:
        async with fresh.unit_of_work() as uow:
            done, more = await repository.give_positions(uow, 10)
        rounds.append(done)
    assert sum(rounds) == sum(sizes)
    assert len(rounds) > 2  # in batches, cut between transactions only
    told = [(fact.data["of"], fact.data["nth"]) for fact in await read_all(fresh)]
    assert told == [(size, nth) for size in sizes for nth in range(size)]


async def test_many_workers_number_each_fact_once(fresh: Database) -> None:
    ids = [new_id() for _ in range(60)]

    async def commit(subject: UUID) -> None:
        async with fresh.unit_of_work() as uow:
            await tell(uow, subject)

    await asyncio.gather(
        *(commit(subject) for subject in ids),
        *(stream.give_positions(fresh) for _ in range(30)),
    )
    await number_all(fresh)
    facts = await read_all(fresh)
    assert [fact.position for fact in facts] == list(range(1, 61))
    assert {fact.subject_id for fact in facts} == set(ids)


async def test_what_a_consumer_makes_is_kept_with_how_far_it_came(fresh: Database) -> None:
    async def fail(uow: UnitOfWork, facts: list[Fact]) -> None:
        await tell(uow, facts[0].subject_id, by="a consumer that dies")
        raise RuntimeError

    async def keep(_: UnitOfWork, facts: list[Fact]) -> None:
        kept.extend(fact.data["nth"] for fact in facts)

    kept: list[int] = []
    async with fresh.unit_of_work() as uow:
        await tell(uow, new_id(), nth=0)
    await number_all(fresh)
    assert await stream.consume(fresh, "test", keep) == 0  # begins with what happens from now on
    for nth in (1, 2):
        async with fresh.unit_of_work() as uow:
            await tell(uow, new_id(), nth=nth)
    await number_all(fresh)
    with pytest.raises(RuntimeError):
        await stream.consume(fresh, "test", fail)
    await asyncio.gather(*(stream.consume(fresh, "test", keep) for _ in range(5)))
    assert kept == [1, 2]
    await number_all(fresh)
    assert [fact.data["nth"] for fact in await read_all(fresh)] == [0, 1, 2]


async def test_who_missed_what_was_deleted_begins_anew(
    fresh: Database, database_urls: DatabaseUrls
) -> None:
    async with fresh.unit_of_work() as uow:
        for _ in range(5):
            await tell(uow, new_id())
    await number_all(fresh)
    superuser = await asyncpg.connect(database_urls.superuser)
    try:
        await superuser.execute("DELETE FROM events WHERE position <= 3")
    finally:
        await superuser.close()
    async with fresh.unit_of_work() as uow:
        begun = [await usecases.start(uow, Place(position)) for position in range(7)]
    whole = [start.complete for start in begun]
    assert whole == [False, False, False, True, True, True, False]  # 6: of another database
    assert {start.place for start in begun if not start.complete} == {Place(5)}


_OF_A_YEAR = """
INSERT INTO events (id, xid, position, type, subject_id, occurred_at, data)
SELECT gen_random_uuid(), n::text::xid8, n, 'slot.amended', gen_random_uuid(),
       timestamptz '2026-01-01' + n * interval '15 minutes', '{}'
FROM generate_series(1, 30000) AS n
"""


async def test_a_range_of_time_is_found_without_reading_all_that_came_before(
    database_urls: DatabaseUrls,
) -> None:
    owner = await asyncpg.connect(database_urls.owner)
    await owner.execute(_OF_A_YEAR)
    await owner.execute("VACUUM (ANALYZE) events")
    since = datetime(2026, 11, 1, tzinfo=UTC)
    asked = repository._BETWEEN.params({"since": since, "until": since + timedelta(days=7)})
    assert 0 < await rows_read(owner, asked, "events") < 10_000
    await owner.close()
