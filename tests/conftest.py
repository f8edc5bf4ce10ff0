"""A real PostgreSQL for every test run: one server per worker, one migrated template database."""

import asyncio
import json
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import asyncpg
import httpx
import hypothesis
import pytest
import pytest_asyncio
from fastapi import FastAPI
from pydantic import SecretStr

from service.kernel import embedded, logs
from service.kernel.crypto import Keys, Vault
from service.kernel.db import Database
from service.kernel.http import middleware, problems
from service.kernel.ids import new_id
from service.kernel.migrations import upgrade
from service.kernel.settings import Settings
from service.kernel.wall import ensure_trusted
from service.main import create_app
from tests.demo.processes import Snp, snp
from tests.support import World, begin_anew

# How long an example takes says nothing about what it shows.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")


@dataclass(frozen=True)
class DatabaseUrls:
    """One database as its two roles see it, and as the server's superuser does.

    `app` may lead through a pooler; `listening` is the same role past it.
    """

    owner: str
    app: str
    superuser: str
    listening: str


_ROLES = ("snp_owner", "snp_app", "postgres", "snp_app")


@dataclass(frozen=True)
class Server:
    """A PostgreSQL server with a migrated template database to clone."""

    urls_of: Callable[[str], DatabaseUrls]
    template: str

    async def clone(self, name: str) -> DatabaseUrls:
        """Create a database like the template."""
        urls = self.urls_of("postgres")
        connection = await asyncpg.connect(urls.superuser)
        try:
            await connection.execute(
                f"CREATE DATABASE {name} TEMPLATE {self.template} OWNER snp_owner"
            )
            await connection.execute(f"GRANT CONNECT ON DATABASE {name} TO snp_app")
            # Role settings belong to a database: a clone starts without them.
            await connection.execute(
                f"ALTER ROLE snp_app IN DATABASE {name} SET lock_timeout = '3s'"
            )
            await connection.execute(
                f"ALTER ROLE snp_app IN DATABASE {name} SET statement_timeout = '10s'"
            )
            await connection.execute(
                f"ALTER ROLE snp_app IN DATABASE {name} SET random_page_cost = 1.1"
            )
            await connection.execute(
                f"ALTER ROLE snp_app IN DATABASE {name} SET plan_cache_mode = force_generic_plan"
            )
        finally:
            await connection.close()
        return self.urls_of(name)

    async def drop(self, name: str) -> None:
        """Drop a database, whoever is still connected."""
        connection = await asyncpg.connect(self.urls_of("postgres").superuser)
        try:
            await connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        finally:
            await connection.close()


@pytest.fixture(scope="session")
def server(worker_id: str, keys: Keys) -> Iterator[Server]:
    """Start a server of this worker's own, or use the one that SNP_TEST_SERVER_URL names."""
    external = os.environ.get("SNP_TEST_SERVER_URL")
    servers = int(os.environ.get("SNP_TEST_SERVERS", "1"))
    template = f"snp_template_{worker_id}_{os.getpid()}"
    folder: Path | None = None
    cluster: embedded.Cluster | None = None
    if external is None:
        folder = Path(tempfile.mkdtemp(prefix="snp-tests-"))
        folder.chmod(0o755)
        cluster = embedded.start(folder, durable=False)

        def urls_of(name: str) -> DatabaseUrls:
            assert cluster is not None
            return DatabaseUrls(*(cluster.url(name, role) for role in _ROLES))
    else:

        def urls_of(name: str) -> DatabaseUrls:
            assert external is not None
            # The application may go through a pooler; who makes databases may not.
            templates = (external, os.environ.get("SNP_TEST_APP_URL", external), external, external)
            pairs = zip(templates, _ROLES, strict=True)
            number = int(worker_id.removeprefix("gw") if worker_id != "master" else 0)
            names = {"database": name, "server": number % servers}
            return DatabaseUrls(*(url.format(role=role, **names) for url, role in pairs))

    asyncio.run(_prepare(urls_of("postgres").superuser, template))
    upgrade(urls_of(template).owner)
    # Not through a pooler, which would stay connected: a template is cloned when nobody is there.
    asyncio.run(trust(urls_of(template).owner, keys))
    yield Server(urls_of, template)
    if cluster is not None:
        cluster.stop()
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)


async def trust(url: str, keys: Keys) -> None:
    """Let a database believe keys, as the first server that starts does."""
    database = Database(url, Settings.model_validate({}), Vault(keys))
    try:
        async with database.unit_of_work() as uow:
            await ensure_trusted(uow)
    finally:
        await database.dispose()


async def _prepare(superuser_url: str, template: str) -> None:
    connection = await asyncpg.connect(superuser_url)
    try:
        await embedded.prepare_server(connection, template)
    finally:
        await connection.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared_urls(server: Server) -> AsyncIterator[DatabaseUrls]:
    """One database for all tests of a worker that bring their own world."""
    name = f"{server.template}_shared"
    yield await server.clone(name)
    await server.drop(name)


@pytest_asyncio.fixture
async def database_urls(server: Server) -> AsyncIterator[DatabaseUrls]:
    """A fresh, migrated, empty database for one test."""
    name = f"snp_fresh_{new_id().hex}"
    yield await server.clone(name)
    await server.drop(name)


@pytest.fixture(scope="session")
def keys() -> Keys:
    """Secret keys of this run."""
    return Keys.generate()


@pytest.fixture(scope="session")
def make_settings(keys: Keys) -> Callable[..., Settings]:
    """Make settings for a database, with changes."""

    def make(url: str, **changes: object) -> Settings:
        values: dict[str, object] = {
            "database_url": SecretStr(url),
            "keys": SecretStr(keys.model_dump_json()),
            "rpps_check": "format",
            "token_requests_per_minute": 0,
            "address_requests_per_minute": 0,
            # Hundreds of rivals on a busy machine: what is tested is who wins, not how soon.
            "pool_timeout_seconds": 60,
            "log_level": "ERROR",
            **changes,
        }
        return Settings.model_validate(values)

    return make


@pytest.fixture(scope="session", autouse=True)
def _quiet() -> None:
    """Bind the loggers of requests, before a command in this process sets another level."""
    logs.configure(Settings.model_validate({"log_level": "ERROR"}))
    for module in (middleware, problems):
        vars(module)["log"].bind()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def app(
    shared_urls: DatabaseUrls, make_settings: Callable[..., Settings]
) -> AsyncIterator[FastAPI]:
    """The application on the shared database."""
    application = create_app(make_settings(shared_urls.app))
    yield application
    await application.state.database.dispose()


@pytest.fixture(scope="session")
def database(app: FastAPI) -> Database:
    """The application's own database."""
    found: Database = app.state.database
    return found


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def http(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """An HTTP client that calls the application in-process."""
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


@pytest.fixture(scope="session")
def base_url(
    shared_urls: DatabaseUrls, keys: Keys, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """A server process on the tests' shared database, with the tests' keys."""
    with snp(
        tmp_path_factory.mktemp("serving"),
        *("serve", "--port", "0"),
        SNP_DATABASE_URL=shared_urls.app,
        SNP_KEYS=keys.model_dump_json(),
        SNP_RPPS_CHECK="format",
        SNP_TOKEN_REQUESTS_PER_MINUTE="0",
        SNP_ADDRESS_REQUESTS_PER_MINUTE="0",
    ) as process:
        process.wait_until(lambda started: address(started) is not None)
        found = address(process)
        assert found is not None
        yield found


def address(process: Snp) -> str | None:
    """Where a server process listens, once it does."""
    for line in process.errors.splitlines():
        told = json.loads(line)
        if told.get("event") == "service.started":
            address: str = told["address"]
            return address
    return None


@pytest.fixture(autouse=True)
def _one_now() -> None:
    begin_anew()


@pytest_asyncio.fixture
async def world(database: Database, http: httpx.AsyncClient) -> World:
    """A territory of the test's own."""
    return await World(database, http).begin()


@dataclass(frozen=True)
class Clock:
    """Moves the database's clock; every statement of the service reads that one."""

    owner_url: str

    async def shift(self, by: timedelta) -> None:
        """Let `snp_now()` run this much ahead of the real time."""
        await self._tell(f"statement_timestamp() + interval ''{by.total_seconds()} seconds''")

    async def stop(self, at: datetime) -> None:
        """Let it be this very instant, to the microsecond, until further notice."""
        await self._tell(f"timestamptz ''{at.isoformat()}''")

    async def _tell(self, now: str) -> None:
        connection = await asyncpg.connect(self.owner_url)
        try:
            await connection.execute(
                "CREATE OR REPLACE FUNCTION snp_now() RETURNS timestamptz LANGUAGE sql STABLE AS "
                f"'SELECT {now}'"
            )
        finally:
            await connection.close()


@pytest_asyncio.fixture
async def clock(shared_urls: DatabaseUrls) -> AsyncIterator[Clock]:
    """Shift the shared database's clock for one test."""
    moved = Clock(shared_urls.owner)
    yield moved
    await moved.shift(timedelta(0))
