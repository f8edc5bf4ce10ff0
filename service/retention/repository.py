"""Every SQL statement of the room: what is due, what erasing writes, holds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Integer,
    LargeBinary,
    Select,
    Table,
    Text,
    Update,
    Uuid,
    and_,
    exists,
    func,
    insert,
    literal,
    not_,
    null,
    or_,
    select,
    text,
    union,
    update,
)
from sqlalchemy import cast as sql_cast
from sqlalchemy.dialects.postgresql import INTERVAL

from service.agenda.parts import absence
from service.bookings.parts import booking
from service.calls.parts import call, callback, outcome
from service.kernel.crypto import Vault
from service.kernel.db import UnitOfWork
from service.kernel.sql import bind, snp_now, texts, uuids
from service.kernel.tables import Instant
from service.kernel.wall import as_upkeep
from service.needs.parts import need
from service.patients.parts import file
from service.retention.domain import Kind
from service.retention.tables import legal_holds

_h, _f, _b, _c, _n, _a = (t.c for t in (legal_holds, file, booking, call, need, absence))
_o, _k = outcome.c, callback.c

# Counting what is due reads whole tables; it is nobody's request.
_PATIENTLY = text("SELECT set_config('statement_timeout', '10min', true)")

_before = bind("before", Instant)


def _of_live_hold(table: Table, target: ColumnElement[bool]) -> ColumnElement[bool]:
    return and_(
        _h.lifted_at.is_(None),
        or_(_h.territory.is_(None), _h.territory == table.c.territory),
        target,
    )


def _case(columns: Any) -> ColumnElement[bool]:
    held: ColumnElement[bool] = _h.case_id == columns.case_id
    return held


def _free(column: ColumnElement[Any]) -> ColumnElement[bool]:
    """No hold covers the file of this row; a row without a file is judged by its case alone."""
    return or_(column.is_(None), column != func.all(uuids("held_file_ids")))


def _no_case_held(table: Table) -> ColumnElement[bool]:
    return not_(exists(select(_h.id).where(_of_live_hold(table, _case(table.c))).correlate(table)))


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
        """Erase what is still due of locked rows: a booking may have come before the lock."""
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
_since_nothing_happened = and_(
    _f.created_at < _before,
    ~exists(select(_b.id).where(_b.patient_file_id == _f.id, _b.ends_at >= _before)),
    ~exists(
        select(_c.id).where(
            _c.patient_file_id == _f.id,
            or_(_c.received_at >= _before, _c.state.not_in(("closed", "void"))),
        )
    ),
    _free(_f.id),
)


def _erasure(table: Table, names: Sequence[str], *conditions: ColumnElement[bool]) -> _Erasure:
    return _Erasure(
        table,
        and_(_any(*(table.c[name] for name in names)), *conditions),
        {name: null() for name in names},
    )


_TEXTS = ("reason_text", "cancel_reason", "report_detail", "patient_key")
_ERASURES: Mapping[Kind, _Erasure] = {
    Kind.IDENTITY: _erasure(file, _WHO, _since_nothing_happened),
    Kind.BOOKING_TEXTS: _erasure(booking, _TEXTS, _b.ends_at < _before, _free(_b.patient_file_id)),
    Kind.NEED_TEXTS: _erasure(need, ("note",), _n.wanted_to < _before, _no_case_held(need)),
    Kind.ABSENCE_TEXTS: _erasure(absence, ("reason",), _a.ends_at < _before),
    Kind.FILE_REFERENCES: _erasure(
        file, ("age", "sex", "commune", "case_id"), _since_nothing_happened
    ),
    Kind.BOOKING_REFERENCES: _erasure(
        booking,
        ("case_id", "person", "on_behalf_of"),
        _b.ends_at < _before,
        _free(_b.patient_file_id),
    ),
    Kind.CALL_REFERENCES: _erasure(
        call,
        ("case_id", "qualified_by", "regulated_by", "assigned_to"),
        _c.received_at < _before,
        _c.state.in_(("closed", "void")),
        _no_case_held(call),
        _free(_c.patient_file_id),
    ),
    Kind.CALLBACK_REFERENCES: _erasure(
        callback,
        ("made_by",),
        _k.at < _before,
        exists(
            select(_c.id).where(_c.id == _k.call_id, _no_case_held(call), _free(_c.patient_file_id))
        ),
    ),
    Kind.NEED_REFERENCES: _erasure(
        need, ("case_id", "age", "person"), _n.wanted_to < _before, _no_case_held(need)
    ),
}
_FINDS = {kind: erasure.find() for kind, erasure in _ERASURES.items()}
_WRITES = {kind: erasure.write() for kind, erasure in _ERASURES.items()}

# That a refusal was overridden stays on the booking (its two bookings may overlap): as an empty
# text. So long is one, encrypted.
_BLANK = 30
_overridden = and_(
    func.octet_length(_b.override_reason) > literal(_BLANK, Integer),
    _b.ends_at < _before,
    _free(_b.patient_file_id),
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
    .where(_b.id == bind("booking_id", Uuid))
    .values(override_reason=bind("blank", LargeBinary))
)


_COUNTS = {kind: erasure.count() for kind, erasure in _ERASURES.items()}
_COUNTS[Kind.OVERRIDE_TEXTS] = select(func.count()).select_from(booking).where(_overridden)


async def begin(uow: UnitOfWork) -> None:
    """Work on every file, and take the time that large tables need."""
    await uow.execute(_PATIENTLY)
    await as_upkeep(uow)


_CUTOFF = select((snp_now() - sql_cast(bind("kept", Text), INTERVAL)).label("before"))


async def cutoff(uow: UnitOfWork, kept: str) -> datetime:
    """Return the instant before which things are due."""
    instant: datetime = (await uow.execute(_CUTOFF, {"kept": kept})).scalar_one()
    return instant


async def count(uow: UnitOfWork, kind: Kind, before: datetime, held: Sequence[UUID]) -> int:
    """Count the rows of which something is due."""
    values = {"before": before, "held_file_ids": list(held)}
    return int((await uow.execute(_COUNTS[kind], values)).scalar_one())


@dataclass(frozen=True, slots=True)
class Batch:
    """Where a batch ended, nowhere when nothing was left; and how many rows it erased."""

    last: UUID | None
    rows: int


async def erase(
    uow: UnitOfWork, kind: Kind, before: datetime, held: Sequence[UUID], after: UUID, limit: int
) -> Batch:
    """Erase what is due of some rows behind `after`, in the order of ids."""
    values = {"before": before, "held_file_ids": list(held)}
    found = await uow.execute(_FINDS[kind], {**values, "after": after, "limit": limit})
    ids = list(found.scalars())
    if not ids:
        return Batch(None, 0)
    return Batch(ids[-1], (await uow.execute(_WRITES[kind], {**values, "ids": ids})).rowcount)


async def blank_overrides(
    uow: UnitOfWork, before: datetime, held: Sequence[UUID], limit: int
) -> Batch:
    """Empty the reasons of some overrides."""
    values = {"before": before, "held_file_ids": list(held), "limit": limit}
    ids = list((await uow.execute(_OVERRIDES, values)).scalars())
    if not ids:
        return Batch(None, 0)
    column = "bookings.override_reason"
    blanks = [{"booking_id": i, "blank": uow.vault.encrypt("", column=column, row=i)} for i in ids]
    await uow.execute(_WRITE_OVERRIDE, blanks)
    return Batch(ids[-1], len(ids))


# --- legal holds ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Hold:
    """A live hold, or one that was lifted."""

    id: UUID
    territory: str | None
    patient_file_id: UUID | None
    case_id: str | None
    reason: str | None
    created_at: datetime
    lifted_at: datetime | None


_INSERT = insert(legal_holds)
_ALL = select(*_h).order_by(_h.id.desc())
_MINE = _ALL.where(_h.territory == func.any(texts("territories")))
_LIFT = (
    update(legal_holds)
    .where(_h.id == bind("hold_id", Uuid), _h.lifted_at.is_(None))
    .values(lifted_at=snp_now(), reason=null())
    .returning(_h.id)
)
_CASES = union(
    *(
        select(id_.label("file_id"), columns.case_id, columns.territory).where(
            columns.case_id == func.any(texts("cases")), id_.is_not(None)
        )
        for columns, id_ in ((_f, _f.id), (_b, _b.patient_file_id), (_c, _c.patient_file_id))
    )
)


async def place(
    uow: UnitOfWork,
    hold_id: UUID,
    *,
    territory: str | None,
    patient_file_id: UUID | None,
    case_id: str | None,
    reason: str,
    client_id: UUID | None,
) -> None:
    """Write a hold."""
    sealed = uow.vault.encrypt(reason, column="legal_holds.reason", row=hold_id)
    await uow.execute(
        _INSERT,
        {
            "id": hold_id,
            "territory": territory,
            "patient_file_id": patient_file_id,
            "case_id": case_id,
            "reason": sealed,
            "client_id": client_id,
        },
    )


async def lift(uow: UnitOfWork, hold_id: UUID) -> bool:
    """Lift a live hold; its reason goes with it. Tell whether it was live."""
    return (await uow.execute(_LIFT, {"hold_id": hold_id})).first() is not None


async def holds(uow: UnitOfWork, territories: Sequence[str] | None) -> list[Hold]:
    """Return the holds of some territories, or all of them, newest first."""
    values = {} if territories is None else {"territories": list(territories)}
    rows = await uow.single(_ALL if territories is None else _MINE, values)
    return [_hold(uow, row) for row in rows.mappings()]


def _hold(uow: UnitOfWork, row: Any) -> Hold:
    reason = uow.vault.decrypt(row["reason"], column="legal_holds.reason", row=row["id"])
    names = ("id", "territory", "patient_file_id", "case_id", "created_at", "lifted_at")
    return Hold(**{name: row[name] for name in names}, reason=reason)


async def held_files(uow: UnitOfWork) -> list[UUID]:
    """Return every file that a live hold covers: by its id, or by a case of it.

    The case may be the file's own, one of its bookings', or one of its calls'.
    """
    live = [hold for hold in await holds(uow, None) if hold.lifted_at is None]
    ids = {hold.patient_file_id for hold in live if hold.patient_file_id is not None}
    cases = {(hold.case_id, hold.territory) for hold in live if hold.case_id is not None}
    if cases:
        rows = await uow.execute(_CASES, {"cases": sorted({case for case, _ in cases})})
        ids |= {r.file_id for r in rows if {(r.case_id, r.territory), (r.case_id, None)} & cases}
    return sorted(ids)


# --- all that is held about a patient -------------------------------------------------------------

_calls_of = select(_c.id).where(_c.patient_file_id == bind("file_id", Uuid))
_ABOUT: Mapping[str, Select[Any]] = {
    "patient_file": select(file).where(_f.id == bind("file_id", Uuid)),
    "bookings": select(booking).where(_b.patient_file_id == bind("file_id", Uuid)).order_by(_b.id),
    "calls": select(call).where(_c.patient_file_id == bind("file_id", Uuid)).order_by(_c.id),
    "outcomes": select(outcome).where(_o.call_id.in_(_calls_of)).order_by(_o.id),
    "callbacks": select(callback).where(_k.call_id.in_(_calls_of)).order_by(_k.id),
    "unmet_needs": select(need).where(_n.call_id.in_(_calls_of)).order_by(_n.id),
    "legal_holds": (
        select(legal_holds).where(_h.patient_file_id == bind("file_id", Uuid)).order_by(_h.id)
    ),
}


async def rows_about(uow: UnitOfWork, file_id: UUID) -> dict[str, list[Mapping[str, Any]]]:
    """Return every row about a file by section, decrypted."""
    found = {}
    for name, statement in _ABOUT.items():
        (table,) = statement.get_final_froms()
        sealed = [column.name for column in table.c if column.info.get("sealed")]
        rows = (await uow.execute(statement, {"file_id": file_id})).mappings()
        found[name] = [_opened(uow.vault, str(table), sealed, row) for row in rows]
    return found


def _opened(vault: Vault, table: str, sealed: Sequence[str], row: Any) -> Mapping[str, Any]:
    opened = {
        name: vault.decrypt(row[name], column=f"{table}.{name}", row=row["id"]) for name in sealed
    }
    return {**row, **opened}
