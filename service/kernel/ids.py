"""The only maker of identifiers."""

from uuid import UUID

from uuid_utils.compat import uuid7


def new_id() -> UUID:
    """Return a UUIDv7: sorts by time, so that newest-first lists follow the primary key."""
    return uuid7()
