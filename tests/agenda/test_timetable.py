"""When a session takes place, without a database: every zone, every clock change."""

from collections import Counter
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service import directory
from service.agenda import reference
from service.agenda.domain.timetable import (
    DAYS_AHEAD,
    Closed,
    Expansion,
    Recurrence,
    SchoolZone,
    Skip,
    Timetable,
    Weekday,
    days,
    expand,
    next_date,
    window,
)

ZONES = [ZoneInfo(name) for name in ("Europe/Paris", "Indian/Reunion", "America/Miquelon")]
PARIS, REUNION, MIQUELON = ZONES
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
EVERY_DAY = Recurrence(weekly=tuple(Weekday))
ONE_DAY = timedelta(days=1)


def hours(
    day: date, start: str, end: str, minutes: int, recurrence: Recurrence | None = None
) -> Timetable:
    return Timetable(
        date=day,
        start=time.fromisoformat(start),
        end=time.fromisoformat(end),
        slot_minutes=minutes,
        recurrence=recurrence,
    )


def filled(
    timetable: Timetable, zone: ZoneInfo, now: datetime = LONG_AGO, closed: Closed | None = None
) -> Expansion:
    first, last = window(timetable, now.astimezone(zone).date())
    return expand(timetable, zone, closed or Closed(), first=first, last=last, now=now)


def local_starts(found: Expansion, zone: ZoneInfo) -> list[str]:
    return [p.starts_at.astimezone(zone).strftime("%d %H:%M%z") for p in found.periods]


dates = st.dates(date(2024, 1, 1), date(2030, 12, 31))
times = st.builds(lambda n: time(n // 12, n % 12 * 5), st.integers(0, 287))
recurrences = st.builds(
    Recurrence,
    weekly=st.sets(st.sampled_from(Weekday), min_size=1).map(tuple),
    until=st.none() | dates,
    excepted=st.lists(dates, max_size=3).map(tuple),
    skip_public_holidays=st.booleans(),
    skip_school_holidays=st.booleans(),
    school_zone=st.sampled_from(SchoolZone),
)
timetables = st.builds(
    Timetable,
    date=dates,
    start=times,
    end=times,
    slot_minutes=st.sampled_from([5, 10, 15, 20, 25, 30, 45, 60, 90]),
    recurrence=recurrences,
).filter(lambda t: t.start != t.end)


def _closed(today: date, near: list[int], away: list[int]) -> Closed:
    """Holidays, exceptions and absences close to the window, so that they matter."""
    around = {today + timedelta(days=n) for n in near}
    noon = datetime.combine(today, time(12), UTC)
    ranges = [(noon + timedelta(hours=n), noon + timedelta(hours=n + 30)) for n in away]
    return Closed(public=around, school={d + ONE_DAY for d in around}, absences=ranges)


@given(
    timetable=timetables,
    zone=st.sampled_from(ZONES),
    later=st.integers(-500, 500),
    minute=st.integers(0, 1439),
    near=st.lists(st.integers(-1, DAYS_AHEAD), max_size=8),
    away=st.lists(st.integers(0, DAYS_AHEAD * 24), max_size=3),
)
def test_every_slot_is_where_it_was_asked_for_and_none_elsewhere(
    timetable: Timetable,
    zone: ZoneInfo,
    later: int,
    minute: int,
    near: list[int],
    away: list[int],
) -> None:
    today = timetable.date + timedelta(days=later)
    now = datetime.combine(today, time(minute // 60, minute % 60), zone).astimezone(UTC)
    closed = _closed(today, near, away)
    today = now.astimezone(zone).date()
    found = filled(timetable, zone, now, closed)
    recurrence = timetable.recurrence
    assert recurrence is not None
    length = timedelta(minutes=timetable.slot_minutes)

    kept = [p.starts_at for p in found.periods]
    assert kept == sorted(set(kept))
    for one, two in zip(found.periods, found.periods[1:], strict=False):
        assert one.ends_at <= two.starts_at
    for period in found.periods:
        day = period.date
        assert today - ONE_DAY <= day < today + timedelta(days=DAYS_AHEAD)
        assert day >= timetable.date
        assert recurrence.until is None or day <= recurrence.until
        assert list(Weekday)[day.weekday()] in recurrence.weekly
        assert day not in recurrence.excepted
        assert not (recurrence.skip_public_holidays and day in closed.public)
        assert not (recurrence.skip_school_holidays and day in closed.school)
        assert period.starts_at > now
        assert period.ends_at - period.starts_at == length
        assert not any(f < period.ends_at and period.starts_at < t for f, t in closed.absences)
        wall = period.starts_at.astimezone(zone)
        steps, rest = divmod(
            wall.replace(tzinfo=None) - datetime.combine(day, timetable.start), length
        )
        assert (rest, wall.fold) == (timedelta(0), 0)
        assert 0 <= steps < timetable.slots_a_day


@given(timetable=timetables, zone=st.sampled_from(ZONES), later=st.integers(-9, 500))
def test_what_is_missing_is_told_and_only_the_clocks_swallow_slots(
    timetable: Timetable, zone: ZoneInfo, later: int
) -> None:
    today = timetable.date + timedelta(days=later)
    now = datetime.combine(today, time(), zone).astimezone(UTC)
    found = filled(timetable, zone, now)
    assert {s.reason for s in found.skipped} <= {Skip.NO_SUCH_TIME}
    asked = [
        day
        for day in days(timetable, *window(timetable, today))
        if day >= today  # yesterday's night has started, partly
    ]
    stands = [p for p in found.periods if p.date >= today and p.date != today]
    lost = sum(s.slots for s in found.skipped if s.date > today)
    assert len(stands) + lost == timetable.slots_a_day * len([d for d in asked if d > today])
    if zone is REUNION:
        assert lost == 0


@pytest.mark.parametrize(
    ("zone", "evening", "gone"),
    [
        (PARIS, date(2027, 3, 27), ["28 02:00", "28 02:30"]),
        (MIQUELON, date(2027, 3, 13), ["14 02:00", "14 02:30"]),
        (REUNION, date(2027, 3, 27), []),
    ],
)
def test_in_spring_a_local_time_that_does_not_exist_is_skipped(
    zone: ZoneInfo, evening: date, gone: list[str]
) -> None:
    found = filled(hours(evening, "22:00", "06:00", 30), zone)
    wanted = [
        (datetime.combine(evening, time(22)) + n * timedelta(minutes=30)).strftime("%d %H:%M")
        for n in range(16)
    ]
    assert [s[:8] for s in local_starts(found, zone)] == [w for w in wanted if w not in gone]
    assert [(s.date, s.slots) for s in found.skipped] == ([(evening, 2)] if gone else [])


@pytest.mark.parametrize(
    ("zone", "evening", "before", "after"),
    [
        (PARIS, date(2026, 10, 24), "+0200", "+0100"),
        (MIQUELON, date(2026, 10, 31), "-0200", "-0300"),
        (REUNION, date(2026, 10, 24), "+0400", "+0400"),
    ],
)
def test_in_autumn_a_local_time_that_exists_twice_is_taken_once(
    zone: ZoneInfo, evening: date, before: str, after: str
) -> None:
    found = filled(hours(evening, "22:00", "06:00", 30), zone)
    walls = local_starts(found, zone)
    assert len(walls) == len({wall[:8] for wall in walls}) == 16
    # Paris turns back at 3:00 to 2:00, Miquelon at 2:00 to 1:00: the first of two is taken.
    twice = "02:30" if zone is PARIS else "01:30"
    assert [wall[-5:] for wall in walls if twice in wall] == [before]
    assert [wall[-5:] for wall in walls if "03:00" in wall] == [after]
    assert found.skipped == []


def test_a_slot_that_reaches_over_the_jump_leaves_no_room_for_the_next() -> None:
    found = filled(hours(date(2027, 3, 28), "00:00", "05:15", 45), PARIS)
    assert [s[3:8] for s in local_starts(found, PARIS)] == [
        "00:00",
        "00:45",
        "01:30",
        "03:45",
        "04:30",
    ]
    assert [(s.reason, s.slots) for s in found.skipped] == [(Skip.NO_SUCH_TIME, 2)]


@pytest.mark.parametrize("zone", ZONES)
def test_the_local_time_is_kept_when_the_clocks_change(zone: ZoneInfo) -> None:
    monday = date(2026, 10, 5)
    weekly = hours(monday, "14:00", "14:20", 20, Recurrence(weekly=(Weekday.MO,)))
    found = filled(weekly, zone, datetime(2026, 10, 4, 12, tzinfo=UTC))
    assert [s[3:8] for s in local_starts(found, zone)] == ["14:00"] * 8
    offsets = {s[-5:] for s in local_starts(found, zone)}
    assert len(offsets) == (1 if zone is REUNION else 2)
    assert [p.date for p in found.periods] == [monday + timedelta(weeks=n) for n in range(8)]


def test_a_night_belongs_to_the_date_it_starts_on() -> None:
    christmas_eve = date(2026, 12, 24)
    night = Recurrence(weekly=tuple(Weekday), until=date(2026, 12, 26), skip_public_holidays=True)
    found = filled(
        hours(christmas_eve, "22:00", "02:00", 60, night),
        PARIS,
        datetime(2026, 12, 24, 6, tzinfo=UTC),
        Closed(public=reference.public_holidays("36", 2026)),
    )
    assert [s[:8] for s in local_starts(found, PARIS)] == [
        "24 22:00", "24 23:00", "25 00:00", "25 01:00",
        "26 22:00", "26 23:00", "27 00:00", "27 01:00",
    ]  # fmt: skip
    assert [(s.date, s.reason, s.slots) for s in found.skipped] == [
        (date(2026, 12, 25), Skip.PUBLIC_HOLIDAY, 4)
    ]


def test_after_midnight_yesterdays_night_still_has_slots_to_come() -> None:
    night = hours(date(2026, 6, 1), "22:00", "02:00", 60, EVERY_DAY)
    found = filled(night, PARIS, datetime(2026, 6, 9, 22, 30, tzinfo=UTC))  # 0:30 on the 10th
    assert local_starts(found, PARIS)[:2] == ["10 01:00+0200", "10 22:00+0200"]


def test_a_day_that_ends_at_midnight_does_not_need_the_next_one() -> None:
    found = filled(hours(date(2026, 6, 1), "23:00", "00:00", 30), PARIS)
    assert [s[:8] for s in local_starts(found, PARIS)] == ["01 23:00", "01 23:30"]


def test_a_session_that_takes_place_once_is_filled_however_far_it_is() -> None:
    far = hours(date(2027, 3, 1), "09:00", "10:00", 20)
    assert len(filled(far, PARIS, datetime(2026, 6, 1, tzinfo=UTC)).periods) == 3


def test_the_next_date_skips_what_is_over_closed_or_away() -> None:
    daily = hours(date(2026, 12, 1), "09:00", "10:00", 20, EVERY_DAY)
    noon = datetime(2026, 12, 24, 12, tzinfo=UTC)
    assert next_date(daily, PARIS, Closed(), noon) == date(2026, 12, 25)
    away = [(noon, noon + timedelta(days=7))]
    assert next_date(daily, PARIS, Closed(absences=away), noon) == date(2027, 1, 1)
    once = hours(date(2026, 12, 24), "09:00", "10:00", 20)
    assert next_date(once, PARIS, Closed(), noon) is None
    assert next_date(once, PARIS, Closed(), noon - ONE_DAY) == date(2026, 12, 24)


# --- holidays -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("territory", "day", "closed"),
    [
        ("36", date(2026, 7, 14), True),
        ("36", date(2026, 12, 26), False),
        ("67", date(2026, 12, 26), True),
        ("68", date(2026, 12, 26), True),
        ("57", date(2026, 12, 26), True),
        ("2A", date(2026, 11, 11), True),
        ("974", date(2026, 12, 20), True),
        ("971", date(2026, 5, 27), True),
        ("972", date(2026, 5, 22), True),
        ("973", date(2026, 6, 10), True),
        ("976", date(2026, 4, 27), True),
        ("977", date(2026, 10, 9), True),
        ("988", date(2026, 9, 24), True),
        ("75", date(2026, 12, 20), False),
    ],
)
def test_public_holidays_are_those_of_the_territory(
    territory: str, day: date, *, closed: bool
) -> None:
    assert (day in reference.public_holidays(territory, day.year)) is closed


def test_school_holidays_are_those_of_the_zone() -> None:
    winter = [date(2026, 2, 7) + timedelta(days=n) for n in range(38)]
    found = {z: [d for d in winter if d in reference.school_holidays(z, 2026)] for z in "ABC"}
    assert all(len(found[z]) >= 14 for z in "ABC")
    assert len({tuple(days) for days in found.values()}) == 3


def test_every_territory_has_one_school_zone_or_a_calendar_of_its_own() -> None:
    territories = set(directory.reference.territories())
    zones = {t: reference.school_zone(t) for t in territories}
    own = {t for t in territories if reference.has_own_school_calendar(t)}
    assert {t for t, zone in zones.items() if zone is None} == own
    assert {"2A", "2B", "971", "974"} <= own
    assert Counter(zone for zone in zones.values() if zone) == {"A": 32, "B": 41, "C": 21}
    assert (zones["36"], zones["86"], zones["75"], zones["13"]) == ("B", "A", "C", "B")


def test_a_holiday_is_left_out_only_where_that_was_asked() -> None:
    christmas = date(2026, 12, 25)
    now = datetime(2026, 12, 20, tzinfo=UTC)
    closed = Closed(public={christmas}, school={date(2026, 12, 28)})
    for recurrence, gone in (
        (EVERY_DAY, set()),
        (Recurrence(weekly=tuple(Weekday), skip_public_holidays=True), {christmas}),
        (
            Recurrence(weekly=tuple(Weekday), skip_school_holidays=True, school_zone=SchoolZone.B),
            {date(2026, 12, 28)},
        ),
    ):
        found = filled(hours(now.date(), "09:00", "10:00", 20, recurrence), PARIS, now, closed)
        assert {s.date for s in found.skipped} == gone
        assert not gone & {p.date for p in found.periods}
        assert len({p.date for p in found.periods}) == DAYS_AHEAD - len(gone)
