"""Use cases of the room."""

from collections.abc import Sequence
from uuid import UUID

from service.directory import repository
from service.directory.domain import Place
from service.kernel.db import UnitOfWork


async def places(uow: UnitOfWork, location_ids: Sequence[UUID]) -> dict[UUID, Place]:
    """Return the active locations among these, with all that a slot copies from them."""
    return await repository.places(uow, sorted(set(location_ids)))
