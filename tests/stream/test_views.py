"""What somebody is told of a fact: the same as the rule in SQL says of the slot it touches."""

import random
import re
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import func, select, update

from service.identity import Actor, Role
from service.kernel.db import Database
from service.kernel.ids import new_id
from service.kernel.sql import uuids
from service.slots import Standing, parts, standing
from service.slots.domain import SlotState
from service.slots.tables import slots
from service.stream import Fact, Listener, Shown, views
from service.stream.domain import TYPES
from tests.support import World, soon

_RULE = select(
    parts.slot.c.id, parts.visible(own=False).label("admitted"), parts.owned().label("owned")
).where(parts.slot.c.id == func.any(uuids("ids")))
_number = count(1)
SERVICE = Path(__file__).parents[2] / "service"


def some(chance: random.Random, among: list[Any], most: int) -> list[Any]:
    return chance.sample(among, chance.randint(0, min(most, len(among))))


async def test_the_rule_in_python_is_the_rule_in_sql(world: World, database: Database) -> None:
    """Thousands of pairs of a slot and a listener, drawn from few values so that they meet."""
    chance = random.Random(11)
    doctors = [await world.doctor() for _ in range(2)]
    cpts = [await world.organization("cpts") for _ in range(3)]
    organizations = [doctor.organization_id for doctor in doctors] + cpts
    types = ["practice", "pharmacy", "cpts"]
    ids = []
    for nth in range(60):
        doctor = chance.choice(doctors)
        slot = await doctor.publish(soon(3 + nth))
        ids.append(UUID(slot["id"]))
        audience = {
            "visibility": chance.sample(["PUBLIC", "PRO", "SNP", "CPTS"], chance.randint(1, 4)),
            "cpts_ids": some(chance, cpts, 2),
            "organization_types": some(chance, types, 2),
            "organization_ids": some(chance, organizations, 2),
        }
        async with database.unit_of_work() as uow:
            await uow.execute(update(slots).where(slots.c.id == ids[-1]).values(**audience))
    seen = {True: 0, False: 0}
    for _ in range(120):
        actor = Actor(
            client_id=new_id(),
            client_name="somebody",
            grant_id=new_id(),
            grant_revision=1,
            role=chance.choice(list(Role)),
            organization_id=chance.choice(organizations),
            organization_type=chance.choice(types),
            territories=tuple(some(chance, [world.territory, "99"], 2)),
            cpts_ids=tuple(some(chance, cpts, 2)),
            practitioner_ids=tuple(some(chance, [d.practitioner_id for d in doctors], 2)),
        )
        async with database.unit_of_work() as uow:
            rule = (await uow.execute(_RULE, {"ids": ids, **parts.caller(actor)})).all()
            now = await standing(uow, ids)
        listener = Listener.of(actor)
        for row in rule:
            stands = now[row.id]
            assert listener.admitted(stands.territory, stands.audience) == bool(row.admitted)
            assert listener.owns(stands.practitioner_id, stands.organization_id) == bool(row.owned)
            seen[bool(row.admitted)] += 1
    assert min(seen.values()) > 500


TERRITORY = "36"
DOCTOR, OTHER_DOCTOR = new_id(), new_id()
PRACTICE, OTHER_PRACTICE, PHARMACY, OTHER_PHARMACY, SAS, CPTS = (new_id() for _ in range(6))
HIDDEN = {"visibility": ["SNP"], "cpts_ids": [], "organization_types": [], "organization_ids": []}
PRO = HIDDEN | {"visibility": ["PRO"]}


def listener(role: Role, organization: UUID, type_: str, **more: Any) -> Listener:
    return Listener(
        role=role,
        organization_id=organization,
        organization_type=type_,
        territories=frozenset(more.get("territories", {TERRITORY})),
        cpts_ids=frozenset(),
        practitioner_ids=frozenset(more.get("practitioners", ())),
    )


LISTENERS = {
    "doctor": listener(Role.DOCTOR, PRACTICE, "practice", practitioners=[DOCTOR]),
    "delegate": listener(Role.DELEGATE, PRACTICE, "practice", practitioners=[DOCTOR]),
    "other doctor": listener(Role.DOCTOR, OTHER_PRACTICE, "practice", practitioners=[OTHER_DOCTOR]),
    "pharmacist": listener(Role.PHARMACIST, PHARMACY, "pharmacy"),
    "other pharmacist": listener(Role.PHARMACIST, OTHER_PHARMACY, "pharmacy"),
    "regulator": listener(Role.REGULATOR, SAS, "sas"),
    "foreign regulator": listener(Role.REGULATOR, new_id(), "sas", territories={"86"}),
    "manager": listener(Role.MANAGER, CPTS, "cpts"),
    "foreign manager": listener(Role.MANAGER, new_id(), "cpts", territories={"86"}),
    "analyst": listener(Role.ANALYST, CPTS, "cpts"),
    "admin": listener(Role.ADMIN, new_id(), "other"),
    "sas platform": listener(Role.SAS_PLATFORM, SAS, "sas"),
}
SLOT, NEW_SLOT = new_id(), new_id()


def fact(type_: str, subject: UUID, **more: Any) -> Fact:
    empty = Fact(
        position=next(_number),
        id=new_id(),
        type=type_,
        subject_id=subject,
        occurred_at=datetime(2026, 12, 1, tzinfo=UTC),
        territory=TERRITORY,
        role=None,
        organization_id=None,
        audience_before=None,
        audience_after=None,
        data={},
        correlation_id=None,
    )
    return replace(empty, **more)


def slot_now(slot_id: UUID, audience: dict[str, Any], doctor: UUID, practice: UUID) -> Standing:
    return Standing(
        slot_id, TERRITORY, doctor, practice, audience, state=SlotState.OPEN, remaining=1
    )


def told(what: Fact, *slots: Standing) -> dict[str, tuple[str, ...]]:
    """The types that each listener hears of a fact; those who hear nothing are left out."""
    now = {slot.id: slot for slot in slots}
    heard = {
        name: tuple(view.type for view in views(what, now, who)) for name, who in LISTENERS.items()
    }
    return {name: types for name, types in heard.items() if types}


WHOSE = {"practitioner_id": str(DOCTOR), "organization_id": str(PRACTICE)}


def test_a_hidden_slot_is_told_to_its_side_and_to_regulation() -> None:
    published = fact("slot.published", SLOT, data=WHOSE, audience_after=HIDDEN)
    heard = told(published)
    assert heard == dict.fromkeys(("doctor", "delegate", "regulator"), ("slot.published",))


def test_who_loses_sight_of_a_slot_hears_that_it_is_gone_and_no_more() -> None:
    narrowed = fact("slot.amended", SLOT, data=WHOSE, audience_before=PRO, audience_after=HIDDEN)
    assert told(narrowed) == {
        **dict.fromkeys(("doctor", "delegate", "regulator"), ("slot.amended",)),
        **dict.fromkeys(
            ("other doctor", "pharmacist", "other pharmacist"), (Shown.SLOT_WITHDRAWN,)
        ),
    }
    [view] = views(narrowed, {}, LISTENERS["pharmacist"])
    assert view.data == {"slot_id": str(SLOT)}


def test_a_slot_that_is_taken_back_says_why_to_its_side_only() -> None:
    gone = fact("slot.withdrawn", SLOT, data={**WHOSE, "why": "x"}, audience_before=PRO)
    heard = {name: next(views(gone, {}, LISTENERS[name])).data for name in told(gone)}
    assert heard.pop("doctor") == heard.pop("delegate") == gone.data
    assert set(heard) == {"other doctor", "pharmacist", "other pharmacist", "regulator"}
    assert all(data == {"slot_id": str(SLOT)} for data in heard.values())


def test_a_booking_is_told_to_its_two_sides_and_its_room_to_who_sees_it() -> None:
    booked = fact("booking.created", new_id(), organization_id=PHARMACY, data=_booking(SLOT))
    heard = told(booked, slot_now(SLOT, PRO, DOCTOR, PRACTICE))
    others = ("other doctor", "other pharmacist", "regulator", "manager")
    assert heard == {
        **dict.fromkeys(("doctor", "delegate", "pharmacist"), ("booking.created",)),
        **dict.fromkeys(others, (Shown.SLOT_CHANGED,)),
    }
    [view] = views(booked, {SLOT: slot_now(SLOT, PRO, DOCTOR, PRACTICE)}, LISTENERS["regulator"])
    assert view.data == {"slot_id": str(SLOT), "state": "open", "remaining": 1}
    assert view.subject_id == SLOT


def test_room_that_is_hidden_by_now_is_nobodys_to_know() -> None:
    booked = fact("booking.created", new_id(), organization_id=PHARMACY, data=_booking(SLOT))
    heard = told(booked, slot_now(SLOT, HIDDEN, DOCTOR, PRACTICE))
    assert set(heard) == {"doctor", "delegate", "pharmacist", "regulator", "manager"}


def test_a_moved_booking_is_told_to_the_doctor_who_lost_it_without_where_to() -> None:
    moved = fact(
        "booking.rescheduled",
        new_id(),
        organization_id=PHARMACY,
        data={
            **_booking(NEW_SLOT, OTHER_DOCTOR, OTHER_PRACTICE),
            "from_slot_id": str(SLOT),
            "from_practitioner_id": str(DOCTOR),
            "from_practitioner_organization_id": str(PRACTICE),
        },
    )
    now = {
        SLOT: slot_now(SLOT, HIDDEN, DOCTOR, PRACTICE),
        NEW_SLOT: slot_now(NEW_SLOT, HIDDEN, OTHER_DOCTOR, OTHER_PRACTICE),
    }
    [view] = views(moved, now, LISTENERS["doctor"])
    assert view.type == "booking.rescheduled"
    assert set(view.data) == {
        "from_slot_id", "from_practitioner_id", "from_practitioner_organization_id"
    }  # fmt: skip
    [view] = views(moved, now, LISTENERS["other doctor"])
    assert view.data == moved.data
    both = [view.subject_id for view in views(moved, now, LISTENERS["regulator"])]
    assert sorted(both) == sorted([SLOT, NEW_SLOT])
    assert not list(views(moved, now, LISTENERS["other pharmacist"]))


def test_a_hold_is_told_to_who_placed_it_and_its_room_to_who_sees_it() -> None:
    held = fact("hold.placed", SLOT, organization_id=PHARMACY, data={"hold_id": str(new_id())})
    heard = told(held, slot_now(SLOT, PRO, DOCTOR, PRACTICE))
    assert heard.pop("pharmacist") == ("hold.placed",)
    assert set(heard) == {
        "doctor", "delegate", "other doctor", "other pharmacist", "regulator", "manager"
    }  # fmt: skip
    assert all(types == (Shown.SLOT_CHANGED,) for types in heard.values())


def test_a_hold_that_expired_is_told_to_who_had_placed_it() -> None:
    data = {"hold_id": str(new_id()), "organization_id": str(PHARMACY)}
    heard = told(fact("hold.expired", SLOT, data=data), slot_now(SLOT, PRO, DOCTOR, PRACTICE))
    assert heard["pharmacist"] == ("hold.expired",)
    assert heard["other pharmacist"] == (Shown.SLOT_CHANGED,)


def test_calls_are_told_to_the_centre_that_has_them() -> None:
    opened = fact("call.opened", new_id(), organization_id=SAS)
    assert told(opened) == {"regulator": ("call.opened",)}


def test_what_is_about_people_and_rights_is_told_to_nobody() -> None:
    for type_ in ("patient_file.opened", "grant.given", "client.revoked", "organization.amended"):
        assert told(fact(type_, new_id(), organization_id=PHARMACY, data=WHOSE)) == {}


def _booking(
    slot_id: UUID, practitioner: UUID = DOCTOR, practice: UUID = PRACTICE
) -> dict[str, Any]:
    return {
        "slot_id": str(slot_id),
        "organization_id": str(PHARMACY),
        "practitioner_id": str(practitioner),
        "practitioner_organization_id": str(practice),
    }


def test_every_type_of_what_may_be_told_can_be_asked_for() -> None:
    """Whoever writes a new kind of fact about a slot, a hold, a booking, ... names it here, too."""
    written = re.compile(r'"((?:slot|hold|booking|call|session|absence)\.[a-z_]+)"')
    logged = {"session.not_extended"}
    files = (path for path in SERVICE.rglob("*.py") if path.parent.name != "stream")
    sources = (path.read_text(encoding="utf-8") for path in files)
    named = {name for source in sources for name in written.findall(source)} - logged
    assert named | set(Shown) | {"webhook_endpoint.disabled"} == TYPES.keys()
