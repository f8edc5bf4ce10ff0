"""A client of server-sent events that reads them as the HTML standard says."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.support import Caller

_PATIENCE = 60.0  # generous: other work runs on the machine


@dataclass(frozen=True)
class Event:
    """One event, as it came."""

    id: str
    type: str
    told: dict[str, Any]

    @property
    def subject_id(self) -> str:
        """What it happened to."""
        return str(self.told["subject_id"])


@dataclass
class Following:
    """One open stream: what came so far."""

    answer: httpx.Response
    events: list[Event] = field(default_factory=list)
    last_id: str | None = None
    comments: list[str] = field(default_factory=list)
    over: bool = False
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    async def read(self) -> None:
        """Read on until the stream ends; an event that is cut off is none."""
        block: dict[str, str] = {}
        try:
            async for line in self.answer.aiter_lines():
                if line.startswith(":"):
                    self.comments.append(line[1:].strip())
                elif line:
                    name, _, value = line.partition(": ")
                    block[name] = value
                else:
                    self.last_id = block.get("id", self.last_id)
                    if "data" in block:
                        told = json.loads(block["data"])
                        self.events.append(Event(block["id"], block["event"], told))
                    block = {}
                self._news.set()
        finally:
            self.over = True
            self._news.set()

    async def until(self, seen: Callable[["Following"], object]) -> None:
        """Wait until something is seen."""
        async with asyncio.timeout(_PATIENCE):
            while not seen(self):
                assert not self.over, self.comments
                self._news.clear()
                await self._news.wait()

    async def until_over(self) -> None:
        """Wait until the server has ended it, in order: a chunk that is cut off raises."""
        async with asyncio.timeout(_PATIENCE):
            while not self.over:
                self._news.clear()
                await self._news.wait()

    def of(self, *subjects: str) -> list[Event]:
        """Return the events of some subjects."""
        return [event for event in self.events if event.subject_id in subjects]


def at_least(count: int) -> Callable[[Following], bool]:
    """Wait for so many events."""
    return lambda follows: len(follows.events) >= count


@asynccontextmanager
async def following(
    caller: Caller, url: str, last_id: str | None = None, **query: str
) -> AsyncIterator[Following]:
    """Follow what a caller is told by the server at `url`, while the block lasts."""
    headers = {"Authorization": f"Bearer {caller.token}", "Accept": "text/event-stream"}
    if last_id is not None:
        headers["Last-Event-ID"] = last_id
    timeout = httpx.Timeout(_PATIENCE)
    async with (
        httpx.AsyncClient(base_url=url, timeout=timeout, trust_env=False) as client,
        client.stream("GET", "/v1/events", headers=headers, params=query) as answer,
    ):
        if answer.status_code != 200:
            await answer.aread()
        assert answer.status_code == 200, answer.text
        follows = Following(answer)
        reading = asyncio.create_task(follows.read())
        try:
            await follows.until(lambda f: f.last_id is not None)
            yield follows
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
