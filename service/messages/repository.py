"""Every SQL statement of the room."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import (
    Boolean,
    Float,
    Integer,
    Interval,
    LargeBinary,
    Select,
    Text,
    Uuid,
    and_,
    cast,
    delete,
    exists,
    extract,
    func,
    literal_column,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert

from service.bookings import BookingState, Inform
from service.bookings import parts as bookings
from service.directory import parts as directory
from service.directory import reference as places
from service.kernel.db import UnitOfWork
from service.kernel.events import events
from service.kernel.ids import new_id
from service.kernel.sql import bind, snp_now, uuids
from service.kernel.tables import Instant
from service.messages.domain import (
    About,
    Appointment,
    Channel,
    Contact,
    Draft,
    Kind,
    Recipient,
)
from service.messages.tables import message_opt_outs, messages, practitioner_contacts
from service.slots import parts as slots

_m, _c, _o = messages.c, practitioner_contacts.c, message_opt_outs.c
_b, _s, _place = bookings.booking.c, slots.slot.c, directory.location.c
_who = directory.practitioner.c

# --- where messages reach a practitioner ----------------------------------------------------------

_CONTACTS = select(practitioner_contacts).where(_c.practitioner_id == func.any(uuids("ids")))
_BY_RPPS = (
    select(practitioner_contacts)
    .join(directory.practitioner, _who.id == _c.practitioner_id)
    .where(_who.rpps == bind("rpps", Text))
)
_LOCK_PRACTITIONER = (
    select(_who.id).where(_who.id == bind("practitioner_id", Uuid)).with_for_update(key_share=True)
)
_new = insert(practitioner_contacts).values(
    practitioner_id=bind("of", Uuid),
    email=bind("new_email", Text),
    mssante=bind("new_mssante", Text),
    wants_booking=bind("new_wants_booking", Boolean),
    wants_cancellation=bind("new_wants_cancellation", Boolean),
    wants_reminder=bind("new_wants_reminder", Boolean),
)
_WANTED = ("wants_booking", "wants_cancellation", "wants_reminder")
_PUT = _new.on_conflict_do_update(
    index_elements=[_c.practitioner_id],
    set_={
        **{name: _new.excluded[name] for name in ("email", "mssante", *_WANTED)},
        "version": _c.version + 1,
    },
)


async def contacts(uow: UnitOfWork, practitioner_ids: Iterable[UUID]) -> dict[UUID, Contact]:
    """Return the contacts of practitioners who have one."""
    rows = await uow.single(_CONTACTS, {"ids": sorted(set(practitioner_ids))})
    return {row["practitioner_id"]: Contact(**row) for row in rows.mappings()}


async def contact_by_rpps(uow: UnitOfWork, rpps: str) -> Contact | None:
    """Return the contact of the practitioner with this number."""
    row = (await uow.single(_BY_RPPS, {"rpps": rpps})).mappings().one_or_none()
    return None if row is None else Contact(**row)


async def lock_practitioner(uow: UnitOfWork, practitioner_id: UUID) -> None:
    """Take turns with who changes the same contact, there or not yet."""
    await uow.execute(_LOCK_PRACTITIONER, {"practitioner_id": practitioner_id})


async def put_contact(uow: UnitOfWork, contact: Contact) -> None:
    """Write a contact; its version is one more than before."""
    await uow.execute(
        _PUT,
        {
            "of": contact.practitioner_id,
            "new_email": contact.email,
            "new_mssante": contact.mssante,
            **{f"new_{name}": getattr(contact, name) for name in _WANTED},
        },
    )


# --- writing messages -----------------------------------------------------------------------------

_INFORMS = select(_b.id, _b.inform_patient, _b.patient_file_id).where(
    _b.id == func.any(uuids("ids"))
)
_WRITE = insert(messages).on_conflict_do_nothing()


async def informs(
    uow: UnitOfWork, booking_ids: Sequence[UUID]
) -> dict[UUID, tuple[frozenset[Inform], UUID]]:
    """Return what bookings ask to tell their patients, and on which files they are."""
    rows = await uow.single(_INFORMS, {"ids": list(booking_ids)})
    return {row.id: (_inform(row.inform_patient), row.patient_file_id) for row in rows}


def _inform(stored: Sequence[str] | None) -> frozenset[Inform]:
    return frozenset(map(Inform, stored or ()))


async def write(uow: UnitOfWork, drafts: Sequence[Draft]) -> list[UUID]:
    """Write messages, each once for its fact, kind and recipient; return ids to be looked at."""
    rows: list[dict[str, Any]] = [
        {
            "id": new_id(),
            "event_id": draft.event_id,
            "kind": draft.kind,
            "recipient": draft.recipient,
            "practitioner_id": draft.practitioner_id,
            "booking_id": draft.booking_id,
            "slot_id": draft.slot_id,
            "was_at": draft.was_at,
        }
        for draft in drafts
    ]
    if rows:
        await uow.execute(_WRITE, rows)
    return [row["id"] for row in rows]


# --- sending them ---------------------------------------------------------------------------------

_asking = directory.organization.alias("asking")
_offering = directory.organization.alias("offering")
_waits = _m.state.in_([literal_column("'queued'"), literal_column("'failed'")])
_is_due = and_(_waits, _m.due_at <= snp_now())
_this = _m.id == bind("message_id", Uuid)


_fact, _later = events.alias("fact"), events.alias("later")
_its_position = (
    select(_fact.c.position).where(_fact.c.id == _m.event_id).correlate(messages).scalar_subquery()
)
_moved_since = exists(
    select(1).where(
        _later.c.subject_id == _m.booking_id,
        _later.c.type == literal_column("'booking.rescheduled'"),
        or_(_later.c.position.is_(None), _later.c.position > _its_position),
    )
)


def _about() -> Select[Any]:
    """A message that is due, with everything that it tells; nobody else has it meanwhile."""
    return (
        select(
            *(_m.id, _m.kind, _m.recipient, _m.practitioner_id, _m.booking_id, _m.slot_id),
            *(_m.was_at, _m.attempts, _m.queued_at),
            *(_s.starts_at, _s.ends_at, _s.zone, _s.modes),
            _s.withdrawn_at.is_not(None).label("withdrawn"),
            _place.name.label("place"),
            *(_place.address, _place.postal_code, _place.commune),
            _place.phone.label("place_phone"),
            _offering.c.phone.label("organization_phone"),
            *(_c[name].label(f"contact_{name}") for name in _c.keys()),  # noqa: SIM118  columns, not a dict: it iterates over columns, keys() over names
            _b.practitioner_id.label("with_id"),
            *(_b.state, _b.inform_patient, _b.patient_file_id, _b.case_id),
            _b.slot_id.label("on_slot_id"),
            _moved_since.label("moved_since"),
            _asking.c.name.label("asked_by"),
            (_who.given_name + literal_column("' '") + _who.family_name).label("received_by"),
            snp_now().label("now"),
        )
        .select_from(
            messages.join(slots.slot, _s.id == _m.slot_id)
            .join(directory.location, _place.id == _s.location_id)
            .join(_offering, _offering.c.id == _s.organization_id)
            .outerjoin(practitioner_contacts, _c.practitioner_id == _m.practitioner_id)
            .outerjoin(bookings.booking, _b.id == _m.booking_id)
            .outerjoin(_asking, _asking.c.id == _b.organization_id)
            .outerjoin(directory.practitioner, _who.id == _b.practitioner_id)
        )
        .where(_this, _is_due)
        .with_for_update(of=messages, skip_locked=True)
    )


_ABOUT = _about()
_BEGIN = (
    update(messages)
    .where(_this)
    .values(attempts=_m.attempts + 1, due_at=snp_now() + bind("lease", Interval))
    .returning(_m.attempts)
)
_POSTPONE = update(messages).where(_this).values(due_at=bind("new_due_at", Instant))
_SETTLE = (
    update(messages)
    .where(_this, _waits)
    .values(
        state=bind("new_state", Text),
        why=bind("new_why", Text),
        channel=bind("new_channel", Text),
        settled_at=snp_now(),
    )
)
_FAIL = (
    update(messages)
    .where(_this, _waits)
    .values(
        state=literal_column("'failed'"),
        why=bind("new_why", Text),
        due_at=snp_now() + bind("wait", Interval),
    )
)


_PLAIN = About.__dataclass_fields__.keys() - {"contact", "inform"}


async def take(uow: UnitOfWork, message_id: UUID) -> About | None:
    """Lock a message that is due; None when it is not (any more), or another worker has it."""
    row = (await uow.execute(_ABOUT, {"message_id": message_id})).mappings().one_or_none()
    if row is None:
        return None
    plain = {name: row[name] for name in _PLAIN}
    contact = {name: row[f"contact_{name}"] for name in _c.keys()}  # noqa: SIM118  columns, not a dict: it iterates over columns, keys() over names
    commune = places.commune(row["commune"])
    return About(
        **{
            **plain,
            "kind": Kind(row["kind"]),
            "recipient": Recipient(row["recipient"]),
            "modes": tuple(row["modes"]),
            "commune": commune.name if commune else "",
            "contact": Contact(**contact) if contact["practitioner_id"] else None,
            "state": row["state"] and BookingState(row["state"]),
            "inform": _inform(row["inform_patient"]),
        }
    )


async def begin(uow: UnitOfWork, message_id: UUID, lease: timedelta) -> int:
    """Count an attempt; until the lease ends, nobody else makes one. Returns which one it is."""
    values = {"message_id": message_id, "lease": lease}
    return int((await uow.execute(_BEGIN, values)).scalar_one())


async def postpone(uow: UnitOfWork, message_id: UUID, until: datetime) -> None:
    """Look at a message again later."""
    await uow.execute(_POSTPONE, {"message_id": message_id, "new_due_at": until})


async def settle(
    uow: UnitOfWork,
    message_id: UUID,
    state: str,
    *,
    why: str | None = None,
    channel: Channel | None = None,
) -> None:
    """Say what became of a message, for good."""
    values = {"new_state": state, "new_why": why, "new_channel": channel}
    await uow.execute(_SETTLE, {"message_id": message_id, **values})


async def fail(uow: UnitOfWork, message_id: UUID, why: str, wait: timedelta) -> None:
    """Say why a message was not sent, and try again after a while."""
    await uow.execute(_FAIL, {"message_id": message_id, "new_why": why, "wait": wait})


_DUE = (
    select(_m.id)
    .where(_is_due)
    .order_by(_m.due_at)
    .limit(bind("limit", Integer))
    .with_for_update(skip_locked=True)
)
_RETRY = (
    update(messages)
    .where(_m.state == literal_column("'dead'"))
    .values(
        state=literal_column("'queued'"),
        attempts=literal_column("0"),
        queued_at=snp_now(),
        due_at=snp_now(),
        settled_at=None,
    )
    .returning(_m.id)
)
_seconds = cast(extract("epoch", snp_now() - func.min(_m.due_at)), Float)
_LAG = select(
    select(func.coalesce(_seconds, 0.0)).where(_is_due).scalar_subquery().label("seconds"),
    select(func.count())
    .where(_m.state == literal_column("'dead'"))
    .scalar_subquery()
    .label("dead"),
)


async def due(uow: UnitOfWork, limit: int) -> list[UUID]:
    """Lock some messages that are due, the oldest first, but those that somebody has."""
    return [*(await uow.execute(_DUE, {"limit": limit})).scalars()]


async def retry(uow: UnitOfWork) -> list[UUID]:
    """Let every dead letter wait to be sent again."""
    return [*(await uow.execute(_RETRY)).scalars()]


async def lag(uow: UnitOfWork) -> tuple[float, int]:
    """Return for how long the oldest due message has been waiting (s), and how many are dead."""
    row = (await uow.single(_LAG)).one()
    return row.seconds, row.dead


# --- who wants none -------------------------------------------------------------------------------

_OPT_OUT = insert(message_opt_outs).on_conflict_do_nothing()
_OPT_IN = delete(message_opt_outs).where(_o.address_index == bind("index", LargeBinary))
_OPTED_OUT = select(exists(select(1).where(_o.address_index == bind("index", LargeBinary))))


async def opt_out(uow: UnitOfWork, index: bytes) -> None:
    """Send nothing to an address any more."""
    await uow.execute(_OPT_OUT, {"address_index": index})


async def opt_in(uow: UnitOfWork, index: bytes) -> None:
    """Let an address get messages again."""
    await uow.execute(_OPT_IN, {"index": index})


async def opted_out(uow: UnitOfWork, index: bytes) -> bool:
    """Tell whether an address gets nothing."""
    return bool((await uow.execute(_OPTED_OUT, {"index": index})).scalar_one())


# --- what a link leads to -------------------------------------------------------------------------

_APPOINTMENT = (
    select(
        *(_b.id, _b.state, _b.starts_at, _b.ends_at, _b.practitioner_id, _b.territory),
        *(_b.reported_at, _b.sent_to_emergency, _b.version, _s.zone),
        _b.practitioner_organization_id.label("organization_id"),
        *(_s.organization_type, _who.rpps, _place.name.label("place")),
        snp_now().label("now"),
    )
    .select_from(
        bookings.booking.join(slots.slot, _s.id == _b.slot_id)
        .join(directory.practitioner, _who.id == _b.practitioner_id)
        .join(directory.location, _place.id == _s.location_id)
    )
    .where(_b.id == bind("booking_id", Uuid), _b.practitioner_id == bind("practitioner_id", Uuid))
)


async def appointment(
    uow: UnitOfWork, booking_id: UUID, practitioner_id: UUID
) -> Appointment | None:
    """Return a booking that is with a practitioner, without its patient."""
    values = {"booking_id": booking_id, "practitioner_id": practitioner_id}
    row = (await uow.single(_APPOINTMENT, values)).mappings().one_or_none()
    return None if row is None else Appointment(**{**row, "state": BookingState(row["state"])})
