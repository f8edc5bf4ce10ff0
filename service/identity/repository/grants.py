"""Grants of clients and of people: in force, given, listed, revoked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Integer,
    Select,
    Text,
    Uuid,
    and_,
    cast,
    column,
    func,
    literal_column,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import array, insert

from service.identity.domain import REGULATION, Actor, Role
from service.identity.parts import grant_is_live, grant_parameters, in_force
from service.identity.people import Account, Identifier
from service.identity.repository.accounts import IDENTIFIERS, account_of
from service.identity.tables import account_identifiers, accounts, clients, grants
from service.kernel.db import UnitOfWork
from service.kernel.prepared import Prepared
from service.kernel.sql import bind, integers, snp_now, texts, uuids

_g, _a, _c = grants.c, accounts.c, clients.c


@dataclass(frozen=True, slots=True)
class Grant:
    """What a client or a person may do: one role, for one organization, in some territories."""

    id: UUID
    account_id: UUID | None
    role: Role
    organization_id: UUID
    organization_type: str
    cpts_ids: tuple[UUID, ...]
    territories: tuple[str, ...]
    practitioner_ids: tuple[UUID, ...]
    revision: int
    origin: str | None = None


_LIVE = (
    select(
        _g.id,
        _g.account_id,
        _g.role,
        _g.organization_id,
        _g.organization_type,
        _g.cpts_ids,
        _g.territories,
        _g.practitioner_ids,
        _g.revision,
        _g.origin,
    )
    .where(in_force())
    .order_by(_g.id)
)
_GRANTS = _LIVE.where(_g.client_id == bind("client_id", Uuid))
_GRANTS_OF_PERSON = _LIVE.join(
    account_identifiers, account_identifiers.c.account_id == _g.account_id
).where(
    account_identifiers.c.system == bind("system", Text),
    account_identifiers.c.value == bind("value", Text),
    or_(
        and_(_g.origin.is_(None), account_identifiers.c.origin.is_(None)),
        _g.origin == bind("from_origin", Text),
    ),
)
_IS_LIVE = Prepared(select(grant_is_live().label("live")))
_callers = (
    func.unnest(
        uuids("grant_ids"), integers("revisions"), uuids("softwares"), integers("of_software")
    )
    .table_valued(
        column("grant_id", Uuid),
        column("grant_revision", Integer),
        column("grant_software", Uuid),
        column("software_revision", Integer),
        with_ordinality="nth",
    )
    .render_derived(name="callers")
)
_ARE_LIVE = Prepared(
    select(grant_is_live(dict(_callers.c)).label("live"))
    .select_from(_callers)
    .order_by(_callers.c.nth)
)


async def live_grants(uow: UnitOfWork, client_id: UUID) -> list[Grant]:
    """Return a client's grants that are in force now."""
    rows = await uow.single(_GRANTS, {"client_id": client_id})
    return [_grant(row) for row in rows.mappings()]


async def live_grants_of_person(
    uow: UnitOfWork, person: Identifier, origin: str | None = None
) -> list[Grant]:
    """Return the grants of whoever has this identifier that are in force now.

    Those of an origin for who arrives from there only; what an origin says somebody is called
    opens nothing else.
    """
    named = {"system": person.system, "value": person.value, "from_origin": origin}
    rows = await uow.single(_GRANTS_OF_PERSON, named)
    return [_grant(row) for row in rows.mappings()]


def _grant(row: Any) -> Grant:
    values = dict(row)
    values["role"] = Role(values["role"])
    for name in ("cpts_ids", "territories", "practitioner_ids"):
        values[name] = tuple(values[name])
    return Grant(**values)


async def grant_is_unchanged(uow: UnitOfWork, actor: Actor) -> bool:
    """Tell whether the grant behind a token is still as the token says."""
    rows = await uow.fetch(_IS_LIVE, grant_parameters(actor))
    return bool(rows[0]["live"])


async def grants_are_unchanged(uow: UnitOfWork, actors: Sequence[Actor]) -> list[bool]:
    """Tell of each of many callers, in their order, what `grant_is_unchanged` would."""
    values = zip(*(grant_parameters(actor).values() for actor in actors), strict=True)
    names = ("grant_ids", "revisions", "softwares", "of_software")
    rows = await uow.fetch(_ARE_LIVE, dict(zip(names, map(list, values), strict=True)))
    return [row["live"] for row in rows]


async def add_grant(
    uow: UnitOfWork,
    *,
    grant_id: UUID,
    client_id: UUID | None,
    account_id: UUID | None,
    role: Role,
    organization_id: UUID,
    organization_type: str,
    cpts_ids: Sequence[UUID],
    territories: Sequence[str],
    practitioner_ids: Sequence[UUID],
    valid_from: datetime | None,
    valid_until: datetime | None,
    origin: str | None,
) -> None:
    """Insert a grant, in force from now on unless `valid_from` says otherwise."""
    begins = {} if valid_from is None else {"valid_from": valid_from}
    await uow.execute(
        insert(grants),
        {
            "id": grant_id,
            "client_id": client_id,
            "account_id": account_id,
            **begins,
            "role": role,
            "organization_id": organization_id,
            "organization_type": organization_type,
            "cpts_ids": list(cpts_ids),
            "territories": list(territories),
            "practitioner_ids": list(practitioner_ids),
            "valid_until": valid_until,
            "origin": origin,
        },
    )


@dataclass(frozen=True, slots=True)
class GrantHolder:
    """Client software that has a grant of its own."""

    id: UUID
    name: str


@dataclass(frozen=True, slots=True)
class GrantEntry:
    """A grant as it is listed, with whose it is: a person's or software's."""

    id: UUID
    account: Account | None
    client: GrantHolder | None
    role: Role
    organization_id: UUID
    cpts_ids: tuple[UUID, ...]
    territories: tuple[str, ...]
    practitioner_ids: tuple[UUID, ...]
    valid_from: datetime
    valid_until: datetime | None
    revoked_at: datetime | None
    origin: str | None = None


_ENTRY = select(
    _g.id,
    _g.account_id,
    _a.family_name,
    _a.given_name,
    IDENTIFIERS.label("identifiers"),
    _g.client_id,
    _c.name,
    _g.role,
    _g.organization_id,
    _g.cpts_ids,
    _g.territories,
    _g.practitioner_ids,
    _g.valid_from,
    _g.valid_until,
    _g.revoked_at,
    _g.origin,
).select_from(grants.outerjoin(accounts).outerjoin(clients))
_FIND_GRANT = _ENTRY.where(_g.id == bind("grant_id", Uuid))
_FILTERS: Mapping[str, ColumnElement[bool]] = {
    "mine": _g.territories.bool_op("&&")(texts("mine")),
    "territory": _g.territories.bool_op("@>")(cast(array([bind("territory", Text)]), ARRAY(Text))),
    "role": _g.role == bind("role", Text),
    "organization": _g.organization_id == bind("organization", Uuid),
    "account": _g.account_id == bind("account", Uuid),
    # Of two grants for the same work, one for a doctor in common, or for the whole organization.
    "acting_for": or_(
        _g.practitioner_ids.bool_op("&&")(uuids("acting_for")),
        func.cardinality(_g.practitioner_ids) == 0,
    ),
    "delegated_by": and_(
        _g.account_id.is_not(None),
        _g.role == literal_column(f"'{Role.DELEGATE}'"),
        _g.practitioner_ids.bool_op("&&")(uuids("delegated_by")),
    ),
    "before": _g.id < bind("before", Uuid),
}


@cache
def _listing(given: frozenset[str]) -> Select[Any]:
    """Grants in force or to come: one statement for each combination of filters."""
    lasting = or_(_g.valid_until.is_(None), _g.valid_until > snp_now())
    wanted = [condition for name, condition in _FILTERS.items() if name in given]
    listed = _ENTRY.where(_g.revoked_at.is_(None), lasting, *wanted)
    return listed.order_by(_g.id.desc()).limit(bind("limit", Integer))


async def list_grants(
    uow: UnitOfWork, wanted: Mapping[str, Any], *, limit: int
) -> list[GrantEntry]:
    """Return grants in force or to come, newest first; a filter that is None is none."""
    given = {name: value for name, value in wanted.items() if value is not None}
    rows = await uow.single(_listing(frozenset(given)), {**given, "limit": limit})
    return [_entry(row) for row in rows.mappings()]


async def find_grant(uow: UnitOfWork, grant_id: UUID) -> GrantEntry | None:
    """Return a grant, in force or not."""
    row = (await uow.single(_FIND_GRANT, {"grant_id": grant_id})).mappings().one_or_none()
    return None if row is None else _entry(row)


def _entry(row: Any) -> GrantEntry:
    return GrantEntry(
        id=row["id"],
        account=account_of(row, "account_id") if row["account_id"] else None,
        client=GrantHolder(row["client_id"], row["name"]) if row["client_id"] else None,
        role=Role(row["role"]),
        organization_id=row["organization_id"],
        cpts_ids=tuple(row["cpts_ids"]),
        territories=tuple(row["territories"]),
        practitioner_ids=tuple(row["practitioner_ids"]),
        valid_from=row["valid_from"],
        valid_until=row["valid_until"],
        revoked_at=row["revoked_at"],
        origin=row["origin"],
    )


_HOLDER = (_g.client_id, _g.role)
_REVOKE_GRANT = (
    update(grants)
    .where(_g.id == bind("grant", Uuid), _g.revoked_at.is_(None))
    .values(revoked_at=snp_now(), revision=_g.revision + 1)
    .returning(*_HOLDER)
)
_FOLLOW = (
    update(grants)
    .where(_g.organization_id == bind("of_organization", Uuid), _g.revoked_at.is_(None))
    .values(
        cpts_ids=uuids("new_cpts_ids"),
        organization_type=bind("new_type", grants.c.organization_type.type),
        revision=_g.revision + 1,
    )
    .returning(*_HOLDER)
)
_END_TOKENS_OF_PEOPLE = (
    update(clients).where(_c.id == func.any(uuids("softwares"))).values(revision=_c.revision + 1)
)


async def revoke_grant(uow: UnitOfWork, grant_id: UUID) -> bool:
    """Revoke a grant, from the next request on; False if it was revoked already."""
    done = (await uow.execute(_REVOKE_GRANT, {"grant": grant_id})).all()
    await _end_brought(uow, done)
    return bool(done)


async def follow_organization(
    uow: UnitOfWork, organization_id: UUID, organization_type: str, cpts_ids: Sequence[UUID]
) -> None:
    """Copy an organization's type and communities into its grants; their tokens end."""
    done = await uow.execute(
        _FOLLOW,
        {
            "of_organization": organization_id,
            "new_type": organization_type,
            "new_cpts_ids": list(cpts_ids),
        },
    )
    await _end_brought(uow, done.all())


async def _end_brought(uow: UnitOfWork, changed: Sequence[Any]) -> None:
    """End the tokens of people whom software brought by rights of its own that were changed."""
    softwares = {one.client_id for one in changed if one.client_id and one.role in REGULATION}
    if softwares:
        await uow.execute(_END_TOKENS_OF_PEOPLE, {"softwares": list(softwares)})
