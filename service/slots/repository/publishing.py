"""Publishing, amending and withdrawing one slot or a batch."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    Row,
    Uuid,
    func,
    insert,
    literal_column,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB

from service.identity import Actor
from service.kernel.db import ConstraintViolated, TransactionLost, UnitOfWork
from service.kernel.sql import bind, snp_now, texts, uuids
from service.slots import parts
from service.slots.domain.release import COLUMNS
from service.slots.tables import holds, slots

_s, _h = slots.c, holds.c


_LOCK_PRACTITIONERS = text(
    "SELECT id, active FROM practitioners WHERE id = ANY(:ids) ORDER BY id FOR NO KEY UPDATE"
).bindparams(uuids("ids"))


async def lock_practitioners(uow: UnitOfWork, ids: Sequence[UUID]) -> set[UUID]:
    """Lock practitioner rows first: publishers of one agenda take turns (ADR 7).

    Returns who of them practises no more; that stays so until the transaction ends.
    """
    rows = await uow.execute(_LOCK_PRACTITIONERS, {"ids": sorted(set(ids))})
    return {row.id for row in rows if not row.active}


_OVERLAPS = text(
    """SELECT asked.n, slots.id
       FROM unnest(CAST(:practitioners AS uuid[]), CAST(:starts AS timestamptz[]),
                   CAST(:ends AS timestamptz[]))
            WITH ORDINALITY AS asked(practitioner_id, starts_at, ends_at, n)
       JOIN slots ON slots.practitioner_id = asked.practitioner_id
        AND slots.withdrawn_at IS NULL
        AND tstzrange(slots.starts_at, slots.ends_at) && tstzrange(asked.starts_at, asked.ends_at)
       WHERE NOT slots.id = ANY(:excluded)
       ORDER BY asked.n, slots.starts_at"""
).bindparams(uuids("excluded"))


async def overlapping(
    uow: UnitOfWork,
    periods: Sequence[tuple[UUID, datetime, datetime]],
    excluded: Sequence[UUID],
) -> list[tuple[int, UUID]]:
    """Return which of the periods (by position) overlap which published slots."""
    rows = await uow.execute(
        _OVERLAPS,
        {
            "practitioners": [p[0] for p in periods],
            "starts": [p[1] for p in periods],
            "ends": [p[2] for p in periods],
            "excluded": list(excluded),
        },
    )
    return [(row.n - 1, row.id) for row in rows]


_PUBLISHED = (
    select(*_s, snp_now().label("now"))
    .where(_s.external_id == func.any(texts("external_ids")))
    .order_by(_s.id)
    .with_for_update()
)
_OF_PRACTITIONER = _PUBLISHED.where(_s.practitioner_id == bind("practitioner_id", Uuid))
_OF_CENTRE = _PUBLISHED.where(
    _s.organization_id == bind("organization_id", Uuid), _s.practitioner_id.is_(None)
)


async def by_external_id(
    uow: UnitOfWork,
    practitioner_id: UUID | None,
    organization_id: UUID,
    external_ids: Sequence[str],
) -> dict[str, Row[Any]]:
    """Lock and return what practice software published before for a practitioner.

    Slots without a practitioner are their organization's.
    """
    rows = await uow.execute(
        _OF_CENTRE if practitioner_id is None else _OF_PRACTITIONER,
        {
            "practitioner_id": practitioner_id,
            "organization_id": organization_id,
            "external_ids": list(external_ids),
        },
    )
    return {row.external_id: row for row in rows}


_PUBLISHED_MEANWHILE = {"uq_slots_practitioner_external_id", "uq_slots_organization_external_id"}


async def insert_slots(uow: UnitOfWork, rows: list[dict[str, Any]]) -> None:
    """Insert new slots. Two first publications of one `external_id` that cross: run again."""
    try:
        await uow.execute(insert(slots), rows)
    except ConstraintViolated as violated:
        if violated.name in _PUBLISHED_MEANWHILE:
            await uow.rollback()
            raise TransactionLost(violated.name) from None
        raise


_STEP_ASIDE = (
    update(slots)
    .where(_s.id == func.any(uuids("ids")), _s.booked == 0)
    .values(withdrawn_at=func.coalesce(_s.withdrawn_at, snp_now()))
)


async def step_aside(uow: UnitOfWork, ids: Sequence[UUID]) -> None:
    """Take slots that will move off the agenda, so that one may move onto another's old place."""
    if ids:
        await uow.execute(_STEP_ASIDE, {"ids": sorted(ids)})


AMENDABLE = (
    "practitioner_id",
    "location_id",
    "organization_id",
    "organization_type",
    "territory",
    "zone",
    "latitude",
    "longitude",
    "reduced_mobility",
    "starts_at",
    "ends_at",
    "modes",
    "specialty",
    "visibility",
    "cpts_ids",
    "organization_types",
    "organization_ids",
    "capacity",
    "overbooking",
    "walk_in",
    "note",
    *COLUMNS.values(),
    "next_release_at",
)
_AMEND = (
    update(slots)
    .where(_s.id == bind("slot_id", Uuid))
    .values(
        **{name: bind(f"new_{name}", _s[name].type) for name in AMENDABLE},
        withdrawn_at=None,
        holds=bind("new_holds", JSONB),
        version=_s.version + 1,
        updated_at=snp_now(),
    )
)


async def amend(
    uow: UnitOfWork, slot_id: UUID, values: Mapping[str, Any], *, holds_kept: Mapping[str, Any]
) -> None:
    """Write every amendable column of a slot anew; republishes a withdrawn one."""
    await uow.execute(
        _AMEND,
        {
            "slot_id": slot_id,
            "new_holds": holds_kept,
            **{f"new_{name}": values[name] for name in AMENDABLE},
        },
    )


_LOCK = (
    select(*_s, snp_now().label("now"))
    .where(_s.id == bind("slot_id", Uuid), parts.owned())
    .with_for_update()
)


async def lock_own(uow: UnitOfWork, actor: Actor, slot_id: UUID) -> Row[Any] | None:
    """Lock and return the raw row of an own slot."""
    return (await uow.execute(_LOCK, {"slot_id": slot_id, **parts.caller(actor)})).one_or_none()


_WITHDRAW = (
    update(slots)
    .where(_s.id == bind("slot_id", Uuid), _s.withdrawn_at.is_(None), _s.booked == 0)
    .values(
        withdrawn_at=snp_now(),
        holds=literal_column("'{}'::jsonb"),
        next_release_at=None,
        version=_s.version + 1,
        updated_at=snp_now(),
    )
    .returning(_s.id)
)
_END_HOLDS = (
    update(holds)
    .where(
        _h.slot_id == bind("of_slot", Uuid),
        _h.ended_at.is_(None),
        _h.expires_at > snp_now(),  # what expired is told by itself
        _h.id != func.all(uuids("kept")),
    )
    .values(ended_at=snp_now())
)


async def withdraw(uow: UnitOfWork, slot_id: UUID) -> bool:
    """Withdraw a slot that nobody is booked on; live holds end."""
    done = (await uow.execute(_WITHDRAW, {"slot_id": slot_id})).first() is not None
    if done:
        await end_holds(uow, slot_id)
    return done


async def end_holds(uow: UnitOfWork, slot_id: UUID, kept: Iterable[str] = ()) -> None:
    """End the holds of a slot that moved, was withdrawn or has fewer seats, but for those kept."""
    await uow.execute(_END_HOLDS, {"of_slot": slot_id, "kept": [UUID(key) for key in kept]})
