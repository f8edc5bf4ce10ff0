"""The patient file: the minimum needed to be received. Pure."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from uuid import UUID

from service.audit import Trace
from service.kernel.crypto import Vault, normalised
from service.kernel.errors import Conflict, FieldError, Invalid, NotFound

ACCESSES_AT_MOST = 10_000


class IdentityStatus(StrEnum):
    """How far an identity is trusted (RNIV, FR Core identity-reliability)."""

    PROV = "PROV"
    RECUP = "RECUP"
    VALI = "VALI"
    QUAL = "QUAL"


class Sex(StrEnum):
    """National list `sexe` of the regulation hub."""

    M = "M"
    F = "F"
    O = "O"  # noqa: E741  the national code
    UN = "UN"


class Purpose(StrEnum):
    """Why somebody searches a patient; kept in the trace of the search."""

    REGULATION = "regulation"
    CARE = "care"
    BOOKING = "booking"
    CORRECTION = "correction"


class PatientFileNotFound(NotFound):
    """No such file, or not for this caller: told in the same words."""

    code = "patient-file-not-found"
    title = "No patient file of this id is visible to you."


class PatientInvalid(Invalid):
    """The file breaks a rule."""

    code = "patient-invalid"
    title = "This patient file breaks a rule."


class PatientFileClosed(Conflict):
    """The appointment is long over: who came is not rewritten."""

    code = "patient-file-closed"
    title = "The last appointment of this file is over: it is corrected no more."


@dataclass(frozen=True, slots=True)
class Patient:
    """Who comes. Every member may be unknown; the age or the birth date is not.

    `age` is an ISO 8601 duration (`P45Y`, `P3M`); `phone` is `+33...`; `commune` an INSEE code.
    """

    family_name: str | None = None
    given_name: str | None = None
    birth_date: date | None = None
    age: str | None = None
    sex: str | None = None
    phone: str | None = None
    commune: str | None = None
    email: str | None = None
    ins: str | None = None
    identity_status: str = IdentityStatus.PROV
    regular_doctor_rpps: str | None = None
    inform_regular_doctor: bool = False
    long_term_illness: bool = False
    reduced_mobility: bool = False
    case_id: str | None = None

    def key(self, vault: Vault, file_id: UUID) -> bytes:
        """Return who this is for "no two live bookings that overlap".

        The same names, birth date and sex give the same key, however they are written; an
        incomplete identity is only itself.
        """
        names = (self.family_name or "", self.given_name or "")
        if all(normalised(name) for name in names) and self.birth_date and self.sex:
            return vault.blind_index(
                *names,
                self.birth_date.isoformat(),
                self.sex,
                purpose="patient_key",
            )
        return own_key(vault, file_id)


def own_key(vault: Vault, file_id: UUID) -> bytes:
    """Return the key of a file whose identity is incomplete: no other file has it."""
    return vault.blind_index(str(file_id), purpose="patient_file")


@dataclass(frozen=True, slots=True)
class PatientFile:
    """A file as read by somebody who may see it."""

    id: UUID
    territory: str
    zone: str
    patient: Patient
    version: int
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Wanted:
    """An exact search: name with birth date, phone, case id, INS or the file's own id."""

    family_name: str | None = None
    birth_date: date | None = None
    phone: str | None = None
    case_id: str | None = None
    ins: str | None = None
    file_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Accesses:
    """Who read and changed the files of a patient, newest first, with the organizations' names."""

    zone: str
    other_file_ids: Sequence[UUID]
    traces: Sequence[Trace]
    organizations: Mapping[UUID, str]


def check_qualified(before: str, patient: Patient, given_ins: str | None) -> None:
    """Refuse a qualified identity without its INS: the INS is shown of a qualified one only.

    Whoever qualifies has read both the national look-up and a document, and so knows the INS: it
    is given together with the status, not taken from what was there.
    """
    if patient.identity_status != IdentityStatus.QUAL:
        return
    if patient.ins is None or (before != IdentityStatus.QUAL and given_ins is None):
        raise PatientInvalid(
            FieldError("#/ins", "ins-missing", "An identity is qualified together with its INS.")
        )


def ins_is_valid(ins: str) -> bool:
    """Tell whether an INS has its shape and its key (97 - N mod 97; Corsica 2A = 19, 2B = 18)."""
    if not re.fullmatch(r"[1-8]\d{4}(?:\d\d|2[AB])\d{8}", ins):
        return False
    number = int(ins[:13].replace("2A", "19").replace("2B", "18"))
    return int(ins[13:]) == 97 - number % 97  # the arithmetic of the NIR key
