"""Every SQL statement of the room: figures are counted by PostgreSQL, from rows, when asked."""

from service.analytics.repository.appointments import appointments
from service.analytics.repository.call_outcomes import call_outcomes
from service.analytics.repository.callbacks import callbacks
from service.analytics.repository.cpts_indicators import cpts_indicators
from service.analytics.repository.referrals import referred
from service.analytics.repository.slot_usage import slot_usage
from service.analytics.repository.unmet_needs import unmet_needs

__all__ = [
    "appointments",
    "call_outcomes",
    "callbacks",
    "cpts_indicators",
    "referred",
    "slot_usage",
    "unmet_needs",
]
