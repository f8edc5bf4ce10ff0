"""What `snp directory import` and `import-structures` do: an import with a bar, then a report."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import date
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from service.directory.tasks.files import Progress as Told
from service.directory.tasks.lines import Filter, ImportRefused
from service.directory.tasks.national import Options, import_extract
from service.directory.tasks.structures import import_structures
from service.directory.tasks.tally import FATES, KINDS, Report
from service.kernel.crypto import Vault, load_keys
from service.kernel.db import Database
from service.kernel.progress import bar
from service.kernel.settings import Settings

_WIDE = 120


def extract(
    file: Path,
    *,
    territories: Sequence[str] = (),
    professions: Sequence[str] = (),
    specialties: Sequence[str] = (),
    source_date: str | None = None,
    dry_run: bool = False,
    accept_vanished: bool = False,
    accept_older: bool = False,
) -> None:
    """Import the national extract; each filter may be repeated, or list codes between commas."""
    wanted = Filter(_codes(territories), _codes(professions), _codes(specialties))
    options = Options(wanted, _day(source_date), dry_run, accept_vanished, accept_older)
    _show(_run(lambda database, told: import_extract(database, file, options, told)))


def structures(
    file: Path,
    *,
    territories: Sequence[str] = (),
    source_date: str | None = None,
    dry_run: bool = False,
    accept_vanished: bool = False,
) -> None:
    """Import a CSV of structures (`rows` tells its columns)."""
    options = Options(Filter(_codes(territories)), _day(source_date), dry_run, accept_vanished)
    _show(_run(lambda database, told: import_structures(database, file, options, told)))


def _codes(given: Sequence[str]) -> tuple[str, ...]:
    found = {code.strip().upper() for text in given for code in text.split(",")}
    return tuple(sorted(found - {""}))


def _day(text: str | None) -> date | None:
    try:
        return None if text is None else date.fromisoformat(text)
    except ValueError:
        raise ImportRefused(f"{text} is not a date such as 2026-11-21.") from None


def _run(work: Callable[[Database, Told], Awaitable[Report]]) -> Report:
    """Run an import on the configured database, as the application's role."""
    settings = Settings()
    if settings.database_url is None:
        raise ImportRefused("No database: set SNP_DATABASE_URL.")
    url, vault = settings.database_url.get_secret_value(), Vault(load_keys(settings))

    async def run(told: Told) -> Report:
        database = Database(url, settings, vault)
        try:
            return await work(database, told)
        finally:
            await database.dispose()

    with bar("lines") as told:
        return asyncio.run(run(lambda what, done, total: told(done, total, what)))


# --- the report -----------------------------------------------------------------------------------


def _show(report: Report) -> None:
    width = None if sys.stdout.isatty() else _WIDE
    console = Console(width=width, highlight=False, markup=False)
    for sentence in _sentences(report):
        console.print(sentence)
    console.print(_entries(report))
    for reason, refused in sorted(report.tally.refused.items()):
        console.print(f"Refused, {reason}: {refused['count']} lines.")
        for number, detail in refused["examples"]:
            console.print(f"  line {number}: {detail}")


def _sentences(report: Report) -> Iterator[str]:
    yield f"{report.file_name} ({report.encoding}), data of {report.source_date.isoformat()}."
    if report.already:
        yield "This file is the last one imported with this filter: nothing to do. It had done:"
    elif report.dry_run:
        yield "Dry run: nothing is written. An import would do:"
    elif report.resumed_after:
        yield f"Went on after line {report.resumed_after}; altogether:"
    counted = report.tally.lines
    yield (
        f"Lines: {counted['imported']} imported, {counted['filtered']} not wanted, "
        f"{counted['refused']} refused."
    )


def _entries(report: Report) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("")
    for fate in FATES:
        table.add_column(fate.replace("_", " "), justify="right")
    for kind in KINDS:
        counts = [report.tally.of(kind, fate) for fate in FATES]
        if any(counts):
            table.add_row(kind, *map(str, counts))
    return table
