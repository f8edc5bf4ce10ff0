"""Worker, servers and PostgreSQL die while receivers fail, hang and throttle: who should, hears."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from service.webhooks import tasks
from tests.history.clients import Booker, Doctor, KnownSlot, Operation
from tests.history.crowd import Crowd, Person, Told, assert_right, run, seconds, seed, world_at
from tests.history.hearing import BOOKINGS, WANTED, Ear, facts, wrong
from tests.history.record import History, Outcome
from tests.history.servers import Installation, Process, until
from tests.support import World
from tests.webhooks.receivers import HANG, Answer, Received, receiving

_LENGTH = seconds(10, share=1)
_ENOUGH = max(200, int(7 * _LENGTH))  # bookings; thousands in the long form
_PATIENCE = 300 + 4 * _LENGTH  # until everything that waits was sent, on a busy machine
_AGED = "UPDATE procrastinate_workers SET last_heartbeat = last_heartbeat - interval '1 hour'"
_BEGUN = "SELECT EXISTS (SELECT FROM stream_cursors WHERE consumer = 'webhooks')"
# Nothing comes by itself any more, every fact was handed on, whatever some are told was sent.
_QUIET = """
SELECT NOT EXISTS (SELECT FROM holds JOIN slots ON slots.id = slot_id
                   WHERE slots.territory = $1 AND holds.ended_at IS NULL)
   AND NOT EXISTS (SELECT FROM events WHERE position IS NULL)
   AND (SELECT reached FROM stream_cursors WHERE consumer = 'webhooks')
     = (SELECT max(position) FROM events)
   AND NOT EXISTS (SELECT FROM webhook_deliveries
                   WHERE endpoint_id = ANY($2::uuid[]) AND state IN ('pending', 'failed'))"""
_GONE = "SELECT disabled_reason = 'gone' FROM webhook_endpoints WHERE id = $1"
pytestmark = [pytest.mark.xdist_group("history"), pytest.mark.timeout(600 + 6 * _LENGTH)]


class Opener(Doctor):
    """A doctor who opens slots for tomorrow and later, each for others, and amends none."""

    number = 0

    def choices(self) -> list[tuple[Callable[[], Awaitable[None]], float]]:
        """Mostly open; now and then take something back."""
        return [(self.publish, 4), (self.withdraw, 1), (self.cancel, 1), (self.pause, 3)]

    async def publish(self) -> None:
        """Publish the next slot, with labels in turn."""
        self.number += 1
        starts = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) + timedelta(
            days=1, minutes=30 * self.number
        )
        labels, types = (
            (["PRO"], []), (["SNP", "PRO"], []), (["SNP"], []), (["PRO"], ["pharmacy"]),
        )[self.number % 4]  # fmt: skip
        seats = {"capacity": 4, "overbooking": 0}
        body = self.caller.slot(starts, visibility=labels, organization_types=types, **seats)
        call = await self.do(Operation("publish", "POST", "/v1/slots", body, seats, self._key()))
        if call.outcome is Outcome.DONE:
            slot = KnownSlot(call.answer["id"], self.name, starts, call.answer["version"])
            self.board.slots[slot.id] = slot


def _always(answer: Answer) -> Callable[[Received], Answer]:
    return lambda _: answer


def _sometimes(chance: random.Random, share: float, answer: Answer) -> Callable[[Received], Answer]:
    """Answer so to a share of the messages, once each; well to all others."""
    failed: Counter[str] = Counter()

    def behave(one: Received) -> Answer:
        bad = not failed[one.id] and chance.random() < share
        failed[one.id] += bad
        return answer if bad else Answer()

    return behave


@dataclass
class Audience(Crowd):
    """A crowd that many listen to: all of them here, but `trap`, where no message belongs."""

    stack: AsyncExitStack = field(default_factory=AsyncExitStack)
    ears: dict[str, Ear] = field(default_factory=dict)

    async def people(self, world: World) -> Sequence[Person]:
        """Make whoever acts, and let them subscribe: some to receivers that misbehave."""
        doctor, colleague = await world.doctor(), await world.doctor()
        desk, pharmacist, rival = (
            await world.regulator(), await world.pharmacist(), await world.pharmacist(),
        )  # fmt: skip
        far = await World(world.database, world.http).begin()
        self.trap = await self.stack.enter_async_context(receiving())
        chance = random.Random(self.seed)
        fails, throttled = Answer(500), Answer(429, "retry-after: 1\r\n")
        moved = Answer(302, f"location: {self.trap.url}\r\n")
        well = _always(Answer())
        listeners = (
            ("doctor", doctor, "PRO", "practice", well, WANTED),
            ("colleague", colleague, "PRO", "practice", well, WANTED),
            ("desk", desk, "SNP PRO", "sas", well, WANTED),
            ("pharmacist", pharmacist, "PRO", "pharmacy", well, WANTED),
            ("rival", rival, "PRO", "pharmacy", well, WANTED),
            ("stranger", await far.regulator(), "", "sas", well, WANTED),
            ("failing", doctor, "PRO", "practice", _sometimes(chance, 0.1, fails), BOOKINGS),
            ("throttling", desk, "SNP PRO", "sas", _sometimes(chance, 0.03, throttled), BOOKINGS),
            ("hanging", desk, "SNP PRO", "sas", _always(Answer(HANG)), BOOKINGS),
            ("redirecting", rival, "PRO", "pharmacy", _always(moved), BOOKINGS),
            ("gone", colleague, "PRO", "practice", _always(Answer(410)), BOOKINGS),
        )
        for name, caller, labels, kind, behave, wanted in listeners:
            receiver = await self.stack.enter_async_context(receiving())
            ear = Ear(name, caller, frozenset(labels.split()), kind, receiver, behave, wanted)
            self.ears[name] = await ear.listen()
        bookers = [desk, desk, desk, desk, pharmacist, pharmacist, rival, rival]
        return [
            ("doctor", doctor, Opener),
            ("colleague", colleague, Opener),
            *((f"booker {n}", caller, Booker) for n, caller in enumerate(bookers)),
        ]

    def ids(self, *names: str) -> list[UUID]:
        """The ids of endpoints."""
        return [UUID(self.ears[name].endpoint["id"]) for name in names]


_WELL = ("doctor", "colleague", "desk", "pharmacist", "rival", "stranger", "failing", "throttling")


@asynccontextmanager
async def _working(installation: Installation) -> AsyncIterator[list[Process]]:
    """Two workers, at work on what happens from now on."""
    workers = [installation.worker() for _ in range(2)]
    try:
        await asyncio.gather(*(worker.start() for worker in workers))
        await until(lambda: _ask(installation, _BEGUN))
        yield workers
    finally:
        for worker in workers:
            if worker.runs:
                await worker.kill()


async def _ask(installation: Installation, question: str, *asked: Any) -> bool:
    session = await asyncpg.connect(installation.superuser_url())
    try:
        return bool(await session.fetchval(question, *asked))
    finally:
        await session.close()


def _deaths(
    installation: Installation, workers: list[Process], chance: random.Random
) -> Callable[[History], Awaitable[None]]:
    async def worker() -> None:
        await _again(chance.choice(workers))

    async def every_worker() -> None:
        await asyncio.gather(*map(_again, workers))

    async def server() -> None:
        await _again(chance.choice(installation.servers))

    async def postgresql() -> None:
        await installation.kill_postgresql()
        await installation.start_postgresql()

    async def die(history: History) -> None:
        """Let each of them die once, in any order."""
        for death in chance.sample((worker, every_worker, server, postgresql), 4):
            history.happened(f"kill -9: {death.__name__.replace('_', ' ')}")
            await death()
            await asyncio.sleep(chance.uniform(0.2, 1.5))

    return die


async def _again(process: Process) -> None:
    await process.kill()
    await process.start()


async def test_who_should_hear_hears_and_nobody_else(
    installation: Installation, tmp_path: Path, tell: list[Told]
) -> None:
    number = seed()
    chance = random.Random(number)
    async with AsyncExitStack() as stack, _working(installation) as workers:
        crowd = Audience(installation, number, stack=stack)
        told = await run(
            installation,
            "telling",
            _LENGTH,
            tmp_path,
            _enough,
            _deaths(installation, workers, chance),
            crowd,
        )
        tell.append(told)
        assert_right(told)
        # What the last of the dead had under way is somebody else's after a while; now, here.
        await asyncio.gather(*(worker.kill() for worker in workers))
        await _ask(installation, _AGED)
        await asyncio.gather(*(worker.start() for worker in workers))
        async with world_at(installation, installation.servers[0].url) as world:

            async def quiet() -> bool:
                for endpoint_id in crowd.ids("failing", "throttling"):  # or wait for hours
                    await tasks.retry(world.database, endpoint_id, None)
                return await _ask(installation, _QUIET, crowd.territory, crowd.ids(*_WELL))

            await until(quiet, _PATIENCE, pause=1)
        events, slots = await facts(installation.superuser_url(), crowd.territory)
        disabled = await _ask(installation, _GONE, *crowd.ids("gone"))
    violations = [
        one
        for name, ear in crowd.ears.items()
        for one in wrong(ear, events, slots, healthy=name in _WELL)
    ]
    said = [*violations[:50], f"{len(violations)} in all", *told.lines()]
    assert not violations, "\n".join(said)
    assert disabled
    assert not crowd.trap.received
    heard = {name: len(ear.receiver.received) for name, ear in crowd.ears.items()}
    assert heard.pop("stranger") == 0
    assert all(heard.values()), heard
    assert _enough(told.history), told.lines()


def _enough(history: History) -> bool:
    """As many patients were booked as the test wants."""
    return sum(c.kind == "book" and c.status == 201 for c in history.calls) >= _ENOUGH
