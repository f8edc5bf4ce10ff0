"""Everybody of one territory at work on one installation, and what is checked when they stop."""

import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import asyncpg
import httpx

from service.kernel.crypto import Vault
from service.kernel.db import Database
from service.kernel.settings import Settings
from tests.history import snapshot
from tests.history.checker import check
from tests.history.clients import TIMEOUT, Actor, Board, Booker, Doctor
from tests.history.record import History, Outcome
from tests.history.servers import Installation
from tests.history.snapshot import Snapshot
from tests.support import Caller, World

Interference = Callable[[History], Awaitable[None]]
Enough = Callable[[History], bool]
Person = tuple[str, Caller, type[Actor]]
_LONGER_AT_MOST = 120
_LONG = "SNP_TORTURE_SECONDS"


def seconds(short: float, *, share: float) -> float:
    """How long to work: `short`, or in the long form this share of what was asked for."""
    asked = float(os.environ.get(_LONG, "0"))
    return max(short, asked * share)


def seed() -> int:
    """The seed of what everybody draws: said in every failure, set with SNP_TORTURE_SEED."""
    return int(os.environ.get("SNP_TORTURE_SEED", "0")) or random.SystemRandom().randrange(1, 10**6)


@dataclass
class Told:
    """What one run did, for whoever reads the end of `make torture`."""

    name: str
    seconds: float
    history: History
    violations: list[str]
    hidden: int  # calls without a clear answer that had happened nevertheless
    kept: Path  # where the history is

    def lines(self) -> list[str]:
        """Say it in lines."""
        kinds: dict[str, Counter[str]] = {}
        for (kind, status), number in sorted(self.history.counts().items()):
            kinds.setdefault(kind, Counter())[status] += number
        deaths = Counter(incident.what for incident in self.history.incidents)
        first = (
            f"{self.name}: {len(self.history.calls)} calls in {self.seconds:.0f} s,"
            f" {sum(deaths.values())} incidents, {len(self.violations)} violations,"
            f" {self.hidden} calls had happened though their answer was lost"
        )
        return [
            first,
            *(
                f"  {kind:<11}" + "  ".join(f"{status}: {n}" for status, n in by_status.items())
                for kind, by_status in kinds.items()
            ),
            *(f"  {what}: {n} times" for what, n in deaths.items()),
        ]


@asynccontextmanager
async def world_at(installation: Installation, url: str) -> AsyncIterator[World]:
    """Make a territory whose callers talk to one server, until the block ends."""
    settings = Settings.model_validate({})
    database = Database(installation.app_url(), settings, Vault(installation.keys))
    try:
        async with httpx.AsyncClient(base_url=url, timeout=TIMEOUT, trust_env=False) as http:
            yield await World(database, http).begin()
    finally:
        await database.dispose()


@dataclass
class Crowd:
    """Two doctors, two regulating desks, two pharmacies."""

    installation: Installation
    seed: int
    history: History = field(default_factory=History)
    board: Board = field(default_factory=Board)
    actors: list[Actor] = field(default_factory=list)
    territory: str = ""

    async def gather(self) -> Self:
        """Make a territory with its people, and sign them in."""
        self.history.clock = await _clock(self.installation.superuser_url())
        async with world_at(self.installation, self.installation.servers[0].url) as world:
            self.territory = world.territory
            people = await self.people(world)
        servers = [server.url for server in self.installation.servers]
        for name, caller, kind in people:
            chance = random.Random(f"{self.seed} {name}")
            self.actors.append(
                kind(name, caller, chance, servers=servers, history=self.history, board=self.board)
            )
        return self

    async def people(self, world: World) -> Sequence[Person]:
        """Make whoever acts: by name, with a token, of a kind."""
        doctors = [await world.doctor() for _ in range(2)]
        desks = [await world.regulator() for _ in range(2)]
        pharmacists = [await world.pharmacist() for _ in range(2)]
        return (
            *((f"doctor {n}", caller, Doctor) for n, caller in enumerate(doctors)),
            *((f"desk {n}", caller, Booker) for n, caller in enumerate(desks * 2)),
            *((f"pharmacist {n}", caller, Booker) for n, caller in enumerate(pharmacists)),
        )

    async def work(
        self, length: float, enough: Enough, interference: Interference | None = None
    ) -> None:
        """Let everybody work so long, and until enough was seen, while things happen; then settle.

        On a busy machine few calls fit into some seconds: then it lasts longer.
        """
        done = asyncio.Event()
        async with asyncio.TaskGroup() as together:
            for actor in self.actors:
                together.create_task(actor.work(done))
            together.create_task(self._until_enough(length, enough, interference, done))
        await self.installation.healthy()
        for actor in self.actors:
            await actor.settle()

    async def _until_enough(
        self,
        length: float,
        enough: Enough,
        interference: Interference | None,
        done: asyncio.Event,
    ) -> None:
        until = time.monotonic() + length
        try:
            if interference is not None:
                await _again_and_again(interference, self.history, until)
            await asyncio.sleep(max(0.0, until - time.monotonic()))
            for _ in range(_LONGER_AT_MOST):
                if enough(self.history):
                    return
                await asyncio.sleep(1)
        finally:
            done.set()

    async def snapshot(self) -> Snapshot:
        """Read the territory's rows."""
        return await snapshot.take(
            self.installation.superuser_url(),
            self.territory,
            [actor.caller.secret.client_id for actor in self.actors],
        )

    async def close(self) -> None:
        """Close all connections."""
        for actor in self.actors:
            await actor.close()


async def _again_and_again(interference: Interference, history: History, until: float) -> None:
    """Interfere at least once, with time to work before and after."""
    pause = min(3.0, max(0.5, (until - time.monotonic()) / 3))
    while True:
        await asyncio.sleep(pause)
        await interference(history)
        if time.monotonic() + 2 * pause > until:
            return


async def _clock(url: str) -> float:
    """Return what to add to a monotonic instant for the database's: the tightest of some tries."""
    connection = await asyncpg.connect(url)
    try:
        found: list[tuple[float, float]] = []
        for _ in range(10):
            before = time.monotonic()
            there = await connection.fetchval(
                "SELECT extract(epoch FROM clock_timestamp())::float8"
            )
            after = time.monotonic()
            found.append((after - before, there - (before + after) / 2))
    finally:
        await connection.close()
    return min(found)[1]


def hidden(history: History, rows: Snapshot) -> int:
    """Count the calls without a clear answer that had happened nevertheless."""
    caused = {event.correlation_id for event in rows.events}
    return sum(c.outcome is Outcome.UNKNOWN and c.id in caused for c in history.calls)


async def run(
    installation: Installation,
    name: str,
    length: float,
    folder: Path,
    enough: Enough,
    interference: Interference | None = None,
    crowd: Crowd | None = None,
) -> Told:
    """Let a crowd work and check what it did; the history is kept in `folder`."""
    kept = folder / "history.jsonl"
    crowd = await (crowd or Crowd(installation, seed())).gather()
    started = time.monotonic()
    try:
        await crowd.work(length, enough, interference)
        rows = await crowd.snapshot()
    finally:
        await crowd.close()
        crowd.history.save(kept)
    violations = check(crowd.history, rows)
    lasted = time.monotonic() - started
    return Told(
        f"{name} (seed {crowd.seed})",
        lasted,
        crowd.history,
        violations,
        hidden(crowd.history, rows),
        kept,
    )


def assert_right(told: Told, defects: Sequence[str] = ()) -> None:
    """Fail with every violation, and what else was done."""
    said = [*told.violations[:50], *told.lines(), f"History: {told.kept}", *defects[-20:]]
    assert not told.violations, "\n".join(said)
    assert not defects, "\n".join(defects[-20:])
