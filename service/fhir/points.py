"""Consultation points of SOS Médecins, as resources of the guide (§1.6, §2.12). Pure.

A point is a Schedule of a place; its structure is known by its SIRET.
"""

from collections.abc import Iterator, Sequence

from service.fhir import codes
from service.fhir.resources import (
    Resource,
    address,
    concept,
    labelled,
    location,
    meta,
    modes,
    phone,
    structure_id,
)
from service.slots import FreePoint, FreeSlot

# The labels that its slots can be told by.
_LABELS = ("PUBLIC", "SNP")


def resources(points: Sequence[FreePoint], base: str) -> Iterator[Resource]:
    """Write points that have slots to be told of, and what these are of; a structure at each point.

    `base` is where people reach the service.
    """
    for point in points:
        told = [slot for slot in point.slots if set(slot.labels) & set(_LABELS)]
        if told and address(point.location):
            yield _schedule(point)
            yield from (_slot(point, slot, base) for slot in told)
            yield _location(point, base)
            yield _organization(point)


def _schedule(point: FreePoint) -> Resource:
    place_id = str(point.location["id"])
    return {
        "resourceType": "Schedule",
        "id": place_id,
        "meta": meta(codes.SOS_SCHEDULE),
        "actor": [{"reference": f"Location/{place_id}"}],
    }


def _slot(point: FreePoint, slot: FreeSlot, base: str) -> Resource:
    labels = tuple(label for label in slot.labels if label in _LABELS)
    kind = codes.WALK_IN if slot.walk_in else codes.ROUTINE
    return {
        "resourceType": "Slot",
        "id": slot.id,
        "meta": labelled(codes.SOS_SLOT, labels),
        "serviceType": list(modes(slot.modes)),
        "appointmentType": concept(codes.APPOINTMENT_TYPE, kind),
        "schedule": {"reference": f"Schedule/{point.location['id']}"},
        "status": "free",
        "start": slot.starts_at,
        "end": slot.ends_at,
        "comment": f"{base}/agenda?slot={slot.id}",
    }


def _location(point: FreePoint, base: str) -> Resource:
    return {
        **location(point.location, codes.SOS_LOCATION, base),
        **phone(point.location["phone"]),
        "managingOrganization": {"reference": f"Organization/{point.organization.id}"},
    }


def _organization(point: FreePoint) -> Resource:
    return {
        "resourceType": "Organization",
        "id": str(point.organization.id),
        "meta": meta(codes.SOS_ORGANIZATION),
        "identifier": [
            {
                "type": concept(codes.LOCATION_IDENTIFIER_TYPE, "IDNST"),
                "system": codes.STRUCTURE_ID,
                "value": structure_id(None, point.organization.siret),
            }
        ],
        "name": point.organization.name,
    }
