"""What somebody may learn from a fact: the same rule for streams, pages and webhooks.

A fact is shown as it is to those who may read its subject; to others who see the slot that it
touches it is `slot.changed`, which says no more than a search would. Pure.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from service.identity import BOOKERS, PROFESSIONALS, PUBLISHERS, REGULATION, Actor, Role
from service.kernel.errors import FieldError, Invalid, Malformed, TooMany, Unavailable
from service.slots import Standing

# Facts are positions on one line; nobody reads before its beginning.
BEGINNING = 0


class Shown(StrEnum):
    """Types that only exist in the stream: nothing of the kind is written down."""

    SLOT_CHANGED = "slot.changed"
    SLOT_WITHDRAWN = "slot.withdrawn"


# Told instead of what is no longer kept: whoever hears it reads everything anew.
RESET = "reset"

# What somebody may be told, by its type.
TYPES: Mapping[str, str] = {
    "slot.published": "A slot that you see was published.",
    "slot.amended": "A slot that you see was amended, or you see it from now on.",
    Shown.SLOT_WITHDRAWN: "A slot was taken back, or you see it no more.",
    Shown.SLOT_CHANGED: "The room of a slot that you see changed; by whom is not yours to know.",
    "slot.released": "A slot that was not taken is for more people from now on.",
    "hold.placed": "Your organization holds a seat.",
    "hold.released": "Your organization gave a held seat back.",
    "hold.expired": "A seat that your organization held was not used in time.",
    "booking.created": "A patient was booked, by your organization or with your practitioner.",
    "booking.rescheduled": "A booking was moved. Away from you: only `from_` is told.",
    "booking.cancelled": "A booking was cancelled.",
    "booking.reported": "What happened at an appointment was reported, or corrected.",
    "call.opened": "Your centre opened a call.",
    "call.amended": "A call was amended.",
    "call.assigned": "Somebody took a call from the queue.",
    "call.unassigned": "A call was given back to the queue.",
    "call.called_back": "A call-back was tried.",
    "call.outcome_added": "A call was given an outcome.",
    "call.outcome_removed": "An outcome of a call was removed.",
    "call.closed": "A call was closed.",
    "call.voided": "A call was found to be none.",
    "session.created": "A session was published.",
    "session.amended": "A session was amended.",
    "session.ended": "A session was ended.",
    "absence.declared": "A practitioner is away.",
    "absence.ended": "An absence was taken back.",
    "webhook_endpoint.disabled": "An endpoint of your organization is told nothing more: see why.",
}


class EventTypesUnknown(Invalid):
    """The filter `types` names what nobody is ever told."""

    code = "event-types-unknown"
    title = "The filter names a type of event that there is not."


class EventIdInvalid(Malformed):
    """What was sent as the id of the last event is none of ours."""

    code = "event-id-invalid"
    title = "This is no id of an event: send one as it came, or none."


class StreamsFull(Unavailable):
    """The process has as many open streams as it may."""

    code = "streams-full"
    title = "Too many streams are open: try again later, or ask for pages."


class TooManyStreams(TooMany):
    """The client has as many open streams as it may."""

    code = "too-many-streams"
    title = "This client has too many open streams: close some."


_PLACE = re.compile(r"([0-9]{1,18})(?:\.([1-8]))?")
_ALL = 9  # more slots than one fact touches


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """How far somebody has come: with all of a fact, or with the first `part` of its slots.

    As text it is the id of an event: `17`; `17.1` where more may follow of the same fact. What a
    fact's parts are never changes, so that who comes back misses none and gets none twice.
    """

    position: int
    part: int = _ALL

    @classmethod
    def read(cls, sent: str) -> "Place":
        """Return the place that an id stands for. Refuses with `event-id-invalid`."""
        match = _PLACE.fullmatch(sent.strip())
        if match is None:
            code, title = EventIdInvalid.code, EventIdInvalid.title
            raise EventIdInvalid(FieldError("last_event_id", code, title))
        return cls(int(match[1]), int(match[2] or _ALL))

    def __str__(self) -> str:
        return f"{self.position}" if self.part == _ALL else f"{self.position}.{self.part}"

    @property
    def before(self) -> int:
        """The position after which to read on from here: a fact that is not done is read again."""
        return self.position if self.part == _ALL else self.position - 1


def wanted(types: str | None) -> frozenset[str]:
    """Return the types that a filter names, all without one. Refuses with `event-types-unknown`."""
    if types is None:
        return frozenset(TYPES)
    named = {name.strip() for name in types.split(",")}
    if not named <= TYPES.keys():
        there_are = f"There are: {', '.join(sorted(TYPES))}."
        raise EventTypesUnknown(FieldError("types", EventTypesUnknown.code, there_are))
    return frozenset(named)


@dataclass(frozen=True, slots=True)
class Fact:
    """One event that has its position. `data` holds ids, states and times, never a patient."""

    position: int
    id: UUID
    type: str
    subject_id: UUID
    occurred_at: datetime
    territory: str | None
    role: str | None
    organization_id: UUID | None
    audience_before: Mapping[str, Any] | None
    audience_after: Mapping[str, Any] | None
    data: Mapping[str, Any]
    correlation_id: str | None

    @property
    def room(self) -> str:
        """Return what kind of thing it tells of: `slot`, `hold`, `booking`, `call`, ..."""
        return self.type.partition(".")[0]

    @property
    def slot_ids(self) -> frozenset[UUID]:
        """Return the slots whose room it may have changed."""
        if self.room in {"slot", "hold"}:
            return frozenset({self.subject_id})
        if self.room != "booking":
            return frozenset()
        named = (self.data.get("slot_id"), self.data.get("from_slot_id"))
        return frozenset(UUID(name) for name in named if name)


@dataclass(frozen=True, slots=True)
class Listener:
    """Who listens: what of an `Actor` the rule needs."""

    role: Role
    organization_id: UUID
    organization_type: str
    territories: frozenset[str]
    cpts_ids: frozenset[UUID]
    practitioner_ids: frozenset[UUID]

    @classmethod
    def of(cls, actor: Actor) -> "Listener":
        """Return the listener that a caller is."""
        return cls(
            role=actor.role,
            organization_id=actor.organization_id,
            organization_type=actor.organization_type,
            territories=frozenset(actor.territories),
            cpts_ids=frozenset(actor.cpts_ids),
            practitioner_ids=frozenset(actor.practitioner_ids),
        )

    def owns(self, practitioner_id: UUID | None, organization_id: UUID | None) -> bool:
        """Tell whether this is the publisher's side: `slots.parts.owned`."""
        if self.role not in PUBLISHERS:
            return False
        if practitioner_id is None:
            return organization_id == self.organization_id
        return practitioner_id in self.practitioner_ids

    def admitted(self, territory: str | None, audience: Mapping[str, Any] | None) -> bool:
        """Tell whether a slot's labels admit the listener: `slots.parts.visible`."""
        if audience is None or self.role not in BOOKERS:
            return False
        labels, here = audience["visibility"], territory in self.territories
        regulates = self.role in REGULATION
        if here and ("PUBLIC" in labels or (regulates and "SNP" in labels)):
            return True
        if not self._meant(audience):
            return False
        if here and "PRO" in labels and (regulates or self.role in PROFESSIONALS):
            return True
        return "CPTS" in labels and not self.cpts_ids.isdisjoint(map(UUID, audience["cpts_ids"]))

    def _meant(self, audience: Mapping[str, Any]) -> bool:
        types, organizations = audience["organization_types"], audience["organization_ids"]
        return (not types or self.organization_type in types) and (
            not organizations or str(self.organization_id) in organizations
        )

    def sees(self, slot: Standing) -> bool:
        """Tell whether the listener sees a slot as it stands."""
        return self.owns(slot.practitioner_id, slot.organization_id) or self.admitted(
            slot.territory, slot.audience
        )


@dataclass(frozen=True, slots=True)
class View:
    """What one listener is told of a fact. Several views of a fact share its position."""

    fact: Fact
    type: str
    subject_id: UUID
    data: Mapping[str, Any]

    @property
    def members(self) -> dict[str, Any]:
        """Return what is told, as members of JSON."""
        return {
            "type": self.type,
            "subject_id": self.subject_id,
            "occurred_at": self.fact.occurred_at,
            "data": self.data,
        }

    @property
    def place(self) -> Place:
        """Return where on the line it stands; of several slots of a fact, one after another."""
        slots = sorted(self.fact.slot_ids) if self.type == Shown.SLOT_CHANGED else []
        nth = slots.index(self.subject_id) + 1 if slots else 0
        return Place(self.fact.position) if nth == len(slots) else Place(self.fact.position, nth)


def views(fact: Fact, slots: Mapping[UUID, Standing], listener: Listener) -> Iterator[View]:
    """Yield what a listener is told of a fact; nothing, when it is not theirs to know.

    `slots` has those of `fact.slot_ids` as they stand now.
    """
    if fact.room == "slot":
        yield from _of_slot(fact, listener)
    elif _reads(fact, listener):
        yield View(fact, fact.type, fact.subject_id, fact.data)
    elif _lost(fact, listener):
        told = {name: value for name, value in fact.data.items() if name.startswith("from_")}
        yield View(fact, fact.type, fact.subject_id, told)
    else:
        for slot_id in sorted(fact.slot_ids & slots.keys()):
            slot = slots[slot_id]
            if listener.sees(slot) or _counts(slot, listener):
                data = {"slot_id": str(slot.id), "state": slot.state, "remaining": slot.remaining}
                yield View(fact, Shown.SLOT_CHANGED, slot.id, data)


def _of_slot(fact: Fact, listener: Listener) -> Iterator[View]:
    """A slot is published, amended, widened, taken back: who loses sight of it, hears no why."""
    own = listener.owns(_id(fact, "practitioner_id"), _id(fact, "organization_id"))
    before = fact.data.get("from_territory", fact.territory)
    if own or listener.admitted(fact.territory, fact.audience_after):
        yield View(fact, fact.type, fact.subject_id, fact.data)
    elif listener.admitted(before, fact.audience_before):
        yield View(fact, Shown.SLOT_WITHDRAWN, fact.subject_id, {"slot_id": str(fact.subject_id)})


def _counts(slot: Standing, listener: Listener) -> bool:
    """Managers follow how the room of their territory fills: figures, which they have anyway."""
    return listener.role is Role.MANAGER and slot.territory in listener.territories


def _reads(fact: Fact, listener: Listener) -> bool:
    """Tell whether the listener may read the subject of a fact that is no slot."""
    if fact.room == "hold":
        holder = _id(fact, "organization_id") or fact.organization_id
        return listener.role in BOOKERS and holder == listener.organization_id
    if fact.room == "booking":
        return _asked(fact, listener) or _receives(fact, listener)
    if fact.room == "call":
        return (
            listener.role in REGULATION
            and fact.organization_id == listener.organization_id
            and fact.territory in listener.territories
        )
    if fact.room in {"session", "absence"}:
        return listener.owns(_id(fact, "practitioner_id"), _id(fact, "organization_id"))
    if fact.room == "webhook_endpoint":
        return _id(fact, "organization_id") == listener.organization_id
    return False


def _lost(fact: Fact, listener: Listener) -> bool:
    """A booking was moved away from the listener: they hear that, and not where to."""
    return fact.type == "booking.rescheduled" and _receives(fact, listener, "from_")


def _receives(fact: Fact, listener: Listener, when: str = "") -> bool:
    return listener.owns(
        _id(fact, f"{when}practitioner_id"), _id(fact, f"{when}practitioner_organization_id")
    )


def _asked(fact: Fact, listener: Listener) -> bool:
    return listener.role in BOOKERS and _id(fact, "organization_id") == listener.organization_id


def _id(fact: Fact, name: str) -> UUID | None:
    value = fact.data.get(name)
    return UUID(value) if value else None
