"""Use cases: bookings of regulators who came through SAS become appointments that it is told of.

SAS is told each booking as it is now, one at a time; what changes while it cannot be told is told
once, in the end. The booking's own id is the appointment's: told twice, it is one.
"""

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from uuid import UUID

from service import bookings
from service.identity import IDNPS, SAS, Identifier
from service.kernel import jobs
from service.kernel.db import Database, UnitOfWork
from service.kernel.sending import Attempt, pause
from service.kernel.settings import Settings
from service.sas.domain import appointments as domain
from service.sas.repository import appointments as repository
from service.sas.repository import regulators
from service.stream import Fact

_JOB = jobs.Job("sas", "sas:tell", {}, lock="sas:tell", queueing_lock="sas:tell")
_NOT_THERE = 404
_THERE = frozenset({409, 412})
_REST_SECONDS, _UNABLE_SECONDS = 10.0, 60.0
# A report may be corrected for 30 days after an appointment.
_DAYS = 60


# --- from facts to appointments -------------------------------------------------------------------


async def consume(uow: UnitOfWork, facts: Sequence[Fact]) -> None:
    """Keep of facts what SAS is to be told: of bookings by who came through it, and no others."""
    newest = {fact.subject_id: fact.position for fact in facts if fact.room == "booking"}
    made = {fact.subject_id for fact in facts if fact.type == "booking.created"}
    if made:
        await repository.add(uow, await _operators(uow, made))
    if newest and await repository.change(uow, newest):
        await jobs.defer(uow, [_JOB])


async def _operators(uow: UnitOfWork, booking_ids: set[UUID]) -> dict[UUID, Identifier]:
    """Return who made bookings, of those who came through SAS, as SAS calls them."""
    made = await bookings.made(uow, booking_ids)
    return {
        booking_id: await _operator(uow, one.person)
        for booking_id, one in made.items()
        if one.person and "origin" in one.person
    }


async def _operator(uow: UnitOfWork, person: Mapping[str, str]) -> Identifier:
    """Return the number that a person came with, as SAS wrote it if they still have it."""
    system, number = person["system"], person["id"]
    national, technical = [number] if system == IDNPS else [], [number] if system == SAS else []
    for one in await regulators.matching(uow, national, technical):
        number = (one.national if system == IDNPS else one.technical) or number
    return Identifier(system, number)


async def sweep(database: Database) -> None:
    """See to it that somebody tells SAS what is due."""
    async with database.unit_of_work() as uow:
        if await repository.any_due(uow):
            await jobs.defer(uow, [_JOB])


# --- telling --------------------------------------------------------------------------------------


async def tell(
    database: Database,
    send: domain.Send,
    system: str,
    *,
    seconds: float,
    chance: Callable[[], float] = random.random,
) -> None:
    """Tell SAS what is due, for some time or until it is away or wants to be left alone.

    What it was told and is not yet kept as told, when a worker dies, it is told again.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while loop.time() < end:
        async with database.unit_of_work() as uow:
            due = await repository.due(uow)
            if due is not None and due.state == "new":
                await repository.begin(uow, due.appointment.booking_id)
        if due is None:
            return
        attempt = await _tell(send, due, system)
        async with database.unit_of_work() as uow:
            if attempt.failure is None:
                await repository.told(uow, due, attempt)
            elif attempt.lets_rest:
                await _leave(uow, due, attempt)
                return
            else:
                wait = pause(attempt, due.attempts, chance())
                await repository.failed(uow, due, attempt, wait, tried=due.attempts + 1)


async def _leave(uow: UnitOfWork, due: repository.Due, attempt: Attempt) -> None:
    """Leave SAS alone for a while: it is away, which is no fault of what it was to be told.

    So that counts for nothing; it comes after the others, should SAS fail over it alone.
    """
    wait = max(attempt.retry_after or 0.0, _REST_SECONDS)
    await repository.failed(uow, due, attempt, 2 * wait, tried=due.attempts)
    await repository.postpone(uow, wait)


async def leave(database: Database) -> bool:
    """Let what is due wait for a minute: nobody could tell it just now. Tells whether some is."""
    async with database.unit_of_work() as uow:
        return await repository.postpone(uow, _UNABLE_SECONDS)


async def _tell(send: domain.Send, due: repository.Due, system: str) -> Attempt:
    """Create an appointment, or write it anew; the other way where SAS says it is that."""
    resource = domain.resource(due.appointment, system)
    ours = Identifier(system, str(due.appointment.booking_id))
    first, other, says_so = (
        ("POST", "PUT", _THERE) if due.state == "new" else ("PUT", "POST", {_NOT_THERE})
    )
    attempt = await send(first, ours, resource)
    return await send(other, ours, resource) if attempt.status in says_so else attempt


# --- upkeep ---------------------------------------------------------------------------------------


async def retry(uow: UnitOfWork) -> int:
    """Tell SAS anew what failed or was given up; a worker does it. Returns how many."""
    count = await repository.retry(uow)
    await jobs.defer(uow, [_JOB])
    return count


async def clear(uow: UnitOfWork) -> None:
    """Delete what SAS was told of appointments that nothing changes any more."""
    await repository.clear(uow, _DAYS)
    await regulators.clear(uow)


async def health(settings: Settings, uow: UnitOfWork) -> tuple[bool, str]:
    """Tell for how long appointments wait, and what was given up; SAS's faults are not ours."""
    seconds, abandoned = await repository.lag(uow)
    told = f"oldest appointment not told: {seconds:.0f} s, abandoned: {abandoned}"
    url = settings.sas_appointments_url
    return True, told if url else f"SNP_SAS_APPOINTMENTS_URL is not set; {told}"


async def measures(uow: UnitOfWork) -> dict[str, float]:
    """Measure the same."""
    seconds, abandoned = await repository.lag(uow)
    return {"sas_oldest_waiting_seconds": seconds, "sas_abandoned": float(abandoned)}
