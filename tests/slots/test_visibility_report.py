"""Why does nobody see my slot: who can, since when, how often it was listed."""

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import event, text, update

from service.identity import PUBLISHERS, Role
from service.identity.tables import grants
from service.kernel.db import Database
from service.kernel.errors import Unavailable
from service.kernel.ids import new_id
from service.slots.domain import AUDIENCES_ASKED, Change, visible_since
from tests.bookings.test_book import booked
from tests.conftest import Clock
from tests.slots.test_visibility import Labelled, Viewer, _centre, _labelled, _viewer, sees
from tests.support import Caller, World, problem, soon

Body = dict[str, Any]
HERE, FAR = (46.81, 1.69), (47.4, 1.69)


async def _report(caller: Caller, slot: Body) -> Body:
    answer = await caller.get(f"/v1/slots/{slot['id']}/visibility")
    assert answer.status_code == 200, answer.text
    body: Body = answer.json()
    return body


def _codes(slot: Body) -> list[str]:
    return [warning["code"] for warning in slot["visibility_warnings"]]


def _who(slot: Body) -> dict[tuple[str, str], int]:
    return {(row["role"], row["organization_type"]): row["grants"] for row in slot["who_can"]}


# --- who can ------------------------------------------------------------------------------------


async def test_a_slot_that_nobody_can_see_says_so_wherever_its_side_reads_it(world: World) -> None:
    doctor = await world.doctor()
    slot = await doctor.publish(soon(2))
    assert (_codes(slot), slot["who_can"]) == (["nobody-can-see"], [])
    assert world.territory in slot["visibility_warnings"][0]["detail"]
    read = await doctor.get(f"/v1/slots/{slot['id']}")
    assert read.json() == slot
    agenda = await doctor.get(f"/v1/practitioners/{doctor.practitioner_id}/slots")
    assert agenda.json()["items"] == [slot]
    assert _codes(await _report(doctor, slot)) == ["nobody-can-see"]
    path, version = f"/v1/slots/{slot['id']}", slot["version"]
    amended = await doctor.patch(path, {"note": "x"}, if_match=version)
    assert _codes(amended.json()) == ["nobody-can-see"]


async def test_the_warning_ends_with_the_first_who_can_and_comes_back_with_the_last(
    world: World,
) -> None:
    doctor = await world.doctor()
    slot = await doctor.publish(visibility=["PRO"], organization_types=["pharmacy"])
    assert _codes(slot) == ["nobody-can-see"]
    await world.regulator()  # PRO, but narrowed to pharmacies
    assert _codes(await _report(doctor, slot)) == ["nobody-can-see"]
    pharmacists = [await world.pharmacist() for _ in range(2)]
    report = await _report(doctor, slot)
    assert (_codes(report), _who(report)) == ([], {("pharmacist", "pharmacy"): 2})
    ended = [
        {"revoked_at": soon(-1)},
        {"valid_until": soon(-1)},
    ]
    for pharmacist, values in zip(pharmacists, ended, strict=True):
        mine = grants.c.organization_id == pharmacist.organization_id
        async with world.database.unit_of_work() as uow:
            await uow.execute(update(grants).where(mine).values(**values))
    assert _codes(await _report(doctor, slot)) == ["nobody-can-see"]


async def test_grants_are_counted_by_role_and_kind_without_names(world: World) -> None:
    doctor = await world.doctor()
    await world.regulator()
    for role in (Role.OSNP, Role.OSNP, Role.ARM):
        await world.regulation(role)
    await world.pharmacist()
    await world.manager()  # books nothing
    await world.doctor()
    delegate = await world.caller(
        Role.DELEGATE,
        doctor.organization_id,
        "practice",
        practitioner_ids=[UUID(str(doctor.practitioner_id))],
    )
    slot = await doctor.publish(visibility=["SNP", "PRO"])
    counts = {
        ("arm", "sas"): 1,
        ("doctor", "practice"): 1,  # the other one: your own side is not counted
        ("osnp", "sas"): 2,
        ("pharmacist", "pharmacy"): 1,
        ("regulator", "sas"): 1,
    }
    assert _who(slot) == _who(await _report(delegate, slot)) == counts
    assert {frozenset(row) for row in slot["who_can"]} == {
        frozenset({"role", "organization_type", "grants"})
    }


async def test_members_of_a_community_count_wherever_they_are(world: World) -> None:
    away = await World(world.database, world.http).begin()
    community = await world.organization("cpts")
    await away.pharmacist([community])
    slot = await (await world.doctor()).publish(visibility=["CPTS"], cpts_ids=[str(community)])
    assert (_codes(slot), _who(slot)) == ([], {("pharmacist", "pharmacy"): 1})


async def test_colleagues_of_an_unnamed_slots_centre_are_its_own_side(world: World) -> None:
    centre = await _centre(world, (46.8, 1.7))
    slot = await centre.publish(visibility=["PRO"])
    assert _codes(slot) == ["nobody-can-see"]
    await world.doctor(organization_type="csnp")  # a publisher, but of another centre
    assert _who(await _report(centre, slot)) == {("doctor", "csnp"): 1}


async def test_what_is_over_needs_no_warning(world: World, clock: Clock) -> None:
    doctor = await world.doctor()
    withdrawn, past = await doctor.publish(soon(3)), await doctor.publish(soon(2))
    await doctor.delete(f"/v1/slots/{withdrawn['id']}", if_match="*")
    report = await _report(doctor, withdrawn)
    assert (_codes(report), report["visible_since"]) == ([], None)
    await clock.shift(timedelta(hours=2, minutes=5))
    assert _codes(await _report(doctor, past)) == []


async def test_only_the_own_side_asks(world: World) -> None:
    doctor, other, regulator = await world.doctor(), await world.doctor(), await world.regulator()
    slot = await doctor.publish(visibility=["PUBLIC"])
    assert (await other.get(f"/v1/slots/{slot['id']}")).status_code == 200
    answers = [
        problem(await other.get(f"/v1/slots/{i}/visibility"), 404, "slot-not-found")
        for i in (slot["id"], new_id())
    ]
    assert [answer.pop("request_id") != "" for answer in answers] == [True, True]
    assert answers[0] == answers[1]
    path = f"/v1/slots/{slot['id']}/visibility"
    problem(await regulator.get(path), 403, "role-lacks-operation")


# --- the same rule ------------------------------------------------------------------------------


async def test_the_counts_agree_with_the_sentence_and_with_what_each_can_read(
    database: Database, http: httpx.AsyncClient
) -> None:
    """The rule over columns of grants = the rule over parameters = the oracle."""
    draw = random.Random(random.getrandbits(32))
    worlds = [await World(database, http).begin() for _ in range(3)]
    communities = [new_id() for _ in range(3)]
    at = (draw.uniform(-60, -50), draw.uniform(-170, -100))
    publishers = [
        await worlds[0].doctor(at=at),
        await worlds[1].doctor(at=at),
        await _centre(worlds[0], at),
    ]
    viewers = [await _viewer(draw, worlds, communities) for _ in range(14)]
    viewers += [
        Viewer(publisher, frozenset({publisher.territory}), kind, frozenset())
        for publisher, kind in zip(publishers, ("practice", "practice", "csnp"), strict=True)
    ]
    slots = [
        slot
        for publisher in publishers
        for slot in await _labelled(draw, publisher, 16, communities, viewers)
    ]
    unseen = await publishers[0].publish(soon(40), visibility=["CPTS"])  # of no community
    territory, none = publishers[0].territory, frozenset[Any]()
    slots.append(
        Labelled(unseen["id"], publishers[0], territory, frozenset({"CPTS"}), none, none, none)
    )
    nobody = 0
    for slot in slots:
        expected = Counter(
            (str(viewer.caller.role), viewer.organization_type)
            for viewer in viewers
            if sees(viewer, slot) and not _own_side(viewer, slot)
        )
        report = await _report(slot.publisher, {"id": slot.id})
        assert _who(report) == expected, slot
        assert ("nobody-can-see" in _codes(report)) == (not expected)
        nobody += not expected
    assert 0 < nobody < len(slots)  # both answers are tried


def _own_side(viewer: Viewer, slot: Labelled) -> bool:
    if slot.publisher.practitioner_id is None:
        mine = viewer.caller.organization_id == slot.publisher.organization_id
    else:
        mine = viewer.caller.practitioner_id == slot.publisher.practitioner_id
    return viewer.caller.role in PUBLISHERS and mine


async def test_publishing_many_asks_once(world: World) -> None:
    doctor = await world.doctor()
    await world.regulator()
    statements: list[str] = []

    def remember(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        statements.append(statement)

    engine = world.database.engine.sync_engine
    event.listen(engine, "before_cursor_execute", remember)
    try:
        bodies = [
            doctor.slot(soon(2, 20 * n), visibility=[["SNP"], ["SNP", "PRO"]][n % 2])
            for n in range(60)
        ]
        answer = await doctor.post("/v1/slots", {"slots": bodies})
    finally:
        event.remove(engine, "before_cursor_execute", remember)
    assert [_codes(slot) for slot in answer.json()["slots"]] == [[]] * 60
    assert sum("live_grant" in statement for statement in statements) == 1


async def test_of_many_audiences_in_one_batch_the_last_stay_unknown(world: World) -> None:
    doctor = await world.doctor()
    bodies = [
        doctor.slot(soon(2, 20 * n), visibility=["PRO"], organization_ids=[str(new_id())])
        for n in range(AUDIENCES_ASKED + 2)
    ]
    answer = await doctor.post("/v1/slots", {"slots": [*bodies, doctor.slot(soon(30))]})
    slots = answer.json()["slots"]
    assert [slot["who_can"] for slot in slots] == [[]] * AUDIENCES_ASKED + [None] * 3
    assert _codes(slots[-1]) == []
    assert _codes(await _report(doctor, slots[-1])) == ["nobody-can-see"]


# --- since when ---------------------------------------------------------------------------------


async def test_since_when_is_the_last_change_of_who_may_see_it(world: World, clock: Clock) -> None:
    doctor = await world.doctor()
    slot = await doctor.publish(soon(48), visibility=["SNP"], external_id="E 1")
    path = f"/v1/slots/{slot['id']}"

    async def since() -> datetime:
        return datetime.fromisoformat((await _report(doctor, slot))["visible_since"])

    published = await since()
    assert abs(published - datetime.now(published.tzinfo)) < timedelta(minutes=1)
    await clock.shift(timedelta(hours=1))
    assert (await doctor.patch(path, {"note": "x"}, if_match="*")).status_code == 200
    assert await since() == published  # who may see it did not change
    assert (await doctor.patch(path, {"visibility": ["PRO"]}, if_match="*")).status_code == 200
    widened = await since()
    assert timedelta(minutes=59) < widened - published < timedelta(minutes=61)
    await clock.shift(timedelta(hours=2))
    again = {**doctor.slot(soon(48)), "external_id": "E 1"}
    await doctor.post("/v1/slots", {**again, "visibility": ["PRO"]})
    assert await since() == widened
    await doctor.delete(path, if_match="*")
    await clock.shift(timedelta(hours=3))
    await doctor.post("/v1/slots", {**again, "visibility": ["PRO"]})  # republished: seen anew
    assert timedelta(minutes=119) < await since() - widened < timedelta(minutes=121)


async def test_a_slot_that_no_event_tells_of_is_seen_since_it_is_there(world: World) -> None:
    doctor = await world.doctor()
    slot = await doctor.publish()
    copy = new_id()
    async with world.database.unit_of_work() as uow:
        await uow.execute(
            text(
                """INSERT INTO slots SELECT (jsonb_populate_record(slots, jsonb_build_object(
                       'id', CAST(:copy AS text), 'starts_at', starts_at + interval '1 hour',
                       'ends_at', ends_at + interval '1 hour',
                       'created_at', CAST(:at AS text)))).* FROM slots WHERE id = :id"""
            ),
            {"copy": str(copy), "id": UUID(slot["id"]), "at": soon(-5).isoformat()},
        )
    report = await _report(doctor, {"id": str(copy)})
    assert datetime.fromisoformat(report["visible_since"]) == soon(-5)


AUDIENCE, WIDER = {"visibility": ["SNP"]}, {"visibility": ["SNP", "PRO"]}


@pytest.mark.parametrize(
    ("changes", "number"),
    [
        ([], None),
        ([("36", AUDIENCE)], 0),
        ([("36", AUDIENCE), ("36", AUDIENCE)], 0),
        ([("36", AUDIENCE), ("36", WIDER), ("36", WIDER)], 1),
        ([("36", AUDIENCE), ("36", WIDER), ("36", AUDIENCE)], 2),
        ([("36", AUDIENCE), ("37", AUDIENCE)], 1),
        ([("36", AUDIENCE), ("36", None)], None),
        ([("36", AUDIENCE), ("36", None), ("36", AUDIENCE)], 2),
    ],
)
def test_visible_since(changes: Sequence[tuple[str, Body | None]], number: int | None) -> None:
    at = [soon(n) for n in range(len(changes))]
    told = [
        Change(at[n], audience and {"in": territory, **audience})
        for n, (territory, audience) in enumerate(changes)
    ]
    assert visible_since(told) == (None if number is None else at[number])


# --- passed over --------------------------------------------------------------------------------


async def test_what_was_booked_elsewhere_meanwhile(world: World, clock: Clock) -> None:
    """By whoever can see it, near in time and place, while it was open: each in turn."""
    await clock.shift(timedelta(hours=-1))
    doctor, other, far = [await world.doctor(at=at) for at in (HERE, HERE, FAR)]
    regulator, pharmacist = await world.regulator(), await world.pharmacist()
    everybody = {"visibility": ["SNP", "PRO"], "capacity": 20}
    before = await other.publish(soon(2), **everybody)
    await booked(regulator, before)  # before the slot was there

    slot = await doctor.publish(soon(3))  # regulation only
    mine = await doctor.publish(soon(4))
    late = await other.publish(soon(28), **everybody)
    away = await far.publish(soon(3), **everybody)

    async def meanwhile() -> int | None:
        number: int | None = (await _report(doctor, slot))["booked_elsewhere_meanwhile"]
        return number

    assert await meanwhile() == 0
    first = await booked(regulator, before)
    assert await meanwhile() == 1
    await booked(pharmacist, before)  # cannot see it
    await booked(regulator, late)  # another day
    await booked(regulator, away)  # farther than a search looks
    await booked(regulator, mine)  # with the same doctor
    assert await meanwhile() == 1
    answer = await regulator.post(f"/v1/bookings/{first['id']}/cancellation", {"by": "patient"})
    assert answer.status_code == 200, answer.text
    assert await meanwhile() == 1  # it was made, all the same

    taken = await booked(regulator, slot)
    await booked(regulator, before)  # no room left at that moment
    assert await meanwhile() == 1
    await regulator.post(f"/v1/bookings/{taken['id']}/cancellation", {"by": "patient"})
    await booked(regulator, before)
    assert await meanwhile() == 2
    await clock.shift(timedelta(hours=2, minutes=30))
    late_start = await other.publish(soon(5), **everybody)
    await clock.shift(timedelta(hours=3, minutes=30))
    await booked(regulator, late_start)  # it had started
    assert await meanwhile() == 2
    assert (
        "booked_elsewhere_meanwhile" not in (await regulator.get(f"/v1/slots/{mine['id']}")).json()
    )


async def test_centres_that_name_nobody_are_told_apart(world: World) -> None:
    regulator = await world.regulator()
    centre, other = [await _centre(world, HERE) for _ in range(2)]
    slot, mine = await centre.publish(soon(3)), await centre.publish(soon(3))
    theirs = await other.publish(soon(3), capacity=2)
    await booked(regulator, mine)
    assert (await _report(centre, slot))["booked_elsewhere_meanwhile"] == 0
    await booked(regulator, theirs)
    assert (await _report(centre, slot))["booked_elsewhere_meanwhile"] == 1
    await centre.delete(f"/v1/slots/{slot['id']}", if_match="*")
    assert (await _report(centre, slot))["booked_elsewhere_meanwhile"] is None


# --- how often ----------------------------------------------------------------------------------


async def test_listings_by_others_are_counted_and_written_later(world: World, app: FastAPI) -> None:
    doctor, regulator = await world.doctor(), await world.regulator()
    slots = [await doctor.publish(soon(n)) for n in (2, 3)]
    delegate = await world.caller(
        Role.DELEGATE, doctor.organization_id, "practice", practitioner_ids=[new_id()]
    )
    for caller in (regulator, regulator, doctor, delegate):
        await caller.get("/v1/slots", params={"territory": world.territory})
    await regulator.get("/v1/slots", params={"territory": world.territory, "limit": 1})
    await regulator.get(f"/v1/slots/{slots[0]['id']}")  # read, not listed
    assert (await _report(doctor, slots[0]))["listed"] == 0
    await app.state.listings.flush(world.database)
    reports = [await _report(doctor, slot) for slot in slots]
    assert [report["listed"] for report in reports] == [3, 2]
    await regulator.get("/v1/slots", params={"territory": world.territory})
    await app.state.listings.flush(world.database)
    report = await _report(doctor, slots[0])
    assert report["listed"] == 4
    assert [day["listed"] for day in report["listed_by_day"]] == [4]


async def test_days_are_those_of_the_place(world: World, app: FastAPI, clock: Clock) -> None:
    island = await World(world.database, world.http, zone="Pacific/Noumea").begin()
    doctor, regulator = await island.doctor(), await island.regulator()
    slot = await doctor.publish(soon(200))
    zone = datetime.fromisoformat(slot["starts_at"]).tzinfo
    for days in (0, 1):
        await clock.shift(timedelta(days=days))
        await regulator.get("/v1/slots", params={"practitioner": slot["practitioner_id"],
                                                 "from": soon(190).isoformat()})  # fmt: skip
        await app.state.listings.flush(island.database)
    report = await _report(doctor, slot)
    today = datetime.now(zone).date()
    expected = [(today + timedelta(days=n)).isoformat() for n in (0, 1)]
    assert [(day["day"], day["listed"]) for day in report["listed_by_day"]] == [
        (day, 1) for day in expected
    ]


async def test_processes_add_up_even_when_they_write_at_once(world: World, app: FastAPI) -> None:
    listings = type(app.state.listings)
    doctor = await world.doctor()
    ids = [(await doctor.publish(soon(n)))["id"] for n in range(1, 20)]
    processes = [listings() for _ in range(8)]
    for number, process in enumerate(processes):
        order = ids if number % 2 else ids[::-1]
        process._times.update({UUID(slot_id): number + 1 for slot_id in order})
    await asyncio.gather(*(process.flush(world.database) for process in processes))
    for slot_id in ids:
        assert (await _report(doctor, {"id": slot_id}))["listed"] == 36


class _Away:
    """A database that cannot be reached."""

    def unit_of_work(self) -> Any:
        raise Unavailable


async def test_what_cannot_be_written_is_kept_for_later(world: World, app: FastAPI) -> None:
    doctor = await world.doctor()
    slot = await doctor.publish()
    process = type(app.state.listings)()
    process._times.update([UUID(slot["id"]), new_id()])  # one that is no slot (any more)
    await process.flush(_Away())
    await process.flush(world.database)
    await process.flush(world.database)
    assert (await _report(doctor, slot))["listed"] == 1


async def test_an_application_that_ends_writes_what_it_counted(world: World, app: FastAPI) -> None:
    doctor = await world.doctor()
    slot = await doctor.publish()
    process = type(app.state.listings)()
    async with process.flushed(world.database):
        process._times.update([UUID(slot["id"])])
    assert (await _report(doctor, slot))["listed"] == 1
