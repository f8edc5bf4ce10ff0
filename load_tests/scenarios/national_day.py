"""A national day: 16 000 regulated calls, 64 000 searches, 6 000 bookings, replayed in 30 minutes.

    locust -f load_tests/scenarios/national_day.py -H URL --headless -u 1 --clients FILE

The day is drawn before it begins (`day.py`) and replayed at `--day-seconds`; the pauses within a
call shrink alike. The workload is open: a call begins when its hour has come, however many others
are under way, and what begins late is counted as lag. One user drives it; each call is a greenlet.
"""

import time
from argparse import ArgumentParser

import gevent
from gevent.pool import Group
from locust import constant, events

from load_tests.scenarios.common import RECORD, WHERE, Failed, Person, clients
from load_tests.scenarios.day import DAY, HOURS, Call, schedule
from load_tests.scenarios.desk import Desk

_LATE = 1.0
_DRAIN_SECONDS = 60


def _options(parser: ArgumentParser, **_: object) -> None:
    parser.add_argument("--day-seconds", type=float, default=1800.0, help="How long a day lasts.")
    parser.add_argument("--share", type=float, default=1.0, help="Of the day's calls, for a trial.")
    parser.add_argument("--from-hour", type=float, default=0.0, help="Begin the day there.")
    parser.add_argument("--to-hour", type=float, default=24.0, help="End it there.")
    parser.add_argument("--rhythm", choices=sorted(HOURS), default="weekday")


events.init_command_line_parser.add_listener(_options)


class NationalDay(Person):
    """All the regulation centres of the country."""

    wait_time = constant(0)
    fixed_count = 1
    concurrency = 256

    def on_start(self) -> None:
        """Draw the day, and sign everybody in."""
        options = self.environment.parsed_options
        self._teams = {
            (client["territory"], client["role"]): client
            for client in clients(self.environment).of("regulator", "osnp")
        }
        centres = {
            territory for territory, _ in self._teams if (territory, "osnp") in self._teams
        } & {territory for territory, role in self._teams if role == "regulator"}
        day = schedule(
            seed=options.seed, share=options.share, kind=options.rhythm, territories=sorted(centres)
        )
        self._begins, ends = 3600 * options.from_hour, 3600 * options.to_hour
        self._calls = [call for call in day if self._begins <= call.at < ends]
        RECORD.counts["calls planned"] = len(self._calls)
        RECORD.counts["searches planned"] = sum(len(call.searches) for call in self._calls)
        RECORD.counts["bookings planned"] = sum(call.booked for call in self._calls)
        self._factor = DAY / options.day_seconds
        for centre in sorted(centres):
            for role in ("regulator", "osnp"):
                self.ask(self._teams[centre, role], "GET", "/v1/me")

    def replay(self) -> None:
        """Begin each call when its hour has come; wait for the last; end the run."""
        under_way = Group()
        began = time.monotonic()
        WHERE[:] = [lambda: self._clock(began, len(under_way))]
        try:
            for call in self._calls:
                due = began + (call.at - self._begins) / self._factor
                gevent.sleep(max(0.0, due - time.monotonic()))
                _note_lag(due)
                under_way.spawn(self._regulate, call, due)
                RECORD.counts["calls begun"] += 1
            under_way.join(timeout=_DRAIN_SECONDS)
            RECORD.counts["calls never ended"] += len(under_way)
        finally:
            under_way.kill()
        runner = self.environment.runner
        gevent.spawn(runner.quit)
        gevent.sleep(_DRAIN_SECONDS)  # until it does

    tasks = [replay]  # noqa: RUF012  as locust wants it

    def _regulate(self, call: Call, due: float) -> None:
        """Work on one call; its pauses count from when each step was due, so lateness shows."""

        def pause(seconds: float) -> None:
            nonlocal due
            due += seconds / self._factor
            gevent.sleep(max(0.0, due - time.monotonic()))
            _note_lag(due)

        client = self._teams[call.territory, "osnp" if call.operator else "regulator"]
        try:
            Desk(self, client, pause).regulate(call)
        except Failed:
            RECORD.counts["calls broken off"] += 1

    def _clock(self, began: float, under_way: int) -> str:
        minutes = int((self._begins + (time.monotonic() - began) * self._factor) / 60)
        begun, planned = RECORD.counts["calls begun"], RECORD.counts["calls planned"]
        return (
            f"{minutes // 60:02d}:{minutes % 60:02d}  {begun}/{planned} calls"
            f" ({under_way} under way, {RECORD.counts['bookings made']} booked)"
        )


def _note_lag(due: float) -> None:
    late = max(0.0, time.monotonic() - due)
    RECORD.lags.append(1000 * late)
    if late > _LATE:
        RECORD.counts["steps more than a second late"] += 1
