"""Random rows of a whole territory: organizations, doctors, slots, bookings, calls."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import insert, update

from service.bookings.tables import bookings
from service.calls.tables import calls
from service.directory.tables import practitioners
from service.kernel.ids import new_id
from service.patients.tables import patient_files
from service.slots.tables import slots
from tests.analytics.naive import Row
from tests.support import World

_TYPES = ("practice", "practice", "msp", "csnp", "sos")
_STATUSES = ("self_employed", "locum", "retired", "intern", "employee")
_REQUESTERS = (
    ("regulator", "sas"),
    ("osnp", "sas"),
    ("emergency_nurse", "emergency_department"),
    ("pharmacist", "pharmacy"),
    ("professional", "practice"),
)
# An amended slot may name a label twice; it counts under it once.
_LABELS = (["SNP", "SNP"], ["SNP", "PRO"], ["PRO"], ["PUBLIC"], ["CPTS"], ["SNP", "CPTS", "PUBLIC"])
DAYS = 150  # before and after now


@dataclass
class Territory:
    """Everything that was drawn; rows carry what the slow way needs to group them."""

    world: World
    cpts: list[UUID]
    organizations: dict[UUID, Row]
    practitioners: dict[UUID, Row]
    slots: list[Row]
    bookings: list[Row]
    calls: list[Row]
    now: datetime
    today: date

    @property
    def period(self) -> tuple[date, date]:
        """Days of which some rows are outside, at both ends."""
        return self.today - timedelta(days=DAYS - 20), self.today + timedelta(days=DAYS - 20)

    @property
    def physicians(self) -> set[UUID]:
        """Practitioners who are doctors."""
        return {i for i, row in self.practitioners.items() if row["profession"] == "10"}

    def communities(self, organization_id: UUID) -> list[str | None]:
        """The keys of an organization among communities."""
        return [str(i) for i in self.organizations[organization_id]["cpts_ids"]] or [None]

    def status(self, practitioner_id: UUID | None) -> str | None:
        """The key of a practitioner among statuses."""
        return (
            None if practitioner_id is None else str(self.practitioners[practitioner_id]["status"])
        )


async def drawn(world: World, random: Random, size: int) -> Territory:
    """Draw a territory and insert it."""
    cpts = [await world.organization("cpts") for _ in range(3)]
    found = Territory(world, cpts, {}, {}, [], [], [], datetime.now(UTC), date.min)
    found.today = found.now.astimezone(ZoneInfo(world.zone)).date()
    places: list[tuple[UUID, UUID]] = []
    for type_ in _TYPES:
        theirs = random.sample(cpts, random.choice((0, 1, 1, 2)))
        organization = await world.organization(type_, theirs)
        found.organizations[organization] = {"type": type_, "cpts_ids": theirs}
        places.append((organization, await world.location(organization)))
    for _ in range(4):
        who = await world.practitioner()
        profession = "10" if random.random() < 0.8 else "40"
        row = {"status": random.choice(_STATUSES), "profession": profession}
        found.practitioners[who] = row
        async with world.database.unit_of_work() as uow:
            await uow.execute(update(practitioners).where(practitioners.c.id == who).values(row))
    starts = random.sample(range(-DAYS * 48, DAYS * 48), size)  # half hours: none overlap
    found.slots = [_slot(random, found, places, n) for n in starts if n not in range(-3, 4)]
    instead = {"withdrawn_at": None, "booked": 0, "walk_in": False}
    found.slots += [
        {**slot, "id": new_id(), **instead}
        for slot in found.slots
        if slot["withdrawn_at"] and random.random() < 0.5
    ]
    found.calls = [_call(random, found) for _ in range(size)]
    for slot in found.slots:
        slot["bookings"] = _bookings(random, found, slot)
        found.bookings += slot["bookings"]
    async with world.database.unit_of_work() as uow:
        unknown = {"bookings"}
        await uow.execute(
            insert(slots), [{n: slot[n] for n in slot.keys() - unknown} for slot in found.slots]
        )
        await uow.execute(insert(calls), found.calls)
        await uow.execute(
            insert(patient_files),
            [
                {
                    "id": booking["patient_file_id"],
                    "organization_id": booking["organization_id"],
                    "territory": world.territory,
                }
                for booking in found.bookings
            ],
        )
        await uow.execute(insert(bookings), found.bookings)
    return found


def _instant(random: Random, of: Territory, half_hours: int) -> datetime:
    """An instant of some half hours from today's midnight; some lie on local midnights."""
    at = datetime(of.today.year, of.today.month, of.today.day, tzinfo=ZoneInfo(of.world.zone))
    local = at + timedelta(minutes=30 * half_hours)  # by the clock on the wall
    if random.random() < 0.2:
        local = local.replace(hour=0, minute=0)
    return local.astimezone(UTC)


def _slot(random: Random, of: Territory, places: list[tuple[UUID, UUID]], n: int) -> Row:
    organization, location = random.choice(places)
    type_ = of.organizations[organization]["type"]
    nobody = type_ in {"csnp", "sos"} and random.random() < 0.5
    start = of.now.replace(minute=0, second=0, microsecond=0) + timedelta(minutes=30 * n)
    capacity, overbooking = random.choice((1, 1, 2, 3)), random.choice((0, 0, 1))
    walk_in, withdrawn = random.random() < 0.1, random.random() < 0.15
    booked = 0 if walk_in or withdrawn else random.randint(0, capacity + overbooking)
    return {
        "id": new_id(),
        "practitioner_id": None if nobody else random.choice(list(of.practitioners)),
        "location_id": location,
        "organization_id": organization,
        "organization_type": type_,
        "territory": of.world.territory,
        "zone": of.world.zone,
        "latitude": 46.8,
        "longitude": 1.7,
        "reduced_mobility": False,
        "starts_at": start,
        "ends_at": start + timedelta(minutes=30),
        "modes": ["AMB"],
        "visibility": random.choice(_LABELS),
        "capacity": capacity,
        "overbooking": overbooking,
        "booked": booked,
        "walk_in": walk_in,
        "withdrawn_at": of.now if withdrawn else None,
        "created_at": start - timedelta(minutes=random.choice((900, 20_000))),
        **_release(random, start),
    }


def _release(random: Random, start: datetime) -> Row:
    """Instants of a release, of half of the slots."""
    columns = ("pro_from", "cpts_from", "public_from", "given_back_from")
    often = random.choice((0, 0.5))
    return {
        column: start - timedelta(minutes=random.choice((60, 1440, 3000)))
        if random.random() < often
        else None
        for column in columns
    }


def _bookings(random: Random, of: Territory, slot: Row) -> list[Row]:
    kept = [_booking(random, of, slot, cancelled=False) for _ in range(slot["booked"])]
    given_back = random.choice((0, 0, 1))
    return kept + [_booking(random, of, slot, cancelled=True) for _ in range(given_back)]


def _booking(random: Random, of: Territory, slot: Row, *, cancelled: bool) -> Row:
    state, who = "booked", None
    if cancelled:
        state, who = "cancelled", random.choice(("patient", "requester", "doctor", "system"))
    elif slot["starts_at"] <= of.now:
        state = random.choice(("booked", "fulfilled", "fulfilled", "noshow"))
    role, type_ = random.choice(_REQUESTERS)
    notice: Any = random.choice((1440, 2880, random.randrange(1, 6000), random.randrange(1, 1500)))
    call = random.choice(of.calls) if random.random() < 0.6 else None
    if call is not None and call["state"] == "void":
        call = None
    if call is not None:
        call["outcome_mask"] |= 2  # what a booking does to its call
        call["received_at"] = slot["starts_at"] - timedelta(minutes=notice)
    return {
        "id": new_id(),
        "slot_id": slot["id"],
        "patient_file_id": new_id(),
        "starts_at": slot["starts_at"],
        "ends_at": slot["ends_at"],
        "practitioner_id": slot["practitioner_id"],
        "practitioner_organization_id": slot["organization_id"],
        "territory": of.world.territory,
        "state": state,
        "organization_id": new_id(),
        "organization_type": type_,
        "role": role,
        "call_id": call and call["id"],
        "cancelled_by": who,
        "cancelled_at": slot["starts_at"] - timedelta(minutes=random.randrange(notice))
        if cancelled
        else None,
        "sent_to_emergency": state in {"fulfilled", "noshow"} and random.random() < 0.2,
        "created_at": slot["starts_at"] - timedelta(minutes=notice),
    }


def _call(random: Random, of: Territory) -> Row:
    received = _instant(random, of, random.randrange(-DAYS * 48, DAYS * 48))
    requested = received + timedelta(seconds=random.randrange(600))
    attempted = requested + timedelta(seconds=random.choice((3600, random.randrange(9000))))
    tried = random.random() < 0.8
    void = random.random() < 0.1
    return {
        "id": new_id(),
        "territory": of.world.territory,
        "zone": of.world.zone,
        "organization_id": new_id(),
        "cpts_id": random.choice([*of.cpts, None]),
        "line": "116117",
        "received_at": received,
        "priority": random.choice(("P0", "P1", "P2", "P3", "NR")),
        "state": "void" if void else "closed",
        "outcome_mask": 0 if void else random.randrange(64),
        "callback_requested_at": requested if random.random() < 0.8 else None,
        "first_attempt_at": attempted if tried else None,
        "called_back_at": attempted if tried and random.random() < 0.7 else None,
    }
