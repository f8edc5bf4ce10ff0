"""Every SQL statement of the room."""

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
    LargeBinary,
    Select,
    Text,
    Uuid,
    and_,
    cast,
    delete,
    exists,
    func,
    literal_column,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import aggregate_order_by, array, insert

from service.identity.domain import Actor, Role, SubjectTaken
from service.identity.parts import grant_is_live, grant_parameters, in_force
from service.identity.people import Account, Identifier, SubjectToken
from service.identity.tables import (
    SUBJECT_TAKEN,
    account_identifiers,
    accounts,
    clients,
    grants,
    spent_tokens,
)
from service.kernel.db import ConstraintViolated, TransactionLost, UnitOfWork
from service.kernel.events import events
from service.kernel.prepared import Prepared
from service.kernel.sql import bind, snp_now, texts, uuids
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
)
_IS_LIVE = Prepared(select(grant_is_live().label("live")))


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


async def live_grants(uow: UnitOfWork, client_id: UUID) -> list[Grant]:
    """Return a client's grants that are in force now."""
    rows = await uow.single(_GRANTS, {"client_id": client_id})
    return [_grant(row) for row in rows.mappings()]


async def live_grants_of_person(uow: UnitOfWork, person: Identifier) -> list[Grant]:
    """Return the grants of whoever has this identifier that are in force now."""
    rows = await uow.single(_GRANTS_OF_PERSON, {"system": person.system, "value": person.value})
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


_a, _i = accounts.c, account_identifiers.c
_PAIRS = func.jsonb_agg(
    aggregate_order_by(func.jsonb_build_array(_i.system, _i.value), _i.system, _i.value)
)
_IDENTIFIERS = select(_PAIRS).where(_i.account_id == _a.id).scalar_subquery()
_ENTRY = select(
    _g.id,
    _g.account_id,
    _a.family_name,
    _a.given_name,
    _IDENTIFIERS.label("identifiers"),
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
        account=_account(row, "account_id") if row["account_id"] else None,
        client=GrantHolder(row["client_id"], row["name"]) if row["client_id"] else None,
        role=Role(row["role"]),
        organization_id=row["organization_id"],
        cpts_ids=tuple(row["cpts_ids"]),
        territories=tuple(row["territories"]),
        practitioner_ids=tuple(row["practitioner_ids"]),
        valid_from=row["valid_from"],
        valid_until=row["valid_until"],
        revoked_at=row["revoked_at"],
    )


def _account(row: Any, key: str) -> Account:
    pairs = tuple(Identifier(*pair) for pair in row["identifiers"])
    return Account(row[key], row["family_name"], row["given_name"], pairs)


_of_account = _g.account_id == _a.id
_UNUSED_ACCOUNTS = (
    select(_a.id)
    .where(
        exists(select(1).where(_of_account, in_force())),
        ~exists(select(1).where(_of_account, _g.valid_from >= bind("before", Instant))),
        ~exists(
            select(1).where(
                events.c.subject_id == _a.id,
                events.c.type == "account.signed_in",
                events.c.occurred_at >= bind("before", Instant),
            )
        ),
    )
    .order_by(_a.id)
)
_ended = func.least(_g.revoked_at, _g.valid_until)
_is_closed = and_(
    _a.created_at < bind("before", Instant),
    ~exists(select(1).where(_of_account, or_(_ended.is_(None), _ended >= bind("before", Instant)))),
)
_CLOSED_ACCOUNTS = (
    select(_a.id)
    .where(
        _is_closed,
        or_(
            *(column.is_not(None) for column in (_a.family_name, _a.given_name, _a.email)),
            exists(select(1).where(_i.account_id == _a.id)),
        ),
    )
    .order_by(_a.id)
)
# Locked like by who gives this person a right; it may have come before.
_FORGET = (
    update(accounts)
    .where(_a.id == func.any(uuids("ids")), _is_closed)
    .values(family_name=None, given_name=None, email=None)
    .returning(_a.id)
)
_FORGET_IDENTIFIERS = delete(account_identifiers).where(_i.account_id == func.any(uuids("ids")))


async def unused_accounts(uow: UnitOfWork, before: datetime) -> list[UUID]:
    """Return the people with a right, none of them newer, who have not signed in since."""
    return list((await uow.execute(_UNUSED_ACCOUNTS, {"before": before})).scalars())


async def closed_accounts(uow: UnitOfWork, before: datetime) -> list[UUID]:
    """Return the people whose last right ended before an instant, and who are still named."""
    return list((await uow.execute(_CLOSED_ACCOUNTS, {"before": before})).scalars())


async def forget(uow: UnitOfWork, account_ids: Sequence[UUID], before: datetime) -> None:
    """Take away who these people are, unless they were given a right meanwhile."""
    done = await uow.execute(_FORGET, {"ids": list(account_ids), "before": before})
    await uow.execute(_FORGET_IDENTIFIERS, {"ids": list(done.scalars())})


# Locked, so that two who give this person the same right take turns.
_LOCK_ACCOUNT = (
    select(_a.id, _a.family_name, _a.given_name, _IDENTIFIERS.label("identifiers"))
    .where(
        exists(
            select(1).where(
                _i.account_id == _a.id,
                _i.system == bind("system", Text),
                _i.value == bind("value", Text),
            )
        )
    )
    .with_for_update(key_share=True, of=accounts)
)


async def lock_account(uow: UnitOfWork, identifier: Identifier) -> Account | None:
    """Return whoever has this identifier; others wait for this transaction's end."""
    values = {"system": identifier.system, "value": identifier.value}
    row = (await uow.execute(_LOCK_ACCOUNT, values)).mappings().one_or_none()
    return None if row is None else _account(row, "id")


# What ended an hour ago no clock takes for good any more. Some go with each that comes.
_s = spent_tokens.c
_ENDED = (
    select(_s.digest)
    .where(_s.ends_at < snp_now() - text("interval '1 hour'"))
    .limit(20)
    .with_for_update(skip_locked=True)
)
_SPEND = (
    insert(spent_tokens)
    .values(digest=bind("digest", LargeBinary), ends_at=bind("ends_at", Instant))
    .on_conflict_do_nothing()
    .returning(_s.digest)
    .add_cte(delete(spent_tokens).where(_s.digest.in_(_ENDED)).cte("swept"))
)
_SPENT = select(_s.digest).where(_s.digest == bind("digest", LargeBinary))


async def spend(uow: UnitOfWork, token: SubjectToken) -> bool:
    """Note that a token was exchanged; False if it was before, in whichever process."""
    values = {"digest": token.digest, "ends_at": token.ends_at}
    return (await uow.execute(_SPEND, values)).first() is not None


async def is_unspent(uow: UnitOfWork, token: SubjectToken) -> bool:
    """Tell whether a token was not exchanged yet."""
    return (await uow.single(_SPENT, {"digest": token.digest})).first() is None


_LOCK_BY_ID = select(_a.id).where(_a.id == bind("account", Uuid)).with_for_update(key_share=True)


async def lock_account_by_id(uow: UnitOfWork, account_id: UUID) -> None:
    """Let who gives this person a right wait for this transaction's end."""
    await uow.execute(_LOCK_BY_ID, {"account": account_id})


async def add_account(
    uow: UnitOfWork,
    *,
    account_id: UUID,
    identifier: Identifier,
    family_name: str | None,
    given_name: str | None,
    email: str | None,
) -> None:
    """Insert an account. `TransactionLost`, if somebody else inserts the same person just now."""
    names = {"family_name": family_name, "given_name": given_name, "email": email}
    await uow.execute(insert(accounts), {"id": account_id, **names})
    named = {"system": identifier.system, "value": identifier.value, "account_id": account_id}
    try:
        await uow.execute(insert(account_identifiers), named)
    except ConstraintViolated as violated:
        raise TransactionLost(violated.name) from None


_REVOKE_GRANT = (
    update(grants)
    .where(_g.id == bind("grant", Uuid), _g.revoked_at.is_(None))
    .values(revoked_at=snp_now(), revision=_g.revision + 1)
    .returning(_g.id)
)


async def revoke_grant(uow: UnitOfWork, grant_id: UUID) -> bool:
    """Revoke a grant, from the next request on; False if it was revoked already."""
    return (await uow.execute(_REVOKE_GRANT, {"grant": grant_id})).first() is not None


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
