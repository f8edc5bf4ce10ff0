"""Territories as they are: doctors where people live, a regulation centre and clients in each.

`world.py` has one square territory for the bench; the journeys of locust search around communes,
so their doctors stand in communes, by population.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

import asyncpg

from load_tests import world
from load_tests.scenarios.day import Place, places
from load_tests.stack import Stack
from service import demo
from service.demo import live
from service.demo.clients import Wanted, ensure
from service.demo.files import Credential, write_clients
from service.directory import reference
from service.identity import Role

PEOPLE_A_DOCTOR = 8_000
FEWEST_DOCTORS = 5
_FEW, _EACH = 100, 24  # doctors and their slots where there is one territory
_FIRST_RPPS = 30_000_000_000

_CENTRES = """
INSERT INTO territories (id, name, zone, default_radius_km, enlargement_km)
  VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING
"""
_SAS = """
INSERT INTO organizations (id, territory, type, name) VALUES ($1, $2, 'sas', 'SAS ' || $2)
"""

# The same number n stands in the ids of a doctor, their practice and their place.
_DOCTORS = """
WITH d AS (
  SELECT n, territory, commune, latitude, longitude,
         ('00000000-0000-7000-9001-' || lpad(to_hex(n), 12, '0'))::uuid AS organization,
         ('00000000-0000-7000-9002-' || lpad(to_hex(n), 12, '0'))::uuid AS location,
         ('00000000-0000-7000-9003-' || lpad(to_hex(n), 12, '0'))::uuid AS practitioner
  FROM unnest($1::int[], $2::text[], $3::text[], $4::float[], $5::float[])
       d(n, territory, commune, latitude, longitude)
), o AS (
  INSERT INTO organizations (id, territory, type, name, commune)
    SELECT organization, territory, 'practice', 'Cabinet ' || n, commune FROM d RETURNING 1
), l AS (
  INSERT INTO locations (id, organization_id, name, commune, latitude, longitude)
    SELECT location, organization, 'Cabinet ' || n, commune, latitude, longitude FROM d RETURNING 1
), p AS (
  INSERT INTO practitioners (id, rpps, family_name, given_name, specialty, territory)
    SELECT practitioner, ($6::bigint + n)::text, 'Dupont', 'Camille', 'SM26', territory FROM d
    RETURNING 1
)
INSERT INTO practitioner_locations (practitioner_id, location_id)
  SELECT practitioner, location FROM d
"""

# Each doctor has one session of $1 slots; sessions begin from two hours on, over 24 hours. One
# doctor in 10 also sees patients by video, one in 15 at home.
_SLOTS = """
INSERT INTO slots (id, practitioner_id, location_id, organization_id, organization_type, territory,
                   zone, latitude, longitude, reduced_mobility, starts_at, ends_at, modes,
                   specialty, visibility, capacity)
SELECT gen_random_uuid(), p.id, l.id, l.organization_id, 'practice', p.territory, t.zone,
       l.latitude, l.longitude, l.reduced_mobility, start, start + interval '20 minutes',
       CASE WHEN d.n % 10 = 0 THEN '{AMB,VR}'::text[]
            WHEN d.n % 15 = 7 THEN '{AMB,HH}'::text[] ELSE '{AMB}'::text[] END,
       'SM26', CASE WHEN d.n % 3 = 0 THEN '{SNP,PRO}'::text[] ELSE '{SNP}'::text[] END, 1
FROM generate_series(0, $2 - 1) d(n)
JOIN practitioners p
  ON p.id = ('00000000-0000-7000-9003-' || lpad(to_hex(d.n), 12, '0'))::uuid
JOIN practitioner_locations pl ON pl.practitioner_id = p.id
JOIN locations l ON l.id = pl.location_id
JOIN territories t ON t.id = p.territory
CROSS JOIN LATERAL generate_series(0, $1 - 1) k
CROSS JOIN LATERAL (
  SELECT date_trunc('hour', snp_now()) + interval '2 hours'
         + (d.n * 7 % 24) * interval '1 hour' + k * interval '20 minutes' AS start) s
"""


@dataclass(frozen=True)
class Filled:
    """What a stack was filled with."""

    credentials: Sequence[Credential]
    counts: Mapping[str, int]

    def write(self, folder: Path, base_url: str) -> Path:
        """Write the credentials where locust reads them."""
        return write_clients(folder, base_url, self.credentials)


def doctors(wanted: Mapping[str, tuple[Place, ...]], people: int = PEOPLE_A_DOCTOR) -> list[Place]:
    """Return where doctors work: by the inhabitants of territories, then of communes."""
    random = Random("doctors")
    found = []
    for communes in wanted.values():
        sizes = [place.population for place in communes]
        number = max(FEWEST_DOCTORS, round(sum(sizes) / people))
        found += random.choices(communes, sizes, k=number)
    return found


def _sas(territory: str) -> UUID:
    return UUID(f"00000000-0000-7000-9000-{territory.encode().hex():0>12}")


def _regulation(territory: str) -> list[Wanted]:
    return [
        Wanted(f"Charge {territory}: {role.value}", role, territory, _sas(territory), "sas")
        for role in (Role.REGULATOR, Role.OSNP)
    ]


def _practice(number: int, place: Place) -> Wanted:
    doctor = UUID(f"00000000-0000-7000-9003-{number:012x}")
    return Wanted(
        f"Charge: logiciel {number}",
        Role.DELEGATE,
        place.territory,
        UUID(f"00000000-0000-7000-9001-{number:012x}"),
        "practice",
        practitioner_id=doctor,
    )


async def _fill(
    connection: "asyncpg.Connection[Any]", territories: Sequence[str], where: list[Place], each: int
) -> None:
    for territory in territories:
        radius = reference.search_radius(territory)
        await connection.execute(
            _CENTRES,
            territory,
            radius.label,
            reference.territory_zone(territory),
            float(radius.default_km),
            float(radius.enlargement_km),
        )
        await connection.execute(_SAS, _sas(territory), territory)
    await connection.execute(
        _DOCTORS,
        list(range(len(where))),
        [place.territory for place in where],
        [place.commune for place in where],
        [place.latitude for place in where],
        [place.longitude for place in where],
        _FIRST_RPPS,
    )
    await connection.execute(_SLOTS, each, len(where))
    await connection.execute("VACUUM (ANALYZE)")


async def _sign_up(stack: Stack, wanted: Sequence[Wanted]) -> list[Credential]:
    database = await world.open_database(stack)
    try:
        return await ensure(database, wanted, [])
    finally:
        await database.dispose()


async def _territories(
    stack: Stack, wanted: Mapping[str, tuple[Place, ...]], *, people: int, each: int, practices: int
) -> Filled:
    where = doctors(wanted, people)
    connection = await asyncpg.connect(stack.superuser_url)
    try:
        await _fill(connection, tuple(wanted), where, each)
    finally:
        await connection.close()
    clients = [client for territory in wanted for client in _regulation(territory)]
    clients += [_practice(number, where[number]) for number in range(min(practices, len(where)))]
    counts = {
        "territories": len(wanted),
        "doctors": len(where),
        "slots": len(where) * each,
        "clients": len(clients),
    }
    return Filled(await _sign_up(stack, clients), counts)


async def _indre(stack: Stack) -> Filled:
    database = await world.open_database(stack)
    try:
        rows = demo.dataset()
        async with database.unit_of_work() as uow:
            await demo.load(uow, rows)
        await live.ensure_organizations(database)
        credentials = await ensure(database, live.wanted_clients(), [])
        async with database.unit_of_work() as uow:
            now = await uow.now()
        await live.publish_slots(database, now)
    finally:
        await database.dispose()
    await demo.vacuum(stack.superuser_url)
    return Filled(credentials, {"rows": rows.total, "clients": len(credentials)})


def nation(stack: Stack) -> Filled:
    """Fill every département: about one doctor for 8 000 inhabitants, 8 slots each."""
    return asyncio.run(_territories(stack, places(), people=PEOPLE_A_DOCTOR, each=8, practices=0))


def one_territory(stack: Stack, *, slots: int, practices: int = 0) -> Filled:
    """Fill the Indre with at least so many slots: no run must end for want of them."""
    wanted = {world.TERRITORY: places()[world.TERRITORY]}
    doctors = max(slots // _EACH, practices, _FEW)
    people = sum(place.population for place in wanted[world.TERRITORY]) // doctors
    return asyncio.run(_territories(stack, wanted, people=people, each=_EACH, practices=practices))


def indre_2022(stack: Stack) -> Filled:
    """Fill it with the demo's year: calls, bookings and slots that figures are made of."""
    return asyncio.run(_indre(stack))
