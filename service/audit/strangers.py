"""Refusals of who is nobody: counted in memory, one line an address and minute, never one each.

Otherwise whoever sends requests without a token could fill the disk. A process that dies loses what
it counted since it last wrote.
"""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from functools import partial
from uuid import UUID

import structlog

from service.audit import repository
from service.kernel.db import Database, DatabaseDefect, TransactionLost
from service.kernel.errors import DomainError
from service.kernel.events import Origin
from service.kernel.flushing import flushed_every

_EVERY_SECONDS = 60
MOST = 100  # addresses in a minute; those that come after them share a line without one

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Refused:
    """The first refusal of an address, and how many there were."""

    origin: Origin
    operation: str
    code: str
    subject_ids: Sequence[UUID]
    times: int = 1


class Strangers:
    """Who was refused by one process since it last wrote, by address."""

    def __init__(self) -> None:
        self._refused: dict[str | None, _Refused] = {}

    def count(self, origin: Origin, operation: str, code: str, subject_ids: Sequence[UUID]) -> None:
        """Count one refusal; the first of an address is what will be told."""
        if origin.address not in self._refused and len(self._refused) >= MOST:
            origin = replace(origin, address=None)
        before = self._refused.get(origin.address)
        self._refused[origin.address] = (
            _Refused(origin, operation, code, subject_ids)
            if before is None
            else replace(before, times=before.times + 1)
        )

    async def flush(self, database: Database) -> None:
        """Write what was counted; what cannot be written now is told by the log."""
        refused, self._refused = self._refused, {}
        if not refused:
            return
        try:
            async with database.unit_of_work() as uow:
                for one in refused.values():
                    await repository.record(
                        uow,
                        one.origin,
                        one.operation,
                        one.code,
                        subject_ids=one.subject_ids,
                        territories=(),
                        times=one.times,
                    )
        except (DomainError, DatabaseDefect, TransactionLost) as error:
            log.error("refusal.untraced", operation=None, why=type(error).__name__)

    def flushed(self, database: Database) -> AbstractAsyncContextManager[None]:
        """Write every minute inside the block, and once at its end."""
        return flushed_every(_EVERY_SECONDS, partial(self.flush, database))
