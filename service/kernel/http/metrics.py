"""Metrics in Prometheus' text format: what this process served, and what the database says waits.

Open to this machine alone, or to who has the token of the settings: routes and counts say how busy
a territory is. Labels are templates, methods and statuses; nothing of a caller or a patient.
"""

import hmac
from collections.abc import Awaitable, Callable, Iterator, Mapping
from ipaddress import ip_address

from fastapi import APIRouter, Request, Response
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from starlette.types import Scope

from service.kernel.db import UnitOfWork
from service.kernel.errors import DomainError, NotFound
from service.kernel.http.proxies import address

# What a room measures in the database: the name of a gauge, and its value now.
Measures = Callable[[UnitOfWork], Awaitable[Mapping[str, float]]]

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_BY_A_PROXY = ("forwarded", "via", "x-forwarded-for")

router = APIRouter()


class Metrics:
    """The metrics of one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._requests = Histogram(
            "snp_request_seconds",
            "Requests by route and status, and how long they took.",
            ("method", "route", "status"),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._measured = Gauge(
            "snp_measured",
            "What rooms found in the database when it was asked for.",
            ("what",),
            registry=self.registry,
        )

    def served(self, scope: Scope, route: str, status: int, seconds: float) -> None:
        """Count a request."""
        method = scope["method"] if route != "(unmatched)" else "any"
        self._requests.labels(method, route, status).observe(seconds)

    def shown(self, measured: Iterator[tuple[str, float]]) -> bytes:
        """Return everything as text, with what was measured just now."""
        self._measured.clear()
        for what, value in measured:
            self._measured.labels(what).set(value)
        return generate_latest(self.registry)


@router.get("/metrics", include_in_schema=False)
async def metrics(request: Request) -> Response:
    """Show the metrics of this process, and what waits in the database.

    Refuses as if there were none (404) who is neither here nor has the token.
    """
    if not _may_read(request):
        raise NotFound
    found: dict[str, float] = {"database_up": 0}
    try:
        async with request.app.state.database.unit_of_work() as uow:
            for measure in request.app.state.room_measures:
                found |= await measure(uow)
        found["database_up"] = 1
    except DomainError:
        pass  # then that is what they say
    text = request.app.state.metrics.shown(iter(found.items()))
    return Response(text, media_type=CONTENT_TYPE_LATEST)


def _may_read(request: Request) -> bool:
    token = request.app.state.settings.metrics_token
    if token is not None:
        given = request.headers.get("authorization", "").encode()
        return hmac.compare_digest(given, f"Bearer {token.get_secret_value()}".encode())
    # A proxy on this machine is on this machine, too: whom it speaks for is not.
    if any(name in request.headers for name in _BY_A_PROXY):
        return False
    caller = address(request.scope)
    return caller is not None and _is_here(caller)


def _is_here(caller: str) -> bool:
    try:
        return ip_address(caller).is_loopback
    except ValueError:
        return False
