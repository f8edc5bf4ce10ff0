"""Who may give what: the rule alone, for every caller there can be."""

from itertools import product
from uuid import uuid4

from service.directory import OrganizationType
from service.grants.domain import may_give, may_revoke
from service.identity import OPERATOR, REGULATION, Actor, Role

CALLERS = list(product(Role, OrganizationType))


def caller(role: Role, type_: OrganizationType) -> Actor:
    """Somebody with a role at a kind of organization."""
    return Actor(uuid4(), "", uuid4(), 1, role, uuid4(), type_, ("36",))


def given(role: Role, type_: OrganizationType) -> set[Role]:
    """Which roles somebody gives."""
    return {wanted for wanted in Role if may_give(caller(role, type_), wanted)}


def test_nobody_but_managers_and_the_administration_gives_anything() -> None:
    givers = {role for role, type_ in CALLERS if given(role, type_)}
    assert givers == {Role.MANAGER, Role.ADMIN}


def test_nobody_gives_the_administration_by_a_request_nor_softwares_roles_to_people() -> None:
    for role, type_ in CALLERS:
        assert not given(role, type_) & {Role.ADMIN, Role.SAS_PLATFORM}
    assert not may_give(OPERATOR, Role.ADMIN)


def test_a_manager_gives_no_manager_and_regulation_is_the_business_of_a_sas() -> None:
    for type_ in OrganizationType:
        roles = given(Role.MANAGER, type_)
        assert Role.MANAGER not in roles
        assert bool(roles & REGULATION) == (type_ == OrganizationType.SAS)


def test_who_gives_a_role_revokes_it_and_the_operator_every_one() -> None:
    for role, type_ in CALLERS:
        someone = caller(role, type_)
        assert {r for r in Role if may_revoke(someone, r)} == given(role, type_)
    assert all(may_revoke(OPERATOR, role) for role in Role)
