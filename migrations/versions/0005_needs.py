"""Unmet needs, how often slots are listed, and indexes to find the grants that see a slot."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply. Forward only: a mistake is mended by the next migration."""
    op.create_table(
        "unmet_needs",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("territory", sa.Text(), nullable=False),
        sa.Column("zone", sa.Text(), nullable=False),
        sa.Column("commune", sa.Text(), nullable=False),
        sa.Column("motive", sa.Text(), nullable=False),
        sa.Column("mode", sa.Text(), nullable=False),
        sa.Column("specialty", sa.Text(), nullable=True),
        sa.Column("wanted_from", sa.DateTime(timezone=True), nullable=False),
        sa.Column("wanted_to", sa.DateTime(timezone=True), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("note", sa.LargeBinary(), nullable=True),
        sa.Column("call_id", sa.Uuid(), nullable=True),
        sa.Column("case_id", sa.Text(), nullable=True),
        sa.Column("age", sa.Text(), nullable=True),
        sa.Column("radius_km", sa.Float(), nullable=False),
        sa.Column("open_slots", sa.Integer(), nullable=False),
        sa.Column("open_slots_fitting", sa.Integer(), nullable=False),
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("organization_type", sa.Text(), nullable=False),
        sa.Column("client_id", sa.Uuid(), nullable=True),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("person", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("snp_now()"),
            nullable=False,
        ),
        sa.CheckConstraint("wanted_from < wanted_to", name=op.f("ck_unmet_needs_window")),
        sa.CheckConstraint("mode IN ('AMB', 'HH', 'VR')", name=op.f("ck_unmet_needs_mode")),
        sa.CheckConstraint(
            "reason IN ('too_far', 'too_late', 'no_room', 'no_mode', 'no_specialty', 'refused_by_patient', 'other')",
            name=op.f("ck_unmet_needs_reason"),
        ),
        sa.CheckConstraint(
            "open_slots_fitting BETWEEN 0 AND open_slots", name=op.f("ck_unmet_needs_open_slots")
        ),
        sa.ForeignKeyConstraint(
            ["territory"], ["territories.id"], name=op.f("fk_unmet_needs_territory")
        ),
        sa.ForeignKeyConstraint(["call_id"], ["calls.id"], name=op.f("fk_unmet_needs_call_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_unmet_needs")),
    )
    op.create_index(
        "ix_unmet_needs_organization_id_id", "unmet_needs", ["organization_id", "id"], unique=False
    )
    op.create_index(
        "ix_unmet_needs_territory_wanted_from",
        "unmet_needs",
        ["territory", "wanted_from"],
        unique=False,
    )
    op.create_table(
        "slot_listings",
        sa.Column("slot_id", sa.Uuid(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("listed", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["slot_id"], ["slots.id"], name=op.f("fk_slot_listings_slot_id")),
        sa.PrimaryKeyConstraint("slot_id", "day", name=op.f("pk_slot_listings")),
    )
    for column in ("territories", "cpts_ids"):
        op.create_index(
            f"ix_grants_{column}", "grants", [column], unique=False, postgresql_using="gin"
        )
    # What was told is not changed afterwards.
    op.execute("GRANT SELECT, INSERT ON unmet_needs TO snp_app")
    op.execute("GRANT SELECT, INSERT, UPDATE ON slot_listings TO snp_app")
