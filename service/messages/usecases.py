"""Use cases: what follows from facts, sending it, contacts, opt-outs, the report by a link."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from service import bookings, directory, identity, patients
from service.bookings import Booking
from service.identity import Actor, Role
from service.kernel import events, jobs
from service.kernel.db import UnitOfWork
from service.kernel.settings import Settings
from service.kernel.versions import Expected
from service.messages import letters, repository, tokens
from service.messages.domain import (
    LEASE,
    MOST_DEFECTS,
    TRIED,
    About,
    Answer,
    Appointment,
    Channel,
    Contact,
    Draft,
    Letter,
    LinkWorthless,
    NoAddress,
    Recipient,
    Undelivered,
    channels,
    check_contact,
    drafts,
    due,
    is_in_time,
    is_received,
    is_told,
    wait,
    why_not,
)
from service.slots import NotMyPractitioner
from service.stream import Fact

_BATCH = 500
# Why a message failed, when it is our own fault.
DEFECT = "defect"


# --- what follows from facts ----------------------------------------------------------------------


async def consume(uow: UnitOfWork, facts: Sequence[Fact]) -> None:
    """Write the messages that facts give rise to, and a job for each. Repeated, it adds nothing.

    Facts older than a day are told to nobody; people are reminded all the same.
    """
    now = await uow.now()
    told = [fact for fact in facts if is_told(fact, now)]
    about = [fact.subject_id for fact in told if fact.room == "booking"]
    asked = await repository.informs(uow, about) if about else {}
    wanted: list[Draft] = []
    for fact in told:
        inform, file_id = asked.get(fact.subject_id, (frozenset(), None))
        rpps = (
            await patients.doctor_to_inform(uow, file_id)
            if file_id is not None and is_received(fact)
            else None
        )
        found = drafts(fact, inform, to_regular_doctor=rpps is not None)
        wanted += (draft for draft in found if is_in_time(draft, fact, now))
    ids = [draft.practitioner_id for draft in wanted if draft.practitioner_id]
    contacts = await repository.contacts(uow, ids) if ids else {}
    kept = [
        draft
        for draft in wanted
        if draft.practitioner_id is None
        or ((contact := contacts.get(draft.practitioner_id)) and contact.wants(draft.kind))
    ]
    await _defer(uow, await repository.write(uow, kept))


async def _defer(uow: UnitOfWork, ids: Sequence[UUID]) -> None:
    await jobs.defer(
        uow,
        [
            jobs.Job(
                queue="messages",
                task="messages:send",
                args={"message_id": str(message_id)},
                queueing_lock=f"message {message_id}",
            )
            for message_id in ids
        ],
    )


async def defer_due(uow: UnitOfWork) -> int:
    """Let messages be looked at whose time has come, or whose worker died; returns how many."""
    ids = await repository.due(uow, _BATCH)
    await _defer(uow, ids)
    return len(ids)


# --- sending --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Taken:
    """A message that this worker sends now. `since`: when it was to be sent first."""

    letter: Letter
    since: datetime
    now: datetime
    attempts: int


async def take(uow: UnitOfWork, settings: Settings, message_id: UUID) -> Taken | None:
    """Take a message to be sent, in words made of what is known now.

    None when there is nothing to send: another worker has it, it is for later, or for nobody (any
    more), which is kept. A worker that dies leaves it to another one when the lease ends.
    """
    about = await repository.take(uow, message_id)
    if about is None:
        return None
    why = why_not(about)
    when = due(about, settings)
    if why is not None or isinstance(when, str):
        await repository.settle(uow, message_id, "suppressed", why=why or str(when))
        return None
    if when > about.now:
        await repository.postpone(uow, message_id, when)
        return None
    try:
        ways = await _ways(uow, about, channels(settings))
    except Undelivered as nobody:
        await repository.settle(uow, message_id, "suppressed", why=nobody.why)
        return None
    await repository.begin(uow, message_id, LEASE)
    letter = letters.letter(about, ways, _link(uow, settings, about))
    return Taken(letter, when, about.now, about.attempts + 1)


def _link(uow: UnitOfWork, settings: Settings, about: About) -> str | None:
    if not (settings.public_url and about.booking_id and about.practitioner_id):
        return None
    keys = uow.vault.link_keys
    token = tokens.sign(keys, about.booking_id, about.practitioner_id, about.ends_at)
    return f"{settings.public_url}/r/{token}"


async def _ways(
    uow: UnitOfWork, about: About, there_are: frozenset[Channel]
) -> list[tuple[Channel, str]]:
    """Return the addresses of the recipient. Raises `Undelivered`: why there is none."""
    if about.recipient is Recipient.PATIENT:
        return await _ways_to_patient(uow, about, there_are)
    contact = about.contact
    if about.recipient is Recipient.REGULAR_DOCTOR:
        contact = await _regular_doctor(uow, about)
    return _open(contact.addresses if contact else [], there_are)


def _open(
    ways: Sequence[tuple[Channel, str]], there_are: frozenset[Channel]
) -> list[tuple[Channel, str]]:
    if not ways:
        raise Undelivered("no_address")
    found = [way for way in ways if way[0] in there_are]
    if not found:
        raise Undelivered("not_configured")
    return found


async def _regular_doctor(uow: UnitOfWork, about: About) -> Contact | None:
    """Return the contact of the patient's own doctor, unless it is who received them."""
    assert about.patient_file_id is not None  # noqa: S101  the message is about a booking
    rpps = await patients.doctor_to_inform(uow, about.patient_file_id)
    found = await repository.contact_by_rpps(uow, rpps) if rpps else None
    return found if found and found.practitioner_id != about.with_id else None


async def _ways_to_patient(
    uow: UnitOfWork, about: About, there_are: frozenset[Channel]
) -> list[tuple[Channel, str]]:
    """Read where the patient is reached: traced, and kept nowhere. By e-mail before SMS."""
    assert about.patient_file_id is not None  # noqa: S101  the message is about a booking
    email, phone = await patients.addresses(uow, about.patient_file_id)
    ways = _open(
        [
            (channel, address)
            for channel, address in ((Channel.EMAIL, email), (Channel.SMS, phone))
            if address
        ],
        there_are,
    )
    wanted = [way for way in ways if not await repository.opted_out(uow, _index(uow, way[1]))]
    if not wanted:
        raise Undelivered("opted_out")
    return wanted


async def sent(uow: UnitOfWork, taken: Taken, channel: Channel) -> None:
    """Keep that a message was taken from us."""
    await repository.settle(uow, taken.letter.id, "sent", channel=channel)


async def failed(uow: UnitOfWork, taken: Taken, failure: Undelivered) -> None:
    """Keep that nobody took a message: it is tried again for two days, then it is a dead letter."""
    pause = wait(taken.attempts)
    if failure.for_good or taken.now + pause > taken.since + TRIED:
        await repository.settle(uow, taken.letter.id, "dead", why=failure.why)
    else:
        await repository.fail(uow, taken.letter.id, failure.why, pause)


async def unwritten(uow: UnitOfWork, message_id: UUID) -> None:
    """Keep that a message could not even be written: as if nobody had taken it."""
    attempts = await repository.begin(uow, message_id, LEASE)
    if attempts > MOST_DEFECTS:
        await repository.settle(uow, message_id, "dead", why=DEFECT)
    else:
        await repository.fail(uow, message_id, DEFECT, wait(attempts))


async def retry(uow: UnitOfWork) -> int:
    """Send the dead letters again, those that still say something true; returns how many."""
    ids = await repository.retry(uow)
    await _defer(uow, ids)
    return len(ids)


async def sending(settings: Settings, uow: UnitOfWork) -> tuple[bool, str]:
    """Tell how messages go out: it never keeps a server from serving."""
    seconds, dead = await repository.lag(uow)
    told = f"oldest due message: {seconds:.0f} s; dead letters: {dead}"
    return True, told if settings.smtp_url else f"no e-mail: SNP_SMTP_URL is not set; {told}"


async def measures(uow: UnitOfWork) -> dict[str, float]:
    """Measure the same: for how long the oldest due message waits, and how many are dead."""
    seconds, dead = await repository.lag(uow)
    return {"messages_oldest_due_seconds": seconds, "messages_dead": float(dead)}


# --- contacts -------------------------------------------------------------------------------------


async def read_contact(uow: UnitOfWork, actor: Actor, practitioner_id: UUID) -> Contact:
    """Return where messages reach a practitioner: for their side, and managers of the territory.

    Refusals: `practitioner-not-found`, `not-my-practitioner`.
    """
    await _check_mine(uow, actor, practitioner_id)
    found = await repository.contacts(uow, [practitioner_id])
    return found.get(practitioner_id, Contact(practitioner_id))


async def put_contact(
    uow: UnitOfWork, actor: Actor, contact: Contact, expected: Expected
) -> Contact:
    """Say where messages reach a practitioner, and which are wanted.

    Refusals: `practitioner-not-found`, `not-my-practitioner`, `version-mismatch`,
    `contact-invalid`.
    """
    territory = await _check_mine(uow, actor, contact.practitioner_id)
    await repository.lock_practitioner(uow, contact.practitioner_id)
    before = await read_contact(uow, actor, contact.practitioner_id)
    expected.check(before.version, required=False)
    check_contact(contact)
    if contact == replace(before, version=contact.version):
        return before
    await repository.put_contact(uow, contact)
    await events.record(
        uow,
        actor.origin,
        "practitioner.contact_set",
        contact.practitioner_id,
        territory=territory,
        data={"members": _changed(before, contact)},
    )
    return await read_contact(uow, actor, contact.practitioner_id)


def _changed(before: Contact, after: Contact) -> list[str]:
    names = ("email", "mssante", "wants_booking", "wants_cancellation", "wants_reminder")
    return [name for name in names if getattr(before, name) != getattr(after, name)]


async def _check_mine(uow: UnitOfWork, actor: Actor, practitioner_id: UUID) -> str:
    territory = (await directory.practitioner(uow, practitioner_id)).territory
    mine = (
        actor.administers
        or practitioner_id in actor.practitioner_ids
        or (actor.role is Role.MANAGER and territory in actor.territories)
    )
    if not mine:
        raise NotMyPractitioner
    return territory


# --- who wants none -------------------------------------------------------------------------------


async def opt_out(uow: UnitOfWork, actor: Actor, file_id: UUID) -> None:
    """Send nothing to a patient's addresses any more, whatever file has them.

    Refusals: `patient-file-not-found`, `patient-without-address`.
    """
    for index in await _indexes(uow, actor, file_id, "patient_file.opted_out"):
        await repository.opt_out(uow, index)


async def opt_in(uow: UnitOfWork, actor: Actor, file_id: UUID) -> None:
    """Let a patient's addresses get messages again. Refusals: those of `opt_out`."""
    for index in await _indexes(uow, actor, file_id, "patient_file.opted_in"):
        await repository.opt_in(uow, index)


async def _indexes(uow: UnitOfWork, actor: Actor, file_id: UUID, event: str) -> list[bytes]:
    file = await patients.to_amend(uow, actor, file_id)
    found = [address for address in (file.patient.email, file.patient.phone) if address]
    if not found:
        raise NoAddress
    await events.record(uow, actor.origin, event, file_id, territory=file.territory, data={})
    return [_index(uow, address) for address in found]


def _index(uow: UnitOfWork, address: str) -> bytes:
    """Index an address exactly: as a blind index has it, `a.b@x` would be `ab@x` too."""
    return uow.vault.blind_index(address.encode().hex(), purpose="message_opt_out")


async def stop(uow: UnitOfWork, phone: str) -> None:
    """Send nothing to a number any more: its owner replied STOP."""
    await repository.opt_out(uow, _index(uow, phone))


# --- the report by a link -------------------------------------------------------------------------


async def linked(uow: UnitOfWork, token: str) -> Appointment:
    """Return the booking that a link lets report. Refusals: `link-worthless`."""
    link = tokens.read(uow.vault.link_keys, token)
    if link is None:
        raise LinkWorthless
    found = await repository.appointment(uow, link.booking_id, link.practitioner_id)
    if found is None or link.until <= found.now:
        raise LinkWorthless
    return found


async def report(
    uow: UnitOfWork, appointment: Appointment, answer: Answer, expected: Expected
) -> Booking:
    """Report as the doctor's side does. Refusals: those of `bookings.report`."""
    actor = identity.by_link(
        practitioner_id=appointment.practitioner_id,
        rpps=appointment.rpps,
        organization_id=appointment.organization_id,
        organization_type=appointment.organization_type,
        territory=appointment.territory,
    )
    return await bookings.report(
        uow,
        actor,
        appointment.id,
        state=answer.state,
        detail=None,
        sent_to_emergency=answer is Answer.EMERGENCY,
        expected=expected,
        keeps_detail=True,
    )
