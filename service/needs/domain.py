"""What an unmet need is, and what makes one impossible. Pure: no I/O, no clock."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from service.kernel.errors import FieldError, Invalid, NotFound
from service.slots import SEARCH_LONGEST

HORIZON = timedelta(days=366)


class Reason(StrEnum):
    """Why nothing fitted, as the one on the telephone says."""

    TOO_FAR = "too_far"
    TOO_LATE = "too_late"
    NO_ROOM = "no_room"
    NO_MODE = "no_mode"
    NO_SPECIALTY = "no_specialty"
    REFUSED_BY_PATIENT = "refused_by_patient"
    OTHER = "other"


class NeedNotFound(NotFound):
    """No such need, or of another organization: told in the same words."""

    code = "need-not-found"
    title = "Your organization recorded no unmet need of this id."


class NeedInvalid(Invalid):
    """Rules of an unmet need that need more than the body's shape."""

    code = "need-invalid"
    title = "This unmet need breaks a rule."


@dataclass(frozen=True, slots=True)
class NeedDraft:
    """A need as told."""

    motive: str
    commune: str
    from_: datetime
    to: datetime
    mode: str
    specialty: str | None
    reason: Reason
    note: str | None
    call_id: UUID | None
    case_id: str | None
    age: str | None


@dataclass(frozen=True, slots=True)
class Need:
    """A need as recorded, with what there was at that moment."""

    id: UUID
    told: NeedDraft
    territory: str
    zone: str
    radius_km: float
    open_slots: int
    open_slots_fitting: int
    role: str
    created_at: datetime


def check_window(draft: NeedDraft, now: datetime) -> Iterator[FieldError]:
    """Yield what is wrong with the wanted window; one of the past is a late entry, and normal."""
    if not draft.from_ < draft.to <= draft.from_ + SEARCH_LONGEST:
        yield FieldError("#/to", "window", "The window ends after it starts, within 14 days.")
    if draft.from_ - now > HORIZON:
        yield FieldError("#/from", "too-far-ahead", "A window starts within a year.")
