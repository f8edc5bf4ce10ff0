"""What this interface can, as a CapabilityStatement of an instance."""

from importlib.metadata import version
from typing import Any

from service.fhir import codes, query

# When what it says last changed.
_DATE = "2026-11-22"
_READ, _SEARCH = {"code": "read"}, {"code": "search-type"}
_READ_ONLY = {
    "PractitionerRole": [codes.PRACTITIONER_ROLE],
    "HealthcareService": [codes.CPTS_SERVICE],
    "Location": [codes.SOS_LOCATION],
    "Organization": [codes.CPTS_ORGANIZATION, codes.SOS_ORGANIZATION],
}


def statement(interface: str) -> dict[str, Any]:
    """Say what can be asked for at an address."""
    return {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": _DATE,
        "kind": "instance",
        "instantiates": [
            codes.INDIVIDUALS,
            codes.COMMUNITIES,
            codes.POINTS,
            codes.STRUCTURES,
        ],
        "software": {"name": "SNP broker", "version": version("snp-broker")},
        "implementation": {"description": "SNP broker", "url": interface},
        "fhirVersion": codes.FHIR_VERSION,
        "format": ["application/fhir+json", "json"],
        "implementationGuide": [codes.GUIDE],
        "rest": [
            {
                "mode": "server",
                "resource": [
                    {
                        "type": "Slot",
                        "supportedProfile": [codes.SLOT, codes.CPTS_SLOT, codes.SOS_SLOT],
                        "interaction": [_READ, _SEARCH],
                        "searchInclude": [
                            "Slot:schedule",
                            "Schedule:actor",
                            "Slot:service-type-reference",
                            "HealthcareService:organization",
                        ],
                        "searchParam": [
                            {
                                "name": query.START,
                                "definition": codes.SLOT_START,
                                "type": "date",
                            },
                            {"name": query.STATUS, "type": "token"},
                            {"name": query.IDENTIFIER, "type": "token"},
                        ],
                    },
                    {
                        "type": "Schedule",
                        "supportedProfile": [codes.SCHEDULE, codes.SOS_SCHEDULE],
                        "interaction": [_READ, _SEARCH],
                        "searchInclude": ["Schedule:actor:Location", "Location:organization"],
                        "searchRevInclude": ["Slot:schedule"],
                        "searchParam": [
                            {"name": "_has", "type": "special"},
                            {"name": query.STRUCTURE, "type": "token"},
                        ],
                    },
                    *(
                        {"type": kind, "supportedProfile": profiles, "interaction": [_READ]}
                        for kind, profiles in _READ_ONLY.items()
                    ),
                    {
                        "type": "Practitioner",
                        "supportedProfile": [codes.PRACTITIONER, codes.REGULATOR],
                        "interaction": [_READ, {"code": "create"}, {"code": "update"}],
                        "updateCreate": True,
                        "conditionalUpdate": True,
                        "searchParam": [{"name": "identifier", "type": "token"}],
                    },
                ],
            }
        ],
    }
