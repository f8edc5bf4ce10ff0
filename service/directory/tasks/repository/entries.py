"""What the directory holds of a batch, and writing what differs. Rows come as arrays.

What is written is guarded by `source`: a row that another source, or nobody, has written stays.
A `source_digest` of None marks what vanished; only such a row is made active again.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    Date,
    Float,
    Label,
    Table,
    TableValuedAlias,
    Text,
    Uuid,
    column,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.types import TypeEngine

from service.directory.tables import (
    locations,
    organizations,
    practitioner_locations,
    practitioners,
)
from service.kernel.db import UnitOfWork
from service.kernel.sql import bind, texts

_o, _p, _l, _pl = organizations.c, practitioners.c, locations.c, practitioner_locations.c

_TYPES: Mapping[str, type[TypeEngine[Any]]] = {
    "id": Uuid,
    "organization_id": Uuid,
    "source_digest": BigInteger,
    "latitude": Float,
    "longitude": Float,
}
_SOURCE, _DATE = bind("n_source", Text), bind("n_date", Date)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where rows come from: the source, and the date of its file."""

    source: str
    date: date

    def parameters(self) -> dict[str, Any]:
        """Return the parameters of the statements that write."""
        return {"n_source": self.source, "n_date": self.date}


@dataclass(frozen=True, slots=True)
class Known:
    """An entry as the directory has it, as far as an import must know."""

    id: UUID
    source: str | None
    digest: int | None


@dataclass(frozen=True, slots=True)
class KnownOrganization(Known):
    """An organization with all by which a structure may be recognised."""

    territory: str
    type: str
    source_key: str | None
    finess: str | None
    siret: str | None


# --- what is there ------------------------------------------------------------------------------


def _known(table: Table) -> tuple[Label[Any], ...]:
    c = table.c
    return c.id.label("id"), c.source.label("source"), c.source_digest.label("digest")


_ORGANIZATIONS = select(
    *_known(organizations), _o.territory, _o.type, _o.source_key, _o.finess, _o.siret
).where(
    or_(
        _o.source_key == func.any(texts("keys")),
        _o.finess == func.any(texts("finess_numbers")),
        _o.siret == func.any(texts("siret_numbers")),
    )
)
_LOCATIONS = select(_l.source_key, *_known(locations)).where(
    _l.source_key == func.any(texts("keys"))
)
_PRACTITIONERS = select(_p.rpps, *_known(practitioners)).where(
    _p.rpps == func.any(texts("numbers"))
)
_PAIRS = (
    func.unnest(texts("numbers"), texts("keys"))
    .table_valued(column("rpps", Text), column("key", Text), name="pairs")
    .render_derived()
)
_WORKPLACES = select(_PAIRS.c.rpps, _PAIRS.c.key).select_from(
    _PAIRS.join(practitioners, _p.rpps == _PAIRS.c.rpps)
    .join(locations, _l.source_key == _PAIRS.c.key)
    .join(
        practitioner_locations,
        (_pl.practitioner_id == _p.id) & (_pl.location_id == _l.id),
    )
)


async def known_organizations(
    uow: UnitOfWork, keys: Iterable[str], finess: Iterable[str], siret: Iterable[str]
) -> list[KnownOrganization]:
    """Return the organizations with one of these keys, FINESS or SIRET."""
    rows = await uow.execute(
        _ORGANIZATIONS,
        {"keys": list(keys), "finess_numbers": list(finess), "siret_numbers": list(siret)},
    )
    return [KnownOrganization(**row) for row in rows.mappings()]


async def known_locations(uow: UnitOfWork, keys: Iterable[str]) -> dict[str, Known]:
    """Return imported places by their key."""
    rows = await uow.execute(_LOCATIONS, {"keys": list(keys)})
    return {row.source_key: Known(row.id, row.source, row.digest) for row in rows}


async def known_practitioners(uow: UnitOfWork, numbers: Iterable[str]) -> dict[str, Known]:
    """Return practitioners by RPPS."""
    rows = await uow.execute(_PRACTITIONERS, {"numbers": list(numbers)})
    return {row.rpps: Known(row.id, row.source, row.digest) for row in rows}


async def known_workplaces(
    uow: UnitOfWork, pairs: Sequence[tuple[str, str]]
) -> set[tuple[str, str]]:
    """Return which of these (RPPS, key of a place) are in the directory."""
    rows = await uow.execute(_WORKPLACES, _pairs(pairs))
    return {(row.rpps, row.key) for row in rows}


def _pairs(pairs: Sequence[tuple[str, str]]) -> dict[str, list[str]]:
    return {"numbers": [rpps for rpps, _ in pairs], "keys": [key for _, key in pairs]}


# --- writing ------------------------------------------------------------------------------------


def _rows(names: Sequence[str]) -> TableValuedAlias:
    """Return a batch of rows given as one array each column, `n_<column>`."""
    typed = {name: _TYPES.get(name, Text) for name in names}
    arrays = (bind(f"n_{name}", ARRAY(type_)) for name, type_ in typed.items())
    shape = (column(name, type_) for name, type_ in typed.items())
    return func.unnest(*arrays).table_valued(*shape, name="batch").render_derived()


class Writer:
    """Adds the new rows of one table, and amends those that its source says otherwise now."""

    def __init__(self, table: Table, *, fixed: Sequence[str], amended: Sequence[str]) -> None:
        self._amended = ("id", *amended, "source_digest")
        self._added = (*self._amended, *fixed)
        batch = _rows(self._added)
        columns: dict[str, ColumnElement[Any]] = {name: batch.c[name] for name in self._added}
        columns |= {"source": _SOURCE, "source_date": _DATE}
        self._insert = insert(table).from_select(list(columns), select(*columns.values()))
        batch = _rows(self._amended)
        self._update = (
            update(table)
            .where(table.c.id == batch.c.id, table.c.source == _SOURCE)
            .values(
                {
                    **{name: batch.c[name] for name in self._amended if name != "id"},
                    "source_date": _DATE,
                    "active": or_(table.c.active, table.c.source_digest.is_(None)),
                    "version": table.c.version + 1,
                }
            )
        )

    async def add(self, uow: UnitOfWork, origin: Origin, rows: Sequence[Mapping[str, Any]]) -> None:
        """Insert rows. Raises `ConstraintViolated` if somebody was faster."""
        await self._run(uow, self._insert, self._added, origin, rows)

    async def amend(
        self, uow: UnitOfWork, origin: Origin, rows: Sequence[Mapping[str, Any]]
    ) -> None:
        """Update rows of this source."""
        await self._run(uow, self._update, self._amended, origin, rows)

    @staticmethod
    async def _run(
        uow: UnitOfWork,
        statement: Any,
        names: Sequence[str],
        origin: Origin,
        rows: Sequence[Mapping[str, Any]],
    ) -> None:
        if rows:
            arrays = {f"n_{name}": [row[name] for row in rows] for name in names}
            await uow.execute(statement, {**arrays, **origin.parameters()})


# An organization keeps its territory and type: its slots and its callers' grants carry them.
ORGANIZATIONS = Writer(
    organizations,
    fixed=("territory", "type", "finess", "siret", "source_key"),
    amended=("name", "commune"),
)
LOCATIONS = Writer(
    locations,
    fixed=("organization_id", "source_key"),
    amended=("name", "address", "postal_code", "commune", "latitude", "longitude"),
)
# A practitioner's territory is where they were first found, until they work there no more.
PRACTITIONERS = Writer(
    practitioners,
    fixed=("rpps", "territory"),
    amended=("family_name", "given_name", "profession", "specialty", "status"),
)

_WORK_AT = (
    upsert(practitioner_locations)
    .from_select(
        ["practitioner_id", "location_id", "source"],
        select(_p.id, _l.id, _SOURCE).select_from(
            _PAIRS.join(practitioners, (_p.rpps == _PAIRS.c.rpps) & (_p.source == _SOURCE)).join(
                locations, _l.source_key == _PAIRS.c.key
            )
        ),
    )
    .on_conflict_do_nothing()
)


async def work_at(uow: UnitOfWork, origin: Origin, pairs: Sequence[tuple[str, str]]) -> None:
    """Let imported practitioners (RPPS) work at imported places (key)."""
    if pairs:
        await uow.execute(_WORK_AT, {**_pairs(pairs), "n_source": origin.source})
