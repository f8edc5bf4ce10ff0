"""Every SQL statement of the room. Statements are built once per shape and kept."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import cache
from math import cos, degrees, radians
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Float,
    Integer,
    Row,
    Select,
    Text,
    Update,
    Uuid,
    and_,
    func,
    insert,
    literal_column,
    or_,
    select,
    text,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB

from service.directory import parts as directory
from service.identity import Actor, grant_is_live, grant_parameters
from service.kernel import events
from service.kernel.db import ConstraintViolated, TransactionLost, UnitOfWork
from service.kernel.sql import bind, snp_now, texts, uuids
from service.kernel.tables import Instant
from service.slots import parts
from service.slots.domain import HOLDS_PER_ORGANIZATION, Admitted, Audience, Change, Hold, Slot
from service.slots.tables import holds, slot_listings, slots

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


def _read(*extra: ColumnElement[Any]) -> Select[Any]:
    p, place = directory.practitioner, directory.location
    return select(
        *_s,
        parts.live_holds().label("held"),
        snp_now().label("now"),
        *directory.card_columns(),
        *extra,
    ).select_from(
        slots.outerjoin(p, p.c.id == _s.practitioner_id).join(place, place.c.id == _s.location_id)
    )


def _slot(row: Row[Any], **more: Any) -> Slot:
    r = row._mapping  # noqa: SLF001  SQLAlchemy's public name for a row as a mapping
    return Slot(
        id=r["id"],
        practitioner_id=r["practitioner_id"],
        location_id=r["location_id"],
        organization_id=r["organization_id"],
        organization_type=r["organization_type"],
        territory=r["territory"],
        zone=r["zone"],
        starts_at=r["starts_at"],
        ends_at=r["ends_at"],
        modes=tuple(r["modes"]),
        specialty=r["specialty"],
        audience=Audience(
            tuple(r["visibility"]),
            tuple(r["cpts_ids"]),
            tuple(r["organization_types"]),
            tuple(r["organization_ids"]),
        ),
        capacity=r["capacity"],
        overbooking=r["overbooking"],
        booked=r["booked"],
        held=r["held"],
        walk_in=r["walk_in"],
        note=r["note"],
        external_id=r["external_id"],
        withdrawn_at=r["withdrawn_at"],
        version=r["version"],
        now=r["now"],
        practitioner=directory.practitioner_card(r),
        location=directory.location_card(r),
        **more,
    )


# --- reading ------------------------------------------------------------------------------------

_FIND = _read(parts.owned().label("mine")).where(_s.id == bind("slot_id", Uuid), parts.visible())


async def find(uow: UnitOfWork, actor: Actor, slot_id: UUID) -> tuple[Slot, bool] | None:
    """Return a slot that the caller may see, and whether it is its own side's."""
    row = (await uow.single(_FIND, {"slot_id": slot_id, **parts.caller(actor)})).one_or_none()
    return None if row is None else (_slot(row), row.mine)


_OWN = _read().where(_s.id == func.any(uuids("ids")), parts.owned()).order_by(_s.starts_at, _s.id)


async def own(uow: UnitOfWork, actor: Actor, ids: Sequence[UUID]) -> list[Slot]:
    """Return slots of the caller's own side by id, by start."""
    rows = await uow.single(_OWN, {"ids": list(ids), **parts.caller(actor)})
    return [_slot(row) for row in rows]


_WHO_CAN = parts.who_can()


async def who_can(uow: UnitOfWork, ids: Sequence[UUID]) -> dict[UUID, tuple[Admitted, ...]]:
    """Count the grants that could see each of some slots; a slot that none could see is missing."""
    found: dict[UUID, tuple[Admitted, ...]] = {}
    for row in await uow.single(_WHO_CAN, {"ids": list(ids)}):
        admitted = Admitted(row.role, row.organization_type, row.grants)
        found[row.id] = (*found.get(row.id, ()), admitted)
    return found


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
def _search(shape: tuple[str, ...]) -> Select[Any]:
    """Build the search for one combination of filters, once."""
    near = "center" in shape
    distance = _distance() if near else literal_column("NULL::float8")
    start = func.coalesce(bind("from_", Instant), snp_now())
    statement = _read(distance.label("distance_km")).where(
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
    return statement.order_by(*keys).limit(bind("limit", Integer))


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
    rows = await uow.single(statement, values)
    return [_slot(row, distance_km=row.distance_km) for row in rows]


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


@cache
def _agenda(*, after: bool) -> Select[Any]:
    statement = _read().where(
        _s.practitioner_id == bind("practitioner_id", Uuid),
        _s.starts_at >= bind("from_", Instant),
        _s.starts_at < bind("to", Instant),
    )
    if after:
        statement = statement.where(
            tuple_(_s.starts_at, _s.id)
            > tuple_(bind("after_start", Instant), bind("after_id", Uuid))
        )
    return statement.order_by(_s.starts_at, _s.id).limit(bind("limit", Integer))


async def agenda(
    uow: UnitOfWork,
    practitioner_id: UUID,
    *,
    from_: datetime,
    to: datetime,
    limit: int,
    after: Sequence[Any] | None,
) -> list[Slot]:
    """Return a practitioner's slots in every state, by start, one more than the page holds."""
    values: dict[str, Any] = {
        "practitioner_id": practitioner_id,
        "from_": from_,
        "to": to,
        "limit": limit + 1,
    }
    if after:
        values |= {"after_start": after[0], "after_id": after[1]}
    return [_slot(row) for row in await uow.single(_agenda(after=bool(after)), values)]


# --- since when it is seen, and how often it was listed -----------------------------------------

_e = events.events.c
_CHANGES = (
    select(_e.occurred_at, _e.territory, _e.audience_after, _s.created_at)
    .select_from(
        slots.outerjoin(
            events.events,
            and_(
                _e.subject_id == _s.id,
                or_(
                    func.jsonb_typeof(_e.audience_after) == literal_column("'object'"),
                    func.jsonb_typeof(_e.audience_before) == literal_column("'object'"),
                ),
            ),
        )
    )
    .where(_s.id == bind("slot_id", Uuid))
    .order_by(_e.occurred_at, _e.id)
)


async def changes(uow: UnitOfWork, slot: Slot) -> list[Change]:
    """Return what changed who could see a slot, oldest first; its creation when nothing tells."""
    rows = list(await uow.single(_CHANGES, {"slot_id": slot.id}))
    told = [
        Change(r.occurred_at, r.audience_after and {"in": r.territory, **r.audience_after})
        for r in rows
        if r.occurred_at
    ]
    if told:
        return told
    return [
        Change(r.created_at, None if slot.withdrawn_at else slot.audience.as_json()) for r in rows
    ]


_LISTED = (
    select(slot_listings.c.day, slot_listings.c.listed)
    .where(slot_listings.c.slot_id == bind("slot_id", Uuid))
    .order_by(slot_listings.c.day)
)


async def listed(uow: UnitOfWork, slot_id: UUID) -> tuple[tuple[date, int], ...]:
    """Return how often a slot was listed, by day."""
    return tuple((r.day, r.listed) for r in await uow.single(_LISTED, {"slot_id": slot_id}))


# Always in the order of ids: processes that flush at the same time wait, they never deadlock.
_ADD_LISTINGS = text(
    """INSERT INTO slot_listings (slot_id, day, listed)
       SELECT slots.id, (snp_now() AT TIME ZONE slots.zone)::date, seen.times
       FROM unnest(CAST(:ids AS uuid[]), CAST(:times AS integer[])) AS seen(id, times)
       JOIN slots ON slots.id = seen.id
       ORDER BY slots.id
       ON CONFLICT (slot_id, day) DO UPDATE SET listed = slot_listings.listed + excluded.listed"""
)


async def add_listings(uow: UnitOfWork, times: Mapping[UUID, int]) -> None:
    """Add how often slots were listed to today's numbers, in one statement."""
    await uow.single(_ADD_LISTINGS, {"ids": list(times), "times": list(times.values())})


# --- publishing ---------------------------------------------------------------------------------

_LOCK_PRACTITIONERS = text(
    "SELECT id FROM practitioners WHERE id = ANY(:ids) ORDER BY id FOR NO KEY UPDATE"
).bindparams(uuids("ids"))


async def lock_practitioners(uow: UnitOfWork, ids: Sequence[UUID]) -> None:
    """Lock practitioner rows first: publishers of one agenda take turns (design §4.5)."""
    await uow.execute(_LOCK_PRACTITIONERS, {"ids": sorted(set(ids))})


_OVERLAPS = text(
    """SELECT asked.n, slots.id
       FROM unnest(CAST(:practitioners AS uuid[]), CAST(:starts AS timestamptz[]),
                   CAST(:ends AS timestamptz[]))
            WITH ORDINALITY AS asked(practitioner_id, starts_at, ends_at, n)
       JOIN slots ON slots.practitioner_id = asked.practitioner_id
        AND slots.withdrawn_at IS NULL
        AND tstzrange(slots.starts_at, slots.ends_at) && tstzrange(asked.starts_at, asked.ends_at)
       WHERE NOT slots.id = ANY(:excluded)
       ORDER BY asked.n, slots.starts_at"""
).bindparams(uuids("excluded"))


async def overlapping(
    uow: UnitOfWork,
    periods: Sequence[tuple[UUID, datetime, datetime]],
    excluded: Sequence[UUID],
) -> list[tuple[int, UUID]]:
    """Return which of the periods (by position) overlap which published slots."""
    rows = await uow.execute(
        _OVERLAPS,
        {
            "practitioners": [p[0] for p in periods],
            "starts": [p[1] for p in periods],
            "ends": [p[2] for p in periods],
            "excluded": list(excluded),
        },
    )
    return [(row.n - 1, row.id) for row in rows]


_PUBLISHED = (
    select(*_s, snp_now().label("now"))
    .where(_s.external_id == func.any(texts("external_ids")))
    .order_by(_s.id)
    .with_for_update()
)
_OF_PRACTITIONER = _PUBLISHED.where(_s.practitioner_id == bind("practitioner_id", Uuid))
_OF_CENTRE = _PUBLISHED.where(
    _s.organization_id == bind("organization_id", Uuid), _s.practitioner_id.is_(None)
)


async def by_external_id(
    uow: UnitOfWork,
    practitioner_id: UUID | None,
    organization_id: UUID,
    external_ids: Sequence[str],
) -> dict[str, Row[Any]]:
    """Lock and return what practice software published before for a practitioner.

    Slots without a practitioner are their organization's.
    """
    rows = await uow.execute(
        _OF_CENTRE if practitioner_id is None else _OF_PRACTITIONER,
        {
            "practitioner_id": practitioner_id,
            "organization_id": organization_id,
            "external_ids": list(external_ids),
        },
    )
    return {row.external_id: row for row in rows}


_PUBLISHED_MEANWHILE = {"uq_slots_practitioner_external_id", "uq_slots_organization_external_id"}


async def insert_slots(uow: UnitOfWork, rows: list[dict[str, Any]]) -> None:
    """Insert new slots. Two first publications of one `external_id` that cross: run again."""
    try:
        await uow.execute(insert(slots), rows)
    except ConstraintViolated as violated:
        if violated.name in _PUBLISHED_MEANWHILE:
            await uow.rollback()
            raise TransactionLost(violated.name) from None
        raise


_STEP_ASIDE = (
    update(slots)
    .where(_s.id == func.any(uuids("ids")), _s.booked == 0)
    .values(withdrawn_at=func.coalesce(_s.withdrawn_at, snp_now()))
)


async def step_aside(uow: UnitOfWork, ids: Sequence[UUID]) -> None:
    """Take slots that will move off the agenda, so that one may move onto another's old place."""
    if ids:
        await uow.execute(_STEP_ASIDE, {"ids": sorted(ids)})


_AMENDABLE = (
    "practitioner_id",
    "location_id",
    "organization_id",
    "organization_type",
    "territory",
    "zone",
    "latitude",
    "longitude",
    "reduced_mobility",
    "starts_at",
    "ends_at",
    "modes",
    "specialty",
    "visibility",
    "cpts_ids",
    "organization_types",
    "organization_ids",
    "capacity",
    "overbooking",
    "walk_in",
    "note",
)
_AMEND = (
    update(slots)
    .where(_s.id == bind("slot_id", Uuid))
    .values(
        **{name: bind(f"new_{name}", _s[name].type) for name in _AMENDABLE},
        withdrawn_at=None,
        holds=bind("new_holds", JSONB),
        version=_s.version + 1,
        updated_at=snp_now(),
    )
)


async def amend(
    uow: UnitOfWork, slot_id: UUID, values: Mapping[str, Any], *, holds_kept: Mapping[str, Any]
) -> None:
    """Write every amendable column of a slot anew; republishes a withdrawn one."""
    await uow.execute(
        _AMEND,
        {
            "slot_id": slot_id,
            "new_holds": holds_kept,
            **{f"new_{name}": values[name] for name in _AMENDABLE},
        },
    )


_LOCK = (
    select(*_s, snp_now().label("now"))
    .where(_s.id == bind("slot_id", Uuid), parts.owned())
    .with_for_update()
)


async def lock_own(uow: UnitOfWork, actor: Actor, slot_id: UUID) -> Row[Any] | None:
    """Lock and return the raw row of an own slot."""
    return (await uow.execute(_LOCK, {"slot_id": slot_id, **parts.caller(actor)})).one_or_none()


_WITHDRAW = (
    update(slots)
    .where(_s.id == bind("slot_id", Uuid), _s.withdrawn_at.is_(None), _s.booked == 0)
    .values(
        withdrawn_at=snp_now(),
        holds=literal_column("'{}'::jsonb"),
        version=_s.version + 1,
        updated_at=snp_now(),
    )
    .returning(_s.id)
)
_END_HOLDS = (
    update(holds)
    .where(
        _h.slot_id == bind("of_slot", Uuid),
        _h.ended_at.is_(None),
        _h.id != func.all(uuids("kept")),
    )
    .values(ended_at=snp_now())
)


async def withdraw(uow: UnitOfWork, slot_id: UUID) -> bool:
    """Withdraw a slot that nobody is booked on; live holds end."""
    done = (await uow.execute(_WITHDRAW, {"slot_id": slot_id})).first() is not None
    if done:
        await end_holds(uow, slot_id)
    return done


async def end_holds(uow: UnitOfWork, slot_id: UUID, kept: Iterable[str] = ()) -> None:
    """End the holds of a slot that moved, was withdrawn or has fewer seats, but for those kept."""
    await uow.execute(_END_HOLDS, {"of_slot": slot_id, "kept": [UUID(key) for key in kept]})


# --- many at once: sessions and absences --------------------------------------------------------


@cache
def _lock_future(whose: str) -> Select[Any]:
    of_session = _s.session_id == bind("session_id", Uuid)
    of_range = and_(
        _s.practitioner_id == bind("practitioner_id", Uuid),
        _s.starts_at < bind("to", Instant),
        _s.ends_at > bind("from_", Instant),
        _s.withdrawn_at.is_(None),
    )
    return (
        select(*_s, parts.live_holds().label("held"))
        .where(of_session if whose == "session" else of_range, _s.starts_at > snp_now())
        .order_by(_s.id)
        .with_for_update(of=slots)
    )


async def lock_session(uow: UnitOfWork, session_id: UUID) -> list[Row[Any]]:
    """Lock the slots of a session that have not started, withdrawn ones too, by id."""
    return list(await uow.execute(_lock_future("session"), {"session_id": session_id}))


async def lock_range(
    uow: UnitOfWork, practitioner_id: UUID, from_: datetime, to: datetime
) -> list[Row[Any]]:
    """Lock a practitioner's published slots that touch a range and have not started, by id."""
    values = {"practitioner_id": practitioner_id, "from_": from_, "to": to}
    return list(await uow.execute(_lock_future("range"), values))


_TAKE_BACK = (
    update(slots)
    .where(_s.id == func.any(uuids("ids")), _s.withdrawn_at.is_(None), _s.booked == 0)
    .values(
        withdrawn_at=snp_now(),
        holds=literal_column("'{}'::jsonb"),
        session_id=None,
        session_start=None,
        version=_s.version + 1,
        updated_at=snp_now(),
    )
    .returning(_s.id)
)
_END_ALL_HOLDS = (
    update(holds)
    .where(_h.slot_id == func.any(uuids("ids")), _h.ended_at.is_(None))
    .values(ended_at=snp_now())
)


async def take_back(uow: UnitOfWork, ids: Sequence[UUID]) -> set[UUID]:
    """Withdraw those that nobody is booked on and give up their place in their session's grid."""
    done = {row.id for row in await uow.execute(_TAKE_BACK, {"ids": list(ids)})}
    await uow.execute(_END_ALL_HOLDS, {"ids": sorted(done)})
    return done


@cache
def _amend_all(names: tuple[str, ...]) -> Update:
    return (
        update(slots)
        .where(_s.id == func.any(uuids("ids")))
        .values(
            **{name: bind(f"new_{name}", _s[name].type) for name in names},
            version=_s.version + 1,
            updated_at=snp_now(),
        )
    )


async def amend_all(uow: UnitOfWork, ids: Sequence[UUID], values: Mapping[str, Any]) -> None:
    """Write the same columns of several slots."""
    given = {f"new_{name}": value for name, value in values.items()}
    await uow.execute(_amend_all(tuple(values)), {"ids": list(ids), **given})


# --- holds --------------------------------------------------------------------------------------

_TAKE_TURNS = text("SELECT pg_advisory_xact_lock(7301837, hashtext(:organization))")


async def take_turns(uow: UnitOfWork, organization_id: UUID) -> None:
    """Let one organization's holds be counted one after the other."""
    await uow.execute(_TAKE_TURNS, {"organization": str(organization_id)})


def _place_hold() -> Select[Any]:
    live = (
        select(func.count())
        .select_from(holds)
        .where(
            _h.organization_id == bind("caller_organization_id", Uuid),
            _h.ended_at.is_(None),
            _h.expires_at > snp_now(),
        )
        .scalar_subquery()
    )
    expires = snp_now() + func.make_interval(0, 0, 0, 0, 0, 0, bind("seconds", Integer))
    entry = func.jsonb_build_object(
        bind("hold_key", Text),
        func.jsonb_build_object(
            "organization",
            bind("caller_organization_id", Uuid),
            "since",
            func.extract("epoch", snp_now()),
            "until",
            func.extract("epoch", expires),
        ),
    )
    held = (
        update(slots)
        .where(
            _s.id == bind("slot_id", Uuid),
            parts.bookable(),
            parts.visible(),
            parts.seat_left(),
            live < HOLDS_PER_ORGANIZATION,
        )
        .values(holds=parts.without_expired().op("||")(entry))
        .returning(_s.id, _s.territory, _s.zone, expires.label("expires_at"))
        .cte("held")
    )
    placed = (
        insert(holds)
        .from_select(
            ["id", "slot_id", "organization_id", "client_id", "expires_at"],
            select(
                bind("hold_id", Uuid),
                held.c.id,
                bind("caller_organization_id", Uuid),
                bind("event_client_id", Uuid),
                held.c.expires_at,
            ),
        )
        .cte("placed")
    )
    told = events.part(
        "hold.placed",
        held,
        subject=held.c.id,
        territory=held.c.territory,
        data=func.jsonb_build_object(
            "hold_id", bind("hold_id", Uuid), "expires_at", held.c.expires_at
        ),
    )
    return select(
        bind("hold_id", Uuid).label("id"),
        held.c.id.label("slot_id"),
        held.c.expires_at,
        held.c.zone,
    ).add_cte(placed, told)


_PLACE_HOLD = _place_hold()


async def place_hold(
    uow: UnitOfWork, actor: Actor, *, hold_id: UUID, slot_id: UUID, seconds: int
) -> Hold | None:
    """Hold one seat, if one is left and the organization holds fewer than it may."""
    row = (
        (
            await uow.execute(
                _PLACE_HOLD,
                {
                    "slot_id": slot_id,
                    "hold_id": hold_id,
                    "hold_key": str(hold_id),
                    "seconds": seconds,
                    **parts.caller(actor),
                    **actor.origin.parameters(),
                },
            )
        )
        .mappings()
        .one_or_none()
    )
    return None if row is None else Hold(**row)


_COUNT_HOLDS = (
    select(func.count())
    .select_from(holds)
    .where(
        _h.organization_id == bind("organization_id", Uuid),
        _h.ended_at.is_(None),
        _h.expires_at > snp_now(),
    )
)


async def count_holds(uow: UnitOfWork, organization_id: UUID) -> int:
    """Count the live holds of an organization."""
    return int((await uow.single(_COUNT_HOLDS, {"organization_id": organization_id})).scalar_one())


_FIND_HOLD = (
    select(_h.id, _h.slot_id, _h.expires_at, _s.zone)
    .select_from(holds.join(slots, _s.id == _h.slot_id))
    .where(
        _h.id == bind("hold_id", Uuid),
        _h.organization_id == bind("organization_id", Uuid),
    )
)


async def find_hold(uow: UnitOfWork, organization_id: UUID, hold_id: UUID) -> Hold | None:
    """Return a hold of an organization, live or not."""
    row = (
        (await uow.single(_FIND_HOLD, {"hold_id": hold_id, "organization_id": organization_id}))
        .mappings()
        .one_or_none()
    )
    return None if row is None else Hold(**row)


def _release_hold() -> Select[Any]:
    # The slot row first, as everywhere: a booking that uses this hold locks it first too.
    freed = (
        update(slots)
        .where(
            holds.c.id == bind("hold_id", Uuid),
            _h.organization_id == bind("caller_organization_id", Uuid),
            _h.ended_at.is_(None),
            _h.expires_at > snp_now(),
            _s.id == _h.slot_id,
            _s.holds.has_key(bind("hold_key", Text)),
        )
        .values(holds=parts.without(bind("hold_key", Text)))
        .returning(_s.id, _s.territory)
        .cte("freed")
    )
    ended = (
        update(holds)
        .where(and_(_h.id == bind("hold_id", Uuid), _h.slot_id == freed.c.id))
        .values(ended_at=snp_now())
        .cte("ended")
    )
    told = events.part(
        "hold.released",
        freed,
        subject=freed.c.id,
        territory=freed.c.territory,
        data=func.jsonb_build_object("hold_id", bind("hold_id", Uuid)),
    )
    return select(freed.c.id).add_cte(ended, told)


_RELEASE_HOLD = _release_hold()


async def release_hold(uow: UnitOfWork, actor: Actor, hold_id: UUID) -> bool:
    """Give a live hold of the caller's organization back."""
    done = await uow.single(
        _RELEASE_HOLD,
        {
            "hold_id": hold_id,
            "hold_key": str(hold_id),
            "caller_organization_id": actor.organization_id,
            **actor.origin.parameters(),
        },
    )
    return done.first() is not None
