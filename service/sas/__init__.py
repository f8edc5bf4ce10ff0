"""SAS: what the national platform of the Service d'Accès aux Soins tells us, and is told.

It says who regulates (INT_R02): the same people as in `identity`, with a right that counts only
for who arrives through SAS. Whoever they are stands in their account and in no log. What they book
here, SAS is told (INT_R03): a consumer of the stream keeps what it is to be told, a job tells it.
Events: regulator.created, regulator.replaced, regulator.withdrawn.
"""

from service.sas.domain import (
    Regulator,
    RegulatorDraft,
    RegulatorExists,
    RegulatorInvalid,
    RegulatorUnreadable,
    SeveralRegulators,
    Sought,
)
from service.sas.usecases import consume, create, health, measures, put, retry, sweep

__all__ = [
    "Regulator",
    "RegulatorDraft",
    "RegulatorExists",
    "RegulatorInvalid",
    "RegulatorUnreadable",
    "SeveralRegulators",
    "Sought",
    "consume",
    "create",
    "health",
    "measures",
    "put",
    "retry",
    "sweep",
]
