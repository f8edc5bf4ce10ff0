"""Sealing for the life of a process, and verifying before somebody's eyes."""

import asyncio
import sys

import structlog
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from service.audit.usecases import NumbersWentBack, Verification, seal, seal_count
from service.kernel.db import Database

log = structlog.get_logger()


async def keep_sealed(database: Database, every: float) -> None:
    """Seal each `every` seconds; ends only by being cancelled.

    Each run that sealed something logs the chain's head: logs that are kept elsewhere are anchors.
    """
    while True:
        await asyncio.sleep(every)
        try:
            done = await seal(database)
        except NumbersWentBack as error:
            log.error("audit.not_sealed", why=str(error))
        except Exception as error:  # noqa: BLE001  a server serves on, whatever happens here
            log.error("audit.not_sealed", why=type(error).__name__)
        else:
            if done.seals:
                log.info("audit.sealed", seals=done.seals, rows=done.rows, head=done.head)


async def verify(database: Database, expect: bytes | None = None) -> Verification:
    """Verify all traces, with a bar on a terminal's standard error."""
    shown = Progress(
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("seals"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=not sys.stderr.isatty(),
    )
    verification = Verification()
    with shown:
        task = shown.add_task("", total=await seal_count(database))
        async for done in verification.run(database, expect):
            shown.update(task, completed=done)
    return verification
