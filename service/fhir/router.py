"""HTTP: the search of the national platform (INT_R01, INT_R04), its reads, and what we can."""

from typing import Any
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response

from service import slots
from service.fhir import query, resources
from service.fhir.capability import statement
from service.fhir.http import Documented, Exchanged, answer, base_url, interface_url, outcomes
from service.fhir.schemas import FhirResource
from service.fhir.transport import admit
from service.identity import Actor
from service.identity.http import CurrentActor
from service.kernel.db import UnitOfWork
from service.kernel.errors import NotFound
from service.kernel.http.deps import Uow
from service.kernel.ids import new_id
from service.slots import FreeAgenda, FreeWanted

router = APIRouter(
    prefix="/fhir", tags=["fhir"], route_class=Exchanged, default_response_class=Documented
)
# What we can: for everybody who gets here, it tells of nobody.
capability = APIRouter(
    prefix="/fhir",
    tags=["fhir"],
    default_response_class=Documented,
    dependencies=[Depends(admit)],
)


class ResourceNotFound(NotFound):
    """No such resource, or none that a search would show now."""

    code = "fhir-not-found"
    title = "No resource of this id is shown to you."


def _parameter(name: str, description: str, example: Any, **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "in": "query",
        "required": True,
        "description": description,
        "schema": {"type": "string"},
        "example": example,
        **more,
    }


_SEARCHED: dict[str, Any] = {
    "parameters": [
        _parameter(
            query.IDENTIFIER,
            "1 to 25 practitioners, comma-separated: the system, `|`, `8` and the RPPS.",
            "urn:oid:1.2.250.1.71.4.2.1|810000000001",
        ),
        _parameter(
            query.START,
            "Twice: `ge` and the first instant, `le` and the last one; at most 31 days.",
            ["ge2030-01-15T08:00:00.000+01:00", "le2030-01-17T23:59:59.000+01:00"],
            schema={"type": "array", "items": {"type": "string"}},
        ),
        _parameter(query.STATUS, "`free`.", "free"),
        _parameter(
            "_include",
            "`Slot:service-type-reference`: what members of a CPTS see, too. What a slot refers to"
            " is included anyhow.",
            "Slot:schedule",
            required=False,
        ),
    ]
}
_FOUND: dict[str, Any] = {"response_model": FhirResource}


@router.get("/Slot/", include_in_schema=False, operation_id="fhir.search_slots")
@router.get(
    "/Slot",
    operation_id="fhir.search_slots",
    openapi_extra=_SEARCHED,
    responses=outcomes(query.SearchRefused),
    **_FOUND,
)
async def search_slots(request: Request, uow: Uow, actor: CurrentActor) -> Response:
    """Find free slots of practitioners, all at once, with whom and where they belong to.

    A Bundle: `BundleAgregateur`, or with slots for communities `sas-cpts-bundle-aggregator`.
    """
    asked = query.pairs(request.scope["query_string"])
    search = query.read(asked)
    wanted = FreeWanted(
        rpps=search.rpps, from_=search.from_, to=search.to, communities=search.communities
    )
    found = await slots.free_of(uow, actor, wanted)
    writer = _writer(request, communities=search.communities)
    return answer(
        writer.bundle(
            found,
            bundle_id=str(new_id()),
            self_link=query.self_link(f"{writer.interface}/Slot", asked),
        )
    )


@router.get(
    "/Slot/{slot_id}",
    operation_id="fhir.read_slot",
    responses=outcomes(ResourceNotFound),
    **_FOUND,
)
async def read_slot(request: Request, uow: Uow, actor: CurrentActor, slot_id: str) -> Response:
    """Read a free slot that a search would show."""
    agenda = await _one(uow, actor, FreeWanted(slot_id=_number(slot_id)))
    return answer(_writer(request).slot(agenda, agenda.slots[0]))


@router.get(
    "/Schedule/{schedule_id}",
    operation_id="fhir.read_schedule",
    responses=outcomes(ResourceNotFound),
    **_FOUND,
)
async def read_schedule(uow: Uow, actor: CurrentActor, schedule_id: str) -> Response:
    """Read the agenda of a practitioner at a place with a slot that a search would show."""
    return answer(resources.schedule(await _one(uow, actor, _at_place(schedule_id))))


@router.get(
    "/PractitionerRole/{role_id}",
    operation_id="fhir.read_practitioner_role",
    responses=outcomes(ResourceNotFound),
    **_FOUND,
)
async def read_practitioner_role(
    request: Request, uow: Uow, actor: CurrentActor, role_id: str
) -> Response:
    """Read a practitioner at a place with a slot that a search would show."""
    agenda = await _one(uow, actor, _at_place(role_id))
    return answer(_writer(request).practitioner_role(agenda))


@router.get(
    "/Practitioner/{practitioner_id}",
    operation_id="fhir.read_practitioner",
    responses=outcomes(ResourceNotFound),
    **_FOUND,
)
async def read_practitioner(uow: Uow, actor: CurrentActor, practitioner_id: str) -> Response:
    """Read a practitioner with a slot that a search would show."""
    wanted = FreeWanted(practitioner_id=_number(practitioner_id))
    return answer(resources.practitioner(await _one(uow, actor, wanted)))


@capability.get(
    "/metadata",
    operation_id="fhir.metadata",
    **_FOUND,
)
async def metadata(request: Request) -> Response:
    """Say what this interface can: a CapabilityStatement, for everybody."""
    return answer(statement(interface_url(request)))


def _writer(request: Request, *, communities: bool = False) -> resources.Writer:
    return resources.Writer(base_url(request), interface_url(request), communities)


async def _one(uow: UnitOfWork, actor: Actor, wanted: FreeWanted) -> FreeAgenda:
    found = await slots.free_of(uow, actor, wanted)
    shown = [agenda for agenda in found if resources.address(agenda.location)]
    if not shown:
        raise ResourceNotFound
    return shown[0]


def _number(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise ResourceNotFound from None


def _at_place(text: str) -> FreeWanted:
    rpps, _, location = text.partition(".")
    return FreeWanted(rpps=[rpps], location_id=_number(location))
