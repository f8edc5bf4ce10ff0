"""HTTP: tokens, and who I am."""

import base64
import binascii
from dataclasses import asdict
from typing import Annotated

import structlog
from fastapi import APIRouter, Form, Header, Request, Response
from fastapi.responses import JSONResponse

from service.identity import usecases
from service.identity.authenticators import Authenticators, certificates, credentials
from service.identity.domain import (
    CertificateRefused,
    ClientRefused,
    IssuerUnavailable,
    Principal,
    SubjectTokenRefused,
)
from service.identity.http import CurrentActor, Guarded, refusals
from service.identity.people import IdentifierInvalid
from service.identity.people import identifier as read_identifier
from service.identity.schemas import MeOut, MyOrganizationOut, OAuthErrorOut, TokenForm, TokenOut
from service.kernel.db import UnitOfWork
from service.kernel.errors import BodyTooLarge, DomainError, Invalid, Unavailable
from service.kernel.events import Origin
from service.kernel.http.deps import Uow
from service.kernel.http.problems import problems
from service.kernel.http.proxies import address
from service.kernel.http.rate import TooManyRequests, network
from service.kernel.settings import Settings, listed

oauth = APIRouter(tags=["identity"])
router = APIRouter(prefix="/v1", tags=["identity"], route_class=Guarded)

_CREDENTIALS = "client_credentials"
_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
_ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105  a name, no token
_SUBJECT_TYPES = (_ACCESS_TOKEN, "urn:ietf:params:oauth:token-type:jwt")


@oauth.post(
    "/oauth/token",
    operation_id="identity.token",
    response_model=TokenOut,
    responses={
        400: {"model": OAuthErrorOut, "description": "Not a token request, or `invalid_scope`."},
        401: {"model": OAuthErrorOut, "description": "`invalid_client`."},
        **problems(BodyTooLarge, Invalid, TooManyRequests, IssuerUnavailable, Unavailable),
    },
)
async def token(
    request: Request,
    uow: Uow,
    form: Annotated[TokenForm, Form()],
    authorization: Annotated[str | None, Header(description="Basic, or use the form.")] = None,
) -> Response:
    """Exchange client credentials for a short access token (RFC 6749 §4.4).

    Software that authenticates its own people names the acting person with `user_*`: kept as
    asserted, on every event. Of a regulator who arrives through SAS it says `origin` too: the token
    is then of the right that SAS gave them. A person who signed in with an issuer that is accepted
    here gets a token of their own rights in exchange for the issuer's (RFC 8693): kept as proven.
    """
    if not form.grant_type:
        return _error(400, "invalid_request", "Send a form with grant_type=client_credentials.")
    if form.grant_type not in {_CREDENTIALS, _EXCHANGE}:
        return _error(
            400, "unsupported_grant_type", "Only client_credentials, and token exchange (RFC 8693)."
        )
    identifier, secret = _basic(authorization) or (form.client_id or "", form.client_secret or "")
    try:
        software = await _software(request, uow, identifier, secret)
        structlog.contextvars.bind_contextvars(client_id=str(software.client_id))
        issue = _exchanged if form.grant_type == _EXCHANGE else _issued
        issued = await issue(request, uow, software, form)
    except (ClientRefused, CertificateRefused) as refusal:
        return _error(401, ClientRefused.code, _sentence(refusal))
    except (usecases.ScopeRefused, usecases.PersonRefused, SubjectTokenRefused) as refusal:
        return _error(400, refusal.code, _sentence(refusal))
    if not request.app.state.settings.read_only:
        await usecases.remember_use(uow, software.client_id)
    return _no_store(JSONResponse(issued.model_dump(exclude_none=True)))


async def _software(request: Request, uow: UnitOfWork, identifier: str, secret: str) -> Principal:
    """Return the client that asks for a token: a secret counts before a certificate.

    Whoever shows a certificate guesses nothing, and is counted by it, whatever client they name.
    """
    state, here = request.app.state, network(request.scope)
    authenticators: Authenticators = state.authenticators
    certificate = authenticators.certificate(request.headers)
    if certificate is not None and not secret:
        state.token_limit.spend((certificate.thumbprint, here), request.scope)
        return await certificates.client(uow, certificate, identifier)
    named = str(credentials.identifier_of(identifier))
    state.token_limit.spend((named, here), request.scope)
    state.guesses.check(named, here)
    try:
        found = await credentials.client(uow, identifier, secret)
    except ClientRefused:
        state.guesses.failed(named, here)
        raise
    state.guesses.succeeded(named, here)
    return found


async def _issued(
    request: Request, uow: UnitOfWork, software: Principal, form: TokenForm
) -> TokenOut:
    """Give software a token of its own."""
    settings: Settings = request.app.state.settings
    tokens = request.app.state.tokens
    # Of who arrives, SAS gave the number: a mistyped one is nobody's, one of test people is known.
    person = _asserted(form, check_key=settings.rpps_check == "luhn" and not form.origin)
    if not form.origin:
        issued = await usecases.issue_token(uow, tokens, software, scope=form.scope, person=person)
        return TokenOut(**asdict(issued))
    if form.origin not in listed(settings.sas_origins):
        raise usecases.PersonRefused(detail="Nobody arrives from this origin (SNP_SAS_ORIGINS).")
    issued = await usecases.bring_person(
        uow,
        tokens,
        software,
        person,
        arrived_from=form.origin,
        scope=form.scope,
        origin=_origin(request, software),
        traced=not settings.read_only,
    )
    return TokenOut(**asdict(issued))


def _origin(request: Request, software: Principal) -> Origin:
    return Origin(
        client_id=software.client_id,
        address=address(request.scope),
        correlation_id=request.scope["request_id"],
    )


async def _exchanged(
    request: Request, uow: UnitOfWork, software: Principal, form: TokenForm
) -> TokenOut:
    """Give a person a token for the one that another issuer gave them."""
    if not form.subject_token or form.subject_token_type not in _SUBJECT_TYPES:
        raise SubjectTokenRefused(
            detail=f"Send subject_token, and subject_token_type={_ACCESS_TOKEN}."
        )
    if _asserted(form, check_key=False) or form.origin:
        raise SubjectTokenRefused(detail="It proves who is acting: nobody is asserted beside them.")
    authenticators: Authenticators = request.app.state.authenticators
    traced, person = not request.app.state.settings.read_only, None
    origin = _origin(request, software)
    try:
        subject = await authenticators.subject(form.subject_token, software)
        person = subject.person
        issued = await usecases.exchange_token(
            uow,
            request.app.state.tokens,
            software,
            subject,
            scope=form.scope,
            origin=origin,
            traced=traced,
        )
    except (usecases.ScopeRefused, SubjectTokenRefused) as refusal:
        if traced:
            await usecases.tell_refused_exchange(uow, software, origin, person, refusal)
        raise
    return TokenOut(**asdict(issued), issued_token_type=_ACCESS_TOKEN)


def _asserted(form: TokenForm, *, check_key: bool) -> dict[str, str]:
    """Return whom the software names; a number of a national register in the one form we keep."""
    said = {
        "system": form.user_system,
        "id": form.user_id,
        "family_name": form.user_family_name,
        "given_name": form.user_given_name,
        "email": form.user_email,
        "role": form.user_role,
    }
    person = {name: value for name, value in said.items() if value}
    if any("\x00" in value for value in person.values()):  # no event could keep it
        raise usecases.PersonRefused(detail="A name holds no NUL character.")
    if "system" in person:
        try:
            found = read_identifier(person["system"], person.get("id", ""), check_key=check_key)
        except IdentifierInvalid as refusal:
            where = ", ".join(f"user_{error.pointer}: {error.detail}" for error in refusal.errors)
            raise usecases.PersonRefused(detail=where.replace("user_value", "user_id")) from None
        person |= {"system": found.system, "id": found.value}
    return person


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
        auth_method=actor.method,
    )
