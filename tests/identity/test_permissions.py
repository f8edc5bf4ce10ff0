"""Which role may call which operation: the table and the application agree."""

from typing import Any

import pytest
from fastapi import FastAPI

from service.identity import PERMISSIONS, Role
from service.identity.domain import may
from service.identity.http import CHECKED_IN_STATEMENT
from tests.support import World, code_of

# What the secret in an address opens; not a token of ours.
BY_ADDRESS = {"calendar.feed"}
OPEN = {"identity.token", "health.live", "health.ready", "fhir.metadata"} | BY_ADDRESS


def _operations(app: FastAPI) -> dict[str, tuple[str, str]]:
    """Return every operation of the OpenAPI document, with its method and path."""
    found: dict[str, tuple[str, str]] = {}
    for path, methods in app.openapi()["paths"].items():
        for method, operation in methods.items():
            assert operation["operationId"] not in found
            found[operation["operationId"]] = (method.upper(), path)
    return found


def test_every_operation_is_in_the_table_or_open_to_all(app: FastAPI) -> None:
    assert set(_operations(app)) - OPEN <= set(PERMISSIONS)


def test_every_operation_under_v1_is_guarded_and_named_by_its_room(app: FastAPI) -> None:
    for operation, (_, path) in _operations(app).items():
        room, _, verb = operation.partition(".")
        assert room
        assert verb
        assert not (path.startswith("/v1/") and operation in OPEN - BY_ADDRESS), operation


def test_what_is_checked_in_its_statement_is_an_operation() -> None:
    assert set(PERMISSIONS) >= CHECKED_IN_STATEMENT


def test_no_operation_is_for_nobody_and_an_unplaced_one_is_for_no_one() -> None:
    assert all(PERMISSIONS.values())
    assert not any(may(role, "rooms.unplaced") for role in Role)


@pytest.mark.parametrize("role", list(Role))
async def test_a_role_reaches_its_operations_and_no_other(
    app: FastAPI, world: World, role: Role
) -> None:
    organization = await world.organization("other")
    practitioners = [await world.practitioner()] if role in {Role.DOCTOR, Role.DELEGATE} else []
    caller = await world.caller(role, organization, "other", practitioner_ids=practitioners)
    for operation, (method, path) in _operations(app).items():
        if operation in OPEN:
            continue
        # A body of a type that nobody reads: 403 comes before it, everything else after.
        sent: dict[str, Any] = {"content": "x", "headers": {"Content-Type": "text/plain"}}
        answer = await caller.request(method, path, **sent)
        if role in PERMISSIONS[operation]:
            assert answer.status_code == 415, (operation, answer.text)
        else:
            told = (answer.status_code, code_of(answer.json()))
            assert told == (403, "role-lacks-operation"), operation


async def test_nothing_but_the_open_operations_answers_without_a_token(
    app: FastAPI, world: World
) -> None:
    for operation, (method, path) in _operations(app).items():
        answer = await world.http.request(method, path)
        assert (answer.status_code == 401) == (operation not in OPEN), operation
