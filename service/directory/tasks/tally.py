"""Counts of an import: lines, entries by what became of them, refusals by reason."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from service.directory.tasks.lines import Refusal

KINDS = ("practitioners", "organizations", "locations", "workplaces")
FATES = ("new", "changed", "reactivated", "unchanged", "by_hand", "deactivated")
_CHANGES = frozenset({"new", "changed", "reactivated", "deactivated"})
_EXAMPLES = 3


@dataclass
class Tally:
    """What was counted so far; kept with the import's row, so that a resumed one goes on."""

    lines: Counter[str] = field(default_factory=Counter)
    entries: Counter[str] = field(default_factory=Counter)
    refused: dict[str, dict[str, Any]] = field(default_factory=dict)

    def refuse(self, number: int, refusal: Refusal) -> None:
        """Count a refused line; the first ones of each reason are examples."""
        self.lines["refused"] += 1
        of = self.refused.setdefault(refusal.reason, {"count": 0, "examples": []})
        of["count"] += 1
        if len(of["examples"]) < _EXAMPLES:
            of["examples"].append([number, refusal.detail])

    def count(self, kind: str, fate: str, by: int = 1) -> None:
        """Count entries of a kind."""
        if by:
            self.entries[f"{kind}.{fate}"] += by

    def of(self, kind: str, fate: str) -> int:
        """Return how many entries of a kind became this."""
        return self.entries[f"{kind}.{fate}"]

    @property
    def changes(self) -> dict[str, int]:
        """Return the counts of what is no longer as it was."""
        return {k: n for k, n in self.entries.items() if n and k.partition(".")[2] in _CHANGES}

    def stored(self) -> dict[str, Any]:
        """Return the counts as JSON."""
        return {"lines": self.lines, "entries": self.entries, "refused": self.refused}

    def merge(self, other: "Tally") -> None:
        """Add what was counted apart, of entries."""
        self.entries.update(other.entries)

    @classmethod
    def read(cls, stored: Mapping[str, Any]) -> "Tally":
        """Return counts as they were stored."""
        return cls(Counter(stored["lines"]), Counter(stored["entries"]), dict(stored["refused"]))


@dataclass(frozen=True, slots=True)
class Report:
    """How an import ended; `already` when its file is the last one that was imported."""

    file_name: str
    encoding: str
    source_date: date
    tally: Tally
    dry_run: bool = False
    already: bool = False
    resumed_after: int = 0
