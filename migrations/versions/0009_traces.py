"""Traces: what was read, why and from where; seals over all of it."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql
from sqlalchemy.types import UserDefinedType

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


class Xid8(UserDefinedType[int]):
    """PostgreSQL's 64-bit transaction id."""

    def get_col_spec(self, **_: Any) -> str:
        """Return the type's name in DDL."""
        return "xid8"


# Transactions in an order that outlives a restore on another server, which counts them from the
# beginning: there, `snp migrate` lets them go on behind the last one that a trace names.
_NUMBERS = (
    # Stable, not immutable: a plan forgets what it took from an immutable function.
    """CREATE FUNCTION snp_xact_offset() RETURNS bigint LANGUAGE sql STABLE PARALLEL SAFE
       AS 'SELECT 0::bigint'""",
    """CREATE FUNCTION snp_xact_id() RETURNS xid8 LANGUAGE sql VOLATILE AS
       'SELECT (pg_current_xact_id()::text::bigint + snp_xact_offset())::text::xid8'""",
    """CREATE FUNCTION snp_xact_horizon() RETURNS bigint LANGUAGE sql STABLE AS
       'SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint + snp_xact_offset()'""",
    """CREATE FUNCTION snp_xact_next() RETURNS bigint LANGUAGE sql STABLE AS
       'SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint + snp_xact_offset()'""",
    """CREATE FUNCTION snp_continue_xacts() RETURNS void LANGUAGE plpgsql AS $$
       DECLARE
         known bigint := greatest(
           (SELECT xid::text::bigint FROM events ORDER BY xid DESC LIMIT 1),
           (SELECT xid::text::bigint FROM access_log ORDER BY xid DESC LIMIT 1),
           (SELECT max(to_xid) FROM audit_seals));
         reached bigint := snp_xact_id()::text::bigint;
       BEGIN
         IF known > reached THEN
           EXECUTE format('CREATE OR REPLACE FUNCTION snp_xact_offset() RETURNS bigint'
                          ' LANGUAGE sql STABLE PARALLEL SAFE AS ''SELECT %s::bigint''',
                          snp_xact_offset() + known - reached);
         END IF;
       END $$""",
    "REVOKE EXECUTE ON FUNCTION snp_continue_xacts() FROM PUBLIC",
)


def upgrade() -> None:
    """Apply. Forward only: a mistake is mended by the next migration."""
    op.execute("SET LOCAL statement_timeout = 0")
    op.add_column("events", sa.Column("purpose", sa.Text(), nullable=True))
    op.add_column("events", sa.Column("address", sa.Text(), nullable=True))
    op.drop_index("ix_events_xid_id", "events")
    op.create_index("ix_events_xid_id", "events", ["xid", "id"])
    op.create_index("ix_events_occurred_at", "events", ["occurred_at"], postgresql_using="brin")
    for name in _NUMBERS[:-2]:
        op.execute(name)
    op.alter_column("events", "xid", server_default=sa.text("snp_xact_id()"))
    op.create_table(
        "access_log",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("xid", Xid8(), server_default=sa.text("snp_xact_id()"), nullable=False),
        sa.Column(
            "occurred_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("snp_now()"),
            nullable=False,
        ),
        sa.Column("operation", sa.Text(), nullable=False),
        sa.Column("result", sa.Text(), nullable=False),
        sa.Column("subject_ids", sa.ARRAY(sa.Uuid()), nullable=False),
        sa.Column("territories", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("client_id", sa.Uuid(), nullable=True),
        sa.Column("grant_id", sa.Uuid(), nullable=True),
        sa.Column("role", sa.Text(), nullable=True),
        sa.Column("organization_id", sa.Uuid(), nullable=True),
        sa.Column("person", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("purpose", sa.Text(), nullable=True),
        sa.Column("address", sa.Text(), nullable=True),
        sa.Column("correlation_id", sa.Text(), nullable=True),
        sa.Column("break_glass", sa.Text(), nullable=True),
        sa.Column("times", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_access_log")),
    )
    op.create_index("ix_access_log_xid_id", "access_log", ["xid", "id"])
    op.create_index(
        "ix_access_log_occurred_at", "access_log", ["occurred_at"], postgresql_using="brin"
    )
    op.create_index(
        "ix_access_log_subject_ids", "access_log", ["subject_ids"], postgresql_using="gin"
    )
    op.create_index(
        "ix_access_log_break_glass",
        "access_log",
        ["occurred_at"],
        postgresql_where=sa.text("break_glass IS NOT NULL"),
    )
    op.create_table(
        "audit_seals",
        sa.Column("position", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("form", sa.SmallInteger(), nullable=False),
        sa.Column("from_xid", sa.BigInteger(), nullable=False),
        sa.Column("to_xid", sa.BigInteger(), nullable=False),
        sa.Column("complete", sa.Boolean(), nullable=False),
        sa.Column("sealed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("rows", sa.Integer(), nullable=False),
        sa.Column("row_ids", sa.ARRAY(sa.Uuid()), nullable=True),
        sa.Column("row_digests", sa.LargeBinary(), nullable=True),
        sa.Column("named_salt", sa.LargeBinary(), nullable=True),
        sa.Column("named_digests", sa.LargeBinary(), nullable=True),
        sa.Column("tombstone", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("lines_hash", sa.LargeBinary(), nullable=False),
        sa.Column("named_hash", sa.LargeBinary(), nullable=False),
        sa.Column("previous", sa.LargeBinary(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("mac", sa.LargeBinary(), nullable=True),
        sa.CheckConstraint("position > 0", name=op.f("ck_audit_seals_position")),
        sa.PrimaryKeyConstraint("position", name=op.f("pk_audit_seals")),
    )
    op.create_index("ix_audit_seals_source_position", "audit_seals", ["source", "position"])
    for name in _NUMBERS[-2:]:
        op.execute(name)
    op.execute("GRANT SELECT, INSERT ON access_log, audit_seals TO snp_app")
