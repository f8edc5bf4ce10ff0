"""Use cases: give a person a right, list, revoke. Writers are callers, or the operator."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from service import directory, identity
from service.directory import (
    Organization,
    OrganizationNotFound,
    Practitioner,
    PractitionerNotFound,
    TerritoryNotFound,
)
from service.grants.domain import (
    USUAL_TERM,
    Author,
    GrantDraft,
    GrantExists,
    GrantNotFound,
    OwnGrant,
    PersonNotFound,
    broken_rules,
    check_giver,
    check_named,
    check_taker,
    concerns,
    home,
    is_oneself,
)
from service.identity import Account, Actor, GrantEntry, GrantInvalid, Role
from service.kernel.db import UnitOfWork
from service.kernel.errors import FieldError
from service.kernel.events import Origin
from service.kernel.paging import MAX_LIMIT, Page, PageRequest


async def give(uow: UnitOfWork, author: Author, draft: GrantDraft) -> GrantEntry:
    """Give a person a role for an organization; who was not known gets an account.

    In force from now on, and for a year, unless the draft says otherwise. Refusals: those of
    `check_giver`, `giver-unnamed`, `own-grant`, `grant-invalid`, `grant-exists`.
    """
    organization, practitioners = await _named(uow, draft)
    territories = draft.territories or (organization.territory,)
    check_giver(author, draft, organization, {organization.territory, *territories})
    check_named(author)
    account = await identity.open_account(
        uow,
        _origin(author),
        identifier=draft.person.identifier,
        family_name=draft.person.family_name,
        given_name=draft.person.given_name,
        email=draft.person.email,
    )
    if is_oneself(author, account):
        raise OwnGrant
    now = await uow.now()
    working_here = await _working_at(uow, organization, practitioners)
    broken = [*broken_rules(draft, account, organization, practitioners, working_here, now)]
    broken += await _unknown_territories(uow, territories)
    if broken:
        raise GrantInvalid(*broken)
    await _refuse_twice(uow, draft, account)
    begins = draft.valid_from or now
    grant_id = await identity.give_grant(
        uow,
        _origin(author),
        account_id=account.id,
        role=draft.role,
        organization_id=organization.id,
        organization_type=organization.type,
        cpts_ids=directory.grant_communities(organization),
        territories=territories,
        practitioner_ids=draft.practitioner_ids,
        valid_from=begins,
        valid_until=draft.valid_until or begins + USUAL_TERM,
    )
    return await read(uow, author, grant_id)


async def _named(uow: UnitOfWork, draft: GrantDraft) -> tuple[Organization, list[Practitioner]]:
    """Return the organization and the practitioners that a draft names."""
    try:
        organization = await directory.organization(uow, draft.organization_id)
    except OrganizationNotFound as refusal:
        raise GrantInvalid(
            FieldError("#/organization_id", "unknown-organization", refusal.title)
        ) from None
    practitioners = []
    for n, practitioner_id in enumerate(draft.practitioner_ids):
        try:
            practitioners.append(await directory.practitioner(uow, practitioner_id))
        except PractitionerNotFound as refusal:
            raise GrantInvalid(
                FieldError(f"#/practitioner_ids/{n}", "unknown-practitioner", refusal.title)
            ) from None
    return organization, practitioners


async def _working_at(
    uow: UnitOfWork, organization: Organization, practitioners: Sequence[Practitioner]
) -> set[UUID]:
    """Return who of some practitioners works at a place of the organization."""
    theirs = [location_id for one in practitioners for location_id in one.location_ids]
    places = (await directory.places(uow, theirs)).values() if theirs else ()
    here = (place for place in places if place.organization_id == organization.id)
    return {practitioner_id for place in here for practitioner_id in place.practitioner_ids}


async def _unknown_territories(uow: UnitOfWork, codes: Sequence[str]) -> list[FieldError]:
    unknown = []
    for n, code in enumerate(codes):
        try:
            await directory.territory(uow, code)
        except TerritoryNotFound as refusal:
            unknown.append(FieldError(f"#/territories/{n}", "unknown-territory", refusal.title))
    return unknown


async def _refuse_twice(uow: UnitOfWork, draft: GrantDraft, account: Account) -> None:
    """Of two grants alike, no scope could name one."""
    alike = {
        "account": account.id,
        "role": draft.role,
        "organization": draft.organization_id,
        "acting_for": list(draft.practitioner_ids) or None,
    }
    for grant in await identity.list_grants(uow, alike, limit=1):
        raise GrantExists(grant_id=grant.id)


async def read(uow: UnitOfWork, author: Author, grant_id: UUID) -> GrantEntry:
    """Return a grant that concerns the caller. Refusals: `grant-not-found`."""
    grant = await identity.find_grant(uow, grant_id)
    if grant is None or not concerns(author, grant):
        raise GrantNotFound
    return grant


async def list_all(
    uow: UnitOfWork, author: Author, wanted: Mapping[str, Any], page: PageRequest
) -> Page[GrantEntry]:
    """Return the grants that concern the caller, now and to come, newest first."""
    keys = page.after(UUID)
    given = {**wanted, **_mine(author), "before": keys[0] if keys else None}
    found = await identity.list_grants(uow, given, limit=page.limit + 1)
    return page.page(found, lambda grant: [str(grant.id)])


def _mine(author: Author) -> dict[str, Any]:
    """Return the filters that leave what `concerns` somebody."""
    if isinstance(author, Actor) and author.role is Role.DOCTOR:
        return {"delegated_by": list(author.practitioner_ids)}
    here = home(author)
    return {"mine": sorted(here) if here is not None else None}


async def revoke(uow: UnitOfWork, author: Author, grant_id: UUID) -> None:
    """Revoke a grant, with effect on the next request; revoked already, it stays so.

    Refusals: `grant-not-found`, and those of `check_taker`.
    """
    grant = await read(uow, author, grant_id)
    check_taker(author, grant)
    await identity.revoke_grant(uow, _origin(author), grant_id)


async def stop(uow: UnitOfWork, author: Author, account_id: UUID) -> int:
    """Revoke all rights of a person, or none; return how many. Their next request is refused.

    Refusals: `person-not-found` if none concerns the caller; those of `check_taker` if any is not
    the caller's to revoke.
    """
    await identity.lock_account(uow, account_id)
    theirs = {"account": account_id}
    if not await identity.list_grants(uow, {**theirs, **_mine(author)}, limit=1):
        raise PersonNotFound
    count = 0
    while found := await identity.list_grants(uow, theirs, limit=MAX_LIMIT):
        for grant in found:
            check_taker(author, grant)
            await identity.revoke_grant(uow, _origin(author), grant.id)
        count += len(found)
    return count


def _origin(author: Author) -> Origin:
    return author.origin if isinstance(author, Actor) else author
