"""Since when a slot is seen, and how often it was listed."""

from collections.abc import Mapping
from datetime import date, datetime
from uuid import UUID

from sqlalchemy import (
    Uuid,
    and_,
    func,
    literal_column,
    or_,
    select,
    text,
)

from service.kernel import events
from service.kernel.db import UnitOfWork
from service.kernel.sql import bind
from service.slots.domain import Change, Slot
from service.slots.tables import holds, slot_listings, slots

_s, _h = slots.c, holds.c


_e = events.events.c
_CHANGES = (
    select(
        _e.occurred_at,
        _e.data["released_at"].astext.label("released_at"),
        _e.territory,
        _e.audience_after,
        _s.created_at,
    )
    .select_from(
        slots.outerjoin(
            events.events,
            and_(
                _e.subject_id == _s.id,
                or_(
                    func.jsonb_typeof(_e.audience_after) == literal_column("'object'"),
                    func.jsonb_typeof(_e.audience_before) == literal_column("'object'"),
                ),
            ),
        )
    )
    .where(_s.id == bind("slot_id", Uuid))
    .order_by(_e.occurred_at, _e.id)
)


async def changes(uow: UnitOfWork, slot: Slot) -> list[Change]:
    """Return what changed who could see a slot, oldest first; its creation when nothing tells."""
    rows = list(await uow.single(_CHANGES, {"slot_id": slot.id}))
    told = [
        Change(
            # A release is in force at its own instant, whenever it was told.
            datetime.fromisoformat(r.released_at) if r.released_at else r.occurred_at,
            r.audience_after and {"in": r.territory, **r.audience_after},
        )
        for r in rows
        if r.occurred_at
    ]
    told.sort(key=lambda change: change.at)
    if told:
        return told
    return [
        Change(r.created_at, None if slot.withdrawn_at else slot.audience.as_json()) for r in rows
    ]


_LISTED = (
    select(slot_listings.c.day, slot_listings.c.listed)
    .where(slot_listings.c.slot_id == bind("slot_id", Uuid))
    .order_by(slot_listings.c.day)
)


async def listed(uow: UnitOfWork, slot_id: UUID) -> tuple[tuple[date, int], ...]:
    """Return how often a slot was listed, by day."""
    return tuple((r.day, r.listed) for r in await uow.single(_LISTED, {"slot_id": slot_id}))


# Always in the order of ids: processes that flush at the same time wait, they never deadlock.
_ADD_LISTINGS = text(
    """INSERT INTO slot_listings (slot_id, day, listed)
       SELECT slots.id, (snp_now() AT TIME ZONE slots.zone)::date, seen.times
       FROM unnest(CAST(:ids AS uuid[]), CAST(:times AS integer[])) AS seen(id, times)
       JOIN slots ON slots.id = seen.id
       ORDER BY slots.id
       ON CONFLICT (slot_id, day) DO UPDATE SET listed = slot_listings.listed + excluded.listed"""
)


async def add_listings(uow: UnitOfWork, times: Mapping[UUID, int]) -> None:
    """Add how often slots were listed to today's numbers, in one statement."""
    await uow.single(_ADD_LISTINGS, {"ids": list(times), "times": list(times.values())})
