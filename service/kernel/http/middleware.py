"""The outermost layer: request id, one log line a request, safe headers, the last word on a defect.

Pure ASGI: Starlette's BaseHTTPMiddleware costs more than most of our requests.
"""

import re
import time
from collections.abc import MutableMapping
from http import HTTPStatus
from typing import Any

import structlog
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.kernel.http.metrics import Metrics
from service.kernel.http.problems import problem
from service.kernel.http.rate import told
from service.kernel.ids import new_id
from service.kernel.logs import describe

_REQUEST_ID = re.compile(r"^[\x21-\x7e]{1,64}$")

_DATA = ("/v1", "/oauth", "/fhir")
_KEPT_NOWHERE, _ASKED_AGAIN = (b"cache-control", b"no-store"), (b"cache-control", b"no-cache")
_SAFE = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
)
_NOTHING_TO_RUN = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
_TLS_ONLY = (b"strict-transport-security", b"max-age=31536000; includeSubDomains")

log = structlog.get_logger()


class Observe:
    """Gives each request an id; counts and logs it by the route's template, never by its path."""

    def __init__(self, app: ASGIApp, max_body_bytes: int, metrics: Metrics) -> None:
        self.app = app
        self._metrics = metrics
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        request_id = _request_id(scope)
        scope["request_id"] = request_id
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        status = 0

        async def observed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                _add_headers(message, scope, request_id)
            await send(message)

        try:
            await self.app(scope, self._limited(scope, receive), observed)
        except Exception as defect:  # noqa: BLE001  the edge: a defect becomes one line and a 500
            log.error("request.defect", **describe(defect))
            if status == 0:
                answer = problem(
                    Request(scope), 500, "defect", "This is our fault. It was recorded."
                )
                await answer(scope, receive, observed)
        finally:
            seconds, route = time.perf_counter() - started, route_template(scope)
            self._metrics.served(scope, route, status, seconds)
            log.info(
                "request",
                method=scope["method"],
                route=route,
                status=status,
                ms=round(seconds * 1000, 1),
            )

    def _limited(self, scope: Scope, receive: Receive) -> Receive:
        """Refuse a body that says it is too large, or turns out to be: 413 as a problem."""
        announced = next((v for n, v in scope["headers"] if n == b"content-length"), b"0")
        size = int(announced) if announced.isdigit() else 0

        async def limited() -> Message:
            nonlocal size
            if size <= self._max_body_bytes:
                message = await receive()
                if announced == b"0":
                    size += len(message.get("body", b""))
                if size <= self._max_body_bytes:
                    return message
            raise HTTPException(413)

        return limited


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            text = value.decode("latin-1")
            if _REQUEST_ID.match(text):
                return str(text)
    return str(new_id())


def _add_headers(message: MutableMapping[str, Any], scope: Scope, request_id: str) -> None:
    """Say what every answer says; a page that is shown in a browser brings its own policy."""
    headers = [
        *message.get("headers", ()),
        (b"x-request-id", request_id.encode()),
        *_SAFE,
        *told(scope),
    ]
    if message["status"] == HTTPStatus.NO_CONTENT:
        headers = [header for header in headers if header[0] != b"content-type"]
    names = {name for name, _ in headers}
    if b"content-security-policy" not in names:
        headers.append(_NOTHING_TO_RUN)
    if b"cache-control" not in names:
        headers.append(_KEPT_NOWHERE if scope["path"].startswith(_DATA) else _ASKED_AGAIN)
    if scope["scheme"] == "https":
        headers.append(_TLS_ONLY)
    message["headers"] = headers


def route_template(scope: Scope) -> str:
    """Return the path template of the matched route: ids stay out of logs and metrics."""
    context = (scope.get("fastapi") or {}).get("effective_route_context")
    route = context or scope.get("route")
    return str(getattr(route, "path_format", "(unmatched)"))
