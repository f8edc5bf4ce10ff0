"""One connection: what is refused before there is a request, because reading it costs memory.

Uvicorn takes heads of any size and waits for the rest of a request for ever. These limits are
constants: no honest client comes near them.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from service.kernel.errors import AddressTooLong, DomainError, HeadTooLarge, Malformed, TooSlow
from service.kernel.http.problems import form, status_of

MAX_TARGET_BYTES = 8 * 1024
MAX_HEAD_BYTES = 32 * 1024


class Connection(HttpToolsProtocol):
    """A connection of HTTP/1.1 with limits on a request's address, its head, and its time."""

    # From the first byte of a request (at first: from the connection) to its last.
    PATIENCE_SECONDS = 20.0
    # How long what still comes is thrown away after a refusal: closed at once, the answer is lost.
    LINGER_SECONDS = 1.0
    # How long who does not read may keep an answer without an end from ending.
    ASLEEP_SECONDS = 0.5

    def __init__(self, *positional: Any, **named: Any) -> None:
        super().__init__(*positional, **named)
        self._head: int | None = 0  # bytes of a head that is not complete yet
        self._since: float | None = None
        self._watch: asyncio.TimerHandle | None = None
        self._refused = False
        # What an answer without an end wants to be told when the server stops.
        self.stopping: Callable[[], None] | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn narrows it
        """Begin to wait."""
        super().connection_made(transport)
        self._since = self.loop.time()
        self._watch = self.loop.call_later(self.PATIENCE_SECONDS, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        if self._watch is not None:
            self._watch.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on, unless the head has grown too large or its sender was told to go."""
        if self._refused:
            return
        if self._head is not None:
            self._head += len(data)
        super().data_received(data)
        if self._head is not None and self._head > MAX_HEAD_BYTES:
            self._refuse(HeadTooLarge)

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._since = self.loop.time()
        self.scope["connection"] = self  # type: ignore[typeddict-unknown-key]  # ours: uvicorn hands the scope on as it is

    def shutdown(self) -> None:
        """The server stops: answers under way are finished, those without an end are told."""
        super().shutdown()
        if self.stopping is not None:
            self.stopping()
            self.loop.call_later(self.ASLEEP_SECONDS, self.hang_up)

    def hang_up(self) -> None:
        """Close at once, if nobody reads what is sent: they would be waited for."""
        if self.transport.get_write_buffer_size():
            self.transport.abort()

    def on_url(self, url: bytes) -> None:
        """Read the address, or a part of it."""
        super().on_url(url)
        if len(self.url) > MAX_TARGET_BYTES:
            self._refuse(AddressTooLong)

    def on_headers_complete(self) -> None:
        """The head is there: serve it, unless it was refused."""
        if sum(len(name) + len(value) for name, value in self.headers) > MAX_HEAD_BYTES:
            self._refuse(HeadTooLarge)
        self._head = None
        if not self._refused:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a part of the body, of a request that is served."""
        if not self._refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is whole: what comes next is another one."""
        self._head, self._since = 0, None
        if not self._refused:
            super().on_message_complete()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002  the parser's words
        """Refuse what is no HTTP."""
        self._refuse(Malformed)

    def _look(self) -> None:
        """Give up on who takes too long, or look again later."""
        now = self.loop.time()
        left = self.PATIENCE_SECONDS - (now - self._since if self._since is not None else 0)
        if left <= 0 and self._head == 0:  # opened for later, perhaps: nobody was promised anything
            self.transport.close()
        elif left <= 0:
            self._refuse(TooSlow)
        else:
            self._watch = self.loop.call_later(left, self._look)

    def _refuse(self, refusal: type[DomainError]) -> None:
        """Answer with a problem, where no answer has begun, and close."""
        if self._refused or self.transport.is_closing():
            return
        self._refused = True
        cycle: Any = self.cycle  # None before the first request
        if cycle is None or cycle.response_complete or not cycle.response_started:
            self.transport.write(self._written(refusal))
        if cycle is not None:  # what a request before still answers has nobody to hear it
            cycle.disconnected = True
        if self.transport.can_write_eof():
            self.transport.write_eof()
        if self._watch is not None:
            self._watch.cancel()
        self._watch = self.loop.call_later(self.LINGER_SECONDS, self.transport.close)

    def _written(self, refusal: type[DomainError]) -> bytes:
        status = status_of(refusal)
        path = self.url.partition(b"?")[0].decode("ascii", "replace")
        content, media_type = form(self.app, path)(
            {
                "type": f"/problems/{refusal.code}",
                "title": refusal.title,
                "status": status,
                "code": refusal.code,
            }
        )
        head = (
            b"content-type: %s\r\ncache-control: no-store\r\n"
            b"connection: close\r\ncontent-length: %d\r\n\r\n" % (media_type.encode(), len(content))
        )
        return STATUS_LINE[status] + head + content
