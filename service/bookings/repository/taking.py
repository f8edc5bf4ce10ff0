"""Booking is one statement, made of the rooms' parts; and a seat taken or given back alone."""

from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    CTE,
    ColumnElement,
    LargeBinary,
    Row,
    Select,
    Text,
    Uuid,
    and_,
    case,
    func,
    insert,
    literal,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import JSONB

from service.bookings.domain import VITAL, Booking, BookingRequest, Full, Vital
from service.bookings.repository.reading import booking_of, columns, named, own_booking_on
from service.bookings.tables import bookings
from service.calls import parts as calls
from service.directory import reference
from service.identity import Actor, grant_is_live, grant_parameters
from service.kernel import events, idempotency
from service.kernel.db import UnitOfWork
from service.kernel.idempotency import IdempotencyKey
from service.kernel.ids import new_id
from service.kernel.prepared import Prepared
from service.kernel.sql import bind, flag, texts
from service.patients import parts as patients
from service.patients import reading_as, seal
from service.slots import parts as slots

_JSON = JSONB(none_as_null=True)

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
        "case_id": func.coalesce(bind("booking_case_id", Text), asked.c.call_case_id),
        "motive": bind("booking_motive", Text),
        "reason_text": bind("booking_reason_text", LargeBinary),
        "inform_patient": texts("booking_inform_patient"),
        "override_reason": bind("booking_override_reason", LargeBinary),
        "overbooked": and_(
            bind("hold_key", Text).is_(None), taken.c.booked + taken.c.held > taken.c.capacity
        ),
    }
    return (
        insert(bookings)
        .from_select(
            list(columns), select(*columns.values()).select_from(taken.join(asked, true()))
        )
        .returning(*bookings.c)
        .cte("booked")
    )


def _book(asked: CTE, *, brought: bool, call: bool) -> Select[Any]:
    """Compose the booking: seat, patient, booking, call, event, idempotency row, in one trip.

    Every part takes its facts from the part before it; no seat, and nothing at all is written.
    """
    taken = slots.take(grant_is_live(), using=asked)
    booked = _insert(taken, asked)
    file = (
        patients.open_file(
            taken,
            territory=taken.c.territory,
            practitioner_id=taken.c.practitioner_id,
            care_organization_id=taken.c.organization_id,
        )
        if brought
        else patients.share(
            file_id=booked.c.patient_file_id,
            territory=booked.c.territory,
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
        select(*columns(booked.c, taken.c))
        .select_from(named(booked.join(taken, true()), booked.c, taken.c))
        .add_cte(
            file,
            slots.end_hold(taken),
            *(_oriented(booked) if call else ()),
            told,
            idempotency.part(booked, func.array_append(literal([], ARRAY(Uuid)), booked.c.id)),
        )
    )


def _oriented(booked: CTE) -> tuple[CTE, ...]:
    return calls.orient(booked, booking_id=booked.c.id, file_id=booked.c.patient_file_id)


def _asked(*, brought: bool, call: bool) -> CTE:
    """Who the booking is for, and for which call.

    The call's row is locked first: what it says (its state, a vital priority) still holds when the
    seat is taken, however long that waited.
    """
    if brought:
        asked = patients.brought()
    elif call:
        asked = patients.given(
            func.coalesce(bind("given_file_id", Uuid), calls.call.c.patient_file_id), calls.call
        )
    else:
        asked = patients.given(bind("given_file_id", Uuid))
    asked = asked.add_columns(
        (calls.call.c.case_id if call else literal(None, Text)).label("call_case_id")
    )
    if call:
        asked = asked.where(calls.bookable(texts("vital_codes"))).with_for_update(
            of=calls.call, key_share=True
        )
    return asked.cte("asked")


# Four shapes: the file is brought or given, with a call or without.
_BOOK = {
    (brought, call): Prepared(_book(_asked(brought=brought, call=call), brought=brought, call=call))
    for brought in (True, False)
    for call in (True, False)
}


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
        "booking_inform_patient": sorted(asked.inform_patient) or None,
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
    if asked.patient is not None:
        file_id = new_id()
        sealed = seal(uow.vault, file_id, asked.patient)
        values |= {"file_id": file_id, **{f"file_{name}": v for name, v in sealed.items()}}
    else:
        values |= reading_as(uow.vault, actor)
    statement = _BOOK[asked.patient is not None, asked.call_id is not None]
    rows = await uow.fetch(statement, values)
    return booking_of(uow.vault, rows[0], patient=False) if rows else None


_FULL = Prepared(
    select(
        slots.all_booked(grant_is_live(), idempotency.unused()).label("overbooking_left"),
        own_booking_on(bind("seat_slot_id", Uuid)).scalar_subquery().label("own_booking"),
    )
)


async def full(
    uow: UnitOfWork, actor: Actor, asked: BookingRequest, key: IdempotencyKey | None
) -> Full | None:
    """Tell whether every seat is booked, and nothing else is to be said to this caller.

    What most rivals are told, in one statement: among others, that the key stands for nothing.
    """
    (row,) = await uow.fetch(
        _FULL,
        {
            **slots.seat(asked.slot_id, asked.hold_id, overbook=asked.overbook),
            **slots.caller(actor),
            **grant_parameters(actor),
            **idempotency.parameters(key),
        },
    )
    left = row["overbooking_left"]
    return None if left is None else Full(left, row["own_booking"])


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
