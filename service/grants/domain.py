"""Who may give which right, to whom, where. Pure rules."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from service.directory import (
    WITHOUT_PRACTITIONER,
    ForeignOrganization,
    ForeignTerritory,
    Organization,
    OrganizationType,
    Practitioner,
    grant_communities,
)
from service.identity import (
    PUBLISHERS,
    REGULATION,
    Account,
    Actor,
    GrantEntry,
    Identifier,
    Role,
)
from service.kernel.crypto import normalised
from service.kernel.errors import Conflict, FieldError, Forbidden, NotFound
from service.kernel.events import Origin

Author = Actor | Origin

# Somebody looks at every right again at least once a year, unless they say otherwise.
USUAL_TERM = timedelta(days=365)

_SAS, _CPTS, _OTHER = OrganizationType.SAS, OrganizationType.CPTS, OrganizationType.OTHER
_CARE = frozenset(
    {
        OrganizationType.PRACTICE,
        OrganizationType.MSP,
        OrganizationType.CDS,
        OrganizationType.CSNP,
        OrganizationType.SOS,
        _OTHER,
    }
)

# Where a person with a role works. Whoever works at an organization reads what it opened and
# booked: so it is read both ways, and nobody but regulation sits in a SAS's room. `admin` and
# `sas_platform` are software's: nobody is the administration by a request.
WORKS_AT: Mapping[Role, frozenset[OrganizationType]] = {
    **dict.fromkeys(REGULATION, frozenset({_SAS})),
    **dict.fromkeys(PUBLISHERS, _CARE),
    Role.PHARMACIST: frozenset({OrganizationType.PHARMACY}),
    Role.EMERGENCY_NURSE: frozenset({OrganizationType.EMERGENCY_DEPARTMENT}),
    Role.PROFESSIONAL: _CARE | {_CPTS},
    Role.PLATFORM_OPERATOR: frozenset({_CPTS, _OTHER}),
    Role.MANAGER: frozenset({_SAS, _CPTS}),
    Role.ANALYST: frozenset({_SAS, _CPTS, _OTHER}),
}

_GIVEN_BY_ADMIN = frozenset(WORKS_AT)
_GIVEN_BY_SAS = _GIVEN_BY_ADMIN - {Role.MANAGER}
_GIVEN_BY_OTHERS = _GIVEN_BY_SAS - REGULATION
_GIVEN_BY_DOCTORS = frozenset({Role.DELEGATE})


class GrantNotFound(NotFound):
    """No such grant, or none that concerns the caller's territories."""

    code = "grant-not-found"
    title = "No grant here has this id."


class PersonNotFound(NotFound):
    """No such person, or none who has a right that concerns the caller's territories."""

    code = "person-not-found"
    title = "Nobody with this id has a right here."


class RoleNotYours(Forbidden):
    """Managers give no role above their own; regulation is the business of the SAS."""

    code = "role-not-yours-to-give"
    title = "This role is not yours to give or to revoke."


class OwnGrant(Forbidden):
    """Nobody gives rights to themselves."""

    code = "own-grant"
    title = "Nobody gives rights to themselves."


class GiverUnnamed(Forbidden):
    """Software gives rights in the name of a person only."""

    code = "giver-unnamed"
    title = "Say who gives this right: user_system and user_id at /oauth/token, or their own token."


class DelegationNotYours(Forbidden):
    """Doctors say who acts for them, each for themselves."""

    code = "delegation-not-yours"
    title = "Doctors themselves give and revoke the right to act for them."


class GrantExists(Conflict):
    """The person has this role for this organization already; names the grant."""

    code = "grant-exists"
    title = "This person has this role for this organization already: revoke it first."


@dataclass(frozen=True, slots=True)
class Named:
    """A person as whoever gives them a right names them."""

    identifier: Identifier
    family_name: str | None = None
    given_name: str | None = None
    email: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantDraft:
    """A right as asked for. No territories: the organization's; no end: in a year."""

    person: Named
    role: Role
    organization_id: UUID
    territories: tuple[str, ...] = ()
    practitioner_ids: tuple[UUID, ...] = ()
    valid_from: datetime | None = None
    valid_until: datetime | None = None


def may_give(author: Author, role: Role) -> bool:
    """Tell whether a role may be given or revoked by somebody; the operator gives all of people."""
    if isinstance(author, Origin) or author.role is Role.ADMIN:
        return role in _GIVEN_BY_ADMIN
    if author.role is Role.DOCTOR:
        return role in _GIVEN_BY_DOCTORS
    if author.role is not Role.MANAGER:
        return False
    return role in (_GIVEN_BY_SAS if _of_sas(author) else _GIVEN_BY_OTHERS)


def check_giver(
    author: Author, draft: GrantDraft, organization: Organization, territories: Collection[str]
) -> None:
    """Refuse who may not give this role, at this organization, in these territories.

    Managers of a SAS give in their territories; others at their own organization, or at a member
    of theirs. Doctors give the right to act for themselves, at their organization. Refusals:
    `role-not-yours-to-give`, `delegation-not-yours`, `foreign-territory`, `foreign-organization`.
    """
    if not may_give(author, draft.role):
        raise RoleNotYours
    if isinstance(author, Origin):
        return
    acts_for = author.practitioner_ids if author.role is Role.DOCTOR else ()
    if draft.role is Role.DELEGATE and draft.practitioner_ids != acts_for:
        raise DelegationNotYours
    _check_home(author, territories)
    _check_organization(author, organization.id, grant_communities(organization))


def check_taker(author: Author, grant: GrantEntry) -> None:
    """Refuse who may not revoke a grant: who gives such ones; doctors, who acts for them alone.

    Refusals: as of `check_giver`; `foreign-territory` if it reaches further.
    """
    if isinstance(author, Origin):
        return
    if not may_give(author, grant.role):
        raise RoleNotYours
    if author.role is Role.DOCTOR:
        if not set(grant.practitioner_ids) <= set(author.practitioner_ids):
            raise DelegationNotYours
        return
    _check_home(author, grant.territories)
    _check_organization(author, grant.organization_id, grant.cpts_ids)


def home(author: Author) -> set[str] | None:
    """Return the territories that somebody keeps; None for the whole country."""
    if isinstance(author, Actor) and author.role is not Role.ADMIN:
        return set(author.territories)
    return None


def concerns(author: Author, grant: GrantEntry) -> bool:
    """Tell whether somebody sees a grant: those at home; a doctor, the people who act for him."""
    if isinstance(author, Actor) and author.role is Role.DOCTOR:
        mine = set(author.practitioner_ids) & set(grant.practitioner_ids)
        return grant.account is not None and grant.role is Role.DELEGATE and bool(mine)
    here = home(author)
    return here is None or bool(here & set(grant.territories))


def _check_home(author: Actor, territories: Collection[str]) -> None:
    here = home(author)
    if here is not None and not set(territories) <= here:
        raise ForeignTerritory


def _check_organization(
    author: Actor, organization_id: UUID, communities: Collection[UUID]
) -> None:
    if author.role is Role.ADMIN or (author.role is Role.MANAGER and _of_sas(author)):
        return
    own = {organization_id} if author.role is Role.DOCTOR else {organization_id, *communities}
    if author.organization_id not in own:
        raise ForeignOrganization


def _of_sas(author: Actor) -> bool:
    return author.organization_type == OrganizationType.SAS


def check_named(author: Author) -> None:
    """Refuse software that does not say who gives: it could be whoever gets. `giver-unnamed`."""
    if isinstance(author, Actor) and author.account_id is None:
        said = author.person or {}
        if not {"system", "id"} <= said.keys():
            raise GiverUnnamed


def is_oneself(author: Author, account: Account) -> bool:
    """Tell whether the caller is this person: proven, or as their software asserts."""
    if isinstance(author, Origin):
        return False
    said = author.person or {}
    asserted = Identifier(said.get("system", ""), said.get("id", ""))
    return author.account_id == account.id or asserted in account.identifiers


def broken_rules(
    draft: GrantDraft,
    account: Account,
    organization: Organization,
    practitioners: list[Practitioner],
    working_here: Collection[UUID],
    now: datetime,
) -> Iterator[FieldError]:
    """Yield what makes no sense, whoever asks for it.

    `working_here` are the practitioners who work at the organization, as the directory says.
    """
    if not organization.active:
        yield FieldError("#/organization_id", "not-active", "This organization is not active.")
    types = WORKS_AT.get(draft.role, frozenset())
    if organization.type not in types:
        sentence = f"This role works at: {', '.join(sorted(types))}."
        yield FieldError("#/organization_id", "role-works-elsewhere", sentence)
    if _called_otherwise(draft.person, account):
        sentence = "Whoever has this identifier is called otherwise here: is it mistyped?"
        yield FieldError("#/person/family_name", "another-name", sentence)
    yield from _wrongly_acted_for(draft, account, organization, practitioners, working_here)
    if draft.valid_until is not None and draft.valid_until <= (draft.valid_from or now):
        yield FieldError("#/valid_until", "window-empty", "It would end before it begins.")


def _wrongly_acted_for(
    draft: GrantDraft,
    account: Account,
    organization: Organization,
    practitioners: list[Practitioner],
    working_here: Collection[UUID],
) -> Iterator[FieldError]:
    somebodys = bool(practitioners) or organization.type in WITHOUT_PRACTITIONER
    if draft.role is Role.DELEGATE and not somebodys:
        sentence = "A delegate acts for somebody; for the organization only at a centre or SOS."
        yield FieldError("#/practitioner_ids", "delegate", sentence)
    for n, practitioner in enumerate(practitioners):
        oneself = Identifier.of_rpps(practitioner.rpps) in account.identifiers
        if draft.role is Role.DOCTOR and not oneself:
            sentence = "Doctors act for themselves: this practitioner has another RPPS."
            yield FieldError(f"#/practitioner_ids/{n}", "somebody-else", sentence)
        if practitioner.id not in working_here:
            sentence = "This practitioner does not work at the organization, as the directory says."
            yield FieldError(f"#/practitioner_ids/{n}", "works-elsewhere", sentence)


def _called_otherwise(person: Named, account: Account) -> bool:
    names = (person.family_name, account.family_name)
    return all(names) and len({normalised(name or "") for name in names}) > 1
