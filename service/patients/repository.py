"""Every SQL statement of the room; the only place where an identity is sealed and opened."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    LargeBinary,
    Select,
    Text,
    Uuid,
    and_,
    case,
    func,
    insert,
    or_,
    select,
    true,
    update,
)

from service.audit import BreakGlass
from service.audit import parts as traces
from service.directory import parts as directory
from service.identity import BOOKERS, Actor
from service.kernel.crypto import Vault, normalised
from service.kernel.db import UnitOfWork
from service.kernel.events import Origin
from service.kernel.prepared import Row
from service.kernel.sql import bind, flag, snp_now, texts, uuids
from service.kernel.wall import READS_AS, reading, seeking
from service.patients import parts
from service.patients.domain import IdentityStatus, Patient, PatientFile, Purpose, Wanted
from service.patients.tables import patient_files

_f = patient_files.c
_ENCRYPTED = ("family_name", "given_name", "birth_date", "phone", "email", "ins")
FOUND_AT_MOST = 20


def seal(vault: Vault, file_id: UUID, patient: Patient) -> dict[str, Any]:
    """Encrypt and index an identity; what comes out may be stored."""
    values: dict[str, Any] = {name: getattr(patient, name) for name in parts.PLAIN}
    for name in _ENCRYPTED:
        value = getattr(patient, name)
        text = value.isoformat() if isinstance(value, date) else value
        values[name] = vault.encrypt(text, column=f"patient_files.{name}", row=file_id)
    values |= _indexes(vault, patient)
    values["patient_key"] = patient.key(vault, file_id)
    return values


def _indexes(vault: Vault, patient: Patient | Wanted) -> dict[str, bytes | None]:
    named = normalised(patient.family_name or "") and patient.birth_date
    return {
        "name_birth_index": vault.blind_index(
            patient.family_name or "",
            patient.birth_date.isoformat() if patient.birth_date else "",
            purpose="name_birth",
        )
        if named
        else None,
        "phone_index": vault.blind_index(patient.phone, purpose="phone") if patient.phone else None,
        "ins_index": vault.blind_index(patient.ins, purpose="ins") if patient.ins else None,
    }


def unseal(vault: Vault, file_id: UUID, row: Row, prefix: str = "") -> Patient:
    """Decrypt an identity that was read by somebody who may."""
    opened: dict[str, Any] = {
        name: vault.decrypt(row[prefix + name], column=f"patient_files.{name}", row=file_id)
        for name in _ENCRYPTED
    }
    born = opened.pop("birth_date")
    return Patient(
        birth_date=date.fromisoformat(born) if born else None,
        **opened,
        **{name: row[prefix + name] for name in parts.PLAIN},
    )


def reading_as(vault: Vault, actor: Actor) -> dict[str, str]:
    """Return the parameter of `parts.reading`: the caller, as what it stands on files."""
    return reading(vault, (*actor.practitioner_ids, actor.organization_id))


def reader(vault: Vault, actor: Actor) -> dict[str, Any]:
    """Return the parameters of `parts.readable`, and of `parts.reading`."""
    return {
        **reading_as(vault, actor),
        "caller_organization_id": actor.organization_id,
        "caller_practitioner_ids": list(actor.practitioner_ids),
        "caller_books": actor.role in BOOKERS,
        "caller_publishes": actor.publishes,
    }


_INSERT = insert(patient_files)


async def add(
    uow: UnitOfWork, actor: Actor, *, file_id: UUID, territory: str, patient: Patient
) -> None:
    """Insert a file opened by the caller's organization."""
    await uow.execute(
        _INSERT,
        {
            "id": file_id,
            "organization_id": actor.organization_id,
            "reader_organization_ids": [actor.organization_id],
            "territory": territory,
            "client_id": actor.client_id,
            **seal(uow.vault, file_id, patient),
        },
    )


def _read(
    *conditions: ColumnElement[bool],
    newest: int | None = None,
    lock: bool = False,
) -> Select[Any]:
    reads = parts.reading()
    found = parts.files(reads, *conditions, newest=newest, lock=lock)
    return select(*found.c, directory.zone_of(found.c.territory)).select_from(
        reads.join(found, true())
    )


def _shown(operation: str, found: Select[Any], **how: bool) -> Select[Any]:
    """What is found, newest first, with the trace that it was shown."""
    rows = found.cte("found")
    return select(rows).order_by(rows.c.id.desc()).add_cte(traces.shown(operation, rows, **how))


_THIS = _f.id == bind("file_id", Uuid)
_READ = _read(_THIS, parts.readable())
_LOCK = _read(_THIS, parts.readable(), lock=True)
_READABLE = select(_READ.subquery().c.id)
_OPENED = select(
    _read(_THIS, parts.readable(), _f.organization_id == bind("caller_organization_id", Uuid))
    .subquery()
    .c.id
)
_SHOW = _shown("patients.read", _READ)
_ACCESSES = _shown("patients.accesses", _READ)


async def zone_for_accesses(uow: UnitOfWork, actor: Actor, file_id: UUID) -> str | None:
    """Return the zone of a file that the caller may read; trace that its accesses are shown."""
    values = {
        "file_id": file_id,
        **reader(uow.vault, actor),
        **traces.who(actor, purpose="patient_rights"),
    }
    row = (await uow.single(_ACCESSES, values)).mappings().one_or_none()
    return None if row is None else row["zone"]


async def is_readable(uow: UnitOfWork, actor: Actor, file_id: UUID) -> bool:
    """Tell whether the caller may read a file; nothing of it is shown."""
    rows = await uow.single(_READABLE, {"file_id": file_id, **reader(uow.vault, actor)})
    return rows.first() is not None


async def is_opened_by(uow: UnitOfWork, actor: Actor, file_id: UUID) -> bool:
    """Tell whether the caller's organization opened a file; nothing of it is shown."""
    return (
        await uow.single(_OPENED, {"file_id": file_id, **reader(uow.vault, actor)})
    ).first() is not None


# Who it is, as far as it is sure: the same names, birth date and sex, or the same qualified INS.
_qualified = _f.identity_status == IdentityStatus.QUAL
_KEYS = select(
    _f.name_birth_index,
    _f.patient_key,
    case((_qualified, _f.ins_index)).label("ins_index"),
).where(_THIS)
_SAME = {
    "name_birth_index": and_(
        _f.name_birth_index == bind("name_birth_index", LargeBinary),
        _f.patient_key == bind("patient_key", LargeBinary),
    ),
    "ins_index": and_(_f.ins_index == bind("ins_index", LargeBinary), _qualified),
}
_OTHERS = {
    index: select(_f.id).where(same, _f.id != bind("file_id", Uuid))
    for index, same in _SAME.items()
}
_IN_MINE = _f.territory == func.any(texts("territories"))
_OTHERS_IN_MINE = {
    index: others.where(_IN_MINE, or_(flag("caller_regulates"), parts.readable()))
    for index, others in _OTHERS.items()
}


async def others_of_patient(uow: UnitOfWork, actor: Actor | None, file_id: UUID) -> list[UUID]:
    """Return the other files of a file's patient, by blind index; those that are the caller's.

    Regulation's are those of its territories, the doctor's side's of them those that it may read,
    the operator's all.
    """
    await uow.execute(READS_AS, seeking(uow.vault, file_id))
    keys = (await uow.execute(_KEYS, {"file_id": file_id})).mappings().one_or_none()
    values = {"file_id": file_id, **(keys or {})}
    if actor is not None:
        values |= reader(uow.vault, actor)
        values |= {"territories": list(actor.territories), "caller_regulates": actor.regulates}
    found: set[UUID] = set()
    for index, others in (_OTHERS if actor is None else _OTHERS_IN_MINE).items():
        if values.get(index) is not None:
            await uow.execute(READS_AS, seeking(uow.vault, values[index]))
            found |= set((await uow.execute(others, values)).scalars())
    return sorted(found)


# The service itself, which writes to a patient because a booking asks it to.
_INFORMING = Origin(role="service", purpose="inform_patient")
_AIMED = parts.reading()
_THAT = parts.files(_AIMED, _THIS)


def _that(*columns: ColumnElement[Any]) -> Select[Any]:
    """Of the file that is sought."""
    return select(*columns).select_from(_AIMED.join(_THAT, true()))


_ADDRESSES = _shown(
    "messages.inform", _that(_THAT.c.id, _THAT.c.territory, _THAT.c.email, _THAT.c.phone)
)
_DOCTOR_TO_INFORM = _that(_THAT.c.regular_doctor_rpps).where(_THAT.c.inform_regular_doctor)


async def addresses(uow: UnitOfWork, file_id: UUID) -> tuple[str | None, str | None]:
    """Return e-mail address and telephone of a file, to write to its patient; trace it."""
    values = {
        "file_id": file_id,
        **seeking(uow.vault, file_id),
        **_INFORMING.parameters(),
        "trace_territories": [],
    }
    row = (await uow.execute(_ADDRESSES, values)).mappings().one_or_none()
    if row is None:
        return None, None
    email, phone = (
        uow.vault.decrypt(row[name], column=f"patient_files.{name}", row=file_id)
        for name in ("email", "phone")
    )
    return email, phone


async def doctor_to_inform(uow: UnitOfWork, file_id: UUID) -> str | None:
    """Return the RPPS of the patient's own doctor, if known and to be informed.

    Nothing of who the patient is: there is no trace.
    """
    values = {"file_id": file_id, **seeking(uow.vault, file_id)}
    found: str | None = (await uow.execute(_DOCTOR_TO_INFORM, values)).scalar_one_or_none()
    return found


async def find(
    uow: UnitOfWork, actor: Actor, file_id: UUID, *, lock: bool = False
) -> PatientFile | None:
    """Return a file that the caller may read and has changed, or is about to: its event tells."""
    values = {"file_id": file_id, **reader(uow.vault, actor)}
    result = await (uow.execute(_LOCK, values) if lock else uow.single(_READ, values))
    row = result.mappings().one_or_none()
    return None if row is None else _file(uow.vault, row)


async def show(uow: UnitOfWork, actor: Actor, file_id: UUID) -> PatientFile | None:
    """Return a file that the caller may read, and trace it."""
    values = {"file_id": file_id, **reader(uow.vault, actor), **traces.who(actor)}
    row = (await uow.single(_SHOW, values)).mappings().one_or_none()
    return None if row is None else _file(uow.vault, row)


def _file(vault: Vault, row: Row) -> PatientFile:
    return PatientFile(
        id=row["id"],
        territory=row["territory"],
        zone=row["zone"],
        patient=unseal(vault, row["id"], row),
        version=row["version"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )


_AMEND = (
    update(patient_files)
    .where(_f.id == bind("file_id", Uuid))
    .values(
        **{name: bind(f"new_{name}", _f[name].type) for name in (*parts.SEALED, *parts.PLAIN)},
        version=_f.version + 1,
        updated_at=snp_now(),
    )
)


async def amend(uow: UnitOfWork, file_id: UUID, patient: Patient) -> None:
    """Write a file's identity anew."""
    sealed = seal(uow.vault, file_id, patient)
    await uow.execute(
        _AMEND, {"file_id": file_id, **{f"new_{name}": v for name, v in sealed.items()}}
    )


_WAYS: Mapping[str, ColumnElement[bool]] = {
    "file_id": _THIS,
    "ins_index": _f.ins_index == bind("ins_index", LargeBinary),
    "phone_index": _f.phone_index == bind("phone_index", LargeBinary),
    "name_birth_index": _f.name_birth_index == bind("name_birth_index", LargeBinary),
    "case_id": _f.case_id == bind("case_id", Text),
}


_SEARCHES = {
    way: _shown(
        "patients.search",
        _read(condition, parts.readable(), newest=FOUND_AT_MOST),
        always=True,
    )
    for way, condition in _WAYS.items()
}
# The glass is broken within the caller's territories only; the wall opens to what is sought alone.
_HERE = _f.territory == func.any(texts("trace_territories"))
_BREAK_GLASS = {
    way: _shown(
        "patients.break_glass",
        _read(condition, _HERE, newest=FOUND_AT_MOST),
        always=True,
        break_glass=True,
    )
    for way, condition in _WAYS.items()
}


async def search(
    uow: UnitOfWork, actor: Actor, wanted: Wanted, purpose: Purpose
) -> list[PatientFile]:
    """Return the files that match exactly and that the caller may read, newest first."""
    who = {**reader(uow.vault, actor), **traces.who(actor, purpose=purpose)}
    way, value = _way(uow.vault, wanted)
    return await _matching(uow, _SEARCHES[way], {way: value, **who})


async def break_glass(
    uow: UnitOfWork, actor: Actor, wanted: Wanted, reason: BreakGlass
) -> list[PatientFile]:
    """Return the files of the caller's territories that match exactly, newest first."""
    way, value = _way(uow.vault, wanted)
    who = {**seeking(uow.vault, value), **traces.who(actor, break_glass=reason)}
    return await _matching(uow, _BREAK_GLASS[way], {way: value, **who})


def _way(vault: Vault, wanted: Wanted) -> tuple[str, Any]:
    values: dict[str, Any] = {
        **_indexes(vault, wanted),
        "case_id": wanted.case_id,
        "file_id": wanted.file_id,
    }
    return next((way, values[way]) for way in _WAYS if values[way] is not None)


async def _matching(
    uow: UnitOfWork, statement: Select[Any], values: Mapping[str, Any]
) -> list[PatientFile]:
    rows = await uow.single(statement, values)
    return [_file(uow.vault, row) for row in rows.mappings()]


# By its id: a doctor that a patient is moved away from says so, and then sees the file no more.
_SEEKS = parts.reading()
_LOCKED = parts.files(_SEEKS, _THIS, lock=True)
_LOCK_FILE = select(_LOCKED.c.id).select_from(_SEEKS.join(_LOCKED, true()))


async def lock(uow: UnitOfWork, file_id: UUID) -> None:
    """Lock a file: who reads it is about to be said anew."""
    await uow.execute(_LOCK_FILE, {"file_id": file_id, **seeking(uow.vault, file_id)})


_SET_CARE = (
    update(patient_files)
    .where(_f.id == bind("file_id", Uuid))
    .values(
        practitioner_ids=uuids("new_practitioner_ids"),
        care_organization_ids=uuids("new_care_organization_ids"),
        reader_organization_ids=func.array_append(
            func.array_remove(_f.reader_organization_ids, bind("reader_id", Uuid)),
            bind("reader_id", Uuid),
        ),
    )
)


async def set_care(
    uow: UnitOfWork,
    file_id: UUID,
    *,
    reader_id: UUID,
    practitioner_ids: Sequence[UUID],
    care_organization_ids: Sequence[UUID],
) -> None:
    """Say which doctors' sides have a booking on this file."""
    await uow.execute(
        _SET_CARE,
        {
            "file_id": file_id,
            "reader_id": reader_id,
            "new_practitioner_ids": list(practitioner_ids),
            "new_care_organization_ids": list(care_organization_ids),
        },
    )
