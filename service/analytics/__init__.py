"""Analytics: figures computed from the rows of other rooms, which it reads and never writes.

How calls ended, by territory, community and month. No figure is stored, none is a constant.
"""

from service.analytics.domain import Figures, GroupBy, Period, period
from service.analytics.usecases import CallOutcomes, call_outcomes

__all__ = ["CallOutcomes", "Figures", "GroupBy", "Period", "call_outcomes", "period"]
