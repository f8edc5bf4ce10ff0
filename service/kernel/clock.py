"""The only reader of the process clock.

Facts that several processes share are judged by the database's `snp_now()` (see `kernel.sql`);
this clock serves what concerns one process alone: the life of a token, the age of a log line.
"""

from datetime import UTC, datetime


def now() -> datetime:
    """Return the current instant, aware, in UTC."""
    return datetime.now(UTC)
