"""Check that the migrations make exactly the schema of the models, on a real, empty PostgreSQL.

With `--message TEXT`, write the next migration from the difference instead.
"""

import argparse
import asyncio
import shutil
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy.exc import SAWarning

from service.kernel import embedded
from service.kernel.migrations import configuration, upgrade


@contextmanager
def _empty_database() -> Iterator[str]:
    """Give the owner's URL of a new database, gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="snp-migrations-"))
    folder.chmod(0o711)  # root runs PostgreSQL as another user, who must get through
    try:
        cluster = embedded.start(folder, durable=False)
        try:
            yield asyncio.run(embedded.prepare(cluster)).owner_url
        finally:
            cluster.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _one_head(config: Config) -> None:
    heads = ScriptDirectory.from_config(config).get_heads()
    if len(heads) != 1:
        raise CommandError(f"one newest migration is wanted, these are: {', '.join(heads)}")


def _next(config: Config) -> str:
    """Number migrations in their order."""
    return f"{int(ScriptDirectory.from_config(config).get_current_head() or 0) + 1:04d}"


def main() -> int:
    """Run the check, or write a migration."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--message", help="write a migration that does this")
    message: str | None = parser.parse_args().message
    warnings.simplefilter("error", SAWarning)
    try:
        with _empty_database() as url:
            config = configuration(url)
            _one_head(config)
            upgrade(url)
            if message is None:
                command.check(config)
            else:
                command.revision(config, message, autogenerate=True, rev_id=_next(config))
    except (CommandError, SAWarning, embedded.EmbeddedError) as error:
        print(f"migrations: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
