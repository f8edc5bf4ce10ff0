"""`snp demo`: a whole service on this machine, filled with the Indre of 2022, in the foreground.

Every step may be cut off by `kill -9` and is made good by the next start: files are written whole
or not at all, schema and rows come in one transaction each, and what is missing is done again.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path

from pydantic import SecretStr
from rich.console import Console

from service.demo import files, filling, welcome
from service.demo.database import opened
from service.kernel.embedded import Databases
from service.kernel.migrations import head, upgrade
from service.kernel.settings import Settings

# Serves with these settings until told to stop, and calls back when requests are taken.
Serve = Callable[[Settings, Callable[[], None]], None]


def run(folder: Path, base_url: str, settings: Settings, serve: Serve) -> None:
    """Make ready what is not yet, serve until told to stop, then stop the database."""
    folder = folder.expanduser().absolute()
    progress, answer = _console(stderr=True), _console(stderr=False)
    progress.print(f"Preparing the database; the files of the demo are in {folder}")
    with opened(folder, settings) as databases:
        progress.print(f"Bringing the schema to revision {head()}")
        upgrade(databases.owner_url)
        ours = _settings(folder, settings, databases)
        clients = asyncio.run(filling.fill(progress, folder, ours, databases))
        file = files.write_clients(folder, base_url, clients)
        hello = welcome.text(base_url, file, clients)
        serve(ours, lambda: answer.print(hello))


def _console(*, stderr: bool) -> Console:
    """A console that prints texts as they are: no colours of its own, no line broken."""
    return Console(stderr=stderr, soft_wrap=True, markup=False, emoji=False, highlight=False)


def _settings(folder: Path, settings: Settings, databases: Databases) -> Settings:
    """The demo's own settings: invented people, no limit on tokens, few log lines."""
    changes = {
        "database_url": SecretStr(databases.app_url),
        "owner_database_url": None,
        "listen_database_url": None,
        "keys": None,
        "keys_file": folder / files.KEYS,
        "rpps_check": "format",
        "worker_inside": True,
        "token_requests_per_minute": 0,
        "webhook_loopback": True,
        "client_requests_per_minute": 0,
        "address_requests_per_minute": 0,
        "streams_per_client": 0,
    }
    if "log_level" not in settings.model_fields_set:
        changes["log_level"] = "WARNING"  # a line for every request would bury the welcome
    return settings.model_copy(update=changes)
