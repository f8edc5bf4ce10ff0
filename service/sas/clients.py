"""Talks to the SAS platform: FHIR over TLS, with our own certificate. Nothing of it is logged."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import httpx
import orjson

from service.identity import Identifier
from service.kernel import clock
from service.kernel.sending import Attempt, DeliveryFailure, answered
from service.kernel.settings import Settings
from service.sas.domain.appointments import Send

_SECONDS = 15.0
_FHIR = "application/fhir+json"
_HEADERS = {"content-type": f"{_FHIR}; charset=utf-8", "accept": _FHIR, "user-agent": "snp-broker"}


def _tls(settings: Settings) -> ssl.SSLContext:
    """Trust whom the settings name, and show our certificate where they name one."""
    context = ssl.create_default_context(cafile=settings.sas_server_ca)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if settings.sas_client_certificate is not None:
        context.load_cert_chain(settings.sas_client_certificate, settings.sas_client_key)
    return context


@asynccontextmanager
async def sender(settings: Settings) -> AsyncIterator[Send]:
    """Give what tells SAS, over connections that are kept as long as the block lasts."""
    base = settings.sas_appointments_url.rstrip("/")
    async with httpx.AsyncClient(
        verify=_tls(settings), timeout=_SECONDS, trust_env=False, headers=_HEADERS
    ) as client:

        async def send(method: str, ours: Identifier, resource: Mapping[str, Any]) -> Attempt:
            sought = quote(f"{ours.system}|{ours.value}", safe="")
            query = f"?identifier={sought}" if method == "PUT" else ""
            try:
                async with asyncio.timeout(_SECONDS):
                    answer = await client.request(
                        method, f"{base}/Appointment{query}", content=orjson.dumps(resource)
                    )
            except (TimeoutError, httpx.TimeoutException):
                return Attempt(failure=DeliveryFailure.TIMEOUT)
            except (httpx.HTTPError, ssl.SSLError, OSError):
                return Attempt(failure=DeliveryFailure.CONNECTION)
            return answered(answer.status_code, answer.headers.get("retry-after"), clock.now())

        yield send
