"""Sessions and absences. The slots of a session are rows of `slots` that carry its id."""

from sqlalchemy import (
    ARRAY,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    ForeignKey,
    Index,
    Integer,
    SmallInteger,
    Table,
    Text,
    Time,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from service.kernel.tables import Instant, metadata, sealed

slot_sessions = Table(
    "slot_sessions",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("practitioner_id", Uuid, ForeignKey("practitioners.id")),
    Column("location_id", Uuid, ForeignKey("locations.id"), nullable=False),
    # Copied from the place: who owns the session of nobody named, and its clock.
    Column("organization_id", Uuid, nullable=False),
    Column("territory", Text, nullable=False),
    Column("zone", Text, nullable=False),
    # Local, in `zone`. An end that is not after the start is on the next day.
    Column("first_date", Date, nullable=False),
    Column("local_start", Time, nullable=False),
    Column("local_end", Time, nullable=False),
    Column("slot_minutes", SmallInteger, nullable=False),
    # Without weekdays it takes place once.
    Column("weekly", ARRAY(Text)),
    Column("until", Date),
    Column("except_dates", ARRAY(Date), nullable=False, server_default=text("'{}'")),
    Column("skip_public_holidays", Boolean, nullable=False, server_default=text("false")),
    Column("skip_school_holidays", Boolean, nullable=False, server_default=text("false")),
    Column("school_zone", Text),
    Column("modes", ARRAY(Text), nullable=False),
    Column("specialty", Text),
    Column("visibility", ARRAY(Text), nullable=False),
    Column("cpts_ids", ARRAY(Uuid), nullable=False, server_default=text("'{}'")),
    Column("organization_types", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    Column("organization_ids", ARRAY(Uuid), nullable=False, server_default=text("'{}'")),
    Column("capacity", SmallInteger, nullable=False),
    Column("overbooking", SmallInteger, nullable=False, server_default=text("0")),
    Column("walk_in", Boolean, nullable=False, server_default=text("false")),
    Column("note", Text),
    # The steps of its slots' release: [{"minutes_before": 60, "to": "PUBLIC"}, ...]
    Column("release", JSONB, nullable=False, server_default=text("'[]'")),
    Column("client_id", Uuid),
    # The last local date that was looked at; null: look again (an absence has ended).
    Column("filled_through", Date),
    Column("ended_at", Instant),
    Column("version", Integer, nullable=False, server_default=text("1")),
    Column("created_at", Instant, nullable=False, server_default=text("snp_now()")),
    Column("updated_at", Instant, nullable=False, server_default=text("snp_now()")),
    CheckConstraint("local_start <> local_end", name="hours"),
    CheckConstraint("slot_minutes BETWEEN 1 AND 1440", name="slot_minutes"),
    CheckConstraint(
        "weekly <@ ARRAY['MO', 'TU', 'WE', 'TH', 'FR', 'SA', 'SU'] AND cardinality(weekly) > 0",
        name="weekly",
    ),
    CheckConstraint("until >= first_date", name="until"),
    CheckConstraint("school_zone IN ('A', 'B', 'C')", name="school_zone"),
    CheckConstraint(
        "NOT skip_school_holidays OR school_zone IS NOT NULL", name="school_zone_named"
    ),
    Index("ix_slot_sessions_practitioner_id_id", "practitioner_id", "id"),
    Index("ix_slot_sessions_organization_id_id", "organization_id", "id"),
    Index("ix_slot_sessions_live", "id", postgresql_where=text("ended_at IS NULL")),
)

absences = Table(
    "absences",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("practitioner_id", Uuid, ForeignKey("practitioners.id"), nullable=False),
    Column("zone", Text, nullable=False),
    Column("starts_at", Instant, nullable=False),
    Column("ends_at", Instant, nullable=False),
    # Free text about the doctor: encrypted like an identity.
    sealed("reason"),
    Column("slot_ids", ARRAY(Uuid), nullable=False),
    Column("booking_ids", ARRAY(Uuid), nullable=False),
    Column("client_id", Uuid),
    # From then on sessions may fill its range again.
    Column("ended_at", Instant),
    Column("created_at", Instant, nullable=False, server_default=text("snp_now()")),
    CheckConstraint("starts_at < ends_at", name="period"),
    Index("ix_absences_practitioner_id_id", "practitioner_id", "id"),
    Index(
        "ix_absences_live",
        "practitioner_id",
        "ends_at",
        postgresql_where=text("ended_at IS NULL"),
    ),
)
