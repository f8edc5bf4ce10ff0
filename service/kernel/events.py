"""Events: one row per change, written in the same transaction as the change it tells.

The table is at once outbox, write audit and feed. `xid` lets a reader stay behind the oldest
transaction still running, so that it never skips a row; `position` is given later, by the worker.
Nothing about a patient is ever put into an event: ids, states and times only.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    CTE,
    BigInteger,
    Column,
    ColumnElement,
    FromClause,
    Index,
    Table,
    Text,
    Uuid,
    exists,
    func,
    insert,
    literal,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import UserDefinedType

from service.kernel.db import UnitOfWork
from service.kernel.ids import new_id
from service.kernel.sql import bind
from service.kernel.tables import Instant, metadata

_JSON = JSONB(none_as_null=True)


class Xid8(UserDefinedType[int]):
    """PostgreSQL's 64-bit transaction id."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        """Return the type's name in DDL."""
        return "xid8"


# Who causes a change or a reading, why, and in which request: what every trace keeps.
ORIGIN: Mapping[str, Any] = {
    "client_id": Uuid,
    "grant_id": Uuid,
    "role": Text,
    "organization_id": Uuid,
    "person": _JSON,
    "purpose": Text,
    "address": Text,
    "correlation_id": Text,
}


def origin_columns() -> Iterator[Column[Any]]:
    """Yield the columns that keep an `Origin`, for a table of traces."""
    for name, type_ in ORIGIN.items():
        yield Column(name, type_)


def origin_values() -> dict[str, ColumnElement[Any]]:
    """Return what a statement writes into these columns. Parameters: `Origin.parameters`."""
    return {name: bind(f"event_{name}", type_) for name, type_ in ORIGIN.items()}


events = Table(
    "events",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("xid", Xid8, nullable=False, server_default=text("snp_xact_id()")),
    Column("position", BigInteger, unique=True),
    Column("type", Text, nullable=False),
    Column("subject_id", Uuid, nullable=False),
    Column("occurred_at", Instant, nullable=False, server_default=text("snp_now()")),
    Column("territory", Text),
    *origin_columns(),
    Column("audience_before", JSONB),
    Column("audience_after", JSONB),
    Column("data", JSONB, nullable=False),
    Index("ix_events_subject_id_id", "subject_id", "id"),
    # In the order of transactions: what the sealer and the feed walk along.
    Index("ix_events_xid_id", "xid", "id"),
    # Next to nothing to write: rows lie about in the order of time.
    Index("ix_events_occurred_at", "occurred_at", postgresql_using="brin"),
    # A trace: written once, only the position in the feed is given later.
    info={"rights": ("SELECT", "INSERT"), "updates": ("position",)},
)


@dataclass(frozen=True, slots=True)
class Origin:
    """Who causes a change or a reading: client, grant, role, organization, person.

    Why (`purpose`), from which network address as the server sees it, and in which request.
    """

    client_id: UUID | None = None
    grant_id: UUID | None = None
    role: str | None = None
    organization_id: UUID | None = None
    person: Mapping[str, str] | None = None
    purpose: str | None = None
    address: str | None = None
    correlation_id: str | None = None

    def columns(self) -> dict[str, Any]:
        """Return the values of `origin_columns`."""
        return {
            "client_id": self.client_id,
            "grant_id": self.grant_id,
            "role": self.role,
            "organization_id": self.organization_id,
            "person": dict(self.person) if self.person else None,
            "purpose": self.purpose,
            "address": self.address,
            "correlation_id": self.correlation_id,
        }

    def parameters(self) -> dict[str, Any]:
        """Return the parameters that the part of a trace needs: `origin_values`, and an id."""
        return {
            "event_id": new_id(),
            **{f"event_{name}": value for name, value in self.columns().items()},
        }


# Whoever runs the service: what commands do.
OPERATOR = Origin(role="operator")


def part(
    type_: str,
    after: FromClause,
    *,
    subject: ColumnElement[UUID],
    data: ColumnElement[Any],
    territory: ColumnElement[str] | None = None,
    audience_before: ColumnElement[Any] | None = None,
    audience_after: ColumnElement[Any] | None = None,
    many: bool = False,
    name: str = "event",
) -> CTE:
    """Statement part: one event per row of `after`, with `Origin.parameters()` as parameters.

    With `many`, `after` may have several rows: ids are then made by the database.
    """
    identifier = func.gen_random_uuid() if many else bind("event_id", Uuid)
    columns: dict[str, ColumnElement[Any]] = {
        "id": identifier,
        "type": literal(type_, Text),
        "subject_id": subject,
        "territory": literal(None, Text) if territory is None else territory,
        "audience_before": literal(None, _JSON) if audience_before is None else audience_before,
        "audience_after": literal(None, _JSON) if audience_after is None else audience_after,
        "data": data,
        **origin_values(),
    }
    return (
        insert(events)
        .from_select(list(columns), select(*columns.values()).select_from(after))
        .returning(events.c.id)
        .cte(name)
    )


_RECORD = insert(events)


async def record(
    uow: UnitOfWork,
    origin: Origin,
    type_: str,
    subject_id: UUID,
    *,
    territory: str | None,
    data: Mapping[str, Any],
    audience_before: Mapping[str, Any] | None = None,
    audience_after: Mapping[str, Any] | None = None,
) -> None:
    """Write one event in the unit of work's transaction."""
    await record_all(
        uow,
        origin,
        type_,
        [
            {
                "subject_id": subject_id,
                "territory": territory,
                "data": dict(data),
                "audience_before": audience_before,
                "audience_after": audience_after,
            }
        ],
    )


async def record_all(
    uow: UnitOfWork, origin: Origin, type_: str, facts: list[dict[str, Any]]
) -> None:
    """Write several events of one type; each fact names subject_id, territory and data."""
    shared = {
        "type": type_,
        **origin.columns(),
        "audience_before": None,
        "audience_after": None,
    }
    await uow.execute(_RECORD, [{"id": new_id(), **shared, **fact} for fact in facts])


@dataclass(frozen=True, slots=True)
class Event:
    """One fact as read back: what happened to whom, when, by whom."""

    id: UUID
    type: str
    occurred_at: datetime
    role: str | None
    organization_id: UUID | None
    person: Mapping[str, str] | None
    data: Mapping[str, Any]


_HISTORY = (
    select(
        events.c.id,
        events.c.type,
        events.c.occurred_at,
        events.c.role,
        events.c.organization_id,
        events.c.person,
        events.c.data,
    )
    .where(events.c.subject_id == bind("subject_id", Uuid))
    .order_by(events.c.occurred_at, events.c.id)
)


_CAUSED = select(
    exists(
        select(1).where(
            events.c.subject_id == bind("subject_id", Uuid),
            events.c.grant_id == bind("by_grant", Uuid),
            events.c.type == bind("of_type", Text),
        )
    )
)


async def caused_by(uow: UnitOfWork, subject_id: UUID, grant_id: UUID, type_: str) -> bool:
    """Tell whether a grant caused an event of this type for a subject."""
    found = await uow.single(
        _CAUSED, {"subject_id": subject_id, "by_grant": grant_id, "of_type": type_}
    )
    return bool(found.scalar_one())


async def history(uow: UnitOfWork, subject_id: UUID) -> list[Event]:
    """Return what happened to one subject, oldest first."""
    rows = await uow.single(_HISTORY, {"subject_id": subject_id})
    return [Event(**row) for row in rows.mappings()]
