"""Rows of the real tables, made from what happened: calls, files, slots, bookings."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any
from uuid import UUID

from service.demo.draw import Identifiers, Row, stream
from service.demo.indre_bookings import Appointment
from service.demo.indre_calls import Call
from service.demo.indre_people import Directory, colleague
from service.demo.indre_places import TERRITORY
from service.demo.indre_shares import Outcome
from service.demo.indre_slots import Room
from service.directory.reference import territory_zone

_ZONE = territory_zone(TERRITORY)
_CHOSEN_NEARBY = 0.8  # the pharmacy that the patient chose is one of the CPTS


@dataclass(frozen=True, slots=True)
class Year:
    """What happened in the year, with the ids that its rows share."""

    directory: Directory
    rooms: Sequence[Room]
    calls: Sequence[Call]
    appointments: Sequence[Appointment]
    call_ids: Mapping[int, UUID]
    file_ids: Mapping[int, UUID]
    outcome_ids: Mapping[tuple[int, Outcome], UUID]
    booked: Mapping[int, Appointment]  # by the call's number

    @property
    def regulation(self) -> UUID:
        """The organization that answers the calls."""
        centre: UUID = self.directory.the("sas")["id"]
        return centre


def year(
    directory: Directory,
    rooms: Sequence[Room],
    calls: Sequence[Call],
    appointments: Sequence[Appointment],
) -> Year:
    """Give every call, file and outcome its id."""
    call_ids, file_ids, outcome_ids = map(Identifiers, ("calls", "files", "outcomes"))
    return Year(
        directory,
        rooms,
        calls,
        appointments,
        {call.number: call_ids.at(call.received_at) for call in calls},
        {call.number: file_ids.at(call.received_at) for call in calls},
        {
            (c.number, outcome): outcome_ids.at(c.decided_at)
            for c in calls
            for outcome in c.outcomes
        },
        {booked.call.number: booked for booked in appointments},
    )


@cache
def _named(role: str, number: int) -> Row:
    """Who acted, in the form of `identity.Actor.named`; its software is not known any more."""
    return {"client_id": None, "role": role, "person": colleague(number)}


def decider(call: Call) -> tuple[str, int]:
    """Role and number of who decided: the regulator, or the operator under a protocol."""
    return ("osnp", call.qualifier) if call.regulator is None else ("regulator", call.regulator)


def slots(of: Year) -> Iterator[Row]:
    """Published slots, with the seats that are taken in the end."""
    taken = Counter(a.room.id for a in of.appointments if a.cancelled_at is None)
    changes: dict[UUID, list[datetime]] = {}
    for appointment in of.appointments:
        instants = (appointment.call.decided_at, appointment.cancelled_at)
        changes.setdefault(appointment.room.id, []).extend(filter(None, instants))
    for room in of.rooms:
        changed = changes.get(room.id, [])
        changed += [room.withdrawn_at] if room.withdrawn_at else []
        yield _slot(room, taken[room.id], changed)


def _slot(room: Room, booked: int, changed: list[datetime]) -> Row:
    return {
        "id": room.id,
        "practitioner_id": room.practitioner_id,
        "location_id": room.location["id"],
        "organization_id": room.organization["id"],
        "organization_type": room.organization["type"],
        "territory": TERRITORY,
        "zone": _ZONE,
        "latitude": room.location["latitude"],
        "longitude": room.location["longitude"],
        "reduced_mobility": room.location["reduced_mobility"],
        "starts_at": room.starts_at,
        "ends_at": room.ends_at,
        "modes": list(room.modes),
        "specialty": room.practitioner["specialty"] if room.practitioner else "SM54",
        "visibility": list(room.visibility),
        "cpts_ids": room.cpts_ids,
        "capacity": room.capacity,
        "booked": booked,
        "withdrawn_at": room.withdrawn_at,
        "version": 1 + len(changed),
        "created_at": room.published_at,
        "updated_at": max(changed, default=room.published_at),
    }


def patient_files(of: Year) -> Iterator[Row]:
    """Files without identity: what retention leaves. One for each call."""
    for call in of.calls:
        booked = of.booked.get(call.number)
        doctor = booked and booked.room.practitioner_id
        centre = booked and not doctor and booked.room.organization["id"]
        yield {
            "id": of.file_ids[call.number],
            "organization_id": of.regulation,
            "territory": TERRITORY,
            "reader_organization_ids": [of.regulation],
            "practitioner_ids": [doctor] if doctor else [],
            "care_organization_ids": [centre] if centre else [],
            "age": call.patient.age,
            "sex": call.patient.sex,
            "commune": call.patient.commune,
            "created_at": call.received_at,
            "updated_at": call.received_at,
        }


def calls(of: Year) -> Iterator[Row]:
    """Closed calls, with what the figures count."""
    communities = {o["name"].removeprefix("CPTS "): o for o in of.directory.of_type("cpts")}
    for call in of.calls:
        yield _call(of, call, communities[call.patient.cpts]["id"])


def _call(of: Year, call: Call, cpts_id: UUID) -> Row:
    steps = (1, len(call.attempts), len(call.outcomes), 1, call.sent_to_emergency)
    return {
        "id": of.call_ids[call.number],
        "territory": TERRITORY,
        "zone": _ZONE,
        "organization_id": of.regulation,
        "cpts_id": cpts_id,
        "line": call.line,
        "received_at": call.received_at,
        "caller_type": call.caller_type,
        "motive": call.motive,
        "priority": call.priority,
        "care_level": call.care_level,
        "patient_file_id": of.file_ids[call.number],
        "case_id": call.case_id,
        "state": "closed",
        "qualified_by": _named("osnp", call.qualifier),
        "regulated_by": call.regulator and _named("regulator", call.regulator),
        "protocol": call.protocol,
        "callback_requested_at": call.requested_at,
        "first_attempt_at": call.attempts[0][0] if call.attempts else None,
        "called_back_at": call.called_back_at,
        "outcome_mask": call.mask,
        "otherwise": call.otherwise,
        "sent_to_emergency": call.sent_to_emergency,
        "closed_at": call.closed_at,
        "version": sum(steps),
        "created_at": call.received_at,
    }


def call_callbacks(of: Year) -> Iterator[Row]:
    """Every attempt to call a patient back, answered or not."""
    ids = Identifiers("callbacks")
    for call in of.calls:
        for at, reached in call.attempts:
            yield {
                "id": ids.at(at),
                "call_id": of.call_ids[call.number],
                "at": at,
                "reached": reached,
                "made_by": _named(*decider(call)),
            }


def call_outcomes(of: Year) -> Iterator[Row]:
    """One or two outcomes a call; a prescription names its pharmacy, an orientation its booking."""
    random, pharmacies = stream("pharmacies"), of.directory.of_type("pharmacy")
    nearby: dict[str, list[Any]] = {
        cpts["name"].removeprefix("CPTS "): [p for p in pharmacies if cpts["id"] in p["cpts_ids"]]
        for cpts in of.directory.of_type("cpts")
    }
    for call in of.calls:
        near = nearby[call.patient.cpts] if random.random() < _CHOSEN_NEARBY else pharmacies
        chosen, booked = random.choice(near)["id"], of.booked.get(call.number)
        for outcome in call.outcomes:
            yield {
                "id": of.outcome_ids[call.number, outcome],
                "call_id": of.call_ids[call.number],
                "outcome": outcome.value,
                "pharmacy_id": chosen if outcome is Outcome.PRESCRIPTION else None,
                "booking_id": booked and booked.id,
                "created_at": call.decided_at,
            }


def bookings(of: Year) -> Iterator[Row]:
    """Bookings of the regulation centre, all reported or cancelled."""
    for appointment in of.appointments:
        yield _booking(of, appointment)


def _booking(of: Year, booked: Appointment) -> Row:
    call, room = booked.call, booked.room
    role, number = decider(call)
    return {
        "id": booked.id,
        "slot_id": room.id,
        "patient_file_id": of.file_ids[call.number],
        "starts_at": room.starts_at,
        "ends_at": room.ends_at,
        "practitioner_id": room.practitioner_id,
        "practitioner_organization_id": room.organization["id"],
        "territory": TERRITORY,
        "state": booked.state,
        "organization_id": of.regulation,
        "organization_type": "sas",
        "role": role,
        "person": colleague(number),
        "call_id": of.call_ids[call.number],
        "case_id": call.case_id,
        "motive": call.motive,
        "cancelled_by": "patient" if booked.cancelled_at else None,
        "cancelled_at": booked.cancelled_at,
        "reported_at": booked.reported_at,
        "sent_to_emergency": call.sent_to_emergency,
        "version": 2,
        "created_at": call.decided_at,
        "updated_at": booked.cancelled_at or booked.reported_at,
    }
