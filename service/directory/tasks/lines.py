"""What lines become: entries of the directory, or a refusal with its reason. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, NamedTuple

from service.directory.domain import words

NATIONAL = "annuaire"
STRUCTURES = "structures"


class ImportRefused(Exception):
    """The import cannot be done, or not go on; the message is the sentence to show."""


class Refusal(NamedTuple):
    """Why a line is left out. `protects` are keys of what it names: none of it has vanished."""

    reason: str
    detail: str
    protects: tuple[str, ...] = ()


class Unwanted(NamedTuple):
    """A line outside of the filter, or that does not say so clearly: then it protects as well."""

    protects: tuple[str, ...] = ()


class Structure(NamedTuple):
    """Where people work: an organization and its one place, under one key."""

    key: str
    type: str
    name: str
    finess: str | None
    siret: str | None
    territory: str
    address: str | None
    postal_code: str | None
    commune: str
    latitude: float
    longitude: float


class Person(NamedTuple):
    """A practitioner as one line says."""

    rpps: str
    family_name: str
    given_name: str
    profession: str
    specialty: str | None
    status: str
    territory: str


class Activity(NamedTuple):
    """One line: a person works in a structure."""

    person: Person
    structure: Structure


@dataclass(frozen=True, slots=True)
class Filter:
    """What is wanted of a file; nothing named is everything."""

    territories: tuple[str, ...] = ()
    professions: tuple[str, ...] = ()
    specialties: tuple[str, ...] = ()

    def __str__(self) -> str:
        parts = {
            "territory": self.territories,
            "profession": self.professions,
            "specialty": self.specialties,
        }
        return ";".join(f"{name}={','.join(sorted(set(of)))}" for name, of in parts.items() if of)


def digest(*values: Any) -> int:
    """Return what an entry's source said, as 64 bits: is it what it said last time?"""
    return int.from_bytes(blake2b(repr(values).encode(), digest_size=8).digest(), signed=True)


def folded(name: str) -> str:
    """Return a column's name without accents, case and punctuation."""
    return " ".join(words(name))


def columns(
    header: Sequence[str], needed: Mapping[str, str], optional: Mapping[str, str]
) -> dict[str, int]:
    """Find columns by name: `{member: index}`; an absent optional one is one past the end.

    Refuses a missing needed one, by its name.
    """
    places: dict[str, int] = {}
    for n, name in enumerate(header):
        places.setdefault(folded(name), n)
    missing = [name for name in needed.values() if folded(name) not in places]
    if missing:
        listed = ", ".join(f"“{name}”" for name in missing)
        raise ImportRefused(f"The first line names no column {listed}.")
    return {
        member: places.get(folded(name), len(header))
        for member, name in {**needed, **optional}.items()
    }
