"""The 17 232 calls of 2022: who, why, how they ended, and when each step was made.

Published (report "Tour de France des CPTS", 28 June 2023, chapter 5, action 4): the number of calls
having each outcome, and 2 615 avoided visits. The 300 calls with two outcomes are what makes those
figures agree with each other. Everything else is simulated.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from random import Random

from service.demo.draw import minutes, pick, sample, stream
from service.demo.indre_places import CPTS, place, populations
from service.demo.indre_shares import (
    AGES,
    CALLBACK_MEDIANS,
    CALLBACK_SPREAD,
    CARE_LEVELS,
    LINES,
    MOTIVES,
    OTHERWISE,
    PRIORITIES,
    PROTOCOLS,
    VITAL_LEVEL,
    VITAL_MOTIVES,
    WOMEN,
    Outcome,
    callers,
)
from service.demo.indre_time import ZONE, closed, local, received

Outcomes = tuple[Outcome, ...]

_ORIENTED: Outcomes = (Outcome.SLOT_ORIENTATION,)
_LOST: Outcomes = (Outcome.PATIENT_UNREACHABLE,)
_VITAL: Outcomes = (Outcome.REDIRECTED_TO_15,)
_SETTLED = {Outcome.MEDICAL_ADVICE, Outcome.SLOT_ORIENTATION, Outcome.PRESCRIPTION}
ENDINGS: Mapping[Outcomes, int] = {
    (Outcome.MEDICAL_ADVICE, Outcome.PRESCRIPTION): 300,
    (Outcome.MEDICAL_ADVICE,): 7_297 - 300,
    (Outcome.PRESCRIPTION,): 2_353 - 300,
    _ORIENTED: 6_438,
    # "Other situations": 1 444. The split is an assumption.
    _LOST: 618,
    _VITAL: 487,
    (Outcome.OTHER,): 339,
}
AVOIDED = 2_615
# Would have gone to the emergency department, and does not count as an avoided visit.
NOT_AVOIDED_REDIRECTED = 131
NOT_AVOIDED_SENT = 41

CANCELLED = 258  # 4 % of the bookings
NOSHOW = 433  # 7 % of the appointments that were kept open
SENT_TO_EMERGENCY = 96  # by the doctor who saw the patient: 1.6 %

_DAY_HOURS = range(7, 19)
_LAST_ORIENTATION = local(date(2022, 12, 31), 12)  # later ones would need a slot of 2023
_AGE_IN_MONTHS_BELOW = 2
_YOUNG = range(18, 31)
_LONGEST_WAIT = 240.0
_MISSED_ONCE = 0.07
_PUT_THROUGH = 0.06


@dataclass(frozen=True, slots=True)
class Patient:
    """All that the retention rules would have left of a patient."""

    age: str  # ISO 8601 duration
    years: int
    sex: str
    cpts: str
    commune: str


@dataclass(frozen=True, slots=True)
class Call:
    """One call from its reception to its closure, and what became of its appointment."""

    number: int
    received_at: datetime
    patient: Patient
    line: str
    caller_type: str
    motive: str
    priority: str
    care_level: str | None
    protocol: str | None
    qualifier: int
    regulator: int | None
    requested_at: datetime | None
    attempts: tuple[tuple[datetime, bool], ...]
    outcomes: Outcomes
    decided_at: datetime
    closed_at: datetime
    otherwise: str
    attendance: str | None  # the last state of the booking, if there is one
    sent_to_emergency: bool

    @property
    def case_id(self) -> str:
        """The regulation software's own number."""
        return f"SAS36-2022-{self.number:05d}"

    @property
    def called_back_at(self) -> datetime | None:
        """When the patient was reached."""
        return next((at for at, reached in self.attempts if reached), None)

    @property
    def mask(self) -> int:
        """The outcomes as `calls.outcome_mask`."""
        return sum(outcome.bit for outcome in self.outcomes)


def _readiness(at: datetime) -> float:
    """How likely a call is to be given a slot: practices open soon by day, not by night."""
    here = at.astimezone(ZONE)
    if at >= _LAST_ORIENTATION:
        return 0
    if here.hour not in _DAY_HOURS:
        return 0.5
    return 0.8 if closed(here.date()) else 1.0


def _endings(instants: list[datetime]) -> list[Outcomes]:
    """How each call ends: exactly as many of each kind as were published."""
    random = stream("endings")
    oriented = sample(
        random, {n: _readiness(at) for n, at in enumerate(instants)}, ENDINGS[_ORIENTED]
    )
    others = [e for e, size in ENDINGS.items() if e != _ORIENTED for _ in range(size)]
    random.shuffle(others)
    rest = iter(others)
    return [_ORIENTED if n in oriented else next(rest) for n in range(len(instants))]


def _patient(random: Random, people: Mapping[str, int]) -> Patient:
    cpts = pick(random, people)
    commune = pick(random, {code: place(code).population for code in CPTS[cpts]})
    years = random.randint(*pick(random, AGES))
    young = years < _AGE_IN_MONTHS_BELOW
    age = f"P{12 * years + random.randint(1, 11)}M" if young else f"P{years}Y"
    return Patient(age, years, "F" if random.random() < WOMEN else "M", cpts, commune)


def _patients(size: int) -> list[Patient]:
    random, people = stream("patients"), populations()
    return [_patient(random, people) for _ in range(size)]


def _attendances(endings: list[Outcomes], patients: list[Patient]) -> dict[int, str]:
    """What becomes of each booking; the young come least often, children nearly always."""
    random = stream("attendances")
    booked = [n for n, ending in enumerate(endings) if ending == _ORIENTED]
    cancelled = sample(random, dict.fromkeys(booked, 1.0), CANCELLED)
    kept = {n: _forgetfulness(patients[n].years) for n in booked if n not in cancelled}
    missed = sample(random, kept, NOSHOW)
    return {
        **dict.fromkeys(booked, "fulfilled"),
        **dict.fromkeys(cancelled, "cancelled"),
        **dict.fromkeys(missed, "noshow"),
    }


def _forgetfulness(years: int) -> float:
    """No-shows: 12 % from 18 to 30 years, 6 % of children, 10 % of others (§3.3)."""
    return 12 if years in _YOUNG else 6 if years < _YOUNG.start else 10


def _otherwise(endings: list[Outcomes], sent: set[int]) -> list[str]:
    """What each patient would have done; exactly `AVOIDED` visits count as avoided."""
    random = stream("otherwise")
    redirected = [n for n, ending in enumerate(endings) if ending == _VITAL]
    settled = {
        n: 1.3 if ending == _ORIENTED else 1.0
        for n, ending in enumerate(endings)
        if n not in sent and ending[0] in _SETTLED
    }
    emergency = (
        sample(random, settled, AVOIDED)
        | sample(random, dict.fromkeys(redirected, 1.0), NOT_AVOIDED_REDIRECTED)
        | sample(random, dict.fromkeys(sorted(sent), 1.0), NOT_AVOIDED_SENT)
    )
    answers = ["unknown" if e == _LOST else pick(random, OTHERWISE) for e in endings]
    return [
        "emergency_department" if n in emergency else answer for n, answer in enumerate(answers)
    ]


def _wait(random: Random, priority: str) -> timedelta:
    """From the request to the first attempt."""
    drawn = CALLBACK_MEDIANS[priority] * random.lognormvariate(0, CALLBACK_SPREAD)
    return minutes(random, 0, 1) + timedelta(seconds=round(60 * min(drawn, _LONGEST_WAIT)))


def _attempts(
    random: Random, ending: Outcomes, priority: str, requested_at: datetime
) -> Iterator[tuple[datetime, bool]]:
    """The calls made to the patient, and whether somebody answered."""
    never = ending == _LOST
    missed = random.choice((2, 3, 3, 4)) if never else int(random.random() < _MISSED_ONCE)
    at = requested_at + _wait(random, priority)
    for _ in range(missed):
        yield at, False
        at += minutes(random, 8, 25)
    if not never:
        yield at, True


def _calls_back(random: Random, ending: Outcomes, priority: str) -> bool:
    """Vital emergencies go to the 15 at once; some callers are put through without waiting."""
    if priority in {"P0", "NR"}:
        return False
    return ending == _LOST or random.random() >= _PUT_THROUGH


def _care_level(ending: Outcomes, priority: str) -> str | None:
    return VITAL_LEVEL if priority == "P0" else CARE_LEVELS[ending[0]]


def _call(
    random: Random,
    number: int,
    received_at: datetime,
    patient: Patient,
    ending: Outcomes,
    *,
    otherwise: str,
    attendance: str | None,
    sent_to_emergency: bool,
) -> Call:
    priority = pick(random, PRIORITIES[ending[0]])
    alone = priority == "NR"
    qualified_at = received_at + minutes(random, 1.5, 6)
    asked = _calls_back(random, ending, priority)
    attempts = tuple(_attempts(random, ending, priority, qualified_at)) if asked else ()
    decided_at = (attempts[-1][0] if attempts else qualified_at) + minutes(random, 1, 8)
    vital = ending == _VITAL
    return Call(
        number=number,
        received_at=received_at,
        patient=patient,
        line=pick(random, LINES),
        caller_type=pick(random, callers(patient.years)),
        motive=pick(random, VITAL_MOTIVES if vital else MOTIVES),
        priority=priority,
        care_level=_care_level(ending, priority),
        protocol=random.choice(PROTOCOLS) if alone else None,
        qualifier=random.randint(1, 12),
        regulator=None if alone or priority == "P0" else random.randint(13, 21),
        requested_at=qualified_at if asked else None,
        attempts=attempts,
        outcomes=ending,
        decided_at=decided_at,
        closed_at=decided_at + minutes(random, 0.2, 2),
        otherwise=otherwise,
        attendance=attendance,
        sent_to_emergency=sent_to_emergency,
    )


def calls() -> list[Call]:
    """Every call of the year, in the order of reception."""
    random, instants = stream("calls"), received()
    endings, patients = _endings(instants), _patients(len(instants))
    attendances = _attendances(endings, patients)
    came = {n: 1.0 for n, state in attendances.items() if state == "fulfilled"}
    sent = sample(stream("sent"), came, SENT_TO_EMERGENCY)
    answers = _otherwise(endings, sent)
    return [
        _call(
            random,
            n + 1,
            at,
            patients[n],
            endings[n],
            otherwise=answers[n],
            attendance=attendances.get(n),
            sent_to_emergency=n in sent,
        )
        for n, at in enumerate(instants)
    ]
