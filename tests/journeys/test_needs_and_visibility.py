"""Nobody had room, and nobody saw the room there was: both are told, to whom they concern."""

import asyncio
from typing import Any

from tests.needs.support import listed, need, place, recorded
from tests.support import Caller, World, problem, soon

Body = dict[str, Any]
LE_BLANC, CHATEAUROUX = "36018", "36044"


async def _near(caller: Caller, commune: str, **params: Any) -> Body:
    found = await caller.get(
        "/v1/slots", params={"commune": commune, "territory": caller.territory, **params}
    )
    assert found.status_code == 200, found.text
    body: Body = found.json()
    return body


async def test_nothing_fits_and_what_then(world: World) -> None:
    """Search, widen the radius as the answer says, read the codes, record that nothing fitted."""
    doctor = await world.doctor(at=place(LE_BLANC, north_km=40))
    pharmacist = await world.pharmacist()
    slot = await doctor.publish(soon(2), visibility=["PRO"])

    empty = await _near(pharmacist, LE_BLANC, radius_km=30)
    assert (empty["items"], empty["next_radius_km"]) == ([], 45)
    wider = await _near(pharmacist, LE_BLANC, radius_km=empty["next_radius_km"])
    assert [item["id"] for item in wider["items"]] == [slot["id"]]
    assert wider["next_radius_km"] is None
    assert 39 < wider["items"][0]["distance_km"] < 41

    # The patient has no car: nothing fits. The codes and their French come from the lists.
    names = (await pharmacist.get("/v1/code-lists")).json()["items"]
    assert {"motives", "specialties", "visibilities"} <= {item["name"] for item in names}
    answer = await pharmacist.get("/v1/code-lists/motives")
    motives = {item["code"]: item["label"] for item in answer.json()["items"]}
    assert motives["M03.14"]
    again = await pharmacist.get(
        "/v1/code-lists/motives", headers={"If-None-Match": answer.headers["ETag"]}
    )
    assert again.status_code == 304
    problem(await pharmacist.get("/v1/code-lists/moods"), 404, "code-list-not-found")

    wanted = need(LE_BLANC, reason="too_far", note="pas de voiture", case_id="OFF-12")
    first = await pharmacist.post("/v1/unmet-needs", wanted, key="no-car")
    replayed = await pharmacist.post("/v1/unmet-needs", wanted, key="no-car")
    assert (first.status_code, replayed.json()) == (201, first.json())
    assert replayed.headers["Idempotency-Replayed"] == "true"
    found = first.json()
    assert (found["radius_km"], found["open_slots"], found["open_slots_fitting"]) == (50, 1, 1)
    by_video = await recorded(pharmacist, need(LE_BLANC, mode="VR", reason="no_mode"))
    assert (by_video["open_slots"], by_video["open_slots_fitting"]) == (1, 0)
    assert await listed(pharmacist) == [by_video, found]
    assert await listed(await world.pharmacist()) == []  # another house reads its own


async def test_why_does_nobody_see_my_slot(world: World) -> None:
    """The doctor asks, is told what is wrong, mends it, and sees that it is shown and booked."""
    doctor = await world.doctor()
    pharmacist, regulator = await world.pharmacist(), await world.regulator()
    slot = await doctor.publish(soon(2), visibility=["CPTS"])
    path = f"/v1/slots/{slot['id']}"
    warned = [warning["code"] for warning in slot["visibility_warnings"]]
    assert warned == ["nobody-can-see", "cpts-not-named"]

    async def report() -> Body:
        answer = await doctor.get(f"{path}/visibility")
        assert answer.status_code == 200, answer.text
        body: Body = answer.json()
        return body

    assert ((await report())["who_can"], (await report())["listed"]) == ([], 0)
    assert (await _near(pharmacist, CHATEAUROUX))["items"] == []
    problem(await pharmacist.get(path), 404, "slot-not-found")
    problem(await regulator.get(f"{path}/visibility"), 403, "role-lacks-operation")

    amended = await doctor.patch(path, {"visibility": ["SNP", "PRO"]}, if_match=slot["version"])
    assert (amended.status_code, amended.json()["visibility_warnings"]) == (200, [])
    seen = await report()
    assert seen["visibility_warnings"] == []
    assert {(who["role"], who["grants"]) for who in seen["who_can"]} == {
        ("pharmacist", 1),
        ("regulator", 1),
    }
    for caller in (pharmacist, regulator):
        found = await _near(caller, CHATEAUROUX)
        assert [item["id"] for item in found["items"]] == [slot["id"]]

    # The server writes what it listed every ten seconds.
    for _ in range(120):
        if (await report())["listed"] == 2:
            break
        await asyncio.sleep(0.25)
    seen = await report()
    assert (seen["listed"], [day["listed"] for day in seen["listed_by_day"]]) == (2, [2])
    assert seen["visible_since"] is not None

    withdrawn = await doctor.delete(path, if_match="*")
    assert withdrawn.status_code == 204, withdrawn.text
    assert ((await report())["visible_since"], (await report())["state"]) == (None, "withdrawn")
