"""What the command line does with the stream."""

import asyncio
from collections.abc import AsyncIterator

from service.kernel.db import Database
from service.stream import repository
from service.stream.domain import Fact

_BATCH, _PAUSE = 500, 0.5


async def tail(
    database: Database, *, after: int | None = None, follow: bool = True
) -> AsyncIterator[Fact]:
    """`snp events tail`: yield facts that follow a position (default: the newest), and new ones.

    Without `follow` it ends with the newest.
    """
    async with database.unit_of_work() as uow:
        reached = await repository.last_position(uow) if after is None else after
    while True:
        async with database.unit_of_work() as uow:
            facts = await repository.read_after(uow, reached, _BATCH)
        for fact in facts:
            yield fact
            reached = fact.position
        if len(facts) < _BATCH:
            if not follow:
                return
            await asyncio.sleep(_PAUSE)
