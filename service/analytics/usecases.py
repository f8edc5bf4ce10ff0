"""Use cases: figures computed from rows, when asked; nothing is stored."""

from dataclasses import dataclass
from uuid import UUID

from service import directory
from service.analytics import repository
from service.analytics.domain import Figures, GroupBy, Period, figures
from service.directory import ForeignTerritory, OrganizationNotFound, OrganizationType
from service.identity import Actor
from service.kernel import installation
from service.kernel.db import UnitOfWork


@dataclass(frozen=True, slots=True)
class CallOutcomes:
    """How the calls of a territory or a community ended; exactly one of the two is named.

    `groups` is None without grouping. A month is keyed `2022-01`, a community by its id, calls
    without community by None.
    """

    territory: str | None
    cpts_id: UUID | None
    synthetic: bool
    total: Figures
    groups: tuple[tuple[str | None, Figures], ...] | None


async def call_outcomes(
    uow: UnitOfWork,
    actor: Actor,
    *,
    territory: str | None,
    cpts_id: UUID | None,
    period: Period,
    group_by: GroupBy,
) -> CallOutcomes:
    """Count the calls received in a period by how they ended.

    Days and months begin at the territory's midnight; void calls do not count. Refusals:
    `foreign-territory` (a community of nowhere is foreign too), `territory-not-found`.
    """
    zone = await _zone(uow, actor, territory, cpts_id)
    whole = period.instants(zone)
    groups: tuple[tuple[str | None, Figures], ...] | None = None
    if group_by is GroupBy.CPTS:
        total, by_cpts = await repository.tally_by_cpts(
            uow, territory=territory, cpts_id=cpts_id, range_=whole
        )
        keyed = sorted((key is None, str(key or ""), tally) for key, tally in by_cpts.items())
        groups = tuple((key or None, figures(tally, period)) for _, key, tally in keyed)
    else:
        months = period.by_month() if group_by is GroupBy.MONTH else []
        ranges = [whole, *(month.instants(zone) for month in months)]
        total, *tallies = await repository.tally(
            uow, territory=territory, cpts_id=cpts_id, ranges=ranges
        )
        if group_by is GroupBy.MONTH:
            groups = tuple(
                (month.key, figures(tally, month))
                for month, tally in zip(months, tallies, strict=True)
            )
    return CallOutcomes(
        territory=territory,
        cpts_id=cpts_id,
        synthetic=await installation.is_synthetic(uow),
        total=figures(total, period),
        groups=groups,
    )


async def _zone(uow: UnitOfWork, actor: Actor, territory: str | None, cpts_id: UUID | None) -> str:
    """Return the zone whose midnights count, of what the caller may ask for."""
    if cpts_id is not None:
        territory = await _home(uow, actor, cpts_id)
    elif territory not in actor.territories:
        raise ForeignTerritory
    return (await directory.territory(uow, str(territory))).zone


async def _home(uow: UnitOfWork, actor: Actor, cpts_id: UUID) -> str:
    """Return the territory of a community of the caller's, active or not."""
    try:
        community = await directory.organization(uow, cpts_id)
    except OrganizationNotFound:
        raise ForeignTerritory from None
    mine = community.territory in actor.territories or cpts_id in actor.cpts_ids
    if community.type != OrganizationType.CPTS or not mine:
        raise ForeignTerritory
    return community.territory
