"""HTTP: territories, organizations, practitioners, locations.

A practitioner is amended in the room `agenda`: whoever practises no more leaves no free slot.
"""

from typing import Annotated, Any, TypeVar
from uuid import UUID

from fastapi import APIRouter, Path, Query, Response

from service.directory import usecases
from service.directory.domain import (
    AlreadyListed,
    CommunityInUse,
    DirectoryInvalid,
    ForeignOrganization,
    ForeignTerritory,
    LocationNotFound,
    OrganizationNotFound,
    OrganizationType,
    PractitionerNotFound,
    SearchEmpty,
    StandingNotYours,
    TerritoryNotFound,
    words,
)
from service.directory.http import CheckKeys
from service.directory.schemas import (
    CommuneCode,
    Finess,
    LocationIn,
    LocationOut,
    LocationPatch,
    OrganizationIn,
    OrganizationOut,
    OrganizationPatch,
    PractitionerIn,
    PractitionerOut,
    Profession,
    Rpps,
    Siret,
    Specialty,
    TerritoryCode,
    TerritoryOut,
)
from service.identity.http import CurrentActor, Guarded, refusals
from service.kernel.errors import FieldError, PreconditionFailed
from service.kernel.http.deps import LIMIT, Cursor, IdempotentOnce, IfMatch, Limit, Uow, tag
from service.kernel.http.shapes import Answer, PageOut
from service.kernel.paging import CursorInvalid, Page, PageRequest

Out = TypeVar("Out", bound=Answer)

router = APIRouter(prefix="/v1", tags=["directory"], route_class=Guarded)


Words = Annotated[
    str | None,
    Query(
        max_length=100,
        description="Words of the name, in any order, without regard to accents or case.",
    ),
]
Active = Annotated[bool | None, Query(description="Default: both.")]


def _words(q: str | None) -> list[str] | None:
    """Return patterns that each hold a word of the search."""
    if q is None:
        return None
    found = words(q)
    if not found:
        raise SearchEmpty(FieldError("q", "no-word", "Write at least a letter or a digit."))
    return [f"%{word}%" for word in found]


def _page_out(page: Page[Any], out: type[Out]) -> PageOut[Out]:
    return PageOut(items=[out.model_validate(e) for e in page.items], next_cursor=page.next_cursor)


# --- territories --------------------------------------------------------------------------------


@router.get(
    "/territories",
    operation_id="directory.list_territories",
    responses=refusals(CursorInvalid),
)
async def list_territories(
    uow: Uow, _: CurrentActor, limit: Limit = LIMIT, cursor: Cursor = None
) -> PageOut[TerritoryOut]:
    """List the territories of the country, by code."""
    asked = {"list": "territories"}
    page = await usecases.list_territories(uow, PageRequest(limit, cursor, asked))
    return _page_out(page, TerritoryOut)


@router.get(
    "/territories/{territory_id}",
    operation_id="directory.read_territory",
    responses=refusals(TerritoryNotFound),
)
async def read_territory(
    uow: Uow, _: CurrentActor, territory_id: Annotated[TerritoryCode, Path()]
) -> TerritoryOut:
    """Read a territory: its name, its time zone, how far a search looks there."""
    return TerritoryOut.model_validate(await usecases.territory(uow, territory_id))


# --- organizations ------------------------------------------------------------------------------


@router.get(
    "/organizations",
    operation_id="directory.list_organizations",
    responses=refusals(CursorInvalid, SearchEmpty),
)
async def list_organizations(
    uow: Uow,
    _: CurrentActor,
    territory: TerritoryCode | None = None,
    type_: Annotated[OrganizationType | None, Query(alias="type")] = None,
    cpts: Annotated[UUID | None, Query(description="Its members.")] = None,
    finess: Finess | None = None,
    siret: Siret | None = None,
    active: Active = None,
    q: Words = None,
    limit: Limit = LIMIT,
    cursor: Cursor = None,
) -> PageOut[OrganizationOut]:
    """List organizations of every territory, newest first."""
    wanted = {
        "territory": territory, "type": type_, "cpts": cpts, "finess": finess, "siret": siret,
        "active": active, "words": _words(q),
    }  # fmt: skip
    asked = {"list": "organizations", **wanted}
    page = await usecases.list_organizations(uow, wanted, PageRequest(limit, cursor, asked))
    return _page_out(page, OrganizationOut)


@router.post(
    "/organizations",
    operation_id="directory.create_organization",
    status_code=201,
    responses=refusals(
        ForeignTerritory, StandingNotYours, DirectoryInvalid, AlreadyListed, idempotent=True
    ),
)
async def create_organization(
    uow: Uow,
    actor: CurrentActor,
    once: IdempotentOnce,
    response: Response,
    body: OrganizationIn,
    keys: CheckKeys,
) -> OrganizationOut:
    """List an organization in a territory of the caller's; a SAS: managers of a SAS."""
    made = await once.create(
        uow,
        lambda: usecases.create_organization(uow, actor, body.draft(), keys=keys),
        again=lambda ids: usecases.organization(uow, ids[0]),
        ids=lambda entry: [entry.id],
    )
    response.headers["Location"] = f"/v1/organizations/{made.id}"
    tag(response, made.version)
    return OrganizationOut.model_validate(made)


@router.get(
    "/organizations/{organization_id}",
    operation_id="directory.read_organization",
    responses=refusals(OrganizationNotFound),
)
async def read_organization(
    uow: Uow, _: CurrentActor, organization_id: UUID, response: Response
) -> OrganizationOut:
    """Read an organization."""
    found = await usecases.organization(uow, organization_id)
    tag(response, found.version)
    return OrganizationOut.model_validate(found)


@router.patch(
    "/organizations/{organization_id}",
    operation_id="directory.amend_organization",
    responses=refusals(
        OrganizationNotFound,
        ForeignTerritory,
        StandingNotYours,
        PreconditionFailed,
        CommunityInUse,
        DirectoryInvalid,
        AlreadyListed,
    ),
)
async def amend_organization(
    uow: Uow,
    actor: CurrentActor,
    organization_id: UUID,
    body: OrganizationPatch,
    if_match: IfMatch,
    response: Response,
    keys: CheckKeys,
) -> OrganizationOut:
    """Change some members (JSON merge patch); a new type or community ends its callers' tokens."""
    amended = await usecases.amend_organization(
        uow, actor, organization_id, body.changes(), if_match, keys=keys
    )
    tag(response, amended.version)
    return OrganizationOut.model_validate(amended)


# --- practitioners ------------------------------------------------------------------------------


@router.get(
    "/practitioners",
    operation_id="directory.list_practitioners",
    responses=refusals(CursorInvalid, SearchEmpty),
)
async def list_practitioners(
    uow: Uow,
    _: CurrentActor,
    territory: TerritoryCode | None = None,
    rpps: Rpps | None = None,
    profession: Profession | None = None,
    specialty: Specialty | None = None,
    organization: Annotated[
        UUID | None, Query(description="Who work at one of its places.")
    ] = None,
    location: Annotated[UUID | None, Query(description="Who work there.")] = None,
    active: Active = None,
    q: Words = None,
    limit: Limit = LIMIT,
    cursor: Cursor = None,
) -> PageOut[PractitionerOut]:
    """List practitioners of every territory, newest first."""
    wanted = {
        "territory": territory, "rpps": rpps, "profession": profession, "specialty": specialty,
        "organization": organization, "location": location, "active": active, "words": _words(q),
    }  # fmt: skip
    asked = {"list": "practitioners", **wanted}
    page = await usecases.list_practitioners(uow, wanted, PageRequest(limit, cursor, asked))
    return _page_out(page, PractitionerOut)


@router.post(
    "/practitioners",
    operation_id="directory.create_practitioner",
    status_code=201,
    responses=refusals(ForeignTerritory, DirectoryInvalid, AlreadyListed, idempotent=True),
)
async def create_practitioner(
    uow: Uow,
    actor: CurrentActor,
    once: IdempotentOnce,
    response: Response,
    body: PractitionerIn,
    keys: CheckKeys,
) -> PractitionerOut:
    """List a practitioner in a territory of the caller's."""
    made = await once.create(
        uow,
        lambda: usecases.create_practitioner(uow, actor, body.draft(), keys=keys),
        again=lambda ids: usecases.practitioner(uow, ids[0]),
        ids=lambda entry: [entry.id],
    )
    response.headers["Location"] = f"/v1/practitioners/{made.id}"
    tag(response, made.version)
    return PractitionerOut.model_validate(made)


@router.get(
    "/practitioners/{practitioner_id}",
    operation_id="directory.read_practitioner",
    responses=refusals(PractitionerNotFound),
)
async def read_practitioner(
    uow: Uow, _: CurrentActor, practitioner_id: UUID, response: Response
) -> PractitionerOut:
    """Read a practitioner, with the RPPS number and the places where they work."""
    found = await usecases.practitioner(uow, practitioner_id)
    tag(response, found.version)
    return PractitionerOut.model_validate(found)


# --- locations ----------------------------------------------------------------------------------


@router.get(
    "/locations",
    operation_id="directory.list_locations",
    responses=refusals(CursorInvalid),
)
async def list_locations(
    uow: Uow,
    _: CurrentActor,
    practitioner: Annotated[UUID | None, Query(description="Where they work.")] = None,
    organization: UUID | None = None,
    territory: TerritoryCode | None = None,
    commune: CommuneCode | None = None,
    active: Active = None,
    limit: Limit = LIMIT,
    cursor: Cursor = None,
) -> PageOut[LocationOut]:
    """List places of every territory, newest first."""
    wanted = {
        "practitioner": practitioner, "organization": organization, "territory": territory,
        "commune": commune, "active": active,
    }  # fmt: skip
    asked = {"list": "locations", **wanted}
    page = await usecases.list_locations(uow, wanted, PageRequest(limit, cursor, asked))
    return _page_out(page, LocationOut)


@router.post(
    "/locations",
    operation_id="directory.create_location",
    status_code=201,
    responses=refusals(ForeignOrganization, ForeignTerritory, DirectoryInvalid, idempotent=True),
)
async def create_location(
    uow: Uow, actor: CurrentActor, once: IdempotentOnce, response: Response, body: LocationIn
) -> LocationOut:
    """List a place of an organization: one's own, or one of the caller's territories."""
    made = await once.create(
        uow,
        lambda: usecases.create_location(uow, actor, body.draft()),
        again=lambda ids: usecases.location(uow, ids[0]),
        ids=lambda entry: [entry.id],
    )
    response.headers["Location"] = f"/v1/locations/{made.id}"
    tag(response, made.version)
    return LocationOut.model_validate(made)


@router.get(
    "/locations/{location_id}",
    operation_id="directory.read_location",
    responses=refusals(LocationNotFound),
)
async def read_location(
    uow: Uow, _: CurrentActor, location_id: UUID, response: Response
) -> LocationOut:
    """Read a place."""
    found = await usecases.location(uow, location_id)
    tag(response, found.version)
    return LocationOut.model_validate(found)


@router.patch(
    "/locations/{location_id}",
    operation_id="directory.amend_location",
    responses=refusals(
        LocationNotFound,
        ForeignOrganization,
        ForeignTerritory,
        PreconditionFailed,
        DirectoryInvalid,
    ),
)
async def amend_location(
    uow: Uow,
    actor: CurrentActor,
    location_id: UUID,
    body: LocationPatch,
    if_match: IfMatch,
    response: Response,
) -> LocationOut:
    """Change some members (JSON merge patch); the slots already published keep what they say."""
    amended = await usecases.amend_location(uow, actor, location_id, body.changes(), if_match)
    tag(response, amended.version)
    return LocationOut.model_validate(amended)
