"""How messages go out: SMTP, and the HTTP gateway for SMS. Nothing of one is ever logged."""

import asyncio
import ssl
from collections.abc import Mapping
from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime, parseaddr
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote, urlsplit

import aiosmtplib
import httpx

from service.kernel.settings import Settings
from service.messages.domain import Channel, Letter, Undelivered

_SECONDS = 20.0  # of silence
# For all that one way takes: two and a farewell are over before the message is another worker's.
_LONGEST_SECONDS = 45.0
_PERMANENT = 500
_SUBMISSION, _OVER_TLS = 587, 465


async def deliver(settings: Settings, letter: Letter, at: datetime) -> Channel:
    """Hand a message to the first way that takes it; returns which. Raises `Undelivered`.

    An address that is refused for good is left for the next one.
    """
    refused = Undelivered("no_address", for_good=True)
    for channel, address in letter.ways:
        try:
            async with asyncio.timeout(_LONGEST_SECONDS):
                if channel is Channel.SMS:
                    await _text(settings, letter, address)
                else:
                    await _mail(settings, letter, address, at)
        except TimeoutError:
            raise Undelivered("timeout") from None
        except Undelivered as failure:
            if not failure.for_good:
                raise
            refused = failure
        else:
            return channel
    raise refused


async def _mail(settings: Settings, letter: Letter, address: str, at: datetime) -> None:
    if settings.smtp_url is None:
        raise Undelivered("not_configured", for_good=True)
    message = _message(settings, letter, address, at)
    try:
        await aiosmtplib.send(message, timeout=_SECONDS, **_server(settings))
    except aiosmtplib.SMTPAuthenticationError as error:  # ours, not the recipient's: mend it
        raise Undelivered(f"smtp_{error.code}") from None
    except aiosmtplib.SMTPRecipientsRefused as error:
        code = error.recipients[0].code
        raise Undelivered(f"smtp_{code}", for_good=code >= _PERMANENT) from None
    except aiosmtplib.SMTPResponseException as error:
        raise Undelivered(f"smtp_{error.code}", for_good=error.code >= _PERMANENT) from None
    except (aiosmtplib.SMTPException, OSError):
        raise Undelivered("smtp_unreachable") from None


def _message(settings: Settings, letter: Letter, address: str, at: datetime) -> EmailMessage:
    """Write the e-mail; sent again it has the same Message-ID, by which it is one to its reader."""
    message = EmailMessage()
    message["From"], message["To"] = settings.mail_from, address
    message["Subject"] = letter.subject
    message["Date"] = format_datetime(at)
    domain = parseaddr(settings.mail_from)[1].rpartition("@")[2]
    message["Message-ID"] = f"<{letter.id}@{domain}>"
    message["Auto-Submitted"] = "auto-generated"
    message["Content-Language"] = "fr"
    message.set_content(letter.text)
    message.add_alternative(letter.html, subtype="html")
    return message


def _server(settings: Settings) -> dict[str, Any]:
    """Read `smtp(s)://user:password@host:port`; without TLS on this machine only."""
    assert settings.smtp_url is not None  # noqa: S101  narrows for the type checker
    parts = urlsplit(settings.smtp_url.get_secret_value())
    tls, here = parts.scheme == "smtps", parts.hostname in {"127.0.0.1", "::1", "localhost"}
    return {
        "hostname": parts.hostname,
        "port": parts.port or (_OVER_TLS if tls else _SUBMISSION),
        "username": unquote(parts.username) if parts.username else None,
        "password": unquote(parts.password) if parts.password else None,
        "use_tls": tls,
        "start_tls": not (tls or here),
        "tls_context": ssl.create_default_context(),
    }


async def _text(settings: Settings, letter: Letter, phone: str) -> None:
    if settings.sms_url is None:
        raise Undelivered("not_configured", for_good=True)
    told = {"{to}": phone, "{text}": letter.sms, "{reference}": str(letter.id)}
    token = settings.sms_token
    headers = {"Authorization": f"Bearer {token.get_secret_value()}"} if token else {}
    try:
        async with httpx.AsyncClient(timeout=_SECONDS, trust_env=False) as client:
            answer = await client.post(
                settings.sms_url.get_secret_value(),
                json=_filled(settings.sms_body, told),
                headers={**headers, "Idempotency-Key": str(letter.id)},
            )
    except httpx.HTTPError:
        raise Undelivered("sms_unreachable") from None
    if answer.is_success:
        return
    status = answer.status_code
    # What the gateway says of this number; anything else is between it and us.
    refused = status in {HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY}
    raise Undelivered(f"sms_{status}", for_good=refused)


def _filled(body: Mapping[str, str], told: Mapping[str, str]) -> dict[str, str]:
    """Put what is sent into the gateway's own members."""
    return {name: told.get(value, value) for name, value in body.items()}
