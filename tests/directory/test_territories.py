"""Territories: the migration's rows, read over HTTP."""

from zoneinfo import ZoneInfo

from service.directory import reference
from service.identity import Role
from tests.support import World, problem

METROPOLITAN = {f"{n:02d}" for n in range(1, 96)} - {"20"} | {"2A", "2B"}
OVERSEAS = {*map(str, range(971, 979)), "986", "987", "988"}


async def walk(world: World) -> dict[str, dict[str, object]]:
    caller = await world.caller(Role.ANALYST, await world.organization("sas"), "sas")
    found: dict[str, dict[str, object]] = {}
    cursor: str | None = None
    while True:
        sent = {"limit": "40"} | ({"cursor": cursor} if cursor else {})
        page = (await caller.get("/v1/territories", params=sent)).json()
        for item in page["items"]:
            assert item["id"] not in found
            found[item["id"]] = item
        cursor = page["next_cursor"]
        if cursor is None:
            return found


async def test_the_whole_country_is_there_from_the_first_migration(world: World) -> None:
    found = await walk(world)
    assert METROPOLITAN | OVERSEAS | {world.territory} <= found.keys()
    for code in METROPOLITAN | OVERSEAS:
        entry, radius = found[code], reference.search_radius(code)
        assert entry["default_radius_km"] == radius.default_km, code
        assert entry["enlargement_km"] == radius.enlargement_km, code
        assert entry["zone"] == reference.territory_zone(code) == ZoneInfo(str(entry["zone"])).key
        if radius.region:
            assert entry["name"] == radius.label
        assert entry["region"]


async def test_names_are_french(world: World) -> None:
    found = await walk(world)
    assert found["2A"]["name"] == "Corse-du-Sud"
    assert found["2B"]["region"] == "Corse"
    assert found["75"]["region"] == "Île-de-France"
    assert found["977"]["name"] == "Saint-Barthélemy"


async def test_one_territory(world: World) -> None:
    caller = await world.pharmacist()
    assert (await caller.get("/v1/territories/36")).json() == {
        "id": "36",
        "name": "Indre",
        "region": "Centre-Val de Loire",
        "zone": "Europe/Paris",
        "default_radius_km": 50,
        "enlargement_km": 25,
    }
    problem(await caller.get("/v1/territories/20"), 404, "territory-not-found")
    problem(await caller.get("/v1/territories/%00"), 422, "invalid")
