"""What the tests of imports share: lines, a desk to import them at, and looks at the result."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import asyncpg
from sqlalchemy import func, select

from service.directory.tables import organizations, practitioners
from service.directory.tasks.lines import Filter
from service.directory.tasks.national import Options, import_extract
from service.directory.tasks.structures import import_structures
from service.directory.tasks.tally import Report
from service.kernel.db import Database
from service.kernel.events import events

HEADER = (
    "Type d'identifiant PP",
    "Identifiant PP",
    "Nom d'exercice",
    "Prénom d'exercice",
    "Code profession",
    "Code savoir-faire",
    "Code mode exercice",
    "Numéro SIRET site",
    "Numéro FINESS site",
    "Identifiant technique de la structure",
    "Raison sociale site",
    "Numéro Voie (coord. structure)",
    "Libellé Voie (coord. structure)",
    "Code postal (coord. structure)",
    "Code commune (coord. structure)",
    "Code secteur d'activité",
    "Code section tableau pharmaciens",
)
LEA = {
    "Type d'identifiant PP": "8",
    "Identifiant PP": "10000000001",
    "Nom d'exercice": "ÉPREUVE",
    "Prénom d'exercice": "Léa",
    "Code profession": "10",
    "Code savoir-faire": "SM54",
    "Code mode exercice": "L",
    "Identifiant technique de la structure": "R1",
    "Raison sociale site": "Cabinet de la Forêt",
    "Numéro Voie (coord. structure)": "3",
    "Libellé Voie (coord. structure)": "RUE DES ÉCOLES",
    "Code postal (coord. structure)": "36000",
    "Code commune (coord. structure)": "36044",
    "Code secteur d'activité": "SA07",
}
ZOE = {
    **LEA,
    "Identifiant PP": "10000000002",
    "Prénom d'exercice": "Zoé",
    "Numéro SIRET site": "90000000000002",
    "Identifiant technique de la structure": "R2",
    "Raison sociale site": "Cabinet de Bourges",
    "Code commune (coord. structure)": "18033",
}
INES = {
    **LEA,
    "Identifiant PP": "10000000003",
    "Prénom d'exercice": "Inès",
    "Code profession": "21",
    "Code savoir-faire": "",
    "Numéro SIRET site": "90000000000003",
    "Numéro FINESS site": "360000003",
    "Raison sociale site": "Pharmacie du Marché",
    "Code secteur d'activité": "SA33",
    "Code section tableau pharmaciens": "A",
}


def text(lines: Iterable[Mapping[str, str] | str], header: Sequence[str] = HEADER) -> str:
    """The text of an extract."""
    rows = [r if isinstance(r, str) else "|".join(r.get(n, "") for n in header) for r in lines]
    return "".join(f"{row}\r\n" for row in ["|".join(header), *rows])


class Desk:
    """Imports files into one fresh database, and looks at what is in it."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.database, self.folder = database, folder

    async def extract(
        self, *lines: Mapping[str, str] | str, wanted: Filter | None = None, **options: Any
    ) -> Report:
        """Import lines of the national extract."""
        path = self.folder / "PS_LibreAcces_Personne_activite_202611200815.txt"
        path.write_text(text(lines), encoding="utf-8", newline="")
        return await self.file(path, wanted or Filter(), **options)

    async def file(self, path: Path, wanted: Filter | None = None, **options: Any) -> Report:
        """Import a file."""
        chosen = Options(wanted or Filter(), **options)
        return await import_extract(self.database, path, chosen, lambda *_: None)

    async def structures(self, content: str, *territories: str, **options: Any) -> Report:
        """Import a CSV of structures."""
        path = self.folder / "structures.csv"
        path.write_bytes(content.encode("utf-8-sig"))
        chosen = Options(Filter(territories), **options)
        return await import_structures(self.database, path, chosen, lambda *_: None)

    async def run(self, statement: Any) -> Any:
        """Run one statement."""
        async with self.database.unit_of_work() as uow:
            return await uow.single(statement)

    async def person(self, rpps: str) -> Any:
        """The row of a practitioner."""
        return (await self.run(select(practitioners).where(practitioners.c.rpps == rpps))).one()

    async def organization(self, key: str) -> Any:
        """The row of an organization."""
        wanted = select(organizations).where(organizations.c.source_key == key)
        return (await self.run(wanted)).one()

    async def told(self) -> dict[str, int]:
        """How many events of each type there are."""
        rows = await self.run(select(events.c.type, func.count()).group_by(events.c.type))
        return {row[0]: row[1] for row in rows}


_SNAPSHOT = {
    "practitioners": """
        SELECT rpps, family_name, given_name, profession, specialty, status, territory, active,
               version, source, source_digest, source_date
        FROM practitioners ORDER BY rpps""",
    "organizations": """
        SELECT source_key, territory, type, name, finess, siret, commune, active, version, source,
               source_digest, source_date
        FROM organizations ORDER BY source_key""",
    "locations": """
        SELECT l.source_key, o.source_key AS owner, l.name, l.address, l.postal_code, l.commune,
               l.latitude, l.longitude, l.active, l.version, l.source_digest
        FROM locations l JOIN organizations o ON o.id = l.organization_id ORDER BY 1""",
    "workplaces": """
        SELECT p.rpps, l.source_key, w.source
        FROM practitioner_locations w JOIN practitioners p ON p.id = w.practitioner_id
        JOIN locations l ON l.id = w.location_id ORDER BY 1, 2""",
}


async def snapshot(url: str) -> dict[str, list[tuple[Any, ...]]]:
    """The whole directory without its ids."""
    connection = await asyncpg.connect(url)
    try:
        return {
            name: [tuple(row) for row in await connection.fetch(query)]
            for name, query in _SNAPSHOT.items()
        }
    finally:
        await connection.close()


def entries(report: Report, kind: str) -> dict[str, int]:
    """What became of one kind of entry."""
    counted = report.tally.entries.items()
    return {k.partition(".")[2]: n for k, n in counted if k.startswith(f"{kind}.") and n}
