"""Short signed access tokens. A token carries one grant; verified tokens are remembered."""

from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OctKey

from service.identity.domain import Actor, Method, Principal, Role, TokenInvalid
from service.identity.repository import Grant
from service.kernel import clock
from service.kernel.ids import new_id

ISSUER = "snp"
_ALGORITHM = "HS256"
_REMEMBERED = 10_000
_THUMBPRINT = "x5t#S256"
_UNREADABLE = (
    *(JoseError, ValueError, KeyError, TypeError, AttributeError, OverflowError, OSError),
    RecursionError,  # JSON that goes very deep
)


class Tokens:
    """Signs and verifies the tokens of one installation.

    Verifying costs more than most of our statements, so each verified token is kept until it
    expires. Whether its grant still holds is asked of the database at every request.
    """

    def __init__(self, keys: Sequence[bytes], seconds: int) -> None:
        """Sign with the first key, and know what any of them signed."""
        self._keys = [OctKey.import_key(key) for key in keys]
        self.seconds = seconds
        self._verified: OrderedDict[str, Actor] = OrderedDict()

    def issue(self, software: Principal, grant: Grant, person: dict[str, str] | None) -> str:
        """Sign a token for one grant, of the software or of the person who works with it.

        Bound to the certificate that the software showed, if it did (RFC 8705 §3).
        """
        issued = int(clock.now().timestamp())
        claims = {
            "iss": ISSUER,
            "sub": str(software.client_id),
            "name": software.client_name,
            "client_revision": software.client_revision,
            "method": software.method,
            "iat": issued,
            "exp": issued + self.seconds,
            "jti": str(new_id()),
            "grant": str(grant.id),
            "revision": grant.revision,
            "role": grant.role,
            "organization": str(grant.organization_id),
            "organization_type": grant.organization_type,
            "territories": list(grant.territories),
            "cpts": [str(i) for i in grant.cpts_ids],
            "practitioners": [str(i) for i in grant.practitioner_ids],
            "person": person,
            "account": str(grant.account_id) if grant.account_id else None,
        }
        if software.thumbprint:
            claims["cnf"] = {_THUMBPRINT: software.thumbprint}
        return jwt.encode({"alg": _ALGORITHM, "typ": "at+jwt"}, claims, self._keys[0])

    def verify(self, token: str) -> Actor:
        """Return the caller that a token names. Refuses with `TokenInvalid`."""
        actor = self._verified.get(token)
        if actor is None:
            actor = self._read(token)
            self._verified[token] = actor
            if len(self._verified) > _REMEMBERED:
                self._verified.popitem(last=False)
        if actor.expires_at is None or actor.expires_at <= clock.now():
            self._verified.pop(token, None)
            raise TokenInvalid
        return actor

    def _read(self, token: str) -> Actor:
        for key in self._keys:
            with suppress(*_UNREADABLE):
                decoded = jwt.decode(token, key, algorithms=[_ALGORITHM])
                return _actor(decoded.claims)
        raise TokenInvalid


def _actor(claims: dict[str, Any]) -> Actor:
    if claims["iss"] != ISSUER:
        raise TokenInvalid
    return Actor(
        client_id=UUID(claims["sub"]),
        client_name=claims["name"],
        grant_id=UUID(claims["grant"]),
        grant_revision=claims["revision"],
        role=Role(claims["role"]),
        organization_id=UUID(claims["organization"]),
        organization_type=claims["organization_type"],
        territories=tuple(claims["territories"]),
        cpts_ids=tuple(UUID(i) for i in claims["cpts"]),
        practitioner_ids=tuple(UUID(i) for i in claims["practitioners"]),
        person=claims["person"],
        expires_at=datetime.fromtimestamp(claims["exp"], UTC),
        account_id=UUID(claims["account"]) if claims["account"] else None,
        client_revision=claims["client_revision"],
        method=Method(claims["method"]),
        thumbprint=claims["cnf"][_THUMBPRINT] if "cnf" in claims else None,
    )
