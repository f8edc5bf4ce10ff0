"""Use cases: open, read, amend, take, call back, give outcomes, close."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from service import directory, patients
from service.calls import repository
from service.calls.domain import (
    MASK,
    PRIORITIES,
    QUALIFYING,
    Action,
    Attempt,
    Call,
    CallDraft,
    CallInvalid,
    CallNotFound,
    CallState,
    Otherwise,
    Outcome,
    OutcomeMissing,
    OutcomeNotFound,
    OutcomeOfBooking,
    RecordedOutcome,
    after,
    attempted,
    callback_flag,
    check_attempt,
    check_outcomes_open,
    check_received,
    check_void,
    refuse_assigned,
)
from service.calls.repository import Filter
from service.directory import ForeignTerritory, OrganizationType, Territory
from service.identity import Actor, Role
from service.kernel import events
from service.kernel.db import UnitOfWork
from service.kernel.errors import FieldError
from service.kernel.ids import new_id
from service.kernel.paging import Page, PageRequest, instant
from service.kernel.versions import Expected

# --- opening and reading ------------------------------------------------------------------------


async def open_call(uow: UnitOfWork, actor: Actor, draft: CallDraft) -> Call:
    """Open a call, in the call-back queue when a call-back is requested.

    Refusals: `foreign-territory`, `patient-file-not-found`, `call-invalid` (received in the future,
    unknown community).
    """
    territory = await _territory(uow, actor, draft.territory)
    now = await uow.now()
    await _check_named(uow, actor, {"patient_file_id": draft.patient_file_id})
    check_received(draft.received_at, now)
    await _check_named(uow, actor, {"cpts_id": draft.cpts_id})
    call_id = new_id()
    state = CallState.AWAITING_CALLBACK if draft.callback_requested else CallState.OPEN
    await repository.open_call(
        uow,
        {
            "id": call_id,
            "territory": territory.id,
            "zone": territory.zone,
            "organization_id": actor.organization_id,
            "cpts_id": draft.cpts_id,
            "line": draft.line,
            "received_at": draft.received_at,
            "caller_type": draft.caller_type,
            "motive": draft.motive,
            "priority": draft.priority,
            "care_level": draft.care_level,
            "patient_file_id": draft.patient_file_id,
            "case_id": draft.case_id,
            "state": state.value,
            "qualified_by": actor.named() if draft.qualifies else None,
            "protocol": draft.protocol,
            "callback_requested_at": now if draft.callback_requested else None,
            "client_id": actor.client_id,
        },
    )
    call = await readable(uow, actor, call_id)
    await _tell(uow, actor, "call.opened", call, received_at=call.received_at.isoformat())
    return call


async def _territory(uow: UnitOfWork, actor: Actor, named: str | None) -> Territory:
    """Return the named territory; else the centre's own if granted, else the first granted."""
    if named is not None and named not in actor.territories:
        raise ForeignTerritory
    chosen = named or actor.territories[0]
    if named is None and len(actor.territories) > 1:
        own = (await directory.organization(uow, actor.organization_id)).territory
        chosen = own if own in actor.territories else chosen
    return await directory.territory(uow, chosen)


async def _check_named(uow: UnitOfWork, actor: Actor, named: Mapping[str, UUID | None]) -> None:
    """Refuse a patient file that the caller may not read, and what is no community."""
    file_id, cpts_id = named.get("patient_file_id"), named.get("cpts_id")
    if file_id is not None:
        await patients.check_readable(uow, actor, file_id)
    if cpts_id is not None:
        await _check_type(uow, "#/cpts_id", cpts_id, OrganizationType.CPTS)


async def _check_type(
    uow: UnitOfWork, pointer: str, organization_id: UUID, type_: OrganizationType
) -> None:
    if await directory.organization_of_type(uow, organization_id, type_) is None:
        raise CallInvalid(
            FieldError(pointer, "unknown-organization", f"No active {type_.value} has this id.")
        )


async def readable(uow: UnitOfWork, actor: Actor, call_id: UUID) -> Call:
    """Return a call that the caller may see. Refusals: `call-not-found`."""
    call = await repository.find(uow, actor, call_id)
    if call is None:
        raise CallNotFound
    return call


async def _locked(uow: UnitOfWork, actor: Actor, call_id: UUID, expected: Expected) -> Call:
    call = await repository.lock(uow, actor, call_id)
    if call is None:
        raise CallNotFound
    expected.check(call.version, required=False)
    return call


async def _changed(uow: UnitOfWork, actor: Actor, call: Call, changes: Mapping[str, Any]) -> Call:
    await repository.change(uow, call.id, changes)
    return await readable(uow, actor, call.id)


async def _tell(uow: UnitOfWork, actor: Actor, type_: str, call: Call, **data: Any) -> None:
    """Write an event of a call: its state, and ids and times of what happened; no patient."""
    await events.record(
        uow,
        actor.origin,
        type_,
        call.id,
        territory=call.territory,
        data={"state": call.state.value, **data},
    )


async def list_calls(
    uow: UnitOfWork, actor: Actor, wanted: Filter, page: PageRequest
) -> Page[Call]:
    """Return the centre's calls, newest first; those awaiting a call-back as the queue.

    The queue holds unassigned calls and mine, by priority (P0 to P3, then NR), then since when.
    """
    if wanted.state is CallState.AWAITING_CALLBACK:
        position = page.after(int, instant, UUID)
        found = await repository.queue(uow, actor, wanted, limit=page.limit, after=position)
        return page.page(found, _queue_key)
    position = page.after(instant, UUID)
    found = await repository.newest(uow, actor, wanted, limit=page.limit, after=position)
    return page.page(found, lambda call: [call.received_at.isoformat(), str(call.id)])


def _queue_key(call: Call) -> list[Any]:
    since = call.callback_requested_at or call.created_at
    return [PRIORITIES.index(call.priority), since.isoformat(), str(call.id)]


# --- amending -----------------------------------------------------------------------------------


async def amend(
    uow: UnitOfWork,
    actor: Actor,
    call_id: UUID,
    changes: Mapping[str, Any],
    expected: Expected,
) -> Call:
    """Change some members of a call (JSON merge patch, already validated), or void it.

    Who sets motive, priority or care level has qualified the call. What changes nothing writes
    nothing. Refusals: `call-not-found`, `patient-file-not-found`, `version-mismatch`, `call-state`,
    `call-invalid`.
    """
    call = await _locked(uow, actor, call_id, expected)
    if changes.get("void"):
        return await _void(uow, actor, call)
    after(call.state, Action.AMEND)
    flag = changes.get("callback_requested")
    new = {} if flag is None else callback_flag(call, wanted=flag)
    sent = {name: value for name, value in changes.items() if name != "callback_requested"}
    new |= {name: value for name, value in sent.items() if value != getattr(call, name)}
    if "received_at" in new:
        check_received(new["received_at"], call.now)
    await _check_named(uow, actor, new)
    if QUALIFYING & changes.keys() and call.qualified_by != actor.named():
        new["qualified_by"] = actor.named()
    if not new:
        return call
    amended = await _changed(uow, actor, call, new)
    await _tell(uow, actor, "call.amended", amended, members=sorted(changes))
    return amended


async def _void(uow: UnitOfWork, actor: Actor, call: Call) -> Call:
    check_void(call)
    voided = await _changed(uow, actor, call, {"state": after(call.state, Action.VOID)})
    await _tell(uow, actor, "call.voided", voided)
    return voided


# --- taking -------------------------------------------------------------------------------------


async def assign(uow: UnitOfWork, actor: Actor, call_id: UUID) -> Call:
    """Take a call: of many rivals one wins. Taking one's own again changes nothing.

    Refusals: `call-not-found`, `call-state`, `call-assigned` naming who has it.
    """
    for last in (False, True):
        taken = await repository.take(uow, actor, call_id)
        call = await readable(uow, actor, call_id)
        if taken:
            return call
        after(call.state, Action.ASSIGN)
        if call.assigned_to_other(actor.named()) or (last and call.assigned_to is None):
            raise refuse_assigned(call)
        if call.assigned_to is not None:
            return call
        # Given back between the two statements: once more.
    raise AssertionError


async def unassign(uow: UnitOfWork, actor: Actor, call_id: UUID) -> Call:
    """Give a call back. A call that nobody has stays so.

    Refusals: `call-not-found`, `call-state`, `call-assigned` when somebody else has it.
    """
    given_back = await repository.give_back(uow, actor, call_id)
    call = await readable(uow, actor, call_id)
    if not given_back:
        after(call.state, Action.UNASSIGN)
        if call.assigned_to_other(actor.named()):
            raise refuse_assigned(call)
    return call


# --- calling back, outcomes, closure ------------------------------------------------------------


async def call_back(
    uow: UnitOfWork,
    actor: Actor,
    call_id: UUID,
    *,
    at: datetime | None,
    reached: bool,
    expected: Expected,
) -> tuple[Call, Attempt]:
    """Record a call-back made or tried, now unless told; an unreached one stays in the queue.

    Who reaches the patient regulates the call. Refusals: `call-not-found`, `version-mismatch`,
    `call-state`, `call-assigned`, `call-invalid` (in the future, or before the call).
    """
    call = await _locked(uow, actor, call_id, expected)
    when = at or call.now
    changes = attempted(call, at=when, reached=reached)
    if call.assigned_to_other(actor.named()):
        raise refuse_assigned(call)
    check_attempt(call, when)
    if reached:
        changes["regulated_by"] = actor.named()
    attempt_id = await repository.add_callback(
        uow, call_id, at=when, reached=reached, made_by=actor.named()
    )
    called = await _changed(uow, actor, call, changes)
    await _tell(
        uow,
        actor,
        "call.called_back",
        called,
        callback_id=str(attempt_id),
        at=when.isoformat(),
        reached=reached,
    )
    return called, next(a for a in called.callbacks if a.id == attempt_id)


async def add_outcome(
    uow: UnitOfWork,
    actor: Actor,
    call_id: UUID,
    *,
    outcome: Outcome,
    pharmacy_id: UUID | None,
    expected: Expected,
) -> tuple[Call, RecordedOutcome]:
    """Give a call an outcome; the same one again is another row and the same mention.

    A regulator who gives the first outcome has regulated the call. Refusals: `call-not-found`,
    `version-mismatch`, `call-state` (void, or closed for 30 days), `call-invalid` (no pharmacy).
    """
    call = await _locked(uow, actor, call_id, expected)
    check_outcomes_open(call, Action.ADD_OUTCOME)
    if pharmacy_id is not None:
        await _check_type(uow, "#/pharmacy_id", pharmacy_id, OrganizationType.PHARMACY)
    outcome_id = await repository.add_outcome(
        uow, call_id, outcome=outcome, pharmacy_id=pharmacy_id, client_id=actor.client_id
    )
    changes: dict[str, Any] = {"outcome_mask": call.outcome_mask | MASK[outcome]}
    if call.regulated_by is None and actor.role is Role.REGULATOR:
        changes["regulated_by"] = actor.named()
    changed = await _changed(uow, actor, call, changes)
    await _tell(
        uow,
        actor,
        "call.outcome_added",
        changed,
        outcome=outcome.value,
        outcome_id=str(outcome_id),
    )
    return changed, _outcome(changed, outcome_id)


async def find_outcome(
    uow: UnitOfWork, actor: Actor, call_id: UUID, outcome_id: UUID
) -> tuple[Call, RecordedOutcome]:
    """Return a live outcome and its call. Refusals: `call-not-found`, `outcome-not-found`."""
    call = await readable(uow, actor, call_id)
    return call, _outcome(call, outcome_id)


def _outcome(call: Call, outcome_id: UUID) -> RecordedOutcome:
    found = next((outcome for outcome in call.outcomes if outcome.id == outcome_id), None)
    if found is None:
        raise OutcomeNotFound
    return found


async def remove_outcome(
    uow: UnitOfWork, actor: Actor, call_id: UUID, outcome_id: UUID, expected: Expected
) -> Call:
    """Take a wrong outcome back; with the last of its kind goes the mention.

    Refusals: `call-not-found`, `outcome-not-found`, `version-mismatch`, `call-state` (void, or
    closed for 30 days), `outcome-of-booking`.
    """
    call = await _locked(uow, actor, call_id, expected)
    removed = _outcome(call, outcome_id)
    check_outcomes_open(call, Action.REMOVE_OUTCOME)
    if removed.booking_id is not None:
        raise OutcomeOfBooking(booking_id=str(removed.booking_id))
    left = {o.outcome for o in call.outcomes if o.id != outcome_id}
    mask = call.outcome_mask
    if removed.outcome not in left:
        mask &= ~MASK[removed.outcome]
    await repository.remove_outcome(uow, outcome_id)
    changed = await _changed(uow, actor, call, {"outcome_mask": mask})
    await _tell(
        uow,
        actor,
        "call.outcome_removed",
        changed,
        outcome=removed.outcome.value,
        outcome_id=str(outcome_id),
    )
    return changed


async def close(
    uow: UnitOfWork, actor: Actor, call_id: UUID, *, otherwise: Otherwise, expected: Expected
) -> Call:
    """Close a call, with what the patient would otherwise have done.

    Refusals: `call-not-found`, `version-mismatch`, `call-state`, `outcome-missing`.
    """
    call = await _locked(uow, actor, call_id, expected)
    state = after(call.state, Action.CLOSE)
    if not call.outcome_mask:
        raise OutcomeMissing
    ended = {"state": state, "otherwise": otherwise.value, "closed_at": call.now}
    closed = await _changed(uow, actor, call, ended)
    await _tell(uow, actor, "call.closed", closed, otherwise=otherwise.value)
    return closed


async def set_sent_to_emergency(uow: UnitOfWork, call_id: UUID, value: bool) -> None:
    """Keep whether the doctor sent the patient of a call to the emergency department.

    The event `booking.reported` tells it.
    """
    await repository.set_sent_to_emergency(uow, call_id, sent=value)
