"""Write an invented national extract (`PS_LibreAcces_Personne_activite`) of any number of lines.

The same numbers give the same file. Every RPPS fails its Luhn key on purpose, so that none is that
of a living person. Lines of one person stand together, as in the real file; each has 1 to 3 places.
"""

import argparse
import csv
import sys
from bisect import bisect
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path

from stdnum import luhn

from service.directory import reference

HEADER = (
    "Type d'identifiant PP",
    "Identifiant PP",
    "Identification nationale PP",
    "Code civilité d'exercice",
    "Libellé civilité d'exercice",
    "Code civilité",
    "Libellé civilité",
    "Nom d'exercice",
    "Prénom d'exercice",
    "Code profession",
    "Libellé profession",
    "Code catégorie professionnelle",
    "Libellé catégorie professionnelle",
    "Code type savoir-faire",
    "Libellé type savoir-faire",
    "Code savoir-faire",
    "Libellé savoir-faire",
    "Code mode exercice",
    "Libellé mode exercice",
    "Numéro SIRET site",
    "Numéro SIREN site",
    "Numéro FINESS site",
    "Numéro FINESS établissement juridique",
    "Identifiant technique de la structure",
    "Raison sociale site",
    "Enseigne commerciale site",
    "Complément destinataire (coord. structure)",
    "Complément point géographique (coord. structure)",
    "Numéro Voie (coord. structure)",
    "Indice répétition voie (coord. structure)",
    "Code type de voie (coord. structure)",
    "Libellé type de voie (coord. structure)",
    "Libellé Voie (coord. structure)",
    "Mention distribution (coord. structure)",
    "Bureau cedex (coord. structure)",
    "Code postal (coord. structure)",
    "Code commune (coord. structure)",
    "Libellé commune (coord. structure)",
    "Code pays (coord. structure)",
    "Libellé pays (coord. structure)",
    "Téléphone (coord. structure)",
    "Téléphone 2 (coord. structure)",
    "Télécopie (coord. structure)",
    "Adresse e-mail (coord. structure)",
    "Code Département (structure)",
    "Libellé Département (structure)",
    "Ancien identifiant de la structure",
    "Autorité d'enregistrement",
    "Code secteur d'activité",
    "Libellé secteur d'activité",
    "Code section tableau pharmaciens",
    "Libellé section tableau pharmaciens",
    "Code rôle",
    "Libellé rôle",
    "Code genre activité",
    "Libellé genre activité",
)

_FAMILY = [
    "Épreuve",
    "Modèle",
    "Fictif",
    "Exemple",
    "Échantillon",
    "Maquette",
    "Gabarit",
    "Façade",
    "Décor",
    "Forêt",
]
_GIVEN = [
    "Léa",
    "Zoé",
    "Noël",
    "Inès",
    "Maëlle",
    "Théo",
    "Hélène",
    "François",
    "Anaïs",
    "Jérôme",
    "Camille",
    "Agnès",
]
# A third of the structures has a FINESS and a SIRET number, a third a SIRET number, a third none.
_KINDS = _HAS_FINESS, _HAS_SIRET, _NUMBERED_BY_NOBODY = range(3)
_STREETS = ("de la République", "du Général de Gaulle", "des Écoles", "de l'Église", "du Marché")
# Profession, type and code of the skill, sector, section; doctors are half of them.
_TRADES = (
    ("10", "S", "SM54", "SA07", ""),
    ("10", "S", "SM54", "SA08", ""),
    ("10", "S", "SM53", "SA08", ""),
    ("10", "S", "SM26", "SA01", ""),
    ("21", "", "", "SA33", "A"),
    ("60", "", "", "SA07", ""),
    ("70", "", "", "SA07", ""),
    ("40", "", "", "SA07", ""),
)
_MIX = 0x9E3779B97F4A7C15


def rpps(person: int) -> str:
    """An RPPS whose last digit is not its key."""
    body = f"1{person % 10**9:09d}"
    return body + str((int(luhn.calc_check_digit(body)) + 5) % 10)


def _draw(number: int, of: int, salt: int = 0) -> int:
    """A number below `of`, always the same for the same one: no state, any line alone."""
    mixed = (number + 1) * _MIX + salt * 0xD1B54A32D192ED03 & (1 << 64) - 1
    mixed = (mixed ^ mixed >> 29) * _MIX & (1 << 64) - 1
    return (mixed >> 17) % of


class Extract:
    """The lines of an invented extract; `departments` narrows where they are."""

    def __init__(self, departments: frozenset[str] = frozenset()) -> None:
        self._communes = [c for c in _communes() if not departments or c.department in departments]
        self._weights = list(accumulate(c.population for c in self._communes))

    def lines(self, count: int) -> Iterator[str]:
        """Yield the header and `count` lines."""
        yield "|".join((*HEADER, ""))
        person = written = 0
        while written < count:
            for place in range(min(1 + _draw(person, 6) // 3, count - written)):
                yield self.line(person, place)
                written += 1
            person += 1

    def line(self, person: int, place: int) -> str:
        """One line: where a person works for the first, second ... time."""
        trade = _TRADES[_draw(person, len(_TRADES), 1)]
        number = rpps(person)
        fields = {
            "Type d'identifiant PP": "8",
            "Identifiant PP": number,
            "Identification nationale PP": f"8{number}",
            "Nom d'exercice": f"{_FAMILY[_draw(person, 10, 2)]} {person}".upper(),
            "Prénom d'exercice": _GIVEN[_draw(person, 12, 3)],
            "Code profession": trade[0],
            "Code catégorie professionnelle": "C",
            "Code type savoir-faire": trade[1],
            "Code savoir-faire": trade[2],
            "Code mode exercice": "LS"[_draw(person, 4, 4) == 0],
            "Code section tableau pharmaciens": trade[4],
            **self.structure(person // 2 + place * 31, trade[3]),
        }
        return "|".join((*(fields.get(name, "") for name in HEADER), ""))

    def structure(self, number: int, sector: str) -> dict[str, str]:
        """The fields of a structure."""
        drawn = _draw(number, self._weights[-1], 5)
        commune = self._communes[bisect(self._weights, drawn)]
        kind = _draw(number, len(_KINDS), 6)
        return {
            "Numéro FINESS site": f"{commune.department[:2]}{number % 10**7:07d}"
            * (kind == _HAS_FINESS),
            "Numéro SIRET site": f"9{number % 10**13:013d}" * (kind != _NUMBERED_BY_NOBODY),
            "Identifiant technique de la structure": f"R{number:012d}",
            "Raison sociale site": f"Cabinet médical n° {number}" * (_draw(number, 4, 7) > 0),
            "Numéro Voie (coord. structure)": str(1 + _draw(number, 99, 8)),
            "Libellé type de voie (coord. structure)": "Rue",
            "Libellé Voie (coord. structure)": _STREETS[_draw(number, len(_STREETS), 9)],
            "Code postal (coord. structure)": (*commune.postal_codes, "")[0],
            "Code commune (coord. structure)": commune.code,
            "Libellé commune (coord. structure)": commune.name,
            "Code Département (structure)": commune.department,
            "Ancien identifiant de la structure": f"4{number:014d}" * (kind == _NUMBERED_BY_NOBODY),
            "Code secteur d'activité": sector,
        }


def _communes() -> Iterator[reference.Commune]:
    """The communes of today, without the arrondissements of Paris, Lyon and Marseille."""
    table = Path(reference.__file__).parent / "data" / "communes.csv"
    with table.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            found = reference.commune(row["code"])
            if found is not None and found.parent is None and found.population:
                yield found


def main() -> int:
    """Write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--lines", type=int, default=10_000)
    parser.add_argument("--encoding", choices=("utf-8", "cp1252"), default="utf-8")
    parser.add_argument("--territory", action="append", default=[])
    given = parser.parse_args()
    with given.file.open("w", encoding=given.encoding, newline="") as file:
        for line in Extract(frozenset(given.territory)).lines(given.lines):
            file.write(f"{line}\r\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
