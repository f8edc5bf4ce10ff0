"""A post office: a real SMTP server and a real gateway for SMS, which keep what they are given."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

from aiosmtpd.smtp import SMTP, Envelope, Session


@dataclass
class Sink:
    """Takes every e-mail, unless told otherwise."""

    port: int = 0
    envelopes: list[tuple[list[str], bytes]] = field(default_factory=list)
    # What it says to a recipient, and what it does once it has a message.
    says: dict[str, str] = field(default_factory=dict)
    on_message: Callable[[], None] = field(default=lambda: None)
    # Asleep, it does not answer who names a recipient; how often it was named one.
    awake: asyncio.Event = field(default_factory=asyncio.Event)
    asked: int = 0

    def __post_init__(self) -> None:
        self.awake.set()

    async def handle_RCPT(  # noqa: N802  the library's name
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Take a recipient."""
        self.asked += 1
        await self.awake.wait()
        if answer := self.says.get(address):
            return answer
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 OK"

    async def handle_DATA(  # noqa: N802  the library's name
        self, _server: SMTP, _session: Session, envelope: Envelope
    ) -> str:
        """Keep a message."""
        assert isinstance(envelope.content, bytes)
        self.envelopes.append((list(envelope.rcpt_tos), envelope.content))
        self.on_message()
        return "250 OK"

    def to(self, address: str) -> list[EmailMessage]:
        """Return what came for an address, in order."""
        return [
            message
            for recipients, raw in self.envelopes
            if address in recipients
            and isinstance(message := message_from_bytes(raw, policy=policy.default), EmailMessage)
        ]

    def subjects(self, address: str) -> list[str]:
        """Return the subjects of what came for an address."""
        return [str(message["Subject"]) for message in self.to(address)]


def body(message: EmailMessage, kind: str = "plain") -> str:
    """Return a message's text, or its HTML."""
    part = message.get_body((kind,))
    assert part is not None
    text: str = part.get_content()
    return text


@asynccontextmanager
async def sink() -> AsyncIterator[Sink]:
    """Run an SMTP server."""
    kept = Sink()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(kept, enable_SMTPUTF8=True), "127.0.0.1", 0)
    kept.port = server.sockets[0].getsockname()[1]
    async with server:
        yield kept


@dataclass
class Gateway:
    """Takes every SMS, unless told to answer otherwise."""

    url: str = ""
    status: int = 200
    taken: list[tuple[dict[str, str], dict[str, Any]]] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take one request."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in head[1:] if line)
        }
        content = await reader.readexactly(int(headers["content-length"]))
        self.taken.append((headers, json.loads(content)))
        writer.write(f"HTTP/1.1 {self.status} x\r\nContent-Length: 0\r\n\r\n".encode())
        await writer.drain()
        writer.close()

    def to(self, phone: str) -> list[str]:
        """Return the texts that came for a number."""
        return [told["text"] for _, told in self.taken if told["to"] == phone]


@asynccontextmanager
async def gateway() -> AsyncIterator[Gateway]:
    """Run a gateway."""
    kept = Gateway()
    server = await asyncio.start_server(kept.serve, "127.0.0.1", 0)
    kept.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/sms"
    async with server:
        yield kept
