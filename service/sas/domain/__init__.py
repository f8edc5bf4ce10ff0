"""Regulators as SAS describes them, and which of them a description means. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from uuid import UUID

from service.identity import IDNPS, SAS, Identifier, Role
from service.kernel.errors import Conflict, Invalid, Malformed, PreconditionFailed

# SAS tells of no profession: whoever regulates there may find, hold and book, and decides nothing
# that is a doctor's to decide.
ROLE = Role.OSNP


class RegulatorUnreadable(Malformed):
    """What was sent describes nobody: something is missing, or is not what it should be."""

    code = "regulator-unreadable"
    title = "This is no description of a regulator."


class RegulatorInvalid(Invalid):
    """What was sent can be read, and breaks a rule of the guide."""

    code = "regulator-invalid"
    title = "The description of the regulator breaks a rule."


class RegulatorExists(Conflict):
    """The identifier belongs to somebody else who is active, or was created before."""

    code = "regulator-exists"
    title = "Somebody else has this identifier."


class SeveralRegulators(PreconditionFailed):
    """The condition of a conditional update is met by several."""

    code = "several-regulators"
    title = "Several regulators have such an identifier: name its system."


@dataclass(frozen=True, slots=True)
class Sought:
    """What a search for an identifier names; without a system: of whichever system."""

    value: str
    system: str | None = None

    @classmethod
    def read(cls, token: str) -> "Sought":
        """Read `system|value`, or `value`."""
        system, bar, value = token.rpartition("|")
        return cls(value, system) if bar else cls(value)


@dataclass(frozen=True, slots=True)
class RegulatorDraft:
    """All of somebody, as SAS says: with one number at least, and at most one of each kind."""

    identifiers: tuple[Identifier, ...]
    active: bool
    family_name: str
    given_name: str
    email: str

    def number(self, system: str) -> str | None:
        """Return their number in a system."""
        return next((one.value for one in self.identifiers if one.system == system), None)


@dataclass(frozen=True, slots=True)
class Regulator:
    """Somebody whom SAS told us of; `account_id` is who they are in `identity`."""

    id: UUID
    account_id: UUID | None
    active: bool
    national: str | None
    technical: str | None


def _key(one: Identifier) -> str:
    return one.value.lower() if one.system == SAS else one.value


def known_as(identifiers: Sequence[Identifier]) -> Iterator[Identifier]:
    """Yield what identifiers are in `identity`, the national one first."""
    for one in sorted(identifiers, key=lambda found: found.system != IDNPS):
        yield Identifier(one.system, _key(one))
