"""Holds: one seat kept while the caller is on the line."""

from typing import Any
from uuid import UUID

from sqlalchemy import (
    Integer,
    Select,
    Text,
    Uuid,
    and_,
    func,
    insert,
    select,
    text,
    update,
)

from service.identity import Actor
from service.kernel import events
from service.kernel.db import UnitOfWork
from service.kernel.sql import bind, snp_now
from service.slots import parts
from service.slots.domain import HOLDS_PER_ORGANIZATION, Hold
from service.slots.tables import holds, slots

_s, _h = slots.c, holds.c


_TAKE_TURNS = text("SELECT pg_advisory_xact_lock(7301837, hashtext(:organization))")


async def take_turns(uow: UnitOfWork, organization_id: UUID) -> None:
    """Let one organization's holds be counted one after the other."""
    await uow.execute(_TAKE_TURNS, {"organization": str(organization_id)})


def _place_hold() -> Select[Any]:
    live = (
        select(func.count())
        .select_from(holds)
        .where(
            _h.organization_id == bind("caller_organization_id", Uuid),
            _h.ended_at.is_(None),
            _h.expires_at > snp_now(),
        )
        .scalar_subquery()
    )
    expires = snp_now() + func.make_interval(0, 0, 0, 0, 0, 0, bind("seconds", Integer))
    entry = func.jsonb_build_object(
        bind("hold_key", Text),
        func.jsonb_build_object(
            "organization",
            bind("caller_organization_id", Uuid),
            "since",
            func.extract("epoch", snp_now()),
            "until",
            func.extract("epoch", expires),
        ),
    )
    held = (
        update(slots)
        .where(
            _s.id == bind("slot_id", Uuid),
            parts.bookable(),
            parts.visible(),
            parts.seat_left(),
            live < HOLDS_PER_ORGANIZATION,
        )
        .values(holds=parts.without_expired().op("||")(entry))
        .returning(_s.id, _s.territory, _s.zone, expires.label("expires_at"))
        .cte("held")
    )
    placed = (
        insert(holds)
        .from_select(
            ["id", "slot_id", "organization_id", "client_id", "expires_at"],
            select(
                bind("hold_id", Uuid),
                held.c.id,
                bind("caller_organization_id", Uuid),
                bind("event_client_id", Uuid),
                held.c.expires_at,
            ),
        )
        .cte("placed")
    )
    told = events.part(
        "hold.placed",
        held,
        subject=held.c.id,
        territory=held.c.territory,
        data=func.jsonb_build_object(
            "hold_id", bind("hold_id", Uuid), "expires_at", held.c.expires_at
        ),
    )
    return select(
        bind("hold_id", Uuid).label("id"),
        held.c.id.label("slot_id"),
        held.c.expires_at,
        held.c.zone,
    ).add_cte(placed, told)


_PLACE_HOLD = _place_hold()


async def place_hold(
    uow: UnitOfWork, actor: Actor, *, hold_id: UUID, slot_id: UUID, seconds: int
) -> Hold | None:
    """Hold one seat, if one is left and the organization holds fewer than it may."""
    row = (
        (
            await uow.execute(
                _PLACE_HOLD,
                {
                    "slot_id": slot_id,
                    "hold_id": hold_id,
                    "hold_key": str(hold_id),
                    "seconds": seconds,
                    **parts.caller(actor),
                    **actor.origin.parameters(),
                },
            )
        )
        .mappings()
        .one_or_none()
    )
    return None if row is None else Hold(**row)


_COUNT_HOLDS = (
    select(func.count())
    .select_from(holds)
    .where(
        _h.organization_id == bind("organization_id", Uuid),
        _h.ended_at.is_(None),
        _h.expires_at > snp_now(),
    )
)


async def count_holds(uow: UnitOfWork, organization_id: UUID) -> int:
    """Count the live holds of an organization."""
    return int((await uow.single(_COUNT_HOLDS, {"organization_id": organization_id})).scalar_one())


_FIND_HOLD = (
    select(_h.id, _h.slot_id, _h.expires_at, _s.zone)
    .select_from(holds.join(slots, _s.id == _h.slot_id))
    .where(
        _h.id == bind("hold_id", Uuid),
        _h.organization_id == bind("organization_id", Uuid),
    )
)


async def find_hold(uow: UnitOfWork, organization_id: UUID, hold_id: UUID) -> Hold | None:
    """Return a hold of an organization, live or not."""
    row = (
        (await uow.single(_FIND_HOLD, {"hold_id": hold_id, "organization_id": organization_id}))
        .mappings()
        .one_or_none()
    )
    return None if row is None else Hold(**row)


def _release_hold() -> Select[Any]:
    # The slot row first, as everywhere: a booking that uses this hold locks it first too.
    freed = (
        update(slots)
        .where(
            holds.c.id == bind("hold_id", Uuid),
            _h.organization_id == bind("caller_organization_id", Uuid),
            _h.ended_at.is_(None),
            _h.expires_at > snp_now(),
            _s.id == _h.slot_id,
            _s.holds.has_key(bind("hold_key", Text)),
        )
        .values(holds=parts.without(bind("hold_key", Text)))
        .returning(_s.id, _s.territory)
        .cte("freed")
    )
    ended = (
        update(holds)
        .where(and_(_h.id == bind("hold_id", Uuid), _h.slot_id == freed.c.id))
        .values(ended_at=snp_now())
        .cte("ended")
    )
    told = events.part(
        "hold.released",
        freed,
        subject=freed.c.id,
        territory=freed.c.territory,
        data=func.jsonb_build_object("hold_id", bind("hold_id", Uuid)),
    )
    return select(freed.c.id).add_cte(ended, told)


_RELEASE_HOLD = _release_hold()


async def release_hold(uow: UnitOfWork, actor: Actor, hold_id: UUID) -> bool:
    """Give a live hold of the caller's organization back."""
    done = await uow.single(
        _RELEASE_HOLD,
        {
            "hold_id": hold_id,
            "hold_key": str(hold_id),
            "caller_organization_id": actor.organization_id,
            **actor.origin.parameters(),
        },
    )
    return done.first() is not None
