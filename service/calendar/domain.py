"""What a calendar shows of a slot and of a booking, in French. Pure: no I/O, no clock.

Never who a patient is, nor what is wrong with them: neither is asked of the database.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from service.bookings import BookingState, CancelledBy
from service.kernel.errors import Conflict, NotFound
from service.slots import Mode

TOKENS = 20


class CalendarNotFound(NotFound):
    """The secret opens no calendar of this practitioner: unknown, revoked, ended or another's."""

    code = "calendar-not-found"
    title = "This address opens no calendar, or not any more."


class CalendarTokenNotFound(NotFound):
    """This practitioner never had such a token."""

    code = "calendar-token-not-found"
    title = "No calendar token of this practitioner has this id."


class TooManyCalendarTokens(Conflict):
    """More calendars than anybody looks at."""

    code = "too-many-calendar-tokens"
    title = f"This practitioner has {TOKENS} calendar tokens: revoke one that nobody uses."


class PractitionerInactive(Conflict):
    """Nothing is opened for somebody who practises no more."""

    code = "practitioner-inactive"
    title = "The directory says that this practitioner practises no more."


@dataclass(frozen=True, slots=True)
class CalendarToken:
    """What opens a calendar. The secret itself is known only where it has just been made."""

    id: UUID
    practitioner_id: UUID
    name: str
    zone: str
    created_at: datetime
    last_used_at: datetime | None
    secret: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Opened:
    """A calendar that a secret has just opened."""

    token_id: UUID
    practitioner_id: UUID
    practitioner: str
    # Its use is to be remembered: it was not within the hour, or under the key of before.
    unremembered: bool


@dataclass(frozen=True, slots=True)
class Place:
    """Where care is given."""

    name: str
    address: str | None
    postal_code: str | None
    commune: str | None

    def __str__(self) -> str:
        """Write it on one line."""
        town = " ".join(part for part in (self.postal_code, self.commune) if part)
        return ", ".join(part for part in (self.name, self.address, town) if part)


@dataclass(frozen=True, slots=True)
class Seat:
    """A booking (`state` is its own), or a slot with seats that nobody booked, or taken back."""

    id: UUID
    state: BookingState | None
    cancelled_by: CancelledBy | None
    free: int
    withdrawn: bool
    walk_in: bool
    starts_at: datetime
    ends_at: datetime
    modes: Sequence[Mode]
    place: Place
    version: int
    created_at: datetime
    updated_at: datetime
    now: datetime

    @property
    def started(self) -> bool:
        """Tell whether it has started."""
        return self.starts_at <= self.now


@dataclass(frozen=True, slots=True)
class Entry:
    """One event of the calendar. `sequence` rises with each change; a moved booking keeps `uid`."""

    uid: UUID
    sequence: int
    starts_at: datetime
    ends_at: datetime
    summary: str
    description: str
    location: str | None
    busy: bool
    cancelled: bool
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Feed:
    """A practitioner's calendar: its name, and its entries by start."""

    name: str
    entries: Sequence[Entry]


_MODES = {Mode.AMB: "au cabinet", Mode.HH: "à domicile", Mode.VR: "en téléconsultation"}
_BOOKED = {
    BookingState.BOOKED: "Rendez-vous SNP",
    BookingState.FULFILLED: "Rendez-vous SNP honoré",
    BookingState.NOSHOW: "Rendez-vous SNP non honoré",
    BookingState.CANCELLED: "Rendez-vous SNP annulé",
}
_CANCELLED_BY = {
    CancelledBy.PATIENT: "Annulé par le patient.",
    CancelledBy.REQUESTER: "Annulé par le demandeur.",
    CancelledBy.DOCTOR: "Annulé par le médecin.",
    CancelledBy.SYSTEM: "Annulé par le service.",
}
_WHO_COMES = "Qui vient : dans votre logiciel, jamais dans cet agenda."
_TO_REPORT = (
    "Compte rendu de venue : dès le début du rendez-vous, indiquez dans votre logiciel si le"
    " patient est venu, n'est pas venu ou a été adressé aux urgences."
)


def entry(seat: Seat) -> Entry:
    """Return what a calendar shows of a booking or a slot."""
    summary, told = _of_slot(seat) if seat.state is None else _of_booking(seat, seat.state)
    cancelled = seat.withdrawn or seat.state is BookingState.CANCELLED
    return Entry(
        uid=seat.id,
        sequence=seat.version - 1,
        starts_at=seat.starts_at,
        ends_at=seat.ends_at,
        summary=summary,
        description="\n".join(
            [f"Mode : {' ou '.join(_MODES[mode] for mode in seat.modes)}", *told]
        ),
        location=str(seat.place) if Mode.AMB in seat.modes else None,
        busy=seat.state is not None and not cancelled,
        cancelled=cancelled,
        created_at=seat.created_at,
        updated_at=seat.updated_at,
    )


def _of_slot(seat: Seat) -> tuple[str, list[str]]:
    """A held seat is still free: a hold is over before any calendar asks again."""
    if seat.withdrawn:
        return "Créneau SNP retiré", []
    if seat.walk_in:
        return "Créneau SNP sans rendez-vous", ["Les patients se présentent sans réservation."]
    if seat.started:
        return "Créneau SNP non pourvu", []
    places = f" ({seat.free} places)" if seat.free > 1 else ""
    return f"Créneau SNP libre{places}", ["Ouvert à la réservation."]


def _of_booking(seat: Seat, state: BookingState) -> tuple[str, list[str]]:
    if seat.cancelled_by is not None:
        return _BOOKED[state], [_CANCELLED_BY[seat.cancelled_by]]
    if state is not BookingState.BOOKED:
        return _BOOKED[state], [_WHO_COMES]
    awaited = " (compte rendu attendu)" if seat.started else ""
    return f"{_BOOKED[state]}{awaited}", [_WHO_COMES, _TO_REPORT]
