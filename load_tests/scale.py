"""`make scale`: what requests cost in a small and in a large country. It must be the same.

One durable PostgreSQL and one server process for each size, all there at the same time and asked in
turn, so that what else the machine does hits each alike. Everything asks about one territory, which
looks the same at every size; what differs is how much there is that nobody asks for.
"""

import argparse
import asyncio
import signal
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import UUID, uuid4

import asyncpg
from rich.console import Console

from load_tests import country, driver, world
from load_tests.stack import ROOT, Process, Stack, commit, keep, machine, running, stack, usage
from service.identity import NewSecret, Role, create_client, give_grant
from service.kernel.db import Database

RESULTS = ROOT / "load_tests" / "results"
_NEAR = "near=46.81,1.69&radius_km=30"
_YEAR = f"from={country.YEAR}-01-01&to={country.YEAR + 1}-01-01"
_OURS = "territory=36"
_THEIRS = f"cpts={country.community(0, 2)}"
_PRACTITIONERS = 25
_MARK = 1.5
_BOOKABLE_AFTER = "interval '6 days'"  # beyond every search below


@dataclass(frozen=True)
class Operation:
    """A request, who sends it, and how many of them are one answer to the caller."""

    name: str
    paths: Sequence[str]
    caller: str = "regulator"
    books: bool = False
    marked: bool = False


def _figures() -> Iterator[Operation]:
    for name, groups in {
        "call-outcomes": ("none", "month", "cpts"),
        "callbacks": ("none", "month", "priority"),
        "appointments": ("none", "month", "cpts"),
        "referrals": ("none", "month"),
        "slot-usage": ("none", "month", "label"),
        "cpts-indicators": ("none", "month"),
    }.items():
        for group in groups:
            path = f"/v1/analytics/{name}?{_OURS}&{_YEAR}&group_by={group}"
            marked = (name, group) == ("call-outcomes", "none")
            yield Operation(f"{name}, a year by {group}", [path], marked=marked)
        yield Operation(f"{name}, a community's year", [f"/v1/analytics/{name}?{_THEIRS}&{_YEAR}"])
    yield Operation("unmet-needs, a year", [f"/v1/analytics/unmet-needs?{_OURS}&{_YEAR}"])


def operations() -> list[Operation]:
    """Everything that is measured."""
    now = datetime.now(UTC)
    window = f"from={quote(now.isoformat())}&to={quote((now + timedelta(days=3)).isoformat())}"
    each = [
        f"/v1/slots?practitioner={country.doctor(0, n)}&{window}" for n in range(_PRACTITIONERS)
    ]
    me = country.doctor(0, 0)
    bounds = [quote((now + timedelta(days=days)).isoformat()) for days in (0, 3)]
    platform = (
        "/fhir/Slot?_include=Slot:schedule&_include:iterate=Schedule:actor&status=free"
        f"&start=ge{bounds[0]}&start=le{bounds[1]}&schedule.actor:Practitioner.identifier="
        + ",".join(f"8{country.rpps(0, n)}" for n in range(_PRACTITIONERS))
    )
    communities = f"{platform}&_include=Slot:service-type-reference"
    points = (
        "/fhir/Schedule?_revinclude=Slot:schedule&_has:Slot:schedule:status=free"
        f"&_has:Slot:schedule:start=ge{bounds[0]}&_has:Slot:schedule:start=le{bounds[1]}"
        "&actor:Location.organization.identifier="
        + ",".join(f"3{country.siret(0, n)}" for n in range(country.SOS))
    )
    return [
        Operation("search near, 30 km", [f"/v1/slots?limit=20&{_NEAR}"], marked=True),
        Operation("search near, by distance", [f"/v1/slots?limit=20&{_NEAR}&sort=distance"]),
        Operation("search near, granted everywhere", [f"/v1/slots?limit=20&{_NEAR}"], "national"),
        Operation("search near, as a member", [f"/v1/slots?limit=20&{_NEAR}"], "member"),
        Operation("search a community's slots", [f"/v1/slots?limit=20&{_THEIRS}"], "member"),
        Operation("search a territory", [f"/v1/slots?limit=20&{_OURS}"], marked=True),
        Operation(f"search {_PRACTITIONERS} practitioners, 3 days", each, marked=True),
        Operation("the platform's search", [platform], "platform", marked=True),
        Operation("the platform's search for communities", [communities], "platform"),
        Operation("the platform's search for consultation points", [points], "platform"),
        Operation("booking", [], books=True),
        Operation("bookings of the centre", ["/v1/bookings?limit=20"]),
        Operation("bookings of a doctor", ["/v1/bookings?limit=20"], "doctor"),
        Operation("agenda of a doctor", [f"/v1/practitioners/{me}/slots?limit=50"], "doctor"),
        Operation("call-back queue", ["/v1/calls?state=awaiting_callback&limit=20"]),
        Operation("newest calls", ["/v1/calls?limit=20"]),
        Operation("doctors by name, everywhere", ["/v1/practitioners?q=marfontin&limit=20"]),
        Operation("doctors by name, here", [f"/v1/practitioners?q=marfontin&limit=20&{_OURS}"]),
        *_figures(),
    ]


# --- a country that is served ---------------------------------------------------------------------


@dataclass
class Served:
    """A country of one size, with its server and callers."""

    percent: float
    base: Stack
    process: Process
    callers: world.Callers
    codes: int
    ids: Iterator[str]
    facts: dict[str, Any]

    def requests(self, wanted: Operation) -> Iterator[bytes]:
        """Write an operation's requests without end."""
        token = self.callers.sign_in(self.process.port, wanted.caller)
        if wanted.books:
            yield from bookings(token, self.ids)
        contents = [driver.request("GET", path, token=token) for path in wanted.paths]
        while contents:
            yield from contents


def bookings(token: str, ids: Iterator[str]) -> Iterator[bytes]:
    """Write bookings of a new patient each."""
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


async def callers(database: Database, codes: Sequence[str]) -> dict[str, NewSecret]:
    """Make whoever asks: all of the Indre, but for one who is granted everywhere."""
    secrets: dict[str, NewSecret] = {}
    here = {"territories": ["36"]}
    wanted: dict[str, dict[str, Any]] = {
        "regulator": {"role": Role.REGULATOR, **here},
        "national": {"role": Role.REGULATOR, "territories": list(codes)},
        "member": {"role": Role.PHARMACIST, "cpts_ids": [country.community(0, 2)], **here},
        "platform": {"role": Role.SAS_PLATFORM, **here},
        "doctor": {"role": Role.DOCTOR, "practitioner_ids": [country.doctor(0, 0)], **here},
    }
    async with database.unit_of_work() as uow:
        for name, given in wanted.items():
            secrets[name] = await create_client(uow, name=f"scale: {name}")
            await give_grant(
                uow,
                client_id=secrets[name].client_id,
                organization_id=world.PHARMACY if name == "member" else world.SAS,
                organization_type="pharmacy" if name == "member" else "sas",
                **given,
            )
    return secrets


async def _people(base: Stack, codes: Sequence[str]) -> world.Callers:
    database = await world.open_database(base)
    try:
        return world.Callers(await callers(database, codes))
    finally:
        await database.dispose()


@contextmanager
def _hasty(base: Stack) -> Iterator[None]:
    """Let nothing wait for the disk while rows are generated; all is on it when the block ends."""
    hasty = {"fsync": "off", "full_page_writes": "off", "max_wal_size": "16GB"}
    more = {"checkpoint_timeout": "1h", "maintenance_work_mem": "256MB"}
    names = [*hasty, *more]
    _as_superuser(base, *(f"ALTER SYSTEM SET {n} = '{v}'" for n, v in {**hasty, **more}.items()))
    yield
    _as_superuser(base, *(f"ALTER SYSTEM RESET {name}" for name in names))
    _as_superuser(base, "CHECKPOINT")


def _as_superuser(base: Stack, *statements: str) -> None:
    async def run() -> None:
        connection = await asyncpg.connect(base.superuser_url)
        try:
            for statement in (*statements, "SELECT pg_reload_conf()"):
                await connection.execute(statement)
        finally:
            await connection.close()

    asyncio.run(run())


_IDS = f"""
SELECT id FROM slots WHERE territory = '36' AND starts_at > now() + {_BOOKABLE_AFTER}
  AND withdrawn_at IS NULL ORDER BY starts_at
"""
_BYTES = """
SELECT relname, pg_table_size(relid) AS rows, pg_indexes_size(relid) AS indexes,
       (SELECT reltuples FROM pg_class WHERE oid = relid)::bigint AS number
FROM pg_stat_user_tables WHERE pg_table_size(relid) > 1000000 ORDER BY relname
"""


async def _facts(base: Stack) -> tuple[list[UUID], dict[str, Any]]:
    connection = await asyncpg.connect(base.superuser_url)
    try:
        ids = [row["id"] for row in await connection.fetch(_IDS)]
        sizes = {
            row["relname"]: {
                "rows": row["number"],
                "table_bytes_each": round(row["rows"] / max(1, row["number"])),
                "index_bytes_each": round(row["indexes"] / max(1, row["number"])),
            }
            for row in await connection.fetch(_BYTES)
        }
        whole = await connection.fetchval("SELECT pg_database_size('snp')")
    finally:
        await connection.close()
    return ids, {"tables": sizes, "database_gb": round(whole / 1e9, 2)}


def make(
    percent: float, stacked: ExitStack, say: Any, *, calls: int = country.CALLS
) -> Callable[[], Served]:
    """Generate a country with so many calls in each territory; what is returned serves it."""
    started = time.monotonic()
    wanted = country.country(percent, calls)
    say(f"{percent:g} %: {len(wanted.codes)} territories")
    base = stacked.enter_context(stack())
    with _hasty(base):
        asyncio.run(country.fill(base.superuser_url, wanted, say))
    people = asyncio.run(_people(base, wanted.codes))
    ids, facts = asyncio.run(_facts(base))
    facts |= {"written": wanted.written, "seconds": round(time.monotonic() - started)}
    say(f"{percent:g} %: {facts['database_gb']} GB after {facts['seconds']} s")

    def start() -> Served:
        name = f"at-{percent:g}"
        process = stacked.enter_context(running(base, "service.cli", "serve", name=name))
        return Served(percent, base, process, people, len(wanted.codes), map(str, ids), facts)

    return start


# --- measuring ------------------------------------------------------------------------------------


@dataclass
class Cell:
    """One operation in one country, over all rounds."""

    times: list[float] = field(default_factory=list)
    medians: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    database_cpu: float = 0.0

    def figures(self) -> dict[str, Any]:
        """Sum up, in milliseconds."""
        whole = driver.Measured(times=self.times)
        return {
            **{f"p{p}": round(whole.percentile(p / 100), 2) for p in (50, 95, 99)},
            "database_cpu_ms": round(1000 * self.database_cpu / max(1, len(self.times)), 2),
            "asked": len(self.times),
            "answers": dict(sorted(self.statuses.items())),
        }


def ask(served: Served, wanted: Operation, cell: Cell | None, seconds: float) -> None:
    """Ask one country for one operation for a while, over one connection."""
    before = usage(served.base.cluster.pid).cpu_seconds
    found = asyncio.run(
        driver.press(served.process.port, served.requests(wanted), connections=1, seconds=seconds)
    )
    if cell is None:
        return
    size = max(1, len(wanted.paths))
    whole = range(0, len(found.times) - size + 1, size)
    times = [sum(found.times[at : at + size]) for at in whole]
    cell.times += times
    cell.medians += [statistics.median(times)] if times else []
    cell.statuses += found.statuses
    share = len(times) * size / max(1, len(found.times))
    cell.database_cpu += share * (usage(served.base.cluster.pid).cpu_seconds - before)


def measure(
    countries: Sequence[Served], *, rounds: int, seconds: float, only: str, say: Any
) -> dict[str, dict[str, Any]]:
    """Ask every country for everything, in turn."""
    table: dict[str, dict[str, Any]] = {}
    for wanted in operations():
        if only not in wanted.name:
            continue
        cells = {served.percent: Cell() for served in countries}
        for served in countries:  # plans become generic after five times
            ask(served, wanted, None, seconds / 2)
        for _ in range(rounds * (3 if wanted.marked else 1)):
            for served in countries:
                ask(served, wanted, cells[served.percent], seconds)
        table[wanted.name] = {f"{p:g}": cell.figures() for p, cell in cells.items()}
        said = "; ".join(
            f"{p} %: {f['p50']} ms (p99 {f['p99']})" for p, f in table[wanted.name].items()
        )
        say(f"{wanted.name}: {said}")
    return table


def _ratios(sizes: dict[str, Any]) -> dict[str, float]:
    small, large = (list(sizes.values())[n] for n in (0, -1))
    names = ("p50", "p99", "database_cpu_ms")
    return {n: round(large[n] / small[n], 2) if small[n] else 0.0 for n in names}


def markdown(report: dict[str, Any]) -> str:
    """Write the report for people."""
    sizes = list(report["countries"])
    lines = [
        "# Scale",
        "",
        f"Commit `{report['commit']}`, {report['at']}. "
        + ", ".join(f"{name} {value}" for name, value in report["machine"].items())
        + ".",
        "",
        (
            f"Again: `{report['command']}`. One connection; each operation {report['rounds']} times"
            f" {report['seconds']} s (those with a mark three times as often), the sizes in turn."
            " Everything is asked about the Indre, which is the same at every size."
        ),
        "",
        "| size | territories | open slots | past slots | calls | bookings | GB | generated in |",
        "|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for size, told in report["countries"].items():
        written = told["written"]
        counts = (written[n] for n in ("open slots", "past slots", "calls", "bookings"))
        lines.append(
            f"| {size} % | {told['territories']} | "
            + " | ".join(f"{count:,}".replace(",", " ") for count in counts)
            + f" | {told['database_gb']} | {told['seconds']} s |"
        )
    lines += [
        "",
        f"Milliseconds; the ratio is {sizes[-1]} % against {sizes[0]} %. `*`: at most {_MARK}.",
        "",
        "| operation | "
        + " | ".join(f"{s} %: p50 | p95 | p99 | database CPU" for s in sizes)
        + " | ratio p50 | p99 | database CPU |",
        "|---|" + "--:|" * (4 * len(sizes) + 3),
    ]
    marked = {wanted.name for wanted in operations() if wanted.marked}
    for name, cells in report["operations"].items():
        values = [
            str(cell[n])
            for cell in cells.values()
            for n in ("p50", "p95", "p99", "database_cpu_ms")
        ]
        ratio = [str(value) for value in _ratios(cells).values()]
        star = " *" if name in marked else ""
        lines.append(f"| {name}{star} | " + " | ".join([*values, *ratio]) + " |")
    told = report["countries"][sizes[-1]]["tables"]
    lines += ["", "| table | rows | bytes each | of its indexes |", "|---|--:|--:|--:|"]
    lines += [
        f"| {name} | {of['rows']} | {of['table_bytes_each']} | {of['index_bytes_each']} |"
        for name, of in told.items()
    ]
    return "\n".join([*lines, ""])


def main() -> None:
    """Run, show progress, write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--percent", default="1,10,100")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=0.7)
    parser.add_argument("--only", default="", help="operations with this in their name")
    parser.add_argument("--output", type=Path, default=RESULTS)
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    say = Console(stderr=True, highlight=False).print
    percents = sorted(float(percent) for percent in given.percent.split(","))
    with ExitStack() as stacked:
        made = [make(percent, stacked, say) for percent in percents]
        countries = [start() for start in made]
        report: dict[str, Any] = {
            "commit": commit(),
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": machine(),
            "rounds": given.rounds,
            "seconds": given.seconds,
            "command": f"make scale PERCENT={given.percent}",
            "countries": {f"{c.percent:g}": {"territories": c.codes, **c.facts} for c in countries},
            "operations": measure(
                countries, rounds=given.rounds, seconds=given.seconds, only=given.only, say=say
            ),
        }
    keep(given.output, "scale", report, markdown(report))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("Stopped; nothing was written.")
