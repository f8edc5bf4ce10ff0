"""The Dockerfile's own steps, without Docker: what it installs serves, and nothing is forgotten.

The steps are read from the file, so that the test follows it. Of the image itself nothing is tried:
neither its base nor its user are here. `make check` lints the file (hadolint).
"""

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from service.kernel.crypto import Keys
from tests.conftest import DatabaseUrls

ROOT = Path(__file__).parents[2]
# The download of the libraries; `make test-dockerfile` asks for it.
WANTED = pytest.mark.skipif("SNP_TEST_DOCKERFILE" not in os.environ, reason="make test-dockerfile")


def instructions(text: str) -> list[tuple[str, str]]:
    """Return the instructions of a Dockerfile with what follows each."""
    bare = re.sub(r"(?m)^\s*#.*\n", "", text)
    lines = [line.strip() for line in re.sub(r"\\\n", " ", bare).splitlines() if line.strip()]
    return [(line.partition(" ")[0].upper(), line.partition(" ")[2].strip()) for line in lines]


def stages() -> list[list[tuple[str, str]]]:
    """Return the instructions of each stage, its FROM first."""
    found: list[list[tuple[str, str]]] = []
    for instruction, rest in instructions((ROOT / "Dockerfile").read_text(encoding="utf-8")):
        if instruction == "FROM":
            found.append([])
        found[-1].append((instruction, rest))
    return found


def of(stage: list[tuple[str, str]], wanted: str) -> list[str]:
    """Return what follows each instruction of one name."""
    return [rest for instruction, rest in stage if instruction == wanted]


def ignored() -> set[str]:
    """Return the names that are sent to the builder; of the others it sees nothing."""
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert "*" in lines
    return {line[1:].strip("/") for line in lines if line.startswith("!")}


@dataclass
class Builder:
    """Does what a stage says below one folder, instead of below `/`."""

    folder: Path
    variables: dict[str, str] = field(default_factory=dict)
    workdir: Path = Path("/")

    def __post_init__(self) -> None:
        python = self.folder / "usr/bin/python"
        python.parent.mkdir(parents=True)
        python.symlink_to(Path(sys._base_executable))  # type: ignore[attr-defined]  # outside any .venv
        self.variables["PATH"] = f"{python.parent}:/usr/bin:/bin"

    def _here(self, text: str) -> str:
        """Place absolute paths below the folder."""
        return re.sub(r"(?<![\w.$/-])/(opt|src)\b", rf"{self.folder}/\1", text)

    def build(self, stage: list[tuple[str, str]]) -> None:
        """Do the steps, in their order."""
        for instruction, rest in stage:
            getattr(self, f"_{instruction.lower()}")(rest)

    def _from(self, rest: str) -> None:
        version = re.match(r"python:(\d+\.\d+)", rest)
        assert version is not None, rest

    def _env(self, rest: str) -> None:
        for pair in shlex.split(self._here(rest)):
            name, _, value = pair.partition("=")
            self.variables[name] = value.replace("$PATH", self.variables["PATH"])

    def _workdir(self, rest: str) -> None:
        self.workdir = Path(self._here(rest))
        self.workdir.mkdir(parents=True)

    def _copy(self, rest: str) -> None:
        *sources, target = rest.split()
        for source in sources:
            assert source in ignored(), f".dockerignore keeps {source} from the builder"
            into = self.workdir / (source if target in {".", "./"} else target)
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, into, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / source, into)

    def _run(self, rest: str) -> None:
        self.run(["/bin/sh", "-c", self._here(rest)])

    def run(self, command: list[str], **variables: str) -> str:
        """Run a command as the image does; return what it printed."""
        done = subprocess.run(
            command,
            check=False,
            capture_output=True,
            text=True,
            cwd=self.workdir,
            env={**_registry(), "HOME": str(self.folder), **self.variables, **variables},
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout


def _registry() -> dict[str, str]:
    """Where this machine's pip finds packages is this machine's matter."""
    return {
        name: value
        for name, value in os.environ.items()
        if name.startswith(("PIP_", "SSL_")) or name.lower().endswith("_proxy")
    }


def test_the_image_runs_as_nobody_and_says_how_it_is() -> None:
    """A numeric user, whom Kubernetes can tell from root; commands without a shell; no secret."""
    last = stages()[-1]
    [user] = of(last, "USER")
    assert int(user) > 0
    [made] = [run for run in of(last, "RUN") if "useradd" in run]
    assert f"--uid {user} " in made
    for instruction in ("ENTRYPOINT", "CMD"):
        [command] = of(last, instruction)
        assert isinstance(json.loads(command), list)
    [health] = of(last, "HEALTHCHECK")
    assert json.loads(health.partition("CMD ")[2]) == ["snp", "health"]
    for stage in stages():
        assert not of(stage, "ADD")
        assert not re.search("(?i)secret|password|token|keys?=", " ".join(of(stage, "ENV")))


def test_the_image_has_the_python_that_is_tested() -> None:
    """Every stage has the same base, of the version that the locks are made for."""
    bases = {of(stage, "FROM")[0].split()[0] for stage in stages()}
    assert bases == {"python:3.11-slim"}


@WANTED
@pytest.mark.timeout(600)
def test_what_the_dockerfile_installs_serves(
    database_urls: DatabaseUrls, keys: Keys, tmp_path: Path
) -> None:
    """In a fresh environment, without the tree: migrate, serve, be found healthy."""
    build, last = stages()
    builder = Builder(tmp_path / "image")
    builder.build(build)
    for variables in of(last, "ENV"):
        builder._env(variables)
    builder.workdir = tmp_path / "elsewhere"
    builder.workdir.mkdir()
    shutil.rmtree(tmp_path / "image/src")

    entry, command = (json.loads(of(last, name)[0]) for name in ("ENTRYPOINT", "CMD"))
    entry[0] = str(shutil.which(entry[0], path=builder.variables["PATH"]))
    assert entry[0].startswith(str(tmp_path))
    described = json.loads(builder.run([*entry, "openapi"]))
    assert described == json.loads((ROOT / "openapi/openapi.json").read_text(encoding="utf-8"))
    builder.run([*entry, "migrate"], SNP_OWNER_DATABASE_URL=database_urls.owner)

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    settings = {
        "SNP_DATABASE_URL": database_urls.app,
        "SNP_KEYS": keys.model_dump_json(),
        "SNP_HOST": "127.0.0.1",
        "SNP_PORT": port,
    }
    told = (tmp_path / "log").open("w", encoding="utf-8")
    with (
        told,
        subprocess.Popen(
            [*entry, *command],
            stderr=told,
            cwd=builder.workdir,
            env={**builder.variables, **settings},
        ) as server,
    ):
        try:
            health = [*entry, *json.loads(of(last, "HEALTHCHECK")[0].partition("CMD ")[2])[1:]]
            _soon(lambda: builder.run(health, **settings))
        finally:
            server.terminate()
    assert server.returncode == 0, (tmp_path / "log").read_text(encoding="utf-8")


def _soon(work: Callable[[], object]) -> None:
    """Try until it works."""
    for _ in range(60):
        try:
            work()
        except AssertionError:
            time.sleep(0.5)
        else:
            return
    work()
