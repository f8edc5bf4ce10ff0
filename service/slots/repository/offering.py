"""Free slots of practitioners and of consultation points, as the national platform may see them.

One statement each.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache, lru_cache
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import orjson
from sqlalchemy import ColumnElement, Text, Uuid, case, cast, func, literal_column, or_, select
from sqlalchemy.dialects.postgresql import aggregate_order_by, array

from service.directory import parts as directory
from service.identity import Actor, grant_is_live, grant_parameters
from service.kernel.db import UnitOfWork
from service.kernel.prepared import Prepared, Row
from service.kernel.sql import bind, snp_now, texts
from service.kernel.tables import Instant
from service.slots import parts
from service.slots.domain.free import (
    Community,
    FreeAgenda,
    FreePoint,
    FreeSlot,
    Structure,
    admitting,
)
from service.slots.tables import slots

_s, _p = slots.c, directory.practitioner.c
_place, _o = directory.location.c, directory.organization.c


@dataclass(frozen=True, slots=True)
class FreeWanted:
    """Whose free slots are asked for. Both bounds are inclusive; none: from now on, for ever.

    `communities`: those that only a community's members see, too, with the communities.
    `practitioner_id`, `rpps` and `community_id` are asked of practitioners, `organization_id` and
    `sirets` (their structure) of consultation points.
    """

    rpps: Sequence[str] | None = None
    sirets: Sequence[str] | None = None
    slot_id: UUID | None = None
    practitioner_id: UUID | None = None
    location_id: UUID | None = None
    organization_id: UUID | None = None
    community_id: UUID | None = None
    from_: datetime | None = None
    to: datetime | None = None
    communities: bool = False

    def values(self) -> dict[str, Any]:
        """Return the parameters that are given."""
        given = {
            "rpps": None if self.rpps is None else list(self.rpps),
            "sirets": None if self.sirets is None else list(self.sirets),
            "slot_id": self.slot_id,
            "practitioner_id": self.practitioner_id,
            "location_id": self.location_id,
            "organization_id": self.organization_id,
            "community_id": self.community_id,
            "from_": self.from_,
            "to": self.to,
        }
        return {name: value for name, value in given.items() if value is not None}


_CONDITIONS: Mapping[str, ColumnElement[bool]] = {
    "rpps": _p.rpps == func.any(texts("rpps")),
    "sirets": _o.siret == func.any(texts("sirets")),
    "slot_id": _s.id == bind("slot_id", Uuid),
    "practitioner_id": _s.practitioner_id == bind("practitioner_id", Uuid),
    "location_id": _s.location_id == bind("location_id", Uuid),
    "organization_id": _o.id == bind("organization_id", Uuid),
    "community_id": _s.cpts_ids.bool_op("@>")(array([bind("community_id", Uuid)])),
    "from_": _s.starts_at >= bind("from_", Instant),
    "to": _s.starts_at <= bind("to", Instant),
}


def _communities() -> ColumnElement[Any]:
    """The communities of a slot that can be told: a number of nine digits is what names them."""
    told = func.json_build_object(
        *("id", _o.id, "name", _o.name, "finess", _o.finess, "phone", _o.phone)
    )
    found = (
        select(func.json_agg(aggregate_order_by(told, _o.id)))
        .where(
            _o.id == func.any(_s.cpts_ids),
            _o.type == literal_column("'cpts'"),
            _o.finess.bool_op("~")(literal_column("'^[0-9]{9}$'")),
        )
        .correlate(slots)
        .scalar_subquery()
    )
    return case((_s.cpts_ids != literal_column("'{}'::uuid[]"), found))


@cache
def _free(given: frozenset[str], communities: bool) -> Prepared:
    """Build the statement for what is given, once."""
    # One row a practitioner and place: what is told of both is read once, not for each slot.
    agenda = (
        select(_s.practitioner_id, _s.location_id, *_of_slots(communities=communities))
        .select_from(slots.join(directory.practitioner, _p.id == _s.practitioner_id))
        .where(
            *(condition for name, condition in _CONDITIONS.items() if name in given),
            *_shown(communities=communities),
        )
        .group_by(_s.practitioner_id, _s.location_id)
        .subquery("agenda")
    )
    who = directory.looked_up(directory.practitioner, agenda.c.practitioner_id)
    where = directory.looked_up(directory.location, agenda.c.location_id)
    whose = directory.looked_up(directory.organization, where.c.organization_id)
    return Prepared(
        select(*agenda.c, *directory.card_columns(who, where), whose.c.finess, whose.c.siret)
        .select_from(
            agenda.join(who, literal_column("true"))
            .join(where, literal_column("true"))
            .join(whose, literal_column("true"))
        )
        .order_by(who.c.rpps, agenda.c.location_id)
    )


def _of_slots(*, communities: bool) -> list[ColumnElement[Any]]:
    """What is told of all slots of a group: `zone`, and `slots` as JSON, by start."""
    narrowed = or_(
        _s.organization_types != literal_column("'{}'::text[]"),
        _s.organization_ids != literal_column("'{}'::uuid[]"),
    )
    members: list[Any] = [
        *("id", _s.id, "starts_at", _s.starts_at, "ends_at", _s.ends_at, "modes", _s.modes),
        *("specialty", _s.specialty, "walk_in", _s.walk_in, "narrowed", narrowed),
        *("labels", parts.visibility_at(_s, snp_now())),
        *(("communities", _communities()) if communities else ()),
    ]
    told = func.json_agg(aggregate_order_by(func.json_build_object(*members), _s.starts_at, _s.id))
    return [func.max(_s.zone).label("zone"), cast(told, Text).label("slots")]


def _shown(*, communities: bool) -> list[ColumnElement[bool]]:
    """Whatever is asked for: free, to come, and for the platform to see."""
    return [
        _s.starts_at > snp_now(),
        parts.visible(parts.platform(communities=communities), own=False),
        parts.kept(),
        or_(parts.seat_left(), _s.walk_in),
        grant_is_live(),
    ]


@cache
def _points(given: frozenset[str]) -> Prepared:
    """Build the statement of consultation points for what is given, once."""
    # From the few structures by way of their places: slots have an index for that.
    source = slots.join(directory.location, _place.id == _s.location_id).join(
        directory.organization, _o.id == _place.organization_id
    )
    point = (
        select(_s.location_id, _place.organization_id, *_of_slots(communities=False))
        .select_from(source)
        .where(
            _o.type == literal_column("'sos'"),
            _o.siret.is_not(None),
            *(condition for name, condition in _CONDITIONS.items() if name in given),
            *_shown(communities=False),
        )
        .group_by(_s.location_id, _place.organization_id)
        .subquery("point")
    )
    where = directory.looked_up(directory.location, point.c.location_id)
    whose = directory.looked_up(directory.organization, point.c.organization_id)
    named = directory.card_columns(located=where)
    return Prepared(
        select(
            *point.c,
            *(column for column in named if column.name.startswith("location_")),
            whose.c.name.label("structure"),
            whose.c.siret,
        )
        .select_from(point.join(where, literal_column("true")).join(whose, literal_column("true")))
        .order_by(point.c.organization_id, point.c.location_id)
    )


async def points(uow: UnitOfWork, actor: Actor, wanted: FreeWanted) -> list[FreePoint]:
    """Return the consultation points that are wanted with their free slots, by structure."""
    values = wanted.values()
    asked = {**parts.caller(actor), **grant_parameters(actor), **values}
    rows = await uow.fetch(_points(frozenset(values)), asked)
    return [point for point in map(_point, rows) if point.slots]


def _point(row: Row) -> FreePoint:
    return FreePoint(
        location=directory.location_card(row),
        organization=Structure(row["organization_id"], row["structure"], row["siret"]),
        slots=tuple(_seen(orjson.loads(row["slots"]), ZoneInfo(row["zone"]))),
    )


async def free(uow: UnitOfWork, actor: Actor, wanted: FreeWanted) -> list[FreeAgenda]:
    """Return what is wanted, by practitioner and place; places without a free slot are left out."""
    values = wanted.values()
    statement = _free(frozenset(values), wanted.communities)
    asked = {**parts.caller(actor), **grant_parameters(actor), **values}
    agendas = (_agenda(row) for row in await uow.fetch(statement, asked))
    return [agenda for agenda in agendas if agenda.slots]


def _agenda(row: Row) -> FreeAgenda:
    practitioner = directory.practitioner_card(row)
    assert practitioner is not None  # noqa: S101  joined by their number
    return FreeAgenda(
        practitioner=practitioner,
        location=directory.location_card(row),
        finess=row["finess"],
        siret=row["siret"],
        slots=tuple(_seen(orjson.loads(row["slots"]), ZoneInfo(row["zone"]))),
    )


def _seen(told: Sequence[Mapping[str, Any]], zone: ZoneInfo) -> Iterator[FreeSlot]:
    for slot in told:
        communities = tuple(
            Community(UUID(c["id"]), c["name"], c["finess"], c["phone"])
            for c in slot.get("communities") or ()
        )
        labels = admitting(tuple(slot["labels"]), narrowed=slot["narrowed"], told=bool(communities))
        if labels:
            yield FreeSlot(
                id=slot["id"],
                starts_at=_instant(slot["starts_at"], zone),
                ends_at=_instant(slot["ends_at"], zone),
                modes=tuple(slot["modes"]),
                specialty=slot["specialty"],
                walk_in=slot["walk_in"],
                labels=labels,
                communities=communities if "CPTS" in labels else (),
            )


@lru_cache(1024)  # slots of many begin and end together
def _instant(told: str, zone: ZoneInfo) -> str:
    return datetime.fromisoformat(told).astimezone(zone).isoformat(timespec="milliseconds")
