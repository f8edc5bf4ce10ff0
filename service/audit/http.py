"""Routes about patients: whoever is refused there leaves a trace, as whoever is answered does."""

from contextlib import suppress
from typing import Any
from uuid import UUID

import structlog
from fastapi import Request, Response

from service.audit import usecases
from service.audit.strangers import Strangers
from service.identity.http import Guarded, Handler
from service.kernel.db import Database, DatabaseDefect, TransactionLost
from service.kernel.errors import DomainError, Forbidden, NotFound, Unauthenticated
from service.kernel.events import Origin
from service.kernel.http.proxies import address

log = structlog.get_logger()


class Traced(Guarded):
    """A guarded route whose refusals 401, 403 and 404 are traced, with the ids in its path."""

    refusals: tuple[type[DomainError], ...] = (Unauthenticated, Forbidden, NotFound)

    def get_route_handler(self) -> Handler:
        """Wrap the guarded handler."""
        handle = super().get_route_handler()
        operation = self.operation_id or ""

        async def traced(request: Request) -> Response:
            try:
                return await handle(request)
            except self.refusals as refusal:
                await _trace(request, operation, refusal)
                raise

        return traced


async def _trace(request: Request, operation: str, refusal: DomainError) -> None:
    """Write the trace of a refusal; where that fails, the refusal stands and the log says so."""
    database: Database = request.app.state.database
    actor = getattr(request.state, "actor", None)
    subject_ids = _ids(request.path_params)
    if actor is None:
        strangers: Strangers = request.app.state.strangers
        origin = Origin(address=address(request.scope), correlation_id=request.scope["request_id"])
        strangers.count(origin, operation, refusal.code, subject_ids)
        return
    try:
        async with database.unit_of_work() as uow:
            await usecases.refused(uow, actor, operation, refusal, subject_ids)
    except (DomainError, DatabaseDefect, TransactionLost) as error:
        log.error("refusal.untraced", operation=operation, why=type(error).__name__)


def _ids(parameters: dict[str, Any]) -> list[UUID]:
    """Return the ids of a path: before it was read they are texts, maybe of anything."""
    found = []
    for value in parameters.values():
        with suppress(ValueError):
            found.append(UUID(str(value)))
    return found
