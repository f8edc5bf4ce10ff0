"""Debian's nginx as `deploy/nginx/snp.conf` says, but for places: its files, ports, the service."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import httpx

from tests.identity.authority import Authority
from tests.identity.provider import free_port

PUBLIC, SAS, HEADER = "snp.example.fr", "sas.snp.example.fr", "X-Client-Cert"
SAMPLE = Path(__file__).parents[2] / "deploy" / "nginx" / "snp.conf"
_PATIENCE = 20.0
_AROUND = """\
daemon off;
{user}
pid nginx.pid;
error_log error.log;
events {{}}
http {{
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    include snp.conf;
}}
"""


@dataclass(frozen=True)
class Nginx:
    """One nginx, its folder, and the authority (below a root) whose certificates it takes."""

    folder: Path
    port: int
    root: Authority
    authority: Authority
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        """Where both of its servers listen."""
        return f"https://127.0.0.1:{self.port}"

    def revoke(self, *certificates: Path, lasts: timedelta = timedelta(days=1)) -> None:
        """Let it read new lists of revoked certificates; they count when this returns."""
        before = self._workers()
        _publish(self.folder, self.root, self.authority, certificates, lasts)
        self.process.send_signal(signal.SIGHUP)
        _until(lambda: bool(self._workers()) and not self._workers() & before)

    def _workers(self) -> set[str]:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return set(children.read_text().split())


@contextmanager
def nginx(folder: Path, upstream: str) -> Iterator[Nginx]:
    """Start it before the service at `upstream` (host:port); it is gone when the block ends."""
    folder.mkdir()
    root = Authority(folder, "root")
    authority = Authority(folder, "authority", above=root)
    both = (folder / "authority.pem").read_bytes() + (folder / "root.pem").read_bytes()
    (folder / "igc-sante.pem").write_bytes(both)
    for name, host in (("public", PUBLIC), ("sas", SAS)):
        made = root.certificate(name, f"CN={host}", hosts=[host])
        (folder / f"{name}.key").write_bytes(made.read_bytes())
    _publish(folder, root, authority)
    port = free_port()
    sample = SAMPLE.read_text(encoding="utf-8")
    for ours, here in (
        ("/etc/nginx/snp/", f"{folder}/"),
        ("/var/log/nginx/", f"{folder}/"),
        ("listen 443 ssl;", f"listen 127.0.0.1:{port} ssl;"),
        ("server 127.0.0.1:8000;", f"server {upstream};"),
    ):
        assert ours in sample
        sample = sample.replace(ours, here)
    (folder / "snp.conf").write_text(sample, encoding="utf-8")
    user = "user root;" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(_AROUND.format(user=user), encoding="utf-8")
    log = folder / "error.log"
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    assert program, "There is no nginx here: apt-get install nginx"
    command = [program, "-p", str(folder), "-c", "nginx.conf", "-e", str(log)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            url = f"https://127.0.0.1:{port}"
            _until(lambda: process.poll() is not None or _answers(url))
            assert process.poll() is None, log.read_text()
            yield Nginx(folder, port, root, authority, process)
        finally:
            process.terminate()


def _publish(
    folder: Path,
    root: Authority,
    authority: Authority,
    revoked: Sequence[Path] = (),
    lasts: timedelta = timedelta(days=1),
) -> None:
    lists = authority.revoked(revoked, lasts=lasts) + root.revoked()
    (folder / "igc-sante.crl").write_bytes(lists)


def _answers(url: str) -> bool:
    try:
        httpx.get(url, verify=False, trust_env=False)  # noqa: S501  is it there?
    except httpx.TransportError:
        return False
    return True


def _until(seen: Callable[[], bool]) -> None:
    started = time.monotonic()
    while not seen():
        assert time.monotonic() - started < _PATIENCE
        time.sleep(0.02)
