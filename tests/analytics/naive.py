"""The same figures computed the slow way, from rows: nothing is shared with the service."""

from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

from tests.analytics.support import rounded

Row = dict[str, Any]
_HOUR = timedelta(hours=1)


def during(rows: Iterable[Row], instant: str, from_: date, to: date, zone: str) -> list[Row]:
    """The rows between two local midnights."""
    start, end = (datetime(d.year, d.month, d.day, tzinfo=ZoneInfo(zone)) for d in (from_, to))
    return [row for row in rows if start <= row[instant] < end]


def delays(found: Sequence[timedelta], unit: timedelta) -> Row:
    """Mean, median and 90th percentile in one unit, to one decimal."""
    exact = sorted(Fraction(d // timedelta(microseconds=1)) for d in found)
    one = unit // timedelta(microseconds=1)

    def at(place: Fraction) -> float:
        below = int(place)
        above = min(below + 1, len(exact) - 1)
        between = exact[below] + (exact[above] - exact[below]) * (place - below)
        return rounded(Fraction(round(between), one), 1)

    if not exact:
        return {"mean": None, "median": None, "p90": None}
    last = len(exact) - 1
    return {
        "mean": rounded(sum(exact, Fraction(0)) / len(exact) / one, 1),
        "median": at(Fraction(1, 2) * last),
        "p90": at(Fraction(9, 10) * last),
    }


def slot_usage(slots: Iterable[Row], now: datetime) -> Row:
    """Seats, one after the other; a slot carries its own `bookings`, if it has any."""
    names = ("published", "booked", "withdrawn", "replaced", "expired", "open", "overbooked")
    parts = ("released", "released_and_booked", "given_back")
    found = dict.fromkeys((*names, "walk_in", *parts), 0)
    slots = list(slots)
    live: dict[Any, list[Row]] = {}
    for slot in slots:
        if not slot["withdrawn_at"] and not slot.get("walk_in"):
            live.setdefault(slot["practitioner_id"], []).append(slot)
    for slot in slots:
        if slot.get("walk_in"):
            found["walk_in"] += 0 if slot["withdrawn_at"] else slot["capacity"]
            continue
        found["overbooked"] += max(0, slot["booked"] - slot["capacity"])
        _release(slot, now, found)
        for seat in range(slot["capacity"]):
            found["published"] += 1
            if slot["withdrawn_at"]:
                found["withdrawn"] += 1
                found["replaced"] += slot["practitioner_id"] is not None and any(
                    other["starts_at"] < slot["ends_at"] and slot["starts_at"] < other["ends_at"]
                    for other in live.get(slot["practitioner_id"], ())
                )
            elif seat < slot["booked"]:
                found["booked"] += 1
            else:
                found["expired" if slot["starts_at"] <= now else "open"] += 1
    return found


def _release(slot: Row, now: datetime, found: Row) -> None:
    """Who sat where when the slot was opened to more, and who came afterwards."""
    steps = [slot.get(f"{label}_from") for label in ("pro", "cpts", "public")]
    gone, back = slot["withdrawn_at"], slot.get("given_back_from")
    found["given_back"] += slot["capacity"] if gone and back and back <= gone else 0
    opened = min((at for at in steps if at), default=None)
    if opened is None or not slot["created_at"] <= opened <= now or (gone and gone <= opened):
        return
    there = [b for b in slot["bookings"] if b["created_at"] < opened]
    sitting = [b for b in there if not b["cancelled_at"] or opened <= b["cancelled_at"]]
    later = [b for b in slot["bookings"] if b not in there and b["state"] != "cancelled"]
    free = max(0, slot["capacity"] - len(sitting))
    found["released"] += free
    found["released_and_booked"] += min(free, len(later))


def appointments(bookings: Sequence[Row], now: datetime) -> Row:
    """Appointments by their state."""
    states = [booking["state"] for booking in bookings]
    past = [b["starts_at"] <= now for b in bookings if b["state"] == "booked"]
    waited = [b["starts_at"] - b["created_at"] for b in bookings if b["state"] != "cancelled"]
    reported = [b for b in bookings if b["state"] in {"fulfilled", "noshow"}]
    return {
        "booked": len(states),
        "fulfilled": states.count("fulfilled"),
        "missed": states.count("noshow"),
        "cancelled": states.count("cancelled"),
        "cancelled_by": {
            who: sum(1 for b in bookings if b["cancelled_by"] == who)
            for who in ("patient", "requester", "doctor", "system")
        },
        "unreported": past.count(True),
        "upcoming": past.count(False),
        "sent_to_emergency": sum(1 for b in reported if b["sent_to_emergency"]),
        "within_24_hours": sum(1 for delay in waited if delay <= 24 * _HOUR),
        "within_48_hours": sum(1 for delay in waited if delay <= 48 * _HOUR),
        "delay_hours": delays(waited, _HOUR),
    }


def referrals(bookings: Sequence[Row], _: datetime) -> Row:
    """Bookings by who asked."""
    pairs = {(b["role"], b["organization_type"]) for b in bookings}
    requesters = [
        {
            "role": role,
            "organization_type": type_,
            **_asked([b for b in bookings if (b["role"], b["organization_type"]) == (role, type_)]),
        }
        for role, type_ in pairs
    ]
    requesters.sort(key=lambda r: (-r["booked"], r["role"], r["organization_type"]))
    return {**_asked(bookings), "requesters": requesters}


def _asked(bookings: Sequence[Row]) -> Row:
    states = [booking["state"] for booking in bookings]
    return {
        "booked": len(states),
        "fulfilled": states.count("fulfilled"),
        "missed": states.count("noshow"),
        "cancelled": states.count("cancelled"),
        "pending": states.count("booked"),
    }


def callbacks(calls: Iterable[Row], _: datetime) -> Row:
    """Call-backs."""
    real = [call for call in calls if call["state"] != "void"]
    requested = [call for call in real if call["callback_requested_at"]]
    attempted = [call for call in requested if call["first_attempt_at"]]
    waited = [call["first_attempt_at"] - call["callback_requested_at"] for call in attempted]
    return {
        "calls": len(real),
        "requested": len(requested),
        "attempted": len(attempted),
        "reached": sum(1 for call in requested if call["called_back_at"]),
        "within_60_minutes": sum(1 for delay in waited if delay <= _HOUR),
        "delay_minutes": delays(waited, timedelta(minutes=1)),
    }


def doctors(slots: Iterable[Row], bookings: Iterable[Row], physicians: set[Any]) -> Row:
    """Different physicians who took part."""
    hidden = [slot for slot in slots if {"SNP", "PRO", "CPTS"} & set(slot["visibility"])]
    kept = [slot for slot in hidden if not slot["withdrawn_at"]]
    standing = [b for b in bookings if b["cancelled_by"] not in {"doctor", "system"}]
    return {
        name: len({row["practitioner_id"] for row in rows} & physicians)
        for name, rows in (("publishing", hidden), ("offering", kept), ("booked", standing))
    }


def requests(calls: Iterable[Row], bookings: Iterable[Row]) -> Row:
    """Calls, and what became of their appointments."""
    names = ("calls", "oriented", "with_appointment", "honoured", "pending", "missed", "given_up")
    found = dict.fromkeys((*names, "within_24_hours", "within_48_hours"), 0)
    of_call: dict[Any, list[Row]] = {}
    for booking in bookings:
        if booking["cancelled_by"] not in {"doctor", "system"}:
            of_call.setdefault(booking["call_id"], []).append(booking)
    for call in calls:
        if call["state"] == "void":
            continue
        found["calls"] += 1
        found["oriented"] += bool(call["outcome_mask"] & 2)
        if own := of_call.get(call["id"]):
            states = {booking["state"] for booking in own}
            order = ("fulfilled", "booked", "noshow", "cancelled")
            result = next(state for state in order if state in states)
            found["with_appointment"] += 1
            found[dict(zip(order, names[3:], strict=True))[result]] += 1
            delay = min(booking["starts_at"] for booking in own) - call["received_at"]
            found["within_24_hours"] += delay <= 24 * _HOUR
            found["within_48_hours"] += delay <= 48 * _HOUR
    return found


def without_rates(answer: Any) -> Any:
    """Check every rate of an answer against the members that it names; return it without."""
    if isinstance(answer, list):
        return [without_rates(item) for item in answer]
    if not isinstance(answer, dict):
        return answer
    for rate in answer.get("rates", {}).values():
        above, below = (_evaluate(rate[name], answer) for name in ("numerator", "denominator"))
        assert rate["value"] == _quotient(above, below), (rate, answer)
    return {name: without_rates(value) for name, value in answer.items() if name != "rates"}


def _evaluate(expression: str, members: Row) -> int:
    """Add up the members that an expression names."""
    total = 0
    for term in expression.replace("- ", "-").replace("+ ", "+").split():
        total += (-1 if term[0] == "-" else 1) * int(members[term.strip("+-")])
    return total


def _quotient(above: int, below: int) -> float | None:
    if below == 0:
        return None
    return float((Decimal(above) / below).quantize(Decimal("0.0001"), ROUND_HALF_UP))


def additive(answer: Row) -> Row:
    """Every count of an answer by its path: what adds up over groups that do not overlap."""
    return dict(_leaves({n: v for n, v in answer.items() if n not in {"groups", "rates"}}))


def _leaves(value: Any, path: str = "") -> Iterable[tuple[str, int]]:
    if isinstance(value, bool):
        return
    if isinstance(value, int):
        yield path, value
    elif isinstance(value, dict):
        for name, member in value.items():
            if name not in {"rates", "delay_hours", "delay_minutes"}:
                yield from _leaves(member, f"{path}.{name}")
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item, f"{path}.{item['role']}.{item['organization_type']}")


def added(answers: Iterable[Row]) -> Row:
    """Add up the counts of answers."""
    total: Row = {}
    for answer in answers:
        for path, n in additive(answer).items():
            total[path] = total.get(path, 0) + n
    return total


Counter = Callable[[Sequence[Row], datetime], Row]
