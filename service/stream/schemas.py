"""JSON shapes of the room."""

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import Field

from service.kernel.http.shapes import Answer, PageOut
from service.stream.domain import RESET


class FactOut(Answer):
    """Something that happened, as far as the caller may know. Never who a patient is."""

    id: str = Field(examples=["4711"], description="Its place: send the last one to go on from it.")
    type: str = Field(examples=["booking.created", "slot.changed"])
    subject_id: UUID | None = Field(description=f"What it happened to; null for `{RESET}`.")
    occurred_at: datetime | None = Field(description=f"UTC; null for `{RESET}`.")
    data: dict[str, Any] = Field(
        description="Ids, states and times; of `slot.changed`: `slot_id`, `state`, `remaining`."
    )


class FactsOut(PageOut[FactOut]):
    """A page of events, oldest first: ask again with `cursor=next_cursor` until it is null."""

    last_event_id: str = Field(
        description="How far this is: what comes later follows it, in pages or as a stream."
    )
