"""Brings into the demo's database what is missing: keys, the rows of 2022, the live part."""

from pathlib import Path

import asyncpg
from rich.console import Console

from service.demo import files, live, past
from service.demo.clients import ensure
from service.demo.database import connected
from service.demo.failure import DemoError
from service.demo.files import Credential
from service.demo.indre import NAME, dataset
from service.demo.repository import load, vacuum
from service.kernel import installation
from service.kernel.crypto import KeysError, Vault, load_keys
from service.kernel.db import Database
from service.kernel.embedded import Databases
from service.kernel.progress import bar
from service.kernel.settings import Settings
from service.kernel.wall import ensure_trusted
from service.schema import metadata

_DATASET = "SELECT dataset FROM installation"
_SEALED = "SELECT id, family_name FROM patient_files WHERE family_name IS NOT NULL LIMIT 1"
_UNTIDY = "SELECT relallvisible = 0 FROM pg_class WHERE oid = 'public.calls'::regclass"


async def fill(
    console: Console, folder: Path, settings: Settings, databases: Databases
) -> list[Credential]:
    """Do what is not yet done; return the credentials of the demo's clients."""
    async with connected(databases.owner_url) as db:
        await _ensure_keys(db, folder)
        vault = Vault(load_keys(settings))
        await _ensure_same_keys(db, vault, folder)
    database = Database(databases.app_url, settings, vault)
    try:
        async with database.unit_of_work() as uow:
            await ensure_trusted(uow)
        await _load(console, database)
        await _tidy(console, databases.owner_url)
        return await _live(database, files.read_clients(folder))
    finally:
        await database.dispose()


async def _ensure_keys(db: "asyncpg.Connection[asyncpg.Record]", folder: Path) -> None:
    """Make the folder's keys, unless rows were already written with some that are gone."""
    path = folder / files.KEYS
    if not path.exists() and await db.fetchval(_DATASET) is not None:
        raise DemoError(
            f"This database was filled with secret keys that are not in {path}: put them back, "
            "or begin anew with an empty database in another data folder."
        )
    files.make_keys(folder)


async def _ensure_same_keys(
    db: "asyncpg.Connection[asyncpg.Record]", vault: Vault, folder: Path
) -> None:
    """Refuse keys that do not open what was written: a given database and another's folder."""
    row = await db.fetchrow(_SEALED)
    if row is None:
        return
    try:
        vault.decrypt(row["family_name"], column="patient_files.family_name", row=row["id"])
    except KeysError as error:
        raise DemoError(
            f"This database was filled with other secret keys than those of {folder}: use the "
            "folder that it was filled from, or an empty database."
        ) from error


async def _load(console: Console, database: Database) -> None:
    async with database.unit_of_work() as uow:
        if await installation.dataset(uow) == NAME:
            return
    console.print("Drawing the Indre of 2022: about 5 seconds")
    rows = dataset()
    if not console.is_terminal:
        console.print(f"Loading {rows.total} rows")
    with bar("rows") as told:
        async with database.unit_of_work() as uow:
            await load(uow, rows, told)


async def _tidy(console: Console, owner_url: str) -> None:
    """Vacuum once after loading, or at the next start if that was cut off."""
    async with connected(owner_url) as db:
        if not await db.fetchval(_UNTIDY):
            return
    console.print("Tidying the tables")
    await vacuum(owner_url, sorted(metadata.tables))


async def _live(database: Database, known: list[Credential]) -> list[Credential]:
    """Make whoever may sign in, room for the coming days, and what is to be reported."""
    await live.ensure_organizations(database)
    clients = await ensure(database, live.wanted_clients(), known)
    async with database.unit_of_work() as uow:
        now = await uow.now()
    await live.publish_slots(database, now)
    await past.book_past(database, now)
    return clients
