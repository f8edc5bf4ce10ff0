"""JSON shapes of the room."""

from datetime import datetime
from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from service.kernel.http.shapes import Answer, Body
from service.patients import CaseId
from service.retention.usecases import Target


class LegalHoldIn(Body):
    """What nothing may be erased of: a patient file, or a case with all its files."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"case_id": "LRM-123", "reason": "Réquisition"}]}
    )

    patient_file_id: UUID | None = None
    case_id: CaseId | None = None
    territory: Annotated[str, Field(max_length=3)] | None = Field(
        None, description="One of mine; by default the first."
    )
    reason: Annotated[str, Field(min_length=3, max_length=500, description="Kept encrypted.")]

    @model_validator(mode="after")
    def _one_target(self) -> Self:
        if (self.patient_file_id is None) == (self.case_id is None):
            raise PydanticCustomError("one_target", "Give patient_file_id or case_id.")
        return self

    def target(self) -> Target:
        """Return the target as the use cases want it."""
        return Target(self.patient_file_id, self.case_id)


class LegalHoldOut(Answer):
    """A legal hold."""

    id: UUID
    territory: str | None
    patient_file_id: UUID | None
    case_id: str | None
    organization_id: UUID | None = Field(description="Who placed it, and may lift it.")
    reason: str | None = Field(
        description="Told to who placed it and to managers of its territory; gone once lifted."
    )
    created_at: datetime
    lifted_at: datetime | None


class LegalHoldsOut(Answer):
    """The holds of my territories, newest first."""

    items: list[LegalHoldOut]


class MemberOut(Answer):
    """One thing that is held."""

    name: str
    label: str = Field(description="In French.")
    value: Any


class SectionOut(Answer):
    """Rows of one kind."""

    name: str
    label: str = Field(description="In French.")
    items: list[list[MemberOut]]


class PatientExportOut(Answer):
    """All that is held about a patient."""

    patient_file_id: UUID
    other_patient_file_ids: list[UUID] = Field(
        description="Files of the same patient, told here too."
    )
    exported_at: datetime
    sections: list[SectionOut]
