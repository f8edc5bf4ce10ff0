"""Call-backs and the indicators of a community, as JSON."""

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

# --- call-backs ---------------------------------------------------------------------------------


class CallbackRatesOut(Answer):
    """Rates of call-backs."""

    requested: RateOut
    attempted: RateOut
    reached: RateOut
    within_60_minutes: RateOut


class _CallbacksOut(PeriodOut):
    calls: Count
    requested: Count
    attempted: Count = Field(description="Requested, and tried at least once.")
    reached: Count = Field(description="Requested, and somebody answered.")
    within_60_minutes: Count = Field(description="Tried at most 60 minutes after the request.")
    delay_minutes: DelaysOut = Field(
        description="From entering the queue to the first attempt, of the attempted ones."
    )
    rates: CallbackRatesOut


class CallbacksGroupOut(_CallbacksOut, KeyedOut):
    """The call-backs of one group."""


class CallbacksOut(_CallbacksOut, OverlapOut):
    """How call-backs were kept, by the reception of the call."""

    groups: list[CallbacksGroupOut] | None = Field(None, description="With `group_by`.")


# --- indicators of a community ------------------------------------------------------------------


class DoctorsOut(Answer):
    """Different physicians who took part."""

    publishing: Count = Field(description="A slot to SNP, PRO or CPTS at least, withdrawn or not.")
    offering: Count = Field(description="Such a slot that was not withdrawn.")
    booked: Count = Field(
        description="An appointment that their side did not cancel, be its slot PUBLIC alone: not"
        " all of them publish to the labels above."
    )


class RequestRatesOut(Answer):
    """Rates of requests."""

    with_appointment: RateOut
    with_appointment_of_oriented: RateOut
    honoured: RateOut
    missed: RateOut
    within_24_hours: RateOut
    within_48_hours: RateOut


class RequestsOut(Answer):
    """Calls of the regulation, and those that led to an appointment."""

    calls: Count
    oriented: Count
    with_appointment: Count = Field(description="honoured + pending + missed + given_up.")
    honoured: Count
    pending: Count
    missed: Count
    given_up: Count
    within_24_hours: Count
    within_48_hours: Count
    rates: RequestRatesOut


class _IndicatorsOut(PeriodOut):
    doctors: DoctorsOut
    requests: RequestsOut


class IndicatorsGroupOut(_IndicatorsOut, KeyedOut):
    """The indicators of one group."""


class CptsIndicatorsOut(_IndicatorsOut, OverlapOut):
    """What a community reports, in our wording."""

    wording: str = Field(description="`ours_not_the_legal_text`: of the definitions.")
    definitions: dict[str, str] = Field(description="What each member counts, in French.")
    groups: list[IndicatorsGroupOut] | None = Field(None, description="With `group_by`.")
