"""What a file no longer names, of what its source has made: deactivated, never deleted.

Work that ended leaves no row: it is no entry. Pages are short transactions, and each may be done
again: an import that is killed amid them finds the rest next time.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from uuid import UUID

from service.directory.tasks.batches import Gatherer
from service.directory.tasks.extract import link
from service.directory.tasks.lines import Filter, ImportRefused
from service.directory.tasks.repository import vanished
from service.directory.tasks.tally import Tally
from service.kernel.db import Database, UnitOfWork

# One transaction's work; what it did is counted when it is kept.
Step = Callable[[UnitOfWork, Tally], Awaitable[None]]

PAGE = 5_000
_FIRST = UUID(int=0)
# A file of which a part is missing must not empty the directory.
_ALARMING, _ALARMING_SHARE = 1_000, 0.2


class Vanishing:
    """Compares the directory with all that a file has named, within the import's filter."""

    def __init__(self, database: Database, source: str, wanted: Filter, file: Gatherer) -> None:
        self._database, self._source, self._wanted = database, source, wanted
        self._named: Callable[[str], bool] = file.named

    async def refuse_too_many(self) -> None:
        """Refuse a file that lacks a fifth of the practitioners, and more than a thousand."""
        all_, gone = 0, 0
        async for size, missing in self._people():
            all_, gone = all_ + size, gone + len(missing)
        if gone > _ALARMING and gone > all_ * _ALARMING_SHARE:
            raise ImportRefused(
                f"This file lacks {gone} of {all_} practitioners: is it complete? All that it names"
                " is imported; to deactivate the others, run again with --accept-vanished."
            )

    async def steps(self) -> AsyncIterator[Step]:
        """Yield what is to be done, one transaction each: people, places, then work."""
        async for _, people in self._people():
            if people:
                yield partial(_end_people, self._source, people)
        async for places in self._places():
            yield partial(_end_places, self._source, places)
        async for work in self._work():
            yield partial(_end_work, self._source, work)

    async def _work(self) -> AsyncIterator[list[tuple[UUID, UUID]]]:
        after = (_FIRST, _FIRST)
        while True:
            async with self._database.unit_of_work() as uow:
                page = await vanished.work_in_scope(
                    uow, self._source, self._wanted, after=after, limit=PAGE
                )
            gone = [work[:2] for work in page if not self._named(link(*work[2:]))]
            if gone:
                yield gone
            if len(page) < PAGE:
                return
            after = page[-1][:2]

    async def _people(self) -> AsyncIterator[tuple[int, list[UUID]]]:
        after = _FIRST
        while True:
            async with self._database.unit_of_work() as uow:
                page = await vanished.people_in_scope(
                    uow, self._source, self._wanted, after=after, limit=PAGE
                )
            yield len(page), [i for i, rpps in page if not self._named(rpps)]
            if len(page) < PAGE:
                return
            after = page[-1][0]

    async def _places(self) -> AsyncIterator[list[tuple[UUID, UUID]]]:
        after = _FIRST
        while True:
            async with self._database.unit_of_work() as uow:
                page = await vanished.places_in_scope(
                    uow, self._source, self._wanted, after=after, limit=PAGE
                )
            gone = [(i, owner) for i, key, owner in page if not self._named(key)]
            if gone:
                yield gone
            if len(page) < PAGE:
                return
            after = page[-1][0]


async def _end_people(source: str, people: list[UUID], uow: UnitOfWork, tally: Tally) -> None:
    ended = await vanished.end_practitioners(uow, source, people)
    tally.count("practitioners", "deactivated", ended)


async def _end_places(
    source: str, places: list[tuple[UUID, UUID]], uow: UnitOfWork, tally: Tally
) -> None:
    ended = await vanished.end_locations(uow, source, [place for place, _ in places])
    tally.count("locations", "deactivated", ended)
    ended = await vanished.end_organizations(uow, source, [owner for _, owner in places])
    tally.count("organizations", "deactivated", ended)


async def _end_work(
    source: str, work: list[tuple[UUID, UUID]], uow: UnitOfWork, tally: Tally
) -> None:
    await vanished.leave(uow, source, work)
    tally.count("workplaces", "deactivated", len(work))
