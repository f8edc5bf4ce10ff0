"""An appointment as SAS is told of it: FrAppointmentSAS of the guide 1.1.0 and 1.2.0. Pure.

It says who booked it, when it is, with whom and what became of it; nothing of who comes, nor why.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from service.identity import IDNPS, SAS, Identifier
from service.kernel.sending import Attempt

# Creates an appointment at SAS (`POST`), or writes it anew (`PUT`): method, identifier, resource.
Send = Callable[[str, Identifier, Mapping[str, Any]], Awaitable[Attempt]]

_TYPE = "http://interopsante.org/fhir/CodeSystem/fr-v2-0203"
_KINDS = {IDNPS: "IDNPS", SAS: "INTRN"}
_PROFILE = "http://sas.fr/fhir/StructureDefinition/FrAppointmentSAS"
_OPERATOR = "http://interopsante.org/fhir/StructureDefinition/FrAppointmentOperator"
# Of consultation points of SOS Médecins; the only one, too, that needs nobody who receives.
_SOS_PROFILE = "https://interop.esante.gouv.fr/ig/fhir/sas/StructureDefinition/sas-sos-appointment"
_SOMEBODY = {
    "type": [
        {
            "coding": [
                {
                    "system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationType",
                    "code": "ADM",
                }
            ]
        }
    ],
    "status": "needs-action",
}


@dataclass(frozen=True, slots=True)
class Appointment:
    """What SAS is told of a booking; `rpps` is of whoever receives, where somebody is named.

    `at_point`: at a consultation point of SOS Médecins.
    """

    booking_id: UUID
    operator: Identifier
    state: str
    starts_at: datetime
    ends_at: datetime
    created_at: datetime
    zone: str
    rpps: str | None
    at_point: bool


def resource(appointment: Appointment, system: str) -> dict[str, Any]:
    """Write an appointment; `system` is what our own numbers are of."""
    zone = ZoneInfo(appointment.zone)
    of_sos = appointment.at_point or appointment.rpps is None
    return {
        "resourceType": "Appointment",
        "meta": {"profile": [_SOS_PROFILE if of_sos else _PROFILE]},
        "extension": [
            {"url": _OPERATOR, "valueReference": {"identifier": _typed(appointment.operator)}}
        ],
        "identifier": [{"system": system, "value": str(appointment.booking_id)}],
        "status": appointment.state,
        "start": _instant(appointment.starts_at, zone),
        "end": _instant(appointment.ends_at, zone),
        "created": _instant(appointment.created_at, zone),
        "participant": [_participant(appointment.rpps)],
    }


def _participant(rpps: str | None) -> dict[str, Any]:
    if rpps is None:
        return _SOMEBODY
    return {"actor": {"identifier": _typed(Identifier.of_rpps(rpps))}, "status": "accepted"}


def _typed(identifier: Identifier) -> dict[str, Any]:
    return {
        "type": {"coding": [{"system": _TYPE, "code": _KINDS[identifier.system]}]},
        "system": identifier.system,
        "value": identifier.value,
    }


def _instant(at: datetime, zone: ZoneInfo) -> str:
    return at.astimezone(zone).isoformat(timespec="milliseconds")
