"""A desk for imports, on a database of the test's own."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest_asyncio

from service.kernel.crypto import Keys, Vault
from service.kernel.db import Database
from service.kernel.settings import Settings
from tests.conftest import DatabaseUrls
from tests.directory.desk import Desk


@pytest_asyncio.fixture
async def desk(
    database_urls: DatabaseUrls,
    make_settings: Callable[..., Settings],
    keys: Keys,
    tmp_path: Path,
) -> AsyncIterator[Desk]:
    """A desk on a database of the test's own, as the application's role."""
    database = Database(database_urls.app, make_settings(database_urls.app), Vault(keys))
    yield Desk(database, tmp_path)
    await database.dispose()
