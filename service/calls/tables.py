"""Calls passed to the ambulatory regulation, their call-backs and outcomes.

The call row carries what the figures count (`outcome_mask`, `otherwise`, the instants), so that a
territory's year is one scan of one covering index.
"""

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    SmallInteger,
    Table,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from service.kernel.tables import Instant, metadata

# None is SQL's NULL, not the JSON value null: "nobody" is then tested with IS NULL.
_Who = JSONB(none_as_null=True)

# What figures read of a call.
_FIGURES = [
    "id",
    "outcome_mask",
    "otherwise",
    "sent_to_emergency",
    "priority",
    "callback_requested_at",
    "first_attempt_at",
    "called_back_at",
]

calls = Table(
    "calls",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("territory", Text, nullable=False),
    Column("zone", Text, nullable=False),
    Column("organization_id", Uuid, nullable=False),
    Column("cpts_id", Uuid),
    Column("line", Text, nullable=False),
    Column("received_at", Instant, nullable=False),
    Column("caller_type", Text),
    Column("motive", Text, nullable=False, server_default=text("'M07.00'")),
    Column("priority", Text, nullable=False, server_default=text("'P2'")),
    Column("care_level", Text),
    Column("patient_file_id", Uuid, ForeignKey("patient_files.id")),
    Column("case_id", Text),
    Column("state", Text, nullable=False, server_default=text("'open'")),
    # Who qualified it, who regulated it (nobody: under the named protocol), who has taken it:
    # {"client_id", "role", "person": {...}}
    Column("qualified_by", _Who),
    Column("regulated_by", _Who),
    Column("protocol", Text),
    Column("assigned_to", _Who),
    Column("assigned_at", Instant),
    Column("callback_requested_at", Instant),
    Column("first_attempt_at", Instant),
    Column("called_back_at", Instant),
    Column("outcome_mask", SmallInteger, nullable=False, server_default=text("0")),
    Column("otherwise", Text),
    Column("sent_to_emergency", Boolean, nullable=False, server_default=text("false")),
    Column("closed_at", Instant),
    Column("client_id", Uuid),
    Column("version", Integer, nullable=False, server_default=text("1")),
    Column("created_at", Instant, nullable=False, server_default=text("snp_now()")),
    CheckConstraint(
        "state IN ('open', 'awaiting_callback', 'called_back', 'closed', 'void')", name="state"
    ),
    # Void is for mistakes: a booking that crosses a voiding loses, whole.
    CheckConstraint("state <> 'void' OR outcome_mask = 0", name="void_without_outcome"),
    CheckConstraint("priority IN ('P0', 'P1', 'P2', 'P3', 'NR')", name="priority"),
    CheckConstraint(
        "otherwise IN ('none', 'wait', 'own_doctor', 'emergency_department', 'emergency_call',"
        " 'unknown')",
        name="otherwise",
    ),
    Index(
        "ix_calls_figures",
        "territory",
        "received_at",
        postgresql_include=["cpts_id", *_FIGURES],
        postgresql_where=text("state <> 'void'"),
    ),
    Index(
        "ix_calls_cpts_figures",
        "cpts_id",
        "received_at",
        postgresql_include=_FIGURES,
        postgresql_where=text("state <> 'void'"),
    ),
    Index(
        "ix_calls_queue",
        "organization_id",
        "callback_requested_at",
        postgresql_where=text("state = 'awaiting_callback'"),
    ),
    Index("ix_calls_organization_id_received_at", "organization_id", "received_at"),
    Index("ix_calls_case_id", "case_id", postgresql_where=text("case_id IS NOT NULL")),
    Index("ix_calls_patient_file_id", "patient_file_id"),
)

call_outcomes = Table(
    "call_outcomes",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("call_id", Uuid, ForeignKey("calls.id"), nullable=False),
    Column("outcome", Text, nullable=False),
    Column("pharmacy_id", Uuid, ForeignKey("organizations.id")),
    Column("booking_id", Uuid),
    Column("client_id", Uuid),
    Column("created_at", Instant, nullable=False, server_default=text("snp_now()")),
    Column("removed_at", Instant),
    CheckConstraint(
        "outcome IN ('medical_advice', 'slot_orientation', 'prescription',"
        " 'patient_unreachable', 'redirected_to_15', 'other')",
        name="outcome",
    ),
    Index("ix_call_outcomes_call_id", "call_id"),
)

call_callbacks = Table(
    "call_callbacks",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("call_id", Uuid, ForeignKey("calls.id"), nullable=False),
    Column("at", Instant, nullable=False),
    Column("reached", Boolean, nullable=False),
    Column("made_by", _Who),
    Index("ix_call_callbacks_call_id", "call_id"),
)
