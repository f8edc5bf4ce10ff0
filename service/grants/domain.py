"""Who may give which right, to whom, where. Pure rules."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from service.directory import Organization, OrganizationType, Practitioner
from service.identity import REGULATION, Account, Actor, Identifier, Role
from service.kernel.crypto import normalised
from service.kernel.errors import Conflict, FieldError, Forbidden, NotFound
from service.kernel.events import Origin

Author = Actor | Origin

# Somebody looks at every right again at least once a year, unless they say otherwise.
USUAL_TERM = timedelta(days=365)
# Software has these; nobody is the administration by a request.
_NOT_OF_PEOPLE = frozenset({Role.ADMIN, Role.SAS_PLATFORM})
_GIVEN_BY_ADMIN = frozenset(Role) - _NOT_OF_PEOPLE
_GIVEN_BY_SAS = _GIVEN_BY_ADMIN - {Role.MANAGER}
_GIVEN_BY_OTHERS = _GIVEN_BY_SAS - REGULATION


class GrantNotFound(NotFound):
    """No such grant, or none that concerns the caller's territories."""

    code = "grant-not-found"
    title = "No grant here has this id."


class RoleNotYours(Forbidden):
    """Managers give no role above their own; regulation is the business of the SAS."""

    code = "role-not-yours-to-give"
    title = "This role is not yours to give or to revoke."


class OwnGrant(Forbidden):
    """Nobody gives rights to themselves."""

    code = "own-grant"
    title = "Nobody gives rights to themselves."


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
    if author.role is not Role.MANAGER:
        return False
    sas = author.organization_type == OrganizationType.SAS
    return role in (_GIVEN_BY_SAS if sas else _GIVEN_BY_OTHERS)


def may_revoke(author: Author, role: Role) -> bool:
    """Tell whether somebody may revoke a role: who gives it, and the operator every one."""
    return isinstance(author, Origin) or may_give(author, role)


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
    now: datetime,
) -> Iterator[FieldError]:
    """Yield what makes no sense, whoever asks for it."""
    if not organization.active:
        yield FieldError("#/organization_id", "not-active", "This organization is not active.")
    if draft.role in REGULATION and organization.type != OrganizationType.SAS:
        yield FieldError(
            "#/organization_id", "not-a-sas", "Regulation works at an organization `sas`."
        )
    if _called_otherwise(draft.person, account):
        sentence = "Whoever has this identifier is called otherwise here: is it mistyped?"
        yield FieldError("#/person/family_name", "another-name", sentence)
    if draft.role is Role.DOCTOR:
        for n, practitioner in enumerate(practitioners):
            if Identifier.of_rpps(practitioner.rpps) not in account.identifiers:
                sentence = "Doctors act for themselves: this practitioner has another RPPS."
                yield FieldError(f"#/practitioner_ids/{n}", "somebody-else", sentence)
    if draft.valid_until is not None and draft.valid_until <= (draft.valid_from or now):
        yield FieldError("#/valid_until", "window-empty", "It would end before it begins.")


def _called_otherwise(person: Named, account: Account) -> bool:
    names = (person.family_name, account.family_name)
    return all(names) and len({normalised(name or "") for name in names}) > 1
