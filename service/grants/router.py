"""HTTP: the rights of people, for those who keep a territory's accounts."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from service.directory import ForeignOrganization, ForeignTerritory
from service.directory.http import CheckKeys, TerritoryCode
from service.grants import usecases
from service.grants.domain import (
    DelegationNotYours,
    GiverUnnamed,
    GrantExists,
    GrantNotFound,
    OwnGrant,
    PersonNotFound,
    RoleNotYours,
)
from service.grants.schemas import GrantIn, GrantOut, grant_out
from service.identity import GrantInvalid, IdentifierInvalid, Role
from service.identity.http import CurrentActor, Guarded, refusals
from service.kernel.http.deps import LIMIT, Cursor, IdempotentOnce, Limit, Uow
from service.kernel.http.shapes import PageOut
from service.kernel.paging import CursorInvalid, PageRequest

router = APIRouter(prefix="/v1", tags=["grants"], route_class=Guarded)

_NOT_YOURS = (RoleNotYours, DelegationNotYours, ForeignTerritory, ForeignOrganization)


@router.post(
    "/grants",
    operation_id="grants.give",
    status_code=201,
    responses=refusals(
        *_NOT_YOURS, GiverUnnamed, OwnGrant, GrantExists, GrantInvalid, IdentifierInvalid,
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

    Managers of a SAS give in their territories, others at their own organization or its members.
    Regulation is given by managers of a SAS, `manager` by the administration, `admin` by nobody:
    the operator makes it. The right to act for a doctor (`delegate`) is given by that doctor alone.
    Whoever gives is a person: who signed in, or whom the software names.
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
    person: Annotated[UUID | None, Query(description="Id of the person's account.")] = None,
    limit: Limit = LIMIT,
    cursor: Cursor = None,
) -> PageOut[GrantOut]:
    """List the rights in my territories, of people and of software, now and to come.

    Doctors see the people who act for them.
    """
    wanted = {
        "territory": territory, "role": role, "organization": organization, "account": person,
    }  # fmt: skip
    asked = {"list": "grants", "caller": actor.grant_id, **wanted}
    page = await usecases.list_all(uow, actor, wanted, PageRequest(limit, cursor, asked))
    return PageOut(items=[grant_out(g) for g in page.items], next_cursor=page.next_cursor)


@router.delete(
    "/grants/{grant_id}",
    operation_id="grants.revoke",
    status_code=204,
    responses=refusals(GrantNotFound, *_NOT_YOURS),
)
async def revoke(uow: Uow, actor: CurrentActor, grant_id: UUID) -> None:
    """Revoke a right, with effect on the holder's next request."""
    await usecases.revoke(uow, actor, grant_id)


@router.delete(
    "/people/{account_id}/grants",
    operation_id="grants.stop",
    status_code=204,
    responses=refusals(PersonNotFound, *_NOT_YOURS),
)
async def stop(uow: Uow, actor: CurrentActor, account_id: UUID) -> None:
    """Revoke all rights of a person, with effect on their next request; or none.

    For who may revoke each of them: rights elsewhere are for the managers there, or the operator.
    """
    await usecases.stop(uow, actor, account_id)
