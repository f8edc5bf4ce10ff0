"""The rows of other rooms that figures are counted of, and whose they are.

They come through the parts of their rooms, and only what figures count is read of them.
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import ARRAY, ColumnElement, Text, Uuid, and_, cast, func, select
from sqlalchemy.dialects.postgresql import array

from service.analytics.repository.columns import local_hour
from service.analytics.repository.counting import Key
from service.bookings import parts as bookings
from service.calls import parts as calls
from service.directory import parts as directory
from service.kernel.sql import bind
from service.slots import parts as slots

call = calls.call
slot = slots.slot
practitioner = directory.practitioner
booking = bookings.booking
organization = directory.organization


def in_territory(column: ColumnElement[Any]) -> ColumnElement[bool]:
    """Rows of the territory that was asked for."""
    return column == bind("territory", Text)


def of_community(column: ColumnElement[Any]) -> ColumnElement[bool]:
    """Rows of the community that was asked for, by its id."""
    return column == bind("cpts_id", Uuid)


def of_member(
    organization_id: ColumnElement[Any], territory: ColumnElement[Any]
) -> ColumnElement[bool]:
    """Rows of the organizations that belong to the community that was asked for.

    The territory of a row is that of its organization, which never leaves it: to name it too lets
    the indexes that begin with a territory serve communities.
    """
    member = organization.alias("member")
    belongs = member.c.cpts_ids.bool_op("@>")(array([bind("cpts_id", Uuid)]))
    theirs = select(func.array_agg(member.c.territory.distinct())).where(belongs)
    return and_(
        organization_id.in_(select(member.c.id).where(belongs)),
        territory == func.any(cast(theirs.scalar_subquery(), ARRAY(Text))),
    )


def belonging(organization_id: ColumnElement[Any]) -> Mapping[str, Key]:
    """Groups by community. An organization may be in several: `communities` is all of them."""
    theirs = organization, organization.c.id == organization_id
    return {
        "cpts": Key(organization.c.cpts_ids, theirs, many=True),
        "communities": Key(organization.c.cpts_ids, theirs),
    }


def receiving(
    organization_id: ColumnElement[Any], practitioner_id: ColumnElement[Any]
) -> Mapping[str, Key]:
    """Groups by who receives the patient."""
    theirs = organization, organization.c.id == organization_id
    doctor = practitioner, practitioner.c.id == practitioner_id
    return {
        **belonging(organization_id),
        "organization_type": Key(organization.c.type, theirs),
        "practitioner_status": Key(practitioner.c.status, doctor),
    }


def calling() -> Mapping[str, Key]:
    """Groups by the community of the call, if it has one."""
    return {"cpts": Key(call.c.cpts_id), "communities": Key(call.c.cpts_id)}


def at_hour(instant: ColumnElement[Any]) -> Mapping[str, Key]:
    """Groups by local hour."""
    return {"hour": Key(local_hour(instant))}
