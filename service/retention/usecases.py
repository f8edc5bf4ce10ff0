"""Use cases: place and lift legal holds, and say all that is held about a patient."""

from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from service import patients
from service.directory import ForeignTerritory
from service.identity import Actor
from service.kernel import events
from service.kernel.db import UnitOfWork
from service.kernel.events import OPERATOR
from service.kernel.ids import new_id
from service.retention import export, repository
from service.retention.domain import Hold, LegalHoldLifted, LegalHoldNotFound


@dataclass(frozen=True, slots=True)
class Target:
    """What a hold covers: one patient file, or every file of a case. Exactly one is given."""

    patient_file_id: UUID | None = None
    case_id: str | None = None


async def place(
    uow: UnitOfWork,
    actor: Actor | None,
    target: Target,
    *,
    reason: str,
    territory: str | None = None,
) -> Hold:
    """Keep everything of a patient or a case until the hold is lifted.

    Not asked whether there is any: that would tell. Without an actor it is the operator's, and
    holds everywhere. Refusals: `foreign-territory`.
    """
    if actor is not None:
        territory = territory or actor.territories[0]
        if territory not in actor.territories:
            raise ForeignTerritory
    hold_id = new_id()
    await repository.place(
        uow,
        hold_id,
        actor,
        territory=territory,
        patient_file_id=target.patient_file_id,
        case_id=target.case_id,
        reason=reason,
    )
    await _tell(uow, actor, "legal_hold.placed", hold_id, territory)
    return replace(await _there(uow, hold_id), reason=reason)


async def lift(uow: UnitOfWork, actor: Actor | None, hold_id: UUID) -> Hold:
    """End a hold; what is due goes with the next run. Its reason goes at once.

    For the organization that placed it, a manager of its territory, and the operator. Refusals:
    `legal-hold-not-found`, `legal-hold-lifted`.
    """
    found = await _there(uow, hold_id)
    if actor is not None and not found.may_be_lifted_by(actor):
        raise LegalHoldNotFound
    if not await repository.lift(uow, hold_id):
        raise LegalHoldLifted
    await _tell(uow, actor, "legal_hold.lifted", hold_id, found.territory)
    return await _there(uow, hold_id)


async def _there(uow: UnitOfWork, hold_id: UUID) -> Hold:
    found = await repository.find(uow, hold_id)
    if found is None:
        raise LegalHoldNotFound
    return found


async def holds(uow: UnitOfWork, actor: Actor | None = None) -> list[Hold]:
    """Return the holds of my territories, or to the operator all of them, newest first.

    The reason is told to who placed it, to managers of the territory and to the operator: traced.
    """
    return await repository.show(uow, actor)


async def placed(uow: UnitOfWork, actor: Actor, hold_id: UUID) -> Hold:
    """Return a hold that I placed, as it is now. Refusals: `legal-hold-not-found`."""
    found = next((hold for hold in await holds(uow, actor) if hold.id == hold_id), None)
    if found is None:
        raise LegalHoldNotFound
    return found


async def _tell(
    uow: UnitOfWork, actor: Actor | None, type_: str, subject_id: UUID, territory: str | None
) -> None:
    origin = actor.origin if actor else OPERATOR
    await events.record(uow, origin, type_, subject_id, territory=territory, data={})


async def everything_about(uow: UnitOfWork, actor: Actor | None, file_id: UUID) -> dict[str, Any]:
    """Return all that is held about a patient, with French labels; the trace says who asked.

    For the centre that opened the file, with the patient's other files in the caller's territories,
    and for the operator. Refusals: `patient-file-not-found`.
    """
    file_ids = await patients.files_of_patient(uow, actor, file_id)
    held = await export.held(uow, file_ids)
    if not held.rows["patient_file"]:
        raise patients.PatientFileNotFound
    for file in held.rows["patient_file"]:
        await _tell(uow, actor, "patient_file.exported", file["id"], file["territory"])
    return held.labelled()


async def held_subjects(uow: UnitOfWork) -> list[UUID]:
    """Return the ids of all files, bookings, calls and needs that a live hold covers."""
    return await repository.held_subjects(uow)
