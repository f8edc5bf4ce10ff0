"""Every figure from random rows: against the slow way, groups against the whole, any split."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.analytics import naive
from tests.analytics.drawn import Territory, drawn
from tests.analytics.naive import Row, added, additive, during, without_rates
from tests.support import Caller, World

# Each example has a territory of its own; a seed does not get simpler by being smaller.
few = settings(
    max_examples=6,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
Keys = Mapping[str, Callable[[Row], Sequence[str | None]]]


@dataclass
class Figure:
    """One figure: its rows, its instant, the slow way to count it, and the keys of its groups."""

    rows: str
    instant: str
    count: naive.Counter
    keys: Callable[[Territory], Keys]
    overlap: frozenset[str]


def _hour(of: Territory, instant: str) -> Callable[[Row], Sequence[str | None]]:
    zone = ZoneInfo(of.world.zone)
    return lambda row: [f"{row[instant].astimezone(zone):%H}"]


def _slot_keys(of: Territory) -> Keys:
    return {
        "cpts": lambda slot: of.communities(slot["organization_id"]),
        "organization_type": lambda slot: [slot["organization_type"]],
        "practitioner_status": lambda slot: [of.status(slot["practitioner_id"])],
        "label": lambda slot: slot["visibility"],
        "hour": _hour(of, "starts_at"),
    }


def _appointment_keys(of: Territory) -> Keys:
    where = "practitioner_organization_id"
    return {
        "cpts": lambda booking: of.communities(booking[where]),
        "organization_type": lambda booking: [of.organizations[booking[where]]["type"]],
        "practitioner_status": lambda booking: [of.status(booking["practitioner_id"])],
        "hour": _hour(of, "starts_at"),
    }


def _referral_keys(of: Territory) -> Keys:
    return {
        "cpts": lambda booking: of.communities(booking["practitioner_organization_id"]),
        "role": lambda booking: [booking["role"]],
        "organization_type": lambda booking: [booking["organization_type"]],
    }


def _callback_keys(of: Territory) -> Keys:
    return {
        "cpts": lambda call: [call["cpts_id"] and str(call["cpts_id"])],
        "priority": lambda call: [call["priority"]],
        "hour": _hour(of, "received_at"),
    }


FIGURES = {
    "slot-usage": Figure(
        "slots", "starts_at", naive.slot_usage, _slot_keys, frozenset({"cpts", "label"})
    ),
    "appointments": Figure(
        "bookings", "starts_at", naive.appointments, _appointment_keys, frozenset({"cpts"})
    ),
    "referrals": Figure(
        "bookings", "created_at", naive.referrals, _referral_keys, frozenset({"cpts"})
    ),
    "callbacks": Figure("calls", "received_at", naive.callbacks, _callback_keys, frozenset()),
}
_SCOPE = {"territory", "cpts", "synthetic", "groups", "groups_overlap", "key", "name", "from", "to"}
_SCOPE |= {"wording", "definitions"}


def _counts(answer: Row) -> Row:
    found: Row = without_rates({n: v for n, v in answer.items() if n not in _SCOPE})
    return found


class Asker:
    """Asks for one figure of one territory."""

    def __init__(self, caller: Caller, of: Territory, name: str) -> None:
        self.caller, self.of, self.name = caller, of, name

    async def __call__(self, period: tuple[date, date] | None = None, **query: Any) -> Row:
        from_, to = period or self.of.period
        scope = {} if "cpts" in query else {"territory": self.of.world.territory}
        answer = await self.caller.get(
            f"/v1/analytics/{self.name}",
            params={"from": str(from_), "to": str(to), **scope, **query},
        )
        assert answer.status_code == 200, answer.text
        body: Row = answer.json()
        assert (body["from"], body["to"]) == (str(from_), str(to))
        assert body["synthetic"] is False
        return body


def _months(period: tuple[date, date]) -> list[tuple[date, date]]:
    days = [period[0] + timedelta(days=n) for n in range((period[1] - period[0]).days)]
    cuts = [period[0], *(d for d in days[1:] if d.day == 1), period[1]]
    return list(pairwise(cuts))


@few
@given(
    seed=st.integers(0, 10**6),
    zone=st.sampled_from(["Europe/Paris", "Indian/Reunion", "America/Miquelon"]),
    cuts=st.lists(st.integers(1, 250), unique=True, max_size=2),
)
async def test_every_figure_from_random_rows(
    world: World, seed: int, zone: str, cuts: list[int]
) -> None:
    here = await World(world.database, world.http, zone=zone).begin()
    random = Random(seed)
    of = await drawn(here, random, random.randrange(20, 160))
    manager = await here.manager()
    for name, figure in FIGURES.items():
        ask = Asker(manager, of, name)
        rows = during(getattr(of, figure.rows), figure.instant, *of.period, zone)
        whole = await ask()
        assert _counts(whole) == figure.count(rows, of.now), name
        assert "groups" not in whole
        assert "groups_overlap" not in whole
        await _months_agree(ask, figure, rows, whole)
        for group_by, keys in figure.keys(of).items():
            await _groups_agree(ask, figure, rows, group_by, keys, whole)
        days = [of.period[0], *(of.period[0] + timedelta(d) for d in sorted(cuts)), of.period[1]]
        parts = [await ask(part) for part in pairwise(days)]
        assert added(parts) == additive(whole)


async def _months_agree(ask: Asker, figure: Figure, rows: list[Row], whole: Row) -> None:
    of = ask.of
    monthly = await ask(group_by="month")
    assert _counts(monthly) == _counts(whole)
    months = _months(of.period)
    assert [group["key"] for group in monthly["groups"]] == [f"{m[0]:%Y-%m}" for m in months]
    for month, group in zip(months, monthly["groups"], strict=True):
        assert (group["from"], group["to"]) == tuple(map(str, month))
        own = during(rows, figure.instant, *month, of.world.zone)
        assert _counts(group) == figure.count(own, of.now)
    assert monthly["groups_overlap"] is False
    assert added(monthly["groups"]) == additive(whole)


async def _groups_agree(
    ask: Asker,
    figure: Figure,
    rows: list[Row],
    group_by: str,
    keys: Callable[[Row], Sequence[str | None]],
    whole: Row,
) -> None:
    grouped = await ask(group_by=group_by)
    assert _counts(grouped) == _counts(whole)
    assert grouped["groups_overlap"] is (group_by in figure.overlap)
    counted = [row for row in rows if row.get("state") != "void"]
    expected = {key for row in counted for key in keys(row)}
    names = [group["key"] for group in grouped["groups"]]
    assert set(names) == expected
    assert len(names) == len(expected)
    if group_by == "priority":
        assert names == [p for p in ("P0", "P1", "P2", "P3", "NR") if p in expected]
    else:
        assert names == sorted(expected, key=lambda key: (key is None, key or ""))
    for group in grouped["groups"]:
        own = [row for row in counted if group["key"] in keys(row)]
        assert _counts(group) == figure.count(own, ask.of.now), (group_by, group["key"])
        if group_by == "cpts" and group["key"]:
            alone = await ask(cpts=group["key"], group_by="month")
            assert _counts(alone) == _counts(group)
            assert added(alone["groups"]) == additive(group)
    if group_by not in figure.overlap:
        assert added(grouped["groups"]) == additive(whole)


@few
@given(seed=st.integers(0, 10**6))
async def test_indicators_from_random_rows(world: World, seed: int) -> None:
    here = await World(world.database, world.http).begin()
    random = Random(seed)
    of = await drawn(here, random, random.randrange(20, 160))
    ask = Asker(await here.manager(), of, "cpts-indicators")

    def expected(period: tuple[date, date], cpts: str | None = "all") -> Row:
        def ours(rows: list[Row], instant: str, organization: str) -> list[Row]:
            return [
                row
                for row in during(rows, instant, *period, here.zone)
                if cpts == "all" or cpts in of.communities(row[organization])
            ]

        calls = during(of.calls, "received_at", *period, here.zone)
        if cpts != "all":
            calls = [c for c in calls if (c["cpts_id"] and str(c["cpts_id"])) == cpts]
        return {
            "doctors": naive.doctors(
                ours(of.slots, "starts_at", "organization_id"),
                ours(of.bookings, "starts_at", "practitioner_organization_id"),
                of.physicians,
            ),
            "requests": naive.requests(calls, of.bookings),
        }

    whole = await ask()
    assert _counts(whole) == expected(of.period)
    assert whole["wording"] == "ours_not_the_legal_text"
    members = {f"{part}.{name}" for part in ("doctors", "requests") for name in whole[part]}
    assert set(whole["definitions"]) == members - {"requests.rates"}

    monthly = await ask(group_by="month")
    assert monthly["groups_overlap"] is True
    for month, group in zip(_months(of.period), monthly["groups"], strict=True):
        assert _counts(group) == expected(month)
    assert added(group["requests"] for group in monthly["groups"]) == additive(whole["requests"])

    by_cpts = await ask(group_by="cpts")
    for group in by_cpts["groups"]:
        assert _counts(group) == expected(of.period, group["key"])
        if group["key"]:
            assert _counts(await ask(cpts=group["key"])) == _counts(group)
    assert added(group["requests"] for group in by_cpts["groups"]) == additive(whole["requests"])
