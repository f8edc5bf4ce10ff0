"""What calls are like: shares of ages, callers, motives, priorities.

Ages, sexes and groups of motives are assumptions shaped by published anchors: simulated. The
national list (HubSante.motif) has no code for most groups, so each is spread over the codes a
regulation centre would use. `M03.12` (trouble breathing) would be refused as vital: coughs and
colds are therefore "fever, infection".
"""

from collections.abc import Mapping
from enum import StrEnum


class Outcome(StrEnum):
    """Outcomes of a call, in the order of the bits of `calls.outcome_mask`."""

    MEDICAL_ADVICE = "medical_advice"
    SLOT_ORIENTATION = "slot_orientation"
    PRESCRIPTION = "prescription"
    PATIENT_UNREACHABLE = "patient_unreachable"
    REDIRECTED_TO_15 = "redirected_to_15"
    OTHER = "other"

    @property
    def bit(self) -> int:
        """The bit of this outcome in the mask."""
        return 1 << list(Outcome).index(self)


# First and last age of each class, with its share.
AGES: Mapping[tuple[int, int], float] = {
    (0, 4): 14,
    (5, 14): 12,
    (15, 29): 20,
    (30, 44): 19,
    (45, 64): 19,
    (65, 79): 10,
    (80, 97): 6,
}
WOMEN = 0.56

_MOTIVES: Mapping[str, tuple[float, Mapping[str, float]]] = {
    "ear, nose, throat and breathing": (24, {"M03.14": 0.75, "M03.22": 0.25}),
    "gastro-intestinal": (13, {"M03.21": 0.75, "M03.20": 0.25}),
    "fever": (9, {"M03.14": 1}),
    "trauma, wound": (10, {"M02.06": 0.7, "M02.07": 0.15, "M02.05": 0.1, "M02.01": 0.05}),
    "urinary": (8, {"M03.05": 1}),
    "back, joint": (8, {"M03.22": 1}),
    "skin": (8, {"M03.15": 0.6, "M06.04": 0.4}),
    "dental": (6, {"M03.22": 1}),
    "treatment": (5, {"M06.02": 1}),
    "headache": (4, {"M03.11": 1}),
    "other": (5, {"M03.09": 1, "M03.13": 1, "M03.17": 2, "M03.02": 1, "M05.02": 1, "M07.00": 2}),
}


def _motives() -> dict[str, float]:
    shares: dict[str, float] = {}
    for share, codes in _MOTIVES.values():
        for code, part in codes.items():
            shares[code] = shares.get(code, 0) + share * part / sum(codes.values())
    return shares


MOTIVES = _motives()

# Of the calls sent back to the 15.
VITAL_MOTIVES: Mapping[str, float] = {
    "M03.06": 32,
    "M03.12": 27,
    "M03.08": 11,
    "M01.03": 7,
    "M01.02": 6,
    "M03.19": 5,
    "M02.02": 2,
}

CHILD, AGED = 15, 80
_CALLERS_OF_ADULTS: Mapping[str, float] = {
    "SUJET": 72,
    "FAMILLE": 20,
    "SANTE.PHARMA": 4,
    "SANTE.INF": 2,
    "TIERS": 1,
    "INCONNU": 1,
}
_CALLERS_OF_CHILDREN: Mapping[str, float] = {"FAMILLE": 96, "TIERS": 2, "SANTE.PHARMA": 2}
_CALLERS_OF_AGED: Mapping[str, float] = {
    "FAMILLE": 46,
    "SUJET": 25,
    "SANTE.INF": 19,
    "SANTE.AIDEDOM": 8,
    "MED": 2,
}


def callers(years: int) -> Mapping[str, float]:
    """Who calls for a patient of an age."""
    if years < CHILD:
        return _CALLERS_OF_CHILDREN
    return _CALLERS_OF_AGED if years >= AGED else _CALLERS_OF_ADULTS


LINES: Mapping[str, float] = {"116117": 88, "15": 12}

# Priority, then care level, by the first outcome. NR: settled by the operator under a protocol.
PRIORITIES: Mapping[Outcome, Mapping[str, float]] = {
    Outcome.MEDICAL_ADVICE: {"P2": 62, "P3": 33, "NR": 5},
    Outcome.SLOT_ORIENTATION: {"P1": 5, "P2": 77, "P3": 13, "NR": 5},
    Outcome.PRESCRIPTION: {"P2": 70, "P3": 30},
    Outcome.PATIENT_UNREACHABLE: {"P2": 75, "P3": 25},
    Outcome.REDIRECTED_TO_15: {"P0": 45, "P1": 55},
    Outcome.OTHER: {"P2": 60, "P3": 40},
}
CARE_LEVELS: Mapping[Outcome, str | None] = {
    Outcome.MEDICAL_ADVICE: "R4",
    Outcome.SLOT_ORIENTATION: "R3",
    Outcome.PRESCRIPTION: "R4",
    Outcome.PATIENT_UNREACHABLE: None,
    Outcome.REDIRECTED_TO_15: "R2",
    Outcome.OTHER: "R3",
}
VITAL_LEVEL = "R1"

PROTOCOLS = (
    "SAS 36, protocole OSNP n° 1 (simulé)",
    "SAS 36, protocole OSNP n° 2 (simulé)",
    "SAS 36, protocole OSNP n° 3 (simulé)",
)

# What the patient would otherwise have done, besides the emergency department.
OTHERWISE: Mapping[str, float] = {
    "wait": 34,
    "own_doctor": 36,
    "none": 9,
    "emergency_call": 4,
    "unknown": 17,
}

# Median minutes from the call-back's request to the first attempt. "Within the hour on average"
# (report, chapter 5, action 4); the spread is an assumption.
CALLBACK_MEDIANS: Mapping[str, float] = {"P1": 11, "P2": 28, "P3": 44}
CALLBACK_SPREAD = 0.75
