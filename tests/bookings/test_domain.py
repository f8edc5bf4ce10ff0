"""Rules of bookings, without a database."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.bookings.domain import (
    TRANSITIONS,
    VITAL,
    Action,
    BookingInvalid,
    BookingState,
    BookingStateRefused,
    CancelledBy,
    Vital,
    after,
    check_cancelled_by,
    vital,
)
from service.directory import reference

states, actions = st.sampled_from(BookingState), st.sampled_from(Action)


def test_every_state_is_in_the_table() -> None:
    assert set(TRANSITIONS) == set(BookingState)


@given(states, actions)
def test_an_action_is_allowed_with_a_target_or_refused_with_the_state(
    state: BookingState, action: Action
) -> None:
    target = TRANSITIONS[state].get(action)
    if target is None:
        with pytest.raises(BookingStateRefused) as refused:
            after(state, action)
        assert refused.value.extra == {"state": state}
    else:
        assert after(state, action) is target


@given(st.lists(actions, max_size=30))
def test_nothing_leaves_cancelled_and_nothing_returns_to_booked(steps: list[Action]) -> None:
    state, was_reported = BookingState.BOOKED, False
    for step in steps:
        try:
            state = after(state, step)
        except BookingStateRefused:
            continue
        was_reported |= step in {Action.REPORT_FULFILLED, Action.REPORT_NOSHOW}
        if was_reported:
            assert state in {BookingState.FULFILLED, BookingState.NOSHOW}
    if state is BookingState.CANCELLED:
        assert not was_reported
        assert all(action not in TRANSITIONS[state] for action in Action)


@given(st.sampled_from(CancelledBy), st.booleans(), st.booleans())
def test_one_cancels_in_ones_own_name_or_the_patients(
    by: CancelledBy, requester: bool, doctor: bool
) -> None:
    allowed = {CancelledBy.PATIENT}
    if requester:
        allowed.add(CancelledBy.REQUESTER)
    if doctor:
        allowed.add(CancelledBy.DOCTOR)
    if by in allowed:
        check_cancelled_by(by, requester=requester, doctor=doctor)
    else:
        with pytest.raises(BookingInvalid):
            check_cancelled_by(by, requester=requester, doctor=doctor)


def test_every_vital_code_is_a_national_code() -> None:
    known = {
        *reference.code_list("motives"),
        *reference.code_list("priorities"),
        *reference.code_list("care_levels"),
    }
    assert {code for code in VITAL if code not in known} == {"M01"}  # a whole family


def test_all_vital_distress_is_refused_and_fever_is_not() -> None:
    family = [code for code in reference.code_list("motives") if code.startswith("M01.")]
    assert family
    assert {vital(code) for code in family} == {Vital.REFUSE}
    assert vital("M03.14") is None
    assert vital(None) is None
