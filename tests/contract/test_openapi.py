"""The OpenAPI document: complete, in step with the code, and its examples are true."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from service.description import description
from service.identity import PERMISSIONS
from service.kernel.http.problems import Problem
from service.kernel.http.shapes import Answer, Body

ROOT = Path(__file__).parents[2]
OPEN = {"identity.token", "health.live", "health.ready", "calendar.feed", "fhir.metadata"}
SCHEMAS = "#/components/schemas/"


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    """The document, as the code has it."""
    made: dict[str, Any] = json.loads(description())
    return made


def operations(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the operations by their id; two of one id are refused."""
    found: dict[str, dict[str, Any]] = {}
    for path in document["paths"].values():
        for operation in path.values():
            assert operation["operationId"] not in found
            found[operation["operationId"]] = operation
    return found


def _models(base: type[Any] = Body) -> Iterator[type[Any]]:
    for model in base.__subclasses__():
        yield model
        yield from _models(model)


MODELS = {model.__name__: model for model in _models()}


def _bodies(operation: dict[str, Any]) -> Iterator[str]:
    """Yield the names of the schemas that an operation takes as JSON."""
    content = operation.get("requestBody", {}).get("content", {})
    schema = content.get("application/json", {}).get("schema", {})
    for option in (schema, *schema.get("anyOf", ()), *schema.get("oneOf", ())):
        if "$ref" in option:
            yield option["$ref"].removeprefix(SCHEMAS)


# --- the file and the code ------------------------------------------------------------------------


def test_the_file_is_what_the_code_says() -> None:
    kept = (ROOT / "openapi" / "openapi.json").read_text(encoding="utf-8")
    assert kept == description(), "run make openapi"


def test_every_permission_is_an_operation_and_every_guarded_operation_a_permission(
    document: dict[str, Any],
) -> None:
    assert set(operations(document)) - OPEN == set(PERMISSIONS)


def test_what_is_guarded_says_so(document: dict[str, Any]) -> None:
    for name, operation in operations(document).items():
        assert ("security" in operation) == (name not in OPEN), name


# --- words ----------------------------------------------------------------------------------------


def test_every_operation_says_what_it_does(document: dict[str, Any]) -> None:
    described = {tag["name"] for tag in document["tags"]}
    summaries: dict[tuple[str, str], str] = {}
    for name, operation in operations(document).items():
        assert set(operation["tags"]) <= described, name
        assert 8 <= len(operation["summary"]) <= 120, name
        assert operation["description"].strip(), name
        key = (operation["tags"][0], operation["summary"])
        assert key not in summaries or operation["summary"].startswith("Change some members"), key
        summaries[key] = name


def test_every_schema_says_what_it_is(document: dict[str, Any]) -> None:
    assert not [
        name
        for name, schema in document["components"]["schemas"].items()
        if not schema.get("description")
    ]


def test_schemas_have_names_that_a_program_can_use(document: dict[str, Any]) -> None:
    assert not [
        name
        for name in document["components"]["schemas"]
        if not re.fullmatch(r"[A-Z][A-Za-z0-9]+", name)
    ]


# --- answers and refusals -------------------------------------------------------------------------


def test_members_are_described_as_they_are_sent(document: dict[str, Any]) -> None:
    """`from_` is Python's way round a keyword, nobody else's."""
    members = {
        (name, member)
        for name, schema in document["components"]["schemas"].items()
        for member in schema.get("properties", {})
    }
    assert len(members) > 500
    assert not {(name, member) for name, member in members if member.endswith("_")}


def test_refusals_are_problems_and_only_problems(document: dict[str, Any]) -> None:
    problem = {"application/problem+json": {"schema": {"$ref": f"{SCHEMAS}Problem"}}}
    outcome = {"application/fhir+json": {"schema": {"$ref": f"{SCHEMAS}OperationOutcome"}}}
    for name, operation in operations(document).items():
        if name in OPEN:
            continue
        refused = {s: r for s, r in operation["responses"].items() if s[0] not in "23"}
        form, broken = (outcome, "400") if name.startswith("fhir.") else (problem, "422")
        assert {"401", "403", broken, "503", "default"} <= set(refused), name
        assert all(r["content"] == form for r in refused.values()), name
        assert ("413" in refused) == ("requestBody" in operation), name
        assert "Retry-After" in refused["503"]["headers"], name
    assert set(Problem.model_fields) == set(
        document["components"]["schemas"]["Problem"]["properties"]
    )


def test_every_answer_with_a_body_has_a_schema(document: dict[str, Any]) -> None:
    for name, operation in operations(document).items():
        for status, response in operation["responses"].items():
            if status.startswith("2") and status != "204":
                assert all(c.get("schema") for c in response["content"].values()), name


def test_a_retry_and_a_version_are_described(document: dict[str, Any]) -> None:
    found = operations(document)
    booked = found["bookings.book"]["responses"]["201"]["headers"]
    assert set(booked) == {"ETag", "Location", "Idempotency-Replayed"}
    assert "ETag" in found["slots.read"]["responses"]["200"]["headers"]
    for name in ("bookings.book", "calls.open", "slots.publish", "slots.hold", "patients.open"):
        parameters = {p["name"]: p for p in found[name]["parameters"]}
        assert parameters["Idempotency-Key"]["schema"] == {"type": "string"}, name


def test_parameters_are_absent_and_never_null(document: dict[str, Any]) -> None:
    for name, operation in operations(document).items():
        for parameter in operation.get("parameters", ()):
            assert '"null"' not in json.dumps(parameter["schema"]), (name, parameter["name"])


def test_figures_are_numbers(document: dict[str, Any]) -> None:
    for model in (model.__name__ for model in _models(Answer)):
        schema = document["components"]["schemas"].get(model, {})
        for name, member in schema.get("properties", {}).items():
            kinds = {option.get("type") for option in member.get("anyOf", ())}
            assert not {"number", "string"} <= kinds, f"{model}.{name}"


# --- examples -------------------------------------------------------------------------------------


def test_every_json_body_has_an_example(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    assert not [
        (name, body)
        for name, operation in operations(document).items()
        for body in _bodies(operation)
        if not schemas[body].get("examples")
    ]


def test_examples_are_accepted(document: dict[str, Any]) -> None:
    for name, schema in document["components"]["schemas"].items():
        for example in schema.get("examples", ()):
            MODELS[name].model_validate_json(json.dumps(example))


# --- the guide ------------------------------------------------------------------------------------

GUIDE = (ROOT / "docs" / "integrators.md").read_text(encoding="utf-8")
_REQUEST = re.compile(r"^ *```http\n *([A-Z]+) (/v1/\S+)\n(.*?)```", re.MULTILINE | re.DOTALL)


def test_requests_of_the_guide_are_accepted(document: dict[str, Any]) -> None:
    templates = {
        re.compile(re.sub(r"\{\w+\}", "[^/]+", path) + r"(\?.*)?"): methods
        for path, methods in document["paths"].items()
    }
    requests = _REQUEST.findall(GUIDE)
    assert len(requests) >= 6
    for method, path, rest in requests:
        methods = next(m for pattern, m in templates.items() if pattern.fullmatch(path))
        operation = methods[method.lower()]
        _, _, body = rest.partition("\n\n")
        if body.strip():
            name = list(_bodies(operation))[-1]
            MODELS[name].model_validate_json(body)
        else:
            assert method == "GET", path


def test_refusals_of_the_guide_exist() -> None:
    known = set(re.findall(r"\| `([\w-]+)` \|", (ROOT / "docs" / "problems.md").read_text()))
    table = GUIDE.split("## Errors", 1)[1].split("## What never to log", 1)[0]
    named = {
        code
        for row in table.splitlines()
        if row.startswith("| `")
        for code in re.findall(r"`([\w-]+)`", row.split("|")[1])
    }
    assert len(named) > 25
    assert named <= known


def test_links_of_the_guide_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", GUIDE):
        assert (ROOT / "docs" / target).exists(), target
