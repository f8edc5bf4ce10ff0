"""Fingerprints of the keys that belong to a database."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply. Forward only: a mistake is mended by the next migration."""
    op.add_column(
        "installation",
        sa.Column(
            "key_fingerprints",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'"),
            nullable=False,
        ),
    )
    op.execute("GRANT UPDATE (key_fingerprints) ON installation TO snp_app")
