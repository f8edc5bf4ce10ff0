"""The rules of a release, without a database."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from service.slots.domain.release import (
    COLUMNS,
    LONGEST_MINUTES,
    MOST_STEPS,
    SHORTEST_MINUTES,
    ReleaseTo,
    Step,
    check_release,
    check_still_to_come,
    columns_of,
    labels_at,
    steps_of,
)

START = datetime(2026, 6, 1, 12, tzinfo=UTC)
LABELS = ("PUBLIC", "PRO", "SNP", "CPTS")
WIDENING = [to for to in ReleaseTo if to != ReleaseTo.GIVE_BACK]

minutes = st.integers(SHORTEST_MINUTES, LONGEST_MINUTES)
anything = st.lists(st.builds(Step, minutes, st.sampled_from(ReleaseTo)), max_size=MOST_STEPS)
labels = st.lists(st.sampled_from(LABELS), min_size=1, max_size=4, unique=True).map(tuple)
starts = st.integers(0, 2 * 366 * 24 * 60).map(
    lambda ahead: (START + timedelta(minutes=ahead)).astimezone(ZoneInfo("Europe/Paris"))
)


@st.composite
def releases(draw: st.DrawFn) -> tuple[Step, ...]:
    """Steps that some slot may have: nearer and nearer, the time given back at last or never."""
    when = sorted(draw(st.lists(minutes, max_size=MOST_STEPS, unique=True)), reverse=True)
    to = draw(st.permutations(WIDENING))
    steps = [Step(m, t) for m, t in zip(when, to, strict=False)]
    given_back = draw(st.booleans())
    if steps and given_back:
        steps[-1] = Step(steps[-1].minutes_before, ReleaseTo.GIVE_BACK)
    return tuple(steps)


def _row(steps: tuple[Step, ...], starts_at: datetime, now: datetime) -> Mapping[str, Any]:
    return {"starts_at": starts_at.astimezone(UTC), **columns_of(steps, starts_at, now)}


@given(releases(), starts, minutes)
def test_a_row_gives_back_the_steps_that_it_was_given(
    steps: tuple[Step, ...], starts_at: datetime, ahead: int
) -> None:
    row = _row(steps, starts_at, starts_at - timedelta(minutes=ahead))
    assert steps_of(row.__getitem__) == steps


@given(releases(), starts)
def test_minutes_are_elapsed_ones_on_the_nights_that_the_clocks_change(
    steps: tuple[Step, ...], starts_at: datetime
) -> None:
    for step in steps:
        elapsed = starts_at.timestamp() - step.at(starts_at).timestamp()
        assert elapsed == step.minutes_before * 60


@given(releases(), labels, st.integers(-1, LONGEST_MINUTES + 1))
def test_labels_only_grow_and_each_at_its_instant(
    steps: tuple[Step, ...], published: tuple[str, ...], ahead: int
) -> None:
    at = START - timedelta(minutes=ahead)
    now, right_before = (
        labels_at(published, steps, START, when) for when in (at, at - timedelta(microseconds=1))
    )
    assert now[: len(right_before)] == right_before
    assert right_before[: len(published)] == published
    new = {step.to for step in steps if step.minutes_before == ahead} - {ReleaseTo.GIVE_BACK}
    assert set(now[len(right_before) :]) == new


@given(releases(), st.integers(-1, LONGEST_MINUTES + 1))
def test_what_is_told_next_is_the_first_step_that_is_not_past(
    steps: tuple[Step, ...], ahead: int
) -> None:
    now = START - timedelta(minutes=ahead)
    coming = [
        step.at(START)
        for step in steps
        if step.minutes_before < ahead or step.to is ReleaseTo.GIVE_BACK
    ]
    assert columns_of(steps, START, now)["next_release_at"] == (coming[0] if coming else None)


@given(steps=anything, published=labels, named=st.booleans())
def test_what_is_accepted_is_what_a_brute_force_accepts(
    steps: list[Step], published: tuple[str, ...], *, named: bool
) -> None:
    """Who sees a slot grows with each step but the last, which may give it back."""

    def admits(shown: set[str]) -> set[str]:
        by_label = {
            "PUBLIC": {"anybody here", "professionals here", "regulation here"},
            "PRO": {"professionals here", "regulation here"},
            "SNP": {"regulation here"},
            "CPTS": {"members"} if named else set(),
        }
        return set().union(*(by_label[label] for label in shown))

    good, shown = True, set(published)
    for n, step in enumerate(steps):
        last = n == len(steps) - 1
        nearer = n == 0 or step.minutes_before < steps[n - 1].minutes_before
        if step.to is ReleaseTo.GIVE_BACK:
            good &= nearer and last
            continue
        # PRO beside SNP adds professionals; a label without effect is one that admits nobody new.
        grown = admits(shown | {step.to}) - admits(shown)
        good &= nearer and bool(grown)
        shown.add(step.to)
    errors = list(check_release("#", steps, published, cpts_named=named))
    assert bool(errors) is not good
    assert all(error.pointer.startswith("#/release/") for error in errors)


@given(releases(), st.integers(-1, LONGEST_MINUTES + 1))
def test_only_what_would_go_back_at_once_is_too_late(steps: tuple[Step, ...], ahead: int) -> None:
    now = START - timedelta(minutes=ahead)
    late = list(check_still_to_come("#", steps, START, now))
    back = [s for s in steps if s.to is ReleaseTo.GIVE_BACK and s.minutes_before >= ahead]
    assert len(late) == len(back)


def test_every_step_has_its_column() -> None:
    assert list(COLUMNS) == list(ReleaseTo)
