"""Loads a synthetic data set by COPY, in one transaction: all of it is there, or nothing."""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from operator import itemgetter
from typing import Any

import asyncpg
import orjson
from sqlalchemy import literal, select, text
from sqlalchemy.dialects.postgresql import JSONB, insert

from service.demo.draw import Row
from service.demo.indre import Dataset
from service.kernel import installation
from service.kernel.db import UnitOfWork
from service.kernel.errors import Conflict
from service.schema import metadata

Progress = Callable[[int, int], None]

# Shipped with the product: there already, unless somebody emptied the table.
_SHARED = "territories"
# Row-level security takes no COPY.
_WALLED = "patient_files"
# Rows in any of these are somebody's work. (Patient files are walled, and come with a client.)
_MUST_BE_EMPTY = (
    *("clients", "organizations", "practitioners", "locations"),
    *("slots", "calls", "bookings"),
)
_CHUNK = 5_000

# The commit waits for the disk even where others do not: until it is there, a vacuum cannot mark
# the rows as visible to all, and index-only scans would read the tables.
_PATIENTLY = text(
    """SELECT set_config('statement_timeout', '0', true), set_config('lock_timeout', '0', true),
              set_config('idle_in_transaction_session_timeout', '0', true),
              set_config('synchronous_commit', 'on', true)"""
)
_ONE = literal(1)
_ONE_AT_A_TIME = text("SELECT pg_advisory_xact_lock(7301838)")


class DatabaseNotEmpty(Conflict):
    """Invented people never go beside other rows."""

    code = "database-not-empty"
    title = "This database already holds other rows: the demo needs an empty one."


async def load(
    uow: UnitOfWork, data: Dataset, progress: Progress = lambda _done, _total: None
) -> bool:
    """Load a data set and mark the database as synthetic; tell whether that was still to do.

    `progress(done, total)` counts rows. Refusals: `database-not-empty`.
    """
    await uow.execute(_PATIENTLY)
    await uow.execute(_ONE_AT_A_TIME)
    if await installation.dataset(uow) == data.name:
        return False
    await _ensure_empty(uow)
    await installation.mark_synthetic(uow, data.name)
    done = 0
    for table, rows in data.tables.items():
        for chunk in _chunks(rows):
            await _write(uow, table, chunk)
            done += len(chunk)
            progress(done, data.total)
    return True


def _chunks(rows: Sequence[Row]) -> Iterator[list[Row]]:
    rest = iter(rows)
    while chunk := list(islice(rest, _CHUNK)):
        yield chunk


async def _ensure_empty(uow: UnitOfWork) -> None:
    if await installation.is_synthetic(uow):
        raise DatabaseNotEmpty("This database already holds another synthetic data set.")
    for table in _MUST_BE_EMPTY:
        found = await uow.execute(select(_ONE).select_from(metadata.tables[table]).limit(1))
        if found.first() is not None:
            raise DatabaseNotEmpty(f"This database already holds {table.replace('_', ' ')}.")


async def _write(uow: UnitOfWork, table: str, rows: list[Row]) -> None:
    if table == _SHARED:
        await uow.execute(insert(metadata.tables[table]).on_conflict_do_nothing(), rows)
        return
    if table == _WALLED:
        await uow.execute(insert(metadata.tables[table]), rows)
        return
    columns = tuple(rows[0])
    connection = await _driver(uow)
    await connection.copy_records_to_table(table, columns=columns, records=_records(table, rows))


def _records(table: str, rows: list[Row]) -> list[tuple[Any, ...]]:
    """Values in the order of the first row's columns; JSON as text, as the driver wants it."""
    columns = tuple(rows[0])
    json = [i for i, n in enumerate(columns) if isinstance(metadata.tables[table].c[n].type, JSONB)]
    records = map(itemgetter(*columns), rows)
    if not json:
        return list(records)
    return [_with_json(list(record), json) for record in records]


def _with_json(record: list[Any], columns: list[int]) -> tuple[Any, ...]:
    for i in columns:
        if record[i] is not None:
            record[i] = orjson.dumps(record[i]).decode()
    return tuple(record)


async def _driver(uow: UnitOfWork) -> "asyncpg.Connection[asyncpg.Record]":
    """The driver's own connection, inside the transaction of the unit of work."""
    connection = uow._connection  # noqa: SLF001  COPY has no other way in
    if connection is None:
        raise RuntimeError("COPY needs an open transaction.")
    raw = await connection.get_raw_connection()
    driver: asyncpg.Connection[asyncpg.Record] | None = raw.driver_connection
    if driver is None:
        raise RuntimeError("The connection was lost.")
    return driver


async def vacuum(owner_url: str, tables: Sequence[str] = tuple(metadata.tables)) -> None:
    """Vacuum and analyze tables as their owner, so that index-only scans work at once."""
    connection = await asyncpg.connect(owner_url)
    try:
        for table in tables:
            await connection.execute(f"VACUUM (ANALYZE) {metadata.tables[table].name}")
    finally:
        await connection.close()
