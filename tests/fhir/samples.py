"""Pure data that both versions of the guide accept: the smallest of each kind, made anew each time.

R01 is the minimal Bundle of our own notes on the guide; SOS and the appointment are official
examples; the others are written after the profiles.
"""

import copy
from collections.abc import Callable
from typing import Any

from tests.fhir.validator import GUIDES

Json = dict[str, Any]
SAS = "http://sas.fr/fhir/StructureDefinition/"
IG = "https://interop.esante.gouv.fr/ig/fhir/sas/StructureDefinition/"
LABELS = "https://mos.esante.gouv.fr/NOS/TRE_R314-TypeCreneau/FHIR/TRE-R314-TypeCreneau"
MODES = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
CATEGORIES = "https://mos.esante.gouv.fr/NOS/TRE_R66-CategorieEtablissement/FHIR/TRE-R66-CategorieEtablissement"
SPECIALTIES = (
    "https://mos.esante.gouv.fr/NOS/TRE_R38-SpecialiteOrdinale/FHIR/TRE-R38-SpecialiteOrdinale"
)
BOOKABLE = "http://terminology.hl7.org/CodeSystem/v2-0276"
ID_TYPES = "http://interopsante.org/fhir/CodeSystem/fr-v2-0203"
PLACE_ID_TYPES = "http://interopsante.org/fhir/CodeSystem/fr-location-identifier-type"
CORE_ID_TYPES = "https://hl7.fr/ig/fhir/core/CodeSystem/fr-core-cs-v2-0203"
IDNPS = "urn:oid:1.2.250.1.71.4.2.1"
IDNST = "urn:oid:1.2.250.1.71.4.2.2"
SAS_ID = "urn:oid:1.2.250.1.213.3.6"
R5_SERVICE_TYPE = "http://hl7.org/fhir/5.0/StructureDefinition/extension-Slot.serviceType"
BASE = "https://broker.example/fhir"


def concept(system: str, *codes: str) -> Json:
    return {"coding": [{"system": system, "code": code} for code in codes]}


def identifier(type_system: str, type_: str, system: str, value: str) -> Json:
    return {"type": concept(type_system, type_), "system": system, "value": value}


def entry(resource: Json, mode: str = "include") -> Json:
    url = f"{BASE}/{resource['resourceType']}/{resource['id']}"
    return {"fullUrl": url, "search": {"mode": mode}, "resource": resource}


def _link(*includes: str) -> list[Json]:
    query = (
        "_include=Slot:schedule&_include:iterate=Schedule:actor"
        "&start=ge2030-01-15T08:00:00.000%2B01:00&start=le2030-01-17T23:59:59.000%2B01:00"
        "&schedule.actor:Practitioner.identifier=urn:oid:1.2.250.1.71.4.2.1%7C810100000011"
        "&status=free"
    )
    return [{"relation": "self", "url": f"{BASE}/Slot?{'&'.join([query, *includes])}"}]


def _slot(profile: str, *labels: str) -> Json:
    return {
        "resourceType": "Slot",
        "id": "s-hidden",
        "meta": {
            "profile": [profile],
            "security": [{"system": LABELS, "code": label} for label in labels],
        },
        "serviceType": [concept(MODES, "AMB"), {"text": "Consultation"}],
        "specialty": [concept(SPECIALTIES, "SM54")],
        "appointmentType": concept(BOOKABLE, "ROUTINE"),
        "schedule": {"reference": "Schedule/sch1"},
        "status": "free",
        "start": "2030-01-15T11:00:00.000+01:00",
        "end": "2030-01-15T11:15:00.000+01:00",
        "comment": "https://broker.example/agenda?ps=810100000011",
    }


def _place() -> Json:
    return {
        "resourceType": "Location",
        "id": "loc1",
        "meta": {"profile": [SAS + "FrLocationAgregateur"]},
        "identifier": [
            identifier(PLACE_ID_TYPES, "INTRN", "https://broker.example/id/location", "loc1")
        ],
        "address": {"line": ["1 rue de la Paix"], "city": "AGEN", "postalCode": "47000"},
    }


def _people() -> list[Json]:
    return [
        {
            "resourceType": "Schedule",
            "id": "sch1",
            "meta": {"profile": [SAS + "FrScheduleAgregateur"]},
            "actor": [{"reference": "Practitioner/p1"}, {"reference": "PractitionerRole/pr1"}],
        },
        {
            "resourceType": "Practitioner",
            "id": "p1",
            "meta": {"profile": [SAS + "FrPractitionerAgregateur"]},
            "identifier": [identifier(ID_TYPES, "IDNPS", IDNPS, "810100000011")],
            "name": [{"family": "MARTIN", "given": ["Alice"]}],
        },
        {
            "resourceType": "PractitionerRole",
            "id": "pr1",
            "meta": {"profile": [SAS + "FrPractitionerRoleExerciceAgregateur"]},
            "contained": [_place()],
            "practitioner": {"reference": "Practitioner/p1"},
            "organization": {"identifier": identifier(ID_TYPES, "IDNST", IDNST, "1810004421")},
            "location": [{"reference": "#loc1"}],
            "telecom": [{"system": "phone", "value": "+33553000000"}],
        },
    ]


def _bundle(profile: str, total: int, link: list[Json], *entries: Json) -> Json:
    bundle: Json = {
        "resourceType": "Bundle",
        "id": "b1",
        "meta": {"profile": [profile]},
        "type": "searchset",
        "total": total,
        "link": link,
    }
    return bundle | ({"entry": list(entries)} if entries else {})


def empty() -> Json:
    return _bundle(SAS + "BundleAgregateur", 0, _link())


def r01() -> Json:
    slot = _slot(SAS + "FrSlotAgregateur", "SNP")
    entries = [entry(slot, "match"), *map(entry, _people())]
    return _bundle(SAS + "BundleAgregateur", 1, _link(), *entries)


def _cpts(name: str, finess: str) -> list[Json]:
    types = {"coding": [*concept(PLACE_ID_TYPES, "IDNST")["coding"]]}
    types["coding"] += concept(CORE_ID_TYPES, "IDNST")["coding"]
    return [
        {
            "resourceType": "HealthcareService",
            "id": f"hs-{name}",
            "meta": {"profile": [IG + "sas-cpts-healthcareservice-aggregator"]},
            "providedBy": {"reference": f"Organization/o-{name}"},
        },
        {
            "resourceType": "Organization",
            "id": f"o-{name}",
            "meta": {"profile": [IG + "sas-cpts-organization-aggregator"]},
            "identifier": [{"type": types, "system": IDNST, "value": finess}],
            "name": f"CPTS {name}",
            "telecom": [{"system": "phone", "value": "+33553000001"}],
        },
    ]


def r04() -> Json:
    """A slot for two CPTS."""
    slot = _slot(IG + "sas-cpts-slot-aggregator", "SNP", "CPTS")
    slot["serviceType"] += [
        {
            "extension": [
                {
                    "url": R5_SERVICE_TYPE,
                    "valueReference": {"reference": f"HealthcareService/hs-{name}"},
                }
            ],
            **concept(CATEGORIES, "604"),
        }
        for name in ("a", "b")
    ]
    others = [*_people(), *_cpts("a", "1470000001"), *_cpts("b", "1470000002")]
    entries = [entry(slot, "match"), *map(entry, others)]
    link = _link(
        "_include=Slot:service-type-reference",
        "_include:iterate=HealthcareService:organization",
    )
    return _bundle(IG + "sas-cpts-bundle-aggregator", 1, link, *entries)


def sos() -> Json:
    return copy.deepcopy(GUIDES["1.1.0"].examples["Bundle-ExampleBundleAgregateurSOS"])


def regulator() -> Json:
    return {
        "resourceType": "Practitioner",
        "meta": {"source": SAS_ID, "profile": [IG + "FrPractitionerRegul"]},
        "identifier": [
            identifier(ID_TYPES, "INTRN", SAS_ID, "b6e39355-8a61-4556-b340-36f7b95fec6a")
        ],
        "active": True,
        "name": [{"family": "Loridon", "given": ["Sébastien"]}],
        "telecom": [{"system": "email", "value": "sebastien.loridon@test.example"}],
    }


def appointment() -> Json:
    return copy.deepcopy(GUIDES["1.1.0"].examples["Appointment-1"])


def refusal() -> Json:
    """An OperationOutcome, which R4 itself defines."""
    issue = {"severity": "error", "code": "invalid", "diagnostics": "`start` must be an instant."}
    return {"resourceType": "OperationOutcome", "issue": [issue]}


SAMPLES: dict[str, Callable[[], Json]] = {
    "r01": r01,
    "r04": r04,
    "empty": empty,
    "sos": sos,
    "regulator": regulator,
    "appointment": appointment,
    "refusal": refusal,
}
