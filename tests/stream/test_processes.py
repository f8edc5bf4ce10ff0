"""Real server processes: stopped with many streams open, several beside each other, cut off."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from pathlib import Path

import asyncpg
import httpx
import pytest_asyncio

from service.kernel.crypto import Keys
from service.kernel.settings import Settings
from service.worker import working
from tests.conftest import DatabaseUrls, address
from tests.demo.processes import Snp, snp
from tests.kernel.serving import serving
from tests.stream.following import Following, at_least, following
from tests.support import Caller, World, soon

_STREAMS = 500


@contextmanager
def serve(folder: Path, urls: DatabaseUrls, keys: Keys, *arguments: str) -> Iterator[Snp]:
    """Start `snp serve` on a database."""
    with snp(
        folder,
        *("serve", "--port", "0", *arguments),
        SNP_DATABASE_URL=urls.app,
        SNP_LISTEN_DATABASE_URL=urls.listening,
        SNP_KEYS=keys.model_dump_json(),
        SNP_RPPS_CHECK="format",
        SNP_TOKEN_REQUESTS_PER_MINUTE="0",
    ) as process:
        process.wait_until(lambda started: address(started) is not None)
        yield process


async def _open(
    url: str, caller: Caller, places: asyncio.Semaphore
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Open a stream, and read until it has begun."""
    host, port = url.removeprefix("http://").split(":")
    async with places:
        reader, writer = await asyncio.open_connection(host, int(port))
        head = f"GET /v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {caller.token}\r\n\r\n"
        writer.write(head.encode())
        begun = await reader.readuntil(b"retry: 2000")
    assert begun.startswith(b"HTTP/1.1 200"), begun
    return reader, writer


async def test_five_hundred_streams_end_in_order_when_the_server_stops(
    world: World, shared_urls: DatabaseUrls, keys: Keys, tmp_path: Path
) -> None:
    doctor = await world.doctor()
    with serve(tmp_path, shared_urls, keys) as process:
        url, places = str(address(process)), asyncio.Semaphore(20)
        streams = await asyncio.gather(*(_open(url, doctor, places) for _ in range(_STREAMS)))
        told = time.monotonic()
        process.process.send_signal(signal.SIGTERM)
        ends = await asyncio.gather(*(reader.read() for reader, _ in streams))
        ended = time.monotonic() - told
        code = await asyncio.to_thread(process.process.wait, 30)
        for _, writer in streams:
            writer.close()
    # The last chunk, of nothing: no reader takes it for a broken connection.
    assert all(end.endswith(b": the server stops\n\n\r\n0\r\n\r\n") for end in ends)
    assert (code, ended < 3) == (0, True), ended
    assert "request.defect" not in process.errors
    assert process.errors.count("/v1/events") == _STREAMS  # one line for each


@pytest_asyncio.fixture
async def elsewhere(
    database_urls: DatabaseUrls, make_settings: Callable[..., Settings]
) -> AsyncIterator[World]:
    """A world in a database of its own, with a worker: its connections are cut."""
    settings = make_settings(database_urls.app)
    async with (
        serving(settings) as (http, database),
        working(settings, database),
    ):
        yield await World(database, http).begin()


async def test_two_processes_tell_all_when_their_connections_were_cut(
    elsewhere: World, database_urls: DatabaseUrls, keys: Keys, tmp_path: Path
) -> None:
    doctor, regulator = await elsewhere.doctor(), await elsewhere.regulator()
    async with AsyncExitStack() as opened:
        process = opened.enter_context(serve(tmp_path, database_urls, keys, "--workers", "2"))
        url = str(address(process))
        await _until_served(url)
        streams: list[Following] = []
        while await _listening(database_urls) < 2:  # one process may take many in a row
            assert len(streams) < 200
            streams += [
                await opened.enter_async_context(following(one, url))
                for one in [doctor, regulator] * 6
            ]
        slots = [await _publish(doctor, 3)]
        for stream in streams:
            await stream.until(at_least(1))
        assert await _cut(database_urls) == 2  # that of each process
        slots.append(await _publish(doctor, 4))
        for stream in streams:
            await stream.until(at_least(2))
            assert [event.subject_id for event in stream.events] == slots
    assert process.errors.count('"notices.lost"') >= 2


async def _until_served(url: str) -> None:
    """Wait until the processes listen, which is after they have said where."""
    async with httpx.AsyncClient(base_url=url, trust_env=False) as client, asyncio.timeout(60):
        while True:
            with suppress(httpx.TransportError):
                await client.get("/health/live")
                return
            await asyncio.sleep(0.1)


async def _publish(doctor: Caller, hour: int) -> str:
    """Publish a slot, whatever became of the connections."""
    while True:
        answer = await doctor.post("/v1/slots", doctor.slot(soon(hour)), key=f"slot-{hour}")
        if answer.status_code != 503:
            assert answer.status_code == 201, answer.text
            return str(answer.json()["id"])


async def _listening(urls: DatabaseUrls) -> int:
    """Return how many processes listen to PostgreSQL: those that have streams."""
    superuser = await asyncpg.connect(urls.superuser)
    try:
        found: int = await superuser.fetchval(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name = 'snp listening'"
        )
    finally:
        await superuser.close()
    return found


async def _cut(urls: DatabaseUrls) -> int:
    """End the connections of the servers; return how many listened."""
    superuser = await asyncpg.connect(urls.superuser)
    try:
        ended = await superuser.fetch(
            "SELECT application_name, pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND usename = 'snp_app'"
            " AND application_name IN ('snp', 'snp listening')"
        )
    finally:
        await superuser.close()
    return sum(row["application_name"] == "snp listening" for row in ended)
