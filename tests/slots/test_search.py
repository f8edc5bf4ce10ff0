"""What I may book: every parameter of the search, on a real database."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from service.directory.reference import commune, distance_km
from service.kernel.ids import new_id
from service.slots.schemas import SearchOut
from tests.conftest import Clock
from tests.support import CHATEAUROUX, Caller, World, problem, soon

Body = dict[str, Any]


async def _search(caller: Caller, **params: Any) -> list[Body]:
    answer = await caller.get("/v1/slots", params=params)
    assert answer.status_code == 200, answer.text
    # A search is written without its model: it must be what the model would have written.
    assert SearchOut.model_validate_json(answer.content).model_dump(mode="json") == answer.json()
    items: list[Body] = answer.json()["items"]
    return items


async def _ids(caller: Caller, **params: Any) -> list[str]:
    return [slot["id"] for slot in await _search(caller, **params)]


async def _walk(caller: Caller, **params: Any) -> list[Body]:
    """Follow the cursors to the end."""
    items: list[Body] = []
    cursor = None
    while True:
        page = await caller.get(
            "/v1/slots", params={**params, **({"cursor": cursor} if cursor else {})}
        )
        assert page.status_code == 200, page.text
        items += page.json()["items"]
        cursor = page.json()["next_cursor"]
        if cursor is None:
            return items
        assert len(page.json()["items"]) == params["limit"]


async def _publish(doctor: Caller, starts: Sequence[datetime], **members: Any) -> list[str]:
    answer = await doctor.post(
        "/v1/slots", {"slots": [doctor.slot(start, **members) for start in starts]}
    )
    assert answer.status_code == 201, answer.text
    return [slot["id"] for slot in answer.json()["slots"]]


# --- when ---------------------------------------------------------------------------------------


async def test_without_a_window_the_next_72_hours_are_searched(world: World) -> None:
    doctor, regulator = await world.doctor(), await world.regulator()
    inside, *_ = await _publish(doctor, [soon(71.5), soon(72.5), soon(200)])
    assert await _ids(regulator) == [inside]


async def test_from_alone_opens_72_hours_from_there(world: World) -> None:
    doctor, regulator = await world.doctor(), await world.regulator()
    _, first, last, _ = await _publish(doctor, [soon(99), soon(100), soon(171.5), soon(172)])
    assert await _ids(regulator, **{"from": soon(100).isoformat()}) == [first, last]


async def test_the_window_takes_its_begin_and_leaves_its_end(world: World) -> None:
    doctor, regulator = await world.doctor(), await world.regulator()
    _, first, middle, _ = await _publish(doctor, [soon(2), soon(3), soon(4), soon(5)])
    window = {"from": soon(3).isoformat(), "to": soon(5).isoformat()}
    assert await _ids(regulator, **window) == [first, middle]


async def test_a_window_of_14_days_is_the_longest(world: World) -> None:
    regulator = await world.regulator()
    start = soon(1)
    longest = {"from": start.isoformat(), "to": (start + timedelta(days=14)).isoformat()}
    assert await _search(regulator, **longest) == []
    longer = {**longest, "to": (start + timedelta(days=14, minutes=1)).isoformat()}
    body = problem(await regulator.get("/v1/slots", params=longer), 422, "search-invalid")
    assert [(e["pointer"], e["code"]) for e in body["errors"]] == [("to", "window")]


async def test_an_end_before_the_begin_is_refused(world: World) -> None:
    regulator = await world.regulator()
    backwards = {"from": soon(5).isoformat(), "to": soon(4).isoformat()}
    problem(await regulator.get("/v1/slots", params=backwards), 422, "search-invalid")


async def test_what_has_started_is_not_listed_even_when_asked_for(
    world: World, clock: Clock
) -> None:
    doctor, regulator = await world.doctor(), await world.regulator()
    _, later = await _publish(doctor, [soon(1), soon(3)])
    await clock.shift(timedelta(hours=2))
    assert await _ids(regulator, **{"from": soon(-1).isoformat()}) == [later]


@pytest.mark.parametrize("offset", ["+01:00", " 01:00", "-03:00", "Z"])
async def test_an_instant_may_come_with_any_offset_even_with_its_plus_lost(
    world: World, offset: str
) -> None:
    doctor, regulator = await world.doctor(), await world.regulator()
    before, after = await _publish(doctor, [soon(30), soon(31)])
    zone = datetime.fromisoformat(f"2026-01-01T00:00:00{offset.replace(' ', '+')}").tzinfo
    instant = soon(31).astimezone(zone).strftime("%Y-%m-%dT%H:%M:%S") + offset
    assert await _ids(regulator, **{"from": instant}) == [after]
    assert await _ids(regulator, to=instant) == [before]


@pytest.mark.parametrize(
    "window",
    [
        {"from": "2026-12-01T14:00:00"},
        {"from": "tomorrow"},
        {"from": "1764594000"},
        {"to": "2026-12-01"},
        {"from": "0001-01-01T00:00:00+14:00"},
        {"from": "9999-12-31T23:00:00Z", "to": "9999-12-31T23:30:00Z"},
        {"from": "2026-12-01T14:00:00Z\x00"},
    ],
)
async def test_an_instant_that_is_none_is_refused(world: World, window: dict[str, str]) -> None:
    regulator = await world.regulator()
    body = problem(await regulator.get("/v1/slots", params=window), 422, "invalid")
    assert {error["pointer"] for error in body["errors"]} == set(window)


# --- where --------------------------------------------------------------------------------------

NORTH_12, NORTH_25, NORTH_40 = ((CHATEAUROUX[0] + km / 111.195, CHATEAUROUX[1])
                                for km in (12, 25, 40))  # fmt: skip
HERE = f"{CHATEAUROUX[0]},{CHATEAUROUX[1]}"


async def test_near_lists_by_distance_with_the_right_distances(world: World) -> None:
    places = [NORTH_25, CHATEAUROUX, NORTH_40, NORTH_12]
    doctors = [await world.doctor(at=at) for at in places]
    far, here, _, near = [(await doctor.publish(soon(2)))["id"] for doctor in doctors]
    found = await _search(
        await world.regulator(), near=HERE, territory=world.territory, sort="distance"
    )
    assert [slot["id"] for slot in found] == [here, near, far]
    assert [slot["distance_km"] for slot in found] == [
        round(distance_km(*CHATEAUROUX, *at), 1) for at in (CHATEAUROUX, NORTH_12, NORTH_25)
    ]
    assert [slot["distance_km"] for slot in found] == [0, 12, 25]


async def test_the_radius_is_a_circle_and_not_a_box(world: World) -> None:
    corner = (CHATEAUROUX[0] + 0.08, CHATEAUROUX[1] + 0.117)  # 8.9 km north, 8.9 km east
    doctor, regulator = await world.doctor(at=corner), await world.regulator()
    slot = (await doctor.publish())["id"]
    away = distance_km(*CHATEAUROUX, *corner)
    params = {"near": HERE, "territory": world.territory}
    assert await _ids(regulator, radius_km=away - 0.01, **params) == []
    assert await _ids(regulator, radius_km=away + 0.01, **params) == [slot]


async def test_a_commune_stands_for_its_place(world: World) -> None:
    issoudun = commune("36088")
    assert issoudun is not None
    place = (issoudun.latitude, issoudun.longitude)
    doctor, regulator = await world.doctor(at=place), await world.regulator()
    slot = (await doctor.publish())["id"]
    params = {"territory": world.territory, "radius_km": 1}
    assert await _ids(regulator, commune="36088", **params) == [slot]
    assert await _ids(regulator, commune="36044", **params) == []


async def test_an_unknown_commune_is_refused(world: World) -> None:
    answer = await (await world.regulator()).get("/v1/slots", params={"commune": "99999"})
    body = problem(answer, 422, "search-invalid")
    assert [(e["pointer"], e["code"]) for e in body["errors"]] == [("commune", "unknown-commune")]


@pytest.mark.parametrize("near", ["46.8", "91,0", "0,181", "nan,1", "a,b", "46.8;1.6", "inf,0", ""])
async def test_a_place_that_is_none_is_refused(world: World, near: str) -> None:
    answer = await (await world.regulator()).get("/v1/slots", params={"near": near})
    problem(answer, 422, "search-invalid")


@pytest.mark.parametrize("params", [{"sort": "distance"}, {"radius_km": 10}])
async def test_a_distance_needs_a_centre(world: World, params: Body) -> None:
    problem(await (await world.regulator()).get("/v1/slots", params=params), 422, "search-invalid")


@pytest.mark.parametrize("radius", [0, -1, 200.1, "nan"])
async def test_the_radius_ends_at_200_km(world: World, radius: Any) -> None:
    params = {"near": HERE, "radius_km": radius}
    problem(await (await world.regulator()).get("/v1/slots", params=params), 422, "invalid")


async def test_an_empty_answer_near_a_place_says_how_far_to_look_next(world: World) -> None:
    regulator = await world.regulator()

    async def next_radius(**params: Any) -> float | None:
        answer = await regulator.get("/v1/slots", params=params)
        assert answer.json()["items"] == []
        radius: float | None = answer.json()["next_radius_km"]
        return radius

    ocean = "-40,-120"
    assert await next_radius(near=ocean) == 45
    assert await next_radius(near=ocean, radius_km=45) == 60
    assert await next_radius(near=ocean, radius_km=195) == 200
    assert await next_radius(near=ocean, radius_km=200) is None
    assert await next_radius() is None


async def test_the_next_radius_is_not_told_when_something_was_found(world: World) -> None:
    doctor, regulator = await world.doctor(), await world.regulator()
    await doctor.publish()
    answer = await regulator.get("/v1/slots", params={"near": HERE, "territory": world.territory})
    assert len(answer.json()["items"]) == 1
    assert answer.json()["next_radius_km"] is None


@pytest.mark.parametrize(
    ("commune", "first", "second"),
    [
        ("36044", 50, 75),  # the Indre, as the national table has it
        ("75056", 5, 8),  # Paris: half of the radius, rounded up there
        ("97411", 10, 15),  # La Réunion
        ("97302", 30, 45),  # Cayenne: the table has 0, so 30 and half of it
        ("97701", 30, 45),  # Saint-Barthélemy, which it lacks
        ("98818", 30, 45),  # Nouméa
        ("2A004", 30, 45),
    ],
)
async def test_each_territory_has_its_own_radius_and_step(
    world: World, commune: str, first: int, second: int
) -> None:
    regulator = await world.regulator()  # of no place near any of these
    params: Body = {"commune": commune, "practitioner": str(new_id())}
    answer = (await regulator.get("/v1/slots", params=params)).json()
    assert (answer["items"], answer["next_radius_km"]) == ([], second)
    step = second - first
    wider = await regulator.get("/v1/slots", params={**params, "radius_km": second})
    assert wider.json()["next_radius_km"] == second + step


@pytest.mark.parametrize("commune", ["36044", "97411"])
async def test_steps_end_at_200_km_exactly_and_then_none_is_told(
    world: World, commune: str
) -> None:
    regulator = await world.regulator()
    params: Body = {"commune": commune, "practitioner": str(new_id())}
    radii: list[float] = []
    following: float | None = 0
    while following is not None:
        asked = {**params, **({"radius_km": following} if following else {})}
        answer = await regulator.get("/v1/slots", params=asked)
        assert answer.status_code == 200, answer.text  # what is offered is never refused
        following = answer.json()["next_radius_km"]
        radii += [] if following is None else [following]
    assert radii == sorted(set(radii))
    assert radii[-1] == 200


async def test_what_the_next_radius_offers_finds_the_slot(world: World) -> None:
    saint_denis = commune("97411")
    assert saint_denis is not None
    at = saint_denis.latitude - 12 / 111.195, saint_denis.longitude  # outside of 10 km
    doctor, regulator = await world.doctor(at=at), await world.regulator()
    slot = await doctor.publish()
    params = {"commune": "97411", "practitioner": str(doctor.practitioner_id)}
    empty = (await regulator.get("/v1/slots", params=params)).json()
    assert empty["items"] == []
    wider = {**params, "radius_km": empty["next_radius_km"]}
    assert await _ids(regulator, **wider) == [slot["id"]]


async def test_the_end_of_a_list_is_not_an_empty_answer(world: World) -> None:
    doctor, regulator = await world.doctor(), await world.regulator()
    _, last = await _publish(doctor, [soon(2), soon(3)])
    params: Body = {"near": HERE, "territory": world.territory, "limit": 1}
    page = (await regulator.get("/v1/slots", params=params)).json()
    await doctor.delete(f"/v1/slots/{last}", if_match="*")
    rest = await regulator.get("/v1/slots", params={**params, "cursor": page["next_cursor"]})
    assert (rest.json()["items"], rest.json()["next_radius_km"]) == ([], None)


async def test_without_a_place_all_granted_territories_are_searched(world: World) -> None:
    other = await World(world.database, world.http).begin()
    doctors = [await world.doctor(), await other.doctor()]
    one, two = [(await doctor.publish(soon(n + 2)))["id"] for n, doctor in enumerate(doctors)]
    sas = await world.organization("sas")
    both = await world.caller(
        (await world.regulator()).role, sas, "sas", territories=[world.territory, other.territory]
    )
    assert await _ids(both) == [one, two]
    assert await _ids(both, territory=other.territory) == [two]
    assert await _ids(await world.regulator()) == [one]


async def test_a_foreign_territory_shows_nothing(world: World) -> None:
    other = await World(world.database, world.http).begin()
    await (await other.doctor()).publish(visibility=["PUBLIC", "PRO", "SNP"])
    regulator = await world.regulator()
    assert await _ids(regulator, territory=other.territory) == []
    assert await _ids(regulator, territory="zzz") == []


# --- which --------------------------------------------------------------------------------------


async def test_each_filter_keeps_what_it_names(world: World) -> None:
    community = await world.organization("cpts")
    ramp = await world.doctor()
    assert ramp.location_id is not None
    ramp.location_id = await world.location(ramp.organization_id, reduced_mobility=True)
    plain, regulator = await world.doctor(), await world.regulator()
    accessible = (await ramp.publish(soon(2)))["id"]
    video = (await plain.publish(soon(3), modes=["VR", "HH"]))["id"]
    paediatrics = (await plain.publish(soon(4), specialty="SM40"))["id"]
    shared = (await plain.publish(soon(5), visibility=["SNP", "CPTS"], cpts_ids=[str(community)]))[
        "id"
    ]
    assert await _ids(regulator) == [accessible, video, paediatrics, shared]
    assert await _ids(regulator, mode="VR") == [video]
    assert await _ids(regulator, mode="HH") == [video]
    assert await _ids(regulator, mode="AMB") == [accessible, paediatrics, shared]
    assert await _ids(regulator, specialty="SM40") == [paediatrics]
    assert await _ids(regulator, cpts=str(community)) == [shared]
    assert await _ids(regulator, cpts=str(new_id())) == []
    assert await _ids(regulator, practitioner=str(ramp.practitioner_id)) == [accessible]
    assert await _ids(regulator, practitioner=str(new_id())) == []
    assert await _ids(regulator, reduced_mobility=True) == [accessible]
    assert await _ids(regulator, mode="VR", specialty="SM40") == []
    everything = {
        "mode": "AMB", "near": HERE, "radius_km": 5, "reduced_mobility": True,
        "practitioner": str(ramp.practitioner_id), "territory": world.territory,
    }  # fmt: skip
    assert await _ids(regulator, **everything) == [accessible]


@pytest.mark.parametrize(
    "params", [{"mode": "XX"}, {"cpts": "x"}, {"limit": 0}, {"limit": 201}, {"sort": "price"}]
)
async def test_a_parameter_that_makes_no_sense_is_named(world: World, params: Body) -> None:
    body = problem(await (await world.regulator()).get("/v1/slots", params=params), 422, "invalid")
    assert [error["pointer"] for error in body["errors"]] == list(params)


async def test_walk_in_slots_are_listed_held_full_and_withdrawn_ones_are_not(
    world: World, clock: Clock
) -> None:
    doctor, regulator = await world.doctor(), await world.regulator()
    free, held, gone, open_house = [
        await doctor.publish(soon(n), walk_in=walk_in)
        for n, walk_in in ((20, False), (21, False), (22, False), (23, True))
    ]
    await regulator.post(f"/v1/slots/{held['id']}/holds", {"seconds": 600})
    await doctor.delete(f"/v1/slots/{gone['id']}", if_match="*")
    assert await _ids(regulator) == [free["id"], open_house["id"]]
    await clock.shift(timedelta(seconds=601))
    assert await _ids(regulator) == [free["id"], held["id"], open_house["id"]]


async def test_a_search_shows_a_slot_as_reading_it_does(world: World) -> None:
    doctor, regulator = await world.doctor(), await world.regulator()
    seats = await doctor.publish(soon(20), capacity=3, overbooking=1, note="2e étage")
    await doctor.publish(soon(21), walk_in=True, visibility=["PUBLIC", "PRO"], specialty="SM54")
    assert (await regulator.post(f"/v1/slots/{seats['id']}/holds", {})).status_code == 201
    latitude, longitude = CHATEAUROUX
    found = await _search(regulator, near=f"{latitude},{longitude}")
    assert len(found) == 2
    for slot in found:
        assert slot.pop("distance_km") is not None
        read: Body = (await regulator.get(f"/v1/slots/{slot['id']}")).json()
        assert read.pop("distance_km") is None
        assert slot == read


async def test_a_slot_with_a_seat_left_beside_a_hold_is_listed(world: World) -> None:
    doctor, regulator = await world.doctor(), await world.regulator()
    slot = await doctor.publish(capacity=2)
    await regulator.post(f"/v1/slots/{slot['id']}/holds")
    found = await _search(regulator)
    assert [(s["id"], s["capacity"], s["remaining"]) for s in found] == [(slot["id"], 2, 1)]


async def test_a_slot_that_the_public_may_see_is_listed_for_professionals(world: World) -> None:
    doctor, pharmacist = await world.doctor(), await world.pharmacist()
    await doctor.publish(soon(2))
    public = await doctor.publish(soon(3), visibility=["PUBLIC"])
    assert await _ids(pharmacist) == [public["id"]]


# --- pages --------------------------------------------------------------------------------------


async def test_walking_the_pages_by_start_gives_each_slot_once(world: World) -> None:
    doctors = [await world.doctor() for _ in range(3)]  # three slots at each instant
    starts = [soon(2, 20 * n) for n in range(9)]
    published = {slot for doctor in doctors for slot in await _publish(doctor, starts)}
    regulator = await world.regulator()
    for limit in (1, 4, 9, 26, 27, 200):
        walked = await _walk(regulator, limit=limit)
        assert len(walked) == 27
        assert {slot["id"] for slot in walked} == published
        assert walked == sorted(
            walked, key=lambda s: (datetime.fromisoformat(s["starts_at"]), UUID(s["id"]))
        )


async def test_walking_the_pages_by_distance_gives_each_slot_once(world: World) -> None:
    doctors = [await world.doctor(at=at) for at in (NORTH_25, CHATEAUROUX, NORTH_12, NORTH_12)]
    starts = [soon(2, 20 * n) for n in range(5)]
    published = {slot for doctor in doctors for slot in await _publish(doctor, starts)}
    regulator = await world.regulator()
    params = {"near": HERE, "territory": world.territory, "sort": "distance"}
    for limit in (1, 3, 7, 19, 20):
        walked = await _walk(regulator, limit=limit, **params)
        assert len(walked) == 20
        assert {slot["id"] for slot in walked} == published
        assert walked == sorted(
            walked,
            key=lambda s: (
                s["distance_km"],
                datetime.fromisoformat(s["starts_at"]),
                UUID(s["id"]),
            ),
        )


async def test_a_page_goes_on_where_it_ended_though_slots_came_and_went(world: World) -> None:
    doctor, regulator = await world.doctor(), await world.regulator()
    ids = await _publish(doctor, [soon(2, 20 * n) for n in range(6)])
    first = (await regulator.get("/v1/slots", params={"limit": 3})).json()
    await doctor.delete(f"/v1/slots/{ids[2]}", if_match="*")  # the one where the page ended
    await doctor.publish(soon(1))
    rest = await _ids(regulator, limit=3, cursor=first["next_cursor"])
    assert rest == ids[3:]


async def test_a_cursor_of_another_search_is_malformed(world: World) -> None:
    doctor, regulator, osnp = await world.doctor(), await world.regulator(), await world.regulator()
    await _publish(doctor, [soon(2, 20 * n) for n in range(3)])
    first = (await regulator.get("/v1/slots", params={"limit": 1})).json()
    cursor = first["next_cursor"]
    assert (await regulator.get("/v1/slots", params={"limit": 2, "cursor": cursor})).is_success
    for caller, params in (
        (regulator, {"mode": "AMB"}),
        (regulator, {"territory": world.territory}),
        (regulator, {"near": HERE}),
        (osnp, {}),
    ):
        answer = await caller.get("/v1/slots", params={**params, "cursor": cursor})
        body = problem(answer, 400, "invalid-cursor")
        assert [error["pointer"] for error in body["errors"]] == ["cursor"]
