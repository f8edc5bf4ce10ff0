"""Years as rows could make them, and an attacker who asks everything about them.

Some counts are independent of each other; those that are `made` are sums of them. The attacker
knows how counts are made and which rows count where, but no number. He asks, solves the equations,
and looks for people: for a count, or a part of one, of 1 to 10.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from itertools import combinations
from random import Random
from typing import TypeVar

from service.analytics.domain import (
    APPOINTMENTS,
    CALL_OUTCOMES,
    CALLBACKS,
    CPTS_INDICATORS,
    REFERRALS,
    SLOT_USAGE,
    Keys,
    Month,
    Rules,
    Secrecy,
)
from service.analytics.domain.numbers import total
from tests.analytics.attack import Knowledge

FLOOR = 11
SMALL = range(1, FLOOR)
KEYS = [f"2022-{n:02}" for n in range(1, 13)]
RANGES = list(combinations(range(13), 2))

Counts = Mapping[str, int]
Lines = Mapping[Keys, Counts]
Place = tuple[str, Keys]  # a month and what its rows belong to; or a line of the whole year
Draw = Callable[[], int]
T = TypeVar("T")
_LINE = "line"


@dataclass(frozen=True, eq=False)
class Figure:
    """The rules of a figure, and what its counts are called here."""

    rules: Rules
    names: Mapping[str, str]


@dataclass(frozen=True, eq=False)
class Case:
    """Figures that count the same rows."""

    draw: Callable[[Draw], Counts]  # the counts that are independent
    made: Mapping[str, str]
    nested: Sequence[str]  # counts of people, each within the one before: "calls oriented"
    parts: Sequence[str]  # other differences that count people
    figures: Sequence[Figure]
    communities: Sequence[Keys]
    often: Mapping[str, float]  # how often a line of the year has rows
    dimensions: Mapping[str, Mapping[str, Sequence[str]]]  # the lines that each key adds up

    def whole(self, counts: Counts) -> Counts:
        """Return counts with those that are made of them."""
        found = dict(counts)
        for name, expression in self.made.items():
            found[name] = total(expression, found.__getitem__)
        return found

    @cached_property
    def people(self) -> list[str]:
        """Everything that counts people: each count, what is left of another without it, parts."""
        counts = [*self.draw(lambda: 0), *self.made]
        pairs = [p for chain in self.nested for p in combinations(chain.split(), 2)]
        return [*counts, *(f"{whole} - {part}" for whole, part in pairs), *self.parts]


@dataclass(frozen=True, eq=False)
class Year:
    """What was drawn."""

    case: Case
    counts: Mapping[Place, Counts]
    months: Mapping[str, Sequence[Place]] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(
            self, "months", {month: [p for p in self.counts if p[0] == month] for month in KEYS}
        )

    def of(self, months: Iterable[str], line: str | None = "") -> list[Place]:
        """Return the places of some months: all, or those of a community."""
        return [p for month in months for p in self.months[month] if line == "" or line in p[1]]

    def value(self, expression: str, places: Iterable[Place]) -> int:
        """Count what rows say of some places together."""
        return sum(total(expression, self.counts[place].__getitem__) for place in places)

    def own(self, figure: Figure, places: Sequence[Place]) -> Counts:
        """Return a figure's counts of some places together."""
        return {cell: self.value(name, places) for cell, name in figure.names.items()}


def year_of(case: Case, seed: int) -> Year:
    """Draw what each month has of each community in each line; some of it is rare."""
    random = Random(seed)
    few, usual = random.choice((0.02, 0.1, 0.3)), random.choice((15, 40, 400))
    often = {line: n if n == 1 else random.choice((n, n / 10)) for line, n in case.often.items()}
    busy = {month: random.choice((1.0, 1.0, 0.5, random.random() / 10)) for month in KEYS}

    def draw() -> int:
        if random.random() < few:
            return random.choice((0, 1, random.choice(SMALL), 10))
        return random.randint(FLOOR, usual)

    found: dict[Place, dict[str, int]] = {}
    nothing = case.draw(lambda: 0)
    for place in [(month, keys) for month in KEYS for keys in case.communities]:
        for line in case.often:
            there = random.random() < often[line] * busy[place[0]]
            here = case.draw(draw) if there else nothing
            for each in (place, (_LINE, (line,))):
                counts = found.setdefault(each, dict(nothing))
                for name, n in here.items():
                    counts[name] += n
    return Year(case, {place: case.whole(counts) for place, counts in found.items()})


# --- the attacker ---------------------------------------------------------------------------------


@cache
def _made_of(case: Case, expression: str) -> Mapping[str, int]:
    found: dict[str, int] = {}

    def add(name: str, sign: int) -> None:
        if name in case.made:
            for inner, n in _made_of(case, case.made[name]).items():
                found[inner] = found.get(inner, 0) + sign * n
        else:
            found[name] = found.get(name, 0) + sign

    sign = 1
    for word in expression.split():
        if word in {"+", "-"}:
            sign = 1 if word == "+" else -1
        else:
            add(word, sign)
    return found


def _unknown(case: Case, expression: str, places: Iterable[Place]) -> dict[Hashable, int]:
    made = _made_of(case, expression)
    return {(place, name): n for place in places for name, n in made.items()}


def each_once(lines: Lines) -> Lines:
    """Return a month by what its rows belong to, as it is decided: each row is there once."""
    return lines


def by_community(lines: Lines) -> Lines:
    """Return a month by community: what two of them share is there twice."""
    return {
        (line,): {
            cell: sum(counts[cell] for keys, counts in lines.items() if line in keys)
            for cell in next(iter(lines.values()))
        }
        for line in {line for keys in lines for line in keys}
    }


def attack(
    year: Year, figures: Sequence[Figure], decided_over: Callable[[Lines], Lines] = each_once
) -> Knowledge:
    """Ask everything that an analyst may ask."""
    known, case = Knowledge(), year.case
    of_lines = [place for place in year.counts if place[0] == _LINE]
    for name in case.draw(lambda: 0):
        all_lines = dict.fromkeys(_unknown(case, name, of_lines), -1)
        known.learn({**_unknown(case, name, year.of(KEYS)), **all_lines}, 0)
    for figure in figures:
        months = [
            Month(
                month,
                year.own(figure, year.months[month]),
                decided_over({place[1]: year.own(figure, [place]) for place in year.months[month]}),
            )
            for month in KEYS
        ]
        for dimension in sorted(figure.rules.keys & set(case.dimensions)) or ["none"]:
            keys = {
                key: [(_LINE, (line,)) for line in lines]
                for key, lines in case.dimensions.get(dimension, {}).items()
            }
            lines: Lines = {(key,): year.own(figure, of) for key, of in keys.items()}
            secrecy = Secrecy(FLOOR, months, lines).decide(figure.rules.families)
            decided = {cell for family in figure.rules.families for cell in family.cells}
            for cell, name in figure.names.items():
                parts = figure.rules.sums.get(cell, (cell,))
                if not decided.issuperset(parts):
                    continue
                for places in _told(year, secrecy, parts, keys):
                    known.learn(_unknown(case, name, places), year.value(name, places))
    return known


def _told(
    year: Year, secrecy: Secrecy, parts: Sequence[str], keys: Mapping[str, Sequence[Place]]
) -> Iterator[Sequence[Place]]:
    communities = sorted({line for of in year.case.communities for line in of}, key=str)
    for asked in (KEYS[a:b] for a, b in RANGES):
        if all(secrecy.tells(part, asked) for part in parts):
            yield year.of(asked)
        for line in communities:
            if all(secrecy.tells_line(part, asked, line) for part in parts):
                yield year.of(asked, line)
    for key, places in keys.items():
        if all(secrecy.tells_key(part, key) for part in parts):
            yield places


def found(year: Year, known: Knowledge) -> Iterator[tuple[str, Sequence[Place], int]]:
    """Yield every small count of people that follows from what is known."""
    for name in year.case.people:
        for places in _places(year):
            value = year.value(name, places)
            if value in SMALL and known.finds(_unknown(year.case, name, places)) is not None:
                yield name, places, value


def _places(year: Year) -> Iterator[Sequence[Place]]:
    """Yield months and the year, whole and by every union of groups; lines and their unions."""
    for months in [*([month] for month in KEYS), KEYS]:
        for groups in _unions(year.case.communities):
            yield [place for place in year.of(months) if place[1] in groups]
    for lines in _unions(list(year.case.often)):
        yield [(_LINE, (line,)) for line in lines]


def _unions(of: Sequence[T]) -> Iterator[Sequence[T]]:
    for size in range(1, len(of) + 1):
        yield from combinations(of, size)


# --- calls ----------------------------------------------------------------------------------------


def _calls(draw: Draw) -> Counts:
    """Calls with one outcome, two or three, and what else became of them."""
    one = {name: draw() for name in ("advised", "oriented", "prescribed", "u", "r", "x", "none")}
    two, three, other_two = draw() // 2, draw() // 4, draw() // 2
    calls = sum(one.values()) + two + three + other_two

    def within(whole: int) -> int:
        return max(0, whole - draw())

    oriented = one["oriented"] + two + three
    with_appointment = within(oriented)
    missed = min(draw(), with_appointment)
    within_48 = within(with_appointment)
    requested = within(calls)
    attempted = within(requested)
    return {
        **one,
        "calls": calls,
        "advised": one["advised"] + two + three,
        "oriented": oriented,
        "prescribed": one["prescribed"] + three,
        "other": one["u"] + one["r"] + one["x"] + other_two,
        "u": one["u"] + other_two,
        "x": one["x"] + other_two,
        "avoided": within(calls - one["r"]),
        "requested": requested,
        "attempted": attempted,
        "reached": within(attempted),
        "within_60": within(attempted),
        "with_appointment": with_appointment,
        "missed": missed,
        "pending": min(draw(), with_appointment - missed),
        "given_up": 0,
        "within_48": within_48,
        "within_24": within(within_48),
    }


_CATEGORIES = ("advised", "oriented", "prescribed", "other")
_CALLS = Case(
    draw=_calls,
    made={
        "mentions": " + ".join(_CATEGORIES),
        "honoured": "with_appointment - missed - pending - given_up",
    },
    nested=[
        "calls requested attempted reached",
        "calls requested attempted within_60",
        "calls oriented with_appointment within_48 within_24",
        *(f"calls {category}" for category in _CATEGORIES),
        *(f"calls other {detail}" for detail in ("u", "r", "x")),
        "calls none",
        "calls avoided",
        *(f"with_appointment {result}" for result in ("honoured", "missed", "pending")),
    ],
    parts=[
        *(f"calls - none - {name}" for name in (*_CATEGORIES, "u", "r", "x")),
        "mentions + none - calls",  # in several
        "u + r + x - other",
        "calls - r - avoided",
    ],
    figures=[
        Figure(
            CALL_OUTCOMES,
            {
                "calls": "calls",
                "outcomes.medical_advice.calls": "advised",
                "outcomes.slot_orientation.calls": "oriented",
                "outcomes.prescription.calls": "prescribed",
                "outcomes.other.calls": "other",
                "outcomes.other.detail.patient_unreachable.calls": "u",
                "outcomes.other.detail.redirected_to_15.calls": "r",
                "outcomes.other.detail.other.calls": "x",
                "outcome_mentions": "mentions",
                "calls_without_outcome": "none",
                "avoided_emergency_visits.calls": "avoided",
                "callback_minutes.calls": "attempted",
                "within_60_minutes": "within_60",
            },
        ),
        Figure(
            CPTS_INDICATORS,
            {
                "requests.calls": "calls",
                "requests.within_48_hours": "within_48",
                "requests.within_24_hours": "within_24",
                **{
                    f"requests.{name}": name
                    for name in ("oriented", "with_appointment", "honoured", "pending")
                },
                **{f"requests.{name}": name for name in ("missed", "given_up")},
            },
        ),
        Figure(
            CALLBACKS,
            {
                **{name: name for name in ("calls", "requested", "attempted", "reached")},
                "within_60_minutes": "within_60",
            },
        ),
    ],
    communities=[("A",), ("B",), ("C",), (None,)],
    often={"08": 1.0, "09": 0.4, "22": 0.2},
    dimensions={"hour": {hour: [hour] for hour in ("08", "09", "22")}},
)

# --- seats and the appointments on them -----------------------------------------------------------

_SIDES = ("patient", "requester", "doctor", "system")
_SHARED: list[Keys] = [("A",), ("B",), ("A", "B"), ("C",), (None,)]


def _seats(draw: Draw) -> Counts:
    booked, overbooked, withdrawn = draw(), draw(), draw()
    live = booked + overbooked
    missed = min(draw(), live)
    unreported = min(draw(), live - missed)
    within_48 = max(0, live - draw())
    expired = draw()
    return {
        "live": live,
        "overbooked": overbooked,
        "withdrawn": withdrawn,
        "replaced": max(0, withdrawn - draw()),
        "given_back": max(0, withdrawn - draw()),
        "expired": expired,
        "then_taken": max(0, booked - draw()),
        "released_in_vain": max(0, expired - draw()),
        "open": 0,
        "walk_in": draw(),
        "missed": missed,
        "unreported": unreported,
        "upcoming": 0,
        "sent": max(0, live - unreported - draw()),
        "within_48": within_48,
        "within_24": max(0, within_48 - draw()),
        **{f"by_{side}": draw() for side in _SIDES},
    }


_SEATS = Case(
    draw=_seats,
    made={
        "taken": "live - overbooked",
        "published": "taken + withdrawn + expired + open",
        "released": "then_taken + released_in_vain",
        "fulfilled": "live - missed - unreported - upcoming",
        "reported": "live - unreported - upcoming",
        "cancelled": " + ".join(f"by_{side}" for side in _SIDES),
        "booked": "live + cancelled",
    },
    nested=[
        "live reported sent",
        "live within_48 within_24",
        "withdrawn replaced",
        "withdrawn given_back",
        "published released then_taken",
        "taken then_taken",
        "booked live",
        "published live",
    ],
    parts=[],
    figures=[
        Figure(
            SLOT_USAGE,
            {
                "booked": "taken",
                **{name: name for name in ("live", "published", "withdrawn", "replaced")},
                **{name: name for name in ("expired", "open", "overbooked", "walk_in")},
                **{name: name for name in ("released", "given_back")},
                "released_and_booked": "then_taken",
            },
        ),
        Figure(
            APPOINTMENTS,
            {
                **{name: name for name in ("live", "booked", "cancelled", "fulfilled", "missed")},
                **{name: name for name in ("unreported", "upcoming")},
                "sent_to_emergency": "sent",
                "within_48_hours": "within_48",
                "within_24_hours": "within_24",
                **{f"cancelled_by.{side}": f"by_{side}" for side in _SIDES},
            },
        ),
    ],
    communities=_SHARED,
    often={"08": 1.0, "09": 0.4, "22": 0.2},
    dimensions={"hour": {hour: [hour] for hour in ("08", "09", "22")}},
)

# --- bookings by who asked ------------------------------------------------------------------------

_RESULTS = ("fulfilled", "missed", "cancelled", "pending")
_REFERRALS = Case(
    draw=lambda draw: {**{result: draw() for result in _RESULTS}, "pending": 0},
    made={"booked": " + ".join(_RESULTS)},
    nested=[],
    parts=[],
    figures=[Figure(REFERRALS, {name: name for name in ("booked", *_RESULTS)})],
    communities=_SHARED,
    often={"regulator": 1.0, "osnp": 0.1, "emergency_nurse": 0.2, "pharmacist": 1.0},
    dimensions={
        "role": {role: [role] for role in ("regulator", "osnp", "emergency_nurse", "pharmacist")},
        "organization_type": {
            "sas": ["regulator", "osnp"],
            "emergency_department": ["emergency_nurse"],
            "pharmacy": ["pharmacist"],
        },
    },
)

CASES: Mapping[str, Case] = {"calls": _CALLS, "seats": _SEATS, "referrals": _REFERRALS}
