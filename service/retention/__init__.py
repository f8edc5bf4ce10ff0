"""Retention: how long what is kept, legal holds, and all that is held about a patient.

Erasing an identity takes away who it was and leaves every figure as it is: figures are counted of
rows, and no row goes. Events: retention.applied (one a batch), legal_hold.placed,
legal_hold.lifted, patient_file.exported.
"""

from service.retention.domain import Rule, rules
from service.retention.tasks import Done, due, run
from service.retention.usecases import Target, everything_about, held_subjects, holds, lift, place

__all__ = [
    "Done",
    "Rule",
    "Target",
    "due",
    "everything_about",
    "held_subjects",
    "holds",
    "lift",
    "place",
    "rules",
    "run",
]
