"""Who and what a load meets: a territory, its doctors, open slots, and callers with tokens."""

import asyncio
import json
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import asyncpg
from pydantic import SecretStr

from load_tests.stack import Stack
from service.identity import NewSecret, Role, create_client, give_grant
from service.kernel.crypto import Vault, load_keys
from service.kernel.db import Database
from service.kernel.settings import Settings

TERRITORY = "36"
CENTRE = (46.81, 1.69)
SAS = UUID("00000000-0000-7000-8000-000000000001")
PHARMACY = UUID("00000000-0000-7000-8000-000000000002")

# A slot of 20 minutes every 20 minutes for each doctor: as many doctors as the slots need over
# `days`, in a square of about 160 km around the centre (a département and its neighbours).
_DIRECTORY = """
INSERT INTO territories (id, name, zone, default_radius_km, enlargement_km)
  VALUES ('36', 'Indre', 'Europe/Paris', 30, 15) ON CONFLICT DO NOTHING;
INSERT INTO organizations (id, territory, type, name) VALUES
  ('00000000-0000-7000-8000-000000000001', '36', 'sas', 'SAS 36'),
  ('00000000-0000-7000-8000-000000000002', '36', 'pharmacy', 'Pharmacie') ON CONFLICT DO NOTHING;
"""

_TERRITORIES = """
INSERT INTO territories (id, name, zone, default_radius_km, enlargement_km)
  SELECT t, 'Territory ' || t, 'Europe/Paris', 30, 15
  FROM unnest($1::text[]) t ON CONFLICT DO NOTHING
"""

_DOCTORS = """
WITH d AS (
  SELECT n,
         ('00000000-0000-7000-8001-' || lpad(to_hex($3 + n), 12, '0'))::uuid AS organization,
         ('00000000-0000-7000-8002-' || lpad(to_hex($3 + n), 12, '0'))::uuid AS location,
         ('00000000-0000-7000-8003-' || lpad(to_hex($3 + n), 12, '0'))::uuid AS practitioner,
         $4 + (n * 7919 % 1000) / 1000.0 * 1.4 - 0.7 AS latitude,
         $5 + (n * 6151 % 1000) / 1000.0 * 2.0 - 1.0 AS longitude
  FROM generate_series(0, $2 - 1) n
), o AS (
  INSERT INTO organizations (id, territory, type, name)
    SELECT organization, $1, 'practice', 'Cabinet ' || n FROM d RETURNING 1
), l AS (
  INSERT INTO locations (id, organization_id, name, commune, latitude, longitude)
    SELECT location, organization, 'Cabinet', '36044', latitude, longitude FROM d RETURNING 1
), p AS (
  INSERT INTO practitioners (id, rpps, family_name, given_name, specialty, territory)
    SELECT practitioner, lpad((20000000000 + $3 + n)::text, 11, '0'), 'Dupont', 'Camille',
           'SM26', $1 FROM d RETURNING 1
)
INSERT INTO practitioner_locations (practitioner_id, location_id)
  SELECT practitioner, location FROM d
"""

_SLOTS = """
INSERT INTO slots (id, practitioner_id, location_id, organization_id, organization_type, territory,
                   zone, latitude, longitude, reduced_mobility, starts_at, ends_at, modes,
                   specialty, visibility, capacity)
SELECT gen_random_uuid(), p.id, l.id, l.organization_id, 'practice', p.territory, 'Europe/Paris',
       l.latitude, l.longitude, l.reduced_mobility, start, start + interval '20 minutes',
       '{AMB}', 'SM26', '{SNP,PRO}', 1
FROM practitioners p
JOIN practitioner_locations pl ON pl.practitioner_id = p.id
JOIN locations l ON l.id = pl.location_id
CROSS JOIN LATERAL generate_series(
  date_trunc('hour', snp_now()) + interval '2 hours',
  date_trunc('hour', snp_now()) + interval '2 hours' + ($3 - 1) * interval '20 minutes',
  interval '20 minutes') start
WHERE p.territory = $1 AND p.id = ANY($2::uuid[])
"""


@dataclass(frozen=True)
class Callers:
    """Tokens by name, and the clients they belong to."""

    secrets: Mapping[str, NewSecret]

    def sign_in(self, port: int, name: str = "regulator") -> str:
        """Get a token from a server."""
        secret = self.secrets[name]
        form = {
            "grant_type": "client_credentials",
            "client_id": str(secret.client_id),
            "client_secret": secret.client_secret,
        }
        with urllib.request.urlopen(
            f"http://127.0.0.1:{port}/oauth/token",
            data=urllib.parse.urlencode(form).encode(),
            timeout=10,
        ) as answer:
            token: str = json.load(answer)["access_token"]
            return token


async def open_database(stack: Stack) -> Database:
    """Open the stack's database as the application."""
    settings = Settings.model_validate(
        {"database_url": SecretStr(stack.app_url), "keys": SecretStr(stack.keys)}
    )
    return Database(stack.app_url, settings, Vault(load_keys(settings)))


async def _callers(stack: Stack) -> Callers:
    opened = await open_database(stack)
    secrets = {}
    try:
        async with opened.unit_of_work() as uow:
            for name, role, organization, kind in (
                ("regulator", Role.REGULATOR, SAS, "sas"),
                ("osnp", Role.OSNP, SAS, "sas"),
                ("pharmacist", Role.PHARMACIST, PHARMACY, "pharmacy"),
            ):
                secrets[name] = await create_client(uow, name=f"load: {name}")
                await give_grant(
                    uow,
                    client_id=secrets[name].client_id,
                    role=role,
                    organization_id=organization,
                    organization_type=kind,
                    territories=[TERRITORY],
                )
    finally:
        await opened.dispose()
    return Callers(secrets)


async def people(stack: Stack) -> Callers:
    """Make the territory, its regulation centre and the callers."""
    connection = await asyncpg.connect(stack.superuser_url)
    try:
        await connection.execute(_DIRECTORY)
    finally:
        await connection.close()
    return await _callers(stack)


async def fill(
    connection: "asyncpg.Connection[Any]",
    *,
    doctors: int,
    each: int,
    first: int = 0,
    territory: str = TERRITORY,
    centre: tuple[float, float] = CENTRE,
) -> None:
    """Add doctors of a territory, each with `each` open slots on end from two hours on."""
    await connection.execute(_TERRITORIES, [territory])
    await connection.execute(_DOCTORS, territory, doctors, first, *centre)
    ids = [
        UUID(f"00000000-0000-7000-8003-{number:012x}") for number in range(first, first + doctors)
    ]
    await connection.execute(_SLOTS, territory, ids, each)


async def open_slots(stack: Stack, number: int, *, doctors: int = 200) -> None:
    """Add this many open slots (rounded down to a multiple of the doctors)."""
    connection = await asyncpg.connect(stack.superuser_url)
    try:
        await fill(connection, doctors=doctors, each=number // doctors)
        await connection.execute("VACUUM (ANALYZE)")
    finally:
        await connection.close()


async def analyze(stack: Stack) -> None:
    """Refresh the statistics, after which every cached plan is made anew."""
    connection = await asyncpg.connect(stack.superuser_url)
    try:
        await connection.execute("ANALYZE")
    finally:
        await connection.close()


async def slot_ids(stack: Stack, number: int, offset: int = 0) -> list[str]:
    """Return ids of open slots, in no order."""
    connection = await asyncpg.connect(stack.superuser_url)
    try:
        rows = await connection.fetch(
            "SELECT id FROM slots WHERE booked = 0 ORDER BY id LIMIT $1 OFFSET $2", number, offset
        )
    finally:
        await connection.close()
    return [str(row["id"]) for row in rows]


def build(stack: Stack, slots: int, *, doctors: int = 200) -> Callers:
    """Make the world of a run."""

    async def make() -> Callers:
        callers = await people(stack)
        await open_slots(stack, slots, doctors=doctors)
        return callers

    return asyncio.run(make())
