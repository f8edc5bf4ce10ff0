"""Who is calling: roles, what each may do, and the actor that every use case receives."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from service.kernel.errors import (
    Conflict,
    Forbidden,
    Invalid,
    Malformed,
    NotFound,
    Unauthenticated,
    Unavailable,
)
from service.kernel.events import Origin


class Role(StrEnum):
    """Who a caller is; one per token. docs/roles.md says what each may do."""

    REGULATOR = "regulator"
    OSNP = "osnp"
    ARM = "arm"
    PHARMACIST = "pharmacist"
    EMERGENCY_NURSE = "emergency_nurse"
    PROFESSIONAL = "professional"
    PLATFORM_OPERATOR = "platform_operator"
    DOCTOR = "doctor"
    DELEGATE = "delegate"
    MANAGER = "manager"
    ANALYST = "analyst"
    SAS_PLATFORM = "sas_platform"
    ADMIN = "admin"


REGULATION = frozenset({Role.REGULATOR, Role.OSNP, Role.ARM})
PUBLISHERS = frozenset({Role.DOCTOR, Role.DELEGATE})
PROFESSIONALS = PUBLISHERS | {
    Role.PHARMACIST,
    Role.EMERGENCY_NURSE,
    Role.PROFESSIONAL,
    Role.PLATFORM_OPERATOR,
}
BOOKERS = REGULATION | PROFESSIONALS
EVERYONE = frozenset(Role)
DIRECTORY_READERS = BOOKERS | {Role.MANAGER, Role.ADMIN, Role.ANALYST}
FIGURES = frozenset({Role.MANAGER, Role.ANALYST, Role.REGULATOR})
HOLDERS = frozenset({Role.MANAGER, Role.ADMIN, Role.REGULATOR})
SUBSCRIBERS = EVERYONE - {Role.ANALYST, Role.SAS_PLATFORM}

# Why a role works with patients' files, kept with each trace unless the request says otherwise.
PURPOSES: Mapping[Role, str] = {
    **dict.fromkeys(REGULATION | {Role.SAS_PLATFORM}, "regulation"),
    **dict.fromkeys(PROFESSIONALS, "care"),
    **dict.fromkeys((Role.MANAGER, Role.ANALYST), "steering"),
    Role.ADMIN: "administration",
}

# Who reads figures without being of the staff: no figure may tell of a few people.
AGGREGATES_ONLY = frozenset({Role.ANALYST})

# Which role may call which operation: the operation ids of the OpenAPI document, all of them.
# What a role may see inside an operation is decided by the rooms, in SQL.
PERMISSIONS: Mapping[str, frozenset[Role]] = {
    "identity.me": EVERYONE,
    "grants.give": frozenset({Role.MANAGER, Role.ADMIN, Role.DOCTOR}),
    "grants.list": frozenset({Role.MANAGER, Role.ADMIN, Role.DOCTOR}),
    "grants.revoke": frozenset({Role.MANAGER, Role.ADMIN, Role.DOCTOR}),
    "grants.stop": frozenset({Role.MANAGER, Role.ADMIN}),
    "directory.list_territories": EVERYONE,
    "directory.read_territory": EVERYONE,
    "directory.list_organizations": DIRECTORY_READERS,
    "directory.read_organization": DIRECTORY_READERS,
    "directory.create_organization": frozenset({Role.MANAGER, Role.ADMIN}),
    "directory.amend_organization": frozenset({Role.MANAGER, Role.ADMIN}),
    "directory.list_practitioners": DIRECTORY_READERS,
    "directory.read_practitioner": DIRECTORY_READERS,
    "directory.create_practitioner": frozenset({Role.MANAGER, Role.ADMIN}),
    "directory.amend_practitioner": frozenset({Role.MANAGER, Role.ADMIN}),
    "directory.list_locations": DIRECTORY_READERS,
    "directory.read_location": DIRECTORY_READERS,
    "directory.create_location": frozenset({Role.MANAGER, Role.ADMIN}) | PUBLISHERS,
    "directory.amend_location": frozenset({Role.MANAGER, Role.ADMIN}) | PUBLISHERS,
    "directory.list_code_lists": EVERYONE,
    "directory.read_code_list": EVERYONE,
    "slots.publish": PUBLISHERS,
    "slots.search": BOOKERS,
    "slots.contextual_call": BOOKERS,
    "slots.read": BOOKERS,
    "slots.amend": PUBLISHERS,
    "slots.withdraw": PUBLISHERS,
    "slots.agenda": PUBLISHERS,
    "slots.visibility": PUBLISHERS,
    "slots.hold": BOOKERS,
    "slots.release_hold": BOOKERS,
    "patients.open": BOOKERS,
    "patients.read": BOOKERS,
    "patients.amend": BOOKERS,
    "patients.search": BOOKERS,
    "patients.break_glass": frozenset({Role.REGULATOR, Role.EMERGENCY_NURSE, Role.DOCTOR}),
    "patients.accesses": frozenset({Role.REGULATOR, Role.DOCTOR, Role.DELEGATE}),
    "calls.open": REGULATION,
    "calls.read": REGULATION,
    "calls.list": REGULATION,
    "calls.amend": REGULATION,
    "calls.assign": frozenset({Role.REGULATOR, Role.OSNP}),
    "calls.unassign": frozenset({Role.REGULATOR, Role.OSNP}),
    "calls.call_back": frozenset({Role.REGULATOR}),
    "calls.add_outcome": frozenset({Role.REGULATOR, Role.OSNP}),
    "calls.remove_outcome": frozenset({Role.REGULATOR, Role.OSNP}),
    "calls.close": frozenset({Role.REGULATOR, Role.OSNP}),
    "needs.record": BOOKERS,
    "needs.list": BOOKERS,
    "bookings.book": BOOKERS,
    "bookings.read": BOOKERS,
    "bookings.list": BOOKERS,
    "bookings.history": BOOKERS,
    "bookings.cancel": BOOKERS,
    "bookings.reschedule": BOOKERS,
    "bookings.report": PUBLISHERS,
    "messages.read_contact": PUBLISHERS | {Role.MANAGER, Role.ADMIN},
    "messages.put_contact": PUBLISHERS | {Role.MANAGER, Role.ADMIN},
    "messages.opt_out": BOOKERS,
    "messages.opt_in": BOOKERS,
    "agenda.create_session": PUBLISHERS,
    "agenda.list_sessions": PUBLISHERS,
    "agenda.read_session": PUBLISHERS,
    "agenda.amend_session": PUBLISHERS,
    "agenda.end_session": PUBLISHERS,
    "agenda.declare_absence": PUBLISHERS,
    "agenda.list_absences": PUBLISHERS,
    "agenda.end_absence": PUBLISHERS,
    "calendar.create_token": PUBLISHERS,
    "calendar.list_tokens": PUBLISHERS,
    "calendar.revoke_token": PUBLISHERS,
    "stream.events": EVERYONE - AGGREGATES_ONLY,
    "retention.place_hold": HOLDERS,
    "retention.list_holds": HOLDERS,
    "retention.lift_hold": HOLDERS,
    "retention.export_patient": frozenset({Role.REGULATOR}),
    "webhooks.create": SUBSCRIBERS,
    "webhooks.list": SUBSCRIBERS,
    "webhooks.read": SUBSCRIBERS,
    "webhooks.amend": SUBSCRIBERS,
    "webhooks.delete": SUBSCRIBERS,
    "webhooks.rotate_secret": SUBSCRIBERS,
    "webhooks.test": SUBSCRIBERS,
    "webhooks.list_deliveries": SUBSCRIBERS,
    "webhooks.replay": SUBSCRIBERS,
    "webhooks.replay_range": SUBSCRIBERS,
    "analytics.call_outcomes": FIGURES,
    "analytics.unmet_needs": FIGURES,
    "analytics.slot_usage": FIGURES,
    "analytics.appointments": FIGURES,
    "analytics.referrals": FIGURES,
    "analytics.callbacks": FIGURES,
    "analytics.cpts_indicators": FIGURES,
    "fhir.create_regulator": frozenset({Role.SAS_PLATFORM}),
    "fhir.put_regulator": frozenset({Role.SAS_PLATFORM}),
    "fhir.search_slots": frozenset({Role.SAS_PLATFORM}),
    "fhir.search_schedules": frozenset({Role.SAS_PLATFORM}),
    "fhir.read_slot": frozenset({Role.SAS_PLATFORM}),
    "fhir.read_schedule": frozenset({Role.SAS_PLATFORM}),
    "fhir.read_practitioner": frozenset({Role.SAS_PLATFORM}),
    "fhir.read_practitioner_role": frozenset({Role.SAS_PLATFORM}),
    "fhir.read_location": frozenset({Role.SAS_PLATFORM}),
    "fhir.read_service": frozenset({Role.SAS_PLATFORM}),
    "fhir.read_organization": frozenset({Role.SAS_PLATFORM}),
    "audit.list": frozenset({Role.MANAGER, Role.ADMIN}),
}


class TokenInvalid(Unauthenticated):
    """The token is unreadable, expired, or not ours."""

    code = "token-invalid"
    title = "The access token is missing, unreadable or expired: ask for a new one."


class GrantEnded(Unauthenticated):
    """The grant behind the token was changed, revoked or has ended."""

    code = "grant-ended"
    title = "The right behind this token was changed or has ended: ask for a new token."


class RoleLacksOperation(Forbidden):
    """The role of the token may not call this operation."""

    code = "role-lacks-operation"
    title = "The role of this token may not do this."


class ClientRefused(Unauthenticated):
    """Unknown client or wrong secret: the two are told in the same words."""

    code = "invalid_client"
    title = "Unknown client or wrong secret."


class CertificateRefused(Unauthenticated):
    """A trusted proxy gave a certificate that proves nobody."""

    code = "certificate-refused"
    title = "The client certificate is unreadable, out of date, or no client's of this service."


class SubjectTokenRefused(Malformed):
    """The token of another issuer proves nobody; says why, never what was in it."""

    code = "invalid_request"
    title = "The subject token is not accepted."


class IssuerUnavailable(Unavailable):
    """The issuer that must prove a person does not answer, or answers nonsense."""

    code = "issuer-unavailable"
    title = "The issuer of this token cannot be asked just now. Try again in a moment."


class ClientUnknown(NotFound):
    """No client has this id."""

    code = "client-unknown"
    title = "No client has this id."


class ClientRevoked(Conflict):
    """The client was revoked, for good."""

    code = "client-revoked"
    title = "This client is revoked already."


class SubjectTaken(Conflict):
    """Two clients whose certificates may be the same ones would both be nobody."""

    code = "certificate-subject-taken"
    title = "Another client signs in with certificates of this subject."


class GrantInvalid(Invalid):
    """The grant that was asked for makes no sense."""

    code = "grant-invalid"
    title = "This grant cannot be given."


class Method(StrEnum):
    """How client software proved who it is. The person with it: `proof`, in `person`."""

    SECRET = "client_secret"  # noqa: S105  the name of a method
    CERTIFICATE = "client_certificate"


@dataclass(frozen=True, slots=True)
class Principal:
    """Client software, proven by an authenticator.

    Its tokens are worth something beside the certificate with this thumbprint only, if it has one.
    """

    client_id: UUID
    client_name: str
    client_revision: int
    method: Method
    thumbprint: str | None = None


@dataclass(frozen=True, slots=True)
class Actor:
    """One caller: client software with a grant of its own, or of the person who works with it.

    `person` says in `proof` whether its software asserts the person, or which issuer proved them.
    """

    client_id: UUID
    client_name: str
    grant_id: UUID
    grant_revision: int
    role: Role
    organization_id: UUID
    organization_type: str
    territories: tuple[str, ...]
    cpts_ids: tuple[UUID, ...] = ()
    practitioner_ids: tuple[UUID, ...] = ()
    person: Mapping[str, str] | None = None
    expires_at: datetime | None = None
    account_id: UUID | None = None
    client_revision: int = 1
    method: Method = Method.SECRET
    thumbprint: str | None = None
    correlation_id: str | None = field(default=None, compare=False)
    address: str | None = field(default=None, compare=False)

    @property
    def regulates(self) -> bool:
        """Tell whether this is regulation staff."""
        return self.role in REGULATION

    @property
    def publishes(self) -> bool:
        """Tell whether this is a doctor's side."""
        return self.role in PUBLISHERS

    @property
    def administers(self) -> bool:
        """Tell whether this is the administration, which no territory binds."""
        return self.role is Role.ADMIN

    @property
    def origin(self) -> Origin:
        """Return what an event keeps of the caller."""
        return Origin(
            client_id=self.client_id,
            grant_id=self.grant_id,
            role=self.role,
            organization_id=self.organization_id,
            person=self.person,
            purpose=PURPOSES[self.role],
            address=self.address,
            correlation_id=self.correlation_id,
        )

    @property
    def somebody(self) -> tuple[str, object]:
        """Return what tells one caller from another: the right, and who works with the software.

        The person by number; without one, by all that is said of them.
        """
        said = self.person or {}
        return str(self.grant_id), (said.get("system"), said["id"]) if "id" in said else said

    def named(self) -> dict[str, object]:
        """Return who acts, as stored beside a call or a booking."""
        return {"client_id": str(self.client_id), "role": str(self.role), "person": self.person}


def may(role: Role, operation: str) -> bool:
    """Tell whether a role may call an operation. An operation nobody placed is refused."""
    return role in PERMISSIONS.get(operation, frozenset())
