"""HTTP: patient files. Identity travels in bodies only, never in a URL."""

from datetime import timedelta
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Header, Request, Response

from service.audit.http import Traced
from service.identity.http import CurrentActor, refusals
from service.kernel.errors import PreconditionFailed
from service.kernel.http.deps import IdempotentOnce, IfMatch, Uow, tag
from service.patients import usecases
from service.patients.domain import PatientFileClosed, PatientFileNotFound, PatientInvalid
from service.patients.schemas import (
    AccessesOut,
    BreakGlassIn,
    PatientFileOut,
    PatientFilesOut,
    PatientIn,
    PatientPatch,
    PatientSearch,
    accesses_csv,
    accesses_out,
    file_out,
)

router = APIRouter(prefix="/v1", tags=["patients"], route_class=Traced)


@router.post(
    "/patient-files",
    operation_id="patients.open",
    status_code=201,
    responses=refusals(PatientInvalid, idempotent=True),
)
async def open_file(
    uow: Uow, actor: CurrentActor, once: IdempotentOnce, body: PatientIn, response: Response
) -> PatientFileOut:
    """Open a patient file for my organization."""
    file = await once.create(
        uow,
        lambda: usecases.open_file(uow, actor, body.patient()),
        again=lambda ids: usecases.read(uow, actor, ids[0]),
        ids=lambda made: [made.id],
    )
    response.headers["Location"] = f"/v1/patient-files/{file.id}"
    tag(response, file.version)
    return file_out(file)


@router.post("/patient-files/search", operation_id="patients.search", responses=refusals())
async def search(uow: Uow, actor: CurrentActor, body: PatientSearch) -> PatientFilesOut:
    """Find files that I may read: by name and birth date, phone, case id or INS. At most 20."""
    found = await usecases.search(uow, actor, body.wanted(), body.purpose)
    return PatientFilesOut(items=[file_out(file) for file in found])


@router.post(
    "/patient-files/break-glass", operation_id="patients.break_glass", responses=refusals()
)
async def break_glass(uow: Uow, actor: CurrentActor, body: BreakGlassIn) -> PatientFilesOut:
    """Open files of my territories that I may not see, for a reason of the list. At most 20.

    Each use is traced as such, told in the log, and listed by `GET /v1/audit-events`. The right to
    read the file afterwards does not come with it.
    """
    found = await usecases.break_glass(uow, actor, body.wanted(), body.reason)
    return PatientFilesOut(items=[file_out(file) for file in found])


@router.get(
    "/patient-files/{file_id}/accesses",
    operation_id="patients.accesses",
    response_model=AccessesOut,
    responses={
        200: {"content": {"text/csv": {"schema": {"type": "string"}}}, "description": "Accesses."},
        **refusals(PatientFileNotFound),
    },
)
async def accesses(
    uow: Uow,
    actor: CurrentActor,
    file_id: UUID,
    accept: Annotated[str, Header(include_in_schema=False)] = "*/*",
) -> AccessesOut | Response:
    """List who read and changed a file and its bookings: for its patient, who asks.

    Other files of the same patient (the same names, birth date and sex, or the same qualified INS)
    are told too: to regulation those of its territories, to a doctor's side those that it may read.
    `Accept: text/csv` gives the same with French words, to be handed over.
    """
    found = await usecases.accesses(uow, actor, file_id)
    if accept.lower().startswith("text/csv"):
        return Response(
            accesses_csv(found),
            media_type="text/csv",
            headers={"Content-Disposition": 'attachment; filename="acces.csv"'},
        )
    return accesses_out(file_id, found)


@router.get(
    "/patient-files/{file_id}",
    operation_id="patients.read",
    responses=refusals(PatientFileNotFound),
)
async def read(uow: Uow, actor: CurrentActor, file_id: UUID, response: Response) -> PatientFileOut:
    """Read a file that my organization opened or booked on, or a patient booked with me."""
    file = await usecases.read(uow, actor, file_id)
    tag(response, file.version)
    return file_out(file)


@router.patch(
    "/patient-files/{file_id}",
    operation_id="patients.amend",
    responses=refusals(PatientFileNotFound, PatientFileClosed, PatientInvalid, PreconditionFailed),
)
async def amend(
    request: Request,
    uow: Uow,
    actor: CurrentActor,
    file_id: UUID,
    body: PatientPatch,
    if_match: IfMatch,
    response: Response,
) -> PatientFileOut:
    """Correct a file (JSON merge patch; null removes), until a day after its last appointment.

    `If-Match` is honoured.
    """
    editable = timedelta(hours=request.app.state.settings.identity_editable_hours)
    file = await usecases.amend(uow, actor, file_id, body.changes(), if_match, editable=editable)
    tag(response, file.version)
    return file_out(file)
