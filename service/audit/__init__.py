"""Audit: who saw and changed what, and the proof that nobody touched the traces since.

`kernel.events` holds every change, `access_log` every reading of a patient's identity and every
refusal on the way to one. `parts.shown` writes a reading's trace in the statement that reads. A
sealer chains both tables afterwards (`audit_seals`); `snp audit verify` names what was changed,
removed or inserted, `snp audit prune` takes what is past its limit and leaves a tombstone. Second
door, for routers: `service.audit.http`.
"""

from service.audit import parts
from service.audit.domain import BreakGlass, NotAsSealed, Trace, limits
from service.audit.strangers import Strangers
from service.audit.usecases import (
    NumbersWentBack,
    accesses,
    also_known_as,
    due,
    measures,
    prune,
    seal,
    sealing,
    shown,
)

__all__ = [
    "BreakGlass",
    "NotAsSealed",
    "NumbersWentBack",
    "Strangers",
    "Trace",
    "accesses",
    "also_known_as",
    "due",
    "limits",
    "measures",
    "parts",
    "prune",
    "seal",
    "sealing",
    "shown",
]
