"""A broker with a database, an application and a worker of its own."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import httpx
import pytest_asyncio

from service import stream, webhooks
from service.kernel.db import Database
from service.kernel.settings import Settings
from service.worker import working
from tests.conftest import Clock, DatabaseUrls
from tests.kernel.serving import serving
from tests.support import World


@dataclass(frozen=True)
class Broker:
    """A whole service with nothing else in its stream."""

    settings: Settings
    database: Database
    http: httpx.AsyncClient
    clock: Clock

    async def world(self) -> World:
        """A territory of its own."""
        return await World(self.database, self.http).begin()


@pytest_asyncio.fixture
async def idle(
    database_urls: DatabaseUrls, make_settings: Callable[..., Settings]
) -> AsyncIterator[Broker]:
    """A broker whose worker does not run."""
    settings = make_settings(database_urls.app, webhook_loopback=True)
    async with serving(settings) as (http, database):
        await stream.consume(database, "webhooks", webhooks.fan_out)  # from now on
        yield Broker(settings, database, http, Clock(database_urls.owner))


@pytest_asyncio.fixture
async def broker(idle: Broker) -> AsyncIterator[Broker]:
    """A broker with a worker."""
    async with working(idle.settings, idle.database):
        yield idle
