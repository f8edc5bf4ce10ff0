"""Unmet needs: one row each, written once."""

from sqlalchemy import (
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    Table,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from service.kernel.tables import Instant, metadata, sealed

unmet_needs = Table(
    "unmet_needs",
    metadata,
    Column("id", Uuid, primary_key=True),
    # The commune's, whoever asks: a need counts where the patient is.
    Column("territory", Text, ForeignKey("territories.id"), nullable=False),
    Column("zone", Text, nullable=False),
    Column("commune", Text, nullable=False),
    Column("motive", Text, nullable=False),
    Column("mode", Text, nullable=False),
    Column("specialty", Text),
    Column("wanted_from", Instant, nullable=False),
    Column("wanted_to", Instant, nullable=False),
    Column("reason", Text, nullable=False),
    # Free text may name somebody: encrypted like an identity.
    sealed("note"),
    Column("call_id", Uuid, ForeignKey("calls.id")),
    Column("case_id", Text),
    Column("age", Text),
    # What the caller could have booked at that moment in that window, within this radius.
    Column("radius_km", Float, nullable=False),
    Column("open_slots", Integer, nullable=False),
    Column("open_slots_fitting", Integer, nullable=False),
    Column("organization_id", Uuid, nullable=False),
    Column("organization_type", Text, nullable=False),
    Column("client_id", Uuid),
    Column("role", Text, nullable=False),
    Column("person", JSONB(none_as_null=True)),
    Column("created_at", Instant, nullable=False, server_default=text("snp_now()")),
    CheckConstraint("wanted_from < wanted_to", name="window"),
    CheckConstraint("mode IN ('AMB', 'HH', 'VR')", name="mode"),
    CheckConstraint(
        "reason IN ('too_far', 'too_late', 'no_room', 'no_mode', 'no_specialty',"
        " 'refused_by_patient', 'other')",
        name="reason",
    ),
    CheckConstraint("open_slots_fitting BETWEEN 0 AND open_slots", name="open_slots"),
    Index("ix_unmet_needs_organization_id_id", "organization_id", "id"),
    Index("ix_unmet_needs_territory_wanted_from", "territory", "wanted_from"),
    # What was told is not changed afterwards: retention takes away who it was about.
    info={"rights": ("SELECT", "INSERT"), "updates": ("note", "case_id", "age", "person")},
)
