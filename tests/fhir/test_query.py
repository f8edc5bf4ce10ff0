"""A search is read alike in every spelling; what cannot be executed is refused with all reasons."""

from datetime import UTC, datetime, timedelta, timezone
from urllib.parse import parse_qsl, quote, urlsplit
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.fhir import query
from service.fhir.query import SearchRefused, SlotSearch

PARIS = ZoneInfo("Europe/Paris")
SYSTEM = "urn:oid:1.2.250.1.71.4.2.1"
RPPS = st.from_regex(r"[0-9]{11}", fullmatch=True)
FROM, TO = "ge2030-01-15T08:00:00.000%2B01:00", "le2030-01-17T23:59:59.000%2B01:00"
WHO = f"{query.IDENTIFIER}={SYSTEM}|810000000001"
GOOD = f"start={FROM}&start={TO}&{WHO}&status=free"


def read(text: str) -> SlotSearch:
    return query.read(query.pairs(text.encode()))


def refused(text: str) -> set[tuple[str, str]]:
    with pytest.raises(SearchRefused) as refusal:
        read(text)
    return {(error.pointer, error.code) for error in refusal.value.errors}


def started(text: str) -> datetime:
    return read(f"start={text}&start=le2030-01-20&{WHO}&status=free").from_


# --- who ----------------------------------------------------------------------------------------


@given(
    st.lists(RPPS, min_size=1, max_size=25, unique=True),
    st.sampled_from(["|", "%7C", "%7c"]),
    st.sampled_from([",", ", ", ",+", ",%20", "%2C", ",,"]),
    st.sampled_from([SYSTEM, quote(SYSTEM, ""), ""]),
    st.sampled_from(["8", ""]),
)
def test_whoever_is_asked_for_in_any_spelling(
    numbers: list[str], bar: str, comma: str, system: str, prefix: str
) -> None:
    bar = bar if system else ""
    who = comma.join(f"{system}{bar}{prefix}{number}" for number in numbers)
    found = read(f"start={FROM}&start={TO}&{query.IDENTIFIER}={who}&status=free")
    assert found.rpps == tuple(numbers)


@given(st.lists(RPPS, min_size=2, max_size=25, unique=True), st.data())
def test_a_name_that_comes_again_asks_for_more(numbers: list[str], data: st.DataObject) -> None:
    cut = data.draw(st.integers(1, len(numbers) - 1))
    parts = [",".join(f"{SYSTEM}|8{n}" for n in half) for half in (numbers[:cut], numbers[cut:])]
    again = "&".join(f"{query.IDENTIFIER}={part}" for part in parts)
    assert read(f"{again}&start={FROM}&start={TO}&status=free").rpps == tuple(numbers)


@pytest.mark.parametrize(
    "who",
    [
        f"{SYSTEM}|0361234567",  # ADELI
        f"{SYSTEM}|x",
        "urn:oid:1.2.250.1.213.3.6|810000000001",
        f"{SYSTEM}|3810000000001/7",
        "é",
        "%FF",
        f"{SYSTEM}|8\N{ARABIC-INDIC DIGIT ONE}0000000001",
    ],
)
def test_a_number_of_another_kind_is_nobody_we_know(who: str) -> None:
    found = read(f"start={FROM}&start={TO}&status=free&{query.IDENTIFIER}={who}")
    assert found.rpps == ()


# --- when ---------------------------------------------------------------------------------------


@given(
    st.integers(0, 190 * 365 * 86_400_000),
    st.integers(-14 * 4, 14 * 4),
    st.sampled_from(["+", "%2B", " ", "%20"]),
)
def test_an_offset_holds_however_its_sign_arrives(
    milliseconds: int, quarters: int, plus: str
) -> None:
    zone = timezone(timedelta(minutes=15 * quarters))
    at = datetime(2000, 1, 2, tzinfo=zone) + timedelta(milliseconds=milliseconds)
    text = at.isoformat(timespec="milliseconds").replace("+", plus)
    last = (at + timedelta(days=1)).isoformat(timespec="milliseconds").replace("+", plus)
    found = read(f"start=ge{text}&start=le{last}&{WHO}&status=free")
    assert (found.from_, found.to) == (at, at + timedelta(days=1))


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("ge2030-01-15T10:00:00", datetime(2030, 1, 15, 10, tzinfo=PARIS)),
        ("ge2030-01-15T10:00:00.000", datetime(2030, 1, 15, 10, tzinfo=PARIS)),
        ("ge2030-01-15T10:00", datetime(2030, 1, 15, 10, tzinfo=PARIS)),
        ("ge2030-01-15T10:00:00Z", datetime(2030, 1, 15, 10, tzinfo=UTC)),
        ("ge2030-01-15T10:00:00.123456789Z", datetime(2030, 1, 15, 10, 0, 0, 123456, UTC)),
        ("ge2030-01-15T10:00:00.000 00:00", datetime(2030, 1, 15, 10, tzinfo=UTC)),
        ("ge2030-01-15T10:00:00-04:00", datetime(2030, 1, 15, 14, tzinfo=UTC)),
        ("ge2030-01-15", datetime(2030, 1, 15, tzinfo=PARIS)),
        (" ge2030-01-15", datetime(2030, 1, 15, tzinfo=PARIS)),
    ],
)
def test_an_instant_without_offset_is_one_of_paris(text: str, at: datetime) -> None:
    assert started(text) == at
    assert started(quote(text)) == at


def test_a_day_ends_with_its_last_instant() -> None:
    found = read(f"start=ge2030-01-15&start=le2030-01-15&{WHO}&status=free")
    assert found.to - found.from_ == timedelta(days=1) - timedelta(microseconds=1)


def test_each_bound_that_is_sent_holds() -> None:
    found = read(f"{GOOD}&start=ge2030-01-16&start=le2030-01-18")
    assert found.from_ == datetime(2030, 1, 16, tzinfo=PARIS)
    assert found.to == datetime(2030, 1, 17, 23, 59, 59, tzinfo=PARIS)


# --- for whom -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["_include", "_include:iterate", "_include%3Aiterate"])
@pytest.mark.parametrize("value", ["Slot:service-type-reference", "Slot%3Aservice-type-reference"])
def test_communities_are_asked_for_by_what_is_to_be_included(name: str, value: str) -> None:
    assert not read(f"{GOOD}&_include=Slot:schedule").communities
    assert read(f"{name}={value}&_include=Slot:schedule&{GOOD}").communities


# --- refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("", {("start", "required"), (query.IDENTIFIER, "required"), ("status", "required")}),
        (f"start={FROM}&{WHO}&status=free", {("start", "required")}),
        (f"start={TO}&{WHO}&status=free", {("start", "required")}),
        (f"{GOOD}&start=2030-01-16", {("start", "value")}),
        (f"{GOOD}&start=gt2030-01-16", {("start", "value")}),
        (f"{GOOD}&start=", {("start", "value")}),
        (f"start=gesoon&start={TO}&{WHO}&status=free", {("start", "value")}),
        (f"start=ge2030-02-30&start={TO}&{WHO}&status=free", {("start", "value")}),
        (f"start=ge0001-01-01&start={TO}&{WHO}&status=free", {("start", "value")}),
        (f"start=ge2030-01-15T25:00:00Z&start={TO}&{WHO}&status=free", {("start", "value")}),
        (f"start=ge2030-01-15T10:00:00%2B99:00&start={TO}&{WHO}&status=free", {("start", "value")}),
        (f"start={FROM}&start=le2030-03-01&{WHO}&status=free", {("start", "too-costly")}),
        (GOOD.replace("free", "busy"), {("status", "value")}),
        (f"{GOOD}&status=busy", {("status", "value")}),
        (GOOD.replace("free", "free,busy"), {("status", "value")}),
        (GOOD.replace("&status=free", ""), {("status", "required")}),
        (f"start={FROM}&start={TO}&status=free", {(query.IDENTIFIER, "required")}),
        (
            f"start={FROM}&start={TO}&status=free&{query.IDENTIFIER}=,%20,",
            {(query.IDENTIFIER, "required")},
        ),
    ],
)
def test_what_cannot_be_executed_is_refused(text: str, wrong: set[tuple[str, str]]) -> None:
    assert refused(text) == wrong


def test_twenty_five_are_the_most() -> None:
    numbers = [f"{SYSTEM}|81{n:010d}" for n in range(26)]
    most = f"start={FROM}&start={TO}&status=free&{query.IDENTIFIER}="
    assert len(read(most + ",".join(numbers[:25])).rpps) == 25
    assert len(read(most + ",".join([*numbers[:25], numbers[0]])).rpps) == 25
    assert refused(most + ",".join(numbers)) == {(query.IDENTIFIER, "too-costly")}


@given(st.binary(max_size=200))
def test_nonsense_is_refused_and_never_a_defect(sent: bytes) -> None:
    with pytest.raises(SearchRefused):
        query.read(query.pairs(sent))


@given(st.text(st.sampled_from("0123456789-:.TZ+ ge"), max_size=30))
def test_no_instant_is_a_defect(text: str) -> None:
    wrong = refused(f"start=ge{quote(text)}&start=lex&{WHO}&status=free")
    assert {pointer for pointer, _ in wrong} == {"start"}


# --- the self link ------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.text(min_size=1), st.text()), max_size=8))
def test_the_self_link_says_what_was_asked(asked: list[tuple[str, str]]) -> None:
    link = query.self_link("https://x.example/fhir/Slot", asked)
    assert link.isascii()
    assert not set(link) & set('|+ "<>')
    assert parse_qsl(urlsplit(link).query, keep_blank_values=True) == asked
    assert [*query.pairs(urlsplit(link).query.encode())] == [
        (name, query.pairs(f"start={quote(value)}".encode())[0][1] if name == "start" else value)
        for name, value in asked
    ]


def test_the_self_link_keeps_what_nobody_knows_in_its_order() -> None:
    asked = query.pairs(
        b"_count=1000&start=ge2030-01-15T08:00:00.000 01:00&x=a%2Bb&x=&schedule.actor:Practitioner"
        b".identifier=urn:oid:1.2.250.1.71.4.2.1|810000000001, urn:y|8&_format"
    )
    assert query.self_link("/Slot", asked) == (
        "/Slot?_count=1000&start=ge2030-01-15T08:00:00.000%2B01:00&x=a%2Bb&x="
        "&schedule.actor:Practitioner.identifier=urn:oid:1.2.250.1.71.4.2.1%7C810000000001,"
        "%20urn:y%7C8&_format="
    )
