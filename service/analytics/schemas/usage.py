"""Seats, appointments and referrals, as JSON."""

from pydantic import Field

from service.analytics.schemas.shapes import (
    Count,
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
    published: Count = Field(description="booked + withdrawn + expired + open.")
    booked: Count = Field(description="Within capacity; kept, given back seats are not booked.")
    withdrawn: Count
    replaced: Count = Field(
        description="Of the withdrawn: the same practitioner now offers another slot at that time."
        " A session that moved counts its seats twice in `published`; less these, once."
    )
    expired: Count = Field(description="Started, not withdrawn, and nobody was booked.")
    open: Count = Field(description="Still to come, held or not.")
    overbooked: Count = Field(description="Booked beyond capacity: outside of the sum.")
    walk_in: Count = Field(description="Of walk-in slots, never booked: outside of the sum.")
    released: Count = Field(
        description="Of the published: free when a step of the slot's release first showed it to"
        " more."
    )
    released_and_booked: Count = Field(description="Of the released: booked from then on.")
    given_back: Count = Field(
        description="Of the withdrawn: nobody had taken them when their release gave them back."
    )
    rates: SlotRatesOut


class SlotUsageGroupOut(_SlotUsageOut, KeyedOut):
    """The seats of one group."""


class SlotUsageOut(_SlotUsageOut, OverlapOut):
    """Seats by what became of them, by the start of their slot."""

    groups: list[SlotUsageGroupOut] | None = Field(None, description="With `group_by`.")


# --- appointments -------------------------------------------------------------------------------


class CancelledByOut(Answer):
    """Cancelled appointments by who gave them up."""

    patient: Count
    requester: Count
    doctor: Count
    system: Count


class AppointmentRatesOut(Answer):
    """Rates of appointments."""

    missed: RateOut
    unreported: RateOut
    cancelled: RateOut
    sent_to_emergency: RateOut
    within_24_hours: RateOut
    within_48_hours: RateOut


class _AppointmentsOut(PeriodOut):
    booked: Count = Field(
        description="All: fulfilled + missed + cancelled + unreported + upcoming."
    )
    fulfilled: Count
    missed: Count = Field(description="The patient did not come (`noshow`).")
    cancelled: Count
    cancelled_by: CancelledByOut
    unreported: Count = Field(description="Started, and nobody has said what happened.")
    upcoming: Count
    sent_to_emergency: Count = Field(description="Reported, and sent on by the doctor.")
    within_24_hours: Count = Field(description="Not cancelled; 24 hours after the request at most.")
    within_48_hours: Count
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
    booked: Count = Field(description="All: fulfilled + missed + cancelled + pending.")
    fulfilled: Count
    missed: Count
    cancelled: Count
    pending: Count = Field(description="Not reported yet, past or to come.")
    rates: ReferralRatesOut


class RequesterOut(_ReferredOut):
    """Bookings asked by one role from one kind of organization."""

    role: str = Field(examples=["emergency_nurse"])
    organization_type: str = Field(examples=["emergency_department"])


class _ReferralsOut(PeriodOut, _ReferredOut):
    requesters: list[RequesterOut] | None = Field(
        description="Most bookings first; they add up to the members beside them. Null: withheld."
    )


class ReferralsGroupOut(_ReferralsOut, KeyedOut):
    """The referrals of one group."""


class ReferralsOut(_ReferralsOut, OverlapOut):
    """Bookings by who asked for them, by their creation."""

    groups: list[ReferralsGroupOut] | None = Field(None, description="With `group_by`.")
