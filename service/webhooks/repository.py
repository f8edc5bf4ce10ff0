"""Every SQL statement of the room.

Whoever settles deliveries, or adds some, has the row of their endpoint first: so none is left
waiting for an earlier one that was settled meanwhile.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import (
    ColumnElement,
    Float,
    Integer,
    RowMapping,
    Select,
    Text,
    TextClause,
    Uuid,
    and_,
    case,
    delete,
    exists,
    func,
    insert,
    null,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.types import LargeBinary

from service.identity import Actor, Role, live_grants, software_is_live
from service.kernel.db import UnitOfWork
from service.kernel.sql import bind, flag, snp_now, uuids
from service.kernel.tables import Instant
from service.stream import Listener
from service.webhooks.domain import (
    Delivery,
    DeliveryState,
    DisabledReason,
    Endpoint,
    EndpointDraft,
    WebhookFormat,
)
from service.webhooks.tables import webhook_deliveries, webhook_endpoints

_e, _d = webhook_endpoints.c, webhook_deliveries.c
_TABLE = webhook_endpoints.name
_DUE = _d.next_attempt_at <= snp_now()

# --- endpoints ------------------------------------------------------------------------------------

_holder = live_grants("holder")
_PLAIN = tuple(field.name for field in fields(Endpoint) if field.name not in {"now", "listener"})
_HELD = (
    "role", "organization_id", "organization_type", "territories", "cpts_ids", "practitioner_ids",
)  # fmt: skip
_READ = (
    select(
        *(_e[name] for name in _PLAIN),
        snp_now().label("now"),
        *(_holder.c[name].label(f"holder_{name}") for name in _HELD),
    )
    .select_from(
        webhook_endpoints.outerjoin(
            _holder, and_(_holder.c.id == _e.grant_id, software_is_live(_e.client_id))
        )
    )
    .where(_e.deleted_at.is_(None))
)


def _endpoint(row: RowMapping) -> Endpoint:
    members: dict[str, Any] = {name: row[name] for name in _PLAIN}
    members["events"] = tuple(row["events"])
    members["format"] = WebhookFormat(row["format"])
    members["disabled_reason"] = row["disabled_reason"] and DisabledReason(row["disabled_reason"])
    return Endpoint(**members, now=row["now"], listener=_listener(row))


def _listener(row: RowMapping) -> Listener | None:
    if row["holder_role"] is None:
        return None
    return Listener(
        role=Role(row["holder_role"]),
        organization_id=row["holder_organization_id"],
        organization_type=row["holder_organization_type"],
        territories=frozenset(row["holder_territories"]),
        cpts_ids=frozenset(row["holder_cpts_ids"]),
        practitioner_ids=frozenset(row["holder_practitioner_ids"]),
    )


def _kept_by(actor: Actor) -> dict[str, Any]:
    """Return what an endpoint keeps of whoever answers for it."""
    return {
        "grant_id": actor.grant_id,
        "client_id": actor.client_id,
        "role": actor.role,
        "practitioner_ids": list(actor.practitioner_ids),
        "territory": actor.territories[0] if len(actor.territories) == 1 else None,
    }


_MINE = (
    _e.deleted_at.is_(None),
    _e.organization_id == bind("caller_organization_id", Uuid),
    _e.role == bind("caller_role", Text),
    _e.practitioner_ids.bool_op("<@")(uuids("caller_practitioner_ids")),
)


def _caller(actor: Actor) -> dict[str, Any]:
    return {
        "caller_organization_id": actor.organization_id,
        "caller_role": actor.role,
        "caller_practitioner_ids": list(actor.practitioner_ids),
    }


_ADD = insert(webhook_endpoints)


async def add(
    uow: UnitOfWork, actor: Actor, endpoint_id: UUID, draft: EndpointDraft, secret: str
) -> None:
    """Insert an endpoint of the caller's."""
    await uow.execute(
        _ADD,
        {
            "id": endpoint_id,
            "organization_id": actor.organization_id,
            **_kept_by(actor),
            "url": draft.url,
            "events": list(draft.events),
            "format": draft.format,
            "description": draft.description,
            "secret": _sealed(uow, endpoint_id, "secret", secret),
        },
    )


def _sealed(uow: UnitOfWork, endpoint_id: UUID, name: str, secret: str) -> bytes | None:
    return uow.vault.encrypt(secret, column=f"{_TABLE}.{name}", row=endpoint_id)


_COUNT = select(func.count()).select_from(webhook_endpoints).where(*_MINE)
_SHAPES: Mapping[str, ColumnElement[bool]] = {
    "endpoint": _e.id == bind("endpoint", Uuid),
    "before": _e.id < bind("before", Uuid),
}


@cache
def _mine(shape: tuple[str, ...]) -> Select[Any]:
    return (
        _READ.where(*_MINE, *(_SHAPES[name] for name in shape))
        .order_by(_e.id.desc())
        .limit(bind("limit", Integer))
    )


async def count_mine(uow: UnitOfWork, actor: Actor) -> int:
    """Count the caller's endpoints."""
    return int((await uow.execute(_COUNT, _caller(actor))).scalar_one())


async def list_mine(
    uow: UnitOfWork, actor: Actor, before: UUID | None, limit: int
) -> list[Endpoint]:
    """Return the caller's endpoints, newest first."""
    given = {} if before is None else {"before": before}
    values = {**_caller(actor), **given, "limit": limit}
    rows = await uow.single(_mine(tuple(given)), values)
    return [_endpoint(row) for row in rows.mappings()]


async def find_mine(uow: UnitOfWork, actor: Actor, endpoint_id: UUID) -> Endpoint | None:
    """Return an endpoint of the caller's."""
    values = {**_caller(actor), "endpoint": endpoint_id, "limit": 1}
    row = (await uow.single(_mine(("endpoint",)), values)).mappings().one_or_none()
    return None if row is None else _endpoint(row)


_FIND = _READ.where(_e.id == bind("endpoint", Uuid))
_ENABLED = _READ.where(_e.enabled)


async def find(uow: UnitOfWork, endpoint_id: UUID) -> Endpoint | None:
    """Return an endpoint, whoever keeps it."""
    row = (await uow.execute(_FIND, {"endpoint": endpoint_id})).mappings().one_or_none()
    return None if row is None else _endpoint(row)


async def enabled(uow: UnitOfWork) -> list[Endpoint]:
    """Return every endpoint that may be told something."""
    return [_endpoint(row) for row in (await uow.execute(_ENABLED)).mappings()]


_LOCK = (
    select(_e.id)
    .where(_e.id == func.any(uuids("endpoints")), _e.deleted_at.is_(None))
    .order_by(_e.id)
    .with_for_update()
)


async def lock(uow: UnitOfWork, endpoint_ids: Collection[UUID]) -> bool:
    """Lock endpoints, each in turn; tell whether all of them are still there."""
    found = await uow.execute(_LOCK, {"endpoints": list(endpoint_ids)})
    return len(found.all()) == len(endpoint_ids)


_AMENDABLE = (
    "url",
    "events",
    "description",
    "grant_id",
    "client_id",
    "role",
    "practitioner_ids",
    "territory",
    "enabled",
    "disabled_reason",
)
_AMEND = (
    update(webhook_endpoints)
    .where(_e.id == bind("endpoint", Uuid))
    .values(
        **{name: bind(f"new_{name}", _e[name].type) for name in _AMENDABLE},
        disabled_at=case(
            (flag("now_enabled"), null()), else_=func.coalesce(_e.disabled_at, snp_now())
        ),
        failing_since=null(),
        rests_until=null(),
        version=_e.version + 1,
    )
)


async def amend(uow: UnitOfWork, actor: Actor, endpoint: Endpoint) -> None:
    """Write what may be amended; the caller answers for the endpoint from now on."""
    kept = {name: getattr(endpoint, name) for name in ("url", "description", "enabled")}
    new = {
        **kept,
        **_kept_by(actor),
        "events": list(endpoint.events),
        "disabled_reason": endpoint.disabled_reason,
    }
    values = {f"new_{name}": value for name, value in new.items()}
    await uow.execute(_AMEND, {"endpoint": endpoint.id, "now_enabled": endpoint.enabled, **values})


_DELETE = (
    update(webhook_endpoints)
    .where(_e.id == bind("endpoint", Uuid))
    .values(deleted_at=snp_now(), secret=null(), previous_secret=null())
)


async def mark_deleted(uow: UnitOfWork, endpoint_id: UUID) -> None:
    """Take an endpoint away, and its secrets; its row goes with the last of its deliveries."""
    await uow.execute(_DELETE, {"endpoint": endpoint_id})


_DISABLE = (
    update(webhook_endpoints)
    .where(
        _e.id == bind("endpoint", Uuid),
        _e.version == bind("known_version", Integer),
        _e.enabled,
        _e.deleted_at.is_(None),
    )
    .values(
        enabled=text("false"),
        disabled_reason=bind("why", Text),
        disabled_at=snp_now(),
        version=_e.version + 1,
    )
    .returning(_e.id)
)


async def disable(uow: UnitOfWork, endpoint: Endpoint, why: DisabledReason) -> bool:
    """Disable an endpoint as it is known; tell whether it was not already, or changed meanwhile."""
    values = {"endpoint": endpoint.id, "known_version": endpoint.version, "why": why}
    found = await uow.execute(_DISABLE, values)
    return found.first() is not None


_SECRETS = select(
    _e.secret,
    case((_e.previous_until > snp_now(), _e.previous_secret)).label("previous_secret"),
).where(_e.id == bind("endpoint", Uuid))


async def secrets(uow: UnitOfWork, endpoint_id: UUID) -> list[str]:
    """Return what an endpoint's messages are signed with, the newest first."""
    row = (await uow.execute(_SECRETS, {"endpoint": endpoint_id})).mappings().one()
    opened = (
        uow.vault.decrypt(stored, column=f"{_TABLE}.{name}", row=endpoint_id)
        for name, stored in row.items()
    )
    return [secret for secret in opened if secret is not None]


_ROTATE = (
    update(webhook_endpoints)
    .where(_e.id == bind("endpoint", Uuid))
    .values(
        secret=bind("new_secret", LargeBinary),
        previous_secret=bind("old_secret", LargeBinary),
        previous_until=snp_now() + func.make_interval(0, 0, 0, 0, bind("grace_hours", Integer)),
        version=_e.version + 1,
    )
)


async def rotate(
    uow: UnitOfWork, endpoint_id: UUID, *, new: str, old: str, grace_hours: int
) -> None:
    """Give an endpoint another secret; the old one signs, too, for some hours."""
    await uow.execute(
        _ROTATE,
        {
            "endpoint": endpoint_id,
            "new_secret": _sealed(uow, endpoint_id, "secret", new),
            "old_secret": _sealed(uow, endpoint_id, "previous_secret", old),
            "grace_hours": grace_hours,
        },
    )


_HOPELESS = text("webhook_endpoints.failing_since < snp_now() - interval '3 days' AS hopeless")
_MARK = (
    update(webhook_endpoints)
    .where(_e.id == bind("endpoint", Uuid), _e.version == bind("known_version", Integer))
    .values(
        failing_since=case(
            (flag("arrived"), null()),
            (flag("missed"), func.coalesce(_e.failing_since, snp_now())),
            else_=_e.failing_since,
        ),
        rests_until=snp_now() + func.make_interval(0, 0, 0, 0, 0, 0, bind("rest", Float)),
    )
    .returning(_HOPELESS)
)


async def mark(
    uow: UnitOfWork, endpoint: Endpoint, *, arrived: bool, missed: bool, rest: float | None
) -> bool:
    """Keep how an endpoint does: `arrived` is the newest; tell whether nothing does for long.

    What was tried at one that was changed meanwhile says nothing of it.
    """
    known = {"endpoint": endpoint.id, "known_version": endpoint.version}
    values = {**known, "arrived": arrived, "missed": missed, "rest": rest}
    return bool((await uow.execute(_MARK, values)).scalar())


# --- deliveries -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NewDelivery:
    """A view of a fact that an endpoint is to be told."""

    id: UUID
    endpoint_id: UUID
    event_id: UUID
    position: int
    type: str
    subject_id: UUID


_NEW = """
    INSERT INTO webhook_deliveries AS old
           (id, endpoint_id, event_id, position, type, subject_id, next_attempt_at)
    SELECT id, endpoint_id, event_id, position, type, subject_id, {when}
    FROM (SELECT *, row_number() OVER (
                   PARTITION BY endpoint_id, subject_id ORDER BY position) AS nth
          FROM jsonb_to_recordset(cast(:rows AS jsonb)) AS row(
                 id uuid, endpoint_id uuid, event_id uuid, position bigint, type text,
                 subject_id uuid)
          {which}) AS new
    ON CONFLICT (endpoint_id, event_id, subject_id) DO {conflict}"""
# The first about its subject goes at once, unless an earlier one is on its way. Asked of the index,
# row by row: NOT EXISTS would read all that wait, and who is away for days has many.
_FIRST = """
    CASE WHEN nth = 1 AND (
      SELECT earlier.position FROM webhook_deliveries AS earlier
      WHERE earlier.endpoint_id = new.endpoint_id AND earlier.subject_id = new.subject_id
        AND earlier.state IN ('pending', 'failed')
      ORDER BY earlier.position LIMIT 1) IS NULL THEN snp_now() END"""
# What a replay has told already is nobody's first.
_NOT_THERE = """
          WHERE NOT EXISTS (SELECT FROM webhook_deliveries AS there
                            WHERE there.endpoint_id = row.endpoint_id
                              AND there.event_id = row.event_id
                              AND there.subject_id = row.subject_id)"""
_TELL = text(_NEW.format(when=_FIRST, which=_NOT_THERE, conflict="NOTHING"))
_AGAIN = "state = 'pending', attempts = 0, next_attempt_at = NULL, settled_at = NULL"
_TELL_AGAIN = text(_NEW.format(when="NULL", which="", conflict=f"UPDATE SET {_AGAIN}"))


async def tell(uow: UnitOfWork, new: Iterable[NewDelivery]) -> None:
    """Add deliveries to endpoints that are locked; one that is there stays as it is."""
    await _insert(uow, _TELL, new)


async def tell_again(uow: UnitOfWork, new: Sequence[NewDelivery]) -> None:
    """Add deliveries, or begin anew with those that are there, to endpoints that are locked."""
    await _insert(uow, _TELL_AGAIN, new)
    await release(uow, [(one.endpoint_id, one.subject_id) for one in new])


async def _insert(uow: UnitOfWork, statement: TextClause, new: Iterable[NewDelivery]) -> None:
    await uow.execute(statement, {"rows": orjson.dumps(list(new), default=str).decode()})


# The next of each subject goes, once nothing before it is on its way.
_RELEASE = text(
    """UPDATE webhook_deliveries SET next_attempt_at = snp_now()
       FROM unnest(cast(:endpoints AS uuid[]), cast(:subjects AS uuid[]))
              AS done(endpoint_id, subject_id)
       CROSS JOIN LATERAL (
         SELECT waiting.id, waiting.next_attempt_at FROM webhook_deliveries AS waiting
         WHERE waiting.endpoint_id = done.endpoint_id AND waiting.subject_id = done.subject_id
           AND waiting.state IN ('pending', 'failed')
         ORDER BY waiting.position LIMIT 1) AS head
       WHERE webhook_deliveries.id = head.id AND head.next_attempt_at IS NULL"""
)


async def release(uow: UnitOfWork, done: Iterable[tuple[UUID, UUID]]) -> None:
    """Let what waits for nothing go: of each endpoint and subject, the earliest."""
    pairs = sorted(set(done))
    values = {"endpoints": [pair[0] for pair in pairs], "subjects": [pair[1] for pair in pairs]}
    await uow.execute(_RELEASE, values)


_DELIVERY = tuple(field.name for field in fields(Delivery))
_SOME = select(*(_d[name] for name in _DELIVERY))
_NEXT = (
    _SOME.where(_d.endpoint_id == bind("endpoint", Uuid), _DUE)
    .order_by(_d.next_attempt_at, _d.position)
    .limit(bind("limit", Integer))
)


def _delivery(row: RowMapping) -> Delivery:
    return Delivery(**{**row, "state": DeliveryState(row["state"])})


async def due(uow: UnitOfWork, endpoint_id: UUID, limit: int) -> list[Delivery]:
    """Return what is to be sent to an endpoint now: of each subject one, the earliest."""
    rows = await uow.execute(_NEXT, {"endpoint": endpoint_id, "limit": limit})
    return [_delivery(row) for row in rows.mappings()]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a delivery that was tried; `wait` is in seconds, None: it is settled."""

    id: UUID
    state: DeliveryState
    wait: float | None
    status: int | None
    failure: str | None


_SETTLE = text(
    """UPDATE webhook_deliveries
       SET state = done.state, attempts = webhook_deliveries.attempts + 1,
           last_status = done.status, last_failure = done.failure,
           next_attempt_at = snp_now() + make_interval(secs => done.wait),
           settled_at = CASE WHEN done.wait IS NULL THEN snp_now() END
       FROM jsonb_to_recordset(cast(:rows AS jsonb)) AS done(
              id uuid, state text, wait double precision, status smallint, failure text)
       WHERE webhook_deliveries.id = done.id"""
)


async def settle(uow: UnitOfWork, outcomes: Iterable[Outcome]) -> None:
    """Keep what became of deliveries."""
    await uow.execute(_SETTLE, {"rows": orjson.dumps(list(outcomes), default=str).decode()})


# Asked endpoint by endpoint: EXISTS would be a join, which may read all that wait.
_due_since = (
    select(_d.next_attempt_at)
    .where(_d.endpoint_id == _e.id, _DUE)
    .order_by(_d.next_attempt_at)
    .limit(1)
    .scalar_subquery()
)
_AWAKE = (
    _e.enabled,
    _e.deleted_at.is_(None),
    or_(_e.rests_until.is_(None), _e.rests_until <= snp_now()),
)
_SWEEP = select(_e.id).where(*_AWAKE, _due_since.is_not(None))


async def with_due(uow: UnitOfWork) -> list[UUID]:
    """Return the endpoints that something is to be sent to now."""
    return list((await uow.execute(_SWEEP)).scalars())


_FILTERS: Mapping[str, ColumnElement[bool]] = {
    "delivery": _d.id == bind("delivery", Uuid),
    "state": _d.state == bind("in_state", Text),
    "before": _d.id < bind("before", Uuid),
}


@cache
def _deliveries(shape: tuple[str, ...]) -> Select[Any]:
    return (
        _SOME.where(_d.endpoint_id == bind("endpoint", Uuid), *(_FILTERS[name] for name in shape))
        .order_by(_d.id.desc())
        .limit(bind("limit", Integer))
    )


async def deliveries(
    uow: UnitOfWork, endpoint_id: UUID, wanted: Mapping[str, Any], limit: int
) -> list[Delivery]:
    """Return deliveries to an endpoint, newest first. Filters: `delivery`, `state`, `before`."""
    given = {name: value for name, value in wanted.items() if value is not None}
    shape = tuple(given)
    values = {("in_state" if name == "state" else name): value for name, value in given.items()}
    rows = await uow.single(_deliveries(shape), {"endpoint": endpoint_id, **values, "limit": limit})
    return [_delivery(row) for row in rows.mappings()]


_REPEAT = text(
    f"UPDATE webhook_deliveries SET {_AGAIN} WHERE id = ANY(cast(:ids AS uuid[]))"  # noqa: S608  a constant of this module
    " RETURNING endpoint_id, subject_id"
)


async def repeat(uow: UnitOfWork, delivery_ids: Sequence[UUID]) -> None:
    """Begin anew with deliveries to endpoints that are locked."""
    found = await uow.execute(_REPEAT, {"ids": list(delivery_ids)})
    await release(uow, [(row.endpoint_id, row.subject_id) for row in found])


_MISSED: Mapping[str, ColumnElement[bool]] = {
    "endpoint": _d.endpoint_id == bind("endpoint", Uuid),
    "since": _d.created_at >= bind("since", Instant),
}


@cache
def _missed(shape: tuple[str, ...]) -> Select[Any]:
    return (
        select(_d.id, _d.endpoint_id)
        .join(webhook_endpoints)
        .where(
            text("webhook_deliveries.state IN ('failed', 'abandoned')"),
            _e.enabled,
            _e.deleted_at.is_(None),
            _d.id > bind("after", Uuid),
            *(_MISSED[name] for name in shape),
        )
        .order_by(_d.id)
        .limit(bind("limit", Integer))
    )


async def missed(
    uow: UnitOfWork, after: UUID, limit: int, wanted: Mapping[str, Any]
) -> dict[UUID, UUID]:
    """Return failed and abandoned deliveries with their endpoints, which are enabled, by id."""
    given = {name: value for name, value in wanted.items() if value is not None}
    values = {"after": after, "limit": limit, **given}
    rows = await uow.execute(_missed(tuple(given)), values)
    return {row.id: row.endpoint_id for row in rows}


# --- upkeep ---------------------------------------------------------------------------------------

_OLD = _d.created_at < snp_now() - func.make_interval(0, 0, 0, bind("days", Integer))
_OF_DELETED = _d.endpoint_id.in_(select(_e.id).where(_e.deleted_at.is_not(None)))
# Each by an index of its own: one question for both would read everything, each hour.
_CLEARABLE = tuple(
    select(_d.id).where(which).limit(bind("limit", Integer)) for which in (_OLD, _OF_DELETED)
)
_CLEAR = [delete(webhook_deliveries).where(_d.id.in_(clearable)) for clearable in _CLEARABLE]
_CLEAR_ENDPOINTS = delete(webhook_endpoints).where(
    _e.deleted_at.is_not(None), ~exists(select(1).where(_d.endpoint_id == _e.id))
)


async def clear(uow: UnitOfWork, *, days: int, limit: int) -> int:
    """Delete some deliveries that are old, or of endpoints that are; return how many."""
    found = [await uow.execute(one, {"days": days, "limit": limit}) for one in _CLEAR]
    return sum(result.rowcount for result in found)


async def clear_endpoints(uow: UnitOfWork) -> None:
    """Delete the rows of deleted endpoints without deliveries."""
    await uow.execute(_CLEAR_ENDPOINTS)


_LAG = select(
    select(func.coalesce(func.extract("epoch", snp_now() - func.min(_due_since)), 0))
    .where(*_AWAKE)
    .scalar_subquery()
    .label("seconds"),
    select(func.count())
    .where(_d.state == text("'abandoned'"))
    .scalar_subquery()
    .label("abandoned"),
)


async def lag(uow: UnitOfWork) -> tuple[float, int]:
    """Return for how long the oldest due delivery waits, and how many were abandoned."""
    row = (await uow.single(_LAG)).one()
    return float(row.seconds), int(row.abandoned)
