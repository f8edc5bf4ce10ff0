"""The command line: what operators type, and the one sentence they get when it cannot be done."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from urllib.request import urlopen
from uuid import UUID

import pytest

from service import cli
from service.identity import Role
from service.kernel.crypto import Keys
from service.kernel.ids import new_id
from tests.conftest import DatabaseUrls, Server
from tests.demo.processes import ROOT, Snp, environment, sentence, snp
from tests.support import World

NOBODY_THERE = "postgresql://nobody@127.0.0.1:9/nothing"


class Command:
    """Runs `snp` in this process."""

    def __init__(self, patch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._patch = patch
        self._capsys = capsys
        self.errors = ""

    def settings(self, **values: str) -> None:
        """Set SNP_* variables."""
        for name, value in values.items():
            self._patch.setenv(f"SNP_{name.upper()}", value)

    def __call__(self, *arguments: str) -> tuple[int, str]:
        """Return the exit code and standard output; keep standard error."""
        self._patch.setattr(sys, "argv", ["snp", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        written = self._capsys.readouterr()
        self.errors = written.err
        return int(ended.value.code or 0), written.out

    def refused(self, *arguments: str) -> tuple[int, str]:
        """Return the exit code and the only line of standard error."""
        code, output = self(*arguments)
        assert output == ""
        (line,) = self.errors.splitlines()
        assert line.startswith("snp: ")
        return code, line


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """The command line with no settings, but for what a pooler needs."""
    for name in os.environ.keys() - environment().keys():
        monkeypatch.delenv(name)
    return Command(monkeypatch, capsys)


@pytest.fixture
def on_database(command: Command, shared_urls: DatabaseUrls, keys: Keys) -> Command:
    """The command line on the database of the tests."""
    command.settings(database_url=shared_urls.app, keys=keys.model_dump_json())
    return command


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["fly"], "No such command 'fly'"),
        (["serve", "--wings", "2"], "No such option: --wings"),
        (["serve", "--port", "much"], "--port"),
        (["keys", "generate"], "Missing argument"),
        (["clients", "rotate", "me"], "UUID"),
    ],
)
def test_a_mistake_in_the_command_is_one_sentence(
    command: Command, arguments: list[str], says: str
) -> None:
    code, line = command.refused(*arguments)
    assert code == 2
    assert says in line


@pytest.mark.parametrize(
    ("settings", "arguments", "says"),
    [
        ({"port": "many"}, ["serve"], "SNP_PORT"),
        ({}, ["serve", "--port", "0"], "snp keys generate"),
        ({"keys": "{}"}, ["serve", "--port", "0"], "SNP_KEYS is not a set of keys"),
        ({"keys_file": "/nowhere/keys"}, ["serve", "--port", "0"], "cannot be read"),
        ({}, ["clients", "list"], "set SNP_DATABASE_URL"),
        ({}, ["migrate"], "set SNP_OWNER_DATABASE_URL"),
        ({"owner_database_url": "mysql://here"}, ["migrate"], "SNP_OWNER_DATABASE_URL cannot"),
        ({"owner_database_url": NOBODY_THERE}, ["migrate"], "cannot be reached"),
        ({"owner_database_url": f"{NOBODY_THERE}?sslmode=require"}, ["migrate"], "write ssl= "),
        ({}, ["health", "--port", "9"], "No server answers"),
    ],
)
def test_a_mistake_in_the_settings_is_one_sentence(
    command: Command, settings: dict[str, str], arguments: list[str], says: str
) -> None:
    command.settings(**settings)
    code, line = command.refused(*arguments)
    assert code == 1
    assert says in line


def test_a_database_url_is_checked_and_never_shown(command: Command, keys: Keys) -> None:
    command.settings(database_url="mysql://me:hidden@here", keys=keys.model_dump_json())
    code, line = command.refused("clients", "list")
    assert code == 1
    assert "SNP_DATABASE_URL cannot be read" in line
    assert "hidden" not in line


def test_an_unreachable_database_is_one_sentence(command: Command, keys: Keys) -> None:
    command.settings(database_url=NOBODY_THERE, keys=keys.model_dump_json())
    assert command.refused("clients", "list") == (1, "snp: The database does not answer.")


def test_help_names_every_command(command: Command) -> None:
    code, shown = command("--help")
    assert code == 0
    for name in ("serve", "demo", "health", "migrate", "openapi", "keys", "clients"):
        assert name in shown


def test_keys_are_made_once_and_for_their_owner_only(command: Command, tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    assert command("keys", "generate", str(file))[0] == 0
    assert file.stat().st_mode & 0o777 == 0o600
    made = file.read_text()
    Keys.model_validate_json(made)
    code, line = command.refused("keys", "generate", str(file))
    assert (code, file.read_text()) == (1, made)
    assert "never overwritten" in line
    assert "No such file" in command.refused("keys", "generate", str(tmp_path / "no" / "keys"))[1]


def test_migrating_again_changes_nothing(command: Command, shared_urls: DatabaseUrls) -> None:
    command.settings(owner_database_url=shared_urls.owner)
    code, output = command("migrate")
    assert code == 0
    assert re.fullmatch(r"The schema is at revision \d{4}\.\n", output)


def test_a_role_without_rights_cannot_migrate(command: Command, server: Server) -> None:
    command.settings(owner_database_url=server.urls_of("postgres").app)
    code, line = command.refused("migrate")
    assert code == 1
    assert "The database refuses" in line


class TestClients:
    """The life of client software, as an operator sees it."""

    @pytest.fixture
    async def practice(self, world: World) -> UUID:
        """A practice to have software for."""
        return await world.organization("practice")

    def test_a_client_lives(self, on_database: Command, world: World, practice: UUID) -> None:
        name = f"Logiciel {practice}"
        doctor = str(new_id())
        made = self._made(
            on_database,
            *("clients", "create", "--name", name, "--role", "doctor"),
            *("--organization", str(practice), "--territory", world.territory),
            *("--practitioner", doctor, "--valid-until", "2099-01-01T00:00:00+01:00"),
        )
        (line,) = self._lines(on_database, made[0])
        assert name in line
        assert "doctor" in line
        assert world.territory in line
        assert str(practice) in line
        assert made[1] not in line
        renewed = self._made(on_database, "clients", "rotate", made[0], "--grace-hours", "0")
        assert renewed[0] == made[0]
        assert renewed[1] != made[1]
        assert on_database("clients", "revoke", made[0])[0] == 0
        assert "doctor" not in self._lines(on_database, made[0])[0]
        for verb in ("rotate", "revoke"):
            code, line = on_database.refused("clients", verb, made[0])
            assert (code, line) == (1, "snp: This client is revoked already.")

    @staticmethod
    def _made(command: Command, *arguments: str) -> tuple[str, str]:
        code, output = command(*arguments)
        assert code == 0, command.errors
        found = re.fullmatch(r"client_id +(\S+)\nclient_secret +(\S{43})\n", output)
        assert found
        return found[1], found[2]

    @staticmethod
    def _lines(command: Command, client_id: str) -> list[str]:
        code, output = command("clients", "list")
        assert code == 0
        return [line for line in output.splitlines() if client_id in line]

    @pytest.mark.parametrize(
        ("changed", "says"),
        [
            ({"--role": "wizard"}, "No role is called wizard"),
            ({"--valid-until": "soon"}, "is not a time"),
            ({"--valid-until": "2099-01-01"}, "has no offset"),
            ({"--practitioner": str(UUID(int=1))}, "Only doctors and delegates publish"),
            ({"--organization": str(UUID(int=1))}, "No organization has this id"),
        ],
    )
    def test_a_client_that_makes_no_sense(
        self, on_database: Command, practice: UUID, changed: dict[str, str], says: str
    ) -> None:
        given = {
            "--name": "x",
            "--role": Role.REGULATOR.value,
            "--organization": str(practice),
            "--territory": "36",
            **changed,
        }
        code, line = on_database.refused("clients", "create", *sum(given.items(), ()))
        assert code == 1
        assert says in line

    def test_an_unknown_client(self, on_database: Command) -> None:
        for verb in ("rotate", "revoke"):
            code, line = on_database.refused("clients", verb, str(new_id()))
            assert (code, line) == (1, "snp: No client has this id.")


class TestOpenapi:
    """The API's description."""

    def test_it_is_the_same_in_every_process(self, tmp_path: Path) -> None:
        texts = {self._text(seed, tmp_path) for seed in ("1", "2")}
        (text,) = texts
        assert text.endswith("}\n")
        assert json.loads(text)["openapi"].startswith("3.1")

    @staticmethod
    def _text(seed: str, folder: Path) -> str:
        with snp(folder, "openapi", PYTHONHASHSEED=seed) as started:
            assert started.process.wait(60) == 0, started.errors
            return started.output

    def test_a_file_is_written_and_checked(self, command: Command, tmp_path: Path) -> None:
        file = tmp_path / "openapi.json"
        check = ("openapi", "--output", str(file), "--check")
        assert command.refused(*check)[0] == 1
        assert command("openapi", "--output", str(file)) == (0, "")
        assert command(*check) == (0, "")
        file.write_text(file.read_text() + " ")
        code, line = command.refused(*check)
        assert code == 1
        assert "make openapi" in line


@pytest.fixture
def serving(tmp_path: Path, shared_urls: DatabaseUrls, keys: Keys) -> Iterator[Callable[..., Snp]]:
    """Start `snp serve` on a free port."""
    started: list[Snp] = []

    def start(*arguments: str) -> Snp:
        process = Snp(
            tmp_path,
            *("serve", *arguments),
            SNP_DATABASE_URL=shared_urls.app,
            SNP_KEYS=keys.model_dump_json(),
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.process.poll() is None:
            process.end(signal.SIGKILL)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number: int = probe.getsockname()[1]
        return number


@pytest.mark.parametrize("workers", ["1", "2"])
def test_serve_until_told_to_stop(
    serving: Callable[..., Snp], command: Command, workers: str
) -> None:
    port = str(free_port())
    process = serving("--port", port, "--workers", workers)
    process.wait_until(lambda _: command("health", "--port", port)[0] == 0)
    with urlopen(f"http://127.0.0.1:{port}/health/ready", timeout=5) as answer:
        assert json.load(answer)["status"] == "pass"
        assert "server" not in answer.headers
    assert process.end(signal.SIGTERM) == 0
    events = [json.loads(line)["event"] for line in process.errors.splitlines()]
    assert events[0] == "service.started"
    assert events[-1] == "service.stopped"
    assert "request" in events


def test_serve_on_a_busy_port(command: Command, keys: Keys) -> None:
    command.settings(database_url=NOBODY_THERE, keys=keys.model_dump_json())
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        code, line = command.refused("serve", "--port", str(port))
    assert code == 1
    assert f"port {port} cannot be listened on" in line
    assert "--port" in line


def test_no_traceback_leaves_a_real_process(tmp_path: Path) -> None:
    code, errors = sentence(tmp_path, "migrate", SNP_OWNER_DATABASE_URL=NOBODY_THERE)
    assert code == 1
    assert errors.count("\n") == 1


class _Alive(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        """Answer as a living server does."""
        self.send_response(200 if self.path == "/health/live" else 404)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_the_health_check_does_not_load_the_service() -> None:
    with HTTPServer(("127.0.0.1", 0), _Alive) as server:
        Thread(target=server.handle_request, daemon=True).start()
        done = subprocess.run(
            [sys.executable, "-X", "importtime", "-m", "service.cli", "health"],
            cwd=ROOT,
            env={**os.environ, "SNP_HOST": "::ffff:127.0.0.1", "SNP_PORT": str(server.server_port)},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0
    assert "service.kernel.settings" in done.stderr
    for heavy in ("fastapi", "sqlalchemy", "asyncpg"):
        assert heavy not in done.stderr
