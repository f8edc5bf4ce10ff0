"""Organizations of a CSV of structures: few enough to be written one by one."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Text, Uuid, func, insert, or_, select, update

from service.directory.tables import organizations
from service.directory.tasks.repository.entries import Origin
from service.kernel.db import UnitOfWork
from service.kernel.sql import bind, texts, uuids

_o = organizations.c

_ADD = insert(organizations)
_AMEND = (
    update(organizations)
    .where(_o.id == bind("row_id", Uuid))
    .values(active=or_(_o.active, _o.source_digest.is_(None)), version=_o.version + 1)
    .returning(_o.cpts_ids)
)
_LISTED = select(_o.id, _o.source_key, _o.finess, _o.siret).where(
    _o.source == bind("n_source", Text),
    _o.source_digest.is_not(None),
    _o.territory == func.any(texts("territories")),
)
_END = (
    update(organizations)
    .where(_o.id == func.any(uuids("ids")), _o.source == bind("n_source", Text))
    .values(active=False, source_digest=None, version=_o.version + 1)
)


def _from(origin: Origin) -> dict[str, Any]:
    return {"source": origin.source, "source_date": origin.date}


async def add(
    uow: UnitOfWork, origin: Origin, organization_id: UUID, values: Mapping[str, Any]
) -> None:
    """List an organization."""
    await uow.execute(_ADD, {"id": organization_id, **values, **_from(origin)})


async def amend(
    uow: UnitOfWork, origin: Origin, organization_id: UUID, values: Mapping[str, Any]
) -> list[UUID]:
    """Write an organization anew, as this source's own; return its communities."""
    parameters = {"row_id": organization_id, **values, **_from(origin)}
    return list((await uow.execute(_AMEND, parameters)).scalar_one())


async def listed(
    uow: UnitOfWork, source: str, territories: Sequence[str]
) -> list[tuple[UUID, set[str]]]:
    """Return the organizations of a source in these territories: id, and its possible keys."""
    rows = await uow.execute(_LISTED, {"n_source": source, "territories": list(territories)})
    return [(row.id, {row.source_key, f"1{row.finess}", f"3{row.siret}"}) for row in rows]


async def end(uow: UnitOfWork, source: str, ids: Sequence[UUID]) -> int:
    """Deactivate organizations of a source; return how many."""
    if not ids:
        return 0
    return int((await uow.execute(_END, {"ids": sorted(ids), "n_source": source})).rowcount)
