"""HTTP: what nothing fitted."""

from typing import Annotated

from fastapi import APIRouter, Query

from service.audit.http import Traced
from service.calls import CallNotFound
from service.identity.http import CurrentActor, refusals
from service.kernel.http.deps import LIMIT, Cursor, IdempotentOnce, Limit, Uow
from service.kernel.http.shapes import Instant, PageOut
from service.kernel.paging import CursorInvalid, PageRequest
from service.needs import usecases
from service.needs.domain import NeedInvalid, NeedNotFound
from service.needs.schemas import NeedIn, NeedOut, need_out

router = APIRouter(prefix="/v1", tags=["needs"], route_class=Traced)


@router.post(
    "/unmet-needs",
    operation_id="needs.record",
    status_code=201,
    responses=refusals(CallNotFound, NeedNotFound, NeedInvalid, idempotent=True),
)
async def record(uow: Uow, actor: CurrentActor, once: IdempotentOnce, body: NeedIn) -> NeedOut:
    """Say that nothing fitted; the answer says how many open slots you could see, and did not."""
    need = await once.create(
        uow,
        lambda: usecases.record(uow, actor, body.draft()),
        again=lambda ids: usecases.recorded(uow, actor, ids[0]),
        ids=lambda need: [need.id],
    )
    return need_out(need)


@router.get("/unmet-needs", operation_id="needs.list", responses=refusals(CursorInvalid))
async def list_mine(
    uow: Uow,
    actor: CurrentActor,
    territory: Annotated[str | None, Query(max_length=3, examples=["36"])] = None,
    from_: Annotated[
        Instant | None, Query(alias="from", description="By the start of the wanted window.")
    ] = None,
    to: Annotated[Instant | None, Query(description="The same, excluded.")] = None,
    limit: Limit = LIMIT,
    cursor: Cursor = None,
) -> PageOut[NeedOut]:
    """List what my organization recorded, newest first."""
    wanted = {"territory": territory, "from_": from_, "to": to}
    asked = {**wanted, "caller": actor.grant_id}
    page = await usecases.list_mine(uow, actor, wanted, PageRequest(limit, cursor, asked))
    return PageOut(items=[need_out(need) for need in page.items], next_cursor=page.next_cursor)
