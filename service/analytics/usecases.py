"""Use cases: figures computed from rows, when asked; nothing is stored.

Every one answers a question about a territory, or a community, between two local midnights, for
callers who are granted there. Refusals of all: `foreign-territory` (a community of nowhere is
foreign too), `territory-not-found`.
"""

from collections.abc import Awaitable, Callable, Sequence
from enum import StrEnum
from typing import TypeVar
from uuid import UUID

from service import directory
from service.analytics import repository
from service.analytics.domain import (
    Answer,
    Appointments,
    AppointmentsBy,
    Callbacks,
    CallbacksBy,
    Counted,
    Extent,
    Figures,
    Group,
    GroupBy,
    Indicators,
    IndicatorsBy,
    Period,
    Question,
    Referrals,
    ReferralsBy,
    SlotUsage,
    SlotUsageBy,
    UnmetNeeds,
    beside,
    check_days,
    figures,
)
from service.directory import ForeignTerritory, OrganizationNotFound, OrganizationType
from service.identity import Actor
from service.kernel import installation
from service.kernel.db import UnitOfWork

T = TypeVar("T")
F = TypeVar("F")
Count = Callable[[UnitOfWork, Extent, str | None], Awaitable[Counted[T]]]

CallOutcomes = Answer[Figures]


async def call_outcomes(
    uow: UnitOfWork, actor: Actor, *, asked: Question, group_by: GroupBy
) -> CallOutcomes:
    """Count the calls received in a period by how they ended; void calls do not count."""
    return await _answer(
        uow, actor, asked, group_by, count=repository.call_outcomes, compute=figures
    )


async def slot_usage(
    uow: UnitOfWork, actor: Actor, *, asked: Question, group_by: SlotUsageBy
) -> Answer[SlotUsage]:
    """Count the seats of slots that start in a period by what became of them."""
    return await _answer(
        uow, actor, asked, group_by, group_by.overlaps, count=repository.slot_usage, compute=_as_is
    )


async def appointments(
    uow: UnitOfWork, actor: Actor, *, asked: Question, group_by: AppointmentsBy
) -> Answer[Appointments]:
    """Count the appointments that start in a period by what became of them."""
    return await _answer(
        uow,
        actor,
        asked,
        group_by,
        group_by.overlaps,
        count=repository.appointments,
        compute=_as_is,
    )


async def referrals(
    uow: UnitOfWork, actor: Actor, *, asked: Question, group_by: ReferralsBy
) -> Answer[Referrals]:
    """Count the bookings made in a period by who asked for them."""
    return await _answer(
        uow, actor, asked, group_by, group_by.overlaps, count=repository.referred, compute=_as_is
    )


async def callbacks(
    uow: UnitOfWork, actor: Actor, *, asked: Question, group_by: CallbacksBy
) -> Answer[Callbacks]:
    """Count the call-backs of the calls received in a period; void calls do not count."""
    return await _answer(
        uow, actor, asked, group_by, group_by.overlaps, count=repository.callbacks, compute=_as_is
    )


async def cpts_indicators(
    uow: UnitOfWork, actor: Actor, *, asked: Question, group_by: IndicatorsBy
) -> Answer[Indicators]:
    """Count the doctors who took part in a period, and the requests that led somewhere."""
    return await _answer(
        uow,
        actor,
        asked,
        group_by,
        group_by.overlaps,
        count=repository.cpts_indicators,
        compute=_as_is,
    )


async def unmet_needs(uow: UnitOfWork, actor: Actor, *, asked: Question) -> Answer[UnmetNeeds]:
    """Count what nobody had room for in a territory beside unused seats.

    Refusals: `period-too-long` too.
    """
    check_days(asked.period)
    zone = await _zone(uow, actor, asked)
    counted = await repository.unmet_needs(
        uow, territory=str(asked.territory), zone=zone, range_=asked.period.instants(zone)
    )
    return Answer(asked, await installation.is_synthetic(uow), beside(*counted), None, None)


def _as_is(counted: T, _: Period) -> T:
    return counted


async def _answer(
    uow: UnitOfWork,
    actor: Actor,
    asked: Question,
    group_by: StrEnum,
    overlap: bool | None = None,
    *,
    count: Count[T],
    compute: Callable[[T, Period], F],
) -> Answer[F]:
    """Count the whole period, and its groups.

    Months are ranges of their own, all of the period's, empty or not. Other groups are those that
    rows have, in the order of their keys, the one without a key last.
    """
    zone = await _zone(uow, actor, asked)
    whole = asked.period
    months = whole.by_month() if group_by == "month" else []
    ranges = [period.instants(zone) for period in (whole, *months)]
    key = None if group_by in {"month", "none"} else str(group_by)
    counted = await count(uow, Extent(asked.territory, asked.cpts_id, zone, ranges), key)
    total, *by_month = counted.totals
    groups: list[Group[F]] = [
        Group(month.key, month, compute(found, month))
        for month, found in zip(months, by_month, strict=True)
    ]
    keys = sorted(counted.groups, key=_place)
    names = await _names(uow, keys) if group_by == "cpts" else {}
    groups += (
        Group(found, whole, compute(counted.groups[found], whole), names.get(found))
        for found in keys
    )
    grouped = group_by != "none"
    return Answer(
        question=asked,
        synthetic=await installation.is_synthetic(uow),
        total=compute(total, whole),
        groups=tuple(groups) if grouped else None,
        groups_overlap=overlap if grouped else None,
    )


async def _names(uow: UnitOfWork, keys: Sequence[str | None]) -> dict[str | None, str]:
    ids = [UUID(key) for key in keys if key is not None]
    named = await directory.organization_names(uow, ids) if ids else {}
    return {str(organization_id): name for organization_id, name in named.items()}


def _place(key: str | None) -> tuple[bool, int, str]:
    """Return the place of a group: priorities as the queue has them, the rest by their keys."""
    priorities: Sequence[str] = tuple(directory.reference.code_list("priorities"))
    return key is None, priorities.index(key) if key in priorities else 0, key or ""


async def _zone(uow: UnitOfWork, actor: Actor, asked: Question) -> str:
    """Return the zone whose midnights count, of what the caller may ask for."""
    territory = asked.territory
    if asked.cpts_id is not None:
        territory = await _home(uow, actor, asked.cpts_id)
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
