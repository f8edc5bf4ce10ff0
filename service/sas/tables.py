"""Tables of the room: who regulates, as SAS says, and what SAS is told of their bookings."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    SmallInteger,
    Table,
    Text,
    Uuid,
    func,
    text,
)

from service.kernel.rights import RIGHTS
from service.kernel.tables import Instant, metadata

# Who they are stands in their account.
regulators = Table(
    "regulators",
    metadata,
    # What SAS calls `Practitioner/<id>`: it stays, whatever changes about the person.
    Column("id", Uuid, primary_key=True),
    # The same person in `identity`; null: the number that was known there went to somebody else.
    Column("account_id", Uuid, ForeignKey("accounts.id")),
    Column("active", Boolean, nullable=False),
    # Their numbers as SAS wrote them: in the national registers, and its own.
    Column("national", Text),
    Column("technical", Text),
    Index("ix_regulators_account_id", "account_id"),
    info={"rights": (*RIGHTS, "DELETE")},
)
Index("uq_regulators_national", regulators.c.national, unique=True)
Index("uq_regulators_technical", func.lower(regulators.c.technical), unique=True)

# One row a booking, and nothing of what is sent: that is made of the booking at each attempt.
sas_appointments = Table(
    "sas_appointments",
    metadata,
    Column("booking_id", Uuid, ForeignKey("bookings.id"), primary_key=True),
    # Who booked, as SAS called them then.
    Column("operator_system", Text, nullable=False),
    Column("operator_value", Text, nullable=False),
    # The newest fact about the booking, and the newest that SAS has; null: none that we know of.
    Column("position", BigInteger, nullable=False),
    Column("told_position", BigInteger),
    Column("state", Text, nullable=False, server_default=text("'new'")),
    Column("attempts", SmallInteger, nullable=False, server_default=text("0")),
    Column("last_status", SmallInteger),
    Column("last_failure", Text),
    # Null: SAS has everything, or it was given up.
    Column("next_attempt_at", Instant),
    CheckConstraint("state IN ('new', 'changed', 'told', 'failed', 'abandoned')", name="state"),
    Index(
        "ix_sas_appointments_due",
        "next_attempt_at",
        postgresql_where=text("next_attempt_at IS NOT NULL"),
    ),
    Index(
        "ix_sas_appointments_abandoned",
        "booking_id",
        postgresql_where=text("state = 'abandoned'"),
    ),
    info={"rights": (*RIGHTS, "DELETE")},
)
