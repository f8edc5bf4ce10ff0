"""Tables of the room: client software, people, and what each may do, where and until when."""

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

from service.kernel.rights import RIGHTS
from service.kernel.tables import Instant, metadata

SUBJECT_TAKEN = "uq_clients_certificate_subject"

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
    # When it last got a token or came with its certificate, to within a day; null: never.
    Column("last_used_at", Instant),
    # What the subject of its certificate holds (`OU=318751275100020`), in order; its secret then
    # ends.
    Column("certificate_subject", ARRAY(Text)),
    # Raised when it proves itself in another way, or a right to regulate of its own changes; a
    # person's token names the one of its software.
    Column("revision", Integer, nullable=False, server_default=text("1")),
    CheckConstraint("cardinality(certificate_subject) > 0", name="certificate_subject"),
    Index(
        SUBJECT_TAKEN,
        "certificate_subject",
        unique=True,
        postgresql_where=text("revoked_at IS NULL"),
    ),
)

# People of the service, never patients. An account may be there before its first sign-in.
accounts = Table(
    "accounts",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("family_name", Text),
    Column("given_name", Text),
    Column("email", Text),
    Column("created_at", Instant, nullable=False, server_default=text("snp_now()")),
)

# Many regulators have no national number: a person is whoever a system calls so.
account_identifiers = Table(
    "account_identifiers",
    metadata,
    Column("system", Text, primary_key=True),
    Column("value", Text, primary_key=True),
    Column("account_id", Uuid, ForeignKey("accounts.id"), nullable=False),
    # Who else says so (`sas`): it opens what they gave, and no right that was given here.
    Column("origin", Text),
    Index("ix_account_identifiers_account_id", "account_id"),
    info={"rights": ("SELECT", "INSERT", "DELETE"), "updates": ("origin",)},
)

# Tokens of other issuers that were exchanged for one of ours: each is worth one.
spent_tokens = Table(
    "spent_tokens",
    metadata,
    Column("digest", LargeBinary, primary_key=True),
    Column("ends_at", Instant, nullable=False),
    Index("ix_spent_tokens_ends_at", "ends_at"),
    info={"rights": (*RIGHTS, "DELETE")},
)

grants = Table(
    "grants",
    metadata,
    Column("id", Uuid, primary_key=True),
    # Software's own, or a person's with whatever software they use.
    Column("client_id", Uuid, ForeignKey("clients.id")),
    Column("account_id", Uuid, ForeignKey("accounts.id")),
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
    # Counts only for who arrives from there (`sas`); null: however they arrive.
    Column("origin", Text),
    CheckConstraint("cardinality(territories) > 0", name="territories"),
    CheckConstraint("num_nonnulls(client_id, account_id) = 1", name="holder"),
    CheckConstraint("origin IS NULL OR account_id IS NOT NULL", name="origin"),
    Index("ix_grants_client_id", "client_id"),
    Index("ix_grants_account_id", "account_id"),
    Index("ix_grants_organization_id", "organization_id"),
    # Who could see a slot: of the country's grants, those of its territory and communities.
    Index("ix_grants_territories", "territories", postgresql_using="gin"),
    Index("ix_grants_cpts_ids", "cpts_ids", postgresql_using="gin"),
)
