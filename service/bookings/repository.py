"""Every SQL statement of the room. Booking is one statement, made of the rooms' parts."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    CTE,
    ColumnElement,
    Integer,
    LargeBinary,
    Row,
    RowMapping,
    Select,
    Text,
    Uuid,
    and_,
    case,
    func,
    insert,
    literal,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB

from service.bookings.domain import VITAL, Booking, BookingRequest, BookingState, CancelledBy, Vital
from service.bookings.tables import bookings
from service.calls import parts as calls
from service.directory import parts as directory
from service.directory import reference
from service.identity import Actor, grant_is_live, grant_parameters
from service.kernel import events, idempotency
from service.kernel.crypto import Vault
from service.kernel.db import UnitOfWork
from service.kernel.idempotency import IdempotencyKey
from service.kernel.ids import new_id
from service.kernel.sql import bind, flag, snp_now, texts, uuids
from service.kernel.tables import Instant
from service.patients import parts as patients
from service.patients import seal, unseal
from service.slots import parts as slots

_b = bookings.c
_JSON = JSONB(none_as_null=True)
_ENCRYPTED = ("reason_text", "override_reason", "cancel_reason", "report_detail")

# --- reading ------------------------------------------------------------------------------------


def _columns(booking: Any, slot: Any) -> list[ColumnElement[Any]]:
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


def _named(source: Any, booking: Any, slot: Any) -> Any:
    who, place = directory.practitioner, directory.location
    return source.outerjoin(who, who.c.id == booking.practitioner_id).join(
        place, place.c.id == slot.location_id
    )


def _requester() -> ColumnElement[bool]:
    return and_(flag("caller_books"), _b.organization_id == bind("caller_organization_id", Uuid))


def _doctor() -> ColumnElement[bool]:
    return and_(
        flag("caller_publishes"),
        or_(
            _b.practitioner_id == func.any(uuids("caller_practitioner_ids")),
            and_(
                _b.practitioner_id.is_(None),
                _b.practitioner_organization_id == bind("caller_organization_id", Uuid),
            ),
        ),
    )


def _read() -> Select[Any]:
    slot, file = slots.slot, patients.file
    source = bookings.join(slot, slot.c.id == _b.slot_id).join(
        file, file.c.id == _b.patient_file_id
    )
    return select(
        *_columns(_b, slot.c),
        _requester().label("requester_side"),
        _doctor().label("doctor_side"),
        *patients.identity_columns(),
    ).select_from(_named(source, _b, slot.c))


def _booking(vault: Vault, row: RowMapping, *, patient: bool) -> Booking:
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


_ANY = _read().where(_b.id == bind("booking_id", Uuid))
_FIND = _ANY.where(or_(_requester(), _doctor()))


async def find(
    uow: UnitOfWork, actor: Actor, booking_id: UUID
) -> tuple[Booking, bool, bool] | None:
    """Return a booking of the caller's, and whether on the requester's and the doctor's side."""
    row = (
        (await uow.single(_FIND, {"booking_id": booking_id, **slots.caller(actor)}))
        .mappings()
        .one_or_none()
    )
    if row is None:
        return None
    booking = _booking(uow.vault, row, patient=True)
    return booking, row["requester_side"], row["doctor_side"]


async def find_moved(uow: UnitOfWork, actor: Actor, booking_id: UUID) -> Booking:
    """Return a booking that the caller has just moved, maybe to a doctor it does not act for."""
    row = (await uow.execute(_ANY, {"booking_id": booking_id, **slots.caller(actor)})).mappings()
    return _booking(uow.vault, row.one(), patient=True)


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
def _list(shape: tuple[str, ...]) -> Select[Any]:
    return (
        _read()
        .where(or_(_requester(), _doctor()), *(_FILTERS[name] for name in shape))
        .order_by(_b.id.desc())
        .limit(bind("limit", Integer))
    )


async def list_mine(
    uow: UnitOfWork, actor: Actor, wanted: Mapping[str, Any], limit: int
) -> list[Booking]:
    """Return the caller's bookings, newest first, one more than the page holds."""
    given = {name: value for name, value in wanted.items() if value is not None}
    values = {**slots.caller(actor), **given, "limit": limit + 1}
    rows = await uow.single(_list(tuple(given)), values)
    return [_booking(uow.vault, row, patient=True) for row in rows.mappings()]


# --- booking: one statement ---------------------------------------------------------------------

VITAL_CODES = sorted(
    {
        code
        for code in (
            *reference.code_list("motives"),
            *reference.code_list("priorities"),
            *reference.code_list("care_levels"),
        )
        if (VITAL.get(code) or VITAL.get(code.partition(".")[0])) is Vital.REFUSE
    }
)


def _event_data(booking: Any) -> ColumnElement[Any]:
    return func.jsonb_build_object(
        *(
            item
            for name in (
                "state",
                "slot_id",
                "practitioner_id",
                "practitioner_organization_id",
                "organization_id",
                "starts_at",
                "ends_at",
                "case_id",
                "call_id",
            )
            for item in (name, booking[name])
        )
    )


def _insert(taken: CTE, asked: CTE) -> CTE:
    salted = func.sha256(asked.c.patient_key.op("||")(func.uuid_send(bind("booking_id", Uuid))))
    columns: dict[str, ColumnElement[Any]] = {
        "id": bind("booking_id", Uuid),
        "slot_id": taken.c.id,
        "patient_file_id": asked.c.id,
        "patient_key": case((flag("overrides"), salted), else_=asked.c.patient_key),
        "starts_at": taken.c.starts_at,
        "ends_at": taken.c.ends_at,
        "practitioner_id": taken.c.practitioner_id,
        "practitioner_organization_id": taken.c.organization_id,
        "territory": taken.c.territory,
        "organization_id": bind("caller_organization_id", Uuid),
        "organization_type": bind("caller_organization_type", Text),
        "client_id": bind("event_client_id", Uuid),
        "role": bind("event_role", Text),
        "person": bind("event_person", _JSON),
        "on_behalf_of": bind("booking_on_behalf_of", _JSON),
        "call_id": bind("call_id", Uuid),
        "case_id": bind("booking_case_id", Text),
        "motive": bind("booking_motive", Text),
        "reason_text": bind("booking_reason_text", LargeBinary),
        "override_reason": bind("booking_override_reason", LargeBinary),
        "overbooked": taken.c.booked > taken.c.capacity,
    }
    return (
        insert(bookings)
        .from_select(
            list(columns), select(*columns.values()).select_from(taken.join(asked, true()))
        )
        .returning(*bookings.c)
        .cte("booked")
    )


def _book(asked: CTE, *, brought: bool) -> Select[Any]:
    """Compose the booking: seat, patient, booking, call, event, idempotency row, in one trip.

    Every part takes its facts from the part before it; no seat, and nothing at all is written.
    """
    taken = slots.take(
        grant_is_live(),
        or_(bind("call_id", Uuid).is_(None), calls.bookable_call()),
        or_(
            flag("overrides"),
            bind("call_id", Uuid).is_(None),
            ~calls.call_has_code(texts("vital_codes")),
        ),
        using=asked,
    )
    booked = _insert(taken, asked)
    side: dict[str, Any] = {
        "practitioner_id": taken.c.practitioner_id,
        "care_organization_id": taken.c.organization_id,
    }
    file = (
        patients.open_file(taken, territory=taken.c.territory, **side)
        if brought
        else patients.share(
            file_id=booked.c.patient_file_id,
            practitioner_id=booked.c.practitioner_id,
            care_organization_id=booked.c.practitioner_organization_id,
        )
    )
    told = events.part(
        "booking.created",
        booked,
        subject=booked.c.id,
        territory=booked.c.territory,
        data=_event_data(booked.c),
    )
    return (
        select(*_columns(booked.c, taken.c))
        .select_from(_named(booked.join(taken, true()), booked.c, taken.c))
        .add_cte(
            file,
            slots.end_hold(taken),
            *calls.orient(booked, booking_id=booked.c.id),
            told,
            idempotency.part(booked, func.array_append(literal([], ARRAY(Uuid)), booked.c.id)),
        )
    )


_BOOK_BROUGHT = _book(patients.brought(), brought=True)
_BOOK_GIVEN = _book(
    patients.given(func.coalesce(bind("given_file_id", Uuid), calls.call_file())), brought=False
)


async def book(
    uow: UnitOfWork, actor: Actor, asked: BookingRequest, key: IdempotencyKey | None
) -> Booking | None:
    """Book in one statement that commits by itself; None when no seat could be taken."""
    booking_id = new_id()
    values = {
        "booking_id": booking_id,
        "given_file_id": asked.patient_file_id,
        "call_id": asked.call_id,
        "outcome_id": new_id(),
        "booking_case_id": asked.case_id,
        "booking_motive": asked.motive,
        "booking_on_behalf_of": asked.on_behalf_of,
        "overrides": asked.override is not None,
        "vital_codes": VITAL_CODES,
        "booking_reason_text": uow.vault.encrypt(
            asked.reason_text, column="bookings.reason_text", row=booking_id
        ),
        "booking_override_reason": uow.vault.encrypt(
            asked.override.reason if asked.override else None,
            column="bookings.override_reason",
            row=booking_id,
        ),
        **slots.seat(asked.slot_id, asked.hold_id, overbook=asked.overbook),
        **slots.caller(actor),
        **grant_parameters(actor),
        **actor.origin.parameters(),
        **idempotency.parameters(key),
    }
    statement = _BOOK_GIVEN
    if asked.patient is not None:
        file_id = new_id()
        sealed = seal(uow.vault, file_id, asked.patient)
        values |= {"file_id": file_id, **{f"file_{name}": v for name, v in sealed.items()}}
        statement = _BOOK_BROUGHT
    row = (await uow.single(statement, values)).mappings().one_or_none()
    return None if row is None else _booking(uow.vault, row, patient=False)


# --- changing -----------------------------------------------------------------------------------

_LOCK = select(_b.id).where(_b.id == bind("booking_id", Uuid)).with_for_update()


async def lock(uow: UnitOfWork, booking_id: UUID) -> None:
    """Lock a booking row: first of all, before any slot (design §4.5)."""
    await uow.execute(_LOCK, {"booking_id": booking_id})


_LOCK_SLOTS = (
    select(slots.slot.c.id)
    .where(slots.slot.c.id == func.any(uuids("slot_ids")))
    .order_by(slots.slot.c.id)
    .with_for_update()
)


async def lock_slots(uow: UnitOfWork, slot_ids: Sequence[UUID]) -> None:
    """Lock slot rows in the order of their ids."""
    await uow.execute(_LOCK_SLOTS, {"slot_ids": sorted(slot_ids)})


_TAKE = slots.take(grant_is_live())
_TAKE_SEAT = select(_TAKE).add_cte(slots.end_hold(_TAKE))


async def take_seat(
    uow: UnitOfWork, actor: Actor, slot_id: UUID, hold_id: UUID | None
) -> Row[Any] | None:
    """Take a seat of another slot for a booking that moves."""
    return (
        await uow.execute(
            _TAKE_SEAT,
            {
                **slots.seat(slot_id, hold_id),
                **slots.caller(actor),
                **grant_parameters(actor),
            },
        )
    ).one_or_none()


_GIVEN_BACK = slots.give_back(bind("slot_id", Uuid))
_GIVE_BACK = select(_GIVEN_BACK.c.id)


async def give_back(uow: UnitOfWork, slot_id: UUID) -> None:
    """Give a seat back."""
    await uow.execute(_GIVE_BACK, {"slot_id": slot_id})


_MOVE = (
    update(bookings)
    .where(_b.id == bind("of_booking", Uuid))
    .values(
        **{
            name: bind(f"new_{name}", _b[name].type)
            for name in (
                "slot_id",
                "starts_at",
                "ends_at",
                "practitioner_id",
                "practitioner_organization_id",
                "territory",
            )
        },
        overbooked=False,
        version=_b.version + 1,
        updated_at=snp_now(),
    )
)


async def move(uow: UnitOfWork, booking_id: UUID, taken: Row[Any]) -> None:
    """Put a booking on the slot whose seat was just taken."""
    await uow.execute(
        _MOVE,
        {
            "of_booking": booking_id,
            "new_slot_id": taken.id,
            "new_starts_at": taken.starts_at,
            "new_ends_at": taken.ends_at,
            "new_practitioner_id": taken.practitioner_id,
            "new_practitioner_organization_id": taken.organization_id,
            "new_territory": taken.territory,
        },
    )


_CARE = select(
    func.coalesce(
        func.array_agg(_b.practitioner_id.distinct()).filter(_b.practitioner_id.is_not(None)),
        literal([], ARRAY(Uuid)),
    ).label("practitioner_ids"),
    func.coalesce(
        func.array_agg(_b.practitioner_organization_id.distinct()).filter(
            _b.practitioner_id.is_(None)
        ),
        literal([], ARRAY(Uuid)),
    ).label("organization_ids"),
).where(_b.patient_file_id == bind("file_id", Uuid))


async def care_of(uow: UnitOfWork, file_id: UUID) -> tuple[list[UUID], list[UUID]]:
    """Return which practitioners, and which centres with nobody named, have these bookings."""
    row = (await uow.execute(_CARE, {"file_id": file_id})).one()
    return list(row.practitioner_ids), list(row.organization_ids)


_CANCEL = (
    update(bookings)
    .where(_b.id == bind("of_booking", Uuid))
    .values(
        state=BookingState.CANCELLED,
        cancelled_by=bind("new_cancelled_by", Text),
        cancelled_at=snp_now(),
        cancel_reason=bind("new_cancel_reason", LargeBinary),
        version=_b.version + 1,
        updated_at=snp_now(),
    )
)


async def cancel(uow: UnitOfWork, booking_id: UUID, by: CancelledBy, reason: str | None) -> None:
    """Write a cancellation."""
    sealed = uow.vault.encrypt(reason, column="bookings.cancel_reason", row=booking_id)
    await uow.execute(
        _CANCEL,
        {"of_booking": booking_id, "new_cancelled_by": by, "new_cancel_reason": sealed},
    )


_REPORT = (
    update(bookings)
    .where(_b.id == bind("of_booking", Uuid))
    .values(
        state=bind("new_state", Text),
        report_detail=bind("new_report_detail", LargeBinary),
        sent_to_emergency=flag("new_sent_to_emergency"),
        reported_at=func.coalesce(_b.reported_at, snp_now()),
        version=_b.version + 1,
        updated_at=snp_now(),
    )
)


async def report(
    uow: UnitOfWork,
    booking_id: UUID,
    state: BookingState,
    *,
    detail: str | None,
    sent_to_emergency: bool,
) -> None:
    """Write what happened; `reported_at` stays the instant of the first report."""
    sealed = uow.vault.encrypt(detail, column="bookings.report_detail", row=booking_id)
    await uow.execute(
        _REPORT,
        {
            "of_booking": booking_id,
            "new_state": state,
            "new_report_detail": sealed,
            "new_sent_to_emergency": sent_to_emergency,
        },
    )


_OVERLAPPING = select(_b.id).where(
    _b.patient_key == bind("key", LargeBinary),
    _b.state == BookingState.BOOKED,
    func.tstzrange(_b.starts_at, _b.ends_at).bool_op("&&")(
        select(func.tstzrange(slots.slot.c.starts_at, slots.slot.c.ends_at))
        .where(slots.slot.c.id == bind("slot_id", Uuid))
        .scalar_subquery()
    ),
    or_(_requester(), _doctor()),
)


async def overlapping(
    uow: UnitOfWork, actor: Actor, slot_id: UUID, patient_key: bytes
) -> UUID | None:
    """Return the person's live booking at that time, if the caller may see it."""
    found: UUID | None = (
        await uow.single(
            _OVERLAPPING, {"key": patient_key, "slot_id": slot_id, **slots.caller(actor)}
        )
    ).scalar()
    return found
