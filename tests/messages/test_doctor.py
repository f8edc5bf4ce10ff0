"""The doctor hears of bookings, changes and cancellations at once; never who the patient is."""

from datetime import timedelta

from service import messages
from service.slots.tasks import settle
from tests.messages.conftest import House, booked, doctor
from tests.messages.post import body
from tests.operations.hunt import found_in
from tests.support import soon

NAME = "Zzyzxlabel"
TEXT = "fièvre hémorragique"


async def test_a_doctor_is_told_when_where_and_by_whom(house: House) -> None:
    world = await house.world()
    who, regulator = await doctor(world), await world.regulator()
    patient_file = {
        "family_name": NAME,
        "given_name": "Quidam",
        "age": 40,
        "phone": "+33698765432",
        "email": "quidam@courriel.example",
    }
    await booked(
        regulator,
        who,
        patient_file=patient_file,
        case_id="LRM-4711",
        reason={"text": TEXT},
    )
    await house.work()
    (mail,) = house.mail.to(who.email)
    assert mail["Subject"].startswith("Nouveau rendez-vous le ")
    assert (mail["To"], mail["Auto-Submitted"]) == (who.email, "auto-generated")
    for kind in ("plain", "html"):
        text = body(mail, kind)
        for told in ("Cabinet, Châteauroux", "Consultation au cabinet", "LRM-4711", "sas "):
            assert told in text
        assert "http://localhost:8000/r/" in text
    whole = b"\n".join([*(raw for _, raw in house.mail.envelopes), body(mail).encode()])
    words = (NAME, "quidam", "698765432", "98 76 54 32", TEXT, "hémorragique")
    assert found_in(whole, [*words, "LRM-4711"]) == {"LRM-4711"}


async def test_changes_and_cancellations_reach_whom_they_concern(house: House) -> None:
    world = await house.world()
    first, second, regulator = await doctor(world), await doctor(world), await world.regulator()
    booking = await booked(regulator, first)
    await house.work()
    path = f"/v1/bookings/{booking['id']}"
    for slot in (await first.caller.publish(soon(40)), await second.caller.publish(soon(50))):
        moved = await regulator.post(f"{path}/rescheduling", {"slot_id": slot["id"]})
        assert moved.status_code == 200, moved.text
        await house.work()
    await regulator.post(f"{path}/cancellation", {"by": "patient"})
    await house.work()
    of_first, of_second = (house.mail.subjects(who.email) for who in (first, second))
    assert [s.partition(" ")[0] for s in of_first] == ["Nouveau", "Rendez-vous", "Rendez-vous"]
    assert "déplacé" in of_first[1]
    assert "il était prévu le" in body(house.mail.to(first.email)[1])
    assert of_first[2].endswith("retiré")
    assert [s.split()[0] for s in of_second] == ["Nouveau", "Rendez-vous"]
    assert of_second[1].endswith("annulé")
    assert "/r/" not in body(house.mail.to(second.email)[1])


async def test_hidden_time_that_is_given_back_is_one_notice(house: House) -> None:
    world = await house.world()
    who = await doctor(world)
    release = [{"minutes_before": 60, "to": "GIVE_BACK"}]
    await who.caller.publish(soon(5), release=release)
    taken_back = await who.caller.publish(soon(6))
    await who.caller.delete(f"/v1/slots/{taken_back['id']}", if_match="*")
    await house.shift(timedelta(hours=4, minutes=1))
    for _ in range(2):
        await settle(house.database)
        await house.work()
    (mail,) = house.mail.to(who.email)
    assert mail["Subject"].startswith("Créneau du ")
    assert "il vous est rendu" in body(mail)


async def test_only_what_is_wanted_is_sent(house: House) -> None:
    world = await house.world()
    regulator = await world.regulator()
    quiet = await doctor(world, wants={"booking": False, "cancellation": True, "reminder": False})
    nobody = await doctor(world, email=None)
    for who in (quiet, nobody):
        booking = await booked(regulator, who)
        await regulator.post(f"/v1/bookings/{booking['id']}/cancellation", {"by": "patient"})
    await house.work()
    assert [s.rpartition(" ")[2] for s in house.mail.subjects(quiet.email)] == ["annulé"]
    assert house.mail.to(nobody.email) == []


async def test_mssante_comes_first_and_mail_where_it_refuses(house: House) -> None:
    world = await house.world()
    regulator = await world.regulator()
    secure = "camille@medecin.mssante.fr"
    who = await doctor(world, mssante=secure)
    await booked(regulator, who)
    await house.work()
    assert (len(house.mail.to(secure)), len(house.mail.to(who.email))) == (1, 0)
    house.mail.says[secure] = "550 senders of MSSanté only"
    await booked(regulator, who, soon(33))
    await house.work()
    assert (len(house.mail.to(secure)), len(house.mail.to(who.email))) == (1, 1)
    channels = await house.owner.fetch(
        "SELECT channel FROM messages WHERE practitioner_id = $1 AND kind = 'booked' ORDER BY id",
        who.caller.practitioner_id,
    )
    assert [row["channel"] for row in channels] == ["mssante", "email"]


async def test_what_happened_long_ago_is_told_to_nobody(house: House) -> None:
    world = await house.world()
    who, regulator = await doctor(world), await world.regulator()
    booking = await booked(regulator, who, soon(90))
    await house.shift(timedelta(hours=25))
    later = await booked(regulator, who, soon(95))
    await house.work()
    # News to nobody; whether the patient came will be asked.
    assert await house.rows(booking) == [("report_due", "queued", None)]
    assert len(house.mail.to(who.email)) == 1
    assert [kind for kind, _, _ in await house.rows(later)] == ["booked", "report_due"]


async def test_facts_that_are_read_again_are_told_once(house: House) -> None:
    world = await house.world()
    who, regulator = await doctor(world), await world.regulator()
    booking = await booked(regulator, who)
    await house.work()
    before = await house.rows(booking)
    await house.owner.execute(
        "UPDATE stream_cursors SET reached = reached - 20 WHERE consumer = 'messages'"
    )
    await house.work()
    assert await house.rows(booking) == before
    assert len(house.mail.to(who.email)) == 1


async def test_what_is_no_longer_true_is_not_sent(house: House) -> None:
    world = await house.world()
    who, regulator = await doctor(world), await world.regulator()
    booking = await booked(regulator, who)
    await regulator.post(f"/v1/bookings/{booking['id']}/cancellation", {"by": "patient"})
    await house.work()
    assert [s.rpartition(" ")[2] for s in house.mail.subjects(who.email)] == ["annulé"]
    assert await house.rows(booking) == [
        ("booked", "suppressed", "outdated"),
        ("report_due", "suppressed", "outdated"),
        ("cancelled", "sent", None),
    ]


async def test_without_a_server_for_mail_nobody_is_told_and_it_says_so(house: House) -> None:
    world = await house.world()
    who, regulator = await doctor(world), await world.regulator()
    booking = await booked(regulator, who)
    await house.work(smtp_url=None)
    assert ("booked", "suppressed", "not_configured") in await house.rows(booking)
    async with house.database.unit_of_work() as uow:
        silent = house.settings.model_copy(update={"smtp_url": None})
        assert (await messages.sending(silent, uow))[1].startswith("no e-mail: SNP_SMTP_URL")
    ready = (await house.http.get("/health/ready")).json()
    assert ready["checks"]["messages"].startswith("oldest due message: ")
