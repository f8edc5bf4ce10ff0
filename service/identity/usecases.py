"""Use cases: tokens for client software, and the life of clients and grants."""

import base64
import hmac
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from service.identity import repository
from service.identity.domain import (
    PUBLISHERS,
    Actor,
    ClientRevoked,
    ClientUnknown,
    GrantEnded,
    GrantInvalid,
    Role,
)
from service.identity.repository import Grant
from service.identity.tokens import Tokens
from service.kernel import events
from service.kernel.crypto import Vault
from service.kernel.db import UnitOfWork
from service.kernel.errors import DomainError, FieldError, Malformed, Unauthenticated
from service.kernel.events import Origin
from service.kernel.ids import new_id

OPERATOR = Origin(role="operator")
_GRACE_HOURS = 24


class ClientRefused(Unauthenticated):
    """Unknown client or wrong secret: the two are told in the same words."""

    code = "invalid_client"
    title = "Unknown client or wrong secret."


class ScopeRefused(Malformed):
    """The scope names no grant of this client, or several."""

    code = "invalid_scope"
    title = "The scope must name exactly one grant of this client, such as role:regulator."


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """An access token and what it stands for."""

    access_token: str
    expires_in: int
    scope: str


async def issue_token(
    uow: UnitOfWork,
    tokens: Tokens,
    *,
    client_id: str,
    client_secret: str,
    scope: str,
    person: dict[str, str] | None,
) -> IssuedToken:
    """Exchange client credentials for a short token of one grant.

    `scope` may pick among several grants: `role:<role>` and `organization:<id>`, space separated.
    `person` is who the software says is acting: kept as asserted, not proven. Refusals:
    `invalid_client`, `invalid_scope`.
    """
    client = await repository.find_client(uow, _identifier(client_id))
    offered = uow.vault.secret_digest(client_secret)
    known = [client.secret_digest, client.previous_digest] if client else [bytes(32)]
    # Every comparison runs, so that an unknown client takes as long as a wrong secret.
    matches = [hmac.compare_digest(offered, digest or b"") for digest in known]
    if client is None or not any(matches):
        raise ClientRefused
    grant = _pick(await repository.live_grants(uow, client.id), scope)
    return IssuedToken(
        tokens.issue(client.name, grant, person), tokens.seconds, f"role:{grant.role}"
    )


def _identifier(client_id: str) -> UUID:
    try:
        return UUID(client_id)
    except ValueError:
        return UUID(int=0)


def _pick(grants: Sequence[Grant], scope: str) -> Grant:
    wanted = list(grants)
    for word in scope.split():
        kind, _, value = word.partition(":")
        if kind == "role":
            wanted = [g for g in wanted if g.role == value]
        elif kind == "organization":
            wanted = [g for g in wanted if str(g.organization_id) == value]
        else:
            raise ScopeRefused(detail="Known scopes: role:<role>, organization:<id>.")
    if len(wanted) != 1:
        raise ScopeRefused(
            grants=[f"role:{g.role} organization:{g.organization_id}" for g in grants]
        )
    return wanted[0]


async def ensure_live(uow: UnitOfWork, actor: Actor) -> None:
    """Refuse a caller whose grant was changed, revoked or has ended since the token was made."""
    if not await repository.grant_is_unchanged(uow, actor):
        raise GrantEnded


@dataclass(frozen=True, slots=True)
class NewSecret:
    """A client's id and secret; the secret is shown once and kept nowhere."""

    client_id: UUID
    client_secret: str


def _secret(vault: Vault) -> tuple[str, bytes]:
    secret = base64.urlsafe_b64encode(os.urandom(32)).decode().rstrip("=")
    return secret, vault.secret_digest(secret)


async def create_client(uow: UnitOfWork, *, name: str) -> NewSecret:
    """Create client software with a new secret. It may do nothing until it has a grant."""
    client_id, (secret, digest) = new_id(), _secret(uow.vault)
    await repository.add_client(uow, client_id=client_id, name=name, digest=digest)
    await events.record(
        uow, OPERATOR, "client.created", client_id, territory=None, data={"name": name}
    )
    return NewSecret(client_id, secret)


async def give_grant(
    uow: UnitOfWork,
    *,
    client_id: UUID,
    role: Role,
    organization_id: UUID,
    organization_type: str,
    cpts_ids: Sequence[UUID] = (),
    territories: Sequence[str],
    practitioner_ids: Sequence[UUID] = (),
    valid_until: datetime | None = None,
) -> UUID:
    """Give a client one role for one organization. Refusals: `grant-invalid`."""
    if (role is Role.DOCTOR) and len(practitioner_ids) != 1:
        raise GrantInvalid(
            FieldError("practitioner_ids", "doctor", "A doctor's grant names one practitioner.")
        )
    if practitioner_ids and role not in PUBLISHERS:
        raise GrantInvalid(
            FieldError("practitioner_ids", "role", "Only doctors and delegates publish.")
        )
    grant_id = new_id()
    await repository.add_grant(
        uow,
        grant_id=grant_id,
        client_id=client_id,
        role=role,
        organization_id=organization_id,
        organization_type=organization_type,
        cpts_ids=cpts_ids,
        territories=territories,
        practitioner_ids=practitioner_ids,
        valid_until=valid_until,
    )
    await events.record(
        uow,
        OPERATOR,
        "grant.given",
        grant_id,
        territory=None,
        data={"client_id": str(client_id), "role": role, "territories": list(territories)},
    )
    return grant_id


async def rotate_secret(
    uow: UnitOfWork, client_id: UUID, *, grace_hours: int = _GRACE_HOURS
) -> NewSecret:
    """Give a client a new secret; the old one works for `grace_hours` more."""
    secret, digest = _secret(uow.vault)
    if not await repository.rotate(uow, client_id, digest, grace_hours):
        raise await _not_in_force(uow, client_id)
    await events.record(uow, OPERATOR, "client.rotated", client_id, territory=None, data={})
    return NewSecret(client_id, secret)


async def _not_in_force(uow: UnitOfWork, client_id: UUID) -> DomainError:
    return ClientRevoked() if await repository.is_known(uow, client_id) else ClientUnknown()


async def revoke_client(uow: UnitOfWork, client_id: UUID) -> None:
    """Revoke a client and its grants, with effect on the next request."""
    if not await repository.revoke(uow, client_id):
        raise await _not_in_force(uow, client_id)
    await events.record(uow, OPERATOR, "client.revoked", client_id, territory=None, data={})


async def list_clients(uow: UnitOfWork) -> list[dict[str, Any]]:
    """List clients and their grants in force, for the operator."""
    return await repository.list_clients(uow)


async def follow_organization(
    uow: UnitOfWork, organization_id: UUID, organization_type: str, cpts_ids: Sequence[UUID]
) -> None:
    """Directory tells that an organization's type or communities changed: its grants follow."""
    await repository.follow_organization(uow, organization_id, organization_type, cpts_ids)
