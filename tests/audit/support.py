"""What the tests of this folder share."""

from typing import Any

import asyncpg
from sqlalchemy import text

from service.kernel.db import Database


async def traces(database: Database, request_id: str) -> list[dict[str, Any]]:
    """Return what a request left in `access_log`."""
    async with database.unit_of_work() as uow:
        rows = await uow.single(
            text("SELECT * FROM access_log WHERE correlation_id = :id ORDER BY id"),
            {"id": request_id},
        )
        return [dict(row) for row in rows.mappings()]


async def changes(database: Database, request_id: str) -> list[dict[str, Any]]:
    """Return what a request left in `events`."""
    async with database.unit_of_work() as uow:
        rows = await uow.single(
            text("SELECT * FROM events WHERE correlation_id = :id ORDER BY id"),
            {"id": request_id},
        )
        return [dict(row) for row in rows.mappings()]


async def as_role(url: str, *statements: str) -> None:
    """Run statements."""
    connection = await asyncpg.connect(url)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()
