"""Migrations as a function: `snp migrate`, the demo and the tests all use this one."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

import migrations
from service.kernel.db import asyncpg_url


def configuration(owner_url: str | None = None) -> Config:
    """Return Alembic's configuration; without an ini file there is one way to run it: this one."""
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    config.set_main_option("file_template", "%%(rev)s_%%(slug)s")
    if owner_url is not None:
        config.attributes["url"] = asyncpg_url(owner_url)
    return config


def upgrade(owner_url: str) -> None:
    """Bring the schema to the newest revision, and give the application its rights again.

    Blocking; run it in a thread beside a loop.
    """
    config = configuration(owner_url)
    config.attributes["grants"] = True
    command.upgrade(config, "head")


def head() -> str:
    """Return the newest revision that this code knows."""
    revision = ScriptDirectory.from_config(configuration()).get_current_head()
    if revision is None:
        raise RuntimeError("No migration is packaged with this code.")
    return revision
