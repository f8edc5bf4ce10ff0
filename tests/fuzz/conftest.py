"""A server process for nonsense, on a database of its own."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import pytest_asyncio

from service.identity import Role
from service.kernel.crypto import Keys
from service.kernel.settings import Settings
from service.main import create_app
from tests.access.house import build
from tests.conftest import Server, address
from tests.demo.processes import Snp, snp
from tests.support import World


@dataclass
class Target:
    """A server process, its description, tokens of every role, and ids of things that exist."""

    process: Snp
    url: httpx.URL
    document: dict[str, Any]
    tokens: dict[tuple[Role, str], str]
    things: dict[str, str]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def target(
    tmp_path_factory: pytest.TempPathFactory,
    server: Server,
    make_settings: Callable[..., Settings],
    keys: Keys,
) -> AsyncIterator[Target]:
    """A server on a database of its own, that tells its log everything."""
    database_urls = await server.clone(name := f"{server.template}_nonsense")
    app = create_app(make_settings(database_urls.app))
    transport = httpx.ASGITransport(app=app)
    try:
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
            world = await World(app.state.database, http).begin()
            house = await build(world)
    finally:
        await app.state.database.dispose()
    tokens = {(s.caller.role, s.distance): s.caller.token for s in house.standings}
    settings = {
        "SNP_DATABASE_URL": database_urls.app,
        "SNP_KEYS": keys.model_dump_json(),
        "SNP_RPPS_CHECK": "format",
        "SNP_LOG_LEVEL": "DEBUG",
        "SNP_TOKEN_REQUESTS_PER_MINUTE": "0",
        "SNP_ADDRESS_REQUESTS_PER_MINUTE": "0",
        "SNP_CLIENT_REQUESTS_PER_MINUTE": "0",
    }
    folder = tmp_path_factory.mktemp("nonsense")
    with snp(folder, "serve", "--port", "0", **settings) as process:
        process.wait_until(lambda started: address(started) is not None)
        url = httpx.URL(str(address(process)))
        yield Target(process, url, app.openapi(), tokens, house.things)
    await server.drop(name)
