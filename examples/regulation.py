"""Regulation software (LRM): one call, from opening to closing, with a booking on the way.

    make client        # or: pip install httpx, the only library it needs
    .venv-client/bin/python examples/regulation.py var/demo/demo-clients.json

Everybody is invented; the appointment is given back in the end.
"""

import json
import os
import random
import sys
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

PLACE = {"near": "46.81,1.69", "radius_km": 30}  # Châteauroux
TRIES = 5


class Broker:
    """The API, as one client of it sees it: signed in, and safe to try again."""

    def __init__(self, clients: Path, role: str) -> None:
        known = json.loads(clients.read_text(encoding="utf-8"))
        self.me = next(client for client in known["clients"] if client["role"] == role)
        self.http = httpx.Client(base_url=known["base_url"], timeout=10)
        self.sign_in()

    def sign_in(self) -> None:
        """Get a token for the next minutes, in the name of the person at the desk."""
        form = {
            "grant_type": "client_credentials",
            "client_id": self.me["client_id"],
            "client_secret": self.me["client_secret"],
            "scope": f"role:{self.me['role']}",
            "user_id": "desk-4",
            "user_family_name": "Martin",
            "user_given_name": "Claude",
        }
        answer = self.http.post("/oauth/token", data=form)
        answer.raise_for_status()
        self.http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    def ask(self, method: str, path: str, **request: Any) -> httpx.Response:
        """Send a request until it is answered. What creates keeps its key: one effect, always."""
        headers = dict(request.pop("headers", {}))
        if method == "POST":
            headers.setdefault("Idempotency-Key", str(uuid.uuid4()))
        for attempt in range(TRIES):
            try:
                answer = self.http.request(method, path, headers=headers, **request)
            except httpx.TransportError:
                if attempt == TRIES - 1 or method not in {"GET", "POST"}:
                    raise
                wait = 0.2 * 2**attempt
            else:
                if answer.status_code == 401 and attempt == 0:
                    self.sign_in()  # the token has ended, or the right was changed
                    continue
                if answer.status_code not in {429, 503} or attempt == TRIES - 1:
                    return answer
                wait = float(answer.headers.get("Retry-After", 1))
            time.sleep(wait * random.uniform(1, 1.3))
        raise AssertionError("unreachable")

    def call(self, method: str, path: str, **request: Any) -> Any:
        """Send a request that has to succeed, and return its JSON."""
        answer = self.ask(method, path, **request)
        if answer.is_error:
            raise SystemExit(explain(answer))
        return answer.json() if answer.content else None


def explain(answer: httpx.Response) -> str:
    """Say what went wrong, for a log: a code and an id, never what was sent."""
    problem = answer.json()
    return f"{answer.status_code} {problem.get('code')} (request {problem.get('request_id')})"


def book_first_free(broker: Broker, call: dict[str, Any], slots: list[dict[str, Any]]) -> Any:
    """Hold a seat, then book it; go on to the next slot when somebody else was faster."""
    for slot in slots:
        if slot["walk_in"]:
            continue  # patients just turn up there
        held = broker.ask("POST", f"/v1/slots/{slot['id']}/holds", json={"seconds": 180})
        if held.status_code in {404, 409}:
            print(f"not this one: {held.json()['code']}")
            continue
        print(f"held until {held.json()['expires_at']}")
        # The caller says yes to time and place, and spells the name: time for the patient file.
        booked = broker.ask(
            "POST",
            "/v1/bookings",
            json={
                "slot_id": slot["id"],
                "hold_id": held.json()["id"],
                "call_id": call["id"],
                "case_id": call["case_id"],
                "patient_file": {
                    "family_name": f"Exemple {call['case_id']}",
                    "given_name": "Dominique",
                    "birth_date": "1980-01-01",
                    "sex": "F",
                    "phone": "+33600000000",
                    "commune": "36044",
                },
                "reason": {"motive": call["motive"], "text": "fièvre depuis 2 jours"},
            },
        )
        if booked.status_code == 201:
            return booked.json()
        print(f"not booked: {booked.json()['code']}")
        if booked.status_code not in {404, 409}:
            raise SystemExit(explain(booked))
    raise SystemExit("nothing fits: widen the search (next_radius_km, a later `to`)")


def main(clients: Path) -> None:
    """Regulate one call."""
    broker = Broker(clients, "regulator")
    case_id = f"LRM-{uuid.uuid4().hex[:12]}"

    call = broker.call(
        "POST",
        "/v1/calls",
        json={
            "line": "116117",
            "received_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "caller_type": "SUJET",
            "motive": "M03.14",
            "priority": "P2",
            "care_level": "R3",
            "case_id": case_id,
            "callback_requested": True,
        },
    )
    print(f"call opened: {call['state']}")

    broker.call("PUT", f"/v1/calls/{call['id']}/assignment")
    broker.call("POST", f"/v1/calls/{call['id']}/callbacks", json={"reached": True})
    found = broker.call("GET", "/v1/slots", params={**PLACE, "mode": "AMB", "sort": "distance"})
    print(f"free slots near Châteauroux: {len(found['items'])}")

    booking = book_first_free(broker, call, found["items"])
    print(f"booked: {booking['state']} at {booking['slot']['starts_at']}")

    broker.call("POST", f"/v1/calls/{call['id']}/outcomes", json={"outcome": "medical_advice"})
    closed = broker.call(
        "POST", f"/v1/calls/{call['id']}/closure", json={"otherwise": "emergency_department"}
    )
    outcomes = ", ".join(sorted(outcome["outcome"] for outcome in closed["outcomes"]))
    print(f"call {closed['state']}: {outcomes}")

    # Later the patient rings again: the booking is found by the software's own case id.
    mine = broker.call("GET", "/v1/bookings", params={"case_id": case_id})["items"][0]
    cancelled = broker.call(
        "POST", f"/v1/bookings/{mine['id']}/cancellation", json={"by": "patient"}
    )
    print(f"booking {cancelled['state']} by the {cancelled['cancellation']['by']}")


if __name__ == "__main__":
    default = os.environ.get("SNP_DEMO_CLIENTS", "var/demo/demo-clients.json")
    main(Path(sys.argv[1] if len(sys.argv) > 1 else default))
