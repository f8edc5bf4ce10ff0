"""A slot as somebody reads it: by id, of the own side, of an agenda."""

from collections.abc import Collection, Sequence
from datetime import datetime
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Integer,
    Select,
    Uuid,
    func,
    select,
    tuple_,
)

from service.directory import parts as directory
from service.identity import Actor, grant_is_live, grant_parameters
from service.kernel.db import UnitOfWork
from service.kernel.prepared import Prepared, Row
from service.kernel.sql import bind, snp_now, uuids
from service.kernel.tables import Instant
from service.slots import parts
from service.slots.domain import Admitted, Audience, Slot, Standing, state_of
from service.slots.domain.release import steps_of
from service.slots.tables import holds, slots

_s, _h = slots.c, holds.c


_UNREAD = {
    *("latitude", "longitude", "reduced_mobility", "holds", "client_id", "session_start"),
    "next_release_at",
}
_COLUMNS = [column for column in _s if column.name not in _UNREAD | {"created_at", "updated_at"}]


def read(*extra: ColumnElement[Any]) -> Select[Any]:
    return select(
        *_COLUMNS,
        parts.live_holds().label("held"),
        snp_now().label("now"),
        *directory.card_columns(),
        directory.practitioner.c.active.label("practitioner_active"),
        *extra,
    ).select_from(
        slots.outerjoin(
            directory.practitioner, directory.practitioner.c.id == _s.practitioner_id
        ).join(directory.location, directory.location.c.id == _s.location_id)
    )


def slot_of(r: Row) -> Slot:
    return Slot(
        id=r["id"],
        practitioner_id=r["practitioner_id"],
        location_id=r["location_id"],
        organization_id=r["organization_id"],
        organization_type=r["organization_type"],
        territory=r["territory"],
        zone=r["zone"],
        starts_at=r["starts_at"],
        ends_at=r["ends_at"],
        modes=tuple(r["modes"]),
        specialty=r["specialty"],
        audience=Audience(
            tuple(r["visibility"]),
            tuple(r["cpts_ids"]),
            tuple(r["organization_types"]),
            tuple(r["organization_ids"]),
        ),
        capacity=r["capacity"],
        overbooking=r["overbooking"],
        booked=r["booked"],
        held=r["held"],
        walk_in=r["walk_in"],
        note=r["note"],
        external_id=r["external_id"],
        session_id=r["session_id"],
        release=steps_of(r.__getitem__),
        withdrawn_at=r["withdrawn_at"],
        version=r["version"],
        now=r["now"],
        practitioner=directory.practitioner_card(r),
        practitioner_inactive=r["practitioner_active"] is False,  # None: nobody is named yet
        location=directory.location_card(r),
    )


_FIND = Prepared(
    read(parts.owned().label("mine")).where(_s.id == bind("slot_id", Uuid), parts.visible())
)


async def find(uow: UnitOfWork, actor: Actor, slot_id: UUID) -> tuple[Slot, bool] | None:
    """Return a slot that the caller may see, and whether it is its own side's."""
    rows = await uow.fetch(_FIND, {"slot_id": slot_id, **parts.caller(actor)})
    return (slot_of(rows[0]), rows[0]["mine"]) if rows else None


_ASK = Prepared(
    read(grant_is_live().label("live")).where(_s.id == bind("slot_id", Uuid), parts.visible())
)


async def find_with_grant(uow: UnitOfWork, actor: Actor, slot_id: UUID) -> tuple[Slot, bool] | None:
    """Return a slot that the caller may see, and whether its grant is still as its token says."""
    values = {"slot_id": slot_id, **parts.caller(actor), **grant_parameters(actor)}
    rows = await uow.fetch(_ASK, values)
    return (slot_of(rows[0]), rows[0]["live"]) if rows else None


_STANDING = Prepared(
    select(
        *(_s.id, _s.territory, _s.practitioner_id, _s.organization_id, _s.capacity, _s.booked),
        parts.live_holds().label("held"),
        parts.audience_json(_s, parts.visibility_at(_s, snp_now())).label("audience"),
        (~parts.kept()).label("withdrawn"),
        (_s.starts_at <= snp_now()).label("started"),
    ).where(_s.id == func.any(uuids("ids")))
)


async def standing(uow: UnitOfWork, ids: Collection[UUID]) -> dict[UUID, Standing]:
    """Return slots as they stand now, whoever may see them: for rules that know who asks."""
    rows = await uow.fetch(_STANDING, {"ids": list(ids)}) if ids else []
    return {r["id"]: _standing(r) for r in rows}


def _standing(r: Row) -> Standing:
    remaining = max(0, r["capacity"] - r["booked"] - r["held"])
    return Standing(
        id=r["id"],
        territory=r["territory"],
        practitioner_id=r["practitioner_id"],
        organization_id=r["organization_id"],
        audience=r["audience"],
        state=state_of(withdrawn=r["withdrawn"], started=r["started"], remaining=remaining),
        remaining=remaining,
    )


_OWN = Prepared(
    read().where(_s.id == func.any(uuids("ids")), parts.owned()).order_by(_s.starts_at, _s.id)
)


async def own(uow: UnitOfWork, actor: Actor, ids: Sequence[UUID]) -> list[Slot]:
    """Return slots of the caller's own side by id, by start."""
    rows = await uow.fetch(_OWN, {"ids": list(ids), **parts.caller(actor)})
    return [slot_of(row) for row in rows]


_WHO_CAN = parts.who_can()


async def who_can(uow: UnitOfWork, ids: Sequence[UUID]) -> dict[UUID, tuple[Admitted, ...]]:
    """Count the grants that could see each of some slots; a slot that none could see is missing."""
    found: dict[UUID, tuple[Admitted, ...]] = {}
    for row in await uow.single(_WHO_CAN, {"ids": list(ids)}):
        admitted = Admitted(row.role, row.organization_type, row.grants)
        found[row.id] = (*found.get(row.id, ()), admitted)
    return found


@cache
def _agenda(*, after: bool) -> Prepared:
    statement = read().where(
        _s.practitioner_id == bind("practitioner_id", Uuid),
        _s.starts_at >= bind("from_", Instant),
        _s.starts_at < bind("to", Instant),
    )
    if after:
        statement = statement.where(
            tuple_(_s.starts_at, _s.id)
            > tuple_(bind("after_start", Instant), bind("after_id", Uuid))
        )
    return Prepared(statement.order_by(_s.starts_at, _s.id).limit(bind("limit", Integer)))


async def agenda(
    uow: UnitOfWork,
    practitioner_id: UUID,
    *,
    from_: datetime,
    to: datetime,
    limit: int,
    after: Sequence[Any] | None,
) -> list[Slot]:
    """Return a practitioner's slots in every state, by start, one more than the page holds."""
    values: dict[str, Any] = {
        "practitioner_id": practitioner_id,
        "from_": from_,
        "to": to,
        "limit": limit + 1,
    }
    if after:
        values |= {"after_start": after[0], "after_id": after[1]}
    return [slot_of(row) for row in await uow.fetch(_agenda(after=bool(after)), values)]
