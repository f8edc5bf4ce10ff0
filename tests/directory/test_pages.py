"""Lists as keyset pages: everything once, newest first, a cursor for one filter only."""

import base64

import orjson
import pytest

from tests.directory.support import number
from tests.support import Caller, World, problem

LISTS = ("organizations", "practitioners", "locations")


async def fill(world: World, entries: int) -> None:
    practice = await world.organization("practice")
    for _ in range(entries):
        await world.practitioner(await world.location(practice))
        await world.organization("pharmacy")


async def walk(caller: Caller, path: str, **params: str) -> list[str]:
    found: list[str] = []
    cursor: str | None = None
    while True:
        sent = params | ({"cursor": cursor} if cursor else {})
        answer = await caller.get(path, params=sent)
        assert answer.status_code == 200, answer.text
        page = answer.json()
        assert len(page["items"]) <= int(params["limit"])
        found += [item["id"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            return found


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize("limit", [1, 3, 7, 200])
async def test_pages_walk_through_everything_once(world: World, name: str, limit: int) -> None:
    await fill(world, 7)
    caller = await world.pharmacist()
    here = {"territory": world.territory}
    whole = await walk(caller, f"/v1/{name}", limit="200", **here)
    assert len(whole) >= 7
    assert whole == sorted(set(whole), reverse=True)
    assert await walk(caller, f"/v1/{name}", limit=str(limit), **here) == whole


@pytest.mark.parametrize("name", LISTS)
async def test_a_cursor_fits_its_own_filter_only(world: World, name: str) -> None:
    await fill(world, 2)
    caller = await world.pharmacist()
    here = {"territory": world.territory, "limit": "1"}
    cursor = (await caller.get(f"/v1/{name}", params=here)).json()["next_cursor"]
    assert cursor
    others = [
        (name, {"territory": "36"}),
        (name, here | {"active": "true"}),
        *((other, here) for other in LISTS if other != name),
    ]
    for path, params in others:
        answer = await caller.get(f"/v1/{path}", params=params | {"cursor": cursor})
        problem(answer, 400, "invalid-cursor")
    fingerprint, _ = orjson.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    forgeries: list[object] = [[], ["x"], [1], [None], ["x", "y"], {}]
    for keys in forgeries:
        forged = base64.urlsafe_b64encode(orjson.dumps([fingerprint, keys])).decode()
        answer = await caller.get(f"/v1/{name}", params=here | {"cursor": forged.rstrip("=")})
        problem(answer, 400, "invalid-cursor")


async def test_what_is_listed_meanwhile_does_not_shift_the_pages(world: World) -> None:
    await fill(world, 3)
    manager = await world.manager()
    here = {"territory": world.territory, "limit": "2"}
    first = (await manager.get("/v1/practitioners", params=here)).json()
    person = {"rpps": number(), "family_name": "A", "given_name": "B", "territory": world.territory}
    assert (await manager.post("/v1/practitioners", person)).status_code == 201
    sent = here | {"cursor": first["next_cursor"]}
    second = (await manager.get("/v1/practitioners", params=sent)).json()
    assert len({item["id"] for item in first["items"] + second["items"]}) == 3
    assert second["next_cursor"] is None


async def test_a_page_holds_at_most_200(world: World) -> None:
    caller = await world.pharmacist()
    problem(await caller.get("/v1/organizations?limit=201"), 422, "invalid")
    problem(await caller.get("/v1/territories?limit=0"), 422, "invalid")
