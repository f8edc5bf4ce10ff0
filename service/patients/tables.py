"""The only table that holds who a patient is: every identifying column is encrypted.

Rows are found by id or by blind index. What figures need (sex, age, commune) stands in clear and
identifies nobody by itself.
"""

from sqlalchemy import (
    ARRAY,
    Boolean,
    CheckConstraint,
    Column,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    Uuid,
    text,
)

from service.kernel.tables import Instant, metadata, sealed

patient_files = Table(
    "patient_files",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("organization_id", Uuid, nullable=False),
    Column("territory", Text, nullable=False),
    Column("client_id", Uuid),
    # Who may read it: the organizations that opened it or booked on it, and the doctor's side of
    # its bookings. Columns of the row, so that row-level security can judge by them too.
    Column("reader_organization_ids", ARRAY(Uuid), nullable=False, server_default=text("'{}'")),
    Column("practitioner_ids", ARRAY(Uuid), nullable=False, server_default=text("'{}'")),
    Column("care_organization_ids", ARRAY(Uuid), nullable=False, server_default=text("'{}'")),
    # Encrypted (kernel.crypto), bound to this row and column.
    sealed("family_name"),
    sealed("given_name"),
    sealed("birth_date"),
    sealed("phone"),
    sealed("email"),
    sealed("ins"),
    # Blind indexes.
    Column("name_birth_index", LargeBinary),
    Column("phone_index", LargeBinary),
    Column("ins_index", LargeBinary),
    # Who this is, for "no two live bookings that overlap"; nulled by erasure.
    Column("patient_key", LargeBinary),
    Column("age", Text),
    Column("sex", Text),
    Column("commune", Text),
    Column("case_id", Text),
    Column("identity_status", Text, nullable=False, server_default=text("'PROV'")),
    Column("regular_doctor_rpps", Text),
    # The patient agrees that their own doctor hears that they were received.
    Column("inform_regular_doctor", Boolean, nullable=False, server_default=text("false")),
    Column("long_term_illness", Boolean, nullable=False, server_default=text("false")),
    Column("reduced_mobility", Boolean, nullable=False, server_default=text("false")),
    Column("version", Integer, nullable=False, server_default=text("1")),
    Column("created_at", Instant, nullable=False, server_default=text("snp_now()")),
    Column("updated_at", Instant, nullable=False, server_default=text("snp_now()")),
    CheckConstraint("identity_status IN ('PROV', 'RECUP', 'VALI', 'QUAL')", name="identity_status"),
    CheckConstraint("sex IN ('M', 'F', 'O', 'UN')", name="sex"),
    Index("ix_patient_files_organization_id", "organization_id"),
    Index(
        "ix_patient_files_name_birth_index",
        "name_birth_index",
        postgresql_where=text("name_birth_index IS NOT NULL"),
    ),
    Index(
        "ix_patient_files_phone_index",
        "phone_index",
        postgresql_where=text("phone_index IS NOT NULL"),
    ),
    Index(
        "ix_patient_files_ins_index",
        "ins_index",
        postgresql_where=text("ins_index IS NOT NULL"),
    ),
    Index("ix_patient_files_case_id", "case_id", postgresql_where=text("case_id IS NOT NULL")),
)
