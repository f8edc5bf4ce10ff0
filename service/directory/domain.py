"""What the directory knows, the rules of its entries, and its refusals. Pure."""

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from typing import Any
from uuid import UUID

import phonenumbers
from stdnum import luhn
from stdnum.fr import siret

from service.directory.reference import Commune, distance_km
from service.identity import Actor, Role
from service.kernel.errors import Conflict, FieldError, Forbidden, Invalid, NotFound
from service.kernel.events import Origin

# Whoever writes: a caller with a token, or the operator at the command line, who has none.
Author = Actor | Origin

LOCATIONS_OF_ONE = 50
# No commune reaches so far; latitude and longitude that were swapped do.
FARTHEST_KM = 200


class OrganizationType(StrEnum):
    """Kinds of organization. `msp`, `cds`: group practices; `sos`: doctors who visit at home."""

    CPTS = "cpts"
    SAS = "sas"
    PRACTICE = "practice"
    MSP = "msp"
    CDS = "cds"
    CSNP = "csnp"
    SOS = "sos"
    PHARMACY = "pharmacy"
    EMERGENCY_DEPARTMENT = "emergency_department"
    OTHER = "other"


class PractitionerStatus(StrEnum):
    """How a practitioner works."""

    SELF_EMPLOYED = "self_employed"
    LOCUM = "locum"
    RETIRED = "retired"
    INTERN = "intern"
    EMPLOYEE = "employee"


# Only these publish slots before it is known who will see the patient.
WITHOUT_PRACTITIONER = frozenset({OrganizationType.CSNP, OrganizationType.SOS})


class TerritoryNotFound(NotFound):
    """No territory has this code."""

    code = "territory-not-found"
    title = "No territory has this code."


class CodeListNotFound(NotFound):
    """No code list has this name; `code_lists` are the names there are."""

    code = "code-list-not-found"
    title = "No code list has this name."


class OrganizationNotFound(NotFound):
    """No organization has this id."""

    code = "organization-not-found"
    title = "No organization has this id."


class PractitionerNotFound(NotFound):
    """No practitioner has this id."""

    code = "practitioner-not-found"
    title = "No practitioner has this id."


class LocationNotFound(NotFound):
    """No location has this id."""

    code = "location-not-found"
    title = "No location has this id."


class ForeignTerritory(Forbidden):
    """The territory is not the caller's."""

    code = "foreign-territory"
    title = "This territory is not yours."


class ForeignOrganization(Forbidden):
    """A doctor's side keeps the places of its own organization only."""

    code = "foreign-organization"
    title = "This organization is not yours."


class StandingNotYours(Forbidden):
    """What kind an organization is, and whose member, decides who gives rights there."""

    code = "standing-not-yours"
    title = "The kind of an organization and its communities are changed by managers of the SAS."


class AlreadyListed(Conflict):
    """The national identifier is already in the directory."""

    code = "already-listed"
    title = "The directory already lists this identifier."


class CommunityInUse(Conflict):
    """A CPTS with members stays one."""

    code = "community-in-use"
    title = "Organizations are members of this CPTS: it cannot become something else."


class DirectoryInvalid(Invalid):
    """A directory entry breaks a rule."""

    code = "directory-invalid"
    title = "This directory entry breaks a rule."


class SearchEmpty(Invalid):
    """The search for a name holds no letter and no digit."""

    code = "search-invalid"
    title = "This search cannot be answered."


# --- entries ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Territory:
    """The area of one SAS; distances in kilometres."""

    id: str
    name: str
    region: str | None
    zone: str
    default_radius_km: float
    enlargement_km: float


@dataclass(frozen=True, slots=True, kw_only=True)
class OrganizationDraft:
    """An organization as asked for. It never leaves its territory: its slots carry that."""

    territory: str
    type: str
    name: str
    finess: str | None = None
    siret: str | None = None
    commune: str | None = None
    phone: str | None = None
    cpts_ids: tuple[UUID, ...] = ()
    active: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Organization(OrganizationDraft):
    """An organization of the directory."""

    id: UUID
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PractitionerDraft:
    """A practitioner as asked for, with the places where they work."""

    rpps: str
    family_name: str
    given_name: str
    profession: str = "10"
    specialty: str | None = None
    status: str = PractitionerStatus.SELF_EMPLOYED
    territory: str
    active: bool = True
    location_ids: frozenset[UUID] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Practitioner(PractitionerDraft):
    """A practitioner of the directory."""

    id: UUID
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LocationDraft:
    """A place as asked for. It never leaves its organization: its slots carry that."""

    organization_id: UUID
    name: str
    address: str | None = None
    postal_code: str | None = None
    commune: str
    latitude: float | None = None
    longitude: float | None = None
    reduced_mobility: bool = False
    phone: str | None = None
    active: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Location(LocationDraft):
    """A place of the directory; its territory is its organization's."""

    id: UUID
    territory: str
    version: int


@dataclass(frozen=True, slots=True)
class Place:
    """Where a slot is: a location with all that the slot row copies from it."""

    location_id: UUID
    organization_id: UUID
    organization_type: str
    territory: str
    zone: str
    latitude: float
    longitude: float
    reduced_mobility: bool
    practitioner_ids: tuple[UUID, ...]


def changed_members(before: Any, after: Any) -> list[str]:
    """Return the members in which two states of one entry differ."""
    names = (field.name for field in fields(before))
    return [name for name in names if getattr(before, name) != getattr(after, name)]


def grant_communities(organization: Organization) -> list[UUID]:
    """Return the communities whose member an organization's callers are: a CPTS is its own."""
    own = [organization.id] if organization.type == OrganizationType.CPTS else []
    return list(dict.fromkeys([*own, *organization.cpts_ids]))


# --- who may write ------------------------------------------------------------------------------


def check_territory(author: Author, *territories: str) -> None:
    """Let the operator and admins write everywhere, managers at home. Refuses the others."""
    if isinstance(author, Origin) or author.role is Role.ADMIN:
        return
    if author.role is not Role.MANAGER or not set(territories) <= set(author.territories):
        raise ForeignTerritory


def check_standing(author: Author) -> None:
    """Let whoever writes, of managers those of a SAS, say what an organization is, and whose."""
    if not isinstance(author, Actor) or author.role is not Role.MANAGER:
        return
    if author.organization_type != OrganizationType.SAS:
        raise StandingNotYours


def check_place(author: Author, organization_id: UUID, territory: str) -> None:
    """Let a doctor's side write the places of its own organization; the others as above."""
    if not (isinstance(author, Actor) and author.publishes):
        check_territory(author, territory)
    elif author.organization_id != organization_id:
        raise ForeignOrganization


# --- identifiers --------------------------------------------------------------------------------


def rpps_number(text: str) -> str | None:
    """Return the 11 digits of an RPPS, bare or prefixed (IDNPS: `8` + RPPS); None if neither."""
    found = re.fullmatch(r"8?([0-9]{11})", _compact(text))
    return found[1] if found else None


def rpps_key_fits(rpps: str) -> bool:
    """Tell whether the last of the 11 digits is the Luhn key (never over the prefix)."""
    return bool(luhn.is_valid(rpps))


def finess_number(text: str) -> str | None:
    """Return a FINESS number: département or `2A`, `2B`, then seven digits; None if it is none."""
    number = _compact(text).upper()
    return number if re.fullmatch(r"[0-9A-Z]{2}[0-9]{7}", number) else None


def finess_key_fits(finess: str) -> bool:
    """Tell whether the last digit is the Luhn key; Corsica counts as 21 and 22, unlike the NIR."""
    return bool(luhn.is_valid(finess.replace("A", "1").replace("B", "2")))


def siret_number(text: str) -> str | None:
    """Return a SIRET (14 digits, both keys, La Poste's exception); None if it is none."""
    number = _compact(text)
    return number if re.fullmatch(r"[0-9]{14}", number) and siret.is_valid(number) else None


def _compact(text: str) -> str:
    return "".join(text.split())


_KEYS = {"rpps": rpps_key_fits, "finess": finess_key_fits}


def check_keys(numbers: Mapping[str, Any]) -> Iterator[FieldError]:
    """Yield which of the numbers (`rpps`, `finess`) do not end with their key."""
    for name, fits in _KEYS.items():
        number = numbers.get(name)
        if number is not None and not fits(number):
            yield FieldError(f"#/{name}", "wrong-key", "The key does not fit: a digit is mistyped.")


# Four-digit beginnings that are dialled alike but lie overseas (national numbering plan, ARCEP).
_OVERSEAS = {
    "0508": "+508",
    **dict.fromkeys(("0590", "0690", "0691"), "+590"),
    **dict.fromkeys(("0594", "0694"), "+594"),
    **dict.fromkeys(("0596", "0696", "0697"), "+596"),
    **dict.fromkeys(("0262", "0263", "0269", "0639", "0692", "0693"), "+262"),
}


_FRENCH = re.compile(r"\+33[1-9][0-9]{8}")


def phone_number(text: str) -> str | None:
    """Return a number as `+33...`, whatever its country; None if no phone has such a number."""
    if _FRENCH.fullmatch(text):  # as most are; the library takes a twentieth of a booking
        return text
    digits = re.sub(r"[\s.\-()]", "", text)
    country = _OVERSEAS.get(digits[:4])
    try:
        number = phonenumbers.parse(f"{country}{digits[1:]}" if country else digits, "FR")
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_possible_number(number):
        return None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


# --- names and places ---------------------------------------------------------------------------

_LIGATURES = str.maketrans({"œ": "oe", "Œ": "OE", "æ": "ae", "Æ": "AE"})


def words(text: str) -> list[str]:
    """Return the words of a search without accents or case: `L'Épée` gives `l`, `epee`."""
    decomposed = unicodedata.normalize("NFKD", text.translate(_LIGATURES))
    bare = "".join(c for c in decomposed if not unicodedata.combining(c))
    return re.findall(r"[a-z0-9]+", bare.lower())


def placed(draft: LocationDraft, commune: Commune) -> tuple[float, float]:
    """Return where a place is: as said, or else where its commune is."""
    if draft.latitude is None or draft.longitude is None:
        return commune.latitude, commune.longitude
    return draft.latitude, draft.longitude


def check_position(position: tuple[float, float], commune: Commune) -> Iterator[FieldError]:
    """Yield that a place is nowhere near its commune: nobody would find its slots."""
    if distance_km(*position, commune.latitude, commune.longitude) > FARTHEST_KM:
        yield FieldError(
            "#/latitude",
            "far-from-commune",
            f"This is more than {FARTHEST_KM} km from the commune.",
        )


def relocated(before: Location, changes: Mapping[str, Any]) -> Location:
    """Apply changes to a place; in another commune it no longer is where it was."""
    after = replace(before, **changes)
    if after.commune != before.commune and "latitude" not in changes:
        after = replace(after, latitude=None, longitude=None)
    return after
