"""How calls ended: one pass over the covering index of `calls` a range."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, RowMapping, SmallInteger, func, literal_column

from service.analytics.domain import OTHER_MASK, SEVERAL, Counted, Extent, Tally
from service.analytics.repository.columns import at_most, constant, delay_columns, delays, rows
from service.analytics.repository.counting import Counting, count
from service.analytics.repository.sources import call, calling, in_territory, of_community
from service.calls import MASK, Otherwise, Outcome
from service.kernel.db import UnitOfWork

_c = call.c
_WAITED = _c.first_attempt_at - _c.callback_requested_at
_SEVERAL: ColumnElement[Any] = literal_column(f"'{{{','.join(map(str, SEVERAL))}}}'::smallint[]")
COUNTED = _c.state != constant("void")  # the condition of the partial index


def bits(mask: int) -> ColumnElement[bool]:
    """Calls that have one of these outcomes."""
    return _c.outcome_mask.bitwise_and(literal_column(str(mask), SmallInteger)) != literal_column(
        "0", SmallInteger
    )


_CALLS = Counting(
    source=call,
    instant=_c.received_at,
    territory=in_territory(_c.territory),
    cpts=of_community(_c.cpts_id),
    where=[COUNTED],
    keys=calling(),
    columns=[
        rows().label("calls"),
        *(rows(bits(MASK[outcome])).label(outcome.value) for outcome in Outcome),
        rows(bits(OTHER_MASK)).label("in_other"),
        rows(_c.outcome_mask == func.any(_SEVERAL)).label("several"),
        rows(_c.outcome_mask == literal_column("0")).label("without"),
        rows(
            _c.otherwise == constant(Otherwise.EMERGENCY_DEPARTMENT.value),
            ~_c.sent_to_emergency,
            ~bits(MASK[Outcome.REDIRECTED_TO_15]),
        ).label("avoided"),
        *delay_columns(_WAITED),
        rows(at_most(_WAITED, "60 minutes")).label("within_60"),
    ],
)


async def call_outcomes(uow: UnitOfWork, extent: Extent, group: str | None) -> Counted[Tally]:
    """Count calls by how they ended."""
    return await count(uow, _CALLS, extent, group, _read)


def _read(found: Sequence[RowMapping]) -> Tally:
    (row,) = found
    names: Any = ("calls", "in_other", "several", "without", "avoided", "within_60")
    return Tally(
        **{name: row[name] for name in names},
        having={outcome: row[outcome.value] for outcome in Outcome},
        waits=delays(row),
    )
