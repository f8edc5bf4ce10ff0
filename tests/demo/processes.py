"""Real `snp` processes for tests: started, watched, ended."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
_PATIENCE = 90.0


def environment() -> dict[str, str]:
    """This environment without settings of the service; through a pooler, with what that needs."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SNP_")}
    through_pooler = "SNP_TEST_APP_URL" in os.environ
    return {**kept, "SNP_PREPARED_STATEMENTS": "false"} if through_pooler else kept


class Snp:
    """One `snp` process, whose output goes to files."""

    def __init__(self, folder: Path, *arguments: str, **settings: str) -> None:
        self.folder = folder
        self._out, self._err = folder / "out.txt", folder / "err.txt"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "service.cli", *arguments],
                stdout=out,
                stderr=err,
                cwd=ROOT,
                env={**environment(), **settings},
            )

    @property
    def output(self) -> str:
        """What it wrote so far on standard output."""
        return self._out.read_text(encoding="utf-8")

    @property
    def errors(self) -> str:
        """What it wrote so far on standard error."""
        return self._err.read_text(encoding="utf-8")

    def wait_until(self, seen: Callable[["Snp"], bool]) -> float:
        """Wait until something is seen; return how long that took. Fails if the process ends."""
        started = time.monotonic()
        while not seen(self):
            assert self.process.poll() is None, self.errors
            assert time.monotonic() - started < _PATIENCE, self.errors
            time.sleep(0.05)
        return time.monotonic() - started

    def end(self, order: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and return the exit code."""
        self.process.send_signal(order)
        return self.process.wait(30)


@contextmanager
def snp(folder: Path, *arguments: str, **settings: str) -> Iterator[Snp]:
    """Start `snp`; it is gone when the block ends."""
    folder.mkdir(parents=True, exist_ok=True)
    started = Snp(folder, *arguments, **settings)
    try:
        yield started
    finally:
        if started.process.poll() is None:
            started.end(signal.SIGTERM)


def sentence(folder: Path, *arguments: str, **settings: str) -> tuple[int, str]:
    """Run `snp` to its end; return the exit code and what it says on standard error."""
    with snp(folder, *arguments, **settings) as started:
        code = started.process.wait(_PATIENCE)
        return code, started.errors
