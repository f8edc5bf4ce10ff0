"""Tokens that were exchanged: each once, in whichever process."""

from sqlalchemy import LargeBinary, delete, select, text
from sqlalchemy.dialects.postgresql import insert

from service.identity.people import SubjectToken
from service.identity.tables import spent_tokens
from service.kernel.db import UnitOfWork
from service.kernel.sql import bind, snp_now
from service.kernel.tables import Instant

_s = spent_tokens.c
# What ended an hour ago no clock takes for good any more. Some go with each that comes.
_ENDED = (
    select(_s.digest)
    .where(_s.ends_at < snp_now() - text("interval '1 hour'"))
    .limit(20)
    .with_for_update(skip_locked=True)
)
_SPEND = (
    insert(spent_tokens)
    .values(digest=bind("digest", LargeBinary), ends_at=bind("ends_at", Instant))
    .on_conflict_do_nothing()
    .returning(_s.digest)
    .add_cte(delete(spent_tokens).where(_s.digest.in_(_ENDED)).cte("swept"))
)
_SPENT = select(_s.digest).where(_s.digest == bind("digest", LargeBinary))


async def spend(uow: UnitOfWork, token: SubjectToken) -> bool:
    """Note that a token was exchanged; False if it was before, in whichever process."""
    values = {"digest": token.digest, "ends_at": token.ends_at}
    return (await uow.execute(_SPEND, values)).first() is not None


async def is_unspent(uow: UnitOfWork, token: SubjectToken) -> bool:
    """Tell whether a token was not exchanged yet."""
    return (await uow.single(_SPENT, {"digest": token.digest})).first() is None
