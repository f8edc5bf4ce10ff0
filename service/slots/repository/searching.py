"""What may be booked, by time and by distance."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from math import cos, degrees, floor, radians
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Float,
    Integer,
    Interval,
    Text,
    Uuid,
    func,
    literal_column,
    or_,
    select,
    text,
    true,
    tuple_,
)
from sqlalchemy.dialects.postgresql import array

from service.directory import parts as directory
from service.identity import Actor, grant_is_live, grant_parameters
from service.kernel.db import UnitOfWork
from service.kernel.prepared import Prepared, Row
from service.kernel.sql import bind, snp_now, texts
from service.kernel.tables import Instant
from service.slots import parts
from service.slots.tables import holds, slots

_s, _h = slots.c, holds.c

# What an answer shows, and no more: a search reads twenty slots where others read one.
_SHOWN = (
    _s.id, _s.practitioner_id, _s.location_id, _s.organization_id, _s.territory, _s.zone,
    _s.starts_at, _s.ends_at, _s.modes, _s.specialty, _s.visibility, _s.capacity, _s.overbooking,
    _s.booked, _s.walk_in, _s.note, _s.version, parts.live_holds().label("held"),
)  # fmt: skip
# What the page's slots are asked for, once they are chosen.
_RELEASED = tuple(_s[column] for column in parts.ADDED.values())

_EARTH_KM = 6371.0088
# As the SQL function `snp_square` numbers them (migration 0007).
_SQUARES_A_DEGREE, _SQUARE_ROW = 4, 10_000


def _distance() -> ColumnElement[float]:
    """Great-circle distance in km from the search centre (haversine, mean Earth radius)."""
    lat, lon = bind("latitude", Float), bind("longitude", Float)
    half = func.power(func.sin(func.radians(_s.latitude - lat) / 2), 2) + func.cos(
        func.radians(lat)
    ) * func.cos(func.radians(_s.latitude)) * func.power(
        func.sin(func.radians(_s.longitude - lon) / 2), 2
    )
    return 2 * _EARTH_KM * func.asin(func.least(1.0, func.sqrt(half)))


@dataclass(frozen=True, slots=True)
class Search:
    """What a caller looks for. Times are instants; distances kilometres."""

    from_: datetime | None
    to: datetime | None
    territories: Sequence[str] | None
    center: tuple[float, float] | None
    radius_km: float
    mode: str | None
    specialty: str | None
    cpts_id: UUID | None
    practitioner_id: UUID | None
    reduced_mobility: bool
    by_distance: bool
    limit: int
    after: Sequence[Any] | None

    def shape(self, home: str | None) -> tuple[str, ...]:
        """Return which optional conditions the statement needs.

        The rows come from one index: those of the one territory that is asked for, or that the
        caller sees (`home`), by start until the page is full; else those of some squares.
        """
        present = {
            "territories": self.territories is not None and home is None,
            "home": home is not None,
            "squares": self.center is not None and home is None and self.practitioner_id is None,
            "center": self.center is not None,
            "mode": self.mode is not None,
            "specialty": self.specialty is not None,
            "cpts": self.cpts_id is not None,
            "practitioner": self.practitioner_id is not None,
            "reduced_mobility": self.reduced_mobility,
            "by_distance": self.by_distance,
            "after": self.after is not None,
        }
        return tuple(name for name, here in present.items() if here)


_CONDITIONS: Mapping[str, ColumnElement[bool]] = {
    "territories": _s.territory == func.any(texts("territories")),
    "home": _s.territory == bind("home", Text),
    # Not `==`: between two functions SQLAlchemy turns it round, and ANY stands on the right only.
    "squares": func.snp_square(_s.latitude, _s.longitude).bool_op("=")(
        func.any(bind("squares", ARRAY(Integer)))
    ),
    "mode": bind("mode", Text) == func.any(_s.modes),
    "specialty": _s.specialty == bind("specialty", Text),
    "cpts": _s.cpts_ids.bool_op("@>")(array([bind("cpts_id", Uuid)])),
    "practitioner": _s.practitioner_id == bind("practitioner_id", Uuid),
    "reduced_mobility": _s.reduced_mobility,
}


@cache
def _search(shape: tuple[str, ...]) -> Prepared:
    """Build the search for one combination of filters, once."""
    near = "center" in shape
    distance = _distance() if near else literal_column("NULL::float8")
    start = func.coalesce(bind("from_", Instant), snp_now())
    starts_at: ColumnElement[Any] = _s.starts_at
    if "cpts" in shape and not {"home", "squares", "territories"} & set(shape):
        # The community's slots are found by the community: no index of all instants helps.
        starts_at = starts_at + literal_column("interval '0'", Interval)
    statement = select(*_SHOWN, *_RELEASED, distance.label("distance_km")).where(
        parts.visible(),
        parts.kept(),
        starts_at > snp_now(),
        starts_at >= start,
        starts_at < func.coalesce(bind("to", Instant), start + text("interval '72 hours'")),
        or_(parts.seat_left(), _s.walk_in),
        grant_is_live(),
        *(_CONDITIONS[name] for name in shape if name in _CONDITIONS),
    )
    keys: list[ColumnElement[Any]] = [_s.starts_at, _s.id]
    binds: list[ColumnElement[Any]] = [bind("after_start", Instant), bind("after_id", Uuid)]
    if near:
        statement = statement.where(
            _s.latitude.between(bind("south", Float), bind("north", Float)),
            _s.longitude.between(bind("west", Float), bind("east", Float)),
            distance <= bind("radius_km", Float),
        )
    if "by_distance" in shape:
        keys.insert(0, distance)
        binds.insert(0, bind("after_distance", Float))
    if "after" in shape:
        statement = statement.where(tuple_(*keys) > tuple_(*binds))
    page = statement.order_by(*keys).limit(bind("limit", Integer)).subquery("page")
    order = [page.c.starts_at, page.c.id]
    if "by_distance" in shape:
        order.insert(0, page.c.distance_km)
    # The cards of a page's slots, not of each slot that the page was chosen from.
    who = directory.looked_up(directory.practitioner, page.c.practitioner_id)
    where = directory.looked_up(directory.location, page.c.location_id)
    return Prepared(
        select(
            *(column for column in page.c if column.name not in parts.ADDED.values()),
            parts.visibility_at(page.c, snp_now()).label("effective_visibility"),
            *directory.card_columns(who, where),
        )
        .select_from(page.outerjoin(who, true()).join(where, true()))
        .order_by(*order)
    )


async def search(uow: UnitOfWork, actor: Actor, wanted: Search) -> list[Row]:
    """Return bookable and walk-in slots that the caller may see, one more than the page holds.

    They stay rows (`_SHOWN`, cards, `distance_km`): nothing is decided about them any more.
    """
    values: dict[str, Any] = {
        **parts.caller(actor),
        **grant_parameters(actor),
        "from_": wanted.from_,
        "to": wanted.to,
        "territories": list(wanted.territories or ()),
        "mode": wanted.mode,
        "specialty": wanted.specialty,
        "cpts_id": wanted.cpts_id,
        "practitioner_id": wanted.practitioner_id,
        "limit": wanted.limit + 1,
    }
    home = _home(actor, wanted)
    values["home"] = home
    if wanted.center:
        values |= _box(wanted.center, wanted.radius_km)
    if wanted.after:
        *distance, start, slot_id = wanted.after
        values |= {"after_start": start, "after_id": slot_id}
        values["after_distance"] = distance[0] if distance else None
    return await uow.fetch(_search(wanted.shape(home)), values)


def _home(actor: Actor, wanted: Search) -> str | None:
    """Return the one territory that all slots of the answer lie in, if there is one.

    Other territories' slots are seen by members of a community, and by their own side.
    """
    if wanted.practitioner_id or wanted.by_distance:
        return None  # fewer rows lie in an agenda, and in the squares
    abroad = actor.cpts_ids or actor.publishes
    asked = wanted.territories or (() if abroad else actor.territories)
    return asked[0] if len(asked) == 1 else None


def _box(center: tuple[float, float], radius_km: float) -> dict[str, Any]:
    """Bound a circle by latitudes and longitudes, so that an index can help."""
    latitude, longitude = center
    north_south = degrees(radius_km / _EARTH_KM) * 1.01
    east_west = north_south / max(0.01, cos(radians(min(89.0, abs(latitude) + north_south))))
    return {
        "latitude": latitude,
        "longitude": longitude,
        "radius_km": radius_km,
        "south": latitude - north_south,
        "north": latitude + north_south,
        "west": longitude - east_west,
        "east": longitude + east_west,
        "squares": [
            row * _SQUARE_ROW + column
            for row in _squares(latitude, north_south)
            for column in _squares(longitude, east_west)
        ],
    }


def _squares(middle: float, half: float) -> range:
    """Number the rows, or columns, of squares between two degrees."""
    first, last = (floor((middle + way * half) * _SQUARES_A_DEGREE) for way in (-1, 1))
    return range(first, last + 1)


_OPEN_NEAR = select(
    func.count().label("seen"),
    func.count()
    .filter(
        bind("mode", Text) == func.any(_s.modes),
        or_(bind("specialty", Text).is_(None), _s.specialty == bind("specialty", Text)),
    )
    .label("fitting"),
).where(
    parts.visible(),
    parts.bookable(),
    parts.seat_left(),
    _s.starts_at >= bind("from_", Instant),
    _s.starts_at < bind("to", Instant),
    _CONDITIONS["squares"],
    _s.latitude.between(bind("south", Float), bind("north", Float)),
    _s.longitude.between(bind("west", Float), bind("east", Float)),
    _distance() <= bind("radius_km", Float),
)


async def count_open(
    uow: UnitOfWork,
    actor: Actor,
    *,
    center: tuple[float, float],
    radius_km: float,
    from_: datetime,
    to: datetime,
    mode: str,
    specialty: str | None,
) -> tuple[int, int]:
    """Count what the caller could book near a place: all of it, and what has mode and specialty."""
    values = {"from_": from_, "to": to, "mode": mode, "specialty": specialty}
    row = await uow.single(_OPEN_NEAR, {**parts.caller(actor), **_box(center, radius_km), **values})
    found = row.one()
    return found.seen, found.fitting
