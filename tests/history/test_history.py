"""Everybody at once on few slots of two server processes: every promise is kept."""

from pathlib import Path

import pytest

from tests.history.crowd import Told, assert_right, run, seconds
from tests.history.servers import Installation

_LENGTH = seconds(15, share=1 / 3)
pytestmark = [pytest.mark.xdist_group("history"), pytest.mark.timeout(300 + _LENGTH)]


async def test_nothing_is_lost_doubled_or_invented(
    installation: Installation, tmp_path: Path, tell: list[Told]
) -> None:
    told = await run(installation, "undisturbed", _LENGTH, tmp_path)
    tell.append(told)
    assert_right(told, [line for server in installation.servers for line in server.defects()])
    happened = {(call.kind, call.status) for call in told.history.calls}
    # Else the run would have proved less than it says.
    assert happened >= {
        *((kind, 201) for kind in ("publish", "hold", "book")),
        *((kind, 200) for kind in ("amend", "cancel", "reschedule", "report", "read")),
        *((kind, 409) for kind in ("hold", "book", "reschedule")),
        ("book", None),
        ("withdraw", 204),
    }
    assert any(call.replayed for call in told.history.calls)
