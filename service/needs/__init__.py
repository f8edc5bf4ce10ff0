"""Needs: what was asked for and nothing fitted, so that it can be shown beside unused slots.

Written once, never changed; read by the organization that asked. Event: need.recorded.
`parts` names the rows for figures.
"""

from service.needs import parts
from service.needs.domain import Reason

__all__ = ["Reason", "parts"]
