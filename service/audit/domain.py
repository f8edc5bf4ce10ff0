"""Traces, and the chain of seals over them. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from hashlib import sha256
from typing import Any
from uuid import UUID

import orjson

from service.kernel.errors import FieldError, Invalid
from service.kernel.settings import Settings

DIGEST_BYTES = 32
GENESIS = bytes(DIGEST_BYTES)  # what the first seal continues
NOBODY = bytes(DIGEST_BYTES)  # in the place of a digest: nothing there names a person
FORM = 1  # which columns a digest is made of, and how: `repository`
TOMBSTONES = "tombstones"

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
    times: int


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


class Gone(StrEnum):
    """What was taken from a sealed range, and stands in a tombstone."""

    PRUNED = "pruned"  # its lines
    ERASED = "erased"  # who did it, from where, in which case: what names a person


@dataclass(frozen=True, slots=True)
class Limit:
    """How long something of a table of traces is kept: an interval of PostgreSQL."""

    gone: Gone
    source: str
    kept: str


def limits(settings: Settings) -> Sequence[Limit]:
    """Return every limit of traces (identity-security.md, 4.5), in the order they are applied."""
    months = {
        "access_log": settings.retention_access_months,
        "events": settings.retention_decision_months,
    }
    persons = settings.retention_reference_months
    return (
        *(Limit(Gone.ERASED, of, f"{persons} months") for of in months if persons < months[of]),
        *(Limit(Gone.PRUNED, of, f"{kept} months") for of, kept in months.items()),
    )


@dataclass(frozen=True, slots=True)
class Line:
    """One row of a table of traces, as a seal keeps it.

    `named` is the digest of what names a person, `NOBODY` where nothing does.
    """

    id: UUID
    digest: bytes
    named: bytes
    occurred_at: datetime


@dataclass(frozen=True, slots=True)
class Seal:
    """A closed interval of transactions of one table: its rows, chained to the seal before.

    Or, with a `tombstone`, what was taken from seals before. What a seal holds of its lines may go
    with them: the chain is made of hashes of it, which stay. The salt keeps a hash that outlives
    what named a person from being guessed.
    """

    position: int
    source: str
    form: int
    from_xid: int
    to_xid: int
    complete: bool
    sealed_at: datetime
    rows: int
    row_ids: Sequence[UUID] | None
    row_digests: bytes | None
    named_salt: bytes | None
    named_digests: bytes | None
    tombstone: Mapping[str, Any] | None
    lines_hash: bytes
    named_hash: bytes
    previous: bytes
    hash: bytes = b""
    mac: bytes | None = None

    def computed(self) -> bytes:
        """Return the SHA-256 over the seal before and everything that this one says."""
        instant = (self.sealed_at - _EPOCH) // timedelta(microseconds=1)
        said = [
            *(self.position, self.source, self.form, self.from_xid, self.to_xid, self.complete),
            *(instant, self.rows, self.tombstone),
        ]
        words = orjson.dumps(said, option=orjson.OPT_SORT_KEYS)
        return sha256(self.previous + words + self.lines_hash + self.named_hash).digest()

    def holds(self) -> bool:
        """Tell whether all of it, and what is kept of its lines, is what its hashes say."""
        lines = self.row_ids is None or _of_lines(self.row_ids, self.row_digests) == self.lines_hash
        named = _of_named(self.named_salt, self.named_digests) == self.named_hash
        return self.computed() == self.hash and lines and (self.named_digests is None or named)

    def digests(self) -> dict[UUID, tuple[bytes, bytes]]:
        """Return the two digests of each row; of nobody, where who did it was erased."""
        ids, held = self.row_ids or (), self.row_digests or b""
        named = NOBODY * len(ids) if self.named_digests is None else self.named_digests
        cuts = [slice(n * DIGEST_BYTES, (n + 1) * DIGEST_BYTES) for n in range(len(ids))]
        return {row_id: (held[cut], named[cut]) for row_id, cut in zip(ids, cuts, strict=True)}


def _of_lines(row_ids: Sequence[UUID], row_digests: bytes | None) -> bytes:
    return sha256(b"".join(row_id.bytes for row_id in row_ids) + (row_digests or b"")).digest()


def _of_named(salt: bytes | None, digests: bytes | None) -> bytes:
    return sha256((salt or b"") + (digests or b"")).digest()


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
    # What seals lack, until a tombstone says so; and what tombstones have said.
    lacking: set[tuple[str, int]] = field(default_factory=set)
    tombstones: list[Mapping[str, Any]] = field(default_factory=list)

    def link(
        self,
        source: str,
        interval: tuple[int, int],
        lines: Sequence[Line] = (),
        *,
        complete: bool,
        at: datetime,
        salt: bytes,
        tombstone: Mapping[str, Any] | None = None,
    ) -> Seal:
        """Return the seal that follows, without its MAC."""
        row_ids, named = [line.id for line in lines], b"".join(line.named for line in lines)
        digests = b"".join(line.digest for line in lines)
        new = Seal(
            position=self.position + 1,
            source=source,
            form=FORM,
            from_xid=interval[0],
            to_xid=interval[1],
            complete=complete,
            sealed_at=at,
            rows=len(row_ids),
            row_ids=row_ids,
            row_digests=digests,
            named_salt=salt,
            named_digests=named,
            tombstone=tombstone,
            lines_hash=_of_lines(row_ids, digests),
            named_hash=_of_named(salt, named),
            previous=self.head,
        )
        return replace(new, hash=new.computed())

    def follow(self, seal: Seal, mac: bytes | None) -> Iterator[Finding]:
        """Yield what is wrong with the next seal; `mac` is what it should have, if a key is here.

        The chain goes on from what the seal says of itself, so that one fault is told once.
        """
        where = f"seal {seal.position}"
        if seal.position != self.position + 1:
            yield Finding(where, f"removed: the seals after {self.position}, before this one")
        elif seal.previous != self.head:
            yield Finding(where, "it does not continue the seal before it")
        if seal.form != FORM:
            yield Finding(where, f"of a form that this version cannot verify: {seal.form}")
        elif not seal.holds():
            yield Finding(where, "changed: it is not what its hash says")
        if mac is not None and seal.mac not in {None, mac}:
            yield Finding(where, "not made with this installation's key `audit`")
        if self.keyed and seal.mac is None:
            yield Finding(where, "made without the key, after seals that were made with it")
        if seal.from_xid != self.reached.get(seal.source, 0):
            yield Finding(where, f"it does not begin where {seal.source} was sealed up to")
        self._remember(seal)

    def _remember(self, seal: Seal) -> None:
        self.head, self.position = seal.hash, seal.position
        self.keyed = self.keyed or seal.mac is not None
        self.reached[seal.source] = seal.to_xid
        if seal.row_ids is None:
            self.lacking.add((Gone.PRUNED, seal.position))
        elif seal.named_digests is None:
            self.lacking.add((Gone.ERASED, seal.position))
        if seal.tombstone is not None:
            self.tombstones.append(seal.tombstone)
            self.lacking -= {(seal.tombstone["gone"], n) for n in seal.tombstone["seals"]}

    def compare(self, seal: Seal, found: Sequence[Line]) -> Iterator[Finding]:
        """Yield which rows are not what the seal says."""
        sealed = seal.digests()
        since = self.complete_at.get(seal.source)
        for line in found:
            where = f"{seal.source} {line.id} (seal {seal.position})"
            digests = sealed.pop(line.id, None)
            if digests is None:
                yield Finding(where, "inserted after it was sealed")
            elif digests != (line.digest, line.named):
                yield Finding(where, "changed")
            elif since and line.occurred_at < since - _LONGEST_TRANSACTION:
                told = f"it was written after {since:%Y-%m-%d %H:%M} UTC, and claims to be older"
                yield Finding(where, f"inserted: {told}")
        for row_id in sealed:
            yield Finding(f"{seal.source} {row_id} (seal {seal.position})", "removed")
        if seal.complete:
            self.complete_at[seal.source] = seal.sealed_at

    def end(self) -> Iterator[Finding]:
        """Yield what seals lack though no tombstone says so."""
        for gone, position in sorted(self.lacking, key=lambda one: one[1]):
            yield Finding(f"seal {position}", f"{gone}, and no tombstone says so")


class NotAsSealed(Exception):
    """What was changed since it was sealed is evidence: it is not taken away."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(f"Nothing is taken from a range that is not as it was sealed: {finding}.")
