"""Messages, where they reach a practitioner, and who wants none. Nothing here names a patient."""

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)

from service.kernel.tables import Instant, metadata

practitioner_contacts = Table(
    "practitioner_contacts",
    metadata,
    Column("practitioner_id", Uuid, ForeignKey("practitioners.id"), primary_key=True),
    Column("email", Text),
    Column("mssante", Text),
    Column("wants_booking", Boolean, nullable=False),
    Column("wants_cancellation", Boolean, nullable=False),
    Column("wants_reminder", Boolean, nullable=False),
    Column("version", Integer, nullable=False, server_default=text("1")),
)

messages = Table(
    "messages",
    metadata,
    Column("id", Uuid, primary_key=True),
    # The fact that it follows from.
    Column("event_id", Uuid, nullable=False),
    Column("kind", Text, nullable=False),
    Column("recipient", Text, nullable=False),
    # The doctor; patients and their own doctors are looked up in the file when it is sent.
    Column("practitioner_id", Uuid, ForeignKey("practitioners.id")),
    Column("booking_id", Uuid, ForeignKey("bookings.id")),
    # What it speaks of: the booking may be on another one since.
    Column("slot_id", Uuid, ForeignKey("slots.id"), nullable=False),
    # When the appointment was, before it was moved.
    Column("was_at", Instant),
    Column("state", Text, nullable=False, server_default=text("'queued'")),
    # A code: why it was not sent (yet).
    Column("why", Text),
    Column("channel", Text),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("queued_at", Instant, nullable=False, server_default=text("snp_now()")),
    # When it is looked at next: its time, the next attempt, or the end of what a worker had begun.
    Column("due_at", Instant, nullable=False, server_default=text("snp_now()")),
    Column("settled_at", Instant),
    CheckConstraint("state IN ('queued', 'sent', 'failed', 'dead', 'suppressed')", name="state"),
    CheckConstraint("(recipient = 'doctor') = (practitioner_id IS NOT NULL)", name="practitioner"),
    UniqueConstraint("event_id", "kind", "recipient"),
    Index("ix_messages_due_at", "due_at", postgresql_where=text("state IN ('queued', 'failed')")),
    Index("ix_messages_dead", "settled_at", postgresql_where=text("state = 'dead'")),
)

# Whose address must get nothing: a blind index, which outlives every file that had the address.
message_opt_outs = Table(
    "message_opt_outs",
    metadata,
    Column("address_index", LargeBinary, primary_key=True),
    Column("created_at", Instant, nullable=False, server_default=text("snp_now()")),
    info={"rights": ("SELECT", "INSERT", "DELETE")},
)
