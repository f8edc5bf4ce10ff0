"""The stream of facts: who has read how far; and the jobs of the worker."""

from pathlib import Path
from typing import Any

import procrastinate
import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

# The library's own, as its version 3.10 makes it; a later version brings a migration with it.
_JOBS = Path(procrastinate.__file__).parent / "sql" / "schema.sql"


def upgrade() -> None:
    """Apply. Forward only: a mistake is mended by the next migration."""
    op.create_table(
        "stream_cursors",
        sa.Column("consumer", sa.Text(), nullable=False),
        sa.Column("reached", sa.BigInteger(), nullable=False),
        sa.Column(
            "moved_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("snp_now()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("consumer", name=op.f("pk_stream_cursors")),
    )
    op.execute("GRANT SELECT, INSERT, UPDATE ON stream_cursors TO snp_app")
    schema = _JOBS.read_text(encoding="utf-8")
    # Many statements at once, which a prepared one cannot be.
    connection: Any = op.get_bind().connection.dbapi_connection
    connection.run_async(lambda driver: driver.execute(schema))
