"""Random calls as rows, and the same figures computed the slow way."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from random import Random
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import insert

from service.calls.tables import calls
from service.kernel.ids import new_id
from tests.support import World

Row = dict[str, Any]

_OTHERWISE = ("none", "wait", "emergency_department", "emergency_department", "unknown", None)
BITS = {
    "medical_advice": 1,
    "slot_orientation": 2,
    "prescription": 4,
    "other": 56,
}


def random_rows(
    random: Random, world: World, cpts_ids: Sequence[UUID | None], size: int
) -> list[Row]:
    """Calls of about 2022, many of them near local midnights of first days of months."""
    zone = ZoneInfo(world.zone)
    return [_row(random, world, cpts_ids, zone) for _ in range(size)]


def _row(random: Random, world: World, cpts_ids: Sequence[UUID | None], zone: ZoneInfo) -> Row:
    day = date(2021, 12, 1) + timedelta(days=random.randrange(430))
    if random.random() < 0.3:
        day = day.replace(day=1)
    # In UTC from here on: Python adds and subtracts within one zone by the clock on the wall.
    received = datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC) + timedelta(
        seconds=random.choice((-1800, -1, 0, 1, 1800, random.randrange(86400)))
    )
    requested = received + timedelta(seconds=random.randrange(600))
    attempted = requested + timedelta(microseconds=random.randrange(3 * 3600 * 10**6))
    return {
        "id": new_id(),
        "territory": world.territory,
        "zone": world.zone,
        "organization_id": new_id(),
        "cpts_id": random.choice(cpts_ids),
        "line": "116117",
        "received_at": received,
        "state": "void" if random.random() < 0.1 else "closed",
        "outcome_mask": 0 if random.random() < 0.1 else random.randrange(64),
        "otherwise": random.choice(_OTHERWISE),
        "sent_to_emergency": random.random() < 0.2,
        "callback_requested_at": requested if random.random() < 0.8 else None,
        "first_attempt_at": attempted if random.random() < 0.8 else None,
    }


async def add(world: World, rows: list[Row]) -> None:
    """Insert calls."""
    async with world.database.unit_of_work() as uow:
        await uow.execute(
            insert(calls),
            [
                {**row, "outcome_mask": 0 if row["state"] == "void" else row["outcome_mask"]}
                for row in rows
            ],
        )


def expected(rows: list[Row], from_: date, to: date, zone: str) -> Row:
    """The members of the answer that do not depend on months, computed naively."""
    start, end = (datetime(d.year, d.month, d.day, tzinfo=ZoneInfo(zone)) for d in (from_, to))
    mine = [row for row in rows if row["state"] != "void" and start <= row["received_at"] < end]
    waits = sorted(
        (row["first_attempt_at"] - row["callback_requested_at"]) // timedelta(microseconds=1)
        for row in mine
        if row["first_attempt_at"] and row["callback_requested_at"]
    )
    categories = {name: _count(mine, bits) for name, bits in BITS.items()}
    crowded = [sum(1 for bits in BITS.values() if row["outcome_mask"] & bits) for row in mine]
    return {
        "from": from_.isoformat(),
        "to": to.isoformat(),
        "calls": len(mine),
        "outcomes": [_category(name, n, mine) for name, n in categories.items()],
        "outcome_mentions": sum(categories.values()),
        "calls_with_several_outcomes": sum(1 for n in crowded if n > 1),
        "calls_without_outcome": sum(1 for n in crowded if n == 0),
        "avoided_emergency_visits": {
            "calls": sum(
                1
                for row in mine
                if row["otherwise"] == "emergency_department"
                and not row["sent_to_emergency"]
                and not row["outcome_mask"] & 16
            ),
            "method": "recorded_by_regulator_at_closure",
        },
        "callback_minutes": {
            "calls": len(waits),
            "mean": rounded(Fraction(sum(waits), len(waits) * 60_000_000), 1) if waits else None,
            "median": _quantile(waits, Fraction(1, 2)),
            "p90": _quantile(waits, Fraction(9, 10)),
            "within_60_share": (
                rounded(Fraction(sum(1 for w in waits if w <= 3_600_000_000), len(waits)), 4)
                if waits
                else None
            ),
        },
    }


def _count(rows: list[Row], bits: int) -> int:
    return sum(1 for row in rows if row["outcome_mask"] & bits)


def _category(name: str, n: int, rows: list[Row]) -> Row:
    share = Fraction(n, len(rows)) if rows else None
    category: Row = {
        "category": name,
        "calls": n,
        "share": None if share is None else rounded(share, 4),
        "percent": None if share is None else int(rounded(share * 100, 0)),
    }
    if name == "other":
        category["detail"] = [
            {"outcome": outcome, "calls": _count(rows, bit)}
            for outcome, bit in (
                ("patient_unreachable", 8),
                ("redirected_to_15", 16),
                ("other", 32),
            )
        ]
    return category


def _quantile(sorted_waits: list[int], at: Fraction) -> float | None:
    """Minutes, interpolated between the two nearest to the microsecond, as `percentile_cont`."""
    if not sorted_waits:
        return None
    place = at * (len(sorted_waits) - 1)
    below = int(place)
    above = min(below + 1, len(sorted_waits) - 1)
    wait = sorted_waits[below] + (sorted_waits[above] - sorted_waits[below]) * (place - below)
    return rounded(Fraction(round(wait), 60_000_000), 1)


def rounded(value: Fraction, decimals: int) -> float:
    """Half up, for what is not negative."""
    scaled = value * 10**decimals
    return float(Fraction(int(scaled + Fraction(1, 2)), 10**decimals))
