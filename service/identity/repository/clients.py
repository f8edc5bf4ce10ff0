"""Client software: its secrets and certificates; what is revoked with it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Integer, Uuid, and_, func, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert

from service.identity.domain import SubjectTaken
from service.identity.parts import in_force
from service.identity.tables import SUBJECT_TAKEN, clients, grants
from service.kernel.db import ConstraintViolated, UnitOfWork
from service.kernel.sql import bind, snp_now, texts
from service.kernel.tables import Instant

_c, _g = clients.c, grants.c


@dataclass(frozen=True, slots=True)
class Client:
    """Client software. Secrets are kept as keyed digests only."""

    id: UUID
    name: str
    revision: int
    secret_digest: bytes
    previous_digest: bytes | None
    has_certificate: bool


_CLIENT = select(
    _c.id,
    _c.name,
    _c.revision,
    _c.secret_digest,
    text(
        "CASE WHEN clients.previous_until > snp_now() THEN clients.previous_digest END"
        " AS previous_digest"
    ),
    _c.certificate_subject.is_not(None).label("has_certificate"),
).where(_c.id == bind("client_id", Uuid), _c.revoked_at.is_(None))

# Two that fit equally well are none: the caller of this statement sees it.
_CERTIFIED = (
    select(_c.id, _c.name, _c.revision, func.cardinality(_c.certificate_subject).label("fits"))
    .where(_c.certificate_subject.bool_op("<@")(texts("subject")), _c.revoked_at.is_(None))
    .order_by(func.cardinality(_c.certificate_subject).desc())
    .limit(2)
)


async def find_client(uow: UnitOfWork, client_id: UUID) -> Client | None:
    """Return a client that is not revoked."""
    row = (await uow.single(_CLIENT, {"client_id": client_id})).mappings().one_or_none()
    return None if row is None else Client(**row)


async def find_certified(uow: UnitOfWork, subject: Sequence[str]) -> tuple[UUID, str, int] | None:
    """Return id, name and revision of the client whose certificate has this subject.

    Of several that fit (only the `OU` is asked of one, `OU` and `CN` of the other) it is the one
    of which most is asked; None if that is not one alone.
    """
    found = (await uow.single(_CERTIFIED, {"subject": list(subject)})).all()
    if not found or (len(found) > 1 and found[0].fits == found[1].fits):
        return None
    return found[0].id, found[0].name, found[0].revision


_USED = (
    update(clients)
    .where(
        _c.id == bind("client_id", Uuid),
        or_(_c.last_used_at.is_(None), _c.last_used_at < snp_now() - text("interval '1 day'")),
    )
    .values(last_used_at=snp_now())
)


async def remember_use(uow: UnitOfWork, client_id: UUID) -> None:
    """Remember that a client proved itself, to within a day."""
    await uow.single(_USED, {"client_id": client_id})


_UNUSED = (
    select(_c.id)
    .where(
        _c.revoked_at.is_(None),
        func.coalesce(_c.last_used_at, _c.created_at) < bind("before", Instant),
    )
    .order_by(_c.id)
)


async def unused(uow: UnitOfWork, before: datetime) -> list[UUID]:
    """Return the clients in force that did not prove themselves since."""
    return list((await uow.execute(_UNUSED, {"before": before})).scalars())


async def add_client(uow: UnitOfWork, *, client_id: UUID, name: str, digest: bytes) -> None:
    """Insert a client."""
    await uow.execute(insert(clients), {"id": client_id, "name": name, "secret_digest": digest})


_CERTIFY = (
    update(clients)
    .where(_c.id == bind("client", Uuid), _c.revoked_at.is_(None))
    .values(certificate_subject=texts("new_subject"), revision=_c.revision + 1)
    .returning(_c.id)
)
_END_TOKENS = (
    update(grants)
    .where(_g.client_id == bind("of_client", Uuid), _g.revoked_at.is_(None))
    .values(revision=_g.revision + 1)
)


async def certify(uow: UnitOfWork, client_id: UUID, subject: Sequence[str] | None) -> bool:
    """Say what the subject of a client's certificate holds, or that it has none; tokens end.

    Refusals: `certificate-subject-taken`.
    """
    values = {"client": client_id, "new_subject": None if subject is None else list(subject)}
    try:
        done = (await uow.execute(_CERTIFY, values)).first() is not None
    except ConstraintViolated as violated:
        if violated.name != SUBJECT_TAKEN:
            raise
        raise SubjectTaken from None
    await uow.execute(_END_TOKENS, {"of_client": client_id})
    return done


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


_RENEW = (
    update(clients)
    .where(
        _c.id == bind("client_id", Uuid),
        _c.secret_digest == bind("old_digest", _c.secret_digest.type),
    )
    .values(secret_digest=bind("new_digest", _c.secret_digest.type))
)


async def renew_digest(uow: UnitOfWork, client_id: UUID, digests: Sequence[bytes]) -> None:
    """Keep a client's secret under the key that makes digests, if it is under the other one."""
    new, old = digests
    values = {"client_id": client_id, "old_digest": old, "new_digest": new}
    await uow.single(_RENEW, values)


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
