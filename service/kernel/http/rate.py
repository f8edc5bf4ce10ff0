"""Limits within one process: how often somebody may ask, and how long who guesses must wait.

Each server process counts for itself, so that a limit is at most multiplied by their number: no
lock, no round trip. Headers are those of the IETF draft (draft-ietf-httpapi-ratelimit-headers).
"""

import ipaddress
import math
import time
from collections import OrderedDict
from collections.abc import Hashable, MutableMapping
from typing import Any, Generic, TypeVar

from starlette.types import Scope

from service.kernel.errors import TooMany
from service.kernel.http.proxies import address

_KEPT = 10_000
_FORGOTTEN_SECONDS = 600.0
_LONGEST_WAIT = 60.0
V = TypeVar("V")


class TooManyRequests(TooMany):
    """The caller asks too often, or has guessed too often."""

    code = "too-many-requests"
    title = "Too many requests: wait as Retry-After says."


class _Kept(Generic[V]):
    """What was noted last, of a bounded number of keys."""

    def __init__(self) -> None:
        self._notes: OrderedDict[Hashable, V] = OrderedDict()

    def get(self, key: Hashable) -> V | None:
        return self._notes.get(key)

    def note(self, key: Hashable, value: V) -> None:
        self._notes[key] = value
        self._notes.move_to_end(key)
        if len(self._notes) > _KEPT:
            self._notes.popitem(last=False)

    def forget(self, key: Hashable) -> None:
        self._notes.pop(key, None)


class RateLimit:
    """At most `per_minute` requests of each, also all at once; refilled evenly. 0 = no limit.

    GCRA: no window, so no double allowance at its edges.
    """

    def __init__(self, name: str, per_minute: int) -> None:
        self._name = name
        self._per_minute = per_minute
        self._interval = 60 / per_minute if per_minute else 0.0
        self._policy = (b"ratelimit-policy", f'"{name}";q={per_minute};w=60'.encode())
        self._arrivals = _Kept[float]()

    def spend(self, key: Hashable, scope: Scope) -> None:
        """Count one request of somebody, or refuse with `too-many-requests`.

        What is left stands in the answer's headers (`told`).
        """
        if not self._interval:
            return
        now = time.monotonic()
        arrival, left = self._next(key, now)
        full = math.ceil(arrival - now)
        scope["rate_limit"] = (
            self._policy,
            (b"ratelimit", b'"%b";r=%d;t=%d' % (self._name.encode(), max(0, int(left)), full)),
        )
        self._refuse(left)
        self._arrivals.note(key, arrival)

    def check(self, key: Hashable) -> None:
        """Refuse as `spend` would, and count nothing."""
        if self._interval:
            self._refuse(self._next(key, time.monotonic())[1])

    def _next(self, key: Hashable, now: float) -> tuple[float, float]:
        """Return when one more request would be paid for, and how many are left after it."""
        arrival = max(self._arrivals.get(key) or now, now) + self._interval
        return arrival, self._per_minute - (arrival - now) / self._interval

    def _refuse(self, left: float) -> None:
        if left < -1e-6:  # noqa: PLR2004  a rounding error is no request
            raise TooManyRequests(retry_after=math.ceil(-left * self._interval))


def told(scope: MutableMapping[str, Any]) -> tuple[tuple[bytes, bytes], ...]:
    """Return the headers that say what a request's limit was, if one was looked at."""
    found: tuple[tuple[bytes, bytes], ...] = scope.get("rate_limit", ())
    return found


class Guesses:
    """Lets whoever guesses secrets wait: 1 s, 2 s, 4 s ... 60 s, while no secret is looked at.

    After `of_client` wrong secrets for one client, whoever tries, and after `from_address` of one
    address, whatever client it names. Ten quiet minutes are enough to be forgotten. A client is
    not locked out by others: where it has signed in before, it waits for nobody, and one that is
    wrong for hours does not fill the count of an address that others share.
    """

    def __init__(
        self, *, watching: bool = True, of_client: int = 20, from_address: int = 100
    ) -> None:
        self._watching = watching
        self._free = {"client": of_client, "address": from_address}
        self._wrong = _Kept[tuple[int, float]]()
        self._welcome = _Kept[bool]()

    def check(self, client: str, address: str) -> None:
        """Refuse with `too-many-requests` who must wait still."""
        if not self._watching or self._welcome.get((client, address)):
            return
        now = time.monotonic()
        waits = [self._wait(kind, name, now) for kind, name in _both(client, address)]
        if max(waits) > 0:
            raise TooManyRequests(retry_after=math.ceil(max(waits)))

    def _wait(self, kind: str, name: str, now: float) -> float:
        times, last = self._wrong.get((kind, name)) or (0, now)
        over = times - self._free[kind]
        if over < 0 or now - last > _FORGOTTEN_SECONDS:
            return 0.0
        return last + min(2.0 ** min(over, 10), _LONGEST_WAIT) - now

    def failed(self, client: str, address: str) -> None:
        """Note a wrong secret."""
        now = time.monotonic()
        for key in _both(client, address):
            times, last = self._wrong.get(key) or (0, now)
            times = 1 if now - last > _FORGOTTEN_SECONDS else times + 1
            self._wrong.note(key, (times, now))
            if key[0] == "client" and times > self._free["client"]:
                return

    def succeeded(self, client: str, address: str) -> None:
        """Note a right one."""
        self._wrong.forget(("client", client))
        self._welcome.note((client, address), True)


def _both(client: str, address: str) -> tuple[tuple[str, str], tuple[str, str]]:
    return ("client", client), ("address", address)


def network(scope: Scope) -> str:
    """Return whom an address stands for: of IPv6 the network that one customer has."""
    host = address(scope) or ""
    if ":" not in host:
        return host
    try:
        return str(ipaddress.ip_network((host.partition("%")[0], 64), strict=False))
    except ValueError:
        return host
