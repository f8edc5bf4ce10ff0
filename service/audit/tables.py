"""What was read and refused, and the seals over all traces. The application only adds to them.

`kernel.events` is the other half: what was changed.
"""

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from service.kernel.events import Xid8, origin_columns
from service.kernel.tables import Instant, metadata

_WRITTEN_ONCE = {"rights": ("SELECT", "INSERT")}

access_log = Table(
    "access_log",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("xid", Xid8, nullable=False, server_default=text("snp_xact_id()")),
    Column("occurred_at", Instant, nullable=False, server_default=text("snp_now()")),
    # The operation id of the API, and `shown` or the code of the refusal.
    Column("operation", Text, nullable=False),
    Column("result", Text, nullable=False),
    # Pseudonyms: ids of patient files and bookings. Never a name.
    Column("subject_ids", ARRAY(Uuid), nullable=False),
    Column("territories", ARRAY(Text), nullable=False),
    *origin_columns(),
    # Why somebody opened what they may not see.
    Column("break_glass", Text),
    # How often: more than once for who is nobody, and refused again and again (`audit.Strangers`).
    Column("times", Integer, nullable=False, server_default=text("1")),
    Index("ix_access_log_xid_id", "xid", "id"),
    Index("ix_access_log_occurred_at", "occurred_at", postgresql_using="brin"),
    Index("ix_access_log_subject_ids", "subject_ids", postgresql_using="gin"),
    Index(
        "ix_access_log_break_glass",
        "occurred_at",
        postgresql_where=text("break_glass IS NOT NULL"),
    ),
    info=_WRITTEN_ONCE,
)

audit_seals = Table(
    "audit_seals",
    metadata,
    # 1, 2, 3, ...: one chain over both tables.
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    # A table of traces; `tombstones` for what was taken from seals before.
    Column("source", Text, nullable=False),
    # What the digests are made of.
    Column("form", SmallInteger, nullable=False),
    # Every row of the source whose transaction lies in here, the second excluded.
    Column("from_xid", BigInteger, nullable=False),
    Column("to_xid", BigInteger, nullable=False),
    # Nothing was left to seal in the source.
    Column("complete", Boolean, nullable=False),
    Column("sealed_at", Instant, nullable=False),
    Column("rows", Integer, nullable=False),
    # The rows in the order of (xid, id), and 32 bytes of each, one after the other: null once they
    # were pruned. What names a person is apart, salted: null once it was erased.
    Column("row_ids", ARRAY(Uuid)),
    Column("row_digests", LargeBinary),
    Column("named_salt", LargeBinary),
    Column("named_digests", LargeBinary),
    # What was taken from which seals, when, by whom and why.
    Column("tombstone", JSONB(none_as_null=True)),
    # The hash is over these: it holds when what they are made of is gone.
    Column("lines_hash", LargeBinary, nullable=False),
    Column("named_hash", LargeBinary, nullable=False),
    Column("previous", LargeBinary, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    # With the key `audit`: nobody makes one who has the database only.
    Column("mac", LargeBinary),
    CheckConstraint("position > 0", name="position"),
    Index("ix_audit_seals_source_position", "source", "position"),
    info=_WRITTEN_ONCE,
)
