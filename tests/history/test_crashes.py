"""Things die while everybody works: nothing acknowledged is lost, nothing happens twice.

And without anybody dying: what is asked of a service that is full, stuck or told to stop.
"""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from tests.bookings.test_book import booked, request
from tests.history import snapshot
from tests.history.crowd import Told, assert_right, run, seconds, world_at
from tests.history.record import History
from tests.history.servers import Installation, Server, until
from tests.support import Caller, problem, soon

_LENGTH = seconds(5, share=1 / 6)
pytestmark = [pytest.mark.xdist_group("history"), pytest.mark.timeout(300 + _LENGTH)]


# --- deaths while everybody works -----------------------------------------------------------------


async def _kill_one(installation: Installation, history: History) -> None:
    server = random.choice(installation.servers)
    history.happened("kill -9 of one server process")
    await server.kill()
    await asyncio.sleep(0.3)
    await server.start()


async def _kill_all(installation: Installation, history: History) -> None:
    history.happened("kill -9 of all server processes")
    await asyncio.gather(*(server.kill() for server in installation.servers))
    await asyncio.gather(*(server.start() for server in installation.servers))


async def _kill_postgresql(installation: Installation, history: History) -> None:
    history.happened("kill -9 of PostgreSQL")
    await installation.kill_postgresql()
    await installation.start_postgresql()


async def _cut(installation: Installation, history: History) -> None:
    """Cut every connection some times, then let none through for a moment."""
    for _ in range(5):
        history.happened("connections to PostgreSQL cut")
        installation.proxy.cut()
        await asyncio.sleep(random.uniform(0, 0.2))
    history.happened("PostgreSQL out of reach")
    await installation.proxy.close()
    await asyncio.sleep(0.5)
    await installation.proxy.open()


@pytest.mark.parametrize("death", [_kill_one, _kill_all, _kill_postgresql, _cut])
async def test_nothing_is_lost_or_doubled_when(
    death: Callable[[Installation, History], Awaitable[None]],
    installation: Installation,
    tmp_path: Path,
    tell: list[Told],
) -> None:
    starts = [server.starts for server in installation.servers]
    told = await run(
        installation,
        death.__name__.strip("_"),
        _LENGTH,
        tmp_path,
        _enough,
        lambda history: death(installation, history),
    )
    tell.append(told)
    assert_right(told, [line for server in installation.servers for line in server.defects()])
    if death in {_kill_postgresql, _cut}:  # the servers came back by themselves
        assert [server.starts for server in installation.servers] == starts
    assert _enough(told.history), told.lines()


def _enough(history: History) -> bool:
    """The death was felt, and afterwards patients were booked again."""
    last = max((incident.at for incident in history.incidents), default=float("inf"))
    felt = any(call.lost not in {None, "dropped"} or call.status == 503 for call in history.calls)
    again = [c for c in history.calls if c.kind == "book" and c.status == 201 and c.started > last]
    return felt and len(again) >= 3


# --- stuck, full, told to stop --------------------------------------------------------------------


@asynccontextmanager
async def _locked(installation: Installation, slot_id: str) -> AsyncIterator[None]:
    """Lock a slot row from a session of our own, until the block ends."""
    session = await asyncpg.connect(installation.superuser_url())
    try:
        await session.execute("BEGIN")
        await session.fetch("SELECT id FROM slots WHERE id = $1 FOR UPDATE", slot_id)
        yield
    finally:
        await session.close()


@asynccontextmanager
async def _patient(installation: Installation) -> AsyncIterator[None]:
    """Let new sessions of the application wait for locks longer than any test lasts."""
    session = await asyncpg.connect(installation.superuser_url())
    names = ("lock_timeout", "statement_timeout")
    kept = {"lock_timeout": "3s", "statement_timeout": "10s"}
    try:
        for name in names:
            await session.execute(f"ALTER ROLE snp_app IN DATABASE snp SET {name} = '60s'")
        yield
    finally:
        for name in names:
            await session.execute(f"ALTER ROLE snp_app IN DATABASE snp SET {name} = '{kept[name]}'")
        await session.close()


_WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND usename = $1"


async def _wait_for(installation: Installation, waiting: int) -> None:
    """Wait until so many sessions of the application stand before a lock."""
    session = await asyncpg.connect(installation.superuser_url())
    try:

        async def so_many() -> bool:
            return int(await session.fetchval(_WAITING, "snp_app")) >= waiting

        await until(so_many)
    finally:
        await session.close()


def _statuses(answers: list[httpx.Response]) -> Counter[int]:
    return Counter(answer.status_code for answer in answers)


async def _rows(installation: Installation, *callers: Caller) -> snapshot.Snapshot:
    clients = [caller.secret.client_id for caller in callers]
    rows = await snapshot.take(installation.superuser_url(), callers[0].territory, clients)
    return replace(rows, taken_at=0.0)


async def test_behind_a_lock_everything_answers_503_and_leaves_nothing(
    installation: Installation,
) -> None:
    async with world_at(installation, installation.servers[0].url) as world:
        doctor, desk = await world.doctor(), await world.regulator()
        slot, other = await doctor.publish(capacity=5), await doctor.publish(soon(4))
        here, there = await booked(desk, slot), await booked(desk, other)
        asked: list[tuple[Caller, str, str, Any]] = [
            (desk, "POST", "/v1/bookings", request(slot)),
            (desk, "POST", f"/v1/slots/{slot['id']}/holds", {"seconds": 60}),
            (desk, "POST", f"/v1/bookings/{there['id']}/rescheduling", {"slot_id": slot["id"]}),
            (desk, "POST", f"/v1/bookings/{here['id']}/cancellation", {"by": "patient"}),
            (doctor, "PATCH", f"/v1/slots/{slot['id']}", {"note": "Entrée par la cour"}),
        ]

        async def ask_all() -> list[httpx.Response]:
            return await asyncio.gather(
                *(
                    who.request(method, path, json=body, key=f"key-{n}", if_match="*")
                    for n, (who, method, path, body) in enumerate(asked)
                )
            )

        before = await _rows(installation, doctor, desk)
        async with _locked(installation, slot["id"]):
            stuck = await ask_all()
        assert await _rows(installation, doctor, desk) == before
        for answer in stuck:
            problem(answer, 503, "temporarily-unavailable")
            assert int(answer.headers["Retry-After"]) > 0
        # The same again, with the same keys: now it happens, once.
        assert _statuses(await ask_all()) == {201: 2, 200: 3}
        after = await _rows(installation, doctor, desk)
        assert len(after.events) == len(before.events) + len(asked)


async def test_a_full_pool_answers_503_and_empties_by_itself(installation: Installation) -> None:
    server = installation.server(SNP_POOL_SIZE="2", SNP_POOL_TIMEOUT_SECONDS="1")
    async with (
        _patient(installation),
        _started(server),
        world_at(installation, server.url) as world,
    ):
        doctor, desk = await world.doctor(), await world.regulator()
        slot, other = await doctor.publish(capacity=5), await doctor.publish(soon(4))
        body = request(other)
        async with _locked(installation, slot["id"]):
            stuck = [
                asyncio.create_task(desk.post("/v1/bookings", request(slot))) for _ in range(2)
            ]
            await _wait_for(installation, len(stuck))
            refused = await asyncio.gather(
                desk.post("/v1/bookings", body, key="once"),
                desk.get("/v1/slots"),
                desk.get(f"/v1/slots/{other['id']}"),
            )
            alive, ready = await desk.get("/health/live"), await desk.get("/health/ready")
        for answer in refused:
            problem(answer, 503, "temporarily-unavailable")
            assert answer.json()["detail"] == "Every database connection is in use."
            assert int(answer.headers["Retry-After"]) > 0
        assert (alive.status_code, ready.status_code) == (200, 503)
        assert _statuses(await asyncio.gather(*stuck)) == {201: 2}
        assert (await desk.post("/v1/bookings", body, key="once")).status_code == 201
        assert (await desk.get("/health/ready")).status_code == 200


async def test_a_silent_database_is_given_up_and_the_same_request_books_once(
    installation: Installation,
) -> None:
    server = installation.server(SNP_DATABASE_ANSWER_SECONDS="1")
    async with _started(server), world_at(installation, server.url) as world:
        doctor, desk = await world.doctor(), await world.regulator()
        slot, other = await doctor.publish(capacity=5), await doctor.publish(soon(4))
        installation.proxy.silence()
        try:
            refused = await asyncio.gather(
                desk.post("/v1/bookings", request(slot), key="once"),  # one statement
                desk.get("/v1/slots"),
                doctor.request(  # a transaction
                    "PATCH", f"/v1/slots/{other['id']}", json={"note": "Au fond"}, if_match="*"
                ),
            )
        finally:
            installation.proxy.speak()
        for answer in refused:
            problem(answer, 503, "temporarily-unavailable")
            assert int(answer.headers["Retry-After"]) > 0
        # What was asked may have arrived after all; the key says so.
        await until(lambda: _live(server))
        assert (await desk.post("/v1/bookings", request(slot), key="once")).status_code == 201
        rows = await _rows(installation, doctor, desk)
        assert sum(event.type == "booking.created" for event in rows.events) == 1
        assert (await desk.get("/v1/slots")).status_code == 200


async def test_an_answer_lost_after_the_commit_is_503_at_once_then_a_replay(
    installation: Installation,
) -> None:
    server = installation.server(SNP_POOL_SIZE="1")
    async with _started(server), world_at(installation, server.url) as world:
        doctor, desk = await world.doctor(), await world.regulator()
        slot = await doctor.publish(capacity=5)
        await booked(desk, slot)  # the statement is prepared: the next one is one question
        body = request(slot)
        installation.proxy.lose_next_answer()
        lost = await desk.post("/v1/bookings", body, key="once")
        rows = await _rows(installation, doctor, desk)
        again = await desk.post("/v1/bookings", body, key="once")
        assert [event.type for event in rows.events].count("booking.created") == 2
        problem(lost, 503, "temporarily-unavailable")
        assert "Idempotency-Replayed" not in lost.headers
        assert again.status_code == 201
        assert again.headers["Idempotency-Replayed"] == "true"
        assert await _rows(installation, doctor, desk) == rows


async def test_a_connection_whose_server_said_that_it_ends_is_no_defect(
    installation: Installation,
) -> None:
    server = installation.server(SNP_POOL_SIZE="1")
    async with _started(server), world_at(installation, server.url) as world:
        doctor, desk = await world.doctor(), await world.regulator()
        slot = await doctor.publish(capacity=5)
        asked: list[tuple[Caller, str, str, Any]] = [
            (desk, "POST", "/v1/bookings", request(slot)),  # one statement
            (doctor, "PATCH", f"/v1/slots/{slot['id']}", {"note": "Au fond"}),  # a transaction
        ]
        for who, method, path, body in asked:
            installation.proxy.keep_open(kept=True)
            try:
                await _end_sessions(installation)
                first = await who.request(method, path, json=body, if_match="*")
                again = await who.request(method, path, json=body, if_match="*")
            finally:
                installation.proxy.keep_open(kept=False)
            problem(first, 503, "temporarily-unavailable")
            assert again.status_code in {200, 201}, again.text


async def _end_sessions(installation: Installation) -> None:
    """End every session of the application, as a server that stops does."""
    session = await asyncpg.connect(installation.superuser_url())
    mine = "FROM pg_stat_activity WHERE usename = 'snp_app'"
    try:
        await session.execute(f"SELECT pg_terminate_backend(pid) {mine}")

        async def none_is_left() -> bool:
            return not await session.fetchval(f"SELECT count(*) {mine}")

        await until(none_is_left)
    finally:
        await session.close()


@asynccontextmanager
async def _started(server: Server) -> AsyncIterator[None]:
    """Start one more server, until the block ends."""
    await server.start()
    try:
        await until(lambda: _live(server))
        yield
    finally:
        if server.runs:
            await server.end()


async def _refuses(server: Server) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    except ConnectionRefusedError:
        return True
    writer.close()
    return False


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_sigterm_lets_requests_in_flight_end(
    workers: str, installation: Installation
) -> None:
    server = installation.server("--workers", workers)
    async with (
        _patient(installation),
        _started(server),
        world_at(installation, server.url) as world,
    ):
        doctor, desk = await world.doctor(), await world.regulator()
        slot = await doctor.publish(capacity=5)
        async with _locked(installation, slot["id"]):
            asked = [
                asyncio.create_task(desk.post("/v1/bookings", request(slot))) for _ in range(6)
            ]
            await _wait_for(installation, len(asked))
            ended = asyncio.create_task(server.end())
            await until(lambda: _refuses(server), seconds=8)  # it waits 10 s for them at most
            assert not any(task.done() for task in asked)
        answers = await asyncio.gather(*asked)
        assert _statuses(answers) == {201: 5, 409: 1}
        assert await ended == 0
        rows = await _rows(installation, doctor, desk)
    told = {answer.json()["id"] for answer in answers if answer.status_code == 201}
    assert {row.id for row in rows.bookings} == told


async def _live(server: Server) -> bool:
    async with httpx.AsyncClient(trust_env=False) as http:
        try:
            return (await http.get(f"{server.url}/health/live")).status_code == 200
        except httpx.TransportError:
            return False
