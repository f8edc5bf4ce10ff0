"""Secrets that open the calendar of a practitioner."""

from sqlalchemy import Column, ForeignKey, Index, LargeBinary, Table, Text, Uuid, text

from service.kernel.rights import RIGHTS
from service.kernel.tables import Instant, metadata

calendar_tokens = Table(
    "calendar_tokens",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("practitioner_id", Uuid, ForeignKey("practitioners.id"), nullable=False),
    # Which calendar has it, in the words of who made it.
    Column("name", Text, nullable=False),
    Column("digest", LargeBinary, nullable=False, unique=True),
    # With which right and which software it was made: it ends with either.
    Column("grant_id", Uuid, ForeignKey("grants.id"), nullable=False),
    Column("client_id", Uuid, ForeignKey("clients.id"), nullable=False),
    Column("created_at", Instant, nullable=False, server_default=text("snp_now()")),
    # To within an hour; null: never.
    Column("last_used_at", Instant),
    Column("revoked_at", Instant),
    Index(
        "ix_calendar_tokens_practitioner_id",
        "practitioner_id",
        postgresql_where=text("revoked_at IS NULL"),
    ),
    info={"rights": (*RIGHTS, "DELETE")},
)
