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
# A file of which a part is missing must not empty a directory, not even that of a few villages.
_ALARMING, _ALARMING_SHARE = 10, 0.2


def alarming(gone: int, all_: int) -> bool:
    """Tell whether so many of all that were there are missing that the file is not believed."""
    return gone > _ALARMING and gone > all_ * _ALARMING_SHARE


def doubted(
    told: str, *, dry_run: bool = False, kept: str = "All that it names is imported"
) -> str:
    """Return the sentence for a file that is not believed: what is told of it, and what to do."""
    done = "Dry run: nothing is written, and an import would stop here" if dry_run else kept
    return (
        f"This file {told}: is it complete? {done}; to deactivate what it lacks, run again with"
        " --accept-vanished."
    )


class Vanishing:
    """Compares the directory with all that a file has named, within the import's filter."""

    def __init__(self, database: Database, source: str, wanted: Filter, file: Gatherer) -> None:
        self._database, self._source, self._wanted = database, source, wanted
        self._named: Callable[[str], bool] = file.named

    async def refuse_too_many(self, tally: Tally, *, dry_run: bool) -> None:
        """Refuse a file that lacks too much of what was there, or of which nothing is imported."""
        if not tally.lines["imported"]:
            async for _ in self.steps():
                told = "names nobody who is wanted, and there are some"
                kept = "Nothing is imported"
                raise ImportRefused(doubted(told, dry_run=dry_run, kept=kept))
        for kind, pages in (("practitioners", self._people()), ("locations", self._places())):
            all_, gone = 0, 0
            async for size, missing in pages:
                all_, gone = all_ + size, gone + len(missing)
            if not dry_run:  # else what is new is not there yet
                added = tally.of(kind, "new") + tally.of(kind, "reactivated")
                all_ = max(gone, all_ - added)
            if alarming(gone, all_):
                raise ImportRefused(doubted(f"lacks {gone} of {all_} {kind}", dry_run=dry_run))

    async def steps(self) -> AsyncIterator[Step]:
        """Yield what is to be done, one transaction each: people, places, then work."""
        async for _, people in self._people():
            if people:
                yield partial(_end_people, self._source, people)
        async for _, places in self._places():
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

    async def _places(self) -> AsyncIterator[tuple[int, list[tuple[UUID, UUID]]]]:
        """Yield, page by page, how many places are in scope, and which (with whose) are gone."""
        after, full = _FIRST, True
        while full:
            async with self._database.unit_of_work() as uow:
                page = await vanished.places(uow, self._source, self._wanted, after=after)
            ours = [(entry_id, key, owner) for entry_id, key, owner, in_scope in page if in_scope]
            gone = [(entry_id, owner) for entry_id, key, owner in ours if not self._named(key)]
            yield len(ours), gone
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
