"""One catalogue of tables, with named constraints: a violated name becomes a domain error."""

from collections.abc import Iterator

from sqlalchemy import Column, DateTime, LargeBinary, MetaData, Table

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

Instant = DateTime(timezone=True)


def sealed(name: str) -> Column[bytes]:
    """Declare a column that is encrypted by `kernel.crypto`, bound to its row's `id` and its name.

    Rotation finds it by that (`sealed_columns`).
    """
    return Column(name, LargeBinary, info={"sealed": True})


def sealed_columns(catalogue: MetaData) -> Iterator[tuple[Table, list[Column[bytes]]]]:
    """Yield each table that has encrypted columns, with these."""
    for table in catalogue.sorted_tables:
        if found := [column for column in table.c if column.info.get("sealed")]:
            yield table, found
