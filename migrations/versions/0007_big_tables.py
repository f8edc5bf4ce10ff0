"""Indexes for a country: figures without the tables, slots near a place, people by their names.

Each covers what its statements read, so that a figure costs what it counts, wherever the rows lie
on the disk. Made in the migration's transaction: writing waits meanwhile (docs/operations.md).
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

# Plans are made once for any parameters, and guess that few rows are between two instants: as long as
# a page at random is said to cost four times the next one, they sort all rows of a territory rather
# than walk to the first twenty. On anything but a turning disk it costs about the same. And plans are
# those for any parameters, which tests/architecture/test_plans.py keeps: with the values at hand
# PostgreSQL takes the four ways to see a slot for four indexes to unite (8.4 ms against 0.9).
_COSTS = """
DO $$ BEGIN
  EXECUTE format('ALTER ROLE snp_app IN DATABASE %I SET random_page_cost = 1.1', current_database());
  EXECUTE format('ALTER ROLE snp_app IN DATABASE %I SET plan_cache_mode = force_generic_plan',
                 current_database());
END $$
"""

# Decomposed before it is lowered: under the C collation `lower` knows ASCII only.
_FOLDED = """
CREATE FUNCTION snp_folded(text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT AS $$
  SELECT regexp_replace(
    lower(normalize(
      replace(replace(replace(replace($1, 'œ', 'oe'), 'Œ', 'OE'), 'æ', 'ae'), 'Æ', 'AE'), NFKD)),
    '[^a-z0-9]', '', 'g')
$$
"""
# The number of the square of a quarter of a degree that a place lies in.
_SQUARE = """
CREATE FUNCTION snp_square(latitude float8, longitude float8) RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT AS $$
  SELECT floor(latitude * 4)::integer * 10000 + floor(longitude * 4)::integer
$$
"""
_CALLS = (
    *("id", "outcome_mask", "otherwise", "sent_to_emergency", "priority"),
    *("callback_requested_at", "first_attempt_at", "called_back_at"),
)
_COUNTED = sa.text("state <> 'void'")


def upgrade() -> None:
    """Apply. Forward only: a mistake is mended by the next migration."""
    op.execute("SET LOCAL statement_timeout = 0")
    op.execute(_COSTS)
    op.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
    op.execute(_FOLDED)
    op.execute(_SQUARE)
    op.create_index(
        "ix_practitioners_folded_name",
        "practitioners",
        [sa.text("snp_folded((family_name || ' '::text) || given_name) gin_trgm_ops")],
        postgresql_using="gin",
    )
    op.create_index(
        "ix_organizations_folded_name",
        "organizations",
        [sa.text("snp_folded(name) gin_trgm_ops")],
        postgresql_using="gin",
    )

    op.execute("ALTER INDEX ix_slots_cpts_ids SET (fastupdate = off)")
    op.drop_index("ix_slots_starts_at", "slots")
    op.create_index(
        "ix_slots_square_starts_at",
        "slots",
        [sa.text("snp_square(latitude, longitude)"), "starts_at", "id"],
        postgresql_where=sa.text("withdrawn_at IS NULL"),
    )
    op.drop_index("ix_slots_territory_starts_at", "slots")
    op.create_index(
        "ix_slots_figures",
        "slots",
        ["territory", "starts_at"],
        postgresql_include=["practitioner_id", "organization_id", "visibility", "withdrawn_at"],
    )

    op.drop_index("ix_calls_figures", "calls")
    op.create_index(
        "ix_calls_figures",
        "calls",
        ["territory", "received_at"],
        postgresql_include=["cpts_id", *_CALLS],
        postgresql_where=_COUNTED,
    )
    op.drop_index("ix_calls_cpts_id_received_at", "calls")
    op.create_index(
        "ix_calls_cpts_figures",
        "calls",
        ["cpts_id", "received_at"],
        postgresql_include=[*_CALLS],
        postgresql_where=_COUNTED,
    )

    op.drop_index("ix_bookings_territory_starts_at", "bookings")
    op.create_index(
        "ix_bookings_figures",
        "bookings",
        ["territory", "starts_at"],
        postgresql_include=[
            *("state", "created_at", "cancelled_by", "sent_to_emergency"),
            *("practitioner_id", "practitioner_organization_id"),
        ],
    )
    op.create_index(
        "ix_bookings_referrals",
        "bookings",
        ["territory", "created_at"],
        postgresql_include=["role", "organization_type", "state", "practitioner_organization_id"],
    )
    op.create_index(
        "ix_bookings_practitioner_id_id", "bookings", ["practitioner_id", "id"], unique=False
    )
    op.drop_index("ix_bookings_call_id", "bookings")
    op.create_index(
        "ix_bookings_call_id",
        "bookings",
        ["call_id"],
        postgresql_include=["state", "starts_at", "cancelled_by"],
        postgresql_where=sa.text("call_id IS NOT NULL"),
    )
