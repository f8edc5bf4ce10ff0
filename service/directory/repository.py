"""Every SQL statement of the room. Lists are built once per combination of filters."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from functools import cache
from typing import Any, Generic, TypeVar
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Integer,
    RowMapping,
    Select,
    Table,
    Text,
    Uuid,
    all_,
    and_,
    column,
    delete,
    exists,
    func,
    insert,
    literal_column,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import array

from service.directory.domain import (
    AlreadyListed,
    Location,
    LocationDraft,
    Organization,
    OrganizationDraft,
    OrganizationType,
    Place,
    Practitioner,
    PractitionerDraft,
    Territory,
)
from service.directory.tables import (
    locations,
    organizations,
    practitioner_locations,
    practitioners,
    territories,
)
from service.kernel.db import ConstraintViolated, UnitOfWork
from service.kernel.sql import bind, flag, texts, uuids

Draft = TypeVar("Draft")
Entry = TypeVar("Entry")
Conditions = Mapping[str, ColumnElement[bool]]

_l, _o, _t, _pl = locations.c, organizations.c, territories.c, practitioner_locations.c
_p = practitioners.c

_IDENTIFIERS = {
    "uq_organizations_finess": "finess",
    "uq_organizations_siret": "siret",
    "uq_practitioners_rpps": "rpps",
}


@contextmanager
def _listed_once() -> Iterator[None]:
    """Turn the constraint that a second entry violates into the refusal it stands for."""
    try:
        yield
    except ConstraintViolated as violated:
        identifier = _IDENTIFIERS.get(violated.name)
        if identifier is None:
            raise
        raise AlreadyListed(identifier=identifier) from None


def _listing(
    base: Select[Any], key: ColumnElement[Any], filters: Conditions, *, ascending: bool = False
) -> Callable[[frozenset[str]], Select[Any]]:
    """Return the maker of one list's statements: one each for the filters that are given.

    A filter is a parameter of the same name; `after` is the key where the previous page ended.
    """
    after = bind("after", key.type)
    conditions: Conditions = {**filters, "after": key > after if ascending else key < after}

    @cache
    def build(given: frozenset[str]) -> Select[Any]:
        order = key.asc() if ascending else key.desc()
        chosen = (condition for name, condition in conditions.items() if name in given)
        return base.where(*chosen).order_by(order).limit(bind("limit", Integer))

    return build


class Shelf(Generic[Draft, Entry]):
    """One kind of entry: found, listed, added and amended in the same way as the others.

    `columns` are the members that its draft writes; `read` makes the entry from its row.
    """

    def __init__(
        self,
        table: Table,
        base: Select[Any],
        filters: Conditions,
        *,
        columns: Sequence[str],
        read: Callable[[RowMapping], Entry],
    ) -> None:
        self._read, self._columns = read, columns
        mine = table.c.id == bind("row_id", Uuid)
        self._find = base.where(mine)
        self._lock = select(table.c.id).where(mine).with_for_update(key_share=True)
        self._listing = _listing(base, table.c.id, filters)
        self._add = insert(table)
        self._amend = update(table).where(mine).values(version=table.c.version + 1)

    async def find(self, uow: UnitOfWork, entry_id: UUID) -> Entry | None:
        """Return an entry."""
        row = (await uow.single(self._find, {"row_id": entry_id})).mappings().one_or_none()
        return None if row is None else self._read(row)

    async def lock(self, uow: UnitOfWork, entry_id: UUID) -> Entry | None:
        """Lock an entry, then read it: what is returned is what the lock holds."""
        if (await uow.execute(self._lock, {"row_id": entry_id})).first() is None:
            return None
        return await self.find(uow, entry_id)

    async def newest(
        self, uow: UnitOfWork, wanted: Mapping[str, Any], *, limit: int, after: UUID | None
    ) -> list[Entry]:
        """Return entries, newest first, one more than the page holds; a filter of None is none."""
        given = {k: v for k, v in {**wanted, "after": after}.items() if v is not None}
        rows = await uow.single(self._listing(frozenset(given)), {**given, "limit": limit + 1})
        return [self._read(row) for row in rows.mappings()]

    async def add(self, uow: UnitOfWork, entry_id: UUID, draft: Draft) -> None:
        """Insert an entry. Refusals: `already-listed`."""
        with _listed_once():
            await uow.execute(self._add, {"id": entry_id, **self._row(draft)})

    async def amend(self, uow: UnitOfWork, entry_id: UUID, entry: Entry) -> None:
        """Write every member of an entry anew. Refusals: `already-listed`."""
        with _listed_once():
            await uow.execute(self._amend, {"row_id": entry_id, **self._row(entry)})

    def _row(self, source: object) -> dict[str, Any]:
        values = {name: getattr(source, name) for name in self._columns}
        return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}


def _has_words(text: ColumnElement[str]) -> ColumnElement[bool]:
    """True when every word of `words` is in the text; `snp_folded` folds it as `domain.words` does.

    The longest is named by itself: an index of trigrams finds one word, not all of an array.
    """
    longest = (
        select(column("word", Text))
        .select_from(func.unnest(texts("words")).alias("word"))
        .order_by(func.length(column("word", Text)).desc())
        .limit(1)
        .scalar_subquery()
    )
    folded = func.snp_folded(text, type_=Text)
    return and_(folded.like(longest), folded.like(all_(texts("words"))))


# --- territories --------------------------------------------------------------------------------

_TERRITORY = select(_t.id, _t.name, _t.region, _t.zone, _t.default_radius_km, _t.enlargement_km)
_FIND_TERRITORY = _TERRITORY.where(_t.id == bind("territory", Text))
_TERRITORIES = _listing(_TERRITORY, _t.id, {}, ascending=True)


async def find_territory(uow: UnitOfWork, territory_id: str) -> Territory | None:
    """Return a territory."""
    row = (await uow.single(_FIND_TERRITORY, {"territory": territory_id})).mappings().one_or_none()
    return None if row is None else Territory(**row)


async def list_territories(uow: UnitOfWork, *, limit: int, after: str | None) -> list[Territory]:
    """Return territories by code, one more than the page holds."""
    given = {} if after is None else {"after": after}
    rows = await uow.single(_TERRITORIES(frozenset(given)), {**given, "limit": limit + 1})
    return [Territory(**row) for row in rows.mappings()]


# --- organizations ------------------------------------------------------------------------------

_MEMBERS = _o.cpts_ids.bool_op("@>")(array([bind("cpts", Uuid)]))

ORGANIZATIONS = Shelf[OrganizationDraft, Organization](
    organizations,
    select(
        *(_o.id, _o.territory, _o.type, _o.name, _o.finess, _o.siret, _o.commune, _o.phone),
        *(_o.cpts_ids, _o.active, _o.version),
    ),
    {
        "territory": _o.territory == bind("territory", Text),
        "type": _o.type == bind("type", Text),
        "cpts": _MEMBERS,
        "finess": _o.finess == bind("finess", Text),
        "siret": _o.siret == bind("siret", Text),
        "active": _o.active == flag("active"),
        "words": _has_words(_o.name),
    },
    columns=[field.name for field in fields(OrganizationDraft)],
    read=lambda row: Organization(**{**row, "cpts_ids": tuple(row["cpts_ids"])}),
)

_COMMUNITIES = (
    select(_o.id)
    .where(_o.id == func.any(uuids("ids")), _o.type == OrganizationType.CPTS)
    .order_by(_o.id)
    .with_for_update(read=True)
)
_HAS_MEMBERS = select(exists(select(1).where(_MEMBERS)))


async def lock_communities(uow: UnitOfWork, ids: Sequence[UUID]) -> set[UUID]:
    """Return which of these are CPTS; they stay so until the transaction ends."""
    return set((await uow.execute(_COMMUNITIES, {"ids": sorted(ids)})).scalars())


_NAMES = select(_o.id, _o.name).where(_o.id == func.any(uuids("ids")))


async def organization_names(uow: UnitOfWork, ids: Sequence[UUID]) -> dict[UUID, str]:
    """Return the names of organizations."""
    return {row.id: row.name for row in await uow.single(_NAMES, {"ids": list(ids)})}


async def has_members(uow: UnitOfWork, cpts_id: UUID) -> bool:
    """Tell whether an organization is a member of this CPTS."""
    return bool((await uow.single(_HAS_MEMBERS, {"cpts": cpts_id})).scalar_one())


# --- practitioners ------------------------------------------------------------------------------

_LINKED = practitioner_locations.join(locations, _l.id == _pl.location_id)
_WORKS_AT = select(_pl.location_id).where(_pl.practitioner_id == _p.id)

PRACTITIONERS = Shelf[PractitionerDraft, Practitioner](
    practitioners,
    select(
        *(_p.id, _p.rpps, _p.family_name, _p.given_name, _p.profession, _p.specialty, _p.status),
        *(_p.territory, _p.active, _p.version),
        func.array(_WORKS_AT.scalar_subquery()).label("location_ids"),
    ),
    {
        "territory": _p.territory == bind("territory", Text),
        "rpps": _p.rpps == bind("rpps", Text),
        "profession": _p.profession == bind("profession", Text),
        "specialty": _p.specialty == bind("specialty", Text),
        "organization": exists(
            select(1)
            .select_from(_LINKED)
            .where(_pl.practitioner_id == _p.id, _l.organization_id == bind("organization", Uuid))
        ),
        "location": exists(_WORKS_AT.where(_pl.location_id == bind("location", Uuid))),
        "active": _p.active == flag("active"),
        "words": _has_words(_p.family_name + literal_column("' '") + _p.given_name),
    },
    columns=[f.name for f in fields(PractitionerDraft) if f.name != "location_ids"],
    read=lambda row: Practitioner(**{**row, "location_ids": frozenset(row["location_ids"])}),
)

_LEAVE = delete(practitioner_locations).where(
    _pl.practitioner_id == bind("row_id", Uuid), _pl.location_id == func.any(uuids("left"))
)
_JOIN = insert(practitioner_locations)


async def work_at(
    uow: UnitOfWork, practitioner_id: UUID, *, joined: frozenset[UUID], left: frozenset[UUID]
) -> None:
    """Let a practitioner begin to work at some places and end at others."""
    if left:
        await uow.execute(_LEAVE, {"row_id": practitioner_id, "left": sorted(left)})
    if joined:
        pairs = [{"practitioner_id": practitioner_id, "location_id": i} for i in sorted(joined)]
        await uow.execute(_JOIN, pairs)


# --- locations ----------------------------------------------------------------------------------

_HOME = locations.join(organizations, _o.id == _l.organization_id)

LOCATIONS = Shelf[LocationDraft, Location](
    locations,
    select(
        *(_l.id, _l.organization_id, _l.name, _l.address, _l.postal_code, _l.commune),
        *(_l.latitude, _l.longitude, _l.reduced_mobility, _l.phone, _l.active, _l.version),
        _o.territory,
    ).select_from(_HOME),
    {
        "practitioner": exists(
            select(1).where(
                _pl.location_id == _l.id, _pl.practitioner_id == bind("practitioner", Uuid)
            )
        ),
        "organization": _l.organization_id == bind("organization", Uuid),
        "territory": _o.territory == bind("territory", Text),
        "commune": _l.commune == bind("commune", Text),
        "active": _l.active == flag("active"),
    },
    columns=[field.name for field in fields(LocationDraft)],
    read=lambda row: Location(**row),
)

_TERRITORIES_OF = (
    select(_l.id, _o.territory).select_from(_HOME).where(_l.id == func.any(uuids("ids")))
)


async def territories_of(uow: UnitOfWork, location_ids: frozenset[UUID]) -> dict[UUID, str]:
    """Return the territory of each of these locations that exists."""
    rows = await uow.single(_TERRITORIES_OF, {"ids": sorted(location_ids)})
    return {row.id: row.territory for row in rows}


_PLACES = (
    select(
        _l.id.label("location_id"),
        _l.organization_id,
        _o.type.label("organization_type"),
        _o.territory,
        _t.zone,
        _l.latitude,
        _l.longitude,
        _l.reduced_mobility,
        func.array(
            select(_pl.practitioner_id)
            .select_from(practitioner_locations.join(practitioners, _p.id == _pl.practitioner_id))
            .where(_pl.location_id == _l.id, _p.active)
            .scalar_subquery()
        ).label("practitioner_ids"),
    )
    .select_from(_HOME.join(territories, _t.id == _o.territory))
    .where(_l.id == func.any(uuids("ids")), _l.active, _o.active)
)


async def places(uow: UnitOfWork, location_ids: Sequence[UUID]) -> dict[UUID, Place]:
    """Return the active locations among these, with their organization and territory."""
    rows = await uow.single(_PLACES, {"ids": list(location_ids)})
    return {
        row["location_id"]: Place(**{**row, "practitioner_ids": tuple(row["practitioner_ids"])})
        for row in rows.mappings()
    }
