"""HTTP: the searches of the national platform (INT_R01, INT_R04, SOS Médecins), and what we can."""

from collections.abc import Iterable
from typing import Any

from fastapi import APIRouter, Depends, Request, Response

from service import slots
from service.fhir import codes, points, query
from service.fhir.capability import statement
from service.fhir.http import Documented, Exchanged, answer, base_url, interface_url, outcomes
from service.fhir.resources import Resource, Writer, bundle
from service.fhir.schemas import FhirResource
from service.fhir.transport import admit
from service.identity.http import CurrentActor
from service.kernel.http.deps import Uow
from service.kernel.ids import new_id
from service.slots import FreeWanted

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


def _window(of: str = "") -> list[dict[str, Any]]:
    return [
        _parameter(
            f"{of}{query.START}",
            "Twice: `ge` and the first instant, `le` and the last one; at most 31 days.",
            ["ge2030-01-15T08:00:00.000+01:00", "le2030-01-17T23:59:59.000+01:00"],
            schema={"type": "array", "items": {"type": "string"}},
        ),
        _parameter(f"{of}{query.STATUS}", "`free`.", "free"),
    ]


_SLOTS_SEARCHED: dict[str, Any] = {
    "parameters": [
        _parameter(
            query.IDENTIFIER,
            "1 to 25 practitioners, comma-separated: the system, `|`, `8` and the RPPS.",
            "urn:oid:1.2.250.1.71.4.2.1|810000000001",
        ),
        *_window(),
        _parameter(
            "_include",
            "`Slot:service-type-reference`: what members of a CPTS see, too. What a slot refers to"
            " is included anyhow.",
            "Slot:schedule",
            required=False,
        ),
    ]
}
_POINTS_SEARCHED: dict[str, Any] = {
    "parameters": [
        _parameter(
            query.STRUCTURE,
            "1 to 25 structures, comma-separated: the system, `|`, `3` and the SIRET.",
            f"{codes.STRUCTURE_ID}|333417374840002",
        ),
        *_window(query.OF_SLOTS),
    ]
}
_FOUND: dict[str, Any] = {"response_model": FhirResource}


@router.get("/Slot/", include_in_schema=False, operation_id="fhir.search_slots")
@router.get(
    "/Slot",
    operation_id="fhir.search_slots",
    openapi_extra=_SLOTS_SEARCHED,
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
    told = Writer(base_url(request), search.communities).resources(found)
    profile = codes.CPTS_BUNDLE if search.communities else codes.BUNDLE
    return _bundle(request, told, asked, profile, "Slot")


@router.get("/Schedule/", include_in_schema=False, operation_id="fhir.search_schedules")
@router.get(
    "/Schedule",
    operation_id="fhir.search_schedules",
    openapi_extra=_POINTS_SEARCHED,
    responses=outcomes(query.SearchRefused),
    **_FOUND,
)
async def search_schedules(request: Request, uow: Uow, actor: CurrentActor) -> Response:
    """Find consultation points of SOS Médecins with free slots: `sas-sos-bundle-aggregator`.

    What matches is a Schedule; its slots, the place and its structure come with it.
    """
    asked = query.pairs(request.scope["query_string"])
    search = query.read_points(asked)
    wanted = FreeWanted(sirets=search.sirets, from_=search.from_, to=search.to)
    found = await slots.points_of(uow, actor, wanted)
    told = points.resources(found, base_url(request))
    return _bundle(request, told, asked, codes.SOS_BUNDLE, "Schedule")


def _bundle(
    request: Request, told: Iterable[Resource], asked: query.Pairs, profile: str, matched: str
) -> Response:
    interface = interface_url(request)
    link = query.self_link(f"{interface}/{matched}", asked)
    where = {"interface": interface, "bundle_id": str(new_id()), "self_link": link}
    return answer(bundle(told, profile=profile, matched=matched, **where))


@capability.get(
    "/metadata",
    operation_id="fhir.metadata",
    **_FOUND,
)
async def metadata(request: Request) -> Response:
    """Say what this interface can: a CapabilityStatement, for everybody."""
    return answer(statement(interface_url(request)))
