"""The validator sees: official examples pass but for their known errors, planted faults do not."""

import copy
import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from tests.fhir.samples import (
    BASE,
    CATEGORIES,
    ID_TYPES,
    IDNST,
    LABELS,
    MODES,
    PLACE_ID_TYPES,
    R5_SERVICE_TYPE,
    SAMPLES,
    SAS,
    concept,
    identifier,
)
from tests.fhir.validator import GUIDES, findings

VERSIONS = sorted(GUIDES)
# The Publisher's own report has the first two; of URLs it asks less than RFC 3986 does.
_TEXT_ONLY = "a specialty with text only: the value set is required"
_BASE_URL = "fullUrl begins with the literal https://<base_URl>/"
_BAR = "`|` is not percent-encoded in the self link"


def _unencoded(resources: int) -> dict[str, str]:
    urls = {f"Bundle.entry[{n}].fullUrl: type": _BASE_URL for n in range(resources)}
    return urls | {"Bundle.link[0].url: type": _BAR}


KNOWN_ERRORS: dict[tuple[str, str], dict[str, str]] = {
    ("1.1.0", "Bundle-ExampleBundleCPTS"): _unencoded(6),
    ("1.2.0", "Bundle-ExampleBundleCPTS1"): _unencoded(6),
    ("1.2.0", "Bundle-ExampleBundleCPTS2"): _unencoded(8),
    ("1.2.0", "Slot-ExampleSlotPSIndiv3"): {"Slot.specialty[1]: binding": _TEXT_ONLY},
    ("1.2.0", "Slot-ExampleSlotPSIndiv5"): {"Slot.specialty[0]: binding": _TEXT_ONLY},
    ("1.2.0", "Bundle-ExampleBundlePSIndiv"): {
        "Bundle.entry[7].resource.specialty[1]: binding": _TEXT_ONLY
    },
}


@pytest.mark.parametrize(
    ("version", "name"), [(v, name) for v in VERSIONS for name in GUIDES[v].examples]
)
def test_an_official_example_has_only_its_known_errors(version: str, name: str) -> None:
    guide = GUIDES[version]
    found = {f"{f.path}: {f.rule}" for f in findings(guide, guide.examples[name])}
    assert found == set(KNOWN_ERRORS.get((version, name), {}))


def test_known_errors_are_of_examples_that_are_there() -> None:
    assert all(name in GUIDES[version].examples for version, name in KNOWN_ERRORS)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", SAMPLES)
def test_a_sample_is_valid(version: str, name: str) -> None:
    assert findings(GUIDES[version], SAMPLES[name]()) == []


def test_an_organization_typed_for_one_version_only_is_not_valid_in_the_other() -> None:
    bundle = SAMPLES["r04"]()
    bundle["entry"][5]["resource"]["identifier"][0]["type"]["coding"].pop()
    path = "Bundle.entry[5].resource.identifier[0].type"
    assert findings(GUIDES["1.1.0"], bundle) == []
    assert [(f.path, f.rule) for f in findings(GUIDES["1.2.0"], bundle)] == [(path, "pattern")]


GONE = object()
Fault = tuple[str, str, Any, str]
# Of which sample, where, what is put there (a function: made of what stands there), what is said.
FAULTS: list[Fault] = [
    # cardinality
    ("r01", "entry.0.resource.start", GONE, "Bundle.entry[0].resource.start: min"),
    ("r01", "entry.0.resource.schedule", GONE, "Bundle.entry[0].resource.schedule: min"),
    ("r01", "entry.1.resource.actor", GONE, "Bundle.entry[1].resource.actor: min"),
    ("r01", "entry.1.resource.actor", [], "Bundle.entry[1].resource.actor: min"),
    ("r01", "entry.2.resource.identifier", GONE, "Bundle.entry[2].resource.identifier: min"),
    (
        "r01",
        "entry.1.resource.serviceType",
        [concept(MODES, "AMB")],
        "Bundle.entry[1].resource.serviceType: max",
    ),
    (
        "r01",
        "entry.2.resource.identifier.0.type.coding",
        lambda codings: [*codings, {"system": ID_TYPES, "code": "RPPS"}],
        "Bundle.entry[2].resource.identifier[0].type.coding: max",
    ),
    ("r01", "entry.2.resource.name.0.prefix", ["Dr", "Pr"], "resource.name[0].prefix: max"),
    ("r01", "entry.3.resource.location", GONE, "Bundle.entry[3].resource.location: min"),
    (
        "r01",
        "entry.3.resource.location",
        lambda one: one * 2,
        "Bundle.entry[3].resource.location: max",
    ),
    ("r01", "entry.3.resource.contained", GONE, "Bundle.entry[3].resource.contained: min"),
    ("r01", "entry.3.resource.contained.0.address", GONE, "contained[0].address: min"),
    ("r01", "entry.3.resource.contained.0.address.city", GONE, "contained[0].address.city: min"),
    (
        "r01",
        "entry.3.resource.contained.0.address.line",
        ["1 rue de la Paix", "Bâtiment B"],
        "contained[0].address.line: max",
    ),
    ("r04", "link", GONE, "Bundle.link: min"),
    ("r04", "link", lambda link: link * 2, "Bundle.link: max"),
    ("r04", "total", GONE, "Bundle.total: min"),
    ("r04", "entry.5.resource.identifier", lambda one: one * 2, "resource.identifier: max"),
    ("r04", "entry.4.resource.providedBy", GONE, "Bundle.entry[4].resource.providedBy: min"),
    ("regulator", "active", GONE, "Practitioner.active: min"),
    ("regulator", "name.0.family", GONE, "Practitioner.name[0].family: min"),
    ("regulator", "name.0.given", ["Jean", "Paul"], "Practitioner.name[0].given: max"),
    ("appointment", "participant", GONE, "Appointment.participant: min"),
    ("appointment", "participant.0.status", GONE, "Appointment.participant[0].status: min"),
    (
        "appointment",
        "extension.0.valueReference",
        {"reference": "Practitioner/p1"},
        "Appointment.extension[0].valueReference.identifier: min",
    ),
    ("sos", "entry.2.resource.managingOrganization", GONE, "managingOrganization: min"),
    ("refusal", "issue.0.code", GONE, "OperationOutcome.issue[0].code: min"),
    # fixed values and patterns
    ("r01", "entry.0.resource.status", "busy", "Bundle.entry[0].resource.status: fixed"),
    ("r04", "entry.0.resource.status", "busy", "Bundle.entry[0].resource.status: pattern"),
    ("r01", "type", "collection", "Bundle.type: pattern"),
    (
        "r01",
        "entry.2.resource.identifier.0.type.coding.0.code",
        "RPPS",
        "Bundle.entry[2].resource.identifier[0].type: pattern",
    ),
    (
        "r01",
        "entry.2.resource.identifier.0.system",
        "urn:oid:1.2.3",
        "Bundle.entry[2].resource.identifier[0].system: pattern",
    ),
    (
        "r01",
        "entry.3.resource.organization.identifier.system",
        "urn:oid:1.2.3",
        "Bundle.entry[3].resource.organization.identifier.system: pattern",
    ),
    ("regulator", "meta.source", "https://elsewhere.example", "Practitioner.meta.source: pattern"),
    ("regulator", "telecom.0.system", "phone", "Practitioner.telecom[0].system: pattern"),
    (
        "appointment",
        "participant.0.actor.identifier.type.coding.0.code",
        "INTRN",
        "Appointment.participant[0].actor.identifier.type.coding[0]: pattern",
    ),
    (
        "sos",
        "entry.2.resource.identifier.0.type",
        concept(PLACE_ID_TYPES, "IDNST"),
        "Bundle.entry[2].resource.identifier[0].type: pattern",
    ),
    # types
    ("r01", "entry.0.resource.start", "2030-01-15T11:00:00.000", "[0].resource.start: type"),
    ("r01", "entry.0.resource.start", "2030-01-15", "Bundle.entry[0].resource.start: type"),
    ("r01", "entry.0.resource.end", "2030-02-31T11:15:00.000+01:00", "resource.end: type"),
    ("r01", "entry.0.resource.id", "s_hidden", "Bundle.entry[0].resource.id: type"),
    ("r01", "entry.0.resource.id", "s" * 65, "Bundle.entry[0].resource.id: type"),
    ("r01", "total", "1", "Bundle.total: type"),
    ("r01", "total", -1, "Bundle.total: type"),
    ("r01", "entry.0.resource.comment", 7, "Bundle.entry[0].resource.comment: type"),
    ("r01", "entry.0.resource.overbooked", "false", "resource.overbooked: type"),
    ("r01", "link.0.url", lambda url: url.replace("%7C", "|"), "Bundle.link[0].url: type"),
    (
        "r01",
        "entry.2.resource.name.0",
        "Alice MARTIN",
        "Bundle.entry[2].resource.name[0]: type",
    ),
    ("regulator", "active", "true", "Practitioner.active: type"),
    ("r01", "entry.0.resource.serviceType", concept(MODES, "AMB"), "resource.serviceType: array"),
    ("r01", "entry.0.resource.comment", ["https://a.example"], "resource.comment: array"),
    # nothing empty, nothing unknown
    ("r01", "entry.0.resource.comment", "", "Bundle.entry[0].resource.comment: empty"),
    ("r01", "entry.0.resource.comment", None, "Bundle.entry[0].resource.comment: empty"),
    ("r01", "entry.2.resource.telecom", [], "Bundle.entry[2].resource.telecom: empty"),
    ("r01", "entry.3.resource.organization", {}, "resource.organization: empty"),
    ("empty", "entry", [], "Bundle.entry: empty"),
    ("r01", "entry.0.resource.price", 25, "Bundle.entry[0].resource.price: unknown element"),
    (
        "r01",
        "entry.3.resource.contained.0.address.lines",
        ["1 rue"],
        "contained[0].address.lines: unknown element",
    ),
    ("r01", "entry.2.resource.name.0.surname", "M", "name[0].surname: unknown element"),
    ("empty", "count", 0, "Bundle.count: unknown element"),
    (
        "r01",
        "entry.0.resource.extension",
        [{"url": "https://vendor.example/colour", "valueString": "blue"}],
        "Bundle.entry[0].resource.extension[0]: unknown extension",
    ),
    ("refusal", "issue.0.message", "no", "OperationOutcome.issue[0].message: unknown element"),
    # value sets
    (
        "r01",
        "entry.0.resource.meta.security.0.code",
        "HIDDEN",
        "Bundle.entry[0].resource.meta.security[0]: binding",
    ),
    (
        "r01",
        "entry.0.resource.meta.security.0.system",
        LABELS.lower(),
        "Bundle.entry[0].resource.meta.security[0]: binding",
    ),
    (
        "r01",
        "entry.0.resource.specialty",
        [{"text": "Médecine générale"}],
        "Bundle.entry[0].resource.specialty[0]: binding",
    ),
    (
        "r01",
        "entry.0.resource.serviceType.0",
        concept(MODES, "TELE"),
        "Bundle.entry[0].resource.serviceType[0]: binding",
    ),
    (
        "r04",
        "entry.0.resource.appointmentType.coding.0.code",
        "FOLLOWUP",
        "Bundle.entry[0].resource.appointmentType.coding[0]: binding",
    ),
    (
        "sos",
        "entry.0.resource.meta.security.0.code",
        "PRO",
        "Bundle.entry[0].resource.meta.security[0]: binding",
    ),
    ("sos", "entry.0.resource.serviceType.0.coding.0.code", "EMER", "coding[0]: binding"),
    ("r01", "entry.0.search.mode", "found", "Bundle.entry[0].search.mode: binding"),
    ("r01", "entry.3.resource.telecom.0.system", "tel", "telecom[0].system: binding"),
    ("appointment", "status", "taken", "Appointment.status: binding"),
    (
        "r01",
        "entry.3.resource.code",
        [concept("https://mos.esante.gouv.fr/NOS/TRE_R94-ProfessionSocial", "41")],
        "Bundle.entry[3].resource.code[0]: binding",
    ),
    ("refusal", "issue.0.severity", "bad", "OperationOutcome.issue[0].severity: binding"),
    # slices: by value, by pattern, by the type and by the profile of a resource
    (
        "r04",
        "entry.0.resource.serviceType.2.extension",
        GONE,
        "Bundle.entry[0].resource.serviceType[2].extension: min",
    ),
    (
        "r04",
        "entry.0.resource.serviceType.2.extension.0.valueReference",
        GONE,
        "Bundle.entry[0].resource.serviceType[2].extension[0]: ext-1",
    ),
    (
        "r04",
        "entry.0.resource.serviceType.0.extension",
        [{"url": R5_SERVICE_TYPE, "valueReference": {"reference": "HealthcareService/hs-a"}}],
        "Bundle.entry[0].resource.serviceType[0].extension:sas-servicetype-r5: max",
    ),
    (
        "r04",
        "entry.0.resource.serviceType.2.extension",
        lambda one: one * 2,
        "Bundle.entry[0].resource.serviceType[2].extension:sas-servicetype-r5: max",
    ),
    (
        "r04",
        "entry.0.resource.serviceType.2.extension.0",
        {"url": R5_SERVICE_TYPE, "valueString": "HealthcareService/hs-a"},
        "Bundle.entry[0].resource.serviceType[2].extension[0].valueString: unknown element",
    ),
    ("r04", "entry.0", GONE, "Bundle.entry:slotAgregateurCPTS: min"),
    (
        "r04",
        "entry.0.resource.meta.profile",
        [SAS + "FrSlotAgregateur"],
        "Bundle.entry:slotAgregateurCPTS: min",
    ),
    ("r04", "entry.1.fullUrl", GONE, "Bundle.entry[1].fullUrl: min"),
    (
        "r01",
        "entry.2.resource.meta.profile",
        GONE,
        "Bundle.entry[3].resource.practitioner: target",
    ),
    (
        "r01",
        "entry.0.resource.meta.profile",
        ["https://elsewhere.example/Slot"],
        "Bundle.entry[0].resource: profile",
    ),
    (
        "regulator",
        "identifier.0.type",
        concept(ID_TYPES, "IDNPS"),
        "Practitioner.identifier[0].type: pattern",
    ),
    (
        "regulator",
        "identifier",
        lambda one: one * 2,
        "Practitioner.identifier:IdentifiantInterne: max",
    ),
    ("appointment", "extension", GONE, "Appointment.extension: min"),
    ("appointment", "extension", lambda one: one * 2, "extension:appointmentOperator: max"),
    (
        "appointment",
        "extension.0",
        lambda one: {"url": one["url"], "valueString": "RPPS"},
        "Appointment.extension[0].valueString: unknown element",
    ),
    # references, contained resources, addresses
    (
        "r01",
        "entry.0.resource.schedule.reference",
        "Schedule/other",
        "Bundle.entry[0].resource.schedule: reference",
    ),
    ("r01", "entry.1", GONE, "Bundle.entry[0].resource.schedule: reference"),
    (
        "r01",
        "entry.1.resource.actor.0.reference",
        f"{BASE}/Practitioner/p2",
        "Bundle.entry[1].resource.actor[0]: reference",
    ),
    (
        "r01",
        "entry.0.resource.schedule.reference",
        "Practitioner/p1",
        "Bundle.entry[0].resource.schedule: target",
    ),
    (
        "r01",
        "entry.3.resource.location.0.reference",
        "Location/loc1",
        "Bundle.entry[3].resource.location[0]: aggregation",
    ),
    (
        "r01",
        "entry.3.resource.location.0.reference",
        "#loc2",
        "Bundle.entry[3].resource.location[0]: reference",
    ),
    (
        "r01",
        "entry.3.resource.practitioner.reference",
        "#loc1",
        "Bundle.entry[3].resource.practitioner: aggregation",
    ),
    ("r01", "entry.3.resource.contained.0.id", "loc2", "Bundle.entry[3].resource: dom-3"),
    (
        "r01",
        "entry.3.resource.contained.0.meta.lastUpdated",
        "2030-01-15T11:00:00.000+01:00",
        "Bundle.entry[3].resource: dom-4",
    ),
    (
        "r04",
        "entry.0.resource.serviceType.2.extension.0.valueReference.reference",
        "Organization/o-a",
        "serviceType[2].extension[0].valueReference: target",
    ),
    (
        "r04",
        "entry.4.resource.providedBy.reference",
        "Organization/o-c",
        "Bundle.entry[4].resource.providedBy: reference",
    ),
    ("r01", "entry.0.fullUrl", "Slot/s-hidden", "Bundle.entry[0].fullUrl: fullUrl"),
    ("r01", "entry.0.fullUrl", f"{BASE}/Slot/other", "Bundle.entry[0].fullUrl: fullUrl"),
    ("r01", "entry.0.fullUrl", f"{BASE}/Slot/s-hidden/_history/1", "Bundle.entry[0]: bdl-8"),
    # invariants and lengths
    ("r01", "entry", lambda entries: [*entries, entries[0]], "Bundle: bdl-7"),
    ("r01", "entry.0.request", {"method": "GET", "url": "Slot"}, "Bundle: bdl-3"),
    ("r01", "entry.0.resource", GONE, "Bundle.entry[0]: bdl-5"),
    (
        "r04",
        "entry.5.resource.identifier.0.value",
        "3" + "1" * 14,
        "Bundle.entry[5].resource.identifier[0]: FINESS-invariant",
    ),
    (
        "sos",
        "entry.3.resource.identifier.0.value",
        "1470000001",
        "Bundle.entry[3].resource.identifier[0]: SIRET-invariant",
    ),
    ("sos", "entry.2.resource.address.postalCode", "470000", "address.postalCode: maxLength"),
    (
        "r01",
        "entry.3.resource.telecom.0.system",
        GONE,
        "Bundle.entry[3].resource.telecom[0]: cpt-2",
    ),
    ("appointment", "end", GONE, "Appointment: app-2"),
    ("appointment", "end", GONE, "Appointment: app-3"),
    (
        "appointment",
        "cancelationReason",
        {"text": "Annulé"},
        "Appointment: app-4",
    ),
    (
        "appointment",
        "participant.0",
        {"status": "accepted"},
        "Appointment.participant[0]: app-1",
    ),
    (
        "r01",
        "entry.2.resource.identifier.0.period",
        {"start": "2031-01-01", "end": "2030-01-01"},
        "Bundle.entry[2].resource.identifier[0].period: per-1",
    ),
]


def _spoiled(sample: Any, where: str, fault: Any) -> Any:
    """Put a fault into a copy: `entry.0.resource.start` set, removed, or made of what was there."""
    spoiled = copy.deepcopy(sample)
    *steps, last = [int(step) if step.isdigit() else step for step in where.split(".")]
    inside = spoiled
    for step in steps:
        inside = inside[step]
    if fault is GONE:
        del inside[last]
    else:
        inside[last] = fault(inside[last]) if callable(fault) else fault
    return spoiled


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("name", "where", "fault", "said"),
    [pytest.param(*fault, id=f"{fault[0]}-{n}-{fault[3]}") for n, fault in enumerate(FAULTS)],
)
def test_a_planted_fault_is_named(
    version: str, name: str, where: str, fault: Any, said: str
) -> None:
    spoiled = _spoiled(SAMPLES[name](), where, fault)
    found = [f"{f.path}: {f.rule}" for f in findings(GUIDES[version], spoiled)]
    assert any(one.endswith(said) for one in found), found


def _places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    members = value.items() if isinstance(value, dict) else enumerate(value)
    for key, member in members:
        yield (*at, key)
        if isinstance(member, dict | list):
            yield from _places(member, (*at, key))


@pytest.mark.parametrize("name", SAMPLES)
def test_nothing_may_be_null_nor_of_the_wrong_kind_anywhere(name: str) -> None:
    odd: Iterator[Any] = itertools.cycle([None, 7.5, "", [[]], {"x": "y"}, [None], "\0"])
    sample = SAMPLES[name]()
    for place, value in zip(_places(sample), odd, strict=False):
        where = ".".join(map(str, place))
        assert findings(GUIDES["1.2.0"], _spoiled(sample, where, value)), (where, value)


@pytest.mark.parametrize("name", SAMPLES)
def test_nothing_unknown_may_stand_in_any_object(name: str) -> None:
    sample = SAMPLES[name]()
    for place in _places(sample):
        where = ".".join(map(str, place))
        spoiled = _spoiled(sample, where, _with_more)
        if spoiled != sample:
            rules = {finding.rule for finding in findings(GUIDES["1.1.0"], spoiled)}
            assert "unknown element" in rules, where


def _with_more(one: Any) -> Any:
    return {**one, "unheardOf": "x"} if isinstance(one, dict) else one


def test_every_rule_of_the_validator_has_a_planted_fault() -> None:
    rules = {said.rpartition(": ")[2] for _, _, _, said in FAULTS}
    assert rules >= {
        "aggregation", "array", "binding", "empty", "fixed", "fullUrl", "max", "maxLength", "min",
        "pattern", "profile", "reference", "target", "type", "unknown element", "unknown extension",
    }  # fmt: skip


def test_a_resource_without_a_known_profile_is_not_valid() -> None:
    assert [f.rule for f in findings(GUIDES["1.1.0"], {"resourceType": "Slot"})] == ["profile"]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("name", "where", "variant"),
    [
        ("r01", "entry.0.resource.specialty", GONE),
        ("r01", "entry.0.resource.appointmentType", GONE),
        ("r01", "entry.0.resource.serviceType.0", concept(CATEGORIES, "604")),
        ("r01", "entry.0.resource.start", "2030-07-15T11:00:00.000+02:00"),
        ("r01", "entry.3.resource.organization", GONE),
        ("r01", "entry.3.resource.contained.0.identifier.0",
         identifier(PLACE_ID_TYPES, "IDNST", IDNST, "3" + "1" * 14)),
        ("r04", "entry.0.resource.serviceType", lambda types: types[:2]),
        ("appointment", "status", "noshow"),
        ("appointment", "created", "2030-01-15T10:58:03.120+01:00"),
    ],
)  # fmt: skip
def test_what_the_profiles_leave_open_is_valid(
    version: str, name: str, where: str, variant: Any
) -> None:
    assert findings(GUIDES[version], _spoiled(SAMPLES[name](), where, variant)) == []
