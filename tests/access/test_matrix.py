"""Every operation of the OpenAPI document, for every role, near and far, on a real server."""

import asyncio
import json
from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator, Mapping
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
from service.kernel.db import Database
from service.kernel.ids import new_id
from tests.access.house import House, Proof, Standing, build, ended, proven_otherwise
from tests.access.matrix import MATRIX, NO_TOKEN_NEEDED, Row
from tests.conftest import DatabaseUrls, address
from tests.demo.processes import snp
from tests.identity.proofs import PROXY, Proofs, proofs
from tests.support import World, code_of
from tests.wire import Answer, Wire

pytestmark = pytest.mark.xdist_group("matrix")

T = TypeVar("T")
_AT_ONCE = 8


@dataclass(frozen=True)
class Operation:
    """How an operation is asked for."""

    method: str
    path: str
    parameters: frozenset[str]


def _operations(app: FastAPI) -> dict[str, Operation]:
    return {
        operation["operationId"]: Operation(
            method.upper(),
            path,
            frozenset(
                one["name"] for one in operation.get("parameters", ()) if one["in"] == "query"
            ),
        )
        for path, methods in app.openapi()["paths"].items()
        for method, operation in methods.items()
    }


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def proving(
    tmp_path_factory: pytest.TempPathFactory, database: Database
) -> AsyncIterator[Proofs]:
    """An issuer and an authority."""
    async with proofs(tmp_path_factory.mktemp("proofs"), database) as made:
        yield made


@pytest.fixture(scope="module")
def url(
    tmp_path_factory: pytest.TempPathFactory,
    shared_urls: DatabaseUrls,
    keys: Keys,
    proving: Proofs,
) -> Iterator[httpx.URL]:
    """A server process on the tests' database that believes both, and a proxy at `PROXY`."""
    settings = {
        "SNP_DATABASE_URL": shared_urls.app,
        "SNP_KEYS": keys.model_dump_json(),
        "SNP_RPPS_CHECK": "format",
        "SNP_TOKEN_REQUESTS_PER_MINUTE": "0",
        "SNP_ADDRESS_REQUESTS_PER_MINUTE": "0",
        **proving.settings,
    }
    with snp(tmp_path_factory.mktemp("serving"), "serve", "--port", "0", **settings) as process:
        process.wait_until(lambda started: address(started) is not None)
        yield httpx.URL(str(address(process)))


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def client(url: httpx.URL) -> AsyncIterator[httpx.AsyncClient]:
    """An HTTP client of that server, in the proxy's place."""
    async with Proofs.at(url) as opened:
        yield opened


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def world(database: Database, http: httpx.AsyncClient) -> World:
    """The territory of the module."""
    return await World(database, http).begin()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def house(world: World, proving: Proofs, client: httpx.AsyncClient) -> House:
    """One house for the whole module."""
    built = await build(world)
    placed = [standing for standing in built.standings if standing.distance != "near"]
    built.standings += await proven_otherwise(placed, proving, proving.desk(world, client))
    return built


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
    """Some connections to the server, each for one question at a time; from one address."""

    def __init__(self, url: httpx.URL, address: str | None = None) -> None:
        self._free = [Wire(url.host, url.port or 80, address) for _ in range(_AT_ONCE)]

    async def ask(self, method: str, path: str, headers: str = "", body: bytes = b"") -> Answer:
        """Send one request; there is a free connection, as `_all` asks no more at once."""
        wire = self._free.pop()
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
async def lines(url: httpx.URL) -> AsyncIterator[Lines]:
    """Connections as the trusted proxy opens them."""
    opened = Lines(url, PROXY)
    yield opened
    await opened.close()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def direct(url: httpx.URL) -> AsyncIterator[Lines]:
    """Connections of who found a way around the proxy."""
    opened = Lines(url)
    yield opened
    await opened.close()


@dataclass(frozen=True)
class Asking:
    """A row of the matrix as a request of its operation."""

    row: Row
    operation: Operation
    lines: Lines

    async def by(self, standing: Standing, things: Mapping[str, str]) -> Answer:
        """Send it."""
        query: dict[str, Any] = _filled(self.row.query, things)
        if self.row.listed and "limit" in self.operation.parameters:
            query["limit"] = "200"
        body = b"" if self.row.body is None else json.dumps(_filled(self.row.body, things)).encode()
        path = f"{self.at(things)}?{urlencode(query, doseq=True)}" if query else self.at(things)
        headers = f'{standing.headers}If-Match: "999"\r\n'
        return await self.lines.ask(self.operation.method, path, headers, body)

    def at(self, things: Mapping[str, str]) -> str:
        """Return the path to some things."""
        return self.operation.path.format_map(_filled(self.row.path, things))


@pytest.fixture(scope="module")
def askings(app: FastAPI, lines: Lines) -> list[Asking]:
    """The whole matrix as requests."""
    operations = _operations(app)
    return [Asking(row, operations[row.operation], lines) for row in MATRIX]


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
    by = f"{role} {standing.distance} with {standing.proof}"
    who = f"{row.operation} {dict(row.path)} {row.listed or ''} by {by}"
    return "" if got in wanted else f"{who}: {got}, not {wanted}\n    {text[:300]}"


async def test_each_role_reaches_what_the_matrix_says_and_nothing_else(
    askings: list[Asking], house: House
) -> None:
    async def look(asking: Asking, standing: Standing) -> str:
        things = house.named(standing)
        return _said(asking.row, standing, await asking.by(standing, things), things)

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


async def test_everybody_is_known_by_what_they_proved(house: House, lines: Lines) -> None:
    proved = {
        Proof.SECRET: ("client_secret", "asserted"),
        Proof.CERTIFICATE: ("client_certificate", "asserted"),
        Proof.PERSON: ("client_secret", "hospital"),
    }
    for standing in house.standings:
        me = (await lines.ask("GET", "/v1/me", standing.headers)).json
        person = (me["person"] or {}).get("proof", "asserted")
        assert (me["auth_method"], person) == proved[standing.proof]
        assert (me["role"], me["territories"]) == (
            standing.caller.role,
            [standing.caller.territory],
        )


async def test_the_invisible_is_told_like_what_never_existed(
    askings: list[Asking], house: House
) -> None:
    """The same status, the same members, the same words: but for the request's own id."""

    async def compare(asking: Asking, standing: Standing) -> str:
        things = house.named(standing)
        never = dict.fromkeys(things, str(new_id()))
        names = asking.row.path or {"slot_id": "{slot}"}
        nowhere = {**things, **{n: never[n] for n in things if f"{{{n}}}" in names.values()}}
        if "{practitioner}" in names.values():
            nowhere["practitioner"] = things["practitioner"]
        hidden, none = [await asking.by(standing, t) for t in (things, nowhere)]
        told = [_without_request_id(answer) for answer in (hidden, none)]
        return "" if told[0] == told[1] else f"{asking.row.operation}: {told}"

    asked = [
        (asking, standing)
        for asking in askings
        if asking.row.others == 404 and not asking.row.listed
        for standing in house.standings
        if standing.caller.role in asking.row.roles
        and standing.proof is Proof.SECRET
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
    key = Vault(keys).token_keys[0]
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
        "letters": "é" * 40,
    }


@dataclass(frozen=True)
class Knock:
    """What is not let in: from where, with what, and what it is told."""

    lines: Lines
    headers: str
    code: str = "token-invalid"


@pytest.fixture(scope="module")
def knocks(
    house: House, strangers: Mapping[str, str], proving: Proofs, lines: Lines, direct: Lines
) -> dict[str, Knock]:
    """Everybody who is nobody here."""
    good = next(
        standing.headers
        for standing in house.standings
        if standing.proof is Proof.CERTIFICATE and not standing.caller.token
    )
    person = proving.provider.token()
    return {
        **{
            name: Knock(lines, f"Authorization: Bearer {token}\r\n")
            for name, token in strangers.items()
        },
        "anonymous": Knock(lines, ""),
        "a certificate that no trusted proxy gave on": Knock(direct, good),
        "a certificate of nobody here": Knock(
            lines, proving.shown("CN=x,OU=nobody,O=nobody"), "certificate-refused"
        ),
        "an issuer's own token": Knock(lines, f"Authorization: Bearer {person}\r\n"),
    }


async def test_a_stranger_reaches_nothing(
    askings: list[Asking], house: House, knocks: Mapping[str, Knock]
) -> None:
    async def knock(asking: Asking, who: str) -> str:
        by, of = knocks[who], asking.operation
        answer = await by.lines.ask(of.method, asking.at(house.things), by.headers)
        told = (answer.status, code_of(answer.json))
        right = told == (401, by.code) and "www-authenticate" in answer.headers
        return "" if right else f"{asking.row.operation} {who}: {told}"

    asked = [(asking, who) for asking in askings for who in knocks]
    wrong = [said for said in await _all(knock(*pair) for pair in asked) if said]
    assert not wrong, "\n".join(wrong)


async def test_a_right_that_ended_is_gone_at_the_next_request(
    askings: list[Asking], house: House, world: World, proving: Proofs, client: httpx.AsyncClient
) -> None:
    """Whichever way it ended: every role, and however it proves who it is one of them."""

    async def knock(asking: Asking, how: str, standing: Standing) -> str:
        answer = await asking.by(standing, house.things)
        told = (answer.status, code_of(answer.json))
        code = "grant-ended" if standing.caller.token else "certificate-refused"
        right = told == (401, code)
        who = f"{standing.caller.role} with {standing.proof}, {how}"
        return "" if right else f"{asking.row.operation} {who}: {told}"

    asked = [
        (asking, how, standing)
        for how, standings in (await ended(world, proving, client)).items()
        for standing in standings
        for asking in askings
        if standing.caller.role
        in (asking.row.roles if standing.proof is Proof.SECRET else (min(asking.row.roles),))
    ]
    wrong = [said for said in await _all(knock(*one) for one in asked) if said]
    assert not wrong, "\n".join(wrong)
