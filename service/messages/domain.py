"""What is told to whom when, and when it is not told (any more). Pure: no I/O, no clock."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID
from zoneinfo import ZoneInfo

from service.bookings import BookingState, Inform
from service.kernel.errors import Conflict, FieldError, Invalid, NotFound
from service.kernel.settings import Settings
from service.messages import reference
from service.stream import Fact

# What happened longer ago is told to nobody: after a long standstill it is no news. Of who is still
# to come, people are reminded all the same.
NEWS = timedelta(days=1)
# A worker that has not finished by then is dead: another one sends the message again.
LEASE = timedelta(minutes=2)
# So long a message is tried; then it is a dead letter.
TRIED = timedelta(days=2)
# As often within two days, where nothing says since when.
MOST_DEFECTS = 50
# Whoever comes so soon is not reminded.
SOON = timedelta(hours=3)
_FIRST_WAIT, _LONGEST_WAIT = timedelta(minutes=1), timedelta(hours=1)


class NoAddress(Conflict):
    """There is nothing that could be opted out of."""

    code = "patient-without-address"
    title = "This file has no e-mail address and no telephone number."


class ContactInvalid(Invalid):
    """A contact breaks a rule."""

    code = "contact-invalid"
    title = "This contact breaks a rule."


class Recipient(StrEnum):
    """To whom."""

    DOCTOR = "doctor"
    REGULAR_DOCTOR = "regular_doctor"
    PATIENT = "patient"


class Kind(StrEnum):
    """What a message tells."""

    BOOKED = "booked"
    RESCHEDULED = "rescheduled"
    MOVED_AWAY = "moved_away"
    CANCELLED = "cancelled"
    GIVEN_BACK = "given_back"
    REPORT_DUE = "report_due"
    RECEIVED = "received"
    CONFIRMED = "confirmed"
    CHANGED = "changed"
    CALLED_OFF = "called_off"
    REMINDER = "reminder"


class Channel(StrEnum):
    """How a message goes out."""

    MSSANTE = "mssante"
    EMAIL = "email"
    SMS = "sms"


# Which wish of a doctor a message follows.
WISHES: Mapping[Kind, str] = {
    Kind.BOOKED: "booking",
    Kind.RESCHEDULED: "booking",
    Kind.GIVEN_BACK: "booking",
    Kind.MOVED_AWAY: "cancellation",
    Kind.CANCELLED: "cancellation",
    Kind.REPORT_DUE: "reminder",
}
# The appointment may be over when these arrive.
_AFTERWARDS = frozenset({Kind.REPORT_DUE, Kind.RECEIVED})
_FOR_LATER = frozenset({Kind.REMINDER, Kind.REPORT_DUE})
_NOT_HERE_ANY_MORE = frozenset({Kind.CANCELLED, Kind.CALLED_OFF})


@dataclass(frozen=True, slots=True)
class Contact:
    """Where messages reach a practitioner, and which are wanted. Version 0: nobody has said."""

    practitioner_id: UUID
    email: str | None = None
    mssante: str | None = None
    wants_booking: bool = True
    wants_cancellation: bool = True
    wants_reminder: bool = True
    version: int = 0

    @property
    def addresses(self) -> list[tuple[Channel, str]]:
        """Return the addresses, the one to be tried first in front."""
        ways = ((Channel.MSSANTE, self.mssante), (Channel.EMAIL, self.email))
        return [(channel, address) for channel, address in ways if address]

    def wants(self, kind: Kind) -> bool:
        """Tell whether the practitioner wants a kind of message, and can get it."""
        wish = WISHES.get(kind)
        return bool(self.addresses) and (wish is None or bool(getattr(self, f"wants_{wish}")))


@dataclass(frozen=True, slots=True)
class Draft:
    """A message to be written. `practitioner_id`: the doctor; who else it is for is not kept."""

    event_id: UUID
    kind: Kind
    recipient: Recipient
    slot_id: UUID
    practitioner_id: UUID | None = None
    booking_id: UUID | None = None
    was_at: datetime | None = None


def is_told(fact: Fact, now: datetime) -> bool:
    """Tell whether messages follow from a fact at all: it is news, or somebody is still to come."""
    if now - fact.occurred_at < NEWS:
        given_back = fact.type == "slot.withdrawn" and fact.data.get("reason") == "given_back"
        return fact.room == "booking" or given_back
    return fact.room == "booking" and datetime.fromisoformat(fact.data["starts_at"]) > now


def is_in_time(draft: Draft, fact: Fact, now: datetime) -> bool:
    """Tell whether a message is not too late: it tells news, or is for later anyway."""
    return now - fact.occurred_at < NEWS or draft.kind in _FOR_LATER


def is_received(fact: Fact) -> bool:
    """Tell whether a fact says, for the first time, that a patient came."""
    return (
        fact.type == "booking.reported"
        and fact.data["state"] == BookingState.FULFILLED
        and fact.data["before"]["state"] != BookingState.FULFILLED
    )


def drafts(fact: Fact, inform: frozenset[Inform], *, to_regular_doctor: bool) -> Iterator[Draft]:
    """Yield what a fact (`is_told`) gives rise to, whatever its recipients want.

    `inform` is what its booking asks to tell the patient; `to_regular_doctor`: the patient's own
    doctor is known and to be informed.
    """
    if fact.type == "slot.withdrawn":
        practitioner = _id(fact, "practitioner_id")
        if practitioner is not None:
            yield Draft(fact.id, Kind.GIVEN_BACK, Recipient.DOCTOR, fact.subject_id, practitioner)
    else:
        yield from _to_doctors(fact)
        yield from _to_patient(fact, inform)
        if to_regular_doctor:
            yield Draft(
                fact.id,
                Kind.RECEIVED,
                Recipient.REGULAR_DOCTOR,
                UUID(fact.data["slot_id"]),
                booking_id=fact.subject_id,
            )


def _to_doctors(fact: Fact) -> Iterator[Draft]:
    old, new = _id(fact, "from_practitioner_id"), _id(fact, "practitioner_id")
    moved = fact.type == "booking.rescheduled"

    def draft(kind: Kind, whom: UUID, *, slot: str = "slot_id") -> Draft:
        was = fact.data["from_starts_at"] if kind is Kind.RESCHEDULED else None
        return Draft(
            event_id=fact.id,
            kind=kind,
            recipient=Recipient.DOCTOR,
            slot_id=UUID(fact.data[slot]),
            practitioner_id=whom,
            booking_id=fact.subject_id,
            was_at=datetime.fromisoformat(was) if was else None,
        )

    if moved and old is not None and old != new:
        yield draft(Kind.MOVED_AWAY, old, slot="from_slot_id")
    if new is not None and fact.type == "booking.cancelled":
        yield draft(Kind.CANCELLED, new)
    if new is not None and (moved or fact.type == "booking.created"):
        yield draft(Kind.RESCHEDULED if moved and old == new else Kind.BOOKED, new)
        yield draft(Kind.REPORT_DUE, new)


_TOLD_PATIENTS: Mapping[str, Kind] = {
    "booking.created": Kind.CONFIRMED,
    "booking.rescheduled": Kind.CHANGED,
    "booking.cancelled": Kind.CALLED_OFF,
}


def _to_patient(fact: Fact, inform: frozenset[Inform]) -> Iterator[Draft]:
    kind = _TOLD_PATIENTS.get(fact.type)
    if kind is None:
        return
    slot_id = UUID(fact.data["slot_id"])

    def draft(kind: Kind) -> Draft:
        return Draft(fact.id, kind, Recipient.PATIENT, slot_id, booking_id=fact.subject_id)

    if Inform.CONFIRMATION in inform:
        yield draft(kind)
    if Inform.REMINDER in inform and kind is not Kind.CALLED_OFF:
        yield draft(Kind.REMINDER)


def _id(fact: Fact, name: str) -> UUID | None:
    value = fact.data.get(name)
    return UUID(value) if value else None


@dataclass(frozen=True, slots=True)
class About:
    """A message with everything that it tells, as it is now; never who the patient is."""

    id: UUID
    kind: Kind
    recipient: Recipient
    practitioner_id: UUID | None
    booking_id: UUID | None
    slot_id: UUID
    was_at: datetime | None
    attempts: int
    queued_at: datetime
    starts_at: datetime
    ends_at: datetime
    zone: str
    modes: tuple[str, ...]
    withdrawn: bool
    place: str
    address: str | None
    postal_code: str | None
    commune: str
    place_phone: str | None
    organization_phone: str | None
    contact: Contact | None
    with_id: UUID | None
    state: BookingState | None
    on_slot_id: UUID | None
    moved_since: bool
    inform: frozenset[Inform]
    patient_file_id: UUID | None
    case_id: str | None
    asked_by: str | None
    received_by: str | None
    now: datetime

    @property
    def phone(self) -> str | None:
        """Return the number to call about the appointment."""
        return self.place_phone or self.organization_phone


def said(instant: datetime, zone: str) -> str:
    """Say an instant in French, in a zone: `vendredi 27 novembre 2026 à 14 h 30`."""
    return reference.said(instant.astimezone(ZoneInfo(zone)))


def why_not(about: About) -> str | None:
    """Say why a message is not sent any more; None when it still holds."""
    if about.kind not in _AFTERWARDS and about.starts_at <= about.now:
        return "past"
    if about.kind is Kind.GIVEN_BACK:
        holds = about.withdrawn
    elif about.kind is Kind.RECEIVED:
        holds = about.state is BookingState.FULFILLED
    elif about.kind in _NOT_HERE_ANY_MORE:
        holds = about.state is BookingState.CANCELLED
    elif about.kind is Kind.MOVED_AWAY:
        holds = about.on_slot_id != about.slot_id
    else:
        here = about.on_slot_id == about.slot_id
        # Moved away and back, it is told by what followed from the last move.
        holds = about.state is BookingState.BOOKED and here and not about.moved_since
    if not holds:
        return "outdated"
    wanted = about.recipient is not Recipient.DOCTOR or (
        about.contact is not None and about.contact.wants(about.kind)
    )
    return None if wanted else "not_wanted"


def channels(settings: Settings) -> frozenset[Channel]:
    """Return the ways that this installation has."""
    mail = {Channel.MSSANTE, Channel.EMAIL} if settings.smtp_url else set()
    return frozenset(mail | ({Channel.SMS} if settings.sms_url else set()))


def due(about: About, settings: Settings) -> datetime | str:
    """Return when a message is to be sent, or why it never is."""
    if about.kind is Kind.REPORT_DUE:
        return about.ends_at + timedelta(hours=settings.report_reminder_hours)
    if about.kind is not Kind.REMINDER:
        return about.queued_at
    when = about.starts_at - timedelta(hours=settings.patient_reminder_hours)
    if when > about.now:
        return when
    if when <= about.queued_at and Inform.CONFIRMATION in about.inform:
        return "just_told"  # booked so late that the confirmation is the reminder
    return "too_late" if about.starts_at - about.now < SOON else about.now


def wait(attempts: int) -> timedelta:
    """Return how long to wait after so many attempts: a minute, two, four ... an hour."""
    return min(_FIRST_WAIT * 2.0 ** min(attempts - 1, 10), _LONGEST_WAIT)


class Undelivered(Exception):
    """Nobody took the message. `why` is a code, never what a server said: it may quote an address.

    `for_good`: the next attempt would end alike.
    """

    def __init__(self, why: str, *, for_good: bool = False) -> None:
        super().__init__(why)
        self.why = why
        self.for_good = for_good


@dataclass(frozen=True, slots=True)
class Letter:
    """A message in words, and the ways to its recipient; the first one that takes it is enough."""

    id: UUID
    ways: tuple[tuple[Channel, str], ...]
    subject: str
    text: str
    html: str
    sms: str


def check_contact(contact: Contact) -> None:
    """Refuse an MSSanté address that is none."""
    if contact.mssante is not None and not contact.mssante.endswith(".mssante.fr"):
        raise ContactInvalid(
            FieldError("#/mssante", "not-mssante", "An MSSanté address ends in .mssante.fr.")
        )


# --- the report by a link -------------------------------------------------------------------------


class LinkWorthless(NotFound):
    """The link is forged, over, or the booking is with somebody else: told in the same words."""

    code = "link-worthless"
    title = "This link is not, or no longer, valid."


@dataclass(frozen=True, slots=True)
class Appointment:
    """What a link leads to: a booking of the link's doctor, without its patient."""

    id: UUID
    state: BookingState
    starts_at: datetime
    ends_at: datetime
    practitioner_id: UUID
    territory: str
    reported_at: datetime | None
    sent_to_emergency: bool
    version: int
    zone: str
    organization_id: UUID
    organization_type: str
    rpps: str
    place: str
    now: datetime


class Answer(StrEnum):
    """What happened, as the three buttons say."""

    CAME = "came"
    NO_SHOW = "no_show"
    EMERGENCY = "emergency"

    @property
    def state(self) -> BookingState:
        """Return the booking's state."""
        return BookingState.NOSHOW if self is Answer.NO_SHOW else BookingState.FULFILLED

    @classmethod
    def of(cls, appointment: Appointment) -> "Answer":
        """Return the answer that a report gave."""
        if appointment.state is BookingState.NOSHOW:
            return cls.NO_SHOW
        return cls.EMERGENCY if appointment.sent_to_emergency else cls.CAME
