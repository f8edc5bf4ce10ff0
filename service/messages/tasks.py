"""Jobs of the worker: sending one message, and looking for those whose time has come."""

from uuid import UUID

import procrastinate
import structlog

from service.kernel.db import Database
from service.kernel.settings import Settings
from service.messages import clients, usecases
from service.messages.domain import Undelivered

SECONDS = 5.0

blueprint = procrastinate.Blueprint()
log = structlog.get_logger()


@blueprint.task(name="send", queue="messages", pass_context=True)
async def send(context: procrastinate.JobContext, message_id: str) -> None:
    """Send one message, if it is still to be sent."""
    worker = context.additional_context["worker"]
    await deliver(worker.settings, worker.database, UUID(message_id))


async def deliver(settings: Settings, database: Database, message_id: UUID) -> None:
    """Send a message: what was begun is kept before, what became of it afterwards.

    Killed in between, it is sent again, with the same Message-ID.
    """
    try:
        async with database.unit_of_work() as uow:
            taken = await usecases.take(uow, settings, message_id)
    except Exception as defect:  # noqa: BLE001  whatever it is, it is not tried again each few seconds
        log.warning("message.failed", why=usecases.DEFECT, kind=type(defect).__name__)
        async with database.unit_of_work() as uow:
            await usecases.unwritten(uow, message_id)
        return
    if taken is None:
        return
    try:
        channel = await clients.deliver(settings, taken.letter, taken.now)
    except Exception as error:  # noqa: BLE001  what a library says may quote an address
        failure = error if isinstance(error, Undelivered) else Undelivered(usecases.DEFECT)
        log.warning("message.failed", why=failure.why, kind=type(error).__name__)
        async with database.unit_of_work() as uow:
            await usecases.failed(uow, taken, failure)
    else:
        async with database.unit_of_work() as uow:
            await usecases.sent(uow, taken, channel)


async def look(database: Database) -> None:
    """Find what is due, and nobody has a job for."""
    async with database.unit_of_work() as uow:
        await usecases.defer_due(uow)
