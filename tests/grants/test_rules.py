"""Who may give what: the rule alone, for every caller there can be."""

from dataclasses import replace
from itertools import product
from uuid import UUID, uuid4

import pytest

from service.directory import Organization, OrganizationType
from service.grants.domain import (
    WORKS_AT,
    GrantDraft,
    Named,
    broken_rules,
    check_giver,
    check_taker,
    may_give,
)
from service.identity import OPERATOR, REGULATION, Account, Actor, GrantEntry, Identifier, Role
from service.kernel.clock import now
from service.kernel.errors import Forbidden

CALLERS = list(product(Role, OrganizationType))
SOMEBODY = Identifier("urn:x", "somebody")


def caller(role: Role, type_: OrganizationType) -> Actor:
    """Somebody with a role at a kind of organization."""
    return Actor(uuid4(), "", uuid4(), 1, role, uuid4(), type_, ("36",))


def given(role: Role, type_: OrganizationType) -> set[Role]:
    """Which roles somebody gives."""
    return {wanted for wanted in Role if may_give(caller(role, type_), wanted)}


def test_nobody_but_managers_doctors_and_the_administration_gives_anything() -> None:
    givers = {role for role, type_ in CALLERS if given(role, type_)}
    assert givers == {Role.MANAGER, Role.ADMIN, Role.DOCTOR}


def test_nobody_gives_the_administration_by_a_request_nor_softwares_roles_to_people() -> None:
    for role, type_ in CALLERS:
        assert not given(role, type_) & {Role.ADMIN, Role.SAS_PLATFORM}
    assert not may_give(OPERATOR, Role.ADMIN)


def test_a_manager_gives_no_manager_and_regulation_is_the_business_of_a_sas() -> None:
    for type_ in OrganizationType:
        roles = given(Role.MANAGER, type_)
        assert Role.MANAGER not in roles
        assert bool(roles & REGULATION) == (type_ == OrganizationType.SAS)


# --- every manager, role, kind of organization and place ----------------------------------------

# By hand: whom one finds where. Whatever the table of the code says, it must be this.
STAFF = {
    "sas": {"regulator", "osnp", "arm", "manager", "analyst"},
    "cpts": {"professional", "platform_operator", "manager", "analyst"},
    "pharmacy": {"pharmacist"},
    "emergency_department": {"emergency_nurse"},
    "practice": {"professional", "doctor", "delegate"},
    "msp": {"professional", "doctor", "delegate"},
    "cds": {"professional", "doctor", "delegate"},
    "csnp": {"professional", "doctor", "delegate"},
    "sos": {"professional", "doctor", "delegate"},
    "other": {"professional", "doctor", "delegate", "platform_operator", "analyst"},
}
WHERE = ("own", "member", "stranger")


def organization(
    type_: OrganizationType, where: str, author: Actor, territory: str
) -> Organization:
    """An organization as it stands to somebody."""
    return Organization(
        id=author.organization_id if where == "own" else uuid4(),
        version=1,
        territory=territory,
        type=type_,
        name="",
        cpts_ids=(author.organization_id,) if where == "member" else (),
    )


def draft(role: Role, at: Organization, acts_for: tuple[UUID, ...]) -> GrantDraft:
    """A right as asked for."""
    return GrantDraft(
        person=Named(SOMEBODY),
        role=role,
        organization_id=at.id,
        practitioner_ids=acts_for,
    )


def is_given(author: Actor, wanted: GrantDraft, at: Organization) -> bool:
    """Tell whether a right is given, but for what only the directory knows of practitioners."""
    try:
        check_giver(author, wanted, at, {at.territory})
    except Forbidden:
        return False
    account = Account(uuid4(), None, None, (SOMEBODY,))
    broken = broken_rules(wanted, account, at, [], wanted.practitioner_ids, now())
    return not [error for error in broken if error.pointer == "#/organization_id"]


@pytest.mark.parametrize("kind", list(OrganizationType))
@pytest.mark.parametrize("role", list(Role))
def test_a_right_is_given_where_its_role_works_and_the_giver_reaches(
    role: Role, kind: OrganizationType
) -> None:
    """Of all managers, roles, kinds, places and territories: these are given and no other."""
    for giver, type_, where, territory in product(
        (Role.MANAGER, Role.ADMIN), OrganizationType, WHERE, ("36", "86")
    ):
        author = caller(giver, type_)
        if where == "own":
            if kind != type_:
                continue
            author = replace(author, organization_type=kind)
        at = organization(kind, where, author, territory)
        sas, admin = type_ == "sas" and giver is Role.MANAGER, giver is Role.ADMIN
        expected = (
            role in STAFF[kind]
            and (admin or (territory == "36" and role is not Role.MANAGER))
            and (admin or sas or where != "stranger")
            and (admin or sas or role not in REGULATION)
        )
        assert is_given(author, draft(role, at, ()), at) == expected, (author, at)
        held = uuid4()
        assert not is_given(author, draft(Role.DELEGATE, at, (held,)), at)


def test_the_table_of_roles_and_places_is_read_both_ways() -> None:
    assert {
        str(type_): {str(role) for role, types in WORKS_AT.items() if type_ in types}
        for type_ in OrganizationType
    } == STAFF


@pytest.mark.parametrize("role", list(Role))
def test_doctors_give_who_acts_for_themselves_at_home_and_nothing_else(role: Role) -> None:
    mine, other = uuid4(), uuid4()
    for kind, where, territory, ids in product(
        OrganizationType, WHERE, ("36", "86"), ((), (mine,), (other,), (mine, other))
    ):
        doctor = replace(caller(Role.DOCTOR, kind), practitioner_ids=(mine,))
        at = organization(kind, where, doctor, territory)
        expected = (
            role is Role.DELEGATE
            and where == "own"
            and territory == "36"
            and ids == (mine,)
            and "delegate" in STAFF[kind]
        )
        assert is_given(doctor, draft(role, at, ids), at) == expected, (doctor, at, ids)


def is_revoked(author: Actor, role: Role, at: Organization, *ids: UUID) -> bool:
    """Tell whether somebody may revoke a right."""
    grant = GrantEntry(
        uuid4(), Account(uuid4(), None, None, ()), None, role, at.id, at.cpts_ids,
        (at.territory,), ids, now(), None, None,
    )  # fmt: skip
    try:
        check_taker(author, grant)
    except Forbidden:
        return False
    return True


def test_who_gives_a_role_there_revokes_it_there() -> None:
    """A delegate, too: managers take away what they may not give."""
    for (giver, type_), role, where, territory in product(CALLERS, Role, WHERE, ("36", "86")):
        author = caller(giver, type_)
        at = organization(type_, where, author, territory)
        if giver is Role.DOCTOR:
            continue
        reaches = giver is Role.ADMIN or (
            territory == "36" and (type_ == "sas" or where != "stranger")
        )
        expected = reaches and may_give(author, role)
        assert is_revoked(author, role, at, uuid4()) == expected


def test_doctors_revoke_who_acts_for_them_alone() -> None:
    mine, other = uuid4(), uuid4()
    doctor = replace(caller(Role.DOCTOR, OrganizationType.PRACTICE), practitioner_ids=(mine,))
    at = organization(OrganizationType.PRACTICE, "stranger", doctor, "36")
    assert is_revoked(doctor, Role.DELEGATE, at, mine)
    for ids in ((other,), (mine, other)):
        assert not is_revoked(doctor, Role.DELEGATE, at, *ids)
    for role in set(Role) - {Role.DELEGATE}:
        assert not is_revoked(doctor, role, at, mine)
