"""An OpenID Connect provider, as a process of its own: real HTTP, real keys, real trouble.

Run as a script it serves what a file says, read anew at each request: answers by path, or by path
and token. Every request is one line of a second file. The class `Provider` starts and ends it,
writes that file, and signs tokens.
"""

import json
import random
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from joserfc import jwt
from joserfc.jwk import Key, RSAKey

DISCOVERY, KEYS, USERINFO = "/.well-known/openid-configuration", "/keys", "/userinfo"
AUDIENCE = "snp-broker"
SOFTWARE = "lrm"  # what the provider calls the software that it gives tokens to


class _Handler(BaseHTTPRequestHandler):
    folder: Path

    def do_GET(self) -> None:
        with (self.folder / "asked").open("a") as asked:
            asked.write(f"{self.path}\n")
        answers = json.loads((self.folder / "answers.json").read_text())
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        answer = answers.get(f"{self.path} {token}") or answers.get(self.path) or {"status": 404}
        time.sleep(answer.get("delay", 0))
        body = answer.get("body", "")
        content = (body if isinstance(body, str) else json.dumps(body)).encode()
        self.send_response(answer.get("status", 200))
        self.send_header("Content-Type", answer.get("type", "application/json"))
        self.send_header("Content-Length", str(len(content)))
        for name, value in answer.get("headers", {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002  the library calls it so
        """Say nothing on the terminal."""


class Provider:
    """One provider with one key at a time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.issuer = f"http://127.0.0.1:{self.port}"
        self.answers: dict[str, Any] = {}
        self.key: Key = _new_key()
        self._process: subprocess.Popen[bytes] | None = None
        self.behave()

    def behave(self) -> None:
        """Answer as a provider does."""
        self.answers = {
            DISCOVERY: {
                "body": {
                    "issuer": self.issuer,
                    "jwks_uri": self.issuer + KEYS,
                    "userinfo_endpoint": self.issuer + USERINFO,
                }
            },
            KEYS: {"body": {"keys": [self.key.as_dict(private=False)]}},
            USERINFO: {"status": 401},
        }
        self.say()

    def say(self, **changed: Any) -> None:
        """Write the answers, after changing some of them: `keys={"status": 500}`."""
        for name, answer in changed.items():
            self.answers[{"discovery": DISCOVERY, "keys": KEYS}[name]] = answer
        written = self.folder / "answers.new"
        written.write_text(json.dumps(self.answers))
        written.rename(self.folder / "answers.json")

    def tell(self, token: str, professional: dict[str, Any], **answer: Any) -> None:
        """Say who is behind a token when userinfo is asked."""
        self.answers[f"{USERINFO} {token}"] = {"body": professional, **answer}
        self.say()

    def rotate(self) -> None:
        """Sign with a new key from now on."""
        self.key = _new_key()
        self.say(keys={"body": {"keys": [self.key.as_dict(private=False)]}})

    def token(
        self, *, header: dict[str, Any] | None = None, key: Key | None = None, **claims: Any
    ) -> str:
        """Sign a token; a claim that is None is left out."""
        now = int(time.time())
        said = {
            "iss": self.issuer, "sub": "somebody", "aud": AUDIENCE, "azp": SOFTWARE,
            "jti": uuid.uuid4().hex, "iat": now, "exp": now + 120, **claims,
        }  # fmt: skip
        head = {"alg": "RS256", "kid": self.key.kid, "typ": "JWT", **(header or {})}
        return jwt.encode(
            {name: value for name, value in head.items() if value is not None},
            {name: value for name, value in said.items() if value is not None},
            key or self.key,
            algorithms=[head["alg"]],
        )

    def asked(self, path: str) -> int:
        """Count how often a path was asked for."""
        seen = self.folder / "asked"
        return seen.read_text().splitlines().count(path) if seen.exists() else 0

    @property
    def is_up(self) -> bool:
        """Tell whether its process runs."""
        return self._process is not None

    def start(self) -> None:
        """Come up, on the same port each time."""
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(self.folder), str(self.port)]
        )
        for _ in range(600):
            with socket.socket() as tried:
                if tried.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            assert self._process.poll() is None
            time.sleep(0.05)
        raise AssertionError("The provider did not come up.")

    def stop(self) -> None:
        """Go down."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def free_port() -> int:
    """Return a port below those that outgoing connections take: it must be free when we return."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as tried:
            if tried.connect_ex(("127.0.0.1", port)) != 0:
                return port


def _new_key() -> Key:
    return RSAKey.generate_key(2048, {"use": "sig"}, auto_kid=True)


@contextmanager
def provider(folder: Path) -> Iterator[Provider]:
    """A provider that is up; it is gone when the block ends."""
    made = Provider(folder)
    made.start()
    try:
        yield made
    finally:
        made.stop()


def main(folder: str, port: str) -> None:
    """Serve until killed."""
    _Handler.folder = Path(folder)
    ThreadingHTTPServer(("127.0.0.1", int(port)), _Handler).serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
