"""Every SQL statement of the room: what is due, what erasing writes, holds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    Integer,
    LargeBinary,
    Select,
    Table,
    Text,
    Update,
    Uuid,
    and_,
    case,
    exists,
    func,
    insert,
    literal,
    null,
    or_,
    select,
    union,
    update,
)
from sqlalchemy import cast as sql_cast
from sqlalchemy.dialects.postgresql import INTERVAL

from service.agenda.parts import absence
from service.audit import parts as traces
from service.bookings.parts import booking
from service.calls.parts import call, callback, outcome
from service.identity import Actor, Role
from service.kernel.crypto import Vault
from service.kernel.db import UnitOfWork
from service.kernel.events import OPERATOR
from service.kernel.sql import bind, flag, snp_now, texts, uuids
from service.kernel.tables import Instant
from service.needs.parts import need
from service.patients.parts import file
from service.retention.domain import Hold, Kind
from service.retention.tables import legal_holds

_h, _f, _b, _c, _n, _a = (t.c for t in (legal_holds, file, booking, call, need, absence))
_o, _k = outcome.c, callback.c

_before = bind("before", Instant)


# Whoever places a hold waits for the batch that is being written, and the other way round.
_ONE_BATCH = 7_301_839
_EXCLUSIVELY = select(func.pg_advisory_xact_lock(_ONE_BATCH))
_TOGETHER = select(func.pg_advisory_xact_lock_shared(_ONE_BATCH))


def _live(territory: ColumnElement[str]) -> ColumnElement[bool]:
    """A hold that counts for a row of this territory."""
    return and_(_h.lifted_at.is_(None), or_(_h.territory.is_(None), _h.territory == territory))


def _held_files() -> CompoundSelect[Any]:
    """Every file that a live hold covers: by its id, or by a case of it.

    The case, and the territory too, may be the file's own, one of its bookings', or one of its
    calls'. Hangs on no row: PostgreSQL asks once a statement.
    """
    f, b, c = (table.alias().c for table in (file, booking, call))
    return union(
        *(
            select(id_).where(_live(columns.territory), target == own, id_.is_not(None))
            for columns, id_ in ((f, f.id), (b, b.patient_file_id), (c, c.patient_file_id))
            for target, own in ((_h.patient_file_id, id_), (_h.case_id, columns.case_id))
        )
    )


_HELD = _held_files()


def _free(columns: Any, file_id: ColumnElement[Any] | None = None) -> ColumnElement[bool]:
    """No live hold covers this row: not by its own case, nor, where it has one, by its file."""
    by_case = exists(select(_h.id).where(_live(columns.territory), _h.case_id == columns.case_id))
    if file_id is None:
        return ~by_case
    return and_(~by_case, or_(file_id.is_(None), file_id.not_in(_HELD)))


def _free_call(call_id: ColumnElement[Any]) -> ColumnElement[bool]:
    return or_(
        call_id.is_(None),
        exists(select(_c.id).where(_c.id == call_id, _free(_c, _c.patient_file_id))),
    )


def _any(*columns: ColumnElement[Any]) -> ColumnElement[bool]:
    return or_(*(column.is_not(None) for column in columns))


@dataclass(frozen=True, slots=True)
class _Erasure:
    """What is due of a table, and what erasing writes; afterwards nothing of it is due."""

    table: Table
    due: ColumnElement[bool]
    values: Mapping[str, Any]

    def find(self) -> Select[Any]:
        """Lock some rows; who is changing one, or booking on a file, is passed over."""
        found: Select[Any] = (
            select(self.table.c.id)
            .where(self.table.c.id > bind("after", Uuid), self.due)
            .order_by(self.table.c.id)
            .limit(bind("limit", Integer))
            .with_for_update(of=self.table, skip_locked=True)
        )
        return found

    def write(self) -> Update:
        """Erase what is still due of locked rows: a booking or a hold may have come before."""
        return (
            update(self.table)
            .where(self.table.c.id == func.any(uuids("ids")), self.due)
            .values(self.values)
        )

    def count(self) -> Select[Any]:
        return select(func.count()).select_from(self.table).where(self.due)


_WHO = (
    *("family_name", "given_name", "birth_date", "phone", "email", "ins"),
    *("name_birth_index", "phone_index", "ins_index", "patient_key"),
    "regular_doctor_rpps",
)
# Whatever its state: a call that nobody closed would keep its patient for ever.
_call_is_over = and_(
    func.greatest(
        *(_c.received_at, _c.assigned_at, _c.callback_requested_at),
        *(_c.first_attempt_at, _c.called_back_at, _c.closed_at),
    )
    < _before,
    ~exists(select(_k.id).where(_k.call_id == _c.id, _k.at >= _before)),
    ~exists(
        select(_o.id).where(
            _o.call_id == _c.id, func.greatest(_o.created_at, _o.removed_at) >= _before
        )
    ),
)
_since_nothing_happened = and_(
    _f.created_at < _before,
    ~exists(select(_b.id).where(_b.patient_file_id == _f.id, _b.ends_at >= _before)),
    ~exists(select(_c.id).where(_c.patient_file_id == _f.id, ~_call_is_over)),
    _free(_f, _f.id),
)
_booking_is_over = and_(_b.ends_at < _before, _free(_b, _b.patient_file_id))
_need_is_over = and_(_n.wanted_to < _before, _free(_n), _free_call(_n.call_id))


def _erasure(table: Table, names: Sequence[str], *conditions: ColumnElement[bool]) -> _Erasure:
    return _Erasure(
        table,
        and_(_any(*(table.c[name] for name in names)), *conditions),
        {name: null() for name in names},
    )


_TEXTS = ("reason_text", "cancel_reason", "report_detail", "patient_key")
_ERASURES: Mapping[Kind, _Erasure] = {
    Kind.IDENTITY: _erasure(file, _WHO, _since_nothing_happened),
    Kind.BOOKING_TEXTS: _erasure(booking, _TEXTS, _booking_is_over),
    Kind.NEED_TEXTS: _erasure(need, ("note",), _need_is_over),
    Kind.ABSENCE_TEXTS: _erasure(absence, ("reason",), _a.ends_at < _before),
    Kind.FILE_REFERENCES: _erasure(
        file, ("age", "sex", "commune", "case_id"), _since_nothing_happened
    ),
    Kind.BOOKING_REFERENCES: _erasure(
        booking, ("case_id", "person", "on_behalf_of"), _booking_is_over
    ),
    Kind.CALL_REFERENCES: _erasure(
        call,
        ("case_id", "qualified_by", "regulated_by", "assigned_to"),
        _call_is_over,
        _free(_c, _c.patient_file_id),
    ),
    Kind.CALLBACK_REFERENCES: _erasure(
        callback, ("made_by",), _k.at < _before, _free_call(_k.call_id)
    ),
    Kind.NEED_REFERENCES: _erasure(need, ("case_id", "age", "person"), _need_is_over),
}
_FINDS = {kind: erasure.find() for kind, erasure in _ERASURES.items()}
_WRITES = {kind: erasure.write() for kind, erasure in _ERASURES.items()}

# That a refusal was overridden stays on the booking (its two bookings may overlap): as an empty
# text. So long is one, encrypted.
_BLANK = 30
_overridden = and_(
    func.octet_length(_b.override_reason) > literal(_BLANK, Integer), _booking_is_over
)
_OVERRIDES = (
    select(_b.id)
    .where(_overridden)
    .order_by(_b.id)
    .limit(bind("limit", Integer))
    .with_for_update(skip_locked=True)
)
_WRITE_OVERRIDE = (
    update(booking)
    .where(_b.id == bind("booking_id", Uuid), _overridden)
    .values(override_reason=bind("blank", LargeBinary))
)


_COUNTS = {kind: erasure.count() for kind, erasure in _ERASURES.items()}
_COUNTS[Kind.OVERRIDE_TEXTS] = select(func.count()).select_from(booking).where(_overridden)


_CUTOFF = select((snp_now() - sql_cast(bind("kept", Text), INTERVAL)).label("before"))


async def cutoff(uow: UnitOfWork, kept: str) -> datetime:
    """Return the instant before which things are due."""
    instant: datetime = (await uow.execute(_CUTOFF, {"kept": kept})).scalar_one()
    return instant


async def count(uow: UnitOfWork, kind: Kind, before: datetime) -> int:
    """Count the rows of which something is due."""
    return int((await uow.execute(_COUNTS[kind], {"before": before})).scalar_one())


@dataclass(frozen=True, slots=True)
class Batch:
    """Where a batch ended, nowhere when nothing was left; and how many rows it erased."""

    last: UUID | None
    rows: int


async def erase(uow: UnitOfWork, kind: Kind, before: datetime, after: UUID, limit: int) -> Batch:
    """Erase what is due of some rows behind `after`, in the order of ids."""
    found = await uow.execute(_FINDS[kind], {"before": before, "after": after, "limit": limit})
    ids = list(found.scalars())
    if not ids:
        return Batch(None, 0)
    await uow.execute(_EXCLUSIVELY)
    done = await uow.execute(_WRITES[kind], {"before": before, "ids": ids})
    return Batch(ids[-1], done.rowcount)


async def blank_overrides(uow: UnitOfWork, before: datetime, limit: int) -> Batch:
    """Empty the reasons of some overrides."""
    ids = list((await uow.execute(_OVERRIDES, {"before": before, "limit": limit})).scalars())
    if not ids:
        return Batch(None, 0)
    await uow.execute(_EXCLUSIVELY)
    column = "bookings.override_reason"
    blanks = [
        {
            "booking_id": i,
            "blank": uow.vault.encrypt("", column=column, row=i),
            "before": before,
        }
        for i in ids
    ]
    await uow.execute(_WRITE_OVERRIDE, blanks)
    return Batch(ids[-1], len(ids))


# --- legal holds ----------------------------------------------------------------------------------


_INSERT = insert(legal_holds)
_NAMES = tuple(f.name for f in fields(Hold) if f.name != "reason")
_FIND = select(*(_h[name] for name in _NAMES)).where(_h.id == bind("hold_id", Uuid))


def _shown(*conditions: ColumnElement[bool], reason: ColumnElement[Any]) -> Select[Any]:
    """Holds, newest first, with the trace of those whose reason is told."""
    columns = (_h[name] for name in _NAMES)
    found = select(*columns, reason.label("reason")).where(*conditions).cte("found")
    told = select(found.c.id, found.c.territory).where(found.c.reason.is_not(None)).subquery()
    shown = traces.shown("retention.list_holds", told)
    return select(found).order_by(found.c.id.desc()).add_cte(shown)


_mine = _h.territory == func.any(texts("territories"))
_may_know_why = or_(_h.grant_id == bind("reader_grant_id", Uuid), and_(flag("manages"), _mine))
_ALL = _shown(reason=_h.reason)
_MINE = _shown(_mine, reason=case((_may_know_why, _h.reason)))
_LIFT = (
    update(legal_holds)
    .where(_h.id == bind("hold_id", Uuid), _h.lifted_at.is_(None))
    .values(lifted_at=snp_now(), reason=null())
    .returning(_h.id)
)


async def place(
    uow: UnitOfWork,
    hold_id: UUID,
    actor: Actor | None,
    *,
    territory: str | None,
    patient_file_id: UUID | None,
    case_id: str | None,
    reason: str,
) -> None:
    """Write a hold, when the batch that is being erased is over."""
    await uow.execute(_TOGETHER)
    await uow.execute(
        _INSERT,
        {
            "id": hold_id,
            "territory": territory,
            "patient_file_id": patient_file_id,
            "case_id": case_id,
            "reason": uow.vault.encrypt(reason, column="legal_holds.reason", row=hold_id),
            "organization_id": actor and actor.organization_id,
            "grant_id": actor and actor.grant_id,
        },
    )


async def lift(uow: UnitOfWork, hold_id: UUID) -> bool:
    """Lift a live hold; its reason goes with it. Tell whether it was live."""
    return (await uow.execute(_LIFT, {"hold_id": hold_id})).first() is not None


async def find(uow: UnitOfWork, hold_id: UUID) -> Hold | None:
    """Return a hold, without its reason."""
    row = (await uow.execute(_FIND, {"hold_id": hold_id})).mappings().one_or_none()
    return None if row is None else Hold(**row)


async def show(uow: UnitOfWork, actor: Actor | None) -> list[Hold]:
    """Return the holds of the caller's territories, or all of them, newest first.

    Each with its reason, if it is the caller's to know; that it was told is traced.
    """
    if actor is None:
        rows = await uow.single(_ALL, {**OPERATOR.parameters(), "trace_territories": []})
    else:
        values = {
            "territories": list(actor.territories),
            "reader_grant_id": actor.grant_id,
            "manages": actor.role is Role.MANAGER,
        }
        rows = await uow.single(_MINE, {**values, **traces.who(actor)})
    return [_opened_hold(uow.vault, row) for row in rows.mappings()]


def _opened_hold(vault: Vault, row: Any) -> Hold:
    reason = vault.decrypt(row["reason"], column="legal_holds.reason", row=row["id"])
    return Hold(**{**row, "reason": reason})


_HELD_SUBJECTS = union(
    _HELD,
    select(_b.id).where(~_free(_b, _b.patient_file_id)),
    select(_c.id).where(~_free(_c, _c.patient_file_id)),
    select(_n.id).where(~and_(_free(_n), _free_call(_n.call_id))),
)


async def held_subjects(uow: UnitOfWork) -> list[UUID]:
    """Return every id under which what a live hold covers is traced."""
    return [*(await uow.execute(_HELD_SUBJECTS)).scalars()]


# --- all that is held about a patient -------------------------------------------------------------

_calls_of = select(_c.id).where(_c.patient_file_id == bind("file_id", Uuid))
_ABOUT: Mapping[str, Select[Any]] = {
    "patient_file": select(file).where(_f.id == bind("file_id", Uuid)),
    "bookings": select(booking).where(_b.patient_file_id == bind("file_id", Uuid)).order_by(_b.id),
    "calls": select(call).where(_c.patient_file_id == bind("file_id", Uuid)).order_by(_c.id),
    "outcomes": select(outcome).where(_o.call_id.in_(_calls_of)).order_by(_o.id),
    "callbacks": select(callback).where(_k.call_id.in_(_calls_of)).order_by(_k.id),
    "unmet_needs": select(need).where(_n.call_id.in_(_calls_of)).order_by(_n.id),
    # Why is not for the patient: it may name others, and what they do.
    "legal_holds": (
        select(*(_h[name] for name in _NAMES))
        .where(_h.patient_file_id == bind("file_id", Uuid))
        .order_by(_h.id)
    ),
}


async def rows_about(uow: UnitOfWork, file_id: UUID) -> dict[str, list[Mapping[str, Any]]]:
    """Return every row about a file by section, decrypted."""
    found = {}
    for name, statement in _ABOUT.items():
        (table,) = statement.get_final_froms()
        sealed = [c.name for c in statement.selected_columns if c.info.get("sealed")]
        rows = (await uow.execute(statement, {"file_id": file_id})).mappings()
        found[name] = [_opened(uow.vault, str(table), sealed, row) for row in rows]
    return found


def _opened(vault: Vault, table: str, sealed: Sequence[str], row: Any) -> Mapping[str, Any]:
    opened = {
        name: vault.decrypt(row[name], column=f"{table}.{name}", row=row["id"]) for name in sealed
    }
    return {**row, **opened}
