"""JSON shapes of the room."""

from uuid import UUID

from pydantic import Field

from service.identity.domain import Role
from service.kernel.http.shapes import Answer


class TokenOut(Answer):
    """RFC 6749 §5.1."""

    access_token: str
    token_type: str = "Bearer"  # noqa: S105  the type of the token, not a token
    expires_in: int = Field(description="Seconds.")
    scope: str


class OAuthErrorOut(Answer):
    """RFC 6749 §5.2."""

    error: str
    error_description: str


class MyOrganizationOut(Answer):
    """The organization of the caller's grant."""

    id: UUID
    type: str


class MeOut(Answer):
    """Who the caller is here."""

    client: str
    client_id: UUID
    role: Role
    organization: MyOrganizationOut
    territories: list[str]
    practitioner_id: UUID | None = Field(
        description="Whom I act for, when it is one: always for a doctor. Else null."
    )
    practitioner_ids: list[UUID] = Field(description="All whom I act for: a delegate's doctors.")
    cpts_ids: list[UUID]
    person: dict[str, str] | None = Field(description="As asserted by the software, not proven.")
