"""HTTP: who saw and changed what."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from service.audit import usecases
from service.audit.domain import AuditInvalid
from service.audit.http import Traced
from service.audit.schemas import TraceOut
from service.identity.http import CurrentActor, refusals
from service.kernel.http.deps import LIMIT, Cursor, Limit, Uow
from service.kernel.http.shapes import Instant, PageOut
from service.kernel.paging import CursorInvalid, PageRequest

router = APIRouter(prefix="/v1", tags=["audit"], route_class=Traced)


@router.get(
    "/audit-events", operation_id="audit.list", responses=refusals(AuditInvalid, CursorInvalid)
)
async def list_events(
    uow: Uow,
    actor: CurrentActor,
    patient: Annotated[
        UUID | None, Query(description="Id of a patient file, with its bookings; or of a booking.")
    ] = None,
    from_: Annotated[
        Instant | None, Query(alias="from", description="Default without a patient: a day before.")
    ] = None,
    to: Annotated[Instant | None, Query(description="Excluded. Default: now.")] = None,
    client: UUID | None = None,
    organization: UUID | None = None,
    break_glass: Annotated[
        bool, Query(description="Only openings of files that were not visible.")
    ] = False,
    limit: Limit = LIMIT,
    cursor: Cursor = None,
) -> PageOut[TraceOut]:
    """List who read, changed or was refused what in my territories, newest first.

    Without a patient, a window of at most 31 days. Looking in here is traced itself.
    """
    wanted = {
        "patient": patient,
        "from_": from_,
        "to": to,
        "client": client,
        "organization": organization,
        "break_glass": break_glass,
    }
    asked = {**wanted, "grant": actor.grant_id}
    page = await usecases.list_events(uow, actor, wanted, PageRequest(limit, cursor, asked))
    items = [TraceOut.model_validate(trace) for trace in page.items]
    return PageOut(items=items, next_cursor=page.next_cursor)
