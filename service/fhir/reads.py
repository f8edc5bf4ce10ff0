"""HTTP: what searches show, by its id. Cheap, and rarely asked for: a search tells all of it."""

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request, Response

from service import slots
from service.fhir import points
from service.fhir.http import Documented, Exchanged, answer, base_url, outcomes
from service.fhir.resources import Resource, Writer
from service.fhir.schemas import FhirResource
from service.identity import Actor
from service.identity.http import CurrentActor
from service.kernel.db import UnitOfWork
from service.kernel.errors import NotFound
from service.kernel.http.deps import Uow
from service.slots import FreeWanted

router = APIRouter(
    prefix="/fhir", tags=["fhir"], route_class=Exchanged, default_response_class=Documented
)


class ResourceNotFound(NotFound):
    """No such resource, or none that a search would show now."""

    code = "fhir-not-found"
    title = "No resource of this id is shown to you."


_READ: dict[str, Any] = {
    "response_model": FhirResource,
    "responses": outcomes(ResourceNotFound),
}


@router.get("/Slot/{slot_id}", operation_id="fhir.read_slot", **_READ)
async def read_slot(request: Request, uow: Uow, actor: CurrentActor, slot_id: str) -> Response:
    """Read a free slot as individuals' are told; else as one for communities, or of a point."""
    wanted = FreeWanted(slot_id=_number(slot_id))
    told = (
        await _agendas(request, uow, actor, wanted)
        or await _agendas(request, uow, actor, replace(wanted, communities=True))
        or await _points(request, uow, actor, wanted)
    )
    return _shown(told, "Slot", slot_id)


@router.get("/Schedule/{schedule_id}", operation_id="fhir.read_schedule", **_READ)
async def read_schedule(
    request: Request, uow: Uow, actor: CurrentActor, schedule_id: str
) -> Response:
    """Read the agenda of a practitioner at a place, or of a consultation point, with a slot."""
    if "." in schedule_id:
        told = await _agendas(request, uow, actor, _at_place(schedule_id))
    else:
        told = await _points(request, uow, actor, FreeWanted(location_id=_number(schedule_id)))
    return _shown(told, "Schedule", schedule_id)


@router.get("/PractitionerRole/{role_id}", operation_id="fhir.read_practitioner_role", **_READ)
async def read_practitioner_role(
    request: Request, uow: Uow, actor: CurrentActor, role_id: str
) -> Response:
    """Read a practitioner at a place with a slot that a search would show."""
    told = await _agendas(request, uow, actor, _at_place(role_id))
    return _shown(told, "PractitionerRole", role_id)


@router.get("/Practitioner/{practitioner_id}", operation_id="fhir.read_practitioner", **_READ)
async def read_practitioner(
    request: Request, uow: Uow, actor: CurrentActor, practitioner_id: str
) -> Response:
    """Read a practitioner with a slot that a search would show."""
    wanted = FreeWanted(practitioner_id=_number(practitioner_id), communities=True)
    told = await _agendas(request, uow, actor, wanted)
    return _shown(told, "Practitioner", practitioner_id)


@router.get("/Location/{location_id}", operation_id="fhir.read_location", **_READ)
async def read_location(
    request: Request, uow: Uow, actor: CurrentActor, location_id: str
) -> Response:
    """Read a consultation point of SOS Médecins with a slot that a search would show."""
    told = await _points(request, uow, actor, FreeWanted(location_id=_number(location_id)))
    return _shown(told, "Location", location_id)


@router.get("/HealthcareService/{service_id}", operation_id="fhir.read_service", **_READ)
async def read_service(
    request: Request, uow: Uow, actor: CurrentActor, service_id: str
) -> Response:
    """Read what the slots of a community refer to, as long as a search would show one."""
    told = await _agendas(request, uow, actor, _for_community(service_id))
    return _shown(told, "HealthcareService", service_id)


@router.get("/Organization/{organization_id}", operation_id="fhir.read_organization", **_READ)
async def read_organization(
    request: Request, uow: Uow, actor: CurrentActor, organization_id: str
) -> Response:
    """Read a community, or a structure of SOS Médecins, with a slot that a search would show."""
    of_points = FreeWanted(organization_id=_number(organization_id))
    told = await _agendas(request, uow, actor, _for_community(organization_id)) or await _points(
        request, uow, actor, of_points
    )
    return _shown(told, "Organization", organization_id)


async def _agendas(
    request: Request, uow: UnitOfWork, actor: Actor, wanted: FreeWanted
) -> list[Resource]:
    found = await slots.free_of(uow, actor, wanted)
    return list(Writer(base_url(request), wanted.communities).resources(found))


async def _points(
    request: Request, uow: UnitOfWork, actor: Actor, wanted: FreeWanted
) -> list[Resource]:
    return list(points.resources(await slots.points_of(uow, actor, wanted), base_url(request)))


def _shown(told: Iterable[Resource], kind: str, resource_id: str) -> Response:
    for resource in told:
        if (resource["resourceType"], resource["id"]) == (kind, resource_id):
            return answer(resource)
    raise ResourceNotFound


def _number(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise ResourceNotFound from None


def _at_place(text: str) -> FreeWanted:
    rpps, _, location = text.partition(".")
    if not re.fullmatch(r"[0-9]{11}", rpps):
        raise ResourceNotFound
    return FreeWanted(rpps=[rpps], location_id=_number(location), communities=True)


def _for_community(text: str) -> FreeWanted:
    return FreeWanted(community_id=_number(text), communities=True)
