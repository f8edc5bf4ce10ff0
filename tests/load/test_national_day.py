"""The national day is what it promises to be, before anything is replayed."""

from collections import Counter

import pytest

from load_tests.scenarios import day
from service.demo import indre_calls, indre_time
from service.directory import reference


@pytest.fixture(scope="module")
def national() -> list[day.Call]:
    return day.schedule()


def test_sizes(national: list[day.Call]) -> None:
    assert len(national) == 16_000
    assert sum(len(call.searches) for call in national) == 64_000
    assert sum(call.booked for call in national) == 6_000
    assert all(call.searches for call in national)
    assert 0 < sum(call.held for call in national) < 6_000
    assert {call.booked for call in national if call.outcome == "slot_orientation"} == {True}


def test_same_seed_same_day(national: list[day.Call]) -> None:
    assert day.schedule() == national
    assert day.schedule(seed=2) != national


def test_calls_follow_the_inhabitants(national: list[day.Call]) -> None:
    people, calls = day.populations(), Counter(call.territory for call in national)
    assert len(people) == 101
    assert set(people) <= set(reference.territories()) | {"971", "972", "973", "974", "976"}
    assert 66_000_000 < sum(people.values()) < 70_000_000
    for territory, inhabitants in people.items():
        expected = 16_000 * inhabitants / sum(people.values())
        assert abs(calls[territory] - expected) < 5 * expected**0.5 + 1


def test_calls_follow_the_hours(national: list[day.Call]) -> None:
    assert [call.at for call in national] == sorted(call.at for call in national)
    calls, shares = Counter(int(call.at // 3600) for call in national), day.HOURS["weekday"]
    for hour in range(24):
        expected = 16_000 * shares[hour] / sum(shares)
        assert abs(calls[hour] - expected) < 5 * expected**0.5


def test_a_trial_is_a_share_of_the_day() -> None:
    trial = day.schedule(share=0.01, territories=["36"], kind="sunday")
    assert len(trial) == 160
    assert sum(len(call.searches) for call in trial) == 640
    assert sum(call.booked for call in trial) == 60
    assert {call.territory for call in trial} == {"36"}


def test_rhythms_and_outcomes_are_those_of_the_demo() -> None:
    assert day.HOURS == {
        "weekday": indre_time._WEEKDAY_HOURS,
        "saturday": indre_time._SATURDAY_HOURS,
        "sunday": indre_time._SUNDAY_HOURS,
    }
    alone: Counter[str] = Counter()
    for outcomes, size in indre_calls.ENDINGS.items():
        alone[outcomes[0]] += size
    del alone["slot_orientation"]
    assert alone == day.OUTCOMES
