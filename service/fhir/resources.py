"""What is found, as resources of the guide. Pure: plain dicts, never an empty or a null member.

Each resource bears one profile. A `Schedule` and its `PractitionerRole` are of one practitioner at
one place: their id says whose and where.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from service.directory import reference
from service.fhir import codes
from service.slots import Community, FreeAgenda, FreeSlot

Resource = dict[str, Any]


def bundle(
    told: Iterable[Resource],
    *,
    profile: str,
    matched: str,
    interface: str,
    bundle_id: str,
    self_link: str,
) -> Resource:
    """Write the answer to a search for resources of the type `matched`: each resource once.

    `interface` is where the platform reaches them. `total` counts slots, whatever was searched.
    """
    once = {(resource["resourceType"], resource["id"]): resource for resource in told}
    entries = [
        {
            "fullUrl": f"{interface}/{kind}/{resource_id}",
            "resource": resource,
            "search": _search("match" if kind == matched else "include"),
        }
        for (kind, resource_id), resource in once.items()
    ]
    return {
        "resourceType": "Bundle",
        "id": bundle_id,
        # Those of communities and of consultation points have entries by their profiles.
        "meta": meta(profile if entries else codes.BUNDLE),
        "type": "searchset",
        "total": sum(kind == "Slot" for kind, _ in once),
        "link": [{"relation": "self", "url": self_link}],
        **({"entry": entries} if entries else {}),
    }


@dataclass(frozen=True, slots=True)
class Writer:
    """Writes resources, for individuals or for communities.

    `base` is where people reach the service.
    """

    base: str
    communities: bool = False

    def resources(self, agendas: Sequence[FreeAgenda]) -> Iterator[Resource]:
        """Write slots, and then what they refer to: maybe more than once."""
        shown = [agenda for agenda in agendas if address(agenda.location)]
        for agenda in shown:
            for slot in agenda.slots:
                yield self.slot(agenda, slot)
        for agenda in shown:
            yield from self._included(agenda)

    def _included(self, agenda: FreeAgenda) -> Iterator[Resource]:
        yield schedule(agenda)
        yield practitioner(agenda)
        yield self.practitioner_role(agenda)
        named = {c.id: c for slot in agenda.slots for c in slot.communities}
        for community in named.values():
            yield healthcare_service(community)
            yield organization(community)

    def slot(self, agenda: FreeAgenda, slot: FreeSlot) -> Resource:
        """Write a slot; `comment` is where its agenda is opened, to be given an `origin`."""
        specialty = _specialty(slot.specialty or agenda.practitioner["specialty"])
        return {
            "resourceType": "Slot",
            "id": slot.id,
            "meta": labelled(codes.CPTS_SLOT if self.communities else codes.SLOT, slot.labels),
            "serviceType": [*modes(slot.modes), *map(_of_community, slot.communities)],
            **({"specialty": specialty} if specialty else {}),
            "appointmentType": concept(
                codes.APPOINTMENT_TYPE, codes.WALK_IN if slot.walk_in else codes.ROUTINE
            ),
            "schedule": {"reference": f"Schedule/{agenda_id(agenda)}"},
            "status": "free",
            "start": slot.starts_at,
            "end": slot.ends_at,
            "comment": f"{self.base}/agenda?slot={slot.id}",
        }

    def practitioner_role(self, agenda: FreeAgenda) -> Resource:
        """Write a practitioner at a place: the place within it, its structure by its number."""
        place = agenda.location
        structure = structure_id(agenda.finess, agenda.siret)
        return {
            "resourceType": "PractitionerRole",
            "id": agenda_id(agenda),
            "meta": meta(codes.PRACTITIONER_ROLE),
            "contained": [location(place, codes.LOCATION, self.base)],
            "practitioner": {"reference": f"Practitioner/{agenda.practitioner['id']}"},
            **(
                {
                    "organization": {
                        "identifier": {
                            "type": concept(codes.IDENTIFIER_TYPE, "IDNST"),
                            "system": codes.STRUCTURE_ID,
                            "value": structure,
                        }
                    }
                }
                if structure
                else {}
            ),
            "location": [{"reference": f"#{place['id']}"}],
            **phone(place["phone"]),
        }


def location(place: Mapping[str, Any], profile: str, base: str) -> Resource:
    """Write a place whose address can be written; `base` is where people reach the service."""
    return {
        "resourceType": "Location",
        "id": str(place["id"]),
        "meta": meta(profile),
        "identifier": [
            {
                "type": concept(codes.LOCATION_IDENTIFIER_TYPE, "INTRN"),
                "system": f"{base}/v1/locations",
                "value": str(place["id"]),
            }
        ],
        "name": place["name"],
        "address": address(place),
        "position": {"longitude": place["longitude"], "latitude": place["latitude"]},
    }


def agenda_id(agenda: FreeAgenda) -> str:
    """Return the id of a Schedule, and of its PractitionerRole: `<RPPS>.<location id>`."""
    return f"{agenda.practitioner['rpps']}.{agenda.location['id']}"


def schedule(agenda: FreeAgenda) -> Resource:
    """Write the agenda of one practitioner at one place."""
    return {
        "resourceType": "Schedule",
        "id": agenda_id(agenda),
        "meta": meta(codes.SCHEDULE),
        "actor": [
            {"reference": f"Practitioner/{agenda.practitioner['id']}"},
            {"reference": f"PractitionerRole/{agenda_id(agenda)}"},
        ],
    }


def practitioner(agenda: FreeAgenda) -> Resource:
    """Write a practitioner."""
    person = agenda.practitioner
    return {
        "resourceType": "Practitioner",
        "id": str(person["id"]),
        "meta": meta(codes.PRACTITIONER),
        "identifier": [
            {
                "type": concept(codes.IDENTIFIER_TYPE, "IDNPS"),
                "system": codes.PRACTITIONER_ID,
                "value": f"8{person['rpps']}",
            }
        ],
        "name": [{"family": person["family_name"], "given": [person["given_name"]]}],
    }


def healthcare_service(community: Community) -> Resource:
    """Write what a slot refers to a community by."""
    return {
        "resourceType": "HealthcareService",
        "id": str(community.id),
        "meta": meta(codes.CPTS_SERVICE),
        "providedBy": {"reference": f"Organization/{community.id}"},
    }


def organization(community: Community) -> Resource:
    """Write a community; the type of its number as both versions of the guide want it."""
    return {
        "resourceType": "Organization",
        "id": str(community.id),
        "meta": meta(codes.CPTS_ORGANIZATION),
        "identifier": [
            {
                "type": {
                    "coding": [
                        _coding(codes.LOCATION_IDENTIFIER_TYPE, "IDNST"),
                        _coding(codes.IDENTIFIER_TYPE_1_2, "IDNST"),
                    ]
                },
                "system": codes.STRUCTURE_ID,
                "value": structure_id(community.finess, None),
            }
        ],
        "name": community.name,
        **phone(community.phone),
    }


def structure_id(finess: str | None, siret: str | None) -> str | None:
    """Return the national number of a structure, with the prefix that tells its kind."""
    if finess:
        return f"1{finess}"
    return f"3{siret}" if siret else None


def address(place: Mapping[str, Any]) -> Resource | None:
    """Write where a place is; None, if the national table does not know its commune.

    The guide wants a line and a postal code: for want of them, the place's name and the commune's
    first postal code.
    """
    commune = reference.commune(place["commune"])
    if commune is None:
        return None
    line = " ".join((place["address"] or "").split()) or place["name"]
    postal_code = place["postal_code"] or next(iter(commune.postal_codes), None)
    if postal_code is None:
        return None
    return {"line": [line], "city": commune.name, "postalCode": postal_code}


@cache
def _specialty(code: str | None) -> Sequence[Resource]:
    """Write a code of TRE_R38; our own list (JDV_J239) has professions without one, too."""
    known = code and re.fullmatch(r"S(M|I|P|CD)[0-9]{2}", code)
    return [concept(codes.SPECIALTY, code)] if code and known else []


def _of_community(community: Community) -> Resource:
    service = {"reference": f"HealthcareService/{community.id}"}
    return {
        "extension": [{"url": codes.SERVICE_TYPE, "valueReference": service}],
        **concept(codes.STRUCTURE_CATEGORY, codes.CPTS),
    }


def phone(number: str | None) -> Resource:
    return {"telecom": [{"system": "phone", "value": number}]} if number else {}


# What is the same in many slots is made once, and shared: nobody changes a resource.


@cache
def labelled(profile: str, labels: tuple[str, ...]) -> Resource:
    security = [_coding(codes.VISIBILITY, label) for label in labels]
    return {**meta(profile), "security": security}


@cache
def modes(modes: tuple[str, ...]) -> Sequence[Resource]:
    return [concept(codes.MODE, mode) for mode in modes]


@cache
def _search(mode: str) -> Resource:
    return {"mode": mode}


@cache
def meta(profile: str) -> Resource:
    return {"profile": [profile]}


@cache
def _coding(system: str, code: str) -> Resource:
    return {"system": system, "code": code}


@cache
def concept(system: str, code: str) -> Resource:
    return {"coding": [_coding(system, code)]}
