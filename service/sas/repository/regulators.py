"""Who regulates, as SAS says."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Text, Uuid, any_, case, delete, func, insert, null, or_, select, text, update

from service.identity import IDNPS, SAS, is_named
from service.kernel.db import UnitOfWork
from service.kernel.sql import bind, texts
from service.sas.domain import Regulator, RegulatorDraft
from service.sas.tables import regulators

_r = regulators.c

# SAS tells of some dozens a day: they take turns, so that nobody is ever made twice.
_IN_TURN = text("SELECT pg_advisory_xact_lock(hashtextextended('snp:regulators', 0))")
_SOME = select(_r.id, _r.account_id, _r.active, _r.national, _r.technical)
_technical = func.lower(_r.technical, type_=Text)
_MATCHING = _SOME.where(
    or_(
        _r.national == any_(texts("national")),
        _technical == any_(texts("technical")),
    )
).order_by(_r.id)


async def in_turn(uow: UnitOfWork) -> None:
    """Let others who write regulators wait for this transaction's end."""
    await uow.execute(_IN_TURN)


async def matching(
    uow: UnitOfWork, national: Sequence[str], technical: Sequence[str]
) -> list[Regulator]:
    """Return whoever has one of these numbers."""
    numbers = {"national": list(national), "technical": [one.lower() for one in technical]}
    rows = await uow.execute(_MATCHING, numbers)
    return [Regulator(**row) for row in rows.mappings()]


_LOSE = (
    update(regulators)
    .where(_r.id == bind("regulator", Uuid))
    .values(
        account_id=null(),
        national=func.nullif(_r.national, bind("lost_national", Text)),
        technical=case((_technical == bind("lost_technical", Text), null()), else_=_r.technical),
    )
)


async def lose(uow: UnitOfWork, regulator_id: UUID, draft: RegulatorDraft) -> None:
    """Take from somebody the numbers that a draft gives to somebody else."""
    technical = draft.number(SAS)
    lost = {
        "lost_national": draft.number(IDNPS),
        "lost_technical": technical and technical.lower(),
    }
    await uow.execute(_LOSE, {"regulator": regulator_id, **lost})


_ADD = insert(regulators)
_REPLACE = (
    update(regulators)
    .where(_r.id == bind("regulator", Uuid))
    .values(
        account_id=bind("new_account", Uuid),
        active=bind("new_active", _r.active.type),
        national=bind("new_national", Text),
        technical=bind("new_technical", Text),
    )
)


def _written(regulator: Regulator) -> dict[str, Any]:
    return {
        "account_id": regulator.account_id,
        "active": regulator.active,
        "national": regulator.national,
        "technical": regulator.technical,
    }


async def add(uow: UnitOfWork, regulator: Regulator) -> None:
    """Insert somebody."""
    await uow.execute(_ADD, {"id": regulator.id, **_written(regulator)})


async def replace(uow: UnitOfWork, regulator: Regulator) -> None:
    """Write all of somebody anew."""
    new = {
        "new_account": regulator.account_id,
        "new_active": regulator.active,
        "new_national": regulator.national,
        "new_technical": regulator.technical,
    }
    await uow.execute(_REPLACE, {"regulator": regulator.id, **new})


# Whom retention has forgotten in `identity`.
_CLEAR = delete(regulators).where(~_r.active, ~is_named(_r.account_id))


async def clear(uow: UnitOfWork) -> None:
    """Delete who is withdrawn and has no name here any more."""
    await uow.execute(_CLEAR)
