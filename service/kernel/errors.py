"""Refusals: named facts in a few families, without HTTP status.

A room's error picks one family and a stable `code`; each face renders families its own way
(problem+json, OperationOutcome, page). Details never hold anything about a patient.

    DomainError
    ├── Unauthenticated       who is calling is not proven (any more)
    ├── Forbidden             this caller may not do this
    ├── NotFound              does not exist, or not for this caller
    ├── Conflict              lost race, or the state does not allow it; says what blocks
    ├── Invalid               a rule is broken by the input; says where and what
    ├── Malformed             the input cannot be read at all
    ├── BodyTooLarge          more than is read
    ├── AddressTooLong        a path and query of more than is read
    ├── HeadTooLarge          headers of more than are read
    ├── TooSlow               the request did not arrive in time
    ├── UnsupportedMediaType  not a form of input that is read
    ├── PreconditionRequired  a version must be named
    ├── PreconditionFailed    the named version is stale
    ├── TooMany               slow down
    └── Unavailable           try again later: nothing was done, or the answer was lost
"""

import re
from dataclasses import dataclass
from typing import ClassVar

_NAME = re.compile(r"[a-z][a-z0-9_/~-]{0,39}")


def told_name(sent: str) -> str:
    """Return a name that the caller made up, such as a misspelt member's, if it may be told.

    What does not look like a name of ours may be a person's.
    """
    return sent if _NAME.fullmatch(sent) else "?"


@dataclass(frozen=True, slots=True)
class FieldError:
    """One thing wrong in the input: where (JSON pointer, or `parameter`/`header` name) and what."""

    pointer: str
    code: str
    detail: str


class DomainError(Exception):
    """Base of every refusal. `code` is stable and documented; `extra` holds what blocks."""

    code: ClassVar[str]
    title: ClassVar[str]
    # Final, without a look at what its Idempotency-Key stands for: the statement itself saw that
    # it was never used, or the database is not there to be asked.
    settled = False

    def __init__(self, detail: str | None = None, **extra: object) -> None:
        super().__init__(detail or self.title)
        self.detail = detail
        self.extra = extra


class Unauthenticated(DomainError):
    """Who is calling is not proven."""

    code = "unauthenticated"
    title = "A valid access token is required."


class Forbidden(DomainError):
    """The caller may not do this."""

    code = "forbidden"
    title = "This caller may not do this."


class NotFound(DomainError):
    """Does not exist, or not for this caller: the two are told in the same words."""

    code = "not-found"
    title = "Nothing here for this caller."


class Conflict(DomainError):
    """Lost race, or a state that does not allow it."""

    code = "conflict"
    title = "The current state does not allow this."


class Invalid(DomainError):
    """A rule is broken by the input."""

    code = "invalid"
    title = "The request breaks a rule."

    def __init__(self, *errors: FieldError, detail: str | None = None, **extra: object) -> None:
        super().__init__(detail, **extra)
        self.errors = errors


class Malformed(Invalid):
    """The input cannot be read at all."""

    code = "malformed"
    title = "The request cannot be read."


class BodyTooLarge(DomainError):
    """The body is larger than `SNP_MAX_BODY_BYTES`."""

    code = "body-too-large"
    title = "The body is too large."


class AddressTooLong(DomainError):
    """The path and the query are longer than 8 KiB."""

    code = "address-too-long"
    title = "The address (path and query) is longer than 8 KiB."


class HeadTooLarge(DomainError):
    """The headers are larger than 32 KiB."""

    code = "head-too-large"
    title = "The headers are larger than 32 KiB."


class TooSlow(DomainError):
    """The request was not there 20 seconds after it had begun."""

    code = "too-slow"
    title = "The request did not arrive within 20 seconds."


class UnsupportedMediaType(DomainError):
    """The body is not JSON by its Content-Type."""

    code = "unsupported-media-type"
    title = "Send JSON: Content-Type: application/json."


class PreconditionRequired(DomainError):
    """A version must be named with `If-Match`."""

    code = "precondition-required"
    title = "Send If-Match with the version you read (the ETag of the last answer)."


class PreconditionFailed(DomainError):
    """The version named with `If-Match` is stale."""

    code = "version-mismatch"
    title = "It changed since you read it: read it again, then decide."


class TooMany(DomainError):
    """Too many requests, or too many things held at once."""

    code = "too-many"
    title = "Too many at once."


class Unavailable(DomainError):
    """Try again: nothing was done, or the answer was lost (an Idempotency-Key makes that safe)."""

    code = "temporarily-unavailable"
    title = "The service cannot answer just now. Try again in a moment."
    settled = True  # asking would wait twice for a full pool, and call one's own commit a replay

    def __init__(self, detail: str | None = None, *, retry_after: int = 2, **extra: object) -> None:
        super().__init__(detail, **extra)
        self.retry_after = retry_after


class ReadOnly(Unavailable):
    """The operator has switched changes off (`SNP_READ_ONLY`), for a migration or a restore."""

    code = "read-only"
    title = "Maintenance: reading works, nothing can be changed. Try again in a few minutes."

    def __init__(self) -> None:
        super().__init__(retry_after=60)
