"""Use cases: give a person a right, list, revoke. Writers are callers, or the operator."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from service import directory, identity
from service.directory import (
    ForeignTerritory,
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
    RoleNotYours,
    broken_rules,
    is_oneself,
    may_give,
    may_revoke,
)
from service.identity import Account, Actor, GrantEntry, GrantInvalid, Role
from service.kernel.db import UnitOfWork
from service.kernel.errors import FieldError
from service.kernel.events import Origin
from service.kernel.paging import Page, PageRequest


async def give(uow: UnitOfWork, author: Author, draft: GrantDraft) -> GrantEntry:
    """Give a person a role for an organization; who was not known gets an account.

    In force from now on, and for a year, unless the draft says otherwise. Refusals:
    `role-not-yours-to-give`, `foreign-territory`, `own-grant`, `grant-invalid`, `grant-exists`.
    """
    if not may_give(author, draft.role):
        raise RoleNotYours
    organization, practitioners = await _named(uow, draft)
    territories = draft.territories or (organization.territory,)
    of_practitioners = {practitioner.territory for practitioner in practitioners}
    _check_home(author, {organization.territory, *territories, *of_practitioners})
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
    broken = [*broken_rules(draft, account, organization, practitioners, now)]
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
    alike = {"account": account.id, "role": draft.role, "organization": draft.organization_id}
    for grant in await identity.list_grants(uow, alike, limit=1):
        raise GrantExists(grant_id=grant.id)


async def read(uow: UnitOfWork, author: Author, grant_id: UUID) -> GrantEntry:
    """Return a grant that concerns the caller. Refusals: `grant-not-found`."""
    grant = await identity.find_grant(uow, grant_id)
    home = _home(author)
    if grant is None or (home is not None and not home & set(grant.territories)):
        raise GrantNotFound
    return grant


async def list_all(
    uow: UnitOfWork, author: Author, wanted: Mapping[str, Any], page: PageRequest
) -> Page[GrantEntry]:
    """Return the grants in the caller's territories, now and to come, newest first."""
    home, keys = _home(author), page.after(UUID)
    given = {
        **wanted,
        "mine": sorted(home) if home is not None else None,
        "before": keys[0] if keys else None,
    }
    found = await identity.list_grants(uow, given, limit=page.limit + 1)
    return page.page(found, lambda grant: [str(grant.id)])


async def revoke(uow: UnitOfWork, author: Author, grant_id: UUID) -> None:
    """Revoke a grant, with effect on the next request; revoked already, it stays so.

    Refusals: `grant-not-found`, `role-not-yours-to-give`, `foreign-territory` (it reaches further).
    """
    grant = await read(uow, author, grant_id)
    if not may_revoke(author, grant.role):
        raise RoleNotYours
    _check_home(author, set(grant.territories))
    await identity.revoke_grant(uow, _origin(author), grant_id)


def _home(author: Author) -> set[str] | None:
    """Return the territories that somebody keeps; None for the whole country."""
    if isinstance(author, Actor) and author.role is not Role.ADMIN:
        return set(author.territories)
    return None


def _check_home(author: Author, territories: set[str]) -> None:
    home = _home(author)
    if home is not None and not territories <= home:
        raise ForeignTerritory


def _origin(author: Author) -> Origin:
    return author.origin if isinstance(author, Actor) else author
