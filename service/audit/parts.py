"""Statement part: the trace of what a statement shows, written by this very statement.

What cannot be traced is not shown: both happen, or neither.
"""

from typing import Any

from sqlalchemy import (
    ARRAY,
    CTE,
    ColumnElement,
    FromClause,
    Integer,
    Select,
    Text,
    Uuid,
    case,
    exists,
    func,
    insert,
    literal,
    select,
    union_all,
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
    """Write one trace for each territory of the `rows` (`id`, `territory`) that are shown.

    Who looks after one territory reads the pseudonyms of no other one. Nothing shown, no trace;
    with `always`, that nothing was found is traced too. Parameters: `who`.
    """

    def trace(subjects: ColumnElement[Any], territories: ColumnElement[Any]) -> Select[Any]:
        columns: dict[str, ColumnElement[Any]] = {
            "id": func.gen_random_uuid(),
            "operation": literal(operation, Text),
            "result": literal(SHOWN, Text),
            "subject_ids": subjects,
            "territories": territories,
            **origin_values(),
            "break_glass": bind("break_glass", Text) if break_glass else literal(None, Text),
        }
        return select(*(value.label(name) for name, value in columns.items()))

    one = case(  # a thing of no territory is shown to those of the caller's
        (rows.c.territory.is_(None), texts("trace_territories")),
        else_=func.array_append(literal([], ARRAY(Text)), rows.c.territory),
    )
    traces: Any = trace(func.array_agg(rows.c.id), one).select_from(rows).group_by(rows.c.territory)
    names = [column.name for column in traces.selected_columns]
    if always:
        nothing = trace(literal([], ARRAY(Uuid)), texts("trace_territories"))
        traces = union_all(traces, nothing.where(~exists(select(rows.c.id))))
    return insert(access_log).from_select(names, traces).cte("trace")


def page(operation: str, found: Select[Any]) -> Select[Any]:
    """Return a page that is found, newest first, with the trace that it was shown.

    Its last row, the `limit`th, only tells that there is a next one. Parameters: `limit`, `who`.
    """
    rows = found.cte("found")
    newest = select(rows).order_by(rows.c.id.desc())
    return newest.add_cte(
        shown(operation, newest.limit(bind("limit", Integer) - 1).subquery("seen"))
    )


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
