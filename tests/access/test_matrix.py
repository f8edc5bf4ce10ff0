"""Every operation of the OpenAPI document, for every role, near and far, on a real server."""

import asyncio
import json
from collections.abc import AsyncIterator, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlencode

import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI
from joserfc import jwt
from joserfc.jwk import OctKey

from service.identity import PERMISSIONS, Role
from service.kernel import clock
from service.kernel.crypto import Keys, Vault
from service.kernel.ids import new_id
from tests.access.house import House, Standing, build
from tests.access.matrix import MATRIX, NO_TOKEN_NEEDED, Row
from tests.support import Caller, World
from tests.wire import Answer, Wire

T = TypeVar("T")
_AT_ONCE = 8


def _operations(app: FastAPI) -> dict[str, tuple[str, str]]:
    return {
        operation["operationId"]: (method.upper(), path)
        for path, methods in app.openapi()["paths"].items()
        for method, operation in methods.items()
    }


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def house(app: FastAPI, http: httpx.AsyncClient) -> House:
    """One house for the whole module."""
    return await build(await World(app.state.database, http).begin())


async def _all(asked: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Wait for all, a few at a time."""
    places = asyncio.Semaphore(_AT_ONCE)

    async def one(question: Coroutine[Any, Any, T]) -> T:
        async with places:
            return await question

    return list(await asyncio.gather(*map(one, asked)))


def _filled(value: Any, things: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return value.format_map(things)
    if isinstance(value, Mapping):
        return {name: _filled(member, things) for name, member in value.items()}
    return [_filled(item, things) for item in value] if isinstance(value, list) else value


class Lines:
    """Some connections to the server, each for one question at a time."""

    def __init__(self, url: httpx.URL) -> None:
        self._free = [Wire(url.host, url.port or 80) for _ in range(_AT_ONCE)]

    async def ask(
        self, method: str, path: str, token: str, headers: str = "", body: bytes = b""
    ) -> Answer:
        """Send one request; there is a free connection, as `_all` asks no more at once."""
        wire = self._free.pop()
        if token:
            headers += f"Authorization: Bearer {token}\r\n"
        if body:
            headers += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        request = f"{method} {path} HTTP/1.1\r\nHost: x\r\n{headers}\r\n".encode() + body
        answer = await wire.send(request)
        self._free.append(wire)
        return answer

    async def close(self) -> None:
        """Close them."""
        for wire in self._free:
            await wire.close()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def lines(base_url: str) -> AsyncIterator[Lines]:
    """Connections to a server process on the same database."""
    opened = Lines(httpx.URL(base_url))
    yield opened
    await opened.close()


@dataclass(frozen=True)
class Asking:
    """A row of the matrix as a request of its operation."""

    row: Row
    method: str
    path: str
    lines: Lines

    async def by(self, caller: Caller, things: Mapping[str, str]) -> Answer:
        """Send it."""
        query: dict[str, str] = _filled(self.row.query, things)
        if self.row.listed and self.method == "GET":
            query["limit"] = "200"
        body = b"" if self.row.body is None else json.dumps(_filled(self.row.body, things)).encode()
        path = f"{self.at(things)}?{urlencode(query)}" if query else self.at(things)
        return await self.lines.ask(self.method, path, caller.token, 'If-Match: "999"\r\n', body)

    def at(self, things: Mapping[str, str]) -> str:
        """Return the path to some things."""
        return self.path.format_map(_filled(self.row.path, things))


@pytest.fixture(scope="module")
def askings(app: FastAPI, lines: Lines) -> list[Asking]:
    """The whole matrix as requests."""
    operations = _operations(app)
    return [Asking(row, *operations[row.operation], lines) for row in MATRIX]


# --- the table itself -----------------------------------------------------------------------------


def test_every_operation_of_the_description_is_in_the_matrix(app: FastAPI) -> None:
    assert {row.operation for row in MATRIX} | NO_TOKEN_NEEDED == set(_operations(app))


def test_the_code_admits_the_roles_that_the_matrix_says() -> None:
    for row in MATRIX:
        assert PERMISSIONS[row.operation] == row.roles, row.operation


# --- who is let in, who reaches what ------------------------------------------------------------


def _said(row: Row, standing: Standing, answer: Answer, things: Mapping[str, str]) -> str:
    """Return what is wrong with an answer; nothing, if it is what the matrix says."""
    role, text = standing.caller.role, answer.body.decode()
    reached = row.reached_by(standing.group, standing.distance)
    wanted: tuple[object, ...]
    got: object = answer.status
    if role not in row.roles:
        wanted = (403,)
        got = answer.status if "role-lacks-operation" in text else text
    elif row.listed is not None:
        wanted = ((200, reached),)
        got = (answer.status, _filled(row.listed, things) in text)
    else:
        wanted = tuple(row.found) if reached else (row.others,)
    who = f"{row.operation} {dict(row.path)} {row.listed or ''} by {role} {standing.distance}"
    return "" if got in wanted else f"{who}: {got}, not {wanted}\n    {text[:300]}"


async def test_each_role_reaches_what_the_matrix_says_and_nothing_else(
    askings: list[Asking], house: House
) -> None:
    async def look(asking: Asking, standing: Standing) -> str:
        things = house.named(standing.caller.role)
        return _said(asking.row, standing, await asking.by(standing.caller, things), things)

    # Whoever uses something up (a hold, an absence) comes last.
    asked = sorted(
        (
            (a, s)
            for a in askings
            for s in house.standings
            if s.caller.role in a.row.roles or s.distance == "own"
        ),
        key=lambda pair: pair[0].row.reached_by(pair[1].group, pair[1].distance),
    )
    wrong = [said for said in await _all(look(*pair) for pair in asked) if said]
    assert not wrong, "\n".join(wrong)


async def test_the_invisible_is_told_like_what_never_existed(
    askings: list[Asking], house: House
) -> None:
    """The same status, the same members, the same words: but for the request's own id."""

    async def compare(asking: Asking, standing: Standing) -> str:
        things = house.named(standing.caller.role)
        never = dict.fromkeys(things, str(new_id()))
        names = asking.row.path or {"slot_id": "{slot}"}
        nowhere = {**things, **{n: never[n] for n in things if f"{{{n}}}" in names.values()}}
        if "{practitioner}" in names.values():
            nowhere["practitioner"] = things["practitioner"]
        hidden, none = [await asking.by(standing.caller, t) for t in (things, nowhere)]
        told = [_without_request_id(answer) for answer in (hidden, none)]
        return "" if told[0] == told[1] else f"{asking.row.operation}: {told}"

    asked = [
        (asking, standing)
        for asking in askings
        if asking.row.others == 404 and not asking.row.listed
        for standing in house.standings
        if standing.caller.role in asking.row.roles
        and not asking.row.reached_by(standing.group, standing.distance)
    ]
    assert len(asked) > 100
    different = [said for said in await _all(compare(*pair) for pair in asked) if said]
    assert not different, "\n".join(different)


def _without_request_id(answer: Answer) -> Any:
    body, headers = answer.json, answer.headers
    for told in (body, headers):
        told.pop("request_id", None)
        told.pop("x-request-id", None)
        told.pop("date", None)
        told.pop("ratelimit", None)  # it has counted one more
    return answer.status, body, headers


# --- who is not let in at all ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def strangers(keys: Keys, house: House) -> dict[str, str]:
    """Tokens that are worth nothing, but for one thing each like those that are."""
    key = Vault(keys).token_key
    good = next(s.caller for s in house.standings if s.caller.role is Role.REGULATOR).token
    claims = jwt.decode(good, OctKey.import_key(key)).claims
    now = int(clock.now().timestamp())

    def signed(by: bytes = key, algorithm: str = "HS256", **changes: Any) -> str:
        header = {"alg": algorithm, "typ": "at+jwt"}
        return jwt.encode(
            header, {**claims, **changes}, OctKey.import_key(by), algorithms=[algorithm]
        )

    assert signed(exp=now + 60)
    head, payload, signature = good.split(".")
    nobody = "eyJhbGciOiJub25lIn0"  # {"alg": "none"}
    return {
        "expired": signed(iat=now - 700, exp=now - 1),
        "another key": signed(by=bytes(32)),
        "another algorithm": signed(algorithm="HS512"),
        "another issuer": signed(iss="https://issuer.example"),
        "another audience": signed(iss="snp-elsewhere", aud="another-service"),
        "a role that there is not": signed(role="king"),
        "no algorithm": f"{nobody}.{payload}.",
        "a signature of something else": f"{head}.{payload[:-2]}AA.{signature}",
        "half a token": f"{head}.{payload}",
        "no token": "x",
        "nothing": "",
        "letters": "é" * 40,
    }


async def test_a_stranger_reaches_nothing(
    askings: list[Asking], house: House, strangers: Mapping[str, str]
) -> None:
    async def knock(asking: Asking, token: str) -> str:
        answer = await asking.lines.ask(asking.method, asking.at(house.things), token)
        told = (answer.status, answer.json.get("code"))
        right = told == (401, "token-invalid") and "www-authenticate" in answer.headers
        return "" if right else f"{asking.row.operation} {token!r}: {told}"

    asked = [(a, token) for a in askings for token in strangers.values()]
    wrong = [said for said in await _all(knock(*pair) for pair in asked) if said]
    assert not wrong, "\n".join(wrong)


async def test_a_right_that_was_taken_back_is_gone_at_the_next_request(
    askings: list[Asking], house: House
) -> None:
    async def knock(asking: Asking, role: Role) -> str:
        answer = await asking.by(house.revoked[role], house.named(role))
        told = (answer.status, answer.json.get("code"))
        return "" if told == (401, "grant-ended") else f"{asking.row.operation} {role}: {told}"

    asked = [(asking, role) for asking in askings for role in sorted(asking.row.roles)]
    wrong = [said for said in await _all(knock(*pair) for pair in asked) if said]
    assert not wrong, "\n".join(wrong)
