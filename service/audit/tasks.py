"""Sealing for the life of a process, and verifying before somebody's eyes."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import structlog

from service.audit.usecases import NumbersWentBack, Sealed, Verification, seal, seal_count
from service.kernel.db import Database

log = structlog.get_logger()


async def keep_sealed(database: Database, every: float, head_file: Path | None) -> None:
    """Seal each `every` seconds; ends only by being cancelled.

    Each run that sealed something logs the chain's head: logs that are kept elsewhere are anchors.
    So is the file that it is written to.
    """
    while True:
        await asyncio.sleep(every)
        try:
            done = await seal(database)
            note(done, head_file)
        except NumbersWentBack as error:
            log.error("audit.not_sealed", why=str(error))
        except OSError as error:
            log.error("audit.head_not_written", why=type(error).__name__)
        except Exception as error:  # noqa: BLE001  a server serves on, whatever happens here
            log.error("audit.not_sealed", why=type(error).__name__)
        else:
            if done.seals:
                log.info("audit.sealed", seals=done.seals, rows=done.rows, head=done.head)


def note(done: Sealed, head_file: Path | None) -> None:
    """Write the newest seal's hash to a file, if there is one: the old hash, or the new one."""
    if head_file is None or not done.seals:
        return
    new = head_file.with_name(f"{head_file.name}.{os.getpid()}")
    new.write_text(f"{done.head}\n", encoding="ascii")
    new.replace(head_file)


async def verify(
    database: Database,
    expect: bytes | None = None,
    told: Callable[[int, int], None] = lambda _done, _all: None,
) -> Verification:
    """Verify all traces."""
    verification = Verification()
    total = await seal_count(database)
    async for done in verification.run(database, expect):
        told(done, max(done, total))
    return verification
