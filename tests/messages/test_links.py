"""The report in one click: what the link lets do, to whom, and how it says no."""

import asyncio
import base64
import re
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest

from service.identity import LINK
from service.messages import tokens
from tests.conftest import address
from tests.demo.processes import snp
from tests.kernel.serving import serving
from tests.messages.conftest import Doctor, House, booked, doctor
from tests.messages.post import body
from tests.operations.hunt import found_in
from tests.support import Caller, problem, soon


async def _link(house: House, who: Doctor) -> str:
    """The path of the link in a doctor's last message."""
    await house.work()
    found = re.search(r"http://localhost:8000(/r/\S+)", body(house.mail.to(who.email)[-1]))
    assert found is not None
    return found[1]


async def _over(house: House, hours: float = 31) -> tuple[Doctor, Caller, dict[str, Any], str]:
    """An appointment that is over (half an hour before `hours`), with its link."""
    world = await house.world()
    who, regulator = await doctor(world), await world.regulator()
    booking = await booked(
        regulator, who, soon(30), patient_file={"family_name": "Zzyzx", "age": 4}
    )
    link = await _link(house, who)
    await house.shift(timedelta(hours=hours))
    return who, regulator, booking, link


async def _press(house: House, link: str, answer: str, **more: str) -> httpx.Response:
    return await house.http.post(link, data={"answer": answer, **more})


async def _booking(house: House, booking: dict[str, Any]) -> tuple[Any, ...]:
    row = await house.owner.fetchrow(
        "SELECT state, sent_to_emergency, version FROM bookings WHERE id = $1", booking["id"]
    )
    return tuple(row or ())


@pytest.mark.parametrize(
    ("answer", "state", "emergency"),
    [("came", "fulfilled", False), ("no_show", "noshow", False), ("emergency", "fulfilled", True)],
)
async def test_one_click_reports(house: House, answer: str, state: str, emergency: bool) -> None:
    _, regulator, booking, link = await _over(house)
    page = await house.http.get(link)
    assert page.status_code == 200
    assert page.text.count("<button") == 3
    assert "rendez-vous du" in page.text.lower()
    assert found_in(page.content, ["zzyzx"]) == set()
    done = await _press(house, link, answer)
    assert (done.status_code, "Merci" in done.text) == (200, True)
    assert await _booking(house, booking) == (state, emergency, 2)
    fact = await house.owner.fetchrow(
        "SELECT * FROM events WHERE subject_id = $1 AND type = 'booking.reported'", booking["id"]
    )
    assert fact is not None
    assert (fact["role"], fact["client_id"]) == ("doctor", LINK)
    # The requester hears of it, as of any other report.
    await regulator.sign_in()
    shown = await regulator.get(f"/v1/bookings/{booking['id']}")
    assert shown.json()["report"]["state"] == state


async def test_who_only_opens_the_link_changes_nothing(house: House) -> None:
    """Programs that look into mail open every link of it."""
    _, _, booking, link = await _over(house)
    for _ in range(3):
        assert (await house.http.get(link)).status_code == 200
    assert (await house.http.head(link)).status_code == 405
    assert await _booking(house, booking) == ("booked", False, 1)


async def test_a_click_too_many_and_a_correction(house: House) -> None:
    _, _, booking, link = await _over(house)
    assert "Merci" in (await _press(house, link, "came")).text
    assert "Merci" in (await _press(house, link, "came")).text  # the same again
    assert await _booking(house, booking) == ("fulfilled", False, 2)
    again = await _press(house, link, "no_show")
    assert "Déjà renseigné" in again.text
    assert await _booking(house, booking) == ("fulfilled", False, 2)
    version = re.search(r'name="version" value="(\d+)"', again.text)
    assert version is not None
    corrected = await _press(house, link, "no_show", version=version[1])
    assert "Réponse corrigée" in corrected.text
    assert await _booking(house, booking) == ("noshow", False, 3)
    stale = await _press(house, link, "emergency", version=version[1])
    assert "Déjà renseigné" in stale.text
    assert await _booking(house, booking) == ("noshow", False, 3)


async def test_a_click_erases_nothing_that_the_doctor_wrote(house: House) -> None:
    who, _, booking, link = await _over(house)
    await who.caller.sign_in()
    path = f"/v1/bookings/{booking['id']}"
    wrote = {"state": "fulfilled", "detail": "plaie suturée"}
    assert (await who.caller.put(f"{path}/report", wrote)).status_code == 200
    assert "Merci" in (await _press(house, link, "came")).text
    assert await _booking(house, booking) == ("fulfilled", False, 2)
    assert "Réponse corrigée" in (await _press(house, link, "emergency", version="2")).text
    assert await _booking(house, booking) == ("fulfilled", True, 3)
    report = (await who.caller.get(path)).json()["report"]
    assert (report["detail"], report["sent_to_emergency"]) == ("plaie suturée", True)


async def test_before_the_appointment_it_is_too_early(house: House) -> None:
    _, _, booking, link = await _over(house, hours=29)
    assert "trop tôt" in (await house.http.get(link)).text
    early = await _press(house, link, "came")
    assert (early.status_code, "trop tôt" in early.text) == (409, True)
    assert await _booking(house, booking) == ("booked", False, 1)


async def test_of_a_cancelled_appointment_nothing_is_reported(house: House) -> None:
    world = await house.world()
    who, regulator = await doctor(world), await world.regulator()
    booking = await booked(regulator, who, soon(30))
    link = await _link(house, who)
    await regulator.post(f"/v1/bookings/{booking['id']}/cancellation", {"by": "patient"})
    assert "Rendez-vous annulé" in (await house.http.get(link)).text
    await house.shift(timedelta(hours=31))
    refused = await _press(house, link, "came")
    assert (refused.status_code, "Rendez-vous annulé" in refused.text) == (409, True)
    assert (await _booking(house, booking))[0] == "cancelled"


async def test_another_doctors_link_is_worth_nothing(house: House) -> None:
    """Moved to somebody else, the booking is not the first doctor's to report any more."""
    world = await house.world()
    first, second, regulator = await doctor(world), await doctor(world), await world.regulator()
    booking = await booked(regulator, first, soon(30))
    link = await _link(house, first)
    slot = await second.caller.publish(soon(29))
    moved = await regulator.post(
        f"/v1/bookings/{booking['id']}/rescheduling", {"slot_id": slot["id"]}
    )
    assert moved.status_code == 200, moved.text
    await house.shift(timedelta(hours=31))
    for answer in (await house.http.get(link), await _press(house, link, "came")):
        assert (answer.status_code, "plus valable" in answer.text) == (404, True)
    assert (await _booking(house, booking))[0] == "booked"


async def test_a_link_lasts_thirty_days(house: House) -> None:
    _, _, booking, link = await _over(house)
    await house.shift(timedelta(days=30, hours=30))
    assert "venu" in (await house.http.get(link)).text
    await house.shift(timedelta(days=30, hours=31))
    for answer in (await house.http.get(link), await _press(house, link, "came")):
        assert (answer.status_code, "plus valable" in answer.text) == (404, True)
    assert (await _booking(house, booking))[0] == "booked"


async def test_a_tampered_link_is_worth_nothing(house: House) -> None:
    world = await house.world()
    other = await booked(await world.regulator(), await doctor(world))
    _, _, booking, link = await _over(house)
    token = link.removeprefix("/r/")
    content = base64.urlsafe_b64decode(token)
    forged = [
        base64.urlsafe_b64encode(bytes([*content[:n], content[n] ^ 1, *content[n + 1 :]])).decode()
        for n in range(len(content))
    ]
    forged += [
        base64.urlsafe_b64encode(UUID(other["id"]).bytes + content[16:]).decode(),
        token[:-1],
        token + "A",
        token[:-4] + "!!!!",
        "x",
        tokens.sign([b"k" * 32], UUID(booking["id"]), UUID(int=1), soon()),
        tokens.sign(
            house.database.vault.token_keys,
            UUID(booking["id"]),
            UUID(booking["practitioner"]["id"]),
            soon(),
        ),
    ]
    for wrong in forged:
        for answer in (
            await house.http.get(f"/r/{wrong}"),
            await _press(house, f"/r/{wrong}", "came"),
        ):
            assert answer.status_code == 404, wrong
    assert await _booking(house, booking) == ("booked", False, 1)


async def test_the_page_is_kept_nowhere_and_runs_nothing(house: House) -> None:
    _, _, _, link = await _over(house)
    for answer in (
        await house.http.get(link),
        await house.http.get("/r/x"),
        await _press(house, link, "came"),
    ):
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["X-Frame-Options"] == "DENY"
        policy = answer.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; style-src 'sha256-")
        assert "script" not in policy
    malformed = await _press(house, link, "Zzyzx est venu")
    problem(malformed, 422, "invalid")
    assert "Zzyzx" not in malformed.text


async def test_links_are_counted_by_address(house: House) -> None:
    limited = house.settings.model_copy(update={"address_requests_per_minute": 3})
    async with serving(limited) as (http, _):
        told = [(await http.get("/r/x")).status_code for _ in range(4)]
    assert told == [404, 404, 404, 429]


async def test_while_nothing_may_be_changed_a_click_changes_nothing(house: House) -> None:
    _, _, booking, link = await _over(house)
    async with serving(house.settings.model_copy(update={"read_only": True})) as (http, _):
        assert (await http.get(link)).status_code == 200
        later = await http.post(link, data={"answer": "came"})
    assert (later.status_code, "réessayez" in later.text) == (503, True)
    assert await _booking(house, booking) == ("booked", False, 1)


async def test_the_token_of_a_link_is_in_no_log(house: House, tmp_path: Path) -> None:
    _, _, _, link = await _over(house)
    assert house.settings.database_url is not None
    assert house.settings.keys is not None
    with snp(
        tmp_path,
        *("serve", "--port", "0"),
        SNP_DATABASE_URL=house.settings.database_url.get_secret_value(),
        SNP_KEYS=house.settings.keys.get_secret_value(),
        SNP_RPPS_CHECK="format",
        SNP_LOG_LEVEL="DEBUG",
    ) as process:
        process.wait_until(lambda started: address(started) is not None)
        async with httpx.AsyncClient(base_url=address(process) or "") as http:
            assert (await http.get(link)).status_code == 200
            assert (await http.post(link, data={"answer": "came"})).status_code == 200
            assert (await http.get(f"{link}x")).status_code == 404
        await asyncio.to_thread(
            process.wait_until, lambda running: running.errors.count('"/r/{token}"') == 3
        )
        log = process.output + process.errors
    assert link.removeprefix("/r/")[:20] not in log
