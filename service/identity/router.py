"""HTTP: tokens, and who I am."""

import base64
import binascii
from typing import Annotated

from fastapi import APIRouter, Form, Header, Request, Response
from fastapi.responses import JSONResponse

from service.identity import usecases
from service.identity.http import CurrentActor, Guarded, refusals
from service.identity.schemas import MeOut, MyOrganizationOut, OAuthErrorOut, TokenOut
from service.kernel.errors import BodyTooLarge, DomainError, Invalid, Unavailable
from service.kernel.http.deps import Uow
from service.kernel.http.problems import problems
from service.kernel.http.rate import TooManyRequests

oauth = APIRouter(tags=["identity"])
router = APIRouter(prefix="/v1", tags=["identity"], route_class=Guarded)

Asserted = Annotated[str | None, Form(max_length=200)]


@oauth.post(
    "/oauth/token",
    operation_id="identity.token",
    response_model=TokenOut,
    responses={
        400: {"model": OAuthErrorOut, "description": "Not a token request, or `invalid_scope`."},
        401: {"model": OAuthErrorOut, "description": "`invalid_client`."},
        **problems(BodyTooLarge, Invalid, TooManyRequests, Unavailable),
    },
)
async def token(
    request: Request,
    uow: Uow,
    grant_type: Annotated[str, Form(examples=["client_credentials"])] = "",
    client_id: Annotated[str | None, Form(max_length=100)] = None,
    client_secret: Annotated[str | None, Form(max_length=200)] = None,
    scope: Annotated[str, Form(max_length=200, examples=["role:regulator"])] = "",
    user_id: Asserted = None,
    user_family_name: Asserted = None,
    user_given_name: Asserted = None,
    user_email: Asserted = None,
    authorization: Annotated[str | None, Header(description="Basic, or use the form.")] = None,
) -> Response:
    """Exchange client credentials for a short access token (RFC 6749 §4.4).

    Software that authenticates its own people names the acting person with `user_*`: kept as
    asserted, on every event.
    """
    if not grant_type:
        return _error(400, "invalid_request", "Send a form with grant_type=client_credentials.")
    if grant_type != "client_credentials":
        return _error(400, "unsupported_grant_type", "Only client_credentials.")
    basic = _basic(authorization)
    identifier, secret = basic or (client_id or "", client_secret or "")
    request.app.state.token_limit.check(identifier, request.client)
    person = {
        "id": user_id,
        "family_name": user_family_name,
        "given_name": user_given_name,
        "email": user_email,
    }
    if any("\x00" in value for value in person.values() if value):  # no event could keep it
        return _error(400, "invalid_request", "A name holds no NUL character.")
    try:
        issued = await usecases.issue_token(
            uow,
            request.app.state.tokens,
            client_id=identifier,
            client_secret=secret,
            scope=scope,
            person={name: value for name, value in person.items() if value} or None,
        )
    except usecases.ClientRefused as refusal:
        return _error(401, refusal.code, refusal.title)
    except usecases.ScopeRefused as refusal:
        return _error(400, refusal.code, _sentence(refusal))
    return _no_store(JSONResponse(TokenOut.model_validate(issued).model_dump()))


def _sentence(refusal: DomainError) -> str:
    told = refusal.detail or refusal.title
    yours = refusal.extra.get("grants")
    return f"{told} Yours: {', '.join(yours)}." if isinstance(yours, list) and yours else told


def _basic(authorization: str | None) -> tuple[str, str] | None:
    scheme, _, value = (authorization or "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        identifier, _, secret = base64.b64decode(value, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return ("", "")
    return identifier, secret


def _error(status: int, error: str, description: str) -> Response:
    response = JSONResponse({"error": error, "error_description": description}, status)
    if status == 401:  # noqa: PLR2004  RFC 6749 §5.2
        response.headers["WWW-Authenticate"] = "Basic"
    return _no_store(response)


def _no_store(response: Response) -> Response:
    response.headers["Cache-Control"] = "no-store"
    return response


@router.get("/me", operation_id="identity.me", responses=refusals())
async def me(actor: CurrentActor) -> MeOut:
    """Say who I am here: role, organization, territories, the practitioners I act for."""
    return MeOut(
        client=actor.client_name,
        client_id=actor.client_id,
        role=actor.role,
        organization=MyOrganizationOut(id=actor.organization_id, type=actor.organization_type),
        territories=list(actor.territories),
        practitioner_id=actor.practitioner_ids[0] if len(actor.practitioner_ids) == 1 else None,
        practitioner_ids=list(actor.practitioner_ids),
        cpts_ids=list(actor.cpts_ids),
        person=dict(actor.person) if actor.person else None,
    )
