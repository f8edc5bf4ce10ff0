"""Legal holds: what nothing may be erased of, until they are lifted."""

from sqlalchemy import CheckConstraint, Column, Index, Table, Text, Uuid, text

from service.kernel.tables import Instant, metadata, sealed

legal_holds = Table(
    "legal_holds",
    metadata,
    Column("id", Uuid, primary_key=True),
    # Nowhere: the operator's, whatever the territory.
    Column("territory", Text),
    Column("patient_file_id", Uuid),
    Column("case_id", Text),
    # Free text may name somebody: encrypted like an identity.
    sealed("reason"),
    # Who placed it; nobody: the operator.
    Column("organization_id", Uuid),
    Column("grant_id", Uuid),
    Column("created_at", Instant, nullable=False, server_default=text("snp_now()")),
    Column("lifted_at", Instant),
    CheckConstraint("(patient_file_id IS NULL) <> (case_id IS NULL)", name="one_target"),
    Index("ix_legal_holds_territory", "territory", postgresql_where=text("lifted_at IS NULL")),
    info={"rights": ("SELECT", "INSERT"), "updates": ("lifted_at", "reason")},
)
