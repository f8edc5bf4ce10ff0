"""Use cases: open, read, amend and search patient files."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog

from service import audit, directory
from service.audit import BreakGlass
from service.identity import Actor
from service.kernel import events
from service.kernel.db import UnitOfWork
from service.kernel.errors import FieldError
from service.kernel.ids import new_id
from service.kernel.versions import Expected
from service.patients import repository
from service.patients.domain import (
    ACCESSES_AT_MOST,
    Accesses,
    Patient,
    PatientFile,
    PatientFileClosed,
    PatientFileNotFound,
    PatientInvalid,
    Purpose,
    Wanted,
    check_qualified,
)

log = structlog.get_logger()

LastAppointment = Callable[[UnitOfWork, UUID], Awaitable[datetime | None]]
_last_appointment: list[LastAppointment] = []


def on_amending(ask: LastAppointment) -> None:
    """Let a room above say when the last appointment of a file ends, if it has one."""
    _last_appointment.append(ask)


async def open_file(uow: UnitOfWork, actor: Actor, patient: Patient) -> PatientFile:
    """Open a file for the caller's organization."""
    file_id = new_id()
    territory = actor.territories[0]
    await repository.add(uow, actor, file_id=file_id, territory=territory, patient=patient)
    await events.record(
        uow, actor.origin, "patient_file.opened", file_id, territory=territory, data={}
    )
    return _there(await repository.find(uow, actor, file_id))


def _there(found: PatientFile | None) -> PatientFile:
    if found is None:
        raise PatientFileNotFound
    return found


async def read(uow: UnitOfWork, actor: Actor, file_id: UUID) -> PatientFile:
    """Return a file; the same statement traces who read it. Refusals: `patient-file-not-found`."""
    return _there(await repository.show(uow, actor, file_id))


async def check_readable(uow: UnitOfWork, actor: Actor, file_id: UUID) -> None:
    """Refuse a file that the caller may not read: `patient-file-not-found`."""
    if not await repository.is_readable(uow, actor, file_id):
        raise PatientFileNotFound


async def to_amend(uow: UnitOfWork, actor: Actor, file_id: UUID) -> PatientFile:
    """Return a file that something of is about to be changed, locked; its event tells.

    Refusals: `patient-file-not-found`.
    """
    return _there(await repository.find(uow, actor, file_id, lock=True))


async def amend(
    uow: UnitOfWork,
    actor: Actor,
    file_id: UUID,
    changes: Mapping[str, Any],
    expected: Expected,
    *,
    editable: timedelta,
) -> PatientFile:
    """Correct a file (JSON merge patch, validated member by member).

    Until `editable` after the end of its last appointment. The event names the members that
    changed, never their values. Refusals: `patient-file-not-found`, `version-mismatch`,
    `patient-file-closed`, `patient-invalid`.
    """
    found = await to_amend(uow, actor, file_id)
    expected.check(found.version, required=False)
    for ask in _last_appointment:
        ended = await ask(uow, file_id)
        if ended is not None and ended + editable < await uow.now():
            raise PatientFileClosed
    patient = replace(found.patient, **changes)
    if patient.birth_date is None and patient.age is None:
        raise PatientInvalid(
            FieldError("#/age", "age-missing", "The birth date or the age stays known.")
        )
    check_qualified(found.patient.identity_status, patient, changes.get("ins"))
    await repository.amend(uow, file_id, patient)
    await events.record(
        uow,
        actor.origin,
        "patient_file.amended",
        file_id,
        territory=found.territory,
        data={"members": sorted(changes)},
    )
    return _there(await repository.find(uow, actor, file_id))


async def search(
    uow: UnitOfWork, actor: Actor, wanted: Wanted, purpose: Purpose
) -> list[PatientFile]:
    """Return at most 20 readable files that match exactly after normalisation, newest first.

    The trace keeps why and which were found, never what was searched.
    """
    return await repository.search(uow, actor, wanted, purpose)


async def break_glass(
    uow: UnitOfWork, actor: Actor, wanted: Wanted, reason: BreakGlass
) -> list[PatientFile]:
    """Return at most 20 files of the caller's territories, though it may not see them.

    For a reason of the closed list, traced as such and told in the log: somebody looks after it.
    """
    found = await repository.break_glass(uow, actor, wanted, reason)
    log.warning(
        "break_glass",
        reason=reason,
        role=actor.role,
        organization_id=str(actor.organization_id),
        client_id=str(actor.client_id),
        found=len(found),
    )
    return found


async def accesses(uow: UnitOfWork, actor: Actor, file_id: UUID) -> Accesses:
    """Return who read and changed a readable file and its bookings: an answer to its patient.

    The patient's other files are told with it (`repository.others_of_patient`). At most 10 000,
    newest first; asking is traced itself. Refusals: `patient-file-not-found`.
    """
    zone = await repository.zone_for_accesses(uow, actor, file_id)
    if zone is None:
        raise PatientFileNotFound
    others = await repository.others_of_patient(uow, actor, file_id)
    if others:
        await audit.shown(
            uow,
            actor,
            "patients.accesses",
            territories=actor.territories,
            subject_ids=others,
            purpose="patient_rights",
        )
    found = await audit.accesses(uow, [file_id, *others], ACCESSES_AT_MOST)
    ids = {trace.organization_id for trace in found if trace.organization_id}
    return Accesses(zone, others, found, await directory.organization_names(uow, sorted(ids)))


async def files_of_patient(uow: UnitOfWork, actor: Actor | None, file_id: UUID) -> list[UUID]:
    """Return a file that the caller's organization opened, and the patient's others there are.

    Nothing of any is read before the right to it; the operator has it of all. Refusals:
    `patient-file-not-found`.
    """
    if actor is not None and not await repository.is_opened_by(uow, actor, file_id):
        raise PatientFileNotFound
    return [file_id, *await repository.others_of_patient(uow, actor, file_id)]


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
