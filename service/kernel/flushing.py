"""What a process counts in memory, and writes now and then."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress


@asynccontextmanager
async def flushed_every(
    seconds: float, flush: Callable[[], Awaitable[None]]
) -> AsyncIterator[None]:
    """Flush each `seconds` inside the block, and once at its end."""

    async def keep_flushing() -> None:
        while True:
            await asyncio.sleep(seconds)
            await flush()

    task = asyncio.create_task(keep_flushing())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await flush()
