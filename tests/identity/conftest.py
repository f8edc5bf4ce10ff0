"""A provider for the tests of one file."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio

from tests.conftest import DatabaseUrls
from tests.identity.people import Desk, MakeSettings, desk
from tests.identity.provider import SOFTWARE, Provider, provider
from tests.support import World


@pytest.fixture(scope="package")
def _process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    with provider(tmp_path_factory.mktemp("provider")) as made:
        yield made


@pytest.fixture
def issuer(_process: Provider) -> Iterator[Provider]:
    """A provider that is up and behaves; whatever a test does to it is undone."""
    _process.behave()
    (_process.folder / "asked").unlink(missing_ok=True)
    yield _process
    if not _process.is_up:
        _process.start()


@pytest_asyncio.fixture
async def hospital(
    world: World, issuer: Provider, make_settings: MakeSettings, shared_urls: DatabaseUrls
) -> AsyncIterator[Desk]:
    """A server that trusts the provider as a plain OpenID Connect issuer."""
    async with desk(world, issuer, make_settings, shared_urls) as made:
        yield made


@pytest_asyncio.fixture
async def psc(
    world: World, issuer: Provider, make_settings: MakeSettings, shared_urls: DatabaseUrls
) -> AsyncIterator[Desk]:
    """A server that trusts the provider as Pro Santé Connect."""
    more: dict[str, Any] = {
        "name": "psc", "kind": "psc", "acr": ["eidas1"], "audience_claim": "azp",
        "audience": [SOFTWARE],
    }  # fmt: skip
    async with desk(world, issuer, make_settings, shared_urls, **more) as made:
        yield made
