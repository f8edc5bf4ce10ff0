"""All that is held about one patient, in whatever files: every table that may hold something."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from service import patients
from service.kernel import events
from service.kernel.db import UnitOfWork
from service.kernel.wall import READS_AS, seeking
from service.retention import repository
from service.retention.reference import LABELS, SECTIONS, UNQUALIFIED, UNTOLD


@dataclass(frozen=True, slots=True)
class Held:
    """Rows by section, as they are stored but decrypted."""

    file_ids: Sequence[UUID]
    at: datetime
    rows: Mapping[str, list[Mapping[str, Any]]]

    def labelled(self) -> dict[str, Any]:
        """Render it: every member with its French label."""
        return {
            "patient_file_id": str(self.file_ids[0]),
            "other_patient_file_ids": [str(file_id) for file_id in self.file_ids[1:]],
            "exported_at": self.at.isoformat(),
            "sections": [
                {"name": name, "label": label, "items": [_members(r) for r in self.rows[name]]}
                for name, label in SECTIONS.items()
            ],
        }


def _members(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {"name": name, "label": LABELS[name], "value": _plain(value)}
        for name, value in row.items()
        if name not in UNTOLD
    ]


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return value


def _with_ins_if_qualified(file: Mapping[str, Any]) -> Mapping[str, Any]:
    """That an INS is held is told; the number itself leaves with a qualified identity only."""
    if file["ins"] is None or file["identity_status"] == patients.QUALIFIED:
        return file
    return {**file, "ins": UNQUALIFIED}


async def held(uow: UnitOfWork, file_ids: Sequence[UUID]) -> Held:
    """Read everything about some files of one patient; that the caller may is known."""
    sections: dict[str, list[Mapping[str, Any]]] = {name: [] for name in SECTIONS}
    for file_id in file_ids:
        await uow.execute(READS_AS, seeking(uow.vault, file_id))
        rows = await repository.rows_about(uow, file_id)
        rows["patient_file"] = [_with_ins_if_qualified(file) for file in rows["patient_file"]]
        for name, found in rows.items():
            sections[name] += found
        for subject in (file_id, *(row["id"] for row in (*rows["bookings"], *rows["calls"]))):
            sections["events"] += [
                {"occurred_at": e.occurred_at, "type": e.type, "role": e.role, "data": dict(e.data)}
                for e in await events.history(uow, subject)
            ]
    sections["events"].sort(key=lambda row: row["occurred_at"])
    return Held(file_ids, await uow.now(), sections)
