"""HTTP: the search for consultation points of SOS Médecins, by structure (guide, §1.6).

What matches is a Schedule of a place; its slots, the place and its structure come with it, and
`total` counts the slots.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from fastapi import APIRouter, Request, Response

from service import slots
from service.fhir import codes, query
from service.fhir.http import Documented, Exchanged, answer, base_url, interface_url, outcomes
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
from service.fhir.schemas import FhirResource
from service.identity.http import CurrentActor
from service.kernel.http.deps import Uow
from service.kernel.ids import new_id
from service.slots import FreePoint, FreeSlot

router = APIRouter(
    prefix="/fhir", tags=["fhir"], route_class=Exchanged, default_response_class=Documented
)

# The labels that its slots can be told by.
_LABELS = ("PUBLIC", "SNP")
_SEARCHED: dict[str, Any] = {
    "parameters": [
        {
            "name": name,
            "in": "query",
            "required": True,
            "description": description,
            "schema": {"type": kind, **({"items": {"type": "string"}} if kind == "array" else {})},
            "example": example,
        }
        for name, description, kind, example in (
            (
                query.STRUCTURE,
                "1 to 25 structures, comma-separated: the system, `|`, `3` and the SIRET.",
                "string",
                f"{codes.STRUCTURE_ID}|333417374840002",
            ),
            (
                f"{query.OF_SLOTS}{query.START}",
                "Twice: `ge` and the first instant, `le` and the last one; at most 31 days.",
                "array",
                ["ge2030-01-15T08:00:00.000+01:00", "le2030-01-17T23:59:59.000+01:00"],
            ),
            (f"{query.OF_SLOTS}{query.STATUS}", "`free`.", "string", "free"),
        )
    ]
}


@router.get("/Schedule/", include_in_schema=False, operation_id="fhir.search_schedules")
@router.get(
    "/Schedule",
    operation_id="fhir.search_schedules",
    response_model=FhirResource,
    openapi_extra=_SEARCHED,
    responses=outcomes(query.SearchRefused),
)
async def search_schedules(request: Request, uow: Uow, actor: CurrentActor) -> Response:
    """Find consultation points of SOS Médecins with free slots: `sas-sos-bundle-aggregator`."""
    asked = query.pairs(request.scope["query_string"])
    wanted = query.read_points(asked)
    found = await slots.points_of(uow, actor, wanted.sirets, wanted.from_, wanted.to)
    interface = interface_url(request)
    link = query.self_link(f"{interface}/Schedule", asked)
    return answer(_bundle(found, base_url(request), interface, link))


def _bundle(points: Sequence[FreePoint], base: str, interface: str, self_link: str) -> Resource:
    resources = list(_resources(points, base))
    entries = [
        {
            "fullUrl": f"{interface}/{resource['resourceType']}/{resource['id']}",
            "resource": resource,
            "search": {"mode": "match" if resource["resourceType"] == "Schedule" else "include"},
        }
        for resource in resources
    ]
    total = sum(resource["resourceType"] == "Slot" for resource in resources)
    return {
        "resourceType": "Bundle",
        "id": str(new_id()),
        # Theirs has entries by its profile.
        "meta": meta(codes.SOS_BUNDLE if entries else codes.BUNDLE),
        "type": "searchset",
        "total": total,
        "link": [{"relation": "self", "url": self_link}],
        **({"entry": entries} if entries else {}),
    }


def _resources(points: Sequence[FreePoint], base: str) -> Iterator[Resource]:
    """Write each resource once: points come by structure."""
    told = None
    for point in points:
        told_of = [slot for slot in point.slots if set(slot.labels) & set(_LABELS)]
        if not told_of or address(point.location) is None:
            continue
        yield _schedule(point)
        yield from (_slot(point, slot, base) for slot in told_of)
        yield _location(point, base)
        if point.organization.id != told:
            told = point.organization.id
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
