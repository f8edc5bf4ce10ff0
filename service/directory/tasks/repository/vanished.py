"""What a source no longer names: found page by page, deactivated, never deleted.

What is in a filter, and nowhere outside of it, is in its scope: a file of the Indre says nothing
about the Cher.
"""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Integer,
    Table,
    Text,
    Uuid,
    column,
    delete,
    exists,
    func,
    literal_column,
    or_,
    select,
    tuple_,
    update,
)

from service.directory.tables import (
    locations,
    organizations,
    practitioner_locations,
    practitioners,
)
from service.directory.tasks.lines import Filter
from service.kernel.db import UnitOfWork
from service.kernel.sql import bind, texts, uuids

_o, _p, _l, _pl = organizations.c, practitioners.c, locations.c, practitioner_locations.c
_SOURCE = bind("n_source", Text)

_TERRITORIES, _PROFESSIONS, _SPECIALTIES = (
    texts("territories"),
    texts("professions"),
    texts("specialties"),
)


def _among(value: ColumnElement[str | None], wanted: ColumnElement[Any]) -> ColumnElement[bool]:
    return or_(wanted.is_(None), func.coalesce(value == func.any(wanted), False))


_IN_TERRITORY = _among(_o.territory, _TERRITORIES)
_IN_PROFESSION = _among(_p.profession, _PROFESSIONS) & _among(_p.specialty, _SPECIALTIES)

_LINKS = practitioner_locations.join(locations, _l.id == _pl.location_id).join(
    organizations, _o.id == _l.organization_id
)
_WORK = select(1).select_from(_LINKS).where(_pl.practitioner_id == _p.id, _pl.source == _SOURCE)
_STAFF = (
    select(1)
    .select_from(practitioner_locations.join(practitioners, _p.id == _pl.practitioner_id))
    .where(_pl.location_id == _l.id, _pl.source == _SOURCE)
)
PAGE = 5_000
# Written out: of a parameter the planner supposes a tenth of the table, and reads it all.
_AFTER, _LIMIT = bind("after", Uuid), literal_column(str(PAGE), Integer)

# A page is so many rows of a source, whether in scope or not: however narrow the filter, however
# large the directory, a statement reads no more than that.
_IN_SCOPE = "in_scope"

# Practitioners whose every imported work is within the filter: unseen, they are gone.
_PEOPLE = (
    select(
        _p.id,
        _p.rpps,
        or_(
            _TERRITORIES.is_(None),
            or_(_p.territory == func.any(_TERRITORIES), exists(_WORK.where(_IN_TERRITORY)))
            & ~exists(_WORK.where(~_IN_TERRITORY)),
        ).label(_IN_SCOPE),
    )
    .where(_p.source == _SOURCE, _p.source_digest.is_not(None), _p.id > _AFTER, _IN_PROFESSION)
    .order_by(_p.id)
    .limit(_LIMIT)
)
_PLACES = (
    select(
        _l.id,
        _l.source_key,
        _l.organization_id,
        (_IN_TERRITORY & ~exists(_STAFF.where(~_IN_PROFESSION))).label(_IN_SCOPE),
    )
    .select_from(locations.join(organizations, _o.id == _l.organization_id))
    .where(_l.source == _SOURCE, _l.source_digest.is_not(None), _l.id > _AFTER)
    .order_by(_l.id)
    .limit(_LIMIT)
)
# The page is cut before the joins: a merge join would begin at the first practitioner each time.
_CUT = (
    select(_pl.practitioner_id, _pl.location_id)
    .where(
        _pl.source == _SOURCE,
        tuple_(_pl.practitioner_id, _pl.location_id)
        > tuple_(bind("after", Uuid), bind("after_location", Uuid)),
    )
    .order_by(_pl.practitioner_id, _pl.location_id)
    .limit(_LIMIT)
    .subquery("page")
)
_WORKPLACES = (
    select(
        _CUT.c.practitioner_id,
        _CUT.c.location_id,
        _p.rpps,
        _l.source_key,
        (_IN_TERRITORY & _IN_PROFESSION).label(_IN_SCOPE),
    )
    .select_from(
        _CUT.join(practitioners, _p.id == _CUT.c.practitioner_id)
        .join(locations, _l.id == _CUT.c.location_id)
        .join(organizations, _o.id == _l.organization_id)
    )
    .order_by(_CUT.c.practitioner_id, _CUT.c.location_id)
)


def _scope(wanted: Filter, source: str) -> dict[str, Any]:
    """Return a filter as parameters; an empty part of it is None, for everything."""
    return {
        "n_source": source,
        "territories": list(wanted.territories) or None,
        "professions": list(wanted.professions) or None,
        "specialties": list(wanted.specialties) or None,
    }


async def people(
    uow: UnitOfWork, source: str, wanted: Filter, *, after: UUID
) -> list[tuple[UUID, str, bool]]:
    """Return practitioners of a source: id, RPPS, and whether all their work is in a filter."""
    parameters = {**_scope(wanted, source), "after": after}
    return [tuple(row) for row in await uow.single(_PEOPLE, parameters)]


async def places(
    uow: UnitOfWork, source: str, wanted: Filter, *, after: UUID
) -> list[tuple[UUID, str, UUID, bool]]:
    """Return places of a source: id, key, organization, and whether all work there is in a filter.

    Where nobody works, the territory alone decides.
    """
    parameters = {**_scope(wanted, source), "after": after}
    return [tuple(row) for row in await uow.single(_PLACES, parameters)]


async def workplaces(
    uow: UnitOfWork, source: str, wanted: Filter, *, after: tuple[UUID, UUID]
) -> list[tuple[UUID, UUID, str, str, bool]]:
    """Return imported work: practitioner, place, RPPS, key, and whether it is in a filter."""
    place = {"after": after[0], "after_location": after[1]}
    rows = await uow.single(_WORKPLACES, {**_scope(wanted, source), **place})
    return [tuple(row) for row in rows]


_LEAVE = delete(practitioner_locations).where(
    tuple_(_pl.practitioner_id, _pl.location_id).in_(
        select(
            func.unnest(uuids("people"), uuids("places"))
            .table_valued(column("a", Uuid), column("b", Uuid), name="gone")
            .render_derived()
        )
    ),
    _pl.source == _SOURCE,
)
_HOME = (
    select(func.min(_o.territory))
    .select_from(_LINKS)
    .where(_pl.practitioner_id == _p.id)
    .scalar_subquery()
)
_MOVE = (
    update(practitioners)
    .where(
        _p.id == func.any(uuids("people")),
        _p.source == _SOURCE,
        _HOME.is_not(None),
        ~exists(
            select(1)
            .select_from(_LINKS)
            .where(_pl.practitioner_id == _p.id, _o.territory == _p.territory)
        ),
    )
    .values(territory=_HOME, version=_p.version + 1)
)


async def leave(uow: UnitOfWork, source: str, work: Sequence[tuple[UUID, UUID]]) -> None:
    """End imported work (practitioner, place); who no longer works at home moves."""
    who, where = [person for person, _ in work], [place for _, place in work]
    await uow.execute(_LEAVE, {"people": who, "places": where, "n_source": source})
    await uow.execute(_MOVE, {"people": sorted(set(who)), "n_source": source})


def _end(table: Table, *unless: ColumnElement[bool]) -> Any:
    return (
        update(table)
        .where(
            table.c.id == func.any(uuids("ids")),
            table.c.source == _SOURCE,
            table.c.source_digest.is_not(None),
            *unless,
        )
        .values(active=False, source_digest=None, version=table.c.version + 1)
    )


_END_PRACTITIONERS = _end(practitioners)
_END_LOCATIONS = _end(locations)
# A place that somebody added by hand keeps its organization.
_END_ORGANIZATIONS = _end(
    organizations, ~exists(select(1).where(_l.organization_id == _o.id, _l.active))
)


async def end_practitioners(uow: UnitOfWork, source: str, ids: Sequence[UUID]) -> int:
    """Deactivate practitioners of a source; return how many."""
    return await _ended(uow, _END_PRACTITIONERS, source, ids)


async def end_locations(uow: UnitOfWork, source: str, ids: Sequence[UUID]) -> int:
    """Deactivate places of a source; return how many."""
    return await _ended(uow, _END_LOCATIONS, source, ids)


async def end_organizations(uow: UnitOfWork, source: str, ids: Sequence[UUID]) -> int:
    """Deactivate those organizations of a source that have no place any more; return how many."""
    return await _ended(uow, _END_ORGANIZATIONS, source, ids)


async def _ended(uow: UnitOfWork, statement: Any, source: str, ids: Sequence[UUID]) -> int:
    if not ids:
        return 0
    result = await uow.execute(statement, {"ids": sorted(ids), "n_source": source})
    return int(result.rowcount)
