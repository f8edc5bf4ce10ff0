"""Statement part: the trace of what a statement shows, written by this very statement.

What cannot be traced is not shown: both happen, or neither.
"""

from typing import Any

from sqlalchemy import (
    ARRAY,
    CTE,
    ColumnElement,
    FromClause,
    Text,
    Uuid,
    func,
    insert,
    literal,
    select,
)

from service.audit.domain import BreakGlass
from service.audit.tables import access_log
from service.identity import Actor
from service.kernel.events import origin_values
from service.kernel.sql import bind, texts

SHOWN = "shown"


def shown(
    operation: str, rows: FromClause, *, always: bool = False, break_glass: bool = False
) -> CTE:
    """Write one trace of all `rows` (`id`, `territory`) that are shown; none when there are none.

    With `always`, that nothing was found is traced too. Parameters: `who`.
    """
    columns: dict[str, ColumnElement[Any]] = {
        "id": bind("event_id", Uuid),
        "operation": literal(operation, Text),
        "result": literal(SHOWN, Text),
        "subject_ids": func.coalesce(func.array_agg(rows.c.id), literal([], ARRAY(Uuid))),
        "territories": func.coalesce(
            func.array_agg(rows.c.territory.distinct()), texts("trace_territories")
        ),
        **origin_values(),
        "break_glass": bind("break_glass", Text) if break_glass else literal(None, Text),
    }
    trace = select(*columns.values()).select_from(rows)
    if not always:
        trace = trace.having(func.count() > 0)
    return insert(access_log).from_select(list(columns), trace).cte("trace")


def who(
    actor: Actor, *, purpose: str | None = None, break_glass: BreakGlass | None = None
) -> dict[str, Any]:
    """Return the parameters of `shown`; the purpose is the role's, unless one is said."""
    values = actor.origin.parameters()
    if purpose is not None:
        values["event_purpose"] = purpose
    return {
        **values,
        "trace_territories": list(actor.territories),
        "break_glass": break_glass,
    }
