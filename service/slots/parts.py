"""Statement parts: who sees a slot, whether a seat is left, taking a seat and giving it back."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ARRAY,
    CTE,
    ColumnElement,
    Float,
    Select,
    Subquery,
    Text,
    Uuid,
    and_,
    case,
    cast,
    false,
    func,
    literal_column,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB, array

from service.identity import BOOKERS, PROFESSIONALS, Actor, live_grants
from service.kernel.sql import bind, flag, snp_now, texts, uuids
from service.slots.domain import release
from service.slots.tables import holds, slots

_s = slots.c
slot = slots
EARTH_KM = 6371.0088


@dataclass(frozen=True, slots=True)
class Viewer:
    """Whoever might see a slot, as the rule needs it: parameters, or columns of `grants`."""

    territories: ColumnElement[Any]
    organization_type: ColumnElement[str]
    organization_id: ColumnElement[Any]
    cpts_ids: ColumnElement[Any]
    practitioner_ids: ColumnElement[Any]
    books: ColumnElement[bool]
    is_professional: ColumnElement[bool]
    regulates: ColumnElement[bool]
    publishes: ColumnElement[bool]


# The one who asks: the parameters of `caller`.
CALLER = Viewer(
    territories=texts("caller_territories"),
    organization_type=bind("caller_organization_type", Text),
    organization_id=bind("caller_organization_id", Uuid),
    cpts_ids=uuids("caller_cpts_ids"),
    practitioner_ids=uuids("caller_practitioner_ids"),
    books=flag("caller_books"),
    is_professional=flag("caller_is_professional"),
    regulates=flag("caller_regulates"),
    publishes=flag("caller_publishes"),
)


def platform(*, communities: bool) -> Viewer:
    """The national platform: it asks for all regulation staff of its territories.

    No house that a slot is narrowed to is theirs. With `communities` it stands, there, for the
    members of every CPTS, too. Parameters: `caller`.
    """
    nothing: ColumnElement[Any] = literal_column("'{}'::uuid[]")
    members = case((_s.territory == func.any(CALLER.territories), _s.cpts_ids), else_=nothing)
    return Viewer(
        territories=CALLER.territories,
        organization_type=literal_column("NULL::text"),
        organization_id=literal_column("NULL::uuid"),
        cpts_ids=members if communities else nothing,
        practitioner_ids=nothing,
        books=true(),
        is_professional=false(),
        regulates=true(),
        publishes=false(),
    )


def visible(viewer: Viewer = CALLER, *, own: bool = True) -> ColumnElement[bool]:
    """The rule of who sees a slot, over columns of the slot row only.

    Labels add up: PUBLIC admits any booking role granted in the slot's territory; PRO professionals
    and regulation granted there; SNP regulation granted there; CPTS the members of the named
    communities, wherever they are. `organization_types` and `organization_ids` narrow what PRO and
    CPTS admit, never SNP. A label that a release adds counts from its instant on. The publisher's
    side always sees its own. Parameters: `caller`, unless the viewer is made of columns.
    """
    here = _s.territory == func.any(viewer.territories)
    not_narrowed = and_(
        or_(
            _s.organization_types == literal_column("'{}'::text[]"),
            viewer.organization_type == func.any(_s.organization_types),
        ),
        or_(
            _s.organization_ids == literal_column("'{}'::uuid[]"),
            viewer.organization_id == func.any(_s.organization_ids),
        ),
    )
    admits = {
        "PUBLIC": here,
        "PRO": and_(here, or_(viewer.is_professional, viewer.regulates), not_narrowed),
        "SNP": and_(here, viewer.regulates),
        "CPTS": and_(_s.cpts_ids.bool_op("&&")(viewer.cpts_ids), not_narrowed),
    }
    published = (and_(_published(label), whom) for label, whom in admits.items())
    added = (and_(_s[column] <= snp_now(), admits[label]) for label, column in ADDED.items())
    # Most slots have no release: of those nothing more is asked.
    released = func.coalesce(*(_s[column] for column in ADDED.values())).is_not(None)
    admitted = and_(viewer.books, or_(*published, and_(released, or_(*added))))
    return or_(admitted, owned(viewer)) if own else admitted


def owned(viewer: Viewer = CALLER) -> ColumnElement[bool]:
    """The publisher's side: who acts for the practitioner, or for the centre of an unnamed slot."""
    return and_(
        viewer.publishes,
        or_(
            _s.practitioner_id == func.any(viewer.practitioner_ids),
            and_(
                _s.practitioner_id.is_(None),
                _s.organization_id == viewer.organization_id,
            ),
        ),
    )


# Labels that a release may add, and the column that says since when.
ADDED = {
    str(to): column for to, column in release.COLUMNS.items() if to != release.ReleaseTo.GIVE_BACK
}


def _published(label: str) -> ColumnElement[bool]:
    return literal_column(f"'{label}'") == func.any(_s.visibility)


def visibility_at(row: Any, at: ColumnElement[Any], *, including: bool = True) -> Any:
    """The labels of a slot row in force at an instant, or (not `including`) right before it."""
    added: list[Any] = [
        case((row[column] <= at if including else row[column] < at, literal_column(f"'{label}'")))
        for label, column in ADDED.items()
    ]
    labels = func.array_remove(array(added, type_=Text), None, type_=ARRAY(Text))
    never = func.coalesce(*(row[column] for column in ADDED.values())).is_(None)
    # Most slots have no release: then no array is made.
    return case((never, row.visibility), else_=row.visibility.op("||")(labels))


def caller(actor: Actor) -> dict[str, Any]:
    """Return the parameters of `visible` and `owned`."""
    return {
        "caller_territories": list(actor.territories),
        "caller_organization_type": actor.organization_type,
        "caller_organization_id": actor.organization_id,
        "caller_cpts_ids": list(actor.cpts_ids),
        "caller_practitioner_ids": list(actor.practitioner_ids),
        "caller_books": actor.role in BOOKERS,
        "caller_is_professional": actor.role in PROFESSIONALS,
        "caller_regulates": actor.regulates,
        "caller_publishes": actor.publishes,
    }


def who_can() -> Select[Any]:
    """Count the grants in force, but those of its own side, that could see each of some slots.

    Parameters: `ids` of the slots.
    """
    grant, chosen = _admitted(_s.id == func.any(uuids("ids")))
    named = (_s.id, grant.c.role, grant.c.organization_type)
    return (
        chosen.add_columns(*named, func.count().label("grants")).group_by(*named).order_by(*named)
    )


def organizations_that_can() -> Select[Any]:
    """Whose grants in force could see a slot, but those of its own side. Parameter: `slot_id`."""
    grant, chosen = _admitted(_s.id == bind("slot_id", Uuid))
    return chosen.add_columns(grant.c.organization_id).correlate(None)


def _admitted(which: ColumnElement[bool]) -> tuple[Subquery, Select[Any]]:
    """The same rule as `visible`, over columns of grants instead of parameters."""
    grant = live_grants()
    names = Viewer.__dataclass_fields__
    viewer = Viewer(**{name: grant.c[name] for name in names})
    # Where an index finds them among the grants of the country: the rule admits no others.
    near = or_(
        grant.c.territories.bool_op("@>")(array([_s.territory])),
        grant.c.cpts_ids.bool_op("&&")(_s.cpts_ids),
    )
    chosen = (
        select()
        .select_from(slots.join(grant, near))
        .where(
            which,
            visible(viewer, own=False),
            owned(viewer).is_not(true()),  # nobody is named yet: then it is neither true nor false
        )
    )
    return grant, chosen


def kilometres(one: Any, other: Any) -> ColumnElement[float]:
    """Great-circle distance between two rows with a position (haversine, mean Earth radius)."""
    half = func.power(func.sin(func.radians(one.latitude - other.latitude) / 2), 2) + func.cos(
        func.radians(one.latitude)
    ) * func.cos(func.radians(other.latitude)) * func.power(
        func.sin(func.radians(one.longitude - other.longitude) / 2), 2
    )
    return 2 * EARTH_KM * func.asin(func.least(1.0, func.sqrt(half)))


def _epoch() -> ColumnElement[float]:
    return cast(func.extract("epoch", snp_now()), Float)


def _each_hold() -> Any:
    return func.jsonb_each(_s.holds).table_valued("key", "value").render_derived()


def live_holds() -> ColumnElement[int]:
    """How many seats are held now; most rows hold none and skip the count."""
    hold = _each_hold()
    count = (
        select(func.count())
        .select_from(hold)
        .where(cast(cast(hold.c.value, JSONB)["until"].astext, Float) > _epoch())
        .correlate(slots)
        .scalar_subquery()
    )
    return case((_s.holds == literal_column("'{}'::jsonb"), 0), else_=count)


def without_expired() -> ColumnElement[Any]:
    """The holds that are still live, as the new value of the column."""
    hold = _each_hold()
    return (
        select(
            func.coalesce(
                func.jsonb_object_agg(hold.c.key, hold.c.value), literal_column("'{}'::jsonb")
            )
        )
        .where(cast(cast(hold.c.value, JSONB)["until"].astext, Float) > _epoch())
        .correlate(slots)
        .scalar_subquery()
    )


def without(hold_key: ColumnElement[str]) -> ColumnElement[Any]:
    """The holds but one, as the new value of the column."""
    return _s.holds.op("-", return_type=JSONB())(hold_key)


def _presented() -> ColumnElement[bool]:
    """The hold that the caller presents is on this row, live, and of its organization."""
    held = _s.holds[bind("hold_key", Text)]
    return func.coalesce(
        and_(
            held["organization"].astext == cast(bind("caller_organization_id", Uuid), Text),
            cast(held["until"].astext, Float) > _epoch(),
        ),
        literal_column("false"),
    )


def _not_given_back() -> ColumnElement[bool]:
    return or_(_s.given_back_from.is_(None), _s.given_back_from > snp_now())


def kept() -> ColumnElement[bool]:
    """Not withdrawn, and its time has not been given back."""
    return and_(_s.withdrawn_at.is_(None), _not_given_back())


def bookable(*, promised: ColumnElement[bool] | None = None) -> ColumnElement[bool]:
    """Open, not started, not a walk-in; once given back, only where a seat is `promised`."""
    offered = _not_given_back() if promised is None else or_(_not_given_back(), promised)
    return and_(_s.withdrawn_at.is_(None), offered, _s.starts_at > snp_now(), ~_s.walk_in)


def seat_left() -> ColumnElement[bool]:
    """A seat that nobody has booked or holds."""
    return _s.booked + live_holds() < _s.capacity


def _seat_for_booking() -> ColumnElement[bool]:
    """The held seat when a hold is presented; else a free one, or one beyond capacity on demand."""
    hold_key = bind("hold_key", Text)
    return case(
        (
            hold_key.is_not(None),
            # A live hold is a promise, also when somebody was booked beyond capacity meanwhile.
            and_(_presented(), _s.booked + live_holds() <= _s.capacity + _s.overbooking),
        ),
        else_=or_(
            seat_left(),
            and_(flag("overbook"), _s.booked + live_holds() < _s.capacity + _s.overbooking),
        ),
    )


def take(*conditions: ColumnElement[bool], using: CTE | None = None, name: str = "taken") -> CTE:
    """Take one seat: one conditional update. Zero rows = refused; nothing after it then writes.

    Parameters: `caller(actor)` and `seat(...)`. `using` is a row that must exist too: who the
    seat is for, with its `slot_id`.
    """
    statement = (
        update(slots)
        .where(
            _s.id == bind("seat_slot_id", Uuid),
            bookable(promised=_presented()),
            visible(),
            _seat_for_booking(),
            *conditions,
        )
        .values(
            booked=_s.booked + 1,
            holds=case(
                (bind("hold_key", Text).is_(None), _s.holds),
                else_=without(bind("hold_key", Text)),
            ),
            version=_s.version + 1,
            updated_at=snp_now(),
        )
    )
    if using is not None:
        statement = statement.where(using.c.slot_id == _s.id)
    return statement.returning(*_s, live_holds().label("held"), snp_now().label("now")).cte(name)


def all_booked(*conditions: ColumnElement[bool]) -> ColumnElement[Any]:
    """How many seats beyond capacity are left, where every other seat is booked; else null.

    What most rivals are to be told; null when anything else stood in the way: then somebody must
    ask. Parameters: those of `take`.
    """
    allowed = _s.capacity + case((flag("overbook"), _s.overbooking), else_=0)
    return (
        select(_s.capacity + _s.overbooking - _s.booked)
        .where(
            _s.id == bind("seat_slot_id", Uuid),
            bookable(),
            visible(),
            bind("hold_key", Text).is_(None),
            _s.booked >= allowed,
            *conditions,
        )
        .scalar_subquery()
    )


def seat(slot_id: Any, hold_id: Any = None, *, overbook: bool = False) -> dict[str, Any]:
    """Return the parameters of `take` that say which seat."""
    return {
        "seat_slot_id": slot_id,
        "hold_key": None if hold_id is None else str(hold_id),
        "seat_hold_id": hold_id,
        "overbook": overbook,
    }


def end_hold(after: CTE, name: str = "hold_used") -> CTE:
    """Mark the presented hold as used, when `after` has its row."""
    return (
        update(holds)
        .where(holds.c.id == bind("seat_hold_id", Uuid), after.c.id == holds.c.slot_id)
        .values(ended_at=snp_now())
        .returning(holds.c.id)
        .cte(name)
    )


def give_back(slot_id: ColumnElement[Any], name: str = "given_back") -> CTE:
    """Give one seat back: the slot reopens, unless its time has been given back to the doctor."""
    late = _s.given_back_from <= snp_now()
    return (
        update(slots)
        .where(_s.id == slot_id)
        .values(
            booked=_s.booked - 1,
            next_release_at=case((late, _s.given_back_from), else_=_s.next_release_at),
            version=_s.version + 1,
            updated_at=snp_now(),
        )
        .returning(_s.id)
        .cte(name)
    )


def audience_json(row: Any, visibility: Any) -> ColumnElement[Any]:
    """Who could see the slot by some labels, as events keep it."""
    return func.jsonb_build_object(
        "visibility",
        visibility,
        "cpts_ids",
        row.cpts_ids,
        "organization_types",
        row.organization_types,
        "organization_ids",
        row.organization_ids,
    )
