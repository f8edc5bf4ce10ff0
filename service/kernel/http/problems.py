"""Refusals as RFC 9457 `application/problem+json`. The only place where a family has a status.

A face may write them in its own form: `install` is told which, by the beginning of the path.
"""

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

import orjson
import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from service.kernel import errors
from service.kernel.crypto import KeysError
from service.kernel.db import TransactionLost
from service.kernel.errors import DomainError, FieldError, Invalid, Malformed, Unavailable
from service.kernel.http import words

_STATUS: dict[type[DomainError], int] = {
    errors.Malformed: 400,
    errors.Unauthenticated: 401,
    errors.Forbidden: 403,
    errors.NotFound: 404,
    errors.TooSlow: 408,
    errors.Conflict: 409,
    errors.PreconditionFailed: 412,
    errors.BodyTooLarge: 413,
    errors.AddressTooLong: 414,
    errors.UnsupportedMediaType: 415,
    errors.Invalid: 422,
    errors.PreconditionRequired: 428,
    errors.TooMany: 429,
    errors.HeadTooLarge: 431,
    errors.Unavailable: 503,
}

# What the framework itself refuses, in our words.
_FRAMEWORK: dict[int, type[DomainError]] = {
    400: errors.Malformed,
    404: errors.NotFound,
    413: errors.BodyTooLarge,
    415: errors.UnsupportedMediaType,
}

# Makes content and media type of a problem's members.
Form = Callable[[Mapping[str, Any]], tuple[bytes, str]]

log = structlog.get_logger()


class FieldProblem(BaseModel):
    """One thing wrong in the request."""

    pointer: str = Field(description="JSON pointer into the body (`#/starts_at`), or a parameter.")
    code: str
    detail: str


class Problem(BaseModel):
    """RFC 9457 problem. `code` is stable; other members may name what blocks."""

    type: str = Field(description="`/problems/<code>`: stable, documented in docs/problems.md.")
    title: str
    status: int
    code: str
    detail: str | None = None
    errors: list[FieldProblem] | None = None
    request_id: str | None = None


def problems(*refusals: type[DomainError]) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI `responses` of an operation that may refuse so."""
    grouped: dict[int, list[type[DomainError]]] = {}
    for refusal in refusals:
        grouped.setdefault(status_of(refusal), []).append(refusal)
    return {
        status: {
            "model": Problem,
            "description": " · ".join(f"`{r.code}`: {r.title}" for r in group),
            "content": {"application/problem+json": {}},
        }
        for status, group in sorted(grouped.items())
    }


def status_of(refusal: type[DomainError]) -> int:
    """Return the HTTP status of a refusal's family."""
    return next(_STATUS[kind] for kind in refusal.__mro__ if kind in _STATUS)


def problem(
    request: Request,
    status: int,
    code: str,
    title: str,
    *,
    detail: str | None = None,
    fields: tuple[FieldError, ...] = (),
    extra: Mapping[str, object] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Render one problem."""
    body: dict[str, Any] = {
        "type": f"/problems/{code}",
        "title": title,
        "status": status,
        "code": code,
    }
    if detail and detail != title:
        body["detail"] = detail
    if fields:
        body["errors"] = [
            {"pointer": field.pointer, "code": field.code, "detail": field.detail}
            for field in fields
        ]
    body["request_id"] = request.scope.get("request_id")
    body.update(extra or {})
    content, media_type = form(request.app, request.scope["path"])(body)
    return Response(
        content,
        status_code=status,
        media_type=media_type,
        headers={"Cache-Control": "no-store", **(headers or {})},
    )


def form(app: FastAPI, path: str) -> Form:
    """Return how a problem below a path is written."""
    forms: Mapping[str, Form] = app.state.problem_forms
    found = (made for start, made in forms.items() if f"{path}/".startswith(start))
    return next(found, _as_problem)


def _as_problem(body: Mapping[str, Any]) -> tuple[bytes, str]:
    return orjson.dumps(body, default=str), "application/problem+json"


def render(request: Request, refusal: DomainError) -> Response:
    """Render a refusal by its family."""
    status = status_of(type(refusal))
    headers: dict[str, str] = {}
    if isinstance(refusal, Unavailable):
        headers["Retry-After"] = str(refusal.retry_after)
    if isinstance(refusal, errors.TooMany):
        headers["Retry-After"] = str(refusal.extra.get("retry_after", 1))
    if isinstance(refusal, errors.Unauthenticated):
        headers["WWW-Authenticate"] = "Bearer"
    return problem(
        request,
        status,
        refusal.code,
        refusal.title,
        detail=refusal.detail,
        fields=refusal.errors if isinstance(refusal, Invalid) else (),
        extra=refusal.extra,
        headers=headers,
    )


def _pointer(location: tuple[int | str, ...]) -> str:
    # Steps in parentheses are the names of a union's alternatives, not members of the body.
    where, *rest = (step for step in location if not str(step).startswith("("))
    told = [str(step) if isinstance(step, int) else errors.told_name(step) for step in rest]
    if where == "body":
        return "#" + "".join("/" + step.replace("~", "~0").replace("/", "~1") for step in told)
    return "/".join(told) or str(where)


def _validation(error: RequestValidationError) -> DomainError:
    """Say where and what, never the value that was sent: it may be a patient's."""
    found = error.errors()
    if any(item["type"] == "json_invalid" for item in found):
        position = next(item["loc"][-1] for item in found if item["type"] == "json_invalid")
        return Malformed(
            FieldError("#", "json-invalid", f"Not JSON, from character {position} on."),
            detail="The body is not JSON.",
        )
    told = ((_pointer(i["loc"]), words.code(i), words.sentence(i)) for i in found)
    return Invalid(*(FieldError(*wrong) for wrong in told))


def install(app: FastAPI, forms: Mapping[str, Form]) -> None:
    """Answer every error of the application as a problem, below some paths in a form of theirs."""
    app.state.problem_forms = forms

    async def refused(request: Request, refusal: Exception) -> Response:
        assert isinstance(refusal, DomainError)  # noqa: S101  narrows for the type checker
        return render(request, refusal)

    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)  # noqa: S101  for the type checker
        return render(request, _validation(error))

    async def http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101  for the type checker
        refusal = _FRAMEWORK.get(error.status_code)
        if refusal is not None:
            return render(request, refusal())
        title = HTTPStatus(error.status_code).phrase
        code = title.lower().replace(" ", "-")
        return problem(request, error.status_code, code, title, headers=error.headers)

    async def lost(request: Request, _: Exception) -> Response:
        return render(request, Unavailable("Two changes crossed; nothing was done."))

    async def unfit(request: Request, error: Exception) -> Response:
        log.error("keys.unfit", why=str(error))  # names a column; the operator must see it
        title = "What is stored here cannot be decrypted with the keys of this service."
        return problem(request, 500, "defect", title)

    app.add_exception_handler(DomainError, refused)
    app.add_exception_handler(KeysError, unfit)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(TransactionLost, lost)
