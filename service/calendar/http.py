"""Who opens a calendar: whoever has its secret, counted like a client, or by address if not."""

from uuid import UUID

from fastapi import Request

from service.calendar import usecases
from service.calendar.domain import CalendarNotFound, Opened
from service.kernel.db import UnitOfWork
from service.kernel.http.rate import network


async def opened(request: Request, uow: UnitOfWork, practitioner_id: UUID, secret: str) -> Opened:
    """Return the calendar that a secret opens, and remember that it was used.

    Refusals: `calendar-not-found`, `too-many-requests`.
    """
    state, nobody = request.app.state, (network(request.scope), "")
    state.address_limit.check(nobody)
    try:
        found = await usecases.opened(uow, practitioner_id, secret)
    except CalendarNotFound:
        state.address_limit.spend(nobody, request.scope)
        raise
    state.client_limit.spend(found.token_id, request.scope)
    if not state.settings.read_only:
        await usecases.remember_use(uow, found, secret)
    return found
