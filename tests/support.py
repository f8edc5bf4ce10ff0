"""What the tests share: callers with tokens, and small worlds of their own in one database.

Every test makes its own territory, organizations and people, so that tests commit for real, run
in any order and never clean up after each other.
"""

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any
from uuid import UUID

import asyncpg
import httpx
from sqlalchemy import ClauseElement, insert
from sqlalchemy.dialects import postgresql

from service.directory.tables import (
    locations,
    organizations,
    practitioner_locations,
    practitioners,
    territories,
)
from service.identity import NewSecret, Role, create_client, give_grant
from service.kernel.db import Database
from service.kernel.ids import new_id

PARIS = "Europe/Paris"
# Who waits for a lock in this database: other tests' may be on the same server.
WAITING = """
SELECT DISTINCT pid FROM pg_locks AS wanted JOIN pg_locks AS held USING (pid)
WHERE NOT wanted.granted
  AND held.database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
CHATEAUROUX = (46.81, 1.69)
_count = itertools.count(1)


def _code(number: int) -> str:
    """A territory of three characters that no département has: they begin with a digit."""
    digits = "0123456789abcdefghijklmnopqrstuvwxyz"
    return (
        "abcdefghijklmnopqrstuvwxyz"[number // 1296]
        + digits[number // 36 % 36]
        + digits[number % 36]
    )


def soon(hours: float = 2, minutes: float = 0) -> datetime:
    """An instant from the minute in which this test began."""
    return _begun() + timedelta(hours=hours, minutes=minutes)


@cache
def _begun() -> datetime:
    return datetime.now(UTC).replace(second=0, microsecond=0)


def begin_anew() -> None:
    """Let the next `soon` read the clock: one test, one reading, however slow the machine."""
    _begun.cache_clear()


@dataclass
class Caller:
    """Client software with a token, as a test uses it."""

    http: httpx.AsyncClient
    secret: NewSecret
    role: Role
    organization_id: UUID
    territory: str
    practitioner_id: UUID | None = None
    location_id: UUID | None = None
    token: str = ""

    async def sign_in(self, **asserted: str) -> "Caller":
        """Get a token."""
        answer = await self.http.post(
            "/oauth/token",
            data={
                "grant_type": "client_credentials",
                "client_id": str(self.secret.client_id),
                "client_secret": self.secret.client_secret,
                **asserted,
            },
        )
        assert answer.status_code == 200, answer.text
        self.token = answer.json()["access_token"]
        return self

    async def request(
        self,
        method: str,
        path: str,
        *,
        key: str | None = None,
        if_match: int | str | None = None,
        headers: dict[str, str] | None = None,
        **more: Any,
    ) -> httpx.Response:
        """Send a request with the token."""
        sent = {"Authorization": f"Bearer {self.token}", **(headers or {})}
        if key is not None:
            sent["Idempotency-Key"] = key
        if if_match is not None:
            sent["If-Match"] = if_match if isinstance(if_match, str) else f'"{if_match}"'
        return await self.http.request(method, path, headers=sent, **more)

    async def get(self, path: str, **more: Any) -> httpx.Response:
        """GET."""
        return await self.request("GET", path, **more)

    async def post(self, path: str, json: Any = None, **more: Any) -> httpx.Response:
        """POST."""
        return await self.request("POST", path, json=json, **more)

    async def put(self, path: str, json: Any = None, **more: Any) -> httpx.Response:
        """PUT."""
        return await self.request("PUT", path, json=json, **more)

    async def patch(self, path: str, json: Any = None, **more: Any) -> httpx.Response:
        """PATCH."""
        return await self.request("PATCH", path, json=json, **more)

    async def delete(self, path: str, **more: Any) -> httpx.Response:
        """DELETE."""
        return await self.request("DELETE", path, **more)

    async def publish(self, starts_at: datetime | None = None, **members: Any) -> dict[str, Any]:
        """Publish one slot of 20 minutes as this doctor; returns the answer's body."""
        answer = await self.post("/v1/slots", self.slot(starts_at, **members))
        assert answer.status_code == 201, answer.text
        body: dict[str, Any] = answer.json()
        return body

    def slot(self, starts_at: datetime | None = None, **members: Any) -> dict[str, Any]:
        """The body that publishes one slot of 20 minutes."""
        start = starts_at or soon()
        return {
            "practitioner_id": self.practitioner_id and str(self.practitioner_id),
            "location_id": str(self.location_id),
            "starts_at": start.isoformat(),
            "ends_at": (start + timedelta(minutes=20)).isoformat(),
            **members,
        }


@dataclass
class World:
    """A territory of its own, with whoever a test needs in it."""

    database: Database
    http: httpx.AsyncClient
    zone: str = PARIS
    territory: str = field(default_factory=lambda: _code(next(_count)))
    _sas: UUID | None = None

    async def begin(self) -> "World":
        """Create the territory."""
        async with self.database.unit_of_work() as uow:
            await uow.execute(
                insert(territories),
                {
                    "id": self.territory,
                    "name": f"Territory {self.territory}",
                    "zone": self.zone,
                    "default_radius_km": 30,
                    "enlargement_km": 15,
                },
            )
        return self

    async def organization(self, type_: str, cpts_ids: Sequence[UUID] = ()) -> UUID:
        """Create an organization."""
        organization_id = new_id()
        async with self.database.unit_of_work() as uow:
            await uow.execute(
                insert(organizations),
                {
                    "id": organization_id,
                    "territory": self.territory,
                    "type": type_,
                    "name": f"{type_} {organization_id.hex[-4:]}",
                    "cpts_ids": list(cpts_ids),
                },
            )
        return organization_id

    async def location(
        self, organization_id: UUID, at: tuple[float, float] = CHATEAUROUX, **columns: Any
    ) -> UUID:
        """Create a place of an organization."""
        location_id = new_id()
        async with self.database.unit_of_work() as uow:
            await uow.execute(
                insert(locations),
                {
                    "id": location_id,
                    "organization_id": organization_id,
                    "name": "Cabinet",
                    "commune": "36044",
                    "latitude": at[0],
                    "longitude": at[1],
                    **columns,
                },
            )
        return location_id

    async def practitioner(self, *location_ids: UUID) -> UUID:
        """Create a practitioner who works at these places."""
        practitioner_id = new_id()
        async with self.database.unit_of_work() as uow:
            await uow.execute(
                insert(practitioners),
                {
                    "id": practitioner_id,
                    "rpps": f"1{practitioner_id.int % 10**10:010d}",
                    "family_name": "Épreuve",
                    "given_name": "Camille",
                    "specialty": "SM54",
                    "territory": self.territory,
                },
            )
            if location_ids:
                await uow.execute(
                    insert(practitioner_locations),
                    [{"practitioner_id": practitioner_id, "location_id": i} for i in location_ids],
                )
        return practitioner_id

    async def caller(
        self,
        role: Role,
        organization_id: UUID,
        organization_type: str,
        *,
        territories: Sequence[str] | None = None,
        practitioner_ids: Sequence[UUID] = (),
        cpts_ids: Sequence[UUID] = (),
        sign_in: bool = True,
    ) -> Caller:
        """Create client software with one grant, and sign it in."""
        async with self.database.unit_of_work() as uow:
            secret = await create_client(uow, name=f"{role} of {self.territory}")
            await give_grant(
                uow,
                client_id=secret.client_id,
                role=role,
                organization_id=organization_id,
                organization_type=organization_type,
                cpts_ids=cpts_ids,
                territories=list(territories or [self.territory]),
                practitioner_ids=practitioner_ids,
            )
        caller = Caller(self.http, secret, role, organization_id, self.territory)
        return await caller.sign_in() if sign_in else caller

    async def doctor(
        self,
        *,
        organization_type: str = "practice",
        at: tuple[float, float] = CHATEAUROUX,
        cpts_ids: Sequence[UUID] = (),
    ) -> Caller:
        """A doctor with a practice and a place."""
        organization_id = await self.organization(organization_type, cpts_ids)
        location_id = await self.location(organization_id, at)
        practitioner_id = await self.practitioner(location_id)
        caller = await self.caller(
            Role.DOCTOR,
            organization_id,
            organization_type,
            practitioner_ids=[practitioner_id],
            cpts_ids=cpts_ids,
        )
        caller.practitioner_id, caller.location_id = practitioner_id, location_id
        return caller

    async def regulation(self, role: Role = Role.REGULATOR) -> Caller:
        """Regulation staff of the territory's one centre."""
        if self._sas is None:
            self._sas = await self.organization("sas")
        return await self.caller(role, self._sas, "sas")

    async def regulator(self) -> Caller:
        """A regulating doctor of the territory's centre."""
        return await self.regulation(Role.REGULATOR)

    async def pharmacist(self, cpts_ids: Sequence[UUID] = ()) -> Caller:
        """A pharmacist with a pharmacy."""
        organization_id = await self.organization("pharmacy", cpts_ids)
        return await self.caller(Role.PHARMACIST, organization_id, "pharmacy", cpts_ids=cpts_ids)

    async def manager(self) -> Caller:
        """A manager of a CPTS of the territory."""
        return await self.caller(Role.MANAGER, await self.organization("cpts"), "cpts")


def problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """Assert that an answer is this problem, and return its body."""
    assert (answer.status_code, answer.headers["content-type"]) == (
        status,
        "application/problem+json",
    ), answer.text
    body: dict[str, Any] = answer.json()
    assert body["code"] == code, body
    assert body["status"] == status
    return body


def code_of(refusal: dict[str, Any]) -> object:
    """Return the code of a refusal, which the national interface tells in a form of its own."""
    issues = refusal.get("issue")
    return issues[0]["details"]["coding"][0]["code"] if issues else refusal.get("code")


def patient(**members: Any) -> dict[str, Any]:
    """A patient file, of a person nobody else in the tests is."""
    unique = new_id().hex
    return {
        "family_name": f"Martin{unique}",
        "given_name": "Léa",
        "birth_date": "1980-01-01",
        "sex": "F",
        "phone": "+33600000000",
        "commune": "36044",
        **members,
    }


async def rows_read(
    connection: "asyncpg.Connection[asyncpg.Record]", statement: ClauseElement, table: str
) -> int:
    """Run a statement, and count the rows of a table that its plan looked at."""
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy leaves it untyped
    text = str(statement.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))
    told = await connection.fetchval(f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {text}")
    [plan] = json.loads(told)
    return _looked_at(plan["Plan"], table)


def _looked_at(node: dict[str, Any], table: str) -> int:
    own = 0
    if node.get("Relation Name") == table:
        removed = ("Rows Removed by Filter", "Rows Removed by Index Recheck")
        own = int(node["Actual Rows"]) + sum(int(node.get(name, 0)) for name in removed)
    return own + sum(_looked_at(below, table) for below in node.get("Plans", []))
