"""Composition root of the worker: keeps the stream, hands facts on, does jobs, looks at the clock.

Any number may run, beside any number of servers; what one does, the others leave. A worker that
dies leaves nothing half done: facts wait behind their cursor, stalled jobs are done again.
"""

import asyncio
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Iterable,
    Iterator,
    Mapping,
)
from contextlib import asynccontextmanager, suppress
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from typing import Any

import procrastinate
import structlog

from service import messages, sas, slots, stream, webhooks
from service.kernel import jobs
from service.kernel.db import Database
from service.kernel.settings import Settings
from service.messages import tasks as message_tasks
from service.sas.tasks import blueprint as sas_tasks
from service.webhooks.tasks import blueprint as webhook_tasks

POLL_SECONDS = 0.1
_OTHERS_SECONDS = 1.0  # so soon a consumer sees what another worker has numbered
_STALLED_SECONDS = 30
_FAILED_HOURS = 7 * 24
_PATIENCE = 5.0  # after a failure: the database may be away
_JOBS_AT_ONCE = 50
_GRACE_SECONDS = 10  # for jobs under way when told to stop
_END_SECONDS = _GRACE_SECONDS + 5
_SLOW = frozenset({"messages"})
_FACTS_A_SECOND = 1000

# Rooms that make something of facts, by the name of their cursor.
CONSUMERS: Mapping[str, stream.Consume] = {
    "messages": messages.consume,
    "sas": sas.consume,
    "webhooks": webhooks.fan_out,
}
# What rooms do by themselves, each so often (seconds).
CLOCKWORK: Mapping[str, tuple[float, Callable[[Database], Awaitable[object]]]] = {
    "slots": (1.0, slots.settle),
    "messages": (message_tasks.SECONDS, message_tasks.look),
    "sas": (1.0, sas.sweep),
    "webhooks:sweep": (1.0, webhooks.sweep),
}

log = structlog.get_logger()


_Pause = Callable[[], Awaitable[None]]
_Work = Coroutine[None, None, None]


@dataclass(frozen=True, slots=True)
class Context:
    """What tasks need beside their arguments: `context.additional_context["worker"]`."""

    database: Database
    settings: Settings


async def _repeat(name: str, work: Callable[[], Awaitable[object]], pause: _Pause) -> None:
    """Do something again and again; what fails is logged by its kind, and tried later.

    Cancelled, it ends, even if what it did failed of that: then the error hides the cancellation.
    """
    task = asyncio.current_task()
    while not (task and task.cancelling()):
        try:
            await work()
            await pause()
        except Exception as error:  # noqa: BLE001  a worker works on, whatever happens here
            log.error("worker.failed", what=name, error=type(error).__name__)
            if not (task and task.cancelling()):
                await asyncio.sleep(_PATIENCE)


def _every(seconds: float) -> _Pause:
    return partial(asyncio.sleep, seconds)


async def _number(database: Database, told: Iterable[asyncio.Event]) -> None:
    """Number new facts, and wake who makes something of them."""
    if await stream.give_positions(database):
        for event in told:
            event.set()


async def _hand_on(
    database: Database, consumer: str, what: stream.Consume, new: asyncio.Event, a_second: int
) -> None:
    """Give a consumer all facts, not too fast; then wait for new ones, whoever numbers them.

    It rests by how many there were: one fact goes at once, a burst in large pieces, which cost
    bookings less.
    """
    new.clear()
    while handed := await stream.consume(database, consumer, what, limit=a_second):  # noqa: ASYNC110  it is a pace, no event ends it
        await asyncio.sleep(handed / a_second)
    with suppress(TimeoutError):
        async with asyncio.timeout(_OTHERS_SECONDS):
            await new.wait()


def _work(settings: Settings, database: Database, app: procrastinate.App) -> Iterator[_Work]:
    new = {consumer: asyncio.Event() for consumer in CONSUMERS}
    yield _repeat("positions", partial(_number, database, new.values()), _every(POLL_SECONDS))
    paces = {"webhooks": settings.webhook_facts_per_second}
    for consumer, what in CONSUMERS.items():
        pace = paces.get(consumer, _FACTS_A_SECOND)
        work = partial(_hand_on, database, consumer, what, new[consumer], pace)
        yield _repeat(consumer, work, _every(0))
    for name, (seconds, clockwork) in CLOCKWORK.items():
        yield _repeat(name, partial(clockwork, database), _every(seconds))
    # A mail server that hangs takes the places of messages, and no others.
    queues = {task.queue for task in app.tasks.values()}
    for some in (queues & _SLOW, queues - _SLOW):
        do = partial(_do_jobs, app, Context(database, settings), sorted(some))
        yield _repeat("jobs", do, _every(0))


def application(settings: Settings) -> procrastinate.App:
    """Return the library's application with the tasks of all rooms."""
    given = settings.listen_database_url or settings.database_url
    if given is None:
        raise ValueError("No database: set SNP_DATABASE_URL.")
    url = given.get_secret_value()
    app = procrastinate.App(connector=jobs.connector(url, prepared=settings.prepared_statements))
    tasks = {
        "worker": _upkeep,
        "messages": message_tasks.blueprint,
        "sas": sas_tasks,
        "webhooks": webhook_tasks,
    }
    for room, of_room in tasks.items():
        app.add_tasks_from(deepcopy(of_room), namespace=room)  # it renames what it is given
    return app


_upkeep = procrastinate.Blueprint()


@_upkeep.periodic(cron="* * * * * */10")
@_upkeep.task(name="rescue", queueing_lock="rescue", pass_context=True)
async def rescue(context: procrastinate.JobContext, timestamp: int) -> None:  # noqa: ARG001  the library gives it
    """Give the jobs of workers that died to others."""
    manager = context.app.job_manager
    await jobs.let_go(context.app)
    for job in await manager.get_stalled_jobs(seconds_since_heartbeat=_STALLED_SECONDS):
        log.warning("worker.job_rescued", job=job.id, task=job.task_name)
        try:
            await manager.retry_job(job)
        except procrastinate.exceptions.UniqueViolation:  # the same one waits already
            await manager.finish_job(job, procrastinate.jobs.Status.FAILED, delete_job=True)


@_upkeep.periodic(cron="47 * * * *")
@_upkeep.task(name="forget", queueing_lock="forget", pass_context=True)
async def forget(context: procrastinate.JobContext, timestamp: int) -> None:  # noqa: ARG001  the library gives it
    """Delete what is left of jobs that failed, a week later: others did what they were for."""
    await context.app.job_manager.delete_old_jobs(
        _FAILED_HOURS, include_failed=True, include_cancelled=True, include_aborted=True
    )


@asynccontextmanager
async def working(settings: Settings, database: Database) -> AsyncIterator[None]:
    """Work for as long as the block lasts; what is under way at its end is finished first."""
    app = application(settings)
    async with app.open_async():
        tasks = [asyncio.create_task(work) for work in _work(settings, database, app)]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            _, late = await asyncio.wait(tasks, timeout=_END_SECONDS)
            if late:  # the database is away: what cannot be kept is done again by another
                log.warning("worker.cut_short", parts=len(late))
                for task in late:
                    task.cancel()
                await asyncio.wait(late, timeout=1)


async def _do_jobs(app: procrastinate.App, context: Context, queues: list[str]) -> None:
    options: dict[str, Any] = {"additional_context": {"worker": context}}
    await app.run_worker_async(
        queues=queues,
        install_signal_handlers=False,
        concurrency=_JOBS_AT_ONCE,
        shutdown_graceful_timeout=_GRACE_SECONDS,
        # A job that waits for another of its endpoint is told to nobody when that one ends.
        fetch_job_polling_interval=POLL_SECONDS,
        delete_jobs=procrastinate.jobs.DeleteJobCondition.SUCCESSFUL,
        **options,
    )
