"""What one process does with its streams: how many there are, who is let go, and what they cost."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from service import identity
from service.identity import OPERATOR, Actor, Role
from service.kernel import events
from service.kernel.db import Database, UnitOfWork
from service.kernel.ids import new_id
from service.kernel.settings import Settings
from service.stream import hub
from service.stream.hub import Hub
from tests.conftest import DatabaseUrls
from tests.stream.following import at_least, following
from tests.stream.serving import served
from tests.support import Caller, World, problem, soon

pytestmark = pytest.mark.usefixtures("worker")


@dataclass(frozen=True)
class Serving:
    """A server inside the test."""

    url: str
    hub: Hub
    database: Database

    async def ask(self, caller: Caller) -> httpx.Response:
        """Ask for a stream that is refused."""
        async with httpx.AsyncClient(base_url=self.url, trust_env=False) as client:
            headers = {"Authorization": f"Bearer {caller.token}"}
            async with client.stream("GET", "/v1/events", headers=headers) as answer:
                await answer.aread()
                return answer


Serve = Callable[..., Any]


@pytest.fixture
def serving(shared_urls: DatabaseUrls, make_settings: Callable[..., Settings]) -> Serve:
    """Serve with settings of the test's own."""

    @asynccontextmanager
    async def start(**changes: object) -> AsyncIterator[Serving]:
        async with served(make_settings(shared_urls.app, **changes)) as (url, app):
            yield Serving(url, app.state.hub, app.state.database)

    return start


async def left(where: Serving, streams: int = 0) -> None:
    """Wait until the others have given their places back."""
    async with asyncio.timeout(30):
        while len(where.hub) > streams:  # noqa: ASYNC110  nothing tells
            await asyncio.sleep(0.01)


async def test_open_streams_hold_no_connection_of_the_pool(world: World, serving: Serve) -> None:
    doctor = await world.doctor()
    async with serving(pool_size=1, pool_timeout_seconds=5) as where, AsyncExitStack() as many:
        streams = [await many.enter_async_context(following(doctor, where.url)) for _ in range(5)]
        assert len(where.hub) == 5
        slot = await doctor.publish(soon(3))
        for stream in streams:
            await stream.until(lambda f: f.of(slot["id"]))
        async with asyncio.timeout(30):
            while where.database.engine.pool.checkedout():  # noqa: ASYNC110  it looks now and then
                await asyncio.sleep(0.01)
        assert where.hub.sent >= 5
        assert 0 <= where.hub.lag_seconds < 60
        await many.aclose()
        await left(where)


async def test_there_are_no_more_streams_than_there_may_be(world: World, serving: Serve) -> None:
    one, other = await world.doctor(), await world.doctor()
    async with serving(streams_max=3, streams_per_client=2) as where, AsyncExitStack() as many:
        first = following(one, where.url)
        await first.__aenter__()
        await many.enter_async_context(following(one, where.url))
        refused = await where.ask(one)
        problem(refused, 429, "too-many-streams")
        assert int(refused.headers["Retry-After"]) > 0
        await many.enter_async_context(following(other, where.url))
        refused = await where.ask(other)
        problem(refused, 503, "streams-full")
        assert int(refused.headers["Retry-After"]) > 0
        await first.__aexit__(None, None, None)
        await left(where, 2)
        await many.enter_async_context(following(other, where.url))


async def test_a_stream_ends_with_its_token(world: World, serving: Serve) -> None:
    doctor = await world.doctor()
    async with serving(token_seconds=3) as where:
        async with httpx.AsyncClient(base_url=where.url, trust_env=False) as http:
            doctor.http = http
            await doctor.sign_in()
        async with following(doctor, where.url) as stream:
            await stream.until_over()
        assert stream.comments[-1] == "the token has expired"
        await left(where)
        problem(await where.ask(doctor), 401, "token-invalid")


async def test_a_stream_ends_soon_after_its_right(
    world: World, serving: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "_CHECK_SECONDS", 0.1)
    doctor, other = await world.doctor(), await world.doctor()
    async with serving() as where:
        async with following(doctor, where.url) as stream, following(other, where.url) as goes_on:
            async with world.database.unit_of_work() as uow:
                await identity.revoke_client(uow, doctor.secret.client_id)
            await stream.until_over()
            assert stream.comments[-1] == "the right has ended"
            slot = await other.publish(soon(3))
            await goes_on.until(lambda f: f.of(slot["id"]))
        problem(await where.ask(doctor), 401, "grant-ended")


async def test_who_lives_is_told_of_many_at_once(app: FastAPI, world: World) -> None:
    """One statement says of each what the one before each request would."""
    organization = await world.organization("sas")
    software = [await world.caller(Role.REGULATOR, organization, "sas") for _ in range(3)]
    own, revoked, other = [app.state.tokens.verify(caller.token) for caller in software]
    async with world.database.unit_of_work() as uow:
        account = await identity.open_account(
            uow,
            identity.OPERATOR,
            identifier=identity.identifier("urn:x", new_id().hex, check_key=False),
            family_name=None,
            given_name=None,
            email=None,
        )
        given = await identity.give_grant(
            uow,
            account_id=account.id,
            role=Role.REGULATOR,
            organization_id=organization,
            organization_type="sas",
            territories=[world.territory],
        )
        await identity.revoke_client(uow, revoked.client_id)
    asked = {
        "own": (own, True),
        "changed": (replace(own, grant_revision=2), False),
        "revoked": (revoked, False),
        "unknown": (replace(own, grant_id=new_id()), False),
        "a person's": (replace(own, grant_id=given), True),
        "of changed software": (replace(own, grant_id=given, client_revision=2), False),
        "of revoked software": (replace(revoked, grant_id=given), False),
        "of other software": (replace(other, grant_id=given), True),
    }

    async def one_by_one(uow: UnitOfWork, actor: Actor) -> bool:
        try:
            await identity.ensure_live(uow, actor)
        except identity.GrantEnded:
            return False
        return True

    actors, wanted = [actor for actor, _ in asked.values()], [live for _, live in asked.values()]
    async with world.database.unit_of_work() as uow:
        assert await identity.are_live(uow, actors) == wanted
        assert [await one_by_one(uow, actor) for actor in actors] == wanted
        assert await identity.are_live(uow, []) == []


async def test_who_does_not_read_is_let_go_alone(
    world: World, serving: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "_WAITING", 5)
    doctor = await world.doctor()
    told = {"practitioner_id": str(doctor.practitioner_id), "long": "x" * 100_000}
    facts = {"subject_id": new_id(), "territory": world.territory, "data": told}
    async with serving() as where, following(doctor, where.url) as reads:
        asleep = await _fall_asleep(doctor, where)
        sent = 0
        while len(where.hub) > 1:  # what lies on the way grows to some megabytes first
            sent += 10
            async with world.database.unit_of_work() as uow:
                await events.record_all(uow, OPERATOR, "session.amended", [facts] * 10)
            await reads.until(at_least(sent))
            assert sent < 2000
        slot = await doctor.publish(soon(3))
        await reads.until(lambda f: f.of(slot["id"]))
        assert len(reads.of(str(facts["subject_id"]))) == sent
        asleep.close()


async def _fall_asleep(caller: Caller, where: Serving) -> asyncio.StreamWriter:
    """Ask for a stream and never read it."""
    host, port = where.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=1)
    head = f"GET /v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {caller.token}\r\n\r\n"
    writer.write(head.encode())
    await reader.readexactly(1)
    return writer
