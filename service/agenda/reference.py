"""Public and school holidays of a local date, from the library `holidays`, by territory and zone.

The library is imported when the first session asks for it: most processes never do.
"""

from datetime import date
from functools import cache

# Territories whose public holidays differ from the national ones, in the library's names.
_SUBDIVISIONS = {
    "57": "57",
    "67": "6AE",
    "68": "6AE",
    "971": "971",
    "972": "972",
    "973": "973",
    "974": "974",
    "975": "PM",
    "976": "976",
    "977": "BL",
    "978": "MF",
    "986": "WF",
    "987": "PF",
    "988": "NC",
}


# Départements by académie, académies by zone (arrêté du calendrier scolaire national). Corsica and
# overseas keep calendars of their own, set by their rectors, which the library does not know.
_ACADEMIES = {
    "A": {
        "Besançon": "25 39 70 90",
        "Bordeaux": "24 33 40 47 64",
        "Clermont-Ferrand": "03 15 43 63",
        "Dijon": "21 58 71 89",
        "Grenoble": "07 26 38 73 74",
        "Limoges": "19 23 87",
        "Lyon": "01 42 69",
        "Poitiers": "16 17 79 86",
    },
    "B": {
        "Aix-Marseille": "04 05 13 84",
        "Amiens": "02 60 80",
        "Lille": "59 62",
        "Nancy-Metz": "54 55 57 88",
        "Nantes": "44 49 53 72 85",
        "Nice": "06 83",
        "Normandie": "14 27 50 61 76",
        "Orléans-Tours": "18 28 36 37 41 45",
        "Reims": "08 10 51 52",
        "Rennes": "22 29 35 56",
        "Strasbourg": "67 68",
    },
    "C": {
        "Créteil": "77 93 94",
        "Montpellier": "11 30 34 48 66",
        "Paris": "75",
        "Toulouse": "09 12 31 32 46 65 81 82",
        "Versailles": "78 91 92 95",
    },
}
_SCHOOL_ZONES = {
    department: zone
    for zone, academies in _ACADEMIES.items()
    for departments in academies.values()
    for department in departments.split()
}
_OWN_CALENDAR = frozenset(
    ["2A", "2B", "971", "972", "973", "974", "975", "976", "977", "978", "986", "987", "988"]
)


def school_zone(territory: str) -> str | None:
    """Return the zone of a territory's schools; None of those that have none, or that we ignore."""
    return _SCHOOL_ZONES.get(territory)


def has_own_school_calendar(territory: str) -> bool:
    """Tell whether its schools are in no zone of the national calendar."""
    return territory in _OWN_CALENDAR


@cache
def public_holidays(territory: str, year: int) -> frozenset[date]:
    """Return the public holidays of a territory, Alsace-Moselle's and overseas ones included."""
    import holidays  # noqa: PLC0415  0.1 s, and only some sessions need it

    return frozenset(
        holidays.country_holidays("FR", subdiv=_SUBDIVISIONS.get(territory), years=year)
    )


@cache
def school_holidays(zone: str, year: int) -> frozenset[date]:
    """Return the days without school in zone A, B or C."""
    import holidays  # noqa: PLC0415  as above

    return frozenset(
        holidays.country_holidays("FR", subdiv=f"Zone {zone}", years=year, categories=("school",))
    )
