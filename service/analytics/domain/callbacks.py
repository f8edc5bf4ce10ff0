"""How call-backs were kept.

Calls count by reception, void ones not at all. A delay runs from entering the call-back queue to
the first attempt, answered or not, of the calls that were attempted.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar

from service.analytics.domain.numbers import DelayFigures, Delays, Rate, in_minutes, named, rates


class CallbacksBy(StrEnum):
    """What one line of a grouped answer is about; `hour` is the local hour of reception."""

    MONTH = "month"
    CPTS = "cpts"
    HOUR = "hour"
    PRIORITY = "priority"
    NONE = "none"

    @property
    def overlaps(self) -> bool:
        """A call has one community, one hour, one priority: groups add up."""
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Callbacks:
    """Calls, those whose call-back was requested, of these the attempted and the reached ones.

    `within_60_minutes` includes its bound.
    """

    calls: int = 0
    requested: int = 0
    attempted: int = 0
    reached: int = 0
    within_60_minutes: int = 0
    delays: Delays = field(default_factory=Delays)

    _RATES: ClassVar[Mapping[str, tuple[str, str]]] = {
        "requested": ("requested", "calls"),
        "attempted": ("attempted", "requested"),
        "reached": ("reached", "requested"),
        "within_60_minutes": ("within_60_minutes", "attempted"),
    }

    @property
    def delay_minutes(self) -> DelayFigures:
        """From entering the queue to the first attempt, in minutes."""
        return in_minutes(self.delays)

    @property
    def cells(self) -> dict[str, int]:
        """Every count by its name in the answer."""
        return named(self)

    @property
    def rates(self) -> dict[str, Rate]:
        """`within_60_minutes` is of the attempted ones."""
        return rates(self, self._RATES)
