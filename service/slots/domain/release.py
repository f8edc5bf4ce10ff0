"""A release: how a slot that nobody took is opened to more, or given back, as its start nears.

A step is so many minutes before the start: elapsed ones, whatever the clocks on the wall do that
night. Its instant alone decides (docs/adr/0023). Pure: no I/O, no clock.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from service.kernel.errors import FieldError

MOST_STEPS = 4
SHORTEST_MINUTES = 5
LONGEST_MINUTES = 7 * 24 * 60


class ReleaseTo(StrEnum):
    """What a step does: add a label of TRE_R314, or give the time back to the doctor."""

    PRO = "PRO"
    CPTS = "CPTS"
    PUBLIC = "PUBLIC"
    GIVE_BACK = "GIVE_BACK"


# Where the row keeps the instant of each step; null: never.
COLUMNS: Mapping[ReleaseTo, str] = {
    ReleaseTo.PRO: "pro_from",
    ReleaseTo.CPTS: "cpts_from",
    ReleaseTo.PUBLIC: "public_from",
    ReleaseTo.GIVE_BACK: "given_back_from",
}


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a release, at `minutes_before` the start."""

    minutes_before: int
    to: ReleaseTo

    def at(self, starts_at: datetime) -> datetime:
        """Return its instant; reckoned in UTC, so that no clock is put back on the way."""
        return starts_at.astimezone(UTC) - timedelta(minutes=self.minutes_before)


def check_release(
    pointer: str, steps: Sequence[Step], labels: Collection[str], *, cpts_named: bool
) -> Iterator[FieldError]:
    """Yield what is wrong with the steps of a slot so labelled."""
    shown = set(labels)
    for n, step in enumerate(steps):
        here = f"{pointer}/release/{n}"
        if n and steps[n - 1].to == ReleaseTo.GIVE_BACK:
            yield FieldError(here, "release-after-end", "Nothing follows GIVE_BACK.")
        elif n and steps[n - 1].minutes_before <= step.minutes_before:
            yield FieldError(
                f"{here}/minutes_before", "release-order", "Each step is nearer to the start."
            )
        elif step.to in shown or (step.to == ReleaseTo.PRO and ReleaseTo.PUBLIC in shown):
            yield FieldError(f"{here}/to", "release-adds-nothing", "They see this slot already.")
        elif step.to == ReleaseTo.CPTS and not cpts_named:
            yield FieldError(f"{here}/to", "cpts-not-named", "CPTS needs `cpts_ids`.")
        shown.add(step.to)


def check_still_to_come(
    pointer: str, steps: Sequence[Step], starts_at: datetime, now: datetime
) -> Iterator[FieldError]:
    """Yield that a slot would be given back at once."""
    for n, step in enumerate(steps):
        if step.to == ReleaseTo.GIVE_BACK and step.at(starts_at) <= now:
            yield FieldError(
                f"{pointer}/release/{n}/minutes_before",
                "release-in-the-past",
                "The slot would be given back at once.",
            )


def gives_back_before(steps: Sequence[Step]) -> timedelta:
    """Return how long before the start the time is given back; zero: never."""
    minutes = (step.minutes_before for step in steps if step.to == ReleaseTo.GIVE_BACK)
    return timedelta(minutes=next(minutes, 0))


def labels_added(steps: Sequence[Step]) -> tuple[str, ...]:
    """Return the labels that a release adds in the end."""
    return tuple(step.to for step in steps if step.to != ReleaseTo.GIVE_BACK)


def labels_at(
    labels: tuple[str, ...], steps: Sequence[Step], starts_at: datetime, at: datetime
) -> tuple[str, ...]:
    """Return the labels in force at an instant: those published, and those added until then."""
    return labels + labels_added([step for step in steps if step.at(starts_at) <= at])


def columns_of(steps: Sequence[Step], starts_at: datetime, now: datetime) -> dict[str, Any]:
    """Return what the row keeps: the instant of each step, and the next one to be told.

    Labels that are added already are told with the publication, or the amendment, that is being
    written. Time that has gone back already has still to be taken off the agenda.
    """
    instants = {step.to: step.at(starts_at) for step in steps}
    still = (at for to, at in instants.items() if at > now or to == ReleaseTo.GIVE_BACK)
    return {
        **{column: instants.get(to) for to, column in COLUMNS.items()},
        "next_release_at": min(still, default=None),
    }


def steps_of(kept: Callable[[str], Any]) -> tuple[Step, ...]:
    """Read the steps back from a row, whose columns `kept` returns by name."""
    starts_at = kept("starts_at")
    found = {to: kept(column) for to, column in COLUMNS.items()}
    steps = [Step((starts_at - at) // timedelta(minutes=1), to) for to, at in found.items() if at]
    return tuple(sorted(steps, key=lambda step: -step.minutes_before))
