"""A provider for the tests of who arrives how."""

from collections.abc import Iterator

import pytest

from tests.identity import provider


@pytest.fixture(scope="package")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[provider.Provider]:
    """A provider that is up."""
    with provider.provider(tmp_path_factory.mktemp("provider")) as made:
        yield made
