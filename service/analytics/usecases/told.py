"""What of an answer is told to whoever gets aggregates only: the rules, and the counts they need.

The counts are those of whole calendar years, by month and community, whatever was asked.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Protocol, TypeVar

from service.analytics.domain import (
    Counted,
    Extent,
    FiguresTooFine,
    Keys,
    Month,
    People,
    Period,
    Question,
    Rules,
    Secrecy,
    UnmetBy,
    UnmetNeeds,
    added,
)
from service.directory import Territory
from service.kernel.db import UnitOfWork
from service.kernel.errors import FieldError

T = TypeVar("T")
Count = Callable[[UnitOfWork, Extent, str | None], Awaitable[Counted[T]]]
_ALWAYS = frozenset({"none", "month", "cpts"})
# A partition that is told has no small part; places and days are narrower than a community's month.
_LINES_TOLD = frozenset({UnmetBy.MOTIVE, UnmetBy.MODE, UnmetBy.REASON, UnmetBy.HOUR})


class HasCells(Protocol):
    """Figures that name their counts."""

    @property
    def cells(self) -> dict[str, int]:
        """Every count by its path in the answer."""
        ...


@dataclass(frozen=True)
class Telling:
    """What is told, of the years that a question is about."""

    rules: Rules
    floor: int
    years: Mapping[int, Secrecy]

    def withheld(
        self, figures: HasCells, of: Period, line: tuple[str | None] | None = None
    ) -> frozenset[str]:
        """Return the counts not to be told, of the territory or of one community."""
        if line is None:
            return self._but(figures, of, lambda year, cell, months: year.tells(cell, months))
        (key,) = line
        return self._but(figures, of, lambda year, cell, months: year.tells_line(cell, months, key))

    def withheld_of(
        self, group_by: str, figures: HasCells, of: Period, key: str | None
    ) -> frozenset[str]:
        """Return the counts not to be told, of a group: a community, or a line of whole years."""
        if group_by == "cpts":
            return self.withheld(figures, of, (key,))
        return self._but(figures, of, lambda year, cell, _: year.tells_key(cell, key))

    def _but(
        self,
        figures: HasCells,
        of: Period,
        tells: Callable[[Secrecy, str, Sequence[str]], bool],
    ) -> frozenset[str]:
        asked: dict[int, list[str]] = {}
        for month in of.by_month():
            asked.setdefault(month.from_.year, []).append(month.key)
        years = [(self.years[year], months) for year, months in asked.items()]
        told = {
            cell
            for family in self.rules.families
            for cell in family.cells
            if all(tells(year, cell, months) for year, months in years)
            and not (family.distinct and len(years) > 1)  # of two years together: who came back
        }
        told |= {cell for cell, parts in self.rules.sums.items() if told.issuperset(parts)}
        return frozenset(figures.cells) - told


def check(rules: Rules, asked: Question, group_by: str = "none") -> None:
    """Refuse what is narrower than whole months of a community. Refusal: `figures-too-fine`."""
    period = asked.period
    if period.months is None:
        raise FiguresTooFine(
            FieldError(
                "from", FiguresTooFine.code, "Ask for whole months, from the first to the first."
            )
        )
    possible = _ALWAYS | rules.keys if asked.cpts_id is None else _ALWAYS - {"cpts"}
    if group_by not in possible:
        sentence = f"Of this, for this role: {', '.join(sorted(possible))}."
        raise FiguresTooFine(FieldError("group_by", FiguresTooFine.code, sentence))
    if group_by not in _ALWAYS and (period.from_.month, period.to.month) != (1, 1):
        raise FiguresTooFine(
            FieldError("from", FiguresTooFine.code, "By this, ask for whole calendar years.")
        )


async def telling(
    uow: UnitOfWork,
    rules: Rules,
    floor: int,
    asked: Question,
    home: Territory,
    *,
    count: Count[T],
    cells: Callable[[T, Period], Mapping[str, int]],
    group_by: str = "none",
) -> Telling:
    """Count what decides, and decide. Refusal: `figures-too-fine`."""
    check(rules, asked, group_by)
    now = await uow.now()
    years = [Period(date(y, 1, 1), date(y + 1, 1, 1)) for y in _years(asked.period)]
    months = [
        month for year in years for month in year.by_month() if month.instants(home.zone)[1] <= now
    ]
    over = [year for year in years if year.instants(home.zone)[1] <= now]

    async def counted(ranges: Sequence[Period], by: str) -> Counted[T]:
        instants = [period.instants(home.zone) for period in ranges]
        return await count(uow, Extent(home.id, None, home.zone, instants), by)

    by_month = await counted(months, "communities")
    found = [
        Month(
            month.key,
            cells(by_month.totals[n], month),
            added((_communities(key), cells(of, month)) for key, of in by_month.groups[n].items()),
        )
        for n, month in enumerate(months)
    ]
    keys: dict[int, Mapping[Keys, Mapping[str, int]]] = {}
    if group_by in rules.keys:
        by_key = await counted(over, group_by)
        for year, lines in zip(over, by_key.groups, strict=True):
            keys[year.from_.year] = {(key,): cells(line, year) for key, line in lines.items()}
    people: dict[int, People] = {}
    if any(family.distinct for family in rules.families):
        by_cpts = await counted(over, "cpts")
        for year, whole, lines in zip(over, by_cpts.totals, by_cpts.groups, strict=True):
            people[year.from_.year] = People(
                cells(whole, year), [cells(line, year) for line in lines.values()]
            )
    return Telling(
        rules,
        floor,
        {
            year: Secrecy(
                floor,
                [m for m in found if m.key.startswith(f"{year}-")],
                keys.get(year, {}),
                people.get(year),
            ).decide(rules.families)
            for year in _years(asked.period)
        },
    )


def _communities(key: str | None) -> Keys:
    """Read what PostgreSQL writes of one id, or of an array of them, in whichever order."""
    ids = {each for each in (key or "").strip("{}").split(",") if each}
    return tuple(sorted(ids)) or (None,)


def _years(period: Period) -> range:
    last = period.to.year if period.to > date(period.to.year, 1, 1) else period.to.year - 1
    return range(period.from_.year, last + 1)


def told_lines(found: UnmetNeeds, floor: int) -> UnmetNeeds:
    """Leave the lines of unmet needs that are told: where none is small. Unused seats never are."""
    told = {
        by: tuple(replace(line, unused_seats=None) for line in lines if line.needs)
        for by, lines in found.lines.items()
        if by in _LINES_TOLD and not any(0 < line.needs < floor for line in lines)
    }
    return replace(found, lines=told)
