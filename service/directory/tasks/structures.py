"""The import of a CSV of structures: all of it in one transaction, CPTS first.

What the file names is its own from then on, also if the national extract had made it; what was made
by hand stays. What it no longer names, in the territories it is about, is deactivated.
"""

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from io import TextIOWrapper
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import UUID

from service.directory.domain import OrganizationType
from service.directory.repository import has_members
from service.directory.tasks.files import Progress, Source, date_of, inspect, opened
from service.directory.tasks.lines import STRUCTURES, Filter, ImportRefused, Refusal, digest
from service.directory.tasks.national import Options, check_territories
from service.directory.tasks.repository import entries, ledger, owned
from service.directory.tasks.repository.entries import KnownOrganization, Origin
from service.directory.tasks.repository.ledger import Import
from service.directory.tasks.rows import Row, RowReader, own_key, separator
from service.directory.tasks.tally import Report, Tally
from service.directory.tasks.vanishing import alarming, doubted
from service.identity import follow_organization
from service.kernel import events
from service.kernel.db import Database, UnitOfWork
from service.kernel.ids import new_id

BATCH = 500
_CPTS = str(OrganizationType.CPTS)


@dataclass
class _State:
    """What one import knows of its file so far."""

    origin: Origin
    tally: Tally = field(default_factory=Tally)
    named: set[str] = field(default_factory=set)
    territories: set[str] = field(default_factory=set)


async def import_structures(
    database: Database, path: Path, options: Options, progress: Progress
) -> Report:
    """Import a CSV of structures: all of it, or nothing if anything goes wrong.

    A dry run does the same and undoes it. Raises `ImportRefused`: unknown territory, unreadable
    file, missing column, too much vanished.
    """
    source = inspect(path, progress)
    wanted = Filter(territories=options.wanted.territories)
    state = _State(Origin(STRUCTURES, options.source_date or date_of(source)))
    async with database.unit_of_work() as uow:
        known = await ledger.territory_codes(uow)
        check_territories(wanted, known)
        last = await ledger.last(uow, STRUCTURES, str(wanted))
        already = not options.dry_run and _is_done(last, source)
        if not already:
            await _import(uow, source, state, wanted, known, progress)
            await _end(uow, state, wanted, options)
            if options.dry_run:
                await uow.rollback()
            else:
                await _note(uow, source, state, wanted)
    return Report(
        file_name=source.name,
        encoding=source.encoding,
        source_date=state.origin.date,
        tally=Tally.read(last.counts) if already and last else state.tally,
        dry_run=options.dry_run,
        already=already,
    )


def _is_done(last: Import | None, source: Source) -> bool:
    """Tell whether all of this file is imported; what was refused may be possible by now."""
    if last is None or last.file_digest != source.digest:
        return False
    return not Tally.read(last.counts).refused


async def _import(
    uow: UnitOfWork,
    source: Source,
    state: _State,
    wanted: Filter,
    known: frozenset[str],
    progress: Progress,
) -> None:
    """Write communities, then the others, who may belong to them."""
    for communities in (True, False):
        rows = _sorted_out(source, state, wanted, known, communities=communities)
        while batch := list(islice(rows, BATCH)):
            await _write(uow, state, batch)
            progress("Importing", batch[-1][0], source.lines)


def _sorted_out(
    source: Source,
    state: _State,
    wanted: Filter,
    known: frozenset[str],
    *,
    communities: bool,
) -> Iterator[tuple[int, Row]]:
    """Yield the rows that are communities, or the others; what is refused is counted once."""
    for number, read in _rows(source, wanted, known):
        if isinstance(read, Row):
            if (read.type == _CPTS) is communities:
                if read.key in state.named:
                    state.tally.refuse(number, Refusal("twice", "another line has this number"))
                else:
                    state.named.add(read.key)
                    state.territories.add(read.territory)
                    yield number, read
        elif communities:
            continue
        elif read is None:
            state.tally.lines["filtered"] += 1
        else:
            state.named.update(read.protects)
            state.tally.refuse(number, read)


def _rows(
    source: Source, wanted: Filter, known: frozenset[str]
) -> Iterator[tuple[int, Row | Refusal | None]]:
    with opened(source.path) as (_, stream):
        encoding = "utf-8-sig" if source.encoding == "utf-8" else source.encoding
        text = TextIOWrapper(stream, encoding, errors="replace", newline="")
        table = csv.reader(text, delimiter=separator(source.header))
        try:
            reader = RowReader(next(table), wanted, known)
            for fields in table:
                if fields:
                    yield table.line_num, reader.read(fields)
        except csv.Error as error:
            raise ImportRefused(f"Line {table.line_num} is no CSV: {error}.") from error


# --- writing --------------------------------------------------------------------------------------


async def _write(uow: UnitOfWork, state: _State, batch: Sequence[tuple[int, Row]]) -> None:
    communities = await _communities(uow, (name for _, row in batch for name in row.cpts or ()))
    found = await entries.known_organizations(
        uow,
        [row.key for _, row in batch],
        [row.finess for _, row in batch if row.finess],
        [row.siret for _, row in batch if row.siret],
    )
    for number, row in batch:
        unknown = [name for name in row.cpts or () if name not in communities]
        refusal = (
            Refusal("cpts", f"no CPTS has the number “{unknown[0][:20]}”")
            if unknown
            else await _one(uow, state, row, _same(found, row), communities)
        )
        if refusal is None:
            state.tally.lines["imported"] += 1
        else:
            state.tally.refuse(number, refusal)


async def _communities(uow: UnitOfWork, names: Iterable[str]) -> dict[str, UUID]:
    """Return the CPTS with these numbers."""
    wanted = set(names)
    keys = [key for name in wanted for key in (f"1{name}", f"3{name}", own_key(name))]
    found = await entries.known_organizations(uow, keys, wanted, wanted)
    numbers = {
        name: o.id
        for o in found
        if o.type == _CPTS
        for name in (o.finess, o.siret, (o.source_key or "").removeprefix("id:"))
        if name
    }
    return {name: numbers[name] for name in wanted if name in numbers}


def _same(found: Sequence[KnownOrganization], row: Row) -> list[KnownOrganization]:
    """Return whom a row is about: by its key, its FINESS, its SIRET; more than one is a fault."""
    return [
        o
        for o in found
        if o.source_key == row.key
        or (row.finess and o.finess == row.finess)
        or (row.siret and o.siret == row.siret)
    ]


async def _one(
    uow: UnitOfWork,
    state: _State,
    row: Row,
    same: Sequence[KnownOrganization],
    communities: dict[str, UUID],
) -> Refusal | None:
    """Write one structure, unless it is as its source says. Returns why it cannot be."""
    if len(same) > 1:
        return Refusal("structure", "its FINESS and its SIRET are those of two organizations")
    said = digest(*(row._asdict().values()))
    values = {**_values(row, communities), "source_digest": said}
    if not same:
        state.tally.count("organizations", "new")
        await owned.add(uow, state.origin, new_id(), {**values, "territory": row.territory})
        return None
    before = same[0]
    if before.source is None:
        state.tally.count("organizations", "by_hand")
        return None
    if before.source == STRUCTURES and before.digest == said:
        state.tally.count("organizations", "unchanged")
        return None
    return await _amend(uow, state, row, before, values)


async def _amend(
    uow: UnitOfWork,
    state: _State,
    row: Row,
    before: KnownOrganization,
    values: dict[str, Any],
) -> Refusal | None:
    if before.territory != row.territory:
        return Refusal("territory", f"it is listed in {before.territory}, and never leaves it")
    if before.type == _CPTS != row.type and await has_members(uow, before.id):
        return Refusal("type", "organizations are members of this CPTS: it stays one")
    state.tally.count("organizations", "changed" if before.digest is not None else "reactivated")
    after = await owned.amend(uow, state.origin, before.id, values)
    communities = [before.id, *after] if row.type == _CPTS else after
    await follow_organization(uow, before.id, row.type, list(dict.fromkeys(communities)))
    return None


def _values(row: Row, communities: dict[str, UUID]) -> dict[str, Any]:
    values: dict[str, Any] = {
        "type": row.type,
        "name": row.name,
        "finess": row.finess,
        "siret": row.siret,
        "commune": row.commune,
        "phone": row.phone,
        "source_key": row.key,
    }
    if row.cpts is not None:
        values["cpts_ids"] = list(dict.fromkeys(communities[name] for name in row.cpts))
    return values


async def _end(uow: UnitOfWork, state: _State, wanted: Filter, options: Options) -> None:
    """Deactivate what the file lacks, in the territories that it is about; unless it is too much.

    What is new is counted apart: the file is believed by what it says of what was there.
    """
    about = set(wanted.territories) or state.territories
    listed = await owned.listed(uow, STRUCTURES, sorted(about))
    gone = [entry_id for entry_id, names in listed if not names & state.named]
    added = state.tally.of("organizations", "new") + state.tally.of("organizations", "reactivated")
    all_ = max(len(gone), len(listed) - added)
    nothing = bool(gone) and not state.tally.lines["imported"]
    if not options.accept_vanished and (nothing or alarming(len(gone), all_)):
        told = f"lacks {len(gone)} of {all_} structures"
        raise ImportRefused(doubted(told, dry_run=options.dry_run, kept="Nothing is imported"))
    state.tally.count("organizations", "deactivated", await owned.end(uow, STRUCTURES, gone))


async def _note(uow: UnitOfWork, source: Source, state: _State, wanted: Filter) -> None:
    import_id = new_id()
    await ledger.start(
        uow,
        import_id,
        source=STRUCTURES,
        wanted=str(wanted),
        file_name=source.name,
        file_digest=source.digest,
        source_date=state.origin.date,
        counts=state.tally.stored(),
    )
    await ledger.finish(uow, import_id)
    await events.record(
        uow,
        events.OPERATOR,
        "directory.imported",
        import_id,
        territory=wanted.territories[0] if len(set(wanted.territories)) == 1 else None,
        data={
            "source": STRUCTURES,
            "filter": str(wanted),
            "counts": dict(state.tally.entries),
        },
    )
