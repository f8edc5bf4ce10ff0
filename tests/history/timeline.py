"""A slot through time, rebuilt from events in the order of their commits.

Events do not carry everything: the capacity comes from the call that caused the event (found by its
correlation id), and which hold a booking used from the hold's row, ended by the same transaction.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from tests.history.record import Call
from tests.history.snapshot import EventRow, HoldRow


@dataclass(frozen=True, slots=True)
class Moment:
    """What a slot was like from one commit to the next."""

    at: float
    booked: int
    capacity: int
    overbooking: int
    withdrawn: bool
    version: int
    holds: Mapping[str, float]  # the end of each that was neither used nor ended

    def live(self, at: float) -> int:
        """Count the holds that are live at an instant."""
        return sum(until > at for until in self.holds.values())


@dataclass(slots=True)
class Timeline:
    """The moments of a slot, oldest first, and what was wrong on the way."""

    moments: list[Moment] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)

    def during(self, start: float, end: float) -> Iterator[Moment]:
        """Yield the moments that touch a stretch of time."""
        ends = [*(moment.at for moment in self.moments[1:]), float("inf")]
        for moment, until in zip(self.moments, ends, strict=True):
            if moment.at <= end and until >= start:
                yield moment


@dataclass(frozen=True, slots=True)
class _Transaction:
    at: float
    events: list[EventRow]
    ended: list[HoldRow]


class _Replay:
    """Applies the events of one slot one transaction after the other."""

    def __init__(self, slot_id: str, calls: Mapping[str, Call]) -> None:
        self.slot_id = slot_id
        self.calls = calls
        self.booked = self.version = self.capacity = self.overbooking = 0
        self.withdrawn = False
        self.starts_at = float("inf")
        self.holds: dict[str, float] = {}
        self.timeline = Timeline()
        self._apply = {
            "slot.published": self._published,
            "slot.amended": self._amended,
            "slot.withdrawn": self._withdrawn,
            "hold.placed": self._placed,
            "booking.created": self._booked,
            "booking.cancelled": self._left,
            "booking.rescheduled": self._moved,
        }

    def transaction(self, done: _Transaction) -> None:
        """Apply what one transaction did."""
        for event in done.events:
            apply = self._apply.get(event.type)
            if apply:
                apply(event, done.ended)
        for hold in done.ended:
            self.holds.pop(hold.id, None)
        self._end(done)

    def _end(self, done: _Transaction) -> None:
        if self.booked < 0:
            self._wrong(done.events[0], f"has {self.booked} seats booked")
        self.timeline.moments.append(
            Moment(
                done.at,
                self.booked,
                self.capacity,
                self.overbooking,
                self.withdrawn,
                self.version,
                dict(self.holds),
            )
        )

    def _wrong(self, event: EventRow, what: str) -> None:
        self.timeline.violations.append(
            f"Slot {self.slot_id} {what} after {event.type} {event.id} at {event.committed_at:.6f}."
        )

    def _asked(self, event: EventRow) -> Mapping[str, object]:
        call = self.calls.get(event.correlation_id)
        return call.asked if call else {}

    def _seats(self, event: EventRow) -> None:
        asked = self._asked(event)
        for name in ("capacity", "overbooking"):
            if (seats := asked.get(name)) is not None:
                setattr(self, name, seats)

    def _published(self, event: EventRow, _: Sequence[HoldRow]) -> None:
        self.capacity, self.version = 1, 1
        self.starts_at = _instant(event.data["starts_at"])
        self._seats(event)

    def _amended(self, event: EventRow, ended: Sequence[HoldRow]) -> None:
        self.version += 1
        self.starts_at = _instant(event.data["starts_at"])
        self._seats(event)
        left = [u for h, u in self.holds.items() if h not in {hold.id for hold in ended}]
        live = sum(until > event.occurred_at for until in left)
        if self.booked > self.capacity + self.overbooking:
            self._wrong(event, f"has {self.booked} seats booked of {self.capacity}")
        elif live and self.booked + live > self.capacity:
            self._wrong(event, f"has more holds ({live}) than seats left of {self.capacity}")

    def _withdrawn(self, event: EventRow, _: Sequence[HoldRow]) -> None:
        self.version += 1
        self.withdrawn = True
        if self.booked:
            self._wrong(event, f"is withdrawn with {self.booked} seats booked")

    def _others(self, event: EventRow, used: Sequence[HoldRow] = ()) -> int:
        own = {hold.id for hold in used}
        live = {h for h, until in self.holds.items() if until > event.occurred_at}
        return len(live - own)

    def _placed(self, event: EventRow, _: Sequence[HoldRow]) -> None:
        hold_id, held = str(event.data["hold_id"]), self._others(event)
        if self.withdrawn:
            self._wrong(event, f"is held ({hold_id}) though it was withdrawn")
        if self.booked + held + 1 > self.capacity:
            self._wrong(
                event,
                f"gave hold {hold_id} though {self.booked} seats were booked and {held} held"
                f" of {self.capacity}",
            )
        self.holds[hold_id] = _instant(event.data["expires_at"])

    def _booked(self, event: EventRow, ended: Sequence[HoldRow]) -> None:
        if event.occurred_at >= self.starts_at:
            self._wrong(event, "was booked when it had begun")
        self._take(event, ended)

    def _take(self, event: EventRow, ended: Sequence[HoldRow]) -> None:
        self.version += 1
        self._used_rightly(event, ended)
        most = self.capacity + self.overbooking
        beyond = bool(ended) or bool(self._asked(event).get("overbook"))
        limit = most if beyond else self.capacity
        others = self._others(event, ended)
        if self.withdrawn:
            self._wrong(event, f"is booked ({event.subject_id}) though it was withdrawn")
        if self.booked + 1 > limit:
            self._wrong(
                event, f"is above its capacity: booking {event.subject_id} is number"
                f" {self.booked + 1} of {limit}",
            )  # fmt: skip
        elif self.booked + others + 1 > limit:
            self._wrong(
                event, f"ignored a live hold: booking {event.subject_id} took a seat with"
                f" {self.booked} booked and {others} held of {limit}",
            )  # fmt: skip
        self.booked += 1

    def _used_rightly(self, event: EventRow, ended: Sequence[HoldRow]) -> None:
        asked = self._asked(event).get("hold_id")
        if asked and asked not in {hold.id for hold in ended}:
            self._wrong(event, f"gave booking {event.subject_id} a seat without its hold {asked}")
        for hold in ended:
            if hold.ended_at is not None and hold.ended_at >= hold.expires_at:
                self._wrong(event, f"let hold {hold.id} be used after it had expired")
            if hold.organization_id != event.organization_id:
                self._wrong(event, f"let hold {hold.id} be used by another organization")

    def _left(self, _: EventRow, __: Sequence[HoldRow]) -> None:
        self.version += 1
        self.booked -= 1

    def _moved(self, event: EventRow, ended: Sequence[HoldRow]) -> None:
        if event.data.get("from_slot_id") == self.slot_id:
            self._left(event, ended)
        if event.data.get("slot_id") == self.slot_id:
            self._take(event, ended)


def slots_of(event: EventRow) -> set[str]:
    """Return the slots that an event is about."""
    if not event.type.startswith("booking."):
        return {event.subject_id}
    if event.type == "booking.reported":
        return set()
    named = {event.data.get("slot_id"), event.data.get("from_slot_id")}
    return {slot_id for slot_id in named if slot_id}


def rebuild(
    slot_id: str,
    events: Sequence[EventRow],
    holds: Sequence[HoldRow],
    calls: Mapping[str, Call],
) -> Timeline:
    """Rebuild one slot from its events; `holds` are the rows of this slot."""
    replay = _Replay(slot_id, calls)
    for done in _transactions(events, holds):
        replay.transaction(done)
    return replay.timeline


def _instant(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _transactions(events: Sequence[EventRow], holds: Sequence[HoldRow]) -> list[_Transaction]:
    together: dict[str, _Transaction] = {}
    for event in events:
        at = event.committed_at
        together.setdefault(event.xid, _Transaction(at, [], [])).events.append(event)
    for hold in holds:
        if hold.ended_by in together:
            together[hold.ended_by].ended.append(hold)
    return sorted(together.values(), key=lambda done: done.at)
