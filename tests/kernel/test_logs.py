"""Logs: one line for each event, also of libraries, and none of their words."""

import json
import subprocess
import sys

from tests.demo.processes import ROOT, environment

_SPEAK = """
import logging
from service.kernel import logs
from service.kernel.settings import Settings

logs.configure(Settings())
library = logging.getLogger("some.library")
library.info("too much")
library.warning("Jeanne %s", "Moreau")
try:
    raise ValueError("Jeanne Moreau")
except ValueError:
    library.exception("Jeanne Moreau said")
"""


def test_a_library_speaks_in_lines_of_ours_without_its_words() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _SPEAK],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [(one["event"], one["library"], one["level"]) for one in lines] == [
        ("library.spoke", "some.library", "warning"),
        ("library.spoke", "some.library", "error"),
    ]
    assert (lines[1]["kind"], lines[1]["at"]) == ("ValueError", ["<string>:11"])
    assert "Moreau" not in done.stderr
