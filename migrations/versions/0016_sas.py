"""Regulators whom SAS tells us of, and what only counts for who arrives from there."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply. Forward only: a mistake is mended by the next migration."""
    op.add_column("account_identifiers", sa.Column("origin", sa.Text(), nullable=True))
    op.execute("GRANT UPDATE (origin) ON account_identifiers TO snp_app")
    op.add_column("grants", sa.Column("origin", sa.Text(), nullable=True))
    op.create_check_constraint(
        op.f("ck_grants_origin"), "grants", "origin IS NULL OR account_id IS NOT NULL"
    )
    op.create_table(
        "regulators",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=True),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("national", sa.Text(), nullable=True),
        sa.Column("technical", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_regulators_account_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_regulators")),
    )
    op.create_index("ix_regulators_account_id", "regulators", ["account_id"])
    op.create_index("uq_regulators_national", "regulators", ["national"], unique=True)
    op.create_index(
        "uq_regulators_technical", "regulators", [sa.text("lower(technical)")], unique=True
    )
    op.create_table(
        "sas_appointments",
        sa.Column("booking_id", sa.Uuid(), nullable=False),
        sa.Column("operator_system", sa.Text(), nullable=False),
        sa.Column("operator_value", sa.Text(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("told_position", sa.BigInteger(), nullable=True),
        sa.Column("state", sa.Text(), server_default=sa.text("'new'"), nullable=False),
        sa.Column("attempts", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("last_status", sa.SmallInteger(), nullable=True),
        sa.Column("last_failure", sa.Text(), nullable=True),
        sa.Column("next_attempt_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "state IN ('new', 'changed', 'told', 'failed', 'abandoned')",
            name=op.f("ck_sas_appointments_state"),
        ),
        sa.ForeignKeyConstraint(
            ["booking_id"], ["bookings.id"], name=op.f("fk_sas_appointments_booking_id")
        ),
        sa.PrimaryKeyConstraint("booking_id", name=op.f("pk_sas_appointments")),
    )
    op.create_index(
        "ix_sas_appointments_due",
        "sas_appointments",
        ["next_attempt_at"],
        postgresql_where=sa.text("next_attempt_at IS NOT NULL"),
    )
    op.create_index(
        "ix_sas_appointments_abandoned",
        "sas_appointments",
        ["booking_id"],
        postgresql_where=sa.text("state = 'abandoned'"),
    )
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON regulators, sas_appointments TO snp_app")
