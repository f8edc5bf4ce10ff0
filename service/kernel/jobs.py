"""Jobs of the worker: written with the facts they follow from, run by procrastinate.

A job carries ids; what it does is idempotent, since a worker that dies leaves it to another. The
library's own connections are psycopg's; ours write jobs in the unit of work's transaction.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, LiteralString

import orjson
import procrastinate
from sqlalchemy import text

from service.kernel.db import UnitOfWork

# Who defers the same job at the same time waits here, not to fail on the index. However many jobs:
# a lock for each would fill the server's table of locks, which bookings need too.
_IN_TURN = text(
    """SELECT pg_advisory_xact_lock(7301839, turn)
       FROM (SELECT DISTINCT hashtext(name) & 63 AS turn
             FROM unnest(cast(:locks AS text[])) AS name ORDER BY turn) AS turns"""
)
# A job whose queueing lock is already waiting is the same job: one is enough.
_DEFER = text(
    """SELECT procrastinate_defer_jobs_v1(array_agg(
              row(queue, task, 0, lock, queueing_lock, args, at)::procrastinate_job_to_defer_v1))
       FROM jsonb_to_recordset(cast(:jobs AS jsonb)) AS job(
              queue text, task text, lock text, queueing_lock text, args jsonb, at timestamptz)
       WHERE queueing_lock IS NULL OR NOT EXISTS (
              SELECT FROM procrastinate_jobs AS waiting
              WHERE waiting.queueing_lock = job.queueing_lock AND waiting.status = 'todo')"""
)


@dataclass(frozen=True, slots=True)
class Job:
    """One thing to do: `task` is the name it is registered under, `at` the earliest instant."""

    queue: str
    task: str
    args: Mapping[str, Any]
    lock: str | None = None
    queueing_lock: str | None = None
    at: datetime | None = None


async def defer(uow: UnitOfWork, jobs: Iterable[Job]) -> None:
    """Write jobs in the unit of work's transaction."""
    rows = [asdict(job) for job in jobs]
    if locks := [row["queueing_lock"] for row in rows if row["queueing_lock"] is not None]:
        await uow.execute(_IN_TURN, {"locks": locks})
    if rows:
        await uow.execute(_DEFER, {"jobs": orjson.dumps(rows).decode()})


# No job takes so long: its worker could not keep that it had ended, and lives on.
_LET_GO: LiteralString = """
    UPDATE procrastinate_jobs SET worker_id = NULL
    WHERE status = 'doing' AND worker_id IS NOT NULL AND NOT EXISTS (
        SELECT FROM procrastinate_events AS event
        WHERE event.job_id = procrastinate_jobs.id AND event.type = 'started'
          AND event.at > now() - interval '30 minutes')"""


async def let_go(app: procrastinate.App) -> None:
    """Take jobs that have been under way for ever from their workers: they are stalled then."""
    await app.job_manager.connector.execute_query_async(_LET_GO)


def connector(url: str, *, prepared: bool) -> procrastinate.PsycopgConnector:
    """Return the library's way to the database: some connections, and one that listens."""
    _, _, rest = url.partition("://")
    return procrastinate.PsycopgConnector(
        conninfo=f"postgresql://{rest}",
        min_size=1,
        max_size=4,
        kwargs={
            "application_name": "snp worker",
            "prepare_threshold": 5 if prepared else None,
        },
    )
