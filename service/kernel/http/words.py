"""What is wrong with a value, in our own words: the library's name its classes and parsers."""

from collections.abc import Mapping
from typing import Any

_OBJECT, _LIST, _TEXT = "An object is wanted.", "A list is wanted.", "A text is wanted."
_WHOLE, _NUMBER = "A whole number is wanted.", "A number is wanted."
_DATE = "A date is written 2026-12-01, and exists."
_ID, _YES_NO = "Not an id: a UUID is wanted.", "true or false is wanted."

# By the library's type of an error; what stands in braces comes with the error.
_SENTENCES = {
    "missing": "This is missing.",
    "extra_forbidden": "Not a member of this object: leave it out.",
    "none_required": "Only null is possible here.",
    "enum": "One of these: {expected}.",
    "literal_error": "One of these: {expected}.",
    "greater_than": "More than {gt}.",
    "greater_than_equal": "At least {ge}.",
    "less_than": "Less than {lt}.",
    "less_than_equal": "At most {le}.",
    "multiple_of": "A multiple of {multiple_of}.",
    "finite_number": _NUMBER,
    "string_too_short": "At least {min_length} characters.",
    "string_too_long": "At most {max_length} characters.",
    "string_pattern_mismatch": "Not of the form {pattern}.",
    "too_short": "At least {min_length} items.",
    "too_long": "At most {max_length} items.",
}
_KINDS = {  # what the type begins with
    "uuid_": _ID,
    "bool_": _YES_NO,
    "int_": _WHOLE,
    "float_": _NUMBER,
    "decimal_": _NUMBER,
    "string_": _TEXT,
    "list_": _LIST,
    "tuple_": _LIST,
    "set_": _LIST,
    "date_": _DATE,
    "time_": "A time is written 14:00.",
    "model_": _OBJECT,
    "dict_": _OBJECT,
    "dataclass_": _OBJECT,
}
_OF_AN_OBJECT = ("model_", "dict_", "dataclass_")


def code(error: Mapping[str, Any]) -> str:
    """Return the stable code of an error; that something is no object has one, not three."""
    kind = str(error["type"])
    return "object-type" if kind.startswith(_OF_AN_OBJECT) else kind.replace("_", "-")


def sentence(error: Mapping[str, Any]) -> str:
    """Return what is wrong; a rule of ours has brought its own sentence."""
    kind = str(error["type"])
    known = _SENTENCES.get(kind)
    if known is not None:
        return known.format_map(error.get("ctx", {}))
    found = next((text for start, text in _KINDS.items() if kind.startswith(start)), None)
    return found or str(error["msg"]).removeprefix("Value error, ")
