"""The second wall around identities: row-level security on `patient_files` (docs/adr/0018).

Rows of that table are seen only in a transaction that said who reads: `snp.reader` holds the ids of
an organization and its practitioners, and a row is seen by those that stand on it. A statement that
forgot its own condition, or somebody with the application's password, reads nobody.
"""

from typing import Any

from sqlalchemy import ColumnElement, Select, func, literal, select

from service.kernel.db import UnitOfWork

# What works on every file by itself (rotation, erasure, checks) reads as nobody of flesh.
UPKEEP = "{00000000-0000-0000-0000-000000000000}"


def reads_as(reader: ColumnElement[Any]) -> Select[Any]:
    """Say who reads (the text of an array of ids), until the transaction ends."""
    return select(func.set_config("snp.reader", reader, True).label("reader"))


_AS_UPKEEP = reads_as(literal(UPKEEP))


async def as_upkeep(uow: UnitOfWork) -> None:
    """See every file in the rest of this transaction; for what the service does by itself."""
    await uow.execute(_AS_UPKEEP)
