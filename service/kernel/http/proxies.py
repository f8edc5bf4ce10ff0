"""What reverse proxies say about a caller: believed of those that the settings name only.

A server listens to anyone who reaches its port. Whoever is not a trusted proxy could write any
address and any certificate into a header.
"""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

from starlette.types import ASGIApp, Receive, Scope, Send

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_FORWARDED, _SCHEME = b"x-forwarded-for", b"x-forwarded-proto"
_SCHEMES = {b"http", b"https"}
_WITH_PORT = re.compile(r"\[([0-9A-Fa-f:.]+)\](?::[0-9]{1,5})?|([0-9.]+):[0-9]{1,5}")


def address(scope: Scope) -> str | None:
    """Return the network address of who asks, in its one form; None if the server knows none."""
    client = scope.get("client")
    return _kept(client[0]) if client else None


@lru_cache(10_000)
def _kept(host: str) -> str:
    return str(_read(host) or host)


class BehindProxies:
    """Puts the caller's own address into `client`, and takes away a certificate nobody vouches for.

    The address is the last one of `X-Forwarded-For` that is no trusted proxy: those before it are
    the caller's own words. `certificate_header` is the one of the settings, if it is set.
    """

    def __init__(
        self, app: ASGIApp, proxies: Sequence[str], certificate_header: str | None
    ) -> None:
        self.app = app
        networks = [ip_network(proxy) for proxy in proxies]
        self._certificate = certificate_header.lower().encode() if certificate_header else None
        self._trusts = lru_cache(1000)(lambda text: _is_in(text, networks))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http":
            peer = scope["client"][0] if scope["client"] else ""
            trusted = self._trusts(peer)
            if trusted:
                scope["client"] = (self._origin(scope) or peer, 0)
                scope["scheme"] = _scheme(scope)
            # A proxy replaces what its caller sent: with two of them it passed on the caller's.
            if not trusted or self._certificates(scope) > 1:
                scope["headers"] = [h for h in scope["headers"] if h[0] != self._certificate]
        await self.app(scope, receive, send)

    def _certificates(self, scope: Scope) -> int:
        return sum(name == self._certificate for name, _ in scope["headers"])

    def _origin(self, scope: Scope) -> str | None:
        said = [value for name, value in scope["headers"] if name == _FORWARDED]
        return next((text for text in _backwards(said) if not self._trusts(text)), None)


def _scheme(scope: Scope) -> str:
    said = {value for name, value in scope["headers"] if name == _SCHEME} & _SCHEMES
    return said.pop().decode() if len(said) == 1 else str(scope["scheme"])


def _backwards(said: Sequence[bytes]) -> Iterator[str]:
    """Yield the addresses from the last one on, up to what is none; a port is left out."""
    for part in reversed(b",".join(said).decode("latin-1").split(",")):
        text = part.strip()
        ported = _WITH_PORT.fullmatch(text)
        if ported:
            text = ported[1] or ported[2]
        if _read(text) is None:
            return
        yield text


def _read(text: str) -> Address | None:
    """Read an address; IPv4 as IPv6 writes it (`::ffff:192.0.2.7`) is IPv4."""
    try:
        found = ip_address(text)
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return mapped or found


def _is_in(text: str, networks: Sequence[Network]) -> bool:
    found = _read(text)
    return found is not None and any(found in network for network in networks)
