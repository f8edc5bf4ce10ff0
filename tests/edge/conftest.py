"""Two servers: one that trusts nobody, one behind a proxy with a page of its own."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from service.kernel.crypto import Keys
from tests.conftest import DatabaseUrls, address
from tests.demo.processes import Snp, snp

_LIMIT = {"SNP_ADDRESS_REQUESTS_PER_MINUTE": "2"}


@dataclass(frozen=True)
class Serving:
    """A server process and a client of it."""

    process: Snp
    client: httpx.Client
    folder: Path


@contextmanager
def _serving(folder: Path, urls: DatabaseUrls, keys: Keys, **settings: str) -> Iterator[Serving]:
    with snp(
        folder,
        *("serve", "--port", "0"),
        SNP_DATABASE_URL=urls.app,
        SNP_KEYS=keys.model_dump_json(),
        **settings,
    ) as process:
        process.wait_until(lambda started: address(started) is not None)
        with httpx.Client(base_url=str(address(process)), trust_env=False) as client:
            yield Serving(process, client, folder)


@pytest.fixture(scope="session")
def alone(
    tmp_path_factory: pytest.TempPathFactory, shared_urls: DatabaseUrls, keys: Keys
) -> Iterator[Serving]:
    """A server as it is by default, but for a low limit."""
    with _serving(tmp_path_factory.mktemp("alone"), shared_urls, keys, **_LIMIT) as serving:
        yield serving


@pytest.fixture(scope="session")
def behind(
    tmp_path_factory: pytest.TempPathFactory, shared_urls: DatabaseUrls, keys: Keys
) -> Iterator[httpx.Client]:
    """A server that trusts a proxy here, and pages of two origins."""
    settings = {
        **_LIMIT,
        "SNP_TRUSTED_PROXIES": "127.0.0.0/8",
        "SNP_CORS_ORIGINS": "https://console.example.fr, https://other.example.fr",
    }
    folder = tmp_path_factory.mktemp("behind")
    with _serving(folder, shared_urls, keys, **settings) as serving:
        yield serving.client
