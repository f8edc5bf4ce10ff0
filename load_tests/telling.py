"""`make telling`: how soon the outside hears of a booking, and what telling it costs bookings.

One server, one worker, three listeners that hear of every booking: two clients of the regulation
centre, and a pharmacy that sees the slots; each has a webhook endpoint and an open `/v1/events`.
Latency: bookings come as in the busiest hour of the national day, replayed as fast as `make load`
does; from the instant that the booking's event carries to the instant at which a receiver on this
machine has read the message. Cost: bookings at full speed in turn without a worker, with one that
has nobody to tell, and with one that tells the endpoints (what waits of an earlier turn is put out
of the way first); what matters is the last against the others, round by round.

Server, worker, PostgreSQL, the callers and the receivers share the machine: with as few processors
as ours, the ratio says more about those than about locks or waits. `server_cpu_ms` and
`database_cpu_ms` of a booking tell both apart.
"""

import argparse
import asyncio
import random
import signal
import statistics
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from math import ceil
from pathlib import Path
from typing import Any

import asyncpg
import orjson
from rich.console import Console

from load_tests import driver, world
from load_tests.bench import CONNECTIONS, RESULTS, Contestant, Row, bookings
from load_tests.scenarios import day
from load_tests.stack import Stack, commit, keep, machine, running, stack, usage, working
from service.kernel.settings import Settings

LISTENERS = ("regulator", "osnp", "pharmacist")
WAYS = ("no worker", "nobody to tell", "three endpoints")
PER_SECOND = Settings.model_fields["webhook_messages_per_second"].default
FACTS_A_SECOND = Settings.model_fields["webhook_facts_per_second"].default
MOST_A_SECOND = 1000  # bookings at full speed
PACE = 48  # as many times faster than the day `make load` replays it
_HOUR = day.BOOKINGS * max(day.HOURS["weekday"]) / sum(day.HOURS["weekday"])
_PATIENCE = 600.0
_SKIP = """
UPDATE stream_cursors SET reached = (SELECT coalesce(max(position), 0) FROM events)
WHERE consumer = 'webhooks'"""
_TOLD = """
SELECT NOT EXISTS (SELECT FROM events WHERE position IS NULL)
   AND (SELECT reached FROM stream_cursors WHERE consumer = 'webhooks')
     = (SELECT coalesce(max(position), 0) FROM events)
   AND NOT EXISTS (SELECT FROM webhook_deliveries WHERE state IN ('pending', 'failed'))"""


@dataclass
class Receiver:
    """Three receivers in one: reads what comes, notes when, answers 204."""

    delays: list[float] = field(default_factory=list)
    heard: int = 0
    port: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = head.partition(b"content-length:")[2].partition(b"\r\n")[0]
                body = await reader.readexactly(int(length))
                now = time.time()
                self.heard += 1
                happened = datetime.fromisoformat(orjson.loads(body)["timestamp"])
                self.delays.append(now - happened.timestamp())
                writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
                await writer.drain()
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            writer.close()


async def listen(port: int, token: str, delays: list[float]) -> None:
    """Follow `/v1/events` until cancelled; note when each event came."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(driver.request("GET", "/v1/events", token=token))
        while line := await reader.readline():  # each event is a chunk: no line is in two of them
            if line.startswith(b"data: "):
                now = time.time()
                happened = datetime.fromisoformat(orjson.loads(line[6:])["occurred_at"])
                delays.append(now - happened.timestamp())
        raise RuntimeError("A stream ended.")
    finally:
        writer.close()


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    """Listen on a free port until the block ends."""
    receiver = Receiver()
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()


class Telling:
    """One run on a stack with a server."""

    def __init__(self, stack: Stack, ours: Contestant, ids: Iterator[str]) -> None:
        self._stack = stack
        self._ours = ours
        self._ids = ids
        self._port = ours.process.port
        self.rows = {name: Row() for name in WAYS}
        self._tokens: list[str] = []

    async def subscribe(self, callers: world.Callers, url: str) -> None:
        """Let each listener have an endpoint for whatever they may know."""
        for name in LISTENERS:
            token = await asyncio.to_thread(callers.sign_in, self._port, name)
            self._tokens.append(token)
            asked = driver.request("POST", "/v1/webhook-endpoints", token=token, body={"url": url})
            line = await driver.Connection.open(self._port)
            answer = await line.send(asked)
            line.close()
            if answer.status != HTTPStatus.CREATED:
                raise RuntimeError(f"No endpoint: {answer.status} {answer.body[:500].decode()}")

    async def _enable(self, *, enabled: bool) -> None:
        """Let the endpoints hear, or not; what happened so far, or waits, is never theirs."""
        connection = await asyncpg.connect(self._stack.superuser_url)
        try:
            await connection.execute(_SKIP)
            await connection.execute(
                "UPDATE webhook_endpoints SET enabled = $1,"
                " disabled_reason = CASE WHEN NOT $1 THEN 'by-owner' END",
                enabled,
            )
            await connection.execute(
                "UPDATE webhook_deliveries SET state = 'abandoned', next_attempt_at = NULL"
                " WHERE state IN ('pending', 'failed')"
            )
        finally:
            await connection.close()

    async def told(self) -> float:
        """Wait until nothing waits to be told; return for how many seconds."""
        started = time.monotonic()
        connection = await asyncpg.connect(self._stack.superuser_url)
        try:
            while not await connection.fetchval(_TOLD):
                if time.monotonic() - started > _PATIENCE:
                    raise RuntimeError(f"Something waits since {_PATIENCE:.0f} s.")
                await asyncio.sleep(0.05)
        finally:
            await connection.close()
        return time.monotonic() - started

    async def pace(self, rate: float, seconds: float, seed: int) -> int:
        """Book at a rate, whoever answers how fast; return how many."""
        chance = random.Random(seed)
        requests = bookings(self._ours.token, self._ids)
        lines: asyncio.Queue[driver.Connection] = asyncio.Queue()
        for _ in range(CONNECTIONS):
            lines.put_nowait(await driver.Connection.open(self._port))

        async def book() -> None:
            line = await lines.get()
            answer = await line.send(next(requests))
            lines.put_nowait(line)
            if answer.status != HTTPStatus.CREATED:
                raise RuntimeError(f"A booking was answered {answer.status}.")

        started = time.monotonic()
        at, number = chance.expovariate(rate), 0
        async with asyncio.TaskGroup() as group:
            while at < seconds:
                await asyncio.sleep(max(0.0, started + at - time.monotonic()))
                group.create_task(book())
                at, number = at + chance.expovariate(rate), number + 1
        while not lines.empty():
            lines.get_nowait().close()
        return number

    async def press(self, name: str, seconds: float) -> None:
        """Book at full speed for one round."""
        server, base = self._ours.process.popen.pid, self._stack.cluster.pid
        before = usage(server), usage(base)
        found = await driver.press(
            self._port,
            bookings(self._ours.token, self._ids),
            connections=CONNECTIONS,
            seconds=seconds,
        )
        after = usage(server), usage(base)
        self.rows[name].add(
            found,
            after[0].cpu_seconds - before[0].cpu_seconds,
            after[1].cpu_seconds - before[1].cpu_seconds,
        )
        self.rows[name].memory_mb = after[0].memory_mb
        if found.seconds < seconds:
            raise RuntimeError("All slots are booked: more of them are needed (--slots).")
        if set(found.statuses) != {HTTPStatus.CREATED}:
            raise RuntimeError(f"Not only bookings: {dict(found.statuses)}")

    async def latency(
        self, receiver: Receiver, rate: float, seconds: float, seed: int
    ) -> dict[str, Any]:
        """Measure from a booking to its receivers, in milliseconds."""
        delays: dict[str, list[float]] = {"webhook": receiver.delays, "stream": []}
        with working(self._stack, SNP_WEBHOOK_LOOPBACK="true"):
            await self._enable(enabled=False)
            await self.told()  # to nobody: what warmed up is out of the way
            await self._enable(enabled=True)
            async with asyncio.TaskGroup() as group:
                streams = [
                    group.create_task(listen(self._port, token, delays["stream"]))
                    for token in self._tokens
                ]
                await self.pace(rate, 2, seed)  # connections are opened, statements prepared
                await self.told()
                for found in delays.values():
                    found.clear()
                number = await self.pace(rate, seconds, seed)
                await self.told()
                await asyncio.sleep(1)  # a stream's server looks once a second at least
                for stream in streams:
                    stream.cancel()
        for way, found in delays.items():
            if len(found) != len(LISTENERS) * number:
                raise RuntimeError(f"{number} bookings, {len(found)} messages by {way}.")
        return {
            "bookings": number,
            "messages": len(LISTENERS) * number,
            "a_second": round(rate, 2),
            "of_the_day": round(_HOUR / 3600, 3),
            **{way: _percentiles(found) for way, found in delays.items()},
        }

    async def cost(
        self, receiver: Receiver, rounds: int, seconds: float, say: Any
    ) -> dict[str, Any]:
        """Book at full speed, each way in turn; return ratios and figures.

        With a worker, ways change while it works, there and back: a machine that is faster for a
        while is so for both.
        """
        worker_cpu, messages, due = 0.0, [], []
        for number in range(rounds):
            say(f"Round {number + 1} of {rounds}")
            await self._enable(enabled=False)
            await self.press("no worker", seconds)
            some, others = WAYS[1:] if number % 2 else WAYS[:0:-1]
            with working(self._stack, SNP_WEBHOOK_LOOPBACK="true") as worker:
                for name in (some, others, others, some):
                    await self._enable(enabled=name == "three endpoints")
                    before, heard = usage(worker.pid).cpu_seconds, receiver.heard
                    await self.press(name, seconds)
                    if name == "three endpoints":
                        worker_cpu += usage(worker.pid).cpu_seconds - before
                        messages.append((receiver.heard - heard) / seconds)
                        due.append(len(LISTENERS) * self.rows[name].rates[-1])
        return {
            **{f"ratio to {name}": self._ratio(name, rounds) for name in WAYS[:-1]},
            "rounds": {name: row.figures() for name, row in self.rows.items()},
            "worker_cpu_share": round(worker_cpu / (len(due) * seconds), 2),
            "messages_a_second": round(statistics.median(messages)),
            "messages_due_a_second": round(statistics.median(due)),
        }

    def _ratio(self, other: str, rounds: int) -> dict[str, Any]:
        told, without = (self._of_rounds(name, rounds) for name in (WAYS[-1], other))
        ratios = [round(one / another, 3) for one, another in zip(told, without, strict=True)]
        return {"median": round(statistics.median(ratios), 3), "of_rounds": ratios}

    def _of_rounds(self, name: str, rounds: int) -> list[float]:
        rates = self.rows[name].rates
        some = len(rates) // rounds
        return [statistics.mean(rates[n * some : (n + 1) * some]) for n in range(rounds)]


def _percentiles(delays: list[float]) -> dict[str, float]:
    measured = driver.Measured(times=delays)
    return {
        **{f"p{p}": round(measured.percentile(p / 100), 1) for p in (50, 95, 99)},
        "max": round(1000 * max(delays), 1),
    }


def _said(ratio: dict[str, Any]) -> str:
    return f"**{ratio['median']}** (median of {ratio['of_rounds']})"


def markdown(report: dict[str, Any]) -> str:
    """Write the report for people."""
    latency, cost = report["latency"], report["cost"]
    lines = [
        "# Telling the outside",
        "",
        f"Commit `{report['commit']}`, {report['at']}. "
        + ", ".join(f"{name} {value}" for name, value in report["machine"].items())
        + ". Again: `make telling`.",
        "",
        (
            f"{latency['bookings']} bookings, {latency['a_second']} a second (the busiest hour"
            f" of a national day has {latency['of_the_day']}), {latency['messages']} messages"
            f" to {len(LISTENERS)} listeners. From a booking to who hears of it:"
        ),
        "",
        "| | p50 ms | p95 | p99 | at most |",
        "|---|--:|--:|--:|--:|",
        *(
            f"| {way} | {row['p50']} | {row['p95']} | {row['p99']} | {row['max']} |"
            for way, row in ((way, latency[way]) for way in ("webhook", "stream"))
        ),
        "",
        (
            f"Bookings at full speed with a worker and {len(LISTENERS)} endpoints, divided by"
            f" those with nobody to tell: {_said(cost['ratio to nobody to tell'])};"
            f" by those without a worker: {_said(cost['ratio to no worker'])}."
        ),
        "",
        "| | bookings/s | p50 ms | p95 | p99 | server CPU ms | database CPU ms |",
        "|---|--:|--:|--:|--:|--:|--:|",
        *(
            f"| {name} | {row['rate']} | {row['p50']} | {row['p95']} | {row['p99']}"
            f" | {row['server_cpu_ms']} | {row['database_cpu_ms']} |"
            for name, row in cost["rounds"].items()
        ),
        "",
        (
            f"Meanwhile the worker used {cost['worker_cpu_share']} of a processor and sent"
            f" {cost['messages_a_second']} messages a second, of {cost['messages_due_a_second']}"
            f" that became due: an endpoint is sent {PER_SECOND} a second at most, and a worker"
            f" looks at {FACTS_A_SECOND} facts a second at most, the rest later."
            " Server,"
            " worker, PostgreSQL, callers and receivers share the machine."
        ),
        "",
    ]
    return "\n".join(lines)


async def _run(base: Stack, ours: Contestant, callers: world.Callers, given: Any) -> dict[str, Any]:
    say = Console(stderr=True, highlight=False).print
    ids = iter(await world.slot_ids(base, given.slots))
    telling = Telling(base, ours, ids)
    async with receiving() as receiver:
        with working(base, SNP_WEBHOOK_LOOPBACK="true"):
            await telling.subscribe(callers, f"http://127.0.0.1:{receiver.port}/")
        for _ in range(2):  # connections are opened; then plans are made for tables with rows
            requests = bookings(ours.token, ids)
            await driver.press(ours.process.port, requests, connections=CONNECTIONS, seconds=1)
            await world.analyze(base)
        rate = given.pace * _HOUR / 3600
        say(f"{given.seconds:.0f} s of {rate:.1f} bookings a second")
        latency = await telling.latency(receiver, rate, given.seconds, given.seed)
        await world.analyze(base)  # deliveries, too, have rows now
        cost = await telling.cost(receiver, given.rounds, given.seconds_a_round, say)
    return {"latency": latency, "cost": cost}


def main() -> None:
    """Run, show progress, write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="of the latency's measure")
    parser.add_argument("--pace", type=float, default=PACE, help="times as fast as the day")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seconds-a-round", type=float, default=4)
    parser.add_argument("--slots", type=int, help="to book; else enough for all rounds")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=Path, default=RESULTS)
    given = parser.parse_args()
    if given.slots is None:
        booking = 2 + 5 * given.rounds * given.seconds_a_round  # two: to warm up
        given.slots = ceil(MOST_A_SECOND * booking + given.pace * (given.seconds + 2))
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    report: dict[str, Any] = {
        "commit": commit(),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "seconds_a_round": given.seconds_a_round,
    }
    with ExitStack() as stacked:
        base = stacked.enter_context(stack())
        callers = world.build(base, given.slots, doctors=given.slots // 200)
        server = stacked.enter_context(
            running(base, "service.cli", "serve", SNP_WEBHOOK_LOOPBACK="true")
        )
        ours = Contestant("ours", server, callers.sign_in(server.port))
        report |= asyncio.run(_run(base, ours, callers, given))
    keep(given.output, "telling", report, markdown(report))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("Stopped; nothing was written.")
