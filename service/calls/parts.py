"""Statement parts: may this call be booked for, whose file is it, and the orientation it gets."""

from typing import Any
from uuid import UUID

from sqlalchemy import (
    CTE,
    ColumnElement,
    SmallInteger,
    Text,
    Uuid,
    and_,
    case,
    func,
    insert,
    literal,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB

from service.calls.domain import MASK, Action, Outcome, allowing
from service.calls.tables import call_callbacks, call_outcomes, calls
from service.identity import Actor, Role
from service.kernel import events
from service.kernel.sql import bind, flag, texts

call = calls  # what figures are counted of
outcome, callback = call_outcomes, call_callbacks

_c = calls.c
_JSON = JSONB(none_as_null=True)


def visible() -> ColumnElement[bool]:
    """The rule of who sees a call: regulation staff of its organization, granted its territory.

    Parameters: caller_regulates, caller_organization_id, caller_territories.
    """
    return and_(
        flag("caller_regulates"),
        _c.organization_id == bind("caller_organization_id", Uuid),
        _c.territory == func.any(texts("caller_territories")),
    )


def caller(actor: Actor) -> dict[str, Any]:
    """Return the parameters of `visible`; `slots.parts.caller` holds them too."""
    return {
        "caller_regulates": actor.regulates,
        "caller_organization_id": actor.organization_id,
        "caller_territories": list(actor.territories),
    }


def bookable(codes: ColumnElement[Any]) -> ColumnElement[bool]:
    """Conditions on the call's row: seen by the caller, in a state that allows booking, not vital.

    `codes` mean a vital emergency as motive, priority or care level; the flag `overrides` admits
    them. Parameters: call_id, overrides and those of `visible`.
    """
    return and_(
        _c.id == bind("call_id", Uuid),
        visible(),
        or_(*(_c.state == state.value for state in allowing(Action.BOOK))),
        or_(
            flag("overrides"),
            and_(
                _c.motive != func.all(codes),
                _c.priority != func.all(codes),
                func.coalesce(_c.care_level, "") != func.all(codes),
            ),
        ),
    )


def orient(
    after: CTE, *, booking_id: ColumnElement[UUID], file_id: ColumnElement[UUID]
) -> tuple[CTE, CTE, CTE]:
    """Give the call of a booking its outcome `slot_orientation`, and tell it.

    `after` has the one row of the new booking; without a call_id nothing is written. Returns the
    outcome, the call (id, territory) and the event. A regulator who books has regulated the call;
    a call that had no patient file has the booking's from now on.
    Parameters: call_id, outcome_id and `Origin.parameters()`.
    """
    outcome = (
        insert(call_outcomes)
        .from_select(
            ["id", "call_id", "outcome", "booking_id", "client_id"],
            select(
                bind("outcome_id", Uuid),
                bind("call_id", Uuid),
                literal(Outcome.SLOT_ORIENTATION.value, Text),
                booking_id,
                bind("event_client_id", Uuid),
            )
            .select_from(after)
            .where(bind("call_id", Uuid).is_not(None)),
        )
        .returning(call_outcomes.c.id, call_outcomes.c.call_id, call_outcomes.c.booking_id)
        .cte("oriented_outcome")
    )
    bit = literal(MASK[Outcome.SLOT_ORIENTATION], SmallInteger)
    oriented = (
        update(calls)
        .where(_c.id == outcome.c.call_id, outcome.c.booking_id == booking_id)
        .values(
            outcome_mask=_c.outcome_mask.bitwise_or(bit),
            patient_file_id=func.coalesce(_c.patient_file_id, file_id),
            regulated_by=case(
                (
                    and_(_c.regulated_by.is_(None), bind("event_role", Text) == Role.REGULATOR),
                    _caller(),
                ),
                else_=_c.regulated_by,
            ),
            version=_c.version + 1,
        )
        .returning(_c.id, _c.territory)
        .cte("oriented_call")
    )
    event = events.part(
        "call.outcome_added",
        oriented.join(outcome, true()),
        subject=oriented.c.id,
        territory=oriented.c.territory,
        data=func.jsonb_build_object(
            "outcome",
            Outcome.SLOT_ORIENTATION.value,
            "outcome_id",
            outcome.c.id,
            "booking_id",
            outcome.c.booking_id,
        ),
        many=True,
        name="call_event",
    )
    return outcome, oriented, event


def _caller() -> ColumnElement[Any]:
    """Who acts, as `Actor.named` writes it."""
    return func.jsonb_build_object(
        "client_id",
        bind("event_client_id", Uuid),
        "role",
        bind("event_role", Text),
        "person",
        bind("event_person", _JSON),
    )
