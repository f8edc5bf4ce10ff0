"""What the tests of webhooks share."""

import asyncio
from collections.abc import Callable
from typing import Any
from uuid import UUID

from sqlalchemy import select

from service import stream, webhooks
from service.kernel.db import Database
from service.stream.repository import keeping
from service.stream.tables import stream_cursors
from service.webhooks import usecases
from service.webhooks.clients import sender
from tests.support import Caller, patient, soon
from tests.webhooks.conftest import Broker

Body = dict[str, Any]
_PATIENCE = 60.0
_REACHED = select(stream_cursors.c.reached).where(stream_cursors.c.consumer == "webhooks")


async def subscribed(caller: Caller, url: str, **members: Any) -> Body:
    """Create an endpoint; returns the answer's body."""
    answer = await caller.post("/v1/webhook-endpoints", {"url": url, **members})
    assert answer.status_code == 201, answer.text
    body: Body = answer.json()
    return body


async def booked(caller: Caller, slot: Body) -> Body:
    """Book a patient on a slot."""
    answer = await caller.post("/v1/bookings", {"slot_id": slot["id"], "patient_file": patient()})
    assert answer.status_code == 201, answer.text
    body: Body = answer.json()
    return body


async def cancelled(caller: Caller, booking: Body) -> None:
    """Cancel a booking for its patient."""
    path = f"/v1/bookings/{booking['id']}/cancellation"
    answer = await caller.post(path, {"by": "patient"})
    assert answer.status_code == 200, answer.text


async def deliveries(caller: Caller, endpoint: Body, **query: Any) -> list[Body]:
    """What an endpoint was told, newest first."""
    path = f"/v1/webhook-endpoints/{endpoint['id']}/deliveries"
    answer = await caller.get(path, params={"limit": 200, **query})
    assert answer.status_code == 200, answer.text
    items: list[Body] = answer.json()["items"]
    return items


async def delivered(
    caller: Caller, endpoint: Body, seen: Callable[[list[Body]], bool]
) -> list[Body]:
    """Wait until the list of deliveries says something."""
    async with asyncio.timeout(_PATIENCE):
        while True:
            found = await deliveries(caller, endpoint)
            if seen(found):
                return found
            await asyncio.sleep(0.05)


async def read(caller: Caller, endpoint: Body) -> Body:
    """Read an endpoint."""
    answer = await caller.get(f"/v1/webhook-endpoints/{endpoint['id']}")
    assert answer.status_code == 200, answer.text
    body: Body = answer.json()
    return body


async def slots_of(doctor: Caller, number: int, **members: Any) -> list[Body]:
    """Publish slots that professionals see."""
    shown = {"visibility": ["PRO"], **members}
    return [await doctor.publish(soon(3 + n), **shown) for n in range(number)]


async def moved(caller: Caller, booking: Body, slot: Body) -> None:
    """Move a booking to another slot."""
    path = f"/v1/bookings/{booking['id']}/rescheduling"
    answer = await caller.post(path, {"slot_id": slot["id"]})
    assert answer.status_code == 200, answer.text


async def fan(database: Database) -> None:
    """Do what a worker does with facts, and send nothing."""
    while await stream.give_positions(database):
        pass
    while await stream.consume(database, "webhooks", webhooks.fan_out):
        pass


async def drain(database: Database, endpoint: Body, *, a_second: int = 1000) -> None:
    """Do what a worker does for an endpoint: send what is due."""
    async with sender(loopback=True) as send:
        await usecases.drain(database, send, UUID(endpoint["id"]), seconds=20, a_second=a_second)


async def handed_on(broker: Broker) -> None:
    """Wait until the worker has made deliveries of every fact."""
    async with asyncio.timeout(_PATIENCE):
        while True:
            async with broker.database.unit_of_work() as uow:
                _, waiting = await keeping(uow)
                last = await stream.last_position(uow)
                reached = (await uow.execute(_REACHED)).scalar_one_or_none()
                if waiting is None and reached == last:
                    return
            await asyncio.sleep(0.05)
