"""All that is held about one patient, read from every table that may hold something."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from service import patients
from service.kernel import events
from service.kernel.db import UnitOfWork
from service.retention import repository
from service.retention.reference import LABELS, SECTIONS, UNQUALIFIED, UNTOLD


@dataclass(frozen=True, slots=True)
class Held:
    """Rows by section, as they are stored but decrypted."""

    file_id: UUID
    organization_id: UUID
    territory: str
    at: datetime
    rows: Mapping[str, list[Mapping[str, Any]]]

    def labelled(self) -> dict[str, Any]:
        """Render it: every member with its French label."""
        return {
            "patient_file_id": str(self.file_id),
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


async def held(uow: UnitOfWork, file_id: UUID) -> Held | None:
    """Read everything about a file; the caller has said to row-level security who reads."""
    rows = await repository.rows_about(uow, file_id)
    if not rows["patient_file"]:
        return None
    (file,) = rows["patient_file"]
    rows["patient_file"] = [_with_ins_if_qualified(file)]
    subjects = [file_id, *(row["id"] for name in ("bookings", "calls") for row in rows[name])]
    told = [
        {"occurred_at": e.occurred_at, "type": e.type, "role": e.role, "data": dict(e.data)}
        for subject in subjects
        for e in await events.history(uow, subject)
    ]
    return Held(
        file_id,
        file["organization_id"],
        file["territory"],
        await uow.now(),
        {**rows, "events": sorted(told, key=lambda row: row["occurred_at"])},
    )
