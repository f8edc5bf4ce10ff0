"""Everybody at once on few slots of two server processes: every promise is kept."""

from pathlib import Path

import pytest

from tests.history.crowd import Told, assert_right, run, seconds
from tests.history.record import History
from tests.history.servers import Installation

_LENGTH = seconds(15, share=1 / 3)
pytestmark = [pytest.mark.xdist_group("history"), pytest.mark.timeout(300 + _LENGTH)]


# A run without one of these would have proved less than it says.
_SEEN = {
    *((kind, 201) for kind in ("publish", "hold", "book")),
    *((kind, 200) for kind in ("amend", "cancel", "reschedule", "report", "read")),
    *((kind, 409) for kind in ("hold", "book", "reschedule")),
    *((kind, None) for kind in ("hold", "book", "reschedule")),
    ("withdraw", 204),
    ("release", 204),
}


def _enough(history: History) -> bool:
    seen = {(call.kind, call.status) for call in history.calls}
    return seen >= _SEEN and any(call.replayed for call in history.calls)


async def test_nothing_is_lost_doubled_or_invented(
    installation: Installation, tmp_path: Path, tell: list[Told]
) -> None:
    told = await run(installation, "undisturbed", _LENGTH, tmp_path, _enough)
    tell.append(told)
    assert_right(told, [line for server in installation.servers for line in server.defects()])
    assert _enough(told.history), told.lines()
