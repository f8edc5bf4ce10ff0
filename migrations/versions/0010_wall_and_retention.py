"""Row-level security around identities."""

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
