"""Receivers of webhooks: a small HTTP server that keeps what it is sent, and answers as told."""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from standardwebhooks import Webhook

HANG = 0


@dataclass(frozen=True)
class Received:
    """One request, as it came."""

    headers: Mapping[str, str]
    body: bytes

    @property
    def id(self) -> str:
        """Its `webhook-id`."""
        return self.headers["webhook-id"]

    @property
    def json(self) -> dict[str, Any]:
        """What it says."""
        found: dict[str, Any] = json.loads(self.body)
        return found

    def verified(self, secret: str) -> Any:
        """What it says, if the independent library believes the signature; it raises otherwise."""
        return Webhook(secret).verify(self.body, dict(self.headers))


@dataclass
class Answer:
    """How a request is answered; `HANG`: not at all."""

    status: int = 204
    headers: str = ""
    body: bytes = b""


@dataclass
class Receiver:
    """A receiver on this machine. `answers` come first, then `usual` for ever."""

    url: str = ""
    usual: Answer = field(default_factory=Answer)
    answers: deque[Answer] = field(default_factory=deque)
    choose: Callable[[Received], Answer] | None = None
    received: list[Received] = field(default_factory=list)
    _came: asyncio.Event = field(default_factory=asyncio.Event)

    async def until(self, seen: Callable[["Receiver"], bool], seconds: float = 20) -> None:
        """Wait until something came."""
        async with asyncio.timeout(seconds):
            while not seen(self):
                self._came.clear()
                if seen(self):
                    return
                await self._came.wait()

    async def count(self, number: int) -> list[Received]:
        """Wait until so many requests came."""
        await self.until(lambda _: len(self.received) >= number)
        return self.received

    def types(self) -> list[str]:
        """The types of what came, in order."""
        return [one.json["type"] for one in self.received]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                lines = head.split("\r\n")[1:-2]
                headers = {n.lower(): v for n, _, v in (line.partition(": ") for line in lines)}
                body = await reader.readexactly(int(headers["content-length"]))
                one = Received(headers, body)
                self.received.append(one)
                answer = self._answer(one)
                self._came.set()
                if answer.status == HANG:
                    await asyncio.Event().wait()
                length = f"content-length: {len(answer.body)}\r\n" if answer.status != 204 else ""
                told = f"HTTP/1.1 {answer.status} x\r\n{answer.headers}{length}\r\n"
                writer.write(told.encode() + answer.body)
                await writer.drain()
        writer.close()

    def _answer(self, one: Received) -> Answer:
        if self.answers:
            return self.answers.popleft()
        return self.choose(one) if self.choose else self.usual


@asynccontextmanager
async def receiving(host: str = "127.0.0.1", **how: Any) -> AsyncIterator[Receiver]:
    """Listen on a free port for as long as the block lasts."""
    receiver = Receiver(**how)
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        with suppress(asyncio.CancelledError):
            await receiver._serve(reader, writer)
        writer.close()

    server = await asyncio.start_server(serve, host, 0)
    port = server.sockets[0].getsockname()[1]
    receiver.url = f"http://{f'[{host}]' if ':' in host else host}:{port}/hooks"
    try:
        yield receiver
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
