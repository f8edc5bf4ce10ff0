"""A service with a worker and a post office, on a database of their own."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import asyncpg
import httpx
import pytest
import pytest_asyncio

from service import messages, stream
from service.kernel.db import Database
from service.kernel.ids import new_id
from service.kernel.settings import Settings
from service.worker import working
from tests.conftest import Clock, Server
from tests.kernel.serving import serving
from tests.messages.post import Gateway, Sink, gateway, sink
from tests.support import PARIS, Caller, World, patient, soon

TOKEN = "gateway-and-us"
_DONE = """
SELECT NOT EXISTS (SELECT FROM events WHERE position IS NULL)
   AND coalesce((SELECT max(position) FROM events), 0)
       <= (SELECT reached FROM stream_cursors WHERE consumer = 'messages')
   AND NOT EXISTS (SELECT FROM messages WHERE state IN ('queued', 'failed') AND due_at <= snp_now())
   AND NOT EXISTS (SELECT FROM procrastinate_jobs WHERE status = 'todo'
                   AND queue_name = 'messages')
"""
_FAILED = "SELECT count(*) FROM procrastinate_jobs WHERE status = 'failed'"


@dataclass
class House:
    """The service and its post office."""

    settings: Settings
    database: Database
    http: httpx.AsyncClient
    owner: "asyncpg.Connection[asyncpg.Record]"
    owner_url: str
    mail: Sink
    texts: Gateway

    async def world(self, zone: str = PARIS) -> World:
        """Begin a territory."""
        return await World(self.database, self.http, zone=zone).begin()

    async def work(self, **changes: Any) -> None:
        """Let a worker work until everything that is due has been tried."""
        settings = self.settings.model_copy(update=changes)
        async with working(settings, self.database):
            while not await self.owner.fetchval(_DONE):
                assert not await self.owner.fetchval(_FAILED)
                await asyncio.sleep(0.02)

    async def rows(self, booking: Mapping[str, Any]) -> list[tuple[str, str, str | None]]:
        """Return what became of the messages about a booking: kind, state, why."""
        found = await self.owner.fetch(
            "SELECT kind, state, why FROM messages WHERE booking_id = $1 ORDER BY id",
            booking["id"],
        )
        return [tuple(row) for row in found]

    async def shift(self, by: timedelta) -> None:
        """Let `snp_now()` run ahead."""
        await Clock(self.owner_url).shift(by)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def built(server: Server, make_settings: Callable[..., Settings]) -> AsyncIterator[House]:
    """One house for all tests of messages."""
    name = f"{server.template}_messages"
    urls = await server.clone(name)
    async with sink() as mail, gateway() as texts:
        settings = make_settings(
            urls.app,
            smtp_url=f"smtp://127.0.0.1:{mail.port}",
            mail_from="SNP <ne-pas-repondre@snp.example>",
            public_url="http://localhost:8000",
            sms_url=texts.url,
            sms_token=TOKEN,
        )
        owner = await asyncpg.connect(urls.owner)
        async with serving(settings) as (http, database):
            await stream.consume(database, "messages", messages.consume)  # from now on
            yield House(settings, database, http, owner, urls.owner, mail, texts)
        await owner.close()
    await server.drop(name)


@pytest_asyncio.fixture
async def house(built: House) -> AsyncIterator[House]:
    """The house, with the clock put right again."""
    yield built
    await built.shift(timedelta(0))
    built.mail.says.clear()
    built.mail.awake.set()
    built.texts.status = 200


@dataclass
class Doctor:
    """A doctor with a mailbox."""

    caller: Caller
    email: str

    async def wants(self, **contact: Any) -> None:
        """Say where messages go."""
        answer = await self.caller.put(self.path, {"email": self.email, **contact})
        assert answer.status_code == 200, answer.text

    @property
    def path(self) -> str:
        """Where the contact is."""
        return f"/v1/practitioners/{self.caller.practitioner_id}/contact"


async def doctor(world: World, **contact: Any) -> Doctor:
    """Make a doctor who wants messages."""
    made = Doctor(await world.doctor(), f"{new_id().hex}@cabinet.example")
    await made.wants(**contact)
    return made


async def booked(
    by: Caller, whose: Doctor, at: Any = None, slot: Mapping[str, Any] | None = None, **members: Any
) -> dict[str, Any]:
    """Book a patient on a new slot of a doctor's."""
    chosen = slot or await whose.caller.publish(at or soon(30))
    answer = await by.post(
        "/v1/bookings", {"slot_id": chosen["id"], "patient_file": patient(), **members}
    )
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


@pytest.fixture
def kinds() -> Callable[[Sequence[tuple[str, str, str | None]], str], list[str]]:
    """Return which kinds are in a state."""

    def of(rows: Sequence[tuple[str, str, str | None]], state: str) -> list[str]:
        return [kind for kind, has, _ in rows if has == state]

    return of
