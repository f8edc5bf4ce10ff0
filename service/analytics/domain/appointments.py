"""What became of appointments.

Bookings count by the start of the appointment as it stands now (a moved booking counts where it was
moved to), in the territory of the slot or the communities of the organization that receives.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar

from service.analytics.domain.numbers import DelayFigures, Delays, Rate, in_hours, named, rates


class AppointmentsBy(StrEnum):
    """What one line of a grouped answer is about, of the side that receives the patient.

    `hour` is the local hour of the appointment.
    """

    MONTH = "month"
    CPTS = "cpts"
    ORGANIZATION_TYPE = "organization_type"
    PRACTITIONER_STATUS = "practitioner_status"
    HOUR = "hour"
    NONE = "none"

    @property
    def overlaps(self) -> bool:
        """Tell whether an appointment may count in several groups."""
        return self is AppointmentsBy.CPTS


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelledBy:
    """Cancelled appointments by who gave them up."""

    patient: int = 0
    requester: int = 0
    doctor: int = 0
    system: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Appointments:
    """Appointments by what became of them.

    booked = fulfilled + missed + cancelled + unreported + upcoming. An appointment is `unreported`
    from its start on, until the doctor's side says what happened. Delays run from the booking's
    creation (the request) to the start of the appointment, of those that were not cancelled;
    `within_24_hours` and `within_48_hours` include their bound.
    """

    booked: int = 0
    fulfilled: int = 0
    missed: int = 0
    cancelled: int = 0
    cancelled_by: CancelledBy = CancelledBy()
    unreported: int = 0
    upcoming: int = 0
    sent_to_emergency: int = 0
    within_24_hours: int = 0
    within_48_hours: int = 0
    delays: Delays = field(default_factory=Delays)

    _RATES: ClassVar[Mapping[str, tuple[str, str]]] = {
        "missed": ("missed", "fulfilled + missed"),
        "unreported": ("unreported", "fulfilled + missed + unreported"),
        "cancelled": ("cancelled", "booked"),
        "sent_to_emergency": ("sent_to_emergency", "fulfilled + missed"),
        "within_24_hours": ("within_24_hours", "booked - cancelled"),
        "within_48_hours": ("within_48_hours", "booked - cancelled"),
    }

    @property
    def delay_hours(self) -> DelayFigures:
        """From request to appointment, in hours."""
        return in_hours(self.delays)

    @property
    def cells(self) -> dict[str, int]:
        """Every count by its name in the answer, and `live`: not cancelled."""
        return {**named(self), "live": self.booked - self.cancelled}

    @property
    def rates(self) -> dict[str, Rate]:
        """`missed` is of the reported; `unreported` of the past ones that were not cancelled."""
        return rates(self, self._RATES)
