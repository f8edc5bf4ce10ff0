"""A statement built and compiled once, ready for the driver: the hot path.

SQLAlchemy Core composes the statement from the rooms' parts; what it would do again for every
execution (find the compiled form by a key as large as the statement, process each parameter, wrap
each row) is done here once. See docs/adr/0014 for the profile that asked for it.
"""

from collections.abc import Mapping
from typing import Any

import orjson
from sqlalchemy import JSON, Select
from sqlalchemy.dialects.postgresql.asyncpg import dialect

Row = Mapping[Any, Any]  # by name, as a record of the driver and as a row of SQLAlchemy


class Prepared:
    """A SELECT (its CTEs may write) whose parameters are given by name, as text for asyncpg."""

    def __init__(self, statement: Select[Any]) -> None:
        self.statement = statement
        compiled = statement.compile(dialect=dialect())  # type: ignore[no-untyped-call]
        self.text = str(compiled)
        names = list(compiled.positiontup or ())
        binds = [compiled.binds[name] for name in names]
        # A value that was in the statement when it was built is not asked for.
        self._constants = [None if b.required else _written(b.type, b.value) for b in binds]
        self._named = [
            (index, name, b.type if _is_document(b.type) else None)
            for index, (name, b) in enumerate(zip(names, binds, strict=True))
            if b.required
        ]

    def arguments(self, values: Mapping[str, Any]) -> list[Any]:
        """Put the parameters in the order of the text."""
        arguments = self._constants.copy()
        for index, name, document in self._named:
            value = values[name]
            arguments[index] = value if document is None else _written(document, value)
        return arguments


def _is_document(type_: Any) -> bool:
    # The key of `column['key']` has a JSON type too, and stands for itself.
    return isinstance(type_, JSON) and not isinstance(type_, JSON.JSONElementType)


def _written(type_: Any, value: Any) -> Any:
    """What the driver takes for a value: JSON as text, anything else as it is."""
    if not _is_document(type_) or (value is None and type_.none_as_null):
        return value
    return orjson.dumps(value).decode()
