"""Client software proves itself by a certificate.

A reverse proxy ends TLS, checks the chain, and gives the certificate on in a header
(`kernel.http.proxies` takes it away from anybody else). Here its dates are looked at, and whose it
is: a client says what the certificate's subject must hold: the `O` and the `OU` of its structure
(IGC-Santé: its name and its national identifier; the `CN` is free), or its `CN` too.
"""

import base64
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from urllib.parse import unquote

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from service.identity import repository
from service.identity.authenticators.credentials import identifier_of
from service.identity.domain import CertificateRefused, ClientRefused, Method, Principal
from service.kernel import clock
from service.kernel.db import UnitOfWork
from service.kernel.errors import FieldError, Invalid

_STRUCTURE = ("O", "OU")
_SOMEBODY = {"CN", "OU"}


class SubjectInvalid(Invalid):
    """What a certificate's subject must hold is unreadable, or would fit anybody's."""

    code = "certificate-subject-invalid"
    title = "Write at least O and OU of the certificate's subject: OU=318751275100020,O=ANS."


@dataclass(frozen=True, slots=True)
class Certificate:
    """What counts of a certificate. `thumbprint` is RFC 8705's `x5t#S256`."""

    subject: tuple[str, ...]
    valid_from: datetime
    valid_until: datetime
    thumbprint: str


@lru_cache(1000)  # the same few come with each request; what is unreadable is not kept
def read(header: str) -> Certificate:
    """Read a certificate: PEM, URL-encoded. Refusals: `certificate-refused`."""
    try:
        found = x509.load_pem_x509_certificate(unquote(header).encode())
        subject = _parts(found.subject)
    except ValueError:
        raise CertificateRefused from None
    digest = base64.urlsafe_b64encode(found.fingerprint(SHA256())).decode().rstrip("=")
    return Certificate(subject, found.not_valid_before_utc, found.not_valid_after_utc, digest)


async def client(uow: UnitOfWork, certificate: Certificate, named: str = "") -> Principal:
    """Return the client whose certificate this is; it may name itself, and nobody else.

    Refusals: `certificate-refused`, `invalid_client`.
    """
    check_dates(certificate)
    found = await repository.find_certified(uow, certificate.subject)
    if found is None:
        raise CertificateRefused
    if named and identifier_of(named) != found[0]:
        raise ClientRefused("This certificate is not that client's.")
    return Principal(*found, Method.CERTIFICATE, certificate.thumbprint)


def check_dates(certificate: Certificate) -> None:
    """Refuse a certificate that is not valid yet, or no more, with `certificate-refused`."""
    if not certificate.valid_from <= clock.now() <= certificate.valid_until:
        raise CertificateRefused


def subject_of(text: str, *, structure: bool = True) -> list[str]:
    """Read what a subject must hold, as RFC 4514 writes it: `OU=...,O=...`.

    `structure`: its O and OU must be named; otherwise OU or CN is enough. Refusals:
    `certificate-subject-invalid`.
    """
    try:
        parts = _parts(x509.Name.from_rfc4514_string(text))
    except ValueError:
        parts = ()
    named = {part.partition("=")[0] for part in parts}
    if not (named.issuperset(_STRUCTURE) if structure else named & _SOMEBODY):
        raise SubjectInvalid(FieldError("subject", SubjectInvalid.code, SubjectInvalid.title))
    return sorted(parts)


def _parts(name: x509.Name) -> tuple[str, ...]:
    return tuple(f"{part.rfc4514_attribute_name}={part.value!s}" for part in name)
