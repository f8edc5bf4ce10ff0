"""Composition root of serving: a listening socket, uvicorn around the application, an orderly end.

`snp serve` and `snp demo` both serve through here; `snp worker` works without a socket.
"""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from threading import Timer
from typing import Any

import structlog
import uvicorn
import uvloop
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from service.kernel import checks, logs
from service.kernel.http.connection import Connection
from service.kernel.settings import Settings
from service.main import create_app, open_database
from service.worker import working

_DRAIN_SECONDS = 10
# Longer than what clients keep an idle connection for: else we would close it just as they send.
_KEEP_ALIVE_SECONDS = 75
_OPTIONS: dict[str, Any] = {
    "loop": "uvloop",
    "http": Connection,
    "ws": "none",
    "lifespan": "on",
    "proxy_headers": False,  # kernel.http.proxies says whom to believe
    "access_log": False,  # the application logs one line a request itself, without its path
    "log_config": None,
    "server_header": False,
    "timeout_keep_alive": _KEEP_ALIVE_SECONDS,
    "timeout_graceful_shutdown": _DRAIN_SECONDS,
}


log = structlog.get_logger()


class CannotListen(Exception):
    """The address cannot be had; the message says what to do."""


def listen(host: str, port: int) -> socket.socket:
    """Reserve an address (port 0: a free one); connections are taken once `serve` runs."""
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise CannotListen(_why_not(host, port, error)) from error
    listener.set_inheritable(True)
    return listener


def _why_not(host: str, port: int, error: OSError) -> str:
    return (
        f"{host} port {port} cannot be listened on ({error.strerror or error}): "
        "choose another with --port, or stop what uses it."
    )


def address(listener: socket.socket) -> str:
    """Return the URL of a listening socket."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@contextmanager
def until_told() -> Iterator[None]:
    """Let Ctrl-C, SIGTERM and a closed terminal end the block in order: `finally` runs, no error.

    By default SIGTERM and SIGHUP would end the process at once and leave its children behind.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:  # ignored under nohup: stays so
            signal.signal(number, signal.default_int_handler)
    usual = sys.unraisablehook
    sys.unraisablehook = partial(_tell_again, usual)
    try:
        yield
    except KeyboardInterrupt:
        return
    finally:
        sys.unraisablehook = usual


def _tell_again(
    usual: Callable[["sys.UnraisableHookArgs"], object], lost: "sys.UnraisableHookArgs"
) -> None:
    """Raise an interruption again that came while Python could not raise it, in a finalizer."""
    if lost.exc_type is KeyboardInterrupt:
        Timer(0.01, os.kill, (os.getpid(), signal.SIGTERM)).start()
    else:
        usual(lost)


class _Server(uvicorn.Server):
    """Tells when it takes requests."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()


def serve(settings: Settings, listener: socket.socket, ready: Callable[[], None]) -> None:
    """Serve in this process until told to stop; requests under way are finished first."""
    config = uvicorn.Config(create_app(settings), **_OPTIONS)
    try:
        _Server(config, ready).run(sockets=[listener])
    except OSError as error:  # another process began to listen meanwhile
        host, port = listener.getsockname()[:2]
        raise CannotListen(_why_not(host, port, error)) from error


class _Supervisor(Multiprocess):
    """Lets nobody wait for an answer that will not come."""

    def terminate_all(self) -> None:
        # As long as this process listens too, connections are taken that no worker will serve.
        for listener in self.sockets:
            listener.close()
        super().terminate_all()


def serve_with_workers(
    settings: Settings, listener: socket.socket, workers: int, ready: Callable[[], None]
) -> None:
    """Serve in several processes, each with its own pool; a worker that dies is replaced."""
    create_app(settings)  # a mistake in the settings is told once, here
    config = uvicorn.Config("service.main:create_app", factory=True, workers=workers, **_OPTIONS)
    supervisor = _Supervisor(config, sockets=[listener])
    ready()
    supervisor.run()
    if any(process.exitcode == STARTUP_FAILURE for process in supervisor.processes):
        raise CannotListen("A server process could not start: its reason stands above.")


async def _ensure_fit(settings: Settings) -> None:
    """Refuse to serve with keys that are missing, or not those of the database."""
    database = open_database(settings)
    try:
        await checks.ensure_fit(database)
    finally:
        await database.dispose()


def run(settings: Settings, host: str, port: int, workers: int) -> None:
    """`snp serve`: listen, serve, and log both ends."""
    asyncio.run(_ensure_fit(settings))
    with listen(host, port) as listener:
        where = address(listener)

        def ready() -> None:
            log.info("service.started", address=where, workers=workers)

        with until_told():
            if workers > 1:
                serve_with_workers(settings, listener, workers, ready)
            else:
                serve(settings, listener, ready)
        log.info("service.stopped", address=where)


def work(settings: Settings) -> None:
    """`snp worker`: work until told to stop; what is under way is finished first (15 s at most)."""
    logs.configure(settings)
    asyncio.run(_ensure_fit(settings))
    _give_way(settings.worker_nice)
    uvloop.run(_work(settings))


def _give_way(nice: int) -> None:
    os.nice(nice)
    if os.getsid(0) == os.getpid():  # Linux weighs sessions first, and processes within each
        with suppress(OSError):
            Path("/proc/self/autogroup").write_text(str(nice))


async def _work(settings: Settings) -> None:
    told, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # ignored under nohup: stays so
            loop.add_signal_handler(number, told.set)
    database = open_database(settings)
    try:
        async with working(settings, database):
            log.info("worker.started")
            await told.wait()
    finally:
        await database.dispose()
    log.info("worker.stopped")
