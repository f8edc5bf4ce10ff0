"""What every journey needs: who signs in, requests that know what to expect, and what was seen.

A request fails when its status is not among those that its step expects; the journey it belongs to
ends there. Figures are kept exactly (locust's own percentiles are rounded), shown while they come
in, and written to `--summary` in the end.
"""

import json
import logging
import sys
import time
import uuid
from argparse import ArgumentParser
from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import gevent
from locust import FastHttpUser, events
from locust.env import Environment

_DEMO = "var/demo/demo-clients.json"
_EVERY = 5.0
_EARLY = 0.8  # of a token's life: then the next one
_KEYED = frozenset({"POST"})


class Failed(Exception):
    """A step was not answered as expected; it is counted already."""


@dataclass(frozen=True)
class Answer:
    """A status and its JSON, if it has one."""

    status: int
    body: Any
    etag: str | None


# --- what was seen --------------------------------------------------------------------------------


class Record:
    """Times in milliseconds by name, failures, and whatever else a journey counts."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Begin anew."""
        self.times: dict[str, array[float]] = defaultdict(lambda: array("d"))
        self.failures: Counter[tuple[str, str]] = Counter()
        self.counts: Counter[str] = Counter()
        self.lags: array[float] = array("d")
        self.started = self._last = time.monotonic()
        self._cpu = time.process_time()

    def note(
        self,
        request_type: str,
        name: str,
        response_time: float,
        exception: object = None,
        **_: object,
    ) -> None:
        """Take in one answered request (locust's event `request`)."""
        line = f"{request_type} {name}"
        self._last = time.monotonic()
        self.times[line].append(response_time)
        if exception is not None:
            self.failures[line, str(exception)[:200]] += 1

    @property
    def seconds(self) -> float:
        """How long it took until the last answer."""
        return self._last - self.started

    def summary(self) -> dict[str, Any]:
        """Return the figures, ready for JSON."""
        seconds = self.seconds or 1.0
        everything: array[float] = array("d")
        for times in self.times.values():
            everything.extend(times)
        lines = [*sorted(self.times.items()), ("all", everything)]
        failed: Counter[str] = Counter()
        for (name, _), number in self.failures.items():
            failed[name] += number
        failed["all"] = self.failures.total()
        return {
            "seconds": round(seconds, 1),
            "locust_cpu_seconds": round(time.process_time() - self._cpu, 1),
            "requests": [
                {
                    "name": name,
                    "requests": len(times),
                    "failures": failed[name],
                    "rate": round(len(times) / seconds, 2),
                    **_shape(times),
                }
                for name, times in lines
            ],
            "failures": [
                {"name": name, "error": error, "times": number}
                for (name, error), number in self.failures.most_common()
            ],
            "counts": dict(sorted(self.counts.items())),
            "lag_ms": _shape(self.lags) if self.lags else None,
        }


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return a percentile of sorted values."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def _shape(times: "array[float]") -> dict[str, float]:
    ordered = sorted(times)
    return {
        name: round(percentile(ordered, share), 1)
        for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("max", 1.0))
    }


RECORD = Record()

# A journey may say where it is, in front of the line of progress.
WHERE: list[Callable[[], str]] = []


def _progress() -> None:
    before = 0
    while True:
        gevent.sleep(_EVERY)
        now = sum(len(times) for times in RECORD.times.values())
        booked = sorted(RECORD.times.get("POST /v1/bookings", ()))
        words = [
            *(where() for where in WHERE),
            f"{time.monotonic() - RECORD.started:.0f} s",
            f"{now} requests ({(now - before) / _EVERY:.0f}/s)",
            f"{RECORD.failures.total()} failures",
        ]
        if booked:
            words.append(f"{len(booked)} asked to book, p99 {percentile(booked, 0.99):.0f} ms")
        if RECORD.lags:
            words.append(f"lag p99 {percentile(sorted(RECORD.lags), 0.99) / 1000:.2f} s")
        print("  ".join(words), file=sys.stderr, flush=True)  # noqa: T201  this is the progress
        before = now


def _begin(environment: Environment, **_: object) -> None:
    RECORD.clear()
    gevent.spawn(_progress)
    if environment.parsed_options is not None and environment.parsed_options.summary:
        # Whoever asks for a summary prints it.
        logging.getLogger("locust.stats_logger").setLevel(logging.WARNING)


def _end(environment: Environment, **_: object) -> None:
    """Write the summary when the last user has stopped: `quitting` comes before that."""
    options = environment.parsed_options
    if options is None or not options.summary:
        return
    path = Path(options.summary)

    def write(**_: object) -> None:
        path.write_text(json.dumps(RECORD.summary()), encoding="utf-8")

    events.quit.add_listener(write)


def _options(parser: ArgumentParser, **_: object) -> None:
    parser.add_argument("--clients", default=_DEMO, help="JSON file of credentials.")
    parser.add_argument("--summary", default="", help="Write the figures to this JSON file.")
    parser.add_argument("--seed", type=int, default=1, help="Of everything that is drawn.")


events.init_command_line_parser.add_listener(_options)
events.request.add_listener(RECORD.note)
events.test_start.add_listener(_begin)
events.quitting.add_listener(_end)


# --- who signs in ---------------------------------------------------------------------------------


class Clients:
    """The credentials of a file in the shape of `demo-clients.json`."""

    def __init__(self, path: str) -> None:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        self.base_url: str = content["base_url"]
        self.all: list[dict[str, Any]] = content["clients"]
        self._turns: dict[tuple[str, ...], Iterator[dict[str, Any]]] = {}

    def of(self, *roles: str, territory: str | None = None) -> list[dict[str, Any]]:
        """Return those of some roles."""
        found = [
            client
            for client in self.all
            if client["role"] in roles and territory in {None, client["territory"]}
        ]
        if not found:
            raise SystemExit(f"The file of clients has none with a role of {', '.join(roles)}.")
        return found

    def next(self, *roles: str) -> dict[str, Any]:
        """Return one after the other, and again from the first."""
        return next(self._turns.setdefault(roles, cycle(self.of(*roles))))


_clients: dict[str, Clients] = {}
_tokens: dict[str, tuple[str, float]] = {}


def clients(environment: Environment) -> Clients:
    """Read the file of credentials, once."""
    options = environment.parsed_options
    path = _DEMO if options is None else options.clients
    if path not in _clients:
        _clients[path] = Clients(path)
    return _clients[path]


# --- requests -------------------------------------------------------------------------------------


class Person(FastHttpUser):
    """Somebody at a desk; many requests of theirs may be under way (`concurrency`)."""

    abstract = True
    network_timeout = 10.0
    connection_timeout = 10.0
    # Nobody compresses here; a proxy in front may.
    default_headers: dict[str, str] | None = None

    def ask(
        self,
        client: Mapping[str, Any],
        method: str,
        path: str,
        *,
        name: str | None = None,
        expected: Sequence[int] = (200,),
        query: Mapping[str, object] | None = None,
        body: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send a request in the name of a client; `Failed` if the status is not as expected.

        `name` is the template of the path: what figures are gathered by. What creates has a key.
        """
        asked = {key: value for key, value in (query or {}).items() if value is not None}
        sent = {"Authorization": f"Bearer {self._token(client)}", **(headers or {})}
        if method in _KEYED:
            sent["Idempotency-Key"] = uuid.uuid4().hex
        with self.client.request(
            method,
            f"{path}?{urlencode(asked, quote_via=quote)}" if asked else path,
            name=name or path,
            json=body,
            headers=sent,
            catch_response=True,
        ) as answer:
            if answer.status_code in expected:
                answer.success()
                return _read(answer)
            answer.failure(_why(answer))
        raise Failed(name or path)

    def _token(self, client: Mapping[str, Any]) -> str:
        """Return a token that is good for a while yet."""
        key = f"{self.host} {client['client_id']}"
        token, until = _tokens.get(key, ("", 0.0))
        if time.monotonic() < until:
            return token
        form = {
            "grant_type": "client_credentials",
            "client_id": client["client_id"],
            "client_secret": client["client_secret"],
            "scope": f"role:{client['role']}",
        }
        with self.client.request(
            "POST",
            "/oauth/token",
            data=urlencode(form),
            headers={"Content-Type": "application/x-www-form-urlencoded"},
            catch_response=True,
        ) as answer:
            if answer.status_code == 200:  # noqa: PLR2004  OK
                answer.success()
                found = answer.json()
                fresh = str(found["access_token"])
                _tokens[key] = fresh, time.monotonic() + _EARLY * found["expires_in"]
                return fresh
            answer.failure(f"{answer.status_code}")
        raise Failed("/oauth/token")


def _read(answer: Any) -> Answer:
    kind = answer.headers.get("content-type", "")
    body = answer.json() if "json" in kind and answer.content else None
    return Answer(answer.status_code, body, answer.headers.get("etag"))


def _why(answer: Any) -> str:
    """Name the refusal by its code: an answer may say more, a summary must not."""
    if not answer.status_code:
        error = getattr(answer.error, "original", None) or answer.error
        return f"no answer: {type(error).__name__}"
    try:
        found = answer.json()
        code = found.get("code") or found.get("error")
        pointers = [f"{e['pointer']} {e['code']}" for e in found.get("errors") or ()]
    except (ValueError, AttributeError, KeyError, TypeError):
        return f"{answer.status_code}"
    return " ".join([f"{answer.status_code} {code}", *pointers])
