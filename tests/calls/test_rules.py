"""The rules of a call, over every state and many histories."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.calls.domain import (
    AHEAD,
    MASK,
    OUTCOMES_OPEN,
    TRANSITIONS,
    Action,
    Call,
    CallInvalid,
    CallState,
    CallStateForbids,
    Outcome,
    after,
    allowing,
    assignee,
    attempted,
    callback_flag,
    check_attempt,
    check_outcomes_open,
    check_received,
    mask_of,
)
from service.kernel.ids import new_id

NOW = datetime(2026, 3, 29, 1, 30, tzinfo=UTC)
minutes = st.integers(-5000, 5000).map(lambda n: timedelta(minutes=n))


def a_call(**members: Any) -> Call:
    """A call of nobody."""
    values: dict[str, Any] = {
        **dict.fromkeys(Call.__dataclass_fields__),
        "id": new_id(),
        "state": CallState.OPEN,
        "received_at": NOW - timedelta(hours=1),
        "now": NOW,
        "outcome_mask": 0,
        "outcomes": (),
        "callbacks": (),
        **members,
    }
    return Call(**values)


def test_the_masks_are_what_the_figures_and_the_demo_read() -> None:
    assert {outcome.value: bit for outcome, bit in MASK.items()} == {
        "medical_advice": 1,
        "slot_orientation": 2,
        "prescription": 4,
        "patient_unreachable": 8,
        "redirected_to_15": 16,
        "other": 32,
    }


@given(st.sampled_from(CallState), st.sampled_from(Action))
def test_every_state_answers_every_action(state: CallState, action: Action) -> None:
    target = TRANSITIONS[state].get(action)
    assert (state in allowing(action)) == (target is not None)
    if target is None:
        with pytest.raises(CallStateForbids) as refusal:
            after(state, action)
        assert refusal.value.extra == {"state": state.value, "action": action.value}
    else:
        assert isinstance(target, CallState)
        assert after(state, action) is target


def test_the_table_is_total_and_has_no_way_back() -> None:
    assert set(TRANSITIONS) == set(CallState)
    assert {action for row in TRANSITIONS.values() for action in row} == set(Action)
    assert TRANSITIONS[CallState.VOID] == {}
    assert set(TRANSITIONS[CallState.CLOSED].values()) == {CallState.CLOSED}
    assert allowing(Action.VOID) == (CallState.OPEN,)


@given(st.lists(st.sampled_from(Action), max_size=30))
def test_any_history_stays_within_the_rules(actions: list[Action]) -> None:
    state, ended = CallState.OPEN, False
    for action in actions:
        try:
            state = after(state, action)
        except CallStateForbids:
            continue
        assert not (ended and state not in {CallState.CLOSED, CallState.VOID})
        ended = state in {CallState.CLOSED, CallState.VOID}


@given(st.lists(st.sampled_from(Outcome)))
def test_a_mask_has_each_outcome_once(outcomes: list[Outcome]) -> None:
    mask = mask_of(outcomes)
    assert {o for o in Outcome if mask & MASK[o]} == set(outcomes)
    assert mask == mask_of(reversed(outcomes)) == mask_of(outcomes * 2) < 64


@given(
    st.sampled_from([s for s in CallState if s not in {CallState.CLOSED, CallState.VOID}]),
    st.none() | minutes,
    st.lists(st.tuples(minutes, st.booleans()), min_size=1, max_size=6),
)
def test_no_wait_is_negative(
    state: CallState, requested: timedelta | None, attempts: list[tuple[timedelta, bool]]
) -> None:
    if state is CallState.AWAITING_CALLBACK and requested is None:
        requested = timedelta(0)
    call = a_call(
        state=state, callback_requested_at=None if requested is None else NOW + abs(requested)
    )
    reached_at = []
    for offset, reached in attempts:
        at = NOW + offset
        changes = attempted(call, at=at, reached=reached)
        call = a_call(
            **{
                "state": call.state,
                "callback_requested_at": call.callback_requested_at,
                "first_attempt_at": call.first_attempt_at,
                "called_back_at": call.called_back_at,
                **changes,
            }
        )
        if reached:
            reached_at.append(at)
        if reached or state is CallState.CALLED_BACK:
            state = CallState.CALLED_BACK
        assert call.state is state
    assert call.first_attempt_at == min(NOW + offset for offset, _ in attempts)
    assert call.called_back_at == (min(reached_at) if reached_at else None)
    if call.callback_requested_at is not None:
        assert call.callback_requested_at <= call.first_attempt_at
    assert (call.callback_requested_at is None) == (requested is None)


def test_a_request_starts_a_new_wait() -> None:
    call = a_call(first_attempt_at=NOW - timedelta(minutes=10))
    assert callback_flag(call, wanted=False) == {}
    assert callback_flag(call, wanted=True) == {
        "state": CallState.AWAITING_CALLBACK,
        "callback_requested_at": NOW,
        "first_attempt_at": None,
    }
    for state in (CallState.CALLED_BACK, CallState.CLOSED, CallState.VOID):
        with pytest.raises(CallStateForbids):
            callback_flag(a_call(state=state), wanted=True)


@given(minutes)
def test_instants_may_be_five_minutes_ahead(offset: timedelta) -> None:
    call = a_call(received_at=NOW - timedelta(days=30))
    if offset <= AHEAD:
        check_received(NOW + offset, NOW)
        check_attempt(call, NOW + offset)
    else:
        with pytest.raises(CallInvalid):
            check_received(NOW + offset, NOW)
        with pytest.raises(CallInvalid):
            check_attempt(call, NOW + offset)


@given(st.timedeltas(timedelta(0), timedelta(days=90)))
def test_outcomes_stay_open_for_thirty_days(since: timedelta) -> None:
    call = a_call(state=CallState.CLOSED, closed_at=NOW - since)
    for action in (Action.ADD_OUTCOME, Action.REMOVE_OUTCOME):
        if since <= OUTCOMES_OPEN:
            check_outcomes_open(call, action)
        else:
            with pytest.raises(CallStateForbids):
                check_outcomes_open(call, action)


def test_who_has_taken_a_call() -> None:
    def who(role: str = "regulator", **person: str) -> dict[str, Any]:
        return {"client_id": "c", "role": role, "person": person or None}

    assert assignee(who(id="7", email="a@x.fr")) == assignee(who(id="7", email="b@x.fr"))
    others = [who(), who("osnp"), who(id="7"), who(id="8"), who(email="7"), who("osnp", id="7")]
    assert all(
        (assignee(one) == assignee(two)) == (i == j)
        for i, one in enumerate(others)
        for j, two in enumerate(others)
    )
    call = a_call(assigned_to=who(id="7"))
    assert not call.assigned_to_other(who(id="7", given_name="Ana"))
    assert call.assigned_to_other(who(id="8"))
    assert not a_call().assigned_to_other(who())
