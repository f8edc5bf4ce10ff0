"""Slots and holds.

Everything that taking a seat tests is a column of the slot row, live holds included: under READ
COMMITTED a statement that waited re-checks only the row it waited for. The `holds` table finds a
hold by its id and counts an organization's; it never decides whether a seat is left.
"""

from sqlalchemy import (
    ARRAY,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    Float,
    ForeignKey,
    Index,
    Integer,
    SmallInteger,
    Table,
    Text,
    Uuid,
    func,
    literal_column,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB, ExcludeConstraint

from service.kernel.tables import Instant, metadata

slots = Table(
    "slots",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("practitioner_id", Uuid, ForeignKey("practitioners.id")),
    Column("location_id", Uuid, ForeignKey("locations.id"), nullable=False),
    Column("organization_id", Uuid, nullable=False),
    Column("organization_type", Text, nullable=False),
    Column("territory", Text, nullable=False),
    Column("zone", Text, nullable=False),
    Column("latitude", Float, nullable=False),
    Column("longitude", Float, nullable=False),
    Column("reduced_mobility", Boolean, nullable=False),
    Column("starts_at", Instant, nullable=False),
    Column("ends_at", Instant, nullable=False),
    Column("modes", ARRAY(Text), nullable=False),
    Column("specialty", Text),
    Column("visibility", ARRAY(Text), nullable=False),
    Column("cpts_ids", ARRAY(Uuid), nullable=False, server_default=text("'{}'")),
    Column("organization_types", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    Column("organization_ids", ARRAY(Uuid), nullable=False, server_default=text("'{}'")),
    Column("capacity", SmallInteger, nullable=False),
    Column("overbooking", SmallInteger, nullable=False, server_default=text("0")),
    Column("booked", SmallInteger, nullable=False, server_default=text("0")),
    # {hold id: {"organization": id, "since": seconds since 1970, "until": the same}}
    Column("holds", JSONB, nullable=False, server_default=text("'{}'")),
    Column("walk_in", Boolean, nullable=False, server_default=text("false")),
    Column("note", Text),
    Column("external_id", Text),
    Column("client_id", Uuid),
    # Which place in whose grid it fills (the room `agenda`); it keeps that place when it is moved.
    # A slot that its session or its release takes back gives the place up: it may be filled again.
    Column("session_id", Uuid),
    Column("session_start", Instant),
    # Its release (docs/adr/0023): since when each step of it is in force; null: never.
    Column("pro_from", Instant),
    Column("cpts_from", Instant),
    Column("public_from", Instant),
    Column("given_back_from", Instant),
    # The first of them that nobody has been told of yet; null: none. Nobody's sight depends on it.
    Column("next_release_at", Instant),
    Column("withdrawn_at", Instant),
    Column("version", Integer, nullable=False, server_default=text("1")),
    Column("created_at", Instant, nullable=False, server_default=text("snp_now()")),
    Column("updated_at", Instant, nullable=False, server_default=text("snp_now()")),
    CheckConstraint("starts_at < ends_at", name="period"),
    CheckConstraint("capacity >= 1 AND overbooking >= 0", name="capacity"),
    CheckConstraint("booked BETWEEN 0 AND capacity + overbooking", name="seats"),
    CheckConstraint("withdrawn_at IS NULL OR booked = 0", name="withdrawn_empty"),
    CheckConstraint(
        "practitioner_id IS NOT NULL OR organization_type IN ('csnp', 'sos')", name="practitioner"
    ),
    CheckConstraint("cardinality(modes) > 0 AND modes <@ ARRAY['AMB', 'HH', 'VR']", name="modes"),
    CheckConstraint(
        "cardinality(visibility) > 0 AND visibility <@ ARRAY['PUBLIC', 'PRO', 'SNP', 'CPTS']",
        name="visibility",
    ),
    CheckConstraint("(session_id IS NULL) = (session_start IS NULL)", name="session"),
    ExcludeConstraint(
        ("practitioner_id", "="),
        (
            func.tstzrange(literal_column("starts_at"), literal_column("ends_at")),
            "&&",
        ),
        where=text("withdrawn_at IS NULL"),
        using="gist",
        name="ex_slots_practitioner_period",
    ),
    Index(
        "ix_slots_search",
        "territory",
        "starts_at",
        "id",
        postgresql_where=text("withdrawn_at IS NULL"),
    ),
    # Figures count withdrawn slots too. Covers who took part; never `booked`, which would make each
    # booking write every index of the row (docs/adr/0015).
    Index(
        "ix_slots_figures",
        "territory",
        "starts_at",
        postgresql_include=["practitioner_id", "organization_id", "visibility", "withdrawn_at"],
    ),
    # Near a place, whatever the country holds: squares of a quarter of a degree.
    Index(
        "ix_slots_square_starts_at",
        text("snp_square(latitude, longitude)"),
        "starts_at",
        "id",
        postgresql_where=text("withdrawn_at IS NULL"),
    ),
    Index("ix_slots_practitioner_id_starts_at", "practitioner_id", "starts_at"),
    Index("ix_slots_location_id_starts_at", "location_id", "starts_at"),
    # No list of pending entries, which each search would have to read through.
    Index(
        "ix_slots_cpts_ids",
        "cpts_ids",
        postgresql_using="gin",
        postgresql_with={"fastupdate": "off"},
    ),
    Index(
        "ix_slots_next_release_at",
        "next_release_at",
        postgresql_where=text("next_release_at IS NOT NULL"),
    ),
    # The practice software's own id names one slot of one practitioner, wherever it is.
    Index(
        "uq_slots_practitioner_external_id",
        "practitioner_id",
        "external_id",
        unique=True,
        postgresql_where=text("external_id IS NOT NULL"),
    ),
    Index(
        "uq_slots_organization_external_id",
        "organization_id",
        "external_id",
        unique=True,
        postgresql_where=text("external_id IS NOT NULL AND practitioner_id IS NULL"),
    ),
    Index(
        "uq_slots_session_id_session_start",
        "session_id",
        "session_start",
        unique=True,
        postgresql_where=text("session_id IS NOT NULL"),
    ),
)

# How often a slot stood in the answer to a search by somebody of another organization, by day of
# its zone. Counted in memory and added up every few seconds (`listings`).
slot_listings = Table(
    "slot_listings",
    metadata,
    Column("slot_id", Uuid, ForeignKey("slots.id"), primary_key=True),
    Column("day", Date, primary_key=True),
    Column("listed", Integer, nullable=False),
)

holds = Table(
    "holds",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("slot_id", Uuid, ForeignKey("slots.id"), nullable=False),
    Column("organization_id", Uuid, nullable=False),
    Column("client_id", Uuid, nullable=False),
    Column("expires_at", Instant, nullable=False),
    # Given back, used by a booking, ended by a withdrawal, or told to have expired.
    Column("ended_at", Instant),
    Column("created_at", Instant, nullable=False, server_default=text("snp_now()")),
    Index(
        "ix_holds_organization_id_expires_at",
        "organization_id",
        "expires_at",
        postgresql_where=text("ended_at IS NULL"),
    ),
    Index("ix_holds_slot_id", "slot_id"),
    # Those that have expired, to be told.
    Index("ix_holds_expires_at", "expires_at", postgresql_where=text("ended_at IS NULL")),
)
