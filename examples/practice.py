"""Practice software: publish a hidden slot, keep it up to date, see who is booked, report.

    make client        # or: pip install httpx, the only library it needs
    .venv-client/bin/python examples/practice.py var/demo/demo-clients.json

Everybody is invented; the slot is withdrawn in the end.
"""

import json
import os
import sys
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

TRIES = 5


class Broker:
    """The API, as one client of it sees it."""

    def __init__(self, clients: Path, role: str) -> None:
        known = json.loads(clients.read_text(encoding="utf-8"))
        self.me = next(client for client in known["clients"] if client["role"] == role)
        self.http = httpx.Client(base_url=known["base_url"], timeout=10)
        form = {
            "grant_type": "client_credentials",
            "client_id": self.me["client_id"],
            "client_secret": self.me["client_secret"],
        }
        answer = self.http.post("/oauth/token", data=form)
        answer.raise_for_status()
        self.http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    def ask(self, method: str, path: str, **request: Any) -> httpx.Response:
        """Send a request; wait and try again as long as the service says so."""
        headers = dict(request.pop("headers", {}))
        if method == "POST":
            headers.setdefault("Idempotency-Key", str(uuid.uuid4()))
        for _ in range(TRIES - 1):
            answer = self.http.request(method, path, headers=headers, **request)
            if answer.status_code not in {429, 503}:
                return answer
            time.sleep(float(answer.headers.get("Retry-After", 1)))
        return self.http.request(method, path, headers=headers, **request)

    def call(self, method: str, path: str, **request: Any) -> Any:
        """Send a request that has to succeed, and return its JSON."""
        answer = self.ask(method, path, **request)
        if answer.is_error:
            problem = answer.json()
            raise SystemExit(
                f"{answer.status_code} {problem.get('code')} (request {problem.get('request_id')})"
            )
        return answer.json() if answer.content else None

    def pages(self, path: str, **params: Any) -> Iterator[Any]:
        """Yield what a list holds, page after page."""
        cursor = None
        while True:
            page = self.call(
                "GET", path, params={**params, **({"cursor": cursor} if cursor else {})}
            )
            yield from page["items"]
            cursor = page["next_cursor"]
            if cursor is None:
                return


def publish(broker: Broker, practitioner_id: str) -> dict[str, Any]:
    """Publish one slot ten days ahead, at the first quarter of an hour that is free."""
    place = next(broker.pages("/v1/locations", practitioner=practitioner_id))
    day = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) + timedelta(days=10)
    for quarter in range(96):
        start = day + timedelta(minutes=15 * quarter)
        answer = broker.ask(
            "POST",
            "/v1/slots",
            json={
                "practitioner_id": practitioner_id,
                "location_id": place["id"],
                "starts_at": start.isoformat(),
                "ends_at": (start + timedelta(minutes=15)).isoformat(),
                "modes": ["AMB"],
                "visibility": ["SNP"],
                "external_id": f"agenda-{uuid.uuid4()}",
            },
        )
        if answer.status_code == 201:
            slot: dict[str, Any] = answer.json()
            return slot
        if answer.json()["code"] != "overlapping-slot":
            raise SystemExit(f"{answer.status_code} {answer.json()['code']}")
    raise SystemExit("no free quarter of an hour that day")


def main(clients: Path) -> None:
    """A day of a doctor's software."""
    broker = Broker(clients, "doctor")
    me = broker.call("GET", "/v1/me")
    doctor = me["practitioner_id"]

    slot = publish(broker, doctor)
    print(f"published: {slot['state']} {'+'.join(slot['visibility'])}, {slot['remaining']} free")
    for warning in slot["visibility_warnings"]:
        print(f"nobody may see it: {warning['detail']}")

    # Change it as it was read: If-Match names that version, else 428; a stale one is 412.
    path = f"/v1/slots/{slot['id']}"
    tag = broker.ask("GET", path).headers["ETag"]
    amended = broker.ask(
        "PATCH", path, json={"note": "Entrée par la cour"}, headers={"If-Match": tag}
    )
    print(f"amended: version {amended.json()['version']}")
    stale = broker.ask("PATCH", path, json={"note": None}, headers={"If-Match": tag})
    print(f"amended again as it was: {stale.status_code} {stale.json()['code']}")

    agenda = broker.pages(
        f"/v1/practitioners/{doctor}/slots",
        **{"from": slot["starts_at"], "to": slot["ends_at"]},
    )
    print(f"in the agenda: {', '.join(entry['state'] for entry in agenda)}")

    withdrawn = broker.ask("DELETE", path, headers={"If-Match": amended.headers["ETag"]})
    print(f"withdrawn: {withdrawn.status_code}")

    # What is booked and has begun asks for a report. Polling: ask for what changed since last time.
    now = datetime.now(UTC).isoformat()
    for booking in list(broker.pages("/v1/bookings", state="booked", to=now)):
        reported = broker.call(
            "PUT", f"/v1/bookings/{booking['id']}/report", json={"state": "fulfilled"}
        )
        print(f"reported: {reported['state']}")


if __name__ == "__main__":
    default = os.environ.get("SNP_DEMO_CLIENTS", "var/demo/demo-clients.json")
    main(Path(sys.argv[1] if len(sys.argv) > 1 else default))
