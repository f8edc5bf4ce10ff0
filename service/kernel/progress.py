"""The one bar of whatever takes long: on a terminal's standard error; elsewhere, nothing."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class Told(Protocol):
    """How far the work is, of how much if that is known, and what is being done."""

    def __call__(self, done: int, total: int | None, what: str = "", /) -> None:
        """Show it."""


@contextmanager
def bar(unit: str) -> Iterator[Told]:
    """Show a bar that counts `unit` while the block works."""
    shown = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=not sys.stderr.isatty(),
    )
    with shown:
        task = shown.add_task("", total=None)

        def told(done: int, total: int | None, what: str = "", /) -> None:
            shown.update(task, description=what, completed=done, total=total)

        yield told
