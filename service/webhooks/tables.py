"""Tables of the room: who is told by webhook, and what each was told."""

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)

from service.kernel.rights import RIGHTS
from service.kernel.tables import Instant, metadata, sealed

webhook_endpoints = Table(
    "webhook_endpoints",
    metadata,
    Column("id", Uuid, primary_key=True),
    # By which right it listens, with which software: asked anew each time something is sent.
    Column("grant_id", Uuid, nullable=False),
    Column("client_id", Uuid, nullable=False),
    # Who keeps it: callers of this organization, in this role, for these practitioners.
    Column("organization_id", Uuid, nullable=False),
    Column("role", Text, nullable=False),
    Column("practitioner_ids", ARRAY(Uuid), nullable=False),
    Column("territory", Text),
    Column("url", Text, nullable=False),
    # Types that are wanted; none named: all.
    Column("events", ARRAY(Text), nullable=False),
    Column("format", Text, nullable=False),
    Column("description", Text),
    sealed("secret"),
    # During a rotation it signs, too.
    sealed("previous_secret"),
    Column("previous_until", Instant),
    Column("enabled", Boolean, nullable=False, server_default=text("true")),
    Column("disabled_reason", Text),
    Column("disabled_at", Instant),
    # Since when nothing arrives; null: the last attempt did.
    Column("failing_since", Instant),
    # Nothing is sent before: it asked for that, or does not answer at all.
    Column("rests_until", Instant),
    Column("version", Integer, nullable=False, server_default=text("1")),
    Column("created_at", Instant, nullable=False, server_default=text("snp_now()")),
    # Its deliveries are many: they go by and by, then the row.
    Column("deleted_at", Instant),
    CheckConstraint("enabled = (disabled_reason IS NULL)", name="disabled_reason"),
    Index(
        "ix_webhook_endpoints_organization_id",
        "organization_id",
        postgresql_where=text("deleted_at IS NULL"),
    ),
    info={"rights": (*RIGHTS, "DELETE")},
)

# What is sent is not kept: it is made of the fact anew at each attempt.
webhook_deliveries = Table(
    "webhook_deliveries",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("endpoint_id", Uuid, ForeignKey("webhook_endpoints.id"), nullable=False),
    Column("event_id", Uuid, nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("type", Text, nullable=False),
    Column("subject_id", Uuid, nullable=False),
    Column("state", Text, nullable=False, server_default=text("'pending'")),
    Column("attempts", SmallInteger, nullable=False, server_default=text("0")),
    Column("last_status", SmallInteger),
    Column("last_failure", Text),
    # Null: it is settled, or waits for an earlier one about the same subject.
    Column("next_attempt_at", Instant),
    Column("created_at", Instant, nullable=False, server_default=text("snp_now()")),
    Column("settled_at", Instant),
    CheckConstraint("state IN ('pending', 'delivered', 'failed', 'abandoned')", name="state"),
    CheckConstraint("next_attempt_at IS NULL OR state IN ('pending', 'failed')", name="due"),
    # One view of a fact has one subject: told once, whoever tells it again.
    UniqueConstraint("endpoint_id", "event_id", "subject_id"),
    Index("ix_webhook_deliveries_endpoint_id_id", "endpoint_id", "id"),
    # What is due, and what an earlier one waits for: neither index can serve the other's question.
    # With statistics of a day on which nothing waited, one would be read as a whole for it.
    Index(
        "ix_webhook_deliveries_due",
        "endpoint_id",
        "next_attempt_at",
        "position",
        postgresql_where=text("next_attempt_at IS NOT NULL"),
    ),
    Index(
        "ix_webhook_deliveries_subject",
        "endpoint_id",
        "subject_id",
        "position",
        postgresql_where=text("state IN ('pending', 'failed')"),
    ),
    Index("ix_webhook_deliveries_abandoned", "id", postgresql_where=text("state = 'abandoned'")),
    Index("ix_webhook_deliveries_created_at", "created_at", postgresql_using="brin"),
    info={"rights": (*RIGHTS, "DELETE")},
)
