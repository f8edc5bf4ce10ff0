"""Keyset pages: an opaque cursor that remembers where a page ended and for which filter."""

import base64
import binascii
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

import orjson

from service.kernel.errors import FieldError, Malformed

_YEARS = range(1900, 2201)
DEFAULT_LIMIT = 50
MAX_LIMIT = 200

T = TypeVar("T")


class CursorInvalid(Malformed):
    """The cursor was cut, changed, or belongs to another filter."""

    code = "invalid-cursor"
    title = "This cursor does not belong to this list with this filter: start without a cursor."

    def __init__(self) -> None:
        super().__init__(FieldError("cursor", self.code, self.title))


def instant(text: str) -> datetime:
    """Read a sort key that is an instant (a kind for `PageRequest.after`)."""
    value = datetime.fromisoformat(text)
    if value.tzinfo is None or value.year not in _YEARS:
        raise ValueError
    return value


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A page of items and the cursor of the next one."""

    items: list[T]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class PageRequest:
    """Which page of which list: the filter is part of it, so that a cursor fits one list only."""

    limit: int
    cursor: str | None
    filter: Mapping[str, Any]

    def after(self, *kinds: Callable[[Any], Any]) -> list[Any] | None:
        """Return the sort keys where the previous page ended, each read by its kind.

        A cursor is opaque, not signed: `kinds` (such as `instant, UUID`) refuse what
        somebody wrote into one.
        """
        if self.cursor is None:
            return None
        try:
            padded = self.cursor + "=" * (-len(self.cursor) % 4)
            fingerprint, keys = orjson.loads(base64.b64decode(padded, b"-_", validate=True))
        except (binascii.Error, ValueError, TypeError):
            raise CursorInvalid from None
        if fingerprint != self._fingerprint() or not isinstance(keys, list):
            raise CursorInvalid
        try:
            return [kind(key) for kind, key in zip(kinds, keys, strict=True)]
        except (ValueError, TypeError, AttributeError):
            raise CursorInvalid from None

    def page(self, rows: Sequence[T], key: Callable[[T], Sequence[Any]]) -> Page[T]:
        """Cut `limit + 1` rows to a page; the extra row only says that there is a next one."""
        items = list(rows[: self.limit])
        if len(rows) <= self.limit:
            return Page(items, None)
        content = orjson.dumps([self._fingerprint(), list(key(items[-1]))], default=str)
        return Page(items, base64.urlsafe_b64encode(content).decode().rstrip("="))

    def _fingerprint(self) -> str:
        content = orjson.dumps(self.filter, option=orjson.OPT_SORT_KEYS, default=str)
        return hashlib.sha256(content).hexdigest()[:16]
