"""Members that are not told: null in JSON, a word in a table."""

from collections.abc import Iterable, Mapping
from typing import Any

from service.analytics.domain import CATEGORIES
from service.analytics.schemas.paths import NAMES, named

WITHHELD = "secret"  # how French statistics write it: secret statistique

# What is computed from counts is told where all of them are. (A rate names its own.)
_DELAY = ("mean", "median", "p90")
_MADE_OF: Mapping[str, tuple[str, ...]] = {
    "monthly_mean": ("calls",),
    **{
        f"outcomes.{category}.{figure}": (f"outcomes.{category}.calls", "calls")
        for category in CATEGORIES
        for figure in ("share", "percent")
    },
    **{f"callback_minutes.{figure}": ("callback_minutes.calls",) for figure in _DELAY},
    "callback_minutes.within_60_share": ("callback_minutes.calls", "within_60_minutes"),
    **{f"delay_minutes.{figure}": ("attempted",) for figure in _DELAY},
    **{f"delay_hours.{figure}": ("live",) for figure in _DELAY},
}
# Lists that would tell a second time, in other groups, what the groups tell.
_NEVER = frozenset({"requesters"})


def told(members: dict[str, Any], withheld: frozenset[str] | None) -> dict[str, Any]:
    """Return an object's members with null for those withheld, which `withheld` names."""
    if withheld is None:
        return members
    nulled: list[str] = []
    shown = _without(members, "", withheld | _NEVER, nulled)
    return {**shown, "withheld": nulled}


def _without(value: Any, path: str, withheld: frozenset[str], nulled: list[str]) -> Any:
    if path in withheld or not withheld.isdisjoint(_MADE_OF.get(path, ())):
        nulled.append(path)
        return None
    if isinstance(value, Mapping):
        if "numerator" in value and not withheld.isdisjoint(_divided(value, path)):
            nulled.append(f"{path}.value")
            return {**value, "value": None}
        return {
            name: member
            if name in NAMES
            else _without(member, f"{path}.{name}" if path else name, withheld, nulled)
            for name, member in value.items()
        }
    if isinstance(value, list):
        return [_without(item, f"{path}.{named(item)}", withheld, nulled) for item in value]
    return value


def _divided(rate: Mapping[str, Any], path: str) -> Iterable[str]:
    """Return the paths of the counts that a rate divides: members beside `rates`."""
    beside = path.rpartition("rates.")[0]
    words = f"{rate['numerator']} {rate['denominator']}".split()
    return (f"{beside}{word}" for word in words if word not in {"+", "-"})
