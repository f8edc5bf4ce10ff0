"""A database as docs/operations.md makes it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import asyncpg

from service.kernel.checks import Finding, Level
from service.kernel.settings import Settings

MakeSettings = Callable[..., Settings]
Look = Callable[..., Awaitable[dict[str, Finding]]]
IDLE = "idle_in_transaction_session_timeout"


@dataclass(frozen=True)
class Installed:
    """One database: its name, and its URLs by role."""

    name: str
    owner: str
    app: str
    superuser: str


async def as_role(url: str, *statements: str) -> None:
    """Run statements."""
    connection = await asyncpg.connect(url)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


async def ask(url: str, question: str) -> Any:
    """Return one value."""
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(question)
    finally:
        await connection.close()


def errors(found: dict[str, Finding]) -> set[str]:
    """The items in error."""
    return {item for item, finding in found.items() if finding.level is Level.ERROR}
