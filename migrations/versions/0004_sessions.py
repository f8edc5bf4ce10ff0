"""Sessions and absences, and which place in whose grid a slot fills."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def _created(name: str = "created_at") -> sa.Column[Any]:
    return sa.Column(
        name, sa.DateTime(timezone=True), server_default=sa.text("snp_now()"), nullable=False
    )


def _empty(name: str, kind: Any) -> sa.Column[Any]:
    return sa.Column(name, sa.ARRAY(kind), server_default=sa.text("'{}'"), nullable=False)


def _no(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.Boolean(), server_default=sa.text("false"), nullable=False)


def upgrade() -> None:
    """Apply. Forward only: a mistake is mended by the next migration."""
    _sessions()
    _absences()
    op.add_column("slots", sa.Column("session_id", sa.Uuid(), nullable=True))
    op.add_column("slots", sa.Column("session_start", sa.DateTime(timezone=True), nullable=True))
    op.create_check_constraint(
        op.f("ck_slots_session"), "slots", "(session_id IS NULL) = (session_start IS NULL)"
    )
    op.create_index(
        "uq_slots_session_id_session_start",
        "slots",
        ["session_id", "session_start"],
        unique=True,
        postgresql_where=sa.text("session_id IS NOT NULL"),
    )
    op.execute("GRANT SELECT, INSERT, UPDATE ON slot_sessions, absences TO snp_app")


def _sessions() -> None:
    op.create_table(
        "slot_sessions",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("practitioner_id", sa.Uuid(), nullable=True),
        sa.Column("location_id", sa.Uuid(), nullable=False),
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("territory", sa.Text(), nullable=False),
        sa.Column("zone", sa.Text(), nullable=False),
        sa.Column("first_date", sa.Date(), nullable=False),
        sa.Column("local_start", sa.Time(), nullable=False),
        sa.Column("local_end", sa.Time(), nullable=False),
        sa.Column("slot_minutes", sa.SmallInteger(), nullable=False),
        sa.Column("weekly", sa.ARRAY(sa.Text()), nullable=True),
        sa.Column("until", sa.Date(), nullable=True),
        _empty("except_dates", sa.Date()),
        _no("skip_public_holidays"),
        _no("skip_school_holidays"),
        sa.Column("school_zone", sa.Text(), nullable=True),
        sa.Column("modes", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("specialty", sa.Text(), nullable=True),
        sa.Column("visibility", sa.ARRAY(sa.Text()), nullable=False),
        _empty("cpts_ids", sa.Uuid()),
        _empty("organization_types", sa.Text()),
        _empty("organization_ids", sa.Uuid()),
        sa.Column("capacity", sa.SmallInteger(), nullable=False),
        sa.Column("overbooking", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        _no("walk_in"),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("client_id", sa.Uuid(), nullable=True),
        sa.Column("filled_through", sa.Date(), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        _created(),
        _created("updated_at"),
        sa.CheckConstraint("local_start <> local_end", name=op.f("ck_slot_sessions_hours")),
        sa.CheckConstraint(
            "slot_minutes BETWEEN 1 AND 1440", name=op.f("ck_slot_sessions_slot_minutes")
        ),
        sa.CheckConstraint(
            "weekly <@ ARRAY['MO', 'TU', 'WE', 'TH', 'FR', 'SA', 'SU'] AND cardinality(weekly) > 0",
            name=op.f("ck_slot_sessions_weekly"),
        ),
        sa.CheckConstraint("until >= first_date", name=op.f("ck_slot_sessions_until")),
        sa.CheckConstraint(
            "school_zone IN ('A', 'B', 'C')", name=op.f("ck_slot_sessions_school_zone")
        ),
        sa.CheckConstraint(
            "NOT skip_school_holidays OR school_zone IS NOT NULL",
            name=op.f("ck_slot_sessions_school_zone_named"),
        ),
        sa.ForeignKeyConstraint(
            ["practitioner_id"],
            ["practitioners.id"],
            name=op.f("fk_slot_sessions_practitioner_id"),
        ),
        sa.ForeignKeyConstraint(
            ["location_id"], ["locations.id"], name=op.f("fk_slot_sessions_location_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_slot_sessions")),
    )
    for column in ("practitioner_id", "organization_id"):
        op.create_index(f"ix_slot_sessions_{column}_id", "slot_sessions", [column, "id"])
    op.create_index(
        "ix_slot_sessions_live",
        "slot_sessions",
        ["id"],
        postgresql_where=sa.text("ended_at IS NULL"),
    )


def _absences() -> None:
    op.create_table(
        "absences",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("practitioner_id", sa.Uuid(), nullable=False),
        sa.Column("zone", sa.Text(), nullable=False),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("reason", sa.LargeBinary(), nullable=True),
        sa.Column("slot_ids", sa.ARRAY(sa.Uuid()), nullable=False),
        sa.Column("booking_ids", sa.ARRAY(sa.Uuid()), nullable=False),
        sa.Column("client_id", sa.Uuid(), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        _created(),
        sa.CheckConstraint("starts_at < ends_at", name=op.f("ck_absences_period")),
        sa.ForeignKeyConstraint(
            ["practitioner_id"], ["practitioners.id"], name=op.f("fk_absences_practitioner_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_absences")),
    )
    op.create_index("ix_absences_practitioner_id_id", "absences", ["practitioner_id", "id"])
    op.create_index(
        "ix_absences_live",
        "absences",
        ["practitioner_id", "ends_at"],
        postgresql_where=sa.text("ended_at IS NULL"),
    )
