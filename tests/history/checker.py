"""Compares what was answered with what the database holds; every violation is one sentence.

The rules are those of docs/integrators.md, "Trying again": what was acknowledged exists, once, with
its event; what was refused does not; what is unknown happened once or not at all, and exactly once
when a retry with the same key succeeded. Slots are rebuilt from their events (`timeline`).
"""

from collections import Counter, defaultdict
from collections.abc import Container, Iterator
from functools import cached_property
from typing import TypeVar

from tests.history.record import Call, History, Outcome
from tests.history.snapshot import BookingRow, EventRow, HoldRow, KeyRow, SlotRow, Snapshot
from tests.history.timeline import Moment, Timeline, rebuild, slots_of

T = TypeVar("T")

EVENT_OF = {
    "publish": "slot.published",
    "amend": "slot.amended",
    "withdraw": "slot.withdrawn",
    "hold": "hold.placed",
    "release": "hold.released",
    "book": "booking.created",
    "cancel": "booking.cancelled",
    "reschedule": "booking.rescheduled",
    "report": "booking.reported",
}
# Two clocks of one machine, read through a driver: what may lie between them.
SLACK = 0.25
_AGAIN_UNTOLD = {401, 403, 422, 429}  # these do not look the key up


def check(history: History, snapshot: Snapshot) -> list[str]:
    """Return what is wrong; nothing when every promise was kept."""
    facts = _Facts(history, snapshot)
    return [
        *_answers(facts),
        *_effects(facts),
        *_operations(facts),
        *_keys(facts),
        *_events(facts),
        *_bookings(facts),
        *_holds(facts),
        *_slots(facts),
        *_refusals(facts),
        *_readings(facts),
    ]


class _Facts:
    """History and rows, found by their ids."""

    def __init__(self, history: History, snapshot: Snapshot) -> None:
        self.history, self.snapshot = history, snapshot
        self.calls = {call.id: call for call in history.calls}
        self.slots = {row.id: row for row in snapshot.slots}
        self.bookings = {row.id: row for row in snapshot.bookings}
        self.holds = {row.id: row for row in snapshot.holds}
        self.events = sorted(snapshot.events, key=lambda e: (e.committed_at, e.occurred_at))
        self.caused = _grouped((e.correlation_id, e) for e in self.events)
        self.told_of = _grouped((e.subject_id, e) for e in self.events)
        self.operations = _grouped((c.operation, c) for c in history.calls)
        self.by_case = _grouped((b.case_id or "", b) for b in snapshot.bookings)

    def start(self, call: Call) -> float:
        """The earliest instant, by the database's clock, at which a call can have begun."""
        return call.started + self.history.clock - SLACK

    def end(self, call: Call) -> float:
        """The latest instant, by the database's clock, at which a call can have ended."""
        return call.ended + self.history.clock + SLACK

    @cached_property
    def timelines(self) -> dict[str, Timeline]:
        """Each slot, rebuilt."""
        events = _grouped((s, e) for e in self.events for s in slots_of(e))
        holds = _grouped((h.slot_id, h) for h in self.snapshot.holds)
        return {
            slot.id: rebuild(slot.id, events.get(slot.id, []), holds.get(slot.id, []), self.calls)
            for slot in self.snapshot.slots
        }


def _grouped(pairs: Iterator[tuple[str, T]]) -> dict[str, list[T]]:
    found: dict[str, list[T]] = defaultdict(list)
    for key, value in pairs:
        found[key].append(value)
    return dict(found)


def _thing(event: EventRow) -> str:
    """The id that the answer to the call names: the hold's, else the subject's."""
    return str(event.data.get("hold_id") or event.subject_id)


# --- calls ----------------------------------------------------------------------------------------


def _answers(facts: _Facts) -> Iterator[str]:
    """Whatever breaks, a caller gets an answer that says what to do."""
    for call in facts.history.calls:
        if call.status is not None and call.status >= 500 and call.status != 503:
            yield f"{_named(call)} was answered {call.status} {call.code}."
        if call.status == 503 and not call.retry_after:
            yield f"{_named(call)} was answered 503 without Retry-After."
        if call.lost == "timeout":
            yield f"{_named(call)} was never answered."


def _named(call: Call) -> str:
    about = ", ".join(
        f"{name} {call.asked[name]}"
        for name in ("slot_id", "booking_id", "hold_id", "case_id")
        if call.asked.get(name)
    )
    return f"Call {call.id} ({call.kind}{', ' + about if about else ''})"


def _effects(facts: _Facts) -> Iterator[str]:
    """Each call alone: done is written, refused is not."""
    for call in facts.history.calls:
        effects = facts.caused.get(call.id, [])
        yield from _at_most_its_own(call, effects)
        if call.outcome is Outcome.DONE and call.kind in EVENT_OF:
            yield from _done(facts, call, effects)
        elif call.outcome in {Outcome.REFUSED, Outcome.UNSENT}:
            yield from _not_done(facts, call, effects)


def _at_most_its_own(call: Call, effects: list[EventRow]) -> Iterator[str]:
    for event in effects:
        if event.type != EVENT_OF.get(call.kind):
            yield f"{_named(call)} has {event.type} {event.id}, which is not its own."
    if len(effects) > 1:
        yield f"{_named(call)} had {len(effects)} effects."


def _done(facts: _Facts, call: Call, effects: list[EventRow]) -> Iterator[str]:
    if call.replayed:
        if effects:
            yield f"{_named(call)} was answered as a replay, but had an effect of its own."
        return
    if not effects:
        if not _was_so(facts, call):
            yield f"{_named(call)} was acknowledged, and has no event."
        return
    event = effects[0]
    answered = call.answer.get("id")
    if answered and answered != _thing(event):
        yield f"{_named(call)} was answered {answered}; its event is about {_thing(event)}."
    if not facts.start(call) <= event.committed_at <= facts.end(call):
        yield (
            f"{_named(call)} lasted from {facts.start(call):.3f} to {facts.end(call):.3f};"
            f" its event was committed at {event.committed_at:.3f}."
        )
    moved_to = call.answer.get("slot_id") if call.kind in {"book", "reschedule"} else None
    if moved_to and not moved_to == call.asked["slot_id"] == event.data.get("slot_id"):
        yield f"{_named(call)} was put on slot {moved_to}."


def _was_so(facts: _Facts, call: Call) -> bool:
    """Withdrawing or reporting the same twice is no error: then the first one wrote the event."""
    if call.kind not in {"withdraw", "report"}:
        return False
    thing = call.asked["slot_id" if call.kind == "withdraw" else "booking_id"]
    return any(
        event.type == EVENT_OF[call.kind]
        and event.committed_at <= facts.end(call)
        and (call.kind == "withdraw" or event.data["state"] == call.asked["state"])
        for event in facts.events
        if _thing(event) == thing
    )


def _not_done(facts: _Facts, call: Call, effects: list[EventRow]) -> Iterator[str]:
    if effects:
        yield f"{_named(call)} was refused ({call.code}), but {effects[0].type} tells of it."
    case_id = call.asked.get("case_id")
    if call.kind == "book" and case_id in facts.by_case and _all_refused(facts, call):
        yield f"{_named(call)} was refused, but booking {facts.by_case[case_id][0].id} exists."


def _all_refused(facts: _Facts, call: Call) -> bool:
    tries = facts.operations[call.operation]
    return all(one.outcome in {Outcome.REFUSED, Outcome.UNSENT} for one in tries)


# --- operations: several tries of one thing -------------------------------------------------------


def _operations(facts: _Facts) -> Iterator[str]:
    """All tries with one key together: one effect at most, one exactly once one is done."""
    for operation, tries in facts.operations.items():
        yield from _booked_once(facts, tries)
        if tries[0].key is None:
            continue
        effects = [event for call in tries for event in facts.caused.get(call.id, [])]
        done = [call for call in tries if call.outcome is Outcome.DONE]
        if len(effects) > 1:
            things = " and ".join(_thing(event) for event in effects)
            yield f"Operation {operation} ({tries[0].kind}) had {len(effects)} effects: {things}."
        if done and not effects:
            yield f"Operation {operation} ({tries[0].kind}) was acknowledged without an effect."
        if len({call.answer.get("id") for call in done}) > 1:
            yield f"Operation {operation} ({tries[0].kind}) was answered with several ids."
        yield from _forgotten(facts, tries, effects)


def _forgotten(facts: _Facts, tries: list[Call], effects: list[EventRow]) -> Iterator[str]:
    for call in tries:
        if call.outcome is not Outcome.REFUSED or call.status in _AGAIN_UNTOLD:
            continue
        for event in effects:
            if event.committed_at < facts.start(call) and event.correlation_id != call.id:
                yield (
                    f"{_named(call)} was refused ({call.code}), though an earlier try with its key"
                    f" had made {_thing(event)}."
                )


def _booked_once(facts: _Facts, tries: list[Call]) -> Iterator[str]:
    if tries[0].kind != "book":
        return
    rows = facts.by_case.get(tries[0].asked["case_id"], [])
    if len(rows) > 1:
        yield (
            f"Case {tries[0].asked['case_id']} was booked {len(rows)} times: "
            + " and ".join(row.id for row in rows)
            + "."
        )
    for call in tries:
        answered = call.answer.get("id")
        if call.outcome is Outcome.DONE and answered not in {row.id for row in rows}:
            yield f"Booking {answered} of {_named(call)} was acknowledged and is lost."


def _keys(facts: _Facts) -> Iterator[str]:
    """A key is remembered with what it made, or not at all."""
    rows = {(k.client_id, k.method, k.path, k.key): k for k in facts.snapshot.keys}
    for operation, tries in facts.operations.items():
        first = tries[0]
        if first.key is None:
            continue
        row = rows.pop((first.client_id, first.method, first.path, first.key), None)
        yield from _key(facts, operation, tries, row)
    for row in rows.values():
        yield f"Key {row.key} of {row.method} {row.path} was never sent."


def _key(facts: _Facts, operation: str, tries: list[Call], row: KeyRow | None) -> Iterator[str]:
    things = {_thing(event) for call in tries for event in facts.caused.get(call.id, [])}
    if row is None:
        if things:
            yield f"Operation {operation} made {', '.join(sorted(things))} and left no key."
    elif set(row.ids) != things:
        told = ", ".join(sorted(things)) or "nothing"
        yield f"Key {row.key} stands for {', '.join(row.ids)}; its events tell of {told}."


# --- events and rows ------------------------------------------------------------------------------


def _events(facts: _Facts) -> Iterator[str]:
    """No event without its change, nor from nowhere."""
    subjects: dict[str, Container[str]] = {
        "slot": facts.slots,
        "hold": facts.slots,
        "booking": facts.bookings,
    }
    for event in facts.events:
        noun = event.type.partition(".")[0]
        if event.subject_id not in subjects[noun]:
            yield f"Event {event.type} {event.id} tells of {event.subject_id}, which is not there."
        elif noun == "hold" and event.data.get("hold_id") not in facts.holds:
            yield f"Event {event.type} {event.id} tells of a hold that does not exist."
        if event.type == "hold.expired":  # nobody asks for it: a worker tells
            hold = facts.holds.get(str(event.data.get("hold_id")))
            if hold and (hold.ended_by != event.xid or event.occurred_at < hold.expires_at):
                yield f"Event {event.type} {event.id} did not end hold {hold.id} in its time."
        elif event.correlation_id not in facts.calls:
            yield f"Event {event.type} {event.id} belongs to no call ({event.correlation_id})."


def _bookings(facts: _Facts) -> Iterator[str]:
    """Each booking: created once, then moved and ended as its events tell, in their order."""
    for booking in facts.snapshot.bookings:
        events = facts.told_of.get(booking.id, [])
        if [e.type for e in events].count("booking.created") != 1:
            yield f"Booking {booking.id} is there, and its creation is not told once."
            continue
        if booking.version != len(events):
            yield (
                f"Booking {booking.id} is at version {booking.version};"
                f" {len(events)} events tell of it."
            )
        yield from _chain(booking, events)


def _chain(booking: BookingRow, events: list[EventRow]) -> Iterator[str]:
    where, state = "", ""
    for event in events:
        before = event.data.get("from_slot_id", where)
        if before != where:
            yield f"Booking {booking.id} left slot {before} in {event.id}, and was on {where}."
        if state == "cancelled" or (state not in {"", "booked"} and event.type != _REPORTED):
            yield f"Booking {booking.id} was {state}, and then {event.type}."
        where, state = event.data["slot_id"], event.data["state"]
    if where != booking.slot_id:
        yield f"Booking {booking.id} is on slot {booking.slot_id}; its events left it on {where}."
    if state != booking.state:
        yield f"Booking {booking.id} is {booking.state}; its events left it {state}."


_REPORTED = "booking.reported"


def _holds(facts: _Facts) -> Iterator[str]:
    placed = {e.data.get("hold_id") for e in facts.events if e.type == "hold.placed"}
    for hold in facts.snapshot.holds:
        if hold.id not in placed:
            yield f"Hold {hold.id} on slot {hold.slot_id} is there, and no event tells of it."
    for event in facts.events:
        hold_of = facts.holds.get(str(event.data.get("hold_id")))
        if event.type == "hold.released" and hold_of and hold_of.ended_by != event.xid:
            yield f"Hold {hold_of.id} was told as given back, and is not."


def _slots(facts: _Facts) -> Iterator[str]:
    """Each slot rebuilt: right at every instant, and in the end what its row says."""
    seats = Counter(b.slot_id for b in facts.snapshot.bookings if b.state != "cancelled")
    for slot in facts.snapshot.slots:
        timeline = facts.timelines[slot.id]
        yield from timeline.violations
        if slot.booked != seats[slot.id]:
            yield f"Slot {slot.id} counts {slot.booked} seats booked; it has {seats[slot.id]}."
        if not timeline.moments:
            yield f"Slot {slot.id} is there, and no event tells of it."
            continue
        yield from _last(slot, timeline.moments[-1], facts.snapshot.taken_at)


def _last(slot: SlotRow, last: Moment, now: float) -> Iterator[str]:
    for name in ("booked", "capacity", "overbooking", "withdrawn", "version"):
        found, told = getattr(slot, name), getattr(last, name)
        if found != told:
            yield f"Slot {slot.id} has {name} {found}; its events tell {told}."
    found_holds = {hold for hold, until in slot.holds.items() if until > now}
    told_holds = {hold for hold, until in last.holds.items() if until > now}
    if found_holds != told_holds:
        yield (
            f"Slot {slot.id} has the live holds {sorted(found_holds)};"
            f" its events tell {sorted(told_holds)}."
        )


# --- refusals and readings ------------------------------------------------------------------------


def _refusals(facts: _Facts) -> Iterator[str]:
    """Nobody is sent away for a reason that did not hold at any instant of the call."""
    for call in facts.history.calls:
        timeline = facts.timelines.get(str(call.asked.get("slot_id")))
        if timeline is None or call.outcome is not Outcome.REFUSED:
            continue
        start, end = facts.start(call), facts.end(call)
        moments = list(timeline.during(start, end))
        if call.code in {"slot-held", "slot-taken"}:
            if not any(_full(m, max(start, m.at), call.code) for m in moments):
                yield f"{_named(call)} was refused ({call.code}) while a seat was free."
        elif call.code == "slot-withdrawn":
            if not any(m.withdrawn for m in moments):
                yield f"{_named(call)} was refused ({call.code}), and it was not withdrawn."
        elif call.code == "hold-expired":
            yield from _refused_hold(facts, call, moments)


def _full(moment: Moment, at: float, code: str) -> bool:
    held = moment.live(at) if code == "slot-held" else 0
    return moment.booked + held >= moment.capacity


def _refused_hold(facts: _Facts, call: Call, moments: list[Moment]) -> Iterator[str]:
    hold: HoldRow | None = facts.holds.get(str(call.asked.get("hold_id")))
    if hold is None or (hold.slot_id, hold.organization_id) != (
        call.asked["slot_id"],
        call.organization_id,
    ):
        return
    if hold.expires_at > facts.end(call) and all(hold.id in m.holds for m in moments):
        yield f"{_named(call)} was refused (hold-expired), though hold {hold.id} was alive."


def _readings(facts: _Facts) -> Iterator[str]:
    """What its doctor read of a slot was true at some instant of the call."""
    for call in facts.history.calls:
        if call.kind != "read" or call.outcome is not Outcome.DONE:
            continue
        timeline = facts.timelines.get(call.asked["slot_id"])
        moments = timeline.during(facts.start(call), facts.end(call)) if timeline else ()
        read = {name: call.answer.get(name) for name in ("version", "booked", "capacity")}
        # Who does not own the slot is not told how many are booked.
        seen = {name: value for name, value in read.items() if value is not None}
        if not any(all(getattr(m, n) == v for n, v in seen.items()) for m in moments):
            yield f"{_named(call)} read {seen}, which never was so."
