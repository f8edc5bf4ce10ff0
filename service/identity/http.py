"""The doorman: a route class that answers 401 and 403 before the body is read, and the actor.

Order of answers: 401, 429, 403, 413/415/400, then the body's own rules.
"""

from collections.abc import Callable, Collection, Coroutine
from dataclasses import replace
from typing import Annotated, Any, ClassVar

import structlog
from fastapi import Depends, Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer

from service.identity import usecases
from service.identity.authenticators import Authenticators, Certificate, certificates
from service.identity.domain import (
    Actor,
    CertificateRefused,
    GrantEnded,
    RoleLacksOperation,
    TokenInvalid,
    may,
)
from service.identity.tokens import Tokens
from service.kernel.db import TransactionLost
from service.kernel.errors import (
    BodyTooLarge,
    DomainError,
    FieldError,
    Invalid,
    Malformed,
    ReadOnly,
    Unauthenticated,
    Unavailable,
    UnsupportedMediaType,
    told_name,
)
from service.kernel.http.asked import Asked
from service.kernel.http.deps import KeyMalformed, KeyReused
from service.kernel.http.problems import problems
from service.kernel.http.proxies import address
from service.kernel.http.rate import TooManyRequests, network

__all__ = ["Authenticators", "CurrentActor", "Guarded", "Handler", "refusals"]

Handler = Callable[[Request], Coroutine[Any, Any, Response]]

# Operations whose one statement carries `grant_is_live` itself: no look-up before it.
CHECKED_IN_STATEMENT = frozenset(
    {"bookings.book", "slots.search", "fhir.search_slots", "fhir.search_schedules"}
)

# Operations that read although they are POST: what they ask for must not stand in a URL.
READS_BY_POST = frozenset({"patients.search", "patients.break_glass"})

_JSON_TYPES = ("application/json", "application/merge-patch+json")


class UnknownParameter(Invalid):
    """The query has a parameter that the operation does not know."""

    code = "unknown-parameter"
    title = "A parameter is not one of this operation."


class Guarded(APIRoute):
    """A route behind the doorman. Its operation id is the permission it needs.

    Bodies come as one of `media_types`; a query parameter of another name is refused, or passed
    over where a face must.
    """

    media_types: ClassVar[Collection[str]] = _JSON_TYPES
    passes_over_unknown: ClassVar[bool] = False

    def get_route_handler(self) -> Handler:
        """Wrap FastAPI's handler: who, may they, readable at all; one fresh try when crossed."""
        handle = super().get_route_handler()
        operation = self.operation_id or ""
        known = _query_names(self.dependant)
        changes = self.methods != {"GET"} and operation not in READS_BY_POST

        async def guarded(request: Request) -> Response:
            actor = request.state.actor = replace(
                await _known(request),
                correlation_id=request.scope["request_id"],
                address=address(request.scope),
            )
            if operation not in CHECKED_IN_STATEMENT:
                async with request.app.state.database.unit_of_work() as uow:
                    await usecases.ensure_live(uow, actor)
            if not may(actor.role, operation):
                raise RoleLacksOperation
            if changes and request.app.state.settings.read_only:
                raise ReadOnly
            _check_media_type(request, self.media_types)
            if request.scope["query_string"] and not self.passes_over_unknown:
                _check_query(request, known)
            try:
                return await handle(request)
            except TransactionLost:
                return await handle(request)

        return guarded


async def _known(request: Request) -> Actor:
    """Return who is calling; limits count a client, or the address of who is nobody.

    Whose a certificate is must be looked up: that is limited before, by the certificate.
    """
    state, nobody = request.app.state, (network(request.scope), "")
    try:
        actor = _signed_in(request)
        if actor is None:
            certificate = _certificate(request)
            if certificate is None:
                raise TokenInvalid
            nobody = (network(request.scope), certificate.thumbprint)
            state.address_limit.check(nobody)
            state.client_limit.spend(certificate.thumbprint, request.scope)
            actor = await _certified(request, certificate)
        else:
            state.client_limit.spend(actor.client_id, request.scope)
    except Unauthenticated:
        state.address_limit.spend(nobody, request.scope)
        raise
    structlog.contextvars.bind_contextvars(client_id=str(actor.client_id))
    return actor


def _signed_in(request: Request) -> Actor | None:
    """Return the caller whose token came with a request; None if none came."""
    authorization = request.headers.get("authorization")
    if authorization is None:
        return None
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise TokenInvalid
    tokens: Tokens = request.app.state.tokens
    actor = tokens.verify(token.strip())
    if actor.thumbprint is not None:  # somebody else's hands are empty of its certificate
        certificate = _certificate(request)
        if certificate is None or certificate.thumbprint != actor.thumbprint:
            raise TokenInvalid
    return actor


async def _certified(request: Request, certificate: Certificate) -> Actor:
    """Return whom a certificate alone stands for: national interfaces know no tokens."""
    state = request.app.state
    async with state.database.unit_of_work() as uow:
        actor = await usecases.certified(uow, await certificates.client(uow, certificate))
        if not state.settings.read_only:
            await usecases.remember_use(uow, actor.client_id)
    return actor


def _certificate(request: Request) -> Certificate | None:
    authenticators: Authenticators = request.app.state.authenticators
    return authenticators.certificate(request.headers)


def _check_media_type(request: Request, media_types: Collection[str]) -> None:
    length = request.headers.get("content-length", "0")
    if length in {"", "0"} and "transfer-encoding" not in request.headers:
        return
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media not in media_types:
        raise UnsupportedMediaType


def _query_names(dependant: Dependant) -> frozenset[str]:
    """Return the names of the query parameters that an operation and its dependencies take."""
    if isinstance(dependant.call, Asked):
        return dependant.call.names
    own = (field.alias for field in dependant.query_params)
    return frozenset(own).union(*map(_query_names, dependant.dependencies))


def _check_query(request: Request, known: frozenset[str]) -> None:
    """Refuse a misspelt parameter rather than to answer another question; never show its value."""
    unknown = sorted(request.query_params.keys() - known)
    if unknown:
        there_are = f"it has {', '.join(sorted(known))}" if known else "it has none"
        sentence = f"Not a parameter of this operation: {there_are}."
        raise UnknownParameter(
            *(FieldError(told_name(name), UnknownParameter.code, sentence) for name in unknown)
        )


_bearer = HTTPBearer(auto_error=False, description="Token from POST /oauth/token.")


async def _actor(request: Request, _: Annotated[object, Depends(_bearer)]) -> Actor:
    actor: Actor = request.state.actor
    return actor


CurrentActor = Annotated[Actor, Depends(_actor)]


def refusals(*named: type[DomainError], idempotent: bool = False) -> dict[int | str, Any]:
    """Return the documented refusals of a guarded operation: its own, and the doorman's."""
    keyed = (KeyReused, KeyMalformed) if idempotent else ()
    return problems(
        Malformed,
        TokenInvalid,
        CertificateRefused,
        GrantEnded,
        RoleLacksOperation,
        BodyTooLarge,
        UnsupportedMediaType,
        *keyed,
        Invalid,
        UnknownParameter,
        *named,
        TooManyRequests,
        Unavailable,
    )
