"""How a booking is read: by its two sides, or just after it was made."""

from collections.abc import Collection, Mapping
from functools import cache
from hashlib import sha256
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    FromClause,
    Integer,
    LargeBinary,
    Select,
    Text,
    Uuid,
    and_,
    column,
    func,
    or_,
    select,
    true,
    union,
)
from sqlalchemy.dialects.postgresql import JSONB

from service.audit import parts as traces
from service.bookings.domain import Booking, BookingState, CancelledBy, Inform, Made
from service.bookings.tables import bookings
from service.directory import parts as directory
from service.identity import Actor
from service.kernel.crypto import Vault
from service.kernel.db import UnitOfWork
from service.kernel.prepared import Prepared, Row
from service.kernel.sql import bind, flag, snp_now, uuids
from service.kernel.tables import Instant
from service.kernel.wall import seeking
from service.patients import own_key, reading_as, unseal
from service.patients import parts as patients
from service.slots import parts as slots

_b = bookings.c
_JSON = JSONB(none_as_null=True)
_ENCRYPTED = ("reason_text", "override_reason", "cancel_reason", "report_detail")


def columns(booking: Any, slot: Any) -> list[ColumnElement[Any]]:
    """What a booking is rendered from, whether it was read or has just been made."""
    return [
        *booking,
        slot.zone,
        slot.location_id,
        slot.modes.label("slot_modes"),
        slot.specialty.label("slot_specialty"),
        slot.note.label("slot_note"),
        snp_now().label("now"),
        *directory.card_columns(),
    ]


def named(source: Any, booking: Any, slot: Any) -> Any:
    who, place = directory.practitioner, directory.location
    return source.outerjoin(who, who.c.id == booking.practitioner_id).join(
        place, place.c.id == slot.location_id
    )


def _requester() -> ColumnElement[bool]:
    return and_(flag("caller_books"), _b.organization_id == bind("caller_organization_id", Uuid))


def _doctor() -> ColumnElement[bool]:
    return and_(flag("caller_publishes"), or_(_of_practitioners(), _of_centre()))


def _of_practitioners() -> ColumnElement[bool]:
    return _b.practitioner_id == func.any(uuids("caller_practitioner_ids"))


def _of_centre() -> ColumnElement[bool]:
    return and_(
        _b.practitioner_id.is_(None),
        _b.practitioner_organization_id == bind("caller_organization_id", Uuid),
    )


def _read() -> Select[Any]:
    slot, reads = slots.slot, patients.reading()
    file = patients.files(reads, patients.file.c.id == _b.patient_file_id)
    source = reads.join(bookings, true()).join(slot, slot.c.id == _b.slot_id).join(file, true())
    return select(
        *columns(_b, slot.c),
        _requester().label("requester_side"),
        _doctor().label("doctor_side"),
        *patients.identity_columns(file),
    ).select_from(named(source, _b, slot.c))


def booking_of(vault: Vault, row: Row, *, patient: bool) -> Booking:
    opened = {
        name: vault.decrypt(row[name], column=f"bookings.{name}", row=row["id"])
        for name in _ENCRYPTED
    }
    return Booking(
        id=row["id"],
        state=BookingState(row["state"]),
        slot={
            "id": row["slot_id"],
            "modes": row["slot_modes"],
            "specialty": row["slot_specialty"],
            "note": row["slot_note"],
        },
        zone=row["zone"],
        practitioner=directory.practitioner_card(row),
        location=directory.location_card(row),
        practitioner_id=row["practitioner_id"],
        practitioner_organization_id=row["practitioner_organization_id"],
        patient_file_id=row["patient_file_id"],
        patient=unseal(vault, row["patient_file_id"], row, "patient_") if patient else None,
        patient_identified=_identified(vault, row),
        territory=row["territory"],
        starts_at=row["starts_at"],
        ends_at=row["ends_at"],
        organization_id=row["organization_id"],
        organization_type=row["organization_type"],
        role=row["role"],
        person=row["person"],
        on_behalf_of=row["on_behalf_of"],
        call_id=row["call_id"],
        case_id=row["case_id"],
        motive=row["motive"],
        inform_patient=frozenset(map(Inform, row["inform_patient"] or ())),
        overbooked=row["overbooked"],
        cancelled_by=row["cancelled_by"] and CancelledBy(row["cancelled_by"]),
        cancelled_at=row["cancelled_at"],
        reported_at=row["reported_at"],
        sent_to_emergency=row["sent_to_emergency"],
        version=row["version"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        now=row["now"],
        **opened,
    )


_MADE = select(_b.id, _b.created_at, _b.person).where(_b.id == func.any(uuids("ids")))


async def made(uow: UnitOfWork, ids: Collection[UUID]) -> dict[UUID, Made]:
    """Return when bookings were made and by whom."""
    rows = await uow.single(_MADE, {"ids": list(ids)})
    return {row.id: Made(row.created_at, row.person) for row in rows}


def _identified(vault: Vault, row: Row) -> bool:
    """Tell whether the key is a person's: an incomplete identity has its file's own, or none."""
    key, alone = row["patient_key"], own_key(vault, row["patient_file_id"])
    if row["override_reason"] is not None:
        alone = sha256(alone + row["id"].bytes).digest()  # as the booking statement salts it
    return key is not None and key != alone


_THIS = _b.id == bind("booking_id", Uuid)
_ANY = _read().where(_THIS)
_FIND = _read().where(_THIS, or_(_requester(), _doctor()))


def _shown(operation: str, found: Select[Any]) -> Select[Any]:
    """What is found, with the trace that it was shown."""
    rows = found.cte("found")
    return select(rows).add_cte(traces.shown(operation, rows))


_SHOW = _shown("bookings.read", _FIND)


def _caller(vault: Vault, actor: Actor) -> dict[str, Any]:
    return {**slots.caller(actor), **reading_as(vault, actor)}


async def find(
    uow: UnitOfWork, actor: Actor, booking_id: UUID
) -> tuple[Booking, bool, bool] | None:
    """Return a booking of the caller's, and whether on the requester's and the doctor's side.

    For who has changed it or is about to: its event tells.
    """
    row = (
        (await uow.single(_FIND, {"booking_id": booking_id, **_caller(uow.vault, actor)}))
        .mappings()
        .one_or_none()
    )
    if row is None:
        return None
    booking = booking_of(uow.vault, row, patient=True)
    return booking, row["requester_side"], row["doctor_side"]


async def show(uow: UnitOfWork, actor: Actor, booking_id: UUID) -> Booking | None:
    """Return a booking of the caller's, and trace that it was shown."""
    values = {"booking_id": booking_id, **_caller(uow.vault, actor), **traces.who(actor)}
    row = (await uow.single(_SHOW, values)).mappings().one_or_none()
    return None if row is None else booking_of(uow.vault, row, patient=True)


def _of_moved(vault: Vault, actor: Actor, file_id: UUID) -> dict[str, Any]:
    return {**slots.caller(actor), **seeking(vault, file_id)}


async def find_moved(uow: UnitOfWork, actor: Actor, booking_id: UUID, file_id: UUID) -> Booking:
    """Return a booking that the caller has just moved, maybe to a doctor it does not act for."""
    values = {"booking_id": booking_id, **_of_moved(uow.vault, actor, file_id)}
    return booking_of(uow.vault, (await uow.execute(_ANY, values)).mappings().one(), patient=True)


_SHOW_MOVED = _shown("bookings.read", _ANY)
_FILE_OF = select(_b.patient_file_id).where(_THIS)


async def show_moved(uow: UnitOfWork, actor: Actor, booking_id: UUID) -> Booking:
    """Return a booking that the caller moved before, and trace that it was shown."""
    file_id = (await uow.single(_FILE_OF, {"booking_id": booking_id})).scalar_one()
    values = {
        "booking_id": booking_id,
        **_of_moved(uow.vault, actor, file_id),
        **traces.who(actor),
    }
    row = (await uow.single(_SHOW_MOVED, values)).mappings().one()
    return booking_of(uow.vault, row, patient=True)


_OF_FILE = select(_b.id).where(_b.patient_file_id == bind("file_id", Uuid))


async def of_file(uow: UnitOfWork, file_id: UUID) -> list[UUID]:
    """Return every booking on a file."""
    return list((await uow.single(_OF_FILE, {"file_id": file_id})).scalars())


_FILTERS: Mapping[str, ColumnElement[bool]] = {
    "state": _b.state == bind("state", Text),
    "from_": _b.starts_at >= bind("from_", Instant),
    "to": _b.starts_at < bind("to", Instant),
    "case_id": _b.case_id == bind("case_id", Text),
    "slot": _b.slot_id == bind("slot", Uuid),
    "updated_since": _b.updated_at >= bind("updated_since", Instant),
    "before": _b.id < bind("before", Uuid),
}


@cache
def _list(shape: tuple[str, ...], *, doctor: bool) -> Select[Any]:
    """One branch for each side, each with an index of its own.

    As one OR the planner, once it plans for any parameters, walks all bookings from the newest.
    """

    def newest(side: ColumnElement[bool]) -> Select[Any]:
        return (
            select(_b.id)
            .where(side, *(_FILTERS[name] for name in shape))
            .order_by(_b.id.desc())
            .limit(bind("limit", Integer))
        )

    branches: list[FromClause] = [
        newest(_b.organization_id == bind("caller_organization_id", Uuid)).subquery()
    ]
    if doctor:  # each practitioner's by themselves, for the same reason
        theirs = func.unnest(uuids("caller_practitioner_ids")).table_valued(column("id", Uuid))
        whose = theirs.render_derived("whose")
        each = newest(_b.practitioner_id == whose.c.id).correlate(whose).lateral()
        branches += [
            select(each.c.id).select_from(whose.join(each, true())).subquery(),
            newest(_of_centre()).subquery(),
        ]
    mine = union(*(select(branch.c.id) for branch in branches)).subquery()
    return traces.page(
        "bookings.list",
        _read()
        .where(_b.id.in_(select(mine.c.id)))
        .order_by(_b.id.desc())
        .limit(bind("limit", Integer)),
    )


async def list_mine(
    uow: UnitOfWork, actor: Actor, wanted: Mapping[str, Any], limit: int
) -> list[Booking]:
    """Return the caller's bookings, newest first, one more than the page holds; trace them."""
    given = {name: value for name, value in wanted.items() if value is not None}
    values = {**_caller(uow.vault, actor), **traces.who(actor), **given, "limit": limit + 1}
    rows = await uow.single(_list(tuple(given), doctor=actor.publishes), values)
    return [booking_of(uow.vault, row, patient=True) for row in rows.mappings()]


_READS = patients.reading()
_FILE = patients.files(_READS, patients.file.c.id == bind("file_id", Uuid))
_KEY_OF_FILE = select(_FILE.c.patient_key).select_from(_READS.join(_FILE, true())).scalar_subquery()
_PERIOD = (
    select(func.tstzrange(slots.slot.c.starts_at, slots.slot.c.ends_at))
    .where(slots.slot.c.id == bind("slot_id", Uuid))
    .scalar_subquery()
)
_OVERLAPPING = select(_b.id).where(
    or_(
        _b.patient_file_id == bind("file_id", Uuid),
        _b.patient_key == func.coalesce(bind("key", LargeBinary), _KEY_OF_FILE),
    ),
    _b.state == BookingState.BOOKED,
    func.tstzrange(_b.starts_at, _b.ends_at).bool_op("&&")(_PERIOD),
    or_(_requester(), _doctor()),
)


async def overlapping(
    uow: UnitOfWork,
    actor: Actor,
    slot_id: UUID,
    *,
    file_id: UUID | None,
    patient_key: bytes | None = None,
) -> list[UUID]:
    """Return a patient's live bookings at a slot's time, those that the caller may see."""
    found = await uow.single(
        _OVERLAPPING,
        {
            "file_id": file_id,
            "key": patient_key,
            "slot_id": slot_id,
            **_caller(uow.vault, actor),
        },
    )
    return list(found.scalars())


def own_booking_on(slot_id: ColumnElement[Any]) -> Select[Any]:
    """The last booking that the caller's organization made of a slot, if any stands."""
    return (
        select(_b.id)
        .where(_b.slot_id == slot_id, _b.state != BookingState.CANCELLED, _requester())
        .order_by(_b.id.desc())
        .limit(1)
    )


_OWN_ON = Prepared(own_booking_on(bind("slot_id", Uuid)))


async def own_on(uow: UnitOfWork, actor: Actor, slot_id: UUID) -> UUID | None:
    """Return the last booking that the caller's organization made of a slot, if any stands."""
    rows = await uow.fetch(_OWN_ON, {"slot_id": slot_id, **slots.caller(actor)})
    return rows[0]["id"] if rows else None
