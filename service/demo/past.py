"""Appointments that are over and not reported yet, so that the report can be tried at once.

Nobody publishes or books in the past: the rows are written as they would stand, had the doctor and
the regulation done so in time. Who has something to report already gets no more.
"""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any

from service import directory, patients
from service.demo import live
from service.demo.indre_people import colleague
from service.demo.indre_people import directory as people
from service.demo.indre_places import CENTRE
from service.demo.indre_time import ZONE, local
from service.directory import Place
from service.identity import Role
from service.kernel import events
from service.kernel.db import Database, UnitOfWork
from service.kernel.events import Origin
from service.kernel.ids import new_id
from service.kernel.sql import bind, uuids
from service.kernel.tables import Instant
from service.patients import Patient
from service.schema import metadata
from service.slots import SlotDraft

_OVER = 9  # o'clock: earlier in the day, the appointments of yesterday are over
_DAY, _BOOKED_BEFORE = timedelta(days=1), timedelta(hours=2)
_MOTIVE = "M03.14"
# One for each appointment of a day: nobody is at two doctors' at a time.
_PATIENTS = (
    ("Alouette", "Rose", "F"), ("Bergeronnette", "Paul", "M"), ("Cigogne", "Zoé", "F"),
    ("Draine", "Hugo", "M"), ("Engoulevent", "Inès", "F"), ("Foulque", "Jean", "M"),
    ("Gorgebleue", "Lina", "F"), ("Huppe", "Marc", "M"), ("Ibis", "Anna", "F"),
)  # fmt: skip

_slots, _bookings = metadata.tables["slots"].insert(), metadata.tables["bookings"]
_files = metadata.tables["patient_files"].insert()
_WAITING = _bookings.select().where(
    _bookings.c.practitioner_id == uuids("practitioner_ids").any_(),
    _bookings.c.state == "booked",
    _bookings.c.starts_at < bind("now", Instant),
)


async def book_past(database: Database, now: datetime) -> int:
    """Let each doctor with an own client have appointments to report; tell how many were made."""
    today = now.astimezone(ZONE).date()
    drafts = live.early(today if now >= local(today, _OVER) else today - _DAY)
    async with database.unit_of_work() as uow:
        asked = {"practitioner_ids": [d.practitioner_id for d in drafts], "now": now}
        waiting = {row.practitioner_id for row in await uow.execute(_WAITING, asked)}
        places = await directory.places(uow, [d.location_id for d in drafts])
        made = [d for d in await live.missing(uow, drafts) if d.practitioner_id not in waiting]
        for draft in made:
            await _write(uow, draft, places[draft.location_id], drafts.index(draft))
    return len(made)


async def _write(uow: UnitOfWork, draft: SlotDraft, place: Place, number: int) -> None:
    at = draft.starts_at - _BOOKED_BEFORE
    slot = _slot(draft, place, at)
    booking = _booking(slot, at, number)
    file = _file(uow, booking, _who(number))
    await uow.execute(_slots, slot)
    await uow.execute(_files, file)
    patient = {"patient_file_id": file["id"], "patient_key": file["patient_key"]}
    await uow.execute(_bookings.insert(), {**booking, **patient})
    doctor = Origin(role=Role.DOCTOR, organization_id=place.organization_id)
    regulation = Origin(
        role=Role.REGULATOR, organization_id=booking["organization_id"], person=booking["person"]
    )
    published = ("practitioner_id", "location_id", "organization_id", "starts_at", "ends_at")
    booked = (
        *("state", "slot_id", "practitioner_id", "practitioner_organization_id"),
        *("organization_id", "starts_at", "ends_at", "case_id", "call_id"),
    )
    await _tell(uow, doctor, "slot.published", slot, published)
    await _tell(uow, regulation, "booking.created", {"call_id": None, **booking}, booked)


async def _tell(
    uow: UnitOfWork, origin: Origin, type_: str, row: dict[str, Any], names: Sequence[str]
) -> None:
    data = {n: None if row[n] is None else _text(row[n]) for n in names}
    fact = {"subject_id": row["id"], "territory": row["territory"], "data": data}
    await events.record_all(uow, origin, type_, [{**fact, "occurred_at": row["created_at"]}])


def _text(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _slot(draft: SlotDraft, place: Place, at: datetime) -> dict[str, Any]:
    copied = (
        *("location_id", "organization_id", "organization_type", "territory", "zone"),
        *("latitude", "longitude", "reduced_mobility"),
    )
    return {
        "id": new_id(),
        "practitioner_id": draft.practitioner_id,
        **{name: getattr(place, name) for name in copied},
        "starts_at": draft.starts_at,
        "ends_at": draft.ends_at,
        "modes": list(draft.modes),
        "specialty": draft.specialty,
        "visibility": list(draft.audience.visibility),
        "capacity": draft.capacity,
        "booked": 1,
        "external_id": draft.external_id,
        "version": 2,
        "created_at": at,
        "updated_at": at,
    }


def _booking(slot: dict[str, Any], at: datetime, number: int) -> dict[str, Any]:
    return {
        "id": new_id(),
        "slot_id": slot["id"],
        "starts_at": slot["starts_at"],
        "ends_at": slot["ends_at"],
        "practitioner_id": slot["practitioner_id"],
        "practitioner_organization_id": slot["organization_id"],
        "territory": slot["territory"],
        "state": "booked",
        "organization_id": people().the("sas")["id"],
        "organization_type": "sas",
        "role": Role.REGULATOR,
        "person": colleague(number),
        "case_id": f"LRM-{slot['starts_at']:%m%d}-{number}",
        "motive": _MOTIVE,
        "created_at": at,
        "updated_at": at,
    }


def _who(number: int) -> Patient:
    family_name, given_name, sex = _PATIENTS[number % len(_PATIENTS)]
    return Patient(
        family_name=family_name,
        given_name=given_name,
        birth_date=date(1940 + 8 * (number % 9), 1 + number % 12, 10 + number % 9),
        sex=sex,
        phone="+33600000000",
        commune=CENTRE,
    )


def _file(uow: UnitOfWork, booking: dict[str, Any], who: Patient) -> dict[str, Any]:
    file_id = new_id()
    return {
        "id": file_id,
        "organization_id": booking["organization_id"],
        "territory": booking["territory"],
        "reader_organization_ids": [booking["organization_id"]],
        "practitioner_ids": [booking["practitioner_id"]],
        "created_at": booking["created_at"],
        "updated_at": booking["created_at"],
        **patients.seal(uow.vault, file_id, who),
    }
