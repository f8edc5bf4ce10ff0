"""Extending sessions, once or every hour for the life of a server process."""

import asyncio
from uuid import UUID

import structlog

from service.agenda import repository, usecases
from service.agenda.domain import Extended
from service.kernel.db import Database, DatabaseDefect, TransactionLost
from service.kernel.errors import DomainError

FIRST_SECONDS = 60.0
EVERY_SECONDS = 3600.0
_BATCH = 100
_NONE = UUID(int=0)

log = structlog.get_logger()


async def extend(database: Database) -> Extended:
    """Publish what the live sessions lack within eight weeks; one transaction each.

    A session is looked at once a local day, or at once after an absence of its practitioner ended.
    Safe while others do the same: a session that another process is filling is left to it. What
    fails is counted, logged by its id, and tried at the next run.
    """
    done, after = Extended(), _NONE
    while True:
        async with database.unit_of_work() as uow:
            found = await repository.due(uow, after=after, limit=_BATCH)
        for session_id, practitioner_id in found:
            try:
                async with database.unit_of_work() as uow:
                    await usecases.extend_one(uow, session_id, practitioner_id, done)
            except (DomainError, TransactionLost, DatabaseDefect) as error:
                done.failed += 1
                log.warning(
                    "session.not_extended", session_id=str(session_id), error=type(error).__name__
                )
        if len(found) < _BATCH:
            return done
        after = found[-1][0]


async def keep_extended(
    database: Database, *, first: float = FIRST_SECONDS, every: float = EVERY_SECONDS
) -> None:
    """Extend sessions after `first` seconds, then each `every`; ends only by being cancelled."""
    await asyncio.sleep(first)
    while True:
        await _run(database)
        await asyncio.sleep(every)


async def _run(database: Database) -> None:
    try:
        done = await extend(database)
    except Exception as error:  # noqa: BLE001  a server serves on, whatever happens here
        log.error("sessions.not_extended", error=type(error).__name__)
    else:
        log.info(
            "sessions.extended", sessions=done.sessions, slots=done.slots, skipped=done.skipped,
            failed=done.failed,
        )  # fmt: skip
