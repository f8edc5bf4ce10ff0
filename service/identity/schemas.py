"""JSON shapes of the room."""

from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, Field

from service.identity.domain import Method, Role
from service.kernel.http.shapes import Answer

Asserted = Annotated[str | None, Field(max_length=200)]


class TokenForm(BaseModel):
    """A token request: RFC 6749 §4.4, or RFC 8693 when a person signed in elsewhere."""

    grant_type: str = Field("", examples=["client_credentials"])
    client_id: Annotated[str | None, Field(max_length=100)] = None
    client_secret: Annotated[str | None, Field(max_length=200, repr=False)] = None
    scope: Annotated[str, Field(max_length=200)] = Field("", examples=["role:regulator"])
    subject_token: Annotated[str | None, Field(max_length=16_384)] = Field(
        None,
        repr=False,
        description="With grant type `urn:ietf:params:oauth:grant-type:token-exchange`.",
    )
    subject_token_type: str | None = Field(
        None,
        max_length=100,
        description="`urn:ietf:params:oauth:token-type:access_token` or `:jwt`.",
    )
    user_id: Asserted = None
    user_system: Asserted = Field(
        None,
        description="What `user_id` is a number of: `rpps`, `adeli`, `idnps`, `sas`, or a URI.",
    )
    user_family_name: Asserted = None
    user_given_name: Asserted = None
    user_email: Asserted = None
    user_role: Asserted = Field(
        None, description="What they are there, in the software's own words; no right of ours."
    )
    origin: str | None = Field(
        None,
        max_length=50,
        description="Where the person arrives from, as SAS says it (`sas`): they then have the"
        " right that SAS gave them, which counts in no other way.",
    )


class TokenOut(Answer):
    """RFC 6749 §5.1, RFC 8693 §2.2.1."""

    access_token: str = Field(repr=False)
    token_type: str = "Bearer"  # noqa: S105  the type of the token, not a token
    expires_in: int = Field(description="Seconds.")
    scope: str
    issued_token_type: str | None = Field(
        default=None, description="Of an exchange: an access token, too."
    )


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
    person: dict[str, str] | None = Field(
        description="Who works with the software: `proof` is `asserted`, or the issuer that proved."
    )
    auth_method: Method = Field(description="How the software proved who it is.")
