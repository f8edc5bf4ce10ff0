"""The rows of one territory, read as one: what the database holds at one instant.

When each transaction committed is read too (`track_commit_timestamp`): rivals on one slot row wait
for each other, so the order of their commits is the order in which they changed it. An event's own
instant is the start of its statement, before any waiting, and does not tell that order.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import asyncpg
import orjson


@dataclass(frozen=True, slots=True)
class SlotRow:
    """A slot; `holds` maps those on its row to their end."""

    id: str
    capacity: int
    overbooking: int
    booked: int
    withdrawn: bool
    version: int
    holds: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BookingRow:
    """A booking."""

    id: str
    slot_id: str
    state: str
    version: int
    case_id: str | None


@dataclass(frozen=True, slots=True)
class HoldRow:
    """A hold; `ended_by` is the transaction that used it, gave it back or ended it."""

    id: str
    slot_id: str
    organization_id: str
    expires_at: float
    ended_at: float | None = None
    ended_by: str | None = None


@dataclass(frozen=True, slots=True)
class EventRow:
    """An event, with the transaction that wrote it and the instant of its commit."""

    id: str
    type: str
    subject_id: str
    xid: str
    occurred_at: float
    committed_at: float
    organization_id: str
    correlation_id: str
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class KeyRow:
    """An idempotency key, and what it stands for."""

    client_id: str
    method: str
    path: str
    key: str
    status: int
    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All of it, at `taken_at` (seconds since 1970 by the database's clock)."""

    taken_at: float
    slots: list[SlotRow]
    bookings: list[BookingRow]
    holds: list[HoldRow]
    events: list[EventRow]
    keys: list[KeyRow]


_SLOTS = """
SELECT id, capacity, overbooking, booked,
       withdrawn_at IS NOT NULL AS withdrawn, version, holds
FROM slots WHERE territory = $1"""
_BOOKINGS = "SELECT id, slot_id, state, version, case_id FROM bookings WHERE territory = $1"
_HOLDS = """
SELECT id, slot_id, organization_id, extract(epoch FROM expires_at)::float8 AS expires_at,
       extract(epoch FROM ended_at)::float8 AS ended_at,
       CASE WHEN ended_at IS NOT NULL THEN xmin::text END AS ended_by
FROM holds WHERE slot_id IN (SELECT id FROM slots WHERE territory = $1)"""
_EVENTS = """
SELECT id, type, subject_id, xid::xid::text AS xid,
       extract(epoch FROM occurred_at)::float8 AS occurred_at,
       extract(epoch FROM pg_xact_commit_timestamp(xid::xid))::float8 AS committed_at,
       organization_id, correlation_id, data
FROM events WHERE territory = $1 AND split_part(type, '.', 1) IN ('slot', 'hold', 'booking')"""
_KEYS = """
SELECT client_id, method, path, split_part(key, ' ', 2) AS key, status, ids FROM idempotency_keys
WHERE client_id = ANY($1)"""


async def take(url: str, territory: str, client_ids: Sequence[UUID]) -> Snapshot:
    """Read everything of a territory in one repeatable-read transaction, as the superuser."""
    db = await asyncpg.connect(url)
    try:
        await db.set_type_codec(
            "jsonb", encoder=lambda v: orjson.dumps(v).decode(), decoder=orjson.loads,
            schema="pg_catalog",
        )  # fmt: skip
        async with db.transaction(isolation="repeatable_read", readonly=True):
            now = await db.fetchval("SELECT extract(epoch FROM snp_now())::float8")
            slots = await db.fetch(_SLOTS, territory)
            bookings = await db.fetch(_BOOKINGS, territory)
            holds = await db.fetch(_HOLDS, territory)
            events = await db.fetch(_EVENTS, territory)
            keys = await db.fetch(_KEYS, list(client_ids))
    finally:
        await db.close()
    return Snapshot(
        taken_at=now,
        slots=[SlotRow(**{**_plain(row), "holds": _ends(row["holds"])}) for row in slots],
        bookings=[BookingRow(**_plain(row)) for row in bookings],
        holds=[HoldRow(**_plain(row)) for row in holds],
        events=[EventRow(**_plain(row)) for row in events],
        keys=[KeyRow(**{**_plain(row), "ids": tuple(map(str, row["ids"]))}) for row in keys],
    )


def _plain(row: Any) -> dict[str, Any]:
    return {n: str(v) if isinstance(v, UUID) else v for n, v in dict(row).items()}


def _ends(holds: dict[str, dict[str, Any]]) -> dict[str, float]:
    return {hold_id: float(hold["until"]) for hold_id, hold in holds.items()}
