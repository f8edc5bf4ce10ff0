"""Tables of the room: territories, organizations, practitioners and the places where they work.

What an import has written carries its `source`; None is what was made by hand, or by a caller.
`source_digest` is what the source said last, in short (`tasks.lines.digest`): None once the entry
has vanished from there. `source_date` is the date of the file that last changed the entry.
"""

from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    Float,
    ForeignKey,
    Index,
    Integer,
    Table,
    Text,
    Uuid,
    literal_column,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from service.kernel.rights import RIGHTS
from service.kernel.tables import Instant, metadata


def _source() -> list[Column[Any]]:
    """Return the columns of what an import may write."""
    return [
        Column("source", Text),
        Column("source_date", Date),
        Column("source_digest", BigInteger),
    ]


territories = Table(
    "territories",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("region", Text),
    Column("zone", Text, nullable=False),
    Column("default_radius_km", Float, nullable=False),
    Column("enlargement_km", Float, nullable=False),
)

organizations = Table(
    "organizations",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("territory", Text, ForeignKey("territories.id"), nullable=False),
    Column("type", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("finess", Text, unique=True),
    Column("siret", Text, unique=True),
    Column("commune", Text),
    Column("phone", Text),
    Column("cpts_ids", ARRAY(Uuid), nullable=False, server_default=text("'{}'")),
    Column("active", Boolean, nullable=False, server_default=text("true")),
    Column("version", Integer, nullable=False, server_default=text("1")),
    Column("created_at", Instant, nullable=False, server_default=text("snp_now()")),
    Column("source_key", Text, unique=True),
    *_source(),
    CheckConstraint(
        "type IN ('cpts', 'sas', 'practice', 'msp', 'cds', 'csnp', 'sos', 'pharmacy',"
        " 'emergency_department', 'other')",
        name="type",
    ),
    Index("ix_organizations_territory_type", "territory", "type"),
    Index(
        "ix_organizations_folded_name",
        literal_column("snp_folded(name)").label("folded"),
        postgresql_using="gin",
        postgresql_ops={"folded": "gin_trgm_ops"},
    ),
    Index("ix_organizations_cpts_ids", "cpts_ids", postgresql_using="gin"),
)

practitioners = Table(
    "practitioners",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("rpps", Text, nullable=False, unique=True),
    Column("family_name", Text, nullable=False),
    Column("given_name", Text, nullable=False),
    Column("profession", Text, nullable=False, server_default=text("'10'")),
    Column("specialty", Text),
    Column("status", Text, nullable=False, server_default=text("'self_employed'")),
    Column("territory", Text, ForeignKey("territories.id"), nullable=False),
    Column("active", Boolean, nullable=False, server_default=text("true")),
    Column("version", Integer, nullable=False, server_default=text("1")),
    Column("created_at", Instant, nullable=False, server_default=text("snp_now()")),
    *_source(),
    CheckConstraint("rpps ~ '^[0-9]{11}$'", name="rpps"),
    CheckConstraint(
        "status IN ('self_employed', 'locum', 'retired', 'intern', 'employee')", name="status"
    ),
    Index("ix_practitioners_territory", "territory"),
    Index(
        "ix_practitioners_folded_name",
        literal_column("snp_folded((family_name || ' '::text) || given_name)").label("folded"),
        postgresql_using="gin",
        postgresql_ops={"folded": "gin_trgm_ops"},
    ),
)

locations = Table(
    "locations",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("organization_id", Uuid, ForeignKey("organizations.id"), nullable=False),
    Column("name", Text, nullable=False),
    Column("address", Text),
    Column("postal_code", Text),
    Column("commune", Text, nullable=False),
    Column("latitude", Float, nullable=False),
    Column("longitude", Float, nullable=False),
    Column("reduced_mobility", Boolean, nullable=False, server_default=text("false")),
    Column("phone", Text),
    Column("active", Boolean, nullable=False, server_default=text("true")),
    Column("version", Integer, nullable=False, server_default=text("1")),
    Column("source_key", Text, unique=True),
    *_source(),
    CheckConstraint("latitude BETWEEN -90 AND 90", name="latitude"),
    CheckConstraint("longitude BETWEEN -180 AND 180", name="longitude"),
    Index("ix_locations_organization_id", "organization_id"),
)

practitioner_locations = Table(
    "practitioner_locations",
    metadata,
    Column("practitioner_id", Uuid, ForeignKey("practitioners.id"), primary_key=True),
    Column("location_id", Uuid, ForeignKey("locations.id"), primary_key=True),
    Column("source", Text),
    Index("ix_practitioner_locations_location_id", "location_id"),
    info={"rights": (*RIGHTS, "DELETE")},
)

directory_imports = Table(
    "directory_imports",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("source", Text, nullable=False),
    Column("filter", Text, nullable=False),
    Column("file_name", Text, nullable=False),
    Column("file_digest", Text, nullable=False),
    Column("source_date", Date, nullable=False),
    Column("state", Text, nullable=False),
    # The lines that are dealt with: a killed import goes on after them.
    Column("lines", BigInteger, nullable=False, server_default=text("0")),
    Column("counts", JSONB, nullable=False),
    Column("started_at", Instant, nullable=False, server_default=text("snp_now()")),
    Column("finished_at", Instant),
    CheckConstraint("state IN ('running', 'done', 'abandoned')", name="state"),
    Index("ix_directory_imports_source_filter", "source", "filter", "started_at"),
    Index(
        "uq_directory_imports_running",
        "source",
        unique=True,
        postgresql_where=text("state = 'running'"),
    ),
)
