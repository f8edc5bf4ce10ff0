"""Locations over HTTP."""

from service.directory import reference
from service.identity import Role
from service.kernel.ids import new_id
from tests.directory.support import admin, created, told
from tests.support import World, problem


async def test_a_doctor_opens_a_place_of_their_own_practice(world: World) -> None:
    doctor = await world.doctor()
    place = await created(
        doctor,
        "locations",
        organization_id=str(doctor.organization_id),
        name="Cabinet secondaire",
        address="1 place de la Mairie",
        postal_code="36100",
        commune="36088",
        reduced_mobility=True,
    )
    issoudun = reference.commune("36088")
    assert issoudun is not None
    assert (place["latitude"], place["longitude"]) == (issoudun.latitude, issoudun.longitude)
    assert place["commune_name"] == "Issoudun"
    assert place["territory"] == world.territory
    regulator = await world.regulator()
    answer = await regulator.get(f"/v1/locations/{place['id']}")
    assert answer.json() == place
    assert answer.headers["ETag"] == '"1"'
    [event] = await told(world.database, place["id"])
    assert event.type == "location.created"
    assert event.data == {"organization_id": str(doctor.organization_id)}
    problem(await regulator.get(f"/v1/locations/{new_id()}"), 404, "location-not-found")


async def test_a_doctors_side_keeps_to_its_own_organization(world: World) -> None:
    doctor, colleague = await world.doctor(), await world.doctor()
    body = {"organization_id": str(doctor.organization_id), "name": "X", "commune": "36044"}
    problem(await colleague.post("/v1/locations", body), 403, "foreign-organization")
    path = f"/v1/locations/{doctor.location_id}"
    problem(await colleague.patch(path, {"name": "À moi"}), 403, "foreign-organization")
    secretary = await world.caller(Role.DELEGATE, doctor.organization_id, "practice")
    assert (await secretary.patch(path, {"name": "Chez nous"})).json()["name"] == "Chez nous"
    pharmacist = await world.pharmacist()
    problem(await pharmacist.patch(path, {"name": "X"}), 403, "role-lacks-operation")


async def test_a_manager_writes_at_home_an_admin_everywhere(world: World) -> None:
    doctor, manager, boss = await world.doctor(), await world.manager(), await admin(world)
    stranger = await (await World(world.database, world.http).begin()).manager()
    path = f"/v1/locations/{doctor.location_id}"
    problem(await stranger.patch(path, {"name": "X"}), 403, "foreign-territory")
    body = {"organization_id": str(doctor.organization_id), "name": "X", "commune": "36044"}
    problem(await stranger.post("/v1/locations", body), 403, "foreign-territory")
    assert (await manager.patch(path, {"name": "Y"})).status_code == 200
    assert (await boss.patch(path, {"name": "Z"})).status_code == 200


async def test_what_is_wrong_is_named(world: World) -> None:
    doctor = await world.doctor()
    good = {"organization_id": str(doctor.organization_id), "name": "Cabinet", "commune": "36044"}
    for more, pointer, code in (
        ({"commune": "36999"}, "#/commune", "unknown-commune"),
        ({"postal_code": "3600"}, "#/postal_code", "string-pattern-mismatch"),
        ({"latitude": 46.8}, "#", "half-position"),
        ({"latitude": 91, "longitude": 0}, "#/latitude", "less-than-equal"),
        ({"phone": "12"}, "#/phone", "phone"),
        ({"floor": 2}, "#/floor", "extra-forbidden"),
    ):
        body = problem(await doctor.post("/v1/locations", good | more), 422, "invalid")
        assert [(e["pointer"], e["code"]) for e in body["errors"]] == [(pointer, code)]
    swapped = good | {"latitude": 1.69, "longitude": 46.81}
    body = problem(await doctor.post("/v1/locations", swapped), 422, "directory-invalid")
    assert [e["code"] for e in body["errors"]] == ["far-from-commune"]
    manager = await world.manager()
    nowhere = good | {"organization_id": str(new_id())}
    body = problem(await manager.post("/v1/locations", nowhere), 422, "directory-invalid")
    assert [e["code"] for e in body["errors"]] == ["unknown-organization"]


async def test_an_amendment_is_a_merge_patch(world: World) -> None:
    doctor = await world.doctor(at=(46.8123, 1.7))
    path = f"/v1/locations/{doctor.location_id}"
    before = (await doctor.get(path)).json()
    answer = await doctor.patch(path, {"phone": "0254000000", "address": None}, if_match=1)
    assert answer.json() == before | {"phone": "+33254000000", "version": 2}
    assert answer.headers["ETag"] == '"2"'
    problem(await doctor.patch(path, {"name": "Tard"}, if_match=1), 412, "version-mismatch")
    problem(await doctor.patch(path, {"commune": None}), 422, "invalid")
    problem(await doctor.patch(path, {"latitude": None}), 422, "invalid")
    problem(await doctor.patch(path, {"organization_id": str(new_id())}), 422, "invalid")
    assert (await doctor.patch(path, {})).json()["version"] == 2
    moved = (await doctor.patch(path, {"commune": "36088"})).json()
    issoudun = reference.commune("36088")
    assert issoudun is not None
    assert (moved["latitude"], moved["longitude"]) == (issoudun.latitude, issoudun.longitude)
    exact = await doctor.patch(path, {"latitude": 46.95, "longitude": 1.99})
    assert (exact.json()["latitude"], exact.json()["version"]) == (46.95, 4)
    reset = await doctor.patch(path, {"latitude": None, "longitude": None})
    assert reset.json()["latitude"] == issoudun.latitude
    closed = await doctor.patch(path, {"active": False})
    assert closed.json()["active"] is False
    events = await told(world.database, str(doctor.location_id))
    assert events[1].data["changed"] == ["commune", "latitude", "longitude"]


async def test_lists_are_narrowed(world: World) -> None:
    first, second = await world.doctor(), await world.doctor()
    await second.patch(f"/v1/locations/{second.location_id}", {"active": False, "commune": "36088"})

    async def found(**params: object) -> list[str]:
        sent = {name: str(value) for name, value in params.items()}
        answer = await first.get("/v1/locations", params=sent)
        assert answer.status_code == 200, answer.text
        return [item["id"] for item in answer.json()["items"]]

    here = world.territory
    assert await found(territory=here) == [str(second.location_id), str(first.location_id)]
    assert await found(practitioner=first.practitioner_id) == [str(first.location_id)]
    assert await found(organization=second.organization_id) == [str(second.location_id)]
    assert await found(territory=here, active="true") == [str(first.location_id)]
    assert await found(territory=here, commune="36088") == [str(second.location_id)]
    assert await found(practitioner=first.practitioner_id, territory="20") == []
