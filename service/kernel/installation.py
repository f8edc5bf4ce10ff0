"""What kind of database this is: one row, written by the first migration."""

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    SmallInteger,
    Table,
    Text,
    insert,
    select,
    text,
    update,
)

from service.kernel.db import UnitOfWork
from service.kernel.tables import Instant, metadata

installation = Table(
    "installation",
    metadata,
    Column("id", SmallInteger, primary_key=True, server_default=text("1")),
    # A synthetic database holds invented people only, as a whole and for ever.
    Column("synthetic", Boolean, nullable=False, server_default=text("false")),
    Column("dataset", Text),
    Column("created_at", Instant, nullable=False, server_default=text("snp_now()")),
    CheckConstraint("id = 1", name="single"),
)

_SYNTHETIC = select(installation.c.synthetic)
_DATASET = select(installation.c.dataset)
_MARK = update(installation)

CREATE_ROW = insert(installation).values(id=1)


async def is_synthetic(uow: UnitOfWork) -> bool:
    """Tell whether every row of this database is invented."""
    return bool((await uow.single(_SYNTHETIC)).scalar_one())


async def dataset(uow: UnitOfWork) -> str | None:
    """Return the name of the synthetic data set that is loaded, if one is."""
    name: str | None = (await uow.single(_DATASET)).scalar_one()
    return name


async def mark_synthetic(uow: UnitOfWork, name: str) -> None:
    """Mark the whole database as synthetic, holding one named data set."""
    await uow.execute(_MARK, {"synthetic": True, "dataset": name})
