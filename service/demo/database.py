"""The demo's database: embedded beside the data, or the one that SNP_DATABASE_URL names.

What is done here is an operator's work, before the service runs: making the application's role on a
given server, and looking whether the database is one that a demo may use.
"""

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TypeAlias
from urllib.parse import quote

import asyncpg

from service.demo.failure import DemoError
from service.demo.files import make_password, own_folder
from service.kernel import embedded
from service.kernel.embedded import APP_ROLE, Databases
from service.kernel.settings import Settings

_Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

_POWERS = "SELECT current_user AS name, rolsuper OR rolcreaterole AS enough, rolsuper"
_CALLER = f"{_POWERS} FROM pg_roles WHERE rolname = current_user"
_NO_POWERS = "NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS"
_TABLES = """
    SELECT to_regclass('public.installation') IS NOT NULL AS ours,
           EXISTS (SELECT FROM pg_class
                   WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')) AS any
"""
_ROWS = """
    SELECT NOT synthetic AND (EXISTS (SELECT FROM organizations) OR EXISTS (SELECT FROM clients))
    FROM installation
"""


@contextmanager
def opened(folder: Path, settings: Settings) -> Iterator[Databases]:
    """Give the database's two URLs while it runs; what was started here is stopped in the end."""
    if settings.database_url is None:
        with _embedded(folder) as databases:
            yield databases
        return
    url = _plain(settings.database_url.get_secret_value())
    with own_folder(folder):
        if settings.owner_database_url is not None:
            databases = Databases(_plain(settings.owner_database_url.get_secret_value()), url)
        else:
            databases = Databases(url, asyncio.run(_with_app_role(url, folder)))
        asyncio.run(_ensure_usable(databases.owner_url))
        yield databases


def _plain(url: str) -> str:
    """Return a database URL without the name of a driver."""
    scheme, _, rest = url.partition("://")
    if scheme.partition("+")[0] not in {"postgresql", "postgres"}:
        raise DemoError("A database URL starts with postgresql:// (see SNP_DATABASE_URL).")
    return f"postgresql://{rest}"


@contextmanager
def _embedded(folder: Path) -> Iterator[Databases]:
    cluster = embedded.start(folder)
    try:
        databases = asyncio.run(embedded.prepare(cluster))
        asyncio.run(_ensure_usable(databases.owner_url))
        yield databases
    finally:
        # The end has begun: a second Ctrl-C must not leave PostgreSQL behind.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        cluster.stop()


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[_Connection]:
    """Connect outside of the service's pool, for what is done once."""
    connection = await asyncpg.connect(url, timeout=10)
    try:
        yield connection
    finally:
        await connection.close()


async def _ensure_usable(owner_url: str) -> None:
    """Refuse a database with other tables or other rows before its schema is touched."""
    async with connected(owner_url) as db:
        found = await db.fetchrow(_TABLES)
        if found is None or not found["any"]:
            return
        if not found["ours"]:
            raise DemoError(
                "This database already holds other tables: the demo needs an empty one."
            )
        if await db.fetchval(_ROWS):
            raise DemoError("This database already holds other rows: the demo needs an empty one.")


async def _with_app_role(owner_url: str, folder: Path) -> str:
    """Return the URL as the application's role, which gets a password of this folder's."""
    app_url = _as_role(owner_url, APP_ROLE, make_password(folder))
    if not await _works(app_url):
        async with connected(owner_url) as db:
            await _make_role(db, make_password(folder))
        if not await _works(app_url):
            raise DemoError(
                f"The role {APP_ROLE} cannot sign in to this server with a password: set "
                f"SNP_DATABASE_URL as {APP_ROLE} and SNP_OWNER_DATABASE_URL as the owner."
            )
    return app_url


async def _make_role(db: _Connection, password: str) -> None:
    caller = await db.fetchrow(_CALLER)
    if caller is None or not caller["enough"]:
        name = caller["name"] if caller else "of SNP_DATABASE_URL"
        raise DemoError(
            f"The role {name} may not create the role {APP_ROLE}: give it CREATEROLE, or set "
            f"SNP_DATABASE_URL as {APP_ROLE} and SNP_OWNER_DATABASE_URL as the owner."
        )
    known = await db.fetchval("SELECT true FROM pg_roles WHERE rolname = $1", APP_ROLE)
    # Only who has a power may take it away; a new role has none.
    powers = _NO_POWERS if caller["rolsuper"] else ""
    try:
        await db.execute(
            f"{'ALTER' if known else 'CREATE'} ROLE {APP_ROLE} LOGIN {powers} PASSWORD '{password}'"
        )
    except asyncpg.InsufficientPrivilegeError as error:
        raise DemoError(
            f"The role {caller['name']} may not change the role {APP_ROLE}: set SNP_DATABASE_URL "
            f"as {APP_ROLE} and SNP_OWNER_DATABASE_URL as the owner."
        ) from error


async def _works(url: str) -> bool:
    try:
        async with connected(url) as db:
            return bool(await db.fetchval("SELECT true"))
    except asyncpg.InsufficientPrivilegeError:  # may not connect to this database yet
        return True
    except asyncpg.InvalidAuthorizationSpecificationError:  # no such role, or another password
        return False


def _as_role(url: str, role: str, password: str) -> str:
    """Return a database URL with another role and password."""
    authority, slash, path = url.removeprefix("postgresql://").partition("/")
    hosts = authority.rpartition("@")[2]
    return f"postgresql://{quote(role)}:{quote(password)}@{hosts}{slash}{path}"
