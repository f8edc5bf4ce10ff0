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
from service.directory.tasks.repository.vanished import PAGE
from service.directory.tasks.tally import Tally
from service.kernel.db import Database, UnitOfWork

# One transaction's work; what it did is counted when it is kept.
Step = Callable[[UnitOfWork, Tally], Awaitable[None]]

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
            if places:
                yield partial(_end_places, self._source, places)
        async for work in self._work():
            if work:
                yield partial(_end_work, self._source, work)

    async def _people(self) -> AsyncIterator[tuple[int, list[UUID]]]:
        """Yield, page by page, how many practitioners are in scope, and which of them are gone."""
        after, full = _FIRST, True
        while full:
            async with self._database.unit_of_work() as uow:
                page = await vanished.people(uow, self._source, self._wanted, after=after)
            ours = [(entry_id, rpps) for entry_id, rpps, in_scope in page if in_scope]
            yield len(ours), [entry_id for entry_id, rpps in ours if not self._named(rpps)]
            full = len(page) == PAGE
            after = page[-1][0] if full else after

    async def _places(self) -> AsyncIterator[list[tuple[UUID, UUID]]]:
        """Yield places and their organizations, page by page, that are gone."""
        after, full = _FIRST, True
        while full:
            async with self._database.unit_of_work() as uow:
                page = await vanished.places(uow, self._source, self._wanted, after=after)
            ours = ((entry_id, key, owner) for entry_id, key, owner, in_scope in page if in_scope)
            yield [(entry_id, owner) for entry_id, key, owner in ours if not self._named(key)]
            full = len(page) == PAGE
            after = page[-1][0] if full else after

    async def _work(self) -> AsyncIterator[list[tuple[UUID, UUID]]]:
        """Yield who no longer works where, page by page."""
        after, full = (_FIRST, _FIRST), True
        while full:
            async with self._database.unit_of_work() as uow:
                page = await vanished.workplaces(uow, self._source, self._wanted, after=after)
            ours = ((who, where, link(rpps, key)) for who, where, rpps, key, ok in page if ok)
            yield [(who, where) for who, where, work in ours if not self._named(work)]
            full = len(page) == PAGE
            after = page[-1][:2] if full else after


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
