"""Health, and requests while the database is away."""

import asyncio
import re
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncpg
import httpx
import pytest

from service.kernel import embedded
from service.kernel.crypto import Keys
from service.kernel.migrations import upgrade
from service.kernel.settings import Settings
from tests.conftest import DatabaseUrls, trust
from tests.kernel.serving import serving
from tests.support import World, problem

MakeSettings = Callable[..., Settings]


def _unavailable(answer: httpx.Response) -> None:
    problem(answer, 503, "temporarily-unavailable")
    assert int(answer.headers["Retry-After"]) > 0


async def test_a_served_database_is_ready(world: World) -> None:
    assert (await world.http.get("/health/live")).json() == {"status": "pass", "checks": {}}
    ready = await world.http.get("/health/ready")
    assert (ready.status_code, ready.json()["status"]) == (200, "pass")
    checks = ready.json()["checks"]
    assert re.fullmatch(r"oldest unsealed trace: \d+ s", checks.pop("audit"))
    assert re.fullmatch(r"oldest due delivery: \d+ s, abandoned: \d+", checks.pop("webhooks"))
    assert checks.pop("messages").startswith("no e-mail: SNP_SMTP_URL is not set; oldest due")
    assert checks.pop("sas").startswith("SNP_SAS_APPOINTMENTS_URL is not set; oldest app")
    assert checks.pop("stream")
    assert checks == {"database": "pass", "schema": "pass", "role": "pass"}


async def test_a_role_that_no_protection_binds_is_not_ready(
    shared_urls: DatabaseUrls, make_settings: MakeSettings
) -> None:
    for url, told in (
        (shared_urls.superuser, "superuser"),
        (shared_urls.owner, "row-level security does not hold it"),
    ):
        async with serving(make_settings(url)) as (client, _):
            ready = await client.get("/health/ready")
        assert ready.status_code == 503
        assert ready.json()["checks"]["role"].startswith(told)


async def test_another_schema_is_not_ready(
    database_urls: DatabaseUrls, make_settings: MakeSettings
) -> None:
    owner = await asyncpg.connect(database_urls.owner)
    await owner.execute("UPDATE alembic_version SET version_num = '0000'")
    await owner.close()
    async with serving(make_settings(database_urls.app)) as (client, _):
        ready = await client.get("/health/ready")
        assert (ready.status_code, ready.json()["status"]) == (503, "fail")
        assert ready.json()["checks"]["schema"].startswith("at 0000, code wants ")


async def test_nobody_at_the_databases_port_is_told_at_once(
    world: World, make_settings: MakeSettings
) -> None:
    regulator = await world.regulator()
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound and not listening: nobody else gets it
        url = f"postgresql://snp_app@127.0.0.1:{closed.getsockname()[1]}/snp"
        async with serving(make_settings(url)) as (client, _):
            regulator.http = client
            began = time.monotonic()
            ready = await client.get("/health/ready")
            _unavailable(await regulator.get("/v1/slots"))
            _unavailable(await regulator.get("/v1/me"))
            assert time.monotonic() - began < 2
            assert (await client.get("/health/live")).status_code == 200
    assert (ready.status_code, ready.headers["Retry-After"]) == (503, "2")
    assert ready.json() == {
        "status": "fail",
        "checks": {"database": "The database does not answer."},
    }


async def test_a_database_that_accepts_and_stays_silent_is_given_up(
    world: World, make_settings: MakeSettings
) -> None:
    regulator = await world.regulator()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    url = f"postgresql://snp_app@127.0.0.1:{server.sockets[0].getsockname()[1]}/snp"
    async with server, serving(make_settings(url)) as (client, _):
        regulator.http = client
        began = time.monotonic()
        ready, answer = await asyncio.gather(
            client.get("/health/ready"), regulator.get("/v1/slots")
        )
        assert time.monotonic() - began < 8
    assert ready.status_code == 503
    _unavailable(answer)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short path for a cluster of the test's own."""
    place = Path(tempfile.mkdtemp(prefix="snp-out-"))
    place.chmod(0o755)
    yield place
    shutil.rmtree(place, ignore_errors=True)


async def test_the_service_outlives_its_database(
    folder: Path, make_settings: MakeSettings, keys: Keys
) -> None:
    cluster = await asyncio.to_thread(embedded.start, folder, durable=False)
    try:
        urls = await embedded.prepare(cluster)
        await asyncio.to_thread(upgrade, urls.owner_url)
        await trust(urls.app_url, keys)
        async with serving(make_settings(urls.app_url)) as (client, database):
            doctor = await (await World(database, client).begin()).doctor()
            slot = await doctor.publish()
            path = f"/v1/slots/{slot['id']}"
            # Several connections are in the pool when the server goes.
            await asyncio.gather(*(doctor.get(path) for _ in range(10)))

            await asyncio.to_thread(cluster.stop)
            began = time.monotonic()
            for answer in await asyncio.gather(
                doctor.get(path),
                doctor.get("/v1/slots"),
                doctor.post("/v1/slots", doctor.slot(), key="a"),
                doctor.delete(path, if_match="*"),
                client.post("/oauth/token", data={"grant_type": "client_credentials"}),
            ):
                _unavailable(answer)
            assert (await client.get("/health/ready")).status_code == 503
            assert time.monotonic() - began < 3

            cluster = await asyncio.to_thread(embedded.start, folder, durable=False)
            assert (await doctor.get(path)).json() == slot
            assert (await client.get("/health/ready")).status_code == 200
            answers = await asyncio.gather(*(doctor.get(path) for _ in range(20)))
            assert {answer.status_code for answer in answers} == {200}
            assert (await doctor.delete(path, if_match="*")).status_code == 204

            # A restart that no request saw: those that find a dead connection may try again.
            await asyncio.to_thread(cluster.stop)
            cluster = await asyncio.to_thread(embedded.start, folder, durable=False)
            first = await doctor.get(path)
            if first.status_code != 200:
                _unavailable(first)
            answers = [await doctor.get(path) for _ in range(10)]
            assert {answer.status_code for answer in answers} == {200}
    finally:
        await asyncio.to_thread(cluster.stop)
