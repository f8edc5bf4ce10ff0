"""A client that sends bytes as they are, which an honest library would refuse to."""

import asyncio
import json
import re
from dataclasses import dataclass
from typing import Any

_LENGTH = re.compile(rb"(?im)^content-length: *(\d+)")
_PATIENCE = 30.0


@dataclass(frozen=True)
class Answer:
    """What came back; status 0: the connection was closed without a word."""

    status: int
    head: bytes
    body: bytes

    @property
    def json(self) -> Any:
        """The body, read."""
        return json.loads(self.body)

    @property
    def headers(self) -> dict[str, str]:
        """The headers by their names in lower case."""
        lines = self.head.decode("latin-1").split("\r\n")[1:]
        pairs = (line.partition(":") for line in lines if line)
        return {name.lower(): value.strip() for name, _, value in pairs}


_SILENCE = Answer(0, b"", b"")


class Wire:
    """One connection, made anew when it was closed; from `address`, if one is named."""

    def __init__(self, host: str, port: int, address: str | None = None) -> None:
        self._where = host, port
        self._from = (address, 0) if address else None
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def send(self, request: bytes, *, has_body: bool = True) -> Answer:
        """Send one request and return its answer."""
        if self._streams is None:
            self._streams = await asyncio.open_connection(*self._where, local_addr=self._from)
        reader, writer = self._streams
        try:
            writer.write(request)
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), _PATIENCE)
            if head.startswith(b"HTTP/1.1 100"):  # go on: the answer follows
                head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), _PATIENCE)
            status = int(head.split(maxsplit=2)[1])
            length = _LENGTH.search(head)
            wanted = int(length[1]) if length and has_body else 0
            body = await asyncio.wait_for(reader.readexactly(wanted), _PATIENCE)
        except (OSError, asyncio.IncompleteReadError):
            await self.close()
            return _SILENCE
        if re.search(rb"(?im)^(connection: *close|transfer-encoding)", head):
            await self.close()
        return Answer(status, head, body)

    async def close(self) -> None:
        """Close the connection."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None
