"""Erasing everything that may be erased leaves every figure of the Indre as it was, to the byte."""

import json
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import asyncpg

from service import demo, retention
from service.description import description
from service.identity import Role
from service.kernel.settings import Settings
from service.patients.domain import Patient
from service.patients.repository import seal
from tests.conftest import DatabaseUrls
from tests.retention.support import Place, place
from tests.support import Caller

_PERIODS = ("from=2022-01-01&to=2023-01-01", "from=2022-03-01&to=2022-04-01")
_FORMATS = ("application/json", "text/csv")
_KEPT = 100  # files that get an identity again


def _figures(cpts_id: str) -> Iterator[tuple[str, str, str]]:
    """Every operation of the figures, with every scope and everything that it groups by."""
    document = json.loads(description())
    for path, methods in document["paths"].items():
        if not path.startswith("/v1/analytics/"):
            continue
        parameters = {p["name"]: p["schema"] for p in methods["get"]["parameters"]}
        by = parameters.get("group_by", {})
        reference = by.get("$ref") or by.get("allOf", [{}])[0].get("$ref", "")
        schema = document["components"]["schemas"].get(reference.rpartition("/")[2], by)
        for scope, group in product(("territory", "cpts"), schema.get("enum", [""])):
            if scope in parameters:
                of = {"territory": "36", "cpts": cpts_id}[scope]
                yield path, f"{scope}={of}", f"&group_by={group}" if group else ""


async def _ask_everything(manager: Caller, cpts_id: str) -> dict[str, bytes]:
    found = {}
    for (path, scope, by), period, media in product(_figures(cpts_id), _PERIODS, _FORMATS):
        question = f"{path}?{scope}&{period}{by}"
        answer = await manager.get(question, headers={"Accept": media})
        assert answer.status_code == 200, (question, answer.text)
        found[f"{question} {media}"] = answer.content
    return found


async def _identify(here: Place) -> None:
    """Give some of the invented people names, and their bookings texts, as if it were 2022."""
    vault = here.database.vault
    owner = await asyncpg.connect(here.urls.owner)
    files = await owner.fetch(
        """SELECT f.id, b.id AS booking FROM patient_files f
           JOIN bookings b ON b.patient_file_id = f.id ORDER BY f.id LIMIT $1""",
        _KEPT,
    )
    async with owner.transaction():
        for n, row in enumerate(files):
            sealed = seal(vault, row["id"], Patient(f"Zzyzx{n}", "Léa", age="P3M", sex="F"))
            told = vault.encrypt("Zzyzx", column="bookings.reason_text", row=row["booking"])
            await owner.execute(
                """UPDATE patient_files SET family_name = $2, given_name = $3, patient_key = $4,
                     case_id = 'K' || $5::text WHERE id = $1""",
                *(row["id"], sealed["family_name"], sealed["given_name"], sealed["patient_key"]),
                str(n),
            )
            await owner.execute(
                """UPDATE bookings SET reason_text = $2, patient_key = $3, case_id = 'K' || $4::text
                   WHERE id = $1""",
                *(row["booking"], told, sealed["patient_key"], str(n)),
            )
    await owner.close()


async def _manager(here: Place, organization_id: Any) -> Caller:
    """Exact figures of the whole department."""
    here.world.territory = "36"
    return await here.world.caller(Role.MANAGER, organization_id, "sas")


async def test_no_figure_changes(
    database_urls: DatabaseUrls, make_settings: Callable[..., Settings]
) -> None:
    data = demo.dataset()
    everything = {"retention_identity_months": 1, "retention_reference_months": 2}
    async with place(database_urls, make_settings, **everything) as here:
        async with here.database.unit_of_work() as uow:
            await demo.load(uow, data)
        await _identify(here)
        kinds = {row["type"]: str(row["id"]) for row in data.tables["organizations"]}
        manager = await _manager(here, kinds["sas"])
        before = await _ask_everything(manager, kinds["cpts"])
        assert len(before) > 50

        due = await here.due()
        assert due["identity"] == due["booking-texts"] == _KEPT
        assert due["call-references"] == 17_232
        assert await here.run(batch=2000) == due
        assert await here.due() == {}
        for table in ("patient_files", "bookings", "calls"):
            (left,) = await here.rows(
                f"SELECT count(*) AS n FROM {table} WHERE case_id IS NOT NULL"
            )
            assert left["n"] == 0, table
        assert await _ask_everything(manager, kinds["cpts"]) == before


def test_the_rules_name_every_kind_once() -> None:
    found = [rule.kind for rule in retention.rules(Settings.model_validate({}))]
    assert len(found) == len(set(found)) == len(type(found[0]))
