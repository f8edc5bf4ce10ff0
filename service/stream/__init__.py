"""The stream: every fact once, in the order of transactions, for whoever tells the outside.

`events` rows are written with each change and get their `position` here, by the worker. Consumers
(webhooks, messages) read behind a cursor of their own; `views` is the one rule of what somebody may
learn from a fact. Nothing in a request waits for any of it.
"""

from service.stream.domain import BEGINNING, TYPES, Fact, Listener, Shown, View, views
from service.stream.repository import find, last_position, positions_between, read_after
from service.stream.usecases import Consume, consume, give_positions, keeping, measures

__all__ = [
    "BEGINNING",
    "TYPES",
    "Consume",
    "Fact",
    "Listener",
    "Shown",
    "View",
    "consume",
    "find",
    "give_positions",
    "keeping",
    "last_position",
    "measures",
    "positions_between",
    "read_after",
    "views",
]
