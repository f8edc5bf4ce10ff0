"""What the directory knows, and its refusals. Pure."""

from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from service.kernel.errors import Conflict, Forbidden, Invalid, NotFound


class OrganizationType(StrEnum):
    """Kinds of organization (design §2)."""

    CPTS = "cpts"
    SAS = "sas"
    PRACTICE = "practice"
    MSP = "msp"
    CDS = "cds"
    CSNP = "csnp"
    SOS = "sos"
    PHARMACY = "pharmacy"
    EMERGENCY_DEPARTMENT = "emergency_department"
    OTHER = "other"


# Only these publish slots before it is known who will see the patient.
WITHOUT_PRACTITIONER = frozenset({OrganizationType.CSNP, OrganizationType.SOS})


class TerritoryNotFound(NotFound):
    """No territory has this code."""

    code = "territory-not-found"
    title = "No territory has this code."


class OrganizationNotFound(NotFound):
    """No organization has this id."""

    code = "organization-not-found"
    title = "No organization has this id."


class PractitionerNotFound(NotFound):
    """No practitioner has this id."""

    code = "practitioner-not-found"
    title = "No practitioner has this id."


class LocationNotFound(NotFound):
    """No location has this id."""

    code = "location-not-found"
    title = "No location has this id."


class ForeignTerritory(Forbidden):
    """The territory is not the caller's."""

    code = "foreign-territory"
    title = "This territory is not yours."


class AlreadyListed(Conflict):
    """The national identifier is already in the directory."""

    code = "already-listed"
    title = "The directory already lists this identifier."


class DirectoryInvalid(Invalid):
    """A directory entry breaks a rule."""

    code = "directory-invalid"
    title = "This directory entry breaks a rule."


@dataclass(frozen=True, slots=True)
class Place:
    """Where a slot is: a location with all that the slot row copies from it."""

    location_id: UUID
    organization_id: UUID
    organization_type: str
    territory: str
    zone: str
    latitude: float
    longitude: float
    reduced_mobility: bool
    practitioner_ids: tuple[UUID, ...]
