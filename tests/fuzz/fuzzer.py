"""Requests that are almost right, and some that are not right at all, made from the description.

A request begins as one that its operation could take; then something is spoilt: the token, the
path, the query, a header, the body. Texts carry planted names: they may come back in what was
asked for, and never in a refusal or a log.
"""

import json
import re
import urllib.parse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

PLANTED = "Plantedname"

_WORDS: Sequence[str] = (
    "", " ", "\x00", "null", "0", "-1", "9" * 30, "1e400", "NaN", "../../etc/passwd", "%00", "'--",
    '"; DROP TABLE calls; --', "<script>", "\u202e", "\ufeff", "é" * 300, "x" * 5000,
    "\ud83d\ude00", "2026-13-45", "0000-00-00", "9999-12-31T23:59:59Z", "2026-10-25T02:30:00+99:99",
    "P1000000Y", "00000000-0000-0000-0000-000000000000", "+33000", "{}", "[]", "\r\nX: y",
    "a,b;c=d", "*",
)  # fmt: skip
_VALUES: Sequence[Any] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, 2**70, -(2**70), 1e308, 0.1, [], {}, [[]], [None],
    {"": ""}, "x", "", "\x00", {"a": {"b": {"c": []}}}, ["x"] * 600, "é" * 70_000,
)  # fmt: skip
_BODIES: Sequence[bytes] = (
    b"", b"{", b"}", b"null", b"[]", b'"x"', b"{]", b'{"a":1,"a":2}', b"[" * 20_000, b"NaN",
    b"{" + b'"a":{' * 5_000, b"\xff\xfe\x00", b"\xef\xbb\xbf{}", b'{"a":"\\ud800"}', b"1e999999",
    b'{"starts_at":' + b"9" * 5_000 + b"}", b" " * 100_000, b"\x00", b"{}{}", b"'{}'",
)  # fmt: skip
_HEADERS: Sequence[tuple[bytes, Sequence[bytes]]] = (
    (b"If-Match", (b"", b'"', b'W/"1"', b"*", b'"999999999999"', b'"1", "2"', b"\xff",
                   b"1" * 9000)),
    (b"Idempotency-Key", (b"", b'"', b"x", b"x" * 300, b"\xe9", b" ", b"a b", b'"x"')),
    (b"Content-Type", (b"", b"text/plain", b"application/json;", b"application/json; charset=utf-7",
                       b"multipart/form-data", b"application/xml", b"a" * 3000, b"\xff")),
    (b"Accept", (b"", b"*/*;q=", b"text/csv;q=1.2.3", b"text/csv", b"x" * 2000, b"\xd9\xa3/*",
                 b"text/csv;q=-1", b",,,,", b"application/fhir+json")),
    (b"Content-Encoding", (b"gzip", b"x", b"identity")),
    (b"X-Client-Cert", (b"", b"x", b"%", b"%00", b"\xff", b"-----BEGIN%20CERTIFICATE-----%0A",
                        b"-----BEGIN%20CERTIFICATE-----%0AMIIB%0A-----END%20CERTIFICATE-----%0A",
                        b"A" * 7000)),
    (b"X-Request-Id", (b"", b"x" * 65, b"\xff", b"a b", b"01a200f6-762e-7675-8e30-9fc24c10a456")),
    (b"X-Forwarded-For", (b"127.0.0.1", b"x", b"::1, \xff", b"1.2.3.4" * 200)),
    (b"X-Forwarded-Proto", (b"https", b"x")),
    (b"Host", (b"", b"evil.example", b"\xff", b"a" * 300)),
    (b"Origin", (b"null", b"https://evil.example", b"\xff")),
    (b"Expect", (b"100-continue", b"x")),
    (b"Upgrade", (b"websocket", b"h2c")),
    (b"Connection", (b"upgrade", b"keep-alive, x")),
    (b"Cookie", (b"a=b", b"\xff" * 100)),
    (b"Range", (b"bytes=0-1", b"x")),
    (b"Authorization", (b"", b"Bearer", b"Bearer ", b"Bearer \xff", b"Basic !", b"Basic Og==",
                        b"Negotiate x", b"Bearer a.b.c", b"Bearer " + b"a" * 7000, b"bearer x y",
                        b"Bearer eyJhbGciOiJub25lIn0.e30.", b"Bearer " + b"." * 100)),
    (b"X-\xff", (b"x",)),
    (b"Transfer-Encoding", (b"gzip", b"identity")),
)  # fmt: skip
_PATHS: Sequence[str] = (
    "..", "%2e%2e%2f", "%00", "%", "%zz", "x" * 3000, "%F0%9F%98%80", "%FF", "-1", "0", "null",
    ";a=b", "%0d%0aX:y", "{id}", "*", "%2F", "a/b", "//", "?", "#",
)  # fmt: skip
_PLACE = re.compile(r"{(\w+)}")

Header = tuple[bytes, bytes]


def _takes_versions(operation: Mapping[str, Any]) -> bool:
    return any(parameter["name"] == "If-Match" for parameter in operation.get("parameters", ()))


@dataclass
class Request:
    """One request, before it is bytes."""

    method: str
    path: str
    query: list[tuple[str, str]] = field(default_factory=list)
    headers: list[Header] = field(default_factory=list)
    body: bytes | None = None
    encoded: str | None = None  # a query that is not to be encoded

    def bytes(self) -> bytes:
        """Return it as it is sent."""
        query = urllib.parse.urlencode(self.query, errors="surrogatepass")
        query = query if self.encoded is None else self.encoded
        target = f"{self.path}?{query}" if query else self.path
        headers = [(b"Host", b"test"), *self.headers]
        if self.body is not None:
            headers.append((b"Content-Length", b"%d" % len(self.body)))
        lines = [f"{self.method} {target} HTTP/1.1".encode("utf-8", "surrogatepass")]
        lines += [name + b": " + value for name, value in headers]
        return b"\r\n".join(lines) + b"\r\n\r\n" + (self.body or b"")


class Fuzzer:
    """Makes requests; the same seed makes the same ones.

    `callers` are the headers of those who may call an operation, and under "" of all of them.
    `things` are ids that exist, by name; `texts` what else some members must hold to get anywhere.
    """

    def __init__(
        self,
        seed: int,
        document: Mapping[str, Any],
        callers: Mapping[str, Sequence[Sequence[Header]]],
        things: Mapping[str, Sequence[str]],
        texts: Mapping[str, Sequence[str]],
    ) -> None:
        self._random = Random(seed)
        self._schemas = document["components"]["schemas"]
        self._operations = [
            (method.upper(), path, operation)
            for path, methods in document["paths"].items()
            for method, operation in methods.items()
        ]
        self._callers, self._things, self._texts = callers, things, texts
        self._ids = [value for values in things.values() for value in values if len(value) > 30]
        self._spoil: Sequence[Callable[[Request], None]] = (
            self._spoil_header,
            self._spoil_header,
            self._spoil_path,
            self._spoil_query,
            self._spoil_body,
            self._spoil_body,
            self._spoil_method,
        )

    def request(self) -> Request:
        """Return the next request."""
        method, path, operation = self._random.choice(self._operations)
        made = Request(method, self._path(path), self._query(operation))
        made.headers += self._one(self._callers[self._one((operation["operationId"],) * 9 + ("",))])
        if self._random.random() < 0.2 and _takes_versions(operation):
            made.headers.append((b"If-Match", b'"999"'))
        content = operation.get("requestBody", {}).get("content", {})
        if "application/json" in content:
            made.headers.append((b"Content-Type", b"application/json"))
            value = self._value(content["application/json"]["schema"])
            made.body = json.dumps(value).encode("utf-8", "surrogatepass")
        elif content:
            ((media, described),) = content.items()
            made.headers.append((b"Content-Type", media.encode()))
            value = self._value(described["schema"])
            form = value if isinstance(value, dict) else {}
            texts = [(name, str(text)) for name, text in form.items()]
            made.body = urllib.parse.urlencode(texts, errors="surrogatepass").encode()
        for _ in range(self._one((0, 1, 1, 1, 2, 3))):
            self._one(self._spoil)(made)
        return made

    def _one(self, choices: Sequence[Any]) -> Any:
        return self._random.choice(choices)

    def _planted(self) -> str:
        return f"{PLANTED}{self._random.getrandbits(40):x}"

    # --- what an operation could take -------------------------------------------------------------

    def _path(self, path: str) -> str:
        def place(match: re.Match[str]) -> str:
            known = self._things.get(match[1].removesuffix("_id"))
            return str(self._one(known if known and self._random.random() < 0.8 else self._ids))

        return _PLACE.sub(place, path)

    def _query(self, operation: Mapping[str, Any]) -> list[tuple[str, str]]:
        return [
            (parameter["name"], self._text_of(self._value(parameter["schema"], parameter["name"])))
            for parameter in operation.get("parameters", ())
            if parameter["in"] == "query"
            and (parameter.get("required") or self._random.random() < 0.2)
        ]

    def _text_of(self, value: Any) -> str:
        return value if isinstance(value, str) else json.dumps(value)

    def _value(self, schema: Mapping[str, Any], name: str = "", depth: int = 0) -> Any:
        """Return a value as a schema wants it, or sometimes anything."""
        if self._random.random() < 0.02:
            return self._one(_VALUES)
        if "$ref" in schema:
            return self._value(self._schemas[schema["$ref"].rpartition("/")[2]], name, depth)
        for union in ("anyOf", "oneOf", "allOf"):
            if union in schema:
                return self._value(self._one(schema[union]), name, depth)
        if "enum" in schema:
            return self._one(schema["enum"])
        if "const" in schema:
            return schema["const"]
        return self._of_type(schema, name, depth)

    def _of_type(self, schema: Mapping[str, Any], name: str, depth: int) -> Any:
        match schema.get("type"):
            case "object":
                required = schema.get("required", ())
                return {
                    member: self._value(inner, member, depth + 1)
                    for member, inner in schema.get("properties", {}).items()
                    if member in required or self._random.random() < 0.5 / (depth + 1)
                }
            case "array":
                return [self._value(schema.get("items", {}), name, depth + 1)]
            case "integer" | "number":
                return self._one((0, 1, 5, 20, 100, -1, 10**6))
            case "boolean":
                return self._one((True, False))
            case "null":
                return None
        return self._text(schema, name)

    def _text(self, schema: Mapping[str, Any], name: str) -> str:
        of_format = {
            "uuid": self._things.get(name.removesuffix("_id")) or (self._one(self._ids),),
            "date": ("2022-01-01", "2022-02-01", "2023-01-01", "1980-02-29"),
            "date-time": (*self._things["starts_at"], *self._things["ends_at"]),
        }
        of_name = {
            "commune": ("36044",),
            "phone": ("+33600000000",),
            "territory": self._things["territory"],
            **self._texts,
        }
        any_text = (self._planted(), self._planted(), self._one(_WORDS))
        choices = of_format.get(str(schema.get("format"))) or of_name.get(name) or any_text
        return str(self._one(choices))

    # --- and what it could not --------------------------------------------------------------------

    def _spoil_header(self, made: Request) -> None:
        name, values = self._one(_HEADERS)
        value = self._one(values)
        if name in {b"Authorization", b"Content-Type"} and self._random.random() < 0.7:
            made.headers = [header for header in made.headers if header[0] != name]
        made.headers.append((name, value))

    def _spoil_path(self, made: Request) -> None:
        parts = made.path.split("/")
        word = self._one((*_PATHS, self._planted()))
        parts[self._random.randrange(1, len(parts))] = word
        made.path = self._one(("/".join(parts), "/".join(parts), f"{made.path}/", f"/{made.path}"))

    def _spoil_query(self, made: Request) -> None:
        if made.query and self._random.random() < 0.7:
            place = self._random.randrange(len(made.query))
            name = made.query[place][0]
            made.query[place] = (name, self._one((*_WORDS, self._planted())))
        elif self._random.random() < 0.2:
            made.encoded = self._one(
                ("%", "%zz=%", "=&=&", "a[]=1", "x=%FF", "&" * 500, "limit=%00")
            )
        else:
            name = self._one(("limit", "cursor", "from", "to", "near", "state", "x", ""))
            made.query += [(name, self._one(_WORDS))] * self._one((1, 1, 2))

    def _spoil_body(self, made: Request) -> None:
        if made.body is None or self._random.random() < 0.3:
            made.body = self._one(_BODIES)
            return
        choice = self._random.random()
        if choice < 0.3:
            made.body = made.body[: self._random.randrange(len(made.body) + 1)]
        elif choice < 0.6:
            place = self._random.randrange(len(made.body) + 1)
            made.body = (
                made.body[:place] + self._one((b"\x00", b"\xff", b'"', b"}")) + made.body[place:]
            )
        else:
            made.body = self._with_one_wrong(made.body)

    def _with_one_wrong(self, body: bytes) -> bytes:
        try:
            value = json.loads(body)
        except (ValueError, RecursionError):
            return body
        if isinstance(value, dict) and value:
            value[self._one(list(value))] = self._one((*_VALUES, self._planted(), *_WORDS))
        return json.dumps(value).encode("utf-8", "surrogatepass")

    def _spoil_method(self, made: Request) -> None:
        made.method = self._one(
            ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
        )
