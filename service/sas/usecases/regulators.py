"""Use cases: SAS creates a regulator, or writes one anew."""

from collections.abc import Sequence
from dataclasses import replace

from service import identity
from service.identity import IDNPS, SAS, THROUGH_SAS, Actor, GrantEntry
from service.kernel import events
from service.kernel.db import UnitOfWork
from service.kernel.ids import new_id
from service.kernel.paging import MAX_LIMIT
from service.sas.domain import (
    ROLE,
    Regulator,
    RegulatorDraft,
    RegulatorExists,
    SeveralRegulators,
    Sought,
    known_as,
)
from service.sas.repository import regulators as repository


async def create(uow: UnitOfWork, actor: Actor, draft: RegulatorDraft) -> Regulator:
    """Create a regulator. Refusals: `regulator-exists`."""
    await repository.in_turn(uow)
    return await _create(uow, actor, draft)


async def _create(uow: UnitOfWork, actor: Actor, draft: RegulatorDraft) -> Regulator:
    if await _owners(uow, draft):
        raise RegulatorExists
    new = Regulator(new_id(), None, active=False, national=None, technical=None)
    await repository.add(uow, new)
    return await _write(uow, actor, new, draft, "regulator.created")


async def put(
    uow: UnitOfWork, actor: Actor, sought: Sequence[Sought], draft: RegulatorDraft
) -> tuple[Regulator, bool]:
    """Write the regulator who is sought anew, all of them; whom nobody knows is created.

    Returns them, and whether they are new. What the draft says they are called may be something
    else than what they were sought by: that is how they get a national number. A number goes over
    from who is not active any more. Refusals: `several-regulators`, `regulator-exists`.
    """
    await repository.in_turn(uow)
    found = await repository.matching(
        uow,
        [one.value for one in sought if one.system in {None, IDNPS}],
        [one.value for one in sought if one.system in {None, SAS}],
    )
    if len(found) > 1:
        raise SeveralRegulators
    owners = [one for one in await _owners(uow, draft) if one not in found]
    if any(one.active for one in owners):
        raise RegulatorExists
    for one in owners:
        await repository.lose(uow, one.id, draft)
    if not found:
        return await _create(uow, actor, draft), True
    told = "regulator.replaced" if draft.active else "regulator.withdrawn"
    return await _write(uow, actor, found[0], draft, told), False


async def _owners(uow: UnitOfWork, draft: RegulatorDraft) -> list[Regulator]:
    """Return whoever has one of the numbers of a draft."""
    national, technical = draft.number(IDNPS), draft.number(SAS)
    return await repository.matching(
        uow, [national] if national else [], [technical] if technical else []
    )


async def _write(
    uow: UnitOfWork, actor: Actor, before: Regulator, draft: RegulatorDraft, told: str
) -> Regulator:
    account_id = await identity.receive_account(
        uow,
        actor.origin,
        before.account_id,
        said_by=THROUGH_SAS,
        identifiers=[*known_as(draft.identifiers)],
        family_name=draft.family_name,
        given_name=draft.given_name,
        email=draft.email,
    )
    after = replace(
        before,
        account_id=account_id,
        active=draft.active,
        national=draft.number(IDNPS),
        technical=draft.number(SAS),
    )
    await repository.replace(uow, after)
    await _follow(uow, actor, before, after)
    data = {"active": after.active, "account_id": str(account_id)}
    facts = [{"subject_id": after.id, "territory": one, "data": data} for one in actor.territories]
    await events.record_all(uow, actor.origin, told, facts)
    return after


async def _follow(uow: UnitOfWork, actor: Actor, before: Regulator, after: Regulator) -> None:
    """Let the right follow: who is active has it, for the platform's organization, where it may.

    Tokens end with the right, at the next request. What somebody here took away stays so until SAS
    has withdrawn the regulator, and admits them anew.
    """
    had = await _rights(uow, before)
    keeps = after.active and before.account_id == after.account_id
    kept = [right for right in had if keeps and _is_of(right, actor)]
    for right in had:
        if right not in kept:
            await identity.revoke_grant(uow, actor.origin, right.id)
    if after.active and not kept and (had or not before.active):
        await identity.give_grant(
            uow,
            actor.origin,
            account_id=after.account_id,
            role=ROLE,
            organization_id=actor.organization_id,
            organization_type=actor.organization_type,
            cpts_ids=actor.cpts_ids,
            territories=actor.territories,
            said_by=THROUGH_SAS,
        )


async def _rights(uow: UnitOfWork, regulator: Regulator) -> list[GrantEntry]:
    if regulator.account_id is None:
        return []
    found = await identity.list_grants(uow, {"account": regulator.account_id}, limit=MAX_LIMIT)
    return [right for right in found if right.origin == THROUGH_SAS]


def _is_of(right: GrantEntry, actor: Actor) -> bool:
    return (right.organization_id, right.territories) == (actor.organization_id, actor.territories)
