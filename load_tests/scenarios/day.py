"""A day of regulated calls, drawn before it is replayed: who calls where, when, and what follows.

Pure and seeded: the same day at every run. The sizes are those of the whole country (docs of the
SAS: 16 000 regulated calls and 64 000 slot searches a day; 6 000 bookings). Calls follow the
inhabitants of the communes: `service/directory/data/communes.csv` (populations légales, INSEE, see
the README beside it). Hours and outcomes follow the Indre of 2022: copied from
`service/demo/indre_time.py` and `indre_calls.py`, because locust's environment has no service;
a test holds them equal. Pauses within a call and the shares of modes, radii and holds are
assumptions.
"""

import csv
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random

CALLS, SEARCHES, BOOKINGS = 16_000, 64_000, 6_000
DAY = 24 * 3600

_COMMUNES = Path(__file__).parents[2] / "service" / "directory" / "data" / "communes.csv"
_OVERSEAS = frozenset({"971", "972", "973", "974", "976"})  # those that are départements
_CODE = 2

# Calls by hour of the day, service/demo/indre_time.py.
_NIGHT = (2, 1.5, 1.2, 1, 1, 1.2, 2, 4)
HOURS: Mapping[str, tuple[float, ...]] = {
    "weekday": (*_NIGHT, 9, 12, 11, 10, 6, 6, 8, 8, 9, 9, 7, 5, 9, 8, 6, 4),
    "saturday": (*_NIGHT, 7, 9, 10, 10, 9, 9, 10, 10, 9, 9, 8, 7, 7, 6, 5, 3),
    "sunday": (*_NIGHT, 9, 12, 12, 11, 8, 7, 8, 8, 8, 9, 9, 8, 7, 6, 4, 3),
}

# How calls without a booking end, service/demo/indre_calls.py.
OUTCOMES: Mapping[str, int] = {
    "medical_advice": 7_297,
    "prescription": 2_353 - 300,
    "patient_unreachable": 618,
    "redirected_to_15": 487,
    "other": 339,
}
_OTHERWISE = ("emergency_department", "own_doctor", "wait", "none", "unknown")
# Of the national list, none of them vital.
_MOTIVES: Mapping[str, float] = {
    "M03.14": 30,
    "M03.22": 20,
    "M03.21": 13,
    "M02.06": 9,
    "M03.05": 9,
    "M03.15": 6,
    "M06.02": 6,
    "M03.11": 4,
    "M07.00": 3,
}
_HELD = 0.7  # of the bookings: the seat was held first
_OPERATOR = 0.15  # of the calls: an operator settles it under a protocol, without a doctor
_RADII: Mapping[int | None, float] = {None: 60, 10: 10, 20: 15, 50: 15}  # None: the territory's
_MODES: Mapping[str | None, float] = {"AMB": 80, None: 12, "VR": 5, "HH": 3}


@dataclass(frozen=True, slots=True)
class Place:
    """A commune."""

    commune: str
    territory: str
    population: int
    latitude: float
    longitude: float


@dataclass(frozen=True, slots=True)
class Search:
    """One look for a slot, `after` seconds after what came before."""

    after: float
    commune: str
    radius_km: int | None
    mode: str | None


@dataclass(frozen=True, slots=True)
class Call:
    """One regulated call; times are seconds, `at` since midnight, in one zone."""

    number: int
    at: float
    territory: str
    commune: str
    operator: bool
    motive: str
    wait: float  # until somebody takes it
    searches: tuple[Search, ...]
    booked: bool
    held: bool
    talk: float  # from the chosen slot to the booking, or from the search to the outcome
    outcome: str
    wrap_up: float
    otherwise: str


@cache
def places() -> Mapping[str, tuple[Place, ...]]:
    """The inhabited communes of each département."""
    found: dict[str, list[Place]] = defaultdict(list)
    with _COMMUNES.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            territory, people = row["department"], int(row["population"])
            whole = len(territory) == _CODE or territory in _OVERSEAS
            if whole and people and not row["parent"]:  # an arrondissement is in its commune
                position = float(row["latitude"]), float(row["longitude"])
                found[territory].append(Place(row["code"], territory, people, *position))
    return {territory: tuple(found[territory]) for territory in sorted(found)}


def populations() -> dict[str, int]:
    """Inhabitants of each département."""
    return {t: sum(place.population for place in found) for t, found in places().items()}


def schedule(
    *,
    seed: int = 1,
    share: float = 1.0,
    kind: str = "weekday",
    territories: Sequence[str] | None = None,
) -> list[Call]:
    """Draw a day, in the order of the calls; exactly as many of each kind as promised.

    `share` shrinks all three sizes for a trial. `territories` are those that somebody can sign in
    for: they share the whole load.
    """
    random = Random(f"national-day/{seed}")
    size, searches, bookings = (round(share * n) for n in (CALLS, SEARCHES, BOOKINGS))
    wanted = [p for t, found in places().items() if not territories or t in territories
              for p in found]  # fmt: skip
    where = random.choices(wanted, [place.population for place in wanted], k=size)
    instants = sorted(_instants(random, size, HOURS[kind]))
    looks = _looks(random, size, searches)
    booked = set(random.sample(range(size), bookings))
    return [
        _call(random, n, at, where[n], looks=looks[n], booked=n in booked)
        for n, at in enumerate(instants)
    ]


def _instants(random: Random, size: int, hours: Sequence[float]) -> Iterator[float]:
    for hour in random.choices(range(len(hours)), hours, k=size):
        yield 3600 * (hour + random.random())


def _looks(random: Random, size: int, searches: int) -> list[int]:
    """How often each call looks for a slot: at least once, and exactly so often in all."""
    looks = [1] * size
    for n in random.choices(range(size), k=max(0, searches - size)):
        looks[n] += 1
    return looks


def _call(
    random: Random, number: int, at: float, place: Place, *, looks: int, booked: bool
) -> Call:
    def one(shares: Mapping[str, float]) -> str:
        return random.choices(tuple(shares), tuple(shares.values()))[0]

    return Call(
        number=number,
        at=at,
        territory=place.territory,
        commune=place.commune,
        operator=random.random() < _OPERATOR,
        motive=one(_MOTIVES),
        wait=random.uniform(30, 600),
        searches=tuple(_search(random, place) for _ in range(looks)),
        booked=booked,
        held=booked and random.random() < _HELD,
        talk=random.uniform(20, 90),
        outcome="slot_orientation" if booked else one(OUTCOMES),
        wrap_up=random.uniform(5, 60),
        otherwise=random.choice(_OTHERWISE),
    )


def _search(random: Random, place: Place) -> Search:
    return Search(
        after=random.uniform(10, 45),
        commune=place.commune,
        radius_km=random.choices(tuple(_RADII), tuple(_RADII.values()))[0],
        mode=random.choices(tuple(_MODES), tuple(_MODES.values()))[0],
    )
