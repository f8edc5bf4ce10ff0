"""Dashboards reading: every kind of figure, of a month, a quarter or a year, as JSON or CSV.

    locust -f load_tests/scenarios/dashboards.py -H http://127.0.0.1:8000 --headless -u 4 -t 60

`--year` is the year that holds the rows: 2022 in the demo, and where `make load` fills the stack.
"""

from argparse import ArgumentParser
from collections.abc import Mapping
from datetime import date
from random import Random

import gevent
from locust import constant, events

from load_tests.scenarios.common import Failed, Person, clients

# What each figure can be cut by (docs/integrators.md).
FIGURES: Mapping[str, tuple[str | None, ...]] = {
    "call-outcomes": (None, "month", "cpts"),
    "callbacks": (None, "month", "hour", "priority"),
    "slot-usage": (None, "month", "cpts", "label", "hour"),
    "appointments": (None, "month", "cpts", "hour"),
    "referrals": (None, "month", "role"),
    "cpts-indicators": (None, "month", "cpts"),
    "unmet-needs": (None,),
}
_MONTHS = (1, 3, 12)
_CSV = 0.2
_DECEMBER = 12


def _options(parser: ArgumentParser, **_: object) -> None:
    parser.add_argument("--year", type=int, default=2022, help="The year of the rows.")
    parser.add_argument("--pause", type=float, default=0.0, help="Seconds between two looks.")


events.init_command_line_parser.add_listener(_options)


class Dashboard(Person):
    """Somebody who reads figures."""

    wait_time = constant(0)
    _dashboards = 0

    def on_start(self) -> None:
        """Sign in as somebody who may."""
        Dashboard._dashboards += 1
        options = self.environment.parsed_options
        self._me = clients(self.environment).next("manager", "regulator")
        self._random = Random(f"{options.seed}/{Dashboard._dashboards}")
        self._year, self._pause = options.year, options.pause

    def look(self) -> None:
        """Read one figure."""
        figure = self._random.choice(tuple(FIGURES))
        months = self._random.choice(_MONTHS)
        first = self._random.randrange(0, _DECEMBER - months + 1)
        query = {
            "territory": self._me["territory"],
            "from": date(self._year, first + 1, 1).isoformat(),
            "to": _start(self._year, first + months).isoformat(),
            "group_by": self._random.choice(FIGURES[figure]),
        }
        csv = self._random.random() < _CSV
        path = f"/v1/analytics/{figure}"
        try:
            self.ask(
                self._me,
                "GET",
                path,
                name=f"{path} ({months} months{', csv' if csv else ''})",
                query=query,
                headers={"Accept": "text/csv"} if csv else None,
            )
        except Failed:
            gevent.sleep(0.1)
        gevent.sleep(self._pause)

    tasks = [look]  # noqa: RUF012  as locust wants it


def _start(year: int, month: int) -> date:
    return date(year + month // _DECEMBER, month % _DECEMBER + 1, 1)
