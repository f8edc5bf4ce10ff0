"""`snp demo`, as a real process on a real PostgreSQL: first start, restart, and every rude end.

The demo of this module is first killed in the middle of loading, then started again: what the
tests look at is what healed.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import pytest

from tests.demo.processes import ROOT, Snp, environment, sentence, snp
from tests.fhir.validator import GUIDES, findings

pytestmark = [pytest.mark.xdist_group("demo"), pytest.mark.timeout(300)]

FIRST_START_SECONDS = 60  # 20 on two free cores; the other tests keep both busy
RESTART_SECONDS = 15
ROLES = {
    *("regulator", "osnp", "arm", "pharmacist", "emergency_nurse", "professional"),
    *("platform_operator", "doctor", "delegate", "manager", "analyst", "sas_platform", "admin"),
}


@dataclass
class Demo:
    """A demo's folder, and its running process."""

    data: Path
    process: Snp
    seconds: float

    @property
    def clients(self) -> dict[str, Any]:
        """What `demo-clients.json` says."""
        content: dict[str, Any] = json.loads((self.data / "demo-clients.json").read_text())
        return content

    @property
    def base_url(self) -> str:
        """Where it serves."""
        url: str = self.clients["base_url"]
        return url

    def get(self, path: str, token: str | None = None) -> Any:
        """GET some JSON."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        with urlopen(Request(self.base_url + path, headers=headers), timeout=10) as answer:
            return json.load(answer)

    def sign_in(self, role: str) -> str:
        """Get a token with the listed credentials."""
        client = next(c for c in self.clients["clients"] if c["role"] == role)
        form = {"grant_type": "client_credentials"}
        form |= {name: client[name] for name in ("client_id", "client_secret")}
        request = Request(f"{self.base_url}/oauth/token", urlencode(form).encode())
        with urlopen(request, timeout=10) as answer:
            token: str = json.load(answer)["access_token"]
            return token

    def start(self) -> None:
        """Start it, until it says that it serves."""
        self.process = start(self.data)
        self.seconds = self.process.wait_until(serves)

    def postgres(self) -> set[int]:
        """The processes at work in its database."""
        return postgres_of(self.data)


def serves(process: Snp) -> bool:
    """Tell whether the welcome stands."""
    return "Ctrl-C" in process.output


def start(data: Path, *arguments: str) -> Snp:
    """Start a demo on a free port."""
    logs = Path(tempfile.mkdtemp(prefix="log-", dir=data.parent))
    return Snp(logs, "demo", "--port", "0", "--data-dir", str(data), *arguments)


def postgres_of(data: Path) -> set[int]:
    """The PostgreSQL processes at work in a data folder (nobody else can look into it)."""
    found = set()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if (entry / "cwd").readlink() == data / "postgres":
                found.add(int(entry.name))
        except OSError:
            continue
    return found


@pytest.fixture(scope="module")
def workshop() -> Iterator[Path]:
    """A folder that PostgreSQL's system user can reach (pytest's own are closed when root)."""
    folder = Path(os.path.realpath(tempfile.mkdtemp(prefix="snp-demo-")))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def demo(workshop: Path) -> Iterator[Demo]:
    """One demo for all tests: killed while loading, then started again."""
    data = workshop / "data with a space"
    running = Demo(data, start(data), 0)
    try:
        _kill_while_loading(running)
        running.start()
        assert running.seconds < FIRST_START_SECONDS
        yield running
    finally:
        if running.process.process.poll() is None:
            running.process.end(signal.SIGTERM)


def _kill_while_loading(demo: Demo) -> None:
    demo.process.wait_until(lambda process: "Loading" in process.errors)
    time.sleep(0.5)
    demo.process.process.kill()
    demo.process.process.wait(10)
    assert demo.postgres(), "the killed demo leaves PostgreSQL behind"
    assert not (demo.data / "demo-clients.json").exists()


def test_it_is_ready_and_loaded_after_a_killed_first_start(demo: Demo) -> None:
    assert demo.get("/health/ready")["status"] == "pass"
    assert demo.base_url.startswith("http://127.0.0.1:")
    assert f"serves on {demo.base_url} " in demo.process.output
    assert str(demo.data / "demo-clients.json") in demo.process.output


def test_secrets_are_for_their_owner_only(demo: Demo) -> None:
    for name in ("demo-clients.json", "keys.json"):
        assert (demo.data / name).stat().st_mode & 0o777 == 0o600


def test_there_is_a_client_for_each_role(demo: Demo) -> None:
    clients = demo.clients["clients"]
    names = {"name", "role", "territory", "client_id", "client_secret", "organization_id"}
    assert all(set(client) == {*names, "practitioner_id"} for client in clients)
    here = [client["territory"] == "36" for client in clients]
    assert here == sorted(here, reverse=True), "the Indre comes first"
    assert {client["role"] for client in clients if client["territory"] == "36"} >= ROLES
    assert "regulator" in {c["role"] for c in clients if c["territory"] == "86"}


def test_the_three_lines_work_when_pasted(demo: Demo) -> None:
    lines = [
        line for line in demo.process.output.splitlines() if line.startswith(("TOKEN=", "curl "))
    ]
    assert len(lines) == 3
    slots, figures = (_pasted([lines[0], line]) for line in lines[1:])
    assert len(slots["items"]) == 3, "there is room near Châteauroux today"
    assert figures["calls"] == 17232
    assert figures["synthetic"] is True
    assert [outcome["percent"] for outcome in figures["outcomes"]] == [42, 37, 14, 8]


def test_the_lines_of_the_national_platform_work_when_pasted(demo: Demo) -> None:
    """The answer of the README is a valid Bundle of hidden slots."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    lines = [
        line.strip()
        .replace("http://127.0.0.1:8000", demo.base_url)
        .replace("var/demo/", f"{demo.data}/")
        for line in readme.splitlines()
        if line.startswith(("    SAS=", '    curl -s -H "Authorization: Bearer $SAS"'))
    ]
    assert len(lines) == 2
    bundle = _pasted(lines)
    assert not [found for guide in GUIDES.values() for found in findings(guide, bundle)]
    slots = [entry["resource"] for entry in bundle["entry"]][: bundle["total"]]
    assert len(slots) > 10
    labels = [[coding["code"] for coding in slot["meta"]["security"]] for slot in slots]
    assert ["SNP"] in labels


def _pasted(lines: list[str]) -> Any:
    """Paste lines into a plain shell."""
    done = subprocess.run(
        ["/bin/bash"],
        input="\n".join(lines),
        env={"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    return json.loads(done.stdout)


def test_many_tokens_at_once(demo: Demo) -> None:
    for _ in range(20):
        assert demo.sign_in("regulator")


def test_two_demos_on_one_folder(demo: Demo, tmp_path: Path) -> None:
    code, errors = sentence(tmp_path, "demo", "--port", "0", "--data-dir", str(demo.data))
    assert code == 1
    assert errors.splitlines()[-1].startswith("snp: Another process is already using")
    assert "Traceback" not in errors


def test_a_busy_port_is_told_before_anything_is_done(demo: Demo, tmp_path: Path) -> None:
    port = demo.base_url.rpartition(":")[2]
    new = tmp_path / "never"
    code, errors = sentence(tmp_path, "demo", "--port", port, "--data-dir", str(new))
    assert code == 1
    assert errors.count("\n") == 1
    assert f"port {port} cannot be listened on" in errors
    assert not new.exists()


@pytest.mark.parametrize("url", [None, "postgresql://nobody@127.0.0.1:9/nothing"])
def test_an_unusable_folder(tmp_path: Path, url: str | None) -> None:
    (tmp_path / "file").touch()
    settings = {} if url is None else {"SNP_DATABASE_URL": url}
    place = str(tmp_path / "file" / "data")
    code, errors = sentence(tmp_path, "demo", "--port", "0", "--data-dir", place, **settings)
    assert code == 1
    assert str(tmp_path / "file") in errors.splitlines()[-1]
    assert "Traceback" not in errors


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_an_unwritable_folder(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    code, errors = sentence(tmp_path, "demo", "--port", "0", "--data-dir", str(closed / "data"))
    assert code == 1
    assert "may not write" in errors.splitlines()[-1]


def test_a_database_that_does_not_answer(tmp_path: Path) -> None:
    nobody = "postgresql://nobody@127.0.0.1:9/nothing"
    arguments = ("demo", "--port", "0", "--data-dir", str(tmp_path / "data"))
    code, errors = sentence(tmp_path, *arguments, SNP_DATABASE_URL=nobody)
    assert code == 1
    assert "cannot be reached" in errors.splitlines()[-1]
    assert "Traceback" not in errors


class TestStopping:
    """These stop the demo and start it again, so that the others find it."""

    def test_stop_and_restart(self, demo: Demo) -> None:
        before, token = demo.clients, demo.sign_in("regulator")
        port = int(demo.base_url.rpartition(":")[2])
        assert demo.process.end(signal.SIGTERM) == 0
        assert not demo.postgres()
        with socket.create_server(("127.0.0.1", port)):
            pass
        demo.start()
        assert demo.seconds < RESTART_SECONDS
        assert demo.clients["clients"] == before["clients"]
        assert demo.get("/v1/me", token)["role"] == "regulator", "the keys are the same"
        assert "Loading" not in demo.process.errors

    def test_a_lost_list_of_clients_is_made_anew(self, demo: Demo) -> None:
        before = demo.clients["clients"]
        demo.process.process.kill()
        demo.process.process.wait(10)
        (demo.data / "demo-clients.json").write_text("{")
        demo.start()
        after = demo.clients["clients"]
        assert [c["client_id"] for c in after] == [c["client_id"] for c in before]
        assert demo.sign_in("regulator")

    def test_lost_keys_are_told(self, demo: Demo, tmp_path: Path) -> None:
        assert demo.process.end(signal.SIGINT) == 0
        keys = demo.data / "keys.json"
        kept = keys.rename(keys.with_name("kept"))
        arguments = ("demo", "--port", "0", "--data-dir", str(demo.data))
        code, errors = sentence(tmp_path, *arguments)
        kept.rename(keys)
        assert code == 1
        assert "put them back" in errors.splitlines()[-1]
        assert not demo.postgres()
        demo.start()


def test_a_demo_told_to_stop_while_starting(workshop: Path) -> None:
    data = workshop / "impatient"
    with snp(workshop / "logs", "demo", "--port", "0", "--data-dir", str(data)) as early:
        early.wait_until(lambda process: "Drawing" in process.errors)
        assert early.end(signal.SIGTERM) == 0
        assert "Traceback" not in early.errors
    assert not postgres_of(data)


_TOLD_IN_A_FINALIZER = """
import signal, time
from service.serving import until_told

class Late:
    def __del__(self):
        signal.raise_signal(signal.SIGTERM)

with until_told():
    Late()
    time.sleep(20)
    print("went on")
"""


def test_an_order_to_stop_that_comes_in_a_finalizer_is_not_lost() -> None:
    """Python only prints what is raised there; drawing the demo runs thousands of them."""
    done = subprocess.run(
        [sys.executable, "-c", _TOLD_IN_A_FINALIZER],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("", "")
