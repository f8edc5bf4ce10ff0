"""A booking as the national message RS-SAS-RDV (SAMU-Hub-Modeles, version 26.07.29). Pure.

Created once, then updated; cancelling is an update. It tells of no patient; of whoever booked it
tells the name, which the message demands. The message has no place for the case: it stands beside,
so that nobody has to look for the file by hand.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from service.directory import Organization, OrganizationType, Practitioner
from service.identity import IDNPS
from service.stream import View

_NOS = "https://mos.esante.gouv.fr/NOS"
_PROFESSIONS = f"{_NOS}/TRE_G15-ProfessionSante/FHIR/TRE-G15-ProfessionSante"
_SPECIALTIES = f"{_NOS}/TRE_R38-SpecialiteOrdinale/FHIR/TRE-R38-SpecialiteOrdinale"
_NATIONAL = "1"  # what an RPPS begins with
# Of what kind the room was; others have no word in the message.
_CATEGORIES: Mapping[str, str] = {
    OrganizationType.PRACTICE: "PS",
    OrganizationType.MSP: "MSP",
    OrganizationType.CDS: "CDS",
    OrganizationType.SOS: "SOS",
    OrganizationType.CPTS: "CPTS",
}


@dataclass(frozen=True, slots=True)
class Appointment:
    """What the message tells of a booking beside the fact."""

    created_at: datetime
    zone: str
    person: Mapping[str, str] | None
    requester: Organization
    practitioner: Practitioner | None
    organization: Organization


def message(view: View, booking: Appointment) -> dict[str, Any]:
    """Return what is sent of a booking's view: the message, and the case beside it."""
    told = {
        "appointmentId": str(view.subject_id),
        "method": "CreateAppointment" if view.type == "booking.created" else "UpdateAppointment",
        "created": _local(booking.created_at, booking.zone),
        "start": _local(datetime.fromisoformat(view.data["starts_at"]), booking.zone),
        "end": _local(datetime.fromisoformat(view.data["ends_at"]), booking.zone),
        "status": view.data["state"],
        "orientationCategory": _CATEGORIES.get(booking.organization.type),
        "practitioner": _practitioner(booking.practitioner),
        "organization": _organization(booking.organization),
        "regulator": _regulator(booking.person or {}, booking.requester),
    }
    return _known(appointment=_known(**told), caseId=view.data["case_id"])


def _known(**members: Any) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}


def _local(instant: datetime, zone: str) -> str:
    return instant.astimezone(ZoneInfo(zone)).isoformat(timespec="seconds")


def _practitioner(practitioner: Practitioner | None) -> dict[str, str] | None:
    """Nobody at a centre, or somebody whose number is not national: the organization is named."""
    if practitioner is None or not practitioner.rpps.startswith(_NATIONAL):
        return None
    specialty = practitioner.specialty
    return _known(
        rppsId=f"8{practitioner.rpps}",
        lastName=practitioner.family_name,
        firstName=practitioner.given_name,
        specialityCode=specialty,
        specialityUrl=specialty and _SPECIALTIES,
        professionCode=practitioner.profession,
        professionUrl=_PROFESSIONS,
    )


def _organization(organization: Organization) -> dict[str, str] | None:
    if organization.finess is not None:
        return {"organizationId": f"1{organization.finess}", "name": organization.name}
    if organization.siret is not None:
        return {"organizationId": f"3{organization.siret}", "name": organization.name}
    return None


def _regulator(person: Mapping[str, str], requester: Organization) -> dict[str, str]:
    """Who booked, as their software says; who was not named is their organization."""
    return _known(
        regulatorId=person.get("id") if person.get("system") == IDNPS else None,
        regulatorName=person.get("family_name") or requester.name,
        regulatorFirstname=person.get("given_name") or "",
        regulatorEmail=person.get("email") or "",
    )
