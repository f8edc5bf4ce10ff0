"""The connection to PostgreSQL: engines, pool, and the unit of work.

One request or job is one unit of work, opened at the edge and passed as first argument. Only this
module commits. A unit of work holds no connection until its first statement.
"""

from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from typing import Any, TypeVar

import asyncpg
import orjson
from sqlalchemy import CursorResult, Executable, event, func, select
from sqlalchemy.dialects.postgresql.asyncpg import AsyncAdapt_asyncpg_dbapi
from sqlalchemy.exc import DBAPIError, InvalidatePoolError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from service.kernel.crypto import Vault
from service.kernel.errors import Conflict, Invalid, Unavailable
from service.kernel.prepared import Prepared, Row
from service.kernel.settings import Settings

T = TypeVar("T")
Parameters = Mapping[str, Any] | Sequence[Mapping[str, Any]]

_DEADLOCK, _SERIALIZATION = "40P01", "40001"
_IN_USE = "Someone else is changing the same thing."
_UNAVAILABLE = {
    "55P03": _IN_USE,  # waited for a lock
    "57014": _IN_USE,  # cancelled: took too long
    "25006": "The database takes no writes just now.",  # a replica, or set so
}
_UNSTORABLE = frozenset({"22021", "22P05"})  # NUL in a text
_NOW = select(func.snp_now())
# A connection that was there is gone, or the server is stopping or starting.
_LOST = ("08", "57P", "53300")


class ConstraintViolated(Conflict):
    """A constraint said no. Repositories turn its `name` into the refusal it stands for."""

    code = "constraint-violated"
    title = "This contradicts what is already recorded."

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name


class TransactionLost(Exception):
    """Deadlock or serialization failure: the whole unit of work may be run again, once."""


class UnitOfWorkFailed(Exception):
    """A defect: after a statement failed, the work went on as if the transaction still lived."""


def asyncpg_url(url: str) -> str:
    """Return a PostgreSQL URL in the form that SQLAlchemy wants for asyncpg."""
    scheme, _, rest = url.partition("://")
    if scheme.partition("+")[0] not in {"postgresql", "postgres"}:
        raise ValueError("A database URL starts with postgresql://")
    return f"postgresql+asyncpg://{rest}"


class UnitOfWork:
    """One request's work on the database: all of it is kept, or none.

    `execute` runs in the transaction, which the first call opens. `single` runs one statement that
    commits by itself, without the two round trips of a transaction; it is only for a use case that
    is one statement, or for a read before the transaction.
    """

    def __init__(self, database: "Database") -> None:
        self._database = database
        self._connection: AsyncConnection | None = None
        self._failed: Exception | None = None
        self.vault = database.vault

    async def single(
        self, statement: Executable, parameters: Parameters | None = None
    ) -> CursorResult[Any]:
        """Run one statement that commits by itself (inside an open transaction: as part of it)."""
        if self._connection is not None or self._failed:
            return await self.execute(statement, parameters)
        with _translated():
            async with self._database.autocommit.connect() as connection:
                return await _ask(connection.execute(statement, parameters), connection)

    async def fetch(self, statement: Prepared, values: Mapping[str, Any]) -> list[Row]:
        """Do as `single` for a prepared statement, without SQLAlchemy on the way to the driver."""
        if self._connection is not None or self._failed:
            return [*(await self.execute(statement.statement, values)).mappings()]
        arguments = statement.arguments(values)
        with _translated():
            lent = await self._database.engine.raw_connection()
            try:
                driver: Any = lent.driver_connection
                rows: list[Row] = await driver.fetch(statement.text, *arguments)
            except asyncpg.PostgresError:
                raise
            except BaseException:  # cut off or cancelled half-way: nobody else may get this one
                lent.invalidate()
                raise
            finally:
                lent.close()
        return rows

    async def execute(
        self, statement: Executable, parameters: Parameters | None = None
    ) -> CursorResult[Any]:
        """Run a statement in the transaction of this unit of work.

        A statement that fails ends the transaction, and gives the connection back at once: whoever
        tries again needs one. Nothing more runs, and nothing is told as done, before `rollback`.
        """
        if self._failed:
            raise UnitOfWorkFailed from self._failed
        try:
            with _translated():
                if self._connection is None:
                    self._connection = await self._database.engine.connect()
                return await _ask(self._connection.execute(statement, parameters), self._connection)
        except Exception as error:
            await self.rollback()
            self._failed = error
            raise

    async def now(self) -> datetime:
        """Return the instant by the one clock for shared facts (the SQL function `snp_now`)."""
        instant: datetime = (await self.single(_NOW)).scalar_one()
        return instant

    async def rollback(self) -> None:
        """Undo everything so far; the unit of work may go on with a new transaction."""
        connection, self._connection = self._connection, None
        self._failed = None
        if connection is not None:
            # When it is lost, the server undoes what it carried, and the pool throws it away: that
            # must not hide why there was something to undo.
            with suppress(DBAPIError, OSError):
                await connection.close()

    async def _commit(self) -> None:
        if self._failed and not isinstance(self._failed, TransactionLost):  # that one was run again
            raise UnitOfWorkFailed from self._failed
        if self._connection is None:
            return
        with _translated():
            try:
                await _ask(self._connection.commit(), self._connection)
            finally:
                await self.rollback()


async def _ask(question: Awaitable[T], connection: AsyncConnection) -> T:
    """Wait for the answer; give a silent connection up: what it may still say is nobody's."""
    try:
        return await question
    except (TimeoutError, asyncpg.InternalClientError):
        await connection.invalidate()
        raise


class Database:
    """The pool of one process, and the keys that its rows are encrypted with.

    `answer_seconds` bounds the silence of the database. A server needs it, whose callers wait; a
    command that loads or moves millions of rows leaves it out.
    """

    def __init__(
        self, url: str, settings: Settings, vault: Vault, *, answer_seconds: float | None = None
    ) -> None:
        caches = {} if settings.prepared_statements else {"statement_cache_size": 0}
        self.engine: AsyncEngine = create_async_engine(
            asyncpg_url(url),
            pool_size=settings.pool_size,
            max_overflow=0,
            pool_timeout=settings.pool_timeout_seconds,
            pool_recycle=1800,
            hide_parameters=True,  # parameters hold patients; exceptions end up in logs
            json_serializer=lambda value: orjson.dumps(value).decode(),
            json_deserializer=orjson.loads,
            connect_args={
                "timeout": 5,
                "command_timeout": answer_seconds,
                "prepared_statement_cache_size": 500 if settings.prepared_statements else 0,
                **caches,
                "server_settings": {"application_name": "snp"},
            },
        )
        event.listen(self.engine.sync_engine, "checkout", _only_if_alive)
        self.autocommit = self.engine.execution_options(isolation_level="AUTOCOMMIT")
        self.vault = vault

    @asynccontextmanager
    async def unit_of_work(self) -> AsyncIterator[UnitOfWork]:
        """Open a unit of work: committed at the end, rolled back when anything is raised."""
        uow = UnitOfWork(self)
        try:
            yield uow
            await uow._commit()  # noqa: SLF001  only the kernel commits
        finally:
            await uow.rollback()

    async def dispose(self) -> None:
        """Close every connection."""
        await self.engine.dispose()


def _only_if_alive(connection: Any, _record: object, _proxy: object) -> None:
    """Lend no connection that was cut meanwhile; the pool then forgets the others as old as it."""
    if connection.driver_connection.is_closed():
        raise InvalidatePoolError


class _translated:  # noqa: N801  reads as a clause: with _translated()
    """Driver errors become refusals; what is left is a defect, without a parameter in its text."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, DBAPIError):
            raise _refusal(error) from None
        if isinstance(error, AsyncAdapt_asyncpg_dbapi.Error):  # while a connection was made
            raise _meaning(error.__cause__ or error) from None
        if isinstance(error, asyncpg.PostgresError):
            raise _meaning(error) from None
        if isinstance(error, asyncpg.InterfaceError | asyncpg.InternalClientError):
            raise _out_of_step(error) from None
        if isinstance(error, PoolTimeout):
            raise Unavailable("Every database connection is in use.") from None
        if isinstance(error, OSError | TimeoutError):
            raise Unavailable("The database does not answer.") from None


def _out_of_step(error: Exception) -> Exception:
    # InternalClientError: the server said that it ends, and has not hung up yet; nothing was sent.
    if isinstance(error, asyncpg.InternalClientError) or "closed" in str(error):
        return Unavailable("The connection to the database was lost.")
    return DatabaseDefect(type(error).__name__)  # its text may quote a value


class DatabaseDefect(Exception):
    """An unexpected database error, reduced to its SQLSTATE: messages can quote values."""


def _refusal(error: DBAPIError) -> Exception:
    cause = error.orig.__cause__ if error.orig is not None else None
    if isinstance(cause, asyncpg.PostgresError) or not error.connection_invalidated:
        return _meaning(cause or error)
    return Unavailable("The connection to the database was lost.")


def _meaning(error: BaseException) -> Exception:
    state = str(getattr(error, "sqlstate", None) or "")
    constraint = getattr(error, "constraint_name", None)
    if constraint and state.startswith("23"):
        return ConstraintViolated(str(constraint))
    if state in {_DEADLOCK, _SERIALIZATION}:
        return TransactionLost(state)
    if state in _UNAVAILABLE:
        return Unavailable(_UNAVAILABLE[state])
    if state in _UNSTORABLE:
        return Invalid(detail="A text holds a character that cannot be stored.")
    if state.startswith(_LOST):
        return Unavailable("The connection to the database was lost.")
    return DatabaseDefect(f"SQLSTATE {state or 'unknown'} ({type(error).__name__})")
