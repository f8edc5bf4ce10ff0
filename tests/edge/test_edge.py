"""Sizes, slowness, headers, origins and proxies, on a real server process."""

import asyncio
import base64
import hashlib
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import uvicorn

from service.kernel.http.connection import MAX_HEAD_BYTES, MAX_TARGET_BYTES, Connection
from service.kernel.settings import Settings
from service.main import create_app
from service.serving import _OPTIONS, listen
from tests.conftest import DatabaseUrls
from tests.edge.conftest import Serving
from tests.support import World, problem

MakeSettings = Callable[..., Settings]


async def _raw(base_url: str, *parts: bytes, pause: float = 0.0) -> tuple[int, dict[str, Any]]:
    """Send bytes as they are; return the status and the problem of the answer."""
    url = httpx.URL(base_url)
    reader, writer = await asyncio.open_connection(url.host, url.port)
    try:
        for part in parts:
            writer.write(part)
            await asyncio.sleep(pause)
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)
        length = re.search(rb"content-length: (\d+)", head)
        assert length is not None
        body = json.loads(await reader.readexactly(int(length[1])))
        assert b"content-type: application/problem+json" in head
        assert b"cache-control: no-store" in head
        return int(head.split()[1]), body
    finally:
        writer.close()


async def test_an_address_that_is_too_long_is_refused(base_url: str) -> None:
    async with httpx.AsyncClient(base_url=base_url, trust_env=False) as client:
        fits = await client.get("/health/live", params={"x": "x" * (MAX_TARGET_BYTES - 100)})
        assert fits.status_code == 200
        problem(
            await client.get("/health/live", params={"x": "x" * MAX_TARGET_BYTES}),
            414,
            "address-too-long",
        )
    endless = [b"GET /v1/slots?from="] + [b"2" * 4096] * 3
    status, told = await _raw(base_url, *endless)
    assert (status, told["code"]) == (414, "address-too-long")


async def test_a_head_that_is_too_large_is_refused(base_url: str) -> None:
    async with httpx.AsyncClient(base_url=base_url, trust_env=False) as client:
        for headers in ({"x": "x" * MAX_HEAD_BYTES}, {f"x-{n}": "x" * 60 for n in range(600)}):
            answer = await client.get("/health/live", headers=headers)
            problem(answer, 431, "head-too-large")
        fits = await client.get("/health/live", headers={"x": "x" * (MAX_HEAD_BYTES - 1000)})
        assert fits.status_code == 200
    endless = [b"GET / HTTP/1.1\r\nx: "] + [b"x" * 8192] * 5
    status, told = await _raw(base_url, *endless)
    assert (status, told["code"]) == (431, "head-too-large")


async def test_what_is_no_http_is_refused_as_a_problem(base_url: str) -> None:
    for nonsense in (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", b"GET\r\n\r\n"):
        status, told = await _raw(base_url, nonsense)
        assert (status, told["code"]) == (400, "malformed")


async def test_nonsense_behind_a_request_is_no_fault_of_ours(alone: Serving) -> None:
    request = b"GET /health/live HTTP/1.1\r\nhost: x\r\nx-request-id: before-nonsense\r\n\r\n"
    status, told = await _raw(str(alone.client.base_url), request + b"\x00\r\n\r\n")
    assert (status, told["code"]) == (400, "malformed")
    alone.process.wait_until(lambda process: "before-nonsense" in process.errors)
    assert "request.defect" not in alone.process.errors


async def test_a_body_that_is_too_large_is_refused_whether_it_says_so_or_not(
    world: World, base_url: str
) -> None:
    regulator = await world.regulator()

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield b" " * 100_000

    async with httpx.AsyncClient(base_url=base_url, trust_env=False) as client:
        regulator.http = client
        headers = {"Content-Type": "application/json"}
        for content in (b" " * 2_200_000, endless()):
            answer = await regulator.request("POST", "/v1/calls", content=content, headers=headers)
            problem(answer, 413, "body-too-large")


class _Impatient(Connection):
    PATIENCE_SECONDS = 0.4


async def _until(seen: Callable[[], bool]) -> None:
    for _ in range(1000):
        if seen():
            return
        await asyncio.sleep(0.01)
    raise AssertionError


@asynccontextmanager
async def _impatient(settings: Settings) -> AsyncIterator[str]:
    """A server in this process that gives up early."""
    with listen("127.0.0.1", 0) as listener:
        options = {**_OPTIONS, "http": _Impatient}
        config = uvicorn.Config(create_app(settings), **options)
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            await _until(lambda: server.started)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            await serving


async def test_who_does_not_finish_a_request_is_sent_away(
    world: World, shared_urls: DatabaseUrls, make_settings: MakeSettings
) -> None:
    regulator = await world.regulator()
    head = (
        b"POST /v1/calls HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
        b"authorization: Bearer %b\r\ncontent-length: 50\r\n\r\n" % regulator.token.encode()
    )
    async with _impatient(make_settings(shared_urls.app)) as url:
        for parts in ([b"GET / HT"], [head], [head, b"{", b" ", b" "]):
            status, told = await _raw(url, *parts, pause=0.05)
            assert (status, told["code"]) == (408, "too-slow"), parts
        silent, writer = await asyncio.open_connection(httpx.URL(url).host, httpx.URL(url).port)
        assert await asyncio.wait_for(silent.read(), 20) == b""  # closed without a word
        writer.close()
        async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
            regulator.http = client
            for _ in range(3):  # between requests it may rest
                assert (await regulator.get("/v1/me")).status_code == 200
                await asyncio.sleep(0.3)


# --- headers --------------------------------------------------------------------------------------


async def test_every_answer_tells_a_browser_to_be_careful(world: World) -> None:
    regulator = await world.regulator()
    answers = {
        path: await regulator.get(path)
        for path in ("/v1/me", "/v1/slots", "/v1/nothing", "/health/live", "/docs", "/openapi.json")
    }
    for path, answer in answers.items():
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
        assert ("no-store" in answer.headers["Cache-Control"]) == path.startswith("/v1")
        assert "Strict-Transport-Security" not in answer.headers
        assert "Access-Control-Allow-Origin" not in answer.headers
        assert "Server" not in answer.headers


async def test_the_documentation_runs_its_own_scripts_and_no_other(world: World) -> None:
    page = await world.http.get("/docs")
    policy = page.headers["Content-Security-Policy"]
    assert "'unsafe-inline'" not in policy.partition("script-src")[2].partition(";")[0]
    inline = re.findall(r"<script>(.*?)</script>", page.text, re.DOTALL)
    assert inline
    for script in inline:
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    for source in re.findall(r'(?:src|href)="([^"]+)"', page.text):
        assert source.startswith(("/static/", "data:")), source


async def test_a_header_leads_nobody_elsewhere(world: World) -> None:
    regulator = await world.regulator()
    for path in ("/v1/slots/", "/docs/", "/v1//slots"):
        answer = await regulator.get(path, headers={"Host": "evil.example"})
        problem(answer, 404, "not-found")
        assert "Location" not in answer.headers


# --- origins --------------------------------------------------------------------------------------

_PREFLIGHT = {
    "Origin": "https://console.example.fr",
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization,idempotency-key",
}


def test_pages_of_other_origins_may_not_call_unless_they_are_named(
    base_url: str, behind: httpx.Client
) -> None:
    with httpx.Client(base_url=base_url, trust_env=False) as client:
        closed = client.options("/v1/bookings", headers=_PREFLIGHT)
        assert closed.status_code == 405
        assert "access-control-allow-origin" not in closed.headers
    opened = behind.options("/v1/bookings", headers=_PREFLIGHT)
    assert opened.status_code == 200
    assert opened.headers["access-control-allow-origin"] == "https://console.example.fr"
    assert "access-control-allow-credentials" not in opened.headers
    named = {"Origin": "https://console.example.fr", "X-Forwarded-For": "203.0.113.1"}
    answer = behind.get("/v1/me", headers=named)
    assert answer.status_code == 401
    assert answer.headers["access-control-allow-origin"] == "https://console.example.fr"
    assert "ETag" in answer.headers["access-control-expose-headers"]
    refused = behind.options(
        "/v1/bookings", headers={**_PREFLIGHT, "Origin": "https://evil.example"}
    )
    assert refused.status_code == 400
    assert "access-control-allow-origin" not in refused.headers


# --- proxies --------------------------------------------------------------------------------------

_FORWARDED = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https"}


def _refused_from(client: httpx.Client, forwarded_for: str) -> list[int]:
    headers = {**_FORWARDED, "X-Forwarded-For": forwarded_for}
    return [client.get("/v1/me", headers=headers).status_code for _ in range(3)]


def test_only_a_trusted_proxy_says_who_asks_and_that_it_was_over_tls(
    alone: Serving, behind: httpx.Client
) -> None:
    answer = alone.client.get("/health/live", headers=_FORWARDED)
    assert "strict-transport-security" not in answer.headers
    assert _refused_from(alone.client, "203.0.113.9") == [401, 401, 429]
    assert _refused_from(alone.client, "203.0.113.10") == [429] * 3  # a lie changes nothing
    answer = behind.get("/health/live", headers=_FORWARDED)
    assert answer.headers["strict-transport-security"].startswith("max-age=31536000")
    assert _refused_from(behind, "203.0.113.9") == [401, 401, 429]
    assert _refused_from(behind, "203.0.113.10") == [401, 401, 429]
    # What the client itself wrote before the proxy's word is not believed.
    assert _refused_from(behind, "198.51.100.1, 203.0.113.10") == [429] * 3
    # Some proxies write the port, too.
    for port in (1, 65535):
        assert _refused_from(behind, f"198.51.100.1, 203.0.113.10:{port}") == [429] * 3
    assert _refused_from(behind, "[2001:db8::7]:4711") == [401, 401, 429]
    assert _refused_from(behind, "2001:db8::7") == [429] * 3
    assert _refused_from(behind, "[2001:db8::7]") == [429] * 3


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("trusted_proxies", "*"),
        ("trusted_proxies", "proxy.example"),
        ("cors_origins", "*"),
        ("cors_origins", "https://x.example/path"),
        ("cors_origins", "null"),
    ],
)
def test_settings_that_would_open_everything_are_refused(name: str, value: str) -> None:
    with pytest.raises(ValueError, match=name):
        Settings.model_validate({name: value})
