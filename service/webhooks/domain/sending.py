"""How a message is signed, what becomes of it, and where one is never sent. Pure."""

import base64
import hashlib
import hmac
import ipaddress
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import IPv4Address, IPv6Address
from urllib.parse import SplitResult, urlsplit
from uuid import UUID

from service.kernel.errors import FieldError
from service.kernel.sending import Attempt, DeliveryFailure, pause
from service.webhooks.domain import DeliveryState

SECRET_BYTES = 32
LONGEST_URL = 2000
_SHORTEST_REST, _LONGEST_REST = 5.0, 60.0
HOPELESS_AFTER = timedelta(days=3)

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
# Not of the internet, which older versions of the library do not know.
_SPECIAL = (ipaddress.ip_network("192.0.0.0/24"), ipaddress.ip_network("64:ff9b:1::/48"))
_IPV4_BITS = 0xFFFFFFFF

Address = IPv4Address | IPv6Address


# Posts a body with headers to an URL, and never raises for what the receiver does.
Send = Callable[[str, Mapping[str, str], bytes], Awaitable[Attempt]]


@dataclass(frozen=True, slots=True)
class Settled:
    """What an attempt made of a delivery; `wait` is in seconds, None: it is tried no more."""

    state: DeliveryState
    wait: float | None


def settled(attempt: Attempt, before: int, chance: float) -> Settled:
    """Return what becomes of a delivery that was tried `before` times before this attempt.

    `chance` lies between 0 and 1: what failed together is not tried again together.
    """
    if attempt.failure is None:
        return Settled(DeliveryState.DELIVERED, None)
    hopeless = attempt.gone or attempt.failure is DeliveryFailure.OUT_OF_SCOPE
    wait = None if hopeless else pause(attempt, before, chance)
    return Settled(DeliveryState.ABANDONED if wait is None else DeliveryState.FAILED, wait)


def rest(attempts: Sequence[Attempt], failing: timedelta) -> float | None:
    """Return for how many seconds a receiver is left alone after some attempts, if it is.

    As long as it asked for; one that does not answer: a tenth of the time for which it has not.
    """
    if not any(attempt.lets_rest for attempt in attempts):
        return None
    asked = max(attempt.retry_after or 0.0 for attempt in attempts)
    usual = min(max(failing.total_seconds() / 10, _SHORTEST_REST), _LONGEST_REST)
    return asked or usual


# --- signing --------------------------------------------------------------------------------------


def as_text(secret: bytes) -> str:
    """Write a secret as its receiver keeps it."""
    return f"whsec_{base64.b64encode(secret).decode()}"


def signed(secrets: Sequence[str], message_id: UUID, at: datetime, body: bytes) -> dict[str, str]:
    """Return the headers of a message (Standard Webhooks 1.0), signed with each secret."""
    seconds = int(at.timestamp())
    content = f"{message_id}.{seconds}.".encode() + body
    signatures = (_signature(secret, content) for secret in secrets)
    return {
        "webhook-id": str(message_id),
        "webhook-timestamp": str(seconds),
        "webhook-signature": " ".join(signatures),
    }


def _signature(secret: str, content: bytes) -> str:
    key = base64.b64decode(secret.removeprefix("whsec_"))
    return f"v1,{base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode()}"


# --- where to -------------------------------------------------------------------------------------


def is_public(address: Address) -> bool:
    """Tell whether an address is one of the internet, whatever it is wrapped in."""
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if address in _NAT64:
            inner = IPv4Address(int(address) & _IPV4_BITS)
        if inner is not None:
            return is_public(inner)
        if address.teredo or address.is_site_local:
            return False
    if any(address in network for network in _SPECIAL):
        return False
    return address.is_global and not (address.is_multicast or address.is_reserved)


def may_connect(address: Address, *, loopback: bool) -> bool:
    """Tell whether something may be sent to an address; to this machine only where it is set."""
    return is_public(address) or (loopback and address.is_loopback)


def url_faults(url: str, *, loopback: bool) -> list[FieldError]:
    """Return what forbids sending to an URL, as far as it can be read from it.

    What its name stands for is looked up at each connection.
    """
    parts = _read(url)
    if parts is None:
        faults = [("url-unreadable", "Not an URL such as https://receiver.example.fr/hooks.")]
    else:
        faults = [*_faults(parts, loopback=loopback)]
    return [FieldError("#/url", code, sentence) for code, sentence in faults]


def _read(url: str) -> SplitResult | None:
    if not (url.isascii() and url.isprintable()) or not {" ", "\\"}.isdisjoint(url):
        return None
    try:
        parts = urlsplit(url)
        complete = parts.hostname and parts.port != 0
    except ValueError:
        return None
    return parts if complete else None


def _faults(parts: SplitResult, *, loopback: bool) -> Iterator[tuple[str, str]]:
    host = (parts.hostname or "").rstrip(".")
    named = host == "localhost" or host.endswith(".localhost")
    literal = _literal(host)
    here = named or (literal is not None and literal.is_loopback)
    if parts.scheme != "https" and not (parts.scheme == "http" and loopback and here):
        yield "https-only", "Messages are sent over https only."
    if parts.username is not None or parts.password is not None:
        yield "no-userinfo", "No name or password in the URL: check the signature."
    if parts.fragment:
        yield "no-fragment", "An URL that is called has no fragment."
    if not (loopback if here else literal is None or is_public(literal)):
        yield "address-refused", "Nothing is sent to internal addresses."


def _literal(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
