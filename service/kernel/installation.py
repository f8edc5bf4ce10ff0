"""What kind of database this is: one row, written by the first migration."""

from collections.abc import Iterable, Mapping

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
from sqlalchemy.dialects.postgresql import JSONB

from service.kernel.db import UnitOfWork
from service.kernel.tables import Instant, metadata

installation = Table(
    "installation",
    metadata,
    Column("id", SmallInteger, primary_key=True, server_default=text("1")),
    # A synthetic database holds invented people only, as a whole and for ever.
    Column("synthetic", Boolean, nullable=False, server_default=text("false")),
    Column("dataset", Text),
    # {name of a key: what is made of it and tells nothing about it}: which keys belong here.
    Column("key_fingerprints", JSONB, nullable=False, server_default=text("'{}'")),
    Column("created_at", Instant, nullable=False, server_default=text("snp_now()")),
    CheckConstraint("id = 1", name="single"),
    info={"rights": ("SELECT",), "updates": ("synthetic", "dataset", "key_fingerprints")},
)

_SYNTHETIC = select(installation.c.synthetic)
_DATASET = select(installation.c.dataset)
_MARK = update(installation)
_FINGERPRINTS = select(installation.c.key_fingerprints)

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


async def key_fingerprints(uow: UnitOfWork) -> dict[str, str]:
    """Return the fingerprints of the keys that belong to this database; none before `register`."""
    return dict((await uow.single(_FINGERPRINTS)).scalar_one())


async def retire_keys(uow: UnitOfWork, names: Iterable[str]) -> None:
    """Forget keys that no row needs any more: a keys file without them is then right."""
    known = await key_fingerprints(uow)
    kept = {name: known[name] for name in known.keys() - set(names)}
    await uow.execute(_MARK, {"key_fingerprints": kept})


async def register_keys(uow: UnitOfWork, fingerprints: Mapping[str, str]) -> None:
    """Keep the fingerprints of keys; encryption keys that older rows may need stay known."""
    known = await key_fingerprints(uow)
    await uow.execute(_MARK, {"key_fingerprints": {**known, **fingerprints}})
