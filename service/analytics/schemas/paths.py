"""How members of an answer are named by their path: outcomes.other.percent."""

from collections.abc import Mapping
from typing import Any

# Members that name an item of a list stand in the path of its cells, not in cells of their own.
NAMES = ("category", "outcome", "role", "organization_type")


def named(item: Mapping[str, Any]) -> str:
    """Return the name of a list's item."""
    return ".".join(str(item[name]) for name in NAMES if name in item)
