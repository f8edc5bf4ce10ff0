"""The rules of a slot, without a database."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import product
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.slots.domain import (
    HORIZON,
    LONGEST_SLOT,
    Audience,
    SlotDraft,
    SlotState,
    check_batch,
    check_period,
    state_of,
    visibility_warnings,
)

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
DOCTORS = [None, UUID(int=1), UUID(int=2)]
NOBODY = Audience((), (), (), ())
minutes = st.integers(0, 120)


def _draft(
    practitioner: UUID | None, start: int, length: int, external_id: str | None = None
) -> SlotDraft:
    starts_at = NOW + timedelta(minutes=start)
    return SlotDraft(
        practitioner_id=practitioner,
        location_id=UUID(int=9),
        starts_at=starts_at,
        ends_at=starts_at + timedelta(minutes=length),
        modes=("AMB",),
        specialty=None,
        audience=NOBODY,
        capacity=1,
        overbooking=0,
        walk_in=False,
        note=None,
        external_id=external_id,
    )


@pytest.mark.parametrize(
    ("withdrawn", "started", "remaining"), list(product((True, False), (True, False), (0, 1, 5)))
)
def test_every_slot_has_one_state(*, withdrawn: bool, started: bool, remaining: int) -> None:
    state = state_of(withdrawn=withdrawn, started=started, remaining=remaining)
    assert (state is SlotState.WITHDRAWN) == withdrawn
    assert (state is SlotState.PAST) == (started and not withdrawn)
    assert (state is SlotState.OPEN) == (not withdrawn and not started and remaining > 0)
    assert (state is SlotState.FULL) == (not withdrawn and not started and remaining == 0)


drafts = st.lists(
    st.builds(
        _draft,
        st.sampled_from(DOCTORS),
        minutes,
        st.integers(1, 40),
        st.sampled_from([None, None, "A", "B", "C"]),
    ),
    max_size=12,
)


@given(drafts)
def test_overlaps_in_a_batch_are_those_of_a_brute_force(batch: Sequence[SlotDraft]) -> None:
    pointers = [f"#/slots/{n}" for n in range(len(batch))]
    found = list(check_batch(batch, pointers))

    def before(a: int, b: int) -> bool:
        key_a, key_b = ((batch[n].starts_at, batch[n].ends_at, n) for n in (a, b))
        return key_a < key_b

    overlapping = {
        f"{pointers[late]}/starts_at"
        for late in range(len(batch))
        for early in range(len(batch))
        if before(early, late)
        and batch[early].practitioner_id == batch[late].practitioner_id is not None
        and batch[early].ends_at > batch[late].starts_at
    }
    assert {e.pointer for e in found if e.code == "overlapping-slot"} == overlapping
    repeated = {
        f"{pointers[n]}/external_id"
        for n, draft in enumerate(batch)
        if draft.external_id
        and (draft.practitioner_id, draft.external_id)
        in [(d.practitioner_id, d.external_id) for d in batch[:n]]
    }
    assert {e.pointer for e in found if e.code == "duplicate"} == repeated
    assert len(found) == len(overlapping) + len(repeated)


instants = st.timedeltas(timedelta(days=-30), timedelta(days=430)).map(lambda away: NOW + away)


@given(instants, st.integers(-3000, 3000))
def test_a_period_is_refused_exactly_when_a_rule_is_broken(start: datetime, length: int) -> None:
    end = start + timedelta(minutes=length)
    codes = {error.code for error in check_period("#", start, end, NOW)}
    assert ("end-before-start" in codes) == (end <= start)
    assert ("slot-too-long" in codes) == (end - start > LONGEST_SLOT)
    assert ("slot-in-the-past" in codes) == (start <= NOW)
    assert ("slot-too-far" in codes) == (start > NOW + HORIZON)


def test_slots_are_published_at_least_180_days_ahead() -> None:
    start = NOW + timedelta(days=180)
    assert not list(check_period("#", start, start + timedelta(minutes=20), NOW))


ids = st.lists(st.uuids(), max_size=2).map(tuple)


@given(
    st.sets(st.sampled_from(["PUBLIC", "PRO", "SNP", "CPTS"]), min_size=1).map(tuple),
    ids,
    st.lists(st.sampled_from(["pharmacy", "sas"]), max_size=2).map(tuple),
    ids,
    st.booleans(),
)
def test_warnings_are_given_exactly_when_somebody_meant_sees_nothing(
    labels: tuple[str, ...],
    cpts_ids: tuple[UUID, ...],
    types: tuple[str, ...],
    organizations: tuple[UUID, ...],
    walk_in: bool,
) -> None:
    audience = Audience(labels, cpts_ids, types, organizations)
    codes = [w["code"] for w in visibility_warnings(audience, walk_in=walk_in)]
    narrowed = bool(types or organizations)
    assert ("cpts-not-named" in codes) == ("CPTS" in labels and not cpts_ids)
    assert ("cpts-without-label" in codes) == ("CPTS" not in labels and bool(cpts_ids))
    assert ("narrowing-without-effect" in codes) == (narrowed and not {"PRO", "CPTS"} & set(labels))
    assert ("walk-in" in codes) == walk_in
    assert len(codes) == len(set(codes))
