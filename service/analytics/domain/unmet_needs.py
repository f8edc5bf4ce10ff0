"""What nobody had room for, beside the seats that nobody used. Pure.

A need counts in the territory of its commune, at the start of its wanted window; a seat at the
start of its slot, once that is past: capacity neither withdrawn nor booked, walk-ins left out.
"Unused" never says that the seat would have done: it was there, that day, in that commune.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from service.analytics.domain.numbers import named
from service.analytics.domain.periods import Period
from service.kernel.errors import FieldError, Invalid

LONGEST_DAYS = 366


class UnmetBy(StrEnum):
    """What one line is about. Days and hours are local; slots know no motive and no reason."""

    MOTIVE = "motive"
    MODE = "mode"
    REASON = "reason"
    COMMUNE = "commune"
    DAY = "day"
    HOUR = "hour"
    COMMUNE_DAY = "commune_day"


WITH_SEATS = (UnmetBy.COMMUNE, UnmetBy.DAY, UnmetBy.HOUR, UnmetBy.COMMUNE_DAY)
Counts = Mapping[UnmetBy | None, Mapping[str, int]]


class PeriodTooLong(Invalid):
    """These figures name each day."""

    code = "period-too-long"
    title = f"Unmet needs are counted over {LONGEST_DAYS} days at most."


@dataclass(frozen=True, slots=True)
class UnmetLine:
    """Needs of one group; `unused_seats` is None where slots have no such thing."""

    key: str
    needs: int
    unused_seats: int | None


@dataclass(frozen=True, slots=True)
class UnmetNeeds:
    """Needs and unused seats of a period, together and by what they are about."""

    needs: int
    needs_with_open_slots: int
    unused_seats: int
    lines: Mapping[UnmetBy, tuple[UnmetLine, ...]]

    @property
    def cells(self) -> dict[str, int]:
        """Every count by its name in the answer."""
        return named(self)


def check_days(period: Period) -> None:
    """Refuse a period with too many days. Refusal: `period-too-long`."""
    if (period.to - period.from_).days > LONGEST_DAYS:
        raise PeriodTooLong(FieldError("to", PeriodTooLong.code, PeriodTooLong.title))


def beside(needs: Counts, with_open_slots: int, seats: Counts) -> UnmetNeeds:
    """Lay needs and seats side by side.

    A place that had only unused seats stands there too, but in the days of one commune: that would
    name every slot.
    """
    return UnmetNeeds(
        needs=sum(needs.get(None, {}).values()),
        needs_with_open_slots=with_open_slots,
        unused_seats=sum(seats.get(None, {}).values()),
        lines={by: tuple(_lines(by, needs.get(by, {}), seats.get(by, {}))) for by in UnmetBy},
    )


def _lines(by: UnmetBy, needs: Mapping[str, int], seats: Mapping[str, int]) -> Iterable[UnmetLine]:
    keys = set(needs) if by is UnmetBy.COMMUNE_DAY else {*needs, *seats}
    for key in sorted(keys):
        unused = seats.get(key, 0) if by in WITH_SEATS else None
        yield UnmetLine(key, needs.get(key, 0), unused)
