"""Row-level security around identities; legal holds, and what erasure needs to write."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

# Whose word counts, and what it says of the reader (kernel/wall.py): only what is authenticated by a
# key in `wall_keys`, which these functions read and the application does not.
_FUNCTIONS = "snp_proven(text), snp_trust(bytea, bytea), snp_forget_others()"
_WALL = (
    """CREATE TABLE wall_keys (
         inner_pad bytea CONSTRAINT pk_wall_keys PRIMARY KEY, outer_pad bytea NOT NULL)""",
    # `snp.reader` is: HMAC-SHA256 in hexadecimal, kind, bound, value. Equality is asked of keyed
    # digests: how long it takes tells a guesser nothing.
    """CREATE FUNCTION snp_proven(kind text) RETURNS text
       LANGUAGE plpgsql STABLE SECURITY DEFINER PARALLEL RESTRICTED
       SET search_path = pg_catalog, pg_temp AS $$
       DECLARE
         said text := current_setting('snp.reader', true);
         bound text := split_part(said, ' ', 3);
       BEGIN
         IF split_part(said, ' ', 2) IS DISTINCT FROM kind OR NOT EXISTS (
           SELECT FROM public.wall_keys AS k
           WHERE sha256(k.outer_pad || convert_to(split_part(said, ' ', 1), 'UTF8'))
               = sha256(k.outer_pad || convert_to(encode(sha256(k.outer_pad || sha256(
                   k.inner_pad || convert_to(substr(said, 66), 'UTF8'))), 'hex'), 'UTF8')))
         THEN
           RETURN NULL;
         ELSIF kind = 'upkeep' THEN
           IF bound <> pg_backend_pid() || '@' || extract(epoch FROM now()) THEN
             RETURN NULL;
           END IF;
         ELSIF to_timestamp(bound::bigint) < clock_timestamp() THEN
           RETURN NULL;
         END IF;
         RETURN substr(said, 66 + length(kind) + 1 + length(bound) + 1);
       END $$""",
    # The first key comes by itself, another one on the word of a known one.
    """CREATE FUNCTION snp_trust(inner_pad bytea, outer_pad bytea) RETURNS boolean
       LANGUAGE plpgsql VOLATILE SECURITY DEFINER
       SET search_path = pg_catalog, pg_temp AS $$
       BEGIN
         LOCK TABLE public.wall_keys IN SHARE ROW EXCLUSIVE MODE;
         IF EXISTS (SELECT FROM public.wall_keys)
            AND public.snp_proven('trust') IS DISTINCT FROM encode(sha256(inner_pad), 'hex') THEN
           RETURN false;
         END IF;
         INSERT INTO public.wall_keys VALUES (inner_pad, outer_pad) ON CONFLICT DO NOTHING;
         RETURN true;
       END $$""",
    """CREATE FUNCTION snp_forget_others() RETURNS void
       LANGUAGE sql VOLATILE SECURITY DEFINER
       SET search_path = pg_catalog, pg_temp AS $$
       DELETE FROM public.wall_keys
       WHERE encode(sha256(inner_pad), 'hex') <> ALL (string_to_array(public.snp_proven('only'), ' '))
       $$""",
    f"REVOKE ALL ON FUNCTION {_FUNCTIONS} FROM PUBLIC",
    f"GRANT EXECUTE ON FUNCTION {_FUNCTIONS} TO snp_app",
    # Opening a file asks for nobody: a booking with a new patient stays one statement. Each SELECT
    # is asked once for a statement, not for each row. The owner is not held: it may remove the wall
    # anyway, and dumps and migrations need every row (docs/adr/0018).
    """CREATE POLICY readers ON patient_files FOR ALL TO snp_app
       USING ((SELECT snp_proven('reader')::uuid[])
                && (reader_organization_ids || practitioner_ids || care_organization_ids)
              OR (SELECT snp_proven('sought')) = ANY (ARRAY[
                id::text, case_id, encode(ins_index, 'hex'), encode(phone_index, 'hex'),
                encode(name_birth_index, 'hex')])
              OR (SELECT snp_proven('upkeep')) IS NOT NULL)
       WITH CHECK (true)""",
    "ALTER TABLE patient_files ENABLE ROW LEVEL SECURITY",
)


def upgrade() -> None:
    """Apply. Forward only: a mistake is mended by the next migration."""
    for statement in _WALL:
        op.execute(statement)
    op.create_table(
        "legal_holds",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("territory", sa.Text(), nullable=True),
        sa.Column("patient_file_id", sa.Uuid(), nullable=True),
        sa.Column("case_id", sa.Text(), nullable=True),
        sa.Column("reason", sa.LargeBinary(), nullable=True),
        sa.Column("organization_id", sa.Uuid(), nullable=True),
        sa.Column("grant_id", sa.Uuid(), nullable=True),
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
    op.execute("GRANT DELETE ON account_identifiers TO snp_app")
    op.add_column("clients", sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True))
    op.execute("UPDATE clients SET last_used_at = snp_now()")  # until now it was not kept
