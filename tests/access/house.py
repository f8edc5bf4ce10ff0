"""One house for the matrix: every role in three organizations, and the things they ask for."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import product
from uuid import UUID

import httpx
from sqlalchemy import func, update

from service.directory.tables import organizations
from service.identity import (
    OPERATOR,
    PERMISSIONS,
    Identifier,
    Role,
    give_grant,
    list_grants,
    open_account,
    revoke_client,
    revoke_grant,
)
from service.identity.tables import grants
from service.kernel.db import UnitOfWork
from service.kernel.ids import new_id
from tests.access.matrix import DISTANCES, GROUPS
from tests.identity.people import Desk, somebody
from tests.identity.proofs import Proofs
from tests.support import Caller, World, soon

_TYPES = {"reg": "sas", "pro": "pharmacy", "doc": "practice", "man": "cpts"}
_GIVERS = frozenset({Role.MANAGER, Role.ADMIN, Role.DOCTOR})


class Proof(StrEnum):
    """How a caller proves who it is."""

    SECRET = "a secret"
    CERTIFICATE = "a certificate"
    PERSON = "an issuer's word for a person"


@dataclass(frozen=True)
class Standing:
    """A caller, where it stands, and how it proves that: in the end, by headers."""

    group: str
    distance: str
    caller: Caller
    headers: str
    proof: Proof = Proof.SECRET


@dataclass
class House:
    """The callers, and the things by name."""

    standings: list[Standing]
    things: dict[str, str]
    used_up: Mapping[tuple[str, Role, Proof], str]

    def named(self, standing: Standing) -> dict[str, str]:
        """Return the things as one caller asks for them: what a request uses up is one's own."""
        mine = (standing.caller.role, standing.proof)
        own = {name: value for (name, *of), value in self.used_up.items() if tuple(of) == mine}
        return {**self.things, **own}


async def build(world: World) -> House:
    """Build it through the API; everybody signs in with a secret."""
    far = await World(world.database, world.http).begin()
    standings = [
        standing
        for distance in DISTANCES
        for standing in await _standings(far if distance == "far" else world, distance)
    ]
    own = {s.caller.role: s.caller for s in standings if s.distance == "own"}
    things, used_up = await _things(world, own)
    return House(standings, things, used_up)


async def _standings(world: World, distance: str) -> list[Standing]:
    """Return one caller a role, each group of one new organization."""
    found = []
    for group, roles in GROUPS.items():
        kind = _TYPES.get(group, "other")
        organization = await world.organization(kind)
        place = await world.location(organization)
        practitioner = await world.practitioner(place) if group == "doc" else None
        for role in roles:
            caller = await world.caller(
                role, organization, kind, practitioner_ids=[practitioner] if practitioner else []
            )
            caller.practitioner_id, caller.location_id = practitioner, place
            if role in _GIVERS:  # who gives rights says who they are
                await caller.sign_in(user_system="urn:x", user_id=distance)
            found.append(Standing(group, distance, caller, _bearer(caller)))
    return found


def _bearer(caller: Caller) -> str:
    return f"Authorization: Bearer {caller.token}\r\n"


# --- who proves it otherwise ----------------------------------------------------------------------


async def proven_otherwise(
    standings: Sequence[Standing], proofs: Proofs, desk: Desk
) -> list[Standing]:
    """Return callers in the place of others: software by its certificate, people by an issuer.

    The desk asks the server from `PROXY`.
    """
    return [
        twin
        for standing in standings
        for twin in (await _certified(standing, proofs, desk), await _person(standing, desk))
    ]


async def _certified(like: Standing, proofs: Proofs, desk: Desk) -> Standing:
    """Return software that shows a certificate; and no token, unless it must say who gives."""
    of = like.caller
    caller = await World(desk.database, of.http, territory=of.territory).caller(
        of.role,
        of.organization_id,
        _TYPES.get(like.group, "other"),
        practitioner_ids=_acts_for(of),
        sign_in=False,
    )
    headers = await proofs.certify(desk.database, caller.secret.client_id)
    if of.role in _GIVERS:
        caller.token = await _token(caller.secret.client_id, headers, like.distance, desk.http)
        headers += _bearer(caller)
    return replace(like, caller=caller, headers=headers, proof=Proof.CERTIFICATE)


async def _token(client_id: UUID, header: str, who: str, http: httpx.AsyncClient) -> str:
    """Return a token of software that shows a certificate, and says who works with it."""
    name, _, value = header.strip().partition(": ")
    said = {"client_id": str(client_id), "user_system": "urn:x", "user_id": who}
    form = {"grant_type": "client_credentials", **said}
    answer = await http.post("/oauth/token", data=form, headers={name: value})
    assert answer.status_code == 200, answer.text
    token: str = answer.json()["access_token"]
    return token


async def _person(like: Standing, desk: Desk) -> Standing:
    """Return a person, with software that has no right of its own."""
    of, person = like.caller, somebody(desk.provider)
    here = replace(desk, world=World(desk.database, desk.http, territory=of.territory))
    await here.grant(
        person,
        of.role,
        _TYPES.get(like.group, "other"),
        of.organization_id,
        practitioner_ids=_acts_for(of),
    )
    caller = await here.caller(desk.provider.token(sub=person.value), of.role)
    return replace(like, caller=caller, headers=_bearer(caller), proof=Proof.PERSON)


def _acts_for(caller: Caller) -> list[UUID]:
    return [caller.practitioner_id] if caller.practitioner_id else []


# --- whose right ended ----------------------------------------------------------------------------


async def ended(world: World, proofs: Proofs, http: httpx.AsyncClient) -> dict[str, list[Standing]]:
    """Return callers whose right ended while their token lives, by how it did; once a server."""
    found = {}
    for how, end in _ENDS.items():
        desk = proofs.desk(world, http)
        if end is _revoke_software:
            desk = replace(desk, software=proofs.doomed)
        by_secret = await _standings(world, "own")
        found[how] = [*by_secret, *await proven_otherwise(by_secret, proofs, desk)]
        async with world.database.unit_of_work() as uow:
            await end(uow, found[how], {standing.caller.organization_id for standing in by_secret})
    return found


async def _revoke_software(
    uow: UnitOfWork, standings: Sequence[Standing], _organizations: Collection[UUID]
) -> None:
    for client_id in {standing.caller.secret.client_id for standing in standings}:
        await revoke_client(uow, client_id)


async def _revoke_grants(
    uow: UnitOfWork, _standings: Sequence[Standing], organizations: Collection[UUID]
) -> None:
    for organization in organizations:
        for grant in await list_grants(uow, {"organization": organization}, limit=200):
            await revoke_grant(uow, OPERATOR, grant.id)


async def _let_expire(
    uow: UnitOfWork, _standings: Sequence[Standing], organizations: Collection[UUID]
) -> None:
    over = update(grants).where(grants.c.organization_id.in_(organizations))
    await uow.execute(over.values(valid_until=func.snp_now()))


_ENDS = {
    "its software was revoked": _revoke_software,
    "its grant was revoked": _revoke_grants,
    "its grant expired": _let_expire,
}


# --- the things -----------------------------------------------------------------------------------


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


async def _point(world: World, community: UUID, at: datetime) -> dict[str, str]:
    """Return a consultation point with a slot that members of a community see, too."""
    doctor = await world.doctor(organization_type="sos")
    siret = f"{doctor.organization_id.int % 10**14:014d}"
    numbers = {
        doctor.organization_id: {"siret": siret},
        community: {"finess": f"{community.int % 10**9:09d}"},
    }
    async with world.database.unit_of_work() as uow:
        for organization, number in numbers.items():
            theirs = organizations.c.id == organization
            await uow.execute(update(organizations).where(theirs).values(number))
    await doctor.publish(at, visibility=["SNP", "CPTS"], cpts_ids=[str(community)])
    return {
        "siret": siret,
        "point": str(doctor.location_id),
        "point_structure": str(doctor.organization_id),
    }


async def _things(
    world: World, own: Mapping[Role, Caller]
) -> tuple[dict[str, str], dict[tuple[str, Role, Proof], str]]:
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
    calendar_token = await _made(
        doctor, f"/v1/practitioners/{doctor.practitioner_id}/calendar-tokens", {"name": "x"}
    )
    legal_hold = await _made(regulator, "/v1/legal-holds", {"case_id": "x1", "reason": "Épreuve"})
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
    used_up = {}
    for role, proof in product(GROUPS["pro"], Proof):
        held = await _made(own[role], f"/v1/slots/{shown['id']}/holds", {})
        used_up["hold", role, proof] = held["id"]
    for n, (role, proof) in enumerate(product(GROUPS["doc"], Proof)):
        day = soon(24 * (40 + n))
        absence = await _made(
            doctor,
            f"/v1/practitioners/{doctor.practitioner_id}/absences",
            {"from": day.isoformat(), "to": (day + timedelta(hours=1)).isoformat()},
        )
        used_up["absence", role, proof] = absence["id"]
    for caller in own.values():
        if caller.role in PERMISSIONS["webhooks.create"]:
            endpoint = await _made(caller, "/v1/webhook-endpoints", {"url": "https://x.example/"})
            amended = await caller.patch(
                f"/v1/webhook-endpoints/{endpoint['id']}", {"enabled": False}, if_match=1
            )
            assert amended.status_code == 200, amended.text
            used_up |= {("endpoint", caller.role, proof): endpoint["id"] for proof in Proof}
    community = own[Role.MANAGER].organization_id
    things = {
        **await _point(world, community, start),
        "endpoint": used_up["endpoint", Role.DOCTOR, Proof.SECRET],
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
        "hold": used_up["hold", Role.PHARMACIST, Proof.SECRET],
        "booking": booking["id"],
        "booker": str(pharmacist.organization_id),
        "file": booking["patient_file_id"],
        "phone": phone,
        "call": call["id"],
        "call_file": call_file["id"],
        "outcome": called.json()["id"],
        "need": need["id"],
        "session": session["id"],
        "calendar_token": calendar_token["id"],
        "legal_hold": legal_hold["id"],
        "grant": grants[0]["id"],
        "delegation": delegation["id"],
        "community": str(community),
        "person": str(await _above(world, own[Role.ADMIN])),
        "absence": used_up["absence", Role.DOCTOR, Proof.SECRET],
    }
    return things, used_up
