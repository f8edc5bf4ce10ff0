"""What the worker does for the room."""

import procrastinate
import structlog

from service.sas.clients import sender
from service.sas.usecases import appointments

# One job tells for so long; then the clockwork makes another one.
_SECONDS = 20.0

log = structlog.get_logger()

blueprint = procrastinate.Blueprint()


@blueprint.task(name="tell", queue="sas", pass_context=True)
async def tell(context: procrastinate.JobContext) -> None:
    """Tell SAS what is due; where the settings do not say how, it waits."""
    worker = context.additional_context["worker"]
    settings = worker.settings
    if not settings.sas_appointments_url:
        await appointments.leave(worker.database)
        return
    try:
        async with sender(settings) as send:
            await appointments.tell(worker.database, send, settings.sas_system, seconds=_SECONDS)
    except OSError as unreadable:  # the files of our certificate
        if await appointments.leave(worker.database):
            log.error("sas.not_told", error=type(unreadable).__name__)


@blueprint.periodic(cron="23 * * * *")
@blueprint.task(name="clear", queueing_lock="sas:clear", pass_context=True)
async def clear(context: procrastinate.JobContext, timestamp: int) -> None:  # noqa: ARG001  the library gives it
    """Delete what is needed no more."""
    worker = context.additional_context["worker"]
    async with worker.database.unit_of_work() as uow:
        await appointments.clear(uow)
