"""One transaction after the other, each tried again when callers were in the way."""

import asyncio

from service.directory.tasks.tally import Tally
from service.directory.tasks.vanishing import Step
from service.kernel.db import ConstraintViolated, Database, TransactionLost
from service.kernel.errors import Unavailable

_TRIES = 5
_PAUSE_SECONDS = 0.5
# Somebody holds a row, or has just listed the same number: what is there is then read anew.
_AGAIN = (TransactionLost, ConstraintViolated, Unavailable)


async def run(database: Database, step: Step, *, dry_run: bool = False) -> Tally:
    """Do one step in a transaction of its own; return what it counted. `dry_run` undoes it."""
    for attempt in range(_TRIES):
        try:
            return await _once(database, step, dry_run=dry_run)
        except _AGAIN:
            if attempt == _TRIES - 1:
                raise
        await asyncio.sleep(_PAUSE_SECONDS * 2**attempt)
    raise AssertionError


async def _once(database: Database, step: Step, *, dry_run: bool) -> Tally:
    tally = Tally()
    async with database.unit_of_work() as uow:
        await step(uow, tally)
        if dry_run:
            await uow.rollback()
    return tally
