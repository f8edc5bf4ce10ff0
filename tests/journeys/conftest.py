"""A world whose callers talk to a running server process."""

from collections.abc import AsyncIterator

import httpx
import pytest_asyncio

from service.kernel.db import Database
from tests.support import World


@pytest_asyncio.fixture
async def world(database: Database, base_url: str) -> AsyncIterator[World]:
    """A territory of the test's own; its callers knock at the server's real address."""
    async with httpx.AsyncClient(base_url=base_url, trust_env=False, timeout=30) as http:
        yield await World(database, http).begin()
