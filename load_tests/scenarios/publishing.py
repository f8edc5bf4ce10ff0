"""Practice software that publishes in bulk: hundreds of slots in a request, then again.

    locust -f load_tests/scenarios/publishing.py -H http://127.0.0.1:8000 --headless -u 4 -t 60

Each user is the software of one practice (a client of role doctor or delegate). It publishes
`--batch` slots of the coming weeks, sends the same again (by `external_id`, as agendas do), reads
its agenda, changes a slot, withdraws another, asks who comes; then the weeks after.
"""

from argparse import ArgumentParser
from datetime import UTC, datetime, timedelta
from typing import Any

import gevent
from locust import constant, events

from load_tests.scenarios.common import RECORD, Failed, Person, clients

_FIRST_DAY, _LAST_DAY = 30, 330  # the service takes a year ahead
_A_DAY = 36  # slots of 20 minutes from 7 to 19 h UTC
_OPENS = 7


def _options(parser: ArgumentParser, **_: object) -> None:
    parser.add_argument("--batch", type=int, default=500, help="Slots in a request; 500 at most.")


events.init_command_line_parser.add_listener(_options)


class Practice(Person):
    """The software of one practice."""

    wait_time = constant(0)
    _practices = 0

    def on_start(self) -> None:
        """Find out for whom and where it publishes."""
        self._me = clients(self.environment).next("doctor", "delegate")
        self._batch = self.environment.parsed_options.batch
        self._day = _FIRST_DAY
        doctor = self._me["practitioner_id"]
        places = self.ask(self._me, "GET", "/v1/locations", query={"practitioner": doctor})
        self._place = places.body["items"][0]["id"]
        self._midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)

    def synchronise(self) -> None:
        """Publish the next weeks, then look after them."""
        slots = self._weeks()
        first, last = slots[0]["starts_at"], slots[-1]["ends_at"]
        try:
            self._publish(slots, "first")
            made = self._publish(slots, "again")
            doctor = self._me["practitioner_id"]
            self.ask(
                self._me,
                "GET",
                f"/v1/practitioners/{doctor}/slots",
                name="/v1/practitioners/{id}/slots",
                query={"from": first, "to": last, "limit": 200},
            )
            self._change(made[0])
            self._withdraw(made[-1])
            since = (datetime.now(UTC) - timedelta(minutes=15)).isoformat()
            self.ask(self._me, "GET", "/v1/bookings", query={"updated_since": since})
        except Failed:
            gevent.sleep(0.1)

    tasks = [synchronise]  # noqa: RUF012  as locust wants it

    def _weeks(self) -> list[dict[str, Any]]:
        days = -(-self._batch // _A_DAY)
        if self._day + days > _LAST_DAY:
            self._day = _FIRST_DAY
        start = self._midnight + timedelta(days=self._day, hours=_OPENS)
        self._day += days
        return [
            self._slot(start + timedelta(days=n // _A_DAY, minutes=20 * (n % _A_DAY)))
            for n in range(self._batch)
        ]

    def _slot(self, at: datetime) -> dict[str, Any]:
        return {
            "practitioner_id": self._me["practitioner_id"],
            "location_id": self._place,
            "starts_at": at.isoformat(),
            "ends_at": (at + timedelta(minutes=20)).isoformat(),
            "modes": ["AMB"],
            "visibility": ["SNP"],
            "external_id": f"load-{at:%Y%m%d-%H%M}",
        }

    def _publish(self, slots: list[dict[str, Any]], which: str) -> list[dict[str, Any]]:
        answer = self.ask(
            self._me,
            "POST",
            "/v1/slots",
            name=f"/v1/slots ({which})",
            body={"slots": slots},
            expected=(200, 201),
        )
        RECORD.counts[f"slots published {which}"] += len(slots)
        found: list[dict[str, Any]] = answer.body["slots"]
        return found

    def _change(self, slot: dict[str, Any]) -> None:
        self.ask(
            self._me,
            "PATCH",
            f"/v1/slots/{slot['id']}",
            name="/v1/slots/{id}",
            body={"note": "Entrée par la cour"},
            headers={"If-Match": f'"{slot["version"]}"'},
        )

    def _withdraw(self, slot: dict[str, Any]) -> None:
        self.ask(
            self._me,
            "DELETE",
            f"/v1/slots/{slot['id']}",
            name="/v1/slots/{id}",
            headers={"If-Match": f'"{slot["version"]}"'},
            expected=(200, 204),
        )
