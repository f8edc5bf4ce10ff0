"""How this face talks: media types of FHIR, parameters passed over, OperationOutcome."""

from collections.abc import Mapping
from typing import Any

import orjson
from fastapi import Request, Response
from starlette.responses import JSONResponse

from service.fhir.codes import MEDIA_TYPE
from service.fhir.schemas import OperationOutcome
from service.fhir.transport import CertificateNotAllowed, admit
from service.identity.http import Guarded, Handler, refusals
from service.kernel.errors import DomainError
from service.kernel.http.problems import status_of

__all__ = [
    "Documented",
    "Exchanged",
    "answer",
    "base_url",
    "interface_url",
    "outcome",
    "outcomes",
]

# As the guide has it, as FHIR had it before, and as everybody else.
_BODIES = ("application/fhir+json", "application/json+fhir", "application/json")
# https://hl7.org/fhir/R4/valueset-issue-type.html
_ISSUES: Mapping[int, str] = {
    400: "invalid",
    401: "login",
    403: "forbidden",
    404: "not-found",
    405: "not-supported",
    408: "timeout",
    409: "conflict",
    412: "conflict",
    413: "too-long",
    414: "too-long",
    415: "not-supported",
    422: "business-rule",
    428: "required",
    429: "throttled",
    431: "too-long",
    500: "exception",
    503: "transient",
}
# Codes of fields that are issue types themselves; any other is one of its problem's.
_OWN_ISSUES = frozenset({"required", "value", "too-costly", "duplicate"})
_PROBLEMS = "urn:snp:problems"
_RULE_BROKEN = 422


class Exchanged(Guarded):
    """A guarded route of the national interface, for those whom `transport` admits.

    Bodies come by any name of JSON that FHIR has had; a parameter that nobody knows is passed over,
    as FHIR wants it.
    """

    media_types = _BODIES
    passes_over_unknown = True

    def get_route_handler(self) -> Handler:
        """Look at the certificate before anything else."""
        handle = super().get_route_handler()

        async def looked_at(request: Request) -> Response:
            await admit(request)
            return await handle(request)

        return looked_at


def outcome(problem: Mapping[str, Any]) -> tuple[bytes, str]:
    """Write a problem as an OperationOutcome: its content and media type.

    `details` hold our own stable code (docs/problems.md), and in words what is wrong.
    """
    status = int(problem["status"])
    issue = _ISSUES.get(status, "processing")
    fields = problem.get("errors") or ()
    told: list[tuple[str, str | None]] = [
        (_issue_of(field["code"], issue), _at(field)) for field in fields
    ]
    details = {
        "coding": [{"system": _PROBLEMS, "code": problem["code"]}],
        "text": problem["title"],
    }
    issues = [
        {
            "severity": "fatal" if status == 500 else "error",  # noqa: PLR2004  a status
            "code": code,
            "details": details,
            **({"diagnostics": text} if text else {}),
        }
        for code, text in told or [(issue, problem.get("detail"))]
    ]
    return orjson.dumps({"resourceType": "OperationOutcome", "issue": issues}), MEDIA_TYPE


def _issue_of(code: str, otherwise: str) -> str:
    return code if code in _OWN_ISSUES else otherwise


def _at(field: Mapping[str, str]) -> str:
    return f"{field['pointer']}: {field['detail']}"


def answer(resource: Mapping[str, Any], status: int = 200, **headers: str) -> Response:
    """Write a resource."""
    return Response(
        orjson.dumps(resource), status_code=status, media_type=MEDIA_TYPE, headers=headers
    )


def base_url(request: Request) -> str:
    """Return where this service is reached: as the settings say, or as it was just now."""
    public: str = request.app.state.settings.public_url
    return public or str(request.base_url).rstrip("/")


def interface_url(request: Request) -> str:
    """Return where the platform reaches this interface."""
    return f"{str(request.base_url).rstrip('/')}/fhir"


class Documented(JSONResponse):
    """What the API description names as the form of an answer; answers are written by `answer`."""

    media_type = "application/fhir+json"


def outcomes(*named: type[DomainError]) -> dict[int | str, Any]:
    """Return the documented refusals of an operation of this face: its own, and the doorman's.

    Rules of the query's form (422) are not applied here: what is not known is passed over.
    """
    asked = refusals(CertificateNotAllowed, *named)
    found = {status: response["description"] for status, response in asked.items()}
    if not any(status_of(refusal) == _RULE_BROKEN for refusal in named):
        del found[_RULE_BROKEN]
    found["default"] = "Any other refusal, or a fault of ours (500): see `issue`."
    return {
        status: {"model": OperationOutcome, "description": text} for status, text in found.items()
    }
