"""A CSV of structures, row by row: what the regional directories (ROR) know and the extract lacks.

The first line names the columns, in any order; others are left aside.

| column | |
|---|---|
| `type` | needed: cpts, msp, cds, csnp, sos, sas, pharmacy, emergency_department, practice, other |
| `name` | needed |
| `finess`, `siret`, `id` | one is needed; `id` is any lasting name of your own |
| `commune`, `territory` | one is needed: INSEE code; the territory's code, if not the commune's |
| `phone` | |
| `cpts` | FINESS, SIRET or `id` of the CPTS it belongs to, separated by spaces |
"""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from service.directory import reference
from service.directory.domain import (
    OrganizationType,
    finess_number,
    phone_number,
    siret_number,
)
from service.directory.tasks.lines import Filter, ImportRefused, Refusal, columns, folded

SEPARATORS = ";,\t"

_NEEDED = {"type": "type", "name": "name"}
_OPTIONAL = {n: n for n in ("finess", "siret", "id", "commune", "territory", "phone", "cpts")}


class Row(NamedTuple):
    """A structure as a row says; `cpts` is None if the file does not tell."""

    key: str
    type: str
    name: str
    finess: str | None
    siret: str | None
    territory: str
    commune: str | None
    phone: str | None
    cpts: tuple[str, ...] | None


def separator(header: str) -> str:
    """Return what stands between the columns' names."""
    return max(SEPARATORS, key=header.count)


class RowReader:
    """Reads the rows below one header."""

    def __init__(self, header: Sequence[str], wanted: Filter, territories: frozenset[str]) -> None:
        names = {folded(name) for name in header}
        if not names & {"finess", "siret", "id"}:
            raise ImportRefused("The first line names none of the columns finess, siret, id.")
        if not names & {"commune", "territory"}:
            raise ImportRefused("The first line names neither commune nor territory.")
        self._width, self._tells_cpts = len(header), "cpts" in names
        self._places = columns(header, _NEEDED, _OPTIONAL)
        self._known, self._wanted = territories, frozenset(wanted.territories)

    def read(self, fields: Sequence[str]) -> Row | Refusal | None:
        """Return what a row says; None if it is not wanted."""
        if len(fields) != self._width:
            wrong = f"{len(fields)} instead of {self._width}"
            return Refusal("fields", wrong, _named_in(fields))
        padded = [*fields, ""]
        row = {name: padded[place].strip() for name, place in self._places.items()}
        if any("\0" in value or "�" in value for value in row.values()):
            return Refusal("unreadable", "a character of it is broken", _named_in(fields))
        numbers = _numbers(row)
        if isinstance(numbers, Refusal):
            return numbers._replace(protects=_named_in(fields))
        finess, siret, key = numbers
        territory = row["territory"] or _territory(row["commune"])
        if self._wanted and territory and territory not in self._wanted:
            return None  # one that tells no territory is refused below, which protects it
        fault = self._fault(row, territory)
        if fault is not None:
            return fault._replace(protects=(key,))
        return Row(
            key=key,
            type=row["type"].lower(),
            name=row["name"],
            finess=finess,
            siret=siret,
            territory=territory,
            commune=row["commune"] or None,
            phone=phone_number(row["phone"]) if row["phone"] else None,
            cpts=tuple(dict.fromkeys(_tokens(row["cpts"]))) if self._tells_cpts else None,
        )

    def _fault(self, row: Mapping[str, str], territory: str) -> Refusal | None:
        """Return the first rule that a row breaks."""
        if row["type"].lower() not in set(OrganizationType):
            return Refusal("type", f"“{row['type'][:30]}” is none of {', '.join(OrganizationType)}")
        if not row["name"]:
            return Refusal("name", "no name")
        if row["commune"] and reference.commune(row["commune"]) is None:
            return Refusal("commune", f"“{row['commune'][:10]}” is no commune of today")
        if territory not in self._known:
            return Refusal("territory", f"no territory is called “{territory[:10]}”")
        if row["phone"] and phone_number(row["phone"]) is None:
            return Refusal("phone", "no phone has such a number")
        return None


def _numbers(row: Mapping[str, str]) -> tuple[str | None, str | None, str] | Refusal:
    """Return FINESS, SIRET and the key: the national one, in the order that the SAS wants."""
    finess, siret = finess_number(row["finess"]), siret_number(row["siret"])
    if row["finess"] and not finess:
        return Refusal("finess", f"“{row['finess'][:20]}” is no FINESS number")
    if row["siret"] and not siret:
        return Refusal("siret", f"“{row['siret'][:20]}” is no SIRET")
    key = f"1{finess}" if finess else f"3{siret}" if siret else own_key(row["id"])
    return (finess, siret, key) if key else Refusal("structure", "neither finess, siret nor id")


def _named_in(fields: Sequence[str]) -> tuple[str, ...]:
    """Return every key that a field of a row may be: a row that cannot be read protects them."""
    words = {text.strip() for text in fields} - {""}
    numbers = [(f"1{finess_number(word)}", f"3{siret_number(word)}") for word in words]
    return (*(own_key(word) for word in words), *(key for keys in numbers for key in keys))


def own_key(name: str) -> str:
    """Return the key of a structure that has a name of the file's own only."""
    return f"id:{name}" if name else ""


def _territory(commune: str) -> str:
    found = reference.commune(commune)
    return found.department if found else ""


def _tokens(text: str) -> list[str]:
    return [word for word in re.split(r"[\s|+]+", text) if word]
