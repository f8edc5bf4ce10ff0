"""Limits: of a client, of an address, of who guesses."""

from collections.abc import Callable
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.kernel.http import rate
from service.kernel.http.proxies import address
from service.kernel.http.rate import Guesses, RateLimit, TooManyRequests, network
from service.kernel.settings import Settings
from tests.conftest import DatabaseUrls
from tests.kernel.serving import serving
from tests.support import Caller, World, problem

MakeSettings = Callable[..., Settings]


class _Clock:
    """Time as a test moves it."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        patch.setattr(rate, "time", SimpleNamespace(monotonic=lambda: self.now))


def _passes(limit: RateLimit, key: object) -> bool:
    try:
        limit.spend(str(key), {})
    except TooManyRequests:
        return False
    return True


@given(
    per_minute=st.integers(1, 200),
    waits=st.lists(st.floats(0, 90, allow_nan=False), max_size=60),
)
def test_no_minute_lets_through_more_than_twice_and_waiting_always_helps(
    per_minute: int, waits: list[float]
) -> None:
    """Of any minute: what was saved up, and what is refilled meanwhile."""
    with pytest.MonkeyPatch.context() as patch:
        clock = _Clock(patch)
        limit = RateLimit("client", per_minute)
        passed: list[float] = []
        for wait in waits:
            clock.now += wait
            tries = per_minute // 3 + 1
            passed += [clock.now for _ in range(tries) if _passes(limit, "one")]
        for start in passed:
            assert sum(start <= at < start + 60 for at in passed) <= 2 * per_minute
        while _passes(limit, "one"):
            pass
        assert _passes(limit, "another")
        clock.now += 60 / per_minute
        assert _passes(limit, "one")
        assert not _passes(limit, "one")


def test_what_is_left_is_told_as_the_draft_says(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = _Clock(monkeypatch)
    limit, scope = RateLimit("client", 3), dict[str, object]()
    for left in (2, 1, 0):
        limit.spend("x", scope)
        assert scope["rate_limit"] == (
            (b"ratelimit-policy", b'"client";q=3;w=60'),
            (b"ratelimit", b'"client";r=%d;t=%d' % (left, 60 - 20 * left)),
        )
    with pytest.raises(TooManyRequests) as refused:
        limit.spend("x", scope)
    assert refused.value.extra == {"retry_after": 20}
    clock.now += 20
    limit.spend("x", scope)


def test_no_limit_tells_nothing() -> None:
    scope: dict[str, object] = {}
    for _ in range(10):
        RateLimit("client", 0).spend("x", scope)
    assert not scope


def test_only_so_many_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    _Clock(monkeypatch)
    limit = RateLimit("address", 1)
    for n in range(10_001):
        limit.spend(str(n), {})
    assert _passes(limit, 1_000_000)
    assert not _passes(limit, 10_000)
    assert _passes(limit, 0)  # forgotten since


def test_an_ipv6_customer_is_one_network() -> None:
    assert network({"client": ("2001:db8:1:2:3:4:5:6", 1)}) == "2001:db8:1:2::/64"
    assert network({"client": ("fe80::1%eth0", 1)}) == "fe80::/64"
    assert network({"client": ("192.0.2.7", 1)}) == "192.0.2.7"
    assert network({"client": ("::ffff:192.0.2.7", 1)}) == "192.0.2.7"
    assert network({"client": ("a:b", 1)}) == "a:b"
    assert network({"client": None}) == ""


def test_an_address_is_kept_in_one_form() -> None:
    assert address({"client": ("2001:DB8::7", 1)}) == "2001:db8::7"
    assert address({"client": ("::ffff:192.0.2.7", 1)}) == "192.0.2.7"
    assert address({"client": ("192.0.2.7", 1)}) == "192.0.2.7"
    assert address({"client": ("testclient", 1)}) == "testclient"
    assert address({"client": None}) is None


def test_who_guesses_waits_longer_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = _Clock(monkeypatch)
    guesses = Guesses(of_client=3, from_address=6)

    def tried(client: str, at: str) -> int:
        """Guess wrongly; return how long to wait before, if so."""
        try:
            guesses.check(client, at)
        except TooManyRequests as refused:
            return int(str(refused.extra["retry_after"]))
        guesses.failed(client, at)
        return 0

    assert [tried("a", "1") for _ in range(4)] == [0, 0, 0, 1]
    assert tried("a", "2") == 1  # from elsewhere too
    waits: list[int] = []
    for _ in range(9):
        waits.append(tried("a", f"{len(waits)}"))
        clock.now += waits[-1]
        assert tried("a", f"{len(waits)}") == 0
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert tried("b", "9") == 0  # somebody else's client is nobody's business
    clock.now += 600.1
    assert tried("a", "3") == 0

    assert [tried(f"{n}", "4") for n in range(7)] == [0] * 6 + [1]
    assert tried("c", "5") == 0


def test_one_client_that_is_wrong_for_hours_does_not_lock_out_its_neighbours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = _Clock(monkeypatch)
    guesses = Guesses(of_client=3, from_address=6)
    for _ in range(20):
        clock.now += 60
        guesses.check("wrong", "home")
        guesses.failed("wrong", "home")
    guesses.check("neighbour", "home")
    with pytest.raises(TooManyRequests):
        guesses.check("wrong", "home")


def test_looking_at_a_limit_counts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = _Clock(monkeypatch)
    limit = RateLimit("address", 1)
    for _ in range(3):
        limit.check("x")
    limit.spend("x", {})
    with pytest.raises(TooManyRequests) as refused:
        limit.check("x")
    assert refused.value.extra == {"retry_after": 60}
    clock.now += 60
    limit.check("x")
    RateLimit("address", 0).check("x")


def test_a_client_is_not_locked_out_where_it_has_signed_in(monkeypatch: pytest.MonkeyPatch) -> None:
    _Clock(monkeypatch)
    guesses = Guesses(of_client=1, from_address=1)
    guesses.succeeded("a", "home")
    guesses.failed("a", "elsewhere")
    guesses.failed("b", "home")
    guesses.check("a", "home")
    for client, at in (("a", "elsewhere"), ("b", "home"), ("a", "new"), ("c", "home")):
        with pytest.raises(TooManyRequests):
            guesses.check(client, at)


async def test_a_client_is_told_its_limit_and_stopped_at_it(
    world: World, shared_urls: DatabaseUrls, make_settings: MakeSettings
) -> None:
    settings = make_settings(shared_urls.app, client_requests_per_minute=3)
    busy, other = await world.regulator(), await world.manager()
    async with serving(settings) as (client, _):
        busy.http = other.http = client
        answers = [await busy.get("/v1/me") for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
        refusal = answers[3]
        problem(refusal, 429, "too-many-requests")
        assert refusal.headers["RateLimit-Policy"] == '"client";q=3;w=60'
        assert refusal.headers["RateLimit"].startswith('"client";r=0;t=')
        assert 1 <= int(refusal.headers["Retry-After"]) <= 20
        assert (await other.get("/v1/me")).status_code == 200
        assert "ratelimit" not in (await client.get("/health/live")).headers


async def test_who_is_nobody_is_counted_by_address(
    world: World, shared_urls: DatabaseUrls, make_settings: MakeSettings
) -> None:
    settings = make_settings(shared_urls.app, address_requests_per_minute=2)
    regulator = await world.regulator()
    async with serving(settings) as (client, _):
        answers = [
            await client.get("/v1/me", headers={"Authorization": "Bearer x"}) for _ in range(3)
        ]
        assert [answer.status_code for answer in answers] == [401, 401, 429]
        regulator.http = client
        assert (await regulator.get("/v1/me")).status_code == 200  # who is known goes on


async def test_guessing_a_secret_makes_wait_and_the_client_does_not(
    world: World, shared_urls: DatabaseUrls, make_settings: MakeSettings
) -> None:
    settings = make_settings(shared_urls.app, token_requests_per_minute=10_000)
    at_home, unknown = await world.regulator(), await world.pharmacist()

    def form(caller: Caller, secret: str | None = None) -> dict[str, str]:
        credentials = caller.secret
        return {
            "grant_type": "client_credentials",
            "client_id": str(credentials.client_id),
            "client_secret": secret or credentials.client_secret,
        }

    async with serving(settings) as (client, _):
        assert (await client.post("/oauth/token", data=form(at_home))).status_code == 200
        for caller in (at_home, unknown):
            wrong = [await client.post("/oauth/token", data=form(caller, "x")) for _ in range(20)]
            assert {answer.status_code for answer in wrong} == {401}
        for spelt in (str(unknown.secret.client_id), unknown.secret.client_id.urn):
            named = {**form(unknown), "client_id": spelt}
            waits = await client.post("/oauth/token", data=named)
            problem(waits, 429, "too-many-requests")
            assert waits.headers["Retry-After"] == "1"
        assert (await client.post("/oauth/token", data=form(at_home))).status_code == 200
