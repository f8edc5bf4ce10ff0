"""A statement built and compiled once, ready for the driver: the hot path.

SQLAlchemy Core composes the statement from the rooms' parts; what it would do again for every
execution (find the compiled form by a key as large as the statement, process each parameter, wrap
each row) is done here once. See docs/adr/0014 for the profile that asked for it.
"""

import re
from collections.abc import Mapping
from typing import Any

import orjson
from sqlalchemy import JSON, BindParameter, Select
from sqlalchemy.dialects.postgresql.asyncpg import dialect

_DIALECT = dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy gives it no types
_PLACE = re.compile(r"\$(\d+)")
Row = Mapping[Any, Any]  # by name, as a record of the driver and as a row of SQLAlchemy


class Prepared:
    """A SELECT (its CTEs may write) whose parameters are given by name, as text for asyncpg."""

    def __init__(self, statement: Select[Any]) -> None:
        self.statement = statement
        compiled = statement.compile(dialect=_DIALECT)
        binds = [(name, compiled.binds[name]) for name in compiled.positiontup or ()]
        # A value that was in the statement when it was built is not asked for. It is written into
        # the text: a plan for any parameters would compute with it for every row.
        written, self._named = [], []
        for name, bind in binds:
            if bind.required:
                self._named.append((name, bind.type if _is_document(bind.type) else None))
                written.append(f"${len(self._named)}")
            else:
                written.append(_literal(bind))
        self.text = _PLACE.sub(lambda place: written[int(place[1]) - 1], str(compiled))

    def arguments(self, values: Mapping[str, Any]) -> list[Any]:
        """Put the parameters in the order of the text."""
        return [
            values[name] if document is None else _written(document, values[name])
            for name, document in self._named
        ]


def _literal(bind: BindParameter[Any]) -> str:
    """Write a constant as SQL: nothing that somebody sent is one (parameters are `required`)."""
    if bind.value is None:
        return "NULL"
    if bind.value == []:
        return "'{}'"  # SQLAlchemy leaves out the word ARRAY
    write = bind.type.literal_processor(_DIALECT)
    if write is None or isinstance(bind.value, list):
        raise TypeError(f"No literal for {bind.type!r}: pass it as a parameter.")
    return write(bind.value)


def _is_document(type_: Any) -> bool:
    # The key of `column['key']` has a JSON type too, and stands for itself.
    return isinstance(type_, JSON) and not isinstance(type_, JSON.JSONElementType)


def _written(type_: Any, value: Any) -> Any:
    """What the driver takes for a value: JSON as text, anything else as it is."""
    if not _is_document(type_) or (value is None and type_.none_as_null):
        return value
    return orjson.dumps(value).decode()
