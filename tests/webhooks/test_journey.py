"""From a booking to a receiver that believes it: signed, thin, in scope."""

from datetime import timedelta

import pytest
from sqlalchemy import insert
from standardwebhooks import Webhook, WebhookVerificationError

from service.directory.tables import practitioner_locations
from service.identity import OPERATOR, Role, list_grants, revoke_client, revoke_grant
from tests.support import problem, soon
from tests.webhooks.conftest import Broker
from tests.webhooks.receivers import receiving
from tests.webhooks.support import (
    booked,
    cancelled,
    delivered,
    deliveries,
    drain,
    fan,
    handed_on,
    read,
    slots_of,
    subscribed,
)


async def test_a_booking_reaches_its_doctor_signed_and_without_a_patient(broker: Broker) -> None:
    world = await broker.world()
    doctor, pharmacist = await world.doctor(), await world.pharmacist()
    async with receiving() as receiver:
        endpoint = await subscribed(doctor, receiver.url, events=["booking.created"])
        [slot] = await slots_of(doctor, 1)
        booking = await booked(pharmacist, slot)
        [received] = await receiver.count(1)
        told = received.verified(endpoint["secret"])
        [delivery] = await delivered(doctor, endpoint, lambda all_: all_[0]["state"] == "delivered")
    assert told == received.json
    assert told["type"] == "booking.created"
    assert told["data"]["subject_id"] == booking["id"]
    assert told["data"]["slot_id"] == slot["id"]
    assert told["data"]["state"] == "booked"
    assert set(told["data"]) == {
        *("subject_id", "position", "state", "slot_id", "practitioner_id"),
        *("practitioner_organization_id", "organization_id", "starts_at", "ends_at"),
        *("case_id", "call_id"),
    }
    assert delivery["id"] == received.id
    assert (delivery["attempts"], delivery["last_status"]) == (1, 204)
    assert (delivery["subject_id"], delivery["next_attempt_at"]) == (booking["id"], None)


async def test_a_body_that_was_changed_is_not_believed(broker: Broker) -> None:
    world = await broker.world()
    manager = await world.manager()
    async with receiving() as receiver:
        endpoint = await subscribed(manager, receiver.url)
        answer = await manager.post(f"/v1/webhook-endpoints/{endpoint['id']}/test")
        assert answer.status_code == 202, answer.text
        [received] = await receiver.count(1)
    assert received.verified(endpoint["secret"]) == {
        "type": "webhook.test",
        "timestamp": answer.json()["created_at"].replace("Z", "+00:00"),
        "data": {"endpoint_id": endpoint["id"]},
    }
    assert received.id == answer.json()["id"]
    with pytest.raises(WebhookVerificationError):
        Webhook(endpoint["secret"]).verify(received.body + b" ", dict(received.headers))


async def test_nobody_is_sent_what_their_scope_forbids(broker: Broker) -> None:
    """Doctors, their delegates, pharmacies, centres, here and elsewhere, over a day's work."""
    here, there = await broker.world(), await broker.world()
    doctor, other_doctor = await here.doctor(), await here.doctor()
    pharmacist, other_pharmacist = await here.pharmacist(), await here.pharmacist()
    regulator, manager = await here.regulator(), await here.manager()
    far_pharmacist, far_regulator = await there.pharmacist(), await there.regulator()
    callers = {
        "doctor": doctor,
        "other doctor": other_doctor,
        "pharmacist": pharmacist,
        "other pharmacist": other_pharmacist,
        "regulator": regulator,
        "manager": manager,
        "far pharmacist": far_pharmacist,
        "far regulator": far_regulator,
    }
    async with receiving() as receiver:
        endpoints = {}
        for name, caller in callers.items():
            endpoints[name] = await subscribed(caller, f"{receiver.url}/{name.replace(' ', '-')}")
        [slot] = await slots_of(doctor, 1, capacity=3)
        hidden = await doctor.publish(visibility=["SNP"])
        await booked(pharmacist, slot)
        cancelled_one = await booked(regulator, hidden)
        await cancelled(regulator, cancelled_one)
        await handed_on(broker)
        heard = {
            name: [(one["type"], one["subject_id"]) for one in await deliveries(caller, endpoint)]
            for (name, caller), endpoint in zip(callers.items(), endpoints.values(), strict=True)
        }
        await receiver.count(sum(map(len, heard.values())))
    published, of_hidden = ("slot.published", slot["id"]), ("slot.published", hidden["id"])
    room, of_hidden_room = ("slot.changed", slot["id"]), ("slot.changed", hidden["id"])
    assert heard["far pharmacist"] == heard["far regulator"] == []
    assert set(heard["other doctor"]) == set(heard["other pharmacist"]) == {published, room}
    assert set(heard["manager"]) == {room, of_hidden_room}
    assert set(heard["pharmacist"]) - {published} == {
        one for one in heard["doctor"] if one[0] == "booking.created" and one in heard["pharmacist"]
    }
    assert {type_ for type_, _ in heard["doctor"]} == {
        "slot.published", "booking.created", "booking.cancelled",
    }  # fmt: skip
    assert {published, of_hidden, room} < set(heard["regulator"])
    # A centre that booked on the hidden slot hears of its booking.
    assert ("booking.cancelled", cancelled_one["id"]) in heard["regulator"]
    sent = {(one.id, one.json["type"]) for one in receiver.received}
    assert len(sent) == sum(map(len, heard.values()))


@pytest.mark.parametrize("how", ["grant", "client"])
async def test_who_lost_the_right_is_told_nothing_more(broker: Broker, how: str) -> None:
    world = await broker.world()
    doctor, pharmacist = await world.doctor(), await world.pharmacist()
    colleague = await world.caller(
        Role.DOCTOR,
        doctor.organization_id,
        "practice",
        practitioner_ids=[doctor.practitioner_id] if doctor.practitioner_id else [],
    )
    async with receiving() as receiver:
        endpoint = await subscribed(doctor, receiver.url, events=["booking.created"])
        one, two, three = await slots_of(doctor, 3)
        await booked(pharmacist, one)
        await receiver.count(1)
        async with broker.database.unit_of_work() as uow:
            if how == "client":
                await revoke_client(uow, doctor.secret.client_id)
            else:
                mine = {"organization": doctor.organization_id}
                for grant in await list_grants(uow, mine, limit=10):
                    if grant.client and grant.client.id == doctor.secret.client_id:
                        await revoke_grant(uow, OPERATOR, grant.id)
        await booked(pharmacist, two)
        await handed_on(broker)
        now = await read(colleague, endpoint)
        assert (now["enabled"], now["disabled_reason"]) == (False, "right-ended")
        # Whoever works there still may answer for it, by a right of their own.
        amended = await colleague.patch(
            f"/v1/webhook-endpoints/{endpoint['id']}", {"enabled": True}, if_match=now["version"]
        )
        assert (amended.status_code, amended.json()["enabled"]) == (200, True), amended.text
        await booked(pharmacist, three)
        await receiver.count(2)
    slots = [received.json["data"]["slot_id"] for received in receiver.received]
    assert slots == [one["id"], three["id"]]


async def test_what_was_theirs_when_it_happened_and_is_not_any_more_is_not_sent(
    idle: Broker,
) -> None:
    """A delivery is made anew at each attempt, by the right as it is then."""
    world = await idle.world()
    doctor, pharmacist = await world.doctor(), await world.pharmacist()
    async with receiving() as receiver:
        endpoint = await subscribed(pharmacist, receiver.url, events=["slot.changed"])
        [slot] = await slots_of(doctor, 1, capacity=4)
        other = await world.pharmacist()
        await fan(idle.database)
        await booked(other, slot)
        await fan(idle.database)
        assert [one["state"] for one in await deliveries(pharmacist, endpoint)] == ["pending"]
        narrowed = await doctor.patch(
            f"/v1/slots/{slot['id']}", {"visibility": ["SNP"]}, if_match="*"
        )
        assert narrowed.status_code == 200, narrowed.text
        await drain(idle.database, endpoint)
        [delivery] = await deliveries(pharmacist, endpoint)
    assert (delivery["state"], delivery["last_failure"]) == ("abandoned", "out-of-scope")
    assert receiver.received == []


async def test_a_slot_that_moves_to_another_territory_is_told_in_both(idle: Broker) -> None:
    here, there = await idle.world(), await idle.world()
    doctor, ours, theirs = await here.doctor(), await here.pharmacist(), await there.pharmacist()
    place = await there.location(await there.organization("practice"))
    works = {"practitioner_id": doctor.practitioner_id, "location_id": place}
    async with idle.database.unit_of_work() as uow:
        await uow.execute(insert(practitioner_locations), works)
    endpoints = [await subscribed(one, "http://127.0.0.1:1/") for one in (ours, theirs)]
    [slot] = await slots_of(doctor, 1)
    moved_there = await doctor.patch(
        f"/v1/slots/{slot['id']}", {"location_id": str(place)}, if_match=1
    )
    assert moved_there.status_code == 200, moved_there.text
    await fan(idle.database)
    told = [
        [(one["type"], one["subject_id"]) for one in await deliveries(caller, endpoint)]
        for caller, endpoint in zip((ours, theirs), endpoints, strict=True)
    ]
    assert told == [
        [("slot.withdrawn", slot["id"]), ("slot.published", slot["id"])],
        [("slot.amended", slot["id"])],
    ]


async def test_the_secret_is_shown_once_and_rotated_with_both_signing(broker: Broker) -> None:
    world = await broker.world()
    doctor = await world.doctor()
    async with receiving() as receiver:
        endpoint = await subscribed(doctor, receiver.url)
        path = f"/v1/webhook-endpoints/{endpoint['id']}"
        assert endpoint["secret"] not in (await doctor.get(path)).text
        rotated = await doctor.post(f"{path}/secret-rotation", key="rotate-1")
        again = await doctor.post(f"{path}/secret-rotation", key="rotate-1")
        assert rotated.status_code == 201
        assert again.json() == rotated.json()
        assert again.headers["Idempotency-Replayed"] == "true"
        new = rotated.json()["secret"]
        assert new != endpoint["secret"]
        await doctor.post(f"{path}/test")
        [both] = await receiver.count(1)
        for secret in (new, endpoint["secret"]):
            assert both.verified(secret)["type"] == "webhook.test"
        await broker.clock.shift(timedelta(hours=25))
        assert (await read(doctor, endpoint))["previous_secret_until"] is None
        await doctor.post(f"{path}/test")
        _, one = await receiver.count(2)
        assert one.verified(new)["type"] == "webhook.test"
        with pytest.raises(WebhookVerificationError):
            one.verified(endpoint["secret"])


async def test_what_cannot_be_an_endpoint_is_refused_where_it_is_wrong(broker: Broker) -> None:
    world = await broker.world()
    doctor, regulator = await world.doctor(), await world.regulator()
    for url in ("ftp://x.fr/", "http://10.0.0.1/", "https://u:p@x.fr/", "https://x.fr/#a", "x"):
        answer = await doctor.post("/v1/webhook-endpoints", {"url": url})
        body = problem(answer, 422, "webhook-endpoint-invalid")
        assert {error["pointer"] for error in body["errors"]} == {"#/url"}
    told = {"url": "https://x.fr/", "format": "rs-sas-rdv"}
    body = problem(
        await doctor.post("/v1/webhook-endpoints", told), 422, "webhook-endpoint-invalid"
    )
    assert body["errors"][0]["pointer"] == "#/format"
    made = await subscribed(regulator, **told)
    assert set(made["events"]) == {
        f"booking.{what}" for what in ("created", "rescheduled", "cancelled", "reported")
    }
    told["events"] = ["call.opened"]  # type: ignore[assignment]  # a body is JSON: any value
    body = problem(
        await regulator.post("/v1/webhook-endpoints", told), 422, "webhook-endpoint-invalid"
    )
    assert body["errors"][0]["pointer"] == "#/events/0"
    wrong = {"url": "https://x.fr/", "events": ["booking.made"]}
    body = problem(await doctor.post("/v1/webhook-endpoints", wrong), 422, "invalid")
    assert body["errors"][0]["pointer"] == "#/events/0"


async def test_who_turns_an_endpoint_elsewhere_hears_what_they_may_see(idle: Broker) -> None:
    """Colleagues keep an endpoint together; none hears more by it than by asking."""
    here, there = await idle.world(), await idle.world()
    centre = await here.organization("sas")
    both = [here.territory, there.territory]
    wide = await here.caller(Role.REGULATOR, centre, "sas", territories=both)
    narrow = await here.caller(Role.REGULATOR, centre, "sas")
    manager = await here.caller(Role.MANAGER, centre, "sas")
    doctor, far_doctor = await here.doctor(), await there.doctor()
    async with receiving() as receiver:
        endpoint = await subscribed(wide, receiver.url, events=["slot.published"])
        path = f"/v1/webhook-endpoints/{endpoint['id']}"
        seen = [await doctor.publish(soon(3)), await far_doctor.publish(soon(3))]
        await fan(idle.database)
        await drain(idle.database, endpoint)
        problem(await manager.get(path), 404, "webhook-endpoint-not-found")
        turned = await narrow.patch(path, {"url": f"{receiver.url}/mine"}, if_match="*")
        assert turned.status_code == 200, turned.text
        seen += [await doctor.publish(soon(5)), await far_doctor.publish(soon(5))]
        await fan(idle.database)
        await drain(idle.database, endpoint)
    heard = [one.json["data"]["subject_id"] for one in receiver.received]
    # Subjects do not wait for each other: only one subject's messages keep their order.
    assert sorted(heard) == sorted(slot["id"] for slot in seen[:3])
