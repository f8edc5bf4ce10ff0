"""Statement parts: how a slot or a booking names the practitioner and the place; time zones."""

from typing import Any

from sqlalchemy import ColumnElement, FromClause, Table, select

from service.directory.tables import locations, organizations, practitioners, territories
from service.kernel.prepared import Row

practitioner = practitioners
location = locations
organization = organizations


def card_columns(
    named: FromClause = practitioners, located: FromClause = locations
) -> list[ColumnElement[Any]]:
    """Return the columns that name a practitioner and a place, prefixed for `cards`."""
    p, place = named.c, located.c
    return [
        *(c.label(f"practitioner_{c.name}") for c in (p.rpps, p.family_name, p.given_name)),
        p.specialty.label("practitioner_specialty"),
        *(
            c.label(f"location_{c.name}")
            for c in (
                place.name,
                place.address,
                place.postal_code,
                place.commune,
                place.latitude,
                place.longitude,
                place.reduced_mobility,
                place.phone,
            )
        ),
    ]


def looked_up(table: Table, key: ColumnElement[Any]) -> FromClause:
    """Return the one row of a key, to be joined on true to rows whose number is not known before.

    The `LIMIT` forbids a plan that reads the whole table for the twenty rows of a page: PostgreSQL
    guesses the length of a page whose limit is a parameter.
    """
    return select(table).where(table.c.id == key).limit(1).lateral()


def practitioner_card(row: Row) -> dict[str, Any] | None:
    """Return who sees the patient; nobody is named yet for some slots of a centre."""
    if row["practitioner_id"] is None:
        return None
    return {
        "id": row["practitioner_id"],
        "rpps": row["practitioner_rpps"],
        "family_name": row["practitioner_family_name"],
        "given_name": row["practitioner_given_name"],
        "specialty": row["practitioner_specialty"],
    }


def location_card(row: Row) -> dict[str, Any]:
    """Return where care is given."""
    return {
        "id": row["location_id"],
        "name": row["location_name"],
        "address": row["location_address"],
        "postal_code": row["location_postal_code"],
        "commune": row["location_commune"],
        "latitude": row["location_latitude"],
        "longitude": row["location_longitude"],
        "reduced_mobility": row["location_reduced_mobility"],
        "phone": row["location_phone"],
    }


def zone_of(territory: ColumnElement[str]) -> ColumnElement[str]:
    """Return the time zone of a territory, as a column of whatever names it."""
    found = territories.c
    return select(found.zone).where(found.id == territory).scalar_subquery().label("zone")
