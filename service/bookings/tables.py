"""Bookings: a patient file on a slot, asked by a person of an organization, and its report."""

from sqlalchemy import (
    ARRAY,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    Uuid,
    func,
    literal_column,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB, ExcludeConstraint

from service.kernel.tables import Instant, metadata, sealed

bookings = Table(
    "bookings",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("slot_id", Uuid, ForeignKey("slots.id"), nullable=False),
    Column("patient_file_id", Uuid, ForeignKey("patient_files.id"), nullable=False),
    # Who, for the exclusion below; nulled by erasure, salted when an override is recorded.
    Column("patient_key", LargeBinary),
    # A copy of the slot's period: a booked slot does not move, the booking does.
    Column("starts_at", Instant, nullable=False),
    Column("ends_at", Instant, nullable=False),
    Column("practitioner_id", Uuid),
    Column("practitioner_organization_id", Uuid, nullable=False),
    Column("territory", Text, nullable=False),
    Column("state", Text, nullable=False, server_default=text("'booked'")),
    Column("organization_id", Uuid, nullable=False),
    Column("organization_type", Text, nullable=False),
    Column("client_id", Uuid),
    Column("role", Text, nullable=False),
    Column("person", JSONB),
    Column("on_behalf_of", JSONB),
    Column("call_id", Uuid, ForeignKey("calls.id")),
    Column("case_id", Text),
    Column("motive", Text),
    # Free text may name somebody: encrypted like an identity.
    sealed("reason_text"),
    # What the patient is to be told: confirmation, reminder. Null: nothing.
    Column("inform_patient", ARRAY(Text)),
    Column("overbooked", Boolean, nullable=False, server_default=text("false")),
    sealed("override_reason"),
    Column("cancelled_by", Text),
    Column("cancelled_at", Instant),
    sealed("cancel_reason"),
    Column("reported_at", Instant),
    sealed("report_detail"),
    Column("sent_to_emergency", Boolean, nullable=False, server_default=text("false")),
    Column("version", Integer, nullable=False, server_default=text("1")),
    Column("created_at", Instant, nullable=False, server_default=text("snp_now()")),
    Column("updated_at", Instant, nullable=False, server_default=text("snp_now()")),
    CheckConstraint("state IN ('booked', 'fulfilled', 'noshow', 'cancelled')", name="state"),
    CheckConstraint("(state = 'cancelled') = (cancelled_by IS NOT NULL)", name="cancelled_by"),
    CheckConstraint(
        "cancelled_by IN ('patient', 'requester', 'doctor', 'system')", name="cancelled_by_whom"
    ),
    ExcludeConstraint(
        ("patient_key", "="),
        (
            func.tstzrange(literal_column("starts_at"), literal_column("ends_at")),
            "&&",
        ),
        where=text("state = 'booked' AND patient_key IS NOT NULL"),
        using="gist",
        name="ex_bookings_patient_period",
    ),
    # The same file is the same patient, also after its names were corrected.
    ExcludeConstraint(
        ("patient_file_id", "="),
        (
            func.tstzrange(literal_column("starts_at"), literal_column("ends_at")),
            "&&",
        ),
        where=text("state = 'booked' AND override_reason IS NULL"),
        using="gist",
        name="ex_bookings_file_period",
    ),
    Index("ix_bookings_slot_id", "slot_id"),
    Index("ix_bookings_patient_file_id", "patient_file_id"),
    Index("ix_bookings_organization_id_id", "organization_id", "id"),
    Index("ix_bookings_organization_id_starts_at", "organization_id", "starts_at"),
    Index("ix_bookings_practitioner_id_id", "practitioner_id", "id"),
    Index("ix_bookings_practitioner_id_starts_at", "practitioner_id", "starts_at"),
    Index(
        "ix_bookings_practitioner_organization_id_starts_at",
        "practitioner_organization_id",
        "starts_at",
        postgresql_where=text("practitioner_id IS NULL"),
    ),
    # Figures: appointments by their start, referrals by their making, what calls led to.
    Index(
        "ix_bookings_figures",
        "territory",
        "starts_at",
        postgresql_include=[
            "state",
            "created_at",
            "cancelled_by",
            "sent_to_emergency",
            "practitioner_id",
            "practitioner_organization_id",
        ],
    ),
    Index(
        "ix_bookings_referrals",
        "territory",
        "created_at",
        postgresql_include=["role", "organization_type", "state", "practitioner_organization_id"],
    ),
    Index(
        "ix_bookings_call_id",
        "call_id",
        postgresql_include=["state", "starts_at", "cancelled_by"],
        postgresql_where=text("call_id IS NOT NULL"),
    ),
    Index("ix_bookings_case_id", "case_id", postgresql_where=text("case_id IS NOT NULL")),
    Index("ix_bookings_updated_at", "updated_at"),
)
