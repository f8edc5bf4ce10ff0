"""`make sas`: how long the national platform waits for a search, among a million open slots.

The open slots of `make scale` (100 %; no calls, no past), one durable PostgreSQL, one server
process. Searches come at a steady rate, each for other practitioners: those of one territory, as
the platform cuts its lists, for now and the next three days. Two times are told: what the server
says in its log, and what the client sees on this machine, from the instant at which the request was
due to the last byte of the answer.
"""

import argparse
import asyncio
import json
import random
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import quote

from rich.console import Console

from load_tests import country, driver, scale, world
from load_tests.stack import Stack, commit, keep, machine, usage
from service.identity import Role, create_client, give_grant

RATE = 40  # a second; the guide estimates 3 000 an hour
CONNECTIONS = 8
DAYS = 3
_MARKS = {25: 50, 1: 20}  # practitioners: p99 in milliseconds
_PERCENTILES = (50, 95, 99)
_SYSTEM = "urn:oid:1.2.250.1.71.4.2.1"
_COMMUNITIES = (
    "&_include=Slot:service-type-reference&_include:iterate=HealthcareService:organization"
)


@dataclass(frozen=True)
class Search:
    """What is asked for at the same rate, one after the other."""

    name: str
    practitioners: int
    communities: bool = False


SEARCHES = (
    Search("25 practitioners, 3 days", 25),
    Search("25 practitioners, 3 days, communities", 25, communities=True),
    Search("one practitioner, 3 days", 1),
)


def requests(search: Search, token: str, codes: Sequence[str], seed: int) -> Iterator[bytes]:
    """Write searches without end, of neighbours in a territory each."""
    drawn = random.Random(seed)
    now = datetime.now(UTC)
    window = "".join(
        f"&start={bound}{quote(at.isoformat(timespec='milliseconds'))}"
        for bound, at in (("ge", now), ("le", now + timedelta(days=DAYS)))
    )
    while True:
        territory = drawn.randrange(len(codes))
        first = drawn.randrange(country.DOCTORS - search.practitioners + 1)
        who = ",".join(
            f"{_SYSTEM}%7C8{country.rpps(territory, first + n)}"
            for n in range(search.practitioners)
        )
        yield driver.request(
            "GET",
            "/fhir/Slot?_include=Slot:schedule&_include:iterate=Schedule:actor&status=free"
            f"{window}&schedule.actor:Practitioner.identifier={who}"
            f"{_COMMUNITIES if search.communities else ''}",
            token=token,
        )


async def _platform(base: Stack, codes: Sequence[str]) -> world.Callers:
    database = await world.open_database(base)
    try:
        async with database.unit_of_work() as uow:
            secret = await create_client(uow, name="sas: the platform")
            await give_grant(
                uow,
                client_id=secret.client_id,
                role=Role.SAS_PLATFORM,
                organization_id=world.SAS,
                organization_type="sas",
                territories=list(codes),
            )
    finally:
        await database.dispose()
    return world.Callers({"platform": secret})


async def _answer(port: int, content: bytes) -> dict[str, Any]:
    """Look at one answer: how much is in it."""
    connection = await driver.Connection.open(port)
    answer = await connection.send(content)
    connection.close()
    bundle = json.loads(answer.body)
    if answer.status != HTTPStatus.OK or not bundle["total"]:
        sys.exit(f"That is no answer: {answer.status} {answer.body[:300]!r}")
    return {"slots": bundle["total"], "kilobytes": round(len(answer.body) / 1000)}


def measure(served: scale.Served, codes: Sequence[str], seconds: float) -> dict[str, Any]:
    """Search at the rate, one kind after the other."""
    callers = asyncio.run(_platform(served.base, codes))
    port, server, database = served.process.port, served.process.popen.pid, served.base.cluster.pid
    table: dict[str, Any] = {}
    for seed, search in enumerate(SEARCHES):
        wanted = requests(search, callers.sign_in(port, "platform"), codes, seed)
        asked: dict[str, Any] = {"rate": RATE, "connections": CONNECTIONS}
        asyncio.run(driver.steady(port, wanted, **asked, seconds=2))  # plans become generic
        log = served.process.output.stat().st_size
        before = usage(server).cpu_seconds, usage(database).cpu_seconds
        found = asyncio.run(driver.steady(port, wanted, **asked, seconds=seconds))
        after = usage(server).cpu_seconds, usage(database).cpu_seconds
        each = 1000 / max(1, len(found.times))
        told = (line for line in served.process.told(log) if line["event"] == "request")
        inside = driver.Measured(times=[line["ms"] / 1000 for line in told])
        table[search.name] = {
            **{f"server_p{p}": round(inside.percentile(p / 100), 1) for p in _PERCENTILES},
            **{f"p{p}": round(found.percentile(p / 100), 1) for p in _PERCENTILES},
            "mark": _MARKS[search.practitioners],
            "server_cpu_ms": round(each * (after[0] - before[0]), 1),
            "database_cpu_ms": round(each * (after[1] - before[1]), 1),
            **asyncio.run(_answer(port, next(wanted))),
            "asked": len(found.times),
            "answers": dict(sorted(found.statuses.items())),
        }
    return table


def markdown(report: dict[str, Any]) -> str:
    """Write the report for people."""
    told = ", ".join(f"{name} {value}" for name, value in report["machine"].items())
    slots = f"{report['open_slots']:,}".replace(",", " ")
    columns = (
        *(f"server_p{p}" for p in _PERCENTILES),
        "mark",
        *(f"p{p}" for p in _PERCENTILES),
        *("server_cpu_ms", "database_cpu_ms", "slots", "kilobytes"),
    )
    lines = [
        "# Searches of the national platform",
        "",
        f"Commit `{report['commit']}`, {report['at']}. {told}.",
        "",
        (
            f"Again: `{report['command']}`. {RATE} searches a second for {report['seconds']:g} s"
            f" each, among {slots} open slots; milliseconds. The mark is for the server's p99."
            " Processor time is of one search; the size that of one answer."
        ),
        "",
        (
            "| search | server: p50 | p95 | p99 | mark | client: p50 | p95 | p99 | server CPU"
            " | database CPU | slots | KB | answers |"
        ),
        "|---|" + "--:|" * len(columns) + "---|",
    ]
    for name, cell in report["searches"].items():
        values = " | ".join(str(cell[column]) for column in columns)
        answers = ", ".join(f"{number} × {status}" for status, number in cell["answers"].items())
        lines.append(f"| {name} | {values} | {answers} |")
    return "\n".join([*lines, ""])


def main() -> None:
    """Run, show progress, write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--percent", type=float, default=100)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--output", type=Path, default=scale.RESULTS)
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    say = Console(stderr=True, highlight=False).print
    codes = country.country(given.percent).codes
    with ExitStack() as stacked:
        served = scale.make(given.percent, stacked, say, calls=0)()
        report: dict[str, Any] = {
            "commit": commit(),
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": machine(),
            "seconds": given.seconds,
            "command": f"make sas SECONDS={given.seconds:g}",
            "open_slots": served.facts["written"]["open slots"],
            "searches": measure(served, codes, given.seconds),
        }
    keep(given.output, "sas", report, markdown(report))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("Stopped; nothing was written.")
