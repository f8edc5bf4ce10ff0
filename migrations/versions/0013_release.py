"""Slots that open to more, or go back to the doctor, as their start nears; holds that expire.

No row of `slots` is rewritten: null means that nothing is ever released, as until now.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_INSTANTS = ("pro_from", "cpts_from", "public_from", "given_back_from", "next_release_at")


def upgrade() -> None:
    """Apply. Forward only: a mistake is mended by the next migration."""
    op.execute("SET LOCAL statement_timeout = 0")
    for name in _INSTANTS:
        op.add_column("slots", sa.Column(name, sa.DateTime(timezone=True), nullable=True))
    op.create_index(
        "ix_slots_next_release_at",
        "slots",
        ["next_release_at"],
        postgresql_where=sa.text("next_release_at IS NOT NULL"),
    )
    op.add_column(
        "slot_sessions",
        sa.Column(
            "release",
            postgresql.JSONB(),
            server_default=sa.text("'[]'"),
            nullable=False,
        ),
    )
    # Until now nobody was told that a hold expired; those of the past are not told now.
    op.execute(
        "UPDATE holds SET ended_at = expires_at WHERE ended_at IS NULL AND expires_at <= snp_now()"
    )
    op.create_index(
        "ix_holds_expires_at", "holds", ["expires_at"], postgresql_where=sa.text("ended_at IS NULL")
    )
