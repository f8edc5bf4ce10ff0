"""A regulation morning: desks that open, take, search, hold, book and close, call after call.

    locust -f load_tests/scenarios/morning.py -H http://127.0.0.1:8000 --headless -u 8 -t 60

Each user is a desk, busy without a break (closed workload). `--talk 1` makes people talk as long
as they do; the default is no time at all.
"""

from argparse import ArgumentParser

import gevent
from locust import constant, events

from load_tests.scenarios.common import Failed, Person, clients
from load_tests.scenarios.day import Call, places, schedule
from load_tests.scenarios.desk import Desk

_BOOKED = 3 / 4  # more than in a day: it is about bookings


def _options(parser: ArgumentParser, **_: object) -> None:
    parser.add_argument("--talk", type=float, default=0.0, help="Share of the time people talk.")


events.init_command_line_parser.add_listener(_options)


class Morning(Person):
    """One desk."""

    wait_time = constant(0)
    _desks = 0

    def on_start(self) -> None:
        """Sit down: the client and the calls of this desk."""
        Morning._desks += 1
        places()  # read them now, not while somebody is on the line
        options = self.environment.parsed_options
        self._talk = options.talk
        self._known = clients(self.environment)
        staffed = {client["territory"] for client in self._known.of("osnp")}
        centres = [c for c in self._known.of("regulator") if c["territory"] in staffed]
        if not centres:
            raise SystemExit("The file of clients has no regulator and osnp of one territory.")
        self._me = centres[Morning._desks % len(centres)]
        self._calls: list[Call] = []
        self._seed = 1_000_000 * options.seed + 1_000 * Morning._desks

    def _next(self) -> Call:
        if not self._calls:
            self._seed += 1
            day = schedule(seed=self._seed, share=0.01, territories=[self._me["territory"]])
            booked = [call for call in day if call.booked]
            others = [call for call in day if not call.booked]
            self._calls = [*booked, *others[: round(len(booked) * (1 - _BOOKED) / _BOOKED)]]
            self._calls.sort(key=lambda call: call.number)
        return self._calls.pop()

    def call(self) -> None:
        """Regulate one call."""
        call = self._next()
        role = "osnp" if call.operator else "regulator"
        team = self._known.of(role, territory=self._me["territory"])
        try:
            Desk(self, team[call.number % len(team)], self._pause).regulate(call)
        except Failed:
            gevent.sleep(0.1)

    def _pause(self, seconds: float) -> None:
        gevent.sleep(seconds * self._talk)

    tasks = [call]  # noqa: RUF012  as locust wants it
