"""Tables of the room: client software and what each may do, where and until when."""

from sqlalchemy import (
    ARRAY,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    Uuid,
    text,
)

from service.kernel.tables import Instant, metadata

clients = Table(
    "clients",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("name", Text, nullable=False),
    Column("secret_digest", LargeBinary, nullable=False),
    # During a rotation the old secret goes on working until the software is reconfigured.
    Column("previous_digest", LargeBinary),
    Column("previous_until", Instant),
    Column("created_at", Instant, nullable=False, server_default=text("snp_now()")),
    Column("revoked_at", Instant),
)

grants = Table(
    "grants",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("client_id", Uuid, ForeignKey("clients.id"), nullable=False),
    Column("role", Text, nullable=False),
    Column("organization_id", Uuid, nullable=False),
    # Copied from the directory, so that knowing who calls needs no look-up elsewhere.
    Column("organization_type", Text, nullable=False),
    Column("cpts_ids", ARRAY(Uuid), nullable=False, server_default=text("'{}'")),
    Column("territories", ARRAY(Text), nullable=False),
    Column("practitioner_ids", ARRAY(Uuid), nullable=False, server_default=text("'{}'")),
    Column("valid_from", Instant, nullable=False, server_default=text("snp_now()")),
    Column("valid_until", Instant),
    Column("revoked_at", Instant),
    # Raised by every change; a token names the revision it was made from.
    Column("revision", Integer, nullable=False, server_default=text("1")),
    CheckConstraint("cardinality(territories) > 0", name="territories"),
    Index("ix_grants_client_id", "client_id"),
    Index("ix_grants_organization_id", "organization_id"),
    # Who could see a slot: of the country's grants, those of its territory and communities.
    Index("ix_grants_territories", "territories", postgresql_using="gin"),
    Index("ix_grants_cpts_ids", "cpts_ids", postgresql_using="gin"),
)
