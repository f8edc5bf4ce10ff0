"""Key rotation: every encrypted value under the key that writes, while servers read and write.

The number of its key is a byte of each value, so what is left to do stands in the rows: a rotation
that was cut off goes on when it is run again, and one that has nothing left to do does nothing.
Every server must know the new key before anything is written with it (docs/operations.md, Keys).
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import (
    Column,
    ColumnElement,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Uuid,
    and_,
    func,
    literal_column,
    or_,
    select,
    union,
    update,
)

from service.kernel import events
from service.kernel.crypto import KeysError, Vault
from service.kernel.db import Database, TransactionLost, UnitOfWork
from service.kernel.errors import Unavailable
from service.kernel.ids import new_id
from service.kernel.installation import register_keys, retire_keys
from service.kernel.sql import bind
from service.kernel.tables import sealed_columns
from service.kernel.wall import as_upkeep

T = TypeVar("T")

_NONE = UUID(int=0)
_PASSES = 3
_TRIES = 5

Told = Callable[[int, int], None]  # rows done, rows to do


@dataclass(frozen=True, slots=True)
class Rotated:
    """What a rotation did."""

    key: int
    rows: int
    unneeded: tuple[int, ...]


class _Sealed:
    """The statements of one table with encrypted columns."""

    def __init__(self, table: Table, columns: list[Column[bytes]]) -> None:
        self._table, self._columns = table, columns
        stale = or_(
            *(and_(c.is_not(None), _number(c) != bind("current", Integer)) for c in columns)
        )
        self._count = select(func.count()).where(stale)
        self._find = (
            select(table.c.id, *columns)
            .where(table.c.id > bind("after", Uuid), stale)
            .order_by(table.c.id)
            .limit(bind("limit", Integer))
        )
        # Only as it was read: who writes meanwhile is right, and uses the same key.
        self._write = (
            update(table)
            .where(
                table.c.id == bind("row_id", Uuid),
                *(c.is_not_distinct_from(bind(f"old_{c.name}", LargeBinary)) for c in columns),
            )
            .values({c.name: bind(f"new_{c.name}", LargeBinary) for c in columns})
        )

    async def left(self, uow: UnitOfWork) -> int:
        """Count the rows that hold a value under another key."""
        return int((await uow.execute(self._count, {"current": uow.vault.current})).scalar_one())

    async def batch(self, after: UUID, limit: int, uow: UnitOfWork) -> list[UUID]:
        """Encrypt some rows anew, and return their ids."""
        values = {"after": after, "limit": limit, "current": uow.vault.current}
        rows = (await uow.execute(self._find, values)).mappings().all()
        if rows:
            await uow.execute(self._write, [self._anew(uow.vault, row) for row in rows])
        return [row["id"] for row in rows]

    def _anew(self, vault: Vault, row: Any) -> dict[str, Any]:
        values: dict[str, Any] = {"row_id": row["id"]}
        for column in self._columns:
            place, old = f"{self._table.name}.{column.name}", row[column.name]
            values[f"old_{column.name}"] = old
            values[f"new_{column.name}"] = vault.encrypt_anew(old, column=place, row=row["id"])
        return values


def _number(column: ColumnElement[bytes]) -> ColumnElement[int]:
    return func.get_byte(column, literal_column("1"))


async def rotate(database: Database, catalogue: MetaData, told: Told, *, batch: int) -> Rotated:
    """Encrypt anew, in transactions of `batch` rows, whatever is not under the key that writes.

    Refuses with `KeysError` when a value is under a key that is not loaded, or when rows under an
    older key go on coming: then some server still writes with it.
    """
    tables = [_Sealed(table, columns) for table, columns in sealed_columns(catalogue)]
    rows = 0
    for _ in range(_PASSES):
        left: int = await _in_transaction(database, partial(_left, tables))
        if not left:
            return await _finish(database, rows)
        total = rows + left
        for table in tables:
            after = _NONE
            while done := await _in_transaction(database, partial(table.batch, after, batch)):
                rows, after = rows + len(done), done[-1]
                told(rows, max(rows, total))
    raise KeysError(
        "Values are still being written with an older key: restart every server with the newest"
        " keys file, then run this again."
    )


async def _left(tables: Iterable[_Sealed], uow: UnitOfWork) -> int:
    return sum([await table.left(uow) for table in tables])


async def _in_transaction(database: Database, work: Callable[[UnitOfWork], Awaitable[T]]) -> T:
    """Work in a transaction of its own; again, when it crossed somebody else's."""
    for attempt in range(_TRIES):
        try:
            async with database.unit_of_work() as uow:
                await as_upkeep(uow)
                return await work(uow)
        except (TransactionLost, Unavailable):
            if attempt == _TRIES - 1:
                raise
            await asyncio.sleep(0.2 * (attempt + 1))
    raise AssertionError("unreachable")


async def _finish(database: Database, rows: int) -> Rotated:
    """Keep which keys are in use, and tell the trace."""
    current = database.vault.current
    unneeded = tuple(sorted(database.vault.numbers - {current}))
    names = {f"encryption {number}" for number in unneeded}
    fingerprints = database.vault.fingerprints
    async with database.unit_of_work() as uow:
        await register_keys(uow, {name: fingerprints[name] for name in fingerprints.keys() - names})
        await retire_keys(uow, names)
        await events.record(
            uow,
            events.OPERATOR,
            "keys.rotated",
            new_id(),
            territory=None,
            data={"key": current, "rows": rows},
        )
    return Rotated(current, rows, unneeded)


async def numbers_needed(uow: UnitOfWork, catalogue: MetaData) -> set[int]:
    """Return the numbers of the encryption keys that some row is under; reads every row."""
    await as_upkeep(uow)
    each = [
        select(_number(column).label("number")).where(column.is_not(None))
        for _, columns in sealed_columns(catalogue)
        for column in columns
    ]
    return set((await uow.execute(union(*each))).scalars())
