"""Seats, appointments and referrals, as JSON."""

from pydantic import Field

from service.analytics.schemas.shapes import (
    DelaysOut,
    KeyedOut,
    OverlapOut,
    PeriodOut,
    RateOut,
)
from service.kernel.http.shapes import Answer

# --- slot usage ---------------------------------------------------------------------------------


class SlotRatesOut(Answer):
    """Rates of seats."""

    fill: RateOut


class _SlotUsageOut(PeriodOut):
    published: int = Field(description="booked + withdrawn + expired + open.")
    booked: int = Field(description="Within capacity; kept, given back seats are not booked.")
    withdrawn: int
    replaced: int = Field(
        description="Of the withdrawn: the same practitioner now offers another slot at that time."
        " A session that moved counts its seats twice in `published`; less these, once."
    )
    expired: int = Field(description="Started, not withdrawn, and nobody was booked.")
    open: int = Field(description="Still to come, held or not.")
    overbooked: int = Field(description="Booked beyond capacity: outside of the sum.")
    walk_in: int = Field(description="Of walk-in slots, never booked: outside of the sum.")
    rates: SlotRatesOut


class SlotUsageGroupOut(_SlotUsageOut, KeyedOut):
    """The seats of one group."""


class SlotUsageOut(_SlotUsageOut, OverlapOut):
    """Seats by what became of them, by the start of their slot."""

    groups: list[SlotUsageGroupOut] | None = Field(None, description="With `group_by`.")


# --- appointments -------------------------------------------------------------------------------


class CancelledByOut(Answer):
    """Cancelled appointments by who gave them up."""

    patient: int
    requester: int
    doctor: int
    system: int


class AppointmentRatesOut(Answer):
    """Rates of appointments."""

    missed: RateOut
    unreported: RateOut
    cancelled: RateOut
    sent_to_emergency: RateOut
    within_24_hours: RateOut
    within_48_hours: RateOut


class _AppointmentsOut(PeriodOut):
    booked: int = Field(description="All: fulfilled + missed + cancelled + unreported + upcoming.")
    fulfilled: int
    missed: int = Field(description="The patient did not come (`noshow`).")
    cancelled: int
    cancelled_by: CancelledByOut
    unreported: int = Field(description="Started, and nobody has said what happened.")
    upcoming: int
    sent_to_emergency: int = Field(description="Reported, and sent on by the doctor.")
    within_24_hours: int = Field(description="Not cancelled; 24 hours after the request at most.")
    within_48_hours: int
    delay_hours: DelaysOut = Field(
        description="From the booking's creation to the start, of what was not cancelled."
    )
    rates: AppointmentRatesOut


class AppointmentsGroupOut(_AppointmentsOut, KeyedOut):
    """The appointments of one group."""


class AppointmentsOut(_AppointmentsOut, OverlapOut):
    """Appointments by what became of them, by their start."""

    groups: list[AppointmentsGroupOut] | None = Field(None, description="With `group_by`.")


# --- referrals ----------------------------------------------------------------------------------


class ReferralRatesOut(Answer):
    """Rates of referrals."""

    missed: RateOut
    cancelled: RateOut


class _ReferredOut(Answer):
    booked: int = Field(description="All: fulfilled + missed + cancelled + pending.")
    fulfilled: int
    missed: int
    cancelled: int
    pending: int = Field(description="Not reported yet, past or to come.")
    rates: ReferralRatesOut


class RequesterOut(_ReferredOut):
    """Bookings asked by one role from one kind of organization."""

    role: str = Field(examples=["emergency_nurse"])
    organization_type: str = Field(examples=["emergency_department"])


class _ReferralsOut(PeriodOut, _ReferredOut):
    requesters: list[RequesterOut] = Field(
        description="Most bookings first; they add up to the members beside them."
    )


class ReferralsGroupOut(_ReferralsOut, KeyedOut):
    """The referrals of one group."""


class ReferralsOut(_ReferralsOut, OverlapOut):
    """Bookings by who asked for them, by their creation."""

    groups: list[ReferralsGroupOut] | None = Field(None, description="With `group_by`.")
