"""Accounts: people and their identifiers; who of them is forgotten."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Text, Uuid, and_, delete, exists, func, or_, select, text, update
from sqlalchemy.dialects.postgresql import aggregate_order_by, insert

from service.identity.parts import in_force
from service.identity.people import Account, Identifier
from service.identity.tables import account_identifiers, accounts, grants
from service.kernel.db import ConstraintViolated, TransactionLost, UnitOfWork
from service.kernel.events import events
from service.kernel.sql import bind, uuids
from service.kernel.tables import Instant

_a, _i, _g = accounts.c, account_identifiers.c, grants.c
_PAIRS = func.jsonb_agg(
    aggregate_order_by(func.jsonb_build_array(_i.system, _i.value), _i.system, _i.value)
)
# Of the account in the statement that it is put into.
IDENTIFIERS = (
    select(func.coalesce(_PAIRS, text("'[]'"))).where(_i.account_id == _a.id).scalar_subquery()
)


def account_of(row: Any, key: str) -> Account:
    """Return whom a row with names and `IDENTIFIERS` tells of; `key` is where their id is."""
    pairs = tuple(Identifier(*pair) for pair in row["identifiers"])
    return Account(row[key], row["family_name"], row["given_name"], pairs)


_of_account = _g.account_id == _a.id
_UNUSED_ACCOUNTS = (
    select(_a.id)
    .where(
        # What SAS gave is SAS's to take.
        exists(select(1).where(_of_account, in_force(), _g.origin.is_(None))),
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
    select(_a.id, _a.family_name, _a.given_name, IDENTIFIERS.label("identifiers"))
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
    return None if row is None else account_of(row, "id")


_LOCK_BY_ID = select(_a.id).where(_a.id == bind("account", Uuid)).with_for_update(key_share=True)


async def lock_account_by_id(uow: UnitOfWork, account_id: UUID) -> None:
    """Let who gives this person a right wait for this transaction's end."""
    await uow.execute(_LOCK_BY_ID, {"account": account_id})


async def add_account(
    uow: UnitOfWork,
    *,
    account_id: UUID,
    family_name: str | None,
    given_name: str | None,
    email: str | None,
) -> None:
    """Insert an account of somebody without any identifier yet."""
    names = {"family_name": family_name, "given_name": given_name, "email": email}
    await uow.execute(insert(accounts), {"id": account_id, **names})


async def add_identifier(
    uow: UnitOfWork, account_id: UUID, identifier: Identifier, origin: str | None = None
) -> None:
    """Give an account an identifier; `origin`: who says so.

    `TransactionLost`, if somebody else inserts the same person just now.
    """
    named = {
        "system": identifier.system,
        "value": identifier.value,
        "account_id": account_id,
        "origin": origin,
    }
    try:
        await uow.execute(insert(account_identifiers), named)
    except ConstraintViolated as violated:
        raise TransactionLost(violated.name) from None


_this = and_(_i.system == bind("of_system", Text), _i.value == bind("of_value", Text))
_VOUCH = update(account_identifiers).where(_this, _i.origin.is_not(None)).values(origin=None)
_TAKE_BACK = delete(account_identifiers).where(
    _i.origin == bind("said_by", Text), or_(_i.account_id == bind("account", Uuid), _this)
)
_RENAME = (
    update(accounts)
    .where(_a.id == bind("account", Uuid))
    .values({name: bind(f"new_{name}", Text) for name in ("family_name", "given_name", "email")})
)


async def vouch(uow: UnitOfWork, identifier: Identifier) -> None:
    """Believe an identifier here that another origin told us, so that it opens rights of here."""
    named = {"of_system": identifier.system, "of_value": identifier.value}
    await uow.execute(_VOUCH, named)


async def take_back(
    uow: UnitOfWork, account_id: UUID | None, identifier: Identifier, origin: str
) -> None:
    """Forget what an origin said an account is called, and whom it called so.

    What somebody here vouches for stays.
    """
    named = {"of_system": identifier.system, "of_value": identifier.value}
    await uow.execute(_TAKE_BACK, {"said_by": origin, "account": account_id, **named})


async def rename(uow: UnitOfWork, account_id: UUID, **names: str | None) -> None:
    """Write another `family_name`, `given_name` and `email` of somebody."""
    new = {f"new_{name}": value for name, value in names.items()}
    await uow.execute(_RENAME, {"account": account_id, **new})
