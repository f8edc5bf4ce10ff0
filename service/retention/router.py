"""HTTP: legal holds, and all that is held about a patient."""

from uuid import UUID

from fastapi import APIRouter, Response

from service.audit.http import Traced
from service.directory import ForeignTerritory
from service.identity.http import CurrentActor, refusals
from service.kernel.http.deps import IdempotentOnce, Uow
from service.patients import PatientFileNotFound
from service.retention import usecases
from service.retention.domain import LegalHoldLifted, LegalHoldNotFound
from service.retention.schemas import (
    LegalHoldIn,
    LegalHoldOut,
    LegalHoldsOut,
    PatientExportOut,
)

router = APIRouter(prefix="/v1", tags=["retention"], route_class=Traced)


@router.post(
    "/legal-holds",
    operation_id="retention.place_hold",
    status_code=201,
    responses=refusals(ForeignTerritory, LegalHoldNotFound, idempotent=True),
)
async def place(
    uow: Uow, actor: CurrentActor, once: IdempotentOnce, body: LegalHoldIn
) -> LegalHoldOut:
    """Keep everything of a patient file or a case from being erased, until the hold is lifted."""
    held = await once.create(
        uow,
        lambda: usecases.place(
            uow, actor, body.target(), reason=body.reason, territory=body.territory
        ),
        again=lambda ids: usecases.placed(uow, actor, ids[0]),
        ids=lambda hold: [hold.id],
    )
    return LegalHoldOut.model_validate(held)


@router.get("/legal-holds", operation_id="retention.list_holds", responses=refusals())
async def list_mine(uow: Uow, actor: CurrentActor) -> LegalHoldsOut:
    """List the holds of my territories, newest first, lifted ones too.

    Why is told to who placed a hold and to managers of its territory; that it was told is traced.
    """
    found = await usecases.holds(uow, actor)
    return LegalHoldsOut(items=[LegalHoldOut.model_validate(hold) for hold in found])


@router.delete(
    "/legal-holds/{hold_id}",
    operation_id="retention.lift_hold",
    responses=refusals(LegalHoldNotFound, LegalHoldLifted),
)
async def lift(uow: Uow, actor: CurrentActor, hold_id: UUID) -> LegalHoldOut:
    """Lift a hold of my organization or, as a manager, of my territories.

    What is due goes with the next run of retention.
    """
    return LegalHoldOut.model_validate(await usecases.lift(uow, actor, hold_id))


@router.get(
    "/patient-files/{file_id}/export",
    operation_id="retention.export_patient",
    responses=refusals(PatientFileNotFound),
)
async def export(
    uow: Uow, actor: CurrentActor, file_id: UUID, response: Response
) -> PatientExportOut:
    """Say all that is held about a patient, with French labels, as the centre that opened the file.

    What a patient may ask for (RGPD, article 15). Other files of the same patient in my territories
    (the same names, birth date and sex, or the same qualified INS) are told with it. The trace
    keeps who asked, with each of them.
    """
    response.headers["Content-Disposition"] = 'attachment; filename="dossier.json"'
    return PatientExportOut.model_validate(await usecases.everything_about(uow, actor, file_id))
