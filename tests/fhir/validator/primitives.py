"""FHIR's primitive types in JSON: https://hl7.org/fhir/R4/datatypes.html#primitive."""

import re
from collections.abc import Callable
from datetime import date, datetime
from typing import Any

_YEAR = r"([0-9]([0-9]([0-9][1-9]|[1-9]0)|[1-9]00)|[1-9]000)"
_MONTH, _DAY = r"(0[1-9]|1[0-2])", r"(0[1-9]|[1-2][0-9]|3[0-1])"
_TIME = r"([01][0-9]|2[0-3]):[0-5][0-9]:([0-5][0-9]|60)(\.[0-9]+)?"
_ZONE = r"(Z|(\+|-)((0[0-9]|1[0-3]):[0-5][0-9]|14:00))"
# No control character but these.
_STRING = r"[\r\n\t\x20-\U0010ffff]+"
# What RFC 3986 lets nobody write unencoded.
_URI = r"[^\x00-\x20\s<>\"{}|\\^`]+"

_TEXTS = {
    "string": _STRING,
    "markdown": _STRING,
    "xhtml": r"<div[\s\S]*</div>",
    "code": r"[^\x00-\x20\s]+( [^\x00-\x20\s]+)*",
    "id": r"[A-Za-z0-9\-.]{1,64}",
    "uri": _URI,
    "url": _URI,
    "canonical": r"[^\x00-\x20\s<>\"{}\\^`]+",
    "instant": f"{_YEAR}-{_MONTH}-{_DAY}T{_TIME}{_ZONE}",
    "dateTime": f"{_YEAR}(-{_MONTH}(-{_DAY}(T{_TIME}{_ZONE})?)?)?",
    "date": f"{_YEAR}(-{_MONTH}(-{_DAY})?)?",
    "time": _TIME,
}


def _exists(text: str) -> bool:
    """Whether the calendar knows the day: the patterns let 31 February through."""
    try:
        if "T" in text:
            datetime.fromisoformat(text)
        elif text.count("-") == 2:
            date.fromisoformat(text)
    except ValueError:
        return False
    return True


def _text(name: str) -> Callable[[Any], bool]:
    pattern = re.compile(_TEXTS[name])
    dated = name in {"instant", "dateTime", "date"}
    return lambda value: (
        isinstance(value, str)
        and pattern.fullmatch(value) is not None
        and (not dated or _exists(value))
    )


def _whole(least: int) -> Callable[[Any], bool]:
    return lambda value: (
        isinstance(value, int) and not isinstance(value, bool) and least <= value < 2**31
    )


PRIMITIVES: dict[str, Callable[[Any], bool]] = {
    **{name: _text(name) for name in _TEXTS},
    "boolean": lambda value: isinstance(value, bool),
    "decimal": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "integer": _whole(-(2**31)),
    "unsignedInt": _whole(0),
    "positiveInt": _whole(1),
}
