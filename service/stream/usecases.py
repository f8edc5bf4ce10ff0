"""Keeping the stream, and consuming it: each fact once, however many workers do the same."""

from collections.abc import Awaitable, Callable

from service.kernel.db import Database, UnitOfWork
from service.stream import repository
from service.stream.domain import Fact

# What a consumer makes of some facts: rows of its own, and jobs, in the same transaction.
Consume = Callable[[UnitOfWork, list[Fact]], Awaitable[None]]

_BATCH = 1000
# A worker gives a sign of life every ten seconds.
_IDLE_SECONDS = 60


async def give_positions(database: Database) -> int:
    """Number what is not numbered yet; returns how many facts. Another who does it is left to it.

    A position is given once all transactions before it have ended, and is never given again.
    """
    async with database.unit_of_work() as uow:
        return await repository.give_positions(uow, _BATCH) or 0


async def consume(database: Database, consumer: str, what: Consume) -> int:
    """Give a consumer the facts that follow those it is done with; returns how many.

    What it writes is kept together with how far it came: all of it, or none. A consumer that is
    new begins with what happens from then on.
    """
    async with database.unit_of_work() as uow:
        reached = await repository.lock_cursor(uow, consumer)
        if reached is None:
            await repository.open_cursor(uow, consumer, await repository.last_position(uow))
            return 0
        facts = await repository.read_after(uow, reached, _BATCH)
        if facts:
            await what(uow, facts)
            await repository.move_cursor(uow, consumer, facts[-1].position)
        return len(facts)


async def keeping(uow: UnitOfWork) -> tuple[bool, str]:
    """Tell how far the worker is behind. Bookings need none: a server is ready without."""
    idle, waiting = await repository.keeping(uow)
    if idle is None or idle > _IDLE_SECONDS:
        since = "yet" if idle is None else f"for {idle:.0f} s"
        return True, f"no worker {since}: start snp worker"
    return True, f"oldest fact not handed on: {waiting or 0:.0f} s"


async def measures(uow: UnitOfWork) -> dict[str, float]:
    """Measure the same: seconds since a worker looked, and since the oldest fact that waits."""
    idle, waiting = await repository.keeping(uow)
    found = {"stream_oldest_waiting_seconds": float(waiting or 0)}
    return found if idle is None else found | {"stream_worker_idle_seconds": float(idle)}
