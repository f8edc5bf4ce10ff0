"""Reference tables shipped with the product: communes, search radii, national code lists.

Every table is read once, at its first use, from the CSV files of `data/`, whose sources and
licences stand in `data/README.md`. Nothing here knows the database or the web framework.
"""

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import takewhile
from math import asin, cos, radians, sin, sqrt
from pathlib import Path
from types import MappingProxyType

_DATA = Path(__file__).parent / "data"

EARTH_RADIUS_KM = 6371.0088  # IUGG mean radius
DEFAULT_RADIUS_KM = 30  # for the territories to which the national table gives none
DEFAULT_ENLARGEMENT_KM = 15  # half of it, as in the national table


@dataclass(frozen=True, slots=True)
class Commune:
    """A commune or municipal arrondissement: INSEE code (2026), WGS 84 position in degrees.

    `precision` says what the position is worth: exact, postal, epci or department.
    """

    code: str
    name: str
    department: str
    population: int
    latitude: float
    longitude: float
    precision: str
    postal_codes: tuple[str, ...]
    parent: str | None = None  # the commune of an arrondissement of Paris, Lyon or Marseille


@dataclass(frozen=True, slots=True)
class SearchRadius:
    """How far to look for a slot in one territory, in kilometres (SAS platform, ANS, 2025)."""

    territory: str
    label: str
    region: str
    default_km: int
    enlargement_km: int  # added when the answer is empty
    department_km: int | None  # None, like the barycentre, where the table has 0
    barycentre: tuple[float, float] | None  # latitude, longitude


@dataclass(frozen=True, slots=True)
class Code:
    """One entry of a national code list; `parent` is the code it refines."""

    code: str
    label: str
    parent: str | None


def _rows(path: str) -> Iterator[dict[str, str]]:
    with (_DATA / path).open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


def load() -> None:
    """Read the tables that a search asks: some tenths of a second, once a process."""
    communes()
    territories()


@cache
def communes() -> Mapping[str, Commune]:
    """Every commune and municipal arrondissement of today by its INSEE code."""
    return {
        row["code"]: Commune(
            code=row["code"],
            name=row["name"],
            department=row["department"],
            population=int(row["population"]),
            latitude=float(row["latitude"]),
            longitude=float(row["longitude"]),
            precision=row["precision"],
            postal_codes=tuple(row["postal_codes"].split()),
            parent=row["parent"] or None,
        )
        for row in _rows("communes.csv")
    }


def commune(code: str) -> Commune | None:
    """The commune or municipal arrondissement with this INSEE code, if there is one today."""
    return communes().get(code)


def _territory(code: str) -> str:
    """The table writes 1 and 20A where everybody else writes 01 and 2A."""
    return code.replace("20", "2") if code in {"20A", "20B"} else code.zfill(2)


@cache
def territories() -> Mapping[str, SearchRadius]:
    """The territories of the national table of search radii, by code."""
    radii = {}
    for row in _rows("search_radius.csv"):
        territory = _territory(row["code"])
        latitude, longitude = float(row["barycentreCityLat"]), float(row["barycentreCityLon"])
        radii[territory] = SearchRadius(
            territory=territory,
            label=row["label"].strip(),
            region=row["region"].strip(),
            default_km=int(row["cityDefaultRadius"]) or DEFAULT_RADIUS_KM,
            enlargement_km=int(row["enlargementValue"]) or DEFAULT_ENLARGEMENT_KM,
            department_km=int(row["countyRadius"]) or None,
            barycentre=(latitude, longitude) if latitude and longitude else None,
        )
    return MappingProxyType(dict(sorted(radii.items())))


def search_radius(territory: str) -> SearchRadius:
    """The radii of a territory; the defaults, under its own code, if the table lacks it."""
    return territories().get(territory) or SearchRadius(
        territory, territory, "", DEFAULT_RADIUS_KM, DEFAULT_ENLARGEMENT_KM, None, None
    )


_ZONES = {
    "971": "America/Guadeloupe",
    "972": "America/Martinique",
    "973": "America/Cayenne",
    "974": "Indian/Reunion",
    "975": "America/Miquelon",
    "976": "Indian/Mayotte",
    "977": "America/St_Barthelemy",
    "978": "America/Marigot",
    "986": "Pacific/Wallis",
    "987": "Pacific/Tahiti",  # the Marquesas and the Gambier keep other hours
    "988": "Pacific/Noumea",
}


def territory_zone(territory: str) -> str:
    """The IANA time zone of a territory: that of its département, Paris unless overseas."""
    return _ZONES.get(territory, "Europe/Paris")


_CODE_FILES = {
    "priorities": "HubSante.priorite.csv",
    "care_levels": "HubSante.niveauSoin.csv",
    "decisions": "HubSante.typeDecision.csv",
    "orientations": "HubSante.typeOrientation.csv",
    "resources": "HubSante.typeRessource.csv",
    "lines": "HubSante.origine.csv",
    "caller_types": "HubSante.typeAppelant.csv",
    "attributions": "HubSante.attribution.csv",
    "motives": "HubSante.motif.csv",
    "sexes": "HubSante.sexe.csv",
    "age_classes": "HubSante.patient.csv",
    "file_states": "HubSante.etat.csv",
    "operator_roles": "HubSante.role.csv",
    "visibilities": "TRE_R314-TypeCreneau.csv",
    "specialties": "JDV_J239-SpecialitesSNP-SAS.csv",
    "professions": "TRE_G15-ProfessionSante.csv",
    # National codes with our wording, and reasons that no national list has.
    "modes": "modes.csv",
    "unmet_need_reasons": "unmet_need_reasons.csv",
}


def code_lists() -> tuple[str, ...]:
    """The English names of the national code lists."""
    return tuple(sorted(_CODE_FILES))


def _label(row: dict[str, str]) -> str:
    """The label stands in the column of its level; the columns of the other levels are blank."""
    if "display_fr" in row:
        return row["display_fr"].strip()
    levels = list(takewhile(lambda column: column != "description", row))[2:]  # index, code
    return next(label for column in levels if (label := row[column].strip()))


def _parent(code: str, codes: Mapping[str, str]) -> str | None:
    """DRM.MRL.MG refines DRM.MRL; the motives write their heads with zeros: M01.01, M01.00."""
    stem, _, _ = code.rpartition(".")
    return next((head for head in (stem, f"{stem}.00") if head in codes and head != code), None)


@cache
def code_list(name: str) -> Mapping[str, Code]:
    """A national code list by its English name, in the national order, with French labels.

    The deprecated professions are kept: old data name them.
    """
    if name not in _CODE_FILES:
        raise KeyError(f"no code list {name!r}; there are {', '.join(code_lists())}")
    labels = {row["code"]: _label(row) for row in _rows(f"codes/{_CODE_FILES[name]}")}
    return MappingProxyType(
        {code: Code(code, label, _parent(code, labels)) for code, label in labels.items()}
    )


def distance_km(lat1: float, lon1: float, lat2: float, lon2: float) -> float:
    """Great-circle distance in kilometres between two positions in degrees (haversine)."""
    phi1, phi2 = radians(lat1), radians(lat2)
    half = sin((phi2 - phi1) / 2) ** 2
    half += cos(phi1) * cos(phi2) * sin(radians(lon2 - lon1) / 2) ** 2
    return 2 * EARTH_RADIUS_KM * asin(min(1.0, sqrt(half)))  # rounding may exceed 1 at antipodes
