"""Directory: territories, organizations, practitioners, locations, and the national tables.

`reference` holds what is packaged (communes, search radii, code lists); `parts` names a
practitioner and a place inside other rooms' statements. Whoever writes is a caller, or the
operator (`kernel.events.Origin`) from the command line. Entries are never deleted: the past names
them; `active` ends them. Events: organization, practitioner, location, each .created and .amended.
"""

from service.directory import parts, reference
from service.directory.domain import (
    WITHOUT_PRACTITIONER,
    AlreadyListed,
    DirectoryInvalid,
    ForeignTerritory,
    Location,
    LocationDraft,
    LocationNotFound,
    Organization,
    OrganizationDraft,
    OrganizationNotFound,
    OrganizationType,
    Place,
    Practitioner,
    PractitionerDraft,
    PractitionerNotFound,
    PractitionerStatus,
    Territory,
    TerritoryNotFound,
    grant_communities,
    phone_number,
    rpps_number,
)
from service.directory.schemas import (
    LocationCard,
    PractitionerCard,
    PractitionerOut,
    PractitionerPatch,
)
from service.directory.usecases import (
    amend_practitioner,
    create_location,
    create_organization,
    create_practitioner,
    list_organizations,
    location,
    organization,
    organization_names,
    organization_of_type,
    places,
    practitioner,
    territory,
)

__all__ = [
    "WITHOUT_PRACTITIONER",
    "AlreadyListed",
    "DirectoryInvalid",
    "ForeignTerritory",
    "Location",
    "LocationCard",
    "LocationDraft",
    "LocationNotFound",
    "Organization",
    "OrganizationDraft",
    "OrganizationNotFound",
    "OrganizationType",
    "Place",
    "Practitioner",
    "PractitionerCard",
    "PractitionerDraft",
    "PractitionerNotFound",
    "PractitionerOut",
    "PractitionerPatch",
    "PractitionerStatus",
    "Territory",
    "TerritoryNotFound",
    "amend_practitioner",
    "create_location",
    "create_organization",
    "create_practitioner",
    "grant_communities",
    "list_organizations",
    "location",
    "organization",
    "organization_names",
    "organization_of_type",
    "parts",
    "phone_number",
    "places",
    "practitioner",
    "reference",
    "rpps_number",
    "territory",
]
