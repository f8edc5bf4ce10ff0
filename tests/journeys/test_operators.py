"""An operator's way, as docs/operations.md tells it: from an empty database to a frozen server."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from service.kernel.crypto import Keys
from tests.conftest import DatabaseUrls, address
from tests.demo.processes import snp
from tests.operations.support import as_role

_STRUCTURES = """\
type;name;finess;commune
sas;SAS de l'Indre;360000011;36044
practice;Cabinet des Tilleuls;360000022;36044
"""


@pytest.fixture
def environment(database_urls: DatabaseUrls, keys: Keys) -> dict[str, str]:
    """The settings of an installation."""
    return {
        "SNP_DATABASE_URL": database_urls.app,
        "SNP_OWNER_DATABASE_URL": database_urls.owner,
        "SNP_KEYS": keys.model_dump_json(),
    }


def _done(folder: Path, environment: dict[str, str], *command: str) -> str:
    """Run a command to its end; return what it wrote."""
    with snp(folder / "-".join(command[:2]), *command, **environment) as started:
        assert started.process.wait(60) == 0, started.errors + started.output
        return started.output


@contextmanager
def _serving(folder: Path, environment: dict[str, str], **changes: str) -> Iterator[httpx.Client]:
    with snp(folder, "serve", "--port", "0", **environment, **changes) as process:
        process.wait_until(lambda started: address(started) is not None)
        with httpx.Client(base_url=str(address(process)), trust_env=False) as client:
            yield client
        assert process.end() == 0, process.errors


def _token(client: httpx.Client, credentials: dict[str, str]) -> dict[str, str]:
    form = {"grant_type": "client_credentials", **credentials}
    answer = client.post("/oauth/token", data=form)
    assert answer.status_code == 200, answer.text
    return {"Authorization": f"Bearer {answer.json()['access_token']}"}


def _checked(folder: Path, environment: dict[str, str]) -> tuple[int, str]:
    with snp(folder, "check", **environment) as started:
        return started.process.wait(60), started.output


def test_from_an_empty_database_to_a_frozen_server(
    environment: dict[str, str], database_urls: DatabaseUrls, tmp_path: Path
) -> None:
    _done(tmp_path, environment, "migrate")
    _done(tmp_path, environment, "keys", "register")
    # A copy of the template lacks one setting; check says what to do, and it is done.
    code, checked = _checked(tmp_path / "before", environment)
    (order,) = [
        line.partition(": ")[2] for line in checked.splitlines() if line.startswith("error")
    ]
    assert code == 1
    asyncio.run(as_role(database_urls.owner, order))
    assert _checked(tmp_path / "after", environment)[0] == 0

    csv = tmp_path / "structures.csv"
    csv.write_text(_STRUCTURES, encoding="utf-8")
    _done(tmp_path, environment, "directory", "import-structures", "--file", str(csv))
    listed = _done(tmp_path, environment, "directory", "organizations", "--territory", "36")
    (sas,) = [line.split()[0] for line in listed.splitlines() if "SAS de l'Indre" in line]
    told = _done(
        tmp_path,
        environment,
        *("clients", "create", "--name", "Régulation", "--role", "regulator"),
        *("--organization", sas, "--territory", "36"),
    )
    credentials = dict(line.split(maxsplit=1) for line in told.strip().splitlines())

    call = {"line": "15", "received_at": "2026-11-01T10:00:00+01:00"}
    with _serving(tmp_path / "open", environment) as client:
        assert client.get("/health/ready").status_code == 200
        token = _token(client, credentials)
        assert client.get("/v1/slots?commune=36044", headers=token).json()["items"] == []
        made = client.post("/v1/calls", json=call, headers=token)
        assert made.status_code == 201, made.text
    with _serving(tmp_path / "frozen", environment, SNP_READ_ONLY="true") as client:
        token = _token(client, credentials)
        refused = client.post("/v1/calls", json=call, headers=token)
        assert (refused.status_code, refused.json()["code"]) == (503, "read-only")
        assert int(refused.headers["Retry-After"]) > 0
        read = client.get(f"/v1/calls/{made.json()['id']}", headers=token)
        assert (read.status_code, read.json()["id"]) == (200, made.json()["id"])
