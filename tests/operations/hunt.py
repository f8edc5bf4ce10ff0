"""Finds a word in bytes, however it may have been written there."""

import base64
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from urllib.parse import quote

_ENCODINGS = ("utf-8", "utf-16-le", "utf-16-be", "utf-32-le")


def forms(word: str) -> set[bytes]:
    """Every way of writing a word that a search, which ignores case, looks for."""
    written = {word, word.upper(), word.lower(), word.title(), word[::-1]}
    plain = {text.encode(encoding) for text in written for encoding in _ENCODINGS}
    utf8 = {text.encode() for text in written}
    return {
        *plain,
        *(raw.hex().encode() for raw in utf8),
        *(raw.hex().upper().encode() for raw in utf8),
        *(quote(raw, safe="").encode() for raw in utf8),
        *("".join(f"\\u{ord(c):04x}" for c in text).encode() for text in written),
        *(inner for raw in utf8 for inner in _base64(raw)),
    }


def _base64(raw: bytes) -> Iterator[bytes]:
    """What stands in any base64 text that holds these bytes, wherever they begin in it."""
    for before in range(3):
        padded = b"\x00" * before + raw
        text = base64.b64encode(padded)
        begin = -(-before * 8 // 6)
        end = len(padded) * 8 // 6
        for alphabet in (text, base64.urlsafe_b64encode(padded)):
            yield alphabet[begin:end]


def _plain(content: bytes) -> bytes:
    """What holds something in any case and width still does so; far less is left to search."""
    return content.lower().replace(b"\0", b"")


@cache
def _plain_forms(word: str) -> set[bytes]:
    return set(map(_plain, forms(word)))


def found_in(content: bytes, words: Iterable[str]) -> set[str]:
    """Return the words that some bytes hold in any form."""
    plain = _plain(content)
    return {word for word in words if any(form in plain for form in _plain_forms(word))}


def found_in_files(folder: Path, words: Iterable[str]) -> dict[str, set[str]]:
    """Return which files under a folder hold which words; not files that vanish meanwhile."""
    wanted = list(words)
    found = {}
    for path in sorted(folder.rglob("*")):
        try:
            content = path.read_bytes() if path.is_file() else b""
        except FileNotFoundError:
            continue
        if here := found_in(content, wanted):
            found[str(path.relative_to(folder))] = here
    return found
