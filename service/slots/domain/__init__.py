"""What a slot is, who it is for, and why it cannot be taken. Pure: no I/O, no clock."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from service.kernel.errors import Conflict, FieldError, Forbidden, Invalid, NotFound, TooMany
from service.slots.domain.release import (
    ReleaseTo,
    Step,
    check_release,
    check_still_to_come,
    gives_back_before,
    labels_added,
    labels_at,
)

SEARCH_DEFAULT = timedelta(hours=72)
SEARCH_LONGEST = timedelta(days=14)
RADIUS_LONGEST_KM = 200
HORIZON = timedelta(days=366)
LONGEST_SLOT = timedelta(hours=24)
BATCH = 500
AUDIENCES_ASKED = 20  # of one answer: "who can see it" costs some ms for each
HOLD_DEFAULT_SECONDS = 180
HOLD_LONGEST_SECONDS = 600
HOLDS_PER_ORGANIZATION = 20


class Visibility(StrEnum):
    """National labels TRE_R314; they add up. `SNP` alone is hidden from the public."""

    PUBLIC = "PUBLIC"
    PRO = "PRO"
    SNP = "SNP"
    CPTS = "CPTS"


class Mode(StrEnum):
    """National consultation modes (HL7 v3 ActCode): at the practice, at home, by video."""

    AMB = "AMB"
    HH = "HH"
    VR = "VR"


class SlotState(StrEnum):
    """Derived from the row and the clock, never stored."""

    OPEN = "open"
    FULL = "full"
    WITHDRAWN = "withdrawn"
    PAST = "past"


def state_of(*, withdrawn: bool, started: bool, remaining: int) -> SlotState:
    """Derive the state. Withdrawn wins over past, past over full."""
    if withdrawn:
        return SlotState.WITHDRAWN
    if started:
        return SlotState.PAST
    return SlotState.OPEN if remaining > 0 else SlotState.FULL


@dataclass(frozen=True, slots=True)
class Standing:
    """A slot as it stands now, for whoever is told of a change: whose, for whom, what is left."""

    id: UUID
    territory: str
    practitioner_id: UUID | None
    organization_id: UUID
    audience: Mapping[str, Any]  # as events keep it
    state: SlotState
    remaining: int


class SlotNotFound(NotFound):
    """No such slot, or not for this caller: told in the same words."""

    code = "slot-not-found"
    title = "No slot of this id is visible to you."


class HoldNotFound(NotFound):
    """No live hold of this id belongs to the caller's organization."""

    code = "hold-not-found"
    title = "Your organization has no live hold of this id."


class SlotTaken(Conflict):
    """Every seat is booked."""

    code = "slot-taken"
    title = "Somebody else was faster: every seat of this slot is booked."


class SlotHeld(Conflict):
    """The last seats are held by others on the phone just now."""

    code = "slot-held"
    title = "The last seat is held by somebody on the phone; it may come back."


class SlotWithdrawn(Conflict):
    """The doctor took the slot back."""

    code = "slot-withdrawn"
    title = "The doctor withdrew this slot."


class SlotStarted(Conflict):
    """The slot has started."""

    code = "already-started"
    title = "This has already started."


class SlotWalkIn(Conflict):
    """A walk-in slot is listed, never held or booked."""

    code = "walk-in"
    title = "Patients just turn up at this slot: it cannot be held or booked."


class HoldExpired(Conflict):
    """The hold that was presented is unknown, expired, given back or someone else's."""

    code = "hold-expired"
    title = "This hold does not exist (any more) for your organization."


class OverlappingSlot(Conflict):
    """The practitioner already has a slot at that time."""

    code = "overlapping-slot"
    title = "This practitioner already has a slot at that time."


class SlotBooked(Conflict):
    """A patient is booked: time, place and modes stay."""

    code = "slot-booked"
    title = "A patient is booked here: time, place and modes cannot change. Reschedule instead."


class NotMyPractitioner(Forbidden):
    """The caller does not act for this practitioner."""

    code = "not-my-practitioner"
    title = "You do not act for this practitioner."


class TooManyHolds(TooMany):
    """The organization holds too many seats at once."""

    code = "too-many-holds"
    title = f"Your organization already holds {HOLDS_PER_ORGANIZATION} seats."


class SlotInvalid(Invalid):
    """Rules of a slot that need more than the body's shape."""

    code = "slot-invalid"
    title = "This slot breaks a rule."


@dataclass(frozen=True, slots=True)
class Audience:
    """Who a slot is for: labels, and what narrows them."""

    visibility: tuple[str, ...]
    cpts_ids: tuple[UUID, ...]
    organization_types: tuple[str, ...]
    organization_ids: tuple[UUID, ...]

    def as_json(self) -> dict[str, Any]:
        """Return the form that events keep."""
        return {
            "visibility": list(self.visibility),
            "cpts_ids": [str(i) for i in self.cpts_ids],
            "organization_types": list(self.organization_types),
            "organization_ids": [str(i) for i in self.organization_ids],
        }


def audience_at(
    audience: Audience, release: Sequence[Step], starts_at: datetime, at: datetime
) -> Audience:
    """Return who a slot is for at an instant, as its release has widened it until then."""
    return replace(audience, visibility=labels_at(audience.visibility, release, starts_at, at))


def visibility_warnings(
    audience: Audience, *, walk_in: bool, release: Sequence[Step] = ()
) -> list[dict[str, str]]:
    """Say why nobody, or fewer than meant, could see or book a slot so labelled, ever."""
    labels = {*audience.visibility, *labels_added(release)}
    found: list[dict[str, str]] = []
    if Visibility.CPTS in labels and not audience.cpts_ids:
        only = labels == {Visibility.CPTS}
        found.append(
            {
                "code": "cpts-not-named",
                "detail": "The label CPTS names no community (cpts_ids): "
                + ("nobody can see this slot." if only else "it admits nobody."),
            }
        )
    narrows = audience.organization_types or audience.organization_ids
    if narrows and not labels & {Visibility.PRO, Visibility.CPTS}:
        found.append(
            {
                "code": "narrowing-without-effect",
                "detail": "organization_types and organization_ids narrow PRO and CPTS only.",
            }
        )
    if audience.cpts_ids and Visibility.CPTS not in labels:
        found.append(
            {
                "code": "cpts-without-label",
                "detail": "cpts_ids has no effect without the label CPTS.",
            }
        )
    if walk_in:
        found.append({"code": "walk-in", "detail": "A walk-in slot is listed; nobody can book it."})
    return found


NO_LONGER_PRACTISES = {
    "code": "practitioner-inactive",
    "detail": "The directory says that this practitioner practises no more: withdraw the slot, or"
    " have the entry mended. Whoever sees it may still book it.",
}


def inactive(pointer: str) -> FieldError:
    """Say that nothing is published for somebody who practises no more."""
    return FieldError(
        f"{pointer}/practitioner_id",
        "practitioner-inactive",
        "The directory says that this practitioner practises no more.",
    )


def nobody_can_see(audience: Audience, territory: str) -> dict[str, str]:
    """Say that no grant in force admits anybody."""
    return {
        "code": "nobody-can-see",
        "detail": "Only your own side sees this slot now: no client of this service is granted what"
        f" {', '.join(audience.visibility)} asks for, as narrowed, in territory {territory}.",
    }


@dataclass(frozen=True, slots=True)
class Admitted:
    """How many grants in force of one role and kind of organization could see a slot."""

    role: str
    organization_type: str
    grants: int


@dataclass(frozen=True, slots=True)
class Change:
    """What an event says of who could see a slot, and where: nobody (None) once withdrawn."""

    at: datetime
    audience: Mapping[str, Any] | None


def visible_since(changes: Sequence[Change], released: Sequence[datetime] = ()) -> datetime | None:
    """Say since when those who can see a slot can; None when it is withdrawn. Oldest first.

    `released` are the instants at which its release has widened it, told yet or not.
    """
    latest: Change | None = None
    for change in changes:
        if latest is None or latest.audience != change.audience:
            latest = change
    return max([latest.at, *released]) if latest and latest.audience is not None else None


@dataclass(frozen=True, slots=True)
class SlotDraft:
    """A slot as asked for, before the directory says where it is."""

    practitioner_id: UUID | None
    location_id: UUID
    starts_at: datetime
    ends_at: datetime
    modes: tuple[str, ...]
    specialty: str | None
    audience: Audience
    capacity: int
    overbooking: int
    walk_in: bool
    note: str | None
    external_id: str | None
    release: tuple[Step, ...] = ()
    session_id: UUID | None = None
    session_start: datetime | None = None

    def audience_at(self, at: datetime) -> Audience:
        """Return who it is for at an instant."""
        return audience_at(self.audience, self.release, self.starts_at, at)


def check_period(
    pointer: str, starts_at: datetime, ends_at: datetime, now: datetime
) -> Iterator[FieldError]:
    """Yield what is wrong with a slot's period."""
    if ends_at <= starts_at:
        yield FieldError(f"{pointer}/ends_at", "end-before-start", "It must be after the start.")
    elif ends_at - starts_at > LONGEST_SLOT:
        yield FieldError(f"{pointer}/ends_at", "slot-too-long", "A slot lasts at most 24 hours.")
    if starts_at <= now:
        yield FieldError(f"{pointer}/starts_at", "slot-in-the-past", "The start is in the past.")
    elif starts_at - now > HORIZON:
        yield FieldError(
            f"{pointer}/starts_at", "slot-too-far", "Slots are published up to a year ahead."
        )


def check_steps(pointer: str, draft: SlotDraft, now: datetime) -> Iterator[FieldError]:
    """Yield what is wrong with a slot's release."""
    audience = draft.audience
    yield from check_release(
        pointer, draft.release, audience.visibility, cpts_named=bool(audience.cpts_ids)
    )
    yield from check_still_to_come(pointer, draft.release, draft.starts_at, now)


def check_batch(drafts: Sequence[SlotDraft], pointers: Sequence[str]) -> Iterator[FieldError]:
    """Yield overlaps inside one batch: the later of two slots of one practitioner is named."""
    order = sorted(range(len(drafts)), key=lambda i: (drafts[i].starts_at, drafts[i].ends_at))
    latest: dict[UUID, int] = {}
    for index in order:
        who = drafts[index].practitioner_id
        if who is None:
            continue
        before = latest.get(who)
        if before is not None and drafts[before].ends_at > drafts[index].starts_at:
            yield FieldError(
                f"{pointers[index]}/starts_at",
                "overlapping-slot",
                f"Overlaps {pointers[before]} of the same practitioner.",
            )
        if before is None or drafts[index].ends_at > drafts[before].ends_at:
            latest[who] = index
    seen: set[tuple[UUID | None, str]] = set()
    for draft, pointer in zip(drafts, pointers, strict=True):
        if draft.external_id is None:
            continue
        name = (draft.practitioner_id, draft.external_id)
        if name in seen:
            yield FieldError(
                f"{pointer}/external_id", "duplicate", "Twice the same external_id in one batch."
            )
        seen.add(name)


@dataclass(frozen=True, slots=True)
class Slot:
    """A slot as read by somebody who may see it."""

    id: UUID
    practitioner_id: UUID | None
    location_id: UUID
    organization_id: UUID
    organization_type: str
    territory: str
    zone: str
    starts_at: datetime
    ends_at: datetime
    modes: tuple[str, ...]
    specialty: str | None
    audience: Audience
    capacity: int
    overbooking: int
    booked: int
    held: int
    walk_in: bool
    note: str | None
    external_id: str | None
    session_id: UUID | None
    release: tuple[Step, ...]
    withdrawn_at: datetime | None
    version: int
    now: datetime
    practitioner: Mapping[str, Any] | None
    practitioner_inactive: bool
    location: Mapping[str, Any]
    who_can: tuple[Admitted, ...] | None = None  # who else could see it now; None: not asked

    @property
    def remaining(self) -> int:
        """Seats left within capacity: capacity - booked - live holds, never below zero."""
        return 0 if self.given_back else max(0, self.capacity - self.booked - self.held)

    @property
    def effective(self) -> Audience:
        """Who it is for now, as its release has widened it."""
        return audience_at(self.audience, self.release, self.starts_at, self.now)

    @property
    def released(self) -> list[datetime]:
        """When its release has widened it, until now."""
        widening = (step for step in self.release if step.to != ReleaseTo.GIVE_BACK)
        return [at for step in widening if (at := step.at(self.starts_at)) <= self.now]

    @property
    def given_back(self) -> bool:
        """Tell whether the seats that nobody took are the doctor's own time again."""
        before = gives_back_before(self.release)
        return bool(before) and self.starts_at - before <= self.now

    @property
    def withdrawn(self) -> bool:
        """Tell whether it is off the agenda: withdrawn, or given back and nobody's any more."""
        return self.withdrawn_at is not None or (
            self.given_back and not self.booked and not self.held
        )

    @property
    def started(self) -> bool:
        """Tell whether the slot has started."""
        return self.starts_at <= self.now

    @property
    def state(self) -> SlotState:
        """Return the derived state."""
        return state_of(
            withdrawn=self.withdrawn,
            started=self.started,
            remaining=self.remaining,
        )

    @property
    def visibility_warnings(self) -> list[dict[str, str]]:
        """Say why nobody could see or book this slot."""
        found = visibility_warnings(self.audience, walk_in=self.walk_in, release=self.release)
        if self.who_can == () and not self.withdrawn and not self.started:
            found.insert(0, nobody_can_see(self.effective, self.territory))
        if self.practitioner_inactive and not self.withdrawn and not self.started:
            found.insert(0, NO_LONGER_PRACTISES)
        return found

    @property
    def seen_by(self) -> tuple[object, ...]:
        """Everything that who can see it depends on: equal for the slots of one session."""
        return self.territory, self.practitioner_id, self.organization_id, self.effective


@dataclass(frozen=True, slots=True)
class LeftBehind:
    """Slots to come of somebody who practises no more."""

    rpps: str
    free: int
    booked: int


def kept_holds(
    holds: Mapping[str, Mapping[str, Any]], *, seats: int, now: datetime
) -> dict[str, Mapping[str, Any]]:
    """Return the live holds that still find a seat: whoever held first keeps it."""
    live = {key: hold for key, hold in holds.items() if hold["until"] > now.timestamp()}
    first = sorted(live, key=lambda key: (live[key]["since"], key))
    return {key: live[key] for key in first[: max(0, seats)]}


def closed_because(slot: Slot) -> Conflict | None:
    """Say why nobody can take a seat of this slot, however many are left."""
    if slot.withdrawn or (slot.given_back and not slot.booked):
        return SlotWithdrawn()
    if slot.started:
        return SlotStarted()
    return SlotWalkIn() if slot.walk_in else None


@dataclass(frozen=True, slots=True)
class Exposure:
    """Who can see a slot, since when, and how often searches of others listed it, by local day.

    `booked_elsewhere_meanwhile` is None once the slot is withdrawn.
    """

    slot: Slot
    visible_since: datetime | None
    listed: tuple[tuple[date, int], ...]
    booked_elsewhere_meanwhile: int | None


@dataclass(frozen=True, slots=True)
class Hold:
    """One seat kept while the caller is on the line; it expires by itself."""

    id: UUID
    slot_id: UUID
    expires_at: datetime
    zone: str
