"""One house for the matrix: every role in three organizations, and the things they ask for."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from service.identity import (
    OPERATOR,
    Identifier,
    Role,
    give_grant,
    open_account,
    revoke_client,
)
from service.kernel.ids import new_id
from tests.access.matrix import DISTANCES, GROUPS
from tests.support import Caller, World, soon

_TYPES = {"reg": "sas", "pro": "pharmacy", "doc": "practice", "man": "cpts"}


@dataclass(frozen=True)
class Standing:
    """A caller, and where it stands."""

    group: str
    distance: str
    caller: Caller


@dataclass
class House:
    """The callers, those whose right was taken back, and the things by name."""

    standings: list[Standing]
    revoked: Mapping[Role, Caller]
    things: dict[str, str]
    by_role: Mapping[tuple[str, Role], str]

    def named(self, role: Role) -> dict[str, str]:
        """Return the things as one role asks for them: what a request uses up is one's own."""
        own = {name: value for (name, of), value in self.by_role.items() if of is role}
        return {**self.things, **own}


async def build(world: World) -> House:
    """Build it through the API."""
    far = await World(world.database, world.http).begin()
    standings = [
        Standing(group, distance, caller)
        for group in GROUPS
        for distance in DISTANCES
        for caller in await _callers(far if distance == "far" else world, group)
    ]
    own = {s.caller.role: s.caller for s in standings if s.distance == "own"}
    revoked = {role: await _revoked(world, caller) for role, caller in own.items()}
    for standing in standings:  # who gives rights says who they are
        if standing.caller.role in {Role.MANAGER, Role.ADMIN, Role.DOCTOR}:
            await standing.caller.sign_in(user_system="urn:x", user_id=standing.distance)
    things, by_role = await _things(world, own)
    return House(standings, revoked, things, by_role)


async def _callers(world: World, group: str) -> list[Caller]:
    """Return one caller a role, of one new organization."""
    kind = _TYPES.get(group, "other")
    organization = await world.organization(kind)
    place = await world.location(organization)
    practitioner = await world.practitioner(place) if group == "doc" else None
    found = []
    for role in GROUPS[group]:
        caller = await world.caller(
            role, organization, kind, practitioner_ids=[practitioner] if practitioner else []
        )
        caller.practitioner_id, caller.location_id = practitioner, place
        found.append(caller)
    return found


async def _revoked(world: World, twin: Caller) -> Caller:
    """Return a caller like another, whose right was taken back while its token lives."""
    mine = [twin.practitioner_id] if twin.practitioner_id else []
    caller = await world.caller(twin.role, twin.organization_id, "other", practitioner_ids=mine)
    async with world.database.unit_of_work() as uow:
        await revoke_client(uow, caller.secret.client_id)
    return caller


async def _above(world: World, admin: Caller) -> UUID:
    """Return a person whose right is nobody's to take by a request: the administration."""
    async with world.database.unit_of_work() as uow:
        account = await open_account(
            uow, OPERATOR, identifier=Identifier("urn:x", new_id().hex), family_name=None,
            given_name=None, email=None,
        )  # fmt: skip
        await give_grant(
            uow, account_id=account.id, role=Role.ADMIN, organization_id=admin.organization_id,
            organization_type="other", territories=[world.territory],
        )  # fmt: skip
    return account.id


async def _made(caller: Caller, path: str, body: object) -> dict[str, str]:
    answer = await caller.post(path, body)
    assert answer.status_code == 201, answer.text
    found: dict[str, str] = answer.json()
    return found


async def _things(
    world: World, own: Mapping[Role, Caller]
) -> tuple[dict[str, str], dict[tuple[str, Role], str]]:
    doctor, pharmacist, regulator = own[Role.DOCTOR], own[Role.PHARMACIST], own[Role.REGULATOR]
    start = soon(5)
    slot = await doctor.publish(start)
    shown = await doctor.publish(soon(6), visibility=["PRO"], capacity=30)
    walk_in = await doctor.publish(soon(7), walk_in=True)
    phone = f"+336{UUID(slot['id']).int % 10**8:08d}"
    booking = await _made(
        pharmacist,
        "/v1/bookings",
        {
            "slot_id": shown["id"],
            "patient_file": {"family_name": "Témoin", "age": 40, "phone": phone},
        },
    )
    call_file = await _made(regulator, "/v1/patient-files", {"family_name": "Témoin", "age": 40})
    call = await _made(
        regulator,
        "/v1/calls",
        {
            "line": "116117",
            "received_at": soon(-1).isoformat(),
            "patient_file_id": call_file["id"],
            "callback_requested": True,
        },
    )
    called = await regulator.post(f"/v1/calls/{call['id']}/outcomes", {"outcome": "other"})
    assert called.status_code == 201, called.text
    need = await _made(
        pharmacist,
        "/v1/unmet-needs",
        {
            "motive": "M07.00",
            "commune": "36044",
            "mode": "AMB",
            "reason": "no_room",
            "from": start.isoformat(),
            "to": soon(9).isoformat(),
        },
    )
    practitioner = (await doctor.get(f"/v1/practitioners/{doctor.practitioner_id}")).json()
    session = await _made(
        doctor,
        "/v1/slot-sessions",
        {
            "practitioner_id": str(doctor.practitioner_id),
            "location_id": str(doctor.location_id),
            "date": (start + timedelta(days=9)).date().isoformat(),
            "start": "14:00",
            "end": "14:20",
            "slot_minutes": 20,
        },
    )
    legal_hold = await _made(regulator, "/v1/legal-holds", {"case_id": "x", "reason": "Épreuve"})
    lifted = await regulator.delete(f"/v1/legal-holds/{legal_hold['id']}")
    assert lifted.status_code == 200, lifted.text
    delegation = await _made(
        doctor,
        "/v1/grants",
        {
            "person": {"system": "urn:x", "value": "secretary"},
            "role": "delegate",
            "organization_id": str(doctor.organization_id),
            "practitioner_ids": [str(doctor.practitioner_id)],
        },
    )
    grants = (await own[Role.MANAGER].get("/v1/grants", params={"role": "admin"})).json()["items"]
    by_role = {}
    for role in GROUPS["pro"]:
        held = await _made(own[role], f"/v1/slots/{shown['id']}/holds", {})
        by_role["hold", role] = held["id"]
    for n, role in enumerate(GROUPS["doc"]):
        day = soon(24 * (40 + n))
        absence = await _made(
            doctor,
            f"/v1/practitioners/{doctor.practitioner_id}/absences",
            {"from": day.isoformat(), "to": (day + timedelta(hours=1)).isoformat()},
        )
        by_role["absence", role] = absence["id"]
    things = {
        "territory": world.territory,
        "organization": str(doctor.organization_id),
        "practitioner": str(doctor.practitioner_id),
        "rpps": practitioner["rpps"],
        "location": str(doctor.location_id),
        "starts_at": slot["starts_at"],
        "ends_at": slot["ends_at"],
        "date": (start + timedelta(days=9)).date().isoformat(),
        "slot": slot["id"],
        "pro_slot": shown["id"],
        "walk_in": walk_in["id"],
        "hold": by_role["hold", Role.PHARMACIST],
        "booking": booking["id"],
        "file": booking["patient_file_id"],
        "phone": phone,
        "call": call["id"],
        "call_file": call_file["id"],
        "outcome": called.json()["id"],
        "need": need["id"],
        "session": session["id"],
        "legal_hold": legal_hold["id"],
        "grant": grants[0]["id"],
        "delegation": delegation["id"],
        "community": str(own[Role.MANAGER].organization_id),
        "person": str(await _above(world, own[Role.ADMIN])),
        "absence": by_role["absence", Role.DOCTOR],
    }
    return things, by_role
