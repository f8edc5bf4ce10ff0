"""What SQLAlchemy does silently and we never want."""

import importlib
import pkgutil
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Select, UpdateBase
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg

import service

_DIALECT: Any = PGDialect_asyncpg


def statements() -> Iterator[tuple[str, Select[Any] | UpdateBase]]:
    """Every statement that a repository keeps as a constant."""
    for module in pkgutil.walk_packages(service.__path__, "service."):
        if not set(module.name.split(".")) & {"repository", "events", "idempotency"}:
            continue
        for name, value in vars(importlib.import_module(module.name)).items():
            if isinstance(value, Select | UpdateBase):
                yield f"{module.name}.{name}", value


@pytest.mark.parametrize(("name", "statement"), list(statements()))
def test_no_parameter_is_taken_for_a_column(name: str, statement: Any) -> None:
    """A parameter named like a column of an updated table would be SET to it, without a word.

    Found when a booking's `motive` was about to be written into its call.
    """
    plain = statement.compile(dialect=_DIALECT())
    if statement.is_insert and not plain.params.keys() - {c.name for c in statement.table.c}:
        return  # a plain INSERT names its columns on purpose
    given = statement.compile(dialect=_DIALECT(), column_keys=list(plain.params))
    assert str(given) == str(plain), name
