"""The desk of a regulation centre: one call from its opening to its closure."""

import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from load_tests.scenarios.common import RECORD, Answer, Person
from load_tests.scenarios.day import Call, Search

_TRIES = 8  # slots tried before the search is repeated without limits
_HOLD_SECONDS = 180
_LOST = (409,)
_PROTOCOL = "Protocole OSNP n° 1 (simulé)"

Slot = Mapping[str, Any]


class Desk:
    """Works on one call in the name of its client. `pause` lasts as long as people talk."""

    def __init__(
        self, person: Person, client: Mapping[str, Any], pause: Callable[[float], None]
    ) -> None:
        self._person, self._client, self._pause = person, client, pause
        self._tried: set[str] = set()

    def regulate(self, call: Call) -> None:
        """Open, take, call back, search, book or advise, close."""
        case = f"LOAD-{uuid.uuid4().hex[:16]}"
        opened = self._open(call, case)
        self._pause(call.wait)
        path = f"/v1/calls/{opened}"
        self._ask("PUT", f"{path}/assignment", name="/v1/calls/{id}/assignment")
        if not call.operator:
            self._post(
                f"{path}/callbacks",
                {"reached": call.outcome != "patient_unreachable"},
                name="/v1/calls/{id}/callbacks",
            )
        found: list[Slot] = []
        for search in call.searches:
            self._pause(search.after)
            found = self._search(search) or found
        if call.booked:
            self._book(call, found, opened, case)
        else:
            self._pause(call.talk)
            self._post(
                f"{path}/outcomes", {"outcome": call.outcome}, name="/v1/calls/{id}/outcomes"
            )
        self._pause(call.wrap_up)
        self._post(
            f"{path}/closure",
            {"otherwise": call.otherwise},
            name="/v1/calls/{id}/closure",
            expected=(200, 201),
        )
        RECORD.counts["calls closed"] += 1

    def _open(self, call: Call, case: str) -> str:
        body = {
            "line": "116117",
            "received_at": datetime.now(UTC).isoformat(),
            "territory": call.territory,
            "caller_type": "SUJET",
            "motive": call.motive,
            "priority": "NR" if call.operator else "P2",
            "care_level": "R3" if call.booked else "R4",
            "case_id": case,
            "callback_requested": not call.operator,
            "protocol": _PROTOCOL if call.operator else None,
        }
        opened: str = self._post("/v1/calls", body).body["id"]
        return opened

    def _search(self, search: Search, name: str = "/v1/slots") -> list[Slot]:
        query = {
            "commune": search.commune,
            "radius_km": search.radius_km,
            "mode": search.mode,
            "limit": 20,
        }
        return self._slots(query, name)

    def _slots(self, query: Mapping[str, object], name: str) -> list[Slot]:
        found = self._ask("GET", "/v1/slots", query=query, name=name).body["items"]
        return [slot for slot in found if not slot["walk_in"] and slot["remaining"] > 0]

    def _book(self, call: Call, found: list[Slot], opened: str, case: str) -> None:
        """Take the first slot that can be had; somebody else may be faster, again and again."""
        for slot in self._choices(call, found):
            hold = None
            if call.held:
                answer = self._post(
                    f"/v1/slots/{slot['id']}/holds",
                    {"seconds": _HOLD_SECONDS},
                    name="/v1/slots/{id}/holds",
                    expected=(201, *_LOST),
                )
                if self._lost(answer):
                    continue
                hold = answer.body["id"]
            self._pause(call.talk)
            answer = self._post(
                "/v1/bookings",
                {
                    "slot_id": slot["id"],
                    "hold_id": hold,
                    "call_id": opened,
                    "case_id": case,
                    "patient_file": _patient(call, case),
                    "reason": {"motive": call.motive, "text": "essai de charge"},
                },
                expected=(201, *_LOST),
            )
            if not self._lost(answer):
                RECORD.counts["bookings made"] += 1
                return
        RECORD.counts["bookings without a slot"] += 1
        self._person.environment.events.request.fire(
            request_type="STEP",
            name="find a free slot",
            response_time=0.0,
            response_length=0,
            exception=LookupError("no slot is left"),
            context={},
        )

    def _choices(self, call: Call, found: list[Slot]) -> Any:
        """What was found, then what there is at all; each slot once."""
        # Desks of one centre look at the same list: each begins at another line of it.
        start = call.number % len(found) if found else 0
        yield from self._untried([*found[start:], *found[:start]][:_TRIES])
        for radius in (None, 100):
            RECORD.counts["searches again"] += 1
            again = self._search(Search(0, call.commune, radius, "AMB"), "/v1/slots (again)")
            yield from self._untried(again)
        RECORD.counts["searches again"] += 1
        query = {"territory": call.territory, "limit": 100}
        yield from self._untried(self._slots(query, "/v1/slots (again)"))

    def _untried(self, found: list[Slot]) -> Any:
        for slot in found:
            if slot["id"] not in self._tried:
                self._tried.add(slot["id"])
                yield slot

    @staticmethod
    def _lost(answer: Answer) -> bool:
        if answer.status not in _LOST:
            return False
        RECORD.counts[f"race lost: {answer.body['code']}"] += 1
        return True

    def _post(self, path: str, body: object, **how: Any) -> Answer:
        return self._ask("POST", path, body=body, **{"expected": (201,), **how})

    def _ask(self, method: str, path: str, **how: Any) -> Answer:
        return self._person.ask(self._client, method, path, **how)


def _patient(call: Call, case: str) -> dict[str, object]:
    """Somebody new at each call."""
    return {
        "family_name": f"Charge {case}",
        "given_name": "Dominique",
        "birth_date": f"19{call.number % 80 + 20:02d}-01-01",
        "sex": "F",
        "phone": "+33600000000",
        "commune": call.commune,
    }
