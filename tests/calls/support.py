"""What the tests of calls share."""

from datetime import UTC, datetime, timedelta
from typing import Any

from tests.support import Caller


def ago(minutes: float = 0) -> str:
    """An instant before now, as a body writes it."""
    return (datetime.now(UTC) - timedelta(minutes=minutes)).isoformat()


def call_body(**members: Any) -> dict[str, Any]:
    """The least that opens a call, and more."""
    return {"line": "116117", "received_at": ago(2), **members}


async def opened(caller: Caller, **members: Any) -> dict[str, Any]:
    """Open a call; returns the answer's body."""
    answer = await caller.post("/v1/calls", call_body(**members))
    assert answer.status_code == 201, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def read(caller: Caller, call: dict[str, Any]) -> dict[str, Any]:
    """Read a call again."""
    answer = await caller.get(f"/v1/calls/{call['id']}")
    assert answer.status_code == 200, answer.text
    assert answer.headers["etag"] == f'"{answer.json()["version"]}"'
    body: dict[str, Any] = answer.json()
    return body


async def with_outcome(caller: Caller, call: dict[str, Any], outcome: str) -> dict[str, Any]:
    """Give a call an outcome; returns the answer's body."""
    answer = await caller.post(f"/v1/calls/{call['id']}/outcomes", {"outcome": outcome})
    assert answer.status_code == 201, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def closed(
    caller: Caller, call: dict[str, Any], otherwise: str = "unknown"
) -> dict[str, Any]:
    """Close a call; returns the answer's body."""
    answer = await caller.post(f"/v1/calls/{call['id']}/closure", {"otherwise": otherwise})
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body
