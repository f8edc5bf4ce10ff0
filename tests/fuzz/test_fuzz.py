"""A short run with each `make test`; `make fuzz REQUESTS=50000` is the long one."""

import asyncio
import json
import os
import re
import subprocess
from collections import Counter
from pathlib import Path
from random import SystemRandom

import httpx
import pytest

from service.identity import Role
from service.identity.domain import may
from tests.access.house import Standing
from tests.fuzz.conftest import Target
from tests.fuzz.fuzzer import PLANTED, Fuzzer, Header, Request
from tests.fuzz.report import write
from tests.identity.proofs import PROXY
from tests.wire import Answer, Wire

REQUESTS = int(os.environ.get("SNP_FUZZ_REQUESTS", "3000"))
SEED = int(os.environ.get("SNP_FUZZ_SEED", SystemRandom().randrange(2**32)))
_LONG = REQUESTS >= 10_000
_AT_ONCE = 8
_READ_AT_ONCE = 4096

pytestmark = [pytest.mark.xdist_group("fuzz"), pytest.mark.timeout(120 + REQUESTS // 20)]


def _wrong(request: bytes, answer: Answer) -> str | None:
    """Return what is wrong with an answer, whatever was asked."""
    if answer.status == 0:
        # Of a request that is refused before it is read whole, the answer may be lost on the way.
        return None if len(request) > _READ_AT_ONCE else "closed without an answer"
    if answer.status >= 500:
        told = b"retry-after" in answer.head.lower() and answer.status == 503
        return None if told else "a fault of ours"
    if answer.status < 400:
        return None
    if PLANTED.lower().encode() in (answer.head + answer.body).lower():
        return "a refusal repeats what was sent"
    if not answer.body:
        return None
    body = json.loads(answer.body)
    named = {"code", "error"} & body.keys() or (
        body.get("resourceType") == "OperationOutcome" and body["issue"]
    )
    return None if named else "a refusal that is no problem"


def _head(standing: Standing) -> list[Header]:
    lines = (line.partition(b": ") for line in standing.headers.encode().splitlines())
    return [(name, value) for name, _, value in lines]


def _defects(target: Target) -> list[str]:
    """What the server said of its own faults, even of those that come after an answer."""
    return [line for line in target.process.errors.splitlines() if "request.defect" in line]


def _shown(request: Request, answer: Answer) -> str:
    return f"{request.bytes()[:1500]!r}\n    {answer.status} {answer.body[:500]!r}"


async def test_nonsense_is_no_fault_of_ours_and_is_not_repeated(target: Target) -> None:
    everybody = [_head(standing) for standing in target.standings]
    callers = {
        operation["operationId"]: [
            _head(standing)
            for standing in target.standings
            if standing.distance == "own" and may(standing.caller.role, operation["operationId"])
        ]
        or everybody
        for methods in target.document["paths"].values()
        for operation in methods.values()
    }
    fuzzer = Fuzzer(SEED, target.document, {**callers, "": everybody}, target.things, target.texts)
    left, found, statuses = REQUESTS, list[str](), Counter[int]()

    async def ask() -> None:
        nonlocal left
        # As the trusted proxy: what is said of addresses and certificates counts.
        wire = Wire(target.url.host, target.url.port or 80, PROXY)
        while left > 0 and len(found) < 20:
            left -= 1
            request = fuzzer.request()
            sent = request.bytes()
            answer = await wire.send(sent, has_body=request.method != "HEAD")
            statuses[answer.status] += 1
            if wrong := _wrong(sent, answer):
                found.append(f"{wrong}: {_shown(request, answer)}")
        await wire.close()

    await asyncio.gather(*(ask() for _ in range(_AT_ONCE)))
    if report := os.environ.get("SNP_FUZZ_REPORT"):
        write(Path(report), statuses, seed=SEED, faults=[*found, *_defects(target)])
    assert not found, f"SNP_FUZZ_SEED={SEED}\n" + "\n".join([*found, *_defects(target)])
    # It got everywhere: answers, and every kind of refusal.
    assert {200, 201, 400, 401, 403, 404, 405, 409, 412, 415, 422, 428} <= set(statuses), statuses
    assert not _defects(target), "\n".join(_defects(target))
    assert PLANTED.lower() not in target.process.errors.lower()
    async with httpx.AsyncClient(base_url=target.url, trust_env=False) as client:
        assert (await client.get("/health/ready")).json()["status"] == "pass"


# What the description promises, besides that there is no fault: statuses, media types, bodies.
_CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,"
    "response_schema_conformance,response_headers_conformance,ignored_auth"
)
_ROLES = [Role.REGULATOR, Role.DOCTOR, Role.MANAGER] if _LONG else [Role.REGULATOR]
_SCHEMATHESIS = Path(__file__).parents[2] / ".venv-fuzz/bin/schemathesis"


@pytest.mark.parametrize("role", _ROLES)
def test_schemathesis_finds_no_fault(target: Target, role: Role, tmp_path: Path) -> None:
    """An independent reader of the description, which it holds the answers against."""
    seconds = 120 if _LONG else 15  # it takes some of them to begin
    done = subprocess.run(
        [
            _SCHEMATHESIS,
            *("run", f"{target.url}/openapi.json", "--checks", _CHECKS, "--seed", str(SEED)),
            *("--phases", "fuzzing", "--max-time", str(seconds), "--workers", "2"),
            *("--generation-database", ":memory:", "--suppress-health-check", "all"),
            *("--header", f"Authorization: Bearer {target.token(role)}"),
            *("--header", "Accept: application/json"),  # a stream has no end
            *("--warnings", "off", "--no-color"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60 + 3 * seconds,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert re.search(r"[1-9]\d* (?:test cases|generated)", done.stdout), done.stdout
    assert not _defects(target), "\n".join(_defects(target))
