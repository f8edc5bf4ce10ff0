"""The Indre data set: its rows give the published figures, and behave like a real year."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Iterable
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from statistics import mean, median, quantiles
from typing import Any
from uuid import UUID

import asyncpg
import pytest
import pytest_asyncio
from stdnum import luhn

from service import demo
from service.demo.draw import Row, apportion
from service.demo.indre_places import CPTS, populations
from service.demo.indre_shares import MOTIVES, Outcome
from service.demo.indre_time import ZONE, closed, easter, public_holidays, school_holiday
from service.directory.reference import code_list, commune, distance_km
from service.kernel.crypto import Keys, Vault
from service.kernel.db import Database
from service.kernel.settings import Settings
from service.schema import metadata
from tests.conftest import DatabaseUrls

pytestmark = pytest.mark.xdist_group("indre")

CATEGORY = {
    "medical_advice": "medical_advice",
    "slot_orientation": "slot_orientation",
    "prescription": "prescription",
    "patient_unreachable": "other",
    "redirected_to_15": "other",
    "other": "other",
}
REDIRECTED = 16
VITAL = ("M01.", "M02.02", "M03.01", "M03.06", "M03.08", "M03.12", "M03.19")
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


@pytest.fixture(scope="module")
def data() -> demo.Dataset:
    return demo.dataset()


@pytest.fixture(scope="module")
def tables(data: demo.Dataset) -> dict[str, list[Row]]:
    return dict(data.tables)


@pytest.fixture(scope="module")
def calls(tables: dict[str, list[Row]]) -> list[Row]:
    return tables["calls"]


@pytest.fixture(scope="module")
def slots(tables: dict[str, list[Row]]) -> dict[UUID, Row]:
    return {row["id"]: row for row in tables["slots"]}


@pytest.fixture(scope="module")
def bookings(tables: dict[str, list[Row]]) -> list[Row]:
    return tables["bookings"]


@pytest.fixture(scope="module")
def outcomes(tables: dict[str, list[Row]]) -> dict[UUID, list[Row]]:
    found: dict[UUID, list[Row]] = defaultdict(list)
    for row in tables["call_outcomes"]:
        found[row["call_id"]].append(row)
    return found


def here(instant: datetime) -> datetime:
    return instant.astimezone(ZONE)


def share(rows: Iterable[bool]) -> float:
    return mean(map(float, rows))


def avoided(call: Row) -> bool:
    return (
        call["otherwise"] == "emergency_department"
        and not call["outcome_mask"] & REDIRECTED
        and not call["sent_to_emergency"]
    )


# --- the published figures ----------------------------------------------------------------------


def test_calls_of_the_year(calls: list[Row]) -> None:
    assert len(calls) == 17_232
    assert {here(call["received_at"]).year for call in calls} == {2022}
    assert {call["state"] for call in calls} == {"closed"}
    assert {call["territory"] for call in calls} == {"36"}
    assert {call["zone"] for call in calls} == {"Europe/Paris"}


def test_outcomes(calls: list[Row], outcomes: dict[UUID, list[Row]]) -> None:
    kinds = {id_: {CATEGORY[row["outcome"]] for row in rows} for id_, rows in outcomes.items()}
    assert set(kinds) == {call["id"] for call in calls}
    mentions = Counter(kind for found in kinds.values() for kind in found)
    assert mentions == {
        "medical_advice": 7_297,
        "slot_orientation": 6_438,
        "prescription": 2_353,
        "other": 1_444,
    }
    assert mentions.total() == 17_532
    several = [found for found in kinds.values() if len(found) > 1]
    assert several == [{"medical_advice", "prescription"}] * 300
    details = Counter(row["outcome"] for rows in outcomes.values() for row in rows)
    assert all(details[name] > 100 for name in ("patient_unreachable", "redirected_to_15", "other"))


def test_outcome_masks(calls: list[Row], outcomes: dict[UUID, list[Row]]) -> None:
    bits = {outcome.value: outcome.bit for outcome in Outcome}
    assert bits == {
        "medical_advice": 1,
        "slot_orientation": 2,
        "prescription": 4,
        "patient_unreachable": 8,
        "redirected_to_15": 16,
        "other": 32,
    }
    for call in calls:
        assert call["outcome_mask"] == sum(bits[row["outcome"]] for row in outcomes[call["id"]])


def test_prescriptions_name_a_pharmacy(tables: dict[str, list[Row]]) -> None:
    pharmacies = {o["id"] for o in tables["organizations"] if o["type"] == "pharmacy"}
    chosen = Counter(
        row["pharmacy_id"] for row in tables["call_outcomes"] if row["outcome"] == "prescription"
    )
    assert set(chosen) == pharmacies
    assert len(pharmacies) == 12
    others = [row for row in tables["call_outcomes"] if row["outcome"] != "prescription"]
    assert {row["pharmacy_id"] for row in others} == {None}


def test_avoided_visits(calls: list[Row]) -> None:
    assert sum(map(avoided, calls)) == 2_615
    others = [
        call for call in calls if call["otherwise"] == "emergency_department" and not avoided(call)
    ]
    assert any(call["outcome_mask"] & REDIRECTED for call in others)
    assert any(call["sent_to_emergency"] for call in others)


def test_communities(tables: dict[str, list[Row]], calls: list[Row]) -> None:
    names = {o["id"]: o["name"] for o in tables["organizations"] if o["type"] == "cpts"}
    assert sorted(names.values()) == sorted(f"CPTS {name}" for name in CPTS)
    files = {row["id"]: row for row in tables["patient_files"]}
    people = populations()
    for call in calls:
        where = files[call["patient_file_id"]]["commune"]
        assert where in CPTS[names[call["cpts_id"]].removeprefix("CPTS ")]
    counts = Counter(names[call["cpts_id"]].removeprefix("CPTS ") for call in calls)
    for name, population in people.items():
        assert counts[name] / len(calls) == pytest.approx(
            population / sum(people.values()), abs=0.015
        )
    codes = [code for covered in CPTS.values() for code in covered]
    assert len(codes) == len(set(codes))
    for code in codes:
        found = commune(code)
        assert found is not None
        assert found.department == "36"


# --- time ---------------------------------------------------------------------------------------


def test_calendar() -> None:
    assert [easter(year) for year in (2000, 2022, 2023, 2024, 2038)] == [
        date(2000, 4, 23),
        date(2022, 4, 17),
        date(2023, 4, 9),
        date(2024, 3, 31),
        date(2038, 4, 25),
    ]
    assert len(public_holidays()) == 11
    assert {date(2022, 4, 18), date(2022, 5, 26), date(2022, 6, 6)} < public_holidays()


def test_edges_of_the_year(calls: list[Row]) -> None:
    instants = [call["received_at"] for call in calls]
    assert min(instants) == datetime(2021, 12, 31, 23, tzinfo=UTC)
    assert max(instants) == datetime(2022, 12, 31, 22, 59, 59, tzinfo=UTC)
    # In UTC these fall into the year before.
    assert sum(at.year == 2021 for at in instants) >= 2
    assert sum(here(at) >= datetime(2022, 12, 31, 22, tzinfo=ZONE) for at in instants) >= 2


def test_nights_when_the_clock_changes(calls: list[Row]) -> None:
    nights: dict[date, list[datetime]] = defaultdict(list)
    for call in calls:
        nights[here(call["received_at"]).date()].append(here(call["received_at"]))
    spring, autumn = nights[date(2022, 3, 27)], nights[date(2022, 10, 30)]
    assert 2 not in {at.hour for at in spring}
    assert {1, 3} <= {at.hour for at in spring}
    assert {at.fold for at in autumn if at.hour == 2} == {0, 1}


def test_rhythms(calls: list[Row]) -> None:
    days = Counter(here(call["received_at"]).date() for call in calls)
    assert len(days) == 365
    ordinary = {day: n for day, n in days.items() if day not in public_holidays()}
    weekday = {w: mean(n for day, n in ordinary.items() if day.weekday() == w) for w in range(7)}
    assert weekday[0] > 1.15 * mean(weekday[w] for w in (1, 2, 3, 4))
    assert min(weekday[5], weekday[6]) > 1.15 * mean(weekday[w] for w in (1, 2, 3, 4))
    midweek = [days[day] for day in public_holidays() if day.weekday() < 5]
    assert mean(midweek) > 1.2 * mean(weekday[w] for w in (1, 2, 3, 4))
    months = Counter(day.month for day in days.elements())
    winter, summer = sum(months[m] for m in (1, 2, 12)), sum(months[m] for m in (6, 7, 8))
    assert winter > 1.2 * summer
    hours = Counter(
        here(call["received_at"]).hour
        for call in calls
        if not closed(here(call["received_at"]).date())
    )
    assert hours[20] > hours[19]  # practices have closed
    assert hours[9] > hours[13] > hours[3]


# --- appointments -------------------------------------------------------------------------------


def test_each_oriented_call_has_one_booking(
    calls: list[Row], bookings: list[Row], outcomes: dict[UUID, list[Row]]
) -> None:
    by_call = {row["call_id"]: row for row in bookings}
    assert len(by_call) == len(bookings) == 6_438
    assert {c["id"] for c in calls if c["outcome_mask"] & 2} == set(by_call)
    received = {call["id"]: call for call in calls}
    for call_id, booking in by_call.items():
        call = received[call_id]
        assert [row["booking_id"] for row in outcomes[call_id]] == [booking["id"]]
        assert booking["case_id"] == call["case_id"]
        assert booking["motive"] == call["motive"]
        assert booking["patient_file_id"] == call["patient_file_id"]
        assert call["received_at"] < booking["created_at"] < call["closed_at"]
        assert booking["sent_to_emergency"] == call["sent_to_emergency"]


def test_appointments_soon_after_the_call(bookings: list[Row]) -> None:
    waits = [(row["starts_at"] - row["created_at"]) / HOUR for row in bookings]
    assert min(waits) > 0
    assert max(waits) <= 48
    assert median(waits) < 8


def test_booking_states(bookings: list[Row]) -> None:
    states = Counter(row["state"] for row in bookings)
    assert set(states) == {"fulfilled", "noshow", "cancelled"}
    assert states["noshow"] / (states["noshow"] + states["fulfilled"]) == pytest.approx(
        0.07, abs=1e-3
    )
    assert states["cancelled"] / len(bookings) == pytest.approx(0.04, abs=1e-3)
    for row in bookings:
        assert row["created_at"] < row["starts_at"]
        if row["state"] == "cancelled":
            assert row["cancelled_by"] == "patient"
            assert row["created_at"] < row["cancelled_at"] < row["starts_at"]
            assert row["reported_at"] is None
        else:
            assert row["cancelled_by"] is None
            assert row["reported_at"] > row["ends_at"]
        if row["sent_to_emergency"]:
            assert row["state"] == "fulfilled"


def test_slots_are_consistent(bookings: list[Row], slots: dict[UUID, Row]) -> None:
    taken = Counter(row["slot_id"] for row in bookings if row["state"] != "cancelled")
    for id_, slot in slots.items():
        assert slot["booked"] == taken[id_] <= slot["capacity"]
        assert here(slot["starts_at"]).year == 2022
        assert slot["created_at"] < slot["starts_at"] < slot["ends_at"]
        assert slot["withdrawn_at"] is None or (
            slot["booked"] == 0 and slot["created_at"] < slot["withdrawn_at"] < slot["starts_at"]
        )
    for row in bookings:
        slot = slots[row["slot_id"]]
        assert (row["starts_at"], row["ends_at"]) == (slot["starts_at"], slot["ends_at"])
        assert row["practitioner_id"] == slot["practitioner_id"]
        assert row["practitioner_organization_id"] == slot["organization_id"]
        assert slot["created_at"] < row["created_at"]


def test_no_seat_was_ever_sold_twice(bookings: list[Row], slots: dict[UUID, Row]) -> None:
    moves: dict[UUID, list[tuple[datetime, int]]] = defaultdict(list)
    for row in bookings:
        moves[row["slot_id"]].append((row["created_at"], 1))
        if row["cancelled_at"]:
            moves[row["slot_id"]].append((row["cancelled_at"], -1))
    for id_, found in moves.items():
        seats = 0
        for _, step in sorted(found):
            seats += step
            assert 0 <= seats <= slots[id_]["capacity"]


def test_no_doctor_is_in_two_places(tables: dict[str, list[Row]]) -> None:
    agendas: dict[UUID, list[tuple[datetime, datetime]]] = defaultdict(list)
    for slot in tables["slots"]:
        if slot["practitioner_id"] and not slot["withdrawn_at"]:
            agendas[slot["practitioner_id"]].append((slot["starts_at"], slot["ends_at"]))
    assert len(agendas) == 60
    for agenda in agendas.values():
        for (_, end), (start, _) in pairwise(sorted(agenda)):
            assert end <= start
    works = {(k["practitioner_id"], k["location_id"]) for k in tables["practitioner_locations"]}
    unnamed = [slot for slot in tables["slots"] if slot["practitioner_id"] is None]
    assert unnamed
    assert {slot["organization_type"] for slot in unnamed} == {"csnp"}
    assert {
        (slot["practitioner_id"], slot["location_id"])
        for slot in tables["slots"]
        if slot["practitioner_id"]
    } <= works


def test_fill_rates(slots: dict[UUID, Row]) -> None:
    def fill(wanted: Callable[[date], bool]) -> float:
        found = [
            slot
            for slot in slots.values()
            if not slot["withdrawn_at"] and wanted(here(slot["starts_at"]).date())
        ]
        return float(sum(s["booked"] for s in found) / sum(s["capacity"] for s in found))

    assert 0.45 <= fill(lambda _: True) <= 0.60
    assert fill(closed) > fill(lambda day: not closed(day)) + 0.1
    assert fill(school_holiday) > fill(lambda day: not school_holiday(day)) + 0.03
    assert fill(lambda day: day.weekday() == 0) > fill(lambda day: day.weekday() in {1, 4}) + 0.03


# --- calls in detail ----------------------------------------------------------------------------


def test_files_without_identity(tables: dict[str, list[Row]], calls: list[Row]) -> None:
    files = tables["patient_files"]
    assert len(files) == len(calls)
    assert {call["patient_file_id"] for call in calls} == {row["id"] for row in files}
    identity = {"family_name", "given_name", "birth_date", "phone", "email", "ins", "patient_key"}
    indexes = {"name_birth_index", "phone_index", "ins_index"}
    assert not (identity | indexes) & set(files[0])
    assert "patient_key" not in tables["bookings"][0]
    assert share(row["sex"] == "F" for row in files) == pytest.approx(0.56, abs=0.02)
    months = [row["age"] for row in files if row["age"].endswith("M")]
    assert months
    assert all(1 <= int(age[1:-1]) < 24 for age in months)


def test_call_backs(tables: dict[str, list[Row]], calls: list[Row]) -> None:
    attempts: dict[UUID, list[tuple[datetime, bool]]] = defaultdict(list)
    for row in tables["call_callbacks"]:
        attempts[row["call_id"]].append((row["at"], row["reached"]))
    asked = [call for call in calls if call["callback_requested_at"]]
    assert 0.85 < len(asked) / len(calls) < 0.95
    assert set(attempts) == {call["id"] for call in asked}
    delays = []
    for call in asked:
        tried = attempts[call["id"]]
        reached = [at for at, answered in tried if answered]
        assert tried == sorted(tried)
        assert call["received_at"] < call["callback_requested_at"] < tried[0][0]
        assert call["first_attempt_at"] == tried[0][0]
        assert call["called_back_at"] == (reached[0] if reached else None)
        assert tried[-1][0] < call["closed_at"]
        lost = bool(call["outcome_mask"] & Outcome.PATIENT_UNREACHABLE.bit)
        assert lost == (not reached)
        assert len(tried) >= (2 if lost else 1)
        delays.append((call["first_attempt_at"] - call["callback_requested_at"]) / MINUTE)
    assert 35 <= mean(delays) <= 45
    assert quantiles(delays, n=10)[8] > 60
    assert any(len(tried) > 1 and tried[-1][1] for tried in attempts.values())


def test_vital_calls_go_back_to_the_15(calls: list[Row]) -> None:
    for call in calls:
        vital = (
            call["priority"] == "P0"
            or call["care_level"] == "R1"
            or call["motive"].startswith(VITAL)
        )
        assert vital == bool(call["outcome_mask"] & REDIRECTED)
    priorities = Counter(call["priority"] for call in calls)
    assert set(priorities) == {"P0", "P1", "P2", "P3", "NR"}
    assert priorities["P2"] > 0.6 * len(calls)


def test_operators_alone_work_under_a_protocol(calls: list[Row]) -> None:
    for call in calls:
        alone = call["priority"] == "NR"
        assert alone == (call["protocol"] is not None)
        assert (call["regulated_by"] is None) == (alone or call["priority"] == "P0")
        assert not (alone and call["callback_requested_at"])


def test_codes_are_national(calls: list[Row]) -> None:
    for column, name in (
        ("motive", "motives"),
        ("priority", "priorities"),
        ("care_level", "care_levels"),
        ("caller_type", "caller_types"),
        ("line", "lines"),
    ):
        assert {call[column] for call in calls} - {None} <= set(code_list(name))
    lines = Counter(call["line"] for call in calls)
    assert set(lines) == {"116117", "15"}
    assert lines["116117"] > 5 * lines["15"]
    ordinary = [call["motive"] for call in calls if not call["outcome_mask"] & REDIRECTED]
    found = Counter(ordinary)
    for code, wanted in MOTIVES.items():
        assert found[code] / len(ordinary) == pytest.approx(wanted / 100, abs=0.012)


# --- people -------------------------------------------------------------------------------------


def test_no_practitioner_is_a_living_doctor(tables: dict[str, list[Row]]) -> None:
    doctors = tables["practitioners"]
    assert len(doctors) == 60
    assert len({row["rpps"] for row in doctors}) == 60
    for row in doctors:
        assert len(row["rpps"]) == 11
        assert not luhn.is_valid(row["rpps"])
    specialties = Counter(row["specialty"] for row in doctors)
    assert specialties["SM54"] > 40
    assert set(specialties) == {"SM54", "SM53", "SM26"}


def test_directory(tables: dict[str, list[Row]]) -> None:
    organizations = {row["id"]: row for row in tables["organizations"]}
    types = Counter(row["type"] for row in organizations.values())
    assert types["practice"] + types["msp"] + types["cds"] == 35
    assert {t: types[t] for t in ("cpts", "sas", "csnp", "pharmacy", "emergency_department")} == {
        "cpts": 6,
        "sas": 1,
        "csnp": 1,
        "pharmacy": 12,
        "emergency_department": 2,
    }
    assert {(row["finess"], row["siret"]) for row in organizations.values()} == {(None, None)}
    links = Counter(row["practitioner_id"] for row in tables["practitioner_locations"])
    assert set(links.values()) == {1, 2}
    for row in tables["locations"]:
        town = commune(row["commune"])
        assert town is not None
        assert row["postal_code"] in town.postal_codes
        away = distance_km(row["latitude"], row["longitude"], town.latitude, town.longitude)
        assert away < 1


# --- rows ---------------------------------------------------------------------------------------

BORN = {
    "organizations": "created_at",
    "practitioners": "created_at",
    "slots": "created_at",
    "patient_files": "created_at",
    "calls": "received_at",
    "call_callbacks": "at",
    "call_outcomes": "created_at",
    "bookings": "created_at",
    "events": "occurred_at",
}


def test_ids_follow_time(tables: dict[str, list[Row]]) -> None:
    seen: set[UUID] = set()
    for table, column in BORN.items():
        rows = tables[table]
        for row in rows:
            assert row["id"].version == 7
            assert row["id"].int >> 80 == round(row[column].timestamp() * 1000)
        by_time = sorted(rows, key=lambda row: (row[column], row["id"]))
        assert by_time == sorted(rows, key=lambda row: row["id"])
        ids = {row["id"] for row in rows}
        assert len(ids) == len(rows)
        assert not ids & seen
        seen |= ids


def test_rows_fit_their_tables(tables: dict[str, list[Row]]) -> None:
    order = [table.name for table in metadata.sorted_tables]
    referred = {
        (name, key.column.table.name)
        for name in tables
        for key in metadata.tables[name].foreign_keys
    }
    for name, other in referred:
        assert list(tables).index(other) < list(tables).index(name)
    for name, rows in tables.items():
        assert name in order
        columns = metadata.tables[name].c
        required = {c.name for c in columns if not c.nullable and c.server_default is None}
        assert len({tuple(row) for row in rows}) == 1
        assert required <= set(rows[0]) <= set(columns.keys())


def test_every_change_is_told(tables: dict[str, list[Row]]) -> None:
    events = tables["events"]
    told: dict[str, list[Any]] = defaultdict(list)
    for event in events:
        told[event["type"]].append(event["subject_id"])
    calls = sorted(row["id"] for row in tables["calls"])
    assert sorted(told["call.opened"]) == sorted(told["call.closed"]) == calls
    assert sorted(told["slot.published"]) == sorted(row["id"] for row in tables["slots"])
    assert len(told["call.called_back"]) == len(tables["call_callbacks"])
    assert len(told["call.outcome_added"]) == len(tables["call_outcomes"])
    bookings = tables["bookings"]
    assert sorted(told["booking.created"]) == sorted(row["id"] for row in bookings)
    for type_, column in (("cancelled", "cancelled_at"), ("reported", "reported_at")):
        changed = sorted(row["id"] for row in bookings if row[column])
        assert sorted(told[f"booking.{type_}"]) == changed
    assert [event["position"] for event in events] == list(range(1, len(events) + 1))
    assert all(a["occurred_at"] <= b["occurred_at"] for a, b in pairwise(events))
    assert len(events) < 120_000
    assert max(event["occurred_at"] for event in events) < datetime(2023, 1, 10, tzinfo=UTC)


def test_same_at_every_run(data: demo.Dataset) -> None:
    assert demo.dataset() == data


def test_apportion_is_exact() -> None:
    assert apportion(60, [77, 24, 16]) == [40, 12, 8]
    assert apportion(2, [1, 1, 1]) == [1, 1, 0]


# --- loading ------------------------------------------------------------------------------------


@pytest_asyncio.fixture
async def database(database_urls: DatabaseUrls) -> AsyncIterator[Database]:
    found = Database(database_urls.app, Settings.model_validate({}), Vault(Keys.generate()))
    yield found
    await found.dispose()


async def fetch(urls: DatabaseUrls, query: str) -> Any:
    connection = await asyncpg.connect(urls.owner)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


def _count(table: str) -> str:
    return f"SELECT count(*) FROM {table}"


class Killed(Exception):
    """Stands for whatever ends a load halfway."""


async def _vacuum(urls: DatabaseUrls) -> None:
    """Vacuum until pages are known as visible: the snapshot of an autoanalyze may be in the way."""
    seen = "SELECT relallvisible > relpages * 0.9 FROM pg_class WHERE relname = 'calls'"
    for _ in range(60):
        await demo.vacuum(urls.owner)
        if await fetch(urls, seen):
            return
        await asyncio.sleep(0.5)


async def test_loading(database: Database, database_urls: DatabaseUrls, data: demo.Dataset) -> None:
    def kill(done: int, total: int) -> None:
        if done > total / 2:
            raise Killed

    with pytest.raises(Killed):
        async with database.unit_of_work() as uow:
            await demo.load(uow, data, kill)
    own = [table for table in data.tables if table != "territories"]  # shipped by the migration
    for table in own:
        assert await fetch(database_urls, _count(table)) == 0
    assert await fetch(database_urls, "SELECT synthetic FROM installation") is False

    seen: list[tuple[int, int]] = []
    async with database.unit_of_work() as uow:
        assert await demo.load(uow, data, lambda *step: seen.append(step))
    assert seen == sorted(seen)
    assert seen[-1] == (data.total, data.total)
    for table in own:
        assert await fetch(database_urls, _count(table)) == len(data.tables[table])
    assert await fetch(database_urls, "SELECT name FROM territories WHERE id = '36'") == "Indre"
    assert await fetch(database_urls, "SELECT synthetic FROM installation") is True

    async with database.unit_of_work() as uow:
        assert not await demo.load(uow, data)

    await _vacuum(database_urls)
    figures = """SELECT count(*) FILTER (WHERE otherwise = 'emergency_department'
                        AND outcome_mask & 16 = 0 AND NOT sent_to_emergency)
                 FROM calls WHERE territory = '36' AND state <> 'void'
                  AND received_at >= timestamp '2022-01-01' AT TIME ZONE 'Europe/Paris'
                  AND received_at < timestamp '2023-01-01' AT TIME ZONE 'Europe/Paris'"""
    assert await fetch(database_urls, figures) == 2_615
    connection = await asyncpg.connect(database_urls.owner)
    try:
        # Asked not to read the table, PostgreSQL can: everything is in the index.
        await connection.execute("SET enable_seqscan = off; SET enable_bitmapscan = off")
        plan = await connection.fetch(f"EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) {figures}")
    finally:
        await connection.close()
    text = "\n".join(row[0] for row in plan)
    assert "Index Only Scan using ix_calls_figures" in text
    assert "Heap Fetches: 0" in text, text


async def test_never_beside_other_rows(
    database: Database, database_urls: DatabaseUrls, data: demo.Dataset
) -> None:
    await fetch(
        database_urls,
        "INSERT INTO clients (id, name, secret_digest) VALUES (gen_random_uuid(), 'other', 'x')",
    )
    with pytest.raises(demo.DatabaseNotEmpty):
        async with database.unit_of_work() as uow:
            await demo.load(uow, data)
    assert await fetch(database_urls, "SELECT synthetic FROM installation") is False
