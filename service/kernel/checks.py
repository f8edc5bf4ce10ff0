"""`snp check`: is this installation set up as it must be? One finding per item, nothing changed.

It connects as the service does (same URL, same role, same pooler), so that what it finds is what
requests will meet. An `error` must be mended before patients are served; a `warning` is for a human
to judge. What is to be pasted into psql stands at the end of a finding, and ends in a semicolon.
"""

import stat
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import MetaData, text
from sqlalchemy.exc import ArgumentError

from service.kernel.crypto import Keys, KeysError, Vault, load_keys
from service.kernel.db import Database, DatabaseDefect, UnitOfWork
from service.kernel.errors import DomainError
from service.kernel.installation import is_synthetic, key_fingerprints, register_keys
from service.kernel.migrations import head
from service.kernel.rights import Right, grants, rights
from service.kernel.rotation import numbers_needed
from service.kernel.settings import Settings
from service.kernel.wall import as_upkeep, ensure_trusted, forget_others, is_known

_OLDEST_SERVER = 15
_CLOCK_WARNING, _CLOCK_ERROR = timedelta(seconds=2), timedelta(seconds=30)
_TIMEOUTS = {
    "lock_timeout": "3s",
    "statement_timeout": "10s",
    "idle_in_transaction_session_timeout": "10s",
}

_PLANS = {"plan_cache_mode": "force_generic_plan", "random_page_cost": "1.1"}

_SERVER = text(
    """SELECT current_user AS role, quote_ident(current_database()) AS database,
              current_setting('server_version') AS version,
              current_setting('server_version_num')::int / 10000 AS major,
              pg_is_in_recovery() AS replica, clock_timestamp() AS now,
              current_setting('max_connections')::int
              - current_setting('superuser_reserved_connections')::int AS connections,
              (SELECT datconnlimit FROM pg_database WHERE datname = current_database())
                AS database_limit,
              r.rolconnlimit AS role_limit, r.rolsuper AS superuser,
              array_remove(ARRAY[CASE WHEN r.rolcreaterole THEN 'CREATEROLE' END,
                                 CASE WHEN r.rolcreatedb THEN 'CREATEDB' END,
                                 CASE WHEN r.rolreplication THEN 'REPLICATION' END,
                                 CASE WHEN r.rolbypassrls THEN 'BYPASSRLS' END], NULL) AS powers,
              EXISTS (SELECT FROM pg_database WHERE datname = current_database()
                      AND pg_has_role(datdba, 'MEMBER')) AS owns_database,
              EXISTS (SELECT FROM pg_class WHERE relnamespace = 'public'::regnamespace
                      AND relkind IN ('r', 'p') AND pg_has_role(relowner, 'MEMBER')) AS owns_tables,
              has_schema_privilege('public', 'CREATE') AS creates_tables,
              has_database_privilege(current_database(), 'CREATE') AS creates_schemas,
              has_database_privilege(current_database(), 'TEMPORARY') AS creates_temporary,
              EXISTS (SELECT FROM pg_class WHERE relnamespace = 'public'::regnamespace
                      AND relname = 'alembic_version') AS migrated,
              has_schema_privilege('public', 'USAGE') AS sees_tables,
              current_setting('default_transaction_read_only')::boolean AS writes_nothing,
              (SELECT CASE WHEN setrole = 0 THEN format('DATABASE %I', current_database())
                           WHEN setdatabase = 0 THEN format('ROLE %I', current_user)
                           ELSE format('ROLE %I IN DATABASE %I', current_user, current_database())
                      END
               FROM pg_db_role_setting
               WHERE setrole IN (0, r.oid) AND 'default_transaction_read_only=on' = ANY (setconfig)
                 AND setdatabase IN (0, (SELECT oid FROM pg_database
                                         WHERE datname = current_database()))
               ORDER BY setrole = 0, setdatabase = 0 LIMIT 1) AS writes_nothing_by
       FROM pg_roles AS r WHERE r.rolname = current_user"""
)
_REVISION = text("SELECT version_num FROM alembic_version")
_SETTING = text(
    """SELECT name, setting::bigint AS milliseconds FROM pg_settings
       WHERE name IN ('lock_timeout', 'statement_timeout', 'idle_in_transaction_session_timeout')"""
)
_PLANNING = text(
    "SELECT name, setting FROM pg_settings WHERE name IN ('plan_cache_mode', 'random_page_cost')"
)
_LACKING = text(
    """SELECT asked.relation, asked.privilege, asked.attribute
       FROM unnest(CAST(:tables AS text[]), CAST(:privileges AS text[]), CAST(:columns AS text[]))
            WITH ORDINALITY AS asked(relation, privilege, attribute, n)
       JOIN pg_class AS c
         ON c.relname = asked.relation AND c.relnamespace = 'public'::regnamespace
       LEFT JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = asked.attribute
       WHERE NOT coalesce(CASE WHEN asked.attribute IS NULL
                               THEN has_table_privilege(c.oid, asked.privilege)
                               ELSE has_column_privilege(c.oid, a.attnum, asked.privilege) END,
                          true)
       ORDER BY asked.n"""
)
# The one table that the kernel knows by name: oldest and newest identity, maybe of two keys. Its
# indexes are remade as the room `patients` makes them.
_SEALED = text(
    """(SELECT id, family_name, birth_date, phone, name_birth_index, phone_index
        FROM patient_files WHERE family_name IS NOT NULL OR phone IS NOT NULL
        ORDER BY id LIMIT 1)
       UNION ALL
       (SELECT id, family_name, birth_date, phone, name_birth_index, phone_index
        FROM patient_files WHERE family_name IS NOT NULL OR phone IS NOT NULL
        ORDER BY id DESC LIMIT 1)"""
)
_WALLED = text("SELECT row_security_active('patient_files')")
_REGISTER = "If all of them are right, or were changed on purpose: snp keys register"


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found about one item."""

    item: str
    level: Level
    told: str


def _ok(item: str, told: str) -> Finding:
    return Finding(item, Level.OK, told)


def _warning(item: str, told: str) -> Finding:
    return Finding(item, Level.WARNING, told)


def _error(item: str, told: str) -> Finding:
    return Finding(item, Level.ERROR, told)


async def check(settings: Settings, metadata: MetaData) -> list[Finding]:
    """Look at everything that can be looked at; what hangs on a missing thing is left out.

    `metadata` is the whole schema: of each table it says what the application must be able to do.
    """
    found = [_ok("settings", "All are readable.")]
    if settings.read_only:
        found.append(_warning("changes", "SNP_READ_ONLY is set: every change is refused."))
    found.append(_mail(settings))
    found += _keys_file(settings)
    keys: Keys | None = None
    try:
        keys = load_keys(settings)
        found.append(_ok("keys", f"Readable; encryption keys {_listed(keys.encryption)}."))
    except KeysError as error:
        found.append(_error("keys", str(error)))
    if settings.database_url is None:
        return [*found, _error("database", "No database: set SNP_DATABASE_URL.")]
    try:
        vault = Vault(keys or Keys.generate())
        database = Database(settings.database_url.get_secret_value(), settings, vault)
    except (ValueError, ArgumentError, TypeError):
        sentence = "SNP_DATABASE_URL cannot be read: postgresql://user:password@host/database."
        return [*found, _error("database", sentence)]
    try:
        found += await _in_database(database, settings, metadata, with_keys=keys is not None)
    finally:
        await database.dispose()
    return found


def _listed(numbers: Any) -> str:
    return ", ".join(map(str, sorted(numbers)))


def _mail(settings: Settings) -> Finding:
    """Without a server for e-mail nothing is wrong; somebody may still be waiting for it."""
    if settings.smtp_url is None:
        return _ok("mail", "SNP_SMTP_URL is not set: nobody is told anything by e-mail.")
    links = settings.public_url or "no links to the report, SNP_PUBLIC_URL is not set"
    return _ok("mail", f"From {settings.mail_from}; {links}.")


def _keys_file(settings: Settings) -> Iterator[Finding]:
    """The file of the keys is for the account of the service alone."""
    path = settings.keys_file
    if settings.keys is not None:
        yield _ok("keys file", "None: the keys are in SNP_KEYS.")
    elif path is not None and path.is_file():
        mode = stat.S_IMODE(path.stat().st_mode)
        told = f"{path} has mode {mode:04o}"
        if mode & 0o007:
            yield _error("keys file", f"{told}, everybody may read or change it: chmod 600.")
        elif mode & 0o070:
            yield _warning("keys file", f"{told}, its group may read or change it: chmod 600.")
        else:
            yield _ok("keys file", f"{told}.")


async def _in_database(
    database: Database, settings: Settings, metadata: MetaData, *, with_keys: bool
) -> list[Finding]:
    found: list[Finding] = []
    try:
        async with database.unit_of_work() as uow:
            began = datetime.now(UTC)
            row = (await uow.single(_SERVER)).one()
            found += _server(row, began + (datetime.now(UTC) - began) / 2, settings)
            found += [] if _owns(row) else await _timeouts(uow, row) + await _plans(uow, row)
            missing = await _lacking(uow, row, metadata) if row.migrated else []
            if missing:
                found.append(_lacks(missing))
            else:
                found += await _contents(uow, row, with_keys=with_keys)
                if with_keys and found[-1].level is not Level.ERROR:
                    found.append(await _needed(uow, metadata))
    except DatabaseDefect as defect:
        found.append(_error("database", f"It refuses: {defect}."))
    except DomainError as refusal:
        found.append(_error("database", str(refusal)))
    except OSError as error:
        found.append(_error("database", f"It cannot be reached: {error}."))
    return found


def _server(row: Any, now: datetime, settings: Settings) -> Iterator[Finding]:
    where = f"PostgreSQL {row.version.split()[0]}, database {row.database}, role {row.role}"
    if row.replica:
        yield _error("database", f"{where}: a read-only replica; name the primary server.")
    elif row.major < _OLDEST_SERVER:
        yield _error("database", f"{where}: version {_OLDEST_SERVER} or newer is needed.")
    else:
        yield _ok("database", f"{where}.")
    if row.writes_nothing:
        by, name = row.writes_nothing_by, "default_transaction_read_only"
        mend = (
            f"ALTER {by} RESET {name};" if by else f"in postgresql.conf or the URL, set off {name}."
        )
        told = "Every transaction is read-only, so every change fails"
        yield _error("writing", f"{told}: {mend}")
    yield _role(row)
    if not _owns(row):
        yield _privileges(row)
    yield _clock(row.now - now)
    yield _pool(row, settings.pool_size)


def _owns(row: Any) -> bool:
    """Tell whether this is not the application's role at all: nothing of it is to be mended."""
    return bool(row.superuser or row.owns_database or row.owns_tables)


def _role(row: Any) -> Finding:
    if _owns(row):
        what = "is a superuser" if row.superuser else "owns the database or its tables"
        return _error("role", f"{row.role} {what}: use the application role snp_app.")
    if row.powers:
        orders = " ".join(f"NO{power}" for power in row.powers)
        powers = " ".join(row.powers)
        return _error("role", f"{row.role} has {powers}: ALTER ROLE {row.role} {orders};")
    return _ok("role", f"{row.role} is neither superuser nor owner.")


def _privileges(row: Any) -> Finding:
    if row.creates_tables or row.creates_schemas:
        what = "SCHEMA public" if row.creates_tables else f"DATABASE {row.database}"
        return _error(
            "privileges",
            f"{row.role} can create tables: REVOKE CREATE ON {what} FROM PUBLIC, {row.role};",
        )
    if row.creates_temporary:
        return _warning(
            "privileges",
            f"{row.role} can create temporary tables: "
            f"REVOKE TEMPORARY ON DATABASE {row.database} FROM PUBLIC;",
        )
    return _ok("privileges", f"{row.role} cannot create tables.")


def _clock(ahead: timedelta) -> Finding:
    told = f"The server's clock differs from this machine's by {abs(ahead).total_seconds():.1f} s"
    if abs(ahead) > _CLOCK_ERROR:
        return _error("clock", f"{told}: set both by NTP.")
    if abs(ahead) > _CLOCK_WARNING:
        return _warning("clock", f"{told}: set both by NTP.")
    return _ok("clock", f"{told}.")


def _pool(row: Any, size: int) -> Finding:
    limits = [limit for limit in (row.database_limit, row.role_limit) if limit >= 0]
    room = min([row.connections, *limits])
    told = f"SNP_POOL_SIZE is {size} for each server process, the server takes {room}"
    if size > room:
        return _error("pool", f"{told}: lower it, or raise max_connections.")
    if size > room // 2:
        return _warning("pool", f"{told}: room for one process only.")
    return _ok("pool", f"{told}: {room // size} processes at most.")


async def _timeouts(uow: UnitOfWork, row: Any) -> list[Finding]:
    """`pg_dump` of one database leaves them behind: after a restore they are set again."""
    values = {s.name: s.milliseconds for s in await uow.single(_SETTING)}
    missing = [name for name in _TIMEOUTS if not values.get(name)]
    if missing:
        orders = " ".join(
            f"ALTER ROLE {row.role} IN DATABASE {row.database} SET {name} = '{_TIMEOUTS[name]}';"
            for name in missing
        )
        return [_error("timeouts", f"A request could wait for ever: {orders}")]
    told = ", ".join(f"{name} {values[name] / 1000:g} s" for name in _TIMEOUTS)
    return [_ok("timeouts", f"{told}.")]


async def _plans(uow: UnitOfWork, row: Any) -> list[Finding]:
    """Migration 0007 sets how plans are made; what a restore leaves behind comes from here."""
    values = {s.name: s.setting for s in await uow.single(_PLANNING)}
    other = [name for name, wanted in _PLANS.items() if values.get(name) != wanted]
    if other:
        orders = " ".join(
            f"ALTER ROLE {row.role} IN DATABASE {row.database} SET {name} = '{_PLANS[name]}';"
            for name in other
        )
        return [_warning("plans", f"Searches of a large database would be slow: {orders}")]
    return [_ok("plans", ", ".join(f"{n} {v}" for n, v in _PLANS.items()) + ".")]


async def _lacking(uow: UnitOfWork, row: Any, metadata: MetaData) -> list[str]:
    """Return the statements that give the role what it lacks."""
    wanted = list(rights(metadata))
    asked = {
        "tables": [right.table for right in wanted],
        "privileges": [right.privilege for right in wanted],
        "columns": [right.column for right in wanted],
    }
    missing = [
        Right(found.relation, found.privilege, found.attribute)
        for found in await uow.single(_LACKING, asked)
    ]
    schema = [] if row.sees_tables else [f"GRANT USAGE ON SCHEMA public TO {row.role}"]
    return [*schema, *grants(missing, row.role)]


def _lacks(missing: list[str]) -> Finding:
    told = "The role lacks rights that the service needs; snp migrate gives them, or as the owner"
    return _error("rights", f"{told}: {'; '.join(missing)};")


async def _contents(uow: UnitOfWork, row: Any, *, with_keys: bool) -> list[Finding]:
    revision = (await uow.single(_REVISION)).scalar() if row.migrated else None
    if revision is None:
        return [_error("schema", "There is none: run snp migrate as the owner.")]
    if revision != head():
        return [_error("schema", f"At {revision}, this code wants {head()}: run snp migrate.")]
    found = [_ok("rights", "The role may do what the service needs.")]
    found.append(_ok("schema", f"At revision {revision}, the newest."))
    if not _owns(row):
        found.append(await _walled(uow, with_keys=with_keys))
    if await is_synthetic(uow):
        found.append(_warning("data", "Synthetic: invented people, and the figures say so."))
    else:
        found.append(_ok("data", "Not synthetic: real people."))
    if with_keys:
        if all(finding.level is not Level.ERROR for finding in found):  # else nobody is seen
            found.append(await _fit(uow))
        found.append(await _known(uow))
    return found


async def _walled(uow: UnitOfWork, *, with_keys: bool) -> Finding:
    if not (await uow.single(_WALLED)).scalar_one():
        told = "Nothing keeps identities from a statement that forgot its condition. As the owner"
        return _error("wall", f"{told}: ALTER TABLE patient_files ENABLE ROW LEVEL SECURITY;")
    if with_keys and not await is_known(uow):
        told = "The database shows identities to none who has this key server, or to nobody yet"
        return _error("wall", f"{told}: snp keys register.")
    return _ok("wall", "Row-level security keeps identities from who does not prove who reads.")


async def _fit(uow: UnitOfWork) -> Finding:
    await as_upkeep(uow)
    rows = (await uow.execute(_SEALED)).all()
    try:
        found = all(_is_found(uow.vault, row) for row in rows)
    except KeysError:
        sentence = "The keys do not fit: patients of this database were written with other keys."
        return _error("identities", sentence)
    if not found:
        sentence = "The key index is another one: they are readable, and a search finds nobody."
        return _error("identities", sentence)
    return _ok("identities", "The keys read and find them." if rows else "No patient yet.")


def _is_found(vault: Vault, row: Any) -> bool:
    """Tell whether a file's blind indexes are those that its identity has with these keys."""

    def read(name: str) -> str:
        sealed = getattr(row, name)
        return vault.decrypt(sealed, column=f"patient_files.{name}", row=row.id) or ""

    name, birth, phone = read("family_name"), read("birth_date"), read("phone")
    remade = {
        "name_birth_index": vault.blind_index(name, birth, purpose="name_birth"),
        "phone_index": vault.blind_index(phone, purpose="phone"),
    }
    return all(getattr(row, index) in {None, value} for index, value in remade.items())


async def _known(uow: UnitOfWork) -> Finding:
    """Compare the keys with those that were registered: a copy may be right in some of them."""
    known, ours = await key_fingerprints(uow), uow.vault.fingerprints
    also = uow.vault.also_fingerprints
    if not known:
        told = "None is kept yet, so that a wrong key server or token is not noticed"
        return _warning("fingerprints", f"{told}: snp keys register.")
    other = sorted(
        name
        for name in ours.keys() & known.keys()
        if known[name] not in {ours[name], also.get(name)}
    )
    lost = sorted(known.keys() - ours.keys())
    new = sorted(name for name in ours if ours[name] != known.get(name))
    wrong = [
        *(f"{name} is another one" for name in other),
        *(f"{name} is missing" for name in lost),
    ]
    if wrong:
        told = f"Of the keys of this database, {', '.join(wrong)}"
        return _error("fingerprints", f"{told}. {_REGISTER}.")
    if new:
        return _warning("fingerprints", f"Not registered yet: {', '.join(new)}. {_REGISTER}.")
    return _ok("fingerprints", "The keys are those that were registered.")


async def _needed(uow: UnitOfWork, metadata: MetaData) -> Finding:
    """Look at every value's key: one that is missing may belong to a single row."""
    needed, loaded, current = (
        await numbers_needed(uow, metadata),
        uow.vault.numbers,
        uow.vault.current,
    )
    if needed - loaded:
        told = f"Values need the encryption keys {_listed(needed - loaded)}, which are not loaded"
        return _error("encryption", f"{told}: put them back.")
    if needed - {current}:
        told = f"Values are under the keys {_listed(needed)}, {current} writes"
        return _warning("encryption", f"{told}: snp keys rotate, once every server knows it.")
    if loaded - {current}:
        told = f"No value needs the keys {_listed(loaded - {current})}"
        return _ok("encryption", f"{told}: they may leave the file if nobody writes with them.")
    return _ok("encryption", f"Every value is under the key that writes, {current}.")


async def ensure_fit(database: Database) -> None:
    """Refuse with `KeysError` to serve with keys that are not those of the database.

    A database that does not answer, or has no schema yet, says nothing about keys: readiness tells.
    """
    try:
        async with database.unit_of_work() as uow:
            await ensure_trusted(uow)
            for finding in (await _fit(uow), await _known(uow)):
                if finding.level is Level.ERROR:
                    raise KeysError(finding.told)
    except (DomainError, DatabaseDefect, OSError):
        return


async def register(uow: UnitOfWork) -> list[str]:
    """Register the loaded keys as those of this database; return their names.

    Raises `KeysError` if patients were written with others.
    """
    await ensure_trusted(uow)
    fit = await _fit(uow)
    if fit.level is Level.ERROR:
        raise KeysError(fit.told)
    await register_keys(uow, uow.vault.fingerprints)
    await forget_others(uow)
    return sorted(uow.vault.fingerprints)
