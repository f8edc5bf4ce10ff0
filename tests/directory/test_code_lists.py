"""National code lists over HTTP: verbatim, with French labels, kept for a day."""

import pytest

from service.directory import reference
from service.identity import Role
from tests.support import World, problem

LISTS = reference.code_lists()


async def test_the_lists_that_there_are(world: World) -> None:
    answer = await (await world.manager()).get("/v1/code-lists")
    assert answer.status_code == 200
    items = {item["name"]: item["codes"] for item in answer.json()["items"]}
    assert items == {name: len(reference.code_list(name)) for name in LISTS}
    assert {"motives", "priorities", "care_levels", "specialties", "visibilities"} <= set(items)


@pytest.mark.parametrize("name", LISTS)
async def test_each_list_is_the_national_one(world: World, name: str) -> None:
    caller = await world.caller(Role.ANALYST, await world.organization("other"), "other")
    answer = await caller.get(f"/v1/code-lists/{name}")
    assert answer.json()["name"] == name
    assert [(i["code"], i["label"], i["parent"]) for i in answer.json()["items"]] == [
        (code.code, code.label, code.parent) for code in reference.code_list(name).values()
    ]
    assert all(item["label"] for item in answer.json()["items"])


async def test_labels_are_french_and_codes_name_what_they_refine(world: World) -> None:
    items = (await (await world.regulator()).get("/v1/code-lists/motives")).json()["items"]
    motives = {item["code"]: item for item in items}
    assert motives["M03.14"]["parent"] == "M03.00"
    assert motives["M03.00"]["parent"] is None
    assert any("é" in item["label"] for item in items)


@pytest.mark.parametrize("name", ["motive", "MOTIVES", "communes", "..%2Fcommunes", "motives.csv"])
async def test_an_unknown_list_names_those_there_are(world: World, name: str) -> None:
    answer = await (await world.regulator()).get(f"/v1/code-lists/{name}")
    if "%2F" in name:  # a path of its own, not a name
        assert answer.status_code == 404
        return
    assert problem(answer, 404, "code-list-not-found")["code_lists"] == list(LISTS)


async def test_a_list_is_kept_for_a_day_and_asked_for_again_cheaply(world: World) -> None:
    caller = await world.pharmacist()
    first = await caller.get("/v1/code-lists/priorities")
    assert first.headers["Cache-Control"] == "private, max-age=86400"
    etag = first.headers["ETag"]
    for known in (etag, f"W/{etag}", f'"other", {etag}'):
        again = await caller.get("/v1/code-lists/priorities", headers={"If-None-Match": known})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["ETag"] == etag
    changed = await caller.get("/v1/code-lists/priorities", headers={"If-None-Match": '"x"'})
    assert changed.json() == first.json()
    other = await caller.get("/v1/code-lists/motives", headers={"If-None-Match": etag})
    assert other.status_code == 200


async def test_it_is_for_those_with_a_token(world: World) -> None:
    problem(await world.http.get("/v1/code-lists/motives"), 401, "token-invalid")
