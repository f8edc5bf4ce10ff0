"""What others are told of free slots who send people to them, but see nothing for themselves.

The national platform asks for all regulation staff of its territories. Pure: no I/O, no clock.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Community:
    """A CPTS whose members are admitted, with the FINESS that tells which it is."""

    id: UUID
    name: str
    finess: str
    phone: str | None


@dataclass(frozen=True, slots=True)
class FreeSlot:
    """Room that somebody may be sent to: the labels that say so, and the communities of `CPTS`.

    Its id and its instants (milliseconds, offset of the place) as they are written: hundreds are
    told at once, each only to be written again.
    """

    id: str
    starts_at: str
    ends_at: str
    modes: tuple[str, ...]
    specialty: str | None
    walk_in: bool
    labels: tuple[str, ...]
    communities: tuple[Community, ...]


@dataclass(frozen=True, slots=True)
class FreeAgenda:
    """The free slots of one practitioner at one place, by start.

    `finess` and `siret` are those of the place's organization.
    """

    practitioner: Mapping[str, Any]
    location: Mapping[str, Any]
    finess: str | None
    siret: str | None
    slots: tuple[FreeSlot, ...]


@dataclass(frozen=True, slots=True)
class Structure:
    """Whose a consultation point is."""

    id: UUID
    name: str
    siret: str


@dataclass(frozen=True, slots=True)
class FreePoint:
    """The free slots of a consultation point (SOS Médecins), whoever receives there, by start."""

    location: Mapping[str, Any]
    organization: Structure
    slots: tuple[FreeSlot, ...]


@cache
def admitting(labels: tuple[str, ...], *, narrowed: bool, told: bool) -> tuple[str, ...]:
    """Return the labels that let the platform's people in, in the order of publication.

    PRO and CPTS narrowed to some houses are not for them; CPTS needs a community that is told.
    """
    shut = {"PRO", "CPTS"} if narrowed else set()
    if not told:
        shut.add("CPTS")
    return tuple(label for label in labels if label not in shut)
