"""Figures as a table for a spreadsheet: one row a group, or one for all."""

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any

from service.analytics.schemas.paths import NAMES, named
from service.analytics.schemas.withheld import WITHHELD

_CONTEXT = ("territory", "cpts", "synthetic")
_SHARED = ("groups_overlap", "wording")  # repeated on each row, where an answer has them


class Key(str):
    """What a row is about, as CSV writes it: a French Excel turns `2022-01` and `08` otherwise."""

    __slots__ = ()

    def in_csv(self) -> str:
        """Return the cell."""
        raise NotImplementedError


class Code(Key):
    """A code of ours: the zeros that it begins with stay. The one formula there is."""

    __slots__ = ()

    def in_csv(self) -> str:
        """Return the digits as a text: ="01"; what else stands there is a text by itself."""
        return f'="{self}"' if self.isascii() and self.isdigit() else _text(self)


class Month(Key):
    """A month (`2022-01`): its first day, which stays a date."""

    __slots__ = ()

    def in_csv(self) -> str:
        """Return the first day."""
        return f"{self}-01"


class Hour(Key):
    """A local hour (`08`): a text that is no number."""

    __slots__ = ()

    def in_csv(self) -> str:
        """Return the hour with its unit."""
        return f"{self} h"


_KINDS: Mapping[str, type[Key]] = {"month": Month, "hour": Hour, "commune": Code}


def kind(by: str, key: str | None) -> str | None:
    """Return a group's key as what it is."""
    return _KINDS[by](key) if key is not None and by in _KINDS else key


@dataclass(frozen=True, slots=True)
class Table:
    """Cells under a header that names members of the JSON answer by their path."""

    header: list[str]
    rows: list[list[Any]]
    definitions: Mapping[str, str] = field(default_factory=dict)

    def csv(self) -> str:
        """Write for a French spreadsheet: byte order mark, `;` between cells, decimal commas."""
        sheet = io.StringIO()
        writer = csv.writer(sheet, delimiter=";", lineterminator="\r\n")
        writer.writerow(self.header)
        writer.writerows([cell(value) for value in row] for row in self.rows)
        return f"\ufeff{sheet.getvalue()}"

    def xlsx(self) -> bytes:
        """Write a workbook: numbers and dates are typed, no text is a formula.

        What the members mean stands on a second sheet, where an answer says it.
        """
        import xlsxwriter  # noqa: PLC0415  only who asks for a workbook waits for its library

        file = io.BytesIO()
        literal = {"strings_to_formulas": False, "strings_to_urls": False}
        with xlsxwriter.Workbook(file, {"in_memory": True, **literal}) as book:
            sheet = book.add_worksheet("figures")
            sheet.write_row(0, 0, self.header, book.add_format({"bold": True}))
            sheet.freeze_panes(1, 0)
            formats = {
                pattern: book.add_format({"num_format": pattern})
                for pattern in ("yyyy-mm-dd", "0.0", "0.0000")
            }
            for y, row in enumerate(self.rows, 1):
                for x, value in enumerate(row):
                    if isinstance(value, date):
                        sheet.write_datetime(y, x, value, formats["yyyy-mm-dd"])
                    elif isinstance(value, Decimal):
                        sheet.write_number(y, x, value, formats[_pattern(value)])
                    elif value is not None:
                        sheet.write(y, x, value if isinstance(value, int) else str(value))
            sheet.autofit()
            if self.definitions:
                meaning = book.add_worksheet("definitions")
                for y, line in enumerate(self.definitions.items()):
                    meaning.write_row(y, 0, line)
                meaning.autofit()
        return file.getvalue()


def _pattern(value: Decimal) -> str:
    return "0.0" if value.as_tuple().exponent == -1 else "0.0000"


def table(answer: Mapping[str, Any], by: str = "none") -> Table:
    """Lay an answer out: one row a group, or one for all. What a group lacks is an empty cell.

    The first header names what the groups are (`key.month`); the names of communities follow.
    """
    context = {name: answer.get(name) for name in _CONTEXT}
    context["territory"] = context["territory"] and Code(context["territory"])
    context |= {name: answer[name] for name in _SHARED if name in answer}
    apart = {*context, "groups", "definitions", "withheld"}
    whole = {**context, **{name: value for name, value in answer.items() if name not in apart}}
    rows: list[tuple[dict[str, Any], dict[str, Any]]] = [({}, {**whole, **_secrets(answer)})]
    if "groups" in answer:
        rows = [(_key(by, g), {**context, **_rest(g), **_secrets(g)}) for g in answer["groups"]]
    header = [*_key(by, {"key": None}), *(name for name, _ in _cells(whole))]
    laid_out = [{**key, **dict(_cells(row))} for key, row in rows]
    definitions = {**answer.get("definitions", {}), **dict(_quotients(whole))}
    return Table(header, [[row.get(name) for name in header] for row in laid_out], definitions)


def _key(by: str, group: Mapping[str, Any]) -> dict[str, Any]:
    if by == "none":
        return {}
    named = {"key.name": group.get("name")} if by == "cpts" else {}
    return {f"key.{by}": kind(by, group["key"]), **named}


def _rest(group: Mapping[str, Any]) -> dict[str, Any]:
    apart = {"key", "name", "withheld"}
    return {name: value for name, value in group.items() if name not in apart}


def _secrets(object_: Mapping[str, Any]) -> dict[str, str]:
    """Return the word that stands for what is withheld, by the path of its cell."""
    return dict.fromkeys(object_.get("withheld", ()), WITHHELD)


def _cells(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the leaves of an answer with their paths: outcomes.other.percent.

    What a rate divides is the same on each row: it is said once, with the definitions.
    """
    if _is_rate(value):
        yield f"{path}.value", value["value"]
    elif isinstance(value, Mapping | list):
        for inner, member in _members(value, path):
            yield from _cells(member, inner)
    else:
        yield path, value


def _quotients(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield what each rate divides: rates.fill.value, booked / (published - withdrawn)."""
    if _is_rate(value):
        words = (value["numerator"], value["denominator"])
        yield f"{path}.value", " / ".join(f"({w})" if " " in w else w for w in words)
    elif isinstance(value, Mapping | list):
        for inner, member in _members(value, path):
            yield from _quotients(member, inner)


def _is_rate(value: Any) -> bool:
    return isinstance(value, Mapping) and "numerator" in value


def _members(value: Mapping[str, Any] | list[Any], path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for name, member in value.items():
            yield f"{path}.{name}" if path else name, member
    else:
        for item in value:
            rest = {name: member for name, member in item.items() if name not in NAMES}
            yield f"{path}.{named(item)}", rest


def cell(value: object) -> str:
    """Write one cell; a text that a spreadsheet would run as a formula is quoted."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Decimal):
        return str(value).replace(".", ",")
    return value.in_csv() if isinstance(value, Key) else _text(str(value))


def _text(text: str) -> str:
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
