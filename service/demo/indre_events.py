"""One event a change, in the order in which they happened, as the real use cases would tell them.

They were told long ago: each already has its position in the feed, so that the worker does not
announce the year 2022 to today's listeners. Ids, states and times only; nothing about a patient.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from service.demo.draw import Identifiers, Row
from service.demo.indre_bookings import Appointment
from service.demo.indre_calls import Call
from service.demo.indre_people import colleague
from service.demo.indre_places import TERRITORY
from service.demo.indre_rows import Year, decider
from service.demo.indre_slots import Room


class _By(NamedTuple):
    """Who caused a change."""

    role: str
    organization_id: UUID
    person: dict[str, str] | None


class _Fact(NamedTuple):
    """One change."""

    at: datetime
    type: str
    subject: UUID
    by: _By
    data: dict[str, Any]
    before: dict[str, Any] | None = None
    after: dict[str, Any] | None = None


def _publisher(room: Room) -> _By:
    doctor, organization_id = room.practitioner, room.organization["id"]
    if doctor is None:
        return _By("delegate", organization_id, None)
    person = {"id": doctor["rpps"]} | {n: doctor[n] for n in ("family_name", "given_name")}
    return _By("doctor", organization_id, person)


def _of_room(room: Room) -> Iterator[_Fact]:
    by, doctor = _publisher(room), room.practitioner_id
    where = {
        "practitioner_id": doctor and str(doctor),
        "location_id": str(room.location["id"]),
        "organization_id": str(room.organization["id"]),
        "starts_at": room.starts_at.isoformat(),
        "ends_at": room.ends_at.isoformat(),
    }
    audience = room.audience
    yield _Fact(room.published_at, "slot.published", room.id, by, where, after=audience)
    if room.withdrawn_at is not None:
        told = {name: where[name] for name in ("practitioner_id", "starts_at")}
        yield _Fact(room.withdrawn_at, "slot.withdrawn", room.id, by, told, before=audience)


def _of_call(of: Year, call: Call) -> Iterator[_Fact]:
    subject = of.call_ids[call.number]
    role, number = decider(call)
    operator = _By("osnp", of.regulation, colleague(call.qualifier))
    by = _By(role, of.regulation, colleague(number))
    told: dict[str, Any] = {"line": call.line, "priority": call.priority}
    yield _Fact(call.received_at, "call.opened", subject, operator, told)
    for at, reached in call.attempts:
        yield _Fact(at, "call.called_back", subject, by, {"reached": reached})
    for outcome in call.outcomes:
        told = {"outcome": outcome.value, "outcome_id": str(of.outcome_ids[call.number, outcome])}
        if call.number in of.booked:
            told["booking_id"] = str(of.booked[call.number].id)
        yield _Fact(call.decided_at, "call.outcome_added", subject, by, told)
    told = {"otherwise": call.otherwise, "outcomes": [o.value for o in call.outcomes]}
    yield _Fact(call.closed_at, "call.closed", subject, by, told)


def _of_appointment(of: Year, booked: Appointment) -> Iterator[_Fact]:
    call, room = booked.call, booked.room
    role, number = decider(call)
    by = _By(role, of.regulation, colleague(number))
    doctor = room.practitioner_id
    what: dict[str, Any] = {
        "slot_id": str(room.id),
        "practitioner_id": doctor and str(doctor),
        "practitioner_organization_id": str(room.organization["id"]),
        "organization_id": str(of.regulation),
        "starts_at": room.starts_at.isoformat(),
        "ends_at": room.ends_at.isoformat(),
        "case_id": call.case_id,
        "call_id": str(of.call_ids[call.number]),
    }
    told = what | {"state": "booked"}
    yield _Fact(call.decided_at, "booking.created", booked.id, by, told)
    what["state"] = booked.state
    if booked.cancelled_at is not None:
        told = what | {"by": "patient"}
        yield _Fact(booked.cancelled_at, "booking.cancelled", booked.id, by, told)
    if booked.reported_at is not None:
        before = {"state": "booked", "sent_to_emergency": False}
        told = what | {"before": before, "sent_to_emergency": call.sent_to_emergency}
        yield _Fact(booked.reported_at, "booking.reported", booked.id, _publisher(room), told)


def _facts(of: Year) -> Iterator[_Fact]:
    for room in of.rooms:
        yield from _of_room(room)
    for call in of.calls:
        yield from _of_call(of, call)
    for booked in of.appointments:
        yield from _of_appointment(of, booked)


def events(of: Year) -> Iterator[Row]:
    """Every event of the year, oldest first."""
    ids = Identifiers("events")
    for position, fact in enumerate(sorted(_facts(of), key=lambda fact: fact.at), start=1):
        yield {
            "id": ids.at(fact.at),
            "position": position,
            "type": fact.type,
            "subject_id": fact.subject,
            "occurred_at": fact.at,
            "territory": TERRITORY,
            "role": fact.by.role,
            "organization_id": fact.by.organization_id,
            "person": fact.by.person,
            "audience_before": fact.before,
            "audience_after": fact.after,
            "data": fact.data,
        }
