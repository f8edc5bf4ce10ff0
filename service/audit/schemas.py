"""JSON shapes of the room."""

from datetime import datetime
from uuid import UUID

from pydantic import Field

from service.kernel.http.shapes import Answer


class TraceOut(Answer):
    """One reading, change or refusal: pseudonyms only, never a patient's identity."""

    id: UUID
    occurred_at: datetime
    operation: str = Field(
        examples=["patients.read", "booking.created"],
        description="Operation id of a reading or refusal; type of the event of a change.",
    )
    result: str = Field(
        examples=["shown", "done", "patient-file-not-found"],
        description="`shown`, `done`, or the code of the refusal.",
    )
    subject_ids: list[UUID] = Field(description="Patient files, bookings, or what else changed.")
    territories: list[str]
    client_id: UUID | None
    grant_id: UUID | None
    role: str | None
    organization_id: UUID | None
    person: dict[str, str] | None = Field(
        description="Who works with the software; `proof`: `asserted`, or who proved them."
    )
    purpose: str | None
    address: str | None = Field(description="Network address, as the server saw it.")
    correlation_id: str | None = Field(description="The request's `X-Request-Id`.")
    break_glass: str | None = Field(description="Why a file was opened that was not visible.")
    times: int = Field(
        description="How often an address without a valid token was refused in some minute: the"
        " first refusal is told. Else 1."
    )
