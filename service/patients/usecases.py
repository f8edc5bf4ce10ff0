"""Use cases: open, read, amend and search patient files."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

from service.identity import Actor
from service.kernel import events
from service.kernel.db import UnitOfWork
from service.kernel.errors import FieldError
from service.kernel.ids import new_id
from service.kernel.versions import Expected
from service.patients import repository
from service.patients.domain import (
    Patient,
    PatientFile,
    PatientFileNotFound,
    PatientInvalid,
    Purpose,
    Wanted,
    check_qualified,
)


async def open_file(uow: UnitOfWork, actor: Actor, patient: Patient) -> PatientFile:
    """Open a file for the caller's organization."""
    file_id = new_id()
    territory = actor.territories[0]
    await repository.add(uow, actor, file_id=file_id, territory=territory, patient=patient)
    await events.record(
        uow, actor.origin, "patient_file.opened", file_id, territory=territory, data={}
    )
    return await read(uow, actor, file_id)


async def read(uow: UnitOfWork, actor: Actor, file_id: UUID) -> PatientFile:
    """Return a file. Refusals: `patient-file-not-found`."""
    found = await repository.find(uow, actor, file_id)
    if found is None:
        raise PatientFileNotFound
    return found


async def amend(
    uow: UnitOfWork,
    actor: Actor,
    file_id: UUID,
    changes: Mapping[str, Any],
    expected: Expected,
) -> PatientFile:
    """Correct a file (JSON merge patch, validated member by member).

    The event names the members that changed, never their values. Refusals:
    `patient-file-not-found`, `version-mismatch`, `patient-invalid`.
    """
    found = await repository.find(uow, actor, file_id, lock=True)
    if found is None:
        raise PatientFileNotFound
    expected.check(found.version, required=False)
    patient = replace(found.patient, **changes)
    if patient.birth_date is None and patient.age is None:
        raise PatientInvalid(
            FieldError("#/age", "age-missing", "The birth date or the age stays known.")
        )
    check_qualified(found.patient.identity_status, patient.identity_status, changes.get("ins"))
    await repository.amend(uow, file_id, patient)
    await events.record(
        uow,
        actor.origin,
        "patient_file.amended",
        file_id,
        territory=found.territory,
        data={"members": sorted(changes)},
    )
    return await read(uow, actor, file_id)


async def search(
    uow: UnitOfWork, actor: Actor, wanted: Wanted, purpose: Purpose
) -> list[PatientFile]:
    """Return at most 20 readable files that match exactly after normalisation, newest first.

    The trace keeps why and how many, never what was searched.
    """
    found = await repository.search(uow, actor, wanted)
    await events.record(
        uow,
        actor.origin,
        "patient_file.searched",
        actor.grant_id,
        territory=actor.territories[0],
        data={"purpose": purpose, "found": [str(file.id) for file in found]},
    )
    return found


async def lock(uow: UnitOfWork, file_id: UUID) -> None:
    """Bookings is about to say which doctors' sides have a booking on this file: take turns."""
    await repository.lock(uow, file_id)


async def set_care(
    uow: UnitOfWork,
    file_id: UUID,
    *,
    reader_id: UUID,
    practitioner_ids: Sequence[UUID],
    care_organization_ids: Sequence[UUID],
) -> None:
    """Bookings tells which doctors' sides have a booking on this file."""
    await repository.set_care(
        uow,
        file_id,
        reader_id=reader_id,
        practitioner_ids=practitioner_ids,
        care_organization_ids=care_organization_ids,
    )
