"""Messages to doctors and patients, where they reach doctors, and who wants none."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply. Forward only: a mistake is mended by the next migration."""
    op.create_table(
        "practitioner_contacts",
        sa.Column("practitioner_id", sa.Uuid(), nullable=False),
        sa.Column("email", sa.Text(), nullable=True),
        sa.Column("mssante", sa.Text(), nullable=True),
        sa.Column("wants_booking", sa.Boolean(), nullable=False),
        sa.Column("wants_cancellation", sa.Boolean(), nullable=False),
        sa.Column("wants_reminder", sa.Boolean(), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.ForeignKeyConstraint(
            ["practitioner_id"],
            ["practitioners.id"],
            name=op.f("fk_practitioner_contacts_practitioner_id"),
        ),
        sa.PrimaryKeyConstraint("practitioner_id", name=op.f("pk_practitioner_contacts")),
    )
    op.create_table(
        "messages",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("recipient", sa.Text(), nullable=False),
        sa.Column("practitioner_id", sa.Uuid(), nullable=True),
        sa.Column("booking_id", sa.Uuid(), nullable=True),
        sa.Column("slot_id", sa.Uuid(), nullable=False),
        sa.Column("was_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("state", sa.Text(), server_default=sa.text("'queued'"), nullable=False),
        sa.Column("why", sa.Text(), nullable=True),
        sa.Column("channel", sa.Text(), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column(
            "queued_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("snp_now()"),
            nullable=False,
        ),
        sa.Column(
            "due_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("snp_now()"),
            nullable=False,
        ),
        sa.Column("settled_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "state IN ('queued', 'sent', 'failed', 'dead', 'suppressed')",
            name=op.f("ck_messages_state"),
        ),
        sa.CheckConstraint(
            "(recipient = 'doctor') = (practitioner_id IS NOT NULL)",
            name=op.f("ck_messages_practitioner"),
        ),
        sa.ForeignKeyConstraint(
            ["practitioner_id"], ["practitioners.id"], name=op.f("fk_messages_practitioner_id")
        ),
        sa.ForeignKeyConstraint(
            ["booking_id"], ["bookings.id"], name=op.f("fk_messages_booking_id")
        ),
        sa.ForeignKeyConstraint(["slot_id"], ["slots.id"], name=op.f("fk_messages_slot_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_messages")),
        sa.UniqueConstraint(
            "event_id", "kind", "recipient", name=op.f("uq_messages_event_id_kind_recipient")
        ),
    )
    op.create_index(
        "ix_messages_due_at",
        "messages",
        ["due_at"],
        postgresql_where=sa.text("state IN ('queued', 'failed')"),
    )
    op.create_index(
        "ix_messages_dead", "messages", ["settled_at"], postgresql_where=sa.text("state = 'dead'")
    )
    op.create_table(
        "message_opt_outs",
        sa.Column("address_index", sa.LargeBinary(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("snp_now()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("address_index", name=op.f("pk_message_opt_outs")),
    )
    op.execute("GRANT SELECT, INSERT, UPDATE ON practitioner_contacts, messages TO snp_app")
    op.execute("GRANT SELECT, INSERT, DELETE ON message_opt_outs TO snp_app")
    op.add_column("bookings", sa.Column("inform_patient", sa.ARRAY(sa.Text()), nullable=True))
    op.add_column(
        "patient_files",
        sa.Column(
            "inform_regular_doctor",
            sa.Boolean(),
            server_default=sa.text("false"),
            nullable=False,
        ),
    )
