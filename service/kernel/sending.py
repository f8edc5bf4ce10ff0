"""Sending something to somebody else's server: what came of it, and when it is tried again. Pure.

The same for all that leaves this service over HTTP and must arrive.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from http import HTTPStatus

# Seconds before each attempt (Standard Webhooks 1.0); about 75 hours in all.
SCHEDULE = (0, 5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)
_JITTER = 0.2
_LONGEST_RETRY_AFTER = 3600.0


class DeliveryFailure(StrEnum):
    """Why an attempt did not arrive."""

    STATUS = "status"
    TIMEOUT = "timeout"
    CONNECTION = "connection"
    UNRESOLVED = "unresolved"
    ADDRESS_REFUSED = "address-refused"
    URL_REFUSED = "url-refused"
    OUT_OF_SCOPE = "out-of-scope"


@dataclass(frozen=True, slots=True)
class Attempt:
    """What came of sending something once; without a failure it was delivered."""

    status: int | None = None
    failure: DeliveryFailure | None = None
    retry_after: float | None = None

    @property
    def gone(self) -> bool:
        """Tell whether the receiver wants nothing more, ever."""
        return self.status == HTTPStatus.GONE

    @property
    def lets_rest(self) -> bool:
        """Tell whether the whole receiver is to be left alone for a while, not this message."""
        throttled = self.status in _THROTTLED
        return throttled or self.failure not in {
            None,
            DeliveryFailure.STATUS,
            DeliveryFailure.OUT_OF_SCOPE,
        }


_THROTTLED = {
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
}
_ASKS_TO_WAIT = {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}


def answered(status: int, retry_after: str | None, now: datetime) -> Attempt:
    """Return what an answer means: 2xx and nothing else is an arrival."""
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return Attempt(status)
    wait = _seconds(retry_after, now) if status in _ASKS_TO_WAIT else None
    return Attempt(status, DeliveryFailure.STATUS, wait)


def _seconds(retry_after: str | None, now: datetime) -> float | None:
    """Read a `Retry-After`: seconds or a date; nonsense is none, more than an hour is an hour."""
    if retry_after is None:
        return None
    try:
        if retry_after.strip().isdecimal():
            seconds = float(retry_after)
        else:
            seconds = (parsedate_to_datetime(retry_after).astimezone(UTC) - now).total_seconds()
    except (ValueError, OverflowError):
        return None
    return min(max(seconds, 0.0), _LONGEST_RETRY_AFTER)


def pause(attempt: Attempt, before: int, chance: float) -> float | None:
    """Return the seconds until what failed is tried again, after `before` tries and this one.

    None when that was the last. `chance` lies between 0 and 1: what failed together is not tried
    again together.
    """
    tried = before + 1
    if tried >= len(SCHEDULE):
        return None
    return max(SCHEDULE[tried] * (1 + _JITTER * chance), attempt.retry_after or 0.0)
