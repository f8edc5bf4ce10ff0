"""Every SQL statement of the room. Slots are written by the room `slots`, bookings by theirs."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import date, datetime
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Date,
    Integer,
    RowMapping,
    Select,
    Text,
    Uuid,
    and_,
    cast,
    func,
    insert,
    or_,
    select,
    text,
    update,
)

from service.agenda.domain import SHOWN, Absence, Session, SessionDraft
from service.agenda.domain.timetable import DAYS_AHEAD, Recurrence, SchoolZone, Timetable, Weekday
from service.agenda.tables import absences, slot_sessions
from service.audit import parts as traces
from service.directory import Place
from service.identity import Actor
from service.kernel.crypto import Vault
from service.kernel.db import UnitOfWork
from service.kernel.sql import bind, snp_now, uuids
from service.kernel.tables import Instant
from service.slots import ReleaseTo, Step
from service.slots import parts as slots

_n, _a, _s = slot_sessions.c, absences.c, slots.slot.c

# --- sessions -----------------------------------------------------------------------------------


def _mine() -> ColumnElement[bool]:
    """Who acts for the practitioner, or for the centre of a session that names nobody."""
    return or_(
        _n.practitioner_id == func.any(uuids("caller_practitioner_ids")),
        and_(
            _n.practitioner_id.is_(None),
            _n.organization_id == bind("caller_organization_id", Uuid),
        ),
    )


_LISTS = ("modes", "visibility", "cpts_ids", "organization_types", "organization_ids")
_PLAIN = (
    "practitioner_id", "location_id", "specialty", "capacity", "overbooking", "walk_in", "note",
)  # fmt: skip
_KEPT = ("id", "organization_id", "territory", "zone", "ended_at", "version", "created_at")


def _session(row: RowMapping) -> Session:
    recurrence = None
    if row["weekly"] is not None:
        recurrence = Recurrence(
            weekly=tuple(Weekday(day) for day in row["weekly"]),
            until=row["until"],
            excepted=tuple(row["except_dates"]),
            skip_public_holidays=row["skip_public_holidays"],
            skip_school_holidays=row["skip_school_holidays"],
            school_zone=row["school_zone"] and SchoolZone(row["school_zone"]),
        )
    members: dict[str, Any] = {name: row[name] for name in (*_PLAIN, *_KEPT)}
    members |= {name: tuple(row[name]) for name in _LISTS}
    members["release"] = tuple(
        Step(step["minutes_before"], ReleaseTo(step["to"])) for step in row["release"]
    )
    return Session(
        timetable=Timetable(
            date=row["first_date"],
            start=row["local_start"],
            end=row["local_end"],
            slot_minutes=row["slot_minutes"],
            recurrence=recurrence,
        ),
        **members,
    )


def _values(draft: SessionDraft, place: Place) -> dict[str, Any]:
    times = draft.timetable
    recurrence = times.recurrence or Recurrence(weekly=())
    return {
        "organization_id": place.organization_id,
        "territory": place.territory,
        "zone": place.zone,
        "first_date": times.date,
        "local_start": times.start,
        "local_end": times.end,
        "slot_minutes": times.slot_minutes,
        "weekly": list(recurrence.weekly) or None,
        "until": recurrence.until,
        "except_dates": list(recurrence.excepted),
        "skip_public_holidays": recurrence.skip_public_holidays,
        "skip_school_holidays": recurrence.skip_school_holidays,
        "school_zone": recurrence.school_zone,
        **{name: getattr(draft, name) for name in _PLAIN},
        **{name: list(getattr(draft, name)) for name in _LISTS},
        "release": [asdict(step) for step in draft.release],
    }


_ADD = insert(slot_sessions).returning(*_n)


async def add(
    uow: UnitOfWork, session_id: UUID, draft: SessionDraft, place: Place, client_id: UUID | None
) -> Session:
    """Insert a session at a place."""
    values = {"id": session_id, "client_id": client_id, **_values(draft, place)}
    rows = await uow.execute(_ADD, values)
    return _session(rows.mappings().one())


_FIXED = {
    "id", "practitioner_id", "client_id", "filled_through", "ended_at", "version", "created_at",
    "updated_at",
}  # fmt: skip
_AMENDABLE = [c.name for c in _n if c.name not in _FIXED]
_AMEND = (
    update(slot_sessions)
    .where(_n.id == bind("session_id", Uuid))
    .values(
        **{name: bind(f"new_{name}", _n[name].type) for name in _AMENDABLE},
        version=_n.version + 1,
        updated_at=snp_now(),
    )
    .returning(*_n)
)


async def amend(uow: UnitOfWork, session: Session, place: Place) -> Session:
    """Write every amendable column anew."""
    values = _values(session, place)
    given = {f"new_{name}": values[name] for name in _AMENDABLE}
    rows = await uow.execute(_AMEND, {"session_id": session.id, **given})
    return _session(rows.mappings().one())


_FIND = select(*_n).where(_n.id == bind("session_id", Uuid), _mine())


async def find(uow: UnitOfWork, actor: Actor, session_id: UUID) -> Session | None:
    """Return a session of the caller's."""
    rows = await uow.single(_FIND, {"session_id": session_id, **slots.caller(actor)})
    row = rows.mappings().one_or_none()
    return None if row is None else _session(row)


_OF_SLOT = select(*_n).where(_n.id == bind("session_id", Uuid))


async def of_slot(uow: UnitOfWork, session_id: UUID) -> Session:
    """Return the session that made a slot, whoever asks."""
    return _session((await uow.execute(_OF_SLOT, {"session_id": session_id})).mappings().one())


_LOCK = _OF_SLOT.with_for_update()


async def lock(uow: UnitOfWork, session_id: UUID) -> Session:
    """Lock and return a session; after its practitioner, before any slot."""
    return _session((await uow.execute(_LOCK, {"session_id": session_id})).mappings().one())


_FILTERS: Mapping[str, ColumnElement[bool]] = {
    "practitioner_id": _n.practitioner_id == bind("practitioner_id", Uuid),
    "before": _n.id < bind("before", Uuid),
}


@cache
def _list(shape: tuple[str, ...]) -> Select[Any]:
    return (
        select(*_n)
        .where(_mine(), *(_FILTERS[name] for name in shape))
        .order_by(_n.id.desc())
        .limit(bind("limit", Integer))
    )


async def list_mine(
    uow: UnitOfWork, actor: Actor, wanted: Mapping[str, Any], limit: int
) -> list[Session]:
    """Return the caller's sessions, newest first, one more than the page holds."""
    given = {name: value for name, value in wanted.items() if value is not None}
    values = {**slots.caller(actor), **given, "limit": limit + 1}
    rows = await uow.single(_list(tuple(given)), values)
    return [_session(row) for row in rows.mappings()]


_END = (
    update(slot_sessions)
    .where(_n.id == bind("session_id", Uuid))
    .values(ended_at=snp_now(), version=_n.version + 1, updated_at=snp_now())
)


async def end(uow: UnitOfWork, session_id: UUID) -> None:
    """End a session: nothing more is filled."""
    await uow.execute(_END, {"session_id": session_id})


# --- its slots ----------------------------------------------------------------------------------

_TAKEN = select(_s.session_start).where(
    _s.session_id == bind("session_id", Uuid), _s.session_start > snp_now()
)


async def taken(uow: UnitOfWork, session_id: UUID) -> set[datetime]:
    """Return the places of the grid that hold a slot, were it moved or withdrawn by hand."""
    return set((await uow.execute(_TAKEN, {"session_id": session_id})).scalars())


_COUNT = select(func.count()).where(_s.session_id == bind("session_id", Uuid))
_COMING = (
    select(_s.id)
    .where(
        _s.session_id == bind("session_id", Uuid),
        _s.withdrawn_at.is_(None),
        _s.starts_at > snp_now(),
    )
    .order_by(_s.starts_at, _s.id)
    .limit(SHOWN)
)


async def standing(uow: UnitOfWork, session_id: UUID) -> tuple[int, list[UUID]]:
    """Count the slots of a session, past and hand-withdrawn ones too, and name the next ones."""
    this = {"session_id": session_id}
    number = (await uow.execute(_COUNT, this)).scalar_one()
    return int(number), list((await uow.execute(_COMING, this)).scalars())


_FILLED = (
    update(slot_sessions)
    .where(_n.id == bind("session_id", Uuid))
    .values(filled_through=bind("through", Date))
)


async def filled(uow: UnitOfWork, session_id: UUID, through: date) -> None:
    """Note the last local date that was looked at."""
    await uow.execute(_FILLED, {"session_id": session_id, "through": through})


_REFILL = (
    update(slot_sessions)
    .where(_n.practitioner_id == bind("of_practitioner", Uuid), _n.ended_at.is_(None))
    .values(filled_through=None)
)


async def refill(uow: UnitOfWork, practitioner_id: UUID) -> None:
    """Let the sessions of a practitioner be looked at again: an absence has ended."""
    await uow.execute(_REFILL, {"of_practitioner": practitioner_id})


def _today() -> ColumnElement[date]:
    return cast(func.timezone(_n.zone, snp_now()), Date)


_DUE = (
    select(_n.id, _n.practitioner_id)
    .where(
        _n.ended_at.is_(None),
        # A night's session of yesterday may have slots to come.
        or_(_n.until.is_(None), _n.until >= _today() - 1),
        or_(_n.weekly.is_not(None), _n.first_date >= _today() - 1),
        or_(_n.filled_through.is_(None), _n.filled_through < _today() + (DAYS_AHEAD - 1)),
        _n.id > bind("after", Uuid),
    )
    .order_by(_n.id)
    .limit(bind("limit", Integer))
)


async def due(uow: UnitOfWork, *, after: UUID, limit: int) -> list[tuple[UUID, UUID | None]]:
    """Return live sessions not looked at since their local midnight, and whose, by id."""
    rows = await uow.single(_DUE, {"after": after, "limit": limit})
    return [(row.id, row.practitioner_id) for row in rows]


_ALONE = text("SELECT pg_try_advisory_xact_lock(7301838, hashtext(:session))").bindparams(
    bind("session", Text)
)


async def alone(uow: UnitOfWork, session_id: UUID) -> bool:
    """Tell whether no other process is filling this session just now; holds until the commit."""
    return bool((await uow.execute(_ALONE, {"session": str(session_id)})).scalar_one())


# --- absences -----------------------------------------------------------------------------------

_ADD_ABSENCE = insert(absences).returning(*_a)


def _absence(vault: Vault, row: RowMapping) -> Absence:
    return Absence(
        reason=vault.decrypt(row["reason"], column="absences.reason", row=row["id"]),
        slot_ids=tuple(row["slot_ids"]),
        booking_ids=tuple(row["booking_ids"]),
        **{
            name: row[name]
            for name in (
                "id", "practitioner_id", "zone", "starts_at", "ends_at", "ended_at", "created_at",
            )
        },
    )  # fmt: skip


async def add_absence(
    uow: UnitOfWork, absence_id: UUID, reason: str | None, **columns: Any
) -> Absence:
    """Insert an absence; its reason is encrypted."""
    sealed = uow.vault.encrypt(reason, column="absences.reason", row=absence_id)
    rows = await uow.execute(_ADD_ABSENCE, {"id": absence_id, "reason": sealed, **columns})
    return _absence(uow.vault, rows.mappings().one())


_LIVE = select(_a.practitioner_id, _a.starts_at, _a.ends_at).where(
    _a.practitioner_id == func.any(uuids("practitioner_ids")),
    _a.ended_at.is_(None),
    _a.ends_at > snp_now(),
)


async def absences_of(
    uow: UnitOfWork, practitioner_ids: Sequence[UUID]
) -> dict[UUID, list[tuple[datetime, datetime]]]:
    """Return the ranges to come in which practitioners are away."""
    found: dict[UUID, list[tuple[datetime, datetime]]] = {}
    if practitioner_ids:
        for row in await uow.execute(_LIVE, {"practitioner_ids": list(practitioner_ids)}):
            found.setdefault(row.practitioner_id, []).append((row.starts_at, row.ends_at))
    return found


_FIND_ABSENCE = select(*_a).where(
    _a.id == bind("absence_id", Uuid), _a.practitioner_id == bind("practitioner_id", Uuid)
)


async def find_absence(uow: UnitOfWork, practitioner_id: UUID, absence_id: UUID) -> Absence | None:
    """Return an absence of a practitioner."""
    values = {"absence_id": absence_id, "practitioner_id": practitioner_id}
    row = (await uow.single(_FIND_ABSENCE, values)).mappings().one_or_none()
    return None if row is None else _absence(uow.vault, row)


_LIST_ABSENCES = (
    select(*_a, bind("territory", Text).label("territory"))
    .where(
        _a.practitioner_id == bind("practitioner_id", Uuid),
        or_(bind("before", Uuid).is_(None), _a.id < bind("before", Uuid)),
    )
    .order_by(_a.id.desc())
    .limit(bind("limit", Integer))
)
_SHOW_ABSENCES = traces.page("agenda.list_absences", _LIST_ABSENCES)


async def list_absences(
    uow: UnitOfWork,
    actor: Actor,
    practitioner_id: UUID,
    *,
    territory: str,
    before: UUID | None,
    limit: int,
) -> list[Absence]:
    """Return a practitioner's absences, newest first, one more than the page holds; trace them."""
    values = {
        "practitioner_id": practitioner_id,
        "territory": territory,
        "before": before,
        "limit": limit + 1,
        **traces.who(actor),
    }
    rows = await uow.single(_SHOW_ABSENCES, values)
    return [_absence(uow.vault, row) for row in rows.mappings()]


_END_ABSENCE = (
    update(absences)
    .where(_a.id == bind("absence_id", Uuid), _a.ended_at.is_(None))
    .values(ended_at=snp_now())
)


async def end_absence(uow: UnitOfWork, absence_id: UUID) -> bool:
    """End an absence; False when it had ended already."""
    return (await uow.execute(_END_ABSENCE, {"absence_id": absence_id})).rowcount == 1


# A lock, not a change: `bookings.cancel` locks them one by one, between slots (ADR 7).
_LOCK_BOOKINGS = (
    text(
        """SELECT id FROM bookings
           WHERE practitioner_id = :practitioner_id AND state = 'booked'
             AND starts_at > snp_now() AND starts_at < :to AND ends_at > :from_
           ORDER BY id FOR UPDATE"""
    )
    .bindparams(bind("practitioner_id", Uuid), bind("from_", Instant), bind("to", Instant))
    .columns(id=Uuid)
)


async def lock_bookings(
    uow: UnitOfWork, practitioner_id: UUID, from_: datetime, to: datetime
) -> list[UUID]:
    """Lock the live bookings of a practitioner that touch a range and have not started, by id."""
    values = {"practitioner_id": practitioner_id, "from_": from_, "to": to}
    return list((await uow.execute(_LOCK_BOOKINGS, values)).scalars())
