"""Row-level security around identities; legal holds, and what erasure needs to write."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

# Who stands on a row sees it, and what works on every file by itself (kernel/wall.py). Opening one
# asks for nobody: a booking with a new patient stays one statement. The owner is not held: it may
# remove the wall anyway, and dumps and migrations need every row (docs/adr/0018).
_WALL = """
CREATE POLICY readers ON patient_files FOR ALL TO snp_app
USING (coalesce(nullif(current_setting('snp.reader', true), ''), '{}')::uuid[]
       && (reader_organization_ids || practitioner_ids || care_organization_ids
           || '{00000000-0000-0000-0000-000000000000}'::uuid[]))
WITH CHECK (true)
"""


def upgrade() -> None:
    """Apply. Forward only: a mistake is mended by the next migration."""
    op.execute(_WALL)
    op.execute("ALTER TABLE patient_files ENABLE ROW LEVEL SECURITY")
    op.create_table(
        "legal_holds",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("territory", sa.Text(), nullable=True),
        sa.Column("patient_file_id", sa.Uuid(), nullable=True),
        sa.Column("case_id", sa.Text(), nullable=True),
        sa.Column("reason", sa.LargeBinary(), nullable=True),
        sa.Column("client_id", sa.Uuid(), nullable=True),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("snp_now()"),
            nullable=False,
        ),
        sa.Column("lifted_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "(patient_file_id IS NULL) <> (case_id IS NULL)",
            name=op.f("ck_legal_holds_one_target"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_legal_holds")),
    )
    op.create_index(
        "ix_legal_holds_territory",
        "legal_holds",
        ["territory"],
        postgresql_where=sa.text("lifted_at IS NULL"),
    )
    op.execute("GRANT SELECT, INSERT ON legal_holds TO snp_app")
    op.execute("GRANT UPDATE (lifted_at, reason) ON legal_holds TO snp_app")
    # Erasing takes away who a need was about; what was needed stays.
    op.execute("GRANT UPDATE (note, case_id, age, person) ON unmet_needs TO snp_app")
    op.add_column("clients", sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True))
    op.execute("UPDATE clients SET last_used_at = snp_now()")  # until now it was not kept
