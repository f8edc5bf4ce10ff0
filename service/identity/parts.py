"""Statement parts: is the grant behind the caller's token still as the token says?"""

from typing import Any

from sqlalchemy import ColumnElement, Integer, Uuid, exists, or_, select

from service.identity.domain import Actor
from service.identity.tables import grants
from service.kernel.sql import bind, snp_now


def grant_is_live() -> ColumnElement[bool]:
    """True while the caller's grant is unchanged, unrevoked and within its dates.

    A statement that carries this condition needs no look-up before it; revoking takes effect on
    the next request. Parameters: `grant_parameters`.
    """
    g = grants.c
    return exists(
        select(1).where(
            g.id == bind("grant_id", Uuid),
            g.revision == bind("grant_revision", Integer),
            g.revoked_at.is_(None),
            g.valid_from <= snp_now(),
            or_(g.valid_until.is_(None), g.valid_until > snp_now()),
        )
    )


def grant_parameters(actor: Actor) -> dict[str, Any]:
    """Return the parameters of `grant_is_live`."""
    return {"grant_id": actor.grant_id, "grant_revision": actor.grant_revision}
