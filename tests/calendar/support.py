"""What the tests of calendars share: an address, and what is read there by another library."""

from typing import Any

import httpx
import vobject

from tests.support import Caller, patient

Body = dict[str, Any]


def tokens_of(doctor: Caller) -> str:
    """The path of a practitioner's calendar tokens."""
    return f"/v1/practitioners/{doctor.practitioner_id}/calendar-tokens"


async def shared(doctor: Caller, name: str = "Téléphone", **more: Any) -> Body:
    """Make a calendar token; returns the answer's body."""
    answer = await doctor.post(tokens_of(doctor), {"name": name}, **more)
    assert answer.status_code == 201, answer.text
    body: Body = answer.json()
    return body


async def fetched(http: httpx.AsyncClient, token: Body) -> bytes:
    """What calendar software gets at the address, which it must."""
    answer = await http.get(token["url"])
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/calendar; charset=utf-8"
    return answer.content


def unfolded(content: bytes) -> str:
    """The calendar with each property on one line."""
    return content.decode().replace("\r\n ", "")


def read(content: bytes) -> dict[str, Any]:
    """The events of a calendar by UID, as vobject reads them."""
    calendar = vobject.readOne(content.decode())
    found = {event.uid.value: event for event in calendar.contents.get("vevent", [])}
    assert len(found) == len(calendar.contents.get("vevent", []))
    return found


async def events(http: httpx.AsyncClient, token: Body) -> dict[str, Any]:
    """The events at an address by UID."""
    return read(await fetched(http, token))


def summaries(found: dict[str, Any]) -> dict[str, tuple[str, str, str]]:
    """What each event is called, its status, and whether its time is taken."""
    return {
        uid: (event.summary.value, event.status.value, event.transp.value)
        for uid, event in found.items()
    }


async def booked(regulator: Caller, slot: Body, **members: Any) -> Body:
    """Book a new patient on a slot."""
    body = {"slot_id": slot["id"], "patient_file": patient(), **members}
    answer = await regulator.post("/v1/bookings", body)
    assert answer.status_code == 201, answer.text
    made: Body = answer.json()
    return made
