"""People with rights of their own, and clients that sign in with a certificate."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply. Forward only: a mistake is mended by the next migration."""
    op.create_table(
        "accounts",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("family_name", sa.Text(), nullable=True),
        sa.Column("given_name", sa.Text(), nullable=True),
        sa.Column("email", sa.Text(), nullable=True),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("snp_now()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_accounts")),
    )
    op.create_table(
        "account_identifiers",
        sa.Column("system", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_account_identifiers_account_id")
        ),
        sa.PrimaryKeyConstraint("system", "value", name=op.f("pk_account_identifiers")),
    )
    op.create_index(
        "ix_account_identifiers_account_id", "account_identifiers", ["account_id"], unique=False
    )
    op.add_column("clients", sa.Column("certificate_subject", sa.ARRAY(sa.Text()), nullable=True))
    op.create_check_constraint(
        op.f("ck_clients_certificate_subject"), "clients", "cardinality(certificate_subject) > 0"
    )
    op.create_index(
        "uq_clients_certificate_subject",
        "clients",
        ["certificate_subject"],
        unique=True,
        postgresql_where=sa.text("revoked_at IS NULL"),
    )
    op.add_column(
        "clients", sa.Column("revision", sa.Integer(), server_default=sa.text("1"), nullable=False)
    )
    op.alter_column("grants", "client_id", existing_type=sa.Uuid(), nullable=True)
    op.add_column("grants", sa.Column("account_id", sa.Uuid(), nullable=True))
    op.create_foreign_key(
        op.f("fk_grants_account_id"), "grants", "accounts", ["account_id"], ["id"]
    )
    op.create_check_constraint(
        op.f("ck_grants_holder"), "grants", "num_nonnulls(client_id, account_id) = 1"
    )
    op.create_index("ix_grants_account_id", "grants", ["account_id"], unique=False)
    op.create_table(
        "spent_tokens",
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_spent_tokens")),
    )
    op.create_index("ix_spent_tokens_ends_at", "spent_tokens", ["ends_at"], unique=False)
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON spent_tokens TO snp_app")
    # Whoever gives a person a right locks their account.
    op.execute("GRANT SELECT, INSERT, UPDATE ON accounts TO snp_app")
    op.execute("GRANT SELECT, INSERT ON account_identifiers TO snp_app")
