"""The live part of the demo: clients of every role, and room to book whenever it is started."""

from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest
import pytest_asyncio

from service import demo
from service.demo import clients, live, past
from service.demo.files import Credential
from service.demo.indre_people import directory
from service.demo.indre_time import ZONE, local
from service.identity import Actor, NewSecret, Role
from service.kernel.db import Database
from service.kernel.settings import Settings
from service.main import create_app
from tests.conftest import DatabaseUrls
from tests.support import Caller, patient

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
SOON = 1.6  # hours: even in the night when an hour is lived twice
Slot = dict[str, Any]


@dataclass
class Demo:
    """A demo that was started once: its database, its credentials, and a way in."""

    database: Database
    urls: DatabaseUrls
    http: httpx.AsyncClient
    credentials: list[Credential]

    async def start(self, now: datetime | None = None) -> int:
        """Do what each start does; tell how many slots that published."""
        await live.ensure_organizations(self.database)
        wanted = live.wanted_clients()
        self.credentials = await clients.ensure(self.database, wanted, self.credentials)
        return await live.publish_slots(self.database, now or await self.now())

    async def now(self) -> datetime:
        async with self.database.unit_of_work() as uow:
            return await uow.now()

    async def caller(self, role: Role, territory: str = "36", number: int = 0) -> Caller:
        found = [c for c in self.credentials if (c.role, c.territory) == (role, territory)]
        return await sign_in(self.http, found[number])

    async def fetch(self, query: str, *values: Any) -> list[dict[str, Any]]:
        connection = await asyncpg.connect(self.urls.owner)
        try:
            return [dict(row) for row in await connection.fetch(query, *values)]
        finally:
            await connection.close()


async def sign_in(http: httpx.AsyncClient, known: Credential) -> Caller:
    secret = NewSecret(UUID(known.client_id), known.client_secret)
    caller = Caller(http, secret, Role(known.role), UUID(known.organization_id), known.territory)
    caller.practitioner_id = UUID(known.practitioner_id) if known.practitioner_id else None
    return await caller.sign_in()


async def found_by(caller: Caller, **asked: Any) -> list[Slot]:
    """Everything that a search finds, over all its pages."""
    slots: list[Slot] = []
    cursor: str | None = ""
    while cursor is not None:
        params = {"limit": 200, **asked, **({"cursor": cursor} if cursor else {})}
        answer = await caller.get("/v1/slots", params=params)
        assert answer.status_code == 200, answer.text
        slots += answer.json()["items"]
        cursor = answer.json()["next_cursor"]
    return slots


def near_chateauroux(start: datetime, hours: float = 12) -> dict[str, str]:
    end = start + hours * HOUR
    return {"commune": "36044", "from": start.isoformat(), "to": end.isoformat()}


def bookable(slots: Sequence[Slot]) -> list[Slot]:
    return [s for s in slots if s["state"] == "open" and s["remaining"] and not s["walk_in"]]


@pytest_asyncio.fixture
async def empty(
    database_urls: DatabaseUrls, make_settings: Callable[..., Settings]
) -> AsyncIterator[Demo]:
    """The people of the Indre, nothing live yet."""
    app = create_app(make_settings(database_urls.app))
    database: Database = app.state.database
    tables = people_by_table()
    async with database.unit_of_work() as uow:
        await demo.load(uow, demo.Dataset("indre-2022", tables))
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        yield Demo(database, database_urls, http, [])
    await database.dispose()


def people_by_table() -> dict[str, list[dict[str, Any]]]:
    found = directory()
    names = ("territories", "organizations", "practitioners", "locations", "practitioner_locations")
    return {name: getattr(found, name) for name in names}


@pytest_asyncio.fixture
async def started(empty: Demo) -> Demo:
    """A demo after its first start."""
    assert await empty.start() > 100
    return empty


# --- clients ------------------------------------------------------------------------------------


def test_every_role_is_wanted() -> None:
    wanted = live.wanted_clients()
    assert (wanted[0].role, wanted[0].territory) == (Role.REGULATOR, "36")
    assert (wanted[-1].role, wanted[-1].territory) == (Role.REGULATOR, "86")
    assert {w.territory for w in wanted[:-1]} == {"36"}
    assert {w.role for w in wanted[:-1]} == set(Role)
    assert len({w.key for w in wanted}) == len(wanted)
    assert wanted == live.wanted_clients()
    doctors = [w.practitioner_id for w in wanted if w.role is Role.DOCTOR]
    assert len(set(doctors)) == 3
    everybody = {row["id"] for row in directory().practitioners}
    for w in wanted:
        assert set(w.practitioner_ids) <= everybody
        assert (w.practitioner_id in w.practitioner_ids) == bool(w.practitioner_ids)


async def test_every_client_works(started: Demo) -> None:
    wanted = live.wanted_clients()
    assert [(c.name, c.role) for c in started.credentials] == [(w.name, w.role) for w in wanted]
    for credential, w in zip(started.credentials, wanted, strict=True):
        caller = await sign_in(started.http, credential)
        answer = await caller.get("/v1/me")
        assert answer.status_code == 200, answer.text
        me = answer.json()
        assert (me["client"], me["role"]) == (w.name, w.role)
        assert me["organization"] == {"id": str(w.organization_id), "type": w.organization_type}
        assert me["territories"] == [w.territory]
        assert me["practitioner_ids"] == [str(i) for i in w.practitioner_ids]
        assert me["cpts_ids"] == [str(i) for i in w.cpts_ids]
        if w.role is Role.DOCTOR:
            assert me["practitioner_id"] == credential.practitioner_id
    manager = next(w for w in wanted if w.role is Role.MANAGER)
    assert list(manager.cpts_ids) == [manager.organization_id]


async def test_organizations_are_added_once(started: Demo) -> None:
    query = "SELECT id, territory, type, name FROM organizations ORDER BY id"
    before = await started.fetch(query)
    await live.ensure_organizations(started.database)
    assert await started.fetch(query) == before
    known = {row["id"] for row in before}
    assert {w.organization_id for w in live.wanted_clients()} <= known
    assert [row["type"] for row in before if row["territory"] == "86"] == ["sas"]
    told = "SELECT subject_id FROM events WHERE type = 'organization.created'"
    assert {row["subject_id"] for row in await started.fetch(told)} == known - {
        row["id"] for row in directory().organizations
    }


# --- room ---------------------------------------------------------------------------------------


async def test_what_is_offered(started: Demo) -> None:
    now = await started.now()
    rows = await started.fetch("SELECT * FROM slots")
    cpts = {row["id"]: row["cpts_ids"] for row in directory().organizations}
    assert len({row["practitioner_id"] for row in rows} - {None}) == 8
    assert len({row["location_id"] for row in rows}) == 5
    assert len({id_ for row in rows for id_ in cpts[row["organization_id"]]}) == 3
    assert {tuple(sorted(row["visibility"])) for row in rows} == {
        ("SNP",), ("PRO", "SNP"), ("PRO",), ("PRO", "PUBLIC", "SNP"), ("CPTS",),
    }  # fmt: skip
    assert {mode for row in rows for mode in row["modes"]} == {"AMB", "HH", "VR"}
    unnamed = [row for row in rows if row["practitioner_id"] is None]
    assert {(row["organization_type"], row["capacity"]) for row in unnamed} == {("csnp", 3)}
    community = [row for row in rows if "CPTS" in row["visibility"]]
    assert all(row["cpts_ids"] == cpts[row["organization_id"]] for row in community)
    assert {tuple(row["organization_types"]) for row in community} == {(), ("pharmacy",)}
    assert {row["overbooking"] for row in rows} == {0, 1}
    assert any(row["walk_in"] for row in rows)
    steps = {
        (name, row["starts_at"] - row[name])
        for row in rows
        for name in ("public_from", "given_back_from")
        if row[name]
    }
    assert steps == {("public_from", HOUR), ("given_back_from", HOUR / 2)}
    lengths = Counter(row["ends_at"] - row["starts_at"] for row in rows if not row["walk_in"])
    assert set(lengths) == {timedelta(minutes=20)}
    days = Counter(row["starts_at"].astimezone(ZONE).date() for row in rows)
    today = now.astimezone(ZONE).date()
    assert set(days) <= {today + n * DAY for n in range(4)}
    assert min(days[today + n * DAY] for n in (1, 2, 3)) > 100
    assert min(row["starts_at"] for row in rows) > now
    assert all(row["external_id"].startswith("demo-") for row in rows)


async def test_published_by_the_doctors_side(started: Demo) -> None:
    events = await started.fetch(
        """SELECT slots.practitioner_id, slots.organization_id, slots.client_id,
                  events.client_id AS by, grants.practitioner_ids, grants.role
           FROM slots LEFT JOIN events ON events.subject_id = slots.id
                  AND events.type = 'slot.published'
                LEFT JOIN grants ON grants.id = events.grant_id AND grants.role = events.role"""
    )
    assert events
    for event in events:
        assert event["by"] == event["client_id"]
        assert event["role"] in {"doctor", "delegate"}
        assert event["practitioner_id"] in {None, *event["practitioner_ids"]}
    doctor = await started.caller(Role.DOCTOR)
    agenda = await doctor.get(f"/v1/practitioners/{doctor.practitioner_id}/slots")
    assert agenda.status_code == 200
    assert agenda.json()["items"]
    for slot in agenda.json()["items"]:
        assert slot["visibility_warnings"] == []


async def test_room_whenever_it_starts(started: Demo) -> None:
    """At each hour of the coming days the regulator finds ten slots within twelve hours."""
    regulator = await started.caller(Role.REGULATOR)
    now = await started.now()
    here = await found_by(regulator, **near_chateauroux(now))
    assert len(bookable(here)) >= 10
    assert bookable(await found_by(regulator, **near_chateauroux(now, SOON)))
    everything = bookable(await found_by(regulator, **near_chateauroux(now, 84)))
    starts = [datetime.fromisoformat(slot["starts_at"]) for slot in everything]
    for hours in range(60):
        start = now + hours * HOUR
        assert sum(start <= at < start + 12 * HOUR for at in starts) >= 10
        assert any(start <= at < start + SOON * HOUR for at in starts)


@pytest.mark.parametrize("hour", [0, 3, 9, 18, 22, 23])
async def test_room_at_every_start(empty: Demo, hour: int) -> None:
    """The same when the first start is at that hour (of tomorrow: nobody publishes the past)."""
    tomorrow = (await empty.now()).astimezone(ZONE).date() + DAY
    now = local(tomorrow, hour, 59 if hour == 23 else 0)
    await empty.start(now)
    regulator = await empty.caller(Role.REGULATOR)
    found = bookable(await found_by(regulator, **near_chateauroux(now)))
    assert len(found) >= 10
    assert min(datetime.fromisoformat(s["starts_at"]) for s in found) <= now + SOON * HOUR
    # Seventy-two hours later there is still room.
    assert bookable(await found_by(regulator, **near_chateauroux(now + 70 * HOUR, 2)))


async def test_who_sees_what(started: Demo) -> None:
    start = await started.now()
    window = {"from": start.isoformat(), "to": (start + 72 * HOUR).isoformat()}

    async def seen(role: Role, home: str = "36", **more: str) -> set[str]:
        caller = await started.caller(role, home)
        return {slot["id"] for slot in await found_by(caller, **window, **more)}

    regulator = await seen(Role.REGULATOR, commune="36044")
    pharmacist = await seen(Role.PHARMACIST, commune="36044")
    nurse = await seen(Role.EMERGENCY_NURSE)
    rows = {
        str(row["id"]): row
        for row in await started.fetch("SELECT id, visibility, organization_types FROM slots")
    }

    def labels(ids: set[str]) -> set[str]:
        return {label for id_ in ids for label in rows[id_]["visibility"]}

    assert {tuple(rows[i]["visibility"]) for i in regulator} >= {("SNP",), ("PRO",), ("SNP", "PRO")}
    assert "CPTS" not in labels(regulator)
    assert len(pharmacist) >= 10
    assert ("SNP",) not in {tuple(rows[i]["visibility"]) for i in pharmacist}
    assert "CPTS" in labels(pharmacist)
    assert any(rows[i]["organization_types"] for i in pharmacist)
    assert nurse
    assert not any(rows[i]["organization_types"] for i in nurse)
    for more in ({}, {"commune": "36044"}, {"territory": "36"}):
        assert not await seen(Role.REGULATOR, "86", **more)
    stranger = await started.caller(Role.REGULATOR, "86")
    assert (await stranger.get(f"/v1/slots/{min(regulator)}")).status_code == 404


async def test_a_slot_can_be_booked(started: Demo) -> None:
    regulator = await started.caller(Role.REGULATOR)
    slot = bookable(await found_by(regulator, commune="36044"))[0]
    booked = await regulator.post("/v1/bookings", booking_of(slot["id"]))
    assert booked.status_code == 201, booked.text


def booking_of(slot_id: str) -> dict[str, Any]:
    return {"slot_id": slot_id, "patient_file": patient(), "reason": {"motive": "M07.00"}}


# --- what is to be reported ---------------------------------------------------------------------


async def to_report(doctor: Caller) -> list[dict[str, Any]]:
    answer = await doctor.get("/v1/bookings", params={"state": "booked"})
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


@pytest.mark.parametrize("hour", [0, 3, 8, 9, 12, 23])
async def test_appointments_to_report_at_every_start(empty: Demo, hour: int) -> None:
    yesterday = (await empty.now()).astimezone(ZONE).date() - DAY
    now = local(yesterday, hour, 30 if hour == 8 else 0)
    await empty.start(await empty.now())
    assert await past.book_past(empty.database, now) == 9
    for number in range(3):
        doctor = await empty.caller(Role.DOCTOR, number=number)
        over = await to_report(doctor)
        assert len(over) == 3
        for booking in over:
            at = datetime.fromisoformat(booking["slot"]["ends_at"])
            assert now - 34 * HOUR < at <= now
            assert booking["patient"]["family_name"]
            assert booking["warnings"] == []
            assert booking["requested_by"]["role"] == "regulator"
    regulator = await empty.caller(Role.REGULATOR)
    assert len((await regulator.get("/v1/bookings")).json()["items"]) == 9


async def test_an_appointment_of_the_past_is_reported(started: Demo) -> None:
    now = await started.now()
    assert await past.book_past(started.database, now) == 9
    doctor = await started.caller(Role.DOCTOR)
    for booking, state in zip(await to_report(doctor), ("fulfilled", "noshow"), strict=False):
        path = f"/v1/bookings/{booking['id']}"
        told = await doctor.put(f"{path}/report", {"state": state, "detail": "essai"})
        assert (told.status_code, told.json()["state"]) == (200, state), told.text
        history = (await doctor.get(f"{path}/history")).json()["items"]
        assert [e["type"] for e in history] == ["booking.created", "booking.reported"]
        assert history[0]["data"]["starts_at"] == booking["slot"]["starts_at"]
        file = await doctor.get(f"/v1/patient-files/{booking['patient_file_id']}")
        assert file.json()["family_name"] == booking["patient"]["family_name"]


async def test_who_has_something_to_report_gets_no_more(started: Demo) -> None:
    now = await started.now()
    assert await past.book_past(started.database, now) == 9
    assert await past.book_past(started.database, now) == 0
    assert await past.book_past(started.database, now + DAY) == 0
    doctor = await started.caller(Role.DOCTOR)
    for booking in await to_report(doctor):
        path = f"/v1/bookings/{booking['id']}/report"
        assert (await doctor.put(path, {"state": "fulfilled"})).status_code == 200
    assert await past.book_past(started.database, now) == 0  # these times are taken
    assert await past.book_past(started.database, now + DAY) == 3
    other = await started.caller(Role.DOCTOR, number=1)
    for booking in await to_report(other):
        path = f"/v1/bookings/{booking['id']}/report"
        assert (await other.put(path, {"state": "noshow"})).status_code == 200
    # Other people than those who are with the first doctor at these times.
    assert await past.book_past(started.database, now + DAY) == 3


# --- starting again -----------------------------------------------------------------------------

ALL = "SELECT * FROM slots ORDER BY id"


async def test_starting_again_changes_nothing(started: Demo) -> None:
    now = await started.now()
    while now.astimezone(ZONE).date() != (now + HOUR).astimezone(ZONE).date():
        now += HOUR
    await started.start(now)
    slots, known = await started.fetch(ALL), started.credentials
    events = await started.fetch("SELECT count(*) FROM events")
    assert await started.start(now + HOUR) == 0
    assert await started.fetch(ALL) == slots
    assert await started.fetch("SELECT count(*) FROM events") == events
    assert started.credentials == known


async def test_lost_credentials_still_publish(started: Demo) -> None:
    started.credentials = []
    assert await started.start(await started.now() + 3 * DAY) > 100
    me = await (await started.caller(Role.DOCTOR)).get("/v1/me")
    assert me.status_code == 200


async def test_days_later(started: Demo) -> None:
    before = {row["id"]: row for row in await started.fetch(ALL)}
    last = max(row["starts_at"] for row in before.values()).astimezone(ZONE).date()
    now = await started.now() + 3 * DAY
    assert await started.start(now) > 300
    after = {row["id"]: row for row in await started.fetch(ALL)}
    assert {id_: after[id_] for id_ in before} == before
    new = [after[id_] for id_ in after.keys() - before.keys()]
    assert {row["starts_at"].astimezone(ZONE).date() for row in new} == {
        last + n * DAY for n in (1, 2, 3)
    }


async def test_what_people_did_stays(started: Demo) -> None:
    """A booking, a withdrawal, a move and a doctor's own overlapping slot survive each start."""
    now = await started.now()
    tomorrow, later = (now.astimezone(ZONE).date() + n * DAY for n in (1, 5))
    doctor, regulator = await started.caller(Role.DOCTOR), await started.caller(Role.REGULATOR)
    mine = await agenda(doctor, tomorrow)
    assert [s["starts_at"][11:16] for s in mine] == ["09:00", "09:20", "09:40"]
    assert (await regulator.post("/v1/bookings", booking_of(mine[0]["id"]))).status_code == 201
    gone = await doctor.delete(f"/v1/slots/{mine[1]['id']}", if_match=mine[1]["version"])
    assert gone.status_code == 204
    moved = await doctor.patch(
        f"/v1/slots/{mine[2]['id']}",
        json={
            "starts_at": local(later, 21).isoformat(),
            "ends_at": local(later, 21, 20).isoformat(),
        },
        if_match=mine[2]["version"],
    )
    assert moved.status_code == 200, moved.text
    place = mine[0]["location_id"]
    doctor.location_id = UUID(place)
    await doctor.publish(local(tomorrow, 9, 25))  # where the withdrawn one was
    own = await doctor.publish(local(later, 9, 10))  # overlaps two of a day still to come

    before = {row["id"]: row for row in await started.fetch(ALL)}
    assert await started.start(now) == 0
    assert {row["id"]: row for row in await started.fetch(ALL)} == before
    assert await started.start(now + 3 * DAY) > 100
    after = {row["id"]: row for row in await started.fetch(ALL)}
    assert {id_: after[id_] for id_ in before} == before
    that_day = [s["starts_at"][11:16] for s in await agenda(doctor, later)]
    assert that_day == ["09:10", "09:40", "21:00"]
    assert UUID(own["id"]) in after


async def agenda(doctor: Caller, day: date) -> list[Slot]:
    window = {"from": local(day).isoformat(), "to": local(day + DAY).isoformat()}
    answer = await doctor.get(f"/v1/practitioners/{doctor.practitioner_id}/slots", params=window)
    assert answer.status_code == 200, answer.text
    items: list[Slot] = answer.json()["items"]
    return items


async def test_a_closed_place_offers_nothing_more(started: Demo) -> None:
    admin, doctor = await started.caller(Role.ADMIN), await started.caller(Role.DOCTOR)
    slot = (await agenda(doctor, (await started.now()).astimezone(ZONE).date() + DAY))[0]
    closed = await admin.patch(f"/v1/locations/{slot['location_id']}", json={"active": False})
    assert closed.status_code == 200, closed.text
    assert await started.start(await started.now() + 3 * DAY) > 100
    query = "SELECT max(starts_at) AS last FROM slots WHERE practitioner_id = $1"
    last = (await started.fetch(query, doctor.practitioner_id))[0]["last"]
    assert last < await started.now() + 4 * DAY


# --- nights when the clocks change --------------------------------------------------------------


@pytest.mark.parametrize("day", [date(2027, 3, 27), date(2026, 10, 24)])
def test_clock_changes(day: date) -> None:
    """No doctor is offered twice at a time, and each slot has an id of its own."""
    house = next(w for w in live.wanted_clients() if w.role is Role.DELEGATE)
    drafts = live._offered(actor_of(house), local(day, 12))
    agendas: Mapping[UUID | None, list[Any]] = {d.practitioner_id: [] for d in drafts}
    for draft in drafts:
        agendas[draft.practitioner_id].append(draft)
    for found in agendas.values():
        found.sort(key=lambda draft: draft.starts_at)
        assert all(a.ends_at <= b.starts_at for a, b in pairwise(found))
    assert len({draft.external_id for draft in drafts}) == len(drafts)
    assert drafts == live._offered(actor_of(house), local(day, 12))


def actor_of(wanted: clients.Wanted) -> Actor:
    nobody = UUID(int=0)
    return Actor(
        client_id=nobody,
        client_name=wanted.name,
        grant_id=nobody,
        grant_revision=1,
        role=wanted.role,
        organization_id=wanted.organization_id,
        organization_type=wanted.organization_type,
        territories=(wanted.territory,),
        practitioner_ids=tuple(wanted.practitioner_ids),
    )
