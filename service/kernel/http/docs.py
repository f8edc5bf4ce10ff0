"""The API's own description: the OpenAPI document, and `/docs` that works without internet.

FastAPI describes what the signatures say. What it cannot know, or says in its own words, is mended
here for the whole document, so that clients generated from it need no mending.
"""

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.responses import HTMLResponse
from starlette.staticfiles import StaticFiles

router = APIRouter()

_STATIC = Path(__file__).parent / "static"
_ABOUT_THE_BODY = ("413", "415")
_RETRIED = ("429", "503")
_JSON, _PROBLEM = "application/json", "application/problem+json"
_SCHEMAS = "#/components/schemas/"
_AS_PROBLEM = {_PROBLEM: {"schema": {"$ref": f"{_SCHEMAS}Problem"}}}
_FAULT = {
    "description": "Any other refusal, or a fault of ours (500 `defect`): see `code`.",
    "content": _AS_PROBLEM,
}
_RETRY_AFTER = {
    "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}},
}
_ETAG = {
    "ETag": {
        "description": 'The version, to be sent back in If-Match: `"3"`.',
        "schema": {"type": "string"},
    }
}
_LOCATION = {
    "Location": {"description": "Path of what was made.", "schema": {"type": "string"}},
}
_REPLAYED = {
    "Idempotency-Replayed": {
        "description": "`true`: the Idempotency-Key was used before; nothing was done again.",
        "schema": {"type": "string", "enum": ["true"]},
    }
}
# Objects without a model of their own, so that generated code has a name for them.
_OBJECTS = {
    "person": (
        "Person",
        "Who acts: system, id, names, email, role. `proof`: `asserted`, or who proved them.",
    ),
    "on_behalf_of": (
        "OnBehalfOf",
        "The professional who asked by telephone: name, rpps, organization_id, phone.",
    ),
}
_PAGE = "A keyset page: ask again with `cursor=next_cursor` until it is null."
TAGS = (
    ("identity", "Tokens, and who I am."),
    ("grants", "Who may do what, where and until when."),
    ("directory", "Territories, organizations, practitioners, places."),
    ("slots", "Publish, search, hold."),
    ("agenda", "Sessions, which publish their slots themselves, and absences."),
    ("calendar", "A practitioner's agenda in calendar software."),
    ("retention", "Legal holds, and all that is held about a patient."),
    ("patients", "The minimum needed to be received. Identity travels in bodies only."),
    ("calls", "The call, its call-backs, outcomes and closure."),
    ("needs", "What nobody had room for."),
    ("bookings", "A patient on a slot, and what happened."),
    ("stream", "What happens, as it happens."),
    ("messages", "Where doctors are told; patients who want no message."),
    ("audit", "Who saw and changed what."),
    ("analytics", "Figures computed from the rows."),
    ("webhooks", "Who is told by webhook, and what they are sent."),
    ("fhir", "The national SAS interface (FHIR R4): refusals are an OperationOutcome."),
    ("operations", "Health."),
)


_SHOWN = bytes(
    get_swagger_ui_html(
        openapi_url="/openapi.json",
        title="SNP broker",
        swagger_js_url="/static/swagger-ui-bundle.min.js",
        swagger_css_url="/static/swagger-ui.css",
        swagger_favicon_url="data:,",
    ).body
)
_SCRIPTS = " ".join(
    f"'sha256-{base64.b64encode(hashlib.sha256(script).digest()).decode()}'"
    for script in re.findall(rb"<script>(.*?)</script>", _SHOWN, re.DOTALL)
)
# Swagger draws with inline styles. Scripts: its own file, and the lines that start it.
_POLICY = (
    f"default-src 'none'; script-src 'self' {_SCRIPTS}; style-src 'self' 'unsafe-inline';"
    " img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'"
)


@router.get("/docs", include_in_schema=False)
async def docs() -> HTMLResponse:
    """Show the API's documentation."""
    return HTMLResponse(_SHOWN, headers={"Content-Security-Policy": _POLICY})


def install(app: FastAPI) -> None:
    """Serve the packaged files of the page, and describe what FastAPI cannot know."""
    app.mount("/static", StaticFiles(directory=_STATIC), name="static")
    app.openapi_tags = [{"name": name, "description": text} for name, text in TAGS]
    app.servers = [{"url": "/"}]
    plain = app.openapi

    def described() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = mended(plain())
        return app.openapi_schema

    app.openapi = described  # type: ignore[method-assign]  # FastAPI's documented way


def mended(document: dict[str, Any]) -> dict[str, Any]:
    """Return FastAPI's document as we mean it."""
    schemas = document["components"]["schemas"]
    for path in document["paths"].values():
        for operation in path.values():
            _say_what_it_does(operation)
            _name_parameters(operation)
            _describe_refusals(operation)
            _describe_headers(operation, schemas)
    for schema in schemas.values():
        _drop_titles(schema.get("properties", {}))
    _drop_titles(document["paths"])
    _name_objects(schemas)
    _drop_unused(document)
    return _rename_schemas(document)


def _say_what_it_does(operation: dict[str, Any]) -> None:
    """The summary is the docstring's first sentence, not the function's name."""
    text = " ".join(operation.get("description", "").split("\n\n")[0].split())
    sentence = re.split(r"(?<=\.) ", text, maxsplit=1)[0].rstrip(".")
    if sentence:
        operation["summary"] = sentence


def _name_parameters(operation: dict[str, Any]) -> None:
    """Headers are written as everyone writes them; a parameter is absent, never null."""
    for parameter in operation.get("parameters", ()):
        if parameter["in"] == "header":
            parameter["name"] = "-".join(w.capitalize() for w in parameter["name"].split("-"))
        parameter["schema"].pop("description", None)  # said by the parameter itself
        _never_null(parameter["schema"])


def _never_null(schema: dict[str, Any]) -> None:
    options = [option for option in schema.get("anyOf", ()) if option != {"type": "null"}]
    if len(options) == 1:
        del schema["anyOf"]
        schema.update({**options[0], **schema})


def _describe_refusals(operation: dict[str, Any]) -> None:
    """Refusals are problems and nothing else; those about a body need one."""
    responses = operation["responses"]
    if "requestBody" not in operation:
        for status in _ABOUT_THE_BODY:
            responses.pop(status, None)
    for status, response in responses.items():
        if _PROBLEM in response.get("content", {}):
            response["content"] = _AS_PROBLEM
        if status in _RETRIED:
            response["headers"] = _RETRY_AFTER
    if "security" in operation:
        responses.setdefault("default", _FAULT)


def _describe_headers(operation: dict[str, Any], schemas: dict[str, Any]) -> None:
    """What has a version is answered with its ETag; what is new, with its place."""
    keyed = any(p["name"] == "Idempotency-Key" for p in operation.get("parameters", ()))
    for status, response in operation["responses"].items():
        if not status.startswith("2"):
            continue
        schema = response.get("content", {}).get(_JSON, {}).get("schema", {})
        found = [schemas[name] for name in _references(schema, shallow=True)]
        versioned = any("version" in each.get("properties", {}) for each in found)
        in_path = any(p["in"] == "path" for p in operation.get("parameters", ()))
        headers = {
            **(_ETAG if versioned else {}),
            **(_LOCATION if versioned and status == "201" and not in_path else {}),
            **(_REPLAYED if keyed else {}),
        }
        if headers:
            response["headers"] = {**response.get("headers", {}), **headers}


def _references(part: Any, *, shallow: bool = False) -> Iterator[str]:
    """Yield the names of the schemas that a part of the document refers to."""
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"].removeprefix(_SCHEMAS)
        members = [part.get("anyOf", [])] if shallow else list(part.values())
    else:
        members = list(part) if isinstance(part, list) else []
    for member in members:
        yield from _references(member, shallow=shallow)


def _drop_titles(part: Any) -> None:
    """Remove "Family Name" beside family_name: it says the same again, everywhere."""
    if isinstance(part, dict):
        if isinstance(part.get("title"), str):
            del part["title"]
        for name, member in part.items():
            if name not in {"example", "examples", "default"}:
                _drop_titles(member)
    elif isinstance(part, list):
        for member in part:
            _drop_titles(member)


def _name_objects(schemas: dict[str, Any]) -> None:
    for schema in list(schemas.values()):
        for member, (name, description) in _OBJECTS.items():
            options = schema.get("properties", {}).get(member, {}).get("anyOf", [])
            for position, option in enumerate(options):
                if option.get("type") == "object":
                    schemas[name] = {**option, "description": description}
                    options[position] = {"$ref": f"{_SCHEMAS}{name}"}


def _drop_unused(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    used: set[str] = set()
    waiting = list(_references([document["paths"], document.get("webhooks", {})]))
    while waiting:
        name = waiting.pop()
        if name not in used:
            used.add(name)
            waiting += _references(schemas[name])
    document["components"]["schemas"] = {n: s for n, s in schemas.items() if n in used}


def _rename_schemas(document: dict[str, Any]) -> dict[str, Any]:
    """Name pages BookingPage, not PageOut_BookingOut_, and forms TokenForm, not token."""
    schemas = document["components"]["schemas"]
    names: dict[str, str] = {}
    for name, schema in schemas.items():
        page = re.fullmatch(r"PageOut_(\w+?)(?:Out)?_", name)
        if page:
            names[name] = f"{page[1]}Page"
            schema.setdefault("description", _PAGE)
        elif name[0].islower():
            names[name] = f"{name.rpartition('.')[2].capitalize()}Form"
            schema.setdefault("description", "The members of the form.")
            for member in schema["properties"].values():
                _never_null(member)
    text = json.dumps(document)
    for old, new in names.items():
        text = text.replace(f'"{_SCHEMAS}{old}"', f'"{_SCHEMAS}{new}"')
    renamed: dict[str, Any] = json.loads(text)
    renamed["components"]["schemas"] = {
        names.get(name, name): {**schema, "title": names.get(name, name)}
        for name, schema in renamed["components"]["schemas"].items()
    }
    return renamed
