"""A real `snp serve` on the tests' database, and credentials as the demo writes them."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.kernel.crypto import Keys
from tests.conftest import DatabaseUrls
from tests.demo.processes import Snp, snp
from tests.support import Caller


@pytest.fixture(scope="session")
def base_url(
    shared_urls: DatabaseUrls, keys: Keys, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """A server process on the tests' shared database, with the tests' keys."""
    with snp(
        tmp_path_factory.mktemp("serving"),
        *("serve", "--port", "0"),
        SNP_DATABASE_URL=shared_urls.app,
        SNP_KEYS=keys.model_dump_json(),
        SNP_RPPS_CHECK="format",
        SNP_TOKEN_REQUESTS_PER_MINUTE="0",
    ) as process:
        process.wait_until(lambda started: _address(started) is not None)
        found = _address(process)
        assert found is not None
        yield found


def _address(process: Snp) -> str | None:
    for line in process.errors.splitlines():
        told = json.loads(line)
        if told.get("event") == "service.started":
            address: str = told["address"]
            return address
    return None


def clients_file(folder: Path, base_url: str, *callers: Caller) -> Path:
    """Write credentials as `make demo` does."""
    file = folder / "demo-clients.json"
    clients = [
        {
            "name": f"{caller.role} of {caller.territory}",
            "role": str(caller.role),
            "territory": caller.territory,
            "client_id": str(caller.secret.client_id),
            "client_secret": caller.secret.client_secret,
            "organization_id": str(caller.organization_id),
            "practitioner_id": caller.practitioner_id and str(caller.practitioner_id),
        }
        for caller in callers
    ]
    file.write_text(json.dumps({"base_url": base_url, "clients": clients}), encoding="utf-8")
    return file
