"""JSON shapes of the room, and the same figures as a table for a spreadsheet."""

from service.analytics.schemas.call_outcomes import CallOutcomesOut, call_outcomes_members
from service.analytics.schemas.regulation import CallbacksOut, CptsIndicatorsOut
from service.analytics.schemas.shapes import answer_of
from service.analytics.schemas.tables import Table, cell, table
from service.analytics.schemas.unmet_needs import (
    UnmetNeedsOut,
    unmet_needs_members,
    unmet_needs_table,
)
from service.analytics.schemas.usage import AppointmentsOut, ReferralsOut, SlotUsageOut

__all__ = [
    "AppointmentsOut",
    "CallOutcomesOut",
    "CallbacksOut",
    "CptsIndicatorsOut",
    "ReferralsOut",
    "SlotUsageOut",
    "Table",
    "UnmetNeedsOut",
    "answer_of",
    "call_outcomes_members",
    "cell",
    "table",
    "unmet_needs_members",
    "unmet_needs_table",
]
