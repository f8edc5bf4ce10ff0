"""HTTP: slot sessions, absences; amending a practitioner, which may take slots back."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Response

from service.agenda import usecases
from service.agenda.domain import (
    AbsenceInvalid,
    AbsenceNotFound,
    SessionEnded,
    SessionInvalid,
    SessionNotFound,
)
from service.agenda.schemas import (
    AbsenceIn,
    AbsenceOut,
    PractitionerAmended,
    SessionIn,
    SessionOut,
    SessionPatch,
    SessionReport,
    absence_out,
    amended_out,
    report_out,
    session_out,
)
from service.directory import (
    AlreadyListed,
    DirectoryInvalid,
    ForeignTerritory,
    PractitionerNotFound,
    PractitionerPatch,
)
from service.directory.http import CheckKeys
from service.identity.http import CurrentActor, Guarded, refusals
from service.kernel.errors import PreconditionFailed, PreconditionRequired
from service.kernel.http.deps import LIMIT, Cursor, IdempotentOnce, IfMatch, Limit, Uow, tag
from service.kernel.http.shapes import PageOut
from service.kernel.paging import CursorInvalid, PageRequest
from service.slots import NotMyPractitioner, OverlappingSlot

router = APIRouter(prefix="/v1", tags=["agenda"], route_class=Guarded)
entries = APIRouter(prefix="/v1", tags=["directory"], route_class=Guarded)


@router.post(
    "/slot-sessions",
    operation_id="agenda.create_session",
    status_code=201,
    responses=refusals(NotMyPractitioner, SessionInvalid, OverlappingSlot, idempotent=True),
)
async def create_session(
    uow: Uow, actor: CurrentActor, once: IdempotentOnce, response: Response, body: SessionIn
) -> SessionReport:
    """Publish a session: its slots of the next eight weeks, all or none; later ones follow.

    A 409 `overlapping-slot` names `blocking_slots` and `dates`; with `on_overlap` `skip` what
    overlaps is left out.

    The local time is kept when the clocks change: one that does not exist is skipped, one that
    exists twice is taken once.
    """
    report = await once.create(
        uow,
        lambda: usecases.create_session(uow, actor, body.draft(), body.on_overlap),
        again=lambda ids: usecases.read_session(uow, actor, ids[0]),
        ids=lambda made: [made.session.id],
    )
    response.headers["Location"] = f"/v1/slot-sessions/{report.session.id}"
    tag(response, report.session.version)
    return report_out(report)


@router.get(
    "/slot-sessions", operation_id="agenda.list_sessions", responses=refusals(CursorInvalid)
)
async def list_sessions(
    uow: Uow,
    actor: CurrentActor,
    practitioner: Annotated[UUID | None, Query(description="Default: all of mine.")] = None,
    limit: Limit = LIMIT,
    cursor: Cursor = None,
) -> PageOut[SessionOut]:
    """Return my sessions, newest first, ended ones too."""
    page = await usecases.list_sessions(
        uow, actor, practitioner, PageRequest(limit, cursor, {"practitioner": practitioner})
    )
    return PageOut(items=[session_out(*item) for item in page.items], next_cursor=page.next_cursor)


@router.get(
    "/slot-sessions/{session_id}",
    operation_id="agenda.read_session",
    responses=refusals(SessionNotFound),
)
async def read_session(
    uow: Uow, actor: CurrentActor, session_id: UUID, response: Response
) -> SessionReport:
    """Read a session of mine, its slots to come, and which of those asked for do not stand."""
    report = await usecases.read_session(uow, actor, session_id)
    tag(response, report.session.version)
    return report_out(report)


@router.patch(
    "/slot-sessions/{session_id}",
    operation_id="agenda.amend_session",
    responses=refusals(
        SessionNotFound, PreconditionRequired, PreconditionFailed, SessionEnded, SessionInvalid
    ),
)
async def amend_session(
    uow: Uow,
    actor: CurrentActor,
    session_id: UUID,
    body: SessionPatch,
    if_match: IfMatch,
    response: Response,
) -> SessionReport:
    """Change a session and its free slots to come (JSON merge patch). Needs `If-Match`.

    Booked and past slots stay (`changes.kept_slots`). A hold ends when its slot is withdrawn or
    moves. What overlaps now is left out and told in `skipped`.
    """
    report = await usecases.amend_session(uow, actor, session_id, body.changes(), if_match)
    tag(response, report.session.version)
    return report_out(report)


@router.delete(
    "/slot-sessions/{session_id}",
    operation_id="agenda.end_session",
    status_code=204,
    responses=refusals(SessionNotFound, PreconditionRequired, PreconditionFailed),
)
async def end_session(uow: Uow, actor: CurrentActor, session_id: UUID, if_match: IfMatch) -> None:
    """End a session and withdraw its free slots to come; booked ones stay. Needs `If-Match`."""
    await usecases.end_session(uow, actor, session_id, if_match)


@router.post(
    "/practitioners/{practitioner_id}/absences",
    operation_id="agenda.declare_absence",
    status_code=201,
    responses=refusals(NotMyPractitioner, AbsenceInvalid, idempotent=True),
)
async def declare_absence(
    uow: Uow,
    actor: CurrentActor,
    once: IdempotentOnce,
    practitioner_id: UUID,
    body: AbsenceIn,
    response: Response,
) -> AbsenceOut:
    """Withdraw the free slots of a range and cancel the booked ones, each told by one event."""
    absence = await once.create(
        uow,
        lambda: usecases.declare_absence(
            uow, actor, practitioner_id, from_=body.from_, to=body.to, reason=body.reason
        ),
        again=lambda ids: usecases.find_absence(uow, actor, practitioner_id, ids[0]),
        ids=lambda made: [made.id],
    )
    response.headers["Location"] = f"/v1/practitioners/{practitioner_id}/absences/{absence.id}"
    return absence_out(absence)


@router.get(
    "/practitioners/{practitioner_id}/absences",
    operation_id="agenda.list_absences",
    responses=refusals(NotMyPractitioner, CursorInvalid),
)
async def list_absences(
    uow: Uow,
    actor: CurrentActor,
    practitioner_id: UUID,
    limit: Limit = LIMIT,
    cursor: Cursor = None,
) -> PageOut[AbsenceOut]:
    """Return a practitioner's absences, newest first, ended ones too."""
    page = await usecases.list_absences(
        uow, actor, practitioner_id, PageRequest(limit, cursor, {"practitioner": practitioner_id})
    )
    return PageOut(
        items=[absence_out(absence) for absence in page.items], next_cursor=page.next_cursor
    )


@router.delete(
    "/practitioners/{practitioner_id}/absences/{absence_id}",
    operation_id="agenda.end_absence",
    status_code=204,
    responses=refusals(NotMyPractitioner, AbsenceNotFound),
)
async def end_absence(
    uow: Uow, actor: CurrentActor, practitioner_id: UUID, absence_id: UUID
) -> None:
    """End an absence: sessions fill its range again within the hour; other slots stay withdrawn."""
    await usecases.end_absence(uow, actor, practitioner_id, absence_id)


@entries.patch(
    "/practitioners/{practitioner_id}",
    operation_id="directory.amend_practitioner",
    response_model_exclude_unset=True,
    responses=refusals(
        PractitionerNotFound, ForeignTerritory, PreconditionFailed, DirectoryInvalid, AlreadyListed
    ),
)
async def amend_practitioner(
    uow: Uow,
    actor: CurrentActor,
    practitioner_id: UUID,
    body: PractitionerPatch,
    if_match: IfMatch,
    response: Response,
    keys: CheckKeys,
) -> PractitionerAmended:
    """Change some members (JSON merge patch); `location_ids` names all their places anew.

    `active: false` withdraws the free slots to come; booked ones stay and are told.
    """
    left = await usecases.amend_practitioner(
        uow, actor, practitioner_id, body.changes(), if_match, keys=keys
    )
    tag(response, left.entry.version)
    return amended_out(left)
