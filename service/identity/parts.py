"""Statement parts: is the caller's grant still as its token says; and which grants are there?"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Integer,
    Subquery,
    Uuid,
    and_,
    exists,
    func,
    literal_column,
    or_,
    select,
)

from service.identity.domain import BOOKERS, PROFESSIONALS, PUBLISHERS, REGULATION, Actor, Role
from service.identity.tables import account_identifiers, clients, grants
from service.kernel.sql import bind, snp_now


def in_force() -> ColumnElement[bool]:
    """A grant is in force: unrevoked and within its dates."""
    g = grants.c
    return and_(
        g.revoked_at.is_(None),
        g.valid_from <= snp_now(),
        or_(g.valid_until.is_(None), g.valid_until > snp_now()),
    )


def live_grants(name: str = "live_grant") -> Subquery:
    """Every grant in force, with what its role may do in a slot: for "who could see this?"."""
    g = grants.c
    return (
        select(
            g.id,
            g.role,
            g.organization_id,
            g.organization_type,
            g.cpts_ids,
            g.territories,
            g.practitioner_ids,
            _one_of(BOOKERS).label("books"),
            _one_of(PROFESSIONALS).label("is_professional"),
            _one_of(REGULATION).label("regulates"),
            _one_of(PUBLISHERS).label("publishes"),
        )
        .where(in_force())
        .subquery(name)
    )


def _one_of(roles: frozenset[Role]) -> ColumnElement[bool]:
    return grants.c.role.in_([literal_column(f"'{role}'") for role in sorted(roles)])


def software_is_live(client_id: ColumnElement[UUID]) -> ColumnElement[bool]:
    """True while client software is not revoked: a person's grant lasts as long as theirs."""
    c = clients.c
    return exists(select(1).where(c.id == client_id, c.revoked_at.is_(None)))


_CALLER: Mapping[str, ColumnElement[Any]] = {
    "grant_id": bind("grant_id", Uuid),
    "grant_revision": bind("grant_revision", Integer),
    "grant_software": bind("grant_software", Uuid),
    "software_revision": bind("software_revision", Integer),
}


def grant_is_live(caller: Mapping[str, ColumnElement[Any]] = _CALLER) -> ColumnElement[bool]:
    """True while the caller's grant is unchanged, unrevoked and within its dates.

    A person's grant lasts as long as the software that they signed in with, its way of proving
    itself and its own rights to regulate, too; software's own ends with them anyhow. A statement
    that carries this condition needs no look-up before it; revoking takes effect on the next
    request. Parameters: `grant_parameters`; or columns of these names, for many callers.
    """
    g, c = grants.c, clients.c
    software = (
        select(1)
        .where(
            c.id == caller["grant_software"],
            c.revision == caller["software_revision"],
            c.revoked_at.is_(None),
        )
        .correlate_except(clients)
    )
    return exists(
        select(1)
        .where(
            g.id == caller["grant_id"],
            g.revision == caller["grant_revision"],
            in_force(),
            or_(g.client_id.is_not(None), exists(software)),
        )
        .correlate_except(grants)
    )


def still_acts(
    practitioner_id: ColumnElement[Any],
    *,
    grant_id: ColumnElement[Any],
    client_id: ColumnElement[Any],
) -> ColumnElement[bool]:
    """True while a right and its software are in force, and it lets act for a practitioner.

    For a row that was made with that right and outlives the request: its columns.
    """
    g, c = grants.c, clients.c
    return exists(
        select(1).where(
            g.id == grant_id,
            in_force(),
            _one_of(PUBLISHERS),
            practitioner_id == func.any(g.practitioner_ids),
            c.id == client_id,
            c.revoked_at.is_(None),
        )
    )


def is_named(account_id: ColumnElement[Any]) -> ColumnElement[bool]:
    """True while somebody has an identifier here: retention has not forgotten them."""
    i = account_identifiers.c
    return exists(select(1).where(i.account_id == account_id))


def right_ended(
    grant_id: ColumnElement[Any], client_id: ColumnElement[Any], *, before: ColumnElement[datetime]
) -> ColumnElement[bool]:
    """True when a right, or its software, had ended before an instant. Columns of a row."""
    g, c = grants.c, clients.c
    ended = func.least(g.revoked_at, g.valid_until, c.revoked_at)
    return exists(select(1).where(g.id == grant_id, c.id == client_id, ended < before))


def grant_parameters(actor: Actor) -> dict[str, Any]:
    """Return the parameters of `grant_is_live`."""
    return {
        "grant_id": actor.grant_id,
        "grant_revision": actor.grant_revision,
        "grant_software": actor.client_id,
        "software_revision": actor.client_revision,
    }
