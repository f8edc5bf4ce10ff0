"""Every SQL statement of the room."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    Boolean,
    ColumnElement,
    Integer,
    LargeBinary,
    RowMapping,
    Text,
    Uuid,
    and_,
    delete,
    func,
    insert,
    literal,
    or_,
    select,
    text,
    union_all,
    update,
)

from service.bookings import BookingState, CancelledBy
from service.bookings.parts import booking
from service.calendar.domain import CalendarToken, Opened, Place, Seat
from service.calendar.tables import calendar_tokens
from service.directory import parts as directory
from service.directory import reference
from service.identity import Actor, right_ended, still_acts
from service.kernel.db import UnitOfWork
from service.kernel.sql import bind, snp_now, uuids
from service.kernel.tables import Instant
from service.slots import Mode
from service.slots.parts import slot

_t, _b, _s = calendar_tokens.c, booking.c, slot.c
_p, _place = directory.practitioner.c, directory.location.c

# --- tokens -------------------------------------------------------------------------------------

_of_practitioner = _t.practitioner_id == bind("of_practitioner", Uuid)
_opens = and_(
    _t.revoked_at.is_(None),
    _p.active,
    still_acts(_t.practitioner_id, grant_id=_t.grant_id, client_id=_t.client_id),
)
_named = calendar_tokens.join(directory.practitioner, _p.id == _t.practitioner_id)
_told = (_t.id, _t.practitioner_id, _t.name, _t.created_at, _t.last_used_at)
_TOLD = select(*_told, directory.zone_of(_p.territory)).select_from(_named)
_ADD = insert(calendar_tokens)


async def add(
    uow: UnitOfWork, token_id: UUID, actor: Actor, practitioner_id: UUID, name: str, digest: bytes
) -> None:
    """Insert a token; of its secret, the digest."""
    await uow.execute(
        _ADD,
        {
            "id": token_id,
            "practitioner_id": practitioner_id,
            "name": name,
            "digest": digest,
            "grant_id": actor.grant_id,
            "client_id": actor.client_id,
        },
    )


_OPEN = _TOLD.where(_of_practitioner, _opens).order_by(_t.id.desc())


async def tokens(uow: UnitOfWork, practitioner_id: UUID) -> list[CalendarToken]:
    """Return the tokens that open a practitioner's calendar now, newest first."""
    rows = await uow.execute(_OPEN, {"of_practitioner": practitioner_id})
    return [CalendarToken(**row) for row in rows.mappings()]


_FIND = _TOLD.where(_t.id == bind("token_id", Uuid), _of_practitioner)


async def find(uow: UnitOfWork, practitioner_id: UUID, token_id: UUID) -> CalendarToken | None:
    """Return a token of a practitioner, revoked or not."""
    values = {"token_id": token_id, "of_practitioner": practitioner_id}
    row = (await uow.execute(_FIND, values)).mappings().one_or_none()
    return None if row is None else CalendarToken(**row)


_REVOKE = (
    update(calendar_tokens)
    .where(_t.id == bind("token_id", Uuid), _t.revoked_at.is_(None))
    .values(revoked_at=snp_now())
)


async def revoke(uow: UnitOfWork, token_id: UUID) -> bool:
    """Revoke a token; False when it was revoked already."""
    return (await uow.execute(_REVOKE, {"token_id": token_id})).rowcount == 1


_OPENED = (
    select(
        _t.id.label("token_id"),
        _t.practitioner_id,
        (_p.given_name + " " + _p.family_name).label("practitioner"),
        or_(
            _t.last_used_at.is_(None),
            _t.last_used_at < snp_now() - text("interval '1 hour'"),
            _t.digest != bind("newest", LargeBinary),
        ).label("unremembered"),
    )
    .select_from(_named)
    .where(_t.digest == func.any(bind("digests", ARRAY(LargeBinary))), _of_practitioner, _opens)
)


async def opened(uow: UnitOfWork, practitioner_id: UUID, digests: Sequence[bytes]) -> Opened | None:
    """Return the calendar that a secret opens now; the first digest is by the key that makes."""
    values = {
        "digests": list(digests),
        "newest": digests[0],
        "of_practitioner": practitioner_id,
    }
    row = (await uow.single(_OPENED, values)).mappings().one_or_none()
    return None if row is None else Opened(**row)


_USED = (
    update(calendar_tokens)
    .where(_t.id == bind("token_id", Uuid))
    .values(last_used_at=snp_now(), digest=bind("newest", LargeBinary))
)


async def remember_use(uow: UnitOfWork, token_id: UUID, digest: bytes) -> None:
    """Keep that a token was used now, and its secret under the key that makes digests."""
    await uow.single(_USED, {"token_id": token_id, "newest": digest})


_ended = or_(
    _t.revoked_at < bind("before", Instant),
    right_ended(_t.grant_id, _t.client_id, before=bind("before", Instant)),
)
_ENDED = select(_t.id).where(_ended).order_by(_t.id)
_DELETE = delete(calendar_tokens).where(_t.id == func.any(uuids("ids")), _ended)


async def ended(uow: UnitOfWork, before: datetime) -> list[UUID]:
    """Return the tokens that were revoked, or whose maker's right ended, before an instant."""
    return list((await uow.execute(_ENDED, {"before": before})).scalars())


async def remove(uow: UnitOfWork, token_ids: Sequence[UUID], before: datetime) -> None:
    """Delete those of some tokens that are `ended`."""
    await uow.execute(_DELETE, {"ids": list(token_ids), "before": before})


# --- what a calendar shows ----------------------------------------------------------------------


def _shown(thing: Any, **own: ColumnElement[Any]) -> list[ColumnElement[Any]]:
    """Return the columns of a seat, in the one order that a union needs."""
    return [
        *(value.label(name) for name, value in own.items()),
        *(thing[name] for name in ("id", "starts_at", "ends_at")),
        *(thing[name] for name in ("version", "created_at", "updated_at")),
        _s.modes,
        *(_place[name].label(f"place_{name}") for name in ("name", "address", "postal_code")),
        _place.commune.label("place_commune"),
        snp_now().label("now"),
    ]


def _whose(thing: Any) -> ColumnElement[bool]:
    return and_(
        thing.practitioner_id == bind("of_practitioner", Uuid),
        thing.starts_at >= snp_now() - text("interval '30 days'"),
        thing.starts_at < snp_now() + text("interval '90 days'"),
    )


_at_place = _place.id == _s.location_id
_SLOTS = (
    select(
        *_shown(
            _s,
            state=literal(None, Text),
            cancelled_by=literal(None, Text),
            free=_s.capacity - _s.booked,
            withdrawn=_s.withdrawn_at.is_not(None),
            walk_in=_s.walk_in,
        )
    )
    .select_from(slot.join(directory.location, _at_place))
    .where(_whose(_s), or_(_s.withdrawn_at.is_not(None), _s.booked < _s.capacity))
)
_BOOKINGS = (
    select(
        *_shown(
            _b,
            state=_b.state,
            cancelled_by=_b.cancelled_by,
            free=literal(0, Integer),
            withdrawn=literal(False, Boolean),
            walk_in=literal(False, Boolean),
        )
    )
    .select_from(booking.join(slot, _s.id == _b.slot_id).join(directory.location, _at_place))
    .where(_whose(_b))
)
# One statement: a seat that is booked meanwhile is not shown twice, or not at all.
_SEATS = union_all(_SLOTS, _BOOKINGS).order_by("starts_at", "id")


def _seat(row: RowMapping) -> Seat:
    commune = reference.commune(row["place_commune"])
    return Seat(
        state=row["state"] and BookingState(row["state"]),
        cancelled_by=row["cancelled_by"] and CancelledBy(row["cancelled_by"]),
        modes=[Mode(mode) for mode in row["modes"]],
        place=Place(
            row["place_name"],
            row["place_address"],
            row["place_postal_code"],
            commune.name if commune else None,
        ),
        **{
            name: row[name]
            for name in (
                *("id", "free", "withdrawn", "walk_in", "starts_at", "ends_at"),
                *("version", "created_at", "updated_at", "now"),
            )
        },
    )


async def seats(uow: UnitOfWork, practitioner_id: UUID) -> list[Seat]:
    """Return a practitioner's bookings, free seats and withdrawn slots, by start.

    Those that start from 30 days ago until in 90 days.
    """
    rows = await uow.single(_SEATS, {"of_practitioner": practitioner_id})
    return [_seat(row) for row in rows.mappings()]
