"""Files as they come: plain, gzip or zip; UTF-8 or Windows-1252; read by lines, never whole."""

import gzip
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from hashlib import sha256
from pathlib import Path
from typing import IO, cast

from service.directory.tasks.lines import ImportRefused

# Told what is being done, how many lines of it are done, and of how many if that is known.
Progress = Callable[[str, int, int | None], None]

LONGEST_LINE = 65_536
_TOLD_EVERY = 20_000
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_BOM = "\ufeff"


@dataclass(frozen=True, slots=True)
class Source:
    """A file that was read through once: what it is, before anything is taken from it.

    `digest` is that of the content, packed or not; `lines` counts the header too.
    """

    path: Path
    name: str
    digest: str
    encoding: str
    lines: int
    header: str


@contextmanager
def opened(path: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """Give the name and the bytes of a file, unpacked. Refuses an archive of several tables."""
    with path.open("rb") as file:
        start = file.read(4)
        file.seek(0)
        if start[:2] == b"\x1f\x8b":
            with gzip.open(file) as unpacked:
                yield path.stem, cast("IO[bytes]", unpacked)
        elif start == b"PK\x03\x04":
            with zipfile.ZipFile(file) as archive:
                member = _member(path, archive)
                with archive.open(member) as unpacked:
                    yield Path(member).name, unpacked
        else:
            yield path.name, file


def _member(path: Path, archive: zipfile.ZipFile) -> str:
    """Name the one table of an archive; the national one also holds diplomas and skills."""
    names = [n for n in archive.namelist() if n.lower().endswith((".txt", ".csv"))]
    activities = [n for n in names if "personne_activite" in n.lower()]
    chosen = activities or names
    if len(chosen) != 1:
        raise ImportRefused(f"{path.name} holds {len(chosen)} tables: unpack it and name one.")
    return chosen[0]


def lines(stream: IO[bytes]) -> Iterator[bytes]:
    """Yield lines; of one that is absurdly long, the beginning (it has too few fields)."""
    while raw := stream.readline(LONGEST_LINE):
        yield raw
        while len(raw) == LONGEST_LINE and not raw.endswith(b"\n"):
            raw = stream.readline(LONGEST_LINE)


def inspect(path: Path, progress: Progress) -> Source:
    """Read a file through. Refuses an empty one, UTF-16, and what cannot be unpacked."""
    try:
        with opened(path) as (name, stream):
            return _inspect(path, name, stream, progress)
    except (zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise ImportRefused(f"{path.name} cannot be unpacked: download it again.") from error


def _inspect(path: Path, name: str, stream: IO[bytes], progress: Progress) -> Source:
    digest, count, header = sha256(), 0, b""
    votes = {True: 0, False: 0}
    for raw in lines(stream):
        digest.update(raw)
        header = header or raw
        count += 1
        if not raw.isascii():
            votes[_is_utf8(raw)] += 1
        if count % _TOLD_EVERY == 0:
            progress("Looking through", count, None)
    if header.startswith(_UTF16):
        raise ImportRefused(f"{path.name} is UTF-16: save it as UTF-8.")
    # Accents of Windows-1252 are hardly ever UTF-8 by chance: a few broken lines decide nothing.
    encoding = "utf-8" if votes[True] >= votes[False] else "cp1252"
    names = decoded(header, encoding, "replace")
    if not names.strip():
        raise ImportRefused(f"{path.name} is empty: its first line names the columns.")
    progress("Looking through", count, count)
    return Source(path, name, digest.hexdigest(), encoding, count, names)


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


def decoded(raw: bytes, encoding: str, errors: str = "strict") -> str:
    """Return a line as text, without its end and without a byte order mark."""
    return raw.decode(encoding, errors).rstrip("\r\n").removeprefix(_BOM)


def date_of(source: Source) -> date:
    """Return the date in a file's name (`..._YYYYMMDDHHMM.txt`), or else when it was written."""
    found = re.search(r"(?<!\d)(20\d{2})(\d{2})(\d{2})(?:\d{4}|\d{6})?(?!\d)", source.name)
    if found:
        try:
            return date(*map(int, found.groups()))
        except ValueError:
            pass
    return datetime.fromtimestamp(source.path.stat().st_mtime, UTC).date()
