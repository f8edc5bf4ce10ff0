"""JSON shapes of the room."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import ConfigDict, Field, field_validator
from pydantic_core import PydanticCustomError

from service.directory import reference
from service.kernel.http.shapes import Answer, Body, Instant, local
from service.needs.domain import Need, NeedDraft, Reason
from service.patients import Age, CaseId, CommuneCode
from service.slots import Mode

Note = Annotated[
    str, Field(max_length=200, description="What else would help to plan. Kept encrypted.")
]


class NeedIn(Body):
    """Nothing fitted: what was wanted, where and when, and why nothing did."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "motive": "M03.14",
                    "commune": "36044",
                    "from": "2026-12-01T14:00:00+01:00",
                    "to": "2026-12-01T20:00:00+01:00",
                    "mode": "AMB",
                    "reason": "too_far",
                }
            ]
        }
    )

    motive: str = Field(examples=["M03.14"], description="Code list `motives`.")
    commune: CommuneCode = Field(description="INSEE code of where the patient is.")
    from_: Instant = Field(alias="from", description="The wanted window: its start.")
    to: Instant = Field(description="Its end, excluded; at most 14 days later.")
    mode: Mode
    specialty: str | None = Field(None, examples=["SM54"])
    reason: Reason
    note: Note | None = None
    call_id: UUID | None = None
    case_id: CaseId | None = None
    age: Age | None = Field(None, description="Whole years or ISO 8601 duration (`P3M`).")

    @field_validator("motive")
    @classmethod
    def _known_motive(cls, value: str) -> str:
        if value not in reference.code_list("motives"):
            raise PydanticCustomError("unknown_code", "Not a motive of the national list.")
        return value

    @field_validator("specialty")
    @classmethod
    def _known_specialty(cls, value: str | None) -> str | None:
        if value is not None and value not in reference.code_list("specialties"):
            raise PydanticCustomError("unknown_code", "Not a specialty of the list JDV_J239 (SAS).")
        return value

    def draft(self) -> NeedDraft:
        """Return the need as the use cases want it."""
        return NeedDraft(**{name: getattr(self, name) for name in type(self).model_fields})


class NeedOut(Answer):
    """An unmet need, for the organization that recorded it."""

    model_config = ConfigDict(from_attributes=True, serialize_by_alias=True)

    id: UUID
    territory: str = Field(description="Of the commune.")
    motive: str
    commune: str
    from_: datetime = Field(alias="from", description="In the territory's zone.")
    to: datetime
    mode: Mode
    specialty: str | None
    reason: Reason
    note: str | None
    call_id: UUID | None
    case_id: str | None
    age: str | None
    radius_km: float = Field(description="The territory's default radius, around the commune.")
    open_slots: int = Field(
        description="Slots that you could have booked at that moment: in the wanted window, within"
        " the radius, of any mode and specialty."
    )
    open_slots_fitting: int = Field(description="Of these, with the wanted mode and specialty.")
    role: str
    created_at: datetime


def need_out(need: Need) -> NeedOut:
    """Render a need."""
    told = need.told
    return NeedOut.model_validate(
        {
            **{name: getattr(told, name) for name in NeedDraft.__dataclass_fields__},
            "id": need.id,
            "territory": need.territory,
            "from": local(told.from_, need.zone),
            "to": local(told.to, need.zone),
            "radius_km": need.radius_km,
            "open_slots": need.open_slots,
            "open_slots_fitting": need.open_slots_fitting,
            "role": need.role,
            "created_at": local(need.created_at, need.zone),
        }
    )
