"""Foundation: the clock, the rooms' tables, and what the application role may do with them.

The owner role runs migrations. The application role `snp_app` has no DDL, cannot delete what is
a trace, and carries its timeouts itself (ALTER ROLE), so that they survive a pooler.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql
from sqlalchemy.types import UserDefinedType

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


class Xid8(UserDefinedType[int]):
    """PostgreSQL's 64-bit transaction id."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        """Return the type's name in DDL."""
        return "xid8"


_BEFORE = (
    "CREATE EXTENSION IF NOT EXISTS btree_gist",
    # statement_timestamp: a statement that waited for a lock judges by the instant it was sent,
    # which can only refuse too much (a hold that ended meanwhile), never sell too much.
    """CREATE FUNCTION snp_now() RETURNS timestamptz LANGUAGE sql STABLE
       AS 'SELECT statement_timestamp()'""",
)

_AFTER = (
    """DO $$ BEGIN
         IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'snp_app') THEN
           CREATE ROLE snp_app LOGIN;
         END IF;
       EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
       END $$""",
    """DO $$ BEGIN
         EXECUTE format('ALTER ROLE snp_app IN DATABASE %I SET lock_timeout = ''3s''',
                        current_database());
         EXECUTE format('ALTER ROLE snp_app IN DATABASE %I SET statement_timeout = ''10s''',
                        current_database());
         EXECUTE format('ALTER ROLE snp_app IN DATABASE %I
                         SET idle_in_transaction_session_timeout = ''10s''', current_database());
         EXECUTE format('GRANT CONNECT ON DATABASE %I TO snp_app', current_database());
       END $$""",
    "GRANT USAGE ON SCHEMA public TO snp_app",
    "GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA public TO snp_app",
    "REVOKE INSERT, UPDATE ON alembic_version FROM snp_app",
    # Events are a trace: written once, only their position in the feed is given later.
    "REVOKE UPDATE ON events FROM snp_app",
    "GRANT UPDATE (position) ON events TO snp_app",
    "REVOKE INSERT, UPDATE ON installation FROM snp_app",
    "GRANT UPDATE (synthetic, dataset) ON installation TO snp_app",
    "GRANT DELETE ON idempotency_keys, practitioner_locations TO snp_app",
    "INSERT INTO installation (id) VALUES (1)",
)


def upgrade() -> None:
    """Apply. Forward only: a mistake is mended by the next migration."""
    for statement in _BEFORE:
        op.execute(statement)
    op.create_table(
        "clients",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("secret_digest", sa.LargeBinary(), nullable=False),
        sa.Column("previous_digest", sa.LargeBinary(), nullable=True),
        sa.Column("previous_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("snp_now()"),
            nullable=False,
        ),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_clients")),
    )
    op.create_table(
        "events",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("xid", Xid8(), server_default=sa.text("pg_current_xact_id()"), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=True),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("subject_id", sa.Uuid(), nullable=False),
        sa.Column(
            "occurred_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("snp_now()"),
            nullable=False,
        ),
        sa.Column("territory", sa.Text(), nullable=True),
        sa.Column("client_id", sa.Uuid(), nullable=True),
        sa.Column("grant_id", sa.Uuid(), nullable=True),
        sa.Column("role", sa.Text(), nullable=True),
        sa.Column("organization_id", sa.Uuid(), nullable=True),
        sa.Column("person", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("correlation_id", sa.Text(), nullable=True),
        sa.Column("audience_before", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("audience_after", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("data", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_events")),
        sa.UniqueConstraint("position", name=op.f("uq_events_position")),
    )
    op.create_index("ix_events_subject_id_id", "events", ["subject_id", "id"], unique=False)
    op.create_index(
        "ix_events_xid_id",
        "events",
        ["xid", "id"],
        unique=False,
        postgresql_where=sa.text("position IS NULL"),
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("client_id", sa.Uuid(), nullable=False),
        sa.Column("method", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("status", sa.SmallInteger(), nullable=False),
        sa.Column("ids", sa.ARRAY(sa.Uuid()), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("snp_now()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("client_id", "method", "path", "key", name="pk_idempotency_keys"),
    )
    op.create_index(
        "ix_idempotency_keys_created_at", "idempotency_keys", ["created_at"], unique=False
    )
    op.create_table(
        "installation",
        sa.Column("id", sa.SmallInteger(), server_default=sa.text("1"), nullable=False),
        sa.Column("synthetic", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("dataset", sa.Text(), nullable=True),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("snp_now()"),
            nullable=False,
        ),
        sa.CheckConstraint("id = 1", name=op.f("ck_installation_single")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_installation")),
    )
    op.create_table(
        "patient_files",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("territory", sa.Text(), nullable=False),
        sa.Column("client_id", sa.Uuid(), nullable=True),
        sa.Column(
            "reader_organization_ids",
            sa.ARRAY(sa.Uuid()),
            server_default=sa.text("'{}'"),
            nullable=False,
        ),
        sa.Column(
            "practitioner_ids", sa.ARRAY(sa.Uuid()), server_default=sa.text("'{}'"), nullable=False
        ),
        sa.Column(
            "care_organization_ids",
            sa.ARRAY(sa.Uuid()),
            server_default=sa.text("'{}'"),
            nullable=False,
        ),
        sa.Column("family_name", sa.LargeBinary(), nullable=True),
        sa.Column("given_name", sa.LargeBinary(), nullable=True),
        sa.Column("birth_date", sa.LargeBinary(), nullable=True),
        sa.Column("phone", sa.LargeBinary(), nullable=True),
        sa.Column("email", sa.LargeBinary(), nullable=True),
        sa.Column("ins", sa.LargeBinary(), nullable=True),
        sa.Column("name_birth_index", sa.LargeBinary(), nullable=True),
        sa.Column("phone_index", sa.LargeBinary(), nullable=True),
        sa.Column("ins_index", sa.LargeBinary(), nullable=True),
        sa.Column("patient_key", sa.LargeBinary(), nullable=True),
        sa.Column("age", sa.Text(), nullable=True),
        sa.Column("sex", sa.Text(), nullable=True),
        sa.Column("commune", sa.Text(), nullable=True),
        sa.Column("case_id", sa.Text(), nullable=True),
        sa.Column("identity_status", sa.Text(), server_default=sa.text("'PROV'"), nullable=False),
        sa.Column("regular_doctor_rpps", sa.Text(), nullable=True),
        sa.Column(
            "long_term_illness", sa.Boolean(), server_default=sa.text("false"), nullable=False
        ),
        sa.Column(
            "reduced_mobility", sa.Boolean(), server_default=sa.text("false"), nullable=False
        ),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("snp_now()"),
            nullable=False,
        ),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("snp_now()"),
            nullable=False,
        ),
        sa.CheckConstraint(
            "identity_status IN ('PROV', 'RECUP', 'VALI', 'QUAL')",
            name=op.f("ck_patient_files_identity_status"),
        ),
        sa.CheckConstraint("sex IN ('M', 'F', 'O', 'UN')", name=op.f("ck_patient_files_sex")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_patient_files")),
    )
    op.create_index(
        "ix_patient_files_case_id",
        "patient_files",
        ["case_id"],
        unique=False,
        postgresql_where=sa.text("case_id IS NOT NULL"),
    )
    op.create_index(
        "ix_patient_files_ins_index",
        "patient_files",
        ["ins_index"],
        unique=False,
        postgresql_where=sa.text("ins_index IS NOT NULL"),
    )
    op.create_index(
        "ix_patient_files_name_birth_index",
        "patient_files",
        ["name_birth_index"],
        unique=False,
        postgresql_where=sa.text("name_birth_index IS NOT NULL"),
    )
    op.create_index(
        "ix_patient_files_organization_id", "patient_files", ["organization_id"], unique=False
    )
    op.create_index(
        "ix_patient_files_phone_index",
        "patient_files",
        ["phone_index"],
        unique=False,
        postgresql_where=sa.text("phone_index IS NOT NULL"),
    )
    op.create_table(
        "territories",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("region", sa.Text(), nullable=True),
        sa.Column("zone", sa.Text(), nullable=False),
        sa.Column("default_radius_km", sa.Float(), nullable=False),
        sa.Column("enlargement_km", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_territories")),
    )
    op.create_table(
        "calls",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("territory", sa.Text(), nullable=False),
        sa.Column("zone", sa.Text(), nullable=False),
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("cpts_id", sa.Uuid(), nullable=True),
        sa.Column("line", sa.Text(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("caller_type", sa.Text(), nullable=True),
        sa.Column("motive", sa.Text(), server_default=sa.text("'M07.00'"), nullable=False),
        sa.Column("priority", sa.Text(), server_default=sa.text("'P2'"), nullable=False),
        sa.Column("care_level", sa.Text(), nullable=True),
        sa.Column("patient_file_id", sa.Uuid(), nullable=True),
        sa.Column("case_id", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), server_default=sa.text("'open'"), nullable=False),
        sa.Column(
            "qualified_by",
            postgresql.JSONB(none_as_null=True, astext_type=sa.Text()),
            nullable=True,
        ),
        sa.Column(
            "regulated_by",
            postgresql.JSONB(none_as_null=True, astext_type=sa.Text()),
            nullable=True,
        ),
        sa.Column("protocol", sa.Text(), nullable=True),
        sa.Column(
            "assigned_to", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True
        ),
        sa.Column("assigned_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("callback_requested_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("first_attempt_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("called_back_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("outcome_mask", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("otherwise", sa.Text(), nullable=True),
        sa.Column(
            "sent_to_emergency", sa.Boolean(), server_default=sa.text("false"), nullable=False
        ),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("client_id", sa.Uuid(), nullable=True),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("snp_now()"),
            nullable=False,
        ),
        sa.CheckConstraint(
            "otherwise IN ('none', 'wait', 'own_doctor', 'emergency_department', 'emergency_call', 'unknown')",
            name=op.f("ck_calls_otherwise"),
        ),
        sa.CheckConstraint(
            "priority IN ('P0', 'P1', 'P2', 'P3', 'NR')", name=op.f("ck_calls_priority")
        ),
        sa.CheckConstraint(
            "state <> 'void' OR outcome_mask = 0", name=op.f("ck_calls_void_without_outcome")
        ),
        sa.CheckConstraint(
            "state IN ('open', 'awaiting_callback', 'called_back', 'closed', 'void')",
            name=op.f("ck_calls_state"),
        ),
        sa.ForeignKeyConstraint(
            ["patient_file_id"], ["patient_files.id"], name=op.f("fk_calls_patient_file_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_calls")),
    )
    op.create_index(
        "ix_calls_case_id",
        "calls",
        ["case_id"],
        unique=False,
        postgresql_where=sa.text("case_id IS NOT NULL"),
    )
    op.create_index(
        "ix_calls_cpts_id_received_at", "calls", ["cpts_id", "received_at"], unique=False
    )
    op.create_index(
        "ix_calls_figures",
        "calls",
        ["territory", "received_at"],
        unique=False,
        postgresql_include=[
            "outcome_mask",
            "cpts_id",
            "otherwise",
            "sent_to_emergency",
            "callback_requested_at",
            "first_attempt_at",
        ],
        postgresql_where=sa.text("state <> 'void'"),
    )
    op.create_index(
        "ix_calls_organization_id_received_at",
        "calls",
        ["organization_id", "received_at"],
        unique=False,
    )
    op.create_index("ix_calls_patient_file_id", "calls", ["patient_file_id"], unique=False)
    op.create_index(
        "ix_calls_queue",
        "calls",
        ["organization_id", "callback_requested_at"],
        unique=False,
        postgresql_where=sa.text("state = 'awaiting_callback'"),
    )
    op.create_table(
        "grants",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("client_id", sa.Uuid(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("organization_type", sa.Text(), nullable=False),
        sa.Column("cpts_ids", sa.ARRAY(sa.Uuid()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("territories", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column(
            "practitioner_ids", sa.ARRAY(sa.Uuid()), server_default=sa.text("'{}'"), nullable=False
        ),
        sa.Column(
            "valid_from",
            sa.DateTime(timezone=True),
            server_default=sa.text("snp_now()"),
            nullable=False,
        ),
        sa.Column("valid_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revision", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.CheckConstraint("cardinality(territories) > 0", name=op.f("ck_grants_territories")),
        sa.ForeignKeyConstraint(["client_id"], ["clients.id"], name=op.f("fk_grants_client_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_grants")),
    )
    op.create_index("ix_grants_client_id", "grants", ["client_id"], unique=False)
    op.create_index("ix_grants_organization_id", "grants", ["organization_id"], unique=False)
    op.create_table(
        "organizations",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("territory", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("finess", sa.Text(), nullable=True),
        sa.Column("siret", sa.Text(), nullable=True),
        sa.Column("commune", sa.Text(), nullable=True),
        sa.Column("phone", sa.Text(), nullable=True),
        sa.Column("cpts_ids", sa.ARRAY(sa.Uuid()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("snp_now()"),
            nullable=False,
        ),
        sa.CheckConstraint(
            "type IN ('cpts', 'sas', 'practice', 'msp', 'cds', 'csnp', 'sos', 'pharmacy', 'emergency_department', 'other')",
            name=op.f("ck_organizations_type"),
        ),
        sa.ForeignKeyConstraint(
            ["territory"], ["territories.id"], name=op.f("fk_organizations_territory")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_organizations")),
        sa.UniqueConstraint("finess", name=op.f("uq_organizations_finess")),
        sa.UniqueConstraint("siret", name=op.f("uq_organizations_siret")),
    )
    op.create_index(
        "ix_organizations_cpts_ids",
        "organizations",
        ["cpts_ids"],
        unique=False,
        postgresql_using="gin",
    )
    op.create_index(
        "ix_organizations_territory_type", "organizations", ["territory", "type"], unique=False
    )
    op.create_table(
        "practitioners",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("rpps", sa.Text(), nullable=False),
        sa.Column("family_name", sa.Text(), nullable=False),
        sa.Column("given_name", sa.Text(), nullable=False),
        sa.Column("profession", sa.Text(), server_default=sa.text("'10'"), nullable=False),
        sa.Column("specialty", sa.Text(), nullable=True),
        sa.Column("status", sa.Text(), server_default=sa.text("'self_employed'"), nullable=False),
        sa.Column("territory", sa.Text(), nullable=False),
        sa.Column("active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("snp_now()"),
            nullable=False,
        ),
        sa.CheckConstraint("rpps ~ '^[0-9]{11}$'", name=op.f("ck_practitioners_rpps")),
        sa.CheckConstraint(
            "status IN ('self_employed', 'locum', 'retired', 'intern', 'employee')",
            name=op.f("ck_practitioners_status"),
        ),
        sa.ForeignKeyConstraint(
            ["territory"], ["territories.id"], name=op.f("fk_practitioners_territory")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_practitioners")),
        sa.UniqueConstraint("rpps", name=op.f("uq_practitioners_rpps")),
    )
    op.create_index("ix_practitioners_territory", "practitioners", ["territory"], unique=False)
    op.create_table(
        "call_callbacks",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("call_id", sa.Uuid(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("reached", sa.Boolean(), nullable=False),
        sa.Column(
            "made_by", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True
        ),
        sa.ForeignKeyConstraint(["call_id"], ["calls.id"], name=op.f("fk_call_callbacks_call_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_call_callbacks")),
    )
    op.create_index("ix_call_callbacks_call_id", "call_callbacks", ["call_id"], unique=False)
    op.create_table(
        "call_outcomes",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("call_id", sa.Uuid(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("pharmacy_id", sa.Uuid(), nullable=True),
        sa.Column("booking_id", sa.Uuid(), nullable=True),
        sa.Column("client_id", sa.Uuid(), nullable=True),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("snp_now()"),
            nullable=False,
        ),
        sa.Column("removed_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "outcome IN ('medical_advice', 'slot_orientation', 'prescription', 'patient_unreachable', 'redirected_to_15', 'other')",
            name=op.f("ck_call_outcomes_outcome"),
        ),
        sa.ForeignKeyConstraint(["call_id"], ["calls.id"], name=op.f("fk_call_outcomes_call_id")),
        sa.ForeignKeyConstraint(
            ["pharmacy_id"], ["organizations.id"], name=op.f("fk_call_outcomes_pharmacy_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_call_outcomes")),
    )
    op.create_index("ix_call_outcomes_call_id", "call_outcomes", ["call_id"], unique=False)
    op.create_table(
        "locations",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=True),
        sa.Column("postal_code", sa.Text(), nullable=True),
        sa.Column("commune", sa.Text(), nullable=False),
        sa.Column("latitude", sa.Float(), nullable=False),
        sa.Column("longitude", sa.Float(), nullable=False),
        sa.Column(
            "reduced_mobility", sa.Boolean(), server_default=sa.text("false"), nullable=False
        ),
        sa.Column("phone", sa.Text(), nullable=True),
        sa.Column("active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.CheckConstraint("latitude BETWEEN -90 AND 90", name=op.f("ck_locations_latitude")),
        sa.CheckConstraint("longitude BETWEEN -180 AND 180", name=op.f("ck_locations_longitude")),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organizations.id"], name=op.f("fk_locations_organization_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_locations")),
    )
    op.create_index("ix_locations_organization_id", "locations", ["organization_id"], unique=False)
    op.create_table(
        "practitioner_locations",
        sa.Column("practitioner_id", sa.Uuid(), nullable=False),
        sa.Column("location_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["location_id"], ["locations.id"], name=op.f("fk_practitioner_locations_location_id")
        ),
        sa.ForeignKeyConstraint(
            ["practitioner_id"],
            ["practitioners.id"],
            name=op.f("fk_practitioner_locations_practitioner_id"),
        ),
        sa.PrimaryKeyConstraint(
            "practitioner_id", "location_id", name=op.f("pk_practitioner_locations")
        ),
    )
    op.create_index(
        "ix_practitioner_locations_location_id",
        "practitioner_locations",
        ["location_id"],
        unique=False,
    )
    op.create_table(
        "slots",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("practitioner_id", sa.Uuid(), nullable=True),
        sa.Column("location_id", sa.Uuid(), nullable=False),
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("organization_type", sa.Text(), nullable=False),
        sa.Column("territory", sa.Text(), nullable=False),
        sa.Column("zone", sa.Text(), nullable=False),
        sa.Column("latitude", sa.Float(), nullable=False),
        sa.Column("longitude", sa.Float(), nullable=False),
        sa.Column("reduced_mobility", sa.Boolean(), nullable=False),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("modes", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("specialty", sa.Text(), nullable=True),
        sa.Column("visibility", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("cpts_ids", sa.ARRAY(sa.Uuid()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column(
            "organization_types",
            sa.ARRAY(sa.Text()),
            server_default=sa.text("'{}'"),
            nullable=False,
        ),
        sa.Column(
            "organization_ids", sa.ARRAY(sa.Uuid()), server_default=sa.text("'{}'"), nullable=False
        ),
        sa.Column("capacity", sa.SmallInteger(), nullable=False),
        sa.Column("overbooking", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("booked", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column(
            "holds",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'"),
            nullable=False,
        ),
        sa.Column("walk_in", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("external_id", sa.Text(), nullable=True),
        sa.Column("client_id", sa.Uuid(), nullable=True),
        sa.Column("withdrawn_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("snp_now()"),
            nullable=False,
        ),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("snp_now()"),
            nullable=False,
        ),
        postgresql.ExcludeConstraint(
            (sa.column("practitioner_id"), "="),
            (sa.text("tstzrange(starts_at, ends_at)"), "&&"),
            where=sa.text("withdrawn_at IS NULL"),
            using="gist",
            name="ex_slots_practitioner_period",
        ),
        sa.CheckConstraint(
            "cardinality(modes) > 0 AND modes <@ ARRAY['AMB', 'HH', 'VR']",
            name=op.f("ck_slots_modes"),
        ),
        sa.CheckConstraint(
            "cardinality(visibility) > 0 AND visibility <@ ARRAY['PUBLIC', 'PRO', 'SNP', 'CPTS']",
            name=op.f("ck_slots_visibility"),
        ),
        sa.CheckConstraint(
            "practitioner_id IS NOT NULL OR organization_type IN ('csnp', 'sos')",
            name=op.f("ck_slots_practitioner"),
        ),
        sa.CheckConstraint(
            "booked BETWEEN 0 AND capacity + overbooking", name=op.f("ck_slots_seats")
        ),
        sa.CheckConstraint("capacity >= 1 AND overbooking >= 0", name=op.f("ck_slots_capacity")),
        sa.CheckConstraint("starts_at < ends_at", name=op.f("ck_slots_period")),
        sa.CheckConstraint(
            "withdrawn_at IS NULL OR booked = 0", name=op.f("ck_slots_withdrawn_empty")
        ),
        sa.ForeignKeyConstraint(
            ["location_id"], ["locations.id"], name=op.f("fk_slots_location_id")
        ),
        sa.ForeignKeyConstraint(
            ["practitioner_id"], ["practitioners.id"], name=op.f("fk_slots_practitioner_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_slots")),
    )
    op.create_index(
        "ix_slots_cpts_ids", "slots", ["cpts_ids"], unique=False, postgresql_using="gin"
    )
    op.create_index(
        "ix_slots_location_id_starts_at", "slots", ["location_id", "starts_at"], unique=False
    )
    op.create_index(
        "ix_slots_practitioner_id_starts_at",
        "slots",
        ["practitioner_id", "starts_at"],
        unique=False,
    )
    op.create_index(
        "ix_slots_search",
        "slots",
        ["territory", "starts_at", "id"],
        unique=False,
        postgresql_where=sa.text("withdrawn_at IS NULL"),
    )
    op.create_index(
        "ix_slots_territory_starts_at", "slots", ["territory", "starts_at"], unique=False
    )
    op.create_index(
        "ix_slots_starts_at",
        "slots",
        ["starts_at", "id"],
        unique=False,
        postgresql_where=sa.text("withdrawn_at IS NULL"),
    )
    op.create_index(
        "uq_slots_practitioner_external_id",
        "slots",
        ["practitioner_id", "external_id"],
        unique=True,
        postgresql_where=sa.text("external_id IS NOT NULL"),
    )
    op.create_index(
        "uq_slots_organization_external_id",
        "slots",
        ["organization_id", "external_id"],
        unique=True,
        postgresql_where=sa.text("external_id IS NOT NULL AND practitioner_id IS NULL"),
    )
    op.create_table(
        "bookings",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("slot_id", sa.Uuid(), nullable=False),
        sa.Column("patient_file_id", sa.Uuid(), nullable=False),
        sa.Column("patient_key", sa.LargeBinary(), nullable=True),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("practitioner_id", sa.Uuid(), nullable=True),
        sa.Column("practitioner_organization_id", sa.Uuid(), nullable=False),
        sa.Column("territory", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), server_default=sa.text("'booked'"), nullable=False),
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("organization_type", sa.Text(), nullable=False),
        sa.Column("client_id", sa.Uuid(), nullable=True),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("person", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("on_behalf_of", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("call_id", sa.Uuid(), nullable=True),
        sa.Column("case_id", sa.Text(), nullable=True),
        sa.Column("motive", sa.Text(), nullable=True),
        sa.Column("reason_text", sa.LargeBinary(), nullable=True),
        sa.Column("overbooked", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("override_reason", sa.LargeBinary(), nullable=True),
        sa.Column("cancelled_by", sa.Text(), nullable=True),
        sa.Column("cancelled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("cancel_reason", sa.LargeBinary(), nullable=True),
        sa.Column("reported_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("report_detail", sa.LargeBinary(), nullable=True),
        sa.Column(
            "sent_to_emergency", sa.Boolean(), server_default=sa.text("false"), nullable=False
        ),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("snp_now()"),
            nullable=False,
        ),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("snp_now()"),
            nullable=False,
        ),
        postgresql.ExcludeConstraint(
            (sa.column("patient_key"), "="),
            (sa.text("tstzrange(starts_at, ends_at)"), "&&"),
            where=sa.text("state = 'booked' AND patient_key IS NOT NULL"),
            using="gist",
            name="ex_bookings_patient_period",
        ),
        postgresql.ExcludeConstraint(
            (sa.column("patient_file_id"), "="),
            (sa.text("tstzrange(starts_at, ends_at)"), "&&"),
            where=sa.text("state = 'booked' AND override_reason IS NULL"),
            using="gist",
            name="ex_bookings_file_period",
        ),
        sa.CheckConstraint(
            "(state = 'cancelled') = (cancelled_by IS NOT NULL)",
            name=op.f("ck_bookings_cancelled_by"),
        ),
        sa.CheckConstraint(
            "cancelled_by IN ('patient', 'requester', 'doctor', 'system')",
            name=op.f("ck_bookings_cancelled_by_whom"),
        ),
        sa.CheckConstraint(
            "state IN ('booked', 'fulfilled', 'noshow', 'cancelled')",
            name=op.f("ck_bookings_state"),
        ),
        sa.ForeignKeyConstraint(["call_id"], ["calls.id"], name=op.f("fk_bookings_call_id")),
        sa.ForeignKeyConstraint(
            ["patient_file_id"], ["patient_files.id"], name=op.f("fk_bookings_patient_file_id")
        ),
        sa.ForeignKeyConstraint(["slot_id"], ["slots.id"], name=op.f("fk_bookings_slot_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_bookings")),
    )
    op.create_index(
        "ix_bookings_call_id",
        "bookings",
        ["call_id"],
        unique=False,
        postgresql_where=sa.text("call_id IS NOT NULL"),
    )
    op.create_index(
        "ix_bookings_case_id",
        "bookings",
        ["case_id"],
        unique=False,
        postgresql_where=sa.text("case_id IS NOT NULL"),
    )
    op.create_index(
        "ix_bookings_organization_id_id", "bookings", ["organization_id", "id"], unique=False
    )
    op.create_index(
        "ix_bookings_practitioner_organization_id_starts_at",
        "bookings",
        ["practitioner_organization_id", "starts_at"],
        unique=False,
        postgresql_where=sa.text("practitioner_id IS NULL"),
    )
    op.create_index(
        "ix_bookings_organization_id_starts_at",
        "bookings",
        ["organization_id", "starts_at"],
        unique=False,
    )
    op.create_index("ix_bookings_patient_file_id", "bookings", ["patient_file_id"], unique=False)
    op.create_index(
        "ix_bookings_practitioner_id_starts_at",
        "bookings",
        ["practitioner_id", "starts_at"],
        unique=False,
    )
    op.create_index("ix_bookings_slot_id", "bookings", ["slot_id"], unique=False)
    op.create_index(
        "ix_bookings_territory_starts_at", "bookings", ["territory", "starts_at"], unique=False
    )
    op.create_index("ix_bookings_updated_at", "bookings", ["updated_at"], unique=False)
    op.create_table(
        "holds",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("slot_id", sa.Uuid(), nullable=False),
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("client_id", sa.Uuid(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("snp_now()"),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(["slot_id"], ["slots.id"], name=op.f("fk_holds_slot_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_holds")),
    )
    op.create_index(
        "ix_holds_organization_id_expires_at",
        "holds",
        ["organization_id", "expires_at"],
        unique=False,
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    op.create_index("ix_holds_slot_id", "holds", ["slot_id"], unique=False)
    for statement in _AFTER:
        op.execute(statement)
