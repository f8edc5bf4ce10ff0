"""A rate limit within one process (GCRA: no window, so no double allowance at its edges)."""

import time
from collections import OrderedDict

from starlette.datastructures import Address

from service.kernel.errors import TooMany

_KEPT = 10_000


class TooManyRequests(TooMany):
    """The caller asks too often."""

    code = "too-many-requests"
    title = "Too many requests: wait as Retry-After says."


class RateLimit:
    """At most `per_minute` requests per caller, also all at once; refilled evenly. 0 = no limit."""

    def __init__(self, per_minute: int) -> None:
        self._interval = 60 / per_minute if per_minute else 0.0
        self._burst = per_minute
        self._arrivals: OrderedDict[str, float] = OrderedDict()

    def check(self, name: str, address: Address | None) -> None:
        """Count one request of a caller, or refuse with `too-many-requests`."""
        if not self._interval:
            return
        key, now = f"{address.host if address else ''} {name}", time.monotonic()
        arrival = max(self._arrivals.get(key, now), now)
        if arrival - now > self._interval * (self._burst - 1):
            wait = int(arrival - now - self._interval * (self._burst - 1)) + 1
            raise TooManyRequests(retry_after=wait)
        self._arrivals[key] = arrival + self._interval
        self._arrivals.move_to_end(key)
        if len(self._arrivals) > _KEPT:
            self._arrivals.popitem(last=False)
