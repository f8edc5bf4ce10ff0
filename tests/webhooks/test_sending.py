"""Signatures, waits and addresses: by the published vector, and by real connections."""

import base64
import socket
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import Any
from uuid import UUID

import httpcore
import pytest
from standardwebhooks import Webhook

from service.kernel.sending import SCHEDULE, Attempt, DeliveryFailure, answered
from service.webhooks.clients import AddressRefused, Guarded, sender
from service.webhooks.domain import DeliveryState, sending
from service.webhooks.domain.sending import (
    is_public,
    rest,
    settled,
    signed,
    url_faults,
)
from tests.webhooks.receivers import Answer, receiving

NOW = datetime(2026, 12, 1, tzinfo=UTC)
MESSAGE = UUID("0190a000-0000-7000-8000-000000000001")

# --- signatures -----------------------------------------------------------------------------------


def test_the_published_vector() -> None:
    content = b'msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330.{"test": 2432232314}'
    made = sending._signature("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", content)
    assert made == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_each_of_two_secrets_is_believed_and_no_third() -> None:
    keys = [sending.as_text(bytes([n]) * 32) for n in (1, 2, 3)]
    at = datetime.now(UTC)
    headers = signed(keys[:2], MESSAGE, at, b"{}")
    assert headers["webhook-id"] == str(MESSAGE)
    assert headers["webhook-timestamp"] == str(int(at.timestamp()))
    for key in keys[:2]:
        assert Webhook(key).verify(b"{}", headers) == {}
    with pytest.raises(Exception, match="No matching signature"):
        Webhook(keys[2]).verify(b"{}", headers)
    assert len(base64.b64decode(keys[0].removeprefix("whsec_"))) == 32


# --- what an answer means -------------------------------------------------------------------------


def test_two_hundreds_arrive_and_nothing_else_does() -> None:
    for status in range(200, 600):
        attempt = answered(status, "7", NOW)
        assert (attempt.failure is None) == (status < 300)
        assert (attempt.retry_after == 7.0) == (status in {429, 503})


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("120", 120.0),
        ("999999999", 3600.0),
        ("Tue, 01 Dec 2026 00:01:00 GMT", 60.0),
        ("Mon, 30 Nov 2026 00:00:00 GMT", 0.0),
        ("Tue, 01 Dec 9999 00:01:00 GMT", 3600.0),
        ("soon", None),
        ("-5", None),
        ("²", None),
        ("1e9", None),
        (None, None),
    ],
)
def test_how_long_a_receiver_asks_to_wait(said: str | None, seconds: float | None) -> None:
    assert answered(429, said, NOW).retry_after == seconds


def test_a_delivery_is_tried_for_about_three_days_then_given_up() -> None:
    failed = Attempt(500, DeliveryFailure.STATUS)
    waits = []
    for before in range(len(SCHEDULE) - 1):
        became = settled(failed, before, chance=0.0)
        assert became.state is DeliveryState.FAILED
        assert became.wait is not None
        later = settled(failed, before, chance=1.0).wait
        assert later == pytest.approx(became.wait * 1.2)
        waits.append(became.wait)
    assert timedelta(days=3) < timedelta(seconds=sum(waits)) < timedelta(days=3.3)
    assert settled(failed, len(SCHEDULE) - 1, 0.0).state is DeliveryState.ABANDONED
    assert settled(Attempt(204), 9, 0.0).state is DeliveryState.DELIVERED
    asked = settled(Attempt(429, DeliveryFailure.STATUS, 3600.0), 0, 0.0)
    assert asked.wait == 3600.0


def test_who_does_not_answer_is_left_alone_for_longer_and_longer_up_to_a_minute() -> None:
    silent = [Attempt(failure=DeliveryFailure.TIMEOUT)]
    assert rest([Attempt(500, DeliveryFailure.STATUS)], timedelta(days=1)) is None
    assert rest([], timedelta(0)) is None
    assert [rest(silent, timedelta(seconds=s)) for s in (0, 300, 9999)] == [5.0, 30.0, 60.0]
    assert rest([Attempt(503, DeliveryFailure.STATUS, 90.0)], timedelta(0)) == 90.0


# --- where to -------------------------------------------------------------------------------------

INTERNAL = [
    *("127.0.0.1", "127.9.9.9", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254"),
    *("0.1.2.3", "100.64.0.1", "192.0.0.8", "198.18.0.1", "224.0.0.1", "255.255.255.255"),
    *("240.0.0.1", "192.0.2.1", "::", "::1", "::7f00:1", "fe80::1", "fc00::1", "fd00::1"),
    *("ff02::1", "2001:db8::1", "fec0::1", "2001::1"),
    *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254"),
    *("64:ff9b::7f00:1", "64:ff9b::a00:1", "64:ff9b:1::808:808", "2002:7f00:1::", "2002:a00:1::1"),
]  # fmt: skip


@pytest.mark.parametrize("address", INTERNAL)
def test_an_internal_address_is_none_of_the_internet(address: str) -> None:
    assert not is_public(ip_address(address))


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "93.184.216.34", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_a_public_one_is(address: str) -> None:
    assert is_public(ip_address(address))


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("https://receiver.example.fr:8443/hooks?of=us", None),
        ("https://93.184.216.34/", None),
        ("http://receiver.example.fr/", "https-only"),
        ("ftp://receiver.example.fr/", "https-only"),
        ("https://user@receiver.example.fr/", "no-userinfo"),
        ("https://receiver.example.fr/#x", "no-fragment"),
        ("https://10.1.2.3/", "address-refused"),
        ("https://[::ffff:127.0.0.1]/", "address-refused"),
        ("https://[64:ff9b::7f00:1]/", "address-refused"),
        ("https://localhost/", "address-refused"),
        ("https://a.localhost./", "address-refused"),
        ("https://127.0.0.1./", "address-refused"),
        ("https:///hooks", "url-unreadable"),
        ("https://x:99999/", "url-unreadable"),
        ("https://x:0/", "url-unreadable"),
        ("https://[::1/", "url-unreadable"),
        ("https://x.fr\\@y.fr/", "url-unreadable"),
        ("https://x.fr/ a", "url-unreadable"),
        ("https://x.fr/\n", "url-unreadable"),
        ("https://é.fr/", "url-unreadable"),
        ("", "url-unreadable"),
    ],
)
def test_what_can_be_read_from_an_url(url: str, code: str | None) -> None:
    assert [fault.code for fault in url_faults(url, loopback=False)] == ([code] if code else [])


def test_only_where_it_is_set_may_it_be_this_machine_and_then_no_other_one() -> None:
    for url in ("http://127.0.0.1:1/", "http://[::1]:1/", "http://localhost:1/"):
        assert url_faults(url, loopback=False)
        assert not url_faults(url, loopback=True)
    assert url_faults("http://10.0.0.1/", loopback=True)
    assert url_faults("http://receiver.example.fr/", loopback=True)


@pytest.mark.parametrize(
    "host", ["localhost", "127.0.0.1", "2130706433", "0x7f.1", "127.1", "0177.0.0.1", "0"]
)
async def test_no_connection_is_made_to_this_machine_however_it_is_written(host: str) -> None:
    async with receiving() as receiver:
        port = int(receiver.url.split(":")[2].partition("/")[0])
        guard = Guarded(loopback=False)
        with pytest.raises(AddressRefused):
            await guard.connect_tcp(host, port, timeout=3)
        if host != "0":
            stream = await Guarded(loopback=True).connect_tcp(host, port, timeout=3)
            await stream.aclose()


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.1"],
        ["10.0.0.7"],
        ["93.184.216.34", "127.0.0.1"],
        ["::ffff:127.0.0.1"],
        ["64:ff9b::7f00:1"],
        ["169.254.169.254"],
    ],
)
async def test_a_name_that_stands_for_an_internal_address_is_refused(
    addresses: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through the whole client: were it not guarded, the connection would be made."""

    def resolved(_host: str, port: int, **_: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in addresses]

    async with receiving() as receiver, sender(loopback=False) as send:
        port = receiver.url.split(":")[2].partition("/")[0]
        monkeypatch.setattr(socket, "getaddrinfo", resolved)
        attempt = await send(f"https://receiver.example.fr:{port}/", {}, b"{}")
        monkeypatch.undo()
    assert attempt == Attempt(failure=DeliveryFailure.ADDRESS_REFUSED)
    assert receiver.received == []


async def test_the_client_sends_where_it_may_and_follows_nothing() -> None:
    async with receiving() as elsewhere, receiving() as receiver, sender(loopback=True) as send:
        assert await send(receiver.url, {"webhook-id": "1"}, b"{}") == Attempt(204)
        receiver.usual = Answer(302, f"location: {elsewhere.url}\r\n")
        assert await send(receiver.url, {}, b"{}") == Attempt(302, DeliveryFailure.STATUS)
        receiver.usual = Answer(200, body=b"x" * 1_000_000)
        assert await send(receiver.url, {}, b"{}") == Attempt(200)
        assert await send("http://127.0.0.1:1/", {}, b"{}") == Attempt(
            failure=DeliveryFailure.CONNECTION
        )
        assert await send("gopher://127.0.0.1:1/", {}, b"") == Attempt(
            failure=DeliveryFailure.URL_REFUSED
        )
        unknown = await send("https://nobody.invalid/", {}, b"{}")
        assert unknown == Attempt(failure=DeliveryFailure.UNRESOLVED)
    assert elsewhere.received == []


async def test_an_answer_that_drips_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.webhooks.clients.TOTAL_SECONDS", 0.3)
    async with receiving(usual=Answer(0)) as receiver, sender(loopback=True) as send:
        assert await send(receiver.url, {}, b"{}") == Attempt(failure=DeliveryFailure.TIMEOUT)
        assert len(receiver.received) == 1


async def test_no_socket_of_this_machine_is_a_receiver() -> None:
    backend: httpcore.AsyncNetworkBackend = Guarded(loopback=True)
    with pytest.raises(AddressRefused):
        await backend.connect_unix_socket("/run/x.sock")
