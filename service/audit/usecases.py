"""Use cases: trace what is refused, look into the traces, seal, verify and prune them."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from service.audit import repository
from service.audit.domain import (
    DIGEST_BYTES,
    TOMBSTONES,
    Chain,
    Finding,
    Limit,
    NotAsSealed,
    Seal,
    Trace,
    window,
)
from service.audit.parts import SHOWN
from service.identity import Actor
from service.kernel.db import Database, UnitOfWork
from service.kernel.errors import DomainError
from service.kernel.paging import Page, PageRequest, instant

BATCH = 1000
PRUNED_AT_ONCE = 5000
_SEALS_AT_ONCE = 20
_TOLD_AT_MOST = 20

OtherNames = Callable[[UnitOfWork, UUID], Awaitable[Sequence[UUID]]]
_other_names: list[OtherNames] = []

Held = Callable[[UnitOfWork], Awaitable[Sequence[UUID]]]
Told = Callable[[int, int], None]  # lines done, lines to do


def also_known_as(names: OtherNames) -> None:
    """Let a room above say under which other ids a patient file is traced, such as bookings."""
    _other_names.append(names)


async def refused(
    uow: UnitOfWork,
    actor: Actor,
    operation: str,
    refusal: DomainError,
    subject_ids: Sequence[UUID],
) -> None:
    """Trace a refusal; those of who is nobody are counted: `Strangers`."""
    await repository.record(
        uow,
        actor.origin,
        operation,
        refusal.code,
        subject_ids=subject_ids,
        territories=actor.territories,
    )


async def shown(
    uow: UnitOfWork,
    actor: Actor,
    operation: str,
    *,
    territories: Sequence[str],
    subject_ids: Sequence[UUID] = (),
    purpose: str | None = None,
) -> None:
    """Trace what several statements show; what one statement shows, it traces (`parts.shown`).

    About nobody in particular, such as exact figures, it has no subjects.
    """
    origin = replace(actor.origin, purpose=purpose) if purpose else actor.origin
    await repository.record(
        uow, origin, operation, SHOWN, subject_ids=subject_ids, territories=territories
    )


async def list_events(
    uow: UnitOfWork, actor: Actor, wanted: Mapping[str, Any], page: PageRequest
) -> Page[Trace]:
    """Return traces, newest first; looking into them is traced itself.

    A manager sees those of the grant's territories, an administrator all. `wanted`: `patient` (id
    of a file, with its bookings; or of a booking), `from_`, `to`, `client`, `organization`,
    `break_glass`; without a patient, the last day or a window of at most 31. Refusals:
    `audit-invalid`.
    """
    filters = dict(wanted)
    patient: UUID | None = filters.pop("patient")
    keys = page.after(instant, UUID)
    filters["from_"], filters["to"] = window(
        filters["from_"], filters["to"], await uow.now(), open_ended=patient is not None
    )
    filters["break_glass"] = filters["break_glass"] or None
    if keys:
        filters["before"], filters["before_id"] = keys
    await repository.record(
        uow,
        actor.origin,
        "audit.list",
        SHOWN,
        subject_ids=[patient] if patient else [],
        territories=actor.territories,
    )
    if not actor.administers:
        filters["territories"] = list(actor.territories)
    if patient is not None:
        filters["subjects"] = await names(uow, patient)
    found = await repository.newest(uow, filters, page.limit)
    return page.page(found, lambda trace: [trace.occurred_at.isoformat(), str(trace.id)])


async def names(uow: UnitOfWork, patient: UUID) -> list[UUID]:
    """Return every id under which a patient file is traced."""
    found = [patient]
    for others in _other_names:
        found += await others(uow, patient)
    return found


async def accesses(uow: UnitOfWork, file_ids: Sequence[UUID], at_most: int) -> list[Trace]:
    """Return who read and changed some patient files and their bookings, newest first."""
    wanted = {"subjects": [name for file_id in file_ids for name in await names(uow, file_id)]}
    return (await repository.newest(uow, wanted, at_most))[:at_most]


# --- sealing --------------------------------------------------------------------------------------


class NumbersWentBack(Exception):
    """The database was restored on another server: its transactions are counted anew."""

    def __init__(self) -> None:
        super().__init__(
            "Transactions are counted anew since the database was restored: run snp migrate, "
            "which lets them go on."
        )


async def sealing(uow: UnitOfWork) -> tuple[bool, str]:
    """Tell whether traces can be sealed, and how old the oldest one is that no seal covers."""
    lag = await repository.lag(uow)
    if lag.went_back:
        return False, str(NumbersWentBack())
    return True, f"oldest unsealed trace: {lag.seconds:.0f} s"


async def measures(uow: UnitOfWork) -> dict[str, float]:
    """Measure how old the oldest trace is that no seal covers."""
    return {"audit_oldest_unsealed_seconds": float((await repository.lag(uow)).seconds)}


@dataclass(frozen=True, slots=True)
class Sealed:
    """What one run of the sealer did; `head` is the hash of the newest seal, to be noted."""

    seals: int = 0
    rows: int = 0
    head: str = ""


async def seal(database: Database, batch: int = BATCH) -> Sealed:
    """Seal what is not sealed yet, at least `batch` rows at once.

    Safe at any time, beside itself too: who does not get the turn leaves it to the other one. Each
    batch is a transaction of its own. Raises `NumbersWentBack`.
    """
    done = Sealed()
    for source in repository.SOURCES:
        while (made := await _seal_batch(database, source, batch)) is not None:
            done = Sealed(done.seals + 1, done.rows + made.rows, made.hash.hex())
            if made.complete:
                break
    return done


async def _seal_batch(database: Database, source: str, batch: int) -> Seal | None:
    async with database.unit_of_work() as uow:
        turn = await repository.take_turn(uow)
        if not turn.mine:
            return None
        # Told by later statements than the turn's: what the one before us has sealed is seen, and
        # so is every row of the transactions that had ended before the horizon.
        from_xid = await repository.reached(uow, source)
        if from_xid > turn.horizon:
            raise NumbersWentBack
        full = await repository.nth_xid(uow, source, from_xid, turn.horizon, batch - 1)
        to_xid = turn.horizon if full is None else full + 1
        found = await repository.lines(uow, source, from_xid, to_xid)
        if not found:
            return None
        chain = await repository.chain(uow)
        new = chain.link(
            source, (from_xid, to_xid), found, complete=full is None, at=turn.now, salt=_salt()
        )
        await _add(uow, new)
        return new


def _salt() -> bytes:
    return os.urandom(DIGEST_BYTES)


async def _add(uow: UnitOfWork, new: Seal) -> None:
    await repository.add(uow, replace(new, mac=uow.vault.mac(new.hash)))


# --- verifying ------------------------------------------------------------------------------------


class Verification:
    """One walk along the whole chain: what was found, and where it ended."""

    def __init__(self) -> None:
        self.chain = Chain()
        self.rows = 0
        self.without_key = 0
        self.findings: list[Finding] = []

    async def run(self, database: Database, expect: bytes | None = None) -> AsyncIterator[int]:
        """Compare every seal and every row; yields how many seals are done, to show it.

        `expect` is the hash of a seal that was noted somewhere else: it must be in the chain.
        """
        met = expect is None
        while True:
            async with database.unit_of_work() as uow:
                seals = await repository.seals(uow, self.chain.position, _SEALS_AT_ONCE)
                for one in seals:
                    met = met or one.hash == expect
                    await self._check(uow, one)
            if not seals:
                break
            yield self.chain.position
        self.findings += self.chain.end()
        if not met:
            self.findings.append(Finding("chain", "the expected hash is not in it"))
        for source in repository.SOURCES:
            async with database.unit_of_work() as uow:
                for row_id in await repository.ahead(uow, source, _TOLD_AT_MOST):
                    told = "inserted: its transaction has not begun yet"
                    self.findings.append(Finding(f"{source} {row_id}", told))

    async def _check(self, uow: UnitOfWork, one: Seal) -> None:
        self.findings += self.chain.follow(one, uow.vault.mac(one.hash, like=one.mac))
        self.without_key += one.mac is None
        if one.tombstone is None:
            found = await repository.lines(uow, one.source, one.from_xid, one.to_xid)
            self.findings += self.chain.compare(one, found)
            self.rows += len(found)


async def seal_count(database: Database) -> int:
    """Return how many seals there are."""
    async with database.unit_of_work() as uow:
        return await repository.count(uow)


# --- pruning --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of one limit: `rows` lines were pruned or no longer name anybody, or are due."""

    limit: Limit
    before: datetime
    rows: int


async def due(database: Database, wanted: Iterable[Limit]) -> list[Taken]:
    """Count the lines of which something is due now, those of legal holds too; changes nothing."""
    found = []
    for limit in wanted:
        async with database.unit_of_work() as uow:
            before, _ = await repository.cutoff(uow, limit.kept)
            found.append(Taken(limit, before, await repository.due_rows(uow, limit, before)))
    return found


async def prune(
    database: Database,
    wanted: Iterable[Limit],
    held: Held,
    told: Told = lambda _done, _all: None,
    *,
    why: str,
    batch: int = PRUNED_AT_ONCE,
) -> list[Taken]:
    """Take what is past its limit from whole sealed ranges, as the owner of the tables.

    In transactions of about `batch` lines, each with its tombstone in the chain, so that it may be
    cut off at any moment and goes on when it is run again. A range with a line about one of `held`
    (ids of files, bookings, calls; asked in each transaction) waits as a whole. Raises
    `NotAsSealed`.
    """
    planned = await due(database, wanted)
    total, finished, result = sum(one.rows for one in planned), 0, []
    for plan in planned:
        rows, position = 0, 0 if plan.rows else None
        while position is not None:
            async with database.unit_of_work() as uow:
                done, position = await _prune_batch(uow, plan, position, held, why, batch)
            rows += done
            told(finished + rows, total)
        finished += rows
        result.append(replace(plan, rows=rows))
    return result


async def _prune_batch(
    uow: UnitOfWork, plan: Taken, position: int, held: Held, why: str, batch: int
) -> tuple[int, int | None]:
    """Return how many lines were done, and where to go on; nowhere when nothing is left."""
    await repository.prune_alone(uow)
    keep, taken, rows = await held(uow), list[Seal](), 0
    while rows < batch:
        one = await repository.due(uow, plan.limit, plan.before, position)
        if one is None:
            break
        position = one.position
        if await repository.is_held(uow, one, keep):
            continue
        found = await repository.lines(uow, one.source, one.from_xid, one.to_xid)
        wrong = next(Chain().compare(one, found), None)
        if wrong is not None:
            raise NotAsSealed(wrong)
        await repository.take(uow, plan.limit.gone, one)
        taken.append(one)
        rows += one.rows
    if taken:
        _, owner = await repository.cutoff(uow, plan.limit.kept)
        tombstone = {
            "gone": plan.limit.gone,
            "source": plan.limit.source,
            "seals": [one.position for one in taken],
            "rows": rows,
            "hash_before": taken[0].previous.hex(),
            "hash_after": taken[-1].hash.hex(),
            "before": plan.before.isoformat(),
            "by": owner,
            "why": why,
        }
        chain, now = await repository.chain(uow), await uow.now()
        link = chain.link(
            TOMBSTONES, (0, 0), complete=True, at=now, salt=_salt(), tombstone=tombstone
        )
        await _add(uow, link)
    return rows, position if rows >= batch else None
