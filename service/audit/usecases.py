"""Use cases: trace what is refused, look into the traces, seal them, verify the seals."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from service.audit import repository
from service.audit.domain import GENESIS, Chain, Finding, Seal, Trace, window
from service.identity import Actor
from service.kernel.db import Database, UnitOfWork
from service.kernel.errors import DomainError
from service.kernel.events import Origin
from service.kernel.paging import Page, PageRequest, instant

BATCH = 1000
_SEALS_AT_ONCE = 20
_TOLD_AT_MOST = 20

OtherNames = Callable[[UnitOfWork, UUID], Awaitable[Sequence[UUID]]]
_other_names: list[OtherNames] = []


def also_known_as(names: OtherNames) -> None:
    """Let a room above say under which other ids a patient file is traced, such as bookings."""
    _other_names.append(names)


async def refused(
    uow: UnitOfWork,
    actor: Actor | None,
    operation: str,
    refusal: DomainError,
    *,
    address: str | None,
    correlation_id: str,
    subject_ids: Sequence[UUID],
) -> None:
    """Trace a refusal; without an actor nobody knows who it was."""
    await repository.record(
        uow,
        actor.origin if actor else Origin(address=address, correlation_id=correlation_id),
        operation,
        refusal.code,
        subject_ids=subject_ids,
        territories=actor.territories if actor else (),
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
        "shown",
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


async def accesses(uow: UnitOfWork, file_id: UUID, at_most: int) -> list[Trace]:
    """Return who read and changed a patient file and its bookings, newest first."""
    wanted = {"subjects": await names(uow, file_id)}
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
            done = Sealed(done.seals + 1, done.rows + len(made.row_ids), made.hash.hex())
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
        last = await repository.last(uow)
        position, previous = last or (0, GENESIS)
        new = Seal(
            position=position + 1,
            source=source,
            from_xid=from_xid,
            to_xid=to_xid,
            complete=full is None,
            sealed_at=turn.now,
            row_ids=[line.id for line in found],
            row_digests=b"".join(line.digest for line in found),
            previous=previous,
        )
        hash_ = new.computed()
        new = replace(new, hash=hash_, mac=uow.vault.mac(hash_))
        await repository.add(uow, new)
        return new


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
                await self._check(database, one)
            if not seals:
                break
            yield self.chain.position
        if not met:
            self.findings.append(Finding("chain", "the expected hash is not in it"))
        for source in repository.SOURCES:
            async with database.unit_of_work() as uow:
                for row_id in await repository.ahead(uow, source, _TOLD_AT_MOST):
                    told = "inserted: its transaction has not begun yet"
                    self.findings.append(Finding(f"{source} {row_id}", told))

    async def _check(self, database: Database, one: Seal) -> None:
        mac = database.vault.mac(one.hash)
        self.findings += self.chain.follow(one, mac)
        async with database.unit_of_work() as uow:
            found = await repository.lines(uow, one.source, one.from_xid, one.to_xid)
        self.findings += self.chain.compare(one, found)
        self.rows += len(found)
        self.without_key += one.mac is None


async def seal_count(database: Database) -> int:
    """Return how many seals there are."""
    async with database.unit_of_work() as uow:
        return await repository.count(uow)
