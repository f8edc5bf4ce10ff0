"""A retention run: what is due is erased in batches, each told in the trace."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from service import calendar, grants, identity
from service.kernel import events, idempotency
from service.kernel.db import Database, UnitOfWork
from service.kernel.ids import new_id
from service.kernel.wall import as_upkeep
from service.retention import repository
from service.retention.domain import Kind, Rule
from service.retention.repository import Batch

Told = Callable[[int, int], None]  # rows done, rows to do
_NONE = UUID(int=0)


@dataclass(frozen=True, slots=True)
class Done:
    """What became of one rule: `rows` were done, or are due."""

    rule: Rule
    before: datetime
    rows: int


async def due(database: Database, wanted: Iterable[Rule]) -> list[Done]:
    """Count what each rule would erase now; changes nothing."""
    found = []
    for rule in wanted:
        async with database.unit_of_work() as uow:
            await as_upkeep(uow)
            before = await repository.cutoff(uow, rule.kept)
            found.append(Done(rule, before, await _count(uow, rule, before)))
    return found


async def _count(uow: UnitOfWork, rule: Rule, before: datetime) -> int:
    if rule.kind in _ELSEWHERE:
        find, _ = _ELSEWHERE[rule.kind]
        return len(await find(uow, before))
    if rule.kind is Kind.IDEMPOTENCY:
        return await idempotency.expired(uow)
    return await repository.count(uow, rule.kind, before)


async def run(
    database: Database, wanted: Iterable[Rule], told: Told = lambda _done, _all: None, *, batch: int
) -> list[Done]:
    """Erase what is due, in transactions of `batch` rows, each with its event.

    May be cut off at any moment: what was erased is due no more, the next run does the rest. Holds
    are looked at by what erases: whoever places one is answered before a batch, or after it.
    """
    planned = await due(database, wanted)
    total, finished = sum(done.rows for done in planned), 0
    result = []
    for plan in planned:
        rows, after = 0, _NONE if plan.rows else None
        while after is not None:
            batch_done = await _batch(database, plan, after, batch)
            rows, after = rows + batch_done.rows, batch_done.last
            told(finished + rows, max(total, finished + rows))
        finished += rows
        result.append(Done(plan.rule, plan.before, rows))
    return result


async def _batch(database: Database, plan: Done, after: UUID, limit: int) -> Batch:
    async with database.unit_of_work() as uow:
        await as_upkeep(uow)
        done = await _erase(uow, plan, after, limit)
        if done.rows:
            data = {"rule": plan.rule.kind, "rows": done.rows, "before": plan.before.isoformat()}
            await events.record(
                uow, events.OPERATOR, "retention.applied", new_id(), territory=None, data=data
            )
        return done


async def _erase(uow: UnitOfWork, plan: Done, after: UUID, limit: int) -> Batch:
    kind, before = plan.rule.kind, plan.before
    if kind in _ELSEWHERE:
        find, end = _ELSEWHERE[kind]
        ids = (await find(uow, before))[:limit]
        await end(uow, ids, before)
        return Batch(ids[-1] if ids else None, len(ids))
    if kind is Kind.IDEMPOTENCY:
        return Batch(None, await idempotency.sweep(uow))
    if kind is Kind.OVERRIDE_TEXTS:
        return await repository.blank_overrides(uow, before, limit)
    return await repository.erase(uow, kind, before, after, limit)


async def _revoke(uow: UnitOfWork, client_ids: Sequence[UUID], _before: datetime) -> None:
    for client_id in client_ids:
        await identity.revoke_client(uow, client_id)


async def _stop(uow: UnitOfWork, account_ids: Sequence[UUID], _before: datetime) -> None:
    for account_id in account_ids:
        await grants.stop(uow, events.OPERATOR, account_id)


Find = Callable[[UnitOfWork, datetime], Awaitable[list[UUID]]]
End = Callable[[UnitOfWork, Sequence[UUID], datetime], Awaitable[None]]
# What other rooms keep: what is due there, by id, and what is done to some of it.
_ELSEWHERE: Mapping[Kind, tuple[Find, End]] = {
    Kind.CLIENTS: (identity.unused_clients, _revoke),
    Kind.ACCOUNTS: (identity.unused_accounts, _stop),
    Kind.PEOPLE: (identity.closed_accounts, identity.forget),
    Kind.CALENDARS: (calendar.ended, calendar.delete),
}
