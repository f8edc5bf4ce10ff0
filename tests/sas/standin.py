"""A stand-in for the SAS platform: it keeps appointments by their identifier, or misbehaves."""

import asyncio
import json
import ssl
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

# Ways not to answer: not at all, or after it has kept what it was sent.
HANG, LOSE = -1, -2


@dataclass(frozen=True)
class Asked:
    """One request, as it came."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    subject: str | None

    @property
    def json(self) -> dict[str, Any]:
        """The resource that it holds."""
        found: dict[str, Any] = json.loads(self.body)
        return found

    @property
    def sought(self) -> str | None:
        """The identifier of a conditional update."""
        found = parse_qs(urlsplit(self.target).query).get("identifier")
        return found[0] if found else None


@dataclass
class StandIn:
    """The platform. `answers` come first: a status, `HANG` or `LOSE`; then it does as it must."""

    url: str = ""
    answers: deque[int] = field(default_factory=deque)
    asked: list[Asked] = field(default_factory=list)
    kept: dict[str, dict[str, Any]] = field(default_factory=dict)
    _came: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def methods(self) -> list[str]:
        """How it was asked, in order."""
        return [one.method for one in self.asked]

    @property
    def statuses(self) -> list[str]:
        """What became of the appointment, as it was told in order."""
        return [one.json["status"] for one in self.asked]

    async def count(self, number: int) -> list[Asked]:
        """Wait until it was asked so often."""
        async with asyncio.timeout(60):
            while len(self.asked) < number:
                self._came.clear()
                await self._came.wait()
        return self.asked

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection."""
        shown = (writer.get_extra_info("peercert") or {}).get("subject", ())
        subject = ",".join(f"{name}={value}" for part in shown for name, value in part)
        with suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                first, *lines = head.split("\r\n")[:-2]
                method, target, _ = first.split(" ")
                headers = {n.lower(): v for n, _, v in (line.partition(": ") for line in lines)}
                body = await reader.readexactly(int(headers["content-length"]))
                one = Asked(method, target, headers, body, subject or None)
                self.asked.append(one)
                status = self.answers.popleft() if self.answers else self._keep(one)
                if status == LOSE:
                    self._keep(one)
                self._came.set()
                if status == HANG:
                    await asyncio.Event().wait()
                if status == LOSE:
                    break
                writer.write(f"HTTP/1.1 {status} x\r\ncontent-length: 0\r\n\r\n".encode())
                await writer.drain()
        writer.close()

    def _keep(self, one: Asked) -> int:
        (identifier,) = one.json["identifier"]
        name = f"{identifier['system']}|{identifier['value']}"
        if one.method == "POST":
            if name in self.kept:
                return 409
        elif one.sought != name:
            return 400
        is_new = name not in self.kept
        self.kept[name] = one.json
        return 201 if is_new else 200


@asynccontextmanager
async def platform(tls: ssl.SSLContext | None = None) -> AsyncIterator[StandIn]:
    """Listen on a free port for as long as the block lasts."""
    standin = StandIn()
    tasks: set[asyncio.Task[Any]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        await standin.serve(reader, writer)

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    standin.url = f"{'https' if tls else 'http'}://127.0.0.1:{port}/sas/fhir"
    try:
        yield standin
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
