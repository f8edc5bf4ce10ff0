"""People, as others prove or assert them: identifiers, professions. Pure rules.

Formats: identifiers of the national registers (IDNPS, nomenclature TRE_G08), and any other pair of
a system and a value.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Self
from uuid import UUID

from stdnum import luhn

from service.identity.domain import Actor, Role
from service.kernel.errors import FieldError, Invalid

IDNPS = "urn:oid:1.2.250.1.71.4.2.1"
SAS = "urn:oid:1.2.250.1.213.3.6"
ASSERTED = "asserted"
# Where people come from who are known by what the national platform says of them.
THROUGH_SAS = "sas"

# Which profession (TRE_G15) a role takes, where somebody proves professions. No profession gives
# a role: that is what grants are for.
PROFESSIONS: Mapping[Role, frozenset[str]] = {
    Role.REGULATOR: frozenset({"10"}),
    Role.PHARMACIST: frozenset({"21"}),
    Role.EMERGENCY_NURSE: frozenset({"60"}),
}


class IdentifierInvalid(Invalid):
    """An identifier is not what its system calls one."""

    code = "identifier-invalid"
    title = "This is no identifier of that system."


@dataclass(frozen=True, slots=True)
class Identifier:
    """What names one person in one system."""

    system: str
    value: str

    @classmethod
    def of_rpps(cls, rpps: str) -> Self:
        """Return what the national registers call whoever has this RPPS."""
        return cls(IDNPS, f"8{rpps}")


@dataclass(frozen=True, slots=True)
class Account:
    """A person who has, or had, a right here."""

    id: UUID
    family_name: str | None
    given_name: str | None
    identifiers: tuple[Identifier, ...]


@dataclass(frozen=True, slots=True)
class Exercise:
    """One profession that a person exercises: profession, category (civil, ...), specialty."""

    profession: str
    category: str = ""
    specialty: str = ""

    @property
    def code(self) -> str:
        """What a caller chooses it by: `10C/SM54`; its beginning is enough while it is clear."""
        return "/".join(filter(None, (self.profession + self.category, self.specialty)))


@dataclass(frozen=True, slots=True)
class ProvenPerson:
    """A person as an issuer proves them.

    `proof` is the issuer's name in the settings; `exercises` is None if it does not tell any.
    """

    identifier: Identifier
    proof: str
    family_name: str | None = None
    given_name: str | None = None
    email: str | None = None
    acr: str | None = None
    exercises: tuple[Exercise, ...] | None = None


@dataclass(frozen=True, slots=True)
class SubjectToken:
    """A token of another issuer: whom it proves, and where that issuer is believed.

    `digest` is what it is known by, `ends_at` when it is worth nothing more. `territories` may be
    `*`: all; without `organizations`, all of them there.
    """

    person: ProvenPerson
    digest: bytes
    ends_at: datetime
    territories: tuple[str, ...]
    organizations: tuple[UUID, ...] = ()

    def is_believed(self, organization_id: UUID, territories: Sequence[str]) -> bool:
        """Tell whether its issuer may prove who has a right of an organization, in territories."""
        there = "*" in self.territories or set(territories) <= set(self.territories)
        return there and (not self.organizations or organization_id in self.organizations)


def named(person: ProvenPerson, exercise: Exercise | None) -> dict[str, str]:
    """Return what tokens and events keep of a proven person."""
    kept = {
        "proof": person.proof,
        "system": person.identifier.system,
        "id": person.identifier.value,
        "family_name": person.family_name,
        "given_name": person.given_name,
        "email": person.email,
        "acr": person.acr,
        "exercise": exercise.code if exercise else None,
    }
    return {name: value for name, value in kept.items() if value}


def choose(exercises: Sequence[Exercise], wanted: str | None) -> list[Exercise]:
    """Return the exercises that a code (`10C`) names; without one all of them."""
    distinct = dict.fromkeys(exercises)
    if wanted is None:
        return [*distinct]
    return [one for one in distinct if wanted in {one.code, one.code.partition("/")[0]}]


def may_act_as(role: Role, person: ProvenPerson, exercise: Exercise | None) -> bool:
    """Tell whether a person's proven profession, where it is told, is one of the role's."""
    needed = PROFESSIONS.get(role)
    if needed is None or person.exercises is None:
        return True
    return exercise is not None and exercise.profession in needed


# --- identifiers --------------------------------------------------------------------------------


def identifier(system: str, value: str, *, check_key: bool) -> Identifier:
    """Read an identifier; those of the national registers become IDNPS, whatever their form.

    `system` is a URI, or `rpps`, `adeli`, `idnps`, `sas` for short; `check_key` says whether an
    RPPS must end with its key. Refusals: `identifier-invalid`.
    """
    read = _SYSTEMS.get(system)
    if read is not None:
        found = read(value.strip())
        if found is None:
            raise _refused("value", "Not of the form that this system has.")
        if check_key and _is_rpps(found) and not luhn.is_valid(found.value[1:]):
            raise _refused("value", "The key does not fit: a digit is mistyped.")
        return found
    if not re.fullmatch(r"(https?://|urn:)[\x21-\x7e]{1,190}", system):
        raise _refused("system", f"A system is a URI, or one of {', '.join(_SHORT)}.")
    if not re.fullmatch(r"[^\x00-\x1f\x7f]{1,200}", value):
        raise _refused("value", "1 to 200 characters, none of them a control character.")
    return Identifier(system, value)


def _refused(pointer: str, sentence: str) -> IdentifierInvalid:
    return IdentifierInvalid(FieldError(pointer, IdentifierInvalid.code, sentence))


def _is_rpps(found: Identifier) -> bool:
    return found.system == IDNPS and re.fullmatch(r"8\d{11}", found.value) is not None


def _rpps(value: str) -> Identifier | None:
    digits = re.fullmatch(r"8?([0-9]{11})", re.sub(r"[ .]", "", value))
    return Identifier.of_rpps(digits[1]) if digits else None


def _adeli(value: str) -> Identifier | None:
    number = re.fullmatch(r"0?([0-9A-Z]{9})", value.replace(" ", "").upper())
    return Identifier(IDNPS, f"0{number[1]}") if number else None


def _idnps(value: str) -> Identifier | None:
    """An RPPS (8), ADELI (0) or structure's number (3: FINESS and `/`), or one of test people."""
    if value.startswith("8"):
        return _rpps(value) if re.fullmatch(r"8[0-9]{11}", value) else None
    known = r"0[0-9A-Z]{9}|3[0-9A-Z]{9}/[0-9A-Za-z]{1,20}|[1456][0-9A-Z]+/[0-9A-Za-z]+"
    shaped = re.fullmatch(rf"{known}|[A-Z][0-9A-Za-z._/-]{{4,}}", value)
    return Identifier(IDNPS, value) if shaped and len(value) <= 64 else None  # noqa: PLR2004  no id is longer


def _sas(value: str) -> Identifier | None:
    """A UUID as a rule, which nobody promises; of two that differ in case, one is the other."""
    return Identifier(SAS, value.lower()) if re.fullmatch(r"[\x21-\x7e]{1,64}", value) else None


_SHORT: Mapping[str, Callable[[str], Identifier | None]] = {
    "rpps": _rpps,
    "adeli": _adeli,
    "idnps": _idnps,
    "sas": _sas,
}
_SYSTEMS: Mapping[str, Callable[[str], Identifier | None]] = {
    **_SHORT,
    "https://rpps.esante.gouv.fr": _rpps,
    IDNPS: _idnps,
    SAS: _sas,
}


# Stands for software and right where somebody comes by a link that we signed ourselves.
LINK = UUID(int=0)


def by_link(
    *,
    practitioner_id: UUID,
    rpps: str,
    organization_id: UUID,
    organization_type: str,
    territory: str,
) -> Actor:
    """Return the doctor whom a signed link was sent to: whoever has the link may use it.

    That it was this person is said by the link alone, and so is asserted.
    """
    return Actor(
        client_id=LINK,
        client_name="link",
        grant_id=LINK,
        grant_revision=0,
        role=Role.DOCTOR,
        organization_id=organization_id,
        organization_type=organization_type,
        territories=(territory,),
        practitioner_ids=(practitioner_id,),
        person={"system": "rpps", "id": rpps, "proof": ASSERTED},
    )
