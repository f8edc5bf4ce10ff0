"""Directory sources: where imported entries come from, and the imports themselves."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_IMPORTED = ("organizations", "practitioners", "locations")
_KEYED = ("organizations", "locations")


def upgrade() -> None:
    """Apply. Forward only: a mistake is mended by the next migration."""
    for table in _IMPORTED:
        op.add_column(table, sa.Column("source", sa.Text(), nullable=True))
        op.add_column(table, sa.Column("source_date", sa.Date(), nullable=True))
        op.add_column(table, sa.Column("source_digest", sa.BigInteger(), nullable=True))
    for table in _KEYED:
        op.add_column(table, sa.Column("source_key", sa.Text(), nullable=True))
        op.create_unique_constraint(op.f(f"uq_{table}_source_key"), table, ["source_key"])
    op.add_column("practitioner_locations", sa.Column("source", sa.Text(), nullable=True))
    op.create_table(
        "directory_imports",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("filter", sa.Text(), nullable=False),
        sa.Column("file_name", sa.Text(), nullable=False),
        sa.Column("file_digest", sa.Text(), nullable=False),
        sa.Column("source_date", sa.Date(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("lines", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("counts", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column(
            "started_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("snp_now()"),
            nullable=False,
        ),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "state IN ('running', 'done', 'abandoned')", name=op.f("ck_directory_imports_state")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_directory_imports")),
    )
    op.create_index(
        "ix_directory_imports_source_filter",
        "directory_imports",
        ["source", "filter", "started_at"],
        unique=False,
    )
    op.create_index(
        "uq_directory_imports_running",
        "directory_imports",
        ["source"],
        unique=True,
        postgresql_where=sa.text("state = 'running'"),
    )
    op.execute("GRANT SELECT, INSERT, UPDATE ON directory_imports TO snp_app")
