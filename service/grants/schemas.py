"""JSON shapes of the room."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import ConfigDict, Field

from service.directory.http import TerritoryCode
from service.grants.domain import GrantDraft, Named
from service.identity import GrantEntry, Role, identifier
from service.kernel.http.shapes import Answer, Body, Instant

_NAME = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]


class PersonIn(Body):
    """Who gets the right: one identifier, and how they are called."""

    system: str = Field(
        max_length=200,
        description="Of what `value` is a number: `rpps`, `adeli`, `idnps`, `sas`, or a URI, such"
        " as that of the issuer that the person signs in with.",
    )
    value: str = Field(max_length=200)
    family_name: _NAME | None = None
    given_name: _NAME | None = None
    email: Annotated[str, Field(max_length=200)] | None = None

    def named(self, *, check_key: bool) -> Named:
        """Return the person. Refusals: `identifier-invalid`."""
        found = identifier(self.system, self.value, check_key=check_key)
        return Named(found, self.family_name, self.given_name, self.email)


class GrantIn(Body):
    """A right for a person: one role, for one organization, in some territories, for a time."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "person": {
                        "system": "rpps",
                        "value": "10005681340",
                        "family_name": "Épreuve",
                        "given_name": "Camille",
                    },
                    "role": "regulator",
                    "organization_id": "0190a000-0000-7000-8000-000000000001",
                    "territories": ["36"],
                    "valid_until": "2027-12-01T00:00:00+01:00",
                }
            ]
        }
    )

    person: PersonIn
    role: Role
    organization_id: UUID
    territories: list[TerritoryCode] = Field(
        [], max_length=20, description="Default: the organization's."
    )
    practitioner_ids: list[UUID] = Field(
        [], max_length=50, description="Whom a doctor (themselves) or a delegate acts for."
    )
    valid_from: Instant | None = Field(None, description="Default: now.")
    valid_until: Instant | None = Field(None, description="Default: a year later.")

    def draft(self, *, check_key: bool) -> GrantDraft:
        """Return the grant as the use cases want it. Refusals: `identifier-invalid`."""
        return GrantDraft(
            person=self.person.named(check_key=check_key),
            role=self.role,
            organization_id=self.organization_id,
            territories=tuple(dict.fromkeys(self.territories)),
            practitioner_ids=tuple(dict.fromkeys(self.practitioner_ids)),
            valid_from=self.valid_from,
            valid_until=self.valid_until,
        )


class IdentifierOut(Answer):
    """What names a person in one system; numbers of the national registers are IDNPS."""

    system: str
    value: str


class AccountOut(Answer):
    """A person who has, or had, a right here."""

    id: UUID
    family_name: str | None
    given_name: str | None
    identifiers: list[IdentifierOut]


class GrantClientOut(Answer):
    """Client software that has a right of its own."""

    id: UUID
    name: str


class GrantOut(Answer):
    """A right, of a person (`account`) or of software (`client`)."""

    id: UUID
    account: AccountOut | None
    client: GrantClientOut | None
    role: Role
    organization_id: UUID
    territories: list[str]
    practitioner_ids: list[UUID]
    valid_from: datetime
    valid_until: datetime | None
    revoked_at: datetime | None


def grant_out(grant: GrantEntry) -> GrantOut:
    """Render a grant."""
    return GrantOut.model_validate(grant)
