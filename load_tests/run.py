"""Run a scenario of locust on a stack of its own: start, fill, drive, stop, write what was seen.

    make load SCENARIO=morning SECONDS=60 USERS=8 WORKERS=1

Locust is a child process in its own environment (.venv-load): it changes Python's sockets, which
the service's processes must never see. Ctrl-C reaches this process only; it stops locust first,
then the servers, then PostgreSQL, and still writes the summary.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from load_tests import nation
from load_tests.nation import Filled
from load_tests.stack import ROOT, Process, Stack, commit, machine, running, stack, usage

LOCUST = ROOT / ".venv-load" / "bin" / "locust"
RESULTS = ROOT / "load_tests" / "results"
_STOP_SECONDS = 30
_DAY_SECONDS = 1800.0
_INTERRUPTED = 130
_SLOTS_A_SECOND = 50  # more than a morning's desks can book


@dataclass(frozen=True)
class Asked:
    """What the command line asks for."""

    scenario: str
    seconds: int
    users: int
    workers: int
    day_seconds: float
    share: float
    from_hour: float
    to_hour: float
    seed: int


@dataclass(frozen=True)
class Scenario:
    """How a stack is filled for it, and what locust is told."""

    fill: Callable[[Stack, Asked], Filled]
    options: Callable[[Asked], Sequence[str]]


def _for(asked: Asked) -> list[str]:
    users = str(asked.users)
    return ["--users", users, "--spawn-rate", users, "--run-time", f"{asked.seconds}s"]


def _alone(asked: Asked) -> list[str]:
    return ["--users", "1", "--run-time", f"{asked.seconds}s"]


def _enough(stack: Stack, asked: Asked) -> Filled:
    return nation.one_territory(stack, slots=_SLOTS_A_SECOND * asked.seconds)


SCENARIOS: Mapping[str, Scenario] = {
    "morning": Scenario(_enough, _for),
    "herd": Scenario(
        _enough,
        lambda asked: [*_alone(asked), "--rivals", str(asked.users)],
    ),
    "publishing": Scenario(
        lambda stack, asked: nation.one_territory(stack, slots=0, practices=asked.users), _for
    ),
    "dashboards": Scenario(lambda stack, _: nation.indre_2022(stack), _for),
    "national_day": Scenario(
        lambda stack, _: nation.nation(stack),
        lambda asked: [
            *("--users", "1", "--day-seconds", str(asked.day_seconds)),
            *("--share", str(asked.share)),
            *("--from-hour", str(asked.from_hour), "--to-hour", str(asked.to_hour)),
        ],
    ),
}


class _Stopped(BaseException):
    """Ctrl-C, or somebody's order to end."""


@contextmanager
def _stoppable() -> Iterator[None]:
    """Turn the first order to end into `_Stopped`; leave the clean-up that follows alone."""

    def stop(_signal: int, _frame: object) -> None:
        for order in orders:
            signal.signal(order, signal.SIG_IGN)
        raise _Stopped

    orders = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {order: signal.signal(order, stop) for order in orders}
    try:
        yield
    finally:
        for order, handler in before.items():
            signal.signal(order, handler)


def _say(words: str) -> None:
    sys.stderr.write(words + "\n")
    sys.stderr.flush()


def _drive(command: Sequence[str], log: Path) -> bool:
    """Run locust to its end; tell whether it was left to finish. It gets no signal but ours."""
    with log.open("wb") as out:
        child = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=out, start_new_session=True
        )
        try:
            child.wait()
        except _Stopped:
            _say("Stopping: locust, servers, database")
            return False
        else:
            return True
        finally:
            if child.poll() is None:
                child.terminate()
                try:
                    child.wait(_STOP_SECONDS)
                except subprocess.TimeoutExpired:
                    child.kill()
                    child.wait()


def _command(asked: Asked, clients: Path, summary: Path, port: int) -> list[str]:
    return [
        str(LOCUST),
        *("--locustfile", f"load_tests/scenarios/{asked.scenario}.py"),
        *("--host", f"http://127.0.0.1:{port}"),
        *("--headless", "--only-summary", "--loglevel", "WARNING", "--stop-timeout", "5"),
        *("--clients", str(clients), "--summary", str(summary), "--seed", str(asked.seed)),
        *SCENARIOS[asked.scenario].options(asked),
    ]


def _measured(asked: Asked, base: Stack, filled: Filled, server: Process) -> dict[str, Any] | None:
    clients = filled.write(base.folder, f"http://127.0.0.1:{server.port}")
    summary, log = base.folder / "summary.json", base.folder / "locust.log"
    watched = {"server": server.popen.pid, "database": base.cluster.pid}
    before = {name: usage(pid) for name, pid in watched.items()}
    complete = _drive(_command(asked, clients, summary, server.port), log)
    after = {name: usage(pid) for name, pid in watched.items()}
    if not summary.exists():
        _say(log.read_text(errors="replace")[-2000:])
        return None
    return {
        "complete": complete,
        **{
            name: {
                "cpu_seconds": round(used.cpu_seconds - before[name].cpu_seconds, 1),
                "memory_mb": round(used.memory_mb),
            }
            for name, used in after.items()
        },
        **json.loads(summary.read_text()),
    }


def run(asked: Asked) -> dict[str, Any] | None:
    """Run it; return the figures, if there are any."""
    told = {"scenario": asked.scenario, "commit": commit(), "machine": machine()}
    told["at"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    _say("Starting PostgreSQL")
    with stack() as base:
        _say("Filling it")
        filled = SCENARIOS[asked.scenario].fill(base, asked)
        _say(", ".join(f"{number} {what}" for what, number in filled.counts.items()))
        _say(f"Starting the service: {asked.workers} process(es)")
        serve = ("service.cli", "serve", "--workers", str(asked.workers))
        with running(base, *serve, name="snp", SNP_LOG_LEVEL="WARNING") as server:
            _say(f"Running {asked.scenario}; Ctrl-C stops it")
            measured = _measured(asked, base, filled, server)
    if measured is None:
        return None
    options = {name: value for name, value in vars(asked).items() if name != "scenario"}
    return {**told, "options": options, "filled": dict(filled.counts), **measured}


# --- the summary ----------------------------------------------------------------------------------


def markdown(found: Mapping[str, Any]) -> str:
    """Return the figures as a page."""
    host = found["machine"]
    where = f"{host['processor']}, {host['cores']} cores, {host['memory']}, {host['system']}"
    lines = [
        f"# {found['scenario']}",
        "",
        f"{found['at']}, commit {found['commit']}, {found['seconds']} s"
        + ("" if found["complete"] else ", **stopped before its end**"),
        "",
        f"{where}, Python {host['python']}; load before: {host['load_before']}.",
        "Options: " + _pairs(found["options"]) + ".",
        "Filled with: " + _pairs(found["filled"]) + ".",
        f"Server: {_pairs(found['server'])}. Database: {_pairs(found['database'])}.",
        f"Locust: cpu_seconds {found['locust_cpu_seconds']}. Times in milliseconds.",
        "",
        "| request | number | failures | per second | p50 | p95 | p99 | max |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| `{line['name']}` | {line['requests']} | {line['failures']} | {line['rate']} |"
        f" {line['p50']} | {line['p95']} | {line['p99']} | {line['max']} |"
        for line in found["requests"]
    ]
    if found["lag_ms"]:
        lines += ["", f"Lag of the generator, ms: {_pairs(found['lag_ms'])}."]
    if found["counts"]:
        lines += ["", "| counted | |", "|---|---:|"]
        lines += [f"| {what} | {number} |" for what, number in found["counts"].items()]
    if found["failures"]:
        lines += ["", "| failure of | what | times |", "|---|---|---:|"]
        lines += [f"| `{f['name']}` | {f['error']} | {f['times']} |" for f in found["failures"]]
    return "\n".join([*lines, ""])


def _pairs(values: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())


def _write(found: Mapping[str, Any]) -> Path:
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / f"{found['scenario']}.json"
    file.write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    file.with_suffix(".md").write_text(markdown(found), encoding="utf-8")
    return file


def _asked() -> Asked:
    parser = argparse.ArgumentParser(prog="load_tests.run", description=__doc__)
    parser.add_argument("scenario", choices=sorted(SCENARIOS))
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--users", type=int, default=8)
    parser.add_argument("--workers", type=int, default=1, help="Server processes.")
    parser.add_argument("--day-seconds", type=float, default=_DAY_SECONDS)
    parser.add_argument("--share", type=float, default=1.0)
    parser.add_argument("--from-hour", type=float, default=0.0)
    parser.add_argument("--to-hour", type=float, default=24.0)
    parser.add_argument("--seed", type=int, default=1)
    return Asked(**vars(parser.parse_args()))


def main() -> int:
    """Run a scenario; 0 if nothing failed and nobody stopped it."""
    if not LOCUST.exists():
        _say("locust is not installed: make load does it.")
        return os.EX_UNAVAILABLE
    asked = _asked()
    try:
        with _stoppable():
            found = run(asked)
    except _Stopped:
        return _INTERRUPTED
    if found is None:
        return 1
    file = _write(found)
    sys.stdout.write(f"{markdown(found)}\n")
    _say(f"Written: {file.relative_to(ROOT)} and .md")
    if not found["complete"]:
        return _INTERRUPTED
    return int(found["requests"][-1]["failures"] > 0)


if __name__ == "__main__":
    sys.exit(main())
