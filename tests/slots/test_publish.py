"""Publishing over HTTP, on a real database."""

from tests.support import World, problem, soon


async def test_a_slot_is_hidden_from_the_public_unless_said(world: World) -> None:
    doctor = await world.doctor()
    slot = await doctor.publish()
    assert slot["visibility"] == ["SNP"]
    assert slot["state"] == "open"
    assert slot["remaining"] == 1


async def test_two_slots_of_one_doctor_do_not_overlap(world: World) -> None:
    doctor = await world.doctor()
    first = await doctor.publish(soon(3))
    answer = await doctor.post("/v1/slots", doctor.slot(soon(3, 10)))
    assert problem(answer, 409, "overlapping-slot")["blocking_slots"] == [first["id"]]
