"""Statement parts: who may read a file, and the file that a booking is made on."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import (
    ARRAY,
    CTE,
    ColumnElement,
    FromClause,
    LargeBinary,
    Select,
    Uuid,
    and_,
    case,
    func,
    insert,
    literal,
    or_,
    select,
    update,
)

from service.kernel.sql import bind, flag, uuids
from service.patients.tables import patient_files

_f = patient_files.c

# What of a file is a parameter when it is opened; encrypted and indexed by `repository.seal`.
SEALED = (
    "family_name",
    "given_name",
    "birth_date",
    "phone",
    "email",
    "ins",
    "name_birth_index",
    "phone_index",
    "ins_index",
    "patient_key",
)
PLAIN = (
    "age",
    "sex",
    "commune",
    "case_id",
    "identity_status",
    "regular_doctor_rpps",
    "long_term_illness",
    "reduced_mobility",
)


def readable() -> ColumnElement[bool]:
    """Who may read a file: those who opened it or booked on it, and the doctor's side.

    Parameters: `slots.parts.caller`, or `repository.reader`.
    """
    return or_(
        and_(
            flag("caller_books"),
            bind("caller_organization_id", Uuid) == func.any(_f.reader_organization_ids),
        ),
        and_(
            flag("caller_publishes"),
            or_(
                _f.practitioner_ids.bool_op("&&")(uuids("caller_practitioner_ids")),
                bind("caller_organization_id", Uuid) == func.any(_f.care_organization_ids),
            ),
        ),
    )


def given(file_id: ColumnElement[Any]) -> Select[Any]:
    """The file that the caller names, when it may read it, beside the slot it is for."""
    return select(_f.id, _f.patient_key, bind("seat_slot_id", Uuid).label("slot_id")).where(
        _f.id == file_id, readable()
    )


def brought() -> Select[Any]:
    """The file that comes inside the request, not a row yet, beside the slot it is for."""
    return select(
        bind("file_id", Uuid).label("id"),
        bind("file_patient_key", LargeBinary).label("patient_key"),
        bind("seat_slot_id", Uuid).label("slot_id"),
    )


def open_file(
    after: FromClause,
    *,
    territory: ColumnElement[str],
    practitioner_id: ColumnElement[Any],
    care_organization_id: ColumnElement[Any],
    name: str = "patient_file",
) -> CTE:
    """Insert the file that came with the request, when `after` has its row."""
    columns: Mapping[str, ColumnElement[Any]] = {
        "id": bind("file_id", Uuid),
        "organization_id": bind("caller_organization_id", Uuid),
        "territory": territory,
        "client_id": bind("event_client_id", Uuid),
        "reader_organization_ids": func.array_append(
            literal([], ARRAY(Uuid)), bind("caller_organization_id", Uuid)
        ),
        "practitioner_ids": _one(practitioner_id, practitioner_id),
        "care_organization_ids": _one(practitioner_id, care_organization_id, when_named=False),
        **{c: bind(f"file_{c}", LargeBinary) for c in SEALED},
        **{c: bind(f"file_{c}", _f[c].type) for c in PLAIN},
    }
    return (
        insert(patient_files)
        .from_select(list(columns), select(*columns.values()).select_from(after))
        .returning(patient_files.c.id)
        .cte(name)
    )


def _one(
    practitioner_id: ColumnElement[Any], value: ColumnElement[Any], *, when_named: bool = True
) -> ColumnElement[Any]:
    named = practitioner_id.is_not(None) if when_named else practitioner_id.is_(None)
    none = literal([], ARRAY(Uuid))
    return case((named, func.array_append(none, value)), else_=none)


def share(
    *,
    file_id: ColumnElement[Any],
    practitioner_id: ColumnElement[Any],
    care_organization_id: ColumnElement[Any],
    name: str = "shared_file",
) -> CTE:
    """Let the requester's organization and the doctor's side of a new booking read the file.

    `file_id` is a column of the new booking: no booking, nothing shared.
    """
    organization = bind("caller_organization_id", Uuid)
    return (
        update(patient_files)
        .where(_f.id == file_id)
        .values(
            reader_organization_ids=_with(_f.reader_organization_ids, organization),
            practitioner_ids=case(
                (practitioner_id.is_(None), _f.practitioner_ids),
                else_=_with(_f.practitioner_ids, practitioner_id),
            ),
            care_organization_ids=case(
                (practitioner_id.is_not(None), _f.care_organization_ids),
                else_=_with(_f.care_organization_ids, care_organization_id),
            ),
        )
        .returning(_f.id)
        .cte(name)
    )


def _with(array: ColumnElement[Any], item: ColumnElement[Any]) -> ColumnElement[Any]:
    return case((item == func.any(array), array), else_=func.array_append(array, item))


def identity_columns() -> list[ColumnElement[Any]]:
    """The columns that `repository.unseal` makes a patient of, prefixed."""
    names = ("family_name", "given_name", "birth_date", "phone", "email", "ins", *PLAIN)
    return [_f[name].label(f"patient_{name}") for name in names]


file = patient_files
