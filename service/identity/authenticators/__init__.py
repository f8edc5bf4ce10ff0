"""Authenticators: how software and people prove who they are. Each is a module of its own.

| module | proves | by |
|---|---|---|
| `credentials` | client software | its id and secret |
| `certificates` | client software | a certificate that a trusted proxy gives on |
| `oidc` | a person | a token of an OpenID Connect issuer |
| `psc` | a health professional | the same, and what Pro Santé Connect says of them |

What they prove is a `Principal` (software) and a `ProvenPerson` (of a `SubjectToken`). What these
may do is not theirs to say: that is in grants. Which ones there are is in the settings.
"""

from collections.abc import Mapping

from service.identity.authenticators import certificates, psc
from service.identity.authenticators.certificates import Certificate
from service.identity.authenticators.oidc import Issuer, issuer_of
from service.identity.domain import Principal, SubjectTokenRefused
from service.identity.people import SubjectToken
from service.kernel.settings import Settings


class Authenticators:
    """Those of one process, as its settings say."""

    def __init__(self, settings: Settings) -> None:
        self._header = settings.certificate_header
        self._issuers = {
            one.issuer: psc.ProSanteConnect(one) if one.kind == "psc" else Issuer(one)
            for one in settings.issuers
        }

    def certificate(self, headers: Mapping[str, str]) -> Certificate | None:
        """Return the certificate that came with a request. Refuses with `certificate-refused`."""
        given = headers.get(self._header) if self._header else None
        return certificates.read(given) if given else None

    async def subject(self, token: str, software: Principal) -> SubjectToken:
        """Return whom a token of a known issuer proves, brought by the software it was given to.

        Refusals: `invalid_request` (says why), `issuer-unavailable`.
        """
        issuer = self._issuers.get(issuer_of(token) or "")
        if issuer is None:
            raise SubjectTokenRefused(
                detail="Its issuer is not one whose tokens are accepted here."
            )
        return await issuer.prove(token, software.client_id)


__all__ = ["Authenticators", "Certificate"]
