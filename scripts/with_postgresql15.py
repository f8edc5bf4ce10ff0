"""Run a command beside PostgreSQL 15 servers of its own, stopped and removed afterwards.

    python scripts/with_postgresql15.py [--pgbouncer] COMMAND ...

The servers are Debian's (package postgresql-15). They listen on Unix sockets in a private folder
and nowhere else, so that no port can be taken and nobody else can enter. SNP_TEST_SERVER_URL tells
the tests where they are: one for each that works at the same time, since what one leaves running
holds back the others' seals and positions. With `--pgbouncer` the application's role goes through
Debian's PgBouncer in transaction mode (SNP_TEST_APP_URL), without prepared statements; few server
connections are taken in turn, so that a statement left behind on one of them is missed at once.
"""

import argparse
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

PROGRAMS = Path("/usr/lib/postgresql/15/bin")
# Debian's packages make this user; PostgreSQL and PgBouncer refuse to run as root.
USER = "postgres"
PORT, POOLER_PORT = 5432, 6432  # only names of socket files
START_SECONDS, STOP_SECONDS = 60.0, 20.0

# What a test needs no disk for.
SETTINGS = {
    "listen_addresses": "",
    "port": str(PORT),
    "max_connections": "200",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "timezone": "UTC",
    "log_min_messages": "fatal",
    "log_statement": "none",
    "log_min_error_statement": "panic",
}
POOLER = """\
[databases]
* = host={folder} port={port}
[pgbouncer]
listen_addr =
unix_socket_dir = {folder}
listen_port = {pooler_port}
auth_type = trust
auth_file = {folder}/users
pool_mode = transaction
default_pool_size = 5
server_round_robin = 1
max_client_conn = 500
logfile = {folder}/pgbouncer.log
"""


class Missing(Exception):
    """Something is not here, or does not start; the message says what to do."""


def _as_user() -> dict[str, Any]:
    """Return how to run a server: never as root, in a session of its own (deaf to Ctrl-C)."""
    common: dict[str, Any] = {
        "stdin": subprocess.DEVNULL,
        "cwd": "/",
        "start_new_session": True,
        "env": {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "TZ": "UTC"},
    }
    if os.geteuid() != 0:
        return common
    try:
        found = pwd.getpwnam(USER)
    except KeyError:
        raise Missing(f"Root cannot run PostgreSQL and there is no user {USER}.") from None
    return common | {"user": found.pw_uid, "group": found.pw_gid, "extra_groups": []}


@contextmanager
def _folder(account: dict[str, Any]) -> Iterator[Path]:
    """Give a private folder of that user's, removed in the end."""
    folder = Path(tempfile.mkdtemp(prefix="snp-pg15-", dir="/tmp"))  # a socket's path is short
    try:
        if "user" in account:
            os.chown(folder, account["user"], account["group"])
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _running(
    command: list[str], socket: Path, log: Path, account: dict[str, Any]
) -> Iterator[None]:
    """Run a server until the end of the block: its socket, then what it says, tell how it went."""
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, **account)  # noqa: S603  ours
    try:
        deadline = time.monotonic() + START_SECONDS
        while not socket.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                said = log.read_text(errors="replace").strip().splitlines()
                raise Missing(f"{command[0]} did not start: {said[-1] if said else 'no word'}")
            time.sleep(0.02)
        yield
    finally:
        for order in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
            process.send_signal(order)
            with suppress(subprocess.TimeoutExpired):
                process.wait(STOP_SECONDS)
                break


def _postgresql(stack: ExitStack, folder: Path, account: dict[str, Any]) -> None:
    """Start PostgreSQL 15 with its data and its socket in a folder."""
    home = folder / "data"
    command = [str(PROGRAMS / "initdb"), "-D", str(home), "--username=postgres", "--auth=trust"]
    command += ["--encoding=UTF8", "--locale=C.UTF-8", "--no-sync", "--no-instructions"]
    made = subprocess.run(  # noqa: S603  ours
        command,
        check=False,
        capture_output=True,
        text=True,
        **account,
    )
    if made.returncode != 0:
        raise Missing(f"initdb could not make a cluster: {made.stderr.strip().splitlines()[-1]}")
    command = [str(PROGRAMS / "postgres"), "-D", str(home)]
    command += [f"--{name}={value}" for name, value in SETTINGS.items()]
    command += [f"--unix_socket_directories={folder}"]
    socket = folder / f".s.PGSQL.{PORT}"
    stack.enter_context(_running(command, socket, folder / "postgres.log", account))
    _wait(folder, account)


def _wait(folder: Path, account: dict[str, Any]) -> None:
    """Wait until connections are taken: the socket is there a moment earlier."""
    command = [str(PROGRAMS / "pg_isready"), "-q", "-t", "30", "-h", str(folder), "-p", str(PORT)]
    deadline = time.monotonic() + START_SECONDS
    while subprocess.run(command, check=False, **account).returncode != 0:  # noqa: S603  ours
        if time.monotonic() > deadline:
            raise Missing("PostgreSQL 15 started, and takes no connections.")
        time.sleep(0.05)


def _pgbouncer(stack: ExitStack, folder: Path, account: dict[str, Any]) -> None:
    """Start PgBouncer before the server of the same folder."""
    program = shutil.which("pgbouncer", path="/usr/sbin:/usr/bin:/usr/local/bin")
    if program is None:
        raise Missing("PgBouncer is not on this machine: apt-get install pgbouncer.")
    (folder / "users").write_text('"snp_app" ""\n', encoding="utf-8")
    file = folder / "pgbouncer.ini"
    file.write_text(
        POOLER.format(folder=folder, port=PORT, pooler_port=POOLER_PORT), encoding="utf-8"
    )
    socket = folder / f".s.PGSQL.{POOLER_PORT}"
    command = [program, "-q", str(file)]
    stack.enter_context(_running(command, socket, folder / "pgbouncer.out", account))


def _url(folder: Path, port: int) -> str:
    """Return the URL with {role}, {database} and {server} in it."""
    return f"postgresql://{{role}}@/{{database}}?host={folder}/{{server}}&port={port}"


def _run(command: list[str], *, through_pgbouncer: bool) -> int:
    if not (PROGRAMS / "postgres").is_file():
        raise Missing(f"PostgreSQL 15 is not in {PROGRAMS}: apt-get install postgresql-15.")
    account = _as_user()
    environment = dict(os.environ)
    with ExitStack() as stack:
        folder = stack.enter_context(_folder(account))
        servers = os.cpu_count() or 1  # as many as pytest-xdist lets work: -n auto
        for number in range(servers):
            home = folder / str(number)
            home.mkdir()
            if "user" in account:
                os.chown(home, account["user"], account["group"])
            _postgresql(stack, home, account)
            if through_pgbouncer:
                _pgbouncer(stack, home, account)
        environment["SNP_TEST_SERVERS"] = str(servers)
        environment["SNP_TEST_SERVER_URL"] = _url(folder, PORT)
        if through_pgbouncer:
            environment["SNP_TEST_APP_URL"] = _url(folder, POOLER_PORT)
            environment["SNP_PREPARED_STATEMENTS"] = "false"
        with subprocess.Popen(command, env=environment) as process:  # noqa: S603  as asked
            try:
                return process.wait()
            except (KeyboardInterrupt, SystemExit):
                process.terminate()
                raise


def main() -> int:
    """Run the command and return its exit code; 1 with a sentence when there is no server."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pgbouncer", action="store_true", help="go through PgBouncer")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="what to run")
    given = parser.parse_args()
    command = given.command[given.command[:1] == ["--"] :]
    if not command:
        parser.error("say what to run")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        return _run(command, through_pgbouncer=given.pgbouncer)
    except Missing as reason:
        print(f"with_postgresql15: {reason}", file=sys.stderr)
    except KeyboardInterrupt:
        return 130
    except FileNotFoundError as error:
        print(f"with_postgresql15: {error.filename} cannot be run.", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
