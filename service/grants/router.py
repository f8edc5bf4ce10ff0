"""HTTP: the rights of people, for those who keep a territory's accounts."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from service.directory import ForeignTerritory
from service.directory.http import CheckKeys, TerritoryCode
from service.grants import usecases
from service.grants.domain import GrantExists, GrantNotFound, OwnGrant, RoleNotYours
from service.grants.schemas import GrantIn, GrantOut, grant_out
from service.identity import GrantInvalid, IdentifierInvalid, Role
from service.identity.http import CurrentActor, Guarded, refusals
from service.kernel.http.deps import LIMIT, Cursor, IdempotentOnce, Limit, Uow
from service.kernel.http.shapes import PageOut
from service.kernel.paging import CursorInvalid, PageRequest

router = APIRouter(prefix="/v1", tags=["grants"], route_class=Guarded)


@router.post(
    "/grants",
    operation_id="grants.give",
    status_code=201,
    responses=refusals(
        ForeignTerritory, RoleNotYours, OwnGrant, GrantExists, GrantInvalid, IdentifierInvalid,
        GrantNotFound, idempotent=True,
    ),
)  # fmt: skip
async def give(
    uow: Uow,
    actor: CurrentActor,
    once: IdempotentOnce,
    keys: CheckKeys,
    body: GrantIn,
) -> GrantOut:
    """Give a person a right in your territories; who was not known here gets an account.

    Regulation is given by managers of a SAS, `manager` by the administration, `admin` by nobody:
    the operator makes it.
    """
    draft = body.draft(check_key=keys)
    grant = await once.create(
        uow,
        lambda: usecases.give(uow, actor, draft),
        again=lambda ids: usecases.read(uow, actor, ids[0]),
        ids=lambda grant: [grant.id],
    )
    return grant_out(grant)


@router.get("/grants", operation_id="grants.list", responses=refusals(CursorInvalid))
async def list_all(
    uow: Uow,
    actor: CurrentActor,
    territory: TerritoryCode | None = None,
    role: Role | None = None,
    organization: Annotated[UUID | None, Query(description="Id of the organization.")] = None,
    limit: Limit = LIMIT,
    cursor: Cursor = None,
) -> PageOut[GrantOut]:
    """List the rights in my territories, of people and of software, now and to come."""
    wanted = {"territory": territory, "role": role, "organization": organization}
    asked = {"list": "grants", "caller": actor.grant_id, **wanted}
    page = await usecases.list_all(uow, actor, wanted, PageRequest(limit, cursor, asked))
    return PageOut(items=[grant_out(g) for g in page.items], next_cursor=page.next_cursor)


@router.delete(
    "/grants/{grant_id}",
    operation_id="grants.revoke",
    status_code=204,
    responses=refusals(GrantNotFound, RoleNotYours, ForeignTerritory),
)
async def revoke(uow: Uow, actor: CurrentActor, grant_id: UUID) -> None:
    """Revoke a right, with effect on the holder's next request."""
    await usecases.revoke(uow, actor, grant_id)
