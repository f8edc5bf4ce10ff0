"""The import of the national extract: batch after batch, resumable, then what vanished.

Each batch is one transaction with the import's row (`ledger.advance`): killed anywhere, the same
command goes on after the last one. The lines before are read again, for the names alone.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from pathlib import Path
from uuid import UUID

from service.directory.domain import TerritoryNotFound
from service.directory.tasks import transactions
from service.directory.tasks.batches import Batch, Gatherer
from service.directory.tasks.extract import Reader, named_in
from service.directory.tasks.files import Progress, Source, date_of, decoded, inspect, lines, opened
from service.directory.tasks.lines import (
    NATIONAL,
    Activity,
    Filter,
    ImportRefused,
    Refusal,
    Unwanted,
)
from service.directory.tasks.repository import ledger
from service.directory.tasks.repository.entries import Origin
from service.directory.tasks.repository.ledger import Import
from service.directory.tasks.tally import Report, Tally
from service.directory.tasks.vanishing import Step, Vanishing
from service.directory.tasks.writing import write
from service.kernel import events
from service.kernel.db import Database, UnitOfWork
from service.kernel.ids import new_id

_TOLD_EVERY = 5_000
# Of each line that cannot be read all that it might name is remembered: memory is bounded.
_MOST_BROKEN = 100_000


@dataclass(frozen=True, slots=True)
class Options:
    """How an import is asked for."""

    wanted: Filter = field(default_factory=Filter)
    source_date: date | None = None
    dry_run: bool = False
    accept_vanished: bool = False
    accept_older: bool = False


async def import_extract(
    database: Database, path: Path, options: Options, progress: Progress
) -> Report:
    """Import the national extract, or go on with an import of it that was ended.

    A dry run counts and writes nothing. Raises `ImportRefused`: unknown territory, unreadable file,
    missing column, older than the last one, another import at work, too much vanished.
    """
    async with database.unit_of_work() as uow:
        territories = await ledger.territory_codes(uow)
    check_territories(options.wanted, territories)
    source = inspect(path, progress)
    reader = Reader(source.header, options.wanted, territories)
    async with database.unit_of_work() as uow:
        await _refuse_older(uow, source, options)
    found = None if options.dry_run else await _begun(database, source, options)
    if found is not None and found.state == "done":
        return _report(source, options, Tally.read(found.counts), already=True)
    return await _Run(database, source, reader, options, found, progress).run()


def check_territories(wanted: Filter, known: frozenset[str]) -> None:
    """Refuse a territory that is none."""
    for code in wanted.territories:
        if code not in known:
            raise ImportRefused(f"{TerritoryNotFound.title.rstrip('.')}: {code}.")


async def _refuse_older(uow: UnitOfWork, source: Source, options: Options) -> None:
    """Refuse data from before those of the last import, of whatever filter."""
    last = await ledger.latest(uow, NATIONAL)
    dated = options.source_date or date_of(source)
    if last is None or last.file_digest == source.digest or options.accept_older:
        return
    if dated < last.source_date:
        raise ImportRefused(
            f"{source.name} is of {dated.isoformat()}, and the last import, {last.file_name}, of"
            f" {last.source_date.isoformat()}: what is newer would be undone. If that is meant,"
            " run again with --accept-older."
        )


async def _begun(database: Database, source: Source, options: Options) -> Import:
    """Return the import of this file, begun now or before."""
    wanted = str(options.wanted)
    async with database.unit_of_work() as uow:
        last = await ledger.last(uow, NATIONAL, wanted)
        if last is not None and last.file_digest == source.digest:
            return last
        await ledger.start(
            uow,
            new_id(),
            source=NATIONAL,
            wanted=wanted,
            file_name=source.name,
            file_digest=source.digest,
            source_date=options.source_date or date_of(source),
            counts=Tally().stored(),
        )
        begun = await ledger.last(uow, NATIONAL, wanted)
    if begun is None:
        raise AssertionError
    return begun


def _report(
    source: Source, options: Options, tally: Tally, *, already: bool = False, resumed: int = 0
) -> Report:
    return Report(
        file_name=source.name,
        encoding=source.encoding,
        source_date=options.source_date or date_of(source),
        tally=tally,
        dry_run=options.dry_run,
        already=already,
        resumed_after=resumed,
    )


class _Run:
    """One run of the command over a file."""

    def __init__(
        self,
        database: Database,
        source: Source,
        reader: Reader,
        options: Options,
        found: Import | None,
        progress: Progress,
    ) -> None:
        self._database, self._source, self._reader = database, source, reader
        self._options, self._progress = options, progress
        self._id: UUID | None = found.id if found else None
        self._done = self._resumed = found.lines if found else 0
        self._tally = Tally.read(found.counts) if found else Tally()
        self._gatherer = Gatherer()
        self._broken = 0
        self._origin = Origin(NATIONAL, options.source_date or date_of(source))

    async def run(self) -> Report:
        """Write the batches, then end what vanished."""
        for upto, batch in self._batches():
            await self._keep(batch, upto)
        vanishing = Vanishing(self._database, NATIONAL, self._options.wanted, self._gatherer)
        if not self._options.accept_vanished:
            await vanishing.refuse_too_many(self._tally, dry_run=self._options.dry_run)
        self._progress("Looking for what vanished", 0, None)
        async for step in vanishing.steps():
            await self._commit(partial(self._told, step), self._done)
        if self._id is not None:
            await self._finish(self._id)
        return _report(self._source, self._options, self._tally, resumed=self._resumed)

    # --- reading --------------------------------------------------------------------------------

    def _batches(self) -> Iterator[tuple[int, Batch]]:
        """Yield batches, each with the number of its last line; those of before are passed over."""
        number = 0
        with opened(self._source.path) as (_, stream):
            for number, raw in enumerate(lines(stream), start=1):
                if number == 1:
                    continue
                read = self._read(raw)
                if isinstance(read, Activity) and self._gatherer.full(read):
                    yield number - 1, self._gatherer.take()
                self._count(number, read)
                if number == self._resumed:
                    self._gatherer.take()
                if number % _TOLD_EVERY == 0:
                    self._progress("Importing", number, self._source.lines)
        self._progress("Importing", number, self._source.lines)
        yield number, self._gatherer.take()

    def _read(self, raw: bytes) -> Activity | Refusal | Unwanted:
        read = self._understood(raw)
        if isinstance(read, Refusal) and not read.protects:
            read = read._replace(protects=named_in(raw))
            self._broken += bool(read.protects)
            if self._broken > _MOST_BROKEN:
                raise ImportRefused(
                    f"More than {_MOST_BROKEN} lines name somebody and cannot be read:"
                    " download the file again."
                )
        return read

    def _understood(self, raw: bytes) -> Activity | Refusal | Unwanted:
        try:
            line = decoded(raw, self._source.encoding)
        except UnicodeDecodeError:
            return Refusal("unreadable", f"it is not {self._source.encoding}")
        return self._reader.read(line)

    def _count(self, number: int, read: Activity | Refusal | Unwanted) -> None:
        """Gather what was read, and count it unless an ended import has."""
        if isinstance(read, Activity):
            self._gatherer.add(read)
        else:
            self._gatherer.protect(read.protects)
        if number <= self._resumed:
            return
        if isinstance(read, Refusal):
            self._tally.refuse(number, read)
        else:
            self._tally.lines["imported" if isinstance(read, Activity) else "filtered"] += 1

    # --- writing --------------------------------------------------------------------------------

    async def _keep(self, batch: Batch, upto: int) -> None:
        if upto <= self._resumed:  # written before the import was ended
            return

        async def step(uow: UnitOfWork, tally: Tally) -> None:
            await write(uow, self._origin, batch, tally, dry_run=self._options.dry_run)
            await self._tell(uow, tally, upto)

        await self._commit(step, upto)

    async def _told(self, step: Step, uow: UnitOfWork, tally: Tally) -> None:
        await step(uow, tally)
        await self._tell(uow, tally, self._done)

    async def _tell(self, uow: UnitOfWork, tally: Tally, upto: int) -> None:
        """Write, in the step's transaction, how far the import is, and what it changed."""
        if self._id is None:
            return
        all_ = Tally.read(self._tally.stored())
        all_.merge(tally)
        await ledger.advance(uow, self._id, before=self._done, after=upto, counts=all_.stored())
        if tally.changes:
            await self._record(uow, "directory.import_advanced", tally.changes)

    async def _commit(self, step: Step, upto: int) -> None:
        tally = await transactions.run(self._database, step, dry_run=self._options.dry_run)
        self._tally.merge(tally)
        self._done = upto

    async def _finish(self, import_id: UUID) -> None:
        async with self._database.unit_of_work() as uow:
            await ledger.finish(uow, import_id)
            await self._record(uow, "directory.imported", dict(self._tally.entries))

    async def _record(self, uow: UnitOfWork, type_: str, counts: dict[str, int]) -> None:
        wanted = self._options.wanted
        one = wanted.territories[0] if len(set(wanted.territories)) == 1 else None
        if self._id is None:
            raise AssertionError
        await events.record(
            uow,
            events.OPERATOR,
            type_,
            self._id,
            territory=one,
            data={"source": NATIONAL, "filter": str(wanted), "counts": counts},
        )
