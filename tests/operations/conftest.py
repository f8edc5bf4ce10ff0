"""What the tests of this folder share."""

import os

import pytest
import pytest_asyncio

from service.kernel.checks import Finding, check, register
from service.kernel.crypto import Keys, Vault
from service.kernel.db import Database
from service.schema import metadata
from tests.conftest import DatabaseUrls
from tests.operations.support import IDLE, Installed, Look, MakeSettings, as_role, ask

# What only a pooler can break is looked at where there is one: `make test-pgbouncer`.
collect_ignore = [] if "SNP_TEST_APP_URL" in os.environ else ["test_pooler.py"]


@pytest_asyncio.fixture(loop_scope="session")
async def installed(
    database_urls: DatabaseUrls, make_settings: MakeSettings, keys: Keys
) -> Installed:
    """A fresh database as docs/operations.md makes it."""
    name = await ask(database_urls.superuser, "SELECT current_database()")
    await as_role(
        database_urls.superuser,
        f"REVOKE ALL ON DATABASE {name} FROM PUBLIC",
        f"GRANT CONNECT ON DATABASE {name} TO snp_app",
        f"ALTER ROLE snp_app IN DATABASE {name} SET {IDLE} = '10s'",
    )
    database = Database(database_urls.app, make_settings(database_urls.app), Vault(keys))
    async with database.unit_of_work() as uow:
        await register(uow)
    await database.dispose()
    return Installed(name, database_urls.owner, database_urls.app, database_urls.superuser)


@pytest.fixture
def look(installed: Installed, make_settings: MakeSettings) -> Look:
    """Check with some settings changed; findings by item."""

    async def found(url: str | None = None, **changes: object) -> dict[str, Finding]:
        findings = await check(make_settings(url or installed.app, **changes), metadata)
        # A sentence, or what is to be pasted into psql as it stands.
        assert all(finding.told.endswith((".", ";")) for finding in findings)
        return {finding.item: finding for finding in findings}

    return found
