"""How often slots are listed: counted in memory, written every few seconds, never by a search.

A process that dies loses what it counted since it last wrote; the numbers are for a doctor who asks
why nobody comes, not for accounts. Every process adds its own.
"""

from collections import Counter
from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from functools import partial
from uuid import UUID

import structlog

from service.identity import Actor
from service.kernel.db import Database, DatabaseDefect, TransactionLost
from service.kernel.errors import DomainError
from service.kernel.flushing import flushed_every
from service.kernel.prepared import Row
from service.slots import repository

_EVERY_SECONDS = 10
_MOST = 100_000  # slots; while the database is away no more are remembered

log = structlog.get_logger()


class Listings:
    """What one process has listed since it last wrote."""

    def __init__(self) -> None:
        self._times: Counter[UUID] = Counter()

    def count(self, actor: Actor, listed: Iterable[Row]) -> None:
        """Count one answer to a search. What a house shows itself does not count."""
        mine = actor.organization_id
        self._times.update(slot["id"] for slot in listed if slot["organization_id"] != mine)

    async def flush(self, database: Database) -> None:
        """Add what was counted to the table; what cannot be written now is kept for later."""
        times, self._times = self._times, Counter()
        if not times:
            return
        try:
            async with database.unit_of_work() as uow:
                await repository.add_listings(uow, times)
        except (DomainError, TransactionLost, DatabaseDefect) as failure:
            kept = len(times) + len(self._times) <= _MOST
            if kept:
                self._times.update(times)
            log.warning("listings.not_written", why=type(failure).__name__, kept=kept)

    def flushed(self, database: Database) -> AbstractAsyncContextManager[None]:
        """Write every few seconds inside the block, and once at its end."""
        return flushed_every(_EVERY_SECONDS, partial(self.flush, database))
