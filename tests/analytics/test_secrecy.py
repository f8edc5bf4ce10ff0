"""Figures that give nobody away: attacked by whoever may ask everything that an analyst may."""

import csv
import io
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from itertools import product
from random import Random
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import httpx
import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import insert, select

from service.analytics.domain import (
    CALLBACKS,
    CPTS_INDICATORS,
    REFERRALS,
    SLOT_USAGE,
    Doctors,
    Indicators,
    Month,
    People,
    Period,
    Rules,
    Secrecy,
)
from service.analytics.domain.secrecy import Family
from service.analytics.schemas import withheld
from service.analytics.usecases import told as usecase
from service.bookings.tables import bookings
from service.calls.tables import calls
from service.directory.tables import organizations
from service.identity import Role
from service.kernel.db import Database
from service.kernel.ids import new_id
from service.patients.tables import patient_files
from service.slots.tables import slots
from tests.analytics.attack import Knowledge
from tests.analytics.drawn import Territory, drawn
from tests.analytics.years import (
    CASES,
    FLOOR,
    KEYS,
    RANGES,
    SMALL,
    Lines,
    attack,
    by_community,
    each_once,
    found,
    year_of,
)
from tests.support import Caller, World, problem


@pytest.mark.parametrize("case", CASES)
@settings(max_examples=8, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 2**32))
def test_no_small_count_follows_from_all_answers_together(case: str, seed: int) -> None:
    """Ranges that overlap, communities that share rows, hours, parts, one figure or another."""
    year = year_of(CASES[case], seed)
    assert list(found(year, attack(year, year.case.figures))) == []


# --- no rule is there for nothing -----------------------------------------------------------------

Change = Callable[[Family], tuple[Family, ...]]


def _each_alone(family: Family) -> tuple[Family, ...]:
    """Tell counts that add up one by one."""
    own = [[d for d in family.differences if cell in d.split()] for cell in family.cells]
    return tuple(
        replace(family, cells=(cell,), differences=tuple(differences))
        for cell, differences in zip(family.cells, own, strict=True)
    )


def _without_live(family: Family) -> tuple[Family, ...]:
    """Decide about seats as if no other figure told of them."""
    if family.cells == ("live",):
        return ()
    after = tuple(cell for cell in family.after if cell != "live")
    differences = tuple(d for d in family.differences if "live" not in d.split())
    return (replace(family, after=after, differences=differences),)


def _told_apart(
    secrecy: Secrecy, secret: frozenset[str], asked: Sequence[str], *, whole: bool
) -> bool:
    """Tell some of the months that are told together."""
    return secrecy.knows(asked) and (whole or secret.isdisjoint(asked))


# What is taken out: of the code, of families, of what is decided over, of the groups refused.
METHODS: Mapping[str, tuple[str, str, Callable[..., bool]]] = {
    "small counts are not told": ("calls", "_small", lambda *_: False),
    "months left out hide each other": ("seats", "_hide_each_other", lambda *_: True),
    "months left out are told together": ("calls", "_all_or_none", _told_apart),
    "small communities are not told": ("referrals", "_by_line", lambda *_: True),
    "communities left out hide each other": ("referrals", "_has_company", lambda *_: True),
}
FAMILIES: Mapping[str, tuple[str, Rules, Change]] = {
    "counts that add up go together": ("seats", SLOT_USAGE, _each_alone),
    "parts come after their sum": ("calls", CPTS_INDICATORS, lambda f: (replace(f, after=()),)),
    "differences decide": ("calls", CALLBACKS, lambda f: (replace(f, differences=()),)),
    "one count is one count in every figure": ("seats", SLOT_USAGE, _without_live),
}


def _somebody(
    case: str,
    change: Callable[[Rules], Rules] = lambda rules: rules,
    decided_over: Callable[[Lines], Lines] = each_once,
) -> bool:
    """Tell whether one of some years gives somebody away; with all the rules none does.

    The first that do, without one rule or another, are among 0 to 6 and 16.
    """
    return any(
        any(found(year, attack(year, figures, decided_over)))
        for year in (year_of(CASES[case], seed) for seed in (*range(7), *range(16, 40)))
        for figures in [[replace(f, rules=change(f.rules)) for f in year.case.figures]]
    )


@pytest.mark.parametrize("rule", METHODS)
def test_without_one_rule_somebody_is_found(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    case, method, without = METHODS[rule]
    monkeypatch.setattr(Secrecy, method, without)
    assert _somebody(case)


@pytest.mark.parametrize("rule", FAMILIES)
def test_without_one_rule_about_families_somebody_is_found(rule: str) -> None:
    case, where, change = FAMILIES[rule]

    def changed(rules: Rules) -> Rules:
        if rules is not where:
            return rules
        return replace(rules, families=tuple(f for each in rules.families for f in change(each)))

    assert _somebody(case, changed)


def test_decided_over_communities_that_share_rows_somebody_is_found() -> None:
    assert _somebody("referrals", decided_over=by_community)


def test_by_two_dimensions_that_nearly_coincide_somebody_is_found() -> None:
    both = REFERRALS.keys | {"organization_type"}
    assert _somebody("referrals", lambda rules: replace(rules, keys=both))


# --- a year under way -----------------------------------------------------------------------------

ONE = CALLBACKS.families[:1]  # "calls", by themselves


def _year(months: Sequence[Mapping[str, int]]) -> Secrecy:
    made = [
        Month(
            key,
            {"calls": sum(lines.values())},
            {(line,): {"calls": n} for line, n in lines.items()},
        )
        for key, lines in zip(KEYS, months, strict=False)
    ]
    return Secrecy(FLOOR, made).decide(ONE)


def _all_year_long(last: int) -> Iterator[str]:
    """Ask on the first of each month, the day after, and when the year is over."""
    known = Knowledge()
    months = [{"A": 40, "B": 20}] * 9 + [{"A": 8, "B": 0}, {"A": 9, "B": 0}, {"A": last, "B": 0}]
    under_way = [{"A": 12, "B": 14}, {"A": 0, "B": 3}]  # on the first day, and on the second
    for over, days in [(over, days) for over in range(13) for days in (1, 2)]:
        year = _year(months[:over])
        rows: dict[tuple[int, str, int | None], int] = {
            **{(n, line, None): months[n][line] for n in range(over) for line in "AB"},
            **{(over, line, day): under_way[day][line] for day in range(days) for line in "AB"},
        }
        for (a, b), lines in [(r, lines) for r in RANGES for lines in ("A", "B", "AB")]:
            asked = [row for row in rows if a <= row[0] < b and row[1] in lines]
            if (
                year.tells("calls", KEYS[a:b])
                if lines == "AB"
                else year.tells_line("calls", KEYS[a:b], lines)
            ):
                known.learn(asked, sum(rows[row] for row in asked))
    if last in SMALL and known.finds([(11, line, None) for line in "AB"]) is not None:
        yield "the small month"
    if any(known.finds([(over, "B", 1)]) is not None for over in range(12)):
        yield "what happened in a day"


def test_what_was_told_during_the_year_is_still_known_at_its_end() -> None:
    for last in range(FLOOR):
        assert list(_all_year_long(last)) == []


@pytest.mark.parametrize(
    ("rule", "who"), [("knows", "what happened in a day"), ("_is_over", "the small month")]
)
def test_without_a_rule_about_time_somebody_is_found(
    rule: str, who: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Secrecy, rule, lambda *_: True)
    assert any(who in _all_year_long(last) for last in range(1, FLOOR))


# --- different people -----------------------------------------------------------------------------

ALL = "all"
# A doctor: the communities of those he works for, the halves of the year, whether he kept a slot.
Doctor = tuple[tuple[str | None, ...], tuple[int, ...], bool]
DOCTORS = CPTS_INDICATORS.families[-3:]


def _of_doctors(whole: Mapping[str, int], lines: Sequence[Mapping[str, int]]) -> Secrecy:
    months = [Month(key, {}, {}) for key in KEYS]
    return Secrecy(FLOOR, months, people=People(whole, lines)).decide(DOCTORS)


def _doctors(random: Random) -> dict[Doctor, int]:
    few = random.randint(0, 1)
    return {
        (of, halves, offering): random.choice((0, few and random.choice(SMALL), 20, 30))
        for of in [("A",), ("B",), (None,), *([("A", "B")] * random.randint(0, 1))]
        for halves in [(0,), (1,), (0, 1)]
        for offering in (False, True)
    }


@dataclass(frozen=True)
class _Asked:
    """A question about doctors: in which halves of the year, where, publishing or offering."""

    months: list[str]
    halves: set[int]
    line: str | None
    name: str

    def group(self, doctors: Mapping[Doctor, int]) -> list[Doctor]:
        return [
            (of, halves, offering)
            for of, halves, offering in doctors
            if self.halves & set(halves)
            and (self.line == ALL or self.line in of)
            and (offering or self.name == "doctors.publishing")
        ]

    def told(self, secrecy: Secrecy) -> bool:
        if self.line == ALL:
            return secrecy.tells(self.name, self.months)
        return secrecy.tells_line(self.name, self.months, self.line)


QUESTIONS = [
    _Asked(months, halves, line, f"doctors.{name}")
    for months, halves in ((KEYS[:6], {0}), (KEYS[6:], {1}), (KEYS, {0, 1}))
    for line in (ALL, "A", "B", None)
    for name in ("publishing", "offering")
]


def _found(doctors: Mapping[Doctor, int], *, by_own_size: bool) -> Iterator[set[Doctor]]:
    """Ask of both halves and the year, by community and together; look for groups of doctors."""
    known, groups = Knowledge(), [(asked, asked.group(doctors)) for asked in QUESTIONS]
    people: dict[str | None, dict[str, int]] = {}
    for asked, group in groups:
        if asked.months == KEYS:
            people.setdefault(asked.line, {})[asked.name] = sum(doctors[d] for d in group)
    secrecy = _of_doctors(people.pop(ALL), list(people.values()))
    for asked, group in groups:
        count = sum(doctors[d] for d in group)
        if (count not in SMALL) if by_own_size else asked.told(secrecy):
            known.learn(group, count)
    for (_, one), (_, other) in product(groups, repeat=2):
        for few in (set(one), set(one) & set(other), set(one) - set(other)):
            if sum(doctors[d] for d in few) in SMALL and known.finds(few) is not None:
                yield few


def test_no_few_doctors_follow_from_counts_of_different_ones() -> None:
    for seed in range(150):
        assert list(_found(_doctors(Random(seed)), by_own_size=False)) == []


def test_doctors_are_told_of_a_year_and_by_community_where_nobody_is_in_two() -> None:
    counts = {"doctors.publishing": 60, "doctors.offering": 49, "doctors.booked": 0}
    half = {"doctors.publishing": 30, "doctors.offering": 19, "doctors.booked": 0}
    other = {"doctors.publishing": 30, "doctors.offering": 30, "doctors.booked": 0}
    once = _of_doctors(counts, [half, other])
    twice = _of_doctors(counts, [half, {**other, "doctors.publishing": 31}])
    for name in counts:
        assert once.tells(name, KEYS)
        assert not once.tells(name, KEYS[:6])
        assert once.tells_line(name, KEYS, "A")
        assert twice.tells(name, KEYS)
        assert twice.tells_line(name, KEYS, "A") == (name == "doctors.booked")
    few_withdrew = _of_doctors({**counts, "doctors.offering": 50}, [])
    assert few_withdrew.tells("doctors.publishing", KEYS)
    assert not few_withdrew.tells("doctors.offering", KEYS)


def test_doctors_of_two_years_are_not_told_together() -> None:
    """Those of each year are told, so that those who came back would follow."""
    years = {n: _of_doctors({"doctors.publishing": 40}, []) for n in (2021, 2022)}
    for secrecy, year in zip(years.values(), (2021, 2022), strict=True):
        months = [replace(m, key=m.key.replace("2022", str(year))) for m in secrecy.months]
        years[year] = Secrecy(FLOOR, months, people=secrecy.people).decide(DOCTORS)
    telling = usecase.Telling(replace(CPTS_INDICATORS, families=DOCTORS), FLOOR, years)
    figures = Indicators(doctors=Doctors(publishing=40))
    one = telling.withheld(figures, Period(date(2021, 1, 1), date(2022, 1, 1)))
    both = telling.withheld(figures, Period(date(2021, 1, 1), date(2023, 1, 1)))
    assert "doctors.publishing" in both - one


def test_told_by_their_own_size_few_doctors_are_found() -> None:
    assert any(any(_found(_doctors(Random(seed)), by_own_size=True)) for seed in range(20))


# --- single rules ---------------------------------------------------------------------------------


def test_one_small_month_takes_the_year_with_it() -> None:
    year = _year([{"A": 40}] * 11 + [{"A": 10}])
    assert year.tells("calls", KEYS[:11])
    assert not year.tells("calls", KEYS[11:])
    assert not year.tells("calls", KEYS)


def test_small_months_that_hide_each_other_are_told_with_the_year() -> None:
    year = _year([{"A": 40}] * 10 + [{"A": 10}, {"A": 4}])
    assert year.tells("calls", KEYS)
    assert year.tells("calls", KEYS[10:])
    assert not year.tells("calls", KEYS[:11])
    for counts in ([10, 10], [1] * 11, [1] * 12, [5, 5], [1, 1]):  # the sum would tell each
        extreme = _year([{"A": 40}] * (12 - len(counts)) + [{"A": n} for n in counts])
        assert not extreme.tells("calls", KEYS), counts


def test_a_small_community_takes_the_next_smallest_with_it() -> None:
    year = _year([{"A": 40, "B": 30, "C": 20, "D": 0}] * 11 + [{"A": 40, "B": 30, "C": 5, "D": 0}])
    for line, told in (("A", True), ("B", False), ("C", False), ("D", True)):
        assert year.tells_line("calls", KEYS[:11], line)
        assert year.tells_line("calls", KEYS[11:], line) is told
        assert year.tells_line("calls", KEYS, line) is told
    assert year.tells("calls", KEYS[11:])


def test_a_month_that_is_not_over_is_not_told_nor_what_contains_it() -> None:
    year = _year([{"A": 40}] * 3)
    assert year.tells("calls", KEYS[:3])
    assert not year.tells("calls", KEYS[:4])
    assert not year.tells("calls", KEYS[3:4])
    assert not year.knows(KEYS)


def test_a_group_that_two_communities_share_takes_both_with_it() -> None:
    def shared(few: int) -> Secrecy:
        groups = {("A",): 40, ("B",): 30, ("A", "B"): few, ("C",): 12}
        lines: Lines = {keys: {"calls": n} for keys, n in groups.items()}
        months = [Month(key, {"calls": sum(groups.values())}, lines) for key in KEYS]
        return Secrecy(FLOOR, months).decide(ONE)

    for few, told in ((0, True), (3 * FLOOR, True), (5, False)):
        year = shared(few)
        assert year.tells("calls", KEYS[:1])
        for line in "AB":
            assert year.tells_line("calls", KEYS[:1], line) is told
    # Of the year there are enough of them: all are told together.
    assert all(shared(5).tells_line("calls", KEYS, line) for line in "ABC")
    assert not shared(5).tells_line("calls", KEYS[1:], "A")


def test_a_part_is_told_where_what_is_left_is_not_small() -> None:
    def year(requested: int, attempted: int) -> Secrecy:
        counts = {"calls": 100, "requested": requested, "attempted": attempted}
        counts |= {"reached": 0, "within_60_minutes": attempted}
        months = [Month(key, counts, {(None,): counts}) for key in KEYS]
        return Secrecy(FLOOR, months).decide(CALLBACKS.families)

    for requested, attempted, told in (
        (60, 30, {"requested", "attempted"}),
        (100, 100, {"requested", "attempted"}),
        (95, 30, {"attempted"}),  # 5 calls asked for none
        (60, 55, {"attempted"}),  # 5 were not tried
        (95, 95, set()),
    ):
        cells = {
            c for c in ("requested", "attempted") if year(requested, attempted).tells(c, KEYS[:1])
        }
        assert cells == told, (requested, attempted)


# --- through the API ------------------------------------------------------------------------------

YEAR = date.today().year - 1  # noqa: DTZ011  any year that is over
FIGURES = ("call-outcomes", "slot-usage", "appointments", "referrals", "callbacks")


async def _analyst(world: World) -> Caller:
    return await world.caller(Role.ANALYST, await world.organization("other"), "other")


def _first(month: int) -> str:
    return f"{YEAR + month // 12}-{month % 12 + 1:02}-01"


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, int | None]]:
    """Yield an answer's whole numbers with their paths, and null where one is withheld."""
    if isinstance(value, dict):
        name = next((str(value[n]) for n in ("category", "outcome") if n in value), "")
        apart = {"groups", "from", "to", "key", "name", "percent", "withheld", "requesters"}
        for member, inner in value.items():
            if member not in apart:
                yield from _leaves(inner, f"{path}{'/' + name if name else ''}/{member}")
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item, path)
    elif value is None or (isinstance(value, int) and not isinstance(value, bool)):
        yield path, value


async def _ask_api(caller: Caller, figure: str, **asked: object) -> dict[str, Any]:
    params = {name: str(value) for name, value in asked.items()}
    answer = await caller.get(f"/v1/analytics/{figure}", params=params)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def territory(database: Database, http: httpx.AsyncClient) -> World:
    """A year of rows, few enough to have small counts everywhere and large ones too."""
    world = await World(database, http).begin()
    random = Random(36)
    found = await drawn(world, random, 60)  # its communities and rows of about now
    template, slot, booking = found.calls[0], found.slots[0], found.bookings[0]
    start = found.now.replace(year=YEAR, month=1, day=1, hour=9, minute=0, second=0)
    rows: dict[Any, list[Any]] = {calls: [], slots: [], bookings: [], patient_files: []}
    # Few rows are of an organization in two communities.
    alone = sorted(found.organizations, key=lambda o: -len(found.organizations[o]["cpts_ids"]))
    places = [*alone, await world.organization("msp", found.cpts[:2])]
    doctor = next(iter(found.practitioners))
    weights = [8, 5, 2, 0.3]
    for n in range(2600):
        at = start + timedelta(days=random.randrange(364), minutes=10 * n)
        if at.year != YEAR:
            continue
        community = random.choices([*found.cpts, None], weights)[0]
        rows[calls].append(
            {
                **template,
                "id": new_id(),
                "received_at": at,
                "cpts_id": community,
                "state": "closed",
                "outcome_mask": random.choices([1, 2, 4, 3, 8, 16, 0], [60, 30, 12, 2, 3, 1, 1])[0],
                "callback_requested_at": at if random.random() < 0.95 else None,
                "first_attempt_at": at + timedelta(minutes=random.randrange(90)),
                "called_back_at": None,
            }
        )
    for n in range(900):
        at = start + timedelta(hours=9 * n)
        organization = random.choices(places, [6, 3, 3, 1, 1, 0.5])[0]
        taken = random.random() < 0.7
        seat = {
            **slot,
            "id": new_id(),
            "organization_id": organization,
            "practitioner_id": doctor,
            "starts_at": at,
            "ends_at": at + timedelta(minutes=20),
            "capacity": 1,
            "booked": int(taken),
            "walk_in": False,
            "withdrawn_at": at if not taken and random.random() < 0.3 else None,
        }
        rows[slots].append(seat)
        for state in ["booked"] * taken + ["cancelled"] * (random.random() < 0.08):
            made = {
                **booking,
                "id": new_id(),
                "slot_id": seat["id"],
                "patient_file_id": new_id(),
                "practitioner_id": doctor,
                "practitioner_organization_id": organization,
                "starts_at": at,
                "ends_at": seat["ends_at"],
                "created_at": at - timedelta(hours=3),
                "call_id": None,
                "state": state if state == "cancelled" else random.choice(("fulfilled", "noshow")),
                "cancelled_by": "patient" if state == "cancelled" else None,
                "sent_to_emergency": False,
            }
            rows[bookings].append(made)
            rows[patient_files].append(
                {
                    "id": made["patient_file_id"],
                    "organization_id": made["organization_id"],
                    "territory": world.territory,
                }
            )
    async with world.database.unit_of_work() as uow:
        for table in (calls, slots, patient_files, bookings):
            await uow.execute(insert(table), rows[table])
    return world


# Whom one count leaves of another.
PARTS: Mapping[str, Sequence[tuple[str, str]]] = {
    "call-outcomes": [("/calls", "/calls_without_outcome")],
    "slot-usage": [("/withdrawn", "/replaced"), ("/published", "/withdrawn")],
    "appointments": [("/within_48_hours", "/within_24_hours"), ("/booked", "/cancelled")],
    "referrals": [("/booked", "/cancelled")],
    "callbacks": [("/calls", "/requested"), ("/requested", "/attempted")],
}
OF_CALLS = ("call-outcomes", "callbacks")


@pytest.mark.parametrize("figure", FIGURES)
async def test_an_analyst_cannot_compute_what_a_manager_sees(territory: World, figure: str) -> None:
    """Differencing months, ranges that overlap, communities and the whole, through the API."""
    analyst, manager = await _analyst(territory), await territory.manager()
    here = {"territory": territory.territory, "group_by": "cpts"}
    groups = await _groups(territory, shared=figure not in OF_CALLS)
    known, nulls = Knowledge(), 0
    for a, b in [(a, b) for a, b in RANGES if b - a < 3 or a == 0 or b == 12]:
        told = await _ask_api(analyst, figure, **here, **_period(a, b))
        for path, line, value in _told_of(told):
            nulls += value is None
            if value is not None:
                known.learn(_unknown({path: 1}, range(a, b), {line: 1}, groups), value)
    assert nulls
    small = dict.fromkeys(("counts", "parts", "shared"), 0)
    for a, b in [*((m, m + 1) for m in range(12)), (0, 12)]:
        exact = await _ask_api(manager, figure, **here, **_period(a, b))
        for kind, paths, lines, value in _people(exact, PARTS[figure]):
            if value in SMALL:
                small[kind] += 1
                unknown = _unknown(paths, range(a, b), lines, groups)
                assert known.finds(unknown) is None, (a, b, paths, lines)
    assert min(small["counts"], small["parts"]) > 0, small
    assert (small["shared"] > 0) == (figure not in OF_CALLS), small


Group = tuple[str | None, ...]


async def _groups(world: World, *, shared: bool) -> list[Group]:
    """Return what a row may belong to: one community or none, or those of an organization."""
    statement = select(organizations.c.id, organizations.c.type, organizations.c.cpts_ids).where(
        organizations.c.territory == world.territory
    )
    async with world.database.unit_of_work() as uow:
        rows: Any = (await uow.execute(statement)).all()
    if shared:
        return sorted({tuple(sorted(map(str, of))) or (None,) for _, _, of in rows}, key=str)
    return [(None,), *((str(id_),) for id_, type_, _ in rows if type_ == "cpts")]


def _unknown(
    paths: Mapping[str, int], months: range, lines: Mapping[str | None, int], groups: list[Group]
) -> dict[Hashable, int]:
    """Return a sum of counts and lines, by the groups that rows belong to."""
    return {
        (month, group, path): n * times
        for path, n in paths.items()
        for group in groups
        for times in [sum(k for line, k in lines.items() if line == ALL or line in group)]
        for month in months
        if times
    }


def _told_of(answer: Mapping[str, Any]) -> Iterator[tuple[str, str | None, int | None]]:
    for line, each in [(ALL, answer), *((group["key"], group) for group in answer["groups"])]:
        for path, value in _leaves(each):
            yield path, line, value


def _people(
    exact: Mapping[str, Any], parts: Sequence[tuple[str, str]]
) -> Iterator[tuple[str, dict[str, int], dict[str | None, int], int]]:
    """Yield every count of people: of all and of communities, in parts, and who is in several."""
    counts = {(path, line): n for path, line, n in _told_of(exact) if n is not None}
    lines = [ALL, *(group["key"] for group in exact["groups"])]
    for (path, line), value in counts.items():
        yield "counts", {path: 1}, {line: 1}, value
    for line, (whole, part) in product(lines, parts):
        yield "parts", {whole: 1, part: -1}, {line: 1}, counts[whole, line] - counts[part, line]
    several = dict.fromkeys(lines, 1) | {ALL: -1}
    for path in [path for path, line in counts if line == ALL]:
        shared = sum(n * counts.get((path, line), 0) for line, n in several.items())
        yield "shared", {path: 1}, several, shared


def _period(a: int, b: int) -> dict[str, str]:
    return {"from": _first(a), "to": _first(b)}


def _whole() -> dict[str, str]:
    return _period(0, 12)


@pytest.mark.parametrize(("shared", "told"), [(3, None), (15, 35)])
async def test_what_two_communities_share_is_not_told(
    world: World, shared: int, told: int | None
) -> None:
    """Both are large, and so is the territory: A + B - all is what they share."""
    here = await drawn(world, Random(9), 4)
    one, other, _ = here.cpts
    doctor = next(iter(here.practitioners))
    for of, count in (([one], 20), ([other], 20), ([one, other], shared)):
        await _publish(here, await world.organization("msp", of), [doctor] * count)
    asked = {"territory": world.territory, **_period(0, 1), "group_by": "cpts"}
    answer = await _ask_api(await _analyst(world), "slot-usage", **asked)
    assert answer["published"] == 40 + shared
    by_key = {group["key"]: group["published"] for group in answer["groups"]}
    assert by_key == {str(one): told, str(other): told}


async def test_doctors_are_told_by_community_until_one_is_in_two(world: World) -> None:
    here = await drawn(world, Random(9), 4)
    one, other, _ = here.cpts
    places = [await world.organization("msp", [of]) for of in (one, other)]
    doctors = [await world.practitioner() for _ in range(2 * FLOOR)]
    await _publish(here, places[0], doctors[:FLOOR])
    await _publish(here, places[1], doctors[FLOOR:])
    analyst = await _analyst(world)

    async def publishing(a: int, b: int) -> tuple[int | None, dict[str, int | None]]:
        asked = {"territory": world.territory, **_period(a, b), "group_by": "cpts"}
        told = await _ask_api(analyst, "cpts-indicators", **asked)
        groups = {group["key"]: group["doctors"]["publishing"] for group in told["groups"]}
        return told["doctors"]["publishing"], groups

    both = [str(one), str(other)]
    assert await publishing(0, 12) == (2 * FLOOR, dict.fromkeys(both, FLOOR))
    assert await publishing(0, 6) == (None, dict.fromkeys(both))
    await _publish(here, places[1], doctors[:1])
    assert await publishing(0, 12) == (2 * FLOOR, dict.fromkeys(both))


async def _publish(here: Territory, place: UUID, doctors: Sequence[UUID]) -> None:
    """Publish a seat of each in one January, one after the other."""
    first = here.now.replace(year=YEAR, month=1, day=10)
    rows = []
    for doctor in doctors:
        at = first + timedelta(hours=len(here.slots))
        here.slots.append(
            {
                **here.slots[0],
                "id": new_id(),
                "organization_id": place,
                "practitioner_id": doctor,
                "starts_at": at,
                "ends_at": at + timedelta(minutes=20),
                "capacity": 1,
                "booked": 0,
                "visibility": ["SNP"],
                "walk_in": False,
                "withdrawn_at": None,
            }
        )
        rows.append(here.slots[-1])
    async with here.world.database.unit_of_work() as uow:
        await uow.execute(insert(slots), rows)


async def test_with_windows_of_days_a_day_is_found(
    territory: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    analyst, manager = await _analyst(territory), await territory.manager()
    here = {"territory": territory.territory}
    monkeypatch.setattr(usecase, "check", lambda *_: None)
    last = date.fromisoformat(_first(1)) - timedelta(days=1)
    months = [_period(0, 1), {"from": _first(0), "to": str(last)}]
    month, less = [(await _ask_api(analyst, "call-outcomes", **here, **m))["calls"] for m in months]
    day = {"from": str(last), "to": _first(1)}
    assert month - less == (await _ask_api(manager, "call-outcomes", **here, **day))["calls"]
    assert month - less in SMALL


async def test_with_rates_of_what_is_withheld_somebody_is_found(
    territory: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    analyst, manager = await _analyst(territory), await territory.manager()
    asked = {"territory": territory.territory, **_whole(), "group_by": "month"}
    exact = await _ask_api(manager, "callbacks", **asked)
    for rule in (True, False):
        if not rule:
            monkeypatch.setattr(withheld, "_divided", lambda *_: ())
        told = await _ask_api(analyst, "callbacks", **asked)
        small = [
            mine["rates"]["requested"]["value"]
            for mine, theirs in zip(told["groups"], exact["groups"], strict=True)
            if mine["calls"] and theirs["calls"] - theirs["requested"] in SMALL
        ]
        assert small
        assert any(value is None for value in small) is rule


async def test_a_community_is_told_what_its_territory_tells_of_it(territory: World) -> None:
    analyst = await _analyst(territory)
    here = {"territory": territory.territory}
    whole = await _ask_api(analyst, "call-outcomes", **here, **_whole(), group_by="cpts")
    for group in whole["groups"]:
        if group["key"] is not None:
            alone = await _ask_api(analyst, "call-outcomes", cpts=group["key"], **_whole())
            shared = set(alone) - {"cpts", "synthetic"}
            assert {name: alone[name] for name in shared} == {n: group[n] for n in shared}


async def test_staff_reads_exact_figures_and_nothing_is_withheld(territory: World) -> None:
    for staff in (await territory.manager(), await territory.regulator()):
        found = await _ask_api(
            staff, "call-outcomes", territory=territory.territory, **_whole(), group_by="cpts"
        )
        assert "withheld" not in found
        assert all(value is not None for _, value in _leaves(found))


async def test_what_is_withheld_is_named_and_no_rate_is_made_of_it(territory: World) -> None:
    analyst, manager = await _analyst(territory), await territory.manager()
    asked = {"territory": territory.territory, **_whole(), "group_by": "month"}
    for figure in FIGURES:
        told = await _ask_api(analyst, figure, **asked)
        exact = await _ask_api(manager, figure, **asked)
        for mine, theirs in [(told, exact), *zip(told["groups"], exact["groups"], strict=True)]:
            counts, known = dict(_leaves(mine)), dict(_leaves(theirs))
            for path, value in counts.items():
                if path.endswith("synthetic"):
                    continue
                assert value == known.get(path) or value is None, path
                assert value not in SMALL, path
            for name, rate in mine.get("rates", {}).items():
                words = f"{rate['numerator']} {rate['denominator']}".split()
                if any(mine[word] is None for word in words if word not in "+-"):
                    assert rate["value"] is None, name
                    assert f"rates.{name}.value" in mine["withheld"]
            for name in mine["withheld"]:
                assert name.partition(".")[0] in mine


async def test_a_table_writes_the_word_where_a_count_is_withheld(territory: World) -> None:
    analyst = await _analyst(territory)
    asked = {"territory": territory.territory, **_whole(), "group_by": "month"}
    told = await _ask_api(analyst, "call-outcomes", **asked)
    sheet = await analyst.get(
        "/v1/analytics/call-outcomes", params=asked, headers={"Accept": "text/csv"}
    )
    rows = list(csv.DictReader(io.StringIO(sheet.text.removeprefix("\ufeff")), delimiter=";"))
    assert len(rows) == 12
    for row, group in zip(rows, told["groups"], strict=True):
        assert {name for name, cell in row.items() if cell == "secret"} == set(group["withheld"])
    assert any(group["withheld"] for group in told["groups"])


@pytest.mark.parametrize(
    ("asked", "pointer"),
    [
        ({"from": "2022-01-01", "to": "2022-01-08"}, "from"),
        ({"from": "2022-01-02", "to": "2022-02-02"}, "from"),
        ({"from": "2022-01-01", "to": "2022-02-01", "group_by": "hour"}, "from"),
        ({"from": "2022-01-01", "to": "2023-01-01", "group_by": "practitioner_status"}, "group_by"),
    ],
)
async def test_what_is_too_fine_is_refused_with_a_sentence(
    world: World, asked: dict[str, str], pointer: str
) -> None:
    analyst, manager = await _analyst(world), await world.manager()
    query = {"territory": world.territory, **asked}
    refusal = problem(
        await analyst.get("/v1/analytics/slot-usage", params=query), 422, "figures-too-fine"
    )
    assert [error["pointer"] for error in refusal["errors"]] == [pointer]
    assert (await manager.get("/v1/analytics/slot-usage", params=query)).status_code == 200


async def test_the_month_under_way_is_not_told(territory: World) -> None:
    analyst = await _analyst(territory)
    today = datetime.now(ZoneInfo(territory.zone)).date()
    first, after = today.replace(day=1), (today.replace(day=1) + timedelta(days=32)).replace(day=1)
    for figure in (*FIGURES, "cpts-indicators", "unmet-needs"):
        told = await _ask_api(
            analyst, figure, territory=territory.territory, **{"from": first, "to": after}
        )
        assert all(v is None or p == "/synthetic" for p, v in _leaves(told)), figure


async def test_unmet_needs_are_told_by_motive_but_not_by_place_or_day(world: World) -> None:
    analyst, manager = await _analyst(world), await world.manager()
    asked = {"territory": world.territory, **_whole()}
    told = await _ask_api(analyst, "unmet-needs", **asked)
    assert (told["needs"], told["by_motive"]) == (0, [])
    assert told["by_commune"] is told["by_day"] is told["by_commune_day"] is None
    assert told["unused_seats"] is None
    assert {"by_commune", "by_day", "by_commune_day", "unused_seats"} <= set(told["withheld"])
    assert (await _ask_api(manager, "unmet-needs", **asked))["by_day"] == []
