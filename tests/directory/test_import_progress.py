"""The bar of long imports: on a terminal it moves; elsewhere nothing is shown."""

import os
import pty
import re
import select
import subprocess
import sys
import time
from pathlib import Path

from service.kernel.crypto import Keys
from tests.conftest import DatabaseUrls
from tests.demo.processes import environment
from tests.directory.desk import LEA, text

ROOT = Path(__file__).parents[2]
LINES = 12_000


def crowd(folder: Path) -> Path:
    """An extract of more than one batch: many people in one practice."""
    file = folder / "extract_202611200815.txt"
    people = ({**LEA, "Identifiant PP": f"1000{n:07d}"} for n in range(LINES))
    file.write_text(text(people), encoding="utf-8")
    return file


def start(file: Path, url: str, keys: Keys, errors: int, *more: str) -> "subprocess.Popen[bytes]":
    """Start an import with this standard error."""
    ours = {"SNP_DATABASE_URL": url, "SNP_KEYS": keys.model_dump_json()}
    return subprocess.Popen(
        [sys.executable, "-m", "service.cli", "directory", "import", "--file", str(file), *more],
        stdout=subprocess.PIPE,
        stderr=errors,
        cwd=ROOT,
        env={**environment(), **ours, "TERM": "xterm", "COLUMNS": "120"},
    )


def watched(process: "subprocess.Popen[bytes]", terminal: int) -> str:
    """Return what a process shows on a terminal until it ends."""
    shown, until = b"", time.monotonic() + 90
    while time.monotonic() < until:
        ready, _, _ = select.select([terminal], [], [], 0.2)
        if ready:
            try:
                shown += os.read(terminal, 65_536)
            except OSError:  # Linux says so when nobody has the other end any more
                break
        elif process.poll() is not None:
            break
    return shown.decode()


def test_a_terminal_sees_how_far_it_is(
    database_urls: DatabaseUrls, keys: Keys, tmp_path: Path
) -> None:
    terminal, errors = pty.openpty()
    try:
        process = start(crowd(tmp_path), database_urls.app, keys, errors, "--territory", "36")
        os.close(errors)
        shown = watched(process, terminal)
    finally:
        os.close(terminal)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0, shown
    assert f"Lines: {LINES} imported".encode() in out
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)
    counts = [int(n) for n in re.findall(rf"Importing.*?(\d+)/{LINES + 1} lines", plain)]
    assert counts == sorted(counts)
    assert len(set(counts)) > 1, plain
    assert counts[-1] == LINES + 1
    assert "Looking for what vanished" in plain
    # The report is for whoever reads the output; the bar is not in it.
    assert b"Importing" not in out
    assert "Lines:" not in plain


def test_a_pipe_sees_no_bar(database_urls: DatabaseUrls, keys: Keys, tmp_path: Path) -> None:
    process = start(crowd(tmp_path), database_urls.app, keys, subprocess.PIPE, "--dry-run")
    out, err = process.communicate(timeout=90)
    assert (process.returncode, err) == (0, b"")
    assert b"Dry run" in out
