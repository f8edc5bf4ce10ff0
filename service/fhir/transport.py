"""Who may come to `/fhir` at all: certificates of the platform, where the settings name them.

The proxy looks at chain, dates and revocation (deploy/nginx/snp.conf), `identity` at whose client a
certificate is. Between the two, ANS wants its CN and its OU looked at: any other certificate of
IGC-Santé is refused here, before anybody is looked up.
"""

from fastapi import Request

from service.identity.http import Authenticators
from service.kernel.errors import Forbidden
from service.kernel.settings import Settings, listed


class CertificateNotAllowed(Forbidden):
    """No certificate came, or one whose CN or OU the settings do not name."""

    code = "certificate-not-allowed"
    title = "This interface answers the certificates of the national platform only."


async def admit(request: Request) -> None:
    """Refuse a request without a certificate of the platform with `certificate-not-allowed` or
    `certificate-refused`. Where the settings name neither CN nor OU, everybody passes.
    """
    settings: Settings = request.app.state.settings
    wanted = {
        "CN": listed(settings.sas_common_names),
        "OU": listed(settings.sas_organizational_units),
    }
    if not any(wanted.values()):
        return
    authenticators: Authenticators = request.app.state.authenticators
    certificate = authenticators.certificate(request.headers)
    if certificate is None:
        raise CertificateNotAllowed
    for name, allowed in wanted.items():
        shown = [part[3:] for part in certificate.subject if part.startswith(f"{name}=")]
        if allowed and not (shown and set(shown) <= set(allowed)):
            raise CertificateNotAllowed
