"""`make bench`: the service beside the floor of its own stack, in one run, as ratios.

Both serve the same database at the same time and are pressed in turn, so that what else the machine
does hits both; each round gives one ratio, and the table shows the median. Absolute figures are for
information: they belong to the machine and the minute.
"""

import argparse
import asyncio
import itertools
import json
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
from rich.console import Console

from load_tests import driver, floor, world
from load_tests.stack import ROOT, Process, Stack, commit, machine, running, stack, usage

_DEBIAN = Path("/usr/lib/postgresql")
RESULTS = Path(__file__).parent / "results"
CONNECTIONS = 8
RIVALS = 1000
SEARCH = "/v1/slots?limit=20&near=46.81,1.69&radius_km=30"


@dataclass
class Row:
    """One operation of one contestant over all rounds."""

    rates: list[float] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    server_cpu: float = 0.0
    database_cpu: float = 0.0
    memory_mb: float = 0.0

    def add(self, found: driver.Measured, server_cpu: float, database_cpu: float) -> None:
        """Add a round."""
        self.rates.append(found.rate)
        self.times += found.times
        self.statuses += found.statuses
        self.server_cpu += server_cpu
        self.database_cpu += database_cpu

    def figures(self) -> dict[str, Any]:
        """Sum up: rates a second, times and processor use in milliseconds, memory in MB."""
        whole = driver.Measured(times=self.times)
        number = max(1, len(self.times))
        return {
            "rate": round(statistics.median(self.rates), 1),
            **{f"p{p}": round(whole.percentile(p / 100), 1) for p in (50, 95, 99)},
            "server_cpu_ms": round(1000 * self.server_cpu / number, 3),
            "database_cpu_ms": round(1000 * self.database_cpu / number, 3),
            "memory_mb": round(self.memory_mb),
            "answers": dict(sorted(self.statuses.items())),
        }


@dataclass(frozen=True)
class Contestant:
    """Who is measured: ours, the floor, or ours at another commit."""

    name: str
    process: Process
    token: str | None


def bookings(token: str | None, ids: Iterator[str]) -> Iterator[bytes]:
    """Write full bookings of one new patient each."""
    for slot_id in ids:
        unique = uuid4().hex
        patient = {
            "family_name": f"Martin{unique[:8]}",
            "given_name": "Léa",
            "birth_date": "1980-01-01",
            "sex": "F",
            "phone": "+33600000000",
            "commune": "36044",
        }
        body = {"slot_id": slot_id, "case_id": unique[:12], "patient_file": patient}
        yield driver.request("POST", "/v1/bookings", token=token, body=body, key=unique)


def searches(token: str | None) -> Iterator[bytes]:
    """Write the same search again and again: 20 slots within 30 km."""
    content = driver.request("GET", SEARCH, token=token)
    while True:
        yield content


class Bench:
    """One run."""

    def __init__(self, stack: Stack, contestants: list[Contestant], ids: list[str]) -> None:
        self._stack = stack
        self._contestants = contestants
        self._ids = iter(ids)
        self.rows: dict[str, dict[str, Row]] = {}

    def _press(
        self, who: Contestant, name: str, requests: Iterator[bytes], seconds: float
    ) -> driver.Measured:
        server, base = who.process.popen.pid, self._stack.cluster.pid
        before = usage(server), usage(base)
        found = asyncio.run(
            driver.press(who.process.port, requests, connections=CONNECTIONS, seconds=seconds)
        )
        after = usage(server), usage(base)
        row = self.rows.setdefault(name, {}).setdefault(who.name, Row())
        row.add(
            found,
            after[0].cpu_seconds - before[0].cpu_seconds,
            after[1].cpu_seconds - before[1].cpu_seconds,
        )
        row.memory_mb = after[0].memory_mb
        return found

    def warm(self) -> None:
        """Let every process open its connections; let plans be made for tables that have rows.

        A server in use has been analysed by autovacuum; ours here is a minute old.
        """
        for who in self._contestants:
            for requests in (bookings(who.token, self._ids), searches(who.token)):
                asyncio.run(
                    driver.press(who.process.port, requests, connections=CONNECTIONS, seconds=1.0)
                )

        asyncio.run(world.analyze(self._stack))

    def round(self, seconds: float) -> None:
        """Press everybody once with everything."""
        for who in self._contestants:
            self._press(who, "booking", bookings(who.token, self._ids), seconds)
        for who in self._contestants:
            self._press(who, "search", searches(who.token), seconds)

    def refused(self, seconds: float) -> None:
        """Ask for a slot that somebody has: refusals must cost less than bookings."""
        for who in self._contestants:
            taken = itertools.repeat(next(self._ids))
            first = next(bookings(who.token, taken))
            asyncio.run(driver.herd(who.process.port, [first]))
            self._press(who, "refusal", bookings(who.token, taken), seconds)

    def herd(self) -> dict[str, Any]:
        """Let a thousand rivals want one slot at the same instant."""
        ours = self._contestants[0]
        slot = next(self._ids)
        contents = list(bookings(ours.token, iter([slot] * RIVALS)))
        found = asyncio.run(driver.herd(ours.process.port, contents))
        return {
            "rivals": RIVALS,
            "answers": dict(sorted(found.statuses.items())),
            "seconds": round(found.seconds, 2),
            "p50": round(found.percentile(0.5)),
            "p99": round(found.percentile(0.99)),
        }

    def ratios(self) -> dict[str, dict[str, float]]:
        """Divide our rate by each other's, round by round, and take the median."""
        ours = self._contestants[0].name
        return {
            name: {
                other: round(
                    statistics.median(
                        mine / theirs
                        for mine, theirs in zip(rows[ours].rates, rows[other].rates, strict=True)
                    ),
                    3,
                )
                for other in rows
                if other != ours
            }
            for name, rows in self.rows.items()
        }


# --- pgbench: the same statements without any server of ours --------------------------------------


def pgbench(stack: Stack, ids: list[str], seconds: int) -> dict[str, float] | None:
    """Run the floor's statements under pgbench; None where there is no pgbench."""
    found = shutil.which("pgbench") or next(
        (str(path) for path in sorted(_DEBIAN.glob("*/bin/pgbench"), reverse=True)), None
    )
    if found is None:
        return None
    asyncio.run(_offer(stack, ids))
    scripts = {"booking": _booking_script(), "search": _search_script()}
    rates = {}
    for name, text in scripts.items():
        file = stack.folder / f"{name}.sql"
        file.write_text(text + ";\n")
        done = subprocess.run(
            [
                found,
                "--no-vacuum",
                "--protocol=prepared",
                f"--client={CONNECTIONS}",
                "--jobs=2",
                f"--time={seconds}",
                f"--file={file}",
                stack.superuser_url,
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        tps = re.search(r"tps = ([\d.]+)", done.stdout)
        if tps is None:
            raise RuntimeError(f"pgbench failed: {done.stderr[-500:]}")
        rates[name] = round(float(tps[1]), 1)
    return rates


async def _offer(stack: Stack, ids: list[str]) -> None:
    connection = await asyncpg.connect(stack.superuser_url)
    try:
        await connection.execute(
            "CREATE TABLE load_ids (n bigint PRIMARY KEY, id uuid); CREATE SEQUENCE load_seq"
        )
        await connection.copy_records_to_table("load_ids", records=list(enumerate(ids, 1)))
    finally:
        await connection.close()


def _booking_script() -> str:
    values = {
        1: "(SELECT id FROM load_ids WHERE n = (SELECT nextval('load_seq')))",
        4: f"'{floor.SAS}'::uuid",
        5: f"'{floor.CLIENT}'::uuid",
        6: "decode(repeat('ab', 40), 'hex')",
        8: "'C'",
        10: "gen_random_uuid()::text",
        11: "decode(repeat('ab', 32), 'hex')",
        12: "NULL::uuid",
    }
    # Ids that the statement uses twice are drawn once; keys must differ from row to row.
    head = (
        "WITH ids AS MATERIALIZED (SELECT gen_random_uuid() AS file, gen_random_uuid() AS booking,"
        " gen_random_uuid() AS event, sha256(uuid_send(gen_random_uuid())) AS key), "
    )
    values |= {
        2: "(SELECT file FROM ids)",
        3: "(SELECT booking FROM ids)",
        7: "(SELECT key FROM ids)",
        9: "(SELECT event FROM ids)",
    }
    text = floor.BOOK.strip().removeprefix("WITH ")
    return head + re.sub(r"\$(\d+)", lambda match: values[int(match[1])], text)


def _search_script() -> str:
    values = {1: "46.81", 2: "1.69", 3: "'36'", 4: "'{PUBLIC,PRO,SNP}'::text[]"}
    return re.sub(r"\$(\d)", lambda match: values[int(match[1])], floor.SEARCH.strip())


# --- the report -----------------------------------------------------------------------------------


def markdown(report: dict[str, Any]) -> str:
    """Write the report for people."""
    lines = [
        "# Benchmark",
        "",
        f"Commit `{report['commit']}`, {report['at']}. "
        + ", ".join(f"{name} {value}" for name, value in report["machine"].items())
        + ".",
        (
            f"{report['rounds']} rounds of {report['seconds']} s, {CONNECTIONS} connections of one"
            f" client process, one server process each. Again: `{report['command']}`."
        ),
        "",
        (
            "| operation | who | rate/s | ratio | p50 ms | p95 | p99 | server CPU ms"
            " | database CPU ms | memory MB | answers |"
        ),
        "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|---|",
    ]
    for name, rows in report["operations"].items():
        for who, figures in rows.items():
            ratio = report["ratios"][name].get(who)
            lines.append(
                f"| {name} | {who} | {figures['rate']} | {'' if ratio is None else ratio}"
                f" | {figures['p50']} | {figures['p95']} | {figures['p99']}"
                f" | {figures['server_cpu_ms']} | {figures['database_cpu_ms']}"
                f" | {figures['memory_mb']} | {figures['answers']} |"
            )
    herd = report["herd"]
    pgbench_ = report["pgbench"]
    lines += [
        "",
        "The ratio is our rate divided by that line's, the median of the rounds.",
        "",
        (
            f"Herd: {herd['rivals']} rivals on one slot, each on a connection of its own:"
            f" {herd['answers']}, all within {herd['seconds']} s (p50 {herd['p50']} ms,"
            f" p99 {herd['p99']} ms)."
        ),
        "",
        "pgbench with the floor's statements: "
        + (
            ", ".join(f"{name} {rate}/s" for name, rate in pgbench_.items())
            if pgbench_
            else "not measured, there is no pgbench here"
        )
        + ".",
        "",
        "The floor's handler (`load_tests/floor.py`):",
        "",
        "```python",
        (ROOT / "load_tests" / "floor.py").read_text(encoding="utf-8").rstrip(),
        "```",
        "",
    ]
    return "\n".join(lines)


@contextmanager
def _checkout(revision: str) -> Iterator[Path]:
    """Check another commit out beside this one."""
    where = Path(tempfile.mkdtemp(prefix="snp-base-"))
    _git("worktree", "add", "--detach", "--quiet", str(where), revision)
    try:
        yield where
    finally:
        _git("worktree", "remove", "--force", str(where))


def _git(*arguments: str) -> None:
    order = ["git", *arguments]
    subprocess.run(order, cwd=ROOT, check=True)


def main() -> None:
    """Run, show progress, write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--slots", type=int, default=150_000)
    parser.add_argument("--base", help="another commit to measure in the same run")
    parser.add_argument("--output", type=Path, default=RESULTS)
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    say = Console(stderr=True, highlight=False).print
    report: dict[str, Any] = {
        "commit": commit(),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "seconds": given.seconds,
        "rounds": given.rounds,
        "command": "make bench" + (f" BASE={given.base}" if given.base else ""),
    }
    with ExitStack() as stacked:
        say(f"Making a database with {given.slots} open slots")
        base = stacked.enter_context(stack())
        callers = world.build(base, given.slots, doctors=given.slots // 200)
        ours = stacked.enter_context(running(base, "service.cli", "serve", name="ours"))
        contestants = [Contestant("ours", ours, callers.sign_in(ours.port))]
        bare = stacked.enter_context(running(base, "load_tests.floor", name="floor"))
        contestants.append(Contestant("floor", bare, None))
        if given.base:
            where = stacked.enter_context(_checkout(given.base))
            other = running(base, "service.cli", "serve", where=where, name="base")
            process = stacked.enter_context(other)
            contestants.append(Contestant(given.base, process, callers.sign_in(process.port)))
        ids = asyncio.run(world.slot_ids(base, given.slots))
        kept = len(ids) * 3 // 4
        bench = Bench(base, contestants, ids[:kept])
        bench.warm()
        for number in range(given.rounds):
            say(f"Round {number + 1} of {given.rounds}")
            bench.round(given.seconds)
        say("Refusals")
        bench.refused(given.seconds)
        say(f"{RIVALS} rivals on one slot")
        report["herd"] = bench.herd()
        say("pgbench")
        report["pgbench"] = pgbench(base, ids[kept:], int(given.seconds))
        report["ratios"] = bench.ratios()
        report["operations"] = {
            name: {who: row.figures() for who, row in rows.items()}
            for name, rows in bench.rows.items()
        }
    given.output.mkdir(parents=True, exist_ok=True)
    (given.output / "bench.json").write_text(json.dumps(report, indent=2) + "\n")
    text = markdown(report)
    (given.output / "bench.md").write_text(text)
    sys.stdout.write(text.partition("The floor's handler")[0])


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("Stopped; nothing was written.")
