"""What the application's role may do with each table: what migrations grant, and `snp check` asks.

A table says so in its `info`: `rights`, or what follows for most. Nothing is ever deleted but what
is named; of a trace, and of what belongs to the operator, single columns are written.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from sqlalchemy import MetaData

RIGHTS = ("SELECT", "INSERT", "UPDATE")
# Tables of the library of jobs (`kernel.jobs`), which are in no model of ours.
_JOBS = tuple(f"procrastinate_{name}" for name in ("jobs", "events", "periodic_defers", "workers"))


class Right(NamedTuple):
    """One thing that the role may do: with all of a table, or with one column of it."""

    table: str
    privilege: str
    column: str | None = None


def rights(metadata: MetaData) -> Iterator[Right]:
    """Yield every right that the application needs, and no other one."""
    yield Right("alembic_version", "SELECT")
    for name in _JOBS:
        for privilege in (*RIGHTS, "DELETE"):
            yield Right(name, privilege)
    for table in metadata.sorted_tables:
        for privilege in table.info.get("rights", RIGHTS):
            yield Right(table.name, privilege)
        for column in table.info.get("updates", ()):
            yield Right(table.name, "UPDATE", column)


def grants(missing: Iterable[Right], role: str) -> list[str]:
    """Return the statements that give rights: one for all tables that lack the same."""
    lacking: dict[str, list[str]] = defaultdict(list)
    columns: dict[str, list[str]] = defaultdict(list)
    for table, privilege, column in missing:
        if column is None:
            lacking[table].append(privilege)
        else:
            columns[table].append(column)
    alike: dict[str, list[str]] = defaultdict(list)
    for table, privileges in lacking.items():
        alike[", ".join(privileges)].append(table)
    return [
        *(f"GRANT {what} ON {', '.join(tables)} TO {role}" for what, tables in alike.items()),
        *(
            f"GRANT UPDATE ({', '.join(names)}) ON {table} TO {role}"
            for table, names in columns.items()
        ),
    ]
