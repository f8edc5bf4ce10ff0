"""Being woken by PostgreSQL: a connection that listens, made anew whenever it is lost.

What is told meanwhile is lost with it, or in a pooler: who waits looks by itself, now and then.
"""

import asyncio
from typing import Any

import asyncpg
import structlog
from sqlalchemy import make_url
from sqlalchemy.dialects.postgresql.asyncpg import dialect

from service.kernel.db import asyncpg_url

_DIALECT = dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy leaves it untyped
_PATIENCE = 5.0
_ALIVE_SECONDS = 30.0  # so often we ask whether the other side is still there
_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
_LOST = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError)

log = structlog.get_logger()


async def listen(url: str, channel: str, woken: asyncio.Event) -> None:
    """Set `woken` at each NOTIFY on a channel, and when the connection is lost; for ever."""
    pause = _PAUSE
    while True:
        try:
            connection = await _connect(url)
            pause = _PAUSE
            try:
                await _hear(connection, channel, woken)
            finally:
                connection.terminate()
        except _LOST as lost:
            log.warning("notices.lost", channel=channel, why=type(lost).__name__)
        woken.set()
        await asyncio.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)


async def _connect(url: str) -> "asyncpg.Connection[asyncpg.Record]":
    make_arguments: Any = _DIALECT.create_connect_args
    _, arguments = make_arguments(make_url(asyncpg_url(url)))
    named = {"application_name": "snp listening"}
    return await asyncpg.connect(**arguments, timeout=_PATIENCE, server_settings=named)


async def _hear(
    connection: "asyncpg.Connection[asyncpg.Record]", channel: str, woken: asyncio.Event
) -> None:
    lost = asyncio.Event()
    connection.add_termination_listener(lambda _: lost.set())
    await connection.add_listener(channel, lambda *_: woken.set())
    woken.set()  # what was told before we heard
    while True:
        try:
            async with asyncio.timeout(_ALIVE_SECONDS):
                await lost.wait()
                raise ConnectionResetError
        except TimeoutError:
            await connection.execute("SELECT 1", timeout=_PATIENCE)
