"""A herd on one slot: many rivals hold it, then book it, at the same instant. One wins, always.

    locust -f load_tests/scenarios/herd.py -H http://127.0.0.1:8000 --headless -u 1 -t 60

One user leads `--rivals` greenlets, each with a connection and a patient of its own. A round that
has not exactly one winner is a failure ("HERD one winner"). The winner gives the seat back.
"""

import time
import uuid
from argparse import ArgumentParser
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any

import gevent
from locust import constant, events
from locust.env import Environment

from load_tests.scenarios.common import RECORD, Answer, Failed, Person, clients

_WON, _LOST = 201, 409


def _options(parser: ArgumentParser, **_: object) -> None:
    parser.add_argument("--rivals", type=int, default=20, help="How many want the same slot.")


events.init_command_line_parser.add_listener(_options)


class Herd(Person):
    """The rivals."""

    wait_time = constant(0.2)
    fixed_count = 1

    def __init__(self, environment: Environment) -> None:
        options = environment.parsed_options
        self._rivals = 20 if options is None else options.rivals
        self.concurrency = self._rivals + 1
        super().__init__(environment)

    def on_start(self) -> None:
        """Gather regulators and operators of one centre."""
        known = clients(self.environment)
        self._leader = known.of("regulator")[0]
        self._team = known.of("regulator", "osnp", territory=self._leader["territory"])
        self._tried: set[str] = set()

    def race_once(self) -> None:
        """Find a free slot; all want to hold it, then all want to book it."""
        try:
            self._line_up()
            slot = self._free()
            if slot is None:
                return
            held = self._race("hold", lambda n: self._hold(n, slot))
            if held is None:
                return
            hold = held[1].body["id"]
            booked = self._race(
                "book", lambda n: self._book(n, slot, hold if n == held[0] else None)
            )
            if booked is not None:
                RECORD.counts["winners had the hold" if booked[0] == held[0] else "robbed"] += 1
                self._give_back(booked[0], booked[1].body["id"])
        except Failed:
            gevent.sleep(0.1)

    tasks = [race_once]  # noqa: RUF012  as locust wants it

    def _line_up(self) -> None:
        """Open the rivals' connections and sign them in before the race begins."""
        for client in self._team:
            self.ask(client, "GET", "/v1/me", name="/v1/me (line up)")
        gevent.joinall(
            [gevent.spawn(self._ready, number) for number in range(self._rivals)], raise_error=True
        )

    def _ready(self, number: int) -> None:
        self.ask(self._who(number), "GET", "/v1/me", name="/v1/me (line up)")

    def _who(self, number: int) -> Mapping[str, Any]:
        return self._team[number % len(self._team)]

    def _free(self) -> str | None:
        query = {"territory": self._leader["territory"], "limit": 200}
        items = self.ask(self._leader, "GET", "/v1/slots", query=query).body["items"]
        ids = (
            slot["id"]
            for slot in items
            if not slot["walk_in"] and slot["remaining"] == slot["capacity"] == 1
        )
        fresh = list(islice((i for i in ids if i not in self._tried), 1)) or [
            slot["id"] for slot in items[:1]
        ]
        if not fresh:
            RECORD.counts["no free slot"] += 1
            return None
        self._tried.add(fresh[0])
        return str(fresh[0])

    def _race(self, what: str, run: Callable[[int], Answer]) -> tuple[int, Answer] | None:
        started = time.perf_counter()
        rivals = [gevent.spawn(run, number) for number in range(self._rivals)]
        gevent.joinall(rivals)
        answers = [(n, rival.value) for n, rival in enumerate(rivals) if rival.value is not None]
        winners = [(n, answer) for n, answer in answers if answer.status == _WON]
        fault = None
        if len(winners) != 1 or len(answers) != len(rivals):
            fault = AssertionError(f"{len(winners)} winners, {len(answers)} answers")
        RECORD.counts[f"races to {what}"] += 1
        self.environment.events.request.fire(
            request_type="HERD",
            name=f"one winner ({what})",
            response_time=1000 * (time.perf_counter() - started),
            response_length=0,
            exception=fault,
            context={},
        )
        return winners[0] if winners else None

    def _hold(self, number: int, slot: str) -> Answer:
        return self.ask(
            self._who(number),
            "POST",
            f"/v1/slots/{slot}/holds",
            name="/v1/slots/{id}/holds",
            body={"seconds": 60},
            expected=(_WON, _LOST),
        )

    def _book(self, number: int, slot: str, hold: str | None) -> Answer:
        name = f"Rival {uuid.uuid4().hex}"
        return self.ask(
            self._who(number),
            "POST",
            "/v1/bookings",
            body={
                "slot_id": slot,
                "hold_id": hold,
                "patient_file": {
                    "family_name": name,
                    "given_name": "Dominique",
                    "birth_date": "1980-01-01",
                    "sex": "F",
                },
            },
            expected=(_WON, _LOST),
        )

    def _give_back(self, number: int, booking: str) -> None:
        self.ask(
            self._who(number),
            "POST",
            f"/v1/bookings/{booking}/cancellation",
            name="/v1/bookings/{id}/cancellation",
            body={"by": "patient"},
            expected=(200, 201),
        )
