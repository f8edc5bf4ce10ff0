"""Traces, and the chain of seals over them. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from hashlib import sha256
from uuid import UUID

import orjson

from service.kernel.errors import FieldError, Invalid

DIGEST_BYTES = 32
GENESIS = bytes(DIGEST_BYTES)  # what the first seal continues

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

WINDOW = timedelta(days=31)
DAY = timedelta(days=1)
# A line written now with an older time than this before the last complete seal was not written by
# the service: no transaction of it lasts so long.
_LONGEST_TRANSACTION = timedelta(hours=1)


class BreakGlass(StrEnum):
    """Why somebody opens a file that they may not see: a closed list, so that it names nobody."""

    VITAL_EMERGENCY = "vital_emergency"
    PATIENT_UNABLE = "patient_unable"
    CONTINUITY_OF_CARE = "continuity_of_care"


class AuditInvalid(Invalid):
    """The question to the traces breaks a rule."""

    code = "audit-invalid"
    title = "The traces cannot be asked this."


@dataclass(frozen=True, slots=True)
class Trace:
    """Who read or changed what, when, why, in which request; or was refused.

    `subject_ids` are pseudonyms: ids of patient files, bookings and of whatever else changed.
    `result` is `shown`, `done`, or the code of a refusal.
    """

    id: UUID
    occurred_at: datetime
    operation: str
    result: str
    subject_ids: Sequence[UUID]
    territories: Sequence[str]
    client_id: UUID | None
    grant_id: UUID | None
    role: str | None
    organization_id: UUID | None
    person: Mapping[str, str] | None
    purpose: str | None
    address: str | None
    correlation_id: str | None
    break_glass: str | None


def window(
    from_: datetime | None, to: datetime | None, now: datetime, *, open_ended: bool
) -> tuple[datetime | None, datetime | None]:
    """Return the window to look through: the last day, unless said; at most 31 days.

    `open_ended`: any window, for what an index finds anyway. Refuses with `audit-invalid`.
    """
    if open_ended:
        return from_, to
    end = to or now
    start = from_ or end - DAY
    if not start < end <= start + WINDOW:
        raise AuditInvalid(
            FieldError("to", "window", "The window ends after it starts, within 31 days.")
        )
    return start, end


# --- the chain ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Line:
    """One row of a table of traces, as a seal keeps it."""

    id: UUID
    digest: bytes
    occurred_at: datetime


@dataclass(frozen=True, slots=True)
class Seal:
    """A closed interval of transactions of one table: its rows, chained to the seal before."""

    position: int
    source: str
    from_xid: int
    to_xid: int
    complete: bool
    sealed_at: datetime
    row_ids: Sequence[UUID]
    row_digests: bytes
    previous: bytes
    hash: bytes = b""
    mac: bytes | None = None

    def computed(self) -> bytes:
        """Return the SHA-256 over the seal before and everything that this one says."""
        instant = (self.sealed_at - _EPOCH) // timedelta(microseconds=1)
        said = [self.position, self.source, self.from_xid, self.to_xid, self.complete, instant]
        ids = b"".join(row_id.bytes for row_id in self.row_ids)
        return sha256(self.previous + orjson.dumps(said) + ids + self.row_digests).digest()

    def digests(self) -> dict[UUID, bytes]:
        """Return the digest of each row."""
        held = self.row_digests
        return {
            row_id: held[n * DIGEST_BYTES : (n + 1) * DIGEST_BYTES]
            for n, row_id in enumerate(self.row_ids)
        }


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it was written: what, and where."""

    where: str
    told: str

    def __str__(self) -> str:
        return f"{self.where}: {self.told}"


@dataclass(slots=True)
class Chain:
    """Walks along the seals, from the first one on, and remembers where it stands."""

    head: bytes = GENESIS
    position: int = 0
    keyed: bool = False
    # Of each table: up to which transaction it is sealed, and when nothing was left to seal.
    reached: dict[str, int] = field(default_factory=dict)
    complete_at: dict[str, datetime] = field(default_factory=dict)

    def follow(self, seal: Seal, mac: bytes | None) -> Iterator[Finding]:
        """Yield what is wrong with the next seal; `mac` is what it should have, if a key is here.

        The chain goes on from what the seal says of itself, so that one fault is told once.
        """
        where = f"seal {seal.position}"
        if seal.position != self.position + 1:
            yield Finding(where, f"removed: the seals after {self.position}, before this one")
        elif seal.previous != self.head:
            yield Finding(where, "it does not continue the seal before it")
        if seal.computed() != seal.hash:
            yield Finding(where, "changed: it is not what its hash says")
        if mac is not None and seal.mac not in {None, mac}:
            yield Finding(where, "not made with this installation's key `audit`")
        if self.keyed and seal.mac is None:
            yield Finding(where, "made without the key, after seals that were made with it")
        if seal.from_xid != self.reached.get(seal.source, 0):
            yield Finding(where, f"it does not begin where {seal.source} was sealed up to")
        self.head, self.position = seal.hash, seal.position
        self.keyed = self.keyed or seal.mac is not None
        self.reached[seal.source] = seal.to_xid

    def compare(self, seal: Seal, found: Sequence[Line]) -> Iterator[Finding]:
        """Yield which rows are not what the seal says."""
        sealed = seal.digests()
        since = self.complete_at.get(seal.source)
        for line in found:
            where = f"{seal.source} {line.id} (seal {seal.position})"
            digest = sealed.pop(line.id, None)
            if digest is None:
                yield Finding(where, "inserted after it was sealed")
            elif digest != line.digest:
                yield Finding(where, "changed")
            elif since and line.occurred_at < since - _LONGEST_TRANSACTION:
                told = f"it was written after {since:%Y-%m-%d %H:%M} UTC, and claims to be older"
                yield Finding(where, f"inserted: {told}")
        for row_id in sealed:
            yield Finding(f"{seal.source} {row_id} (seal {seal.position})", "removed")
        if seal.complete:
            self.complete_at[seal.source] = seal.sealed_at
