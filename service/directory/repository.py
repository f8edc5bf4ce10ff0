"""Every SQL statement of the room."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import func, select

from service.directory.domain import Place
from service.directory.tables import (
    locations,
    organizations,
    practitioner_locations,
    practitioners,
    territories,
)
from service.kernel.db import UnitOfWork
from service.kernel.sql import uuids

_l, _o, _t, _pl = locations.c, organizations.c, territories.c, practitioner_locations.c

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
            .select_from(
                practitioner_locations.join(
                    practitioners, practitioners.c.id == _pl.practitioner_id
                )
            )
            .where(_pl.location_id == _l.id, practitioners.c.active)
            .scalar_subquery()
        ).label("practitioner_ids"),
    )
    .select_from(
        locations.join(organizations, _o.id == _l.organization_id).join(
            territories, _t.id == _o.territory
        )
    )
    .where(_l.id == func.any(uuids("ids")), _l.active, _o.active)
)


async def places(uow: UnitOfWork, location_ids: Sequence[UUID]) -> dict[UUID, Place]:
    """Return the active locations among these, with their organization and territory."""
    rows = await uow.single(_PLACES, {"ids": list(location_ids)})
    return {
        row["location_id"]: Place(**{**row, "practitioner_ids": tuple(row["practitioner_ids"])})
        for row in rows.mappings()
    }
