"""`snp directory import` as an operator runs it: killed, resumed, and with millions of lines."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from sqlalchemy import select

from service.directory.tables import directory_imports
from service.kernel.crypto import Keys
from service.kernel.ids import new_id
from tests.conftest import DatabaseUrls
from tests.demo.processes import environment
from tests.directory.desk import Desk, snapshot

ROOT = Path(__file__).parents[2]


def snp(url: str, keys: Keys, *arguments: str) -> "subprocess.Popen[str]":
    """Start `snp directory import` as an operator does."""
    ours = {"SNP_DATABASE_URL": url, "SNP_KEYS": keys.model_dump_json()}
    # The high-water mark of this program alone: ru_maxrss begins with what the process that
    # started it had, which is the whole test runner.
    measured = (
        "import re, sys; from service.cli import main\n"
        "try: main()\n"
        "finally: print(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1],"
        " file=sys.stderr)"
    )
    return subprocess.Popen(
        [sys.executable, "-c", measured, "directory", "import", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**environment(), **ours},
    )


def finished(process: "subprocess.Popen[str]") -> tuple[str, int]:
    """Wait for the command; return what it printed, and its peak memory in bytes."""
    out, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    return out, int(err.splitlines()[-1]) * 1024


def generate(path: Path, lines: int, *arguments: str) -> Path:
    """Write an invented extract."""
    script = str(ROOT / "scripts" / "generate_extract.py")
    subprocess.run(
        [sys.executable, script, str(path), "--lines", str(lines), *arguments],
        check=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    return path


async def _has_begun(url: str) -> int:
    """Wait until some batches are written; return how many lines."""
    connection = await asyncpg.connect(url)
    try:
        for _ in range(1200):
            done = await connection.fetchval("SELECT max(lines) FROM directory_imports")
            if done:
                return int(done)
            time.sleep(0.05)  # noqa: ASYNC251  nothing else runs here
    finally:
        await connection.close()
    raise AssertionError


@pytest.mark.timeout(300)
async def test_a_killed_import_goes_on_where_it_was(
    desk: Desk, database_urls: DatabaseUrls, keys: Keys, server: Any
) -> None:
    """Killed amid its work, then run again: as if nothing had happened."""
    path = generate(desk.folder / "extract_202611200815.txt", 16_000)
    victim = snp(database_urls.app, keys, "--file", str(path))
    try:
        await _has_begun(database_urls.owner)
    finally:
        victim.send_signal(signal.SIGKILL)
        victim.communicate()
    imported = select(directory_imports.c.state, directory_imports.c.lines)
    state, done = (await desk.run(imported)).one()
    assert state == "running"
    assert 0 < done < 16_001
    out, _ = finished(snp(database_urls.app, keys, "--file", str(path)))
    assert f"Went on after line {done}; altogether:" in out
    assert (await desk.run(imported)).one() == ("done", 16_001)
    assert (await desk.told())["directory.imported"] == 1

    name = f"snp_straight_{new_id().hex}"
    straight = await server.clone(name)
    try:
        again, _ = finished(snp(straight.app, keys, "--file", str(path)))
        assert out.splitlines()[-9:] == again.splitlines()[-9:]
        assert await snapshot(straight.owner) == await snapshot(database_urls.owner)
    finally:
        await server.drop(name)


@pytest.mark.timeout(900)
async def test_memory_is_bounded(database_urls: DatabaseUrls, keys: Keys, tmp_path: Path) -> None:
    """A hundred times as many lines take a little more memory, not a hundred times as much.

    Half of them are written; the names of these are all that is kept.
    """
    small = generate(tmp_path / "small.txt", 1_200)
    large = generate(tmp_path / "large.txt", 120_000)
    _, little = finished(snp(database_urls.app, keys, "--file", str(small), "--dry-run"))
    out, much = finished(snp(database_urls.app, keys, "--file", str(large), "--profession=10"))
    assert re.search(r"Lines: [56]\d{4} imported, [56]\d{4} not wanted, 0 refused", out)
    assert much - little < 100 * 2**20
    assert much < 300 * 2**20
