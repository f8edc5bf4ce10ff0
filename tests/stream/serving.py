"""A server on a real port inside the test, so that its patience can be made short."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from fastapi import FastAPI

from service.kernel.settings import Settings
from service.main import create_app
from service.serving import _OPTIONS, address, listen


class _Server(uvicorn.Server):
    """Leaves signals to the test."""

    def capture_signals(self) -> contextlib.AbstractContextManager[None]:  # type: ignore[override]  # uvicorn's own is a generator
        return contextlib.nullcontext()


@asynccontextmanager
async def served(settings: Settings) -> AsyncIterator[tuple[str, FastAPI]]:
    """Serve an application of its own while the block lasts; gives its URL and the application."""
    app = create_app(settings)
    options: dict[str, Any] = {**_OPTIONS, "loop": "none"}
    server = _Server(uvicorn.Config(app, **options))
    with listen("127.0.0.1", 0) as listener:
        serving = asyncio.create_task(server.serve([listener]))
        while not server.started:
            assert not serving.done(), serving.exception()
            await asyncio.sleep(0.01)
        try:
            yield address(listener), app
        finally:
            server.should_exit = True
            await serving
