"""Webhooks: two indexes, each for one question, so that no plan takes the one for the other."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply. Forward only: a mistake is mended by the next migration."""
    op.create_check_constraint(
        op.f("ck_webhook_deliveries_due"),
        "webhook_deliveries",
        "next_attempt_at IS NULL OR state IN ('pending', 'failed')",
    )
    op.drop_index("ix_webhook_deliveries_due", "webhook_deliveries")
    op.create_index(
        "ix_webhook_deliveries_due",
        "webhook_deliveries",
        ["endpoint_id", "next_attempt_at", "position"],
        postgresql_where=sa.text("next_attempt_at IS NOT NULL"),
    )
