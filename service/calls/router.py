"""HTTP: calls, the call-back queue, call-backs, outcomes, closure."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Body, Query, Response

from service.calls import usecases
from service.calls.domain import (
    Attempt,
    Call,
    CallAssigned,
    CallInvalid,
    CallNotFound,
    CallState,
    CallStateForbids,
    OutcomeMissing,
    OutcomeNotFound,
    OutcomeOfBooking,
    RecordedOutcome,
)
from service.calls.repository import Filter
from service.calls.schemas import (
    CallbackAdded,
    CallbackIn,
    CallIn,
    CallOut,
    CallPatch,
    ClosureIn,
    OutcomeAdded,
    OutcomeIn,
    call_out,
    callback_added,
    outcome_added,
)
from service.directory import ForeignTerritory
from service.identity.http import CurrentActor, Guarded, refusals
from service.kernel.errors import PreconditionFailed
from service.kernel.http.deps import LIMIT, Cursor, IdempotentOnce, IfMatch, Limit, Uow, tag
from service.kernel.http.shapes import Instant, PageOut
from service.kernel.paging import CursorInvalid, PageRequest
from service.patients import PatientFileNotFound

router = APIRouter(prefix="/v1", tags=["calls"], route_class=Guarded)


@router.post(
    "/calls",
    operation_id="calls.open",
    status_code=201,
    responses=refusals(ForeignTerritory, PatientFileNotFound, CallInvalid, idempotent=True),
)
async def open_call(
    uow: Uow, actor: CurrentActor, once: IdempotentOnce, response: Response, body: CallIn
) -> CallOut:
    """Open a call. What the assistant keeps for the 15 gets none; late entry is normal."""
    call = await once.create(
        uow,
        lambda: usecases.open_call(uow, actor, body.draft()),
        again=lambda ids: usecases.readable(uow, actor, ids[0]),
        ids=lambda call: [call.id],
    )
    response.headers["Location"] = f"/v1/calls/{call.id}"
    tag(response, call.version)
    return call_out(call)


@router.get("/calls", operation_id="calls.list", responses=refusals(CursorInvalid))
async def list_calls(
    uow: Uow,
    actor: CurrentActor,
    state: Annotated[
        CallState | None, Query(description="`awaiting_callback` is the call-back queue.")
    ] = None,
    territory: Annotated[str | None, Query(max_length=3, examples=["36"])] = None,
    from_: Annotated[Instant | None, Query(alias="from", description="By received_at.")] = None,
    to: Annotated[Instant | None, Query(description="By received_at, excluded.")] = None,
    case_id: Annotated[str | None, Query(max_length=200)] = None,
    limit: Limit = LIMIT,
    cursor: Cursor = None,
) -> PageOut[CallOut]:
    """List my centre's calls, newest first.

    The call-back queue (`state=awaiting_callback`) is in the order to call: P0 to P3, then NR, then
    who waits longest; only what nobody else has taken.
    """
    wanted = Filter(state, territory, from_, to, case_id)
    asked = {**wanted.parameters(), "caller": actor.grant_id}
    page = await usecases.list_calls(uow, actor, wanted, PageRequest(limit, cursor, asked))
    return PageOut(items=[call_out(call) for call in page.items], next_cursor=page.next_cursor)


@router.get("/calls/{call_id}", operation_id="calls.read", responses=refusals(CallNotFound))
async def read(uow: Uow, actor: CurrentActor, call_id: UUID, response: Response) -> CallOut:
    """Read a call of my centre."""
    call = await usecases.readable(uow, actor, call_id)
    tag(response, call.version)
    return call_out(call)


@router.patch(
    "/calls/{call_id}",
    operation_id="calls.amend",
    responses=refusals(
        CallNotFound, PatientFileNotFound, PreconditionFailed, CallStateForbids, CallInvalid
    ),
)
async def amend(
    uow: Uow,
    actor: CurrentActor,
    call_id: UUID,
    body: CallPatch,
    if_match: IfMatch,
    response: Response,
) -> CallOut:
    """Change some members of a call (JSON merge patch); `{"void": true}` if opened by mistake."""
    call = await usecases.amend(uow, actor, call_id, body.changes(), if_match)
    tag(response, call.version)
    return call_out(call)


@router.put(
    "/calls/{call_id}/assignment",
    operation_id="calls.assign",
    responses=refusals(CallNotFound, CallStateForbids, CallAssigned),
)
async def assign(uow: Uow, actor: CurrentActor, call_id: UUID, response: Response) -> CallOut:
    """Take a call: nobody else calls this patient back."""
    call = await usecases.assign(uow, actor, call_id)
    tag(response, call.version)
    return call_out(call)


@router.delete(
    "/calls/{call_id}/assignment",
    operation_id="calls.unassign",
    status_code=204,
    responses=refusals(CallNotFound, CallStateForbids, CallAssigned),
)
async def unassign(uow: Uow, actor: CurrentActor, call_id: UUID, response: Response) -> None:
    """Give a call back."""
    call = await usecases.unassign(uow, actor, call_id)
    tag(response, call.version)


@router.post(
    "/calls/{call_id}/callbacks",
    operation_id="calls.call_back",
    status_code=201,
    responses=refusals(
        CallNotFound,
        PreconditionFailed,
        CallStateForbids,
        CallAssigned,
        CallInvalid,
        idempotent=True,
    ),
)
async def call_back(
    uow: Uow,
    actor: CurrentActor,
    once: IdempotentOnce,
    call_id: UUID,
    body: CallbackIn,
    if_match: IfMatch,
    response: Response,
) -> CallbackAdded:
    """Record a call-back made or tried. An unreached patient stays in the queue."""

    async def make() -> tuple[Call, Attempt]:
        return await usecases.call_back(
            uow, actor, call_id, at=body.at, reached=body.reached, expected=if_match
        )

    async def again(ids: list[UUID]) -> tuple[Call, Attempt]:
        call = await usecases.readable(uow, actor, call_id)
        return call, next(attempt for attempt in call.callbacks if attempt.id == ids[0])

    call, attempt = await once.create(uow, make, again=again, ids=lambda made: [made[1].id])
    tag(response, call.version)
    return callback_added(call, attempt)


@router.post(
    "/calls/{call_id}/outcomes",
    operation_id="calls.add_outcome",
    status_code=201,
    responses=refusals(
        CallNotFound, PreconditionFailed, CallStateForbids, CallInvalid, idempotent=True
    ),
)
async def add_outcome(
    uow: Uow,
    actor: CurrentActor,
    once: IdempotentOnce,
    call_id: UUID,
    body: OutcomeIn,
    if_match: IfMatch,
    response: Response,
) -> OutcomeAdded:
    """Give a call one of its outcomes; until 30 days after closing. A booking adds its own."""

    async def make() -> tuple[Call, RecordedOutcome]:
        return await usecases.add_outcome(
            uow,
            actor,
            call_id,
            outcome=body.outcome,
            pharmacy_id=body.pharmacy_id,
            expected=if_match,
        )

    call, outcome = await once.create(
        uow,
        make,
        again=lambda ids: usecases.find_outcome(uow, actor, call_id, ids[0]),
        ids=lambda made: [made[1].id],
    )
    tag(response, call.version)
    return outcome_added(call, outcome)


@router.delete(
    "/calls/{call_id}/outcomes/{outcome_id}",
    operation_id="calls.remove_outcome",
    status_code=204,
    responses=refusals(
        CallNotFound, OutcomeNotFound, PreconditionFailed, CallStateForbids, OutcomeOfBooking
    ),
)
async def remove_outcome(
    uow: Uow,
    actor: CurrentActor,
    call_id: UUID,
    outcome_id: UUID,
    if_match: IfMatch,
    response: Response,
) -> None:
    """Remove a wrong outcome; until 30 days after closing."""
    call = await usecases.remove_outcome(uow, actor, call_id, outcome_id, if_match)
    tag(response, call.version)


@router.post(
    "/calls/{call_id}/closure",
    operation_id="calls.close",
    responses=refusals(
        CallNotFound, PreconditionFailed, CallStateForbids, OutcomeMissing, idempotent=True
    ),
)
async def close(
    uow: Uow,
    actor: CurrentActor,
    once: IdempotentOnce,
    call_id: UUID,
    if_match: IfMatch,
    response: Response,
    body: Annotated[ClosureIn | None, Body()] = None,
) -> CallOut:
    """Close a call, with what the patient would otherwise have done."""
    otherwise = (body or ClosureIn()).otherwise
    call = await once.create(
        uow,
        lambda: usecases.close(uow, actor, call_id, otherwise=otherwise, expected=if_match),
        again=lambda ids: usecases.readable(uow, actor, ids[0]),
        ids=lambda call: [call.id],
        status=200,
    )
    tag(response, call.version)
    return call_out(call)
