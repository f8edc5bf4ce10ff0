"""Optimistic concurrency: the version that a caller says it read (`If-Match`)."""

from dataclasses import dataclass

from service.kernel.errors import PreconditionFailed, PreconditionRequired


@dataclass(frozen=True, slots=True)
class Expected:
    """The versions a caller accepts: `None` = it named none, empty = any (`*`)."""

    versions: frozenset[int] | None

    def check(self, version: int, *, required: bool) -> None:
        """Refuse a stale version, and a missing one where it is required."""
        if self.versions is None:
            if required:
                raise PreconditionRequired
            return
        if self.versions and version not in self.versions:
            raise PreconditionFailed
