"""Sends messages to addresses that others chose: never to one of ours.

A name is resolved once, every address that it has is looked at, and the connection goes to one of
those: a name that changes its mind meanwhile leads nowhere else. Redirects are answers like others.
"""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from functools import cache
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import httpcore
import httpx

from service.kernel import clock
from service.kernel.sending import Attempt, DeliveryFailure, answered
from service.webhooks.domain.sending import (
    Send,
    may_connect,
    url_faults,
)

CONNECT_SECONDS, TOTAL_SECONDS = 3.0, 15.0
_READ_BYTES, _READ_SECONDS = 4096, 1.0
_BROKEN = (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException)

# Looking up a name cannot be given up: slow ones wait in threads of their own.
_RESOLVERS = ThreadPoolExecutor(max_workers=64, thread_name_prefix="resolve")


class AddressRefused(Exception):
    """The name stands for an address that is not of the internet."""


class Unresolved(Exception):
    """The name stands for nothing."""


class Guarded(httpcore.AsyncNetworkBackend):
    """Connects to public addresses only; to this machine where `loopback` says so."""

    def __init__(self, *, loopback: bool) -> None:
        self._loopback = loopback
        self._plain = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  the library's signature
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to an address of the host, if all that it has may be connected to."""
        addresses = await _resolve(host, port)
        if not all(may_connect(ip_address(a), loopback=self._loopback) for a in addresses):
            raise AddressRefused
        failed: Exception = Unresolved()
        for address in addresses:
            try:
                return await self._plain.connect_tcp(
                    address, port, timeout, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failed = error
        raise failed

    async def connect_unix_socket(self, *_: Any, **__: Any) -> httpcore.AsyncNetworkStream:
        """Refuse: no receiver is there."""
        raise AddressRefused

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await self._plain.sleep(seconds)


async def _resolve(host: str, port: int) -> list[str]:
    loop = asyncio.get_running_loop()
    try:
        found = await loop.run_in_executor(
            _RESOLVERS, lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        )
    except (OSError, UnicodeError):
        raise Unresolved from None
    return list(dict.fromkeys(str(answer[4][0]).partition("%")[0] for answer in found))


@cache
def _tls() -> ssl.SSLContext:
    return httpx.create_ssl_context(trust_env=False)


@asynccontextmanager
async def sender(*, loopback: bool) -> AsyncIterator[Send]:
    """Give what sends messages, over connections that are kept as long as the block lasts."""
    backend = Guarded(loopback=loopback)
    async with httpcore.AsyncConnectionPool(ssl_context=_tls(), network_backend=backend) as pool:

        async def send(url: str, headers: Mapping[str, str], body: bytes) -> Attempt:
            if url_faults(url, loopback=loopback):
                return Attempt(failure=DeliveryFailure.URL_REFUSED)
            try:
                async with asyncio.timeout(TOTAL_SECONDS):
                    return await _post(pool, url, headers, body)
            except AddressRefused:
                return Attempt(failure=DeliveryFailure.ADDRESS_REFUSED)
            except Unresolved:
                return Attempt(failure=DeliveryFailure.UNRESOLVED)
            except (TimeoutError, httpcore.TimeoutException):
                return Attempt(failure=DeliveryFailure.TIMEOUT)
            except (*_BROKEN, OSError, ValueError):
                return Attempt(failure=DeliveryFailure.CONNECTION)

        yield send


async def _post(
    pool: httpcore.AsyncConnectionPool, url: str, headers: Mapping[str, str], body: bytes
) -> Attempt:
    parts = urlsplit(url)
    path, query = parts.path or "/", f"?{parts.query}" if parts.query else ""
    async with pool.stream(
        "POST",
        httpcore.URL(
            scheme=parts.scheme, host=parts.hostname or "", port=parts.port, target=path + query
        ),
        headers=[("host", parts.netloc), ("accept", "*/*"), *headers.items()],
        content=body,
        extensions={"timeout": {"connect": CONNECT_SECONDS}},
    ) as answer:
        # What it says beside its status is nothing to us; read to the end, the connection is kept.
        with suppress(*_BROKEN, TimeoutError):
            async with asyncio.timeout(_READ_SECONDS):
                await _read(answer)
        wait = next(
            (value for name, value in answer.headers if name.lower() == b"retry-after"), b""
        )
        return answered(answer.status, wait.decode("latin-1") or None, clock.now())


async def _read(answer: httpcore.Response) -> None:
    read = 0
    async for part in answer.aiter_stream():
        read += len(part)
        if read >= _READ_BYTES:
            return
