"""Use cases: figures computed from rows, when asked; nothing is stored.

Every one answers a question about a territory, or a community, between two local midnights, for
callers who are granted there. `floor` is the smallest count that the caller may be told; None for
who is told everything, which is traced. Refusals of all: `foreign-territory` (a community of
nowhere is foreign too), `territory-not-found`; with a floor `figures-too-fine`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Generic, TypeVar
from uuid import UUID

from service import audit, directory
from service.analytics import repository
from service.analytics.domain import (
    APPOINTMENTS,
    CALL_OUTCOMES,
    CALLBACKS,
    CPTS_INDICATORS,
    REFERRALS,
    SLOT_USAGE,
    UNMET_NEEDS,
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
    Rules,
    SlotUsage,
    SlotUsageBy,
    UnmetBy,
    UnmetNeeds,
    beside,
    check_days,
    figures,
)
from service.analytics.usecases.told import Count, HasCells, Telling, telling, told_lines
from service.directory import ForeignTerritory, OrganizationNotFound, OrganizationType, Territory
from service.identity import Actor
from service.kernel import installation
from service.kernel.db import UnitOfWork

T = TypeVar("T")
F = TypeVar("F", bound=HasCells)

CallOutcomes = Answer[Figures]


@dataclass(frozen=True, slots=True)
class _Subject(Generic[T, F]):
    """What is counted for an operation, what is told of it, and the figures that it makes."""

    operation: str
    rules: Rules
    count: Count[T]
    compute: Callable[[T, Period], F]


def _as_is(counted: T, _: Period) -> T:
    return counted


_CALL_OUTCOMES = _Subject(
    "analytics.call_outcomes", CALL_OUTCOMES, repository.call_outcomes, figures
)
_SLOT_USAGE = _Subject("analytics.slot_usage", SLOT_USAGE, repository.slot_usage, _as_is)
_APPOINTMENTS = _Subject("analytics.appointments", APPOINTMENTS, repository.appointments, _as_is)
_REFERRALS = _Subject("analytics.referrals", REFERRALS, repository.referred, _as_is)
_CALLBACKS = _Subject("analytics.callbacks", CALLBACKS, repository.callbacks, _as_is)
_CPTS_INDICATORS = _Subject(
    "analytics.cpts_indicators", CPTS_INDICATORS, repository.cpts_indicators, _as_is
)


async def call_outcomes(
    uow: UnitOfWork, actor: Actor, *, asked: Question, floor: int | None, group_by: GroupBy
) -> CallOutcomes:
    """Count the calls received in a period by how they ended; void calls do not count."""
    return await _answer(uow, actor, asked, floor, group_by, _CALL_OUTCOMES)


async def slot_usage(
    uow: UnitOfWork, actor: Actor, *, asked: Question, floor: int | None, group_by: SlotUsageBy
) -> Answer[SlotUsage]:
    """Count the seats of slots that start in a period by what became of them."""
    return await _answer(uow, actor, asked, floor, group_by, _SLOT_USAGE, group_by.overlaps)


async def appointments(
    uow: UnitOfWork, actor: Actor, *, asked: Question, floor: int | None, group_by: AppointmentsBy
) -> Answer[Appointments]:
    """Count the appointments that start in a period by what became of them."""
    return await _answer(uow, actor, asked, floor, group_by, _APPOINTMENTS, group_by.overlaps)


async def referrals(
    uow: UnitOfWork, actor: Actor, *, asked: Question, floor: int | None, group_by: ReferralsBy
) -> Answer[Referrals]:
    """Count the bookings made in a period by who asked for them."""
    return await _answer(uow, actor, asked, floor, group_by, _REFERRALS, group_by.overlaps)


async def callbacks(
    uow: UnitOfWork, actor: Actor, *, asked: Question, floor: int | None, group_by: CallbacksBy
) -> Answer[Callbacks]:
    """Count the call-backs of the calls received in a period; void calls do not count."""
    return await _answer(uow, actor, asked, floor, group_by, _CALLBACKS, group_by.overlaps)


async def cpts_indicators(
    uow: UnitOfWork, actor: Actor, *, asked: Question, floor: int | None, group_by: IndicatorsBy
) -> Answer[Indicators]:
    """Count the doctors who took part in a period, and the requests that led somewhere."""
    return await _answer(uow, actor, asked, floor, group_by, _CPTS_INDICATORS, group_by.overlaps)


async def unmet_needs(
    uow: UnitOfWork, actor: Actor, *, asked: Question, floor: int | None
) -> Answer[UnmetNeeds]:
    """Count what nobody had room for in a territory beside unused seats.

    Refusals: `period-too-long` too.
    """
    check_days(asked.period)
    home = await _home(uow, actor, asked, "analytics.unmet_needs", floor)

    async def count(uow: UnitOfWork, extent: Extent, _: str | None = None) -> Counted[UnmetNeeds]:
        counts = [
            await repository.unmet_needs(uow, territory=home.id, zone=home.zone, range_=range_)
            for range_ in extent.ranges
        ]
        return Counted([beside(*found) for found in counts], [{} for _ in counts])

    whole = asked.period
    counted = await count(uow, Extent(home.id, None, home.zone, [whole.instants(home.zone)]))
    found, withheld = counted.totals[0], None
    if floor is not None:
        told = await telling(
            uow, UNMET_NEEDS, floor, asked, home, count=count, cells=lambda f, _: f.cells
        )
        withheld = told.withheld(found, whole)
        lines = told_lines(found, floor).lines if whole.is_year and "needs" not in withheld else {}
        found = replace(found, lines=lines)
        withheld |= {f"by_{by}" for by in UnmetBy if by not in lines}
    return Answer(asked, await installation.is_synthetic(uow), found, None, None, withheld=withheld)


async def _answer(
    uow: UnitOfWork,
    actor: Actor,
    asked: Question,
    floor: int | None,
    group_by: StrEnum,
    subject: _Subject[T, F],
    overlap: bool | None = None,
) -> Answer[F]:
    """Count the whole period, and its groups; withhold what the caller is not told.

    Months are ranges of their own, all of the period's, empty or not. Other groups are those that
    rows have, in the order of their keys, the one without a key last.
    """
    home = await _home(uow, actor, asked, subject.operation, floor)
    told: Telling | None = None
    territory = asked.territory
    if floor is not None:
        territory = home.id  # of a community too: what is told adds up within a territory
        told = await telling(
            uow,
            subject.rules,
            floor,
            asked,
            home,
            count=subject.count,
            cells=lambda found, of: subject.compute(found, of).cells,
            group_by=group_by,
        )
    whole = asked.period
    months = whole.by_month() if group_by == "month" else []
    ranges = [period.instants(home.zone) for period in (whole, *months)]
    key = None if group_by in {"month", "none"} else str(group_by)
    counted = await subject.count(uow, Extent(territory, asked.cpts_id, home.zone, ranges), key)
    total, *by_month = (
        subject.compute(found, period)
        for period, found in zip((whole, *months), counted.totals, strict=True)
    )
    line = None if asked.cpts_id is None else (str(asked.cpts_id),)
    groups = [
        Group(month.key, month, found, withheld=told.withheld(found, month, line) if told else None)
        for month, found in zip(months, by_month, strict=True)
    ]
    by_key = counted.groups[0]
    keys = sorted(by_key, key=_place)
    names = await _names(uow, keys) if group_by == "cpts" else {}
    for each in keys:
        found = subject.compute(by_key[each], whole)
        withheld = told.withheld_of(group_by, found, whole, each) if told else None
        groups.append(Group(each, whole, found, names.get(each), withheld))
    grouped = group_by != "none"
    return Answer(
        question=asked,
        synthetic=await installation.is_synthetic(uow),
        total=total,
        groups=tuple(groups) if grouped else None,
        groups_overlap=overlap if grouped else None,
        withheld=told.withheld(total, whole, line) if told else None,
    )


async def _names(uow: UnitOfWork, keys: Sequence[str | None]) -> dict[str | None, str]:
    ids = [UUID(key) for key in keys if key is not None]
    named = await directory.organization_names(uow, ids) if ids else {}
    return {str(organization_id): name for organization_id, name in named.items()}


def _place(key: str | None) -> tuple[bool, int, str]:
    """Return the place of a group: priorities as the queue has them, the rest by their keys."""
    priorities: Sequence[str] = tuple(directory.reference.code_list("priorities"))
    return key is None, priorities.index(key) if key in priorities else 0, key or ""


async def _home(
    uow: UnitOfWork, actor: Actor, asked: Question, operation: str, floor: int | None
) -> Territory:
    """Return the territory whose midnights count, of what the caller may ask for.

    Who is told everything leaves a trace.
    """
    territory = asked.territory
    if asked.cpts_id is not None:
        territory = await _home_of(uow, actor, asked.cpts_id)
    elif territory not in actor.territories:
        raise ForeignTerritory
    home = await directory.territory(uow, str(territory))
    if floor is None:
        await audit.shown(uow, actor, operation, territories=[home.id])
    return home


async def _home_of(uow: UnitOfWork, actor: Actor, cpts_id: UUID) -> str:
    """Return the territory of a community of the caller's, active or not."""
    try:
        community = await directory.organization(uow, cpts_id)
    except OrganizationNotFound:
        raise ForeignTerritory from None
    mine = community.territory in actor.territories or cpts_id in actor.cpts_ids
    if community.type != OrganizationType.CPTS or not mine:
        raise ForeignTerritory
    return community.territory
