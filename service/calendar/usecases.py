"""Use cases: make, list and revoke what opens a calendar; open it."""

import secrets
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from service import directory, slots
from service.calendar import repository
from service.calendar.domain import (
    TOKENS,
    CalendarNotFound,
    CalendarToken,
    CalendarTokenNotFound,
    Feed,
    Opened,
    PractitionerInactive,
    TooManyCalendarTokens,
    entry,
)
from service.identity import Actor
from service.kernel import events
from service.kernel.db import UnitOfWork
from service.kernel.ids import new_id
from service.slots import NotMyPractitioner

_SECRET_BYTES = 32


async def create(
    uow: UnitOfWork, actor: Actor, practitioner_id: UUID, *, name: str
) -> CalendarToken:
    """Make a token of a practitioner's calendar; its secret is told now and never again.

    Refusals: `not-my-practitioner`, `practitioner-inactive`, `too-many-calendar-tokens`.
    """
    _check_mine(actor, practitioner_id)
    if not await slots.lock_practitioner(uow, practitioner_id):
        raise PractitionerInactive
    if len(await repository.tokens(uow, practitioner_id)) >= TOKENS:
        raise TooManyCalendarTokens
    token_id, secret = new_id(), secrets.token_urlsafe(_SECRET_BYTES)
    digest = uow.vault.secret_digests(secret)[0]
    await repository.add(uow, token_id, actor, practitioner_id, name, digest)
    await _tell(uow, actor, "calendar_token.created", practitioner_id, token_id)
    return replace(await find(uow, actor, practitioner_id, token_id), secret=secret)


async def find(
    uow: UnitOfWork, actor: Actor, practitioner_id: UUID, token_id: UUID
) -> CalendarToken:
    """Return a token, without its secret.

    Refusals: `not-my-practitioner`, `calendar-token-not-found`.
    """
    _check_mine(actor, practitioner_id)
    found = await repository.find(uow, practitioner_id, token_id)
    if found is None:
        raise CalendarTokenNotFound
    return found


async def list_all(uow: UnitOfWork, actor: Actor, practitioner_id: UUID) -> list[CalendarToken]:
    """Return the tokens that open a practitioner's calendar, whoever of their side made them.

    Refusals: `not-my-practitioner`.
    """
    _check_mine(actor, practitioner_id)
    return await repository.tokens(uow, practitioner_id)


async def revoke(uow: UnitOfWork, actor: Actor, practitioner_id: UUID, token_id: UUID) -> None:
    """Revoke a token, with effect on the next request; revoked already, it stays so.

    Refusals: those of `find`.
    """
    await find(uow, actor, practitioner_id, token_id)
    if await repository.revoke(uow, token_id):
        await _tell(uow, actor, "calendar_token.revoked", practitioner_id, token_id)


def _check_mine(actor: Actor, practitioner_id: UUID) -> None:
    if practitioner_id not in actor.practitioner_ids:
        raise NotMyPractitioner


async def _tell(
    uow: UnitOfWork, actor: Actor, type_: str, practitioner_id: UUID, token_id: UUID
) -> None:
    who = await directory.practitioner(uow, practitioner_id)
    data = {"practitioner_id": str(practitioner_id)}
    await events.record(uow, actor.origin, type_, token_id, territory=who.territory, data=data)


async def opened(uow: UnitOfWork, practitioner_id: UUID, secret: str) -> Opened:
    """Return the calendar that a secret opens. Refusals: `calendar-not-found`."""
    found = await repository.opened(uow, practitioner_id, uow.vault.secret_digests(secret))
    if found is None:
        raise CalendarNotFound
    return found


async def remember_use(uow: UnitOfWork, calendar: Opened, secret: str) -> None:
    """Remember when a calendar was opened, to within an hour."""
    if calendar.unremembered:
        digest = uow.vault.secret_digests(secret)[0]
        await repository.remember_use(uow, calendar.token_id, digest)


async def feed(uow: UnitOfWork, calendar: Opened) -> Feed:
    """Return what an opened calendar shows, from 30 days ago until in 90 days."""
    seats = await repository.seats(uow, calendar.practitioner_id)
    return Feed(f"SNP – {calendar.practitioner}", [entry(seat) for seat in seats])


async def ended(uow: UnitOfWork, before: datetime) -> list[UUID]:
    """Return the tokens that were revoked, or whose maker's right ended, before an instant."""
    return await repository.ended(uow, before)


async def delete(uow: UnitOfWork, token_ids: Sequence[UUID], before: datetime) -> None:
    """Delete those of some tokens that are `ended`; that they were made stays as an event."""
    await repository.remove(uow, token_ids, before)
