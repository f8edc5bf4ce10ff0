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
    literal,
    literal_column,
    or_,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.sql.selectable import LateralFromClause

from service.kernel.sql import bind, flag, uuids
from service.kernel.wall import READS_AS
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
    "inform_regular_doctor",
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


def reading() -> CTE:
    """Tell row-level security who reads, until the transaction ends.

    Parameter: `repository.reading_as`, or `kernel.wall.seeking`.
    """
    return READS_AS.cte("reading")


def files(
    reads: CTE,
    *conditions: ColumnElement[bool],
    newest: int | None = None,
    lock: bool = False,
    keep: bool = False,
) -> LateralFromClause:
    """The files that meet the conditions, to be joined with `reads`; only so are they seen.

    The rows hang on what `reads` answers, and OFFSET keeps the planner from dissolving the
    sub-select: no plan looks at a file before row-level security knows for whom. `lock` takes turns
    with who changes a file; `keep` lets everybody go on, but retention, which passes it over.
    """
    found = select(*_f).where(*conditions, reads.c.reader.is_not(None))
    if newest is not None:
        found = found.order_by(_f.id.desc()).limit(newest)
    if lock or keep:
        found = found.with_for_update(of=patient_files, key_share=True, read=keep)
    return found.offset(literal_column("0")).lateral("file")


def given(file_id: ColumnElement[Any], *beside: FromClause) -> Select[Any]:
    """The file that the caller names, when it may read it, beside the slot it is for.

    Or that a row of `beside` names. It is not erased before the booking is there.
    """
    reads = reading()
    source: FromClause = reads
    found = files(reads, _f.id == file_id, readable(), keep=True)
    for other in (*beside, found):
        source = source.join(other, true())
    return select(
        found.c.id, found.c.patient_key, bind("seat_slot_id", Uuid).label("slot_id")
    ).select_from(source)


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
    territory: ColumnElement[str],
    practitioner_id: ColumnElement[Any],
    care_organization_id: ColumnElement[Any],
    name: str = "shared_file",
) -> CTE:
    """Let the requester's organization and the doctor's side of a new booking read the file.

    `file_id` is a column of the new booking: no booking, nothing shared. Written as an insert that
    meets the file: it asks for that one row after the booking is there, so after `reading` spoke,
    whatever the plan; an UPDATE might look at the table before. Refused, it fails aloud.
    """
    organization = bind("caller_organization_id", Uuid)
    columns: Mapping[str, ColumnElement[Any]] = {
        "id": file_id,
        "organization_id": organization,
        "territory": territory,
        "reader_organization_ids": func.array_append(literal([], ARRAY(Uuid)), organization),
        "practitioner_ids": _one(practitioner_id, practitioner_id),
        "care_organization_ids": _one(practitioner_id, care_organization_id, when_named=False),
    }
    added = insert(patient_files).from_select(list(columns), select(*columns.values()))
    return added.on_conflict_do_update(
        index_elements=[_f.id],
        set_={
            column: _with(_f[column], added.excluded[column])
            for column in ("reader_organization_ids", "practitioner_ids", "care_organization_ids")
        },
    ).cte(name)


def _with(array: ColumnElement[Any], items: ColumnElement[Any]) -> ColumnElement[Any]:
    return case((array.bool_op("@>")(items), array), else_=array.op("||")(items))


def identity_columns(found: FromClause) -> list[ColumnElement[Any]]:
    """The columns of `files` that `repository.unseal` makes a patient of, prefixed."""
    names = ("family_name", "given_name", "birth_date", "phone", "email", "ins", *PLAIN)
    return [found.c[name].label(f"patient_{name}") for name in names]


file = patient_files
