"""The files of a demo beside its data: secret keys, passwords, and the credentials of its clients.

    D/keys.json             the secret keys that the rows are written with
    D/demo-clients.json     the demo's address and every client's credentials
    D/secrets/snp_app       password of the application role, on a server that is not embedded

Each is written whole or not at all, and only its owner may read it.
"""

import fcntl
import json
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from service.demo.failure import DemoError
from service.kernel.crypto import Keys

CLIENTS = "demo-clients.json"
KEYS = "keys.json"
_PASSWORD = "secrets/snp_app"  # noqa: S105  the name of a file
_OWNER_ONLY = 0o600


@dataclass(frozen=True, slots=True)
class Credential:
    """One client of the demo, as `demo-clients.json` lists it. Ids are texts."""

    name: str
    role: str
    territory: str
    client_id: str
    client_secret: str = field(repr=False)
    organization_id: str
    practitioner_id: str | None = None


def write_whole(path: Path, text: str) -> None:
    """Write a file that only its owner may read: complete under its name, or not there."""
    beside = path.with_name(f"{path.name}.new")
    beside.unlink(missing_ok=True)
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNER_ONLY)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def make_keys(folder: Path) -> Path:
    """Return the file of the secret keys, made now if there is none."""
    path = folder / KEYS
    if not path.exists():
        write_whole(path, Keys.generate().model_dump_json(indent=2) + "\n")
    return path


def make_password(folder: Path) -> str:
    """Return the application role's password, made now if there is none."""
    path = folder / _PASSWORD
    path.parent.mkdir(mode=0o700, exist_ok=True)
    if not path.exists():
        write_whole(path, secrets.token_urlsafe(32))
    return path.read_text(encoding="utf-8").strip()


def read_clients(folder: Path) -> list[Credential]:
    """Return the credentials of the last start; nothing if the file is absent or not ours."""
    with suppress(OSError, ValueError, TypeError, KeyError):
        known = json.loads((folder / CLIENTS).read_text(encoding="utf-8"))
        return [Credential(**client) for client in known["clients"]]
    return []


def write_clients(folder: Path, base_url: str, clients: Sequence[Credential]) -> Path:
    """Write where the demo is and how to sign in."""
    path = folder / CLIENTS
    content = {"base_url": base_url, "clients": [asdict(client) for client in clients]}
    write_whole(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    return path


@contextmanager
def own_folder(folder: Path) -> Iterator[None]:
    """Make the folder if there is none, and keep every other demo out of it meanwhile.

    The embedded server takes this same lock itself.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise DemoError(
            f"{error.filename or folder} cannot be used ({error.strerror}): "
            "choose another data folder."
        ) from error
    try:
        _take(lock, folder)
        yield
    finally:
        os.close(lock)


def _take(lock: int, folder: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise DemoError(
            f"Another demo is already using {folder}: stop it, or choose another data folder."
        ) from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise DemoError(f"{folder} may not be written: choose another data folder.")
