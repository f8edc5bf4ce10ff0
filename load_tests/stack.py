"""The stack under load: a durable PostgreSQL, server processes, and what they use of the machine.

Everything is started for one run and gone after it. PostgreSQL runs as the demo's does (the
embedded server, `fsync` and `synchronous_commit` on) on a socket of its own.
"""

import asyncio
import json
import os
import platform
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service.kernel import embedded
from service.kernel.crypto import Keys
from service.kernel.migrations import upgrade

ROOT = Path(__file__).parents[1]
_TICKS = os.sysconf("SC_CLK_TCK")
_START_SECONDS = 60


@dataclass(frozen=True)
class Stack:
    """A migrated database and the keys of the service that uses it."""

    folder: Path
    cluster: embedded.Cluster
    app_url: str
    superuser_url: str
    keys: str

    def environment(self, **settings: str) -> dict[str, str]:
        """Return the environment of a server process."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("SNP_")}
        return {
            **kept,
            "SNP_DATABASE_URL": self.app_url,
            "SNP_KEYS": self.keys,
            "SNP_RPPS_CHECK": "format",
            "SNP_TOKEN_REQUESTS_PER_MINUTE": "0",
            # Counted as in production, and never reached.
            "SNP_CLIENT_REQUESTS_PER_MINUTE": "1000000000",
            **settings,
        }


@contextmanager
def stack() -> Iterator[Stack]:
    """Start a durable PostgreSQL with our schema; it is stopped and removed in the end."""
    with tempfile.TemporaryDirectory(prefix="snp-load-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        cluster = embedded.start(folder, durable=True)
        try:
            databases = asyncio.run(embedded.prepare(cluster))
            upgrade(databases.owner_url)
            yield Stack(
                folder,
                cluster,
                databases.app_url,
                cluster.url("snp", "postgres"),
                Keys.generate().model_dump_json(),
            )
        finally:
            cluster.stop()


@dataclass
class Process:
    """A server process (and its children) that listens on a port."""

    popen: subprocess.Popen[bytes]
    port: int
    output: Path

    def told(self, since: int = 0) -> list[dict[str, Any]]:
        """Return the lines of its log, from a byte on."""
        with self.output.open("rb") as output:
            output.seek(since)
            return [json.loads(line) for line in output if line.startswith(b"{")]

    def stop(self) -> None:
        """End it in order, as a supervisor would."""
        if self.popen.poll() is None:
            self.popen.send_signal(signal.SIGTERM)
        self.popen.wait(30)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running(
    stack: Stack, *module: str, where: Path = ROOT, name: str = "server", **settings: str
) -> Iterator[Process]:
    """Run `python -m MODULE ... --port N` until the block ends; it answers when the block begins.

    `where` is the checkout whose code runs. Its output goes to a file of the stack's folder.
    """
    port = _free_port()
    output = stack.folder / f"{name}-{port}.log"
    with output.open("wb") as out:
        popen = subprocess.Popen(
            [sys.executable, "-m", *module, "--port", str(port)],
            cwd=where,
            env=stack.environment(**settings),
            stdout=out,
            stderr=out,
            start_new_session=True,  # deaf to Ctrl-C: whoever started it stops it in order
        )
    process = Process(popen, port, output)
    try:
        _wait(process, output)
        yield process
    finally:
        process.stop()


@contextmanager
def working(stack: Stack, **settings: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Run `snp worker` until the block ends; it works when the block begins."""
    output = stack.folder / "worker.log"
    with output.open("wb") as out:
        popen = subprocess.Popen(
            [sys.executable, "-m", "service.cli", "worker"],
            cwd=ROOT,
            env=stack.environment(**settings),
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    until = time.monotonic() + _START_SECONDS
    try:
        while "worker.started" not in output.read_text(errors="replace"):
            if popen.poll() is not None or time.monotonic() > until:
                raise RuntimeError(
                    f"It did not start: {output.read_text(errors='replace')[-2000:]}"
                )
            time.sleep(0.05)
        yield popen
    finally:
        if popen.poll() is None:
            popen.send_signal(signal.SIGTERM)
        popen.wait(30)


def _wait(process: Process, output: Path) -> None:
    until = time.monotonic() + _START_SECONDS
    while time.monotonic() < until:
        if process.popen.poll() is not None:
            break
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{process.port}/health/live", timeout=1):
                return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError(f"It did not start: {output.read_text(errors='replace')[-2000:]}")


@dataclass(frozen=True)
class Usage:
    """Processor seconds and memory of a process with its children."""

    cpu_seconds: float
    memory_mb: float


def usage(pid: int) -> Usage:
    """Read what a process and all its descendants have used (Linux)."""
    cpu, memory = 0.0, 0.0
    for member in _family(pid):
        try:
            fields = Path(f"/proc/{member}/stat").read_text().rpartition(")")[2].split()
            status = Path(f"/proc/{member}/smaps_rollup").read_text()
        except OSError:
            continue  # it ended meanwhile
        # utime, stime, and those of children that ended.
        cpu += sum(int(ticks) for ticks in fields[11:15]) / _TICKS
        memory += next(
            int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("Pss:")
        )
    return Usage(cpu, memory)


def _family(pid: int) -> list[int]:
    found = [pid]
    for parent in found:
        for task in Path(f"/proc/{parent}/task").glob("*/children"):
            try:
                found += [int(child) for child in task.read_text().split()]
            except OSError:
                continue
    return found


def machine() -> dict[str, str]:
    """Describe what the figures were measured on."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        "unknown",
    )
    memory = next(
        line.split()[1]
        for line in Path("/proc/meminfo").read_text().splitlines()
        if line.startswith("MemTotal")
    )
    return {
        "cores": str(os.cpu_count()),
        "processor": model,
        "memory": f"{int(memory) // 1024**2} GiB",
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "load_before": f"{os.getloadavg()[0]:.1f}",
    }


def commit(where: Path = ROOT) -> str:
    """Name the commit that is measured, and whether the checkout differs from it."""

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments],
            cwd=where,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()

    changed = git("status", "--porcelain", "--", "service", "migrations", "pyproject.toml")
    return git("rev-parse", "--short", "HEAD") + ("+changes" if changed else "")


def keys_of(stack: Stack) -> Keys:
    """Return the stack's keys, to seal rows as the service would."""
    return Keys.model_validate(json.loads(stack.keys))


def keep(folder: Path, name: str, report: dict[str, Any], text: str) -> None:
    """Write what was measured, as JSON and to read, and say it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(report, indent=2) + "\n")
    (folder / f"{name}.md").write_text(text)
    sys.stdout.write(text)
