"""Who should have heard what: the rules once more, plainly, from rows, not from the service's code.

They hold for a crowd whose slots keep their labels and do not begin while it works.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import asyncpg
import orjson
from standardwebhooks import WebhookVerificationError

from tests.support import Caller
from tests.webhooks.receivers import Answer, Received, Receiver

BOOKINGS = ("booking.created", "booking.rescheduled", "booking.cancelled")
WANTED = (
    "slot.published", "slot.withdrawn", "slot.changed", "hold.placed", "hold.released", *BOOKINGS,
)  # fmt: skip
_AWAY = "booking.rescheduled away"
_CHANGED = {"subject_id", "position", "slot_id", "state", "remaining"}
_NAMES = (b"Martin", "Habitué".encode(), "Léa".encode(), b"+336")

# What is told: the position of the fact, the type, the subject.
Message = tuple[int, str, str]
Row = dict[str, Any]


@dataclass
class Ear:
    """An endpoint with its receiver: whose it is, which labels they see, how it behaves.

    `labels` and `kind` (of organization) say which slots beside their own they see.
    """

    name: str
    caller: Caller
    labels: frozenset[str]
    kind: str
    receiver: Receiver
    behave: Callable[[Received], Answer]
    wanted: tuple[str, ...]
    endpoint: Row = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    async def listen(self) -> "Ear":
        """Subscribe; from now on every request is looked at as it comes."""
        body = {"url": self.receiver.url, "events": [*self.wanted]}
        answer = await self.caller.post("/v1/webhook-endpoints", body)
        assert answer.status_code == 201, answer.text
        self.endpoint = answer.json()
        self.receiver.choose = self._hear
        return self

    def _hear(self, one: Received) -> Answer:
        try:
            one.verified(self.endpoint["secret"])
        except WebhookVerificationError as error:
            self.faults.append(f"{one.id}: {error}")
        if any(name in one.body for name in _NAMES):
            self.faults.append(f"{one.id} tells who a patient is")
        if one.json["type"] == "slot.changed" and set(one.json["data"]) != _CHANGED:
            self.faults.append(f"{one.id} tells more than a search: {one.json['data']}")
        return self.behave(one)

    def heard(self) -> list[Message]:
        """What came, in its order, repeats too."""
        return [_told(one.json) for one in self.receiver.received]

    def due(self, events: list[Row], slots: dict[str, Row]) -> set[Message]:
        """What it should have heard of all that happened."""
        return {
            (event["position"], *view)
            for event in events
            for view in self._views(event, slots)
            if view[0].partition(" ")[0] in self.wanted
        }

    def _views(self, event: Row, slots: dict[str, Row]) -> Iterator[tuple[str, str]]:
        type_, subject, data = event["type"], event["subject_id"], event["data"]
        if type_.startswith("slot."):
            if self._sees(slots[subject]):
                yield type_, subject
            return
        us, mine = str(self.caller.organization_id), str(self.caller.practitioner_id)
        if type_.startswith("hold."):
            theirs = us == (data.get("organization_id") or event["organization_id"])
            touched = {subject}
        else:
            theirs = us == data["organization_id"] or mine == data["practitioner_id"]
            touched = {data["slot_id"], data.get("from_slot_id")} & slots.keys()
        if theirs:
            yield type_, subject
        elif mine == data.get("from_practitioner_id"):
            yield _AWAY, subject
        else:
            seen = (slot_id for slot_id in touched if self._sees(slots[slot_id]))
            yield from (("slot.changed", slot_id) for slot_id in seen)

    def _sees(self, slot: Row) -> bool:
        own = slot["practitioner_id"] == str(self.caller.practitioner_id)
        meant = not slot["organization_types"] or self.kind in slot["organization_types"]
        return own or (meant and not self.labels.isdisjoint(slot["visibility"]))


def _told(said: Row) -> Message:
    """Tell what a message says; a booking moved away says nothing of where to."""
    data: Row = said["data"]
    about = data.keys() - {"subject_id", "position"}
    away = said["type"] == "booking.rescheduled" and all(n.startswith("from_") for n in about)
    return data["position"], _AWAY if away else said["type"], data["subject_id"]


def wrong(ear: Ear, events: list[Row], slots: dict[str, Row], *, healthy: bool) -> list[str]:
    """What is wrong with what an ear heard; of one that is not healthy, some may be missing."""
    heard, due = ear.heard(), ear.due(events, slots)
    found = [*ear.faults, *(f"not theirs: {told}" for told in sorted(set(heard) - due))]
    if healthy:
        found += [f"never heard: {told}" for told in sorted(due - set(heard))]
    by_subject: dict[str, list[int]] = defaultdict(list)
    for position, _, subject in heard:
        by_subject[subject].append(position)
    found += [f"out of order: {s} {p}" for s, p in by_subject.items() if p != sorted(p)]
    return [f"{ear.name}: {one}" for one in found]


_EVENTS = """
SELECT position, type, subject_id, organization_id, data FROM events
WHERE territory = $1 AND split_part(type, '.', 1) IN ('slot', 'hold', 'booking')"""
_SLOTS = """
SELECT id, practitioner_id, visibility, organization_types FROM slots WHERE territory = $1"""


async def facts(url: str, territory: str) -> tuple[list[Row], dict[str, Row]]:
    """Read what happened in a territory, and its slots by id."""
    db = await asyncpg.connect(url)
    try:
        await db.set_type_codec(
            "jsonb", encoder=lambda v: orjson.dumps(v).decode(), decoder=orjson.loads,
            schema="pg_catalog",
        )  # fmt: skip
        events = [_plain(row) for row in await db.fetch(_EVENTS, territory)]
        slots = [_plain(row) for row in await db.fetch(_SLOTS, territory)]
    finally:
        await db.close()
    return events, {slot["id"]: slot for slot in slots}


def _plain(row: Any) -> Row:
    return {n: str(v) if isinstance(v, UUID) else v for n, v in dict(row).items()}
