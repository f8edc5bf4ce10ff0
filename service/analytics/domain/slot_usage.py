"""What became of the seats that doctors published.

Seats are those of `capacity`, counted by the start of their slot, in the territory of the slot or
the communities of its organization. Every seat is in one of four states, so that
published = booked + withdrawn + expired + open. Two kinds stand outside of that sum: seats booked
beyond capacity (`overbooked`), and those of walk-in slots, which nobody can book.

A session that moves, or an absence that ends, withdraws a seat and publishes another for the same
time: both are `published`. `replaced` says how many of the withdrawn ones have such another, by
the same practitioner, so that published - replaced is what was really on offer.

`released` seats were free when the release of their slot first opened it to more, and
`released_and_booked` is how many of them were booked from then on; `given_back` ones were withdrawn
because nobody had taken them in time. All three are parts of the others.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from service.analytics.domain.numbers import Rate, named, rates


class SlotUsageBy(StrEnum):
    """What one line of a grouped answer is about; `hour` is the local hour of the slot's start."""

    MONTH = "month"
    CPTS = "cpts"
    ORGANIZATION_TYPE = "organization_type"
    PRACTITIONER_STATUS = "practitioner_status"
    LABEL = "label"
    HOUR = "hour"
    NONE = "none"

    @property
    def overlaps(self) -> bool:
        """Tell whether a seat may count in several groups: labels and communities add up."""
        return self in {SlotUsageBy.CPTS, SlotUsageBy.LABEL}


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotUsage:
    """Seats by what became of them; `open` ones are still to come, held or not."""

    published: int = 0
    booked: int = 0
    withdrawn: int = 0
    replaced: int = 0
    expired: int = 0
    open: int = 0
    overbooked: int = 0
    walk_in: int = 0
    released: int = 0
    released_and_booked: int = 0
    given_back: int = 0

    _RATES: ClassVar[Mapping[str, tuple[str, str]]] = {
        "fill": ("booked", "published - withdrawn"),
    }

    @property
    def cells(self) -> dict[str, int]:
        """Every count by its name in the answer, and `live`: booked, within capacity or beyond."""
        return {**named(self), "live": self.booked + self.overbooked}

    @property
    def rates(self) -> dict[str, Rate]:
        """`fill`: booked seats of those that were not withdrawn."""
        return rates(self, self._RATES)
