"""The live part of the demo: who may sign in, and free slots for today and the coming three days.

What a day offers is a table. A slot of it is known by its `external_id`: a restart adds what is
missing and touches nothing that is there. Booked, moved or withdrawn, it stays as it is.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cache
from typing import Any

from service import directory, identity, slots
from service.demo.clients import Wanted
from service.demo.draw import Identifiers, Row
from service.demo.indre_people import CREATED
from service.demo.indre_people import directory as people
from service.demo.indre_places import CENTRE, TERRITORY
from service.demo.indre_time import ZONE, local
from service.identity import Actor, Role
from service.kernel import events
from service.kernel.db import Database, UnitOfWork
from service.kernel.sql import bind, texts, uuids
from service.kernel.tables import Instant
from service.schema import metadata
from service.slots import Audience, ReleaseTo, SlotDraft, Step

_DAYS = 4  # today and the coming three
_ABOUT_TO_START = timedelta(minutes=2)  # too late to publish: the clock runs on meanwhile

_TOWN = "Cabinet médical des Tilleuls, Châteauroux"
_ARGENTON = "Cabinet médical des Écoles, Argenton-sur-Creuse"
_VATAN = "Maison de santé des Vergers, Vatan"
_HOUSE = "Maison de santé du Moulin, Châteauroux"
_DUTY = "Centre de soins non programmés de la Fontaine, Châteauroux"
_COMMUNITY = "CPTS Châteauroux and Co"
_GP_PRACTICE = "Cabinet médical de la Gare, Déols"
_ALONE = (_TOWN, _ARGENTON, _VATAN)  # where a doctor has a client of their own

# --- organizations ------------------------------------------------------------------------------


_ADDED = (
    ("86", "sas", "SAS de la Vienne, centre de régulation", "86194"),
    (TERRITORY, "other", "Plateforme téléphonique des soignants de l'Indre", CENTRE),
    (TERRITORY, "other", "Plateforme numérique SAS", CENTRE),
)
_ADD = metadata.tables["organizations"].insert()


@cache
def _added() -> tuple[Row, ...]:
    """The organizations that the year 2022 did not need."""
    ids, names = Identifiers("live/organizations"), ("territory", "type", "name", "commune")
    return tuple(
        {"id": ids.at(CREATED), "cpts_ids": [], **dict(zip(names, values, strict=True))}
        for values in _ADDED
    )


async def ensure_organizations(database: Database) -> None:
    """Add the organizations of the demo's clients that the data set does not hold."""
    async with database.unit_of_work() as uow:
        for row in _added():
            try:
                await directory.organization(uow, row["id"])
            except directory.OrganizationNotFound:
                await uow.execute(_ADD, row)
                fact = {"territory": row["territory"], "data": {"type": row["type"]}}
                await events.record(uow, events.OPERATOR, "organization.created", row["id"], **fact)


@cache
def _named(name: str) -> Row:
    return next(row for row in (*people().organizations, *_added()) if row["name"] == name)


@cache
def _location(organization: str) -> Row:
    owner = _named(organization)["id"]
    return next(row for row in people().locations if row["organization_id"] == owner)


@cache
def _staff(organization: str) -> tuple[Row, ...]:
    place, found = _location(organization), people()
    return tuple(d for d in found.practitioners if place in found.places_of(d["id"]))


# --- clients ------------------------------------------------------------------------------------


def wanted_clients() -> list[Wanted]:
    """Every client that the demo offers: each role in the Indre, then the regulator next door."""
    sas, practice = people().the("sas"), _named(_GP_PRACTICE)
    pharmacy = people().of_type("pharmacy")[0]
    emergencies = people().of_type("emergency_department")[0]
    neighbour, telephone, platform = _added()
    return [
        _client("Régulation SAS 36", Role.REGULATOR, sas),
        _client("Opérateurs SNP du SAS 36", Role.OSNP, sas),
        _client("Assistants de régulation du SAS 36", Role.ARM, sas),
        *map(_doctor, _ALONE),
        *map(_secretariat, (_HOUSE, _DUTY)),
        _client(pharmacy["name"], Role.PHARMACIST, pharmacy),
        _client(emergencies["name"], Role.EMERGENCY_NURSE, emergencies),
        _client(practice["name"], Role.PROFESSIONAL, practice),
        _client(telephone["name"], Role.PLATFORM_OPERATOR, telephone),
        _client(f"Coordination {_COMMUNITY}", Role.MANAGER, _named(_COMMUNITY)),
        _client("Observatoire SAS 36", Role.ANALYST, sas),
        _client("Plateforme numérique SAS 36", Role.SAS_PLATFORM, platform),
        _client("Administration SAS 36", Role.ADMIN, sas),
        _client("Régulation SAS 86", Role.REGULATOR, neighbour),
    ]


def _client(name: str, role: Role, organization: Row, doctors: Sequence[Row] = ()) -> Wanted:
    itself = [organization["id"]] if organization["type"] == "cpts" else []
    ids = [doctor["id"] for doctor in doctors]
    return Wanted(
        name=name,
        role=role,
        territory=organization["territory"],
        organization_id=organization["id"],
        organization_type=organization["type"],
        cpts_ids=[*itself, *organization["cpts_ids"]],
        practitioner_id=ids[-1] if ids else None,
        practitioner_ids=ids,
    )


def _doctor(organization: str) -> Wanted:
    doctor = _staff(organization)[-1]
    name = f"Dr {doctor['given_name']} {doctor['family_name']} (effecteur)"
    return _client(name, Role.DOCTOR, _named(organization), [doctor])


def _secretariat(organization: str) -> Wanted:
    name = f"Secrétariat, {organization}"
    return _client(name, Role.DELEGATE, _named(organization), _staff(organization))


# --- what a day offers --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Session:
    """The slots of one doctor (the place in the staff; None: nobody is named yet) every day."""

    organization: str
    doctor: int | None
    hours: Sequence[int]
    visibility: tuple[str, ...] = ("SNP",)
    modes: tuple[str, ...] = ("AMB",)
    every: int = 20
    minutes: int = 20
    capacity: int = 1
    overbooking: int = 0
    walk_in: bool = False
    organization_types: tuple[str, ...] = ()
    note: str | None = None
    release: tuple[Step, ...] = ()

    def of(self, day: date) -> Iterator[SlotDraft]:
        """The slots of a day; an hour that the clocks skip has none."""
        for hour in self.hours:
            for minute in range(0, 60, self.every):
                starts_at = local(day, hour, minute)
                if starts_at.astimezone(ZONE).hour == hour:
                    yield self._at(starts_at, f"{day}-{hour:02}{minute:02}")

    def _at(self, starts_at: datetime, when: str) -> SlotDraft:
        doctor = None if self.doctor is None else _staff(self.organization)[self.doctor]
        cpts = _named(self.organization)["cpts_ids"] if "CPTS" in self.visibility else ()
        return SlotDraft(
            practitioner_id=None if doctor is None else doctor["id"],
            location_id=_location(self.organization)["id"],
            starts_at=starts_at,
            ends_at=starts_at + timedelta(minutes=self.minutes),
            modes=self.modes,
            specialty="SM54" if doctor is None else doctor["specialty"],
            audience=Audience(self.visibility, tuple(cpts), self.organization_types, ()),
            capacity=self.capacity,
            overbooking=self.overbooking,
            walk_in=self.walk_in,
            note=self.note,
            release=self.release,
            external_id=f"demo-{when}-{'csnp' if doctor is None else doctor['id']}",
        )


# Whoever has a client of their own leaves most of the day to those who try the service.
_NIGHT = (*range(8), *range(19, 24))
_AT_LAST = (Step(120, ReleaseTo.PRO), Step(60, ReleaseTo.PUBLIC))
_OR_ELSE_MINE = (Step(30, ReleaseTo.GIVE_BACK),)
_SESSIONS = (
    _Session(_TOWN, -1, [9], overbooking=1, release=_AT_LAST),
    _Session(_ARGENTON, -1, [14, 15], ("SNP", "PRO"), ("AMB", "VR")),
    _Session(_VATAN, -1, [10, 11], ("PUBLIC", "PRO", "SNP")),
    _Session(_HOUSE, 0, _NIGHT, ("SNP", "PRO"), ("VR",), 30, note="Garde en téléconsultation"),
    _Session(_HOUSE, 1, range(24), modes=("HH",), every=60, note="Garde mobile"),
    _Session(_HOUSE, 2, [9, 10], ("CPTS",), release=_OR_ELSE_MINE),
    _Session(_HOUSE, 2, [11], ("CPTS",), organization_types=("pharmacy",)),
    _Session(_HOUSE, 3, [14, 15, 16], ("PRO",), overbooking=1, release=_AT_LAST[1:]),
    _Session(_DUTY, 0, range(20, 24), ("SNP", "PRO")),
    _Session(_DUTY, 0, [18, 19], ("SNP", "PRO"), every=60, minutes=60, walk_in=True,
             note="Sans rendez-vous"),
    _Session(_DUTY, None, range(8, 20), every=30, capacity=3),
)  # fmt: skip

# Before the doctors of `_ALONE` begin: appointments that are over (see `past`).
_EARLY = tuple(_Session(organization, -1, [8]) for organization in _ALONE)


def early(day: date) -> list[SlotDraft]:
    """What was offered early on a day, and is over by nine o'clock."""
    return [draft for session in _EARLY for draft in session.of(day)]


# --- publishing ---------------------------------------------------------------------------------

_s, _g = slots.parts.slot.c, metadata.tables["grants"]
_GRANTS = _g.select().where(_g.c.client_id == uuids("ids").any_(), _g.c.revoked_at.is_(None))
_THEIRS = (_s.practitioner_id == uuids("practitioner_ids").any_()) & _s.withdrawn_at.is_(None)
_THEN = (_s.starts_at < bind("until", Instant)) & (_s.ends_at > bind("since", Instant))
_OURS = _s.external_id == texts("external_ids").any_()
_IN_THE_WAY = slots.parts.slot.select().where(_OURS | (_THEIRS & _THEN))


async def publish_slots(database: Database, now: datetime) -> int:
    """Publish what is missing until the end of the third day from now; tell how many slots.

    The clients of `wanted_clients` publish them, each for its doctors; one that is gone does not.
    """
    async with database.unit_of_work() as uow:
        actors = await _publishers(uow)
    return sum([await _publish(database, actor, _offered(actor, now)) for actor in actors])


async def _publish(database: Database, actor: Actor, offered: Sequence[SlotDraft]) -> int:
    async with database.unit_of_work() as uow:
        drafts = await missing(uow, offered) if offered else []
        if drafts:
            await slots.publish(uow, actor, drafts, [f"#/{d.external_id}" for d in drafts])
    return len(drafts)


def _offered(actor: Actor, now: datetime) -> list[SlotDraft]:
    """What a client's doctors offer from now on."""
    today = now.astimezone(ZONE).date()
    return [
        draft
        for session in _SESSIONS
        if _named(session.organization)["id"] == actor.organization_id
        for number in range(_DAYS)
        for draft in session.of(today + timedelta(days=number))
        if draft.starts_at > now + _ABOUT_TO_START + slots.gives_back_before(draft.release)
        and draft.practitioner_id in {None, *actor.practitioner_ids}
    ]


async def missing(uow: UnitOfWork, drafts: Sequence[SlotDraft]) -> list[SlotDraft]:
    """Leave out what was published before, what overlaps, and closed places."""
    asked = {
        "external_ids": [d.external_id for d in drafts],
        "practitioner_ids": [d.practitioner_id for d in drafts if d.practitioner_id],
        "since": min(d.starts_at for d in drafts),
        "until": max(d.ends_at for d in drafts),
    }
    rows = (await uow.execute(_IN_THE_WAY, asked)).all()
    places = await directory.places(uow, [d.location_id for d in drafts])
    return [
        draft
        for draft in drafts
        if draft.location_id in places and not any(_blocks(row, draft) for row in rows)
    ]


def _blocks(row: Any, draft: SlotDraft) -> bool:
    """Tell whether a published slot is this one, or at the same time of the same doctor."""
    return row.external_id == draft.external_id or (
        row.withdrawn_at is None
        and row.practitioner_id == draft.practitioner_id is not None
        and row.starts_at < draft.ends_at
        and row.ends_at > draft.starts_at
    )


async def _publishers(uow: UnitOfWork) -> list[Actor]:
    """The doctors' clients of the demo, as their grants say."""
    keys = {wanted.key for wanted in wanted_clients() if wanted.practitioner_ids}
    names = {
        row["id"]: row["name"]
        for row in await identity.list_clients(uow)
        if row["revoked_at"] is None
        and (row["name"], row["role"], str(row["organization_id"])) in keys
    }
    return [
        Actor(
            client_id=row.client_id,
            client_name=names[row.client_id],
            grant_id=row.id,
            grant_revision=row.revision,
            role=Role(row.role),
            organization_id=row.organization_id,
            organization_type=row.organization_type,
            territories=tuple(row.territories),
            cpts_ids=tuple(row.cpts_ids),
            practitioner_ids=tuple(row.practitioner_ids),
        )
        for row in await uow.execute(_GRANTS, {"ids": list(names)})
    ]
