"""A server process, and a worker that numbers what happens."""

from collections.abc import AsyncIterator, Callable

import pytest_asyncio

from service.kernel.db import Database
from service.kernel.settings import Settings
from service.worker import working
from tests.conftest import DatabaseUrls


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def worker(
    shared_urls: DatabaseUrls, make_settings: Callable[..., Settings], database: Database
) -> AsyncIterator[None]:
    """A worker on the shared database."""
    async with working(make_settings(shared_urls.app), database):
        yield
