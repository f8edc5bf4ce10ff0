"""People prove themselves by a token of an OpenID Connect issuer: a JWT that it signed.

Its keys are kept for an hour. A key that nobody knows is looked for once, then not before half a
minute later, whatever comes: invented key ids cannot make us ask the issuer more often. While it
is down, the keys that we have go on for a day.
"""

import asyncio
import ssl
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import cache
from hashlib import sha256
from typing import Any
from uuid import UUID

import httpx
import orjson
import structlog
from joserfc import jwt
from joserfc.errors import ExpiredTokenError, InvalidKeyIdError, JoseError
from joserfc.jwk import JWKRegistry, Key, KeySet, RSAKey
from joserfc.util import urlsafe_b64decode

from service.identity.domain import IssuerUnavailable, SubjectTokenRefused
from service.identity.people import IdentifierInvalid, ProvenPerson, SubjectToken, identifier
from service.kernel.settings import IssuerSettings, is_safe_url

_KEYS_SECONDS, _STALE_SECONDS = 3600, 24 * 3600
_ASK_AGAIN_SECONDS = 30  # for keys that nobody knows
_TRY_AGAIN_SECONDS = 5  # an issuer that did not answer
_PATIENCE_SECONDS = 3  # for one answer of it, from the first byte sent to the last one read
_LARGEST = 1024 * 1024
_KINDS = ("RSA", "EC")
_SHORTEST_RSA = 2048  # bits
_TYPES = (None, "JWT", "at+jwt", "application/at+jwt")
_LONG = 200
_UNREADABLE = (JoseError, ValueError, TypeError, KeyError, AttributeError, RecursionError)

log = structlog.get_logger()


def issuer_of(token: str) -> str | None:
    """Return which issuer a token says that it is of; nothing is proven by that."""
    try:
        _, claims, _ = token.split(".")
        said = orjson.loads(urlsafe_b64decode(claims.encode()))["iss"]
    except (ValueError, TypeError, KeyError):
        return None
    return said if isinstance(said, str) else None


def text(claims: Mapping[str, Any], name: str) -> str | None:
    """Return a claim that is a text and says something; anything else is as good as absent."""
    value = claims.get(name)
    if not isinstance(value, str) or len(value) > _LONG or not value.isprintable():
        return None
    return value.strip() or None


class Issuer:
    """One issuer: its keys, and what its tokens must hold."""

    def __init__(self, settings: IssuerSettings) -> None:
        self.settings = settings
        self._claims = jwt.JWTClaimsRegistry(
            leeway=settings.leeway_seconds,
            iss={"essential": True, "value": settings.issuer},
            sub={"essential": True},
            exp={"essential": True},
        )
        self._keys: KeySet | None = None
        self._read_at = self._asked_at = -float("inf")
        self._discovery = settings.issuer.rstrip("/") + settings.discovery_path
        self._userinfo_endpoint: object = None
        self._asking = asyncio.Lock()

    async def prove(self, token: str, software: UUID) -> SubjectToken:
        """Return whom a token proves that was given to this software of ours.

        Refusals: `invalid_request`, `issuer-unavailable`.
        """
        claims = await self.verify(token, software)
        # What was signed names a token: with its `jti`, if it has one, and in one writing only.
        signed, _, _ = token.rpartition(".")
        return SubjectToken(
            await self.person(token, claims),
            digest=sha256(signed.encode()).digest(),
            ends_at=self._end(claims),
            territories=self.settings.territories,
            organizations=self.settings.organizations,
        )

    async def person(self, _token: str, claims: Mapping[str, Any]) -> ProvenPerson:
        """Return the person whom a verified token proves."""
        value = text(claims, self.settings.identifier_claim)
        if value is None:
            raise SubjectTokenRefused(detail="It does not say who the person is.")
        try:
            system = self.settings.identifier_system or self.settings.issuer
            found = identifier(system, value, check_key=False)
        except IdentifierInvalid:
            raise SubjectTokenRefused(detail="What it calls the person is no identifier.") from None
        return ProvenPerson(
            found,
            proof=self.settings.name,
            family_name=text(claims, "family_name"),
            given_name=text(claims, "given_name"),
            email=text(claims, "email"),
            acr=text(claims, "acr"),
        )

    async def verify(self, token: str, software: UUID) -> dict[str, Any]:
        """Return the claims of a token that is this issuer's, for us, now, and strong enough.

        And that it gave to this software: stolen from one, it is worth nothing with another.
        """
        claims = await self._signed(token)
        self._check(claims)
        given_to = text(claims, self.settings.software_claim) or ""
        if software not in self.settings.software.get(given_to, ()):
            raise SubjectTokenRefused(detail="It was given to other software than this.")
        return claims

    def _end(self, claims: Mapping[str, Any]) -> datetime:
        """Return when a token is worth nothing more, even where clocks differ."""
        try:
            ends_at = datetime.fromtimestamp(claims["exp"], UTC)
            return ends_at + timedelta(seconds=self.settings.leeway_seconds)
        except (OverflowError, ValueError, OSError):
            raise SubjectTokenRefused(detail="What it says in exp is missing or wrong.") from None

    async def _signed(self, token: str) -> dict[str, Any]:
        """Return the claims of a JWT that this issuer signed."""
        try:
            return _decoded(token, await self._current_keys(), self.settings.algorithms)
        except InvalidKeyIdError:
            pass
        try:
            return _decoded(token, await self._newer_keys(), self.settings.algorithms)
        except InvalidKeyIdError:
            raise SubjectTokenRefused(
                detail="It is signed with a key that its issuer has not."
            ) from None

    def _check(self, claims: dict[str, Any]) -> None:
        try:
            self._claims.validate(claims)
        except ExpiredTokenError:
            raise SubjectTokenRefused(detail="It has expired.") from None
        except _UNREADABLE as wrong:
            told = getattr(wrong, "claim", None) or "a claim"
            raise SubjectTokenRefused(
                detail=f"What it says in {told} is missing or wrong."
            ) from None
        said = claims.get(self.settings.audience_claim)
        meant = said if isinstance(said, list) else [said]
        if not any(one in self.settings.audience for one in meant):
            raise SubjectTokenRefused(detail="It is meant for another audience.")
        if self.settings.acr and claims.get("acr") not in self.settings.acr:
            raise SubjectTokenRefused(detail="Its level of authentication is not enough here.")

    # --- asking the issuer ------------------------------------------------------------------------

    async def userinfo(self, token: str, subject: str) -> dict[str, Any]:
        """Return what the issuer says of the person behind an access token.

        It does so of tokens that are still good only. Refusals: `invalid_request`,
        `issuer-unavailable`.
        """
        answer = await self._get(
            self._userinfo_endpoint, {"Authorization": f"Bearer {token}"}, refusing=True
        )
        if answer is None:
            raise SubjectTokenRefused(detail="Its issuer does not accept it any more.")
        kind, content = answer
        if kind == "application/jwt":
            said = await self._signed(content.decode("ascii", "replace"))
        else:
            said = self._document(content)
        # Another person's answer must never be taken for this one's (OIDC Core §5.3.2).
        if said.get("sub") != subject:
            raise self._lost("it speaks of another person")
        return said

    async def _current_keys(self) -> KeySet:
        """Return keys of the last hour, or older ones while the issuer does not answer."""
        old = time.monotonic() - self._read_at > _KEYS_SECONDS
        if old and (self._keys is None or not self._asking.locked()):  # one waits, not everybody
            await self._refresh()
        return self._usable()

    async def _newer_keys(self) -> KeySet:
        """Return keys that were looked at just now, though not more often than may be.

        An issuer that was asked in vain may have a key that we do not know: that is no refusal.
        """
        await self._refresh()
        if self._asked_in_vain:
            raise IssuerUnavailable(retry_after=_TRY_AGAIN_SECONDS)
        return self._usable()

    @property
    def _asked_in_vain(self) -> bool:
        return self._read_at < self._asked_at

    def _usable(self) -> KeySet:
        if self._keys is None or time.monotonic() - self._read_at > _STALE_SECONDS:
            raise IssuerUnavailable(retry_after=_TRY_AGAIN_SECONDS)
        return self._keys

    async def _refresh(self) -> None:
        """Ask for the issuer's keys, unless somebody did a moment ago."""
        async with self._asking:
            pause = _TRY_AGAIN_SECONDS if self._asked_in_vain else _ASK_AGAIN_SECONDS
            if time.monotonic() - self._asked_at < pause:
                return
            self._asked_at = time.monotonic()
            with suppress(IssuerUnavailable):  # it was logged
                told = await self._told(self._discovery)
                if told.get("issuer") != self.settings.issuer:
                    raise self._lost("it calls itself otherwise")
                keys = _signing_keys(await self._told(told.get("jwks_uri")))
                if not keys:
                    raise self._lost("it has no key that can be used")
                self._userinfo_endpoint = told.get("userinfo_endpoint")
                self._keys, self._read_at = KeySet(keys), time.monotonic()

    async def _told(self, url: object) -> dict[str, Any]:
        answer = await self._get(url, {})
        assert answer is not None  # noqa: S101  only a refusal is None
        return self._document(answer[1])

    async def _get(
        self, url: object, headers: Mapping[str, str], *, refusing: bool = False
    ) -> tuple[str, bytes] | None:
        """Return the kind and content of an answer; None if it refuses, where it may."""
        if not isinstance(url, str) or not self._may_ask(url):
            raise self._lost("it names no address, or one without TLS")
        content = b""
        try:
            async with (
                asyncio.timeout(_PATIENCE_SECONDS),
                httpx.AsyncClient(verify=_tls(), timeout=_PATIENCE_SECONDS) as http,
                http.stream("GET", url, headers=dict(headers)) as answer,
            ):
                if refusing and answer.status_code in {401, 403}:
                    return None
                if answer.status_code != httpx.codes.OK:
                    raise self._lost(f"status {answer.status_code}")
                async for part in answer.aiter_bytes():
                    content += part
                    if len(content) > _LARGEST:
                        raise self._lost("a very long answer")
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, OSError, ValueError) as error:
            raise self._lost(type(error).__name__) from None
        kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
        return kind, content

    def _may_ask(self, url: str) -> bool:
        """Tell whether an address is as safe as the issuer's own: over TLS, if that one is."""
        scheme = self.settings.issuer.partition(":")[0]
        return is_safe_url(url) and url.startswith(f"{scheme}:")

    def _document(self, content: bytes) -> dict[str, Any]:
        try:
            found = orjson.loads(content)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise self._lost("no JSON object")
        return found

    def _lost(self, why: str) -> IssuerUnavailable:
        log.warning("issuer.unavailable", issuer=self.settings.name, why=why)
        return IssuerUnavailable(retry_after=_TRY_AGAIN_SECONDS)


def _decoded(token: str, keys: KeySet, algorithms: tuple[str, ...]) -> dict[str, Any]:
    try:
        found = jwt.decode(token, keys, algorithms=list(algorithms))
        if found.header.get("typ") not in _TYPES:
            raise SubjectTokenRefused(detail="It is a token for another purpose.")
        claims: dict[str, Any] = found.claims
    except InvalidKeyIdError:
        raise
    except _UNREADABLE:
        raise SubjectTokenRefused(
            detail="It cannot be read, or its signature is not good."
        ) from None
    return claims


def _signing_keys(told: Mapping[str, Any]) -> list[Key]:
    """Read the keys that sign; those that we cannot use are left out."""
    listed = told.get("keys")
    keys: list[Key] = []
    for one in listed if isinstance(listed, list) else ():
        with suppress(*_UNREADABLE):
            if one.get("use", "sig") == "sig" and one["kty"] in _KINDS:
                keys.append(JWKRegistry.import_key(one))
    return [key for key in keys if not _is_short(key)]


def _is_short(key: Key) -> bool:
    return isinstance(key, RSAKey) and key.public_key.key_size < _SHORTEST_RSA


@cache
def _tls() -> ssl.SSLContext:
    """The system's authorities, read once: each time they would take 20 ms."""
    return ssl.create_default_context()
