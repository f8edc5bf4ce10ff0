"""Figures that give nobody away: attacked by whoever may ask everything that an analyst may."""

import csv
import io
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from datetime import date, timedelta
from itertools import combinations
from random import Random
from typing import Any

import httpx
import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import insert

from service.analytics.domain import (
    APPOINTMENTS,
    CALL_OUTCOMES,
    CALLBACKS,
    CPTS_INDICATORS,
    SLOT_USAGE,
    Month,
    Rules,
    Secrecy,
)
from service.bookings.tables import bookings
from service.calls.tables import calls
from service.identity import Role
from service.kernel.db import Database
from service.kernel.ids import new_id
from service.patients.tables import patient_files
from service.slots.tables import slots
from tests.analytics.attack import Knowledge
from tests.analytics.drawn import drawn
from tests.support import Caller, World, problem

FLOOR = 11
SMALL = range(1, FLOOR)
KEYS = [f"2022-{n:02}" for n in range(1, 13)]
RANGES = [(a, b) for a, b in combinations(range(13), 2)]
Counts = dict[str, int]
Table = dict[str, dict[str | None, Counts]]  # month, community, count


# --- a year as rows could make it -----------------------------------------------------------------


def _calls(random: Random, draw: Callable[[], int]) -> Counts:
    """Calls with one outcome or two, as an attacker would suppose."""
    categories = {name: draw() for name in ("medical_advice", "slot_orientation", "prescription")}
    detail = {name: draw() for name in ("patient_unreachable", "redirected_to_15", "other")}
    categories["other"] = sum(detail.values())
    mentions, without = sum(categories.values()), draw()
    several = min(draw(), mentions // 2)
    found = mentions - several + without
    attempted = min(draw(), found)
    return {
        "calls": found,
        **{f"outcomes.{name}.calls": n for name, n in categories.items()},
        **{f"outcomes.other.detail.{name}.calls": n for name, n in detail.items()},
        "outcome_mentions": mentions,
        "calls_with_several_outcomes": several,
        "calls_without_outcome": without,
        "avoided_emergency_visits.calls": min(draw(), found),
        "callback_minutes.calls": attempted,
        "within_60_minutes": random.randint(0, attempted),
    }


_CALLS_ARE = [
    ("calls", {
        **{f"outcomes.{c}.calls": 1 for c in
           ("medical_advice", "slot_orientation", "prescription", "other")},
        "calls_with_several_outcomes": -1, "calls_without_outcome": 1,
    }),
    ("outcome_mentions", {f"outcomes.{c}.calls": 1 for c in
     ("medical_advice", "slot_orientation", "prescription", "other")}),
    ("outcomes.other.calls", {f"outcomes.other.detail.{o}.calls": 1 for o in
     ("patient_unreachable", "redirected_to_15", "other")}),
]  # fmt: skip


def _seats(_: Random, draw: Callable[[], int]) -> Counts:
    """Seats and the appointments on them: what the one says of a month, the other says too."""
    names = ("booked", "withdrawn", "expired", "overbooked", "walk_in", "open")
    seats = {name: draw() for name in names}
    seats["published"] = sum(seats[name] for name in ("booked", "withdrawn", "expired", "open"))
    seats["replaced"] = min(draw(), seats["withdrawn"])
    live = seats["booked"] + seats["overbooked"]
    missed = min(draw(), live)
    unreported = min(draw(), live - missed)
    gone = {f"cancelled_by.{who}": draw() for who in ("patient", "requester", "doctor", "system")}
    appointments = {
        "missed": missed,
        "unreported": unreported,
        "upcoming": 0,
        "fulfilled": live - missed - unreported,
        "cancelled": sum(gone.values()),
        "booked": live + sum(gone.values()),
        "sent_to_emergency": min(draw(), live),
        "within_24_hours": min(draw(), live),
        "within_48_hours": live,
        **gone,
    }
    return {
        "live": live,
        **{f"seats {name}": n for name, n in seats.items()},
        **{f"appointments {name}": n for name, n in appointments.items()},
    }


def _ones(figure: str, *names: str) -> dict[str, int]:
    return {f"{figure} {name}": 1 for name in names}


_SEATS_ARE = [
    ("seats published", _ones("seats", "booked", "withdrawn", "expired", "open")),
    ("live", _ones("seats", "booked", "overbooked")),
    ("live", _ones("appointments", "missed", "unreported", "upcoming", "fulfilled")),
    ("appointments booked", {"live": 1, "appointments cancelled": 1}),
    (
        "appointments cancelled",
        _ones("appointments", *(f"cancelled_by.{w}" for w in
              ("patient", "requester", "doctor", "system"))),
    ),
]  # fmt: skip
_ONE_OF = {"live": "live"}


def _of(figure: str) -> Callable[[Counts], Counts]:
    """Return what one figure's own counts are, of both figures'."""

    def own(counts: Counts) -> Counts:
        prefix = f"{figure} "
        mine = {n.removeprefix(prefix): c for n, c in counts.items() if n.startswith(prefix)}
        return {**mine, "live": counts["live"]}

    return own


def _indicators(counts: Counts) -> Counts:
    names = {"requests.calls": "calls", "requests.oriented": "outcomes.slot_orientation.calls"}
    return {name: counts[of] for name, of in names.items()} | {
        name: 0 for family in CPTS_INDICATORS.families for name in family.cells if name not in names
    }


def _callbacks(counts: Counts) -> Counts:
    return {
        "calls": counts["calls"],
        "requested": 0,
        "reached": 0,
        "attempted": counts["callback_minutes.calls"],
        "within_60_minutes": counts["within_60_minutes"],
    }


# How each figure names the counts of the year.
CASES: Mapping[str, Any] = {
    "calls": (
        _calls,
        _CALLS_ARE,
        [
            (CALL_OUTCOMES, dict, lambda name: name),
            (
                CPTS_INDICATORS,
                _indicators,
                {
                    "requests.calls": "calls",
                    "requests.oriented": "outcomes.slot_orientation.calls",
                }.get,
            ),
            (
                CALLBACKS,
                _callbacks,
                {
                    "calls": "calls",
                    "attempted": "callback_minutes.calls",
                    "within_60_minutes": "within_60_minutes",
                }.get,
            ),
        ],
    ),
    "seats": (
        _seats,
        _SEATS_ARE,
        [
            (SLOT_USAGE, _of("seats"), lambda n: _ONE_OF.get(n, f"seats {n}")),
            (APPOINTMENTS, _of("appointments"), lambda n: _ONE_OF.get(n, f"appointments {n}")),
        ],
    ),
}


def _added(several: Any) -> Counts:
    total: Counts = {}
    for counts in several:
        for name, n in counts.items():
            total[name] = total.get(name, 0) + n
    return total


def _attack(table: Table, hours: Mapping[str, Counts], identities: Any, figures: Any) -> Knowledge:
    """Ask everything; know how counts are made of each other."""
    known = Knowledge()
    communities = sorted({line for lines in table.values() for line in lines}, key=str)
    for total, parts in identities:
        for place in [(m, line) for m in KEYS for line in communities] + [
            ("hour", hour) for hour in hours
        ]:
            equation: dict[Hashable, int] = {(*place, part): n for part, n in parts.items()}
            known.learn({**equation, (*place, total): -1}, 0)
    names = next(iter(next(iter(table.values())).values()))
    for name in names:
        by_month: dict[Hashable, int] = {(m, line, name): 1 for m in KEYS for line in communities}
        known.learn(by_month | {("hour", hour, name): -1 for hour in hours}, 0)
    for rules, own, named in figures:
        months = [
            Month(
                key,
                own(_added(table[key].values())),
                {line: own(counts) for line, counts in table[key].items()},
            )
            for key in KEYS
        ]
        secrecy = Secrecy(FLOOR, months, {h: own(c) for h, c in hours.items()})
        secrecy.decide(rules.families)
        _ask(known, rules, secrecy, (table, hours, communities), named)
    return known


def _ask(
    known: Knowledge,
    rules: Rules,
    secrecy: Secrecy,
    year: tuple[Table, Mapping[str, Counts], list[str | None]],
    named: Callable[[str], str | None],
) -> None:
    table, hours, communities = year
    cells = {cell for family in rules.families for cell in family.cells} - rules.unshown
    shown = {cell: named(cell) for cell in sorted({*cells, *rules.sums})}
    for cell, name in ((c, n) for c, n in shown.items() if n is not None):
        parts = rules.sums.get(cell, (cell,))
        for a, b in RANGES:
            asked = KEYS[a:b]
            if all(secrecy.tells(part, asked) for part in parts):
                all_of = [(m, line, name) for m in asked for line in communities]
                known.learn(all_of, sum(table[m][line][name] for m, line, _ in all_of))
            for line in communities:
                if all(secrecy.tells_line(part, asked, line) for part in parts):
                    told = sum(table[m][line][name] for m in asked)
                    known.learn([(m, line, name) for m in asked], told)
        for hour in hours if rules.keys else ():
            if all(secrecy.tells_key(part, hour) for part in parts):
                known.learn([("hour", hour, name)], hours[hour][name])


def _targets(table: Table, hours: Mapping[str, Counts]) -> Iterator[tuple[list[Any], int]]:
    """Every count that exact figures show: of months, communities, both, hours."""
    communities = sorted({line for lines in table.values() for line in lines}, key=str)
    for name in next(iter(next(iter(table.values())).values())):
        places = [
            *([(m, line)] for m in KEYS for line in communities),
            *([(m, line) for line in communities] for m in KEYS),
            *([(m, line) for m in KEYS] for line in communities),
            [(m, line) for m in KEYS for line in communities],
        ]
        for place in places:
            yield [(*at, name) for at in place], sum(table[m][line][name] for m, line in place)
        for hour, counts in hours.items():
            yield [("hour", hour, name)], counts[name]


def _year_of(random: Random, one: Callable[[], Counts]) -> tuple[Table, dict[str, Counts]]:
    """Draw what each month has of each community at each hour; return it by month, and by hour."""
    table: Table = {key: {} for key in KEYS}
    hours: dict[str, Counts] = {hour: {} for hour in ("08", "09", "22")}
    often = {"08": 1.0, "09": 0.4, "22": random.choice((0.02, 0.2))}
    for key in KEYS:
        for line in ("A", "B", "C", None):
            for hour, counts in hours.items():
                here = one()
                if random.random() > often[hour]:
                    here = dict.fromkeys(here, 0)
                hours[hour] = _added([counts, here])
                table[key][line] = _added([table[key].get(line, {}), here])
    return table, hours


@pytest.mark.parametrize("case", CASES)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 2**32), few=st.sampled_from([0.02, 0.1, 0.3, 0.8]))
def test_no_small_count_follows_from_all_answers_together(case: str, seed: int, few: float) -> None:
    """Ranges that overlap, communities against the whole, hours, one figure against another."""
    draws, identities, figures = CASES[case]
    random = Random(seed)
    usual = random.choice((15, 40, 400))

    def draw() -> int:
        if random.random() < few:
            return random.choice((0, 1, random.choice(SMALL), 10))
        return random.randint(FLOOR, usual)

    table, hours = _year_of(random, lambda: draws(random, draw))
    known = _attack(table, hours, identities, figures)
    for unknown, value in _targets(table, hours):
        if value in SMALL:
            assert known.finds(unknown) is None, (unknown, value)


# --- single rules ---------------------------------------------------------------------------------

ONE = CALLBACKS.families[:1]  # "calls", by themselves


def _year(months: Sequence[Mapping[str, int]]) -> Secrecy:
    found = [
        Month(
            key,
            {"calls": sum(lines.values())},
            {line: {"calls": n} for line, n in lines.items()},
        )
        for key, lines in zip(KEYS, months, strict=False)
    ]
    return Secrecy(FLOOR, found).decide(ONE)


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


def test_a_year_under_way_tells_nothing_that_its_end_would_turn_into_a_leak() -> None:
    """What was told month by month is still known when the year is over."""
    for last in range(1, FLOOR):
        known = Knowledge()
        months = [{"A": 40, "B": 20}] * 11 + [{"A": last, "B": 20}]
        for over in range(1, 13):
            year = _year(months[:over])
            for a, b in combinations(range(over + 1), 2):
                for line in ("A", "B"):
                    if year.tells_line("calls", KEYS[a:b], line):
                        found = sum(m[line] for m in months[a:b])
                        known.learn([(n, line) for n in range(a, b)], found)
                if year.tells("calls", KEYS[a:b]):
                    everywhere = [(n, line) for n in range(a, b) for line in ("A", "B")]
                    known.learn(everywhere, sum(sum(m.values()) for m in months[a:b]))
        assert known.finds([(11, "A")]) is None, last


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
    organizations, doctor = list(found.organizations), next(iter(found.practitioners))
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
                "callback_requested_at": at,
                "first_attempt_at": at + timedelta(minutes=random.randrange(90)),
                "called_back_at": None,
            }
        )
    for n in range(900):
        at = start + timedelta(hours=9 * n)
        organization = random.choices(organizations, [6, 3, 2, 1, 1])[0]
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


@pytest.mark.parametrize("figure", FIGURES)
async def test_an_analyst_cannot_compute_what_a_manager_sees(territory: World, figure: str) -> None:
    """Differencing months, ranges that overlap, communities and the whole, through the API."""
    analyst, manager = await _analyst(territory), await territory.manager()
    here = {"territory": territory.territory}
    known = Knowledge()
    exact = await _ask_api(manager, figure, **here, **_whole(), group_by="cpts")
    communities = [group["key"] for group in exact["groups"]]
    ranges = [(a, b) for a in range(12) for b in range(a + 1, 13) if b - a < 3 or a == 0 or b == 12]
    withheld = 0
    for a, b in ranges:
        asked = {"from": _first(a), "to": _first(b)}
        told = await _ask_api(analyst, figure, **here, **asked, group_by="cpts")
        withheld += sum(len(each["withheld"]) for each in (told, *told["groups"]))
        _learn(known, told, range(a, b))
        for group in told["groups"]:
            _learn(known, group, range(a, b), group["key"])
        # Where communities do not overlap, they add up.
        if b - a == 1 and not told.get("groups_overlap"):
            for path, _ in _leaves(told):
                parts: dict[Hashable, int] = {(a, line, path): 1 for line in communities}
                known.learn({**parts, (a, path): -1}, 0)
    assert withheld
    await _check_targets(known, manager, figure, here, communities)


def _learn(known: Knowledge, told: Mapping[str, Any], months: range, *line: str | None) -> None:
    for path, value in _leaves(told):
        if value is not None:
            known.learn([(month, *line, path) for month in months], value)


def _whole() -> dict[str, str]:
    return {"from": _first(0), "to": _first(12)}


async def _check_targets(
    known: Knowledge, manager: Caller, figure: str, here: dict[str, str], communities: list[Any]
) -> None:
    small = 0
    for a, b in [*((m, m + 1) for m in range(12)), (0, 12)]:
        exact = await _ask_api(
            manager, figure, **here, group_by="cpts", **{"from": _first(a), "to": _first(b)}
        )
        for path, value in _leaves(exact):
            if value in SMALL:
                small += 1
                assert known.finds([(m, path) for m in range(a, b)]) is None, (a, b, path)
        for group in exact["groups"]:
            assert group["key"] in communities
            for path, value in _leaves(group):
                if value in SMALL:
                    small += 1
                    asked = [(m, group["key"], path) for m in range(a, b)]
                    assert known.finds(asked) is None, (a, b, group["key"], path)
    assert small > 20


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
    today = date.today()  # noqa: DTZ011
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
