"""Signed links to the report of one booking, for the doctor whom it was with when it was sent.

The link is the right: booking, practitioner and end, with an HMAC of its own purpose
(`Vault.link_keys`). It names nobody but by ids, and is worth nothing once the booking is with
somebody else.
"""

import base64
import hmac
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from uuid import UUID

LASTS = timedelta(days=30)
_SAID = struct.Struct(">16s16sQ")
_LENGTH = (_SAID.size + sha256().digest_size) * 4 // 3


@dataclass(frozen=True, slots=True)
class Link:
    """What a link lets do: report this booking as this practitioner, until then."""

    booking_id: UUID
    practitioner_id: UUID
    until: datetime


def sign(keys: Sequence[bytes], booking_id: UUID, practitioner_id: UUID, ends_at: datetime) -> str:
    """Return the token of a link that lasts until 30 days after the appointment."""
    until = int((ends_at + LASTS).timestamp())
    said = _SAID.pack(booking_id.bytes, practitioner_id.bytes, until)
    return base64.urlsafe_b64encode(said + _mac(keys[0], said)).decode()


def read(keys: Sequence[bytes], token: str) -> Link | None:
    """Return what a token says; None unless one of the keys made it. It may be over."""
    if len(token) != _LENGTH:
        return None
    try:
        content = base64.b64decode(token, altchars=b"-_", validate=True)
    except ValueError:
        return None
    said, mac = content[: _SAID.size], content[_SAID.size :]
    if not any(hmac.compare_digest(_mac(key, said), mac) for key in keys):
        return None
    booking, practitioner, until = _SAID.unpack(said)
    return Link(UUID(bytes=booking), UUID(bytes=practitioner), datetime.fromtimestamp(until, UTC))


def _mac(key: bytes, said: bytes) -> bytes:
    return hmac.digest(key, said, sha256)
