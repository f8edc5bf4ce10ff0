"""Use cases: record what nothing fitted, and list it."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from service import calls, directory, slots
from service.directory import Territory, TerritoryNotFound, reference
from service.directory.reference import Commune
from service.identity import Actor
from service.kernel import events
from service.kernel.db import UnitOfWork
from service.kernel.errors import FieldError
from service.kernel.ids import new_id
from service.kernel.paging import Page, PageRequest
from service.needs import repository
from service.needs.domain import Need, NeedDraft, NeedInvalid, NeedNotFound, check_window


async def record(uow: UnitOfWork, actor: Actor, draft: NeedDraft) -> Need:
    """Record a need, with how many slots the caller could have booked at that moment.

    It belongs to the territory of the patient's commune, whichever the caller's are. Refusals:
    `call-not-found`, `need-invalid`.
    """
    problems = list(check_window(draft, await uow.now()))
    if problems:
        raise NeedInvalid(*problems)
    commune, territory = await _where(uow, draft.commune)
    if draft.call_id is not None:
        await calls.readable(uow, actor, draft.call_id)
    radius_km = reference.search_radius(territory.id).default_km
    seen, fitting = await slots.count_open(
        uow,
        actor,
        center=(commune.latitude, commune.longitude),
        radius_km=radius_km,
        from_=draft.from_,
        to=draft.to,
        mode=draft.mode,
        specialty=draft.specialty,
    )
    need_id = new_id()
    facts = {
        "territory": territory.id,
        "zone": territory.zone,
        "radius_km": radius_km,
        "open_slots": seen,
        "open_slots_fitting": fitting,
    }
    await repository.add(uow, actor, need_id, draft, facts)
    await events.record(
        uow,
        actor.origin,
        "need.recorded",
        need_id,
        territory=territory.id,
        data={
            "reason": draft.reason,
            "mode": draft.mode,
            "from": draft.from_.isoformat(),
            "to": draft.to.isoformat(),
            "open_slots": seen,
            "open_slots_fitting": fitting,
        },
    )
    return await recorded(uow, actor, need_id)


async def _where(uow: UnitOfWork, code: str) -> tuple[Commune, Territory]:
    commune = reference.commune(code)
    if commune is not None:
        try:
            return commune, await directory.territory(uow, commune.department)
        except TerritoryNotFound:
            pass  # an island without inhabitants
    raise NeedInvalid(FieldError("#/commune", "no-territory", "No territory has this commune."))


async def recorded(uow: UnitOfWork, actor: Actor, need_id: UUID) -> Need:
    """Return a need that my organization recorded. Refusals: `need-not-found`."""
    found = await repository.find(uow, actor, need_id)
    if found is None:
        raise NeedNotFound
    return found


async def list_mine(
    uow: UnitOfWork, actor: Actor, wanted: Mapping[str, Any], page: PageRequest
) -> Page[Need]:
    """Return the needs that my organization recorded, newest first."""
    keys = page.after(UUID)
    found = await repository.list_mine(
        uow, actor, {**wanted, "before": keys and keys[0]}, page.limit
    )
    return page.page(found, lambda need: [str(need.id)])
