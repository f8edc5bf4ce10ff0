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
