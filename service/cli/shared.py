"""What commands share: the sentence of a mistake, the database, tables, options."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from service.kernel.settings import Settings

if TYPE_CHECKING:
    from service.identity import Role
    from service.kernel.db import Database, UnitOfWork

T = TypeVar("T")
_WIDE = 300
DryRun = Annotated[bool, typer.Option("--dry-run", help="Count; write nothing.")]


class Refused(Exception):
    """The command cannot be done as given; the message is the sentence to show."""


def say(sentence: str) -> None:
    """Tell the operator one sentence, on stderr and on one line."""
    typer.echo(f"snp: {' '.join(sentence.split())}", err=True)


def in_database(work: "Callable[[UnitOfWork], Awaitable[T]]") -> T:
    """Do one unit of work on the configured database, as the application's role."""

    async def run(database: "Database") -> T:
        async with database.unit_of_work() as uow:
            return await work(uow)

    return with_database(run)


def with_database(work: "Callable[[Database], Awaitable[T]]", *, owner: bool = False) -> T:
    """Do some work on the configured database, as the application's role, or as its owner."""
    from service.kernel.crypto import Vault, load_keys
    from service.kernel.db import Database

    settings = Settings()
    url, vault = owner_url() if owner else _app_url(), Vault(load_keys(settings))

    async def run() -> T:
        database = Database(url, settings, vault)
        try:
            return await work(database)
        finally:
            await database.dispose()

    return asyncio.run(run())


def owner_url() -> str:
    """The URL of the database as the role that owns it; refused when none is set."""
    url = Settings().owner_database_url
    if url is None:
        raise Refused(
            "No owner: set SNP_OWNER_DATABASE_URL to the database's URL as the role that owns it."
        )
    return url.get_secret_value()


def _app_url() -> str:
    url = Settings().database_url
    if url is None:
        raise Refused("No database: set SNP_DATABASE_URL.")
    return url.get_secret_value()


def show_table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Show rows of texts under their titles."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in titles:
        table.add_column(title, overflow="fold")
    for row in rows:
        table.add_row(*row)
    # What reads a pipe wants each row on one line.
    width = None if sys.stdout.isatty() else _WIDE
    Console(width=width, highlight=False, markup=False).print(table)


def cell(value: object) -> str:
    """A value as tables show it; nothing where there is none."""
    if isinstance(value, list):
        return " ".join(map(str, value))
    if isinstance(value, datetime):
        return value.isoformat(timespec="minutes")
    return "" if value is None else str(value)


def role_named(name: str) -> "Role":
    """The role with this name; refused with the names there are."""
    from service.identity import Role

    try:
        return Role(name)
    except ValueError:
        raise Refused(f"No role is called {name}: choose among {', '.join(Role)}.") from None


def instant(text: str | None) -> datetime | None:
    """The instant that an option gives, with its offset; refused without one."""
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise Refused(f"{text} is not a time such as 2027-01-01T00:00:00+01:00.") from None
    if found.tzinfo is None:
        raise Refused(f"{text} has no offset: write it such as 2027-01-01T00:00:00+01:00.")
    return found
