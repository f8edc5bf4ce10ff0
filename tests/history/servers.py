"""A real installation that can die: two `snp serve`, a proxy that cuts, a durable PostgreSQL."""

import asyncio
import os
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import asyncpg
import httpx

from service.kernel import embedded
from service.kernel.crypto import Keys
from service.kernel.migrations import upgrade
from tests.demo.processes import Snp

HEALED_WITHIN = 60.0  # generous: other work runs on the machine; what is tested is that it heals
_BYTES = 65536


class Proxy:
    """Carries bytes between a port of its own and PostgreSQL's Unix socket, and can cut them."""

    def __init__(self, target: Path) -> None:
        self.target = target
        self.port = 0
        self._server: asyncio.Server | None = None
        self._pairs: dict[asyncio.StreamWriter, asyncio.StreamWriter] = {}
        self._carrying: set[asyncio.Task[None]] = set()
        self._flows = asyncio.Event()
        self._flows.set()
        self._ends = asyncio.Event()
        self._ends.set()
        self._loses_answer = False

    def lose_next_answer(self) -> None:
        """Cut, once, where the next answer would be carried: what was asked has happened."""
        self._loses_answer = True

    def silence(self) -> None:
        """Carry nothing more, and cut nothing: what a network does that drops every packet."""
        self._flows.clear()

    def keep_open(self, *, kept: bool) -> None:
        """Keep from either side, for a while, that the other has hung up."""
        (self._ends.clear if kept else self._ends.set)()

    def speak(self) -> None:
        """Carry on, first what was held back."""
        self._flows.set()

    async def open(self) -> None:
        """Listen; again on the same port after `close`."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Refuse new connections and cut those that are."""
        if self._server is not None:
            self._server.close()
            self._server = None
        while self._carrying:  # one that was just accepted is cut as soon as it carries
            self.cut()
            await asyncio.sleep(0.01)

    def cut(self) -> int:
        """Cut every connection in the middle of whatever it says; return how many."""
        for pair in self._pairs.items():
            for writer in pair:
                writer.transport.abort()
        return len(self._pairs)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._carrying.add(task)
        try:
            await self._carry(reader, writer)
        finally:
            self._carrying.discard(task)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            back, forth = await asyncio.open_unix_connection(str(self.target))
        except OSError:
            writer.transport.abort()
            return
        self._pairs[writer] = forth
        try:
            await asyncio.gather(self._pipe(reader, forth), self._pipe(back, writer, answers=True))
        finally:
            del self._pairs[writer]

    async def _pipe(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool = False
    ) -> None:
        with suppress(OSError):
            while some := await reader.read(_BYTES):
                await self._flows.wait()
                if answers and self._loses_answer:
                    self._loses_answer = False
                    writer.transport.abort()
                    return
                writer.write(some)
                await writer.drain()
        await self._ends.wait()
        with suppress(OSError):
            writer.close()


class Process:
    """One `snp` process, killed and started again; it runs once its log says `sign`."""

    def __init__(
        self, folder: Path, settings: dict[str, str], *arguments: str, sign: str = "worker.started"
    ) -> None:
        self.folder = folder
        self.settings = settings
        self.arguments = arguments
        self.sign = sign
        self.starts = 0
        self.process: Snp | None = None

    @property
    def runs(self) -> bool:
        """Tell whether the process lives."""
        return self.process is not None and self.process.process.poll() is None

    async def start(self) -> None:
        """Start it and wait until it says that it runs."""
        self.starts += 1
        folder = self.folder / str(self.starts)
        folder.mkdir(parents=True)
        self.process = Snp(folder, *self.arguments, **self.settings)
        await asyncio.to_thread(self.process.wait_until, lambda snp: self.sign in snp.errors)

    async def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        assert self.process is not None
        self.process.process.kill()
        await asyncio.to_thread(self.process.process.wait)

    async def end(self) -> int:
        """SIGTERM, and return the exit code."""
        assert self.process is not None
        return await asyncio.to_thread(self.process.end)

    def defects(self) -> list[str]:
        """The lines of its logs that tell of a defect, over all starts."""
        lines = [
            line
            for log in self.folder.glob("*/err.txt")
            for line in log.read_text(encoding="utf-8").splitlines()
        ]
        return [
            line
            for line in lines
            if "defect" in line
            or "Traceback" in line
            # A library with an error: told by its kind.
            or ("library.spoke" in line and '"kind"' in line)
        ]


class Server(Process):
    """One `snp serve` on a port of its own, the same after each start."""

    def __init__(self, folder: Path, settings: dict[str, str], *arguments: str) -> None:
        port = _free_port()
        listen = ("serve", "--port", str(port), *arguments)
        super().__init__(folder, settings, *listen, sign="service.started")
        self.url = f"http://127.0.0.1:{port}"
        self.port = port


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


class Installation:
    """PostgreSQL, proxy and servers, with everything that may happen to them."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="snp-history-"))
        self.folder.chmod(0o755)
        self.cluster: embedded.Cluster | None = None
        self.proxy = Proxy(Path())
        self.servers: list[Server] = []
        self.keys = Keys.generate()

    async def start(self, servers: int = 2) -> None:
        """Make the database, durable and with the instants of commits, then start the servers."""
        await self.start_postgresql()
        assert self.cluster is not None
        await _run(self.superuser_url("postgres"), "ALTER SYSTEM SET track_commit_timestamp = on")
        databases = await embedded.prepare(self.cluster)
        await asyncio.to_thread(upgrade, databases.owner_url)
        await asyncio.to_thread(self.cluster.stop)
        await self.start_postgresql()
        await self.proxy.open()
        self.servers = [self.server() for _ in range(servers)]
        await asyncio.gather(*(server.start() for server in self.servers))

    def server(self, *arguments: str, **settings: str) -> Server:
        """Make one more server on this database, not started."""
        return Server(*self._new("server-", settings), *arguments)

    def worker(self) -> Process:
        """Make a worker on this database, not started."""
        return Process(*self._new("worker-", {}), "worker")

    def _new(self, prefix: str, settings: dict[str, str]) -> tuple[Path, dict[str, str]]:
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=self.folder))
        values = {
            "SNP_DATABASE_URL": f"postgresql://snp_app@127.0.0.1:{self.proxy.port}/snp",
            "SNP_KEYS": self.keys.model_dump_json(),
            "SNP_TOKEN_SECONDS": "3600",
            "SNP_TOKEN_REQUESTS_PER_MINUTE": "0",
            "SNP_CLIENT_REQUESTS_PER_MINUTE": "0",
            "SNP_ADDRESS_REQUESTS_PER_MINUTE": "0",
            "SNP_RPPS_CHECK": "format",
            "SNP_PREPARED_STATEMENTS": "true",
            "SNP_WEBHOOK_LOOPBACK": "true",
            "SNP_WEBHOOK_MESSAGES_PER_SECOND": "1000",
            **settings,
        }
        return folder, values

    def superuser_url(self, database: str = "snp") -> str:
        """Return the URL past the proxy, as the superuser."""
        assert self.cluster is not None
        return self.cluster.url(database, embedded.SUPERUSER)

    def app_url(self) -> str:
        """Return the URL past the proxy, as the application."""
        assert self.cluster is not None
        return self.cluster.url("snp", embedded.APP_ROLE)

    # --- what may happen ---

    async def start_postgresql(self) -> None:
        """Start PostgreSQL on the same data; after a SIGKILL it recovers first."""
        self.cluster = await asyncio.to_thread(embedded.start, self.folder, durable=True)
        self.proxy.target = self.cluster.sockets / ".s.PGSQL.5432"

    async def kill_postgresql(self) -> None:
        """SIGKILL the postmaster and every one of its processes at once."""
        assert self.cluster is not None
        for pid in (self.cluster.pid, *embedded._processes(self.cluster.home)):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        await asyncio.to_thread(self.cluster.stop)  # reaps it, and frees the data folder

    async def healthy(self) -> float:
        """Wait until every server is ready by itself; return how long that took."""
        started = time.monotonic()
        async with httpx.AsyncClient(timeout=10) as http:
            for server in self.servers:
                await until(partial(_ready, http, server))
        return time.monotonic() - started

    async def heal(self) -> None:
        """Start what does not run: each test begins with a whole installation."""
        for server in self.servers:
            if not server.runs:
                await server.start()
        await self.healthy()

    async def stop(self) -> None:
        """End everything and remove it."""
        for server in self.servers:
            if server.runs:
                await server.end()
        await self.proxy.close()
        if self.cluster is not None:
            await asyncio.to_thread(self.cluster.stop)
        shutil.rmtree(self.folder, ignore_errors=True)


async def _ready(http: httpx.AsyncClient, server: Server) -> bool:
    try:
        return (await http.get(f"{server.url}/health/ready")).status_code == 200
    except httpx.TransportError:
        return False


async def until(
    condition: Callable[[], Awaitable[bool]], seconds: float = HEALED_WITHIN, pause: float = 0.05
) -> None:
    """Wait until something is so; fail when it is not for very long."""
    deadline = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < deadline, f"It was not so within {seconds:.0f} s."
        await asyncio.sleep(pause)


async def _run(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
