"""The imports themselves: how far each has come. An unfinished one goes on where it was."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Text, Uuid, insert, select, update
from sqlalchemy.dialects.postgresql import JSONB

from service.directory.tables import directory_imports, territories
from service.directory.tasks.lines import ImportRefused
from service.kernel.db import ConstraintViolated, UnitOfWork
from service.kernel.sql import bind, snp_now

_i = directory_imports.c
_ELSEWHERE = "Another import of the same source runs: wait for it, or end it."


@dataclass(frozen=True, slots=True)
class Import:
    """One import: which file by which filter, and the lines of it that are dealt with."""

    id: UUID
    source: str
    filter: str
    file_digest: str
    state: str
    lines: int
    counts: Mapping[str, Any]


_LAST = (
    select(_i.id, _i.source, _i.filter, _i.file_digest, _i.state, _i.lines, _i.counts)
    .where(
        _i.source == bind("n_source", Text),
        _i.filter == bind("n_filter", Text),
        _i.state != "abandoned",
    )
    .order_by(_i.started_at.desc(), _i.id.desc())
    .limit(1)
)
# Of any filter, and also if it was given up: it has written what it read.
_LATEST = (
    select(_i.file_name, _i.file_digest, _i.source_date)
    .where(_i.source == bind("n_source", Text))
    .order_by(_i.started_at.desc(), _i.id.desc())
    .limit(1)
)
_ABANDON = (
    update(directory_imports)
    .where(_i.source == bind("n_source", Text), _i.state == "running")
    .values(state="abandoned", finished_at=snp_now())
)
_START = insert(directory_imports)
_ADVANCE = (
    update(directory_imports)
    .where(
        _i.id == bind("n_id", Uuid),
        _i.state == "running",
        _i.lines == bind("n_before", BigInteger),
    )
    .values(lines=bind("n_after", BigInteger), counts=bind("n_counts", JSONB))
)
_FINISH = (
    update(directory_imports)
    .where(_i.id == bind("n_id", Uuid), _i.state == "running")
    .values(state="done", finished_at=snp_now())
)
_TERRITORIES = select(territories.c.id)


async def territory_codes(uow: UnitOfWork) -> frozenset[str]:
    """Return the codes of all territories."""
    return frozenset((await uow.single(_TERRITORIES)).scalars())


async def last(uow: UnitOfWork, source: str, wanted: str) -> Import | None:
    """Return the last import of a source by a filter, done or unfinished."""
    rows = await uow.execute(_LAST, {"n_source": source, "n_filter": wanted})
    row = rows.mappings().one_or_none()
    return None if row is None else Import(**row)


async def latest(uow: UnitOfWork, source: str) -> Any | None:
    """Return the file of the import of a source that was begun last: name, digest, date."""
    return (await uow.single(_LATEST, {"n_source": source})).one_or_none()


async def start(
    uow: UnitOfWork,
    import_id: UUID,
    *,
    source: str,
    wanted: str,
    file_name: str,
    file_digest: str,
    source_date: date,
    counts: Mapping[str, Any],
) -> None:
    """Begin an import; an unfinished one of the same source is given up."""
    await uow.execute(_ABANDON, {"n_source": source})
    facts = {
        "id": import_id,
        "source": source,
        "filter": wanted,
        "file_name": file_name,
        "file_digest": file_digest,
        "source_date": source_date,
        "state": "running",
        "counts": counts,
    }
    try:
        await uow.execute(_START, facts)
    except ConstraintViolated:
        raise ImportRefused(_ELSEWHERE) from None


async def advance(
    uow: UnitOfWork, import_id: UUID, *, before: int, after: int, counts: Mapping[str, Any]
) -> None:
    """Say how far an import has come. Refuses if somebody else moved it, or gave it up."""
    moved = await uow.execute(
        _ADVANCE,
        {"n_id": import_id, "n_before": before, "n_after": after, "n_counts": counts},
    )
    if moved.rowcount != 1:
        raise ImportRefused(_ELSEWHERE)


async def finish(uow: UnitOfWork, import_id: UUID) -> None:
    """Say that an import is done. Refuses if somebody else gave it up, or finished it."""
    done = await uow.execute(_FINISH, {"n_id": import_id})
    if done.rowcount != 1:
        raise ImportRefused(_ELSEWHERE)
