"""Use cases of the room. Writers are callers, or the operator at the command line (an `Origin`)."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar
from uuid import UUID

from service.directory import reference, repository
from service.directory.domain import (
    Author,
    CommunityInUse,
    DirectoryInvalid,
    Location,
    LocationDraft,
    LocationNotFound,
    Organization,
    OrganizationDraft,
    OrganizationNotFound,
    OrganizationType,
    Place,
    Practitioner,
    PractitionerDraft,
    PractitionerNotFound,
    Territory,
    TerritoryNotFound,
    changed_members,
    check_keys,
    check_place,
    check_position,
    check_standing,
    check_territory,
    grant_communities,
    placed,
    relocated,
)
from service.directory.repository import LOCATIONS, ORGANIZATIONS, PRACTITIONERS
from service.identity import follow_organization
from service.kernel import events
from service.kernel.db import UnitOfWork
from service.kernel.errors import FieldError
from service.kernel.events import Origin
from service.kernel.ids import new_id
from service.kernel.paging import Page, PageRequest
from service.kernel.versions import Expected

Filters = Mapping[str, Any]


async def places(uow: UnitOfWork, location_ids: Sequence[UUID]) -> dict[UUID, Place]:
    """Return the active locations among these, with all that a slot copies from them."""
    return await repository.places(uow, sorted(set(location_ids)))


# --- reading ------------------------------------------------------------------------------------


async def territory(uow: UnitOfWork, territory_id: str) -> Territory:
    """Return a territory. Refusals: `territory-not-found`."""
    found = await repository.find_territory(uow, territory_id)
    if found is None:
        raise TerritoryNotFound
    return found


async def organization(uow: UnitOfWork, organization_id: UUID) -> Organization:
    """Return an organization. Refusals: `organization-not-found`."""
    found = await ORGANIZATIONS.find(uow, organization_id)
    if found is None:
        raise OrganizationNotFound
    return found


async def organization_names(uow: UnitOfWork, ids: Sequence[UUID]) -> dict[UUID, str]:
    """Return the names of organizations, active or not."""
    return await repository.organization_names(uow, ids)


async def organization_of_type(
    uow: UnitOfWork, organization_id: UUID, type_: OrganizationType
) -> Organization | None:
    """Return an active organization if it is of this type: a pharmacy, a CPTS."""
    found = await ORGANIZATIONS.find(uow, organization_id)
    return found if found and found.active and found.type == type_ else None


async def practitioner(uow: UnitOfWork, practitioner_id: UUID) -> Practitioner:
    """Return a practitioner. Refusals: `practitioner-not-found`."""
    found = await PRACTITIONERS.find(uow, practitioner_id)
    if found is None:
        raise PractitionerNotFound
    return found


async def location(uow: UnitOfWork, location_id: UUID) -> Location:
    """Return a location. Refusals: `location-not-found`."""
    found = await LOCATIONS.find(uow, location_id)
    if found is None:
        raise LocationNotFound
    return found


async def list_territories(uow: UnitOfWork, page: PageRequest) -> Page[Territory]:
    """Return territories by code: they have no age."""
    keys = page.after(_code)
    after = keys[0] if keys else None
    found = await repository.list_territories(uow, limit=page.limit, after=after)
    return page.page(found, lambda entry: [entry.id])


def _code(key: str) -> str:
    """Read a sort key that is a territory's code."""
    if not key.isalnum():
        raise ValueError
    return key


async def list_organizations(
    uow: UnitOfWork, wanted: Filters, page: PageRequest
) -> Page[Organization]:
    """Return organizations, newest first."""
    found = await ORGANIZATIONS.newest(uow, wanted, limit=page.limit, after=_after(page))
    return page.page(found, _key)


async def list_practitioners(
    uow: UnitOfWork, wanted: Filters, page: PageRequest
) -> Page[Practitioner]:
    """Return practitioners, newest first."""
    found = await PRACTITIONERS.newest(uow, wanted, limit=page.limit, after=_after(page))
    return page.page(found, _key)


async def list_locations(uow: UnitOfWork, wanted: Filters, page: PageRequest) -> Page[Location]:
    """Return locations, newest first."""
    found = await LOCATIONS.newest(uow, wanted, limit=page.limit, after=_after(page))
    return page.page(found, _key)


def _key(entry: Organization | Practitioner | Location) -> list[str]:
    return [str(entry.id)]


def _after(page: PageRequest) -> UUID | None:
    keys = page.after(UUID)
    return keys[0] if keys else None


# --- organizations ------------------------------------------------------------------------------


async def create_organization(
    uow: UnitOfWork, author: Author, draft: OrganizationDraft, *, keys: bool
) -> Organization:
    """List an organization; `keys` says whether its FINESS must end with its key.

    Refusals: `foreign-territory`, `standing-not-yours` (a SAS), `directory-invalid` (unknown
    territory, not a CPTS, wrong key), `already-listed`.
    """
    check_territory(author, draft.territory)
    if draft.type == OrganizationType.SAS:
        check_standing(author)
    _refuse(
        *(check_keys({"finess": draft.finess}) if keys else ()),
        *await _no_territory(uow, draft.territory),
        *await _no_communities(uow, draft.cpts_ids),
    )
    organization_id = new_id()
    await ORGANIZATIONS.add(uow, organization_id, draft)
    await _tell(
        uow, author, "organization.created", organization_id, draft.territory, type=draft.type
    )
    return await organization(uow, organization_id)


async def amend_organization(
    uow: UnitOfWork,
    author: Author,
    organization_id: UUID,
    changes: Mapping[str, Any],
    expected: Expected,
    *,
    keys: bool,
) -> Organization:
    """Change some members; its callers' grants follow its type and communities.

    Nothing changed is no new version. Refusals: `organization-not-found`, `foreign-territory`,
    `standing-not-yours`, `version-mismatch`, `community-in-use`, `directory-invalid`,
    `already-listed`.
    """
    before = await ORGANIZATIONS.lock(uow, organization_id)
    if before is None:
        raise OrganizationNotFound
    check_territory(author, before.territory)
    expected.check(before.version, required=False)
    after = replace(before, **changes)
    changed = changed_members(before, after)
    if not changed:
        return before
    standing = {"type", "cpts_ids"} & set(changed)
    if standing:
        check_standing(author)
    if before.type == OrganizationType.CPTS and "type" in changed:
        await _refuse_members(uow, organization_id)
    _refuse(
        *(check_keys({"finess": after.finess}) if keys and "finess" in changed else ()),
        *(await _no_communities(uow, after.cpts_ids) if "cpts_ids" in changed else ()),
    )
    await ORGANIZATIONS.amend(uow, organization_id, after)
    if standing:
        await follow_organization(uow, organization_id, after.type, grant_communities(after))
    await _tell(
        uow, author, "organization.amended", organization_id, after.territory, changed=changed
    )
    return await organization(uow, organization_id)


async def _refuse_members(uow: UnitOfWork, cpts_id: UUID) -> None:
    if await repository.has_members(uow, cpts_id):
        raise CommunityInUse


async def _no_communities(uow: UnitOfWork, cpts_ids: Sequence[UUID]) -> list[FieldError]:
    known = await repository.lock_communities(uow, cpts_ids) if cpts_ids else set()
    return [
        FieldError(f"#/cpts_ids/{n}", "not-a-cpts", "No CPTS has this id.")
        for n, cpts_id in enumerate(cpts_ids)
        if cpts_id not in known
    ]


# --- practitioners ------------------------------------------------------------------------------


async def create_practitioner(
    uow: UnitOfWork, author: Author, draft: PractitionerDraft, *, keys: bool
) -> Practitioner:
    """List a practitioner; `keys` says whether the RPPS must end with its key.

    Refusals: `foreign-territory` (theirs, or a place's), `directory-invalid` (unknown territory or
    location, wrong key), `already-listed`.
    """
    check_territory(author, draft.territory)
    _refuse(
        *(check_keys({"rpps": draft.rpps}) if keys else ()),
        *await _no_territory(uow, draft.territory),
    )
    await _check_places(uow, author, frozenset(), draft.location_ids)
    practitioner_id = new_id()
    await PRACTITIONERS.add(uow, practitioner_id, draft)
    await repository.work_at(uow, practitioner_id, joined=draft.location_ids, left=frozenset())
    await _tell(uow, author, "practitioner.created", practitioner_id, draft.territory)
    return await practitioner(uow, practitioner_id)


async def amend_practitioner(
    uow: UnitOfWork,
    author: Author,
    practitioner_id: UUID,
    changes: Mapping[str, Any],
    expected: Expected,
    *,
    keys: bool,
) -> Practitioner:
    """Change some members; `location_ids` names all their places anew.

    Moving to another territory takes the right to write in both. Refusals:
    `practitioner-not-found`, `foreign-territory`, `version-mismatch`, `directory-invalid`,
    `already-listed`.
    """
    before = await PRACTITIONERS.lock(uow, practitioner_id)
    if before is None:
        raise PractitionerNotFound
    after = replace(before, **changes)
    check_territory(author, before.territory, after.territory)
    expected.check(before.version, required=False)
    changed = changed_members(before, after)
    if not changed:
        return before
    _refuse(
        *(check_keys({"rpps": after.rpps}) if keys and "rpps" in changed else ()),
        *(await _no_territory(uow, after.territory) if "territory" in changed else ()),
    )
    await _check_places(uow, author, before.location_ids, after.location_ids)
    await PRACTITIONERS.amend(uow, practitioner_id, after)
    await repository.work_at(
        uow,
        practitioner_id,
        joined=after.location_ids - before.location_ids,
        left=before.location_ids - after.location_ids,
    )
    await _tell(
        uow, author, "practitioner.amended", practitioner_id, after.territory, changed=changed
    )
    return await practitioner(uow, practitioner_id)


async def _check_places(
    uow: UnitOfWork, author: Author, before: frozenset[UUID], after: frozenset[UUID]
) -> None:
    """Refuse places that do not exist, and beginning or ending at a place of somebody else's."""
    touched = before ^ after
    if not touched:
        return
    known = await repository.territories_of(uow, touched)
    _refuse(
        *(
            FieldError("#/location_ids", "unknown-location", f"No location has the id {missing}.")
            for missing in sorted(touched - known.keys())
        )
    )
    check_territory(author, *known.values())


# --- locations ----------------------------------------------------------------------------------


async def create_location(uow: UnitOfWork, author: Author, draft: LocationDraft) -> Location:
    """List a place of an organization; without coordinates it is where its commune is.

    Refusals: `foreign-organization` (a doctor's side), `foreign-territory` (a manager),
    `directory-invalid` (unknown organization or commune, far from its commune).
    """
    owner = await ORGANIZATIONS.find(uow, draft.organization_id)
    if owner is None:
        raise DirectoryInvalid(
            FieldError("#/organization_id", "unknown-organization", OrganizationNotFound.title)
        )
    check_place(author, owner.id, owner.territory)
    location_id = new_id()
    await LOCATIONS.add(uow, location_id, _settled(draft))
    await _tell(
        uow,
        author,
        "location.created",
        location_id,
        owner.territory,
        organization_id=str(owner.id),
    )
    return await location(uow, location_id)


async def amend_location(
    uow: UnitOfWork,
    author: Author,
    location_id: UUID,
    changes: Mapping[str, Any],
    expected: Expected,
) -> Location:
    """Change some members; a place that moves to another commune is there unless said otherwise.

    Refusals: `location-not-found`, `foreign-organization`, `foreign-territory`,
    `version-mismatch`, `directory-invalid`.
    """
    before = await LOCATIONS.lock(uow, location_id)
    if before is None:
        raise LocationNotFound
    check_place(author, before.organization_id, before.territory)
    expected.check(before.version, required=False)
    after = _settled(relocated(before, changes))
    changed = changed_members(before, after)
    if not changed:
        return before
    await LOCATIONS.amend(uow, location_id, after)
    await _tell(
        uow,
        author,
        "location.amended",
        location_id,
        before.territory,
        organization_id=str(before.organization_id),
        changed=changed,
    )
    return await location(uow, location_id)


# --- what the writers share ---------------------------------------------------------------------

Place_ = TypeVar("Place_", bound=LocationDraft)


def _settled(draft: Place_) -> Place_:
    """Return the place with its position. Refuses an unknown commune, or one far away."""
    commune = reference.commune(draft.commune)
    if commune is None:
        raise DirectoryInvalid(
            FieldError("#/commune", "unknown-commune", "No commune has this INSEE code.")
        )
    latitude, longitude = placed(draft, commune)
    _refuse(*check_position((latitude, longitude), commune))
    return replace(draft, latitude=latitude, longitude=longitude)


def _refuse(*problems: FieldError) -> None:
    if problems:
        raise DirectoryInvalid(*problems)


async def _no_territory(uow: UnitOfWork, territory_id: str) -> list[FieldError]:
    if await repository.find_territory(uow, territory_id) is not None:
        return []
    return [FieldError("#/territory", "unknown-territory", TerritoryNotFound.title)]


async def _tell(
    uow: UnitOfWork, author: Author, type_: str, subject_id: UUID, territory_id: str, **data: Any
) -> None:
    """Record who changed which members; the values stand in the directory itself."""
    origin = author if isinstance(author, Origin) else author.origin
    await events.record(uow, origin, type_, subject_id, territory=territory_id, data=data)
