"""A service of the test's own, whose clock can run ahead."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import asyncpg
import httpx

from service import retention
from service.kernel.db import Database
from service.kernel.settings import Settings
from tests.conftest import Clock, DatabaseUrls
from tests.kernel.serving import serving
from tests.support import Caller, World, patient, soon

REASON = "Zzyzx tousse depuis deux jours"


@dataclass(frozen=True)
class Place:
    """A service, its settings and its database."""

    http: httpx.AsyncClient
    database: Database
    settings: Settings
    urls: DatabaseUrls
    world: World

    async def later(self, **time: float) -> None:
        """Let time pass; tokens of before are then too old."""
        await Clock(self.urls.owner).shift(timedelta(**time))

    async def run(self, batch: int = 3) -> dict[str, int]:
        """Run retention; how many rows each rule erased, those that did anything."""
        limits = retention.rules(self.settings)
        done = await retention.run(self.database, limits, batch=batch)
        return {str(d.rule.kind): d.rows for d in done if d.rows}

    async def due(self) -> dict[str, int]:
        """How many rows are due, by rule."""
        found = await retention.due(self.database, retention.rules(self.settings))
        return {str(d.rule.kind): d.rows for d in found if d.rows}

    async def rows(self, question: str, *values: Any) -> list[Any]:
        """Ask the database past every wall."""
        connection = await asyncpg.connect(self.urls.superuser)
        try:
            return [dict(row) for row in await connection.fetch(question, *values)]
        finally:
            await connection.close()


@asynccontextmanager
async def place(
    urls: DatabaseUrls, make_settings: Callable[..., Settings], **changes: Any
) -> AsyncIterator[Place]:
    """Serve from a database of the test's own."""
    settings = make_settings(urls.app, **changes)
    async with serving(settings) as (http, database):
        yield Place(http, database, settings, urls, await World(database, http).begin())


async def book(regulator: Caller, doctor: Caller, hours: float = 2, **members: Any) -> Any:
    """Book a new patient; returns the answer."""
    slot = await doctor.publish(soon(hours))
    body = {"slot_id": slot["id"], "patient_file": patient(), "reason": {"text": REASON}}
    answer = await regulator.post("/v1/bookings", {**body, **members})
    assert answer.status_code == 201, answer.text
    return answer.json()
