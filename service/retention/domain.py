"""How long what is kept. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from service.kernel.errors import Conflict, NotFound
from service.kernel.settings import Settings


class Kind(StrEnum):
    """What a rule is about."""

    IDENTITY = "identity"
    BOOKING_TEXTS = "booking-texts"
    OVERRIDE_TEXTS = "override-texts"
    NEED_TEXTS = "need-texts"
    ABSENCE_TEXTS = "absence-texts"
    FILE_REFERENCES = "file-references"
    BOOKING_REFERENCES = "booking-references"
    CALL_REFERENCES = "call-references"
    CALLBACK_REFERENCES = "callback-references"
    NEED_REFERENCES = "need-references"
    CLIENTS = "clients"
    IDEMPOTENCY = "idempotency"


class LegalHoldNotFound(NotFound):
    """No such hold, or of a territory that is not the caller's."""

    code = "legal-hold-not-found"
    title = "No legal hold of this id is yours to see."


class LegalHoldLifted(Conflict):
    """It was lifted before."""

    code = "legal-hold-lifted"
    title = "This legal hold was lifted already."


@dataclass(frozen=True, slots=True)
class Rule:
    """One limit: `kept` is an interval of PostgreSQL (months by the calendar, hours)."""

    kind: Kind
    kept: str
    told: str


def rules(settings: Settings) -> Sequence[Rule]:
    """Return every limit, in the order in which they are applied (identity-security.md, 4.5).

    What a legal hold covers stays, but clients and idempotency keys, which hold nothing about a
    patient.
    """
    identity = f"{settings.retention_identity_months} months"
    references = f"{settings.retention_reference_months} months"
    since = "after the last appointment or call"
    return (
        Rule(
            Kind.IDENTITY, identity, f"names, birth date, phone, e-mail, INS, own doctor: {since}"
        ),
        Rule(Kind.BOOKING_TEXTS, identity, "free texts of bookings: after the appointment"),
        Rule(Kind.OVERRIDE_TEXTS, identity, "why a refusal was overridden: after the appointment"),
        Rule(Kind.NEED_TEXTS, identity, "notes of unmet needs: after the wanted time"),
        Rule(Kind.ABSENCE_TEXTS, identity, "reasons of absences: after their end"),
        Rule(Kind.FILE_REFERENCES, references, f"age, sex, commune and case of a file: {since}"),
        Rule(Kind.BOOKING_REFERENCES, references, "case and persons of bookings"),
        Rule(Kind.CALL_REFERENCES, references, "case and persons of calls"),
        Rule(Kind.CALLBACK_REFERENCES, references, "who called back"),
        Rule(Kind.NEED_REFERENCES, references, "case, age and person of unmet needs"),
        Rule(
            Kind.CLIENTS,
            f"{settings.retention_unused_client_months} months",
            "clients that asked for no token: revoked",
        ),
        Rule(Kind.IDEMPOTENCY, "25 hours", "idempotency keys"),
    )
