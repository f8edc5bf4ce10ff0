"""Patients: the minimum needed to be received, encrypted by column, found by blind index.

Nothing else stores a name, a phone or a birth date. A file is readable by the organizations that
opened it or booked on it, and by the doctor's side of its bookings; for everyone else it does not
exist, unless it is opened for a reason of a closed list (break-glass), which is traced as such.
Every reading leaves a trace in the statement that reads. Events: patient_file.opened,
patient_file.amended (names of members, never values).
"""

from service.patients import parts
from service.patients.domain import IdentityStatus, Patient, PatientFileNotFound, own_key
from service.patients.repository import (
    addresses,
    doctor_to_inform,
    reading_as,
    seal,
    unseal,
)
from service.patients.schemas import (
    Age,
    CaseId,
    CommuneCode,
    Email,
    PatientIn,
    PatientOut,
    patient_members,
)
from service.patients.usecases import (
    check_readable,
    files_of_patient,
    lock,
    on_amending,
    set_care,
    to_amend,
)

QUALIFIED = IdentityStatus.QUAL

__all__ = [
    "QUALIFIED",
    "Age",
    "CaseId",
    "CommuneCode",
    "Email",
    "Patient",
    "PatientFileNotFound",
    "PatientIn",
    "PatientOut",
    "addresses",
    "check_readable",
    "doctor_to_inform",
    "files_of_patient",
    "lock",
    "on_amending",
    "own_key",
    "parts",
    "patient_members",
    "reading_as",
    "seal",
    "set_care",
    "to_amend",
    "unseal",
]
