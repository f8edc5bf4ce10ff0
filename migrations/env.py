"""Alembic environment: one migration at a time, as the owner role, no long wait for a lock."""

import asyncio

from alembic import context
from sqlalchemy import Connection, text
from sqlalchemy.dialects.postgresql.base import ischema_names
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from service.kernel.embedded import APP_ROLE
from service.kernel.events import Xid8
from service.kernel.rights import grants, rights
from service.schema import metadata

_MIGRATION_LOCK = 7_301_836

ischema_names["xid8"] = Xid8  # so that a database read back compares with the models


def _run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=metadata,
        compare_server_default=True,
        include_name=lambda name, _kind, _parents: not (name or "").startswith("procrastinate_"),
    )
    with context.begin_transaction():
        connection.execute(text("SELECT set_config('lock_timeout', '5s', true)"))
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _MIGRATION_LOCK})
        context.run_migrations()
        if context.config.attributes.get("grants"):
            # What was revoked, or not restored, comes back; what is there stays as it is.
            schema = f"GRANT USAGE ON SCHEMA public TO {APP_ROLE}"
            numbers = f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {APP_ROLE}"
            for statement in (schema, numbers, *grants(rights(metadata), APP_ROLE)):
                connection.execute(text(statement))
            # After a restore on another server, traces go on with higher numbers than they have.
            connection.execute(text("SELECT snp_continue_xacts()"))


async def _online() -> None:
    engine = create_async_engine(context.config.attributes["url"], poolclass=NullPool)
    try:
        async with engine.connect() as connection:
            await connection.run_sync(_run)
            await connection.commit()
    finally:
        await engine.dispose()


asyncio.run(_online())
