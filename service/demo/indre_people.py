"""Who: the organizations, doctors and places of care of the Indre, all invented.

Nobody here is a living doctor: the names are plants, birds and stones, and every RPPS number fails
its Luhn key on purpose. There is no FINESS or SIRET number.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from random import Random
from uuid import UUID

from stdnum import luhn

from service.demo.draw import Identifiers, Row, apportion, pick, stream
from service.demo.indre_places import (
    CENTRE,
    CPTS,
    EMERGENCY_DEPARTMENTS,
    PHARMACIES,
    PRACTICES,
    TERRITORY,
    cpts_of,
    place,
    populations,
)
from service.directory.reference import search_radius, territory_zone

PRACTITIONERS = 60
CREATED = datetime(2021, 9, 1, 8, tzinfo=UTC)

_SPECIALTIES = {"SM54": 84.0, "SM53": 10.0, "SM26": 6.0}
_STATUSES = {"self_employed": 70.0, "locum": 13.0, "retired": 9.0, "intern": 4.0, "employee": 4.0}
_SECOND_PLACE = 0.25
_AT_THE_CENTRE = 15  # of the first doctors, all of the town, those with one practice take turns
_REDUCED_MOBILITY = 0.8

_FAMILY_NAMES = (
    *("Aubépin", "Bergeronnette", "Bouleau", "Bouvreuil", "Bruyère", "Busard", "Calcaire"),
    *("Campanule", "Chardonneret", "Charmille", "Châtaignier", "Chèvrefeuille", "Clématite"),
    *("Coquelicot", "Cormier", "Courlis", "Digitale", "Églantine", "Épervier", "Érable"),
    *("Fauvette", "Fougère", "Framboisier", "Fusain", "Genévrier", "Gentiane", "Grèbe"),
    *("Grimpereau", "Groseillier", "Hêtraie", "Hirondelle", "Houx", "Huppe", "Iris", "Jacinthe"),
    *("Jonquille", "Laîche", "Lavandier", "Liseron", "Loriot", "Marjolaine", "Martinet"),
    *("Mélèze", "Merisier", "Mésange", "Myosotis", "Néflier", "Noisetier", "Nymphéa", "Orchis"),
    *("Ormeau", "Osmonde", "Passereau", "Pervenche", "Peuplier", "Primevère", "Prunellier"),
    *("Roitelet", "Roseau", "Rougegorge", "Saponaire", "Sarcelle", "Sorbier", "Sureau"),
    *("Tilleul", "Tourterelle", "Troène", "Verdier", "Véronique", "Viorne"),
)
_GIVEN_NAMES = (
    *("Adèle", "Agathe", "Alban", "Anatole", "Apolline", "Armand", "Aurore", "Barnabé"),
    *("Blanche", "Clovis", "Colombe", "Côme", "Diane", "Edgar", "Elvire", "Ernest", "Eugénie"),
    *("Fantine", "Félix", "Gaspard", "Honoré", "Irène", "Isidore", "Joséphine", "Léonie"),
    *("Lucien", "Mathurin", "Octave", "Ophélie", "Philomène", "Rosalie", "Solange", "Sylvain"),
    *("Théodore", "Ursule", "Victorine", "Violette", "Zélie"),
)
_STREETS = (
    *("des Tilleuls", "de la Fontaine", "du Lavoir", "des Écoles", "du Moulin", "de la Gare"),
    *("du Champ de foire", "des Remparts", "de la Tour", "du Stade", "des Vergers", "du Pont"),
)
_LABELS = {
    "practice": "Cabinet médical",
    "msp": "Maison de santé",
    "cds": "Centre de santé",
    "pharmacy": "Pharmacie",
    "emergency_department": "Service des urgences",
    "csnp": "Centre de soins non programmés",
}


@dataclass(frozen=True, slots=True)
class Directory:
    """The directory of the territory, as rows of its tables."""

    territories: list[Row]
    organizations: list[Row]
    practitioners: list[Row]
    locations: list[Row]
    practitioner_locations: list[Row]

    def of_type(self, *types: str) -> list[Row]:
        """The organizations of some types."""
        return [o for o in self.organizations if o["type"] in types]

    def the(self, type_: str) -> Row:
        """The only organization of a type."""
        (only,) = self.of_type(type_)
        return only

    def places_of(self, practitioner_id: UUID) -> list[Row]:
        """The places where a practitioner works."""
        here = {
            link["location_id"]
            for link in self.practitioner_locations
            if link["practitioner_id"] == practitioner_id
        }
        return [row for row in self.locations if row["id"] in here]


@cache
def colleague(number: int) -> dict[str, str]:
    """A member of the regulation centre's staff, as its software would assert them."""
    return {
        "id": f"crra36-{number:02d}",
        "family_name": _FAMILY_NAMES[(PRACTITIONERS + number) % len(_FAMILY_NAMES)],
        "given_name": _GIVEN_NAMES[(7 * number + 3) % len(_GIVEN_NAMES)],
    }


def false_rpps(number: int) -> str:
    """An RPPS number in form only: eleven digits whose Luhn key is wrong."""
    stem = f"99936{number:05d}"
    return stem + str((int(luhn.calc_check_digit(stem)) + 1 + number % 9) % 10)


def territory() -> Row:
    """The row of the territory, from the national table of search radii."""
    radius = search_radius(TERRITORY)
    return {
        "id": TERRITORY,
        "name": radius.label,
        "region": radius.region,
        "zone": territory_zone(TERRITORY),
        "default_radius_km": float(radius.default_km),
        "enlargement_km": float(radius.enlargement_km),
    }


def _organization(
    ids: Identifiers, type_: str, name: str, commune: str, cpts_ids: list[UUID]
) -> Row:
    return {
        "id": ids.at(CREATED),
        "territory": TERRITORY,
        "type": type_,
        "name": name,
        "finess": None,
        "siret": None,
        "commune": commune,
        "phone": None,
        "cpts_ids": cpts_ids,
        "active": True,
        "version": 1,
        "created_at": CREATED,
    }


def _care_sites() -> Iterator[tuple[str, str]]:
    """Type and commune of every organization that belongs to a community."""
    for practices in PRACTICES.values():
        yield from practices
    yield from (("pharmacy", code) for code in PHARMACIES)
    yield from (("emergency_department", code) for code in EMERGENCY_DEPARTMENTS)
    yield "csnp", CENTRE


def _organizations() -> list[Row]:
    ids = Identifiers("organizations")
    communities = {
        name: _organization(ids, "cpts", f"CPTS {name}", codes[0], [])
        for name, codes in CPTS.items()
    }
    rows = [*communities.values()]
    rows.append(_organization(ids, "sas", "SAS de l'Indre, centre de régulation", CENTRE, []))
    for number, (type_, code) in enumerate(_care_sites()):
        street = _STREETS[number % len(_STREETS)]
        name = f"{_LABELS[type_]} {street}, {place(code).name}"
        rows.append(_organization(ids, type_, name, code, [communities[cpts_of(code)]["id"]]))
    return rows


def _location(ids: Identifiers, random: Random, organization: Row) -> Row:
    commune = place(organization["commune"])
    return {
        "id": ids.at(CREATED),
        "organization_id": organization["id"],
        "name": organization["name"],
        "address": f"{random.randint(1, 60)} rue {pick(random, dict.fromkeys(_STREETS, 1.0))}",
        "postal_code": commune.postal_codes[0],
        "commune": commune.code,
        # Around the centre of the commune: within about 500 m.
        "latitude": round(commune.latitude + random.uniform(-0.005, 0.005), 5),
        "longitude": round(commune.longitude + random.uniform(-0.006, 0.006), 5),
        "reduced_mobility": random.random() < _REDUCED_MOBILITY,
        "phone": None,
        "active": True,
        "version": 1,
    }


def _practitioner(ids: Identifiers, random: Random, number: int) -> Row:
    return {
        "id": ids.at(CREATED),
        "rpps": false_rpps(number),
        "family_name": _FAMILY_NAMES[number],
        "given_name": pick(random, dict.fromkeys(_GIVEN_NAMES, 1.0)),
        "profession": "10",
        "specialty": pick(random, _SPECIALTIES),
        "status": pick(random, _STATUSES),
        "territory": TERRITORY,
        "active": True,
        "version": 1,
        "created_at": CREATED,
    }


def _homes(random: Random, sites: Mapping[str, list[Row]]) -> Iterator[list[Row]]:
    """One or two places for each doctor; each community has its share of them by population."""
    people = populations()
    counts = apportion(PRACTITIONERS, [people[name] for name in sites])
    for (_, places), count in zip(sites.items(), counts, strict=True):
        for number in range(count):
            home, second = places[number % len(places)], places[(number + 1) % len(places)]
            yield [home, second] if random.random() < _SECOND_PLACE else [home]


def _link(practitioner: Row, location: Row) -> Row:
    return {"practitioner_id": practitioner["id"], "location_id": location["id"]}


@cache
def directory() -> Directory:
    """The whole directory of the Indre: the same at every call."""
    random, ids = stream("people"), Identifiers("people")
    organizations = _organizations()
    types = {o["id"]: o for o in organizations if o["type"] in {"practice", "msp", "cds", "csnp"}}
    locations = [_location(ids, random, o) for o in types.values()]
    sites: dict[str, list[Row]] = {name: [] for name in CPTS}
    for row in locations:
        if types[row["organization_id"]]["type"] != "csnp":
            sites[cpts_of(row["commune"])].append(row)
    practitioners, links = [], []
    for number, homes in enumerate(_homes(random, sites)):
        doctor = _practitioner(ids, random, number)
        if len(homes) == 1 and number < _AT_THE_CENTRE:
            homes.append(locations[-1])  # the unscheduled-care centre
        practitioners.append(doctor)
        links += [_link(doctor, home) for home in homes]
    return Directory([territory()], organizations, practitioners, locations, links)
