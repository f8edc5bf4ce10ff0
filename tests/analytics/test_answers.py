"""What every figure has in common: who may ask, what makes no sense, zeros, spreadsheets."""

import csv
import io
import re
import subprocess
import sys
import zipfile
from datetime import date
from decimal import Decimal
from random import Random
from typing import Any
from xml.etree import ElementTree

import pytest
from fastapi import FastAPI

from service.analytics.domain import (
    AppointmentsBy,
    CallbacksBy,
    GroupBy,
    IndicatorsBy,
    ReferralsBy,
    SlotUsageBy,
)
from service.analytics.domain.appointments import CancelledBy
from service.analytics.domain.cpts_indicators import AUDIENCE, DOCTORS_SIDE
from service.analytics.http import XLSX
from service.analytics.schemas.tables import Code, Hour, Month, Table, cell, table
from service.bookings.domain import CancelledBy as OfBooking
from service.identity import Role
from service.kernel.ids import new_id
from service.slots.domain import Visibility
from tests.analytics.drawn import drawn
from tests.analytics.naive import Row, added, without_rates
from tests.support import Caller, World, problem

GROUPS: dict[str, Any] = {
    "call-outcomes": GroupBy,
    "slot-usage": SlotUsageBy,
    "appointments": AppointmentsBy,
    "referrals": ReferralsBy,
    "callbacks": CallbacksBy,
    "cpts-indicators": IndicatorsBy,
}
YEAR = {"from": "2022-01-01", "to": "2023-01-01"}
figures = pytest.mark.parametrize("name", GROUPS)


def path(name: str) -> str:
    return f"/v1/analytics/{name}"


@figures
async def test_who_may_ask_for_what(world: World, name: str) -> None:
    elsewhere = await World(world.database, world.http).begin()
    practice = await world.organization("practice")
    theirs = await elsewhere.organization("cpts")
    member = await world.caller(Role.ANALYST, practice, "practice", cpts_ids=[theirs])
    for scope in ({"territory": world.territory}, {"cpts": str(theirs)}):
        assert (await member.get(path(name), params={**YEAR, **scope})).status_code == 200
    analyst = await world.caller(Role.ANALYST, practice, "practice")
    for foreign in (
        {"territory": elsewhere.territory},
        {"cpts": str(theirs)},
        {"cpts": str(practice)},
        {"cpts": str(new_id())},
    ):
        answer = await analyst.get(path(name), params={**YEAR, **foreign})
        problem(answer, 403, "foreign-territory")
    doctor = await world.doctor()
    asked = {**YEAR, "territory": world.territory}
    problem(await doctor.get(path(name), params=asked), 403, "role-lacks-operation")


@figures
async def test_questions_that_make_no_sense(world: World, name: str) -> None:
    manager = await world.manager()
    here = {"territory": world.territory}
    for query in (
        YEAR,
        {**YEAR, **here, "cpts": str(new_id())},
        {**here, "from": "2022-02-01", "to": "2022-02-01"},
        {**here, "from": "0001-01-01", "to": "0001-01-02"},
        {**here, "from": "2200-01-01", "to": "2200-01-02"},
        {**here, "from": "9999-12-30", "to": "9999-12-31"},
    ):
        problem(await manager.get(path(name), params=query), 422, "figures-invalid")
    edges = ("1900-01-01", "1900-01-02"), ("2199-12-31", "2200-01-01")
    for first, end in edges:
        query = {**here, "from": first, "to": end}
        assert (await manager.get(path(name), params=query)).status_code == 200
    for query in ({**here, "from": "2022-01-01"}, {**YEAR, **here, "group_by": "practitioner"}):
        problem(await manager.get(path(name), params=query), 422, "invalid")


@figures
async def test_an_empty_territory_answers_zeros(world: World, name: str) -> None:
    manager = await world.manager()
    for group_by in GROUPS[name]:
        query = {**YEAR, "territory": world.territory, "group_by": group_by}
        answer = (await manager.get(path(name), params=query)).json()
        numbers = {v for v in _numbers(answer) if not isinstance(v, bool)}
        assert numbers <= {0, None}
        assert ("groups" in answer) == (group_by != "none")
        assert len(answer.get("groups", ())) == (12 if group_by == "month" else 0)


def _numbers(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [number for member in value.values() for number in _numbers(member)]
    if isinstance(value, list):
        return [number for item in value for number in _numbers(item)]
    return [] if isinstance(value, str) else [value]


def test_names_of_other_rooms() -> None:
    assert set(CancelledBy.__dataclass_fields__) == set(OfBooking)
    assert set(DOCTORS_SIDE) < set(OfBooking)
    assert set(AUDIENCE) < set(Visibility)


RATES = {
    "slot-usage": {"fill": ("booked", "published - withdrawn")},
    "appointments": {
        "missed": ("missed", "fulfilled + missed"),
        "unreported": ("unreported", "fulfilled + missed + unreported"),
        "cancelled": ("cancelled", "booked"),
        "sent_to_emergency": ("sent_to_emergency", "fulfilled + missed"),
        "within_24_hours": ("within_24_hours", "booked - cancelled"),
        "within_48_hours": ("within_48_hours", "booked - cancelled"),
    },
    "referrals": {"missed": ("missed", "fulfilled + missed"), "cancelled": ("cancelled", "booked")},
    "callbacks": {
        "requested": ("requested", "calls"),
        "attempted": ("attempted", "requested"),
        "reached": ("reached", "requested"),
        "within_60_minutes": ("within_60_minutes", "attempted"),
    },
    "cpts-indicators": {
        "with_appointment": ("with_appointment", "calls"),
        "with_appointment_of_oriented": ("with_appointment", "oriented"),
        "honoured": ("honoured", "honoured + missed"),
        "missed": ("missed", "honoured + missed"),
        "within_24_hours": ("within_24_hours", "with_appointment"),
        "within_48_hours": ("within_48_hours", "with_appointment"),
    },
}


@pytest.mark.parametrize("name", RATES)
async def test_every_rate_by_its_name(world: World, name: str) -> None:
    manager = await world.manager()
    answer = (await manager.get(path(name), params={**YEAR, "territory": world.territory})).json()
    rates = answer.get("requests", answer)["rates"]
    assert {n: (r["numerator"], r["denominator"]) for n, r in rates.items()} == RATES[name]
    assert {r["value"] for r in rates.values()} == {None}


def test_each_operation_describes_its_own_answer(app: FastAPI) -> None:
    paths = app.openapi()["paths"]
    shapes = {name: paths[path(name)]["get"]["responses"]["200"]["content"] for name in GROUPS}
    assert {frozenset(content) for content in shapes.values()} == {
        frozenset({"application/json", "text/csv", XLSX})
    }
    named = {name: content["application/json"]["schema"] for name, content in shapes.items()}
    assert len({str(schema) for schema in named.values()}) == len(GROUPS)


# --- spreadsheets -------------------------------------------------------------------------------


async def _tables(world: World) -> tuple[Caller, dict[str, str]]:
    of = await drawn(world, Random(36), 120)
    first, last = of.period
    return await world.manager(), {
        "from": str(first),
        "to": str(last),
        "territory": world.territory,
    }


async def _cells(caller: Caller, name: str, query: dict[str, str]) -> list[dict[str, str]]:
    answer = await caller.get(path(name), params=query, headers={"Accept": "text/csv"})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"] == f'attachment; filename="{name}.csv"'
    return list(csv.DictReader(io.StringIO(answer.text.lstrip("\ufeff")), delimiter=";"))


@figures
async def test_tables_say_what_json_says(world: World, name: str) -> None:
    manager, query = await _tables(world)
    for group_by in GROUPS[name]:
        asked = {**query, "group_by": group_by}
        json = (await manager.get(path(name), params=asked)).json()
        rows = await _cells(manager, name, asked)
        groups = json.get("groups", [json])
        column = f"key.{group_by}"
        if group_by != "none":
            written = [_written(group_by, group["key"]) for group in groups]
            assert [row[column] for row in rows] == written
            assert [row.get("key.name", "") for row in rows] == [
                group.get("name", "") for group in groups
            ]
        for row, group in zip(rows, groups, strict=True):
            leaves = dict(_leaves(_unkeyed(group)))
            words = {n: leaves.pop(n) for n in list(leaves) if n.endswith(("erator", "ominator"))}
            assert all(".rates." in f".{n}" for n in words)
            expected = leaves | {"territory": world.territory, "synthetic": "false"}
            shown = {n: text for n, text in row.items() if text and not n.startswith("key.")}
            shared = {n: json[n] for n in ("groups_overlap", "wording") if n in json}
            expected |= {n: str(v).lower() for n, v in shared.items()}
            assert {n: _number(t) for n, t in shown.items()} == {
                n: _number(t) for n, t in expected.items() if t
            }

        workbook = await manager.get(path(name), params=asked, headers={"Accept": XLSX})
        assert workbook.status_code == 200, workbook.text
        assert workbook.headers["content-type"] == XLSX
        assert workbook.headers["vary"] == "Accept"
        assert workbook.headers["cache-control"] == "no-store"
        assert workbook.headers["content-disposition"] == f'attachment; filename="{name}.xlsx"'
        header, *lines = read_sheet(workbook.content)
        assert header[0] == ("territory" if group_by == "none" else column)
        assert not rows or header == list(rows[0])
        keys = [{column: group.get("key") or ""} if "key" in group else {} for group in groups]
        assert [dict(zip(header, map(_number, line), strict=True)) for line in lines] == [
            {n: _number(t) for n, t in {**row, **key}.items()}
            for row, key in zip(rows, keys, strict=True)
        ]


def _unkeyed(group: Row) -> Row:
    return {name: value for name, value in group.items() if name not in {"key", "name"}}


def _written(by: str, key: str | None) -> str:
    """A key as a French Excel keeps it: a date, a text that is no number."""
    if key is None:
        return ""
    return {"month": f"{key}-01", "hour": f"{key} h"}.get(by, key)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (Code("01"), '="01"'),
        (Code("36"), '="36"'),
        (Code("2A"), "2A"),
        (Code('1"&A1'), '1"&A1'),
        (Code("=1"), "'=1"),
        (Month("2022-01"), "2022-01-01"),
        (Hour("08"), "08 h"),
        ("01", "01"),
        ('="01"', '\'="01"'),
    ],
)
def test_codes_of_ours_survive_a_spreadsheet_and_nobody_elses_text_is_a_formula(
    value: str, written: str
) -> None:
    assert cell(value) == written
    (_, (read,)) = csv.reader(
        io.StringIO(Table(["a"], [[value]]).csv().removeprefix("\ufeff")), delimiter=";"
    )
    assert read == written


_APART = ("groups", "groups_overlap", "wording", "definitions")


def _leaves(value: Any, at: str = "") -> list[tuple[str, str]]:
    """Members of an answer by their paths, as texts."""
    if isinstance(value, dict):
        names = ("category", "outcome", "role", "organization_type")
        own = ".".join(str(value[n]) for n in names if n in value)
        at = f"{at}{own}." if own else at
        return [
            leaf
            for name, member in value.items()
            if name not in {*names, *_APART}
            for leaf in _leaves(
                member, f"{at}{name}{'.' if isinstance(member, dict | list) else ''}"
            )
        ]
    if isinstance(value, list):
        return [leaf for item in value for leaf in _leaves(item, at)]
    return [(at, "" if value is None else str(value).lower() if value is True else str(value))]


def _number(text: str) -> Any:
    """Read a number, a day or a text as any of the three forms writes it."""
    if re.fullmatch(r"-?\d+([.,]\d+)?(e-\d+)?", text, re.IGNORECASE):
        return float(text.replace(",", "."))
    return text.lower()


_MAIN = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"


def read_sheet(content: bytes) -> list[list[str]]:
    """Read the one sheet of a workbook; a date becomes the day it stands for."""
    with zipfile.ZipFile(io.BytesIO(content)) as book:
        texts = ElementTree.fromstring(book.read("xl/sharedStrings.xml"))  # noqa: S314  our own
        strings = ["".join(t.itertext()) for t in texts.findall(f"{_MAIN}si")]
        sheet = ElementTree.fromstring(book.read("xl/worksheets/sheet1.xml"))  # noqa: S314  our own
    assert not list(sheet.iter(f"{_MAIN}f"))
    rows: list[list[str]] = []
    for row in sheet.iter(f"{_MAIN}row"):
        cells: list[str] = []
        for found in row.findall(f"{_MAIN}c"):
            letters = re.sub(r"\d", "", found.attrib["r"])
            column = 0
            for letter in letters:
                column = column * 26 + ord(letter) - 64
            cells += [""] * (column - 1 - len(cells))
            cells.append(_text(found, strings, rows[0][column - 1] if rows else ""))
        rows.append(cells + [""] * (len(rows[0]) - len(cells) if rows else 0))
    return rows


def _text(found: ElementTree.Element, strings: list[str], column: str) -> str:
    value = found.findtext(f"{_MAIN}v") or ""
    kind = found.attrib.get("t")
    if kind == "s":
        return strings[int(value)]
    if kind == "b":
        return "true" if value == "1" else "false"
    if column in {"from", "to"}:
        return str(date.fromordinal(date(1899, 12, 30).toordinal() + int(float(value))))
    return value


def test_a_workbook_says_what_its_members_mean() -> None:
    content = Table(["a"], [[1]], {"a": "Ce que a compte."}).xlsx()
    with zipfile.ZipFile(io.BytesIO(content)) as book:
        assert b"definitions" in book.read("xl/workbook.xml")
        assert "Ce que a compte." in book.read("xl/sharedStrings.xml").decode()


def test_a_workbook_says_once_what_its_rates_divide() -> None:
    rate = {"value": Decimal("0.5"), "numerator": "booked", "denominator": "published - withdrawn"}
    answer = {"territory": "36", "synthetic": False, "booked": 1, "rates": {"fill": rate}}
    made = table({**answer, "groups": [{"key": n, **answer} for n in "ab"]}, "role")
    assert made.header == [
        *("key.role", "territory", "cpts", "synthetic", "booked", "rates.fill.value")
    ]
    assert made.definitions == {"rates.fill.value": "booked / (published - withdrawn)"}
    assert "published" not in made.csv()
    both = table({**answer, "definitions": {"booked": "Ce que booked compte."}})
    assert list(both.definitions) == ["booked", "rates.fill.value"]


def test_an_answer_without_groups_keeps_its_header() -> None:
    empty = table({"territory": "36", "synthetic": False, "booked": 0, "groups": []}, "hour")
    assert empty.csv() == "\ufeffkey.hour;territory;cpts;synthetic;booked\r\n"


def test_no_text_of_a_workbook_is_a_formula_or_a_link() -> None:
    texts = ["=1+1", "+1", "{=A1}", "http://x", "2022-01", "08", ""]
    (_, line) = read_sheet(Table([f"c{n}" for n in range(len(texts))], [[*texts]]).xlsx())
    assert line == texts


async def test_the_workbook_library_is_loaded_when_one_is_asked_for() -> None:
    """Everything else starts without it."""
    code = "import sys, service.main; print('xlsxwriter' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: ASYNC221  nothing else runs meanwhile
    assert found.stdout.strip() == "False"


@figures
async def test_rates_name_what_they_divide(world: World, name: str) -> None:
    """Also over groups, and where the community is asked for."""
    manager, query = await _tables(world)
    for group_by in GROUPS[name]:
        answer: Row = (await manager.get(path(name), params={**query, "group_by": group_by})).json()
        without_rates(answer)
        if answer.get("groups_overlap") is False:
            assert added(answer["groups"]).items() <= added([answer]).items()
