"""Analytics: figures computed from the rows of other rooms, which it reads and never writes.

How calls ended, what became of seats and appointments, who sent patients, how call-backs were kept,
what a community reports; by territory, community, month and more. No figure is stored, none is a
constant. Whoever asks is granted the territory; nothing is told of one practitioner or one patient.
"""

from service.analytics.domain import (
    Answer,
    Appointments,
    AppointmentsBy,
    Callbacks,
    CallbacksBy,
    Figures,
    GroupBy,
    Indicators,
    IndicatorsBy,
    Period,
    Question,
    Referrals,
    ReferralsBy,
    SlotUsage,
    SlotUsageBy,
    period,
    question,
)
from service.analytics.usecases import (
    CallOutcomes,
    appointments,
    call_outcomes,
    callbacks,
    cpts_indicators,
    referrals,
    slot_usage,
)

__all__ = [
    "Answer",
    "Appointments",
    "AppointmentsBy",
    "CallOutcomes",
    "Callbacks",
    "CallbacksBy",
    "Figures",
    "GroupBy",
    "Indicators",
    "IndicatorsBy",
    "Period",
    "Question",
    "Referrals",
    "ReferralsBy",
    "SlotUsage",
    "SlotUsageBy",
    "appointments",
    "call_outcomes",
    "callbacks",
    "cpts_indicators",
    "period",
    "question",
    "referrals",
    "slot_usage",
]
