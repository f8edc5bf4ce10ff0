"""What may be booked, by time and by distance."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from math import cos, degrees, radians
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Float,
    Integer,
    Text,
    Uuid,
    func,
    literal_column,
    or_,
    select,
    text,
    tuple_,
)

from service.identity import Actor, grant_is_live, grant_parameters
from service.kernel.db import UnitOfWork
from service.kernel.prepared import Prepared
from service.kernel.sql import bind, snp_now, texts
from service.kernel.tables import Instant
from service.slots import parts
from service.slots.domain import Slot
from service.slots.repository.reading import read, slot_of
from service.slots.tables import holds, slots

_s, _h = slots.c, holds.c


_EARTH_KM = 6371.0088


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

    def shape(self) -> tuple[str, ...]:
        """Return which optional conditions the statement needs."""
        present = {
            "territories": self.territories is not None,
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
    "mode": bind("mode", Text) == func.any(_s.modes),
    "specialty": _s.specialty == bind("specialty", Text),
    "cpts": bind("cpts_id", Uuid) == func.any(_s.cpts_ids),
    "practitioner": _s.practitioner_id == bind("practitioner_id", Uuid),
    "reduced_mobility": _s.reduced_mobility,
}


@cache
def _search(shape: tuple[str, ...]) -> Prepared:
    """Build the search for one combination of filters, once."""
    near = "center" in shape
    distance = _distance() if near else literal_column("NULL::float8")
    start = func.coalesce(bind("from_", Instant), snp_now())
    statement = read(distance.label("distance_km")).where(
        parts.visible(),
        _s.withdrawn_at.is_(None),
        _s.starts_at > snp_now(),
        _s.starts_at >= start,
        _s.starts_at < func.coalesce(bind("to", Instant), start + text("interval '72 hours'")),
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
    return Prepared(statement.order_by(*keys).limit(bind("limit", Integer)))


async def search(uow: UnitOfWork, actor: Actor, wanted: Search) -> list[Slot]:
    """Return bookable and walk-in slots that the caller may see, one more than the page holds."""
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
    if wanted.center:
        values |= _box(wanted.center, wanted.radius_km)
    if wanted.after:
        *distance, start, slot_id = wanted.after
        values |= {"after_start": start, "after_id": slot_id}
        values["after_distance"] = distance[0] if distance else None
    statement = _search(wanted.shape())
    rows = await uow.fetch(statement, values)
    return [slot_of(row, distance_km=row["distance_km"]) for row in rows]


def _box(center: tuple[float, float], radius_km: float) -> dict[str, float]:
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
    }


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
