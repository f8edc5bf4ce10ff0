"""Writing a batch: compare it with the directory, then write what differs."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from service.directory.tasks.batches import Batch
from service.directory.tasks.lines import Person, Structure, digest
from service.directory.tasks.repository import entries
from service.directory.tasks.repository.entries import (
    Known,
    KnownOrganization,
    Origin,
    Writer,
)
from service.directory.tasks.tally import Tally
from service.kernel.db import UnitOfWork
from service.kernel.ids import new_id


def fate(known: Known | None, said: int, source: str) -> str:
    """Return what becomes of an entry: what its source says now, beside what it said last."""
    if known is None:
        return "new"
    if known.source != source:
        return "by_hand"
    if known.digest is None:
        return "reactivated"
    return "unchanged" if known.digest == said else "changed"


class _Changes:
    """Sorts the rows of one table by their fate."""

    def __init__(self, kind: str, origin: Origin, tally: Tally) -> None:
        self._kind, self._origin, self._tally = kind, origin, tally
        self._new: list[Mapping[str, Any]] = []
        self._changed: list[Mapping[str, Any]] = []

    def add(self, known: Known | None, said: int, row: Mapping[str, Any]) -> UUID:
        """Place a row; return the id of its entry."""
        what = fate(known, said, self._origin.source)
        self._tally.count(self._kind, what)
        entry_id = new_id() if known is None else known.id
        if what == "new":
            self._new.append({**row, "id": entry_id, "source_digest": said})
        elif what in {"changed", "reactivated"}:
            self._changed.append({**row, "id": entry_id, "source_digest": said})
        return entry_id

    async def write(self, uow: UnitOfWork, writer: Writer) -> None:
        """Write the rows, each table in one order of its ids: two imports never deadlock."""
        await writer.add(uow, self._origin, self._new)
        await writer.amend(uow, self._origin, sorted(self._changed, key=lambda row: row["id"]))


async def write(
    uow: UnitOfWork, origin: Origin, batch: Batch, tally: Tally, *, dry_run: bool
) -> None:
    """Write a batch, or with `dry_run` only count what it would do."""
    people = await entries.known_practitioners(uow, {rpps for rpps, _ in batch.work})
    places = await entries.known_locations(uow, {key for _, key in batch.work})
    owners = await _owners(uow, batch.structures)
    there = await entries.known_workplaces(uow, batch.work)

    organizations = _Changes("organizations", origin, tally)
    locations = _Changes("locations", origin, tally)
    practitioners = _Changes("practitioners", origin, tally)
    for key, structure in batch.structures.items():
        owner = owners.get(key)
        organization_id = organizations.add(owner, *_organization(structure))
        said, row = _location(structure)
        locations.add(places.get(key), said, {**row, "organization_id": organization_id})
    for rpps, person in batch.people.items():
        practitioners.add(people.get(rpps), *_practitioner(person))
    work = _work(batch.work, people, there, origin.source, tally)
    if dry_run:
        return
    await organizations.write(uow, entries.ORGANIZATIONS)
    await locations.write(uow, entries.LOCATIONS)
    await practitioners.write(uow, entries.PRACTITIONERS)
    await entries.work_at(uow, origin, work)


async def _owners(
    uow: UnitOfWork, structures: Mapping[str, Structure]
) -> dict[str, KnownOrganization]:
    """Return whom each structure is: by its key, or a hand-made entry with its number."""
    found = await entries.known_organizations(
        uow,
        structures,
        [s.finess for s in structures.values() if s.finess],
        [s.siret for s in structures.values() if s.siret],
    )
    by_number = {number: o for o in found for number in (o.finess, o.siret) if number}
    by_key = {o.source_key: o for o in found if o.source_key}
    owners = {
        key: by_key.get(key) or by_number.get(s.finess or s.siret or "")
        for key, s in structures.items()
    }
    return {key: owner for key, owner in owners.items() if owner}


def _work(
    pairs: Sequence[tuple[str, str]],
    people: Mapping[str, Known],
    there: set[tuple[str, str]],
    source: str,
    tally: Tally,
) -> list[tuple[str, str]]:
    """Return the work to write down; a hand-made practitioner keeps the places they were given."""
    by_hand = {rpps for rpps, known in people.items() if known.source != source}
    ours = [pair for pair in pairs if pair[0] not in by_hand]
    new = [pair for pair in ours if pair not in there]
    tally.count("workplaces", "by_hand", len(pairs) - len(ours))
    tally.count("workplaces", "unchanged", len(ours) - len(new))
    tally.count("workplaces", "new", len(new))
    return new


# --- rows, and what of them is compared -----------------------------------------------------------


def _organization(structure: Structure) -> tuple[int, dict[str, Any]]:
    row = {
        "name": structure.name,
        "commune": structure.commune,
        "territory": structure.territory,
        "type": structure.type,
        "finess": structure.finess,
        "siret": structure.siret,
        "source_key": structure.key,
    }
    return digest(structure.name, structure.commune), row


def _location(structure: Structure) -> tuple[int, dict[str, Any]]:
    row = {
        "name": structure.name,
        "address": structure.address,
        "postal_code": structure.postal_code,
        "commune": structure.commune,
        "latitude": structure.latitude,
        "longitude": structure.longitude,
        "source_key": structure.key,
    }
    said = digest(structure.name, structure.address, structure.postal_code, structure.commune)
    return said, row


def _practitioner(person: Person) -> tuple[int, dict[str, Any]]:
    row = person._asdict()
    return digest(*(value for name, value in row.items() if name != "territory")), row
