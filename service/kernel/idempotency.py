"""Idempotency keys: one effect per key, however often and however concurrently it is sent.

The row is the **last** write of the transaction, a plain INSERT: a duplicate waits on it, fails
with it, and undoes everything it did. Only successes are stored, as a status and ids; the answer
is rendered again. See docs/adr for why the key is not taken first.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    CTE,
    Column,
    ColumnElement,
    FromClause,
    Index,
    LargeBinary,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    Uuid,
    delete,
    exists,
    func,
    insert,
    literal,
    or_,
    select,
    text,
)

from service.kernel.db import UnitOfWork
from service.kernel.prepared import Prepared
from service.kernel.rights import RIGHTS
from service.kernel.sql import bind, snp_now
from service.kernel.tables import Instant, metadata

CONSTRAINT = "pk_idempotency_keys"

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("client_id", Uuid, nullable=False),
    Column("method", Text, nullable=False),
    Column("path", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("fingerprint", LargeBinary, nullable=False),
    Column("status", SmallInteger, nullable=False),
    Column("ids", ARRAY(Uuid), nullable=False),
    Column("created_at", Instant, nullable=False, server_default=text("snp_now()")),
    PrimaryKeyConstraint("client_id", "method", "path", "key", name=CONSTRAINT),
    Index("ix_idempotency_keys_created_at", "created_at"),
    info={"rights": (*RIGHTS, "DELETE")},
)

_k = idempotency_keys.c


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """A key in its scope, with the keyed digest of the request it came with.

    `key` begins with a digest of who sent it: their right, and the person.
    """

    client_id: UUID
    method: str
    path: str
    key: str
    fingerprint: bytes

    def scope(self) -> dict[str, Any]:
        """Return the parameters that find this key's row."""
        return {
            "idem_client_id": self.client_id,
            "idem_method": self.method,
            "idem_path": self.path,
            "idem_key": self.key,
        }


def parameters(key: IdempotencyKey | None) -> dict[str, Any]:
    """Return the parameters that the statement part needs; without a key it writes nothing."""
    if key is None:
        return {
            "idem_client_id": None,
            "idem_method": None,
            "idem_path": None,
            "idem_key": None,
            "idem_fingerprint": None,
        }
    return {**key.scope(), "idem_fingerprint": key.fingerprint}


def part(after: FromClause, ids: ColumnElement[Sequence[UUID]], status: int = 201) -> CTE:
    """Statement part: remember the key when `after` has its row."""
    return (
        insert(idempotency_keys)
        .from_select(
            ["client_id", "method", "path", "key", "fingerprint", "status", "ids"],
            select(
                bind("idem_client_id", Uuid),
                bind("idem_method", Text),
                bind("idem_path", Text),
                bind("idem_key", Text),
                bind("idem_fingerprint", LargeBinary),
                literal(status, SmallInteger),
                ids,
            )
            .select_from(after)
            .where(bind("idem_key", Text).is_not(None)),
        )
        .cte("idempotency")
    )


def unused() -> ColumnElement[bool]:
    """True while the key of `parameters` stands for nothing; also when there is none."""
    return or_(bind("idem_key", Text).is_(None), ~exists(select(literal(1)).where(*_THIS)))


@dataclass(frozen=True, slots=True)
class Remembered:
    """What a key stands for: the status and ids of the answer that was given."""

    fingerprint: bytes
    status: int
    ids: list[UUID]


_THIS = (
    _k.client_id == bind("idem_client_id", Uuid),
    _k.method == bind("idem_method", Text),
    _k.path == bind("idem_path", Text),
    _k.key == bind("idem_key", Text),
)
_KEPT = text("idempotency_keys.created_at > snp_now() - interval '24 hours'")
_FIND = Prepared(select(_k.fingerprint, _k.status, _k.ids).where(*_THIS, _KEPT))
_FORGET = delete(idempotency_keys).where(
    *_THIS, text("idempotency_keys.created_at <= snp_now() - interval '24 hours'")
)
_REMEMBER = insert(idempotency_keys)


async def find(uow: UnitOfWork, key: IdempotencyKey) -> Remembered | None:
    """Return what the key stands for, if it was used within its life of 24 hours."""
    rows = await uow.fetch(_FIND, key.scope())
    return Remembered(**rows[0]) if rows else None


async def forget_expired(uow: UnitOfWork, key: IdempotencyKey) -> None:
    """Delete the row of a key older than 24 hours, so that it may be used anew."""
    await uow.single(_FORGET, key.scope())


async def remember(uow: UnitOfWork, key: IdempotencyKey, status: int, ids: Sequence[UUID]) -> None:
    """Write the key as the last row of the transaction; waits for a duplicate in flight."""
    await uow.execute(
        _REMEMBER,
        {
            "client_id": key.client_id,
            "method": key.method,
            "path": key.path,
            "key": key.key,
            "fingerprint": key.fingerprint,
            "status": status,
            "ids": list(ids),
        },
    )


_EXPIRED = _k.created_at < snp_now() - text("interval '25 hours'")
_SWEEP = delete(idempotency_keys).where(_EXPIRED)
_COUNT_EXPIRED = select(func.count()).select_from(idempotency_keys).where(_EXPIRED)


async def expired(uow: UnitOfWork) -> int:
    """Count the keys that `sweep` would delete."""
    return int((await uow.single(_COUNT_EXPIRED)).scalar_one())


async def sweep(uow: UnitOfWork) -> int:
    """Delete keys past their life; only tidies, expiry itself is judged when a key is read."""
    return (await uow.single(_SWEEP)).rowcount
