"""JSON shapes of the room."""

import csv
import io
import re
from collections.abc import Mapping
from datetime import date, datetime
from typing import Annotated, Any, Self
from uuid import UUID

from email_validator import EmailNotValidError, validate_email
from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from service.audit import BreakGlass, Trace
from service.audit import reference as labels
from service.directory import phone_number, reference, rpps_number
from service.identity import ASSERTED
from service.kernel import clock
from service.kernel.crypto import normalised
from service.kernel.http.shapes import Answer, Body, local
from service.patients.domain import (
    Accesses,
    IdentityStatus,
    Patient,
    PatientFile,
    Purpose,
    Sex,
    Wanted,
    ins_is_valid,
)

_FIRST_BIRTH_YEAR = 1890
_AGE = re.compile(r"^P[0-9]{1,3}[YMWD]$")
_YEARS = re.compile(r"^[0-9]{1,3}$")
_OLDEST = 130


def _phone(value: str) -> str:
    number = phone_number(value)
    if number is None:
        raise PydanticCustomError("phone", "Not a possible phone number: write +33600000000.")
    return number


def _rpps(value: str) -> str:
    number = rpps_number(value)
    if number is None:
        raise PydanticCustomError("rpps", "An RPPS has 11 digits.")
    return number


def _email(value: str) -> str:
    try:
        return validate_email(value, check_deliverability=False).normalized.lower()
    except EmailNotValidError:
        # The library's own sentence quotes the address.
        raise PydanticCustomError("email", "Not an e-mail address.") from None


def _age(value: Any) -> Any:
    if isinstance(value, bool) or value is None:
        return value
    text = str(value).strip()
    if _YEARS.match(text):
        text = f"P{text}Y"
    if not _AGE.match(text) or (text.endswith("Y") and int(text[1:-1]) > _OLDEST):
        raise PydanticCustomError("age", "Whole years, or an ISO 8601 duration such as P3M.")
    return text


def _commune(value: str) -> str:
    if reference.commune(value) is None:
        raise PydanticCustomError("unknown_commune", "No commune has this INSEE code.")
    return value


def _birth_date(value: date) -> date:
    if not value.year >= _FIRST_BIRTH_YEAR or value > clock.now().date():
        raise PydanticCustomError("birth_date", "Not a birth date of somebody alive.")
    return value


def _ins(value: str) -> str:
    if not ins_is_valid(value):
        raise PydanticCustomError("ins", "An INS has 15 characters, the last two are its key.")
    return value


Name = Annotated[str, Field(min_length=1, max_length=100)]
Phone = Annotated[str, Field(max_length=30), AfterValidator(_phone)]
Email = Annotated[str, Field(max_length=254), AfterValidator(_email)]
Age = Annotated[str, BeforeValidator(_age, json_schema_input_type=int | str)]
CommuneCode = Annotated[str, Field(examples=["36044"]), AfterValidator(_commune)]
BirthDate = Annotated[date, AfterValidator(_birth_date)]
Ins = Annotated[str, AfterValidator(_ins)]
Rpps = Annotated[str, Field(max_length=20), AfterValidator(_rpps)]
# It is kept in clear: no place for a name. A digit is not asked for: of random ids one in thousands
# has none, and its caller would be sent away.
CaseId = Annotated[
    str,
    Field(
        max_length=100,
        pattern=r"^[!-~]+$",
        description="The caller's own id: ASCII, without spaces. Never a name.",
    ),
]


class _Members(Body):
    """What both opening and amending a file take."""

    family_name: Name | None = None
    given_name: Name | None = None
    birth_date: BirthDate | None = None
    age: Age | None = Field(None, description="Whole years (`40`) or ISO 8601 duration (`P3M`).")
    sex: Sex | None = None
    phone: Phone | None = Field(None, examples=["+33600000000"])
    commune: CommuneCode | None = Field(None, description="INSEE code.")
    email: Email | None = None
    ins: Ins | None = Field(None, description="Shown again only when the identity is QUAL.")
    identity_status: IdentityStatus = IdentityStatus.PROV
    regular_doctor_rpps: Rpps | None = None
    inform_regular_doctor: bool = Field(
        default=False,
        description="The patient agrees that their own doctor hears that they were received.",
    )
    long_term_illness: bool = False
    reduced_mobility: bool = False
    case_id: CaseId | None = None


class PatientIn(_Members):
    """A patient file: everything may be unknown but the age or the birth date."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "family_name": "Exemple",
                    "given_name": "Dominique",
                    "birth_date": "1980-01-01",
                    "sex": "F",
                    "phone": "+33600000000",
                    "commune": "36044",
                    "case_id": "LRM-123",
                }
            ]
        }
    )

    @model_validator(mode="after")
    def _age_is_known(self) -> Self:
        if self.birth_date is None and self.age is None:
            raise PydanticCustomError("age_missing", "Give the birth date or the age.")
        return self

    @model_validator(mode="after")
    def _qualified_with_its_ins(self) -> Self:
        if self.identity_status is IdentityStatus.QUAL and self.ins is None:
            raise PydanticCustomError(
                "ins_missing", "An identity is qualified together with its INS."
            )
        return self

    def patient(self) -> Patient:
        """Return the patient as the use cases want it."""
        return Patient(**self.model_dump())


class PatientPatch(_Members):
    """JSON merge patch (RFC 7396) of a file: only the members to change; null removes."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"phone": "+33600000001", "email": None}]}
    )

    def changes(self) -> dict[str, Any]:
        """Return the members that were sent."""
        return {name: getattr(self, name) for name in self.model_fields_set}


class _Search(Body):
    family_name: Name | None = None
    birth_date: BirthDate | None = None
    phone: Phone | None = None
    case_id: CaseId | None = None
    ins: Ins | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.family_name is None) != (self.birth_date is None):
            raise PydanticCustomError(
                "name_and_birth_date", "A family name is searched with a birth date."
            )
        if self.family_name is not None and not normalised(self.family_name):
            raise PydanticCustomError(
                "name_without_letters", "A name is searched by its letters and digits: it has none."
            )
        wanted = self.wanted()
        ways = (wanted.family_name, wanted.phone, wanted.case_id, wanted.ins, wanted.file_id)
        if sum(way is not None for way in ways) != 1:
            raise PydanticCustomError(
                "one_way", "Search by family_name and birth_date, or phone, or case_id, or ins."
            )
        return self

    def wanted(self) -> Wanted:
        """Return the search as the use cases want it."""
        return Wanted(**self.model_dump(exclude={"purpose", "reason"}))


class PatientSearch(_Search):
    """Exact search after normalisation, by one of the four ways; never a list of everybody."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"family_name": "Exemple", "birth_date": "1980-01-01", "purpose": "care"}]
        }
    )

    purpose: Purpose


class BreakGlassIn(_Search):
    """A search among files that I may not see, for a reason that is traced and looked after.

    By one of the four ways of a search, or by the file's id.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "family_name": "Exemple",
                    "birth_date": "1980-01-01",
                    "reason": "vital_emergency",
                }
            ]
        }
    )

    file_id: UUID | None = None
    reason: BreakGlass


class PatientOut(Answer):
    """Who comes, for those who may know."""

    family_name: str | None
    given_name: str | None
    birth_date: date | None
    age: str | None
    sex: Sex | None
    phone: str | None
    commune: str | None
    email: str | None
    ins: str | None = Field(description="Only of a qualified identity (QUAL).")
    identity_status: IdentityStatus
    regular_doctor_rpps: str | None
    inform_regular_doctor: bool
    long_term_illness: bool
    reduced_mobility: bool
    case_id: str | None


class PatientFileOut(PatientOut):
    """A patient file."""

    id: UUID
    version: int
    created_at: datetime = Field(description="In the territory's zone.")
    updated_at: datetime


class PatientFilesOut(Answer):
    """At most 20 files."""

    items: list[PatientFileOut]


def patient_members(patient: Patient) -> dict[str, Any]:
    """Render a patient; an INS leaves only with a qualified identity."""
    members = {name: getattr(patient, name) for name in PatientOut.model_fields}
    if patient.identity_status != IdentityStatus.QUAL:
        members["ins"] = None
    return members


def file_out(file: PatientFile) -> PatientFileOut:
    """Render a file."""
    return PatientFileOut(
        id=file.id,
        version=file.version,
        created_at=local(file.created_at, file.zone),
        updated_at=local(file.updated_at, file.zone),
        **patient_members(file.patient),
    )


class AccessOut(Answer):
    """One access to a file or to a booking on it."""

    occurred_at: datetime = Field(description="In the territory's zone.")
    operation: str
    label: str = Field(description="The operation in French.")
    result: str = Field(description="`shown`, `done`, or the code of the refusal.")
    organization_id: UUID | None
    organization: str | None = Field(description="Its name.")
    role: str | None
    person: dict[str, str] | None = Field(
        description="Who works with the software; `proof`: `asserted`, or who proved them."
    )
    purpose: str | None
    break_glass: str | None = Field(description="Why it was opened though it was not visible.")


class AccessesOut(Answer):
    """Who read and changed a patient's files and bookings, newest first."""

    patient_file_id: UUID
    other_patient_file_ids: list[UUID] = Field(
        description="Files of the same patient, told here too."
    )
    items: list[AccessOut] = Field(description="At most 10 000.")


def accesses_out(file_id: UUID, found: Accesses) -> AccessesOut:
    """Render accesses as JSON."""
    items = [
        AccessOut(
            occurred_at=local(trace.occurred_at, found.zone),
            operation=trace.operation,
            label=labels.OPERATIONS.get(trace.operation, trace.operation),
            result=trace.result,
            organization_id=trace.organization_id,
            organization=_organization(found, trace),
            role=trace.role,
            person=dict(trace.person) if trace.person else None,
            purpose=trace.purpose,
            break_glass=trace.break_glass,
        )
        for trace in found.traces
    ]
    return AccessesOut(
        patient_file_id=file_id, other_patient_file_ids=list(found.other_file_ids), items=items
    )


def _organization(found: Accesses, trace: Trace) -> str | None:
    return found.organizations.get(trace.organization_id) if trace.organization_id else None


_TITLES = (
    "Date et heure",
    "Action",
    "Résultat",
    "Structure",
    "Fonction",
    "Personne",
    "Identité",
    "Finalité",
    "Accès d’urgence",
)


def accesses_csv(found: Accesses) -> str:
    """Render accesses for a French spreadsheet, to be handed to the patient."""
    sheet = io.StringIO()
    writer = csv.writer(sheet, delimiter=";", lineterminator="\r\n")
    writer.writerow(_TITLES)
    for trace in found.traces:
        person = trace.person or {}
        names = (person.get("given_name"), person.get("family_name"))
        row = (
            f"{local(trace.occurred_at, found.zone):%d/%m/%Y %H:%M:%S}",
            labels.OPERATIONS.get(trace.operation, trace.operation),
            labels.RESULTS.get(trace.result, labels.REFUSED),
            _organization(found, trace),
            labels.ROLES.get(trace.role or "", trace.role),
            " ".join(name for name in names if name) or person.get("id"),
            _identity(person),
            labels.PURPOSES.get(trace.purpose or "", trace.purpose),
            labels.BREAK_GLASS.get(trace.break_glass or "", trace.break_glass),
        )
        writer.writerow(map(_cell, row))
    return f"\ufeff{sheet.getvalue()}"


def _identity(person: Mapping[str, str]) -> str | None:
    """Tell in French whether somebody proved the person, or the software says so."""
    proof = person.get("proof")
    return proof and (labels.ASSERTED if proof == ASSERTED else labels.PROVEN)


def _cell(text: str | None) -> str:
    """A text is no formula, whatever the software that asserted it put there."""
    return f"'{text}" if text and text[0] in "=+-@\t\r" else text or ""
