"""What the worker does for the room, and the command line."""

from datetime import datetime
from uuid import UUID

import procrastinate
import structlog

from service.kernel import jobs
from service.kernel.db import Database
from service.webhooks import usecases
from service.webhooks.clients import sender

# One job sends for so long; then it is somebody else's turn.
_SECONDS = 20.0
_PATIENCE = 60.0  # after a defect of ours

log = structlog.get_logger()

blueprint = procrastinate.Blueprint()


@blueprint.task(name="drain", queue=usecases.QUEUE, pass_context=True)
async def drain(context: procrastinate.JobContext, endpoint_id: str) -> None:
    """Send an endpoint what is due."""
    worker = context.additional_context["worker"]
    endpoint = UUID(endpoint_id)
    pace = worker.settings.webhook_messages_per_second
    try:
        async with sender(loopback=worker.settings.webhook_loopback) as send:
            more = await usecases.drain(
                worker.database, send, endpoint, seconds=_SECONDS, a_second=pace
            )
    except Exception as defect:  # noqa: BLE001  whatever it is, it is not tried again each second
        log.error("webhook.not_sent", endpoint=endpoint_id, error=type(defect).__name__)
        await usecases.let_rest(worker.database, endpoint, _PATIENCE)
        return
    if more:
        async with worker.database.unit_of_work() as uow:
            await jobs.defer(uow, [usecases.drain_job(endpoint)])


@blueprint.task(name="replay_range", queue=usecases.QUEUE, pass_context=True)
async def replay_range(
    context: procrastinate.JobContext,
    endpoint_id: str,
    after: int,
    last: int,
    since: str,
    until: str,
) -> None:
    """Make deliveries of the facts of a range anew."""
    worker = context.additional_context["worker"]
    instants = (datetime.fromisoformat(since), datetime.fromisoformat(until))
    await usecases.replay_some(worker.database, UUID(endpoint_id), after, last, *instants)


@blueprint.periodic(cron="17 * * * *")
@blueprint.task(name="clear", queueing_lock="webhooks:clear", pass_context=True)
async def clear(context: procrastinate.JobContext, timestamp: int) -> None:  # noqa: ARG001  the library gives it
    """Delete deliveries that nobody lists any more."""
    worker = context.additional_context["worker"]
    await usecases.clear(worker.database, worker.settings.webhook_delivery_days)


async def retry(database: Database, endpoint_id: UUID | None, since: datetime | None) -> int:
    """`snp deliveries retry`: begin anew with what failed or was abandoned; return how many."""
    return await usecases.retry(database, endpoint_id, since)
