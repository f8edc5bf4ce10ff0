"""The arithmetic of figures: rounding, months, categories."""

from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.analytics.domain import (
    CATEGORIES,
    OTHER_MASK,
    SEVERAL,
    FiguresInvalid,
    Period,
    Tally,
    categories_in,
    figures,
    minutes,
    percent,
    period,
    share,
)
from service.analytics.http import CSV, JSON, XLSX, preferred
from service.analytics.schemas import cell
from service.calls import Outcome, mask_of
from tests.analytics.support import BITS, rounded

ZONES = (
    "Europe/Paris",
    "Indian/Reunion",
    "America/Guadeloupe",
    "America/Miquelon",
    "Pacific/Wallis",
    "Pacific/Noumea",
)
wholes = st.integers(1, 10**7)
days = st.dates(date(1990, 1, 1), date(2060, 1, 1))


@st.composite
def periods(draw: st.DrawFn) -> Period:
    """Any period of up to four years."""
    start = draw(days)
    return period(start, start + timedelta(days=draw(st.integers(1, 1500))))


def test_the_published_figures_of_the_indre() -> None:
    """Report "Tour de France des CPTS", action 4: shares and percentages are of 17 232 calls."""
    tally = Tally(
        calls=17_232,
        having={
            Outcome.MEDICAL_ADVICE: 7_297,
            Outcome.SLOT_ORIENTATION: 6_438,
            Outcome.PRESCRIPTION: 2_353,
        },
        in_other=1_444,
        several=300,
        avoided=2_615,
    )
    found = figures(tally, period(date(2022, 1, 1), date(2023, 1, 1)))
    assert found.monthly_mean is not None
    assert float(found.monthly_mean) == 1436.0
    assert [(c.category, c.calls, str(c.share), c.percent) for c in found.outcomes] == [
        ("medical_advice", 7_297, "0.4235", 42),
        ("slot_orientation", 6_438, "0.3736", 37),
        ("prescription", 2_353, "0.1365", 14),
        ("other", 1_444, "0.0838", 8),
    ]
    assert found.outcome_mentions == 17_532


@given(wholes, st.data())
def test_shares_are_rounded_half_up_once(whole: int, data: st.DataObject) -> None:
    part = data.draw(st.integers(0, whole))
    exact = Fraction(part, whole)
    found, whole_percent = share(part, whole), percent(part, whole)
    assert found is not None
    assert float(found) == rounded(exact, 4)
    assert -found.as_tuple().exponent == 4  # type: ignore[operator]  # a letter only of what is no number
    assert whole_percent == int(rounded(exact * 100, 0))


@pytest.mark.parametrize(
    ("part", "whole", "found", "whole_percent"),
    [
        (1, 20_000, "0.0001", 0),  # 0.00005
        (1, 200, "0.0050", 1),  # half a percent goes up
        (5, 1_000, "0.0050", 1),
        (49_999, 10_000_000, "0.0050", 0),  # each is rounded from the exact quotient
        (2, 3, "0.6667", 67),
        (0, 7, "0.0000", 0),
        (7, 7, "1.0000", 100),
    ],
)
def test_halves_go_up(part: int, whole: int, found: str, whole_percent: int) -> None:
    assert (str(share(part, whole)), percent(part, whole)) == (found, whole_percent)


def test_nothing_of_nothing_is_null() -> None:
    assert share(0, 0) is None
    assert percent(0, 0) is None
    empty = figures(Tally(), period(date(2022, 1, 1), date(2022, 2, 1)))
    assert {c.share for c in empty.outcomes} == {None}
    assert (empty.waits.mean, empty.waits.within_60_share) == (None, None)
    assert str(empty.monthly_mean) == "0.0"


@given(st.timedeltas(timedelta(0), timedelta(days=400)), st.integers(1, 10**5))
def test_minutes_have_one_decimal(delay: timedelta, among: int) -> None:
    exact = Fraction(delay // timedelta(microseconds=1), 60_000_000 * among)
    assert float(minutes(delay, among)) == rounded(exact, 1)


def test_categories_cover_every_outcome_once() -> None:
    named = [outcome for outcomes in CATEGORIES.values() for outcome in outcomes]
    assert named == list(Outcome)
    assert {name: mask_of(outcomes) for name, outcomes in CATEGORIES.items()} == BITS
    assert OTHER_MASK == 56


@given(st.integers(0, 63))
def test_several_means_two_categories_or_more(mask: int) -> None:
    count = sum(1 for bits in BITS.values() if mask & bits)
    assert categories_in(mask) == count
    assert (mask in SEVERAL) == (count > 1)


@given(periods(), st.sampled_from(ZONES))
def test_months_cut_a_period_without_gap_or_overlap(whole: Period, zone: str) -> None:
    months = whole.by_month()
    assert (months[0].from_, months[-1].to) == (whole.from_, whole.to)
    assert [m.to for m in months[:-1]] == [m.from_ for m in months[1:]]
    assert all(m.from_.day == 1 for m in months[1:])
    assert all((m.from_.year, m.from_.month) == _month(m.to - timedelta(days=1)) for m in months)
    keys = [month.key for month in months]
    assert keys == sorted(set(keys))
    edges = [month.instants(zone) for month in months]
    assert all(start < end for start, end in edges)
    assert [end for _, end in edges[:-1]] == [start for start, _ in edges[1:]]
    assert all(
        start.astimezone(ZoneInfo(zone)).date() == month.from_
        for month, (start, _) in zip(months, edges, strict=True)
    )


def _month(day: date) -> tuple[int, int]:
    return day.year, day.month


@given(periods())
def test_a_monthly_mean_needs_whole_months(whole: Period) -> None:
    mean = figures(Tally(calls=120), whole).monthly_mean
    if whole.from_.day == whole.to.day == 1:
        assert whole.months == len(whole.by_month())
        assert float(mean or 0) == rounded(Fraction(120, len(whole.by_month())), 1)
    else:
        assert mean is None


def test_days_of_clock_changes_last_23_and_25_hours() -> None:
    spring = period(date(2022, 3, 27), date(2022, 3, 28)).instants("Europe/Paris")
    autumn = period(date(2022, 10, 30), date(2022, 10, 31)).instants("Europe/Paris")
    length = [end.astimezone(UTC) - start.astimezone(UTC) for start, end in (spring, autumn)]
    assert length == [timedelta(hours=23), timedelta(hours=25)]
    assert autumn[0] == datetime(2022, 10, 29, 22, tzinfo=UTC)


@pytest.mark.parametrize(
    ("from_", "to"),
    [
        (date(2022, 1, 1), date(2022, 1, 1)),
        (date(2022, 1, 2), date(2022, 1, 1)),
        (date(1900, 1, 1), date(2022, 1, 1)),
    ],
)
def test_periods_that_make_no_sense(from_: date, to: date) -> None:
    with pytest.raises(FiguresInvalid):
        period(from_, to)


@pytest.mark.parametrize(
    ("accept", "media"),
    [
        ("*/*", JSON),
        ("application/json", JSON),
        ("text/csv", CSV),
        ("Text/CSV; charset=utf-8", CSV),
        ("text/*", CSV),
        ("application/*", JSON),
        ("application/json, text/csv", JSON),
        ("application/json;q=0.5, text/csv", CSV),
        ("text/csv;q=0.3, */*;q=0.5", JSON),
        ("text/csv, */*;q=0.1", CSV),
        ("text/csv;q=nonsense", JSON),
        (XLSX, XLSX),
        (f"text/csv;q=0.9, {XLSX}", XLSX),
        (f"{XLSX}, text/csv", CSV),
        ("", JSON),
    ],
)
def test_what_an_accept_header_prefers(accept: str, media: str) -> None:
    assert preferred(accept) == media


def test_a_cell_is_never_a_formula() -> None:
    for text in ("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"):
        assert cell(text) == f"'{text}"
    assert (cell("2022-01"), cell(None), cell(3)) == ("2022-01", "", "3")
    assert cell(share(1, 3)) == "0,3333"
