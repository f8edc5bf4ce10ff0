"""Every SQL statement of the room."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Integer, Uuid, and_, func, insert, select, text, update

from service.identity.domain import Actor, Role
from service.identity.parts import grant_is_live, grant_parameters, in_force
from service.identity.tables import clients, grants
from service.kernel.db import UnitOfWork
from service.kernel.prepared import Prepared
from service.kernel.sql import bind, snp_now, uuids

_c, _g = clients.c, grants.c


@dataclass(frozen=True, slots=True)
class Client:
    """Client software. Secrets are kept as keyed digests only."""

    id: UUID
    name: str
    secret_digest: bytes
    previous_digest: bytes | None


@dataclass(frozen=True, slots=True)
class Grant:
    """What a client may do: one role, for one organization, in some territories."""

    id: UUID
    client_id: UUID
    role: Role
    organization_id: UUID
    organization_type: str
    cpts_ids: tuple[UUID, ...]
    territories: tuple[str, ...]
    practitioner_ids: tuple[UUID, ...]
    revision: int


_CLIENT = select(
    _c.id,
    _c.name,
    _c.secret_digest,
    text(
        "CASE WHEN clients.previous_until > snp_now() THEN clients.previous_digest END"
        " AS previous_digest"
    ),
).where(_c.id == bind("client_id", Uuid), _c.revoked_at.is_(None))

_GRANTS = (
    select(
        _g.id,
        _g.client_id,
        _g.role,
        _g.organization_id,
        _g.organization_type,
        _g.cpts_ids,
        _g.territories,
        _g.practitioner_ids,
        _g.revision,
    )
    .where(_g.client_id == bind("client_id", Uuid), in_force())
    .order_by(_g.id)
)
_IS_LIVE = Prepared(select(grant_is_live().label("live")))


async def find_client(uow: UnitOfWork, client_id: UUID) -> Client | None:
    """Return a client that is not revoked."""
    row = (await uow.single(_CLIENT, {"client_id": client_id})).mappings().one_or_none()
    return None if row is None else Client(**row)


async def live_grants(uow: UnitOfWork, client_id: UUID) -> list[Grant]:
    """Return a client's grants that are in force now."""
    rows = await uow.single(_GRANTS, {"client_id": client_id})
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


async def add_client(uow: UnitOfWork, *, client_id: UUID, name: str, digest: bytes) -> None:
    """Insert a client."""
    await uow.execute(insert(clients), {"id": client_id, "name": name, "secret_digest": digest})


async def add_grant(
    uow: UnitOfWork,
    *,
    grant_id: UUID,
    client_id: UUID,
    role: Role,
    organization_id: UUID,
    organization_type: str,
    cpts_ids: Sequence[UUID],
    territories: Sequence[str],
    practitioner_ids: Sequence[UUID],
    valid_until: datetime | None,
) -> None:
    """Insert a grant."""
    await uow.execute(
        insert(grants),
        {
            "id": grant_id,
            "client_id": client_id,
            "role": role,
            "organization_id": organization_id,
            "organization_type": organization_type,
            "cpts_ids": list(cpts_ids),
            "territories": list(territories),
            "practitioner_ids": list(practitioner_ids),
            "valid_until": valid_until,
        },
    )


_ROTATE = (
    update(clients)
    .where(_c.id == bind("client_id", Uuid), _c.revoked_at.is_(None))
    .values(
        previous_digest=_c.secret_digest,
        previous_until=snp_now() + func.make_interval(0, 0, 0, 0, bind("grace_hours", Integer)),
        secret_digest=bind("digest", _c.secret_digest.type),
    )
    .returning(_c.id)
)


async def rotate(uow: UnitOfWork, client_id: UUID, digest: bytes, grace_hours: int) -> bool:
    """Give a client a new secret; the old one works until the grace period ends."""
    done = await uow.execute(
        _ROTATE, {"client_id": client_id, "digest": digest, "grace_hours": grace_hours}
    )
    return done.first() is not None


_KNOWN = select(_c.id).where(_c.id == bind("client_id", Uuid))


async def is_known(uow: UnitOfWork, client_id: UUID) -> bool:
    """Tell whether there is such a client, revoked or not."""
    return (await uow.execute(_KNOWN, {"client_id": client_id})).first() is not None


_REVOKE_CLIENT = (
    update(clients)
    .where(_c.id == bind("client_id", Uuid), _c.revoked_at.is_(None))
    .values(revoked_at=snp_now())
    .returning(_c.id)
)
_REVOKE_GRANTS = (
    update(grants)
    .where(_g.client_id == bind("of_client", Uuid), _g.revoked_at.is_(None))
    .values(revoked_at=snp_now(), revision=_g.revision + 1)
)


async def revoke(uow: UnitOfWork, client_id: UUID) -> bool:
    """Revoke a client and its grants, from the next request on."""
    done = (await uow.execute(_REVOKE_CLIENT, {"client_id": client_id})).first() is not None
    await uow.execute(_REVOKE_GRANTS, {"of_client": client_id})
    return done


_FOLLOW = (
    update(grants)
    .where(_g.organization_id == bind("of_organization", Uuid), _g.revoked_at.is_(None))
    .values(
        cpts_ids=uuids("new_cpts_ids"),
        organization_type=bind("new_type", grants.c.organization_type.type),
        revision=_g.revision + 1,
    )
)


async def follow_organization(
    uow: UnitOfWork, organization_id: UUID, organization_type: str, cpts_ids: Sequence[UUID]
) -> None:
    """Copy an organization's type and communities into its grants; their tokens end."""
    await uow.execute(
        _FOLLOW,
        {
            "of_organization": organization_id,
            "new_type": organization_type,
            "new_cpts_ids": list(cpts_ids),
        },
    )


_LIST = (
    select(
        _c.id,
        _c.name,
        _c.created_at,
        _c.revoked_at,
        _g.role,
        _g.territories,
        _g.organization_id,
        _g.valid_until,
    )
    .select_from(clients.outerjoin(grants, and_(_g.client_id == _c.id, in_force())))
    .order_by(_c.name, _c.id)
)


async def list_clients(uow: UnitOfWork) -> list[dict[str, Any]]:
    """Return every client with its grants in force, one row each."""
    return [dict(row) for row in (await uow.single(_LIST)).mappings()]
