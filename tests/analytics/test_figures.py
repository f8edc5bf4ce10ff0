"""Figures over HTTP, against the same figures computed the slow way from the same rows."""

import csv
import io
from datetime import date, timedelta
from itertools import pairwise
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.identity import Role
from service.kernel.ids import new_id
from tests.analytics.support import add, expected, random_rows
from tests.calls.support import ago, closed, opened, with_outcome
from tests.support import Caller, World, problem

PATH = "/v1/analytics/call-outcomes"
YEAR = {"from": "2022-01-01", "to": "2023-01-01"}
# Each example has a territory of its own.
few = settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])


async def _ask(caller: Caller, **query: Any) -> dict[str, Any]:
    answer = await caller.get(PATH, params={**YEAR, **query})
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def _without(body: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name not in names}


_SCOPE = ("territory", "cpts", "synthetic", "groups", "monthly_mean", "key", "name")


def _additive(body: dict[str, Any]) -> list[int]:
    """Every member that adds up over groups."""
    return [
        body["calls"],
        *(category["calls"] for category in body["outcomes"]),
        *(detail["calls"] for detail in body["outcomes"][3]["detail"]),
        body["outcome_mentions"],
        body["calls_with_several_outcomes"],
        body["calls_without_outcome"],
        body["avoided_emergency_visits"]["calls"],
        body["callback_minutes"]["calls"],
    ]


def _sum(bodies: list[dict[str, Any]]) -> list[int]:
    return [sum(column) for column in zip(*(_additive(body) for body in bodies), strict=True)]


@few
@given(
    seed=st.integers(0, 10**6),
    zone=st.sampled_from(["Europe/Paris", "Indian/Reunion", "America/Miquelon"]),
    cuts=st.lists(st.integers(1, 364), unique=True, max_size=4),
)
async def test_months_communities_and_any_split_agree(
    world: World, seed: int, zone: str, cuts: list[int]
) -> None:
    here = await World(world.database, world.http, zone=zone).begin()
    random = Random(seed)
    communities = [await here.organization("cpts") for _ in range(3)]
    rows = random_rows(random, here, [*communities, None], random.randrange(60, 250))
    await add(here, rows)
    manager = await here.manager()
    year = (date(2022, 1, 1), date(2023, 1, 1))

    whole = await _ask(manager, territory=here.territory)
    assert _without(whole, *_SCOPE) == expected(rows, *year, zone)
    assert whole["territory"] == here.territory
    assert "cpts" not in whole
    assert "groups" not in whole

    monthly = await _ask(manager, territory=here.territory, group_by="month")
    assert _without(monthly, "groups") == whole
    assert [group["key"] for group in monthly["groups"]] == [f"2022-{n:02d}" for n in range(1, 13)]
    assert _sum(monthly["groups"]) == _additive(whole)
    for n, group in enumerate(monthly["groups"], 1):
        month = date(2022, n, 1), date(2022 + n // 12, n % 12 + 1, 1)
        assert _without(group, *_SCOPE) == expected(rows, *month, zone)
        assert group["monthly_mean"] == group["calls"]

    by_cpts = await _ask(manager, territory=here.territory, group_by="cpts")
    assert _without(by_cpts, "groups") == whole
    assert _sum(by_cpts["groups"]) == _additive(whole)
    keys = [group["key"] for group in by_cpts["groups"]]
    assert keys == [*sorted(map(str, communities)), None]
    for group in by_cpts["groups"]:
        own = [row for row in rows if (row["cpts_id"] and str(row["cpts_id"])) == group["key"]]
        assert _without(group, *_SCOPE) == expected(own, *year, zone)
        if group["key"]:
            alone = await _ask(manager, cpts=group["key"], group_by="month")
            assert alone["cpts"] == group["key"]
            assert "territory" not in alone
            assert _without(alone, *_SCOPE) == _without(group, *_SCOPE)
            assert _sum(alone["groups"]) == _additive(group)

    days = [year[0], *(year[0] + timedelta(days=n) for n in sorted(cuts)), year[1]]
    parts = [
        await _ask(manager, territory=here.territory, **{"from": str(start), "to": str(end)})
        for start, end in pairwise(days)
    ]
    assert _sum(parts) == _additive(whole)


@pytest.mark.parametrize(
    ("zone", "late", "early"),
    [
        ("Europe/Paris", "2022-06-30T23:30:00+02:00", "2022-07-01T00:30:00+02:00"),
        ("Europe/Paris", "2022-10-31T22:30:00Z", "2022-10-31T23:30:00Z"),
        ("Indian/Reunion", "2022-06-30T23:30:00+04:00", "2022-07-01T00:30:00+04:00"),
        ("America/Guadeloupe", "2022-07-01T03:30:00Z", "2022-07-01T04:30:00Z"),
    ],
)
async def test_calls_around_a_local_midnight(
    world: World, zone: str, late: str, early: str
) -> None:
    here = await World(world.database, world.http, zone=zone).begin()
    regulator = await here.regulator()
    before, after = ("2022-10", "2022-11") if "10-31" in late else ("2022-06", "2022-07")
    for received, months in ((late, [before]), (early, [before, after])):
        await opened(regulator, received_at=received)
        answer = await _ask(regulator, territory=here.territory, group_by="month")
        counts = {group["key"]: group["calls"] for group in answer["groups"] if group["calls"]}
        assert counts == dict.fromkeys(months, 1)


async def test_nights_of_clock_changes(world: World) -> None:
    regulator = await world.regulator()
    for received in (
        "2022-03-27T01:59:59+01:00",
        "2022-03-27T03:00:00+02:00",
        "2022-10-30T00:00:00+02:00",
        "2022-10-30T02:30:00+02:00",
        "2022-10-30T02:30:00+01:00",  # the same clock time, an hour later
        "2022-10-30T23:59:59+01:00",
        "2022-10-31T00:00:00+01:00",
    ):
        await opened(regulator, received_at=received)

    async def day(start: str, end: str) -> int:
        body = await _ask(regulator, territory=world.territory, **{"from": start, "to": end})
        return int(body["calls"])

    assert await day("2022-03-27", "2022-03-28") == 2
    assert await day("2022-03-28", "2022-03-29") == 0
    assert await day("2022-10-29", "2022-10-30") == 0
    assert await day("2022-10-30", "2022-10-31") == 4
    assert await day("2022-10-31", "2022-11-01") == 1


async def test_one_call_from_its_opening_to_the_figures(world: World) -> None:
    regulator = await world.regulator()
    month = {"from": "2024-02-01", "to": "2024-03-01", "territory": world.territory}
    call = await opened(regulator, received_at="2024-02-29T12:00:00+01:00", callback_requested=True)
    mistake = await opened(regulator, received_at="2024-02-29T12:00:00+01:00")
    await regulator.patch(f"/v1/calls/{mistake['id']}", {"void": True})
    empty = await _ask(regulator, **month)
    assert (empty["calls"], empty["calls_without_outcome"]) == (1, 1)
    assert empty["callback_minutes"] == {
        "calls": 0, "mean": None, "median": None, "p90": None, "within_60_share": None,
    }  # fmt: skip

    reached = {"at": "2024-02-29T13:30:00+01:00", "reached": True}
    assert (await regulator.post(f"/v1/calls/{call['id']}/callbacks", reached)).status_code == 201
    await with_outcome(regulator, call, "medical_advice")
    for outcome in ("other", "patient_unreachable"):
        await with_outcome(regulator, call, outcome)
    await closed(regulator, call, "emergency_department")
    full = await _ask(regulator, **month)
    assert [(c["category"], c["calls"], c["share"], c["percent"]) for c in full["outcomes"]] == [
        ("medical_advice", 1, 1.0, 100),
        ("slot_orientation", 0, 0.0, 0),
        ("prescription", 0, 0.0, 0),
        ("other", 1, 1.0, 100),
    ]
    assert (full["outcome_mentions"], full["calls_with_several_outcomes"]) == (2, 1)
    assert full["avoided_emergency_visits"]["calls"] == 1
    assert (full["monthly_mean"], full["synthetic"]) == (1.0, False)
    assert full["callback_minutes"] == {
        "calls": 1, "mean": 90.0, "median": 90.0, "p90": 90.0, "within_60_share": 0.0,
    }  # fmt: skip
    await with_outcome(regulator, call, "redirected_to_15")
    assert (await _ask(regulator, **month))["avoided_emergency_visits"]["calls"] == 0


async def test_who_may_ask_for_what(world: World) -> None:
    elsewhere = await World(world.database, world.http).begin()
    mine = await world.organization("cpts")
    theirs = await elsewhere.organization("cpts")
    practice = await world.organization("practice")
    analyst = await world.caller(Role.ANALYST, practice, "practice", cpts_ids=[])
    member = await world.caller(Role.ANALYST, practice, "practice", cpts_ids=[theirs])
    await _ask(analyst, territory=world.territory)
    await _ask(analyst, cpts=mine)
    await _ask(member, cpts=theirs)
    for scope in (
        {"territory": elsewhere.territory},
        {"territory": "2A"},
        {"cpts": str(theirs)},
        {"cpts": str(practice)},
        {"cpts": str(new_id())},
    ):
        problem(await analyst.get(PATH, params={**YEAR, **scope}), 403, "foreign-territory")
    osnp = await world.regulation(Role.OSNP)
    asked = {**YEAR, "territory": world.territory}
    problem(await osnp.get(PATH, params=asked), 403, "role-lacks-operation")


async def test_questions_that_make_no_sense(world: World) -> None:
    manager = await world.manager()
    here = {"territory": world.territory}
    for query in (
        YEAR,
        {**YEAR, **here, "cpts": str(new_id())},
        {**here, "from": "2022-02-01", "to": "2022-02-01"},
        {**here, "from": "1900-01-01", "to": "2022-02-01"},
    ):
        problem(await manager.get(PATH, params=query), 422, "figures-invalid")
    for query in (
        {**here, "from": "2022-01-01"},
        {**YEAR, **here, "group_by": "week"},
        {**here, "from": "yesterday", "to": "2022-01-01"},
    ):
        problem(await manager.get(PATH, params=query), 422, "invalid")


async def test_parts_of_months_have_no_monthly_mean(world: World) -> None:
    manager = await world.manager()
    answer = await _ask(
        manager,
        territory=world.territory,
        group_by="month",
        **{"from": "2022-01-15", "to": "2022-04-10"},
    )
    assert answer["monthly_mean"] is None
    assert [(g["key"], g["from"], g["monthly_mean"]) for g in answer["groups"]] == [
        ("2022-01", "2022-01-15", None),
        ("2022-02", "2022-02-01", 0.0),
        ("2022-03", "2022-03-01", 0.0),
        ("2022-04", "2022-04-01", None),
    ]


async def test_a_table_for_a_french_spreadsheet(world: World) -> None:
    communities = [await world.organization("cpts")]
    await add(world, random_rows(Random(36), world, [*communities, None], 80))
    manager = await world.manager()

    async def table(**query: Any) -> list[dict[str, str]]:
        answer = await manager.get(
            PATH,
            params={**YEAR, "territory": world.territory, **query},
            headers={"Accept": "text/csv"},
        )
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "text/csv; charset=utf-8"
        assert (answer.headers["vary"], answer.headers["cache-control"]) == ("Accept", "no-store")
        by = query.get("group_by", "none")
        first = {"none": "", "month": "key.month;", "cpts": "key.cpts;key.name;"}[by]
        assert answer.text.startswith(f"\ufeff{first}territory;cpts;synthetic;from;to;calls;")
        return list(csv.DictReader(io.StringIO(answer.text.lstrip("\ufeff")), delimiter=";"))

    whole = await _ask(manager, territory=world.territory)
    (row,) = await table()
    assert row["calls"] == str(whole["calls"])
    assert row["monthly_mean"] == str(whole["monthly_mean"]).replace(".", ",")
    advice = whole["outcomes"][0]
    assert row["outcomes.medical_advice.share"] == f"{advice['share']:.4f}".replace(".", ",")
    assert row["outcomes.other.detail.redirected_to_15.calls"] == str(
        whole["outcomes"][3]["detail"][1]["calls"]
    )
    assert row["avoided_emergency_visits.method"] == "recorded_by_regulator_at_closure"
    months = await table(group_by="month")
    assert [line["key.month"] for line in months] == [f"2022-{n:02d}-01" for n in range(1, 13)]
    assert sum(int(line["calls"]) for line in months) == whole["calls"]
    of_cpts = [(line["key.cpts"], line["key.name"]) for line in await table(group_by="cpts")]
    assert of_cpts == [(str(communities[0]), f"cpts {communities[0].hex[-4:]}"), ("", "")]


async def test_an_empty_territory_answers_zeros(world: World) -> None:
    manager = await world.manager()
    for group_by, groups in (("none", None), ("cpts", 0), ("month", 12)):
        answer = await _ask(manager, territory=world.territory, group_by=group_by)
        assert _additive(answer) == [0] * 13
        assert answer["outcomes"][0]["share"] is answer["outcomes"][0]["percent"] is None
        assert ("groups" in answer) == (groups is not None)
        assert len(answer.get("groups", ())) == (groups or 0)


async def test_a_call_entered_just_now_counts_at_once(world: World) -> None:
    regulator = await world.regulator()
    call = await opened(regulator, received_at=ago(1))
    day = date.fromisoformat(call["received_at"][:10])
    answer = await _ask(
        regulator,
        territory=world.territory,
        **{"from": str(day), "to": str(day + timedelta(days=1))},
    )
    assert answer["calls"] == 1
