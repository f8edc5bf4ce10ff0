"""The floor: what the same stack could do at most if a request were nothing but its statement.

A bare ASGI handler on the same uvicorn, the same asyncpg, the same durable PostgreSQL and the same
tables. It books with one statement that writes the same six tables as a booking of the service
does (slot, patient file, booking, event, idempotency key; and the hold that a booking ends), and
searches with one statement that computes the distance and applies the labels. It checks no token
and no grant, validates nothing, encrypts nothing, translates no error and logs nothing: nobody
could be given this. It only says how far the service is from its own parts.
"""

import argparse
import os
import secrets
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
import orjson
import uvicorn
from uuid_utils.compat import uuid7

Scope = dict[str, Any]

CLIENT = UUID("00000000-0000-7000-8000-0000000000ff")
SAS = UUID("00000000-0000-7000-8000-000000000001")

BOOK = """
WITH taken AS (
  UPDATE slots SET booked = booked + 1, version = version + 1, updated_at = snp_now()
  WHERE id = $1 AND withdrawn_at IS NULL AND NOT walk_in AND starts_at > snp_now()
    AND booked < capacity
  RETURNING *
), file AS (
  INSERT INTO patient_files (id, organization_id, territory, client_id, reader_organization_ids,
                             practitioner_ids, family_name, given_name, birth_date, phone,
                             name_birth_index, phone_index, patient_key, sex, commune, case_id)
  SELECT $2, $4::uuid, territory, $5, ARRAY[$4::uuid], ARRAY[practitioner_id], $6, $6, $6, $6,
         $7, $7, $7, 'F', '36044', $8
  FROM taken
), hold_used AS (
  UPDATE holds SET ended_at = snp_now() FROM taken
  WHERE holds.id = $12 AND holds.slot_id = taken.id RETURNING holds.id
), booked AS (
  INSERT INTO bookings (id, slot_id, patient_file_id, patient_key, starts_at, ends_at,
                        practitioner_id, practitioner_organization_id, territory, organization_id,
                        organization_type, client_id, role, case_id)
  SELECT $3, id, $2, $7, starts_at, ends_at, practitioner_id, organization_id, territory, $4, 'sas',
         $5, 'regulator', $8
  FROM taken RETURNING *
), event AS (
  INSERT INTO events (id, type, subject_id, territory, client_id, role, organization_id, data)
  SELECT $9, 'booking.created', id, territory, $5, 'regulator', $4,
         jsonb_build_object('state', state, 'slot_id', slot_id, 'starts_at', starts_at,
                            'ends_at', ends_at, 'case_id', case_id)
  FROM booked RETURNING id
), idempotency AS (
  INSERT INTO idempotency_keys (client_id, method, path, key, fingerprint, status, ids)
  SELECT $5, 'POST', '/v1/bookings', $10, $11, 201, ARRAY[id] FROM booked RETURNING key
)
SELECT booked.id, booked.slot_id, booked.state, booked.starts_at, booked.ends_at, booked.version,
       p.family_name, l.name, l.address, l.commune, l.phone
FROM booked JOIN taken ON true
LEFT JOIN practitioners p ON p.id = booked.practitioner_id
JOIN locations l ON l.id = taken.location_id
"""

SEARCH = """
SELECT s.id, s.territory, s.starts_at, s.ends_at, s.modes, s.specialty, s.visibility, s.capacity,
       s.booked, s.walk_in, s.note, s.version, p.rpps, p.family_name, p.given_name, l.name,
       l.address, l.postal_code, l.commune, l.latitude, l.longitude, l.phone,
       12742 * asin(least(1, sqrt(power(sin(radians(s.latitude - $1) / 2), 2)
         + cos(radians($1)) * cos(radians(s.latitude))
         * power(sin(radians(s.longitude - $2) / 2), 2)))) AS distance_km
FROM slots s
LEFT JOIN practitioners p ON p.id = s.practitioner_id
JOIN locations l ON l.id = s.location_id
WHERE s.withdrawn_at IS NULL AND s.starts_at > snp_now()
  AND s.starts_at < snp_now() + interval '72 hours' AND s.booked < s.capacity
  AND s.territory = $3 AND s.visibility && $4
  AND s.latitude BETWEEN $1 - 0.273 AND $1 + 0.273
  AND s.longitude BETWEEN $2 - 0.4 AND $2 + 0.4
  AND 12742 * asin(least(1, sqrt(power(sin(radians(s.latitude - $1) / 2), 2)
    + cos(radians($1)) * cos(radians(s.latitude))
    * power(sin(radians(s.longitude - $2) / 2), 2)))) <= 30
ORDER BY s.starts_at, s.id LIMIT 21
"""

_pool: "asyncpg.Pool[Any]"


async def book(body: bytes) -> tuple[int, object]:
    """Book, or say that somebody else has it."""
    asked = orjson.loads(body)
    sealed, index = secrets.token_bytes(40), secrets.token_bytes(32)
    row = await _pool.fetchrow(
        BOOK,
        UUID(asked["slot_id"]),
        uuid7(),
        uuid7(),
        SAS,
        CLIENT,
        sealed,
        index,
        asked.get("case_id"),
        uuid7(),
        secrets.token_hex(16),
        index,
        None,
    )
    return (409, {"code": "slot-taken"}) if row is None else (201, dict(row))


async def search() -> tuple[int, object]:
    """Search around the same centre as the service is asked for."""
    rows = await _pool.fetch(SEARCH, 46.81, 1.69, "36", ["PUBLIC", "PRO", "SNP"])
    return 200, {"items": [dict(row) for row in rows[:20]]}


def _plain(value: object) -> object:
    return value.isoformat() if isinstance(value, datetime) else str(value)


async def app(scope: Scope, receive: Any, send: Any) -> None:
    """Answer one request."""
    if scope["type"] == "lifespan":
        await _lifespan(receive, send)
        return
    if scope["method"] == "POST":
        body = b""
        more = True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        status, answer = await book(body)
    elif scope["path"] == "/v1/slots":
        status, answer = await search()
    else:
        status, answer = 200, {}
    content = orjson.dumps(answer, default=_plain)
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(content)).encode()),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})


async def _lifespan(receive: Any, send: Any) -> None:
    global _pool  # noqa: PLW0603  the floor is measured without a framework that could hold it
    await receive()
    url = os.environ["SNP_DATABASE_URL"]
    # Its searches need plans for their own values; the role's default is made for the service's.
    planned = {"plan_cache_mode": "auto"}
    _pool = await asyncpg.create_pool(url, min_size=10, max_size=10, server_settings=planned)
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await _pool.close()
    await send({"type": "lifespan.shutdown.complete"})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    uvicorn.run(
        app,
        port=parser.parse_args().port,
        loop="uvloop",
        http="httptools",
        log_level="warning",
        access_log=False,
        server_header=False,
    )
