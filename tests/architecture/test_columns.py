"""What each text column may hold: a new one is placed here by whoever adds it, or this fails.

Whatever may name a patient is encrypted; free text that others read is limited and says so.
"""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import ARRAY, Column, LargeBinary, Text
from sqlalchemy.dialects.postgresql import JSONB

from service.description import description
from service.schema import metadata

# A value of a code list, a kind, a time zone: chosen among known ones, never written freely.
CODES = """
directory_imports source state | events type territory role purpose | installation dataset
access_log operation result territories role purpose break_glass | audit_seals source
legal_holds territory | patient_files territory age sex commune identity_status
account_identifiers origin | sas_appointments state last_failure
territories id zone | calls territory zone line caller_type motive priority care_level state
calls otherwise | grants role organization_type territories origin
organizations territory type commune source | practitioners profession specialty status territory
practitioners source | absences zone | call_outcomes outcome | locations commune source
unmet_needs territory zone commune motive mode specialty reason age organization_type role
practitioner_locations source | bookings territory state organization_type role motive cancelled_by
slot_sessions territory zone weekly school_zone modes specialty visibility organization_types
messages kind recipient state why channel | bookings inform_patient
slots organization_type territory zone modes specialty visibility organization_types
slot_sessions release
idempotency_keys method | webhook_endpoints role territory events format disabled_reason
webhook_deliveries type state last_failure | stream_cursors consumer
"""
# Of organizations and professionals: the directory, and what everybody who books may read; how a
# doctor's side calls its calendars.
PUBLIC = """
territories name region | organizations name finess siret phone source_key
practitioners rpps family_name given_name | locations name address postal_code phone source_key
clients name certificate_subject | calls protocol | slots note | slot_sessions note
calendar_tokens name | patient_files regular_doctor_rpps | directory_imports filter file_name
webhook_endpoints url description
practitioner_contacts email mssante
"""
# Who acted, as asserted by their software or proven: the trace (retention takes it from bookings
# and calls), and the people who have rights here.
ACTORS = """
accounts family_name given_name email | account_identifiers system value
regulators national technical | sas_appointments operator_system operator_value
events person | access_log person | calls qualified_by regulated_by assigned_to
call_callbacks made_by | unmet_needs person | bookings person on_behalf_of
"""
# Another system's own name of a thing; the caller promises that it tells nothing.
REFERENCES = """
legal_holds case_id | patient_files case_id | calls case_id | unmet_needs case_id
bookings case_id | slots external_id | idempotency_keys path key | events correlation_id
access_log correlation_id
"""
# Made by the service of ids, codes, times and counts.
FACTS = """
events audience_before audience_after data | directory_imports counts file_digest | slots holds
installation key_fingerprints | events address | access_log address | audit_seals tombstone
"""
# Keyed digests: from them nothing is read.
DIGESTS = """
clients secret_digest previous_digest | idempotency_keys fingerprint | spent_tokens digest
calendar_tokens digest
patient_files name_birth_index phone_index ins_index patient_key | bookings patient_key
message_opt_outs address_index
audit_seals row_digests named_salt named_digests lines_hash named_hash previous hash mac
wall_keys inner_pad outer_pad
"""
ENCRYPTED = """
patient_files family_name given_name birth_date phone email ins | absences reason
bookings reason_text override_reason cancel_reason report_detail | unmet_needs note
legal_holds reason | webhook_endpoints secret previous_secret
"""


def _placed(text: str) -> Iterator[str]:
    for line in text.replace("|", "\n").strip().splitlines():
        table, *columns = line.split()
        yield from (f"{table}.{column}" for column in columns)


def _holds_text(column: Column[Any]) -> bool:
    kind = column.type.item_type if isinstance(column.type, ARRAY) else column.type
    return isinstance(kind, Text | JSONB | LargeBinary)


COLUMNS = {f"{c.table.name}.{c.name}": c for t in metadata.sorted_tables for c in t.c}


def test_every_text_column_is_placed_once() -> None:
    kinds = (CODES, PUBLIC, ACTORS, REFERENCES, FACTS, DIGESTS, ENCRYPTED)
    placed = [name for kind in kinds for name in _placed(kind)]
    assert sorted(placed) == sorted(n for n, column in COLUMNS.items() if _holds_text(column))


def test_what_may_name_a_patient_is_encrypted() -> None:
    sealed = {name for name, column in COLUMNS.items() if column.info.get("sealed")}
    assert sealed == set(_placed(ENCRYPTED))
    bytes_ = {name for name, c in COLUMNS.items() if isinstance(c.type, LargeBinary)}
    assert bytes_ == sealed | set(_placed(DIGESTS))


def _texts(
    document: Any, schema: Any, path: str, seen: frozenset[str]
) -> Iterator[tuple[str, Any]]:
    """Every text that a body may hold, with its schema."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        if name not in seen:
            yield from _texts(
                document, document["components"]["schemas"][name], path, seen | {name}
            )
        return
    for option in (*schema.get("anyOf", ()), *schema.get("oneOf", ()), *schema.get("allOf", ())):
        yield from _texts(document, option, path, seen)
    for name, member in schema.get("properties", {}).items():
        yield from _texts(document, member, f"{path}.{name}", seen)
    if "items" in schema:
        yield from _texts(document, schema["items"], f"{path}[]", seen)
    if schema.get("type") == "string":
        yield path, schema


def _bodies() -> Iterator[Any]:
    document = json.loads(description())
    for methods in document["paths"].values():
        for operation in methods.values():
            for media in operation.get("requestBody", {}).get("content", {}).values():
                name = operation["operationId"]
                yield pytest.param(document, media["schema"], id=name)


_BOUNDS = ("maxLength", "enum", "const", "format", "pattern")
# Held against a list, a form or a control number: nothing else passes.
_CHECKED = {
    *("line", "caller_type", "motive", "priority", "care_level", "specialty", "commune"),
    *("territory", "age", "ins", "rpps", "phone", "postal_code", "start", "end", "grant_type"),
}


@pytest.mark.parametrize(("document", "schema"), list(_bodies()))
def test_no_text_of_a_body_is_endless(document: Any, schema: Any) -> None:
    free = {
        path
        for path, text in _texts(document, schema, "", frozenset())
        if not any(bound in text for bound in _BOUNDS)
    }
    assert {path.rpartition(".")[2] for path in free} <= _CHECKED
