"""Every SQL statement of the room. Statements are built once per shape and kept."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Integer,
    RowMapping,
    Select,
    Table,
    Text,
    Update,
    Uuid,
    case,
    func,
    insert,
    literal,
    literal_column,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB, aggregate_order_by

from service.calls import parts
from service.calls.domain import (
    PRIORITIES,
    Action,
    Attempt,
    Call,
    CallState,
    Otherwise,
    Outcome,
    RecordedOutcome,
    allowing,
    assignee,
)
from service.calls.tables import call_callbacks, call_outcomes, calls
from service.identity import Actor
from service.kernel import events
from service.kernel.db import UnitOfWork
from service.kernel.ids import new_id
from service.kernel.sql import bind, snp_now
from service.kernel.tables import Instant

_c, _o, _b = calls.c, call_outcomes.c, call_callbacks.c
_JSON = JSONB(none_as_null=True)

# --- reading ------------------------------------------------------------------------------------


def _rows(table: Table, columns: Sequence[str], *conditions: ColumnElement[bool]) -> Any:
    """The rows that hang on a call, oldest first, as one JSON array."""
    members: list[Any] = [part for name in columns for part in (literal(name), table.c[name])]
    row = func.jsonb_build_object(*members)
    return func.coalesce(
        select(func.jsonb_agg(aggregate_order_by(row, table.c.id)))
        .where(table.c.call_id == _c.id, *conditions)
        .correlate(calls)
        .scalar_subquery(),
        literal_column("'[]'::jsonb"),
    )


_READ = select(
    *(column for column in _c if column.name != "client_id"),
    _rows(
        call_outcomes,
        ("id", "outcome", "pharmacy_id", "booking_id", "created_at"),
        _o.removed_at.is_(None),
    ).label("outcomes"),
    _rows(call_callbacks, ("id", "at", "reached", "made_by")).label("callbacks"),
    snp_now().label("now"),
)


def _id(value: str | None) -> UUID | None:
    return None if value is None else UUID(value)


def _call(row: RowMapping) -> Call:
    return Call(
        **{
            **row,
            "state": CallState(row["state"]),
            "otherwise": row["otherwise"] and Otherwise(row["otherwise"]),
            "outcomes": tuple(
                RecordedOutcome(
                    id=UUID(o["id"]),
                    outcome=Outcome(o["outcome"]),
                    pharmacy_id=_id(o["pharmacy_id"]),
                    booking_id=_id(o["booking_id"]),
                    created_at=datetime.fromisoformat(o["created_at"]),
                )
                for o in row["outcomes"]
            ),
            "callbacks": tuple(
                Attempt(UUID(b["id"]), datetime.fromisoformat(b["at"]), b["reached"], b["made_by"])
                for b in row["callbacks"]
            ),
        }
    )


_FIND = _READ.where(_c.id == bind("call_id", Uuid), parts.visible())


async def find(uow: UnitOfWork, actor: Actor, call_id: UUID) -> Call | None:
    """Return a call that the caller may see."""
    found = await uow.single(_FIND, {"call_id": call_id, **parts.caller(actor)})
    row = found.mappings().one_or_none()
    return None if row is None else _call(row)


_LOCK = (
    select(_c.id)
    .where(_c.id == bind("call_id", Uuid), parts.visible())
    .with_for_update(key_share=True)
)


async def lock(uow: UnitOfWork, actor: Actor, call_id: UUID) -> Call | None:
    """Lock the row of a call that the caller may see, then read it.

    Two statements on purpose: who waited for the lock would see the row as it is now, but its
    outcomes as they were before the wait.
    """
    if (await uow.execute(_LOCK, {"call_id": call_id, **parts.caller(actor)})).first() is None:
        return None
    return await find(uow, actor, call_id)


@dataclass(frozen=True, slots=True)
class Filter:
    """Which calls a list wants. Instants bound `received_at`: from included, to excluded."""

    state: CallState | None
    territory: str | None
    from_: datetime | None
    to: datetime | None
    case_id: str | None

    def parameters(self) -> dict[str, Any]:
        """Return the filters that are set, as parameters."""
        return {name: value for name in _FILTERS if (value := getattr(self, name)) is not None}


_FILTERS: Mapping[str, ColumnElement[bool]] = {
    "state": _c.state == bind("state", Text),
    "territory": _c.territory == bind("territory", Text),
    "from_": _c.received_at >= bind("from_", Instant),
    "to": _c.received_at < bind("to", Instant),
    "case_id": _c.case_id == bind("case_id", Text),
}

_RANK = case(
    *((_c.priority == name, rank) for rank, name in enumerate(PRIORITIES)), else_=len(PRIORITIES)
)


def _mine() -> ColumnElement[bool]:
    """The caller has taken the call itself; as `domain.assignee` tells people apart."""
    person = func.coalesce(
        _c.assigned_to[("person", "id")],
        func.nullif(_c.assigned_to["person"], literal_column("'null'::jsonb")),
        literal_column("'{}'::jsonb"),
    )
    return tuple_(_c.assigned_to["client_id"].astext, _c.assigned_to["role"].astext, person) == (
        tuple_(bind("my_client", Text), bind("my_role", Text), bind("my_person", JSONB))
    )


def _me(actor: Actor) -> dict[str, Any]:
    client, role, person = assignee(actor.named())
    return {"my_client": client, "my_role": role, "my_person": person}


@cache
def _newest(filters: tuple[str, ...], *, after: bool) -> Select[Any]:
    statement = _READ.where(parts.visible(), *(_FILTERS[name] for name in filters))
    if after:
        statement = statement.where(
            tuple_(_c.received_at, _c.id)
            < tuple_(bind("after_at", Instant), bind("after_id", Uuid))
        )
    return statement.order_by(_c.received_at.desc(), _c.id.desc()).limit(bind("limit", Integer))


async def newest(
    uow: UnitOfWork, actor: Actor, wanted: Filter, *, limit: int, after: Sequence[Any] | None
) -> list[Call]:
    """Return calls by `received_at`, newest first, one more than the page holds."""
    values = {**parts.caller(actor), **wanted.parameters(), "limit": limit + 1}
    if after:
        values |= {"after_at": after[0], "after_id": after[1]}
    statement = _newest(tuple(wanted.parameters()), after=bool(after))
    return [_call(row) for row in (await uow.single(statement, values)).mappings()]


@cache
def _queue(filters: tuple[str, ...], *, after: bool) -> Select[Any]:
    keys = (_RANK, _c.callback_requested_at, _c.id)
    statement = _READ.where(
        parts.visible(),
        or_(_c.assigned_to.is_(None), _mine()),
        # Written out, so that the partial index of the queue serves.
        _c.state == literal_column(f"'{CallState.AWAITING_CALLBACK.value}'"),
        *(_FILTERS[name] for name in filters if name != "state"),
    )
    if after:
        binds = (bind("after_rank", Integer), bind("after_at", Instant), bind("after_id", Uuid))
        statement = statement.where(tuple_(*keys) > tuple_(*binds))
    return statement.order_by(*keys).limit(bind("limit", Integer))


async def queue(
    uow: UnitOfWork, actor: Actor, wanted: Filter, *, limit: int, after: Sequence[Any] | None
) -> list[Call]:
    """Return the call-back queue: unassigned and mine, by priority, then by waiting time."""
    filters = wanted.parameters()
    values = {**parts.caller(actor), **_me(actor), **filters, "limit": limit + 1}
    if after:
        values |= {"after_rank": after[0], "after_at": after[1], "after_id": after[2]}
    statement = _queue(tuple(filters), after=bool(after))
    return [_call(row) for row in (await uow.single(statement, values)).mappings()]


# --- writing ------------------------------------------------------------------------------------

_OPEN = insert(calls)


async def open_call(uow: UnitOfWork, values: Mapping[str, Any]) -> None:
    """Insert a call."""
    await uow.execute(_OPEN, values)


@cache
def _change(names: tuple[str, ...]) -> Update:
    return (
        update(calls)
        .where(_c.id == bind("of_call", Uuid))
        .values(
            **{name: bind(f"new_{name}", _c[name].type) for name in names},
            version=_c.version + 1,
        )
    )


async def change(uow: UnitOfWork, call_id: UUID, values: Mapping[str, Any]) -> None:
    """Write some columns of a locked call, and raise its version."""
    await uow.execute(
        _change(tuple(sorted(values))),
        {"of_call": call_id, **{f"new_{name}": value for name, value in values.items()}},
    )


def _assignment(changed: Update, event: str) -> Select[Any]:
    call = changed.returning(_c.id, _c.territory, _c.state).cte("call")
    told = events.part(
        event,
        call,
        subject=call.c.id,
        territory=call.c.territory,
        data=func.jsonb_build_object("state", call.c.state),
    )
    return select(call.c.id).add_cte(told)


_TAKE = _assignment(
    update(calls)
    .where(
        _c.id == bind("call_id", Uuid),
        parts.visible(),
        _c.state.in_(allowing(Action.ASSIGN)),
        _c.assigned_to.is_(None),
    )
    .values(assigned_to=bind("me", _JSON), assigned_at=snp_now(), version=_c.version + 1),
    "call.assigned",
)
_GIVE_BACK = _assignment(
    update(calls)
    .where(
        _c.id == bind("call_id", Uuid),
        parts.visible(),
        _c.state.in_(allowing(Action.UNASSIGN)),
        _mine(),
    )
    .values(assigned_to=None, assigned_at=None, version=_c.version + 1),
    "call.unassigned",
)


async def take(uow: UnitOfWork, actor: Actor, call_id: UUID) -> bool:
    """Take a call that nobody has: one conditional update, so that one of many rivals wins."""
    values = {**parts.caller(actor), **actor.origin.parameters(), "me": actor.named()}
    return (await uow.execute(_TAKE, {"call_id": call_id, **values})).first() is not None


async def give_back(uow: UnitOfWork, actor: Actor, call_id: UUID) -> bool:
    """Give back a call that the caller has."""
    values = {**parts.caller(actor), **actor.origin.parameters(), **_me(actor)}
    return (await uow.execute(_GIVE_BACK, {"call_id": call_id, **values})).first() is not None


_CALL_BACK = insert(call_callbacks)


async def add_callback(
    uow: UnitOfWork, call_id: UUID, *, at: datetime, reached: bool, made_by: Mapping[str, Any]
) -> UUID:
    """Insert a call-back made or tried; returns its id."""
    made = {"id": new_id(), "call_id": call_id, "at": at, "reached": reached, "made_by": made_by}
    await uow.execute(_CALL_BACK, made)
    return UUID(str(made["id"]))


_ADD_OUTCOME = insert(call_outcomes)


async def add_outcome(
    uow: UnitOfWork, call_id: UUID, *, outcome: Outcome, pharmacy_id: UUID | None, client_id: UUID
) -> UUID:
    """Insert an outcome given by hand; returns its id."""
    outcome_id = new_id()
    await uow.execute(
        _ADD_OUTCOME,
        {
            "id": outcome_id,
            "call_id": call_id,
            "outcome": outcome.value,
            "pharmacy_id": pharmacy_id,
            "client_id": client_id,
        },
    )
    return outcome_id


_REMOVE_OUTCOME = (
    update(call_outcomes).where(_o.id == bind("outcome_id", Uuid)).values(removed_at=snp_now())
)


async def remove_outcome(uow: UnitOfWork, outcome_id: UUID) -> None:
    """Mark an outcome as removed: the row stays, for whoever asks what was corrected."""
    await uow.execute(_REMOVE_OUTCOME, {"outcome_id": outcome_id})


_SENT = (
    update(calls)
    .where(
        _c.id == bind("call_id", Uuid),
        _c.sent_to_emergency != bind("sent", _c.sent_to_emergency.type),
    )
    .values(sent_to_emergency=bind("sent", _c.sent_to_emergency.type), version=_c.version + 1)
)


async def set_sent_to_emergency(uow: UnitOfWork, call_id: UUID, *, sent: bool) -> None:
    """Write that the doctor sent the patient of this call to the emergency department."""
    await uow.execute(_SENT, {"call_id": call_id, "sent": sent})
