"""The free national extract (Annuaire Santé, `PS_LibreAcces_Personne_activite`), line by line.

One line per activity of a person; fields between `|`, without quotes; the header names them. Lines
that came through a spreadsheet, each field between quotes, are read too. The source is the
authority on its numbers: their form is checked, not their keys.
"""

import csv
import re
from operator import itemgetter
from typing import NamedTuple

from service.directory import reference
from service.directory.domain import (
    OrganizationType,
    PractitionerStatus,
    finess_number,
    rpps_number,
)
from service.directory.reference import Commune
from service.directory.tasks.lines import (
    Activity,
    Filter,
    ImportRefused,
    Person,
    Refusal,
    Structure,
    Unwanted,
    columns,
)

SEPARATOR = "|"

_NEEDED = {
    "identifier": "Identifiant PP",
    "family_name": "Nom d'exercice",
    "given_name": "Prénom d'exercice",
    "profession": "Code profession",
    "skill": "Code savoir-faire",
    "siret": "Numéro SIRET site",
    "finess": "Numéro FINESS site",
    "technical": "Identifiant technique de la structure",
    "legal_name": "Raison sociale site",
    "postal_code": "Code postal (coord. structure)",
    "commune": "Code commune (coord. structure)",
}
_OPTIONAL = {
    "kind": "Type d'identifiant PP",
    "category": "Code catégorie professionnelle",
    "mode": "Code mode exercice",
    "sign": "Enseigne commerciale site",
    "point": "Complément point géographique (coord. structure)",
    "number": "Numéro Voie (coord. structure)",
    "letter": "Indice répétition voie (coord. structure)",
    "way": "Libellé type de voie (coord. structure)",
    "street": "Libellé Voie (coord. structure)",
    "mention": "Mention distribution (coord. structure)",
    "department": "Code Département (structure)",
    "national": "Ancien identifiant de la structure",
    "sector": "Code secteur d'activité",
    "section": "Code section tableau pharmaciens",
}

_RPPS = "8"  # type of identifier (TRE_G08); 0 is ADELI
_PROFESSION = re.compile("[0-9]{2}")
_PHARMACIST, _OFFICINES = "21", frozenset("AD")
_PHARMACY = "SA33"  # sectors of activity (TRE_R02)
_HOSPITALS = frozenset({"SA01", "SA02", "SA03", "SA04"})
_OVERSEAS = ("97", "98")
_FINESS_LENGTH = 9


class _Row(NamedTuple):
    """The fields of a line that are read, by name."""

    identifier: str
    family_name: str
    given_name: str
    profession: str
    skill: str
    siret: str
    finess: str
    technical: str
    legal_name: str
    postal_code: str
    commune: str
    kind: str
    category: str
    mode: str
    sign: str
    point: str
    number: str
    letter: str
    way: str
    street: str
    mention: str
    department: str
    national: str
    sector: str
    section: str


class Reader:
    """Reads the lines below one header, in whatever order it names its columns."""

    def __init__(self, header: str, wanted: Filter, territories: frozenset[str]) -> None:
        names = _fields(header)
        if len(names) == 1:
            raise ImportRefused("This is no national extract: its fields stand between “|”.")
        self._width = len(names)
        found = columns(names, _NEEDED, _OPTIONAL)
        self._pick = itemgetter(*(found[member] for member in _Row._fields))
        self._known = territories
        self._territories = frozenset(wanted.territories)
        self._professions = frozenset(wanted.professions)
        self._specialties = frozenset(wanted.specialties)

    def read(self, line: str) -> Activity | Refusal | Unwanted:
        """Return what a line says."""
        fields = _fields(line)
        if len(fields) != self._width and not (len(fields) == self._width + 1 and not fields[-1]):
            return Refusal("fields", f"{len(fields)} instead of {self._width}")
        if "\0" in line:
            return Refusal("unreadable", "it holds a NUL")
        fields[self._width :] = [""]  # stands for the columns that this file lacks
        row = _Row._make(map(str.strip, self._pick(fields)))
        if self._professions and not _PROFESSION.fullmatch(row.profession):
            # Columns that slipped: who is not wanted is not told by them.
            return Refusal("profession", f"“{row.profession[:20]}” is no code")
        if not self._wants(row):
            return _NOT_WANTED
        commune = reference.commune(row.commune)
        territory = commune.department if commune else _department(row)
        if self._territories and territory not in self._territories:
            return _NOT_WANTED if territory in self._known else Unwanted(_protected(row))
        return self._activity(row, commune)

    def _wants(self, row: _Row) -> bool:
        return (not self._professions or row.profession in self._professions) and (
            not self._specialties or row.skill in self._specialties
        )

    def _activity(self, row: _Row, commune: Commune | None) -> Activity | Refusal:
        rpps = _rpps(row)
        if isinstance(rpps, Refusal):
            return rpps
        finess, siret, key = _numbers(row)
        if key is None:
            return Refusal("structure", "neither FINESS, SIRET nor technical identifier", (rpps,))
        named = _protected(row)
        if not (row.family_name and row.given_name and row.profession):
            return Refusal("person", "no name, given name or profession", named)
        if commune is None:
            return Refusal("commune", f"“{row.commune[:10]}” is no commune of today", named)
        if commune.department not in self._known:
            return Refusal("territory", f"no territory is called {commune.department}", named)
        structure = Structure(
            key=key,
            type=_type(row),
            name=row.sign or row.legal_name or f"Cabinet ({commune.name})",
            finess=finess,
            siret=siret,
            territory=commune.department,
            address=_address(row),
            postal_code=row.postal_code or None,
            commune=commune.code,
            latitude=commune.latitude,
            longitude=commune.longitude,
        )
        return Activity(_person(row, rpps, commune.department), structure)


_NOT_WANTED = Unwanted()


def _fields(line: str) -> list[str]:
    """Cut a line into its fields, quoted or not."""
    if line.startswith('"'):
        return next(csv.reader([line], delimiter=SEPARATOR), [])
    return line.split(SEPARATOR)


def _protected(row: _Row) -> tuple[str, ...]:
    """Name the person, the structure and the work of a line, as far as it tells them."""
    rpps, key = rpps_number(row.identifier), _numbers(row)[2]
    if rpps is None or key is None:
        return (rpps,) if rpps else ()
    return rpps, key, link(rpps, key)


_NAMES = re.compile(r"[A-Za-z0-9]{2,20}")
_RPPS_ALONE = re.compile("8?([0-9]{11})")


def named_in(raw: bytes) -> tuple[str, ...]:
    """Name all that a line might be about that cannot be read: it has not vanished.

    Any 11 digits may be the person, and any word with a digit where they work; without a person
    it is about nobody.
    """
    words = set(re.split(r'[|"\s]+', raw.decode("latin-1")))
    people = [found[1] for word in words if (found := _RPPS_ALONE.fullmatch(word))]
    if not people:
        return ()
    names = {word for word in words if _NAMES.fullmatch(word) and not word.isalpha()}
    names |= {f"1{word}" for word in names if len(word) == _FINESS_LENGTH}
    names |= {f"3{word}" for word in names if _SIRET.fullmatch(word)}
    return (*people, *names, *(link(rpps, name) for rpps in people for name in names))


def _rpps(row: _Row) -> str | Refusal:
    if row.kind not in {_RPPS, ""}:
        return Refusal("not-rpps", f"an identifier of type {row.kind}")
    found = rpps_number(row.identifier)
    return found or Refusal("rpps", f"“{row.identifier[:20]}” is not 11 digits")


def link(rpps: str, key: str) -> str:
    """Name the work of a person in a structure."""
    return f"{rpps}/{key}"


def _person(row: _Row, rpps: str, territory: str) -> Person:
    return Person(
        rpps=rpps,
        family_name=row.family_name,
        given_name=row.given_name,
        profession=row.profession,
        specialty=row.skill or None,
        status=_status(row),
        territory=territory,
    )


def _department(row: _Row) -> str:
    """Guess where a line belongs whose commune nobody knows."""
    code = row.department or row.commune
    return code[:3] if code.startswith(_OVERSEAS) else code[:2].upper()


_SIRET = re.compile("[0-9]{14}")


def _numbers(row: _Row) -> tuple[str | None, str | None, str | None]:
    """Return a structure's FINESS or SIRET, and its key: these, else its national identifier.

    The order is the one the SAS wants; 1 and 3 are the national prefixes. A SIRET beside a FINESS
    is left out: sites share it, and a number is kept by one organization only.
    """
    finess = finess_number(row.finess) if row.finess else None
    if finess:
        return finess, None, f"1{finess}"
    if _SIRET.fullmatch(row.siret):
        return None, row.siret, f"3{row.siret}"
    return None, None, row.national or row.technical or None


def _type(row: _Row) -> str:
    officine = row.profession == _PHARMACIST and row.section in _OFFICINES and not row.sector
    if row.sector == _PHARMACY or officine:
        return OrganizationType.PHARMACY
    return OrganizationType.OTHER if row.sector in _HOSPITALS else OrganizationType.PRACTICE


def _status(row: _Row) -> str:
    if row.category == "E":
        return PractitionerStatus.INTERN
    return PractitionerStatus.EMPLOYEE if row.mode == "S" else PractitionerStatus.SELF_EMPLOYED


def _address(row: _Row) -> str | None:
    street = " ".join(filter(None, (row.number, row.letter, row.way, row.street)))
    return ", ".join(filter(None, (row.point, street, row.mention))) or None
