"""An application of a test's own, with settings of its own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from service.kernel.db import Database
from service.kernel.settings import Settings
from service.main import create_app


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[tuple[httpx.AsyncClient, Database]]:
    """Serve the application in-process; gives a client of it and its database."""
    application = create_app(settings)
    database: Database = application.state.database
    transport = httpx.ASGITransport(app=application, raise_app_exceptions=False)
    try:
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            yield client, database
    finally:
        await database.dispose()
