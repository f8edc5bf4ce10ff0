"""Whom to believe about a caller's address, scheme and certificate."""

from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from service.kernel.http.proxies import BehindProxies

PROXY, OTHER_PROXY = "10.0.0.5", "192.168.7.1"
CALLER = "203.0.113.9"


async def seen(peer: str | None, *headers: tuple[str, str], scheme: str = "http") -> Scope:
    """Return what the application sees of a request."""
    found: dict[str, Any] = {}

    async def app(scope: Scope, _: Receive, __: Send) -> None:
        found.update(scope)

    async def nothing(*_: Any) -> Any:
        """Nobody reads or writes here."""

    scope = {
        "type": "http",
        "client": None if peer is None else (peer, 4711),
        "scheme": scheme,
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers],
    }
    proxies = ["10.0.0.0/24", "192.168.7.1", "fd00::/8"]
    await BehindProxies(app, proxies, "X-Client-Cert")(scope, nothing, nothing)
    return found


@pytest.mark.parametrize(
    ("peer", "said", "client"),
    [
        (PROXY, [CALLER], CALLER),
        (PROXY, [f"{CALLER}, {OTHER_PROXY}"], CALLER),
        (PROXY, [CALLER, OTHER_PROXY], CALLER),  # two headers are one list
        (PROXY, [f"198.51.100.1, {CALLER}"], CALLER),  # the first is the caller's own word
        (PROXY, [f"{PROXY}, {OTHER_PROXY}"], PROXY),
        (PROXY, [f"{CALLER}, unknown"], PROXY),
        (PROXY, [""], PROXY),
        (PROXY, [], PROXY),
        ("::ffff:10.0.0.5", [CALLER], CALLER),
        ("fd00::5", ["2001:db8::1"], "2001:db8::1"),
        (CALLER, ["198.51.100.1"], CALLER),
        ("10.0.1.5", ["198.51.100.1"], "10.0.1.5"),
        ("not an address", ["198.51.100.1"], "not an address"),
    ],
)
async def test_the_caller_is_the_last_who_is_no_proxy(
    peer: str, said: list[str], client: str
) -> None:
    scope = await seen(peer, *(("X-Forwarded-For", one) for one in said))
    assert scope["client"][0] == client


async def test_a_server_on_a_socket_has_no_peer() -> None:
    assert (await seen(None, ("X-Forwarded-For", CALLER)))["client"] is None


async def test_the_scheme_is_believed_of_a_proxy_only() -> None:
    assert (await seen(PROXY, ("X-Forwarded-Proto", "https")))["scheme"] == "https"
    assert (await seen(CALLER, ("X-Forwarded-Proto", "https")))["scheme"] == "http"
    for odd in ("ftp", "https, http", ""):
        assert (await seen(PROXY, ("X-Forwarded-Proto", odd)))["scheme"] == "http"


async def test_a_certificate_is_believed_of_a_proxy_only_and_once() -> None:
    certificate, other = ("X-Client-Cert", "one"), ("X-Request-Id", "kept")
    assert (await seen(PROXY, certificate, other))["headers"] == [
        (b"x-client-cert", b"one"), (b"x-request-id", b"kept"),
    ]  # fmt: skip
    for scope in (
        await seen(CALLER, certificate, other),
        await seen(CALLER, certificate, other, ("X-Forwarded-For", PROXY)),
        await seen(None, certificate, other),
        await seen(PROXY, certificate, other, certificate),
    ):
        names = [name for name, _ in scope["headers"]]
        assert b"x-client-cert" not in names
        assert b"x-request-id" in names
