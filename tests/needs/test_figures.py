"""Unmet needs beside unused seats, against the same counted the slow way."""

import csv
import io
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import insert, update

from service.analytics.domain import WITH_SEATS, UnmetBy
from service.directory import reference
from service.identity import Role
from service.kernel.ids import new_id
from service.needs.domain import Reason
from service.needs.tables import unmet_needs
from service.slots import Mode
from service.slots.tables import slots
from tests.needs.support import need, recorded
from tests.support import Caller, World, problem, soon

Row = dict[str, Any]
START, END = date(2026, 3, 20), date(2026, 4, 10)  # the clocks change on the 29th
COMMUNES, MOTIVES = ("36044", "36088", "36101"), ("M03.14", "M07.00", "M01.05")
REASONS, MODES = ("too_far", "no_room", "other"), ("AMB", "HH", "VR")


def _instant(random: Random, zone: ZoneInfo) -> datetime:
    day = START - timedelta(days=2) + timedelta(days=random.randrange(26))
    # In UTC from here on: Python adds within one zone by the clock on the wall.
    midnight = datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)
    return midnight + timedelta(minutes=random.choice((0, 0, *range(0, 1440, 20))))


def _need(random: Random, world: World, zone: ZoneInfo) -> Row:
    start, seen = _instant(random, zone), random.choice((0, 0, 3))
    return {
        "id": new_id(),
        "territory": world.territory,
        "zone": world.zone,
        "commune": random.choice(COMMUNES),
        "motive": random.choice(MOTIVES),
        "mode": random.choice(MODES),
        "wanted_from": start,
        "wanted_to": start + timedelta(hours=4),
        "reason": random.choice(REASONS),
        "radius_km": 30,
        "open_slots": seen,
        "open_slots_fitting": random.randint(0, seen),
        "organization_id": new_id(),
        "organization_type": "sas",
        "role": "osnp",
    }


async def _slots(random: Random, world: World, zone: ZoneInfo) -> list[Row]:
    """Slots of the past, which nobody can publish, as rows."""
    centre = await world.organization("csnp")
    rows = []
    for commune in COMMUNES:
        location_id = await world.location(centre, commune=commune)
        for _ in range(40):
            start, capacity = _instant(random, zone), random.randint(1, 3)
            withdrawn = random.random() < 0.2
            rows.append(
                {
                    "id": new_id(),
                    "location_id": location_id,
                    "organization_id": centre,
                    "organization_type": "csnp",
                    "territory": world.territory,
                    "zone": world.zone,
                    "latitude": 46.8,
                    "longitude": 1.7,
                    "reduced_mobility": False,
                    "starts_at": start,
                    "ends_at": start + timedelta(minutes=20),
                    "modes": ["AMB"],
                    "visibility": ["SNP"],
                    "capacity": capacity,
                    "overbooking": 1,
                    "booked": 0 if withdrawn else random.randint(0, capacity + 1),
                    "walk_in": random.random() < 0.2,
                    "withdrawn_at": start if withdrawn else None,
                    "commune": commune,
                }
            )
    async with world.database.unit_of_work() as uow:
        await uow.execute(
            insert(slots), [{k: v for k, v in row.items() if k != "commune"} for row in rows]
        )
    return rows


def _keys(commune: str, instant: datetime, zone: ZoneInfo) -> Row:
    there = instant.astimezone(zone)
    day = there.date().isoformat()
    return {
        "commune": commune,
        "day": day,
        "hour": f"{there:%H}",
        "commune_day": f"{commune} {day}",
    }


def _inside(instant: datetime, zone: ZoneInfo) -> bool:
    return START <= instant.astimezone(zone).date() < END


async def _ask(
    caller: Caller, territory: str, period: tuple[date, date] = (START, END), **headers: str
) -> Any:
    params = {"territory": territory, "from": str(period[0]), "to": str(period[1])}
    answer = await caller.get("/v1/analytics/unmet-needs", params=params, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer


@pytest.mark.parametrize("zone_name", ["Europe/Paris", "America/Cayenne", "Pacific/Noumea"])
async def test_the_figures_are_what_the_rows_say(world: World, zone_name: str) -> None:
    random = Random()
    here = await World(world.database, world.http, zone=zone_name).begin()
    zone = ZoneInfo(zone_name)
    needs = [_need(random, here, zone) for _ in range(150)]
    async with here.database.unit_of_work() as uow:
        await uow.execute(insert(unmet_needs), needs)
    seats = await _slots(random, here, zone)
    manager = await here.manager()
    found = (await _ask(manager, here.territory)).json()

    told: dict[str, Counter[str]] = {}
    for row in (row for row in needs if _inside(row["wanted_from"], zone)):
        keys = {name: row[name] for name in ("motive", "mode", "reason")}
        for by, key in {**keys, **_keys(row["commune"], row["wanted_from"], zone)}.items():
            told.setdefault(by, Counter())[key] += 1
    unused: dict[str, Counter[str]] = {}
    for row in seats:
        left = row["capacity"] - row["booked"]
        gone = row["withdrawn_at"] or row["walk_in"] or left <= 0
        if not gone and _inside(row["starts_at"], zone):
            for by, key in _keys(row["commune"], row["starts_at"], zone).items():
                unused.setdefault(by, Counter())[key] += left

    assert found["needs"] == told["mode"].total()
    assert found["unused_seats"] == unused["hour"].total()
    assert found["needs_with_open_slots"] == sum(
        _inside(row["wanted_from"], zone) and row["open_slots_fitting"] > 0 for row in needs
    )
    for by in ("motive", "mode", "reason"):
        assert {line["key"]: line["needs"] for line in found[f"by_{by}"]} == told[by]
        assert {line["unused_seats"] for line in found[f"by_{by}"]} == {None}
    for by in ("commune", "day", "hour"):
        lines = {line["key"]: (line["needs"], line["unused_seats"]) for line in found[f"by_{by}"]}
        both = {*told[by], *unused[by]}
        assert lines == {key: (told[by][key], unused[by][key]) for key in both}
        assert list(lines) == sorted(lines)
    cells = {line["key"]: (line["needs"], line["unused_seats"]) for line in found["by_commune_day"]}
    assert cells == {
        key: (number, unused["commune_day"][key]) for key, number in told["commune_day"].items()
    }
    labels = {
        line["key"]: line["label"]
        for by in ("motive", "mode", "reason", "commune", "commune_day")
        for line in found[f"by_{by}"]
    }
    assert {key for key, label in labels.items() if label is None} <= {"M01.05"}  # no motive
    assert labels["36044"] == "Châteauroux"
    assert (labels["VR"], labels["too_far"]) == ("Téléconsultation", "Trop loin pour le patient")

    sheet = (await _ask(manager, here.territory, Accept="text/csv")).text
    rows = list(csv.DictReader(io.StringIO(sheet.removeprefix("\ufeff")), delimiter=";"))
    assert sheet.startswith("\ufeffby;key;label;territory;")
    assert rows[0]["needs"] == str(found["needs"])
    assert {r["key"] for r in rows if r["by"] == "hour"} == {
        f"{line['key']} h" for line in found["by_hour"]
    }
    assert {r["key"] for r in rows if r["by"] == "commune"} == {
        f'="{line["key"]}"' for line in found["by_commune"]
    }
    assert {r["key"]: int(r["needs"]) for r in rows if r["by"] == "motive"} == told["motive"]
    assert len(rows) == 1 + sum(len(found[name]) for name in found if name.startswith("by_"))


@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10**6), cut=st.integers(1, (END - START).days - 1))
async def test_every_way_to_add_it_up_comes_to_the_same(world: World, seed: int, cut: int) -> None:
    """By what it is about, by cells, and by parts of the period."""
    random = Random(seed)
    here = await World(world.database, world.http).begin()
    zone = ZoneInfo(here.zone)
    async with here.database.unit_of_work() as uow:
        await uow.execute(
            insert(unmet_needs), [_need(random, here, zone) for _ in range(random.randint(1, 60))]
        )
    await _slots(random, here, zone)
    manager, middle = await here.manager(), START + timedelta(days=cut)
    whole, *parts = [
        (await _ask(manager, here.territory, period)).json()
        for period in ((START, END), (START, middle), (middle, END))
    ]
    for name in ("needs", "needs_with_open_slots", "unused_seats"):
        assert sum(part[name] for part in parts) == whole[name]
    for by in UnmetBy:
        lines = whole[f"by_{by}"]
        assert sum(line["needs"] for line in lines) == whole["needs"], by
        if by in WITH_SEATS and by is not UnmetBy.COMMUNE_DAY:  # its lines are those with needs
            assert sum(line["unused_seats"] for line in lines) == whole["unused_seats"], by
        for name in ("needs", "unused_seats"):
            added: Counter[str] = Counter()
            for part in parts:
                added.update({li["key"]: li[name] or 0 for li in part[f"by_{by}"]})
            if name == "needs" or by is not UnmetBy.COMMUNE_DAY:
                assert +added == +Counter({li["key"]: li[name] or 0 for li in lines}), (by, name)
    for place in whole["by_commune"]:
        cells = [c for c in whole["by_commune_day"] if c["key"].startswith(f"{place['key']} ")]
        assert sum(cell["needs"] for cell in cells) == place["needs"]
        assert sum(cell["unused_seats"] for cell in cells) <= place["unused_seats"]


def test_every_reason_and_mode_has_a_label() -> None:
    assert set(reference.code_list("unmet_need_reasons")) == set(Reason)
    assert set(reference.code_list("modes")) == set(Mode)


async def test_a_seat_is_unused_once_it_is_past_only(world: World) -> None:
    doctor, manager = await world.doctor(), await world.manager()
    slot = await doctor.publish(soon(2), capacity=2)
    today = soon(0).date()
    params = {
        "territory": world.territory,
        "from": (today - timedelta(days=1)).isoformat(),
        "to": (today + timedelta(days=3)).isoformat(),
    }

    async def unused() -> int:
        answer = await manager.get("/v1/analytics/unmet-needs", params=params)
        number: int = answer.json()["unused_seats"]
        return number

    assert await unused() == 0
    async with world.database.unit_of_work() as uow:
        past = {"starts_at": soon(-2), "ends_at": soon(-1)}
        await uow.execute(update(slots).where(slots.c.id == slot["id"]).values(**past))
    assert await unused() == 2


async def test_a_journey_from_the_counter_to_the_coordinator(world: World) -> None:
    """Somebody found nothing; the coordinator reads it beside what stayed empty that day there."""
    pharmacist = await world.pharmacist()
    told = await recorded(pharmacist, need("2A004", reason="no_room"))
    manager = await world.caller(
        Role.MANAGER, await world.organization("cpts"), "cpts", territories=["2A"]
    )
    day = datetime.fromisoformat(told["from"]).date()
    params = {"territory": "2A", "from": str(day), "to": str(day + timedelta(days=1))}
    found = (await manager.get("/v1/analytics/unmet-needs", params=params)).json()
    assert found["needs"] == 1
    assert [(line["key"], line["needs"]) for line in found["by_reason"]] == [("no_room", 1)]
    assert found["by_motive"][0]["label"]
    assert found["by_commune_day"] == [
        {"key": f"2A004 {day}", "label": "Ajaccio", "needs": 1, "unused_seats": 0}
    ]
    assert "note" not in str(found)


async def test_who_may_ask_what(world: World) -> None:
    other = await World(world.database, world.http).begin()
    manager = await world.manager()
    params = {"territory": other.territory, "from": "2026-01-01", "to": "2026-02-01"}
    path = "/v1/analytics/unmet-needs"
    problem(await manager.get(path, params=params), 403, "foreign-territory")
    mine = {**params, "territory": world.territory}
    problem(await manager.get(path, params={**mine, "to": "2027-02-01"}), 422, "period-too-long")
    problem(await manager.get(path, params={**mine, "to": "2026-01-01"}), 422, "figures-invalid")
    problem(await (await world.pharmacist()).get(path, params=mine), 403, "role-lacks-operation")
    empty = (await manager.get(path, params=mine)).json()
    assert (empty["needs"], empty["unused_seats"], empty["by_day"]) == (0, 0, [])
