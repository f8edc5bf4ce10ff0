"""A lean load client: keep-alive connections that send prepared requests and time the answers.

It writes and reads HTTP/1.1 itself because a full client library would use more of the machine's
two cores than the service that it measures. It understands what our servers send and no more:
`Content-Length`, no chunks, no redirects.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import cast

import orjson


def request(
    method: str, path: str, *, token: str | None = None, body: object = None, key: str | None = None
) -> bytes:
    """Write one request."""
    content = b"" if body is None else orjson.dumps(body)
    lines = [f"{method} {path} HTTP/1.1", "Host: load"]
    if token is not None:
        lines.append(f"Authorization: Bearer {token}")
    if key is not None:
        lines.append(f"Idempotency-Key: {key}")
    if body is not None:
        lines += ["Content-Type: application/json", f"Content-Length: {len(content)}"]
    return "\r\n".join([*lines, "", ""]).encode() + content


@dataclass(frozen=True)
class Answer:
    """A status, a body, and how long it took in seconds."""

    status: int
    body: bytes
    seconds: float


class Connection(asyncio.Protocol):
    """One connection; one request at a time."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self._needed = -1
        self._head = 0
        self._transport: asyncio.Transport

    @classmethod
    async def open(cls, port: int, host: str = "127.0.0.1") -> "Connection":
        """Connect."""
        _, made = await asyncio.get_running_loop().create_connection(cls, host, port)
        return made

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Collect an answer."""
        self._buffer += data
        if self._needed < 0:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            self._head = end + 4
            head = bytes(self._buffer[:end]).lower()
            at = head.find(b"\r\ncontent-length:")
            length = 0 if at < 0 else int(head[at + 17 :].partition(b"\r\n")[0])
            self._needed = self._head + length
        if len(self._buffer) >= self._needed and self._answer is not None:
            status, body = int(self._buffer[9:12]), bytes(self._buffer[self._head : self._needed])
            del self._buffer[: self._needed]
            self._needed, answer, self._answer = -1, self._answer, None
            answer.set_result((status, body))

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail whoever waits."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(exc or ConnectionResetError("The server hung up."))

    async def send(self, content: bytes) -> Answer:
        """Send a request and wait for its answer."""
        self._answer = asyncio.get_running_loop().create_future()
        started = time.perf_counter()
        self._transport.write(content)
        status, body = await self._answer
        return Answer(status, body, time.perf_counter() - started)

    def close(self) -> None:
        """Hang up."""
        self._transport.close()


@dataclass
class Measured:
    """What a run saw: answers by status, and how long each took."""

    seconds: float = 0.0
    statuses: Counter[int] = field(default_factory=Counter)
    times: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Answers a second."""
        return len(self.times) / self.seconds if self.seconds else 0.0

    def percentile(self, share: float) -> float:
        """Return a percentile of the times, in milliseconds."""
        ordered = sorted(self.times)
        return 1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


async def press(
    port: int, requests: Iterator[bytes], *, connections: int, seconds: float
) -> Measured:
    """Send requests over some connections for a while, each as soon as the last was answered."""
    measured = Measured()
    lines = [await Connection.open(port) for _ in range(connections)]
    started = time.perf_counter()
    until = started + seconds

    async def line(connection: Connection) -> None:
        while time.perf_counter() < until:
            content = next(requests, None)
            if content is None:
                return
            answer = await connection.send(content)
            measured.times.append(answer.seconds)
            measured.statuses[answer.status] += 1

    try:
        await asyncio.gather(*(line(connection) for connection in lines))
    finally:
        measured.seconds = time.perf_counter() - started
        for connection in lines:
            connection.close()
    return measured


async def steady(
    port: int, requests: Iterator[bytes], *, rate: float, connections: int, seconds: float
) -> Measured:
    """Send requests at a steady rate, whatever the answers take, over connections that are free.

    A time counts from the instant at which its request was due: who waits for a connection waits.
    """
    measured = Measured()
    free: asyncio.Queue[Connection] = asyncio.Queue()
    lines = [await Connection.open(port) for _ in range(connections)]
    for line in lines:
        free.put_nowait(line)
    started = time.perf_counter()

    async def one(content: bytes, due: float) -> None:
        connection = await free.get()
        answer = await connection.send(content)
        measured.times.append(time.perf_counter() - due)
        measured.statuses[answer.status] += 1
        free.put_nowait(connection)

    try:
        async with asyncio.TaskGroup() as sent:
            for number in range(int(rate * seconds)):
                due = started + number / rate
                await asyncio.sleep(max(0, due - time.perf_counter()))
                sent.create_task(one(next(requests), due))
    finally:
        measured.seconds = time.perf_counter() - started
        for line in lines:
            line.close()
    return measured


async def herd(port: int, contents: Sequence[bytes]) -> Measured:
    """Let rivals, each with a connection of its own, send one request at the same instant."""
    measured = Measured()
    lines = [await Connection.open(port) for _ in contents]
    started = time.perf_counter()
    try:
        for answer in await asyncio.gather(
            *(line.send(content) for line, content in zip(lines, contents, strict=True))
        ):
            measured.times.append(answer.seconds)
            measured.statuses[answer.status] += 1
    finally:
        measured.seconds = time.perf_counter() - started
        for line in lines:
            line.close()
    return measured
