"""Every SQL statement of the room."""

from collections.abc import Mapping
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Integer, RowMapping, Select, Text, Uuid, insert, select

from service.audit import parts as traces
from service.identity import Actor
from service.kernel.crypto import Vault
from service.kernel.db import UnitOfWork
from service.kernel.sql import bind
from service.kernel.tables import Instant
from service.needs.domain import Need, NeedDraft, Reason
from service.needs.tables import unmet_needs

_n = unmet_needs.c
_NOTE = "unmet_needs.note"
_TOLD = ("motive", "commune", "mode", "specialty", "call_id", "case_id", "age")


async def add(
    uow: UnitOfWork, actor: Actor, need_id: UUID, draft: NeedDraft, facts: Mapping[str, Any]
) -> None:
    """Insert a need with what there was at that moment."""
    told = {name: getattr(draft, name) for name in _TOLD}
    await uow.execute(
        insert(unmet_needs),
        {
            "id": need_id,
            **told,
            "wanted_from": draft.from_,
            "wanted_to": draft.to,
            "reason": draft.reason.value,
            "note": uow.vault.encrypt(draft.note, column=_NOTE, row=need_id),
            "organization_id": actor.organization_id,
            "organization_type": actor.organization_type,
            **actor.named(),
            "client_id": actor.client_id,
            **facts,
        },
    )


_MINE = select(unmet_needs).where(_n.organization_id == bind("caller_organization_id", Uuid))
_FIND = _MINE.where(_n.id == bind("need_id", Uuid))


async def find(uow: UnitOfWork, actor: Actor, need_id: UUID) -> Need | None:
    """Return a need that the caller's organization recorded."""
    values = {"need_id": need_id, "caller_organization_id": actor.organization_id}
    row = (await uow.single(_FIND, values)).mappings().one_or_none()
    return None if row is None else _need(uow.vault, row)


_FILTERS: Mapping[str, ColumnElement[bool]] = {
    "territory": _n.territory == bind("territory", Text),
    "from_": _n.wanted_from >= bind("from_", Instant),
    "to": _n.wanted_from < bind("to", Instant),
    "before": _n.id < bind("before", Uuid),
}


@cache
def _list(shape: tuple[str, ...]) -> Select[Any]:
    filtered = _MINE.where(*(_FILTERS[name] for name in shape))
    return traces.page("needs.list", filtered.order_by(_n.id.desc()).limit(bind("limit", Integer)))


async def list_mine(
    uow: UnitOfWork, actor: Actor, wanted: Mapping[str, Any], limit: int
) -> list[Need]:
    """Return the organization's needs, newest first, one more than the page holds; trace them."""
    given = {name: value for name, value in wanted.items() if value is not None}
    whose = {"caller_organization_id": actor.organization_id, "limit": limit + 1}
    values = {**given, **whose, **traces.who(actor)}
    rows = await uow.single(_list(tuple(given)), values)
    return [_need(uow.vault, row) for row in rows.mappings()]


def _need(vault: Vault, row: RowMapping) -> Need:
    return Need(
        id=row["id"],
        told=NeedDraft(
            from_=row["wanted_from"],
            to=row["wanted_to"],
            reason=Reason(row["reason"]),
            note=vault.decrypt(row["note"], column=_NOTE, row=row["id"]),
            **{name: row[name] for name in _TOLD},
        ),
        territory=row["territory"],
        zone=row["zone"],
        radius_km=row["radius_km"],
        open_slots=row["open_slots"],
        open_slots_fitting=row["open_slots_fitting"],
        role=row["role"],
        created_at=row["created_at"],
    )
