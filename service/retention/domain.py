"""How long what is kept. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from service.identity import Actor, Role
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
    ACCOUNTS = "accounts"
    PEOPLE = "people"
    CALENDARS = "calendars"
    IDEMPOTENCY = "idempotency"


class LegalHoldNotFound(NotFound):
    """No such hold, or it is not the caller's to lift."""

    code = "legal-hold-not-found"
    title = "No legal hold of this id is yours."


class LegalHoldLifted(Conflict):
    """It was lifted before."""

    code = "legal-hold-lifted"
    title = "This legal hold was lifted already."


@dataclass(frozen=True, slots=True)
class Hold:
    """A live hold, or one that was lifted; the reason as far as it is the reader's to know."""

    id: UUID
    territory: str | None
    patient_file_id: UUID | None
    case_id: str | None
    organization_id: UUID | None
    created_at: datetime
    lifted_at: datetime | None
    reason: str | None = None

    def may_be_lifted_by(self, actor: Actor) -> bool:
        """Tell whether it is of the caller's organization, or of a territory that it manages."""
        managed = actor.role is Role.MANAGER and self.territory in actor.territories
        return managed or self.organization_id == actor.organization_id


@dataclass(frozen=True, slots=True)
class Rule:
    """One limit: `kept` is an interval of PostgreSQL (months by the calendar, hours)."""

    kind: Kind
    kept: str
    told: str


def rules(settings: Settings) -> Sequence[Rule]:
    """Return every limit, in the order in which they are applied (identity-security.md, 4.5).

    What a legal hold covers stays, but clients, people with rights, calendar tokens and
    idempotency keys, which hold nothing about a patient.
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
        Rule(
            Kind.ACCOUNTS,
            f"{settings.retention_unused_client_months} months",
            "people who have not signed in: their rights are revoked",
        ),
        Rule(
            Kind.PEOPLE,
            f"{settings.retention_closed_account_months} months",
            "names, e-mail and identifiers of people: after their last right ended",
        ),
        Rule(
            Kind.CALENDARS,
            f"{settings.retention_closed_account_months} months",
            "calendar tokens: after they were revoked, or their maker's right ended",
        ),
        Rule(Kind.IDEMPOTENCY, "25 hours", "idempotency keys"),
    )
