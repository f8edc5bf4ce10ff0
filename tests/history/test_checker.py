"""The checker sees each fault that is planted, and none where there is none."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.history.checker import check
from tests.history.record import Call, History, load
from tests.history.snapshot import (
    BookingRow,
    EventRow,
    HoldRow,
    KeyRow,
    SlotRow,
    Snapshot,
)

pytestmark = pytest.mark.xdist_group("history")

DESK, PHARMACY, DOCTOR = "desk", "pharmacy", "doctor"
START = 10_000.0  # of the appointments


def _text(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat()


@dataclass
class Story:
    """What happened, told call by call; keeps the rows that an honest service would have."""

    now: float = 1000.0
    calls: list[Call] = field(default_factory=list)
    slots: dict[str, SlotRow] = field(default_factory=dict)
    bookings: dict[str, BookingRow] = field(default_factory=dict)
    holds: dict[str, HoldRow] = field(default_factory=dict)
    events: list[EventRow] = field(default_factory=list)
    keys: list[KeyRow] = field(default_factory=list)

    def call(self, kind: str, who: str, asked: dict[str, Any], **more: Any) -> Call:
        """Call for a second, ten seconds after the call before; keep call and time."""
        number = len(self.calls) + 1
        values: dict[str, Any] = {
            "id": f"call-{number}",
            "operation": f"operation-{number}",
            "kind": kind,
            "actor": who,
            "organization_id": who,
            "client_id": who,
            "method": "POST",
            "path": f"/{kind}",
            "started": self.now,
            "ended": self.now + 1,
            "asked": asked,
            **more,
        }
        call = Call(**values)
        self.calls.append(call)
        self.now += 10
        return call

    def event(self, call: Call, type_: str, subject: str, **data: Any) -> EventRow:
        """Write the event of a call, committed in its middle."""
        number = len(self.events) + 1
        event = EventRow(
            f"event-{number}",
            type_,
            subject,
            f"xid-{number}",
            call.started + 0.4,
            call.started + 0.5,
            call.organization_id,
            call.id,
            data,
        )
        self.events.append(event)
        return event

    def remember(self, call: Call, thing: str) -> None:
        """Write the key of a call."""
        if call.key is not None:
            self.keys.append(
                KeyRow(call.client_id, call.method, call.path, call.key, 201, (thing,))
            )

    def publish(self, slot_id: str = "slot", **seats: int) -> None:
        """Publish a slot."""
        asked = {"capacity": 1, "overbooking": 0, **seats}
        call = self.call("publish", DOCTOR, asked, status=201, answer={"id": slot_id})
        self.event(call, "slot.published", slot_id, starts_at=_text(START))
        self.slots[slot_id] = SlotRow(
            slot_id, asked["capacity"], asked["overbooking"], 0, withdrawn=False, version=1
        )

    def _change(self, slot_id: str, seats: int = 0, **more: Any) -> None:
        slot = self.slots[slot_id]
        changed = replace(slot, booked=slot.booked + seats, version=slot.version + 1)
        self.slots[slot_id] = replace(changed, **more)

    def hold(self, hold_id: str, slot_id: str = "slot", who: str = DESK, seconds: int = 5) -> None:
        """Hold a seat."""
        asked = {"slot_id": slot_id, "seconds": seconds}
        call = self.call("hold", who, asked, status=201, answer={"id": hold_id})
        until = call.started + 0.4 + seconds
        self.event(call, "hold.placed", slot_id, hold_id=hold_id, expires_at=_text(until))
        self.holds[hold_id] = HoldRow(hold_id, slot_id, who, until)
        slot = self.slots[slot_id]
        self.slots[slot_id] = replace(slot, holds={**slot.holds, hold_id: until})

    def _use(self, event: EventRow, hold_id: str | None) -> None:
        if hold_id is not None:
            held = self.holds[hold_id]
            self.holds[hold_id] = replace(held, ended_at=event.occurred_at, ended_by=event.xid)
            slot = self.slots[held.slot_id]
            left = {key: until for key, until in slot.holds.items() if key != hold_id}
            self.slots[slot.id] = replace(slot, holds=left)

    def book(
        self,
        booking_id: str,
        slot_id: str = "slot",
        who: str = DESK,
        hold_id: str | None = None,
        **more: Any,
    ) -> Call:
        """Book."""
        asked = {"slot_id": slot_id, "case_id": f"case-{booking_id}"}
        asked |= {"hold_id": hold_id} if hold_id else {}
        answer = {"id": booking_id, "slot_id": slot_id}
        call = self.call("book", who, asked, **{"status": 201, "answer": answer, **more})
        self._use(self.booked(call, booking_id), hold_id)
        return call

    def booked(self, call: Call, booking_id: str) -> EventRow:
        """Write what a booking leaves."""
        slot_id = call.asked["slot_id"]
        event = self.event(call, "booking.created", booking_id, slot_id=slot_id, state="booked")
        self.bookings[booking_id] = BookingRow(
            booking_id, slot_id, "booked", 1, call.asked["case_id"]
        )
        self._change(slot_id, 1)
        self.remember(call, booking_id)
        return event

    def move(self, booking_id: str, to: str, **more: Any) -> None:
        """Move a booking."""
        booking = self.bookings[booking_id]
        asked = {"slot_id": to, "booking_id": booking_id}
        answer = {"id": booking_id, "slot_id": to}
        call = self.call("reschedule", DESK, asked, **{"status": 200, "answer": answer, **more})
        self.event(
            call,
            "booking.rescheduled",
            booking_id,
            slot_id=to,
            from_slot_id=booking.slot_id,
            state="booked",
        )
        self._change(booking.slot_id, -1)
        self._change(to, 1)
        self.bookings[booking_id] = replace(booking, slot_id=to, version=booking.version + 1)

    def cancel(self, booking_id: str) -> None:
        """Cancel a booking."""
        booking = self.bookings[booking_id]
        asked = {"booking_id": booking_id}
        call = self.call("cancel", DESK, asked, status=200, answer={"id": booking_id})
        slot_id = booking.slot_id
        self.event(call, "booking.cancelled", booking_id, slot_id=slot_id, state="cancelled")
        self._change(slot_id, -1)
        self.bookings[booking_id] = replace(booking, state="cancelled", version=booking.version + 1)

    def refused(self, kind: str, code: str, slot_id: str = "slot", **more: Any) -> Call:
        """Ask for something, and be refused."""
        asked = {"slot_id": slot_id, "case_id": f"case-{len(self.calls)}", **more}
        return self.call(kind, PHARMACY, asked, status=409, code=code)

    def history(self) -> History:
        """The calls."""
        return History(clock=0.0, calls=self.calls)

    def snapshot(self) -> Snapshot:
        """The rows."""
        return Snapshot(
            self.now,
            list(self.slots.values()),
            list(self.bookings.values()),
            list(self.holds.values()),
            self.events,
            self.keys,
        )

    def violations(self) -> list[str]:
        """What the checker says."""
        return check(self.history(), self.snapshot())


def healthy() -> Story:
    """A day with everything: two slots, holds used, expired and refused, a move, a cancellation."""
    story = Story()
    story.publish()
    story.publish("other", capacity=2)
    story.hold("held", seconds=300)
    story.refused("book", "slot-held")
    story.book("first", hold_id="held")
    story.refused("book", "slot-taken")
    story.hold("forgotten", "other", who=PHARMACY, seconds=5)
    lost = story.call(
        "book", DESK, {"slot_id": "other", "case_id": "case-second"}, key="key", lost="dropped"
    )
    story.booked(lost, "second")
    again: dict[str, Any] = {"operation": lost.operation, "asked": lost.asked, "key": "key"}
    story.call("book", DESK, status=201, answer={"id": "second"}, replayed=True, **again)
    story.move("first", "other")
    story.book("third", who=PHARMACY)
    story.cancel("second")
    story.call("book", DESK, {"slot_id": "slot", "case_id": "nobody"}, lost="ReadError")
    story.call("withdraw", DOCTOR, {"slot_id": "slot"}, status=409, code="slot-booked")
    story.call("read", DOCTOR, {"slot_id": "slot"}, status=200, answer={"version": 4, "booked": 1})
    return story


def test_a_healthy_history_is_right() -> None:
    assert healthy().violations() == []


def test_a_history_is_saved_and_read_again(tmp_path: Path) -> None:
    history = healthy().history()
    history.happened("killed")
    history.save(tmp_path / "history.jsonl")
    assert load(tmp_path / "history.jsonl") == history


# --- planted faults -------------------------------------------------------------------------------


def _lost_booking(story: Story) -> None:
    story.book("gone", "other")
    del story.bookings["gone"]
    story.events.pop()
    story._change("other", -1, version=story.slots["other"].version - 1)


def _doubled_booking(story: Story) -> None:
    """One call, two rows: the seat counter was raised twice as well."""
    call = story.book("one", "other", key="twice")
    story.slots["other"] = replace(story.slots["other"], capacity=3)
    story.booked(call, "two")


def _missing_event(story: Story) -> None:
    story.book("untold", "other")
    story.events.pop()


def _event_without_change(story: Story) -> None:
    call = story.call("book", DESK, {"slot_id": "other", "case_id": "c"}, lost="dropped")
    story.event(call, "booking.created", "phantom", slot_id="other", state="booked")


def _event_from_nowhere(story: Story) -> None:
    story.events.append(replace(story.events[-1], id="again", correlation_id="stranger", xid="x"))


def _expired_too_soon(story: Story) -> None:
    """A worker that tells of the end of a hold which is alive."""
    story.publish("quiet")
    story.hold("alive", "quiet", seconds=300)
    told = replace(story.events[-1], type="hold.expired", id="early", correlation_id="", xid="x")
    story.events.append(told)
    story._use(told, "alive")


def _above_capacity_for_a_while(story: Story) -> None:
    """In the end everything adds up; only then it did not."""
    story.book("too-many", "slot")
    story.cancel("too-many")


def _refused_but_there(story: Story) -> None:
    story.booked(story.refused("book", "slot-taken", "other"), "secret")


def _refused_row_without_event(story: Story) -> None:
    _refused_but_there(story)
    story.events.pop()


def _two_effects(story: Story) -> None:
    story.slots["other"] = replace(story.slots["other"], capacity=3)
    story.calls[1] = replace(story.calls[1], asked={"capacity": 3, "overbooking": 0})
    first = story.book("effect-1", "other", key="again", operation="again")
    asked, answer = first.asked, {"id": "effect-2", "slot_id": "other"}
    second = story.call(
        "book", DESK, asked, status=201, key="again", operation="again", answer=answer
    )
    story.booked(second, "effect-2")


def _forgotten_key(story: Story) -> None:
    first = story.book("made", "other", key="k", operation="o", status=None, lost="x", answer={})
    story.call("book", DESK, first.asked, key="k", operation="o", status=409, code="slot-taken")


def _excluded_after_expiry(story: Story) -> None:
    story.publish("quiet")
    story.hold("over", "quiet", seconds=5)
    story.refused("book", "slot-held", "quiet")


def _ignored_hold(story: Story) -> None:
    story.publish("quiet")
    story.hold("mine", "quiet", seconds=300)
    story.book("intruder", "quiet", who=PHARMACY)


def _refused_living_hold(story: Story) -> None:
    story.publish("quiet")
    story.hold("mine", "quiet", who=PHARMACY, seconds=300)
    story.refused("book", "hold-expired", "quiet", hold_id="mine")


def _used_after_expiry(story: Story) -> None:
    story.publish("quiet")
    story.hold("over", "quiet", seconds=5)
    story.book("late", "quiet", hold_id="over")


def _used_by_another(story: Story) -> None:
    story.publish("quiet")
    story.hold("theirs", "quiet", seconds=300)
    story.book("thief", "quiet", who=PHARMACY, hold_id="theirs")


def _lost_by_a_move(story: Story) -> None:
    story.publish("quiet")
    story.move("third", "quiet")
    del story.bookings["third"]
    story._change("quiet", -1, version=2)


def _move_that_kept_the_old_seat(story: Story) -> None:
    story.publish("quiet")
    story.move("third", "quiet")
    story._change("slot", 1, version=story.slots["slot"].version)


def _move_acknowledged_and_not_done(story: Story) -> None:
    story.publish("quiet")
    asked = {"slot_id": "quiet", "booking_id": "third"}
    answer = {"id": "third", "slot_id": "quiet"}
    story.call("reschedule", DESK, asked, status=200, answer=answer)


def _answered_before_the_commit(story: Story) -> None:
    story.book("early", "other")
    story.events[-1] = replace(story.events[-1], committed_at=story.now)


def _booked_when_withdrawn(story: Story) -> None:
    story.publish("quiet")
    call = story.call("withdraw", DOCTOR, {"slot_id": "quiet"}, status=204)
    story.event(call, "slot.withdrawn", "quiet")
    story._change("quiet", withdrawn=True)
    story.book("orphan", "quiet")


def _defect(story: Story) -> None:
    story.call("book", DESK, {"slot_id": "slot", "case_id": "x"}, status=500, code="defect")


def _no_retry_after(story: Story) -> None:
    story.call("book", DESK, {"slot_id": "slot", "case_id": "x"}, status=503, code="t")


def _stale_reading(story: Story) -> None:
    story.call("read", DOCTOR, {"slot_id": "slot"}, status=200, answer={"version": 2, "booked": 1})


def _key_without_effect(story: Story) -> None:
    call = story.refused("book", "slot-taken", "slot")
    story.calls[-1] = replace(call, key="orphan")
    story.remember(story.calls[-1], "nothing")


def _wrong_counter(story: Story) -> None:
    story.slots["slot"] = replace(story.slots["slot"], booked=0)


def _hold_left_on_the_row(story: Story) -> None:
    slot = story.slots["slot"]
    story.slots["slot"] = replace(slot, holds={"held": story.now + 100})


@pytest.mark.parametrize(
    ("plant", "sentence"),
    [
        (_lost_booking, "Booking gone of .* was acknowledged and is lost"),
        (_doubled_booking, "Case case-one was booked 2 times: one and two"),
        (_missing_event, "was acknowledged, and has no event"),
        (_missing_event, "Booking untold is there, and its creation is not told once"),
        (_event_without_change, "tells of phantom, which is not there"),
        (_event_from_nowhere, "belongs to no call \\(stranger\\)"),
        (_expired_too_soon, "Event hold.expired early did not end hold alive in its time"),
        (_above_capacity_for_a_while, "Slot slot is above its capacity: booking too-many"),
        (_refused_but_there, "was refused \\(slot-taken\\), but booking.created tells of it"),
        (_refused_row_without_event, "was refused, but booking secret exists"),
        (_two_effects, "Operation again \\(book\\) had 2 effects: effect-1 and effect-2"),
        (_forgotten_key, "though an earlier try with its key had made made"),
        (_excluded_after_expiry, "was refused \\(slot-held\\) while a seat was free"),
        (_ignored_hold, "Slot quiet ignored a live hold: booking intruder"),
        (_refused_living_hold, "though hold mine was alive"),
        (_used_after_expiry, "let hold over be used after it had expired"),
        (_used_by_another, "let hold theirs be used by another organization"),
        (_lost_by_a_move, "tells of third, which is not there"),
        (_move_that_kept_the_old_seat, "Slot slot counts 1 seats booked; it has 0"),
        (_move_acknowledged_and_not_done, "reschedule.* was acknowledged, and has no event"),
        (_answered_before_the_commit, "its event was committed at"),
        (_booked_when_withdrawn, "is booked \\(orphan\\) though it was withdrawn"),
        (_defect, "was answered 500 defect"),
        (_no_retry_after, "was answered 503 without Retry-After"),
        (_stale_reading, "which never was so"),
        (_key_without_effect, "Key orphan stands for nothing; its events tell of nothing"),
        (_wrong_counter, "Slot slot has booked 0; its events tell 1"),
        (_hold_left_on_the_row, "has the live holds \\['held'\\]"),
    ],
)  # fmt: skip
def test_a_planted_fault_is_seen(plant: Callable[[Story], None], sentence: str) -> None:
    story = healthy()
    plant(story)
    violations = story.violations()
    assert any(re.search(sentence, violation) for violation in violations), violations


def test_an_unknown_call_may_have_happened_or_not() -> None:
    story = healthy()
    story.book("perhaps", "other", status=503, retry_after="2", answer={})
    story.call("book", DESK, {"slot_id": "other", "case_id": "c"}, status=503, retry_after="2")
    assert story.violations() == []


def test_tests_of_a_group_stay_together(request: pytest.FixtureRequest) -> None:
    alone = not hasattr(request.config, "workerinput")
    assert alone or request.node.nodeid.endswith("@history")
