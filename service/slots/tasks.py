"""What the worker does every second: tell what time alone has brought about.

Nobody's sight and no booking waits for it: labels, time given back and holds are judged by their
instants in the statements that read and book. Past slots need nothing: their state is derived.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from service.kernel.db import Database, UnitOfWork
from service.slots import repository, usecases

_BATCH = 200


@dataclass(frozen=True, slots=True)
class Settled:
    """What one run told: steps of releases, holds that expired unused, slots given back."""

    released: int
    holds_expired: int
    given_back: int


async def settle(database: Database) -> Settled:
    """Tell each fact that is due once, in transactions of some hundred.

    Safe while others do the same: what another process is working on is left to it. A run that
    dies leaves the rest to the next one.
    """
    return Settled(
        released=await _all(database, repository.tell_steps),
        holds_expired=await _all(database, repository.expire_holds),
        given_back=await _all(database, usecases.give_back_due),
    )


async def _all(
    database: Database, some: Callable[[UnitOfWork, int], Awaitable[tuple[int, int]]]
) -> int:
    """Do a batch at a time until nothing is due: of one slot several steps may be."""
    total, due = 0, 1
    while due:
        async with database.unit_of_work() as uow:
            due, told = await some(uow, _BATCH)
        total += told
    return total
