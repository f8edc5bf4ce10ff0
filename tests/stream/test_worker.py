"""The worker as a process: it keeps up, leaves nothing half done when it dies, ends in order."""

import asyncio
import json
import re
import signal
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import asyncpg
import httpx
import pytest
import pytest_asyncio

from service import stream
from service.kernel.crypto import Keys
from service.kernel.db import Database, UnitOfWork
from service.kernel.settings import Settings
from service.main import create_app
from service.worker import _every, _repeat, application
from tests.conftest import Clock, DatabaseUrls
from tests.demo.processes import Snp, snp
from tests.support import World, soon


class House:
    """A database of its own, with a server in this process."""

    def __init__(
        self, database: Database, world: World, settings: dict[str, str], clock: Clock
    ) -> None:
        self.database, self.world, self.settings = database, world, settings
        self.clock = clock

    async def numbered(self) -> list[stream.Fact]:
        """Return the facts that have their position."""
        async with self.database.unit_of_work() as uow:
            return await stream.read_after(uow, stream.BEGINNING, 10_000)

    async def wait_for(self, subject: str) -> None:
        """Wait until the facts of a subject are handed on."""
        async with asyncio.timeout(30):
            while subject not in {str(f.subject_id) for f in await self.numbered()}:  # noqa: ASYNC110  another process changes it
                await asyncio.sleep(0.02)

    async def stands(self) -> str:
        """Return what readiness says of the stream."""
        answer = await self.world.http.get("/health/ready")
        assert answer.status_code == 200, answer.text
        told: str = answer.json()["checks"]["stream"]
        return told


@pytest_asyncio.fixture
async def house(
    database_urls: DatabaseUrls, make_settings: Callable[..., Settings], keys: Keys
) -> AsyncIterator[House]:
    app = create_app(make_settings(database_urls.app))
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        world = await World(app.state.database, http).begin()
        settings = {"SNP_DATABASE_URL": database_urls.app, "SNP_KEYS": keys.model_dump_json()}
        yield House(app.state.database, world, settings, Clock(database_urls.owner))
    await app.state.database.dispose()


def started(process: Snp) -> bool:
    return "worker.started" in process.errors


async def test_a_worker_that_is_killed_leaves_its_work_to_the_next(
    house: House, tmp_path: Path
) -> None:
    doctor = await house.world.doctor()
    assert await house.stands() == "no worker yet: start snp worker"
    with snp(tmp_path / "first", "worker", **house.settings) as first:
        await asyncio.to_thread(first.wait_until, started)
        before = await doctor.publish(soon(2))
        await house.wait_for(before["id"])
        assert first.end(signal.SIGKILL) == -signal.SIGKILL
    meanwhile = await doctor.publish(soon(3))
    assert meanwhile["id"] not in {str(fact.subject_id) for fact in await house.numbered()}
    with snp(tmp_path / "second", "worker", **house.settings) as second:
        await house.wait_for(meanwhile["id"])
        assert (await house.stands()).startswith("oldest fact not handed on: ")
        assert second.end(signal.SIGTERM) == 0
        assert "worker.stopped" in second.errors
    positions = [fact.position for fact in await house.numbered()]
    assert positions == list(range(1, len(positions) + 1))


async def test_a_worker_goes_on_when_its_connections_were_cut(
    house: House, database_urls: DatabaseUrls, tmp_path: Path
) -> None:
    doctor = await house.world.doctor()
    with snp(tmp_path, "worker", **house.settings) as worker:
        await asyncio.to_thread(worker.wait_until, started)
        cutter = await asyncpg.connect(database_urls.superuser)
        await cutter.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        await cutter.close()
        wanted = doctor.slot(soon(2))
        # The server's own connections were cut, too: whoever is told so tries again.
        while (answer := await doctor.post("/v1/slots", wanted, key="cut")).status_code == 503:
            pass
        await house.wait_for(answer.json()["id"])
        assert worker.end(signal.SIGTERM) == 0
        # A line an event, of libraries too.
        assert all("event" in json.loads(line) for line in worker.errors.splitlines())


async def test_a_worker_that_is_told_to_stop_ends_whatever_fails_meanwhile(
    house: House, database_urls: DatabaseUrls, tmp_path: Path
) -> None:
    """As when the database goes first: the end of a job cannot be kept, and that is no new work."""
    cutter = await asyncpg.connect(database_urls.superuser)
    with snp(tmp_path, "worker", **house.settings) as worker:
        await asyncio.to_thread(worker.wait_until, started)
        worker.process.send_signal(signal.SIGTERM)
        for _ in range(20):
            await cutter.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        assert await asyncio.to_thread(worker.process.wait, 25) == 0
    await cutter.close()


async def test_what_is_cancelled_is_not_done_again_though_it_failed_then() -> None:
    begun = asyncio.Event()

    async def fail() -> None:
        assert not begun.is_set()
        begun.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            raise RuntimeError from None

    task = asyncio.create_task(_repeat("fails when cancelled", fail, _every(0)))
    await begun.wait()
    task.cancel()
    await asyncio.wait([task], timeout=2)
    assert task.done()


async def test_readiness_tells_of_facts_that_are_numbered_and_handed_to_nobody(
    house: House,
) -> None:
    """As when a room fails at one of them, again and again: everything after it waits."""
    doctor = await house.world.doctor()
    for consumer in ("able", "failing"):
        await stream.consume(house.database, consumer, _nothing)
    await doctor.publish(soon(2))
    await stream.give_positions(house.database)
    with pytest.raises(RuntimeError):
        await stream.consume(house.database, "failing", _fail)
    await house.clock.shift(timedelta(minutes=2))
    await stream.give_positions(house.database)  # a worker is there
    assert re.fullmatch("oldest fact not handed on: 1[2-9][0-9] s", await house.stands())
    for consumer in ("able", "failing"):
        while await stream.consume(house.database, consumer, _nothing):
            pass
    assert await house.stands() == "oldest fact not handed on: 0 s"
    await house.clock.shift(timedelta(0))


async def _nothing(_: UnitOfWork, __: list[stream.Fact]) -> None:
    pass


async def _fail(_: UnitOfWork, __: list[stream.Fact]) -> None:
    raise RuntimeError


_NEW = "INSERT INTO procrastinate_jobs (queue_name, task_name) VALUES ('x', 'y') RETURNING id"


async def test_a_job_whose_end_a_living_worker_could_not_keep_is_rescued(
    database_urls: DatabaseUrls, make_settings: Callable[..., Settings]
) -> None:
    """As when a lock or the disk took too long just then: whoever has its lock waits behind it."""
    superuser = await asyncpg.connect(database_urls.superuser)
    forgotten, under_way = [await superuser.fetchval(_NEW) for _ in range(2)]
    alive = await superuser.fetchval(
        "INSERT INTO procrastinate_workers DEFAULT VALUES RETURNING id"
    )
    await superuser.execute("UPDATE procrastinate_jobs SET status = 'doing', worker_id = $1", alive)
    await superuser.execute(
        "UPDATE procrastinate_events SET at = at - interval '31 minutes' WHERE job_id = $1",
        forgotten,
    )
    async with application(make_settings(database_urls.app)).open_async() as app:
        context: Any = SimpleNamespace(app=app)
        await app.tasks["worker:rescue"].func(context, timestamp=0)
    jobs = await superuser.fetch("SELECT id, status::text FROM procrastinate_jobs")
    await superuser.close()
    assert {job["id"]: job["status"] for job in jobs} == {forgotten: "todo", under_way: "doing"}


async def test_jobs_that_failed_are_not_kept_for_ever(
    database_urls: DatabaseUrls, make_settings: Callable[..., Settings]
) -> None:
    settings = make_settings(database_urls.app)
    superuser = await asyncpg.connect(database_urls.superuser)
    old, new = [await superuser.fetchval(_NEW) for _ in range(2)]
    for state in ("doing", "failed"):
        await superuser.execute(f"UPDATE procrastinate_jobs SET status = '{state}'")
    await superuser.execute(
        "UPDATE procrastinate_events SET at = at - interval '8 days' WHERE job_id = $1", old
    )
    async with application(settings).open_async() as app:
        context: Any = SimpleNamespace(app=app)
        await app.tasks["worker:forget"].func(context, timestamp=0)
    left = {row["id"] for row in await superuser.fetch("SELECT id FROM procrastinate_jobs")}
    await superuser.close()
    assert new in left
    assert old not in left
