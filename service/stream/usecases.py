"""Keeping the stream, and consuming it: each fact once, however many workers do the same.

And reading it as somebody: behind any place, no more than they may know.
"""

from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from service.kernel.db import Database, UnitOfWork
from service.slots import Standing, standing
from service.stream import repository
from service.stream.domain import BEGINNING, RESET, Fact, Listener, Place, View, views

# What a consumer makes of some facts: rows of its own, and jobs, in the same transaction.
Consume = Callable[[UnitOfWork, list[Fact]], Awaitable[None]]

_BATCH = 1000
# A worker gives a sign of life every ten seconds.
_IDLE_SECONDS = 60


async def give_positions(database: Database) -> int:
    """Number what is not numbered yet; returns how many facts. Another who does it is left to it.

    A position is given once all transactions before it have ended, and is never given again.
    """
    done, more = 0, True
    while more:
        async with database.unit_of_work() as uow:
            some, more = await repository.give_positions(uow, _BATCH)
        done += some
    return done


async def consume(database: Database, consumer: str, what: Consume, limit: int = _BATCH) -> int:
    """Give a consumer facts that follow those it is done with, at most `limit`; returns how many.

    What it writes is kept together with how far it came: all of it, or none. A consumer that is
    new begins with what happens from then on.
    """
    async with database.unit_of_work() as uow:
        reached = await repository.lock_cursor(uow, consumer)
        if reached is None:
            await repository.open_cursor(uow, consumer, await repository.last_position(uow))
            return 0
        facts = await repository.read_after(uow, reached, limit)
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


@dataclass(frozen=True, slots=True)
class News:
    """Some facts that follow each other, and the slots that they touch as these stand now."""

    facts: Sequence[Fact]
    slots: Mapping[UUID, Standing]

    @property
    def end(self) -> Place:
        """Return the place after all of them."""
        return Place(self.facts[-1].position if self.facts else BEGINNING)

    def to(self, listener: Listener) -> Iterator[View]:
        """Yield what somebody is told of them."""
        for fact in self.facts:
            yield from views(fact, self.slots, listener)


async def read_on(uow: UnitOfWork, position: int, limit: int) -> News:
    """Return at most `limit` facts that follow a position."""
    facts = await repository.read_after(uow, position, limit)
    touched = frozenset[UUID]().union(*(fact.slot_ids for fact in facts))
    return News(facts, await standing(uow, touched))


@dataclass(frozen=True, slots=True)
class Start:
    """Where somebody begins to listen. Not `complete`: what they missed is no longer kept."""

    place: Place
    complete: bool = True


async def start(uow: UnitOfWork, after: Place | None) -> Start:
    """Return where to go on after a place; from now on, where it was none or is none of ours."""
    if after is not None and await _follows(uow, after):
        return Start(after)
    newest = Place(await repository.last_position(uow))
    return Start(newest, complete=after is None)


async def _follows(uow: UnitOfWork, place: Place) -> bool:
    """Tell whether all that came after a place is kept, and the place one of this database."""
    facts = await repository.read_after(uow, max(place.position - 1, BEGINNING), 1)
    if not facts:
        return place.position == BEGINNING
    return facts[0].position <= place.position + 1


@dataclass(frozen=True, slots=True)
class Page:
    """What somebody is told, and the place to go on from; `more`: at once."""

    items: list[dict[str, Any]]
    reached: Place
    more: bool


async def page(
    uow: UnitOfWork, listener: Listener, types: Collection[str], after: Place | None, limit: int
) -> Page:
    """Return what somebody is told after a place, oldest first; of all that is kept without one.

    A page ends after `limit` events, or after 1000 facts that were looked at.
    """
    begin = Start(Place(BEGINNING)) if after is None else await start(uow, after)
    if not begin.complete:
        return Page([{"id": str(begin.place), **reset()}], begin.place, more=False)
    news = await read_on(uow, begin.place.before, _BATCH)
    told = [v for v in news.to(listener) if v.type in types and v.place > begin.place]
    cut = len(told) > limit
    return Page(
        items=[{"id": str(view.place), **view.members} for view in told[:limit]],
        reached=told[limit - 1].place if cut else max(begin.place, news.end),
        more=cut or len(news.facts) == _BATCH,
    )


def reset() -> dict[str, Any]:
    """Return the event that says: what you missed is no longer kept, read everything anew."""
    return {"type": RESET, "subject_id": None, "occurred_at": None, "data": {}}
