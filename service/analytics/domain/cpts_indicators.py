"""What a community reports: doctors taking part, and requests of the SAS that led somewhere.

The wording is ours: the annex of the agreement between communities and health insurance (ACI) was
not at hand, only summaries of it. Nothing here is the legal text.

Doctors count by the start of slots and appointments, in their territory or in the communities of
the organization that receives; requests by the reception of the call, in its territory or its
community. A doctor is a physician (profession 10): other professions and unnamed slots count none.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from service.analytics.domain.numbers import Rate, named, rates

WORDING = "ours_not_the_legal_text"
PHYSICIAN = "10"  # TRE_G15
AUDIENCE = ("SNP", "PRO", "CPTS")  # what admits regulation or members, and not the public
# Who may take back what was given: the doctor, or the machine on the doctor's behalf.
DOCTORS_SIDE = ("doctor", "system")

# Shown to people who report: in French.
DEFINITIONS: Mapping[str, str] = {
    "doctors.publishing": (
        "Médecins ayant publié au moins un créneau de la période pour les régulateurs (SNP), pour"
        " les professionnels et les régulateurs (PRO) ou pour les membres de CPTS, retiré depuis"
        " ou non."
    ),
    "doctors.offering": "Parmi eux, ceux dont au moins un de ces créneaux n’a pas été retiré.",
    "doctors.booked": (
        "Médecins ayant au moins un rendez-vous de la période, que leur côté n’a pas annulé,"
        " y compris sur un créneau ouvert au public : ils ne sont pas tous parmi les précédents."
    ),
    "requests.calls": "Appels reçus par la régulation ambulatoire dans la période.",
    "requests.oriented": "Parmi ces appels, ceux orientés vers un créneau.",
    "requests.with_appointment": (
        "Parmi ces appels, ceux ayant abouti à au moins un rendez-vous"
        " que le côté du médecin n’a pas annulé."
    ),
    "requests.honoured": "Appels avec rendez-vous, dont un a été honoré.",
    "requests.pending": "Appels avec rendez-vous, dont un reste à venir ou à déclarer.",
    "requests.missed": "Appels avec rendez-vous, manqué et non remplacé.",
    "requests.given_up": (
        "Appels avec rendez-vous, tous annulés par le patient ou par le demandeur."
    ),
    "requests.within_24_hours": (
        "Appels avec rendez-vous, dont le premier commence au plus 24 h après l’appel."
    ),
    "requests.within_48_hours": (
        "Appels avec rendez-vous, dont le premier commence au plus 48 h après l’appel."
    ),
}


class IndicatorsBy(StrEnum):
    """What one line of a grouped answer is about."""

    MONTH = "month"
    CPTS = "cpts"
    NONE = "none"

    @property
    def overlaps(self) -> bool:
        """A doctor counts in each month and community where he takes part."""
        return self is not IndicatorsBy.NONE


@dataclass(frozen=True, slots=True, kw_only=True)
class Doctors:
    """Different physicians: who published to the audience, who kept a slot, who was booked."""

    publishing: int = 0
    offering: int = 0
    booked: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Requests:
    """Calls, and what became of those with an appointment that the doctor's side did not cancel.

    with_appointment = honoured + pending + missed + given_up: the first of these that one of its
    bookings says. Delays run from the call's reception to the start of the earliest of them;
    `within_24_hours` and `within_48_hours` include their bound.
    """

    calls: int = 0
    oriented: int = 0
    with_appointment: int = 0
    honoured: int = 0
    pending: int = 0
    missed: int = 0
    given_up: int = 0
    within_24_hours: int = 0
    within_48_hours: int = 0

    _RATES: ClassVar[Mapping[str, tuple[str, str]]] = {
        "with_appointment": ("with_appointment", "calls"),
        "with_appointment_of_oriented": ("with_appointment", "oriented"),
        "honoured": ("honoured", "honoured + missed"),
        "missed": ("missed", "honoured + missed"),
        "within_24_hours": ("within_24_hours", "with_appointment"),
        "within_48_hours": ("within_48_hours", "with_appointment"),
    }

    @property
    def rates(self) -> dict[str, Rate]:
        """Each of another denominator, which it names."""
        return rates(self, self._RATES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Indicators:
    """Both indicators side by side."""

    doctors: Doctors = Doctors()
    requests: Requests = Requests()

    @property
    def cells(self) -> dict[str, int]:
        """Every count by its name in the answer."""
        return named(self)
