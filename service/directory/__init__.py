"""Directory: territories, organizations, practitioners, locations, and the national tables.

`reference` holds what is packaged (communes, search radii, code lists); `parts` names a
practitioner and a place inside other rooms' statements.
"""

from service.directory import parts, reference
from service.directory.domain import WITHOUT_PRACTITIONER, OrganizationType, Place
from service.directory.usecases import places

__all__ = [
    "WITHOUT_PRACTITIONER",
    "OrganizationType",
    "Place",
    "parts",
    "places",
    "reference",
]
