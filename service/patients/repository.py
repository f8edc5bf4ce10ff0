"""Every SQL statement of the room; the only place where an identity is sealed and opened."""

from collections.abc import Sequence
from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    LargeBinary,
    Text,
    Uuid,
    func,
    insert,
    select,
    update,
)

from service.directory import parts as directory
from service.identity import BOOKERS, Actor
from service.kernel.crypto import Vault, normalised
from service.kernel.db import UnitOfWork
from service.kernel.prepared import Row
from service.kernel.sql import bind, snp_now, uuids
from service.patients import parts
from service.patients.domain import Patient, PatientFile, Wanted
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


def reader(actor: Actor) -> dict[str, Any]:
    """Return the parameters of `parts.readable`."""
    return {
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


_COLUMNS = (patient_files, directory.zone_of(_f.territory))
_READ = select(*_COLUMNS).where(_f.id == bind("file_id", Uuid), parts.readable())
_LOCK = _READ.with_for_update()


async def find(
    uow: UnitOfWork, actor: Actor, file_id: UUID, *, lock: bool = False
) -> PatientFile | None:
    """Return a file that the caller may read."""
    values = {"file_id": file_id, **reader(actor)}
    result = await (uow.execute(_LOCK, values) if lock else uow.single(_READ, values))
    row = result.mappings().one_or_none()
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


def _search(condition: ColumnElement[bool]) -> Any:
    return (
        select(*_COLUMNS)
        .where(condition, parts.readable())
        .order_by(_f.id.desc())
        .limit(FOUND_AT_MOST)
    )


_SEARCHES = {
    "ins_index": _search(_f.ins_index == bind("ins_index", LargeBinary)),
    "phone_index": _search(_f.phone_index == bind("phone_index", LargeBinary)),
    "name_birth_index": _search(_f.name_birth_index == bind("name_birth_index", LargeBinary)),
    "case_id": _search(_f.case_id == bind("case_id", Text)),
}


async def search(uow: UnitOfWork, actor: Actor, wanted: Wanted) -> list[PatientFile]:
    """Return the files that match exactly and that the caller may read, newest first."""
    values = {**_indexes(uow.vault, wanted), "case_id": wanted.case_id}
    by = next(name for name in _SEARCHES if values[name] is not None)
    rows = await uow.single(_SEARCHES[by], {by: values[by], **reader(actor)})
    return [_file(uow.vault, row) for row in rows.mappings()]


_LOCK_FILE = select(_f.id).where(_f.id == bind("file_id", Uuid)).with_for_update(key_share=True)


async def lock(uow: UnitOfWork, file_id: UUID) -> None:
    """Lock a file: who reads it is about to be said anew."""
    await uow.execute(_LOCK_FILE, {"file_id": file_id})


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
