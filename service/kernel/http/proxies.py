"""What reverse proxies say about a caller: believed of those that the settings name only.

A server listens to anyone who reaches its port. Whoever is not a trusted proxy could write any
address and any certificate into a header.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from starlette.types import ASGIApp, Receive, Scope, Send

Network = IPv4Network | IPv6Network

_FORWARDED, _SCHEME = b"x-forwarded-for", b"x-forwarded-proto"
_SCHEMES = {b"http", b"https"}


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
    """Yield the addresses from the last one on, up to what is none."""
    for text in reversed(b",".join(said).decode("latin-1").split(",")):
        try:
            ip_address(text.strip())
        except ValueError:
            return
        yield text.strip()


def _is_in(text: str, networks: Sequence[Network]) -> bool:
    try:
        address = ip_address(text)
    except ValueError:
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return any(address in network for network in networks)
