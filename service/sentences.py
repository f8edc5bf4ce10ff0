"""One sentence for the operator about what went wrong outside of the code."""

import re
from collections.abc import Callable
from typing import Any

import asyncpg
from alembic.util import CommandError
from pydantic import SecretStr, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import SettingsError
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError

from service.audit import NotAsSealed, NumbersWentBack
from service.demo.failure import DemoError
from service.kernel.crypto import KeysError
from service.kernel.db import DatabaseDefect, asyncpg_url
from service.kernel.embedded import EmbeddedError
from service.kernel.errors import DomainError, Invalid
from service.kernel.settings import Settings
from service.serving import CannotListen


def sentence(error: Exception) -> str | None:
    """Return what to tell the operator; None for a defect, whose traceback is wanted."""
    return next((tell(error) for kinds, tell in _TOLD if isinstance(error, kinds)), None)


def _refusal(error: DomainError) -> str:
    more = [found.detail for found in error.errors] if isinstance(error, Invalid) else []
    return " ".join([error.detail or error.title, *more])


def _setting(error: ValidationError) -> str | None:
    """Name each wrong setting; never its value, which may be a secret."""
    if error.title != Settings.__name__:
        return None
    return f"Wrong settings: {'; '.join(map(_wrong, error.errors()))}."


def _wrong(error: ErrorDetails) -> str:
    if not error["loc"]:  # several settings together
        return error["msg"].removeprefix("Value error, ")
    setting, *within = map(str, error["loc"])
    where = f" ({'.'.join(within)})" if within else ""
    return f"SNP_{setting.upper()}{where}: {error['msg']}"


def _json(error: SettingsError) -> str | None:
    """Name the setting that is no JSON."""
    found = re.search(r'field "(\w+)"', str(error))
    return f"SNP_{found[1].upper()} is not JSON." if found else None


def _refused(error: BaseException) -> str:
    """The server's own words, without the detail that may quote a row."""
    while isinstance(error, DBAPIError) and error.orig is not None:
        error = error.orig.__cause__ or error.orig
    return f"The database refuses: {_first_line(error)}."


def _denied(error: DatabaseDefect) -> str | None:
    """A login or a right that is refused is the operator's matter; the rest is a defect."""
    denied = re.match("SQLSTATE (28|3D|42501)", str(error))
    return f"The database refuses: {_first_line(error)}." if denied else None


def _schema(error: CommandError) -> str:
    return f"The schema cannot be migrated: {_first_line(error)}."


def _system(error: OSError) -> str:
    if error.filename is not None:
        return f"{error.filename}: {error.strerror or error}."
    reason = _first_line(error) or "no answer"
    return (
        f"The database cannot be reached ({reason}): "
        "check SNP_DATABASE_URL and SNP_OWNER_DATABASE_URL."
    )


def _url(_: Exception) -> str | None:
    """Blame a database URL, if one of them is really unreadable."""
    settings = Settings()
    for name in ("database_url", "owner_database_url"):
        url: SecretStr | None = getattr(settings, name)
        try:
            make_url(asyncpg_url(url.get_secret_value() if url else "postgresql://"))
        except (ValueError, ArgumentError):
            return (
                f"SNP_{name.upper()} cannot be read: "
                "write it such as postgresql://user:password@host/database."
            )
    return None


def _parameter(error: TypeError) -> str | None:
    """Blame what the driver does not take from a database URL."""
    found = re.search(r"connect\(\) got an unexpected keyword argument '(\w+)'", str(error))
    if not found:
        return None
    instead = ": write ssl= with the same value" if found[1] == "sslmode" else ""
    return f"The parameter {found[1]} of a database URL is not known here{instead}."


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0].rstrip(". ")


_TOLD: tuple[tuple[Any, Callable[[Any], str | None]], ...] = (
    ((KeysError, EmbeddedError, DemoError, CannotListen, NumbersWentBack, NotAsSealed), str),
    (DomainError, _refusal),
    (ValidationError, _setting),
    (SettingsError, _json),
    ((DBAPIError, asyncpg.PostgresError, asyncpg.InterfaceError), _refused),
    (DatabaseDefect, _denied),
    (CommandError, _schema),
    (OSError, _system),
    ((ValueError, ArgumentError), _url),
    (TypeError, _parameter),
)
