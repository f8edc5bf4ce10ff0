"""How call-backs were kept, by the reception of the call."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import RowMapping

from service.analytics.domain import Callbacks, Counted, Extent
from service.analytics.repository.call_outcomes import COUNTED
from service.analytics.repository.columns import at_most, delay_columns, delays, rows
from service.analytics.repository.counting import Counting, Key, count
from service.analytics.repository.sources import (
    at_hour,
    call,
    calling,
    in_territory,
    of_community,
)
from service.kernel.db import UnitOfWork

_c = call.c
_REQUESTED = _c.callback_requested_at.is_not(None)
_WAITED = _c.first_attempt_at - _c.callback_requested_at

_NAMES: Any = ("calls", "requested", "attempted", "reached", "within_60_minutes")
_CALLS = Counting(
    source=call,
    instant=_c.received_at,
    territory=in_territory(_c.territory),
    cpts=of_community(_c.cpts_id),
    where=[COUNTED],
    keys={
        **calling(),
        "priority": Key(_c.priority),
        **at_hour(_c.received_at),
    },
    columns=[
        rows().label("calls"),
        rows(_REQUESTED).label("requested"),
        rows(_REQUESTED, _c.first_attempt_at.is_not(None)).label("attempted"),
        rows(_REQUESTED, _c.called_back_at.is_not(None)).label("reached"),
        rows(at_most(_WAITED, "60 minutes")).label("within_60_minutes"),
        *delay_columns(_WAITED),
    ],
)


async def callbacks(uow: UnitOfWork, extent: Extent, group: str | None) -> Counted[Callbacks]:
    """Count call-backs."""
    return await count(uow, _CALLS, extent, group, _read)


def _read(found: Sequence[RowMapping]) -> Callbacks:
    (row,) = found
    return Callbacks(**{name: row[name] for name in _NAMES}, delays=delays(row))
