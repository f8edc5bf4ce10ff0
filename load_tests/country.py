"""A country of any size: 1 000 000 open slots and 5 000 000 calls in 101 territories at 100 %.

A smaller country has fewer territories, never emptier ones: a territory and a day look the same at
every size, so that what a request about one territory costs must not depend on the size. Rows are
written in the order of time, territories mixed, as they come in real life: written one territory
after the other, each would lie together on the disk, and figures would look cheaper than they are.

A year of calls (`YEAR`) has the shares of the demo's Indre; 37 % were given a past slot, with its
patient file, booking and event. Open slots begin two hours from now and fill two weeks.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from statistics import mean
from typing import Any, TypeAlias
from uuid import UUID

import asyncpg

from service.directory import reference

Connection: TypeAlias = "asyncpg.Connection[Any]"
Say = Callable[[str], None]

YEAR = 2025
WHOLE = 101
OPEN_SLOTS = 9_901
CALLS = 49_505
DOCTORS = 100
OTHERS = 2_200
SOS = 10  # of the doctors' practices in a territory, the last: consultation points
_FIRST_RPPS = 10_000_000_000
_CHUNK = 100_000
_LOADERS = 2


def centres() -> dict[str, tuple[float, float]]:
    """Return where territories are: the mean of their communes, for overseas ones too."""
    places: dict[str, list[tuple[float, float]]] = {}
    for commune in reference.communes().values():
        places.setdefault(commune.department, []).append((commune.latitude, commune.longitude))
    return {
        code: (mean(at[0] for at in found), mean(at[1] for at in found))
        for code, found in sorted(places.items())
    }


def territories(number: int) -> list[str]:
    """Name that many territories; the Indre is always among them."""
    return ["36", *[code for code in centres() if code != "36"][: number - 1]]


@dataclass(frozen=True)
class Country:
    """How many territories, and how much in each."""

    codes: Sequence[str]
    open_slots: int = OPEN_SLOTS
    calls: int = CALLS
    doctors: int = DOCTORS
    others: int = OTHERS
    written: dict[str, int] = field(default_factory=dict)


def country(percent: float, calls: int = CALLS) -> Country:
    """Size a country; 100 % has 1 000 001 open slots and 5 000 005 calls."""
    return Country(territories(max(1, round(WHOLE * percent / 100))), calls=calls)


def doctor(territory: int, number: int) -> UUID:
    """Name a doctor by the number of the territory and the own."""
    return UUID(_identifier(3, territory * 100_000 + number))


def rpps(territory: int, number: int) -> str:
    """Tell the national number of a doctor."""
    return str(_FIRST_RPPS + territory * 100_000 + number)


def siret(territory: int, number: int) -> str:
    """Tell the national number of one of the ten structures of SOS Médecins of a territory."""
    return f"{territory * 16 + number:014d}"


def community(territory: int, number: int) -> UUID:
    """Name one of the six communities of a territory."""
    return UUID(_identifier(4, territory * 16 + number))


def _identifier(kind: int, number: int) -> str:
    return f"00000000-0000-7000-{0x8000 + kind:04x}-{number:012x}"


def _id(kind: int, number: str) -> str:
    """Name a row in SQL; `0` are the regulation centres of `load_tests.world`."""
    return f"('00000000-0000-7000-{0x8000 + kind:04x}-' || lpad(to_hex({number}), 12, '0'))::uuid"


# $1 are the codes, $2 and $3 the latitudes and longitudes of the territories, $4 their zones.
_PLACES = """
CREATE TEMP TABLE load_territories AS
  SELECT row_number() OVER () - 1 AS t, code, latitude, longitude, zone
  FROM unnest($1::text[], $2::float8[], $3::float8[], $4::text[])
    AS u(code, latitude, longitude, zone)
"""

_TERRITORIES = """
INSERT INTO territories (id, name, zone, default_radius_km, enlargement_km)
  SELECT code, 'Territory ' || code, zone, 30, 15 FROM load_territories ON CONFLICT DO NOTHING
"""

# A name of 8 000 and one of 40, always the same for the same number.
_SYLLABLES = "{mar,du,le,gi,bo,ro,ber,fon,la,che,vi,mo,pe,sau,tre,ca,ne,lo,gar,hu}"
_ENDINGS = "{tin,pont,fevre,rard,net,ssel,trand,taine,croix,valier,dal,reau,rin,vage,mont}"
_GIVEN = "{Camille,Léa,Noé,André,Chloé,Hélène,Jean-Paul,Aïcha,Marie,Luc,Zoé,Théo,Inès,Paul,Anne}"


def _family(number: str) -> str:
    """Name somebody by number."""
    first, last = f"'{_SYLLABLES}'::text[]", f"'{_ENDINGS}'::text[]"
    return (
        f"initcap(({first})[1 + {number} * 7919 % 20]"
        f" || ({first})[1 + {number} * 104729 % 400 / 20]"
        f" || ({last})[1 + {number} * 1299709 % 15])"
    )


_ORGANIZATIONS = f"""
INSERT INTO organizations (id, territory, type, name, cpts_ids, siret)
  SELECT {_id(0, "1 + 16 * t")}, code, 'sas', 'SAS ' || code, '{{}}'::uuid[], NULL
  FROM load_territories
  UNION ALL
  SELECT {_id(4, "t * 16 + n")}, code, 'cpts', 'CPTS ' || n, '{{}}', NULL
  FROM load_territories, generate_series(0, 5) n
  UNION ALL
  SELECT {_id(1, "t * 100000 + n")}, code, CASE WHEN n < $1 - {SOS} THEN 'practice' ELSE 'sos' END,
         'Cabinet ' || n, ARRAY[{_id(4, "t * 16 + n % 6")}],
         CASE WHEN n >= $1 - {SOS} THEN lpad((t * 16 + n - $1 + {SOS})::text, 14, '0') END
  FROM load_territories, generate_series(0, $1::bigint - 1) n
ON CONFLICT DO NOTHING
"""

# In a square of about 160 km around the centre.
_LOCATIONS = f"""
INSERT INTO locations (id, organization_id, name, commune, latitude, longitude)
  SELECT {_id(2, "t * 100000 + n")}, {_id(1, "t * 100000 + n")}, 'Cabinet',
         (36001 + n % 30)::text, latitude + (n * 7919 % 1000) / 1000.0 * 1.4 - 0.7,
         longitude + (n * 6151 % 1000) / 1000.0 * 2.0 - 1.0
  FROM load_territories, generate_series(0, $1::bigint - 1) n
"""

_PRACTITIONERS = f"""
INSERT INTO practitioners (id, rpps, family_name, given_name, specialty, territory, status)
  SELECT {_id(3, "t * 100000 + n")}, ({_FIRST_RPPS} + t * 100000 + n)::text,
         {_family("(t * 31 + n)")},
         ('{_GIVEN}'::text[])[1 + n % 15], CASE WHEN n % 3 = 0 THEN 'SM54' ELSE 'SM26' END, code,
         CASE WHEN n % 10 = 0 THEN 'locum' ELSE 'self_employed' END
  FROM load_territories, generate_series(0, $1::bigint - 1) n
"""

_WORK = f"""
INSERT INTO practitioner_locations (practitioner_id, location_id)
  SELECT {_id(3, "t * 100000 + n")}, {_id(2, "t * 100000 + n")}
  FROM load_territories, generate_series(0, $1::bigint - 1) n
"""


# --- big tables -----------------------------------------------------------------------------------

# Rows $1 to $2 of all: the n-th of each territory, one territory after the other. $3 counts the
# territories, $4 the doctors of each. `h` looks random, and is always the same.
_NUMBERED = """
numbered AS (
  SELECT g, g / $3::bigint AS n, g % $3::bigint AS t,
         ((g / $3::bigint) * 7919 + (g % $3::bigint) * 104729) % 10000 AS h
  FROM generate_series($1::bigint, $2::bigint) g
)
"""

_SLOT_COLUMNS = """id, practitioner_id, location_id, organization_id, organization_type, territory,
  zone, latitude, longitude, reduced_mobility, starts_at, ends_at, modes, specialty, visibility,
  cpts_ids, capacity, booked, withdrawn_at, created_at, updated_at"""

_OPEN = f"""
WITH {_NUMBERED}, drawn AS (
  SELECT *, n % $4::bigint AS d, date_trunc('hour', now()) + interval '2 hours'
         + (n / $4::bigint) * interval '200 minutes' + (n % 9) * interval '20 minutes' AS start
  FROM numbered
)
INSERT INTO slots ({_SLOT_COLUMNS})
SELECT {_id(5, "g")}, {_id(3, "t * 100000 + d")}, l.id, l.organization_id, o.type, r.code,
       r.zone, l.latitude, l.longitude, false, start, start + interval '20 minutes',
       CASE WHEN h % 25 = 0 THEN '{{AMB,VR}}'::text[] WHEN h % 50 = 1 THEN '{{HH}}'
            ELSE '{{AMB}}' END,
       CASE WHEN d % 3 = 0 THEN 'SM54' ELSE 'SM26' END,
       CASE WHEN h < 6000 THEN '{{SNP}}'::text[] WHEN h < 8500 THEN '{{SNP,PRO}}'
            ELSE '{{SNP,CPTS}}' END,
       CASE WHEN h < 8500 THEN '{{}}'::uuid[] ELSE ARRAY[{_id(4, "t * 16 + d % 6")}] END,
       1, 0, NULL, now(), now()
FROM drawn JOIN load_territories r USING (t) JOIN locations l ON l.id = {_id(2, "t * 100000 + d")}
  JOIN organizations o ON o.id = l.organization_id
"""

# How a call ended, of 10 000: the outcomes as `calls.outcome_mask`.
_MASK = """CASE WHEN h < 3736 THEN 2 WHEN h < 7797 THEN 1 WHEN h < 7971 THEN 5 WHEN h < 9162 THEN 4
  WHEN h < 9521 THEN 8 WHEN h < 9804 THEN 16 ELSE 32 END"""
_ORIENTED = "h < 3736"
# Of every doctor one call at a time is given a slot: no two of a doctor's slots overlap.
_CALLS = f"""
{_NUMBERED}, drawn AS (
  SELECT *, n % $4::bigint AS d, {_MASK} AS mask,
         '{YEAR}-01-01T00:00:00+01:00'::timestamptz
           + (n + 0.5) / $5::bigint * interval '365 days' AS received,
         interval '1 hour' + (h * 13 % 840) * interval '1 minute' AS delay,
         interval '1 minute' * (3 + (h * 7 % 90) * (1 + n % 4) / 3.0) AS waited
  FROM numbered
)
"""

_CALL_ROWS = f"""
WITH {_CALLS}
INSERT INTO calls (id, territory, zone, organization_id, cpts_id, line, received_at, caller_type,
  motive, priority, care_level, patient_file_id, case_id, state, qualified_by, regulated_by,
  callback_requested_at, first_attempt_at, called_back_at, outcome_mask, otherwise,
  sent_to_emergency, closed_at, version, created_at)
SELECT {_id(6, "g")}, code, zone, {_id(0, "1 + 16 * t")}, {_id(4, "t * 16 + h % 6")},
  CASE WHEN h % 8 = 0 THEN '15' ELSE '116117' END, received, 'SUJET', 'M03.14',
  CASE WHEN mask = 16 THEN 'P0' WHEN h % 7 = 0 THEN 'P1' WHEN h % 3 = 0 THEN 'P3' ELSE 'P2' END,
  'R3', CASE WHEN {_ORIENTED} THEN {_id(7, "g")} END, 'SAS' || code || '-{YEAR}-' || n,
  CASE WHEN n > $5 - 40 AND mask = 1 THEN 'awaiting_callback' ELSE 'closed' END,
  '{{"role": "osnp", "client_id": null, "person": {{"id": "OSNP 4"}}}}',
  '{{"role": "regulator", "client_id": null, "person": {{"id": "MED 7"}}}}',
  CASE WHEN h % 10 < 6 THEN received END, CASE WHEN h % 10 < 6 THEN received + waited END,
  CASE WHEN h % 10 < 6 AND mask <> 8 THEN received + waited END, mask,
  CASE h % 7 WHEN 0 THEN 'wait' WHEN 1 THEN 'emergency_department' WHEN 2 THEN 'own_doctor'
    WHEN 3 THEN 'own_doctor' WHEN 4 THEN 'none' WHEN 5 THEN 'wait' ELSE 'unknown' END,
  h % 170 = 0, received + interval '100 minutes', 4, received
FROM drawn JOIN load_territories USING (t)
"""

_OUTCOME_ROWS = f"""
WITH {_CALLS}
INSERT INTO call_outcomes (id, call_id, outcome, booking_id, created_at)
SELECT {_id(8, "g * 2 + o.n")}, {_id(6, "g")}, o.outcome,
       CASE WHEN mask = 2 THEN {_id(9, "g")} END, received + interval '20 minutes'
FROM drawn JOIN (VALUES (0, 1, 'medical_advice'), (0, 2, 'slot_orientation'),
  (1, 4, 'prescription'), (0, 8, 'patient_unreachable'), (0, 16, 'redirected_to_15'),
  (0, 32, 'other')) AS o(n, bit, outcome) ON mask & o.bit <> 0
"""

# Past slots: one for each call that was given one, and of the others one for eight, left open.
_PAST = f"""
WITH {_CALLS}
INSERT INTO slots ({_SLOT_COLUMNS})
SELECT {_id(10, "g")}, {_id(3, "t * 100000 + d")}, l.id, l.organization_id, o.type, r.code,
       r.zone, l.latitude, l.longitude, false, received + delay,
       received + delay + interval '15 minutes', '{{AMB}}', 'SM26', '{{SNP}}', '{{}}', 1,
       CASE WHEN {_ORIENTED} AND h % 25 <> 0 THEN 1 ELSE 0 END,
       CASE WHEN h >= 3736 AND h % 64 = 0 THEN received END, received - interval '3 days', received
FROM drawn JOIN load_territories r USING (t) JOIN locations l ON l.id = {_id(2, "t * 100000 + d")}
  JOIN organizations o ON o.id = l.organization_id
WHERE {_ORIENTED} OR h % 8 = 0
"""

# As retention leaves them: nobody's name.
_FILES = f"""
WITH {_CALLS}
INSERT INTO patient_files (id, organization_id, territory, reader_organization_ids,
  practitioner_ids, age, sex, commune, created_at, updated_at)
SELECT {_id(7, "g")}, {_id(0, "1 + 16 * t")}, code, ARRAY[{_id(0, "1 + 16 * t")}],
       ARRAY[{_id(3, "t * 100000 + d")}], 'P40Y', 'F', '36044', received, received
FROM drawn JOIN load_territories USING (t) WHERE {_ORIENTED}
"""

_STATE = """CASE WHEN h % 25 = 0 THEN 'cancelled' WHEN h % 14 = 1 THEN 'noshow'
  ELSE 'fulfilled' END"""
_BOOKINGS = f"""
WITH {_CALLS}
INSERT INTO bookings (id, slot_id, patient_file_id, starts_at, ends_at, practitioner_id,
  practitioner_organization_id, territory, state, organization_id, organization_type, role, person,
  call_id, case_id, motive, cancelled_by, cancelled_at, reported_at, sent_to_emergency, version,
  created_at, updated_at)
SELECT {_id(9, "g")}, {_id(10, "g")}, {_id(7, "g")}, received + delay,
  received + delay + interval '15 minutes', {_id(3, "t * 100000 + d")}, {_id(1, "t * 100000 + d")},
  code, {_STATE}, {_id(0, "1 + 16 * t")}, 'sas', 'regulator', '{{"id": "MED 7"}}', {_id(6, "g")},
  'SAS' || code || '-{YEAR}-' || n, 'M03.14', CASE WHEN h % 25 = 0 THEN 'patient' END,
  CASE WHEN h % 25 = 0 THEN received + interval '50 minutes' END,
  CASE WHEN h % 25 <> 0 THEN received + delay + interval '1 hour' END, h % 64 = 1, 2,
  received + interval '20 minutes', received + delay + interval '1 hour'
FROM drawn JOIN load_territories USING (t) WHERE {_ORIENTED}
"""

_EVENTS = f"""
WITH {_CALLS}
INSERT INTO events (id, type, subject_id, occurred_at, territory, role, organization_id, data)
SELECT {_id(11, "g")}, 'booking.created', {_id(9, "g")}, received + interval '20 minutes', code,
  'regulator', {_id(0, "1 + 16 * t")},
  jsonb_build_object('state', 'booked', 'slot_id', {_id(10, "g")}, 'starts_at', received + delay,
    'ends_at', received + delay + interval '15 minutes', 'call_id', {_id(6, "g")})
FROM drawn JOIN load_territories USING (t) WHERE {_ORIENTED}
"""

_NEEDS = f"""
WITH {_CALLS}
INSERT INTO unmet_needs (id, territory, zone, commune, motive, mode, wanted_from, wanted_to, reason,
  radius_km, open_slots, open_slots_fitting, organization_id, organization_type, role, created_at)
SELECT {_id(12, "g")}, code, zone, (36001 + h % 30)::text, 'M03.14', 'AMB', received,
  received + interval '1 day', CASE h % 2 WHEN 0 THEN 'no_room' ELSE 'too_far' END, 30, h % 3, 0,
  {_id(0, "1 + 16 * t")}, 'sas', 'regulator', received
FROM drawn JOIN load_territories USING (t) WHERE h % 97 = 0
"""

# Two loaders at once, each with tables of its own; what is in one line is written together.
_LINES: Sequence[Sequence[tuple[str, str]]] = (
    (("calls", _CALL_ROWS), ("outcomes", _OUTCOME_ROWS), ("needs", _NEEDS)),
    (("past slots", _PAST), ("files", _FILES), ("bookings", _BOOKINGS), ("events", _EVENTS)),
)
_TABLES = (
    *("slots", "patient_files", "calls", "call_outcomes", "bookings", "events", "unmet_needs"),
    *("organizations", "locations", "practitioners", "practitioner_locations", "territories"),
)


async def fill(url: str, wanted: Country, say: Say = lambda _: None) -> None:
    """Fill an empty, migrated database, as its superuser. What refers to what is not looked up."""
    where = centres()
    arguments = (
        list(wanted.codes),
        [where[code][0] for code in wanted.codes],
        [where[code][1] for code in wanted.codes],
        [reference.territory_zone(code) for code in wanted.codes],
    )
    lines = [await asyncpg.connect(url) for _ in range(_LOADERS)]
    try:
        for line in lines:
            await line.execute(
                "SET synchronous_commit = off; SET session_replication_role = replica"
            )
            await line.execute("SET work_mem = '64MB'; SET jit = off")
            await line.execute(_PLACES, *arguments)
            await line.execute("ANALYZE load_territories")
        await _people(lines[0], wanted)
        started = time.monotonic()
        indexes = await _without_indexes(lines[0]) if number_of(wanted) > _CHUNK else []
        await asyncio.gather(
            *(_load(line, wanted, steps, say) for line, steps in zip(lines, _LINES, strict=True))
        )
        say(f"Loaded in {time.monotonic() - started:.0f} s; making {len(indexes)} indexes")
        queue = iter(indexes)
        await asyncio.gather(*(_with_indexes(line, queue) for line in lines))
        say(f"Made after {time.monotonic() - started:.0f} s; tidying")
        await asyncio.gather(
            *(_tidy(line, _TABLES[n::_LOADERS]) for n, line in enumerate(lines)),
        )
    finally:
        for line in lines:
            await line.close()


def number_of(wanted: Country) -> int:
    """Count the calls of a country."""
    return len(wanted.codes) * wanted.calls


_INDEXES = """
SELECT indexrelid::regclass::text AS name, pg_get_indexdef(indexrelid) AS made
FROM pg_index JOIN pg_class t ON t.oid = indrelid
WHERE t.relname = ANY($1) AND NOT indisunique
  AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid)
ORDER BY pg_relation_size(indrelid), name
"""


async def _without_indexes(line: Connection) -> list[str]:
    """Take the indexes away that are no constraint, and say how they are made again."""
    found = await line.fetch(_INDEXES, _TABLES)
    for index in found:
        await line.execute(f"DROP INDEX {index['name']}")
    return [index["made"] for index in found]


async def _with_indexes(line: Connection, queue: Iterator[str]) -> None:
    await line.execute("SET maintenance_work_mem = '512MB'")
    for statement in queue:
        await line.execute(statement)


async def _people(line: Connection, wanted: Country) -> None:
    await line.execute(_TERRITORIES)
    await line.execute(_ORGANIZATIONS, wanted.doctors)
    await line.execute(_LOCATIONS, wanted.doctors)
    await line.execute(_PRACTITIONERS, wanted.doctors + wanted.others)
    await line.execute(_WORK, wanted.doctors)
    await line.execute("ANALYZE locations")


async def _load(
    line: Connection, wanted: Country, steps: Sequence[tuple[str, str]], say: Say
) -> None:
    """Write every chunk of a year into all tables of a line, then, once, the open slots."""
    number, size = len(wanted.codes), (len(wanted.codes), wanted.doctors)
    total = number_of(wanted)
    for first in range(0, total, _CHUNK):
        last = min(total, first + _CHUNK) - 1
        for name, statement in steps:
            done = await line.execute(statement, first, last, *size, wanted.calls)
            wanted.written[name] = wanted.written.get(name, 0) + int(done.rpartition(" ")[2])
        say(f"{steps[0][0]}: {last + 1} of {total} calls")
    if steps[0][0] != "past slots":
        return
    total = number * wanted.open_slots
    for first in range(0, total, _CHUNK):
        last = min(total, first + _CHUNK) - 1
        await line.execute(_OPEN, first, last, *size)
        wanted.written["open slots"] = last + 1
        say(f"open slots: {last + 1} of {total}")


async def _tidy(line: Connection, tables: Sequence[str]) -> None:
    # What is written must be on the disk before a vacuum can mark it as visible to all.
    await line.execute("SET synchronous_commit = on")
    await line.execute("CREATE TEMP TABLE load_done ()")
    for table in tables:
        await line.execute(f"VACUUM (ANALYZE) {table}")
